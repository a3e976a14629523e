//! Sums records up, one meter a worker thread: no locks, and nothing allocated for a host that was seen before.

pub mod route;
mod tally;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use foldhash::fast::RandomState;

use crate::traffic::{
    Outcome, Record, Scheme,
    circuit::Circuit,
    credentials::Credentials,
    edits::{EditCounts, EditMeter},
    egress::{Decisions, Verdict},
    failures::{FailureGroup, FailureGroups},
    held::Held,
    latency::{Latency, from_seconds, seconds},
    meter::{
        route::{RouteTally, RouteTraffic},
        tally::Tally,
    },
    retries::RetryCounts,
    secured::SecuredTraffic,
    timeline::Timeline,
};

/// Hosts (with their ports) that are told apart. A crawler may meet more; then they are summed up as [`OTHER_HOST`],
/// so that amb's memory does not grow with its child's curiosity.
const MOST_HOSTS: usize = 10_000;

/// What stands for all hosts beyond those that are told apart; its port is 0.
pub const OTHER_HOST: &str = "_other";

/// Sums records up. Each worker thread has one of its own; they are merged when the run ends.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Where each host's and port's tally is among `tallies`.
    places: HashMap<String, BTreeMap<u16, usize>, RandomState>,
    /// A tally for each host and port, in the order they were met.
    tallies: Vec<Tally>,
    /// The sum of all further hosts, once there are too many.
    other: Option<Box<Tally>>,
    /// A tally for each route that something went by; there are no more than the configuration has.
    routes: HashMap<Arc<str>, RouteTally, RandomState>,
    /// What failed.
    failures: FailureGroups,
    /// What amb refused.
    denials: FailureGroups,
    /// What the rules of `[egress]` said.
    decisions: Decisions,
    /// What circuit breakers did.
    circuits: Vec<Circuit>,
    /// How many began when.
    timeline: Timeline,
    /// Exchanges and tunnels that failed for want of TLS that both ends accept.
    tls_failures: u64,
    /// What was changed on the way.
    edits: EditMeter,
    /// What was done about credentials.
    pub credentials: Credentials,
}

/// How much there was so far, and how it ended, for whoever wants no more of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exchanges that have ended.
    pub requests: u64,
    /// Tunnels that have ended.
    pub tunnels: u64,
    /// Those of both that failed.
    pub failed: u64,
    /// Those of both that amb refused.
    pub denied: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.tunnels += other.tunnels;
        self.failed += other.failed;
        self.denied += other.denied;
    }
}

