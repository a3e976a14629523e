//! What was changed on the way: ids, never values.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::traffic::Record;

/// Different reasons for which something was not changed that are told apart.
const MOST_REASONS: usize = 50;

/// What was changed in one exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The ids of what was done, in its order: `headers.set.X-Team`.
    pub applied: Vec<Arc<str>>,
    /// Why something was not done that should have been, as a sentence fragment; the last reason.
    pub unedited: Option<String>,
}

impl Notes {
    /// Notes why something was not done.
    pub fn note(&mut self, reason: impl Into<String>) {
        self.unedited = Some(reason.into());
    }
}

/// What was changed in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EditCounts {
    /// Exchanges in which something was changed.
    pub exchanges: u64,
    /// How often each change was made, by its id, which is its key.
    pub applied: BTreeMap<String, u64>,
    /// How often something was left as it was, by the reason.
    pub unedited: BTreeMap<String, u64>,
}

impl EditCounts {
    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        for (id, count) in other.applied {
            *self.applied.entry(id).or_default() += count;
        }
        for (reason, count) in other.unedited {
            *self.unedited.entry(reason).or_default() += count;
        }
    }

    /// Whether nothing was changed, and nothing that should have been.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Counts what is changed in a run, at a cost that does not grow with how much there is to change.
#[derive(Clone, Debug, Default)]
pub(crate) struct EditMeter {
    /// All but how often each change was made.
    counts: EditCounts,
    /// How often each change was made, in the order in which they were first seen.
    applied: Vec<(Arc<str>, u64)>,
    /// The place behind the change that was counted last: the same ones follow each other in nearly every exchange.
    next: usize,
}

impl EditMeter {
    /// Counts one exchange.
    pub(crate) fn add(&mut self, record: &Record) {
        let Notes { applied, unedited } = &record.edits;
        let counts = &mut self.counts;
        counts.exchanges += u64::from(!applied.is_empty());
        if let Some(reason) = unedited
            && (counts.unedited.len() < MOST_REASONS || counts.unedited.contains_key(reason))
        {
            *counts.unedited.entry(reason.clone()).or_default() += 1;
        }
        for id in applied {
            let expected = self.applied.get(self.next);
            let place = match expected {
                Some((known, _)) if known == id => self.next,
                _ => self.place(id),
            };
            self.applied[place].1 += 1;
            self.next = if place + 1 == self.applied.len() { 0 } else { place + 1 };
        }
    }

    /// Where a change is counted.
    fn place(&mut self, id: &Arc<str>) -> usize {
        let known = self.applied.iter().position(|(known, _)| known == id);
        known.unwrap_or_else(|| {
            self.applied.push((Arc::clone(id), 0));
            self.applied.len() - 1
        })
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.counts.merge(other.counts);
        for (id, count) in other.applied {
            let place = self.place(&id);
            self.applied[place].1 += count;
        }
    }

    /// What came of it.
    pub(crate) fn finish(self) -> EditCounts {
        let applied = self.applied.into_iter();
        EditCounts {
            applied: applied.map(|(id, count)| (id.to_string(), count)).collect(),
            ..self.counts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::meter::tests::exchange;

    /// Counts exchanges in each of which these changes were made.
    fn counted(exchanges: &[&[&str]]) -> EditMeter {
        let mut meter = EditMeter::default();
        for applied in exchanges {
            let mut record = exchange();
            record.edits.applied = applied.iter().map(|id| Arc::from(*id)).collect();
            meter.add(&record);
        }
        meter
    }

    /// Each change and how often it was made.
    fn applied(counts: &EditCounts) -> Vec<(&str, u64)> {
        counts.applied.iter().map(|(id, count)| (id.as_str(), *count)).collect()
    }

    #[test]
    fn changes_are_counted_whatever_their_order_and_whoever_made_them() {
        let mut meter = counted(&[
            &["a", "b", "c"],
            &["a", "c"],
            &["c", "b", "a"],
            &[],
            &["d", "d"],
            &["a"],
        ]);
        meter.merge(counted(&[&["e", "a"], &["b"]]));
        meter.merge(counted(&[]));
        let counts = meter.finish();
        assert_eq!(counts.exchanges, 7);
        assert_eq!(applied(&counts), [("a", 5), ("b", 3), ("c", 3), ("d", 2), ("e", 1)]);
    }
}
