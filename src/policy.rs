//! What is to happen to requests: decisions, and nothing but decisions.
//!
//! A policy does no IO, reads no clock and rolls no dice: what it needs is an argument. It cannot fail once it was built.

pub mod breaker;
pub mod limit;
pub mod parent;
pub mod reach;
pub mod redact;
pub mod rules;
pub mod scope;
pub mod timeout;
pub mod via;

use std::{ffi::OsString, sync::Arc, time::Duration};

use self::{
    breaker::{Breaker, BreakerOptions},
    limit::{Limits, bandwidth::BandwidthOptions, concurrency::ConcurrencyOptions, rate::RateOptions},
    parent::{Parent, ParentOptions},
    reach::{ConnectToOptions, Reach, ResolveOptions},
    redact::Redact,
    rules::{Asked, Rules},
    scope::NO_ROUTE,
    timeout::TimeoutOptions,
    via::ViaOptions,
};

/// The shortest connect timeout that lets a connection open at all.
const SHORTEST_CONNECT: Duration = Duration::from_millis(1);

/// What is wrong with a value that reads well by itself.
#[derive(Debug)]
pub struct Problem {
    /// The key, as a path.
    pub key: Vec<String>,
    /// Those that it is at odds with; none if it is wrong by itself.
    pub others: Vec<Vec<String>>,
    /// What is wrong, as a sentence fragment.
    pub reason: String,
}

impl Problem {
    /// A value that is wrong by itself.
    pub fn at(key: &[&str], reason: impl Into<String>) -> Self {
        Self {
            key: key.iter().map(ToString::to_string).collect(),
            others: Vec::new(),
            reason: reason.into(),
        }
    }

    /// A value that is at odds with another.
    pub fn between(key: &[&str], other: &[&str], reason: impl Into<String>) -> Self {
        Self {
            others: vec![other.iter().map(ToString::to_string).collect()],
            ..Self::at(key, reason)
        }
    }
}

/// One options struct a policy.
#[derive(Clone, Debug, Default)]
pub struct PolicyOptions {
    /// `[timeout]`
    pub timeout: TimeoutOptions,
    /// `[circuit-breaker]`
    pub breaker: BreakerOptions,
    /// `[rate-limit]`
    pub rate: RateOptions,
    /// `[concurrency]`
    pub concurrency: ConcurrencyOptions,
    /// `[bandwidth]`
    pub bandwidth: BandwidthOptions,
    /// `[connect-to]`
    pub connect_to: ConnectToOptions,
    /// `[resolve]`
    pub resolve: ResolveOptions,
    /// `[upstream]`
    pub upstream: ParentOptions,
    /// `[headers]`
    pub headers: ViaOptions,
}

/// Every policy of a run.
#[derive(Debug)]
pub struct Policy {
    /// What holds for every request.
    pub rules: Arc<Rules>,
    /// Where names lead.
    pub reach: Reach,
    /// Which proxy amb itself goes through.
    pub parent: Parent,
    /// Whether `Via` is added.
    pub via: bool,
    /// What must not be written down.
    pub redact: Arc<Redact>,
}

impl Policy {
    /// What holds for a request or tunnel.
    pub fn rules_for(&self, _asked: &Asked<'_>) -> &Arc<Rules> {
        &self.rules
    }

    /// The breakers of all rules.
    pub fn breakers(&self) -> impl Iterator<Item = &Arc<Breaker>> {
        self.rules.breaker.iter()
    }

    /// What is going to happen to requests other than passing them on, for people: a sentence each, in the order in which
    /// it happens.
    pub fn rules(&self) -> Vec<String> {
        let mut rules = self.rules.said();
        rules.extend(self.reach.rules());
        let parents = self.parent.proxies();
        rules.extend(parents.map(|parent| {
            format!(
                "what is not reached directly goes through the proxy {parent} ({})",
                parent.source
            )
        }));
        rules
    }
}

impl PolicyOptions {
    /// The valid policies; `problems` gets what is wrong. `environment` is amb's own, for the parent proxy it names.
    pub fn build(self, environment: &[(OsString, OsString)], problems: &mut Vec<Problem>) -> Policy {
        let timeouts = self.timeout.build();
        if timeouts.connect < SHORTEST_CONNECT {
            let reason = "no connection opens in so short a time; at least 1ms";
            problems.push(Problem::at(&["timeout", "connect"], reason));
        }
        let parent = Parent::build(&self.upstream, environment).unwrap_or_else(|reason| {
            // Whoever tells it says where it comes from.
            let reason = reason.strip_prefix("--upstream-proxy: ").unwrap_or(&reason);
            problems.push(Problem::at(&["upstream", "proxy"], reason));
            Parent::default()
        });
        Policy {
            rules: Arc::new(Rules {
                timeouts,
                breaker: self.breaker.build(NO_ROUTE, problems),
                limits: Limits {
                    rate: self.rate.build(NO_ROUTE, problems),
                    concurrency: self.concurrency.build(NO_ROUTE, problems),
                    bandwidth: self.bandwidth.build(NO_ROUTE),
                },
            }),
            reach: Reach::build(self.connect_to, self.resolve),
            parent,
            via: self.headers.via.unwrap_or(true),
            redact: Arc::new(Redact),
        }
    }
}
