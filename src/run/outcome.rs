//! What a run came to, and telling it: the summary on stderr, the report files, and the exit status. Nothing that goes wrong
//! in here changes that.

use std::{
    io,
    time::{Duration, SystemTime},
};

use super::{Kind, Purpose, capture, learn};
use crate::{
    assert::Facts,
    config::{Config, Governed, Sources},
    exit::Exit,
    policy::retry::Level,
    proxy::Drained,
    report::{
        SummaryMode,
        access_log::AccessLogEnd,
        color::Stream,
        document::Document,
        file::{OutputFile, ReportFile},
        har::Keeper,
        human,
        kept::Kept,
    },
    supervise::{ChildExit, Confine, Dismissal, Ended, Signal, Stopped, write_stderr},
    traffic::{
        assertion::Assertion,
        summary::{self, ChildOutcome, ExitReason, Summary, Warning},
    },
};

/// How a run came to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The child has ended.
    Child {
        /// Its process id.
        pid: i32,
        /// How it ended.
        ended: Ended,
    },
    /// There was no child, and amb was to end.
    Dismissed(Dismissal),
}

impl End {
    /// How amb is to end if nothing else is found.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Child { ended, .. } => ended.into(),
            Self::Dismissed(Dismissal::TimedOut) => Exit::TimedOut,
            Self::Dismissed(_) => Exit::Done,
        }
    }

    /// Whether an assertion has stopped it.
    fn is_by_watch(self) -> bool {
        match self {
            Self::Child { ended, .. } => ended.stopped == Some(Stopped::ByWatch),
            Self::Dismissed(dismissal) => dismissal == Dismissal::ByWatch,
        }
    }

    /// The child as the reports see it.
    pub(super) fn child(self) -> summary::Child {
        match self {
            Self::Child { pid, ended } => child(pid, ended),
            Self::Dismissed(_) => summary::Child {
                pid: None,
                exit_code: None,
                signal: None,
                outcome: ChildOutcome::Absent,
            },
        }
    }
}

/// A run that is over.
pub(super) struct Outcome<'a> {
    /// What it was for.
    pub(super) purpose: Purpose<'a>,
    /// What was configured.
    pub(super) config: &'a Config,
    /// Where that came from.
    pub(super) sources: &'a Sources,
    /// The run's id.
    pub(super) run_id: String,
    /// When it began.
    pub(super) started_at: SystemTime,
    /// From then to the child's end.
    pub(super) duration: Duration,
    /// How it came to its end.
    pub(super) end: End,
    /// What passed.
    pub(super) drained: Drained,
    /// Tasks of the proxy that panicked.
    pub(super) panicked: u64,
    /// The assertion that stopped the run; none if none did.
    pub(super) aborted: Option<Assertion>,
    /// What became of the access log and of the events.
    pub(super) logs: [Option<AccessLogEnd>; 2],
    /// What a collector lacks; none if it lacks nothing, or nothing was exported.
    pub(super) lacking: Option<Warning>,
    /// What came of capturing connections.
    pub(super) capture: capture::Found,
    /// The requests that were kept for reports; none if no report tells them.
    pub(super) requests: Option<Keeper>,
}

