//! The programs of this machine: which would go through amb, and trust it. Each is tried, in a run of amb's own that decrypts,
//! against a server of amb's own ([`TrialServer`]); nothing is guessed, and nothing leaves the machine.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    check::{Check, State},
    clients::{CLIENTS, Client},
};
use crate::proxy::trial::{NAME, TrialServer};

/// Programs that are tried at once.
const AT_ONCE: usize = 4;
/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// How much longer than a program its run may take.
const MARGIN: Duration = Duration::from_secs(5);
/// Columns of what a program says.
const DETAIL_COLUMNS: usize = 160;
/// Columns of a version.
const VERSION_COLUMNS: usize = 32;

/// What became of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It came through amb, and trusts it.
    Works,
    /// The same, once it was told something.
    NeedsOption,
    /// It has asked nobody for anything, or somebody else than amb.
    IgnoresProxy,
    /// It has refused amb's certificate.
    DoesNotTrust,
    /// It took too long.
    TimedOut,
    /// Something else went wrong.
    Failed,
}

impl Verdict {
    /// For people.
    fn words(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::NeedsOption => "needs an option",
            Self::IgnoresProxy => "ignores the proxy",
            Self::DoesNotTrust => "does not trust amb",
            Self::TimedOut => "takes too long",
            Self::Failed => "fails",
        }
    }

    /// The word of the JSON.
    fn id(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::NeedsOption => "needs_option",
            Self::IgnoresProxy => "ignores_proxy",
            Self::DoesNotTrust => "does_not_trust",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
    }

    /// What would help.
    fn remedy(self, option: Option<&str>) -> Option<String> {
        Some(match (self, option) {
            (Self::Works, _) => return None,
            (_, Some(option)) => format!("give it {option}"),
            (Self::IgnoresProxy, None) => {
                "a proxy in its own settings, as AMB_PROXY_URL names it; or `--capture`, which leads it to amb all the same"
                    .to_owned()
            }
            (Self::DoesNotTrust, None) => {
                "a certificate in its own settings, as AMB_CA_FILE names it; or tls.never for the hosts that it calls"
                    .to_owned()
            }
            (Self::TimedOut, None) => "a longer --time-limit, if the machine is busy".to_owned(),
            (Self::NeedsOption | Self::Failed, None) => "`amb run -v -- …` with it tells more".to_owned(),
        })
    }
}

/// A program that was tried.
struct Tried {
    /// What it is called.
    name: &'static str,
    /// Its version, as it tells it.
    version: String,
    /// What became of it.
    verdict: Verdict,
    /// What it has to be told.
    option: Option<&'static str>,
    /// Why, if it did not work.
    detail: String,
}

impl Tried {
    /// It as one of the checks. A program that does not go through amb is no fault of this machine's.
    fn check(self) -> Check {
        let Self {
            name,
            version,
            verdict,
            option,
            detail,
        } = self;
        let words = verdict.words();
        let why = if detail.is_empty() {
            detail
        } else {
            format!(": {detail}")
        };
        // `curl 8.5.0 (x86_64-pc-linux-gnu) …`
        let version = version.split(" (").next().unwrap_or_default();
        let version = if version.is_empty() {
            String::new()
        } else {
            format!(" ({version})")
        };
        Check {
            id: format!("program.{}", slug(name)),
            state: if verdict == Verdict::Works {
                State::Ok
            } else {
                State::Warn
            },
            title: name.to_owned(),
            detail: format!("{words}{why}{version}"),
            remedy: verdict.remedy(option),
            verdict: Some(verdict.id()),
        }
    }
}

/// A name as a part of an id: `Python, urllib` is `python-urllib`.
fn slug(name: &str) -> String {
    let words = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// Those of these names, or all.
///
/// # Errors
/// A name that no program has which amb knows how to try.
pub(super) fn wanted(names: &[String]) -> Result<Vec<&'static Client>, &String> {
    match names
        .iter()
        .find(|name| !CLIENTS.iter().any(|client| is_called(client, name)))
    {
        Some(unknown) => Err(unknown),
        None => Ok(CLIENTS
            .iter()
            .filter(|client| names.is_empty() || names.iter().any(|name| is_called(client, name)))
            .collect()),
    }
}

