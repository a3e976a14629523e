//! How long to wait before the next attempt: exponential, with full jitter, so that those who failed together do not come back
//! together.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::units::Period;

/// How waits are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    /// From nothing to the full wait
    #[default]
    Full,
    /// The full wait, for tests that must not depend on chance
    None,
}

/// The table `[retry] backoff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BackoffOptions {
    /// The longest wait before the first retry; it doubles with each further one [default: 50ms, or 100ms above safe]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Period>,
    /// The longest wait of all [default: 1s, or 5s above safe]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Period>,
    /// How waits are spread [default: full]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "full"))]
    pub jitter: Option<Jitter>,
}

/// A backoff that is valid: `base` is at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first retry.
    pub base: Duration,
    /// The longest wait of all.
    pub max: Duration,
    /// How waits are spread.
    pub jitter: Jitter,
}

impl BackoffOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The values, `defaults` filled in; `problems` gets what is wrong with them.
    pub(super) fn build(&self, defaults: Backoff, problems: &mut Vec<Problem>) -> Backoff {
        let base = self.base.map(|period| period.0);
        let max = self.max.map(|period| period.0);
        if let (Some(base), Some(max)) = (base, max)
            && base > max
        {
            let key = ["retry", "backoff", "base"];
            let reason = "the first wait is longer than the longest";
            problems.push(Problem::between(&key, &["retry", "backoff", "max"], reason));
        }
        let base = base.unwrap_or(defaults.base.min(max.unwrap_or(defaults.base)));
        Backoff {
            base,
            max: max.unwrap_or(defaults.max).max(base),
            jitter: self.jitter.unwrap_or(defaults.jitter),
        }
    }
}

impl Backoff {
    /// How long to wait before the retry that follows `retries` others; `dice` is from 0 to 1.
    pub fn wait(&self, retries: u32, dice: f64) -> Duration {
        let doubled = 2u32.checked_pow(retries).and_then(|times| self.base.checked_mul(times));
        let longest = doubled.map_or(self.max, |wait| wait.min(self.max));
        match self.jitter {
            Jitter::Full => longest.mul_f64(dice.clamp(0.0, 1.0)),
            Jitter::None => longest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 50 ms to 1 s.
    const PLAIN: Backoff = Backoff {
        base: Duration::from_millis(50),
        max: Duration::from_secs(1),
        jitter: Jitter::Full,
    };

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_is_spread_from_nothing() {
        for (retries, longest) in [(0, 50), (1, 100), (2, 200), (4, 800), (5, 1000), (31, 1000), (99, 1000)] {
            assert_eq!(PLAIN.wait(retries, 1.0), Duration::from_millis(longest), "{retries}");
            assert_eq!(
                PLAIN.wait(retries, 0.5),
                Duration::from_millis(longest) / 2,
                "{retries}"
            );
            assert_eq!(PLAIN.wait(retries, 0.0), Duration::ZERO);
            let steady = Backoff {
                jitter: Jitter::None,
                ..PLAIN
            };
            assert_eq!(steady.wait(retries, 0.0), Duration::from_millis(longest));
        }
    }

    #[test]
    fn one_bound_alone_moves_the_other_out_of_its_way() {
        let built = |base: Option<u64>, max: Option<u64>| {
            let mut problems = Vec::new();
            let period = |millis: u64| Period(Duration::from_millis(millis));
            let options = BackoffOptions {
                base: base.map(period),
                max: max.map(period),
                jitter: None,
            };
            let built = options.build(PLAIN, &mut problems);
            (built.base.as_millis(), built.max.as_millis(), problems.len())
        };
        assert_eq!(built(None, None), (50, 1000, 0));
        assert_eq!(built(Some(3000), None), (3000, 3000, 0));
        assert_eq!(built(None, Some(10)), (10, 10, 0));
        assert_eq!(built(Some(20), Some(10)).2, 1);
    }
}
