//! Where secrets come from: files, variables, programs, the service manager, the desktop's keyring.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use command_group::{CommandGroup, GroupChild};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use super::{MOST_BYTES, Source};

/// The variable that names the directory with the credentials of a unit.
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// How long a program may take to print a secret: somebody may have to touch a key for it.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// How long a program may take to end once it has printed.
const ENDING_LIMIT: Duration = Duration::from_secs(5);

/// The value, and what people should know of how it is kept.
type Found = (Zeroizing<Vec<u8>>, Option<String>);

/// Reads it.
///
/// # Errors
/// A sentence fragment, which holds nothing of the value.
pub(super) fn read(source: &Source, environment: &[(OsString, Zeroizing<Vec<u8>>)]) -> Result<Found, String> {
    let variable = |name: &OsStr| {
        let found = environment.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    match source {
        Source::File(path) => file(path),
        Source::Variable(name) => variable(OsStr::new(name))
            .map(|value| (value, None))
            .ok_or_else(|| "it is not set".to_owned()),
        Source::Command(words) => command(words, environment, COMMAND_LIMIT).map(|value| (value, None)),
        Source::Credential(name) => {
            let Some(directory) = variable(OsStr::new(CREDENTIALS)) else {
                return Err(format!(
                    "{CREDENTIALS} is not set, so no service manager has loaded any"
                ));
            };
            file(&Path::new(OsStr::from_bytes(&directory)).join(name))
        }
        Source::Keyring { service, user } => keyring(service, user, environment).map(|value| (value, None)),
    }
}

/// What the keyring holds, asked for by a process of its own: the threads that speak with the keyring are none of a run's.
#[cfg(feature = "keyring")]
fn keyring(
    service: &str,
    user: &str,
    environment: &[(OsString, Zeroizing<Vec<u8>>)],
) -> Result<Zeroizing<Vec<u8>>, String> {
    let words = ["/proc/self/exe", "keyring", service, user].map(OsString::from);
    command(&words, environment, COMMAND_LIMIT)
}

/// There is none to ask.
#[cfg(not(feature = "keyring"))]
fn keyring(
    _service: &str,
    _user: &str,
    _environment: &[(OsString, Zeroizing<Vec<u8>>)],
) -> Result<Zeroizing<Vec<u8>>, String> {
    Err(
        "this amb was built without the feature `keyring`; a `command` with secret-tool asks the same keyring"
            .to_owned(),
    )
}

/// Reads a file.
fn file(path: &Path) -> Result<Found, String> {
    let failed = |reason: io::Error| match reason.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => format!("it cannot be read: {reason}"),
    };
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let note = (about.is_file() && about.mode() & 0o004 != 0)
        .then(|| format!("every user of this machine may read {}", path.display()));
    // Room for all of it: a value that moves leaves traces of itself behind.
    let mut value = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 2));
    let most = MOST_BYTES as u64 + 2;
    Read::by_ref(&mut file)
        .take(most)
        .read_to_end(&mut value)
        .map_err(failed)?;
    Ok((value, note))
}

/// What a program prints. Its stdin is empty, and its stderr is amb's, where it may say what is wrong.
fn command(
    words: &[OsString],
    environment: &[(OsString, Zeroizing<Vec<u8>>)],
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let (program, arguments) = words.split_first().ok_or("there is no program to start")?;
    let variables = environment.iter().map(|(name, value)| (name, OsStr::from_bytes(value)));
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Signals of the terminal are for amb and its command to decide about; and whatever it starts ends with it.
        .group_spawn();
    let mut child = started.map_err(|reason| format!("it cannot be started: {reason}"))?;
    let printed = printed(&mut child, limit);
    if printed.is_err()
        && let Err(reason) = child.kill()
    {
        tracing::debug!(%reason, "a program that was to print a secret has ended by itself");
    }
    let deadline = Instant::now() + ENDING_LIMIT;
    let ended = loop {
        // Not that of the group, which loses the status where others of it go on.
        match child.inner().try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            Ok(None) => break Err("it has closed its output and goes on".to_owned()),
            Ok(Some(status)) if status.success() => break Ok(()),
            Ok(Some(status)) => break Err(format!("it ended with {status}")),
            // As PID 1 amb may have reaped it with its other orphans: then what it printed has to do.
            Err(reason) if reason.raw_os_error() == Some(libc::ECHILD) => break Ok(()),
            Err(reason) => break Err(format!("it cannot be waited for: {reason}")),
        }
    };
    let printed = printed?;
    ended?;
    Ok(printed)
}

/// What it prints until it closes its output.
fn printed(child: &mut GroupChild, limit: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut output = child.inner().stdout.take().ok_or("it has no output")?;
    let deadline = Instant::now() + limit;
    let mut value = Zeroizing::new(vec![0; MOST_BYTES + 2]);
    let mut length = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let waited = poll(
            &mut [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)],
            Some(&timeout),
        );
        match waited {
            Ok(0) => {
                let limit = humantime::format_duration(limit);
                return Err(format!("it printed nothing for {limit}, or not all"));
            }
            Err(rustix::io::Errno::INTR) => continue,
            Err(reason) => return Err(format!("its output cannot be read: {reason}")),
            Ok(_) => {}
        }
        if length == value.len() {
            return Err(format!("it printed more than {MOST_BYTES} bytes"));
        }
        match output.read(&mut value[length..]) {
            Ok(0) => {
                value.truncate(length);
                return Ok(value);
            }
            Ok(count) => length += count,
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => {}
            Err(reason) => return Err(format!("its output cannot be read: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text for the shell prints within a moment.
    fn shell(text: &str, limit: Duration) -> Result<String, String> {
        let words = ["/bin/sh", "-c", text].map(OsString::from);
        let path = (OsString::from("WORD"), Zeroizing::new(b"from amb".to_vec()));
        let value = command(&words, &[path], limit)?;
        Ok(String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn a_program_prints_it_and_its_failure_is_told() {
        let long = Duration::from_mins(1);
        assert_eq!(shell("echo \"$WORD\"", long).unwrap(), "from amb\n");
        assert_eq!(shell("exit 3", long).unwrap_err(), "it ended with exit status: 3");
        assert!(shell("echo half; exit 3", long).is_err());
        assert!(
            shell("head -c 40000 /dev/zero", long)
                .unwrap_err()
                .contains("more than")
        );
        let missing = command(&["/nowhere/program".into()], &[], long).unwrap_err();
        assert!(missing.starts_with("it cannot be started: "), "{missing}");
    }

    #[test]
    fn what_a_program_has_started_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let text = format!("sleep 600 > {} & wait", pipe.display());
        let reader = thread::spawn(move || std::fs::read(pipe).unwrap());
        shell(&text, Duration::from_millis(200)).unwrap_err();
        // The end of the file: nobody has it open for writing any more.
        assert_eq!(reader.join().unwrap(), b"");
    }

    #[test]
    fn a_program_that_prints_nothing_is_given_up() {
        let error = shell("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(error.starts_with("it printed nothing for 50ms"), "{error}");
    }
}