/// Whether somebody means this one.
fn is_called(client: &Client, name: &str) -> bool {
    client.program == name || client.name.eq_ignore_ascii_case(name)
}

/// Tries them, some at once: a check for each that is installed, and the names of the others.
///
/// # Errors
/// There is no server to try them against.
pub(super) fn examine(wanted: &[&'static Client], limit: Duration) -> io::Result<(Vec<Check>, Vec<&'static str>)> {
    let server = TrialServer::start()?;
    let scratch = tempfile::tempdir()?;
    fs::write(scratch.path().join("root.pem"), server.root())?;
    let amb = env::current_exe()?;
    let surgery = Surgery {
        server: &server,
        scratch: scratch.path(),
        amb: &amb,
        limit,
    };
    let next = Mutex::new(wanted.iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(wanted.len()) {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, client)) = taken else { break };
                    let tried = surgery.examine(number, client);
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((number, client.name, tried));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, ..)| *number);
    let (mut checks, mut missing) = (Vec::new(), Vec::new());
    for (_, name, tried) in results {
        match tried? {
            Some(tried) => checks.push(tried.check()),
            None => missing.push(name),
        }
    }
    Ok((checks, missing))
}

/// Where programs are tried.
struct Surgery<'a> {
    /// Whom they ask.
    server: &'a TrialServer,
    /// For files.
    scratch: &'a Path,
    /// This program.
    amb: &'a Path,
    /// How long each may take.
    limit: Duration,
}

impl Surgery<'_> {
    /// Tries one; none if it is not installed.
    fn examine(&self, number: usize, client: &Client) -> io::Result<Option<Tried>> {
        let home = self.scratch.join(number.to_string());
        fs::create_dir(&home)?;
        let version = format!(
            "command -v {} > /dev/null || exit 127\n{}",
            client.program, client.version
        );
        let asked = shell("version", &home, &["sh", "-c", &version], VERSION_LIMIT)?;
        if asked.status != Some(0) {
            return Ok(None);
        }
        let version = asked.said.lines().find(|line| !line.trim().is_empty());
        let version: String = version
            .unwrap_or_default()
            .trim()
            .chars()
            .take(VERSION_COLUMNS)
            .collect();
        let (verdict, detail) = self.attempt(number, 0, &home, client.script)?;
        let mut tried = Tried {
            name: client.name,
            version,
            verdict,
            option: None,
            detail,
        };
        if verdict != Verdict::Works
            && let Some((option, script)) = client.option
        {
            let (verdict, detail) = self.attempt(number, 1, &home, script)?;
            if verdict == Verdict::Works {
                (tried.verdict, tried.option) = (Verdict::NeedsOption, Some(option));
                tried.detail = detail;
            }
        }
        Ok(Some(tried))
    }

    /// Tries one with one script: what became of it, and why.
    fn attempt(&self, number: usize, attempt: u8, home: &Path, script: &str) -> io::Result<(Verdict, String)> {
        let port = self.server.port();
        let start = format!("/{number}-{attempt}/");
        let directory = home.join(format!("try-{attempt}"));
        fs::create_dir(&directory)?;
        let report = self.scratch.join(format!("{number}-{attempt}.json"));
        let script = format!("export URL=https://{NAME}:{port}{start} PLACE={NAME}:{port} HOME=\"$PWD\"\n{script}");
        let (root, limit) = (self.scratch.join("root.pem"), format!("{}ms", self.limit.as_millis()));
        let json = format!("json={}", report.display());
        let words: [&OsStr; 16] = [
            self.amb.as_os_str(),
            "run".as_ref(),
            "--no-config".as_ref(),
            "--summary=off".as_ref(),
            "--intercept".as_ref(),
            "--connect-to=::127.0.0.1:".as_ref(),
            "--extra-root".as_ref(),
            root.as_os_str(),
            "--report".as_ref(),
            json.as_ref(),
            "--run-timeout".as_ref(),
            limit.as_ref(),
            "--".as_ref(),
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
        ];
        let asked = shell("run", &directory, &words, self.limit + MARGIN)?;
        if self.server.has_seen(&start) {
            return Ok((Verdict::Works, String::new()));
        }
        let report: Value = fs::read(&report)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Ok(judge(&report, &asked))
    }
}

