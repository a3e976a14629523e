//! The JSON report, schema 1.3: all there is, for programs.
//!
//! Durations are in seconds, sizes in bytes, times RFC 3339 in UTC. What was not measured is absent, never zero. Fields
//! may be added, which bumps the minor version; readers ignore those they do not know.

mod assertions;
mod policies;

use std::{collections::BTreeMap, time::SystemTime};

use jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;

use self::{
    assertions::Asserted,
    policies::{Breakers, Egress},
};
use crate::traffic::{
    credentials::Credentials,
    edits::EditCounts,
    failures::FailureGroup,
    held::Held,
    latency::{Latency, in_seconds},
    meter::{
        Bytes, Connections, HostTraffic, Requests, Traffic, Tunnels,
        route::{RouteTraffic, TemplateTraffic},
    },
    retries::RetryCounts,
    secured::{SecuredTraffic, TlsState},
    summary::{CentralPolicy, Child, ChildOutcome, ExitReason, Summary, Warning},
};
use crate::veil;

/// The version of the report's schema.
pub const SCHEMA_VERSION: &str = "1.3";

/// What names the schema.
const SCHEMA: &str = "urn:amb:report:1";

/// The schema of the report, as a JSON Schema. Fields that it does not name are allowed: newer reports may have them.
pub fn schema() -> serde_json::Value {
    let settings = SchemaSettings::draft07().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Report<'_>>();
    schema.insert("$id".to_owned(), SCHEMA.into());
    schema.insert("title".to_owned(), "The JSON report of amb".into());
    schema.to_value()
}

/// The report as a value, which other formats are made of.
pub fn document(summary: &Summary) -> serde_json::Value {
    serde_json::to_value(Report::of(summary)).expect("no map in it has keys other than strings")
}

/// The same without what is secret, for formats whose own escapes would hide it from the funnel.
pub fn veiled(summary: &Summary) -> serde_json::Value {
    serde_json::from_slice(&veil::json(&render(summary))).unwrap_or_else(|reason| {
        tracing::error!(%reason, "a report without its secrets is no JSON");
        serde_json::Value::Null
    })
}

/// The report, indented and with a newline at its end.
pub fn render(summary: &Summary) -> Vec<u8> {
    let report = Report::of(summary);
    let mut bytes = serde_json::to_vec_pretty(&report).expect("no map in it has keys other than strings");
    bytes.push(b'\n');
    bytes
}

/// A point in time, RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// The whole report.
#[derive(Serialize, JsonSchema)]
struct Report<'a> {
    /// Names the schema.
    #[serde(rename = "$schema")]
    schema: &'static str,
    /// Its version.
    schema_version: &'static str,
    /// amb itself.
    amb: Amb<'a>,
    /// The run.
    run: Run<'a>,
    /// How the child ended.
    child: ChildEnd<'a>,
    /// How amb ends.
    exit: Exit,
    /// All traffic.
    totals: Totals<'a>,
    /// The traffic by host and port, those with the most first.
    hosts: Vec<Host<'a>>,
    /// The traffic by route, those with the most first; routes that nothing went by are left out.
    routes: Vec<Route<'a>>,
    /// What failed, grouped, the commonest first.
    failures: Vec<Group<'a>>,
    /// What amb refused, grouped in the same way.
    denials: Vec<Group<'a>>,
    /// What the rules of egress said; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Egress<'a>>,
    /// What circuit breakers did.
    breakers: Breakers<'a>,
    /// What was asserted of the run, by name; absent if nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assertions: Vec<Asserted<'a>>,
    /// What was changed on the way; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    edits: Option<&'a EditCounts>,
    /// Processes of the child's that live on; absent if it could not be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    leftovers: Option<usize>,
    /// What the user should know of.
    warnings: Vec<Warning>,
}

/// amb itself.
#[derive(Serialize, JsonSchema)]
struct Amb<'a> {
    /// Its version.
    version: &'a str,
}

