//! Between the retry policy and what it is about: what an error means for it, and how its decisions are written down.

use std::time::Duration;

use super::{error::ExchangeError, target::Authority};
use crate::{
    policy::{
        Policy,
        retry::{Attempted, Decision, Fault, Level, Retry, Why},
    },
    traffic::{
        Record,
        retries::{NotRetried, Refused, RetryLevel},
    },
};

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no connection yet.
    Connecting,
    /// The connection broke before the server could have heard of the request: the kernel had taken no byte of it, or holds
    /// all that it took.
    Unsent,
    /// The server may have heard of the request.
    Sent,
}

/// What an error at this stage of an attempt means for retries; none if it is not the way to the server that failed.
pub(super) fn fault(error: &ExchangeError, stage: Stage) -> Option<Fault> {
    match error {
        ExchangeError::NameUnresolved { rcode: "NXDOMAIN", .. }
        | ExchangeError::ParentRefused { is_final: true, .. }
        | ExchangeError::ResponseMalformed(_)
        | ExchangeError::Http11Required
        | ExchangeError::ResponseHeadTooLarge
        | ExchangeError::CertificateRejected { .. }
        | ExchangeError::TlsFailed { .. }
        | ExchangeError::TlsAlertReceived { .. } => Some(Fault::Pointless),
        ExchangeError::NameUnresolved { .. }
        | ExchangeError::NameTimedOut(_)
        | ExchangeError::UpstreamRefused(_)
        | ExchangeError::UpstreamUnroutable { .. }
        | ExchangeError::UpstreamConnectTimedOut { .. }
        | ExchangeError::TlsBroken { .. }
        | ExchangeError::TlsTimedOut { .. }
        | ExchangeError::ParentRefused { .. }
        | ExchangeError::OutOfDescriptors(_) => Some(Fault::Connect),
        ExchangeError::StreamRefused => Some(Fault::Refused),
        ExchangeError::UpstreamClosedEarly { .. }
        | ExchangeError::ResponseIncomplete(_)
        | ExchangeError::FirstByteTimedOut(_)
        | ExchangeError::AttemptTimedOut(_)
        | ExchangeError::UpstreamNotReading(_) => Some(match (stage, error) {
            (Stage::Connecting, _) => Fault::Connect,
            (Stage::Unsent, _) => Fault::Unsent,
            (Stage::Sent, ExchangeError::UpstreamClosedEarly { .. } | ExchangeError::ResponseIncomplete(_)) => {
                Fault::Reset
            }
            (Stage::Sent, _) => Fault::TimedOut,
        }),
        _ => None,
    }
}

/// As [`decide`], about a tunnel whose server was not reached.
pub(super) fn after_connect(
    policy: &Policy,
    retry: &Retry,
    error: &ExchangeError,
    authority: &Authority,
    now: Duration,
    record: &mut Record,
) -> Option<Duration> {
    let attempted = Attempted {
        fault: fault(error, Stage::Connecting)?,
        method: "CONNECT",
        has_key: false,
        replayable: true,
        retries: record.retries.count,
        waited: record.retries.waited,
        left: None,
        retry_after: None,
        dice: fastrand::f64(),
    };
    decide(policy, retry, &attempted, authority, now, record)
}

/// How long to wait before the next attempt; none if there is to be none, of which `record` says why. `now` is the time since
/// the start of the run, `authority` where the request goes.
pub(super) fn decide(
    policy: &Policy,
    retry: &Retry,
    attempted: &Attempted<'_>,
    authority: &Authority,
    now: Duration,
    record: &mut Record,
) -> Option<Duration> {
    let refused = match retry.decide(attempted) {
        Decision::Fine => None,
        Decision::After(wait) if policy.spending.take(retry.budget, &authority.host, authority.port, now) => {
            return Some(wait);
        }
        Decision::After(_) => Some(Refused {
            why: NotRetried::Budget,
            level: None,
        }),
        Decision::Leave(why, level) => Some(Refused {
            why: why.into(),
            level: level.and_then(named),
        }),
    };
    record.retries.refused = refused;
    None
}

/// The level as records have it; none for off.
fn named(level: Level) -> Option<RetryLevel> {
    match level {
        Level::Off => None,
        Level::Safe => Some(RetryLevel::Safe),
        Level::Idempotent => Some(RetryLevel::Idempotent),
        Level::All => Some(RetryLevel::All),
    }
}

impl From<Why> for NotRetried {
    fn from(why: Why) -> Self {
        match why {
            Why::Off => Self::Off,
            Why::NotSafe => Self::NotSafe,
            Why::MethodNotListed => Self::MethodNotListed,
            Why::ConditionNotListed => Self::ConditionNotListed,
            Why::Pointless => Self::Pointless,
            Why::BodyTooLarge => Self::BodyTooLarge,
            Why::AttemptsUsed => Self::AttemptsUsed,
            Why::RetryAfterTooLong => Self::RetryAfterTooLong,
            Why::TimeOver => Self::TimeOver,
        }
    }
}
