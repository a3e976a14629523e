//! `amb doctor --run`: what goes around amb while a command runs. The command runs once, under an `amb run` of its own; the
//! kernel's table of sockets says meanwhile what it and all that comes from it has connected, and whoever did not connect to
//! amb is told with a reason.

mod family;
mod reason;
mod runtime;
mod sockets;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    ffi::OsString,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::stdio::{dup2_stdout, stderr, stdout};
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use self::{
    reason::{Kind, Reason},
    runtime::Runtime,
    sockets::Transport,
    watch::{Seen, Watcher},
};
use super::{
    Findings,
    check::{self, Check, State},
};
use crate::{
    cli::{self, config::LayerArgs, doctor::DoctorArgs},
    config::{self, Config},
    exit::Exit,
    report::{
        color::{HEADING, Stream},
        document::Document,
        human,
        text::duration,
    },
    supervise::{ChildExit, Ended, ProcessGroup, Settings, Signals, Spawn, SpawnError, Supervisor},
};

/// Processes that are named of many that did the same.
const NAMED: usize = 3;

/// What the looking cannot see.
const LIMITS: [&str; 3] = [
    "Not listed: a connection that came and went between two looks; UDP that is sent without connect(); sockets of processes \
     that amb may not look into (another user's).",
    "Unix sockets stay on this machine, and are not listed.",
    "`amb run --confine tcp` lets no TCP go around amb.",
];

