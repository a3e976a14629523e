//! What is told of a run: plain values that the run fills in and every report reads.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::traffic::{
    assertion::Assertion,
    meter::{OTHER_HOST, Traffic},
};

/// Certificates that are warned of; the report has all of them.
const MOST_EXPIRING: usize = 10;

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The run itself.
    pub run: Run,
    /// How the child ended.
    pub child: Child,
    /// How amb is going to end.
    pub exit: Exit,
    /// What passed.
    pub traffic: Traffic,
    /// What was asserted of it, in the order of the names.
    pub assertions: Vec<Assertion>,
    /// What the user should know of and could not see: lost log lines, reports that could not be written.
    pub warnings: Vec<Warning>,
    /// Tasks of amb's own that panicked. Not zero means a bug, and figures that may be too low.
    pub panicked_tasks: u64,
    /// Processes of the child's that live on without their proxy; none if it could not be found out.
    pub leftovers: Option<usize>,
    /// What becomes of what the rules of `[egress]` deny: `enforce` or `audit`; none if there are no rules.
    pub egress: Option<&'static str>,
    /// Report files that were written, as the user named them.
    pub reports: Vec<String>,
}

impl Summary {
    /// All there is to warn of: what the run has collected, and what the figures themselves give reason for.
    pub fn all_warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        if self.panicked_tasks > 0 {
            let message = format!(
                "degraded: {} of amb's own tasks failed, which is a bug; the figures may be too low",
                self.panicked_tasks
            );
            warnings.push(Warning::new("degraded", message));
        }
        if let Some(other) = self.traffic.hosts.iter().find(|host| host.host == OTHER_HOST) {
            let message = format!(
                "too many hosts to tell all apart: {} requests and {} tunnels are summed up as {OTHER_HOST}",
                other.requests.total, other.tunnels.total
            );
            warnings.push(Warning::new("hosts_beyond_limit", message));
        }
        for (reason, count) in &self.traffic.edits.unedited {
            let message = format!("left as it was {count} times, where it should have been edited: {reason}");
            warnings.push(Warning::new("unedited", message));
        }
        let beyond = self.traffic.failures_beyond + self.traffic.denials_beyond;
        if beyond > 0 {
            let message = format!("too many different failures to tell all apart: {beyond} are only counted");
            warnings.push(Warning::new("failures_beyond_limit", message));
        }
        let now = self.run.started_at + self.run.duration;
        let expiring = self.traffic.hosts.iter().filter_map(|host| {
            let left = host.tls.as_ref()?.valid?.ends_soon(now)?;
            let message = format!(
                "the certificate of {}:{} expires in {}",
                host.host,
                host.port,
                span(left)
            );
            Some(Warning::new("certificate_expires", message))
        });
        warnings.extend(expiring.take(MOST_EXPIRING));
        warnings
    }
}

/// A span of time in the largest unit that it fills: `3 days`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3_600.. => (seconds / 3_600, "hour"),
        _ => (seconds / 60, "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The run itself.
#[derive(Clone, Debug)]
pub struct Run {
    /// Tells this run from every other.
    pub id: String,
    /// The trace that it put its requests in, or began; none if it did neither.
    pub trace_id: Option<String>,
    /// What the user calls it; the command's name if nothing else was said.
    pub name: String,
    /// The command and its arguments; what is not Unicode in them is replaced.
    pub command: Vec<String>,
    /// When it began, by the wall clock.
    pub started_at: SystemTime,
    /// From its beginning to the end of the child.
    pub duration: Duration,
    /// Where the configuration came from, weakest first: files, variables, flags.
    pub config_sources: Vec<String>,
    /// The central policy that it was under; none if there is none.
    pub policy: Option<CentralPolicy>,
    /// What the kernel has held the command to: `tcp`; none if to nothing.
    pub confine: Option<&'static str>,
    /// What came of capturing its connections; none if they were not captured.
    pub capture: Option<Capture>,
    /// amb's own version.
    pub amb_version: String,
}

/// What came of the connections of a command that no proxy was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// Those that were led to amb.
    pub connections: u64,
    /// Those that went where they wanted and should not have, with other calls that amb could not look at.
    pub around: u64,
    /// How often a bundle of roots that the command opened had amb's authority in it; absent if none was to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<u64>,
}

