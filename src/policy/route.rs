//! Routes: what holds for some requests only. The first that fits is the one that counts.
//!
//! A route says which requests it is about (`match`, `when`), what paths like theirs are called in reports
//! (`url-templates`), and what is to hold for them instead of what holds for all (`timeout` and whatever else is a field of
//! [`RuleOptions`]). What it does not say stays as it is for all.
//!
//! To let routes override another table, give [`RouteOptions`] a field with the table's name and options. A key that can lead
//! a request elsewhere, or add credentials to it, is to be marked `x-danger`: a route may stand in a file that was merely
//! found.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Problem,
    auth::{AuthOptions, Guard},
    breaker::BreakerOptions,
    condition::Condition,
    edit::{
        header::HeaderOptions,
        json::JsonOptions,
        reply::{ReplyOptions, StatusOptions},
        rewrite::RewriteOptions,
        value::Known,
    },
    limit::{bandwidth::BandwidthOptions, concurrency::ConcurrencyOptions, rate::RateOptions},
    matching::{Match, Subject, path::PathPattern},
    retry::RetryOptions,
    rules::{Asked, Chosen, RuleOptions, Rules, over},
    timeout::TimeoutOptions,
    tls::servers::ServerTlsOptions,
};

/// An element of the list `[[route]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RouteOptions {
    /// What it is called in reports [default: its host, or route-1 and so on]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which requests it is about; all parts that are given must fit, and one of a list
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    pub matches: Match,
    /// And only if this is so: an expression in CEL over request.method, .scheme, .host, .port, .path, .query, .headers [default: true]
    ///
    /// For a tunnel, scheme, path, query and headers are empty. What cannot be evaluated does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What paths are called in reports, such as /v1/charges/{id}; the first that fits [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_templates: Option<Vec<PathPattern>>,
    /// How its requests are signed in: secret:NAME for a bearer token, or a table [default: as for all]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs requests in with a secret of its choice"))]
    pub auth: Option<AuthOptions>,
    /// How long things may take, instead of what `[timeout]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub timeout: TimeoutOptions,
    /// What is tried again, instead of what `[retry]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub retry: RetryOptions,
    /// Rest for servers that keep failing, instead of what `[circuit-breaker]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub circuit_breaker: BreakerOptions,
    /// How many requests a server gets in a time, instead of what `[rate-limit]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub rate_limit: RateOptions,
    /// How many requests a server gets at a time, instead of what `[concurrency]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub concurrency: ConcurrencyOptions,
    /// How many bytes a second, instead of what `[bandwidth]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub bandwidth: BandwidthOptions,
    /// Which servers are believed, and what they are shown, instead of what `[tls]` says
    ///
    /// The connection of a tunnel whose TLS is decrypted is secured before there is a request: by the route that fits the
    /// tunnel. A request inside for which another route says otherwise gets a connection of its own.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub tls: ServerTlsOptions,
    /// Headers of its requests, beside and over what `[headers]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub headers: HeaderOptions,
    /// Headers of its responses, beside and over what `[response-headers]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub response_headers: HeaderOptions,
    /// Where its requests go instead of where they ask; tunnels are not rewritten
    #[serde(skip_serializing_if = "is_default")]
    pub rewrite: RewriteOptions,
    /// What is changed in JSON that its requests carry, beside and over what `[json]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub json: JsonOptions,
    /// What is changed in JSON that its responses carry, beside and over what `[response-json]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub response_json: JsonOptions,
    /// Statuses that the command gets instead of the server's, such as 404 = 204, beside and over those for all
    #[serde(skip_serializing_if = "is_default")]
    pub response_status: StatusOptions,
    /// A body in the place of the server's, beside and over what `[response-body]` says
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(transform = inherits)]
    pub response_body: ReplyOptions,
}

/// Whether a table says nothing.
fn is_default<T: Default + PartialEq>(table: &T) -> bool {
    *table == T::default()
}

/// Takes the defaults out of the schema of a table that overrides another: what is not said is as for all requests.
fn inherits(schema: &mut Schema) {
    if let Some(schema) = schema.as_object_mut() {
        inherit(schema);
    }
}

