//! Bytes in a time: bodies and what tunnels carry, all that goes to a host together.
//!
//! Bytes are moved in small amounts, and each amount is paid for behind it: who comes while the last one is not paid for
//! waits, so the rate is held however many connections share it.

use std::{fmt, sync::Arc, time::Duration};

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    policy::scope::{Entry, Scope, State, Table},
    units::ByteRate,
};

/// The time whose bytes are moved at once, and for which a connection that was idle, or woken late, is not held back.
///
/// Short enough to be even, long enough to cost nothing: twenty wakings a second.
const AMOUNT: Duration = Duration::from_millis(50);

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
    /// What is not paid for.
    debts: Table<Debts>,
}

/// When the last amount will be paid for.
#[derive(Debug, Default)]
struct Debts {
    /// To the server.
    up: Duration,
    /// From the server.
    down: Duration,
}

impl State for Debts {
    fn is_idle(&self, now: Duration) -> bool {
        self.up <= now && self.down <= now
    }
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
    entry: Arc<Entry<Debts>>,
    /// Which way.
    way: Way,
    /// Bytes a second; at least 1.
    rate: u64,
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
            debts: Table::new(self.key.unwrap_or_default(), route),
        }))
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<u64>| {
            rate.map_or_else(|| "any number of bytes".to_owned(), |rate| ByteRate(rate).to_string())
        };
        let (up, down) = (rate(self.upload), rate(self.download));
        write!(f, "a {} is sent {up}, and {down} are taken from it", self.debts.scope())
    }
}

impl Bandwidth {
    /// The shares of a connection to `host` and `port`, up and down; none where there is no limit.
    pub fn shares(&self, host: &str, port: u16, now: Duration) -> [Option<Share>; 2] {
        let entry = self.debts.entry(host, port, now, |_| {});
        [(Way::Up, self.upload), (Way::Down, self.download)].map(|(way, rate)| {
            Some(Share {
                entry: Arc::clone(&entry),
                way,
                rate: rate?,
            })
        })
    }
}

impl Share {
    /// How many bytes may be moved at once.
    pub fn amount(&self) -> usize {
        let of_that_time = u128::from(self.rate) * AMOUNT.as_millis() / 1_000;
        usize::try_from(of_that_time.max(u128::from(LEAST_BYTES))).unwrap_or(usize::MAX)
    }

    /// How long to wait before the next amount; zero for not at all.
    pub fn wait(&self, now: Duration) -> Duration {
        self.debt(|debt| debt.saturating_sub(now))
    }

    /// Notes that so many bytes were moved.
    pub fn pay(&self, bytes: usize, now: Duration) {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.debt(|debt| *debt = (*debt).max(now.saturating_sub(AMOUNT)) + time);
    }

    /// Does something with the debt.
    fn debt<T>(&self, with: impl FnOnce(&mut Duration) -> T) -> T {
        let mut debts = self.entry.state();
        with(match self.way {
            Way::Up => &mut debts.up,
            Way::Down => &mut debts.down,
        })
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

    #[test]
    fn connections_that_share_a_bandwidth_hold_it_together() {
        for connections in [1, 3, 50] {
            let bandwidth = bandwidth();
            let shares: Vec<Share> = (0..connections)
                .map(|_| {
                    let [up, down] = bandwidth.shares("h", 80, Duration::from_secs(100));
                    assert!(down.is_none());
                    up.unwrap()
                })
                .collect();
            let mut moved = 0;
            for millis in 0..10_000 {
                let now = Duration::from_secs(100) + Duration::from_millis(millis);
                for share in &shares {
                    if share.wait(now).is_zero() {
                        share.pay(share.amount(), now);
                        moved += share.amount();
                    }
                }
            }
            let due = 10 * 65_536;
            assert!(
                (due..due + due / 50).contains(&moved),
                "{connections}: {moved} instead of {due}"
            );
        }
    }

    #[test]
    fn what_was_idle_may_not_make_up_for_it() {
        let [share, _] = bandwidth().shares("h", 80, Duration::ZERO);
        let share = share.unwrap();
        share.pay(65_536, Duration::ZERO);
        assert_eq!(share.wait(Duration::from_millis(200)), Duration::from_millis(800));
        share.pay(65_536, Duration::from_hours(1));
        let wait = share.wait(Duration::from_hours(1));
        assert_eq!(wait, Duration::from_millis(950));
    }

    #[test]
    fn a_slow_line_moves_little_at_a_time() {
        for (rate, amount) in [(1, 64), (65_536, 3_276), (1 << 30, 53_687_091)] {
            let share = Share {
                rate,
                ..bandwidth()
                    .shares("h", 80, Duration::ZERO)
                    .into_iter()
                    .flatten()
                    .next()
                    .unwrap()
            };
            assert_eq!(share.amount(), amount);
        }
    }
}
