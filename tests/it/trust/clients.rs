//! Which clients let amb decrypt what they send, by what amb puts into their environment and nothing else: the reach table.
//!
//! Each client of the table (`clients/table.rs`) runs against a server whose certificate only amb is told to believe: bare,
//! where it must refuse it, or it would not look at certificates at all; under amb as it is; and, if it needs an option,
//! with that. What does not work as it is runs once more under `--capture`, by which amb needs no variable to be asked, and everything
//! under `--capture-roots`, by which it needs none to be trusted. What comes of it must be what the table says. What is not installed is skipped. To see the table:
//! `cargo test --test it trust::clients -- --nocapture`.

mod java;
mod node;
mod python;
mod table;

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use amb::capture::{self, Asks};

use super::{
    Authority, believing, capturing, clean, first_line, program,
    server::{Seen, Server},
};
use crate::support::{Amb, Outcome, say_skipped};

/// How many clients run at once.
const AT_ONCE: usize = 4;

/// How long a client may take, in seconds, on a machine that is busy.
const LIMIT: &str = "20";

/// Runs `$SCRIPT` where the server's name is in the table of hosts. A name without a dot would not do: some do not say it in TLS.
const FINDS_ORIGIN: &str = "exec unshare --mount sh -c 'echo 127.0.0.1 localhost origin.test > hosts && \
                            mount --bind hosts /etc/hosts && rm hosts && exec sh -c \"$SCRIPT\"'";

/// A client, or one of several in a program.
struct Client {
    /// What it is.
    name: String,
    /// A shell's command that tells its version, and fails if anything that it needs is not there.
    version: String,
    /// A shell's script that has it ask for `$URL`, which ends in a slash and whose host and port are `$PLACE`. It runs in an
    /// empty directory that is its `$HOME`, too.
    script: String,
    /// What becomes of it.
    verdict: Verdict,
    /// What becomes of it when it is captured, if it is not decrypted as it is.
    captured: Captured,
    /// By what it is seen to have accepted a certificate.
    proof: Proof,
}

/// What becomes of a client under amb.
#[derive(Clone, PartialEq, Eq)]
enum Verdict {
    /// It is decrypted as it is.
    Works,
    /// It is decrypted with this of its own options.
    Option {
        /// What it needs.
        needs: &'static str,
        /// The script with it.
        script: String,
    },
    /// It goes by no proxy that its environment names.
    Ignores,
    /// It cannot be had, and why.
    Fails(&'static str),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Option { needs, .. } => write!(f, "needs an option: {needs}"),
            Self::Ignores => f.write_str("ignores its environment"),
            Self::Fails(reason) => write!(f, "fails: {reason}"),
        }
    }
}

/// What becomes of a client that is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Captured {
    /// It is decrypted.
    Works,
    /// It is where the roots that it opens are amb's.
    WithRoots,
    /// It is not.
    Fails,
}

/// By what a client is seen to have accepted a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Its request arrives.
    Request,
    /// It ends well: it sends before it has looked at the certificate.
    Success,
    /// Its connection of HTTP/2 opens, by which it ends well.
    Http2,
    /// None: it takes every certificate, and the request shows no more than that it has gone through amb.
    Nothing,
}