/// The run.
#[derive(Serialize, JsonSchema)]
struct Run<'a> {
    /// See [`crate::traffic::summary::Run`], as for all of these.
    id: &'a str,
    /// The trace that its requests are in; absent if it put them in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    /// Its name.
    name: &'a str,
    /// The command and its arguments.
    command: &'a [String],
    /// When it began.
    started_at: String,
    /// How long it took.
    duration_seconds: f64,
    /// Its configuration.
    config: Config<'a>,
    /// The central policy that it was under; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a CentralPolicy>,
}

/// Where the configuration came from.
#[derive(Serialize, JsonSchema)]
struct Config<'a> {
    /// Files, variables, flags; the weakest first.
    sources: &'a [String],
}

/// How the child ended. Its three values are null where there is none, as a process has always either or neither.
#[derive(Serialize, JsonSchema)]
struct ChildEnd<'a> {
    /// Its process identifier.
    pid: Option<u32>,
    /// Its exit status.
    exit_code: Option<i32>,
    /// The number of the signal that killed it.
    signal: Option<i32>,
    /// The name of that signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_name: Option<&'a str>,
    /// In a word.
    outcome: ChildOutcome,
}

impl<'a> ChildEnd<'a> {
    /// The part of the report about this child.
    fn of(child: &'a Child) -> Self {
        let signal = child.signal.as_ref();
        Self {
            pid: child.pid,
            exit_code: child.exit_code,
            signal: signal.map(|signal| signal.number),
            signal_name: signal.map(|signal| &*signal.name),
            outcome: child.outcome,
        }
    }
}

/// How amb ends.
#[derive(Serialize, JsonSchema)]
struct Exit {
    /// Its status, as a shell sees it.
    code: i32,
    /// What decided it.
    reason: ExitReason,
}

/// All traffic.
#[derive(Serialize, JsonSchema)]
struct Totals<'a> {
    /// Exchanges.
    requests: TotalRequests<'a>,
    /// Tunnels.
    tunnels: &'a Tunnels,
    /// Connections to servers.
    connections: &'a Connections,
    /// Wire bytes.
    bytes: &'a Bytes,
    /// Exchanges and tunnels that failed for want of TLS that both ends accept.
    tls_failures: u64,
    /// What limits held back; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a Held>,
    /// What retries did, and why others were not made; absent if there was nothing to retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<&'a RetryCounts>,
    /// What was done about credentials; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a Credentials>,
    /// How long things took.
    #[serde(flatten)]
    times: Times<'a>,
}

/// All exchanges.
#[derive(Serialize, JsonSchema)]
struct TotalRequests<'a> {
    /// Their counts.
    #[serde(flatten)]
    counts: &'a Requests,
    /// The share that failed, 0 to 1, to four places; absent if there were none at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_ratio: Option<f64>,
}

/// How long things took; each absent if it never happened.
#[derive(Serialize, JsonSchema)]
struct Times<'a> {
    /// Exchanges, until they were over.
    #[serde(rename = "latency_seconds", skip_serializing_if = "Option::is_none")]
    latency: Option<&'a Latency>,
    /// Connections, until they were open.
    #[serde(rename = "connect_seconds", skip_serializing_if = "Option::is_none")]
    connect: Option<&'a Latency>,
    /// Answers, until they began.
    #[serde(rename = "first_byte_seconds", skip_serializing_if = "Option::is_none")]
    first_byte: Option<&'a Latency>,
}

/// One host and port.
#[derive(Serialize, JsonSchema)]
struct Host<'a> {
    /// Its name.
    #[serde(rename = "host")]
    name: &'a str,
    /// The port.
    port: u16,
    /// Exchanges.
    requests: &'a Requests,
    /// Tunnels; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnels: Option<&'a Tunnels>,
    /// Connections to it.
    connections: &'a Connections,
    /// Wire bytes.
    bytes: &'a Bytes,
    /// What limits held back; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a Held>,
    /// What retries did, and why others were not made; absent if there was nothing to retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<&'a RetryCounts>,
    /// How long things took.
    #[serde(flatten)]
    times: Times<'a>,
    /// TLS with it; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
}

