//! What lets an exchange, an attempt and a tunnel go: the policies asked, and told how it went. What is given out ends with
//! whoever holds it, whatever becomes of them.

mod circuit;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub(crate) use self::circuit::Passage;
use super::{error::ExchangeError, target::Authority};
use crate::{
    policy::{
        Policy,
        breaker::{Breaker, Position},
    },
    traffic::circuit::{Circuit, CircuitState},
};

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
    fn now(self) -> Duration {
        self.begun.elapsed()
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
        let histories = policy.breakers().flat_map(|breaker| breaker.histories());
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
