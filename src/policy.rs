//! What is to happen to requests: decisions, and nothing but decisions.
//!
//! A policy does no IO, reads no clock and rolls no dice: what it needs is an argument. It cannot fail once it was built.

pub mod auth;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod condition;
pub mod edit;
pub mod egress;
pub mod export;
pub mod hedge;
pub mod limit;
pub mod matching;
mod named;
pub mod parent;
pub mod percent;
pub mod reach;
pub mod redact;
pub mod retry;
pub mod route;
pub mod rules;
pub mod scope;
pub mod timeout;
pub mod tls;
pub mod trace;
mod words;

use std::{collections::BTreeMap, ffi::OsString, fmt, ops::Range, sync::Arc};

use self::{
    auth::{AuthsOptions, Binding, Guard},
    breaker::Breaker,
    budget::Spending,
    edit::{
        header::HeadersOptions,
        value::{Known, Reader},
    },
    egress::{Background, Egress, EgressOptions},
    export::Export,
    hedge::Pace,
    parent::{Parent, ParentOptions},
    reach::{ConnectToOptions, Reach, ResolveOptions},
    redact::{Redact, RedactOptions},
    retry::Kept,
    route::{Route, RouteOptions, Routes},
    rules::{Asked, Chosen, RuleOptions, Rules},
    scope::NO_ROUTE,
    tls::{Tls, TlsOptions, servers::ServerTls},
    trace::{OtelOptions, Trace},
};
use crate::veil::Style;

/// Routes that are named where all are told of in a sentence.
const MOST_NAMED: usize = 20;

/// What is wrong with a value that reads well by itself.
#[derive(Debug)]
pub struct Problem {
    /// The key, as a path.
    pub key: Vec<String>,
    /// Those that it is at odds with; none if it is wrong by itself.
    pub others: Vec<Vec<String>>,
    /// What is wrong, as a sentence fragment.
    pub reason: String,
    /// Where in the value, in bytes of the text that it is; none if it is all of it.
    pub within: Option<Range<usize>>,
}