impl Client {
    /// One that works as it is.
    fn works(name: &str, version: &str, script: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            script: script.to_owned(),
            verdict: Verdict::Works,
            captured: Captured::Fails,
            proof: Proof::Request,
        }
    }

    /// One that does not look for a proxy.
    fn ignores(name: &str, version: &str, script: &str) -> Self {
        Self {
            verdict: Verdict::Ignores,
            ..Self::works(name, version, script)
        }
    }

    /// The same, but for an option.
    fn but_for(mut self, needs: &'static str, script: &str) -> Self {
        let script = script.to_owned();
        self.verdict = Verdict::Option { needs, script };
        self
    }

    /// The same, but that it cannot be had.
    fn but_that(mut self, reason: &'static str) -> Self {
        self.verdict = Verdict::Fails(reason);
        self
    }

    /// The same, which works as it is once it is captured.
    fn unless_captured(mut self) -> Self {
        self.captured = Captured::Works;
        self
    }

    /// The same, which works as it is once it is captured, roots and all.
    fn unless_rooted(mut self) -> Self {
        self.captured = Captured::WithRoots;
        self
    }

    /// The same, seen by other means.
    fn seen_by(mut self, proof: Proof) -> Self {
        self.proof = proof;
        self
    }

    /// Its version, if it and all that it needs is there.
    fn installed(&self, places: &Places) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let mut asked = Command::new("sh");
        asked.args(["-c", &self.version]).envs(places.variables());
        first_line(asked.current_dir(directory.path()))
    }

    /// Runs one of its scripts, and tells whether it has accepted the server, and what it and the server have to say.
    fn accepts(&self, script: &str, places: &Places, run: Amb, server: &Server, url: &str) -> (bool, Seen, String) {
        let place = url.trim_start_matches("https://").trim_end_matches('/');
        let home = run.home().to_owned();
        // Some try for minutes on end: what they have asked for by then is what counts.
        let mut run = run.directory(&home).command(["timeout", LIMIT, "sh", "-c", script]);
        for (name, value) in places.variables() {
            run = run.env(name, value);
        }
        let outcome = run.env("URL", url).env("PLACE", place).outcome();
        let seen = server.take();
        let accepts = match self.proof {
            Proof::Request | Proof::Nothing => !seen.requests.is_empty(),
            Proof::Success | Proof::Http2 => is_well(&outcome),
        };
        (accepts, seen, format!("{}{}", outcome.stdout(), outcome.stderr()))
    }

    /// Checks it, if it is there.
    ///
    /// # Errors
    /// What is otherwise than the table says.
    fn check(&self, places: &Places) -> Result<Option<Line>, String> {
        let Some(version) = self.installed(places) else {
            say_skipped(&format!("{} is not installed", self.name));
            return Ok(None);
        };
        let authority = Authority::new();
        let server = match self.proof {
            Proof::Http2 => Server::start_http2(&authority),
            _ => Server::start(&authority),
        };
        let (accepts, seen, said) = self.accepts(&self.script, places, clean(Amb::bare()), &server, &server.url());
        if accepts != (self.proof == Proof::Nothing) || seen.connections == 0 {
            return Err(format!("{}, bare: {seen:?}\n{said}", self.name));
        }
        let under_amb =
            |script: &str| self.accepts(script, places, believing(&authority), &server, &server.proxied_url());
        let (accepts, seen, said) = under_amb(&self.script);
        if accepts != (self.verdict == Verdict::Works) {
            return Err(format!("{} as it is ({}): {seen:?}\n{said}", self.name, self.verdict));
        }
        if let Verdict::Option { script, .. } = &self.verdict {
            let (accepts, seen, said) = under_amb(script);
            if !accepts {
                return Err(format!("{} with its option: {seen:?}\n{said}", self.name));
            }
        }
        if places.can_capture {
            let captured = |flags: &[&str]| {
                let run = capturing(&authority, flags).env("SCRIPT", &self.script);
                self.accepts(FINDS_ORIGIN, places, run, &server, &server.proxied_url())
            };
            let works = self.verdict == Verdict::Works;
            if !works {
                let (accepts, seen, said) = captured(&[]);
                if accepts != (self.captured == Captured::Works) {
                    return Err(format!("{} captured: {accepts}, {seen:?}\n{said}", self.name));
                }
            }
            let (accepts, seen, said) = captured(&["--capture-roots", "--connect-to=origin.test::127.0.0.1:"]);
            if accepts != (works || self.captured != Captured::Fails) {
                return Err(format!("{} with its roots: {accepts}, {seen:?}\n{said}", self.name));
            }
        }
        Ok(Some(Line {
            name: self.name.clone(),
            version,
            verdict: self.verdict.clone(),
            captured: self.captured,
            is_blind: self.proof == Proof::Nothing,
        }))
    }
}

/// Whether a command has ended with 0.
fn is_well(outcome: &Outcome) -> bool {
    outcome.status.success()
}

/// Where programs are that are found by `HOME`, which is another one in a test.
struct Places {
    /// Python itself, past shims.
    python: Option<OsString>,
    /// What cargo is.
    cargo: OsString,
    /// What is kept from one test to the next: what Go compiles.
    cache: PathBuf,
    /// Whether clients can be captured, and be given a table of hosts.
    can_capture: bool,
}

impl Places {
    /// Finds them.
    fn find() -> Self {
        let python = program("python3").and_then(|python| {
            first_line(Command::new(python).args(["-c", "import sys; print(sys.executable)"])).map(Into::into)
        });
        Self {
            python,
            cargo: env!("CARGO").into(),
            cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-build"),
            can_capture: can_capture(),
        }
    }

    /// The variables that name them. Settings of this machine's own would name other servers.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("CARGO", self.cargo.clone()),
            ("KEPT", self.cache.clone().into()),
            ("PIP_CONFIG_FILE", "/dev/null".into()),
            ("npm_config_globalconfig", "/dev/null".into()),
        ];
        variables.extend(self.python.clone().map(|python| ("PYTHON", python)));
        variables.extend(env::var_os("NODE_PATH").map(|path| ("NODE_PATH", path)));
        variables
    }
}

/// Whether clients can be captured, and be given a table of hosts; says why not.
fn can_capture() -> bool {
    let mut trying = Command::new("unshare");
    let can_mount = trying.args(["--mount", "true"]).status();
    if let Err(reason) = capture::possible(Asks::OpeningToo) {
        say_skipped(&format!("nothing is captured: {reason}"));
        return false;
    }
    let can = can_mount.is_ok_and(|status| status.success());
    if !can {
        say_skipped("nothing is captured: a table of hosts of its own takes root and unshare");
    }
    can
}

/// A line of the table.
struct Line {
    /// The client.
    name: String,
    /// Its version, as it tells it.
    version: String,
    /// What has become of it.
    verdict: Verdict,
    /// What has become of it when it was captured, if it does not work as it is.
    captured: Captured,
    /// Whether it takes every certificate.
    is_blind: bool,
}

