//! How many retries a host gets: a share of the requests that it got in the last ten seconds, so that retries cannot make an
//! outage worse; and a few in any case, since a run may make but few requests.

use std::{collections::HashMap, fmt, hash::BuildHasher, sync::Mutex, time::Duration};

use foldhash::fast::RandomState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;

/// How far back requests and retries are counted, in seconds.
const WINDOW_SECONDS: usize = 10;
/// Requests for each of which there may be one hedge.
const REQUESTS_PER_HEDGE: u64 = 20;
/// Tables, each behind a lock of its own, so that workers seldom meet.
const SHARDS: usize = 16;
/// Hosts of a table from which on those that were quiet for a whole window are forgotten.
const CROWDED: usize = 256;

/// The table `[retry] budget`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BudgetOptions {
    /// Retries of a host, as a share of its requests in the last 10 seconds [default: 0.2]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0.2, "title" = "a number from 0 to 100"))]
    pub ratio: Option<f64>,
    /// Retries that a host gets in 10 seconds in any case [default: 3]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 3, "minimum" = 0, "maximum" = 4_294_967_295_u32))]
    pub min: Option<u32>,
}

/// A budget that is valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// 0 to 100.
    pub ratio: f64,
    /// Retries in any case.
    pub min: u32,
}

impl BudgetOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The values, defaults filled in; `problems` gets what is wrong with them.
    pub(super) fn build(&self, problems: &mut Vec<Problem>) -> Budget {
        let ratio = self.ratio.unwrap_or(0.2);
        if !(0.0..=100.0).contains(&ratio) {
            problems.push(Problem::at(
                &["retry", "budget", "ratio"],
                "expected a number from 0 to 100",
            ));
        }
        Budget {
            ratio,
            min: self.min.unwrap_or(3),
        }
    }
}

/// What each host got of late. Shared by all workers.
#[derive(Default)]
pub struct Spending {
    /// By the hash of host and port. Two that collide share a budget.
    hosts: [Mutex<HashMap<u64, Window>>; SHARDS],
    /// Makes the hashes.
    hasher: RandomState,
}

impl fmt::Debug for Spending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spending").finish_non_exhaustive()
    }
}

/// The requests and retries of one host, second by second.
#[derive(Clone, Debug, Default)]
struct Window {
    /// The last second that was counted, since some beginning.
    second: u64,
    /// Requests, at the place of their second modulo the window.
    requests: [u32; WINDOW_SECONDS],
    /// Retries, hedges among them, likewise.
    retries: [u32; WINDOW_SECONDS],
    /// Hedges, likewise.
    hedges: [u32; WINDOW_SECONDS],
}

impl Window {
    /// Forgets what is older than the window.
    fn turn(&mut self, now: u64) {
        let passed = now.saturating_sub(self.second).min(WINDOW_SECONDS as u64);
        for past in 0..passed {
            let place = place(now - past);
            self.requests[place] = 0;
            self.retries[place] = 0;
            self.hedges[place] = 0;
        }
        self.second = self.second.max(now);
    }

    /// Takes a retry, if there is one left.
    fn take(&mut self, budget: Budget, place: usize) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of some ten seconds' requests, rounded down"
        )]
        let share = (sum(&self.requests) as f64 * budget.ratio) as u64;
        let left = sum(&self.retries) < share.max(budget.min.into());
        self.retries[place] = self.retries[place].saturating_add(left.into());
        left
    }
}

