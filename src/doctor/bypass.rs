//! `amb doctor --run`: what goes around amb while a command runs. The command runs once, under an `amb run` of its own; the
//! kernel's table of sockets says meanwhile what it and all that comes from it has connected, and whoever did not connect to
//! amb is told with a reason.

mod around;
mod family;
mod reason;
mod runtime;
mod sockets;
mod watch;

use std::{env, ffi::OsString, fs, io, path::Path, time::Duration};

use rustix::stdio::{dup2_stdout, stderr, stdout};
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use self::{
    around::{Around, around, hosts, missed, names},
    reason::Kind,
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

/// What the looking cannot see.
const LIMITS: [&str; 3] = [
    "Not listed: a connection that came and went between two looks; UDP that is sent without connect(); sockets of processes \
     that amb may not look into (another user's).",
    "Unix sockets stay on this machine, and are not listed.",
    "`amb run --capture` leads to amb what goes around, and --confine tcp lets no TCP around it.",
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
    let mut signals = Signals::listen(ProcessGroup::Auto.resolve(), false)?;
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
        capture: None,
    };
    let child = spawn.start(&settings, &mut signals)?;
    let watcher = Watcher::start(child.id().unsigned_abs(), args.console.verbose > 0)?;
    let ended = Supervisor::new(child, &settings, None).run(&mut signals, Vec::new());
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
    let last = format!(
        "{} {words}; the command ended with {}\n",
        state.mark(stream),
        run.status
    );
    text + &last
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{around::tests::sighting, sockets::Transport, *};
    use crate::report::text::Charset;

    #[test]
    fn the_end_says_how_many_went_around_and_how_the_command_ended() {
        let around = around(
            &Seen {
                sightings: vec![sighting(Transport::Tcp, "10.0.0.2:80", 7, 1)],
                ..Seen::default()
            },
            &BTreeMap::new(),
            <[String]>::to_vec,
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
}
