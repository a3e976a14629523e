//! What can happen to an attempt, and the names by which it is listed.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::super::named::{self, Named};

/// What happened to an attempt, as far as retries tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There was no connection: the name was not found for the moment, nobody listened or answered, no route.
    Connect,
    /// The connection broke before the server could have heard of the request.
    Unsent,
    /// It broke or ended behind that and before the answer's head was there.
    Reset,
    /// There was no answer in time.
    TimedOut,
    /// The server answered with this status.
    Status(u16),
    /// Something that would happen again: a name that does not exist, an answer that is not HTTP, a mistake of the client's.
    Pointless,
}

impl Fault {
    /// Whether the server certainly has not executed the request.
    pub fn proves_unexecuted(self) -> bool {
        matches!(self, Self::Connect | Self::Unsent)
    }

    /// Whether nobody would call it a failure, unless it is listed.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Status(..500))
    }
}

/// What is retried, by the names of Envoy's `retry_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `connect-failure`
    ConnectFailure,
    /// `refused-stream`: an HTTP/2 server says that it has not looked at the request. There is none of it in HTTP/1.1.
    RefusedStream,
    /// `reset-before-request`
    ResetBeforeRequest,
    /// `reset`: no answer, because the connection broke, or none in time.
    Reset,
    /// `gateway-error`: 502, 503, 504, or no answer in time.
    GatewayError,
    /// `5xx`: any status from 500, or no answer at all.
    ServerError,
    /// `retriable-4xx`: 409.
    Retriable4xx,
    /// `rate-limited`: a 429 that says in `Retry-After` when to come back.
    RateLimited,
    /// A status by itself.
    Status(u16),
}

impl Condition {
    /// What is retried unless something else is listed.
    pub const DEFAULTS: [Self; 5] = [
        Self::ConnectFailure,
        Self::RefusedStream,
        Self::Reset,
        Self::GatewayError,
        Self::RateLimited,
    ];

    /// Whether it is what happened; `asked` says whether the server asked to wait.
    pub fn holds(self, fault: Fault, asked: bool) -> bool {
        match self {
            Self::ConnectFailure => fault == Fault::Connect,
            Self::RefusedStream => false,
            Self::ResetBeforeRequest => fault == Fault::Unsent,
            Self::Reset => matches!(fault, Fault::Unsent | Fault::Reset | Fault::TimedOut),
            Self::GatewayError => matches!(fault, Fault::TimedOut | Fault::Status(502..=504)),
            Self::ServerError => !matches!(fault, Fault::Pointless | Fault::Status(..500)),
            Self::Retriable4xx => fault == Fault::Status(409),
            Self::RateLimited => fault == Fault::Status(429) && asked,
            Self::Status(status) => fault == Fault::Status(status),
        }
    }

    /// Whether it proves that the request was not executed, whatever it is.
    pub(super) fn is_safe(self) -> bool {
        matches!(
            self,
            Self::ConnectFailure | Self::RefusedStream | Self::ResetBeforeRequest
        )
    }

    /// Whether it is about answers, which are to requests that were executed.
    pub(super) fn is_about_answers(self) -> bool {
        !self.is_safe() && self != Self::Reset
    }
}

impl Named for Condition {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("connect-failure", Self::ConnectFailure),
        ("refused-stream", Self::RefusedStream),
        ("reset-before-request", Self::ResetBeforeRequest),
        ("reset", Self::Reset),
        ("gateway-error", Self::GatewayError),
        ("5xx", Self::ServerError),
        ("retriable-4xx", Self::Retriable4xx),
        ("rate-limited", Self::RateLimited),
    ];
    const MISTAKE: &'static str = "nothing to retry on";
    const LIST: &'static str = "a list of what to retry on";

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
