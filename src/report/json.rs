//! The JSON report: all there is, for programs. What it consists of is in [`document`](super::document); here it is made of
//! a run.

use serde_json::Value;

use crate::{
    report::document::{
        Amb, Asserted, Breakers, Called, ChildEnd, Config, Decision, Document, Egress, Exit, Group, Host, Route, Run,
        SCHEMA, SCHEMA_VERSION, Template, Times, Tls, TotalRequests, Totals, time,
    },
    traffic::{
        circuit::{Circuit, CircuitState},
        egress::{Decisions, Verdict},
        failures::FailureGroup,
        meter::{
            HostTraffic, Requests, Traffic,
            route::{RouteTraffic, TemplateTraffic},
        },
        retries::RetryCounts,
        secured::SecuredTraffic,
        summary::{Child, Summary},
        timeline::Timeline,
    },
};

/// The report as a value without what is secret, for formats whose own escapes would hide it from the funnel.
pub fn veiled(summary: &Summary) -> Value {
    let veiled = Document::of(summary).veiled().and_then(|document| document.to_value());
    veiled.unwrap_or_else(|reason| {
        tracing::error!(%reason, "a report without its secrets is no report");
        Value::Null
    })
}

impl Document {
    /// The report on this run.
    pub fn of(summary: &Summary) -> Self {
        let run = &summary.run;
        let traffic = &summary.traffic;
        Self {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION.to_owned(),
            amb: Amb {
                version: run.amb_version.clone(),
            },
            run: Run {
                id: run.id.clone(),
                trace_id: run.trace_id.clone(),
                name: run.name.clone(),
                command: run.command.clone(),
                started_at: time(run.started_at),
                duration: run.duration,
                merged: Vec::new(),
                config: Config {
                    sources: run.config_sources.clone(),
                },
                policy: run.policy.clone(),
                confine: run.confine.map(str::to_owned),
                capture: run.capture,
            },
            child: ChildEnd::of(&summary.child),
            exit: Exit {
                code: summary.exit.code,
                reason: summary.exit.reason.name().to_owned(),
            },
            totals: Totals::of(traffic),
            hosts: traffic.hosts.iter().map(Host::of).collect(),
            routes: traffic.routes.iter().map(Route::of).collect(),
            failures: traffic.failures.iter().map(Group::of).collect(),
            failures_beyond: traffic.failures_beyond,
            denials: traffic.denials.iter().map(Group::of).collect(),
            denials_beyond: traffic.denials_beyond,
            egress: summary.egress.map(|mode| Egress::of(mode, &traffic.decisions)),
            breakers: Breakers::of(traffic.circuits.clone()),
            assertions: summary.assertions.iter().map(Asserted::of).collect(),
            edits: Some(traffic.edits.clone()).filter(|edits| !edits.is_nothing()),
            timeline: Times::of(&traffic.timeline),
            leftovers: summary.leftovers,
            warnings: summary.all_warnings(),
        }
    }
}

impl ChildEnd {
    /// The part of the report about this child.
    fn of(child: &Child) -> Self {
        let signal = child.signal.as_ref();
        Self {
            pid: child.pid,
            exit_code: child.exit_code,
            signal: signal.map(|signal| signal.number),
            signal_name: signal.map(|signal| signal.name.clone()),
            outcome: child.outcome.name().to_owned(),
        }
    }
}

impl Totals {
    /// The part of the report about all traffic.
    fn of(traffic: &Traffic) -> Self {
        Self {
            requests: traffic.requests.clone().into(),
            tunnels: traffic.tunnels.clone(),
            connections: traffic.connections,
            bytes: traffic.bytes,
            tls_failures: traffic.tls_failures,
            held: Some(traffic.held.clone()).filter(|held| !held.is_nothing()),
            retries: retries(&traffic.retries),
            credentials: Some(traffic.credentials.clone()).filter(|credentials| !credentials.is_nothing()),
            latency: traffic.latency.clone(),
            connect: traffic.connect.clone(),
            first_byte: traffic.first_byte.clone(),
        }
    }
}

impl From<Requests> for TotalRequests {
    fn from(counts: Requests) -> Self {
        Self {
            failed_ratio: ratio(counts.failed, counts.total),
            counts,
        }
    }
}

impl Host {
    /// The part of the report about this host.
    fn of(host: &HostTraffic) -> Self {
        Self {
            name: host.host.clone(),
            port: host.port,
            requests: host.requests.clone(),
            tunnels: Some(host.tunnels.clone()).filter(|tunnels| tunnels.total > 0),
            connections: host.connections,
            bytes: host.bytes,
            held: Some(host.held.clone()).filter(|held| !held.is_nothing()),
            retries: retries(&host.retries),
            latency: host.latency.clone(),
            connect: host.connect.clone(),
            first_byte: host.first_byte.clone(),
            tls: host.tls.as_ref().map(Tls::of),
        }
    }
}

