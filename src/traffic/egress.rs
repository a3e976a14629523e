//! What the rules of `[egress]` said, for each place and rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Record;

/// Places and rules that are told apart; what comes behind them is counted together, without a place.
const MOST: usize = 1000;

/// What the rules say about an exchange or tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It was refused.
    Denied,
    /// It would have been refused if the rules were enforced.
    WouldDeny,
    /// It may go there.
    Allowed,
}

impl Verdict {
    /// Its name in logs and reports: `would-deny`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "deny",
            Self::WouldDeny => "would-deny",
            Self::Allowed => "allow",
        }
    }
}

/// What was decided about an exchange or tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What was said.
    pub verdict: Verdict,
    /// The rule that said so.
    pub rule: Arc<str>,
    /// Where it was written, if that is known: a file, a variable, a flag.
    pub origin: Option<Arc<str>>,
}

/// What was decided about a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What was said.
    pub verdict: Verdict,
    /// The host; empty for all places beyond those that are told apart.
    pub host: String,
    /// The port; 0 with an empty host.
    pub port: u16,
    /// The rule that said so.
    pub rule: Arc<str>,
    /// Where that was written, if it is known.
    pub origin: Option<Arc<str>>,
}

/// All decisions: what was refused first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// How often each was made.
    counts: BTreeMap<Place, u64>,
    /// What else hosts were called, with the port: in TLS, or in `Host` inside a tunnel.
    called: BTreeSet<(String, u16)>,
}

impl Decisions {
    /// Counts what the rules said about an exchange or tunnel, if they were asked.
    pub(super) fn add(&mut self, record: &Record) {
        let Some(said) = &record.egress else {
            return;
        };
        let place = Place {
            verdict: said.verdict,
            host: record.host.clone(),
            port: record.port,
            rule: Arc::clone(&said.rule),
            origin: said.origin.clone(),
        };
        self.count(place, 1);
        if said.verdict != Verdict::Denied {
            for host in &record.called {
                self.call(host, record.port);
            }
        }
    }

    /// Adds those of another worker.
    pub(super) fn merge(&mut self, other: Self) {
        for (place, count) in other.counts {
            self.count(place, count);
        }
        for (host, port) in other.called {
            self.call(&host, port);
        }
    }

    /// Takes a note of what else a host was called.
    fn call(&mut self, host: &str, port: u16) {
        let place = (host.to_owned(), port);
        if self.called.len() < MOST || self.called.contains(&place) {
            self.called.insert(place);
        } else {
            // Like places beyond those that are told apart.
            self.called.insert(Default::default());
        }
    }

    /// What else hosts were called inside of tunnels, with the port; with an empty name for all beyond the first thousand.
    pub fn called(&self) -> &BTreeSet<(String, u16)> {
        &self.called
    }

    /// Counts a decision `count` times.
    fn count(&mut self, place: Place, count: u64) {
        if let Some(known) = self.counts.get_mut(&place) {
            *known += count;
            return;
        }
        let place = if self.counts.len() < MOST {
            place
        } else {
            Place {
                host: String::new(),
                port: 0,
                ..place
            }
        };
        *self.counts.entry(place).or_default() += count;
    }

    /// Each with how often it was made.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.counts.iter().map(|(place, count)| (place, *count))
    }

    /// How often this was said.
    pub fn total(&self, verdict: Verdict) -> u64 {
        let said = self.counts.iter().filter(|(place, _)| place.verdict == verdict);
        said.map(|(_, count)| count).sum()
    }
}

impl FromIterator<(Place, u64)> for Decisions {
    fn from_iter<T: IntoIterator<Item = (Place, u64)>>(decisions: T) -> Self {
        let mut all = Self::default();
        for (place, count) in decisions {
            all.count(place, count);
        }
        all
    }
}
