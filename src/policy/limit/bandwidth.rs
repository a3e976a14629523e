//! Bytes in a time: bodies and what tunnels carry, all that goes to a host together.
//!
//! Bytes are moved in small amounts, and each amount is paid for behind it: who comes while the last ones are not paid for
//! waits, in a row with the others, so the rate is held however many connections share it, and all get the same of it.

use std::{collections::VecDeque, fmt, sync::Arc, task::Waker, time::Duration};

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    policy::scope::{Entry, Scope, State, Table},
    units::ByteRate,
};

/// The time whose bytes are moved at once, by which connections may be ahead, and for which one that was idle, or woken late,
/// is not held back.
///
/// Short enough to be even, long enough to cost nothing: some twenty wakings a second.
const AMOUNT: Duration = Duration::from_millis(25);

/// How long a bandwidth may lie idle while some wait for it.
const STALLED: Duration = Duration::from_millis(500);

/// The least that is moved at once.
const LEAST_BYTES: u64 = 64;

/// A limit as it is configured: the table `[bandwidth]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BandwidthOptions {
    /// What a host is sent in a second, bodies and tunnels, such as 64KiB/s [default: no limit]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<ByteRate>,

    /// What is taken from a host in a second, bodies and tunnels [default: no limit]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<ByteRate>,

    /// What has a bandwidth of its own: host, host-port or route [default: host]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "host"))]
    pub key: Option<Scope>,
}

/// A limit that is valid.
#[derive(Debug)]
pub struct Bandwidth {
    /// Bytes a second to servers.
    upload: Option<u64>,
    /// Bytes a second from servers.
    download: Option<u64>,
    /// Who shares it.
    lanes: Table<Lanes>,
}

/// What goes one way, of all connections that share it.
#[derive(Debug, Default)]
struct Lane {
    /// When what was moved will be paid for.
    paid: Duration,
    /// Those who wait, the first first: only that one looks at the time.
    waiting: VecDeque<Waiting>,
    /// The last number given out.
    last: u64,
}

/// A connection that waits.
#[derive(Debug)]
struct Waiting {
    /// Its number.
    number: u64,
    /// Tells it that it is the first.
    waker: Waker,
}

impl Lane {
    /// Whether this number is the first.
    fn is_first(&self, number: u64) -> bool {
        self.waiting.front().is_some_and(|first| first.number == number)
    }

    /// Takes a number out.
    fn leave(&mut self, number: u64) {
        let was_first = self.is_first(number);
        self.waiting.retain(|waiting| waiting.number != number);
        if was_first && let Some(first) = self.waiting.front() {
            first.waker.wake_by_ref();
        }
    }
}

/// Both ways.
#[derive(Debug, Default)]
struct Lanes {
    /// To the server.
    up: Lane,
    /// From the server.
    down: Lane,
}

impl State for Lanes {
    fn is_idle(&self, now: Duration) -> bool {
        self.up.paid <= now && self.down.paid <= now
    }
}

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Move up to so many bytes.
    Go(usize),
    /// Ask again after this time.
    Rest(Duration),
    /// Wait to be woken, others are first; but ask again after this time all the same.
    Wait(Duration),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// One connection's share of a bandwidth, one way.
#[derive(Debug)]
pub struct Share {
    /// Who shares it.
    entry: Arc<Entry<Lanes>>,
    /// Which way.
    way: Way,
    /// Bytes a second; at least 1.
    rate: u64,
    /// Its number, while it waits.
    waits: Option<u64>,
}

impl BandwidthOptions {
    /// The limit, for the requests of `route`; none if there is none.
    pub fn build(self, route: &str) -> Option<Arc<Bandwidth>> {
        if self.upload.is_none() && self.download.is_none() {
            return None;
        }
        Some(Arc::new(Bandwidth {
            upload: self.upload.map(|rate| rate.0),
            download: self.download.map(|rate| rate.0),
            lanes: Table::new(self.key.unwrap_or_default(), route),
        }))
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<u64>| {
            rate.map_or_else(|| "any number of bytes".to_owned(), |rate| ByteRate(rate).to_string())
        };
        let (up, down) = (rate(self.upload), rate(self.download));
        write!(f, "a {} is sent {up}, and {down} are taken from it", self.lanes.scope())
    }
}

impl Bandwidth {
    /// The shares of a connection to `host` and `port`, up and down; none where there is no limit.
    pub fn shares(&self, host: &str, port: u16, now: Duration) -> [Option<Share>; 2] {
        let entry = self.lanes.entry(host, port, now, |_| {});
        [(Way::Up, self.upload), (Way::Down, self.download)].map(|(way, rate)| {
            Some(Share {
                entry: Arc::clone(&entry),
                way,
                rate: rate?,
                waits: None,
            })
        })
    }
}

impl Share {
    /// How many bytes may be moved at once.
    fn amount(&self) -> usize {
        let of_that_time = u128::from(self.rate) * AMOUNT.as_millis() / 1_000;
        usize::try_from(of_that_time.max(u128::from(LEAST_BYTES))).unwrap_or(usize::MAX)
    }

