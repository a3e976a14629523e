//! Every way in which an exchange or tunnel may end badly: what the client is answered, in RFC 9209's words, and whose fault it was.

use std::{io, time::Duration};

use thiserror::Error;

use super::{clearance::Denial, wire::head::HeadError};
use crate::{
    traffic::{Blame, Failure, Outcome},
    units::Rate,
};

/// Why an exchange or tunnel failed. The name says whose fault it was.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    /// The request breaks HTTP's grammar or framing.
    #[error("{0}")]
    RequestMalformed(&'static str),
    /// The request's head is above the limits of `wire/head.rs`.
    #[error("the request's head is larger than 64 KiB or has more than 256 fields")]
    RequestHeadTooLarge,
    /// The request line alone is above the limit.
    #[error("the request's target is longer than 64 KiB")]
    RequestTargetTooLong,
    /// The request's head did not arrive in time.
    #[error("the request's head did not arrive within {}", humantime::format_duration(*.0))]
    RequestTimedOut(Duration),
    /// A version of HTTP that amb does not speak.
    #[error("this is a proxy for HTTP/1.0 and HTTP/1.1")]
    VersionUnsupported,
    /// A path instead of a URL.
    #[error("this is amb, a forward proxy: it takes requests for absolute URLs, not for a path of its own")]
    NotAProxyRequest,
    /// The body was broken or ended early.
    #[error("the request's body: {0}")]
    RequestBodyBroken(String),
    /// The client went away before its answer was complete.
    #[error("the client closed the connection")]
    ClientGone,
    /// The request passed through this very amb before.
    #[error("the request has passed through this amb before: a proxy or a name leads back to it")]
    LoopDetected,
    /// The client asked for amb's own listener.
    #[error("the destination is amb's own listener")]
    OwnListener,
    /// A process of somebody else.
    #[error("this proxy serves the processes of one command; the process at the other end is not one of them ({0})")]
    StrangerRefused(String),
    /// No room for one more client, and none is idle.
    #[error(
        "amb serves {0} connections at once here, a third of the descriptors that it may have (ulimit -n), and all are in use"
    )]
    TooManyClients(usize),
    /// The name does not exist, or has no address.
    #[error("{host} could not be resolved: {reason}")]
    NameUnresolved {
        /// The name that was looked up.
        host: String,
        /// The resolver's words.
        reason: String,
        /// RFC 9209's `rcode`.
        rcode: &'static str,
    },
    /// The resolver did not answer in time.
    #[error("{0} could not be resolved in time")]
    NameTimedOut(String),
    /// Nobody listens there.
    #[error("connection refused by {0}")]
    UpstreamRefused(String),
    /// No way leads there.
    #[error("no route to {address}: {reason}")]
    UpstreamUnroutable {
        /// What was dialled.
        address: String,
        /// The kernel's words.
        reason: io::Error,
    },
    /// Nobody answered in time.
    #[error("{address} did not answer within {}", humantime::format_duration(*limit))]
    UpstreamConnectTimedOut {
        /// What was dialled.
        address: String,
        /// How long it had.
        limit: Duration,
    },
    /// The server did not prove who it is.
    #[error("the certificate of {server} is not accepted: {reason}")]
    CertificateRejected {
        /// Its name, with the port.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The two do not understand each other.
    #[error("no TLS with {server}: {reason}")]
    TlsFailed {
        /// The server.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The connection broke inside the handshake.
    #[error("no TLS with {server}, which {how} inside the handshake")]
    TlsBroken {
        /// The server.
        server: String,
        /// `closed the connection`, or the kernel's words.
        how: String,
    },
    /// The server said no.
    #[error("no TLS with {server}, which answered with the alert {alert}")]
    TlsAlertReceived {
        /// The server.
        server: String,
        /// The alert's name in TLS: `handshake_failure`.
        alert: String,
        /// Its number there.
        number: u8,
    },
    /// The handshake took too long.
    #[error("no TLS with {server} within {}", humantime::format_duration(*limit))]
    TlsTimedOut {
        /// The server.
        server: String,
        /// How long it had.
        limit: Duration,
    },
    /// The connection broke or ended before an answer.
    #[error("the server {how} before it answered")]
    UpstreamClosedEarly {
        /// `closed the connection`, or the kernel's words.
        how: String,
    },
    /// The answer did not begin in time.
    #[error("the server did not begin its answer within {}", humantime::format_duration(*.0))]
    FirstByteTimedOut(Duration),
    /// One attempt took too long.
    #[error("the attempt had no answer within {}", humantime::format_duration(*.0))]
    AttemptTimedOut(Duration),
    /// All of it took too long, retries included.
    #[error("the request was not over within {}", humantime::format_duration(*.0))]
    ExchangeTimedOut(Duration),
    /// The server fell silent inside its answer's body.
    #[error("the server sent nothing for {} inside the response's body", humantime::format_duration(*.0))]
    UpstreamSilent(Duration),
    /// The server took nothing of the request's body any more.
    #[error("the server took nothing of the request's body for {}", humantime::format_duration(*.0))]
    UpstreamNotReading(Duration),
    /// Nothing passed in a tunnel.
    #[error("nothing passed in the tunnel for {}", humantime::format_duration(*.0))]
    TunnelIdle(Duration),
    /// The answer broke off.
    #[error("the response is incomplete: {0}")]
    ResponseIncomplete(String),
    /// The answer is not HTTP.
    #[error("the response is malformed: {0}")]
    ResponseMalformed(String),
    /// The answer's head is above the limits of `wire/head.rs`.
    #[error("the response's head is larger than 64 KiB or has more than 256 fields")]
    ResponseHeadTooLarge,
    /// Its body is longer than what is edited, and is not to go on unedited.
    #[error("the request's body is longer than the {0} bytes up to which it would be edited")]
    RequestUnedited(usize),
    /// The same of the answer's body.
    #[error("the response's body is longer than the {0} bytes up to which it would be edited")]
    ResponseUnedited(usize),
    /// A tunnel's connection broke.
    #[error("the tunnel broke: {0}")]
    TunnelBroken(io::Error),
    /// It kept failing and is given a rest.
    #[error("{name} keeps failing and is not called for the moment; {}", next_try(*.retry_in))]
    CircuitOpen {
        /// Whose circuit is open.
        name: String,
        /// When it is called again; zero while a probe is under way.
        retry_in: Duration,
    },
    /// More requests in a time than the user lets through.
    #[error("amb lets {rate} through to {name}, and this is more")]
    RateLimited {
        /// Whose rate it is.
        name: String,
        /// The rate.
        rate: Rate,
        /// When one more would go through.
        retry_in: Duration,
    },
    /// More requests at a time than the user lets through.
    #[error("amb lets {most} at a time through to {name}, and {}", no_room(waited.as_ref()))]
    ConcurrencyLimited {
        /// Whose limit it is.
        name: String,
        /// The limit.
        most: u32,
        /// How long the request waited; none if too many waited already.
        waited: Option<Duration>,
    },
    /// A rule of the user's keeps it from going there.
    #[error("{0}")]
    EgressDenied(Box<Denial>),
    /// The proxy that amb itself goes through refused.
    #[error("the parent proxy {parent} answered {answer}")]
    ParentRefused {
        /// Its address.
        parent: String,
        /// What it answered.
        answer: String,
        /// Whether it would answer so again.
        is_final: bool,
    },
    /// A secret that the request needs cannot be had.
    #[error("{0}")]
    SecretUnavailable(String),
    /// A token server does not give amb a token.
    #[error("no token from {server}: {reason}")]
    TokenUnavailable {
        /// The server, with its port.
        server: String,
        /// What it answered, or what went wrong on the way.
        reason: String,
    },
    /// A body that is to be signed cannot be.
    #[error("the request's body cannot be signed: {0}")]
    BodyNotSignable(String),
    /// amb cannot open more connections.
    #[error("amb is out of file descriptors or ports: {0}")]
    OutOfDescriptors(io::Error),
    /// Something that should not happen.
    #[error("{0}")]
    Internal(String),
    /// A client asks one server's connection for another one.
    #[error("the request is for {asked}, and this connection is to {connected}")]
    Misdirected {
        /// Whom it is for.
        asked: String,
        /// Whom the connection is to.
        connected: String,
    },
    /// The server will not look at the request.
    #[error("the server refused the stream: it has not looked at the request")]
    StreamRefused,
    /// The server wants the request by another version.
    #[error("the server wants this request by HTTP/1.1, and was asked by HTTP/2")]
    Http11Required,
    /// The task that carried it panicked.
    #[error("amb failed while it carried this: a bug, please report it")]
    Panicked,
}

/// What the answer to an error says.
pub(crate) struct Verdict {
    /// HTTP status.
    pub(crate) status: u16,
    /// The error type of RFC 9209 §2.3.
    pub(crate) error: &'static str,
    /// Whose fault it was.
    pub(crate) blame: Blame,
}

impl ExchangeError {
    /// The one table from errors to answers ([RFC 9209 §2.3] has the types and the statuses it recommends).
    ///
    /// [RFC 9209 §2.3]: https://www.rfc-editor.org/rfc/rfc9209#section-2.3
    pub(crate) fn verdict(&self) -> Verdict {
        let (status, error, blame) = match self {
            Self::RequestMalformed(_) | Self::NotAProxyRequest | Self::RequestBodyBroken(_) => {
                (400, "http_request_error", Blame::Client)
            }
            Self::RequestHeadTooLarge => (431, "http_request_error", Blame::Client),
            Self::RequestTargetTooLong => (414, "http_request_error", Blame::Client),
            Self::RequestTimedOut(_) => (408, "http_request_error", Blame::Client),
            Self::VersionUnsupported => (505, "http_request_error", Blame::Client),
            Self::ClientGone => (499, "connection_terminated", Blame::Client),
            Self::Misdirected { .. } => (421, "http_request_error", Blame::Client),
            Self::LoopDetected => (502, "proxy_loop_detected", Blame::Client),
            Self::OwnListener => (403, "http_request_denied", Blame::Client),
            Self::NameUnresolved { .. } => (502, "dns_error", Blame::Upstream),
            Self::NameTimedOut(_) => (504, "dns_timeout", Blame::Upstream),
            Self::UpstreamRefused(_) => (502, "connection_refused", Blame::Upstream),
            Self::UpstreamUnroutable { .. } => (502, "destination_ip_unroutable", Blame::Upstream),
            Self::UpstreamConnectTimedOut { .. } | Self::TlsTimedOut { .. } => {
                (504, "connection_timeout", Blame::Upstream)
            }
            Self::CertificateRejected { .. } => (502, "tls_certificate_error", Blame::Upstream),
            Self::TlsFailed { .. } | Self::TlsBroken { .. } => (502, "tls_protocol_error", Blame::Upstream),
            Self::TlsAlertReceived { .. } => (502, "tls_alert_received", Blame::Upstream),
            Self::UpstreamClosedEarly { .. } | Self::StreamRefused | Self::TunnelBroken(_) => {
                (502, "connection_terminated", Blame::Upstream)
            }
            Self::FirstByteTimedOut(_) | Self::UpstreamSilent(_) | Self::TunnelIdle(_) => {
                (504, "connection_read_timeout", Blame::Upstream)
            }
            Self::UpstreamNotReading(_) => (504, "connection_write_timeout", Blame::Upstream),
            Self::AttemptTimedOut(_) | Self::ExchangeTimedOut(_) => (504, "http_response_timeout", Blame::Upstream),
            Self::ResponseIncomplete(_) => (502, "http_response_incomplete", Blame::Upstream),
            Self::ResponseMalformed(_) | Self::Http11Required => (502, "http_protocol_error", Blame::Upstream),
            Self::ResponseHeadTooLarge => (502, "http_response_header_section_size", Blame::Upstream),
            Self::ResponseUnedited(_) => (502, "http_response_body_size", Blame::Policy),
            Self::ParentRefused { .. } | Self::TokenUnavailable { .. } => {
                (502, "destination_unavailable", Blame::Upstream)
            }
            Self::CircuitOpen { .. } => (503, "destination_unavailable", Blame::Upstream),
            Self::RateLimited { .. } => (429, "http_request_denied", Blame::Policy),
            Self::ConcurrencyLimited { .. } => (503, "connection_limit_reached", Blame::Policy),
            Self::SecretUnavailable(_) => (502, "proxy_configuration_error", Blame::Policy),
            Self::RequestUnedited(_) | Self::BodyNotSignable(_) => (413, "http_request_denied", Blame::Policy),
            Self::EgressDenied(denial) if denial.address.is_some() => (403, "destination_ip_prohibited", Blame::Policy),
            Self::EgressDenied(_) | Self::StrangerRefused(_) => (403, "http_request_denied", Blame::Policy),
            Self::OutOfDescriptors(_) | Self::TooManyClients(_) => (503, "connection_limit_reached", Blame::Amb),
            Self::Internal(_) => (500, "proxy_internal_error", Blame::Amb),
            // For the client it is as if the server could not be reached, which it may try again.
            Self::Panicked => (502, "proxy_internal_error", Blame::Amb),
        };
        Verdict { status, error, blame }
    }

    /// Further parameters of `Proxy-Status` that the error type defines.
    pub(crate) fn parameters(&self) -> String {
        match self {
            Self::NameUnresolved { rcode, .. } => format!("; rcode=\"{rcode}\""),
            Self::TlsAlertReceived { alert, number, .. } => {
                format!("; alert-id={number}; alert-message=\"{alert}\"")
            }
            _ => String::new(),
        }
    }

    /// The name of the error in records, reports and bodies: RFC 9209's, or one of amb's own where that says too little.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::CircuitOpen { .. } => "circuit_open",
            Self::RateLimited { .. } => "rate_limited",
            Self::ConcurrencyLimited { .. } => "concurrency_limited",
            Self::TlsTimedOut { .. } => "tls_timeout",
            Self::SecretUnavailable(_) => "secret_unavailable",
            Self::TokenUnavailable { .. } => "token_unavailable",
            Self::BodyNotSignable(_) => "body_not_signable",
            Self::EgressDenied(_) => "egress_denied",
            _ => self.verdict().error,
        }
    }

    /// After how many seconds a client may try again, if amb knows: at least 1.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::CircuitOpen { retry_in, .. } | Self::RateLimited { retry_in, .. } => Some(whole_seconds(*retry_in)),
            // Nobody knows, but it may well be soon.
            Self::ConcurrencyLimited { .. } => Some(1),
            _ => None,
        }
    }

    /// What a record says of an exchange or tunnel that ended so.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::ClientGone => Outcome::ClientAborted,
            Self::StrangerRefused(_)
            | Self::RateLimited { .. }
            | Self::ConcurrencyLimited { .. }
            | Self::RequestUnedited(_)
            | Self::ResponseUnedited(_)
            | Self::BodyNotSignable(_)
            | Self::EgressDenied(_) => Outcome::Denied(self.failure()),
            _ => Outcome::Failed(self.failure()),
        }
    }

    /// The failure as a record has it.
    pub(crate) fn failure(&self) -> Failure {
        let verdict = self.verdict();
        Failure {
            error_type: self.error_type().to_owned(),
            blame: verdict.blame,
            detail: self.to_string(),
        }
    }

    /// What a failed connect to `address` means.
    pub(crate) fn of_connect(address: String, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::ConnectionRefused => Self::UpstreamRefused(address),
            _ if is_exhaustion(&reason) => Self::OutOfDescriptors(reason),
            io::ErrorKind::TimedOut => Self::UpstreamConnectTimedOut {
                address,
                limit: KERNEL_LIMIT,
            },
            io::ErrorKind::ConnectionReset => Self::UpstreamClosedEarly {
                how: "reset the connection".to_owned(),
            },
            _ => Self::UpstreamUnroutable { address, reason },
        }
    }
}