impl Problem {
    /// A value that is wrong by itself.
    pub fn at(key: &[&str], reason: impl Into<String>) -> Self {
        Self {
            key: key.iter().map(ToString::to_string).collect(),
            others: Vec::new(),
            reason: reason.into(),
            within: None,
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
    /// What a route can override.
    pub rules: RuleOptions,
    /// `[[route]]`
    pub route: Vec<RouteOptions>,
    /// `[connect-to]`
    pub connect_to: ConnectToOptions,
    /// `[resolve]`
    pub resolve: ResolveOptions,
    /// `[upstream]`
    pub upstream: ParentOptions,
    /// `[headers]`
    pub headers: HeadersOptions,
    /// `[tls]`
    pub tls: TlsOptions,
    /// `[auth]`
    pub auth: AuthsOptions,
    /// Where each entry of `[secret]` may go.
    pub secrets: BTreeMap<String, Binding>,
    /// `[redact]`
    pub redact: RedactOptions,
    /// `[egress]`
    pub egress: EgressOptions,
    /// What that does not say itself.
    pub background: Background,
    /// `[otel]`
    pub otel: OtelOptions,
    /// What it comes to about exports; none if nothing is exported.
    pub export: Option<Export>,
}

/// What policies are built from besides their options.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// amb's own environment: the parent proxy that it names, the trace that it is part of, variables that values name.
    pub environment: &'a [(OsString, OsString)],
    /// Reads the files that options name.
    pub read: Reader<'a>,
    /// Random numbers, for the ids of the run's trace.
    pub dice: (u128, u64),
    /// Makes what hashes stand in the place of secrets.
    pub keyed: fn() -> Style,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Every policy of a run.
#[derive(Debug)]
pub struct Policy {
    /// What holds for every request that no route fits.
    pub rules: Arc<Rules>,
    /// What holds for the others; none if there are no routes.
    routes: Option<Routes>,
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
    /// Whose TLS is decrypted, and which servers are believed.
    pub tls: Tls,
    /// Where requests may go; none for everywhere.
    pub egress: Option<Egress>,
    /// What must not be written down.
    pub redact: Arc<Redact>,
    /// The trace that the run and its requests are part of; none if nobody asked for one.
    pub trace: Option<Trace>,
    /// What is exported of it all; none if nothing is.
    pub export: Option<Export>,
}

impl Policy {
    /// What holds for a request or tunnel.
    pub fn rules_for(&self, asked: &Asked<'_>) -> Chosen<'_> {
        let chosen = self.routes.as_ref().and_then(|routes| routes.choose(asked));
        chosen.unwrap_or(Chosen {
            rules: &self.rules,
            route: None,
            url_template: None,
        })
    }

    /// What holds for everything; none where routes make differences.
    pub fn only_rules(&self) -> Option<&Arc<Rules>> {
        self.routes.is_none().then_some(&self.rules)
    }

    /// Whether anything of what holds for a connection before it is opened depends on what its place is called.
    pub fn goes_by_names(&self) -> bool {
        self.routes.is_some() || self.egress.is_some() || !self.reach.is_empty()
    }

    /// All routes, in their order.
    pub fn routes(&self) -> &[Route] {
        self.routes.as_ref().map_or(&[], Routes::as_slice)
    }

    /// Whether spans are exported.
    pub fn exports_traces(&self) -> bool {
        self.export.as_ref().is_some_and(|export| export.traces.is_some())
    }

    /// The breakers of all rules, each once.
    pub fn breakers(&self) -> Vec<&Arc<Breaker>> {
        let of_routes = self.routes().iter().map(Route::rules);
        let mut found: Vec<&Arc<Breaker>> = Vec::new();
        for breaker in std::iter::once(&self.rules)
            .chain(of_routes)
            .filter_map(|rules| rules.breaker.as_ref())
        {
            if !found.iter().any(|known| Arc::ptr_eq(known, breaker)) {
                found.push(breaker);
            }
        }
        found
    }

    /// What is demanded of servers, and shown to them, by TLS: what holds for all first, then what routes have otherwise, each
    /// once and with the id of the first route that has it so.
    pub fn server_tls(&self) -> Vec<(Option<&Arc<str>>, &Arc<ServerTls>)> {
        let of_routes = self
            .routes()
            .iter()
            .map(|route| (Some(&route.id), &route.rules().server_tls));
        let mut found: Vec<(Option<&Arc<str>>, &Arc<ServerTls>)> = vec![(None, &self.rules.server_tls)];
        for (id, tls) in of_routes {
            if !found.iter().any(|(_, known)| *known == tls) {
                found.push((id, tls));
            }
        }
        found
    }

    /// What is going to happen to requests other than passing them on, for people: a sentence each, in the order in which
    /// it happens.
    pub fn rules(&self) -> Vec<String> {
        let routes: Vec<&str> = self.routes().iter().take(MOST_NAMED).map(|route| &*route.id).collect();
        let more = match self.routes().len().saturating_sub(routes.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let mut rules = Vec::new();
        if !routes.is_empty() {
            let routes = routes.join(", ");
            rules.push(format!("the first route that fits says what holds: {routes}{more}"));
        }
        rules.extend(self.egress.iter().flat_map(Egress::said));
        rules.extend(self.rules.said());
        rules.extend(self.reach.rules());
        let parents = self.parent.proxies();
        rules.extend(parents.map(|parent| {
            format!(
                "what is not reached directly goes through the proxy {parent} ({})",
                parent.source
            )
        }));
        rules.extend(self.tls.rules());
        rules.extend(self.redact.rules());
        rules.extend(self.export.iter().flat_map(Export::said));
        rules
    }
}

impl PolicyOptions {
    /// The valid policies; `problems` gets what is wrong.
    pub fn build(self, surroundings: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Policy {
        let secrets = Arc::new(self.secrets);
        let known = Known {
            environment: surroundings.environment,
            allowed: self.headers.env.as_deref().unwrap_or_default(),
            read: surroundings.read,
            secrets: &secrets,
        };
        let rules = Rules {
            guard: Guard::build(self.auth, &secrets, problems),
            ..self.rules.build(NO_ROUTE, None, &known, problems)
        };
        let rules = Arc::new(rules);
        let routes = Routes::build(self.route, &self.rules, &rules, &known, problems);
        let parent = Parent::build(&self.upstream, surroundings.environment).unwrap_or_else(|reason| {
            // Whoever tells it says where it comes from.
            let reason = reason.strip_prefix("--upstream-proxy: ").unwrap_or(&reason);
            problems.push(Problem::at(&["upstream", "proxy"], reason));
            Parent::default()
        });
        Policy {
            rules,
            routes,
            spending: Spending::default(),
            pace: Pace::default(),
            kept: Arc::default(),
            reach: Reach::build(self.connect_to, self.resolve),
            parent,
            via: self.headers.via.unwrap_or(true),
            tls: self.tls.build(problems),
            egress: self.egress.build(self.background, problems),
            redact: Arc::new(self.redact.build(surroundings.keyed, problems)),
            trace: self
                .otel
                .build(surroundings.environment, self.export.as_ref(), surroundings.dice),
            export: self.export,
        }
    }
}
