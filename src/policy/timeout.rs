//! How long things may take. amb invents no failures: what is not set does not end.
//!
//! None of it runs while amb is stopped.

use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::units::Period;

/// The shortest limit within which anything can happen at all.
const SHORTEST: Duration = Duration::from_millis(1);

/// Timeouts as they are configured: the table `[timeout]`. `0s` is no limit, other than for `connect` and `tls`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TimeoutOptions {
    /// How long a connection may take to open, name resolution included [default: 10s]
    ///
    /// An overrun is answered with 504 and `connection_timeout`, or `dns_timeout` if the name was still being looked up.
    #[arg(
        id = "timeout.connect",
        long = "connect-timeout",
        value_name = "DURATION",
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "10s"))]
    pub connect: Option<Period>,

    /// How long it may then take until it is secured, where amb speaks TLS with the server [default: 10s]
    ///
    /// An overrun is answered with 504 and `connection_timeout`, and is `tls_timeout` in logs and reports.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "10s"))]
    pub tls: Option<Period>,

    /// How long a server may take to begin its answer once it has the whole request [default: no limit]
    ///
    /// An interim response counts as a beginning. An overrun is answered with 504 and `connection_read_timeout`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Period>,

    /// How long one attempt may take, from the wish for a connection to the head of the answer [default: no limit]
    ///
    /// An overrun is answered with 504 and `http_response_timeout`, unless it can be tried again.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try: Option<Period>,

    /// How long a request may take in all, retries included [default: no limit]
    ///
    /// From its head to the end of its answer. An overrun is answered with 504 and `http_response_timeout`, or cuts the
    /// answer off if it has begun. Upgraded connections and tunnels are not requests: see tunnel-idle.
    #[arg(
        id = "timeout.request",
        short = 't',
        long = "timeout",
        value_name = "DURATION",
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Period>,

    /// How long a server may neither send nor take a byte inside a body [default: no limit]
    ///
    /// What the command itself holds up does not count: it may pause for as long as it likes. Where answers are streams of events, a server may well have nothing to say.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Period>,

    /// How long nothing may pass in a tunnel or an upgraded connection, either way [default: no limit]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_idle: Option<Period>,
}

/// Timeouts that are valid: at least 1 ms each; none is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the wish for a connection to the open connection. Default 10 s, where the kernel alone would take 127 s.
    pub connect: Duration,
    /// From the open connection to the end of the TLS handshake with the server. Default 10 s.
    pub tls: Duration,
    /// From the last byte of the request to the first head of the answer, interim or not.
    pub first_byte: Option<Duration>,
    /// From the wish for a connection to the final head of the answer, for each attempt.
    pub per_try: Option<Duration>,
    /// From the request's head to the end of the answer, retries and what they wait included.
    pub request: Option<Duration>,
    /// Between bytes of bodies, as far as the server has them in hand. Default: no limit, since a stream of events may be silent for hours.
    pub idle: Option<Duration>,
    /// Between bytes of a tunnel, whichever way they go.
    pub tunnel_idle: Option<Duration>,
}

impl Timeouts {
    /// Whether a request may take as long as it likes once it has a connection.
    pub(super) fn let_requests_be(&self) -> bool {
        let limits = [self.first_byte, self.per_try, self.request, self.idle];
        limits.iter().all(Option::is_none)
    }
}

impl TimeoutOptions {
    /// The values, defaults filled in; `problems` gets what is wrong with them.
    pub fn build(&self, problems: &mut Vec<Problem>) -> Timeouts {
        let mut needed = |name: &str, period: Option<Period>| {
            let limit = period.map_or(Duration::from_secs(10), |period| period.0);
            if limit < SHORTEST {
                let reason = "no connection opens in so short a time; at least 1ms";
                problems.push(Problem::at(&["timeout", name], reason));
            }
            limit
        };
        let (connect, tls) = (needed("connect", self.connect), needed("tls", self.tls));
        let mut limit = |name: &str, period: Option<Period>| {
            let limit = period?.0;
            if limit.is_zero() {
                return None;
            }
            if limit < SHORTEST {
                let reason = "nothing happens in so short a time; at least 1ms, or 0s for no limit";
                problems.push(Problem::at(&["timeout", name], reason));
            }
            Some(limit)
        };
        Timeouts {
            connect,
            tls,
            first_byte: limit("first-byte", self.first_byte),
            per_try: limit("per-try", self.per_try),
            request: limit("request", self.request),
            idle: limit("idle", self.idle),
            tunnel_idle: limit("tunnel-idle", self.tunnel_idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connecting_ends_by_default() {
        let mut problems = Vec::new();
        let expected = Timeouts {
            connect: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            first_byte: None,
            per_try: None,
            request: None,
            idle: None,
            tunnel_idle: None,
        };
        assert_eq!(TimeoutOptions::default().build(&mut problems), expected);
        assert!(problems.is_empty());
    }

    #[test]
    fn nothing_is_no_limit_and_next_to_nothing_a_mistake() {
        let options = |period: Period| TimeoutOptions {
            connect: Some(Period::seconds(1)),
            tls: Some(Period::seconds(1)),
            first_byte: Some(period),
            per_try: Some(period),
            request: Some(period),
            idle: Some(period),
            tunnel_idle: Some(period),
        };
        let mut problems = Vec::new();
        let none = options(Period::seconds(0)).build(&mut problems);
        assert_eq!(
            (none.first_byte, none.per_try, none.request, none.idle, none.tunnel_idle),
            (None, None, None, None, None)
        );
        assert!(problems.is_empty());
        options(Period(Duration::from_micros(1))).build(&mut problems);
        assert_eq!(problems.len(), 5);
    }
}
