//! What each family of metrics is called, and where its figures come from. There is none without a source.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::SystemTime,
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{Figures, buckets, printable};
use crate::{
    report::document::Host,
    traffic::{circuit::CircuitState, summary::ChildOutcome},
};

/// Where what a signal has ended begins to be counted, as shells do.
const SIGNALS: i32 = 128;

/// Labels and their values.
type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// Writes families one by one; those without a sample are left out.
pub(super) struct Families<'e>(pub(super) DescriptorEncoder<'e>);

impl Families<'_> {
    /// Counters.
    fn counters<'a>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        self.family(name, unit, help, MetricType::Counter, samples, |encoder, count| {
            encoder.encode_counter::<NoLabelSet, u64, f64>(&count, None)
        })
    }

    /// Gauges.
    fn gauges<'a, N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, N)>,
    ) -> fmt::Result {
        self.family(name, unit, help, MetricType::Gauge, samples, |encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    /// What has no figure, and is told by labels.
    fn info(&mut self, name: &str, help: &str, labels: &Labels<'_>) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        encoder.encode_info(labels)
    }

    /// Any of them.
    fn family<'a, V>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
        mut encode: impl FnMut(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                encode(&mut family, value)?;
            } else {
                encode(&mut family.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}

/// The labels of a host.
fn place(host: &Host) -> Labels<'_> {
    vec![
        ("server_address", printable(&host.name)),
        ("server_port", Cow::Owned(host.port.to_string())),
    ]
}

/// The labels of a host, and one more.
fn place_and<'a>(host: &'a Host, name: &'static str, value: &'static str) -> Labels<'a> {
    let mut labels = place(host);
    labels.push((name, Cow::Borrowed(value)));
    labels
}

