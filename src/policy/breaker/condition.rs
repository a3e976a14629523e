//! What counts as a failure of a server.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::super::named::{self, Named};

/// One kind of failure, in Envoy's words; a status by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No connection could be opened: no address, refused, no route, no answer in time, no TLS.
    ConnectFailure,
    /// The connection broke before the answer was complete.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// 502, 503 or 504.
    GatewayError,
    /// Any status from 500 on.
    ServerError,
    /// This status.
    Status(u16),
}

/// What was seen of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An answer with this status; a tunnel that opened is a 200.
    Status(u16),
    /// No connection.
    NoConnection,
    /// No connection in time.
    NoConnectionInTime,
    /// A connection that broke.
    Break,
    /// No answer in time.
    NoAnswerInTime,
    /// Nothing that says anything of the server: the client has gone, or amb itself failed.
    Nothing,
}

/// Whether what was seen is one of `conditions`; none if it says nothing of the server.
pub(super) fn is_failure(conditions: &[Condition], seen: Seen) -> Option<bool> {
    (seen != Seen::Nothing).then(|| conditions.iter().any(|condition| condition.fits(seen)))
}

impl Condition {
    /// Whether this is what was seen.
    fn fits(self, seen: Seen) -> bool {
        match (self, seen) {
            (Self::ConnectFailure, Seen::NoConnection | Seen::NoConnectionInTime)
            | (Self::Timeout, Seen::NoConnectionInTime | Seen::NoAnswerInTime)
            | (Self::Reset, Seen::Break)
            | (Self::GatewayError, Seen::Status(502..=504)) => true,
            (Self::ServerError, Seen::Status(status)) => status >= 500,
            (Self::Status(wanted), Seen::Status(status)) => status == wanted,
            _ => false,
        }
    }
}

impl Named for Condition {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("connect-failure", Self::ConnectFailure),
        ("reset", Self::Reset),
        ("timeout", Self::Timeout),
        ("gateway-error", Self::GatewayError),
        ("5xx", Self::ServerError),
    ];
    const MISTAKE: &'static str = "no kind of failure";
    const LIST: &'static str = "a list of what counts as a failure";

    fn of_status(status: u16) -> Self {
        Self::Status(status)
    }

    fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named::read(text)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named::write(*self, f)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
