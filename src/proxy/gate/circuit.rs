//! The way of one attempt through its circuit.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Gate;
use crate::{
    policy::breaker::{Breaker, Change, Permit, Seen},
    proxy::{error::ExchangeError, target::Authority},
    traffic::Blame,
};

/// The permit of an attempt; nothing without a breaker.
///
/// An attempt whose answer has begun well is counted when it is over, for the answer may still break off; but a circuit
/// that waits for a probe is told at once, for the answer may go on for ever.
#[derive(Debug, Default)]
pub(crate) struct Passage(Option<Box<Open>>);

/// A permit that is in use.
#[derive(Debug)]
struct Open {
    /// The permit.
    permit: Permit,
    /// The clock.
    gate: Gate,
    /// When the attempt began.
    began: Instant,
    /// What was seen and not yet counted, and after how long.
    seen: Option<(Seen, Duration)>,
}

/// See [`Gate::pass`].
pub(super) fn pass(gate: Gate, breaker: &Arc<Breaker>, authority: &Authority) -> Result<Passage, ExchangeError> {
    match breaker.admit(&authority.host, authority.port, gate.now()) {
        Ok((permit, change)) => {
            tell(permit.name(), change);
            Ok(Passage(Some(Box::new(Open {
                permit,
                gate,
                began: Instant::now(),
                seen: None,
            }))))
        }
        Err(rejected) => Err(ExchangeError::CircuitOpen {
            name: rejected.name.into(),
            retry_in: rejected.retry_in,
        }),
    }
}

impl Passage {
    /// A tunnel was opened, or not.
    pub(crate) fn opened<T>(&mut self, result: &Result<T, ExchangeError>) {
        match result {
            Ok(_) => self.answered(200),
            Err(error) => self.failed(error),
        }
    }

    /// An answer has begun, with this status.
    pub(crate) fn answered(&mut self, status: u16) {
        let Some(open) = &mut self.0 else { return };
        let seen = Seen::Status(status);
        let took = open.began.elapsed();
        if open.permit.is_probe() || open.permit.is_failure(seen) == Some(true) {
            open.count(seen, took);
        } else {
            open.seen = Some((seen, took));
        }
    }

    /// It failed. What says nothing of the server is not counted.
    pub(crate) fn failed(&mut self, error: &ExchangeError) {
        let Some(open) = &mut self.0 else { return };
        let seen = seen(error);
        if seen != Seen::Nothing {
            let took = open.began.elapsed();
            open.seen = None;
            open.count(seen, took);
        }
    }
}

impl Open {
    /// Counts what was seen, if nothing was before.
    fn count(&mut self, seen: Seen, took: Duration) {
        let change = self.permit.record(seen, took, self.gate.now(), fastrand::f64());
        tell(self.permit.name(), change);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some((seen, took)) = self.seen.take() {
            self.count(seen, took);
        }
    }
}

/// What an error says of the server, by its name in RFC 9209.
fn seen(error: &ExchangeError) -> Seen {
    let verdict = error.verdict();
    if verdict.blame != Blame::Upstream || matches!(error, ExchangeError::CircuitOpen { .. }) {
        return Seen::Nothing;
    }
    match verdict.error {
        "dns_timeout" | "connection_timeout" => Seen::NoConnectionInTime,
        "dns_error"
        | "connection_refused"
        | "destination_ip_unroutable"
        | "destination_unavailable"
        | "tls_protocol_error"
        | "tls_certificate_error"
        | "tls_alert_received" => Seen::NoConnection,
        "connection_read_timeout" | "connection_write_timeout" | "http_response_timeout" => Seen::NoAnswerInTime,
        "connection_terminated" | "http_response_incomplete" => Seen::Break,
        _ => Seen::Nothing,
    }
}

/// Tells of a change.
fn tell(name: &str, change: Option<Change>) {
    match change {
        None => {}
        Some(Change::Opened(lasts)) => {
            tracing::warn!(circuit = name, ?lasts, "a circuit opened: what it is for keeps failing");
        }
        Some(Change::HalfOpened) => tracing::info!(circuit = name, "a circuit lets a request through to probe"),
        Some(Change::Closed) => tracing::info!(circuit = name, "a circuit closed: what it is for is well again"),
    }
}