impl Meter {
    /// How much there was so far, and how it ended. Copies nothing.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for tally in self.tallies.iter().chain(self.other.as_deref()) {
            counts += tally.counts();
        }
        counts
    }

    /// Counts one exchange or tunnel.
    pub fn add(&mut self, record: &Record) {
        self.tally(&record.host, record.port).add(record);
        self.timeline.add(record);
        self.credentials.add(record);
        if let Some(id) = &record.route {
            self.route(id).add(record);
        }
        self.edits.add(record);
        self.decisions.add(record);
        match &record.outcome {
            Outcome::Failed(failure) => {
                self.tls_failures += u64::from(is_about_tls(&failure.error_type));
                self.failures.add(record, failure);
            }
            Outcome::Denied(failure) => self.denials.add(record, failure),
            Outcome::Ok | Outcome::ClientAborted | Outcome::CutShort => {}
        }
    }

    /// Whether something was denied by the rules of `[egress]`, or would have been.
    pub fn breaks_rules(&self) -> bool {
        self.decisions.total(Verdict::Denied) + self.decisions.total(Verdict::WouldDeny) > 0
    }

    /// Notes what circuit breakers did: once, as workers share them.
    pub fn note_circuits(&mut self, circuits: Vec<Circuit>) {
        self.circuits = circuits;
    }

    /// The tally of a host and port; the common one if there are too many already.
    fn tally(&mut self, host: &str, port: u16) -> &mut Tally {
        let known = self.places.get(host).and_then(|ports| ports.get(&port)).copied();
        let place = match known {
            Some(place) => place,
            None if self.tallies.len() >= MOST_HOSTS => {
                return self.other.get_or_insert_with(|| Box::new(Tally::new(OTHER_HOST, 0)));
            }
            None => {
                let place = self.tallies.len();
                self.tallies.push(Tally::new(host, port));
                self.places.entry(host.to_owned()).or_default().insert(port, place);
                place
            }
        };
        &mut self.tallies[place]
    }

    /// The tally of a route.
    fn route(&mut self, id: &Arc<str>) -> &mut RouteTally {
        if !self.routes.contains_key(id) {
            self.routes.insert(Arc::clone(id), RouteTally::new(id));
        }
        self.routes.get_mut(id).expect("it was put there if it was missing")
    }

    /// Adds all that another worker counted.
    pub fn merge(&mut self, other: Self) {
        for (id, tally) in &other.routes {
            self.route(id).merge(tally);
        }
        for tally in &other.tallies {
            self.tally(&tally.host, tally.port).merge(tally);
        }
        if let Some(theirs) = &other.other {
            self.other
                .get_or_insert_with(|| Box::new(Tally::new(OTHER_HOST, 0)))
                .merge(theirs);
        }
        self.failures.merge(other.failures);
        self.denials.merge(other.denials);
        self.edits.merge(other.edits);
        self.credentials.merge(other.credentials);
        self.decisions.merge(other.decisions);
        self.timeline.merge(&other.timeline);
        self.tls_failures += other.tls_failures;
    }

    /// The sums, hosts with the most traffic first.
    pub fn finish(self) -> Traffic {
        let mut totals = Tally::new("", 0);
        let names = self.names();
        let mut hosts = Vec::with_capacity(self.tallies.len() + 1);
        for tally in self.tallies.into_iter().chain(self.other.map(|other| *other)) {
            totals.merge(&tally);
            hosts.push(tally.finish());
        }
        hosts.sort_by(|a, b| {
            let most = (b.requests.total + b.tunnels.total).cmp(&(a.requests.total + a.tunnels.total));
            most.then_with(|| a.host.cmp(&b.host)).then_with(|| a.port.cmp(&b.port))
        });
        let mut routes: Vec<RouteTraffic> = self.routes.into_values().map(RouteTally::finish).collect();
        routes.sort_by(|a, b| {
            let most = (b.requests.total + b.tunnels.total).cmp(&(a.requests.total + a.tunnels.total));
            most.then_with(|| a.id.cmp(&b.id))
        });
        let (failures, failures_beyond) = self.failures.finish();
        let (denials, denials_beyond) = self.denials.finish();
        let totals = totals.finish();
        Traffic {
            requests: totals.requests,
            tunnels: totals.tunnels,
            connections: totals.connections,
            bytes: totals.bytes,
            held: totals.held,
            retries: totals.retries,
            latency: totals.latency,
            connect: totals.connect,
            first_byte: totals.first_byte,
            hosts,
            routes,
            failures,
            failures_beyond,
            denials,
            denials_beyond,
            decisions: self.decisions,
            circuits: self.circuits,
            timeline: self.timeline,
            names,
            tls_failures: self.tls_failures,
            edits: self.edits.finish(),
            credentials: self.credentials,
        }
    }

    /// The sums of each host that was seen with several ports.
    fn names(&self) -> Vec<HostTraffic> {
        let several = self.places.iter().filter(|(_, ports)| ports.len() > 1);
        let sum = several.map(|(host, ports)| {
            let mut tally = Tally::new(host, 0);
            for place in ports.values() {
                tally.merge(&self.tallies[*place]);
            }
            tally.finish()
        });
        let mut sums: Vec<HostTraffic> = sum.collect();
        sums.sort_by(|a, b| a.host.cmp(&b.host));
        sums
    }
}

/// Whether a failure is one of TLS: of RFC 9209's words those about it, and amb's own.
fn is_about_tls(error_type: &str) -> bool {
    error_type.starts_with("tls_") || error_type == "intercept_refused"
}