/// TLS with a host.
#[derive(Serialize, JsonSchema)]
struct Tls<'a> {
    /// What became of it: tunnelled if it passed as it was, intercepted if amb spoke it and saw the requests, pinned if a client
    /// has refused amb's certificate.
    state: TlsState,
    /// Handshakes of amb's with it.
    handshakes: u64,
    /// Those that went on with an earlier session.
    resumed: u64,
    /// How many handshakes came to each version: 1.3; absent if there were none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<&'static str, u64>,
    /// How many came to each cipher suite, by IANA's names; absent if there were none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ciphers: BTreeMap<&'static str, u64>,
    /// How long they took; absent if there were none.
    #[serde(rename = "handshake_seconds", skip_serializing_if = "Option::is_none")]
    took: Option<&'a Latency>,
    /// When its certificate expires, the first of them if there were several; absent if none was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_at: Option<String>,
}

impl<'a> Tls<'a> {
    /// The part of the report about TLS with a host.
    fn of(tls: &'a SecuredTraffic) -> Self {
        Self {
            state: tls.state,
            handshakes: tls.handshakes,
            resumed: tls.resumed,
            versions: tls.versions.iter().copied().collect(),
            ciphers: tls.ciphers.iter().copied().collect(),
            took: tls.took.as_ref(),
            certificate_expires_at: tls.valid.map(|valid| time(valid.to)),
        }
    }
}

impl<'a> Host<'a> {
    /// The part of the report about this host.
    fn of(host: &'a HostTraffic) -> Self {
        Self {
            name: &host.host,
            port: host.port,
            requests: &host.requests,
            tunnels: (host.tunnels.total > 0).then_some(&host.tunnels),
            connections: &host.connections,
            bytes: &host.bytes,
            held: (!host.held.is_nothing()).then_some(&host.held),
            retries: retries(&host.retries),
            times: Times {
                latency: host.latency.as_ref(),
                connect: host.connect.as_ref(),
                first_byte: host.first_byte.as_ref(),
            },
            tls: host.tls.as_ref().map(Tls::of),
        }
    }
}

/// One route.
#[derive(Serialize, JsonSchema)]
struct Route<'a> {
    /// Its id.
    id: &'a str,
    /// Exchanges.
    requests: &'a Requests,
    /// Tunnels; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnels: Option<&'a Tunnels>,
    /// Connections.
    connections: &'a Connections,
    /// Wire bytes.
    bytes: &'a Bytes,
    /// What limits held back; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a Held>,
    /// How long things took.
    #[serde(flatten)]
    times: Times<'a>,
    /// Its exchanges by the names of their paths; absent if none has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    url_templates: Vec<Template<'a>>,
}

/// The exchanges of a route whose paths are called the same.
#[derive(Serialize, JsonSchema)]
struct Template<'a> {
    /// Their method; _OTHER for one that nobody has registered.
    method: &'a str,
    /// What their paths are called.
    #[serde(rename = "url_template")]
    name: &'a str,
    /// They.
    requests: &'a Requests,
    /// How long they took, until they were over; absent if none was answered.
    #[serde(rename = "latency_seconds", skip_serializing_if = "Option::is_none")]
    latency: Option<&'a Latency>,
}

impl<'a> Route<'a> {
    /// The part of the report about this route.
    fn of(route: &'a RouteTraffic) -> Self {
        Self {
            id: &route.id,
            requests: &route.requests,
            tunnels: (route.tunnels.total > 0).then_some(&route.tunnels),
            connections: &route.connections,
            bytes: &route.bytes,
            held: (!route.held.is_nothing()).then_some(&route.held),
            times: Times {
                latency: route.latency.as_ref(),
                connect: route.connect.as_ref(),
                first_byte: route.first_byte.as_ref(),
            },
            url_templates: route.templates.iter().map(Template::of).collect(),
        }
    }
}

