//! What a break on the wire means for an exchange, and whose fault it was.

use std::io;

use super::{
    access,
    error::ExchangeError,
    tls,
    wire::{connection::Connection, head::ResponseHead, http1::ReadHeadError, http2::Broken, pump::PumpError},
};
use crate::traffic::{Blame, Failure, Outcome};

/// A server that could not be written to or read from before its answer.
pub(super) fn closed_early(reason: &io::Error) -> ExchangeError {
    match Broken::inside(reason) {
        Some(Broken::Refused { .. }) => return ExchangeError::StreamRefused,
        Some(Broken::Http11Required) => return ExchangeError::Http11Required,
        Some(Broken::Protocol(how)) => return ExchangeError::ResponseMalformed(how.clone()),
        Some(broken) => {
            return ExchangeError::UpstreamClosedEarly {
                how: broken.to_string(),
            };
        }
        None => {}
    }
    let inner = reason.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(error) = inner {
        return tls::client::explained("the server", error);
    }
    let how = match reason.kind() {
        io::ErrorKind::ConnectionReset => "reset the connection".to_owned(),
        io::ErrorKind::BrokenPipe => "closed the connection".to_owned(),
        _ => format!("broke the connection ({reason})"),
    };
    ExchangeError::UpstreamClosedEarly { how }
}

/// Whether an error is about one stream of a connection, which goes on without it.
pub(super) fn is_of_stream(reason: &io::Error) -> bool {
    !matches!(
        Broken::inside(reason),
        None | Some(Broken::Closed | Broken::Refused { .. })
    )
}

/// What it means that no response head came.
pub(super) fn no_head(error: ReadHeadError) -> ExchangeError {
    match error {
        ReadHeadError::Ended => ExchangeError::UpstreamClosedEarly {
            how: "closed the connection".to_owned(),
        },
        ReadHeadError::EndedInside => {
            ExchangeError::ResponseIncomplete("the connection was closed inside the head".to_owned())
        }
        ReadHeadError::Io(reason, false) => closed_early(&reason),
        ReadHeadError::Io(reason, true) => {
            ExchangeError::ResponseIncomplete(format!("the connection broke inside the head ({reason})"))
        }
        ReadHeadError::Head(error) => ExchangeError::of_response_head(error),
    }
}

/// What a break of the request's body means.
pub(super) fn request_body_error(client: &Connection, broken: PumpError) -> ExchangeError {
    match broken {
        PumpError::Malformed(reason) => ExchangeError::RequestBodyBroken(reason.to_owned()),
        PumpError::Truncated if !access::is_gone(client) => {
            ExchangeError::RequestBodyBroken("the connection ended before the body did".to_owned())
        }
        PumpError::Truncated | PumpError::Read(_) => ExchangeError::ClientGone,
        PumpError::Write(reason) => closed_early(&reason),
        PumpError::Stalled(limit) => ExchangeError::UpstreamNotReading(limit),
    }
}

/// What a break of the response's body means.
pub(super) fn response_body_error(broken: PumpError) -> ExchangeError {
    match broken {
        PumpError::Malformed(reason) => ExchangeError::ResponseMalformed(reason.to_owned()),
        PumpError::Truncated => {
            ExchangeError::ResponseIncomplete("the connection was closed before the body's end".to_owned())
        }
        PumpError::Read(reason) => match Broken::inside(&reason) {
            Some(Broken::Protocol(how)) => ExchangeError::ResponseMalformed(how.clone()),
            Some(broken) => ExchangeError::ResponseIncomplete(format!("the server {broken} inside the body")),
            None => ExchangeError::UpstreamClosedEarly {
                how: format!("broke the connection inside the body ({reason})"),
            },
        },
        PumpError::Write(_) => ExchangeError::ClientGone,
        PumpError::Stalled(limit) => ExchangeError::UpstreamSilent(limit),
    }
}

/// How an exchange ends that a server answers in full with this head.
pub(super) fn outcome(head: &ResponseHead) -> Outcome {
    if head.status >= 500 {
        Outcome::Failed(server_error(head))
    } else {
        Outcome::Ok
    }
}

/// A server's own error, as OpenTelemetry names it: by its status.
fn server_error(head: &ResponseHead) -> Failure {
    let detail = format!(
        "the server answered {} {}",
        head.status,
        String::from_utf8_lossy(head.reason())
    );
    Failure {
        error_type: head.status.to_string(),
        blame: Blame::Upstream,
        detail: detail.trim_end().to_owned(),
    }
}