impl Tls {
    /// The part of the report about TLS with a host.
    fn of(tls: &SecuredTraffic) -> Self {
        let named = |counts: &[(&'static str, u64)]| {
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        Self {
            state: tls.state.name().to_owned(),
            handshakes: tls.handshakes,
            resumed: tls.resumed,
            versions: named(&tls.versions),
            ciphers: named(&tls.ciphers),
            took: tls.took.clone(),
            certificate_expires_at: tls.valid.map(|valid| time(valid.to)),
        }
    }
}

impl Egress {
    /// The part of the report about these decisions.
    fn of(mode: &'static str, decisions: &Decisions) -> Self {
        let each = decisions.iter().map(|(place, count)| Decision {
            host: place.host.clone(),
            port: place.port,
            action: place.verdict.name().to_owned(),
            rule: place.rule.to_string(),
            origin: place.origin.as_deref().map(str::to_owned),
            count,
        });
        Self {
            mode: mode.to_owned(),
            denied: decisions.total(Verdict::Denied),
            would_deny: decisions.total(Verdict::WouldDeny),
            decisions: each.collect(),
            also_called: decisions
                .called()
                .iter()
                .map(|(host, port)| Called {
                    host: host.clone(),
                    port: *port,
                })
                .collect(),
        }
    }
}

impl Breakers {
    /// The part of the report about these circuits.
    pub(super) fn of(circuits: Vec<Circuit>) -> Self {
        Self {
            opened: circuits.iter().map(|circuit| circuit.opened).sum(),
            rejected: circuits.iter().map(|circuit| circuit.rejected).sum(),
            open: circuits.iter().filter(|it| it.state != CircuitState::Closed).count(),
            circuits,
        }
    }
}

impl Route {
    /// The part of the report about this route.
    fn of(route: &RouteTraffic) -> Self {
        Self {
            id: route.id.clone(),
            requests: route.requests.clone(),
            tunnels: Some(route.tunnels.clone()).filter(|tunnels| tunnels.total > 0),
            connections: route.connections,
            bytes: route.bytes,
            held: Some(route.held.clone()).filter(|held| !held.is_nothing()),
            latency: route.latency.clone(),
            connect: route.connect.clone(),
            first_byte: route.first_byte.clone(),
            url_templates: route.templates.iter().map(Template::of).collect(),
        }
    }
}

impl Template {
    /// The part of the report about these exchanges.
    fn of(template: &TemplateTraffic) -> Self {
        Self {
            method: template.method.to_owned(),
            name: template.template.clone(),
            requests: template.requests.clone(),
            latency: template.latency.clone(),
        }
    }
}

impl Group {
    /// The part of the report about these failures.
    fn of(group: &FailureGroup) -> Self {
        Self {
            count: group.count,
            method: group.method.clone(),
            host: group.host.clone(),
            port: group.port,
            path: group.path.clone(),
            error_type: group.error_type.clone(),
            blame: group.blame.name().to_owned(),
            detail: group.detail.clone(),
            not_retried: group.refused.map(|refused| refused.why.name().to_owned()),
            first_at: time(group.first_at),
            first_request_id: group.first_request_id.clone(),
        }
    }
}

impl Times {
    /// The part of the report about this timeline; none if nothing began.
    pub(super) fn of(timeline: &Timeline) -> Option<Self> {
        let slots = Some(timeline.slots()).filter(|slots| !slots.is_empty())?;
        Some(Self {
            begins_at: time(timeline.begins_at()),
            width: timeline.width(),
            requests: slots.iter().map(|slot| slot.requests).collect(),
            tunnels: slots.iter().map(|slot| slot.tunnels).collect(),
            failed: slots.iter().map(|slot| slot.failed).collect(),
        })
    }
}

/// What retries did, if there was anything to retry.
fn retries(counts: &RetryCounts) -> Option<RetryCounts> {
    Some(counts.clone()).filter(|counts| !counts.is_empty())
}

/// What share a part is of the whole, to four places; none of nothing.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    let ten_thousandths = (u128::from(part) * 10_000 + u128::from(whole) / 2).checked_div(u128::from(whole))?;
    // A part is at most the whole, so this fits.
    Some(f64::from(u32::try_from(ten_thousandths).unwrap_or(u32::MAX)) / 10_000.0)
}

#[cfg(test)]
pub(crate) mod tests;
