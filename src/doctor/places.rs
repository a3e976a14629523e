//! Versions; directories that amb writes to; the clock; where shells look for completions.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::check::Check;
use crate::{config, monitor::place::Place, report::document};

/// No clock is right that shows less: hours since 1970 of 1 November 2026, when this was written.
const WRITTEN: Duration = Duration::from_hours(498_192);
/// By how much a file system's clock may be off.
const DRIFT: Duration = Duration::from_secs(5);
/// What should be free in the directory for temporary files: certificates and queues of logs are far smaller.
const ROOM: u64 = 16 * 1024 * 1024;
/// Where each shell looks for what completes amb: below the home directory, and for all users.
const COMPLETIONS: [(&str, &[&str], &[&str]); 3] = [
    (
        "bash",
        &[
            ".local/share/bash-completion/completions/amb",
            ".local/share/bash-completion/completions/amb.bash",
        ],
        &[
            "/usr/share/bash-completion/completions/amb",
            "/usr/share/bash-completion/completions/amb.bash",
            "/etc/bash_completion.d/amb",
            "/etc/bash_completion.d/amb.bash",
        ],
    ),
    (
        "zsh",
        &[
            ".zsh/completions/_amb",
            ".zfunc/_amb",
            ".local/share/zsh/site-functions/_amb",
        ],
        &[
            "/usr/share/zsh/site-functions/_amb",
            "/usr/share/zsh/vendor-completions/_amb",
            "/usr/local/share/zsh/site-functions/_amb",
        ],
    ),
    (
        "fish",
        &[".config/fish/completions/amb.fish"],
        &[
            "/usr/share/fish/vendor_completions.d/amb.fish",
            "/etc/fish/completions/amb.fish",
        ],
    ),
];

/// What this is.
pub(super) fn versions() -> Vec<Check> {
    let commit = option_env!("AMB_BUILD_COMMIT").map_or_else(String::new, |commit| format!(" ({commit})"));
    let detail = format!(
        "{}{commit}, {} {}, configuration version {}, report schema {}",
        env!("CARGO_PKG_VERSION"),
        env::consts::OS,
        env::consts::ARCH,
        config::KNOWN_VERSION,
        document::SCHEMA_VERSION,
    );
    let mut checks = vec![Check::ok("amb.version", "version", detail)];
    if let Ok(outer) = env::var("AMB_RUN_ID") {
        let detail = format!("this runs under amb already (run {outer}): a run in it goes through the outer one");
        checks.push(Check::ok("amb.nested", "outer run", detail));
    }
    checks
}

/// Looks at directories, the clock and completions.
pub(super) fn checks() -> Vec<Check> {
    let now = SystemTime::now();
    let mut checks = vec![control_sockets(), temporary(now)];
    let program = env::current_exe()
        .ok()
        .and_then(|path| fs::metadata(path).ok()?.modified().ok());
    checks.push(clock(now, program));
    checks.extend(completions());
    checks
}

/// Whether a run can have its control socket.
fn control_sockets() -> Check {
    let place = Place::of(|name| env::var_os(name));
    let shown = place.directory().display().to_string();
    match place.try_out() {
        Ok(()) => Check::ok("places.runtime", "control sockets", format!("can be made in {shown}")),
        Err(reason) => Check::warn("places.runtime", "control sockets", format!("cannot be made in {shown}: {reason}"))
            .with_remedy(format!(
                "chmod 700 {shown}, if it is yours; or XDG_RUNTIME_DIR on a directory of yours. Without them `amb status` does not see a run"
            )),
    }
}

/// Whether temporary files can be written.
fn temporary(now: SystemTime) -> Check {
    let directory = env::temp_dir();
    let shown = directory.display();
    let written = || -> io::Result<(Option<SystemTime>, u64)> {
        let made = tempfile::Builder::new().prefix("amb-doctor-").tempdir()?;
        let path = made.path().join("file");
        fs::write(&path, "x")?;
        let space = rustix::fs::statvfs(&path)?;
        Ok((
            fs::metadata(&path)?.modified().ok(),
            space.f_bavail.saturating_mul(space.f_frsize),
        ))
    };
    let (id, title) = ("places.temporary", "temporary files");
    match written() {
        Err(reason) => Check::fail(id, title, format!("cannot be written to {shown}: {reason}"))
            .with_remedy("TMPDIR on a directory that you can write to"),
        Ok((_, free)) if free < ROOM => Check::warn(
            id,
            title,
            format!("{shown} is nearly full: {} KiB are free", free / 1024),
        )
        .with_remedy("make room, or TMPDIR on another file system"),
        Ok((Some(modified), _)) if apart(modified, now) > DRIFT => {
            let off = apart(modified, now).as_secs();
            Check::warn(id, title, format!("the clock of {shown} is {off} s off this machine's"))
                .with_remedy("synchronise the clocks, or TMPDIR on a file system of this machine")
        }
        Ok(_) => Check::ok(id, title, format!("can be written to {shown}")),
    }
}