/// All of them.
fn sum(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

/// Where a second is counted.
fn place(second: u64) -> usize {
    usize::try_from(second % WINDOW_SECONDS as u64).unwrap_or_default()
}

impl Spending {
    /// Notes a request to a host; `now` is the time since some beginning, the same for all workers.
    pub fn request(&self, host: &str, port: u16, now: Duration) {
        self.with(host, port, now, |window, place| {
            window.requests[place] = window.requests[place].saturating_add(1);
        });
    }

    /// Takes a retry out of the host's budget, if it has one left.
    pub fn take(&self, budget: Budget, host: &str, port: u16, now: Duration) -> bool {
        self.with(host, port, now, |window, place| window.take(budget, place))
    }

    /// Takes a hedge out of the host's budget, if it has a retry left and fewer than one request in twenty was hedged.
    pub fn take_hedge(&self, budget: Budget, host: &str, port: u16, now: Duration) -> bool {
        self.with(host, port, now, |window, place| {
            let share = sum(&window.requests) / REQUESTS_PER_HEDGE;
            let granted = sum(&window.hedges) < share && window.take(budget, place);
            window.hedges[place] += u32::from(granted);
            granted
        })
    }

    /// Looks at a host's window, turned to `now`.
    fn with<T>(&self, host: &str, port: u16, now: Duration, look: impl FnOnce(&mut Window, usize) -> T) -> T {
        let hash = self.hasher.hash_one((host, port));
        let shard = &self.hosts[usize::try_from(hash % SHARDS as u64).unwrap_or_default()];
        // Counts are right whatever panicked beside them.
        let mut hosts = shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = now.as_secs();
        if hosts.len() >= CROWDED && !hosts.contains_key(&hash) {
            hosts.retain(|_, window| now.saturating_sub(window.second) < WINDOW_SECONDS as u64);
        }
        let window = hosts.entry(hash).or_default();
        window.turn(now);
        look(window, place(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fifth, three at least.
    const PLAIN: Budget = Budget { ratio: 0.2, min: 3 };

    /// How many of `asked` retries are granted at `second`.
    fn granted(spending: &Spending, asked: u32, second: u64) -> usize {
        let take = |_: &u32| spending.take(PLAIN, "a", 80, Duration::from_secs(second));
        (0..asked).filter(take).count()
    }

    /// Notes so many requests at `second`.
    fn requests(spending: &Spending, count: u32, second: u64) {
        (0..count).for_each(|_| spending.request("a", 80, Duration::from_secs(second)));
    }

    #[test]
    fn a_host_gets_a_share_of_its_requests_and_a_few_in_any_case() {
        for (count, expected) in [(0, 3), (1, 3), (15, 3), (20, 4), (100, 20), (1000, 200)] {
            let spending = Spending::default();
            requests(&spending, count, 5);
            assert_eq!(granted(&spending, 1000, 5), expected, "{count}");
        }
    }

    #[test]
    fn one_request_in_twenty_is_hedged_within_the_same_budget() {
        let spending = Spending::default();
        let take = |budget| {
            (0..99)
                .filter(|_| spending.take_hedge(budget, "a", 80, Duration::ZERO))
                .count()
        };
        requests(&spending, 19, 0);
        assert_eq!(take(PLAIN), 0);
        requests(&spending, 81, 0);
        assert_eq!(take(PLAIN), 5);
        assert_eq!(granted(&spending, 99, 0), 15);
        requests(&spending, 100, 0);
        let spent = Budget { ratio: 0.0, min: 22 };
        assert_eq!(take(spent), 2);
    }

    #[test]
    fn what_is_older_than_ten_seconds_does_not_count() {
        let spending = Spending::default();
        requests(&spending, 50, 0);
        assert_eq!(granted(&spending, 99, 9), 10);
        // The requests are forgotten, the retries of second 9 are not.
        assert_eq!(granted(&spending, 99, 10), 0);
        assert_eq!(granted(&spending, 99, 18), 0);
        assert_eq!(granted(&spending, 99, 19), 3);
        assert_eq!(granted(&spending, 99, 10_000), 3);
    }

    #[test]
    fn hosts_and_ports_have_budgets_of_their_own() {
        let spending = Spending::default();
        let now = Duration::ZERO;
        assert_eq!(granted(&spending, 9, 0), 3);
        assert!(spending.take(PLAIN, "a", 81, now) && spending.take(PLAIN, "b", 80, now));
        assert!(!spending.take(PLAIN, "a", 80, now));
    }

    #[test]
    fn hosts_without_end_are_forgotten_once_they_are_quiet() {
        let spending = Spending::default();
        for number in 0..20_000u64 {
            spending.request(&format!("h{number}"), 80, Duration::from_secs(number / 100));
        }
        let kept: usize = spending.hosts.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * CROWDED, "{kept}");
    }
}
