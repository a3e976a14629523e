//! Connections that wait for the next request to the same authority.

use std::{
    collections::HashMap,
    rc::{Rc, Weak},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::{
    super::{target::Authority, tls::client::Aim},
    Server,
};

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
    server: Box<Server>,
    /// Whom it was secured for; none if it is plain.
    aim: Option<Rc<Aim>>,
    /// When its last exchange ended.
    since: Instant,
    /// The connection of the client that used it last.
    client: Weak<()>,
}

impl Waiting {
    /// Whether it was this client's.
    fn served(&self, client: &Weak<()>) -> bool {
        self.client.ptr_eq(client)
    }

    /// Whether it has waited too long. One by which the server knows its user waits as long as that user is there.
    fn is_over(&self) -> bool {
        if self.server.connection.personal {
            self.is_orphan()
        } else {
            self.since.elapsed() >= IDLE_LIMIT
        }
    }

    /// Whether a program that had called directly would have closed it by now.
    fn is_orphan(&self) -> bool {
        self.client.strong_count() == 0
    }
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
    /// Whether there ever was one by which a server knows its user: nearly never, and then they need not be looked for.
    personal: bool,
    /// How many requests wait for their turn at an authority, where there are any.
    queued: HashMap<Authority, usize, RandomState>,
}

impl Pool {
    /// The connection that has waited the shortest, if it is still good.
    ///
    /// One that was secured for `aim`, or a plain one if there is none.
    /// For a request that must not run twice, the one that has served the same client; and one by which the server knows its
    /// user for that user only. With it, whether it has served this client before.
    pub(crate) fn take(
        &mut self,
        authority: &Authority,
        aim: Option<&Rc<Aim>>,
        client: &Weak<()>,
        idempotent: bool,
    ) -> Option<(Box<Server>, bool)> {
        let waiting = self.waiting.get_mut(authority)?;
        loop {
            let fits = |candidate: &Waiting| candidate.aim.as_ref() == aim;
            let own = |candidate: &Waiting| {
                candidate.server.connection.personal && candidate.served(client) && fits(candidate)
            };
            let place = self
                .personal
                .then(|| waiting.iter().rposition(own))
                .flatten()
                .or_else(|| {
                    waiting.iter().rposition(|candidate| {
                        !candidate.server.connection.personal
                            && (idempotent || candidate.served(client))
                            && fits(candidate)
                    })
                });
            let mut candidate = waiting.remove(place?);
            self.count -= 1;
            let good = if idempotent {
                !candidate.is_over() && candidate.server.connection.seems_idle()
            } else {
                (candidate.server.connection.personal || candidate.since.elapsed() < FRESH_LIMIT)
                    && candidate.server.connection.is_idle()
            };
            if good {
                let served = candidate.served(client);
                return Some((candidate.server, served));
            }
            // A fresh enough one that only may not carry this method is closed as well: the next request opens its own.
        }
    }

    /// Keeps a connection that served the client of this presence, unless there are too many already.
    pub(crate) fn put(
        &mut self,
        authority: &Authority,
        aim: Option<Rc<Aim>>,
        mut server: Box<Server>,
        client: Weak<()>,
    ) {
        if self.count >= IN_ALL || !server.connection.seems_idle() {
            return;
        }
        let waiting = match self.waiting.get_mut(authority) {
            Some(waiting) => waiting,
            None => self.waiting.entry(authority.clone()).or_default(),
        };
        if waiting.len() < PER_AUTHORITY {
            self.personal |= server.connection.personal;
            waiting.push(Waiting {
                server,
                aim,
                since: Instant::now(),
                client,
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
            waiting.retain(|candidate| !candidate.is_over());
            !waiting.is_empty()
        });
        self.count = self.waiting.values().map(Vec::len).sum();
        self.swept = self.count > 0;
        self.swept
    }

    /// Notes that a request waits for its turn at `authority`, and gives way to it.
    pub(crate) fn queue(&mut self, authority: &Authority) {
        *self.queued.entry(authority.clone()).or_default() += 1;
        self.give_way();
    }

    /// Notes that one such request waits no more.
    pub(crate) fn unqueue(&mut self, authority: &Authority) {
        if let Some(count) = self.queued.get_mut(authority) {
            *count -= 1;
            if *count == 0 {
                self.queued.remove(authority);
            }
        }
    }

    /// Closes what waits for the next request although its client has gone, where another request waits for its turn: a
    /// server that serves one connection at a time would go on waiting for the one, and never hear the other.
    pub(crate) fn give_way(&mut self) {
        for authority in self.queued.keys() {
            if let Some(waiting) = self.waiting.get_mut(authority) {
                let before = waiting.len();
                waiting.retain(|candidate| !candidate.is_orphan());
                self.count -= before - waiting.len();
            }
        }
    }
}
