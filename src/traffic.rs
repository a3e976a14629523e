//! What passed: one [`Record`] an exchange or tunnel, summed up by a [`Meter`](meter::Meter) into a
//! [`Traffic`](meter::Traffic) at the end of the run.
//!
//! Plain data. The proxy makes records, the reports read them; neither knows the other.

pub mod assertion;
pub mod circuit;
pub mod credentials;
pub mod edits;
pub mod egress;
pub mod failures;
pub mod held;
pub mod latency;
pub mod meter;
pub mod retries;
pub mod secured;
pub mod summary;
pub mod timeline;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::{
    credentials::SignedIn,
    edits::Notes,
    retries::{Retries, Try},
    secured::Handshake,
};

/// One HTTP exchange, or one opaque tunnel: exactly one of these for each that began.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whether the bytes inside were understood.
    pub kind: Kind,
    /// How the client asked for it.
    pub protocol: Protocol,
    /// Whether the client asked nobody to carry it: it connected to somewhere else, and amb has taken its connection.
    pub captured: bool,
    /// How the server was asked; none for tunnels, and if the request was unreadable.
    pub scheme: Option<Scheme>,
    /// When the request's first byte was read, by the wall clock.
    pub started_at: SystemTime,
    /// From the request's first byte to the end of the response or tunnel.
    pub duration: Duration,
    /// The request's method as it came; `CONNECT` for a tunnel, also one opened by SOCKS.
    pub method: String,
    /// The host that was asked for: lower case, no trailing dot, no brackets. Empty if the request was unreadable.
    pub host: String,
    /// The port that was asked for; 0 if the request was unreadable.
    pub port: u16,
    /// Path and query as they were asked for, already redacted. Empty for tunnels.
    pub path: String,
    /// The URL that it was sent to instead of the one that it asked for, already redacted; none if it is that one.
    pub sent_to: Option<String>,
    /// What tells it from all other requests of all runs: the run's id and a number. Only where somebody will read it.
    pub request_id: String,
    /// Where in which trace it is; none if it is in none, or nobody asked for traces.
    pub trace: Option<TracePlace>,
    /// What was changed in it and its response.
    pub edits: Notes,
    /// The id of the route that it went by; none if none fits.
    pub route: Option<Arc<str>>,
    /// What its route calls paths like its own: `/v1/charges/{id}`. None for tunnels, and where the route has no name.
    pub url_template: Option<Arc<str>>,
    /// What the client was answered, by the server or by amb; none if it got no answer, and for SOCKS tunnels.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Wire bytes to the server: heads, bodies, tunnelled bytes. Of HTTP/2 what HTTP/1.1 would have taken.
    pub bytes_sent: u64,
    /// Wire bytes from the server.
    pub bytes_received: u64,
    /// How long the connection took to open (name resolution included); none on a reused connection.
    pub connect: Option<Duration>,
    /// How it was then secured; none on a reused connection, and where amb did not secure it.
    pub tls: Option<Box<Handshake>>,
    /// Whether it is a tunnel with TLS in it that amb left as it was.
    pub sealed: bool,
    /// From the request's last head byte sent to the response's first byte; none without a response.
    pub first_byte: Option<Duration>,
    /// Connections that were opened for it, to the server or to a parent proxy, those of failed attempts included.
    pub opened: u32,
    /// Times the request was sent because the policy asked for it, hedges included: 1 without retries, 0 if it was never
    /// sent.
    pub attempts: u32,
    /// What retries and hedges did for it.
    pub retries: Retries,
    /// Each attempt, in their order. Only where spans are exported, and only of exchanges.
    pub tries: Vec<Try>,
    /// Times it was sent again unseen because a pooled connection turned out dead before a byte was written.
    pub resends: u32,
    /// How long it was held back by limits before it was sent.
    pub waited: Duration,
    /// What was done about its credentials.
    pub signed_in: SignedIn,
    /// What limits did about it; none if it kept within them.
    pub limited: Option<Limited>,
    /// What the rules of `[egress]` said of it, and which of them; none if none was asked.
    pub egress: Option<egress::Said>,
    /// What else the host was called, where rules of egress were asked for that too: in TLS, or in `Host` inside a tunnel.
    pub called: Vec<String>,
    /// Whether the server's connection had carried an earlier exchange.
    pub reused: bool,
    /// For the access log, both as the client sent them: the `User-Agent` and the `Referer` (user info and query removed).
    pub user_agent: Option<String>,
    /// See [`Record::user_agent`].
    pub referer: Option<String>,
}

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracePlace {
    /// The trace, which is written with 32 hexadecimal digits.
    pub trace: u128,
    /// The span, which is written with 16: amb's own where amb has made one, the command's otherwise.
    pub span: u64,
    /// The span that it is below; none if it is not amb's own.
    pub parent: Option<u64>,
    /// Whether the trace is recorded, by those who began it.
    pub sampled: bool,
}

/// What limits did about an exchange or tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// It had to wait.
    Delayed,
    /// It was refused.
    Rejected,
}

impl Record {
    /// How long the server took, if it is to be counted: how long it took a client to lose patience is not.
    pub fn latency(&self) -> Option<Duration> {
        let ended = matches!(self.outcome, Outcome::Ok | Outcome::Failed(_));
        (ended && self.first_byte.is_some()).then_some(self.duration)
    }
}

/// Whether the bytes were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An HTTP request and its response.
    Exchange,
    /// Opaque bytes both ways.
    Tunnel,
}

/// Whether a server is asked in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Its name in URLs: `https`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Its port, where none is given.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// How the client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, `CONNECT` included.
    Http11,
    /// HTTP/2: one of the streams of a connection.
    Http2,
    /// SOCKS4 or `SOCKS4a`.
    Socks4,
    /// SOCKS5.
    Socks5,
    /// None: the connection was captured. Of tunnels alone.
    Captured,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Socks4 => "SOCKS4",
            Self::Socks5 => "SOCKS5",
            Self::Captured => "TCP",
        })
    }
}

/// How an exchange or tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered in full with a status below 500, or the tunnel carried its bytes until it was closed.
    Ok,
    /// It failed.
    Failed(Failure),
    /// amb refused it by policy.
    Denied(Failure),
    /// The client went away first. Nobody's fault that amb could name, so not a failure.
    ClientAborted,
    /// It was still open when the run ended.
    CutShort,
}

impl Outcome {
    /// Its name in logs and reports: `aborted`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Denied(_) => "denied",
            Self::ClientAborted => "aborted",
            Self::CutShort => "cut_short",
        }
    }

    /// What failed, if anything did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::Denied(failure) => Some(failure),
            Self::Ok | Self::ClientAborted | Self::CutShort => None,
        }
    }
}

/// What failed, and whose fault it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A name of RFC 9209 §2.3 such as `connection_refused`, one of amb's own (`circuit_open`), or the status of a
    /// server's error (`503`), as OpenTelemetry has it.
    pub error_type: String,
    /// Whose fault it was.
    pub blame: Blame,
    /// The sentence for people, without the URL: `connection refused by 127.0.0.1:9`.
    pub detail: String,
}

/// Whose fault a failure was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The wrapped application, or what it talks HTTP with.
    Client,
    /// The server, or the network on the way to it.
    Upstream,
    /// A rule that somebody wrote.
    Policy,
    /// amb itself.
    Amb,
}

impl Blame {
    /// Its name in reports: `upstream`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Policy => "policy",
            Self::Amb => "amb",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