/// As [`inherits`], for a table and the tables in it.
fn inherit(table: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = table.get_mut("properties") else {
        return;
    };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        property.remove("default");
        if let Some(Value::String(text)) = property.get_mut("description")
            && let Some((before, behind)) = text.split_once("[default: ")
            && let Some((_, behind)) = behind.split_once(']')
        {
            *text = format!("{before}[default: as for all]{behind}");
        }
        inherit(property);
    }
}

/// A route that is valid.
#[derive(Debug)]
pub struct Route {
    /// What it is called: no other is called so.
    pub id: Arc<str>,
    /// Which requests it is about.
    matches: Match,
    /// And only if this holds.
    when: Option<Condition>,
    /// What paths are called.
    templates: Vec<(PathPattern, Arc<str>)>,
    /// What holds for them.
    rules: Arc<Rules>,
}

/// All routes, in their order.
#[derive(Debug)]
pub struct Routes {
    /// Them.
    list: Vec<Route>,
    /// The places of those that are about hosts with given names, by these, in their order. Of thousands of routes the others
    /// are not even looked at.
    by_host: HashMap<String, Vec<usize>, RandomState>,
    /// The places of the others, in their order.
    others: Vec<usize>,
}

impl Route {
    /// What holds for its requests.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Whether it fits.
    fn fits(&self, subject: &Subject<'_>) -> bool {
        self.matches.fits(subject) && self.when.as_ref().is_none_or(|when| when.holds(subject))
    }

    /// Why it does not fit, as a sentence fragment; none if it does.
    pub fn misfit(&self, subject: &Subject<'_>) -> Option<String> {
        self.matches.misfit(subject).or_else(|| {
            let when = self.when.as_ref()?;
            match when.evaluate(subject) {
                Ok(true) => None,
                Ok(false) => Some(format!("`when` is false: {when}")),
                Err(reason) => Some(format!("`when` cannot be evaluated, so it does not hold: {reason}")),
            }
        })
    }

    /// What a path is called.
    fn template(&self, subject: &Subject<'_>) -> Option<&Arc<str>> {
        let found = self.templates.iter().find(|(path, _)| path.fits(subject.path()))?;
        Some(&found.1)
    }
}

impl Routes {
    /// The valid routes, none if there are none; `problems` gets what is wrong. `weaker` and `rules` are what holds for all.
    pub(super) fn build(
        options: Vec<RouteOptions>,
        weaker: &RuleOptions,
        rules: &Arc<Rules>,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        if options.is_empty() {
            return None;
        }
        let ids = ids(&options, problems);
        let mut routes = Self {
            list: Vec::with_capacity(options.len()),
            by_host: HashMap::default(),
            others: Vec::new(),
        };
        for (at, (options, id)) in options.into_iter().zip(ids).enumerate() {
            match options.matches.host_names() {
                Some(names) => {
                    for name in names.iter().collect::<HashSet<_>>() {
                        routes.by_host.entry((*name).to_owned()).or_default().push(at);
                    }
                }
                None => routes.others.push(at),
            }
            routes.list.push(options.build(at, id, weaker, rules, known, problems));
        }
        Some(routes)
    }