impl Outcome<'_> {
    /// Writes the report files, tells others by `tell`, which returns what to warn of, then writes the summary, which says what could
    /// not be written. Returns how amb is to end.
    pub(super) fn report(
        self,
        reports: Vec<ReportFile>,
        learned: Option<OutputFile>,
        tell: impl FnOnce(&Summary) -> Vec<Warning>,
        stderr: &Stream,
    ) -> Exit {
        let mode = match self.config.report.summary {
            // Who leaves a shell wants to know what came of it, even if all went well.
            SummaryMode::Auto if self.purpose.kind == Kind::Shell && stderr.terminal => SummaryMode::Full,
            mode => mode,
        };
        let quiet = self.purpose.console.quiet;
        let keep = self.config.report.keep;
        let requests = self.requests.as_ref().map(Keeper::take).unwrap_or_default();
        let service = self.config.report.ci.service(|name| std::env::var_os(name));
        let (mut summary, exit) = self.summary();
        if let Some(lockfile) = learned
            && let Err(warning) = learn::write(lockfile, &summary.traffic, exit)
        {
            summary.warnings.push(warning);
        }
        summary.warnings.extend(requests.warning());
        summary.reports = reports.iter().map(|file| file.path().display().to_string()).collect();
        for file in reports {
            let path = file.path().display().to_string();
            let written = Document::of(&summary)
                .veiled()
                .map_err(|reason| format!("cannot write the report {path}: {reason}"));
            let written =
                written.and_then(|document| file.write(&document, &requests).map_err(|error| error.to_string()));
            if let Err(error) = written {
                summary.reports.retain(|written| *written != path);
                summary.warnings.push(Warning::new("report_not_written", error));
            }
        }
        if keep > 0
            && let Err(reason) = kept(&summary, keep)
        {
            let message = format!("cannot keep the report: {reason}");
            summary.warnings.push(Warning::new("report_not_kept", message));
        }
        let warnings = tell(&summary);
        summary.warnings.extend(warnings);
        if let Some(service) = service {
            summary
                .warnings
                .extend(service.write_files(&summary, |name| std::env::var_os(name)));
        }
        if quiet {
            // An error stays.
            if summary.exit.reason == ExitReason::AssertionFailed {
                write_stderr(&human::verdict_alone(&summary));
            }
        } else {
            let text = human::render(&summary, mode, stderr);
            match service {
                Some(service) => write_stderr(&service.framed(&summary, &text)),
                None => write_stderr(&text),
            }
        }
        exit
    }

    /// How amb is to end: as the child did, unless that ended well and a rule was broken, or something does not hold, that is to
    /// fail the run.
    fn exit(&self, breaks_rules: bool, assertions: &[Assertion]) -> Exit {
        let ended = self.end.exit();
        let policy_fails = self.config.policy.egress.as_ref().is_some_and(|egress| egress.fails);
        let fails = !self.config.report.no_fail && assertions.iter().any(Assertion::fails);
        if self.end.is_by_watch() {
            Exit::AssertionFailed
        } else if ended.status() != 0 {
            ended
        } else if policy_fails && breaks_rules {
            Exit::PolicyViolated
        } else if fails {
            Exit::AssertionFailed
        } else {
            ended
        }
    }

    /// The run as the reports see it, and how amb is to end.
    fn summary(mut self) -> (Summary, Exit) {
        let mut warnings: Vec<Warning> = self
            .drained
            .lost
            .iter()
            .map(|reason| Warning::new("records_lost", reason))
            .collect();
        warnings.extend(self.logs.iter().flatten().filter_map(AccessLogEnd::warning));
        warnings.extend(self.lacking.take());
        warnings.extend(self.capture.warnings());
        let meter = std::mem::take(&mut self.drained.meter);
        let breaks_rules = meter.breaks_rules();
        let traffic = meter.finish();
        let withheld = traffic.credentials.warnings();
        warnings.extend(
            withheld
                .into_iter()
                .map(|said| Warning::new("credential_withheld", said)),
        );
        let child = self.end.child();
        let assertions = if self.config.assertions.is_empty() {
            Vec::new()
        } else {
            let facts = Facts {
                traffic: &traffic,
                duration: self.duration,
                child: Some(&child),
            };
            let mut judged = self.config.assertions.judge(&facts, self.aborted.as_ref());
            for assertion in judged.iter_mut().filter(|assertion| !assertion.passed()) {
                let key = ["assert".to_owned(), assertion.name.clone()];
                assertion.place = self.sources.sources(&key).pop().map(|source| source.place);
            }
            judged
        };
        let ends = self.exit(breaks_rules, &assertions);
        let exit = exit(self.end, ends);
        if self.config.policy.rules.retry.level == Level::All && traffic.retries.retries > 0 {
            let message = format!(
                "--retry all: {} requests were tried again, and may have been executed more than once",
                traffic.retries.retried
            );
            warnings.push(Warning::new("retries_may_repeat", message));
        }
        if let Some(broken) = self
            .sources
            .central
            .as_ref()
            .and_then(|central| central.broken.as_ref())
        {
            warnings.push(Warning::new("policy_overridden", broken.sentence()));
        }
        let marker = format!("{}={}", crate::inject::RUN_ID, self.run_id);
        let summary = Summary {
            run: summary::Run {
                duration: self.duration,
                capture: self.capture.figures(),
                // Only reports tell them, and to find them takes longer than all the rest.
                config_sources: if self.config.report.files.is_empty() && self.config.report.keep == 0 {
                    Vec::new()
                } else {
                    self.sources.places()
                },
                ..description(&self.purpose, self.config, self.sources, self.run_id, self.started_at)
            },
            child,
            exit,
            traffic,
            assertions,
            warnings,
            panicked_tasks: self.panicked,
            egress: egress(self.config),
            leftovers: match self.end {
                End::Child { ended, .. } => Some(ended.leftovers.count(marker.as_bytes())).filter(|count| *count > 0),
                End::Dismissed(_) => None,
            },
            reports: Vec::new(),
        };
        (summary, ends)
    }
}