/// Rounded up, and at least 1.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// Why a request does not go through.
fn no_room(waited: Option<&Duration>) -> String {
    match waited {
        Some(waited) => format!("none has ended within {}", humantime::format_duration(*waited)),
        None => "too many wait already".to_owned(),
    }
}

/// When a server that is given a rest is tried again.
fn next_try(retry_in: Duration) -> String {
    if retry_in.is_zero() {
        "one request is under way to see whether it is well again".to_owned()
    } else {
        format!("the next try is in {} s", whole_seconds(retry_in))
    }
}

/// How long Linux tries to connect by itself, with its default of six repeated SYNs.
const KERNEL_LIMIT: Duration = Duration::from_secs(127);

/// Whether the process or the machine has no descriptor or port left.
pub(crate) fn is_exhaustion(reason: &io::Error) -> bool {
    const ERRORS: [i32; 5] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EADDRNOTAVAIL,
    ];
    reason.raw_os_error().is_some_and(|number| ERRORS.contains(&number))
}

impl From<HeadError> for ExchangeError {
    /// What is wrong with a *request's* head.
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(reason) => Self::RequestMalformed(reason),
            HeadError::TooLarge => Self::RequestHeadTooLarge,
            HeadError::TargetTooLong => Self::RequestTargetTooLong,
            HeadError::Version => Self::VersionUnsupported,
        }
    }
}

