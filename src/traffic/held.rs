//! What limits held back.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::traffic::{
    Limited, Record,
    latency::{from_seconds, seconds},
};

/// How many exchanges and tunnels limits held back, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Held {
    /// Those that had to wait and then went through, or gave up.
    pub delayed: u64,
    /// Those that were refused, at once or after a wait.
    pub rejected: u64,
    /// How long all of them waited, added up.
    #[serde(
        rename = "waited_seconds",
        serialize_with = "seconds",
        deserialize_with = "from_seconds"
    )]
    #[schemars(with = "f64")]
    pub waited: Duration,
}

impl Held {
    /// Counts one exchange or tunnel.
    pub(crate) fn add(&mut self, record: &Record) {
        match record.limited {
            None => return,
            Some(Limited::Delayed) => self.delayed += 1,
            Some(Limited::Rejected) => self.rejected += 1,
        }
        self.waited = self.waited.saturating_add(record.waited);
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.delayed += other.delayed;
        self.rejected += other.rejected;
        self.waited = self.waited.saturating_add(other.waited);
    }

    /// Whether nothing was held back.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
