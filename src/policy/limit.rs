//! How much of a server is asked: requests in a time, requests at a time, bytes in a time.
//!
//! Rate and concurrency are asked once for an exchange, before its first attempt, and for a tunnel before it is opened;
//! bandwidth holds for the bodies and for what tunnels carry.

pub mod bandwidth;
pub mod concurrency;
pub mod rate;

use std::sync::Arc;

use self::{bandwidth::Bandwidth, concurrency::Concurrency, rate::RateLimit};

/// The limits of one set of rules; each none if there is none.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Requests in a time.
    pub rate: Option<Arc<RateLimit>>,
    /// Requests at a time.
    pub concurrency: Option<Arc<Concurrency>>,
    /// Bytes in a time.
    pub bandwidth: Option<Arc<Bandwidth>>,
}

impl Limits {
    /// Whether nothing is to be asked before a request.
    pub fn admit_all(&self) -> bool {
        self.rate.is_none() && self.concurrency.is_none()
    }
}