/// Why there was no run to look at.
#[derive(Debug, Error)]
enum RunError {
    /// The system is out of something.
    #[error("the command cannot be looked at: {0}")]
    System(#[from] io::Error),
    /// amb cannot be started once more.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// What was found while the command ran.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunFindings {
    /// The command, redacted.
    command: Vec<String>,
    /// The status of `amb run`: the command's own, or 128 and the number of the signal that ended it.
    status: i32,
    /// What went around amb, what is worst first.
    around: Vec<Around>,
    /// How often the sockets were looked at.
    looks: u64,
    /// The longest time between two looks, in seconds: what was shorter may be missing.
    longest_gap_seconds: f64,
    /// What cannot be seen this way, for people.
    limits: Vec<String>,
    /// The report of the run, as `amb run --report` writes it; null if there is none.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    report: Option<serde_json::Value>,
}

/// Connections of one program to one place that did not lead to amb.
#[derive(Debug, Serialize, JsonSchema)]
struct Around {
    /// How bad it is.
    state: State,
    /// In which way they went around.
    kind: Kind,
    /// How bytes travel.
    transport: Transport,
    /// Where they lead: an address and a port.
    #[schemars(with = "String")]
    destination: SocketAddr,
    /// What the address is called in the system's table of hosts.
    names: Vec<String>,
    /// How many they were.
    connections: usize,
    /// Whose they were.
    processes: Vec<Holder>,
    /// What the program is made with; null if nobody knows.
    runtime: Option<&'static str>,
    /// Why they went around, for people.
    reason: String,
    /// What to do about it, for people; null if there is nothing to be done.
    remedy: Option<String>,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
struct Holder {
    /// Its id.
    pid: u32,
    /// What it was started with, redacted.
    command: Vec<String>,
    /// Its executable; null if that may not be known.
    #[schemars(with = "Option<String>")]
    executable: Option<PathBuf>,
}

/// Runs the command, and tells what went around amb.
pub(super) fn run(args: &DoctorArgs) -> Exit {
    match watched(args) {
        Ok(findings) => tell(&findings, args),
        Err(reason) => {
            cli::say(&reason);
            Exit::Negative
        }
    }
}

/// Runs the command, and finds out what went around amb.
fn watched(args: &DoctorArgs) -> Result<Findings, RunError> {
    let environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    let config = config::inspect(&args.layers.request()).ok().map(|(config, _)| config);
    let mut signals = Signals::listen(ProcessGroup::Auto.resolve())?;
    let scratch = tempfile::tempdir()?;
    let report = scratch.path().join("report.json");
    let command = command(args, &report)?;
    // What the command says would stand among the JSON.
    let kept = args.json.then(|| rustix::io::dup(stdout())).transpose();
    let kept = kept.map_err(io::Error::from)?;
    if args.json {
        dup2_stdout(stderr()).map_err(io::Error::from)?;
    }
    let settings = Settings::default();
    let spawn = Spawn {
        command: &command,
        inherited: &environment,
        changes: Vec::new(),
        restore_nofile: None,
        confinement: None,
    };
    let child = spawn.start(&settings, &mut signals)?;
    let watcher = Watcher::start(child.id().unsigned_abs(), args.console.verbose > 0)?;
    let ended = Supervisor::new(child, &settings).run(&mut signals, Vec::new(), None);
    let seen = watcher.finish();
    if let Some(kept) = kept {
        dup2_stdout(kept).map_err(io::Error::from)?;
    }
    let report = fs::read(&report).ok().and_then(|bytes| Document::read(&bytes).ok());
    Ok(findings(args, config.as_ref(), ended, &seen, report.as_ref()))
}

/// `amb run`, with the same layers of configuration.
fn command(args: &DoctorArgs, report: &Path) -> io::Result<Vec<OsString>> {
    let mut words: Vec<OsString> = vec![env::current_exe()?.into(), "run".into(), "--summary=off".into()];
    let mut json = OsString::from("json=");
    json.push(report);
    words.extend(["--report".into(), json]);
    let LayerArgs {
        config,
        profiles,
        set,
        no_config,
    } = &args.layers;
    if let Some(file) = config {
        words.extend(["--config".into(), file.into()]);
    }
    for profile in profiles {
        words.extend(["--profile".into(), profile.into()]);
    }
    for set in set {
        words.extend(["--set".into(), set.into()]);
    }
    if *no_config {
        words.push("--no-config".into());
    }
    if args.console.quiet {
        words.push("--quiet".into());
    }
    words.extend((0..args.console.verbose).map(|_| "-v".into()));
    words.push("--".into());
    words.extend(args.command.iter().cloned());
    Ok(words)
}

/// What all that was seen comes to.
fn findings(
    args: &DoctorArgs,
    config: Option<&Config>,
    ended: Ended,
    seen: &Seen,
    report: Option<&Document>,
) -> Findings {
    let redact = |words: &[String]| -> Vec<String> {
        match config {
            Some(config) => config.policy.redact.arguments(words.iter().map(String::as_str)),
            // Without the rules nobody knows what is a secret.
            None => words.iter().take(1).cloned().collect(),
        }
    };
    let around = around(seen, &hosts(), redact);
    let mut checks: Vec<Check> = around
        .iter()
        .filter(|around| around.kind != Kind::Dns)
        .map(Around::check)
        .collect();
    checks.extend(names(&around));
    checks.extend(missed(seen, report));
    let status = match ended.status {
        ChildExit::Code(code) => code,
        ChildExit::Signal(number) => 128 + number,
    };
    if report.is_none() {
        let detail = format!("has not run, or left no report: status {status}");
        let check = Check::fail("around.command", "command", detail);
        checks.push(check.with_remedy("see what amb said of it; `amb help exit-codes` explains the status"));
    }
    if let Some(reason) = &seen.failure {
        checks.push(Check::fail(
            "around",
            "sockets",
            format!("cannot be looked at: {reason}"),
        ));
    } else if checks.iter().all(|check| check.state == State::Ok) {
        let detail = "nothing else was seen to go around amb";
        let detail = if checks.is_empty() {
            "nothing was seen to go around amb"
        } else {
            detail
        };
        checks.insert(0, Check::ok("around", "sockets", detail));
    }
    let command: Vec<String> = args
        .command
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Findings::new(
        checks,
        Vec::new(),
        Some(RunFindings {
            command: redact(&command),
            status,
            around,
            looks: seen.looks,
            longest_gap_seconds: seen.longest_gap.as_secs_f64(),
            limits: LIMITS.map(str::to_owned).to_vec(),
            report: report.and_then(|report| report.to_value().ok()),
        }),
    )
}

/// What went around, connections of one program to one place together, what is worst first.
fn around(
    seen: &Seen,
    hosts: &BTreeMap<IpAddr, Vec<String>>,
    redact: impl Fn(&[String]) -> Vec<String>,
) -> Vec<Around> {
    let mut runtimes: HashMap<Option<PathBuf>, Runtime> = HashMap::new();
    let mut found: Vec<(Option<String>, Around)> = Vec::new();
    for sighting in seen.around() {
        let (socket, process) = (&sighting.socket, &sighting.process);
        let runtime = runtimes
            .entry(process.executable.clone())
            .or_insert_with(|| Runtime::of(process));
        let names = hosts.get(&socket.remote.ip()).cloned().unwrap_or_default();
        let Reason { kind, text, remedy } = reason::explain(socket, process, runtime, &names);
        let program = process.words.first().cloned();
        let same = found.iter_mut().find(|(known, around)| {
            *known == program
                && (around.kind, around.transport, around.destination) == (kind, socket.transport, socket.remote)
                && around.reason == text
        });
        let around = match same {
            Some((_, around)) => around,
            None => {
                let around = Around {
                    state: kind.state(),
                    kind,
                    transport: socket.transport,
                    destination: socket.remote,
                    names,
                    connections: 0,
                    processes: Vec::new(),
                    runtime: runtime.word(),
                    reason: text,
                    remedy,
                };
                found.push((program, around));
                let Some((_, around)) = found.last_mut() else { continue };
                around
            }
        };
        around.connections += 1;
        if around.processes.iter().all(|known| known.pid != process.pid) {
            around.processes.push(Holder {
                pid: process.pid,
                command: redact(&process.words),
                executable: process.executable.clone(),
            });
        }
    }
    let mut around: Vec<Around> = found.into_iter().map(|(_, around)| around).collect();
    around.sort_by_key(|around| std::cmp::Reverse(around.state));
    around
}

/// What was closed before it could be looked at, but for what leads where amb itself has connected to; none if there is nothing.
fn missed(seen: &Seen, report: Option<&Document>) -> Option<Check> {
    let own: BTreeSet<String> = report
        .iter()
        .flat_map(|report| &report.hosts)
        .map(|host| format!("{}:{}", host.name, host.port))
        .collect();
    let missed = seen.missed();
    let missed = missed.iter().filter(|(place, _)| !own.contains(&place.to_string()));
    let places: Vec<String> = missed.map(|(place, count)| format!("{place} ({count})")).collect();
    if places.is_empty() {
        return None;
    }
    let detail = format!(
        "connections to {} came and went between two looks: nobody can say any more whose they were",
        places.join(", ")
    );
    let check = Check::warn("around.missed", "too short", detail);
    Some(check.with_remedy("run it again where little else runs; --confine tcp lets no TCP go around"))
}

/// What addresses are called in `/etc/hosts`.
fn hosts() -> BTreeMap<IpAddr, Vec<String>> {
    named(&fs::read_to_string("/etc/hosts").unwrap_or_default())
}

/// What addresses are called in the text of a table of hosts. Those of this machine itself have names that say nothing.
fn named(table: &str) -> BTreeMap<IpAddr, Vec<String>> {
    let mut found: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for line in table.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        if let Some(address) = address.filter(|address| !address.is_loopback()) {
            found.entry(address).or_default().extend(words.map(ToOwned::to_owned));
        }
    }
    found
}

impl Around {
    /// It as one of the checks.
    fn check(&self) -> Check {
        let mut title = format!("{} {}", self.transport.name(), self.destination);
        if let Some(name) = self.names.first() {
            title = format!("{title} ({name})");
        }
        let count = if self.connections > 1 {
            format!("{} connections: ", self.connections)
        } else {
            String::new()
        };
        let mut lines: Vec<String> = self.processes.iter().take(NAMED).map(Holder::line).collect();
        if self.processes.len() > NAMED {
            lines.push(format!("and {} more", self.processes.len() - NAMED));
        }
        lines.push(format!("{count}{}", self.reason));
        let word = serde_json::to_value(self.kind).ok();
        let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        Check {
            id: format!("around.{word}"),
            state: self.state,
            title,
            detail: lines.join("\n"),
            remedy: self.remedy.clone(),
            verdict: None,
        }
    }
}

impl Holder {
    /// `curl http://a.test (pid 4711)`
    fn line(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let words = if words.is_empty() {
            "a process that has no words".to_owned()
        } else {
            words.join(" ")
        };
        format!("{words} (pid {})", self.pid)
    }
}

/// A word as a shell would have to be given it, but for line breaks, which are shown.
fn quoted(word: &str) -> String {
    let word = &word.replace('\n', "\\n");
    let plain = |letter: char| letter.is_alphanumeric() || "-_=+./:,@%^".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// One line for all who looked up names; none if nobody did.
fn names(around: &[Around]) -> Option<Check> {
    let asked: Vec<&Around> = around.iter().filter(|around| around.kind == Kind::Dns).collect();
    if asked.is_empty() {
        return None;
    }
    let servers: BTreeSet<String> = asked.iter().map(|around| around.destination.to_string()).collect();
    let programs: BTreeSet<&str> = asked
        .iter()
        .flat_map(|around| &around.processes)
        .filter_map(|holder| holder.command.first()?.rsplit('/').next())
        .collect();
    let list = |words: Vec<&str>| words.join(", ");
    let detail = format!(
        "{} asked {} for names, as programs do that connect by themselves",
        list(programs.into_iter().collect()),
        list(servers.iter().map(String::as_str).collect())
    );
    Some(Check::ok("around.dns", "DNS", detail))
}

/// Tells what was found. The status says whether something went around.
fn tell(findings: &Findings, args: &DoctorArgs) -> Exit {
    let stream = Stream::stdout(args.console.color);
    let printed = if args.json {
        findings.print_json()
    } else {
        cli::print(text(findings, &stream, args.console.quiet))
    };
    if check::worst(&findings.checks) == State::Fail {
        Exit::Negative
    } else {
        printed
    }
}

/// All of it for people.
fn text(findings: &Findings, stream: &Stream, quiet: bool) -> String {
    // The command may have left its last line open.
    let mut text = String::from("\n") + &check::section("Around amb", &findings.checks, stream);
    let Some(run) = &findings.run else { return text };
    text.push('\n');
    text.push_str(&stream.paint(HEADING, "Through amb"));
    text.push('\n');
    let report = run
        .report
        .as_ref()
        .and_then(|report| Document::read(report.to_string().as_bytes()).ok());
    match report {
        Some(report) => text.push_str(&human::tell(&report.revive(), stream)),
        None => text.push_str("there is no report of the run\n"),
    }
    text.push('\n');
    let gap = Duration::from_secs_f64(run.longest_gap_seconds);
    let looked = format!(
        "The sockets were looked at {} times, at most {} apart.",
        run.looks,
        duration(gap, stream.charset)
    );
    if !quiet {
        for line in std::iter::once(looked.as_str()).chain(LIMITS) {
            text.push_str(&check::wrapped(line, stream, 0));
        }
    }
    let ways: usize = run
        .around
        .iter()
        .filter(|it| it.state == State::Fail)
        .map(|it| it.connections)
        .sum();
    let state = check::worst(&findings.checks);
    let words = match ways {
        0 if state == State::Fail => "what went around amb could not be seen".to_owned(),
        0 => "nothing went around amb that should not".to_owned(),
        1 => "1 connection went around amb".to_owned(),
        many => format!("{many} connections went around amb"),
    };
    text.push_str(&format!(
        "{} {words}; the command ended with {}\n",
        state.mark(stream),
        run.status
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::bypass::{family::Process, sockets::Socket, watch::Sighting},
        report::text::Charset,
    };

    /// A sighting of a connection of this process.
    fn sighting(transport: Transport, remote: &str, pid: u32, times: u32) -> Sighting {
        Sighting {
            socket: Socket {
                transport,
                local: "10.0.0.1:5000".parse().unwrap(),
                remote: remote.parse().unwrap(),
                listens: false,
                inode: pid,
            },
            process: Process {
                pid,
                words: vec!["/opt/app".to_owned(), "--password".to_owned(), "x y".to_owned()],
                executable: None,
                variables: Some([("http_proxy".to_owned(), "http://127.0.0.1:9000".to_owned())].into()),
            },
            times,
        }
    }

    #[test]
    fn connections_of_one_program_to_one_place_are_one_thing() {
        let seen = Seen {
            sightings: vec![
                sighting(Transport::Udp, "9.9.9.9:53", 6, 1),
                sighting(Transport::Tcp, "10.0.0.2:80", 7, 1),
                sighting(Transport::Tcp, "10.0.0.2:80", 8, 5),
                sighting(Transport::Tcp, "10.0.0.2:80", 8, 5),
                sighting(Transport::Tcp, "127.0.0.1:9000", 8, 5),
                // Too short to have sent something.
                sighting(Transport::Udp, "10.0.0.2:443", 8, 1),
                sighting(Transport::Udp, "10.0.0.3:443", 8, 2),
            ],
            proxies: ["127.0.0.1:9000".parse().unwrap()].into(),
            ..Seen::default()
        };
        let table = named("# none\n10.0.0.2 db.test db # yes\n127.0.0.1 localhost\n");
        let around = around(&seen, &table, |words| words.to_vec());
        let shown: Vec<_> = around
            .iter()
            .map(|it| (it.kind, it.destination.to_string(), it.connections, it.processes.len()))
            .collect();
        assert_eq!(
            shown,
            [
                (Kind::IgnoresProxy, "10.0.0.2:80".to_owned(), 3, 2),
                (Kind::Quic, "10.0.0.3:443".to_owned(), 1, 1),
                (Kind::Dns, "9.9.9.9:53".to_owned(), 1, 1),
            ]
        );
        let check = around[0].check();
        assert_eq!(
            (check.id.as_str(), check.title.as_str()),
            ("around.ignores_proxy", "TCP 10.0.0.2:80 (db.test)")
        );
        assert!(
            check.detail.starts_with("/opt/app --password 'x y' (pid 7)\n"),
            "{}",
            check.detail
        );
        let dns = names(&around).unwrap();
        assert_eq!(
            dns.detail,
            "app asked 9.9.9.9:53 for names, as programs do that connect by themselves"
        );
    }

    #[test]
    fn the_end_says_how_many_went_around_and_how_the_command_ended() {
        let around = around(
            &Seen {
                sightings: vec![sighting(Transport::Tcp, "10.0.0.2:80", 7, 1)],
                ..Seen::default()
            },
            &BTreeMap::new(),
            |words| words.to_vec(),
        );
        let checks = around.iter().map(Around::check).collect();
        let run = RunFindings {
            command: vec!["x".to_owned()],
            status: 3,
            around,
            looks: 9,
            longest_gap_seconds: 0.012,
            limits: Vec::new(),
            report: None,
        };
        let stream = Stream {
            terminal: false,
            color: false,
            charset: Charset::Unicode,
            columns: 100,
        };
        let text = text(&Findings::new(checks, Vec::new(), Some(run)), &stream, false);
        assert!(text.contains("looked at 9 times, at most 12ms apart."), "{text}");
        assert!(
            text.ends_with("✗ 1 connection went around amb; the command ended with 3\n"),
            "{text}"
        );
    }

    #[test]
    fn a_word_is_shown_as_a_shell_takes_it() {
        for (word, shown) in [
            ("a-b=c", "a-b=c"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("*", "'*'"),
            ("a\nb", "'a\\nb'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
