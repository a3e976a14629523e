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
    /// Counts one exchange.
    pub(crate) fn add(&mut self, record: &Record) {
        let Notes { applied, unedited } = &record.edits;
        self.exchanges += u64::from(!applied.is_empty());
        for id in applied {
            match self.applied.get_mut(&**id) {
                Some(count) => *count += 1,
                None => drop(self.applied.insert(id.to_string(), 1)),
            }
        }
        if let Some(reason) = unedited
            && (self.unedited.len() < MOST_REASONS || self.unedited.contains_key(reason))
        {
            *self.unedited.entry(reason.clone()).or_default() += 1;
        }
    }

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
