//! What the rules of `[egress]` said, for each place and rule.

use std::{collections::BTreeMap, sync::Arc};

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
}

/// All decisions: what was refused first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// How often each was made.
    counts: BTreeMap<Place, u64>,
}

impl Decisions {
    /// Counts what the rules said about an exchange or tunnel, if they were asked.
    pub(super) fn add(&mut self, record: &Record) {
        let Some((verdict, rule)) = &record.egress else {
            return;
        };
        let place = Place {
            verdict: *verdict,
            host: record.host.clone(),
            port: record.port,
            rule: Arc::clone(rule),
        };
        self.count(place, 1);
    }

    /// Adds those of another worker.
    pub(super) fn merge(&mut self, other: Self) {
        for (place, count) in other.counts {
            self.count(place, count);
        }
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
