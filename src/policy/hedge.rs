//! Hedges: a second request, sent while the first one's answer is late. Only where a request may be executed twice, and for no
//! more than one request in twenty.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::BuildHasher,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Problem;
use crate::units::Period;

/// Times that are remembered of a host.
const REMEMBERED: usize = 128;
/// Times that have to be known before they say anything.
const ENOUGH: usize = 20;
/// Hosts whose times are remembered; those of further ones are not, and they get no hedges.
const MOST_HOSTS: usize = 1024;

/// When a hedge is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// When the answer takes longer than 19 of 20 of the host's latest ones did.
    Percentile95,
    /// When it takes longer than this.
    Fixed(Period),
}

/// The table `[retry] hedge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HedgeOptions {
    /// Send a GET or HEAD once more if its answer takes longer than this [default: never]
    ///
    /// p95 is what 19 of 20 answers of the host stay below. Whichever answer comes first is taken. It takes the level
    /// idempotent, counts as a retry in the budget, and happens to at most one request in twenty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// How often at most, 0 or 1 [default: 1]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1, "minimum" = 0, "maximum" = 1))]
    pub max: Option<u32>,
}

impl HedgeOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// When to hedge; none for never. `problems` gets what is wrong, such as that the level does not `allow` it.
    pub(super) fn build(&self, allowed: bool, problems: &mut Vec<Problem>) -> Option<After> {
        let key = ["retry", "hedge", "after"];
        if self.max.is_some_and(|max| max > 1) {
            problems.push(Problem::at(&["retry", "hedge", "max"], "expected 0 or 1"));
        }
        let after = self.after.filter(|_| self.max != Some(0))?;
        if !allowed {
            let reason = "what is sent twice may be executed twice: it takes the level idempotent";
            problems.push(Problem::between(&key, &["retry", "level"], reason));
        }
        Some(after)
    }
}

impl FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "p95" {
            return Ok(Self::Percentile95);
        }
        text.parse().map(Self::Fixed)
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile95 => f.write_str("p95"),
            Self::Fixed(period) => period.fmt(f),
        }
    }
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for After {
    fn schema_name() -> Cow<'static, str> {
        "After".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "p95, or a duration with its unit",
            "anyOf": [{ "const": "p95" }, generator.subschema_for::<Period>()],
        })
    }
}

/// How long the hosts' latest answers took to begin. Shared by all workers.
#[derive(Default)]
pub struct Pace {
    /// By the hash of host and port.
    hosts: Mutex<HashMap<u64, Times>>,
    /// Makes the hashes.
    hasher: RandomState,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

/// The latest times of one host.
#[derive(Debug, Default)]
struct Times {
    /// In the order they came, the oldest replaced in turn.
    latest: Vec<Duration>,
    /// How many there were in all.
    count: usize,
    /// What 19 of 20 stay below, as it was last worked out.
    percentile: Option<Duration>,
}

impl Times {
    /// Remembers one.
    fn add(&mut self, took: Duration) {
        if self.latest.len() < REMEMBERED {
            self.latest.push(took);
        } else {
            self.latest[self.count % REMEMBERED] = took;
        }
        self.count += 1;
        if self.count.is_multiple_of(ENOUGH) {
            let mut sorted = self.latest.clone();
            let rank = (sorted.len() * 95).div_ceil(100) - 1;
            self.percentile = Some(*sorted.select_nth_unstable(rank).1);
        }
    }
}

impl Pace {
    /// Remembers how long an answer of this host took to begin.
    pub fn note(&self, host: &str, port: u16, took: Duration) {
        let hash = self.hasher.hash_one((host, port));
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() < MOST_HOSTS || hosts.contains_key(&hash) {
            hosts.entry(hash).or_default().add(took);
        }
    }

    /// How long to wait before a request to this host is hedged; none if that is not known yet.
    pub fn delay(&self, after: After, host: &str, port: u16) -> Option<Duration> {
        match after {
            After::Fixed(period) => Some(period.0),
            After::Percentile95 => {
                let hash = self.hasher.hash_one((host, port));
                let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
                hosts.get(&hash)?.percentile
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hedge_waits_for_what_most_answers_take() {
        let pace = Pace::default();
        let delay = || pace.delay(After::Percentile95, "a", 80);
        for millis in 1..=19 {
            pace.note("a", 80, Duration::from_millis(millis));
            assert_eq!(delay(), None);
        }
        pace.note("a", 80, Duration::from_millis(500));
        assert_eq!(delay(), Some(Duration::from_millis(19)));
        (0..REMEMBERED + ENOUGH).for_each(|_| pace.note("a", 80, Duration::from_millis(2)));
        assert_eq!(delay(), Some(Duration::from_millis(2)));
        assert_eq!(pace.delay(After::Percentile95, "a", 81), None);
        assert_eq!(
            pace.delay(After::Fixed(Period::seconds(1)), "b", 1),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_hedge_has_to_be_asked_for_and_allowed() {
        let built = |after: Option<&str>, max, allowed| {
            let mut problems = Vec::new();
            let after = after.map(|after| after.parse().unwrap());
            let built = HedgeOptions { after, max }.build(allowed, &mut problems);
            (built.map(|after| after.to_string()), problems.len())
        };
        assert_eq!(built(None, None, true), (None, 0));
        assert_eq!(built(None, Some(1), false), (None, 0));
        assert_eq!(built(Some("p95"), None, true), (Some("p95".to_owned()), 0));
        assert_eq!(built(Some("50ms"), Some(1), true), (Some("50ms".to_owned()), 0));
        assert_eq!(built(Some("50ms"), Some(0), false), (None, 0));
        assert_eq!(built(Some("50ms"), None, false).1, 1);
        assert_eq!(built(Some("50ms"), Some(2), true).1, 1);
        assert!("p50".parse::<After>().is_err() && "50".parse::<After>().is_err());
    }
}