/// The run itself, as the reports see it, before it is known how long it takes.
pub(super) fn description(
    purpose: &Purpose<'_>,
    config: &Config,
    sources: &Sources,
    id: String,
    started_at: SystemTime,
) -> summary::Run {
    let words: Vec<_> = purpose.command.iter().map(|word| word.to_string_lossy()).collect();
    summary::Run {
        id,
        trace_id: config.policy.trace.as_ref().map(|trace| trace.run.trace_id()),
        name: config.name.clone(),
        command: config.policy.redact.arguments(words.iter().map(|word| &**word)),
        started_at,
        duration: Duration::ZERO,
        config_sources: Vec::new(),
        policy: sources.central.as_ref().map(central_policy),
        confine: match config.supervise.confine {
            Confine::Off => None,
            Confine::Tcp => Some("tcp"),
        },
        capture: None,
        amb_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What becomes of what the rules of `[egress]` deny; none if there are no rules.
pub(super) fn egress(config: &Config) -> Option<&'static str> {
    let egress = config.policy.egress.as_ref()?;
    Some(if egress.enforced { "enforce" } else { "audit" })
}

/// Keeps the report, and of all that are kept the last `count`.
fn kept(summary: &Summary, count: usize) -> io::Result<()> {
    let environment: Vec<_> = std::env::vars_os().collect();
    let document = Document::of(summary).veiled().map_err(io::Error::other)?;
    Kept::of(&environment)?.keep(&document, count)
}

/// The central policy as the reports see it.
fn central_policy(governed: &Governed) -> summary::CentralPolicy {
    let clamped = governed.clamps.iter().map(|clamp| summary::Clamped {
        key: clamp.key.clone(),
        asked: clamp.asked.clone(),
        got: clamp.got.clone(),
    });
    summary::CentralPolicy {
        id: governed.id.clone(),
        paths: governed.paths.clone(),
        clamped: clamped.collect(),
        lifted: governed.broken.as_ref().map(|broken| summary::Lifted {
            user: broken.user.clone(),
            group: broken.group.clone(),
            reason: broken.reason.clone(),
            max_duration_seconds: broken.longest.as_secs_f64(),
            files: broken.files.clone(),
        }),
    }
}

/// How the child ended.
fn child(pid: i32, ended: Ended) -> summary::Child {
    let (exit_code, signal) = match ended.status {
        ChildExit::Code(code) => (Some(code), None),
        ChildExit::Signal(number) => (
            None,
            Some(summary::Signal {
                number,
                name: Signal::of(number).to_string(),
            }),
        ),
    };
    let outcome = match (&signal, ended.stopped == Some(Stopped::TimedOut)) {
        (_, true) => ChildOutcome::TimedOut,
        (Some(_), false) => ChildOutcome::Signalled,
        (None, false) => ChildOutcome::Exited,
    };
    summary::Child {
        pid: u32::try_from(pid).ok(),
        exit_code,
        signal,
        outcome,
    }
}

/// How amb is going to end.
fn exit(end: End, exit: Exit) -> summary::Exit {
    let reason = match (exit, end) {
        (Exit::PolicyViolated, _) => ExitReason::PolicyViolation,
        (Exit::AssertionFailed, _) => ExitReason::AssertionFailed,
        (Exit::TimedOut, _) => ExitReason::RunTimeout,
        (_, End::Dismissed(_)) => ExitReason::Stopped,
        (_, End::Child { ended, .. }) => match ended.status {
            ChildExit::Signal(_) => ExitReason::Signal,
            ChildExit::Code(_) => ExitReason::Child,
        },
    };
    summary::Exit {
        code: exit.status(),
        reason,
    }
}
