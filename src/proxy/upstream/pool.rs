//! Connections that wait for the next request to the same authority.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::super::{target::Authority, wire::connection::Connection};

/// How long a connection waits before it is closed. Shorter than any server's own limit, so that a request does not meet a
/// server that is just closing (linkerd's figure too).
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// How long one may have waited that carries a request which must not run twice.
const FRESH_LIMIT: Duration = Duration::from_secs(1);
/// Waiting connections per authority.
const PER_AUTHORITY: usize = 512;
/// Waiting connections in all.
const IN_ALL: usize = 2048;

/// A connection and since when it waits.
#[derive(Debug)]
struct Waiting {
    /// The connection.
    connection: Connection,
    /// When its last exchange ended.
    since: Instant,
}

/// Waiting connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// By authority, the one that waits the shortest last.
    waiting: HashMap<Authority, Vec<Waiting>, RandomState>,
    /// How many there are.
    count: usize,
    /// Whether a sweeper is at work.
    swept: bool,
}

impl Pool {
    /// The connection that has waited the shortest, if it is still good.
    pub(crate) fn take(&mut self, authority: &Authority, idempotent: bool) -> Option<Connection> {
        let waiting = self.waiting.get_mut(authority)?;
        while let Some(candidate) = waiting.pop() {
            self.count -= 1;
            let age = candidate.since.elapsed();
            let good = if idempotent {
                age < IDLE_LIMIT && candidate.connection.seems_idle()
            } else {
                age < FRESH_LIMIT && candidate.connection.is_idle()
            };
            if good {
                return Some(candidate.connection);
            }
            // A fresh enough one that only may not carry this method is closed as well: the next request opens its own.
        }
        None
    }

    /// Keeps a connection, unless there are too many already.
    pub(crate) fn put(&mut self, authority: &Authority, connection: Connection) {
        if self.count >= IN_ALL || !connection.seems_idle() {
            return;
        }
        let waiting = match self.waiting.get_mut(authority) {
            Some(waiting) => waiting,
            None => self.waiting.entry(authority.clone()).or_default(),
        };
        if waiting.len() < PER_AUTHORITY {
            waiting.push(Waiting {
                connection,
                since: Instant::now(),
            });
            self.count += 1;
        }
    }

    /// Closes all of them, and says how many there were.
    pub(crate) fn close(&mut self) -> usize {
        self.waiting.clear();
        std::mem::take(&mut self.count)
    }

    /// Whether somebody should begin to sweep; says so once until the pool has run empty.
    pub(crate) fn wants_sweeper(&mut self) -> bool {
        !std::mem::replace(&mut self.swept, true)
    }

    /// Closes what has waited too long. False, once nothing waits any more: the sweeper goes.
    pub(crate) fn sweep(&mut self) -> bool {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|candidate| candidate.since.elapsed() < IDLE_LIMIT);
            !waiting.is_empty()
        });
        self.count = self.waiting.values().map(Vec::len).sum();
        self.swept = self.count > 0;
        self.swept
    }
}
