//! What holds for one request: the policies that can differ from one route to the next.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Problem,
    timeout::{TimeoutOptions, Timeouts},
};

/// The shortest connect timeout that lets a connection open at all.
const SHORTEST_CONNECT: Duration = Duration::from_millis(1);

/// The tables that hold for every request and that a route can override, key by key.
///
/// What a route overrides stands in a field of the same name in [`RouteOptions`](super::route::RouteOptions).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RuleOptions {
    /// `[timeout]`
    pub timeout: TimeoutOptions,
}

impl RuleOptions {
    /// The valid policies; `problems` gets what is wrong.
    pub fn build(&self, problems: &mut Vec<Problem>) -> Rules {
        let timeouts = self.timeout.build();
        if timeouts.connect < SHORTEST_CONNECT {
            let reason = "no connection opens in so short a time; at least 1ms";
            problems.push(Problem::at(&["timeout", "connect"], reason));
        }
        Rules { timeouts }
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
    /// How long things may take.
    pub timeouts: Timeouts,
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
