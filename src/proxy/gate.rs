//! What lets an exchange, an attempt and a tunnel go: the policies asked, and told how it went. What is given out ends with
//! whoever holds it, whatever becomes of them.

mod circuit;
mod limit;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub(crate) use self::{circuit::Passage, limit::Admission};
use super::{
    error::ExchangeError,
    target::Authority,
    wire::{connection::Connection, pace::Pace},
};
use crate::{
    policy::{
        Policy,
        breaker::{Breaker, Position},
        limit::{Limits, bandwidth::Bandwidth},
    },
    traffic::{
        Record,
        circuit::{Circuit, CircuitState},
    },
};

/// Who asks to be let go.
pub(crate) enum Who<'a> {
    /// A tunnel that is to be opened.
    Tunnel,
    /// An exchange.
    Exchange {
        /// Its client, who may lose patience.
        client: &'a mut Connection,
        /// Whether it is the first inside a tunnel, and was counted when that was opened.
        tunnelled: bool,
    },
}

/// The clock that all workers tell policies the time by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// When it began to run.
    begun: Instant,
}

impl Gate {
    /// A clock that begins now.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now() }
    }

    /// How long it has run.
    pub(crate) fn now(self) -> Duration {
        self.begun.elapsed()
    }

    /// Lets an exchange or the opening of a tunnel begin, when the limits have room for it; without limits they have. What is
    /// returned ends with it. The `record` gets what was waited.
    ///
    /// # Errors
    /// If there is too much already, or the client has gone.
    pub(crate) async fn admit(
        self,
        limits: &Limits,
        authority: &Authority,
        who: Who<'_>,
        record: &mut Record,
    ) -> Result<Admission, ExchangeError> {
        if limits.admit_all() {
            return Ok(Admission::default());
        }
        // Boxed, since most requests come without limits and should not carry the room for this.
        Box::pin(limit::admit(self, limits, authority, who, record)).await
    }

    /// How fast bytes may go to and from `authority`; none for as fast as they can.
    #[inline]
    pub(crate) fn pace(self, limits: &Limits, authority: &Authority) -> Option<Box<Pace>> {
        limits
            .bandwidth
            .as_ref()
            .map(|bandwidth| Box::new(self.pace_by(bandwidth, authority)))
    }

    /// How fast they may go by this limit.
    fn pace_by(self, bandwidth: &Bandwidth, authority: &Authority) -> Pace {
        let shares = bandwidth.shares(&authority.host, authority.port, self.now());
        Pace::new(shares, self.begun)
    }

    /// Asks whether an attempt may go to `authority`; without a breaker it may.
    ///
    /// # Errors
    /// If the circuit is open.
    pub(crate) fn pass(self, breaker: Option<&Arc<Breaker>>, authority: &Authority) -> Result<Passage, ExchangeError> {
        match breaker {
            None => Ok(Passage::default()),
            Some(breaker) => circuit::pass(self, breaker, authority),
        }
    }

    /// What has become of the circuits that have opened.
    pub(crate) fn circuits(policy: &Policy) -> Vec<Circuit> {
        let histories = policy.breakers().into_iter().flat_map(|breaker| breaker.histories());
        histories
            .map(|history| Circuit {
                name: history.name.map_or_else(String::new, String::from),
                state: match history.position {
                    Position::Closed => CircuitState::Closed,
                    Position::Open => CircuitState::Open,
                    Position::HalfOpen => CircuitState::HalfOpen,
                },
                opened: history.counts.opened,
                rejected: history.counts.rejected,
            })
            .collect()
    }
}