/// Runs something in a directory that is its home, without amb's own variables.
fn shell<T: AsRef<OsStr>>(what: &str, home: &Path, words: &[T], limit: Duration) -> io::Result<Ended> {
    let path = home.with_extension(what);
    let output = File::create(&path)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(home);
    for (name, _) in env::vars_os() {
        let own = name.to_string_lossy();
        if own.starts_with("AMB_") || own.starts_with("XDG_") {
            command.env_remove(&name);
        }
    }
    // What finds its own files by HOME, and writes nothing there.
    if let Some(real) = env::var_os("HOME") {
        for (name, below) in [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv")] {
            let place = Path::new(&real).join(below);
            if env::var_os(name).is_none() && place.is_dir() {
                command.env(name, place);
            }
        }
    }
    command
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let mut process = command.spawn()?;
    let pid = Pid::from_child(&process);
    let (told, end) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let ended = process.wait();
        // Nobody listens where amb itself fails.
        drop(told.send(ended));
    });
    let status = if let Ok(status) = end.recv_timeout(limit) {
        status?.code()
    } else {
        // It may end at this very moment.
        if let Err(reason) = kill_process(pid, Signal::KILL) {
            tracing::debug!(%reason, "what took too long has ended");
        }
        None
    };
    drop(waiter.join());
    Ok(Ended {
        status,
        said: String::from_utf8_lossy(&fs::read(path)?).into_owned(),
    })
}

/// A process that has ended.
struct Ended {
    /// Its status; none if a signal ended it.
    status: Option<i32>,
    /// What it has said, on both streams.
    said: String,
}

/// What became of a program whose request did not arrive.
fn judge(report: &Value, ended: &Ended) -> (Verdict, String) {
    let failure = |wanted: &str| {
        let failures = report["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = failures
            .iter()
            .find(|failure| wanted.is_empty() || failure["error_type"] == wanted);
        found
            .and_then(|failure| failure["detail"].as_str())
            .map(ToOwned::to_owned)
    };
    let last = || {
        let mut lines = ended.said.lines().filter(|line| !line.trim().is_empty());
        let error = lines.clone().find(|line| line.to_ascii_lowercase().contains("error"));
        let line = error.or_else(|| lines.next_back()).unwrap_or("it said nothing");
        let shown: String = line.trim().chars().take(DETAIL_COLUMNS).collect();
        shown
    };
    if let Some(refused) = failure("intercept_refused") {
        return (Verdict::DoesNotTrust, refused);
    }
    if report["exit"]["reason"] == "run_timeout" || ended.status.is_none() {
        return (Verdict::TimedOut, String::new());
    }
    if report.is_null() {
        return (Verdict::Failed, last());
    }
    let total = |what: &str| report["totals"][what]["total"].as_u64().unwrap_or(0);
    if total("requests") + total("tunnels") == 0 {
        return (Verdict::IgnoresProxy, last());
    }
    (Verdict::Failed, failure("").unwrap_or_else(last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_did_not_arrive_is_told_apart() {
        let ended = |status| Ended {
            status,
            said: "first\nlast words\n\n".to_owned(),
        };
        let totals =
            |requests: u64, tunnels: u64| json!({ "requests": { "total": requests }, "tunnels": { "total": tunnels } });
        let refused =
            json!({ "failures": [{ "error_type": "intercept_refused", "detail": "x" }], "totals": totals(0, 1) });
        let broken = json!({ "failures": [{ "error_type": "dns_error", "detail": "y" }], "totals": totals(1, 0) });
        let late = json!({ "exit": { "reason": "run_timeout" }, "totals": totals(0, 0) });
        let nothing = json!({ "failures": [], "totals": totals(0, 0) });
        for (report, status, verdict, detail) in [
            (&refused, Some(60), Verdict::DoesNotTrust, "x"),
            (&broken, Some(1), Verdict::Failed, "y"),
            (&late, Some(124), Verdict::TimedOut, ""),
            (&nothing, None, Verdict::TimedOut, ""),
            (&nothing, Some(0), Verdict::IgnoresProxy, "last words"),
            (&Value::Null, Some(125), Verdict::Failed, "last words"),
        ] {
            assert_eq!(judge(report, &ended(status)), (verdict, detail.to_owned()));
        }
    }
}