    /// What to do at `now`. Connections take turns; `waker` is told when this one is the first.
    pub fn next(&mut self, now: Duration, waker: &Waker) -> Next {
        let mut lanes = self.entry.state();
        let lane = self.way.of(&mut lanes);
        let free = lane.paid <= now + AMOUNT;
        let number = match self.waits {
            None if free && lane.waiting.is_empty() => return Next::Go(self.amount()),
            None => {
                lane.last += 1;
                let (number, waker) = (lane.last, waker.clone());
                lane.waiting.push_back(Waiting { number, waker });
                self.waits = Some(number);
                number
            }
            Some(number) => {
                if let Some(waiting) = lane.waiting.iter_mut().find(|waiting| waiting.number == number) {
                    waiting.waker.clone_from(waker);
                }
                number
            }
        };
        // One that is the first and does nothing, because its task waits for something else, holds nobody up for long.
        if !lane.is_first(number) && now < lane.paid + STALLED {
            return Next::Wait(STALLED);
        }
        // Once it has begun to rest, it rests until all is paid: fewer wakings that way.
        let rest = lane.paid.saturating_sub(now);
        if !rest.is_zero() {
            return Next::Rest(rest);
        }
        lane.leave(number);
        self.waits = None;
        Next::Go(self.amount())
    }

    /// Notes that so many bytes were moved.
    pub fn pay(&self, bytes: usize, now: Duration) {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut lanes = self.entry.state();
        let lane = self.way.of(&mut lanes);
        lane.paid = lane.paid.max(now.saturating_sub(AMOUNT)) + time;
    }
}

impl Way {
    /// The lane for it.
    fn of(self, lanes: &mut Lanes) -> &mut Lane {
        match self {
            Self::Up => &mut lanes.up,
            Self::Down => &mut lanes.down,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(number) = self.waits {
            self.way.of(&mut self.entry.state()).leave(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::scope::NO_ROUTE;

    /// A limit of 64 KiB a second to servers.
    fn bandwidth() -> Arc<Bandwidth> {
        let options = BandwidthOptions {
            upload: Some("64KiB/s".parse().unwrap()),
            ..BandwidthOptions::default()
        };
        options.build(NO_ROUTE).unwrap()
    }

    /// A share of it.
    fn share(bandwidth: &Bandwidth, now: Duration) -> Share {
        let [up, down] = bandwidth.shares("h", 80, now);
        assert!(down.is_none());
        up.unwrap()
    }

    /// What to do.
    fn next(share: &mut Share, now: Duration) -> Next {
        share.next(now, Waker::noop())
    }

    #[test]
    fn connections_that_share_a_bandwidth_hold_it_together_and_take_turns() {
        for connections in [1, 3, 50] {
            let bandwidth = bandwidth();
            let started = Duration::from_secs(100);
            let mut shares: Vec<(Share, usize)> = (0..connections).map(|_| (share(&bandwidth, started), 0)).collect();
            for millis in 0..10_000 {
                let now = started + Duration::from_millis(millis);
                for (share, moved) in &mut shares {
                    if let Next::Go(amount) = next(share, now) {
                        share.pay(amount, now);
                        *moved += amount;
                    }
                }
            }
            let moved: usize = shares.iter().map(|(_, moved)| moved).sum();
            let due = 10 * 65_536;
            assert!(
                (due..due + due / 50).contains(&moved),
                "{connections}: {moved} instead of {due}"
            );
            for (share, moved) in &shares {
                let fair = due / connections;
                assert!(moved.abs_diff(fair) <= 3 * share.amount(), "{moved} instead of {fair}");
            }
        }
    }

    #[test]
    fn what_was_idle_may_not_make_up_for_it() {
        let mut share = share(&bandwidth(), Duration::ZERO);
        share.pay(65_536, Duration::ZERO);
        let at = Duration::from_millis;
        assert_eq!(next(&mut share, at(200)), Next::Rest(at(800)));
        assert_eq!(next(&mut share, at(999)), Next::Rest(at(1)));
        assert!(matches!(next(&mut share, at(1_000)), Next::Go(_)));
        share.pay(65_536, Duration::from_hours(1));
        assert_eq!(next(&mut share, Duration::from_hours(1)), Next::Rest(at(975)));
    }

    #[test]
    fn who_gives_up_holds_nobody_up() {
        let bandwidth = bandwidth();
        let [mut first, mut second, mut third] = [0; 3].map(|_| share(&bandwidth, Duration::ZERO));
        first.pay(65_536, Duration::ZERO);
        assert!(matches!(next(&mut first, Duration::ZERO), Next::Rest(_)));
        assert_eq!(next(&mut second, Duration::ZERO), Next::Wait(STALLED));
        assert_eq!(next(&mut third, Duration::ZERO), Next::Wait(STALLED));
        drop(second);
        drop(first);
        assert!(matches!(next(&mut third, Duration::ZERO), Next::Rest(_)));
        assert!(matches!(next(&mut third, Duration::from_secs(1)), Next::Go(_)));
    }

    #[test]
    fn who_is_first_and_sleeps_is_overtaken() {
        let bandwidth = bandwidth();
        let [mut first, mut second] = [0; 2].map(|_| share(&bandwidth, Duration::ZERO));
        first.pay(65_536, Duration::ZERO);
        assert!(matches!(next(&mut first, Duration::ZERO), Next::Rest(_)));
        assert!(matches!(next(&mut second, Duration::from_millis(1_499)), Next::Wait(_)));
        assert!(matches!(next(&mut second, Duration::from_millis(1_500)), Next::Go(_)));
        assert!(matches!(next(&mut first, Duration::from_millis(1_500)), Next::Go(_)));
    }

    #[test]
    fn a_slow_line_moves_little_at_a_time() {
        for (rate, amount) in [("1B/s", 64), ("64KiB/s", 1_638), ("1GiB/s", 26_843_545)] {
            let options = BandwidthOptions {
                upload: Some(rate.parse().unwrap()),
                ..BandwidthOptions::default()
            };
            let bandwidth = options.build(NO_ROUTE).unwrap();
            assert_eq!(share(&bandwidth, Duration::ZERO).amount(), amount);
        }
    }
}
