//! Why a stream broke.

use std::{error::Error, io};

use h2::Reason;
use thiserror::Error;

/// Why a stream broke. The text fits behind "the server".
#[derive(Clone, Debug, Error)]
pub(crate) enum Broken {
    /// The other side ended it with this reason.
    #[error("reset the stream ({})", name(*.0))]
    Reset(Reason),
    /// The other side has not looked at the request, and has said so; or it was not sent at all ([RFC 9113 §8.7]).
    ///
    /// [RFC 9113 §8.7]: https://www.rfc-editor.org/rfc/rfc9113#section-8.7
    #[error("refused the stream")]
    Refused {
        /// Whether it goes, and takes no other one on this connection either.
        leaving: bool,
    },
    /// The other side wants the request by HTTP/1.1, and has not looked at it.
    #[error("wants HTTP/1.1")]
    Http11Required,
    /// The connection ended or broke.
    #[error("closed the connection")]
    Closed,
    /// What the other side sent breaks HTTP/2.
    #[error("broke HTTP/2: {0}")]
    Protocol(String),
    /// What was to be sent has no place in HTTP/2.
    #[error("speaks HTTP/2, and {0}")]
    Unsayable(&'static str),
}

impl Broken {
    /// What an error means that came in the place of an answer.
    pub(super) fn of_answer(error: &hyper::Error) -> Self {
        if error.is_canceled() {
            return Self::Refused { leaving: true };
        }
        match of_http2(error) {
            Some(inner) if inner.is_remote() && inner.is_go_away() => Self::Refused { leaving: true },
            Some(inner) if inner.is_remote() && inner.reason() == Some(Reason::REFUSED_STREAM) => {
                Self::Refused { leaving: false }
            }
            Some(inner) if inner.is_remote() && inner.reason() == Some(Reason::HTTP_1_1_REQUIRED) => {
                Self::Http11Required
            }
            _ => Self::of_body(error),
        }
    }

    /// What an error means inside a body.
    pub(super) fn of_body(error: &hyper::Error) -> Self {
        let Some(inner) = of_http2(error) else {
            return Self::Closed;
        };
        match inner.reason() {
            _ if inner.is_io() || inner.is_go_away() && inner.is_remote() => Self::Closed,
            Some(reason) if inner.is_remote() => Self::Reset(reason),
            _ => Self::Protocol(inner.to_string()),
        }
    }

    /// What an error means in what is no HTTP.
    pub(super) fn of_raw(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<h2::Error>());
        inner.and_then(h2::Error::reason).map_or(Self::Closed, Self::Reset)
    }

    /// The one that an error of a connection has inside.
    pub(crate) fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What the other side of an exchange is told, of which this is the one.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Closed | Self::Protocol(_) | Self::Unsayable(_) => Reason::INTERNAL_ERROR,
            Self::Reset(reason) => *reason,
            Self::Refused { .. } => Reason::REFUSED_STREAM,
            Self::Http11Required => Reason::HTTP_1_1_REQUIRED,
        }
    }
}

/// The error of h2 in one of hyper.
pub(crate) fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// A reason's name in [RFC 9113 §7], or its number.
///
/// [RFC 9113 §7]: https://www.rfc-editor.org/rfc/rfc9113#section-7
fn name(reason: Reason) -> String {
    let shown = format!("{reason:?}");
    if shown.contains('(') {
        return format!("code {}", u32::from(reason));
    }
    shown
}