/// A central policy, and what it had to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CentralPolicy {
    /// What it is called: the ids of its files, with commas.
    pub id: String,
    /// Its files.
    pub paths: Vec<String>,
    /// What it has brought back to its bounds.
    pub clamped: Vec<Clamped>,
    /// Who has lifted what it enforces; absent if nobody has.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Lifted>,
}

/// What somebody has lifted of a central policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lifted {
    /// Who: the user's name, or number if there is none.
    pub user: String,
    /// The group by which they may.
    pub group: String,
    /// Why, in their words.
    pub reason: String,
    /// How long the run may take.
    pub max_duration_seconds: f64,
    /// The files that do not bind the run.
    pub files: Vec<String>,
}

/// A value that a central policy has brought back to its bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clamped {
    /// Its key.
    pub key: String,
    /// What was asked for; null if nothing was.
    pub asked: serde_json::Value,
    /// What holds.
    pub got: serde_json::Value,
}

/// How the child ended.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its process identifier; none if it never started.
    pub pid: Option<u32>,
    /// The status it exited with, if it did.
    pub exit_code: Option<i32>,
    /// What killed it, if something did.
    pub signal: Option<Signal>,
    /// In a word.
    pub outcome: ChildOutcome,
}

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number on this system.
    pub number: i32,
    /// Its name: `SIGTERM`.
    pub name: String,
}

/// How the child ended, in a word; these are the words of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChildOutcome {
    /// It exited by itself.
    Exited,
    /// A signal killed it.
    Signalled,
    /// amb ended it because its time was up.
    TimedOut,
    /// It could not be started.
    NotStarted,
    /// amb does not know: it had to end first.
    Lost,
    /// It has not ended: what is told is the run so far.
    Running,
    /// There was none: amb has served others.
    Absent,
}

impl ChildOutcome {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Exited,
        Self::Signalled,
        Self::TimedOut,
        Self::NotStarted,
        Self::Lost,
        Self::Running,
        Self::Absent,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signalled => "signalled",
            Self::TimedOut => "timed_out",
            Self::NotStarted => "not_started",
            Self::Lost => "lost",
            Self::Running => "running",
            Self::Absent => "absent",
        }
    }
}

/// How amb is going to end.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The status a shell will see; 128 + n when the child was killed by signal n and amb goes the same way.
    pub code: i32,
    /// What decided it.
    pub reason: ExitReason,
}

/// What decided how amb ends; these are the words of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The child's own status.
    Child,
    /// The signal that killed the child.
    Signal,
    /// The child's time was up.
    RunTimeout,
    /// The child ended well, and a rule was broken that is to fail the run.
    PolicyViolation,
    /// The child ended well or was stopped for it, and an assertion does not hold.
    AssertionFailed,
    /// amb or the child could not start, or amb failed.
    Startup,
    /// Nothing yet: what is told is the run so far.
    Running,
    /// There was no child, and amb ended when it was to.
    Stopped,
}

impl ExitReason {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Child,
        Self::Signal,
        Self::RunTimeout,
        Self::PolicyViolation,
        Self::AssertionFailed,
        Self::Startup,
        Self::Running,
        Self::Stopped,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Child => "child",
            Self::Signal => "signal",
            Self::RunTimeout => "run_timeout",
            Self::PolicyViolation => "policy_violation",
            Self::AssertionFailed => "assertion_failed",
            Self::Startup => "startup",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// Something the user should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// A stable name for programs: `report_not_written`.
    pub code: String,
    /// A sentence for people, without a full stop.
    pub message: String,
}

impl Warning {
    /// A warning.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}
