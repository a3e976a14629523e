//! What holds for one request: the policies that can differ from one route to the next.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Problem,
    auth::Guard,
    breaker::{Breaker, BreakerOptions},
    edit::{
        EditOptions, Edits,
        header::HeaderOptions,
        json::JsonOptions,
        reply::{ReplyOptions, StatusOptions},
        rewrite::RewriteOptions,
        value::Known,
    },
    limit::{Limits, bandwidth::BandwidthOptions, concurrency::ConcurrencyOptions, rate::RateOptions},
    retry::{Retry, RetryOptions},
    scope::Scope,
    timeout::{TimeoutOptions, Timeouts},
    tls::servers::{ServerTls, ServerTlsOptions},
};

/// The tables that hold for every request and that a route can override, key by key.
///
/// What a route overrides stands in a field of the same name in [`RouteOptions`](super::route::RouteOptions).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RuleOptions {
    /// `[timeout]`
    pub timeout: TimeoutOptions,
    /// `[retry]`
    pub retry: RetryOptions,
    /// `[circuit-breaker]`
    pub circuit_breaker: BreakerOptions,
    /// `[rate-limit]`
    pub rate_limit: RateOptions,
    /// `[concurrency]`
    pub concurrency: ConcurrencyOptions,
    /// `[bandwidth]`
    pub bandwidth: BandwidthOptions,
    /// What `[tls]` says of servers.
    pub tls: ServerTlsOptions,
    /// What of `[headers]` changes requests
    pub headers: HeaderOptions,
    /// `[response-headers]`
    pub response_headers: HeaderOptions,
    /// `rewrite`, which routes alone have
    pub rewrite: RewriteOptions,
    /// `[json]`
    pub json: JsonOptions,
    /// `[response-json]`
    pub response_json: JsonOptions,
    /// `[response-status]`
    pub response_status: StatusOptions,
    /// `[response-body]`
    pub response_body: ReplyOptions,
}

impl RuleOptions {
    /// The valid policies of `route`; `problems` gets what is wrong. What is as in `weaker`, options and what they were built
    /// to, shares its state with that, unless each route is to have one of its own.
    pub fn build(
        &self,
        route: &str,
        weaker: Option<(&Self, &Rules)>,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> Rules {
        /// The same table's built policy, if it is the same table.
        fn shared<O: PartialEq, P: Clone>(own: &O, scope: Option<Scope>, weaker: Option<(&O, &P)>) -> Option<P> {
            let (options, built) = weaker?;
            (own == options && scope != Some(Scope::Route)).then(|| built.clone())
        }
        let breaker = shared(
            &self.circuit_breaker,
            self.circuit_breaker.key,
            weaker.map(|(options, rules)| (&options.circuit_breaker, &rules.breaker)),
        );
        let rate = shared(
            &self.rate_limit,
            self.rate_limit.key,
            weaker.map(|(options, rules)| (&options.rate_limit, &rules.limits.rate)),
        );
        let concurrency = shared(
            &self.concurrency,
            self.concurrency.key,
            weaker.map(|(options, rules)| (&options.concurrency, &rules.limits.concurrency)),
        );
        let bandwidth = shared(
            &self.bandwidth,
            self.bandwidth.key,
            weaker.map(|(options, rules)| (&options.bandwidth, &rules.limits.bandwidth)),
        );
        let server_tls = shared(
            &self.tls,
            None,
            weaker.map(|(options, rules)| (&options.tls, &rules.server_tls)),
        );
        let timeouts = self.timeout.build(problems);
        let retry = self.retry.clone().build(problems);
        let breaker = breaker.unwrap_or_else(|| self.circuit_breaker.clone().build(route, problems));
        let limits = Limits {
            rate: rate.unwrap_or_else(|| self.rate_limit.clone().build(route, problems)),
            concurrency: concurrency.unwrap_or_else(|| self.concurrency.clone().build(route, problems)),
            bandwidth: bandwidth.unwrap_or_else(|| self.bandwidth.clone().build(route)),
        };
        Rules {
            lets_be: timeouts.let_requests_be() && retry.lets_be() && breaker.is_none() && limits.admit_all(),
            timeouts,
            retry,
            breaker,
            limits,
            server_tls: server_tls.unwrap_or_else(|| Arc::new(self.tls.clone().build(problems))),
            edits: self
                .edits()
                .build(weaker.map(|(options, _)| options.edits()), known, problems),
            guard: weaker.and_then(|(_, rules)| rules.guard.clone()),
        }
    }

    /// What is changed on the way.
    fn edits(&self) -> EditOptions<'_> {
        EditOptions {
            headers: &self.headers,
            response_headers: &self.response_headers,
            rewrite: &self.rewrite,
            json: &self.json,
            response_json: &self.response_json,
            response_status: &self.response_status,
            response_body: &self.response_body,
        }
    }