impl ExchangeError {
    /// What is wrong with a *response's* head.
    pub(crate) fn of_response_head(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(reason) => Self::ResponseMalformed(reason.to_owned()),
            HeadError::Version => Self::ResponseMalformed("not a version of HTTP that amb speaks".to_owned()),
            HeadError::TooLarge | HeadError::TargetTooLong => Self::ResponseHeadTooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error types of [RFC 9209 §2.3].
    ///
    /// [RFC 9209 §2.3]: https://www.rfc-editor.org/rfc/rfc9209#section-2.3
    const REGISTERED: [&str; 32] = [
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_error",
        "http_request_denied",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_header_size",
        "http_response_body_size",
        "http_response_trailer_section_size",
        "http_response_trailer_size",
        "http_response_transfer_coding",
        "http_response_content_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "http_protocol_error",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_configuration_error",
        "proxy_loop_detected",
    ];

    /// What can be wrong with TLS.
    fn errors_of_tls() -> [ExchangeError; 5] {
        let text = String::new;
        [
            ExchangeError::CertificateRejected {
                server: text(),
                reason: text(),
            },
            ExchangeError::TlsFailed {
                server: text(),
                reason: text(),
            },
            ExchangeError::TlsBroken {
                server: text(),
                how: text(),
            },
            ExchangeError::TlsAlertReceived {
                server: text(),
                alert: text(),
                number: 40,
            },
            ExchangeError::TlsTimedOut {
                server: text(),
                limit: Duration::ZERO,
            },
        ]
    }

    #[test]
    fn every_error_has_a_registered_name_and_a_status_that_fits_whose_fault_it_was() {
        let text = String::new;
        let io = || io::Error::from(io::ErrorKind::NetworkUnreachable);
        let errors = [
            ExchangeError::RequestMalformed(""),
            ExchangeError::RequestHeadTooLarge,
            ExchangeError::RequestTargetTooLong,
            ExchangeError::RequestTimedOut(Duration::ZERO),
            ExchangeError::VersionUnsupported,
            ExchangeError::NotAProxyRequest,
            ExchangeError::RequestBodyBroken(text()),
            ExchangeError::ClientGone,
            ExchangeError::OwnListener,
            ExchangeError::StrangerRefused(text()),
            ExchangeError::TooManyClients(1),
            ExchangeError::NameUnresolved {
                host: text(),
                reason: text(),
                rcode: "NXDOMAIN",
            },
            ExchangeError::NameTimedOut(text()),
            ExchangeError::UpstreamRefused(text()),
            ExchangeError::UpstreamUnroutable {
                address: text(),
                reason: io(),
            },
            ExchangeError::UpstreamConnectTimedOut {
                address: text(),
                limit: Duration::ZERO,
            },
            ExchangeError::UpstreamClosedEarly { how: text() },
            ExchangeError::StreamRefused,
            ExchangeError::Http11Required,
            ExchangeError::Misdirected {
                asked: text(),
                connected: text(),
            },
            ExchangeError::FirstByteTimedOut(Duration::ZERO),
            ExchangeError::AttemptTimedOut(Duration::ZERO),
            ExchangeError::ExchangeTimedOut(Duration::ZERO),
            ExchangeError::UpstreamSilent(Duration::ZERO),
            ExchangeError::UpstreamNotReading(Duration::ZERO),
            ExchangeError::TunnelIdle(Duration::ZERO),
            ExchangeError::ResponseIncomplete(text()),
            ExchangeError::ResponseMalformed(text()),
            ExchangeError::ResponseHeadTooLarge,
            ExchangeError::RequestUnedited(0),
            ExchangeError::ResponseUnedited(0),
            ExchangeError::TunnelBroken(io()),
            ExchangeError::ParentRefused {
                parent: text(),
                answer: text(),
                is_final: false,
            },
            ExchangeError::CircuitOpen {
                name: text(),
                retry_in: Duration::ZERO,
            },
            ExchangeError::RateLimited {
                name: text(),
                rate: Rate {
                    count: 1,
                    per: Duration::from_secs(1),
                },
                retry_in: Duration::ZERO,
            },
            ExchangeError::ConcurrencyLimited {
                name: text(),
                most: 1,
                waited: None,
            },
            ExchangeError::OutOfDescriptors(io()),
            ExchangeError::Internal(text()),
            ExchangeError::Panicked,
        ];
        for error in errors.into_iter().chain(errors_of_tls()) {
            let Verdict {
                status,
                error: name,
                blame,
            } = error.verdict();
            assert!(REGISTERED.contains(&name), "{name}");
            let fits = match blame {
                Blame::Client => (400..500).contains(&status) || status == 505,
                Blame::Upstream => matches!(status, 502..=504),
                Blame::Policy => matches!(status, 403 | 413 | 429 | 502 | 503),
                Blame::Amb => matches!(status, 500 | 502 | 503),
            };
            assert!(fits, "{status} {name}: {error:?}");
        }
        // The client's, but it is a gateway's error by its name.
        assert_eq!(ExchangeError::LoopDetected.verdict().status, 502);
    }
}