/// A line of what the test says.
fn say(line: &str) {
    ::amb::supervise::write_stderr(&format!("{line}\n"));
}

#[test]
fn every_client_that_is_installed_is_reached_as_the_table_says() {
    let places = Places::find();
    let clients: Vec<Client> = table::clients()
        .into_iter()
        .chain(python::clients())
        .chain(node::clients())
        .chain(java::clients())
        .collect();
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(Vec::new());
    let doubtful = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(client) = clients.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match client.check(&places) {
                        Ok(line) => lines.lock().unwrap().extend(line),
                        Err(_) => doubtful.lock().unwrap().push(client),
                    }
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap();
    // By itself: beside others on a busy machine a client may run out of its time, or give up. What is wrong is so again.
    let mut failures = Vec::new();
    for client in doubtful.into_inner().unwrap() {
        say(&format!("{} is tried once more", client.name));
        match client.check(&places) {
            Ok(line) => lines.extend(line),
            Err(failure) => failures.push(failure),
        }
    }
    lines.sort_by(|one: &Line, other| one.name.cmp(&other.name));
    for line in &lines {
        let blind = if line.is_blind {
            " (and takes any certificate)"
        } else {
            ""
        };
        let captured = match line.captured {
            Captured::Works => ", works captured",
            Captured::WithRoots => ", works captured with its roots",
            Captured::Fails => "",
        };
        say(&format!(
            "{:32} {}{captured}{blind} | {}",
            line.name, line.verdict, line.version
        ));
    }
    // What is there in several versions counts once.
    lines.dedup_by(|one, other| one.name == other.name);
    let count = |counts: fn(&Line) -> bool| lines.iter().filter(|line| counts(line)).count();
    let works = count(|line| line.verdict == Verdict::Works);
    let options = count(|line| matches!(line.verdict, Verdict::Option { .. }));
    say(&format!(
        "{works} of {all} clients work as they are ({share} %), {options} with an option of theirs, {rest} not",
        all = lines.len(),
        share = works * 100 / lines.len().max(1),
        rest = lines.len() - works - options
    ));
    let captured = works + count(|line| line.captured == Captured::Works);
    let rooted = captured + count(|line| line.captured == Captured::WithRoots);
    for (count, flag) in [(captured, "--capture"), (rooted, "--capture-roots")] {
        say(&format!(
            "{count} of {all} with {flag} ({share} %)",
            all = lines.len(),
            share = count * 100 / lines.len().max(1)
        ));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn no_client_stands_in_the_table_twice() {
    let clients = table::clients()
        .into_iter()
        .chain(python::clients())
        .chain(node::clients());
    let mut names: Vec<String> = clients.map(|client| client.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// Checks that a client which accepts a server by a variable of the user's still does so under an amb that decrypts others.
///
/// `value` makes the variable's value of a file with the server's authority.
#[track_caller]
fn check_kept(client: &Client, variable: &str, value: impl Fn(&Path) -> OsString) {
    let places = Places::find();
    if client.installed(&places).is_none() {
        return say_skipped(&format!("{} is not installed", client.name));
    }
    let known = Authority::new();
    let server = Server::start(&known);
    let value = value(&known.pem_file());
    let bare = clean(Amb::bare()).env(variable, &value);
    let (accepts, _, said) = client.accepts(&client.script, &places, bare, &server, &server.url());
    assert!(accepts, "{} does not read {variable}: {said}", client.name);
    let run = clean(Amb::run([
        "--summary=off",
        "--intercept=other.test",
        "--proxy-loopback",
    ]));
    let run = run.env(variable, &value);
    let (accepts, seen, said) = client.accepts(&client.script, &places, run, &server, &server.url());
    assert!(accepts, "{}, {variable}: {seen:?}\n{said}", client.name);
}

#[test]
fn what_a_program_trusted_before_it_trusts_still() {
    let same = |file: &Path| file.as_os_str().to_owned();
    let all: Vec<Client> = table::clients()
        .into_iter()
        .chain(python::clients())
        .chain(node::clients())
        .collect();
    let client = |name: &str| all.iter().find(|client| client.name == name).unwrap();
    check_kept(client("curl"), "SSL_CERT_FILE", same);
    check_kept(client("curl"), "CURL_CA_BUNDLE", same);
    check_kept(client("git"), "GIT_SSL_CAINFO", same);
    check_kept(client("Python, requests"), "REQUESTS_CA_BUNDLE", same);
    check_kept(client("npm"), "NODE_EXTRA_CA_CERTS", same);
    check_kept(client("npm"), "npm_config_cafile", same);
    check_kept(client("Perl, Mojolicious"), "MOJO_CA_FILE", same);
    check_kept(client("wget"), "WGETRC", |file| {
        let settings = file.with_extension("wgetrc");
        fs::write(&settings, format!("ca_certificate = {}", file.display())).unwrap();
        settings.into()
    });
    check_kept(client("PHP, streams"), "SSL_CERT_FILE", same);
}