/// What has no labels of its own.
fn alone<V>(value: V) -> [(Labels<'static>, V); 1] {
    [(Vec::new(), value)]
}

impl Figures {
    /// The run, the command, amb.
    pub(super) fn tell_of_run(&self, to: &mut Families<'_>) -> fmt::Result {
        let document = &self.document;
        let version = vec![("version", printable(&document.amb.version))];
        to.info("amb_build", "The version of amb.", &version)?;
        if let Some(policy) = &document.run.policy {
            let help = "The central policy that the run is under.";
            to.info("amb_config", help, &vec![("policy_id", printable(&policy.id))])?;
        }
        let duration = document.run.duration;
        let help = "How long the run took, or has been going on.";
        to.gauges(
            "amb_run_duration",
            Some(&Unit::Seconds),
            help,
            alone(duration.as_secs_f64()),
        )?;
        if document.child.outcome == ChildOutcome::Running.name() {
            return Ok(());
        }
        let began = document.started_at().duration_since(SystemTime::UNIX_EPOCH);
        let ended = (began.unwrap_or_default() + duration).as_secs_f64();
        let help = "When the run was over.";
        to.gauges("amb_last_run_timestamp", Some(&Unit::Seconds), help, alone(ended))?;
        let child = &document.child;
        let help = "The exit status of the command; 128 and the signal's number if a signal ended it.";
        let code = child.exit_code.or_else(|| child.signal.map(|number| SIGNALS + number));
        to.gauges("amb_child_exit_code", None, help, code.into_iter().flat_map(alone))?;
        let help = "The exit status of amb.";
        to.gauges("amb_exit_code", None, help, alone(document.exit.code))
    }

    /// What is under way.
    pub(super) fn tell_of_moment(&self, to: &mut Families<'_>) -> fmt::Result {
        let Some(moment) = self.moment else { return Ok(()) };
        let up = moment.child_up.map(u32::from);
        let help = "Whether the command runs.";
        to.gauges("amb_child_up", None, help, up.into_iter().flat_map(alone))?;
        let help = "HTTP exchanges that have begun and not ended.";
        to.gauges("http_client_active_requests", None, help, alone(moment.requests))?;
        let help = "Opaque tunnels that have begun and not ended.";
        to.gauges("amb_active_tunnels", None, help, alone(moment.tunnels))
    }

    /// What hosts were asked for and what they answered.
    pub(super) fn tell_of_requests(&self, to: &mut Families<'_>) -> fmt::Result {
        let requests = self.hosts.iter().flat_map(|host| {
            let requests = &host.requests;
            let counts = [
                ("ok", requests.ok),
                ("failed", requests.failed),
                ("denied", requests.denied),
                ("aborted", requests.aborted),
                ("cut_short", requests.cut_short),
            ];
            counts.map(|(outcome, count)| (place_and(host, "outcome", outcome), count))
        });
        to.counters("amb_requests", None, "HTTP exchanges, by how they ended.", requests)?;
        let asked = self.hosts.iter().filter(|host| host.requests.total > 0);
        let responses = asked.flat_map(|host| {
            let status = &host.requests.status;
            let counts = [
                ("1xx", status.informational),
                ("2xx", status.success),
                ("3xx", status.redirection),
                ("4xx", status.client_error),
                ("5xx", status.server_error),
            ];
            counts.map(|(class, count)| (place_and(host, "class", class), count))
        });
        let help = "What servers answered, by the class of the status.";
        to.counters("amb_responses", None, help, responses)?;
        let tunnelled = self
            .hosts
            .iter()
            .filter_map(|host| Some((host, host.tunnels.as_ref()?)));
        let tunnels = tunnelled.flat_map(|(host, tunnels)| {
            let counts = [
                ("ok", tunnels.ok),
                ("failed", tunnels.failed),
                ("denied", tunnels.denied),
                ("aborted", tunnels.aborted),
                ("open_at_end", tunnels.open_at_end),
            ];
            counts.map(|(outcome, count)| (place_and(host, "outcome", outcome), count))
        });
        to.counters("amb_tunnels", None, "Opaque tunnels, by how they ended.", tunnels)
    }

    /// What passed between them, and what was held back.
    pub(super) fn tell_of_volume(&self, to: &mut Families<'_>) -> fmt::Result {
        let bytes = self.hosts.iter().flat_map(|host| {
            let counts = [("sent", host.bytes.sent), ("received", host.bytes.received)];
            counts.map(|(direction, count)| (place_and(host, "direction", direction), count))
        });
        to.counters(
            "amb_transferred",
            Some(&Unit::Bytes),
            "Bytes on the wire, of what has ended.",
            bytes,
        )?;
        let limited = self.hosts.iter().filter_map(|host| Some((host, host.held.as_ref()?)));
        let limited = limited.flat_map(|(host, held)| {
            let counts = [("delayed", held.delayed), ("rejected", held.rejected)];
            counts.map(|(result, count)| (place_and(host, "result", result), count))
        });
        to.counters("amb_rate_limited", None, "What limits delayed or refused.", limited)?;
        let failures = self.document.totals.tls_failures;
        let help = "Exchanges and tunnels that failed for want of TLS that both ends accept.";
        to.counters("amb_tls_failures", None, help, alone(failures))
    }

    /// What was tried again.
    pub(super) fn tell_of_retries(&self, to: &mut Families<'_>) -> fmt::Result {
        let requests = self.hosts.iter().map(|host| (place(host), host.requests.retried));
        let help = "HTTP exchanges that were tried again.";
        to.counters("amb_retried_requests", None, help, requests)?;
        let counted = || {
            self.hosts
                .iter()
                .filter_map(|host| Some((host, host.retries.as_ref()?)))
        };
        let retries = counted().map(|(host, retries)| (place(host), retries.retries));
        let help = "Times that exchanges and tunnels were tried again.";
        to.counters("amb_retries", None, help, retries)?;
        let exhausted = counted().flat_map(|(host, retries)| {
            let refused = &retries.refused;
            let counts = [("exhausted", refused.attempts_used), ("budget", refused.budget)];
            counts.map(|(reason, count)| (place_and(host, "reason", reason), count))
        });
        let help = "What was not tried again: no attempt was left, or the budget of the host was spent.";
        to.counters("amb_retries_exhausted", None, help, exhausted)
    }

    /// How long exchanges took, by host.
    pub(super) fn tell_of_latency(&self, to: &mut Families<'_>) -> fmt::Result {
        let timed = self
            .hosts
            .iter()
            .filter_map(|host| Some((host, host.latency.as_ref()?)));
        // One without its histogram has no buckets: it is older than they are.
        let timed = timed.filter(|(_, latency)| latency.is_mergeable());
        to.family(
            "http_client_request_duration",
            Some(&Unit::Seconds),
            "How long HTTP exchanges took that were answered.",
            MetricType::Histogram,
            timed.map(|(host, latency)| (place(host), latency)),
            |encoder, latency| {
                let (sum, buckets) = buckets(latency);
                encoder.encode_histogram::<NoLabelSet>(sum, latency.count, &buckets, None)
            },
        )
    }

    /// What the rules of egress and circuit breakers did.
    pub(super) fn tell_of_policies(&self, to: &mut Families<'_>) -> fmt::Result {
        if let Some(egress) = &self.document.egress {
            let mut sums = BTreeMap::<(&str, &str), u64>::new();
            for decision in &egress.decisions {
                *sums.entry((&decision.action, &decision.rule)).or_default() += decision.count;
            }
            let decisions = sums.into_iter().map(|((action, rule), count)| {
                let labels = [("action", action), ("rule", rule), ("mode", &egress.mode)];
                (labels.map(|(name, value)| (name, printable(value))).to_vec(), count)
            });
            let help = "What the rules of egress said.";
            to.counters("amb_egress_decisions", None, help, decisions)?;
        }
        // What is masked may be alike, and a figure may be told once only.
        let mut circuits = BTreeMap::<&str, (CircuitState, u64, u64)>::new();
        for circuit in &self.document.breakers.circuits {
            let told = circuits.entry(&circuit.name).or_insert((circuit.state, 0, 0));
            told.1 += circuit.opened;
            told.2 += circuit.rejected;
        }
        let named = |name| vec![("circuit", printable(name))];
        let states = circuits.iter().flat_map(|(name, (stands, ..))| {
            let states = [
                ("closed", CircuitState::Closed),
                ("open", CircuitState::Open),
                ("half_open", CircuitState::HalfOpen),
            ];
            states.map(|(word, state)| {
                let labels = vec![("circuit", printable(name)), ("state", Cow::Borrowed(word))];
                (labels, u32::from(*stands == state))
            })
        });
        let help = "Where circuits stand that opened: 1 for the state that holds.";
        to.gauges("amb_circuit_breaker_state", None, help, states)?;
        let opened = circuits.iter().map(|(name, (_, opened, _))| (named(name), *opened));
        let help = "How often circuits opened.";
        to.counters("amb_circuit_breaker_opened", None, help, opened)?;
        let rejected = circuits.iter().map(|(name, (.., rejected))| (named(name), *rejected));
        let help = "What was answered at once because a circuit was open.";
        to.counters("amb_circuit_breaker_rejected", None, help, rejected)
    }

    /// What came of assertions.
    pub(super) fn tell_of_assertions(&self, to: &mut Families<'_>) -> fmt::Result {
        // Of several runs an assertion may be told twice; a figure may not.
        let told: BTreeSet<(&str, &str)> = self
            .document
            .assertions
            .iter()
            .map(|one| (&*one.name, &*one.result))
            .collect();
        let told = told.into_iter().map(|(name, result)| {
            let labels = vec![("id", printable(name)), ("result", printable(result))];
            (labels, 1_u32)
        });
        let help = "What came of assertions: 1 for what did.";
        to.gauges("amb_assertions", None, help, told)
    }
}