    /// Whether some state is kept for each route by itself.
    pub(super) fn is_by_route(&self) -> bool {
        let keys = [
            self.circuit_breaker.key,
            self.rate_limit.key,
            self.concurrency.key,
            self.bandwidth.key,
        ];
        keys.contains(&Some(Scope::Route))
    }
}

/// `weaker` with what `stronger` says in its place: tables are merged key by key, everything else is replaced. What
/// `stronger` says under names that `weaker` does not know is passed over.
pub(super) fn over<T: Serialize + DeserializeOwned + Default>(weaker: &T, stronger: &impl Serialize) -> T {
    /// Puts what is in one value over another.
    fn lay(weaker: &mut Value, stronger: Value) {
        match (weaker, stronger) {
            (Value::Object(weaker), Value::Object(stronger)) => {
                for (key, value) in stronger {
                    lay(weaker.entry(key).or_insert(Value::Null), value);
                }
            }
            (weaker, stronger) => *weaker = stronger,
        }
    }
    let mut merged = serde_json::to_value(weaker).unwrap_or_default();
    lay(&mut merged, serde_json::to_value(stronger).unwrap_or_default());
    // Options write what they read, and each half of this was read.
    serde_json::from_value(merged).unwrap_or_default()
}

/// The policies for a request or tunnel.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether requests go once and for as long as they take: no limit to their time, no retries or hedges, no breaker, nothing
    /// that lets them wait. Known beforehand, so that such a request is not asked about each of them.
    pub lets_be: bool,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retry: Retry,
    /// Which servers get a rest; none if no breaker is wanted.
    pub breaker: Option<Arc<Breaker>>,
    /// How much of a server is asked.
    pub limits: Limits,
    /// What is demanded of servers that are asked by TLS, and shown to them.
    pub server_tls: Arc<ServerTls>,
    /// What is changed on the way; none if nothing is.
    pub edits: Option<Arc<Edits>>,
    /// What requests are signed in with; none if there is nothing to do.
    pub guard: Option<Arc<Guard>>,
}

impl Rules {
    /// What is going to happen to requests, for people: a sentence each, in the order in which it happens.
    pub fn said(&self) -> Vec<String> {
        let Limits {
            rate,
            concurrency,
            bandwidth,
        } = &self.limits;
        let rate = rate.as_ref().map(ToString::to_string);
        let concurrency = concurrency.as_ref().map(ToString::to_string);
        let breaker = self.breaker.as_ref().map(ToString::to_string);
        let bandwidth = bandwidth.as_ref().map(ToString::to_string);
        let retry = self.retry.rule();
        let edits = self.edits.as_ref().map(|edits| edits.rule());
        let guard = self.guard.as_ref().map(|guard| guard.said()).unwrap_or_default();
        let server_tls = self.server_tls.rule();
        let others = [edits, rate, concurrency, retry, breaker, bandwidth, server_tls];
        guard.into_iter().chain(others.into_iter().flatten()).collect()
    }
}

/// What holds for one request or tunnel, and why.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// What holds.
    pub rules: &'a Arc<Rules>,
    /// The id of the route that says so; none if none fits.
    pub route: Option<&'a Arc<str>>,
    /// What paths like this one are called; none if the route has no name for it.
    pub url_template: Option<&'a Arc<str>>,
}

/// The fields of a head.
pub trait Fields {
    /// The first value under `name`, whatever its case.
    fn first(&self, name: &str) -> Option<&[u8]>;

    /// Shows each field in its order: its name as it came, and its value.
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8]));
}

/// A tunnel's.
struct NoFields;

impl Fields for NoFields {
    fn first(&self, _name: &str) -> Option<&[u8]> {
        None
    }

    fn each(&self, _see: &mut dyn FnMut(&[u8], &[u8])) {}
}

/// What a request or tunnel asks for, as far as policies look at it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `http`; empty for tunnels, of which nobody knows what they carry.
    pub scheme: &'a str,
    /// `GET`; `CONNECT` for tunnels of all kinds, which have no path and no fields.
    pub method: &'a str,
    /// The host, normalised: lower case, no trailing dot, no brackets.
    pub host: &'a str,
    /// 1 to 65535.
    pub port: u16,
    /// Path and query as they came; empty for tunnels.
    pub path: &'a [u8],
    /// The fields of its head.
    pub fields: &'a dyn Fields,
}

impl<'a> Asked<'a> {
    /// What a tunnel asks for.
    pub fn tunnel(host: &'a str, port: u16) -> Self {
        Self {
            scheme: "",
            method: "CONNECT",
            host,
            port,
            path: b"",
            fields: &NoFields,
        }
    }

    /// Whether it is a tunnel.
    pub fn is_tunnel(&self) -> bool {
        self.scheme.is_empty()
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("method", &self.method)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
