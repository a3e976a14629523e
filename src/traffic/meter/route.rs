//! The running sums of one route.

use std::sync::Arc;

use crate::traffic::{
    Kind, Record,
    held::Held,
    latency::{Durations, Latency},
    meter::{Bytes, Connections, HostTraffic, Requests, Tunnels, tally::Tally},
};

/// What stands for methods that nobody has registered, as OpenTelemetry has it.
const OTHER_METHOD: &str = "_OTHER";

/// The methods that are told apart.
const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT",
];

/// What went by one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTraffic {
    /// As in [`Record::route`].
    pub id: String,
    /// HTTP exchanges.
    pub requests: Requests,
    /// Opaque tunnels.
    pub tunnels: Tunnels,
    /// Connections.
    pub connections: Connections,
    /// Wire bytes of exchanges and tunnels.
    pub bytes: Bytes,
    /// What limits held back.
    pub held: Held,
    /// How long the exchanges took that were answered.
    pub latency: Option<Latency>,
    /// How long connections took to open.
    pub connect: Option<Latency>,
    /// How long answers took to begin.
    pub first_byte: Option<Latency>,
    /// The exchanges whose paths have a name, by that and the method: those with the most first.
    pub templates: Vec<TemplateTraffic>,
}

/// The exchanges of a route whose paths are called the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTraffic {
    /// Their method; `_OTHER` for one that nobody has registered.
    pub method: &'static str,
    /// As in [`Record::url_template`].
    pub template: String,
    /// Their host; none if they went to several.
    pub host: Option<String>,
    /// They.
    pub requests: Requests,
    /// How long those took that were answered.
    pub latency: Option<Latency>,
}

/// What has gone by one route so far.
#[derive(Clone, Debug)]
pub(super) struct RouteTally {
    /// All of it; its host is the route's id.
    tally: Tally,
    /// See [`RouteTraffic::templates`], in the order they were met.
    templates: Vec<TemplateTally>,
}

/// What a template has seen so far.
#[derive(Clone, Debug)]
struct TemplateTally {
    /// See [`TemplateTraffic::method`].
    method: &'static str,
    /// See [`TemplateTraffic::template`].
    template: Arc<str>,
    /// See [`TemplateTraffic::host`].
    host: Option<String>,
    /// See [`TemplateTraffic::requests`].
    requests: Requests,
    /// See [`TemplateTraffic::latency`].
    latency: Durations,
}

impl TemplateTally {
    /// Notes the host of a further exchange.
    fn note(&mut self, host: Option<&str>) {
        if self.host.as_deref() != host {
            self.host = None;
        }
    }
}

impl RouteTally {
    /// Nothing yet.
    pub(super) fn new(id: &str) -> Self {
        Self {
            tally: Tally::new(id, 0),
            templates: Vec::new(),
        }
    }

    /// Counts one record of this route.
    pub(super) fn add(&mut self, record: &Record) {
        self.tally.add(record);
        if record.kind == Kind::Exchange
            && let Some(template) = &record.url_template
        {
            let known = METHODS.into_iter().find(|method| *method == record.method);
            let tally = self.template(known.unwrap_or(OTHER_METHOD), template, Some(&record.host));
            tally.requests.add(record);
            if let Some(duration) = record.latency() {
                tally.latency.add(duration);
            }
        }
    }

    /// The tally of a template and method.
    fn template(&mut self, method: &'static str, template: &Arc<str>, host: Option<&str>) -> &mut TemplateTally {
        let known = |tally: &TemplateTally| {
            tally.method == method && (Arc::ptr_eq(&tally.template, template) || tally.template == *template)
        };
        let place = self.templates.iter().position(known).unwrap_or_else(|| {
            self.templates.push(TemplateTally {
                method,
                template: Arc::clone(template),
                host: host.map(ToOwned::to_owned),
                requests: Requests::default(),
                latency: Durations::default(),
            });
            self.templates.len() - 1
        });
        let tally = &mut self.templates[place];
        tally.note(host);
        tally
    }

    /// Adds all of another's.
    pub(super) fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        for theirs in &other.templates {
            let ours = self.template(theirs.method, &theirs.template, theirs.host.as_deref());
            ours.requests.merge(&theirs.requests);
            ours.latency.merge(&theirs.latency);
        }
    }

    /// The sums.
    pub(super) fn finish(self) -> RouteTraffic {
        let HostTraffic {
            host: id,
            requests,
            tunnels,
            connections,
            bytes,
            held,
            latency,
            connect,
            first_byte,
            ..
        } = self.tally.finish();
        let mut templates: Vec<TemplateTraffic> = self
            .templates
            .into_iter()
            .map(|tally| TemplateTraffic {
                method: tally.method,
                template: tally.template.to_string(),
                host: tally.host,
                requests: tally.requests,
                latency: tally.latency.finish(),
            })
            .collect();
        templates.sort_by(|a, b| {
            let most = b.requests.total.cmp(&a.requests.total);
            most.then_with(|| (&a.template, a.method).cmp(&(&b.template, b.method)))
        });
        RouteTraffic {
            id,
            requests,
            tunnels,
            connections,
            bytes,
            held,
            latency,
            connect,
            first_byte,
            templates,
        }
    }
}