/// All that passed in a run. Every total is the sum over the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// HTTP exchanges.
    pub requests: Requests,
    /// Opaque tunnels. What passed inside is not visible, so they are no requests.
    pub tunnels: Tunnels,
    /// Connections to servers.
    pub connections: Connections,
    /// Wire bytes of exchanges and tunnels.
    pub bytes: Bytes,
    /// What limits held back.
    pub held: Held,
    /// What retries did.
    pub retries: RetryCounts,
    /// How long exchanges took; none if no server answered.
    pub latency: Option<Latency>,
    /// How long connections took to open; none if none was opened.
    pub connect: Option<Latency>,
    /// How long servers took to begin their answers; none if none did.
    pub first_byte: Option<Latency>,
    /// Each host and port, those with the most traffic first.
    pub hosts: Vec<HostTraffic>,
    /// Each route that something went by, those with the most traffic first.
    pub routes: Vec<RouteTraffic>,
    /// What failed, grouped, the commonest first. The counts and [`Traffic::failures_beyond`] add up to all that failed.
    pub failures: Vec<FailureGroup>,
    /// Failures that are in no group because there were too many different ones.
    pub failures_beyond: u64,
    /// What amb refused, grouped in the same way.
    pub denials: Vec<FailureGroup>,
    /// Refusals that are in no group because there were too many different ones.
    pub denials_beyond: u64,
    /// What the rules of `[egress]` said.
    pub decisions: Decisions,
    /// The circuits that opened, by name.
    pub circuits: Vec<Circuit>,
    /// How many began when.
    pub timeline: Timeline,
    /// Each host that was seen with several ports, all of them summed up, by name; the port is 0.
    pub names: Vec<HostTraffic>,
    /// Exchanges and tunnels that failed for want of TLS that both ends accept.
    pub tls_failures: u64,
    /// What was changed on the way.
    pub edits: EditCounts,
    /// What was done about credentials.
    pub credentials: Credentials,
}

impl Traffic {
    /// Exchanges and tunnels that failed.
    pub fn failed(&self) -> u64 {
        self.requests.failed + self.tunnels.failed
    }

    /// Exchanges and tunnels that amb refused.
    pub fn denied(&self) -> u64 {
        self.requests.denied + self.tunnels.denied
    }

    /// Whether nothing came through at all.
    pub fn is_empty(&self) -> bool {
        self.requests.total == 0 && self.tunnels.total == 0
    }

    /// How many different hosts there were whatever the port, as far as they are told apart; and whether there were more.
    pub fn host_count(&self) -> (usize, bool) {
        let named = |host: &&str| !host.is_empty() && *host != OTHER_HOST;
        let distinct: HashSet<&str> = self.hosts.iter().map(|host| &*host.host).filter(named).collect();
        (distinct.len(), self.hosts.iter().any(|host| host.host == OTHER_HOST))
    }
}

/// What passed between the child and one host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTraffic {
    /// As in [`Record::host`]; empty for unreadable requests, [`OTHER_HOST`] for hosts that are not told apart.
    pub host: String,
    /// As in [`Record::port`].
    pub port: u16,
    /// HTTP exchanges.
    pub requests: Requests,
    /// Opaque tunnels.
    pub tunnels: Tunnels,
    /// Connections to it.
    pub connections: Connections,
    /// Wire bytes of exchanges and tunnels.
    pub bytes: Bytes,
    /// What limits held back.
    pub held: Held,
    /// What retries did.
    pub retries: RetryCounts,
    /// How long the exchanges took that it answered.
    pub latency: Option<Latency>,
    /// How long connections to it took to open.
    pub connect: Option<Latency>,
    /// How long it took to begin its answers.
    pub first_byte: Option<Latency>,
    /// TLS with it; none if there was none.
    pub tls: Option<SecuredTraffic>,
}

/// How many exchanges there were, and how they ended: `total` is the sum of the five that follow it.
///
/// The field names are those of the JSON report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Requests {
    /// All.
    pub total: u64,
    /// Answered in full with a status below 500.
    pub ok: u64,
    /// Answered with a status of 500 or above, or not in full, or not at all.
    pub failed: u64,
    /// Refused by amb.
    pub denied: u64,
    /// Given up by the client.
    pub aborted: u64,
    /// Still open when the run ended.
    pub cut_short: u64,
    /// Tried again because the policy asked for it.
    pub retried: u64,
    /// Times that requests were sent again because a pooled connection turned out dead.
    pub resends: u64,
    /// Sent in the clear.
    pub plaintext: u64,
    /// What servers answered, amb's own answers left out.
    pub status: StatusClasses,
}

