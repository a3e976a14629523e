//! What holds for one request: the policies that can differ from one route to the next.

use std::fmt;

use super::{retry::Retry, timeout::Timeouts};

/// The policies for a request or tunnel.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retry: Retry,
}

/// The fields of a head.
pub trait Fields {
    /// The first value under `name`, whatever its case.
    fn first(&self, name: &str) -> Option<&[u8]>;
}

/// A tunnel's.
struct NoFields;

impl Fields for NoFields {
    fn first(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// What a request or tunnel asks for, as far as policies look at it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
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
            method: "CONNECT",
            host,
            port,
            path: b"",
            fields: &NoFields,
        }
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
