//! A run as its endpoints see it, while it goes on.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::Offer;
use crate::{
    proxy::{Look, Lookout},
    report::{
        document::{Document, time},
        openmetrics::Moment,
    },
    traffic::summary::{self, ChildOutcome, ExitReason, Summary},
};

/// The version of what the control socket answers.
pub const VERSION: &str = "1.0";

/// What does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `amb run`, and `amb shell`.
    Run,
    /// `amb serve`.
    Serve,
}

/// A run, and from where its workers can be looked at.
pub struct View {
    /// What it is.
    pub kind: Kind,
    /// The run itself; how long it has taken is filled in.
    pub run: summary::Run,
    /// The child's process id; none without a child.
    pub child: Option<u32>,
    /// Where it was started.
    pub directory: PathBuf,
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// Where its metrics can be scraped; none if they cannot.
    pub metrics: Option<SocketAddr>,
    /// What becomes of what the rules of `[egress]` deny: `enforce` or `audit`; none if there are no rules.
    pub egress: Option<&'static str>,
    /// The workers.
    pub lookout: Lookout,
    /// What others need to use the proxy.
    pub offer: Offer,
    /// Ends the run; none if it ends with its child.
    pub stop: Option<Box<dyn Fn() + Send + Sync>>,
}

/// A run in a few figures, as the control socket tells them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of all this.
    pub version: String,
    /// Tells the run from every other.
    pub id: String,
    /// What the user calls it; the command's name if nothing else was said.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// amb's own process id.
    pub pid: u32,
    /// The command's process id; null without a command.
    pub child_pid: Option<u32>,
    /// The command and its arguments, redacted.
    pub command: Vec<String>,
    /// Where it was started.
    pub directory: String,
    /// The proxy's URL.
    pub proxy: String,
    /// Where its metrics can be scraped; absent if they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// For how long it has been running.
    pub duration_seconds: f64,
    /// Exchanges that have ended.
    pub requests: u64,
    /// Of them, and of the tunnels, those that failed.
    pub failed: u64,
    /// Of them, and of the tunnels, those that amb refused.
    pub denied: u64,
    /// Tunnels that have ended.
    pub tunnels: u64,
    /// Exchanges and tunnels that have begun and not ended.
    pub open: u64,
    /// Bytes to servers, of what has ended.
    pub bytes_sent: u64,
    /// Bytes from servers, of what has ended.
    pub bytes_received: u64,
    /// amb's version.
    pub amb_version: String,
}

/// All that a live view shows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Live {
    /// The run in a few figures.
    pub status: Status,
    /// What is under way, the oldest first, as far as it began since somebody looks.
    pub under_way: Vec<UnderWay>,
    /// The report of the run so far.
    pub report: Document,
}

/// An exchange or tunnel that has begun and not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnderWay {
    /// The request's method; `CONNECT` for a tunnel.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// The port that was asked for.
    pub port: u16,
    /// How long ago it began.
    pub seconds: f64,
}

impl View {
    /// The run in a few figures.
    pub async fn status(&self) -> Status {
        let look = self.lookout.look().await;
        let open = look.open;
        self.status_of(&self.summary(look), open)
    }

    /// The report of the run so far.
    pub async fn document(&self) -> Document {
        Document::of(&self.summary(self.lookout.look().await))
    }

    /// The report of the run so far, and what is under way; none if there is a worker that does not say what it has.
    pub async fn moment(&self) -> Option<(Document, Moment)> {
        let look = self.lookout.look().await;
        let moment = Moment {
            requests: look.open - look.tunnels,
            tunnels: look.tunnels,
            child_up: self.child.map(|_| true),
        };
        (look.missing == 0).then(|| (Document::of(&self.summary(look)), moment))
    }

    /// All that a live view shows.
    pub async fn live(&self) -> Live {
        let mut look = self.lookout.look().await;
        let under_way = std::mem::take(&mut look.under_way).into_iter().map(|one| UnderWay {
            method: one.method,
            host: one.host,
            port: one.port,
            seconds: one.since.as_secs_f64(),
        });
        let under_way = under_way.collect();
        let open = look.open;
        let summary = self.summary(look);
        Live {
            status: self.status_of(&summary, open),
            under_way,
            report: Document::of(&summary),
        }
    }

    /// How long the run has taken.
    fn duration(&self) -> Duration {
        self.run.started_at.elapsed().unwrap_or_default()
    }

    /// The run as if it had ended now.
    fn summary(&self, look: Look) -> Summary {
        Summary {
            run: summary::Run {
                duration: self.duration(),
                ..self.run.clone()
            },
            child: summary::Child {
                pid: self.child,
                exit_code: None,
                signal: None,
                outcome: ChildOutcome::Running,
            },
            exit: summary::Exit {
                code: 0,
                reason: ExitReason::Running,
            },
            traffic: look.meter.finish(),
            assertions: Vec::new(),
            warnings: Vec::new(),
            panicked_tasks: 0,
            leftovers: None,
            egress: self.egress,
            reports: Vec::new(),
        }
    }

    /// A few figures of it.
    fn status_of(&self, summary: &Summary, open: usize) -> Status {
        let (run, traffic) = (&summary.run, &summary.traffic);
        Status {
            version: VERSION.to_owned(),
            id: run.id.clone(),
            name: run.name.clone(),
            kind: self.kind,
            pid: std::process::id(),
            child_pid: self.child,
            command: run.command.clone(),
            directory: self.directory.display().to_string(),
            proxy: format!("http://{}", self.proxy),
            metrics: self.metrics.map(|address| format!("http://{address}/metrics")),
            started_at: time(run.started_at),
            duration_seconds: run.duration.as_secs_f64(),
            requests: traffic.requests.total,
            failed: traffic.requests.failed + traffic.tunnels.failed,
            denied: traffic.requests.denied + traffic.tunnels.denied,
            tunnels: traffic.tunnels.total,
            open: open as u64,
            bytes_sent: traffic.bytes.sent,
            bytes_received: traffic.bytes.received,
            amb_version: run.amb_version.clone(),
        }
    }
}