impl Requests {
    /// Counts one exchange.
    fn add(&mut self, record: &Record) {
        self.total += 1;
        match record.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Denied(_) => self.denied += 1,
            Outcome::ClientAborted => self.aborted += 1,
            Outcome::CutShort => self.cut_short += 1,
        }
        self.retried += u64::from(record.retries.count > 0);
        self.resends += u64::from(record.resends);
        self.plaintext += u64::from(record.scheme == Some(Scheme::Http) && record.attempts > 0);
        // Without a first byte the status is one that amb made up.
        if let (Some(status), Some(_)) = (record.status, record.first_byte) {
            self.status.add(status);
        }
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.ok += other.ok;
        self.failed += other.failed;
        self.denied += other.denied;
        self.aborted += other.aborted;
        self.cut_short += other.cut_short;
        self.retried += other.retried;
        self.resends += other.resends;
        self.plaintext += other.plaintext;
        self.status.merge(&other.status);
    }
}

/// How often servers answered with a status of each class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusClasses {
    /// Switched to another protocol.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// Successes.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// Redirections.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// What the server says is the client's mistake.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// What the server says is its own, and whatever has no class.
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

impl StatusClasses {
    /// Counts one status.
    fn add(&mut self, status: u16) {
        match status {
            0..200 => self.informational += 1,
            200..300 => self.success += 1,
            300..400 => self.redirection += 1,
            400..500 => self.client_error += 1,
            500.. => self.server_error += 1,
        }
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.informational += other.informational;
        self.success += other.success;
        self.redirection += other.redirection;
        self.client_error += other.client_error;
        self.server_error += other.server_error;
    }
}

/// How many tunnels there were, and how they ended: `total` is the sum of the five that follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tunnels {
    /// All.
    pub total: u64,
    /// Opened, and closed by one of its two ends.
    pub ok: u64,
    /// Not opened, or broken.
    pub failed: u64,
    /// Refused by amb.
    pub denied: u64,
    /// Given up by the client before it was open.
    pub aborted: u64,
    /// Still open when the run ended.
    pub open_at_end: u64,
    /// What went through them.
    pub bytes: Bytes,
    /// How long they lasted, added up.
    #[serde(
        rename = "duration_seconds",
        serialize_with = "seconds",
        deserialize_with = "from_seconds"
    )]
    #[schemars(with = "f64")]
    pub duration: Duration,
}

impl Tunnels {
    /// Counts one tunnel.
    fn add(&mut self, record: &Record) {
        self.total += 1;
        match record.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Denied(_) => self.denied += 1,
            Outcome::ClientAborted => self.aborted += 1,
            Outcome::CutShort => self.open_at_end += 1,
        }
        self.bytes.add(record);
        self.duration = self.duration.saturating_add(record.duration);
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.ok += other.ok;
        self.failed += other.failed;
        self.denied += other.denied;
        self.aborted += other.aborted;
        self.open_at_end += other.open_at_end;
        self.bytes.merge(&other.bytes);
        self.duration = self.duration.saturating_add(other.duration);
    }
}

/// Connections to servers, as far as records tell.
///
/// One that could not be opened is a failure and not counted here; one that was counts whatever came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Connections {
    /// Opened for an exchange or a tunnel.
    pub opened: u64,
    /// Times an exchange was spared opening one.
    pub reused: u64,
}

impl Connections {
    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.reused += other.reused;
    }
}

/// Bytes on the wire: heads, bodies and what was tunnelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bytes {
    /// To servers.
    pub sent: u64,
    /// From servers.
    pub received: u64,
}

impl Bytes {
    /// Counts a record's.
    fn add(&mut self, record: &Record) {
        self.sent = self.sent.saturating_add(record.bytes_sent);
        self.received = self.received.saturating_add(record.bytes_received);
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
    }
}

#[cfg(test)]
pub(crate) mod tests;
