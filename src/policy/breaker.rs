//! Whether a server is asked at all: one that keeps failing gets a rest, and its clients an answer at once.
//!
//! A circuit is closed while all is well. It opens after [`Settings::consecutive`] failures in a row, or when too large a
//! share of the requests of the last [`Settings::window`] failed or was slow. While it is open nothing is sent. Then one
//! request at a time may go through and probe; [`Settings::probes`] that go well close the circuit, one that fails opens it
//! again, for twice as long.
//!
//! In the order of things it stands inside the retries and around connect and send, so that each attempt counts and a
//! retry of a request does not reach a server that is given a rest.

mod circuit;
mod condition;
mod options;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use self::circuit::Circuit;
pub use self::{
    condition::{Condition, Seen},
    options::BreakerOptions,
};
use super::scope::{Entry, Scope, Table, locked};

/// A breaker's figures.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What counts as a failure.
    pub on: Vec<Condition>,
    /// Failures in a row that open a circuit; none leaves it to the ratio.
    pub consecutive: Option<u32>,
    /// The share of failures that opens a circuit, above 0, at most 1.
    pub failure_ratio: f64,
    /// A share counts only of so many requests; at least 1.
    pub minimum_requests: u32,
    /// How far back requests count.
    pub window: Duration,
    /// How long a circuit is open at first.
    pub open: Duration,
    /// How long at most, however often its probes fail.
    pub longest_open: Duration,
    /// Probes in a row that have to go well before a circuit closes; at least 1.
    pub probes: u32,
    /// What is slow; none if nothing is.
    pub slow: Option<Slow>,
}

/// What counts as slow.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// An answer that begins later than this after its request.
    pub after: Duration,
    /// The share of slow answers that opens a circuit, above 0, at most 1.
    pub ratio: f64,
}

/// The circuits of one set of rules.
#[derive(Debug)]
pub struct Breaker {
    /// Their figures.
    settings: Settings,
    /// The circuits.
    circuits: Table<Circuit>,
    /// What was counted on circuits that were forgotten: opened and rejected.
    forgotten: Mutex<Counts>,
}

/// What was counted on a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times it opened, a probe's failure included.
    pub opened: u64,
    /// Requests that were answered at once.
    pub rejected: u64,
}

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Requests go through.
    Closed,
    /// None does.
    Open,
    /// One at a time does.
    HalfOpen,
}

/// What has become of a circuit that has opened at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whose it is: a host, or as the scope says; none for all circuits that were forgotten.
    pub name: Option<Box<str>>,
    /// Where it stands.
    pub position: Position,
    /// What was counted.
    pub counts: Counts,
}

/// A change that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened, for so long.
    Opened(Duration),
    /// It lets a probe through.
    HalfOpened,
    /// It closed.
    Closed,
}

/// A request that is not to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Whose circuit is open.
    pub name: Box<str>,
    /// When the next probe may go; zero if one is under way.
    pub retry_in: Duration,
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            consecutive,
            failure_ratio,
            minimum_requests,
            window,
            ..
        } = &self.settings;
        write!(
            f,
            "a {} that keeps failing is not called for a while: ",
            self.circuits.scope()
        )?;
        if let Some(consecutive) = consecutive {
            write!(f, "after {consecutive} failures in a row, or ")?;
        }
        let (share, window) = (failure_ratio * 100.0, humantime::format_duration(*window));
        write!(
            f,
            "when {share:.0} % of at least {minimum_requests} requests in {window} fail"
        )
    }
}

impl Breaker {
    /// A breaker with its own circuits, all closed, for the requests of `route`.
    pub fn new(settings: Settings, scope: Scope, route: &str) -> Self {
        Self {
            settings,
            circuits: Table::new(scope, route),
            forgotten: Mutex::default(),
        }
    }

    /// Asks whether an attempt may go to `host` and `port` at `now`, which is a time since any moment that stays the same.
    ///
    /// # Errors
    /// If the circuit is open.
    pub fn admit(self: &Arc<Self>, host: &str, port: u16, now: Duration) -> Result<(Permit, Option<Change>), Rejected> {
        let entry = self.circuits.entry(host, port, now, |circuit| {
            let mut forgotten = locked(&self.forgotten);
            forgotten.opened += circuit.counts.opened;
            forgotten.rejected += circuit.counts.rejected;
        });
        let admitted = entry.state().admit(&self.settings, now);
        match admitted {
            Ok((ticket, change)) => Ok((
                Permit {
                    breaker: Arc::clone(self),
                    entry,
                    ticket: Some(ticket),
                },
                change,
            )),
            Err(retry_in) => Err(Rejected {
                name: entry.name.clone(),
                retry_in,
            }),
        }
    }

    /// What has become of the circuits that have opened, by their names.
    pub fn histories(&self) -> Vec<History> {
        let mut histories: Vec<History> = self
            .circuits
            .all()
            .into_iter()
            .filter_map(|entry| {
                let circuit = entry.state();
                (circuit.counts.opened > 0).then(|| History {
                    name: Some(entry.name.clone()),
                    position: circuit.position(),
                    counts: circuit.counts,
                })
            })
            .collect();
        histories.sort_by(|a, b| a.name.cmp(&b.name));
        let forgotten = *locked(&self.forgotten);
        if forgotten.opened > 0 {
            histories.push(History {
                name: None,
                position: Position::Closed,
                counts: forgotten,
            });
        }
        histories
    }
}

/// What lets an attempt go. If it is dropped before it was told how the attempt went, nothing is counted, and a probe's
/// place is free for the next.
pub struct Permit {
    /// The figures.
    breaker: Arc<Breaker>,
    /// The circuit.
    entry: Arc<Entry<Circuit>>,
    /// What the circuit knows it by; none once it was told.
    ticket: Option<circuit::Ticket>,
}

impl Permit {
    /// Whose circuit it is.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Whether the circuit waits for this attempt.
    pub fn is_probe(&self) -> bool {
        self.ticket.is_some_and(circuit::Ticket::is_probe)
    }

    /// Whether what was seen of an attempt counts as a failure; none if it says nothing of the server.
    pub fn is_failure(&self, seen: Seen) -> Option<bool> {
        condition::is_failure(&self.breaker.settings.on, seen)
    }

    /// Counts the attempt, once: what was `seen` of it, after how long, at `now`. `random`, from 0 to 1, spreads the probes
    /// of many processes over time.
    pub fn record(&mut self, seen: Seen, took: Duration, now: Duration, random: f64) -> Option<Change> {
        let failed = self.is_failure(seen)?;
        let ticket = self.ticket.take()?;
        let settings = &self.breaker.settings;
        self.entry.state().record(settings, ticket, failed, took, now, random)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.entry.state().give_back(ticket);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
