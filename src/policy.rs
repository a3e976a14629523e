//! What is to happen to requests: decisions, and nothing but decisions.
//!
//! A policy does no IO, reads no clock and rolls no dice: what it needs is an argument. It cannot fail once it was built.

pub mod backoff;
pub mod budget;
pub mod hedge;
pub mod parent;
pub mod reach;
pub mod redact;
pub mod retry;
pub mod rules;
pub mod timeout;
pub mod via;
mod words;

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use self::{
    budget::Spending,
    hedge::Pace,
    parent::{Parent, ParentOptions},
    reach::{ConnectToOptions, Reach, ResolveOptions},
    redact::Redact,
    retry::{Kept, RetryOptions},
    rules::{Asked, Rules},
    timeout::TimeoutOptions,
    via::ViaOptions,
};

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
    /// `[retry]`
    pub retry: RetryOptions,
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
    /// What hosts got of their budgets for retries.
    pub spending: Spending,
    /// How long the answers of hosts take, for hedges.
    pub pace: Pace,
    /// What is kept of bodies that may have to be sent again.
    pub kept: Arc<Kept>,
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

    /// What is going to happen to requests other than passing them on, for people: a sentence each, in the order in which
    /// it happens.
    pub fn rules(&self) -> Vec<String> {
        let mut rules = self.reach.rules();
        rules.extend(self.rules.retry.rule());
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
    pub fn build(self, environment: &BTreeMap<OsString, OsString>, problems: &mut Vec<Problem>) -> Policy {
        let timeouts = self.timeout.build(problems);
        let retry = self.retry.build(problems);
        let parent = Parent::build(&self.upstream, environment).unwrap_or_else(|reason| {
            // Whoever tells it says where it comes from.
            let reason = reason.strip_prefix("--upstream-proxy: ").unwrap_or(&reason);
            problems.push(Problem::at(&["upstream", "proxy"], reason));
            Parent::default()
        });
        Policy {
            rules: Arc::new(Rules { timeouts, retry }),
            spending: Spending::default(),
            pace: Pace::default(),
            kept: Arc::default(),
            reach: Reach::build(self.connect_to, self.resolve),
            parent,
            via: self.headers.via.unwrap_or(true),
            redact: Arc::new(Redact),
        }
    }
}