/// How far two points in time are apart.
fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .or_else(|_| other.duration_since(one))
        .unwrap_or_default()
}

/// Whether the clock may be right, by when this was written and when the program was made, as its file says.
fn clock(now: SystemTime, program: Option<SystemTime>) -> Check {
    let written = SystemTime::UNIX_EPOCH + WRITTEN;
    let made = program.unwrap_or(written);
    let shown = document::time(now);
    if now < written || now + DRIFT < made {
        return Check::fail(
            "places.clock",
            "clock",
            format!("{shown} is before amb was made: certificates seem not to be valid yet"),
        )
        .with_remedy("set the clock (timedatectl set-ntp true, or chronyc makestep)");
    }
    Check::ok("places.clock", "clock", format!("{shown}, which may be right"))
}

/// Whether the user's shell completes amb's words: a note, and no more.
fn completions() -> Option<Check> {
    let shell = env::var_os("SHELL")?;
    let shell = Path::new(&shell).file_name()?.to_str()?.to_owned();
    let home = env::var_os("HOME").map(PathBuf::from);
    let found = completed(&shell, home.as_deref(), env::var_os("FPATH").as_deref())?;
    let (id, title) = ("places.completions", "completions");
    if let Some(path) = found {
        return Some(Check::ok(id, title, format!("{shell} has them in {}", path.display())));
    }
    let help = match shell.as_str() {
        "bash" => "amb completions bash > ~/.local/share/bash-completion/completions/amb",
        "zsh" => "amb completions zsh > ~/.zfunc/_amb, with ~/.zfunc in $fpath",
        _ => "amb completions fish > ~/.config/fish/completions/amb.fish",
    };
    Some(Check::ok(id, title, format!("{shell} has none in the usual places")).with_remedy(help))
}

/// Where a shell finds what completes amb, by name; none for a shell that amb knows nothing of.
#[expect(clippy::option_option, reason = "not known, and known not to be there")]
fn completed(shell: &str, home: Option<&Path>, functions: Option<&OsStr>) -> Option<Option<PathBuf>> {
    let (_, own, shared) = COMPLETIONS.iter().find(|(name, ..)| *name == shell)?;
    let own = own.iter().filter_map(|place| Some(home?.join(place)));
    let functions = functions
        .into_iter()
        .flat_map(env::split_paths)
        .map(|place| place.join("_amb"));
    let mut all = own.chain(shared.iter().map(PathBuf::from)).chain(functions);
    Some(all.find(|path| path.exists()))
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    #[test]
    fn a_clock_before_the_program_was_made_is_wrong() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + WRITTEN + Duration::from_secs(seconds);
        assert_eq!(clock(at(100), Some(at(50))).state, State::Ok);
        assert_eq!(clock(at(100), None).state, State::Ok);
        assert_eq!(clock(at(100), Some(at(200))).state, State::Fail);
        assert_eq!(clock(SystemTime::UNIX_EPOCH, None).state, State::Fail);
        assert_eq!(apart(at(1), at(4)), apart(at(4), at(1)));
    }

    #[test]
    fn completions_are_looked_for_where_the_shell_looks() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/fish/completions");
        assert_eq!(completed("tcsh", Some(home.path()), None), None);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("amb.fish"), "").unwrap();
        let found = completed("fish", Some(home.path()), None);
        assert_eq!(found, Some(Some(directory.join("amb.fish"))));
        fs::write(home.path().join("_amb"), "").unwrap();
        let found = completed("zsh", None, Some(home.path().as_os_str()));
        assert!(found.flatten().is_some());
    }
}