impl<'a> Template<'a> {
    /// The part of the report about these exchanges.
    fn of(template: &'a TemplateTraffic) -> Self {
        Self {
            method: template.method,
            name: &template.template,
            requests: &template.requests,
            latency: template.latency.as_ref(),
        }
    }
}

/// Failures that are alike.
#[derive(Serialize, JsonSchema)]
struct Group<'a> {
    /// How many.
    count: u64,
    /// The method.
    method: &'a str,
    /// The host.
    host: &'a str,
    /// The port.
    port: u16,
    /// The path without the query; absent for tunnels.
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    /// What happened, in a word.
    error_type: &'a str,
    /// Whose fault the first was: client, upstream, policy or amb.
    blame: &'static str,
    /// What happened the first time, in a sentence.
    detail: &'a str,
    /// Why the first was not retried: off, budget and so on; absent if there was nothing to retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_retried: Option<&'static str>,
    /// When the first began.
    first_at: String,
    /// What tells the first from all other requests.
    #[serde(skip_serializing_if = "str::is_empty")]
    first_request_id: &'a str,
}

impl<'a> Group<'a> {
    /// The part of the report about these failures.
    fn of(group: &'a FailureGroup) -> Self {
        Self {
            count: group.count,
            method: &group.method,
            host: &group.host,
            port: group.port,
            path: &group.path,
            error_type: &group.error_type,
            blame: group.blame.name(),
            detail: &group.detail,
            not_retried: group.refused.map(|refused| refused.why.name()),
            first_at: time(group.first_at),
            first_request_id: &group.first_request_id,
        }
    }
}

impl<'a> Report<'a> {
    /// The report on this run.
    fn of(summary: &'a Summary) -> Self {
        let run = &summary.run;
        let traffic = &summary.traffic;
        Self {
            schema: SCHEMA,
            schema_version: SCHEMA_VERSION,
            amb: Amb {
                version: &run.amb_version,
            },
            run: Run {
                id: &run.id,
                trace_id: run.trace_id.as_deref(),
                name: &run.name,
                command: &run.command,
                started_at: time(run.started_at),
                duration_seconds: in_seconds(run.duration),
                config: Config {
                    sources: &run.config_sources,
                },
                policy: run.policy.as_ref(),
            },
            child: ChildEnd::of(&summary.child),
            exit: Exit {
                code: summary.exit.code,
                reason: summary.exit.reason,
            },
            totals: Totals::of(traffic),
            hosts: traffic.hosts.iter().map(Host::of).collect(),
            routes: traffic.routes.iter().map(Route::of).collect(),
            failures: traffic.failures.iter().map(Group::of).collect(),
            denials: traffic.denials.iter().map(Group::of).collect(),
            egress: summary.egress.map(|mode| Egress::of(mode, &traffic.decisions)),
            breakers: Breakers::of(&traffic.circuits),
            assertions: summary.assertions.iter().map(Asserted::of).collect(),
            edits: (!traffic.edits.is_nothing()).then_some(&traffic.edits),
            leftovers: summary.leftovers,
            warnings: summary.all_warnings(),
        }
    }
}

impl<'a> Totals<'a> {
    /// The part of the report about all traffic.
    fn of(traffic: &'a Traffic) -> Self {
        Self {
            requests: TotalRequests {
                counts: &traffic.requests,
                failed_ratio: ratio(traffic.requests.failed, traffic.requests.total),
            },
            tunnels: &traffic.tunnels,
            connections: &traffic.connections,
            bytes: &traffic.bytes,
            tls_failures: traffic.tls_failures,
            held: (!traffic.held.is_nothing()).then_some(&traffic.held),
            credentials: Some(&traffic.credentials).filter(|credentials| !credentials.is_nothing()),
            retries: retries(&traffic.retries),
            times: Times {
                latency: traffic.latency.as_ref(),
                connect: traffic.connect.as_ref(),
                first_byte: traffic.first_byte.as_ref(),
            },
        }
    }
}