    /// What the first route that fits says; none if none does.
    pub(super) fn choose(&self, asked: &Asked<'_>) -> Option<Chosen<'_>> {
        let subject = Subject::of(asked);
        let named = self.by_host.get(asked.host).map_or(&[][..], Vec::as_slice);
        let (mut named, mut others) = (named.iter().peekable(), self.others.iter().peekable());
        loop {
            // The one that comes first in the whole list.
            let at = match (named.peek(), others.peek()) {
                (Some(name), Some(other)) if name < other => named.next(),
                (Some(_), None) => named.next(),
                (_, Some(_)) => others.next(),
                (None, None) => return None,
            };
            let route = &self.list[*at?];
            if route.fits(&subject) {
                return Some(Chosen {
                    rules: &route.rules,
                    route: Some(&route.id),
                    url_template: route.template(&subject),
                });
            }
        }
    }

    /// All of them, in their order.
    pub fn as_slice(&self) -> &[Route] {
        &self.list
    }
}

impl RouteOptions {
    /// The valid route, which is at this place of the list.
    fn build(
        self,
        at: usize,
        id: Arc<str>,
        weaker: &RuleOptions,
        rules: &Arc<Rules>,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> Route {
        let mut rules = self.rules(at, &id, weaker, rules, known, problems);
        if let Some(auth) = self.auth {
            let hosts = self.matches.host.as_ref().map(|hosts| hosts.0.as_slice());
            let key = ["route".to_owned(), at.to_string(), "auth".to_owned()];
            if let Some(auth) = auth.build(hosts, &key, known.secrets, problems) {
                let guard = Some(Guard::with(rules.guard.as_ref(), known.secrets, auth));
                rules = Arc::new(Rules {
                    guard,
                    ..(*rules).clone()
                });
            }
        }
        let when = self.when.as_deref().and_then(|when| {
            let mistakes = Condition::compile(when).map_err(|mistakes| {
                problems.extend(mistakes.into_iter().map(|mistake| Problem {
                    within: mistake.place,
                    ..Problem::at(&["route", &at.to_string(), "when"], mistake.reason)
                }));
            });
            mistakes.ok()
        });
        let templates = self.url_templates.unwrap_or_default();
        Route {
            id,
            matches: self.matches,
            when,
            templates: templates
                .into_iter()
                .map(|path| {
                    let name = Arc::from(path.written());
                    (path, name)
                })
                .collect(),
            rules,
        }
    }

    /// What holds for its requests: what holds for all, if it says nothing else.
    fn rules(
        &self,
        at: usize,
        id: &str,
        weaker: &RuleOptions,
        rules: &Arc<Rules>,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> Arc<Rules> {
        let mut merged = over(weaker, self);
        merged.rewrite.complete(&self.matches);
        if merged == *weaker && !weaker.is_by_route() {
            return Arc::clone(rules);
        }
        let said = serde_json::to_value(self).unwrap_or_default();
        let is_own = |key: &[String]| {
            key.iter()
                .try_fold(&said, |within, name| match within {
                    Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
                    table => table.get(name),
                })
                .is_some_and(|it| !it.is_null())
        };
        let mut found = Vec::new();
        let built = Arc::new(merged.build(id, Some((weaker, &**rules)), known, &mut found));
        for mut problem in found {
            // A key that is not the route's own is that of the table, where it is told already if it is wrong by itself.
            if !is_own(&problem.key) && !problem.others.iter().any(|key| is_own(key)) {
                continue;
            }
            for key in std::iter::once(&mut problem.key).chain(&mut problem.others) {
                if is_own(key) {
                    key.splice(0..0, ["route".to_owned(), at.to_string()]);
                }
            }
            problems.push(problem);
        }
        built
    }
}

/// The id of each route: its own, else its host, else its number; `problems` gets what is wrong with them.
fn ids(options: &[RouteOptions], problems: &mut Vec<Problem>) -> Vec<Arc<str>> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    for (at, options) in options.iter().enumerate() {
        let Some(id) = &options.id else { continue };
        let place = at.to_string();
        let key = ["route", &place, "id"];
        if id.is_empty()
            || id
                .chars()
                .any(|character| character.is_whitespace() || character.is_control())
        {
            problems.push(Problem::at(&key, "an id is a word without white space"));
        } else if let Some(other) = taken.insert(id.clone(), at) {
            let other = other.to_string();
            let reason = format!("`{id}` is another route's id, too");
            problems.push(Problem::between(&key, &["route", &other, "id"], reason));
        }
    }
    let derived =
        |at: usize, options: &RouteOptions| match options.matches.host.as_ref().map(|hosts| hosts.0.as_slice()) {
            Some([host]) => host.to_string(),
            _ => format!("route-{}", at + 1),
        };
    options
        .iter()
        .enumerate()
        .map(|(at, options)| {
            let id = options.id.clone().unwrap_or_else(|| {
                let wanted = derived(at, options);
                let numbered = (2..).map(|number| format!("{wanted}-{number}"));
                let free = std::iter::once(wanted.clone())
                    .chain(numbered)
                    .find(|id| !taken.contains_key(id));
                let free = free.unwrap_or_default();
                taken.insert(free.clone(), at);
                free
            });
            id.into()
        })
        .collect()
}

#[cfg(test)]
mod tests;