/// What retries did, if there was anything to retry.
fn retries(counts: &RetryCounts) -> Option<&RetryCounts> {
    (!counts.is_empty()).then_some(counts)
}

/// What share a part is of the whole, to four places; none of nothing.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    let ten_thousandths = (u128::from(part) * 10_000 + u128::from(whole) / 2).checked_div(u128::from(whole))?;
    // A part is at most the whole, so this fits.
    Some(f64::from(u32::try_from(ten_thousandths).unwrap_or(u32::MAX)) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::human::tests::{nothing_seen, summary};

    /// The report, read back.
    fn report(summary: &Summary) -> serde_json::Value {
        serde_json::from_slice(&render(summary)).unwrap()
    }

    #[test]
    fn the_schema_is_what_programs_were_told() {
        let report = report(&summary());
        assert_eq!(report["$schema"], "urn:amb:report:1");
        assert_eq!(report["schema_version"], "1.3");
        assert_eq!(
            report["run"],
            json!({
                "id": "01JD8ZK3V6W2Q4",
                "name": "billing",
                "command": ["./legacy-app", "--port", "8080"],
                "started_at": "2026-11-22T20:40:01.120Z",
                "duration_seconds": 33.41,
                "config": { "sources": ["amb.toml", "AMB_TIMEOUT__CONNECT", "--summary"] }
            })
        );
        assert_eq!(
            report["child"],
            json!({ "pid": 4711, "exit_code": 0, "signal": null, "outcome": "exited" })
        );
        assert_eq!(report["exit"], json!({ "code": 0, "reason": "child" }));
        assert_eq!(
            report["totals"]["requests"],
            json!({
                "total": 128, "ok": 125, "failed": 1, "denied": 2, "aborted": 0, "cut_short": 0,
                "retried": 4, "resends": 5, "plaintext": 0, "failed_ratio": 0.0078,
                "status": { "1xx": 0, "2xx": 120, "3xx": 0, "4xx": 5, "5xx": 0 }
            })
        );
        assert_eq!(report["totals"]["connections"], json!({ "opened": 9, "reused": 119 }));
        assert_eq!(report["totals"]["latency_seconds"]["p95"], json!(0.31));
        let host = &report["hosts"][0];
        assert_eq!((&host["host"], &host["port"]), (&json!("api.stripe.com"), &json!(80)));
        assert_eq!(host["bytes"], json!({ "sent": 41_984, "received": 1_992_294 }));
        assert_eq!(
            report["failures"],
            json!([{
                "count": 1, "method": "POST", "host": "soap.example.com", "port": 80, "path": "/v1/invoices",
                "error_type": "connection_timeout", "blame": "upstream", "detail": "no connection within 2s",
                "first_at": "2026-11-22T20:40:07.000Z"
            }])
        );
        assert_eq!(report["denials"][0]["count"], 2);
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let report = report(&nothing_seen());
        assert!(report["totals"].get("latency_seconds").is_none());
        assert!(report["totals"]["requests"].get("failed_ratio").is_none());
        assert!(report.get("leftovers").is_none());
        assert_eq!(report["totals"]["requests"]["total"], 0, "what was counted is zero");
        assert_eq!(report["hosts"], json!([]));
    }

    #[test]
    fn a_signal_has_its_number_and_name() {
        let mut summary = summary();
        summary.child.exit_code = None;
        summary.child.outcome = ChildOutcome::Signalled;
        summary.child.signal = Some(crate::traffic::summary::Signal {
            number: 15,
            name: "SIGTERM".to_owned(),
        });
        assert_eq!(
            report(&summary)["child"],
            json!({ "pid": 4711, "exit_code": null, "signal": 15, "signal_name": "SIGTERM", "outcome": "signalled" })
        );
    }

    #[test]
    fn a_ratio_has_four_places() {
        assert_eq!(ratio(1, 128), Some(0.0078));
        assert_eq!(ratio(1, 3), Some(0.3333));
        assert_eq!(ratio(5, 5), Some(1.0));
        assert_eq!(ratio(0, 0), None);
    }
}
