//! Metrics: [the conventions'] for HTTP clients, and amb's own. The figures are those of the report so far.
//!
//! [the conventions']: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/

use std::{collections::BTreeMap, time::SystemTime};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, Metric, NumberDataPoint, Sum, metric::Data, number_data_point::Value,
    },
};

use super::{
    attribute::{number, text},
    duration::Durations,
    span::nanos,
};
use crate::{
    proxy::UnderWay,
    traffic::{
        circuit::CircuitState,
        meter::{HostTraffic, OTHER_HOST, Traffic},
        summary,
    },
};

/// Hosts that have figures of their own; the others are summed up, as no system likes attributes without end.
const MOST_HOSTS: usize = 200;

/// What is measured.
pub(super) struct Measured<'a> {
    /// When the run began.
    pub(super) since: SystemTime,
    /// Now.
    pub(super) now: SystemTime,
    /// What has passed since then.
    pub(super) traffic: &'a Traffic,
    /// How long exchanges took.
    pub(super) durations: &'a Durations,
    /// Exchanges and tunnels that have begun and not ended.
    pub(super) open: usize,
    /// Which they are, as far as that is known.
    pub(super) under_way: &'a [UnderWay],
    /// How the child ended; none as long as it has not.
    pub(super) child: Option<&'a summary::Child>,
}

/// What a figure is of, and the figure.
type Point = (Vec<KeyValue>, u64);

/// A figure of a host: the name and the value of the attribute that tells it from others, both empty if there are none, and the
/// figure.
type Figure = (&'static str, &'static str, u64);

impl Measured<'_> {
    /// All metrics.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![
            Metric {
                name: "http.client.request.duration".to_owned(),
                description: "Duration of HTTP client requests.".to_owned(),
                unit: "s".to_owned(),
                data: Some(Data::Histogram(Histogram {
                    data_points: self.durations.points(nanos(self.since), nanos(self.now)),
                    aggregation_temporality: AggregationTemporality::Cumulative.into(),
                })),
                ..Metric::default()
            },
            self.sum(
                "http.client.active_requests",
                "Number of active HTTP requests.",
                "{request}",
                false,
                self.active(),
            ),
        ];
        metrics.extend(self.about_hosts());
        metrics.extend(self.about_policies());
        metrics.extend(self.about_run());
        metrics.retain(|metric| match &metric.data {
            Some(Data::Sum(sum)) => !sum.data_points.is_empty(),
            Some(Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
            Some(Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
            _ => false,
        });
        metrics
    }

    /// One figure.
    fn point(&self, attributes: Vec<KeyValue>, value: Value) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: nanos(self.since),
            time_unix_nano: nanos(self.now),
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    /// A metric of counts that add up; one that `only_grows` begins at nothing with the run.
    fn sum(&self, name: &str, description: &str, unit: &str, only_grows: bool, points: Vec<Point>) -> Metric {
        let points = points.into_iter().map(|(attributes, count)| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.point(attributes, Value::AsInt(count))
        });
        Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            data: Some(Data::Sum(Sum {
                data_points: points.collect(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: only_grows,
            })),
            ..Metric::default()
        }
    }

    /// A metric of what is so now.
    fn gauge(&self, name: &str, description: &str, unit: &str, points: Vec<(Vec<KeyValue>, Value)>) -> Metric {
        let points = points
            .into_iter()
            .map(|(attributes, value)| self.point(attributes, value));
        Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            data: Some(Data::Gauge(Gauge {
                data_points: points.collect(),
            })),
            ..Metric::default()
        }
    }

    /// What is under way, by host. Those that began before anybody looked are known by their number alone.
    fn active(&self) -> Vec<Point> {
        let mut counts = BTreeMap::<(&str, u16, &str), u64>::new();
        for one in self.under_way {
            let method = if one.method == "CONNECT" { "CONNECT" } else { "" };
            *counts.entry((&one.host, one.port, method)).or_default() += 1;
        }
        let unknown = self.open.saturating_sub(self.under_way.len());
        if unknown > 0 {
            *counts.entry((OTHER_HOST, 0, "")).or_default() += unknown as u64;
        }
        let points = counts.into_iter().map(|((host, port, method), count)| {
            let mut attributes = place(host, port);
            if !method.is_empty() {
                attributes.push(text("http.request.method", method));
            }
            (attributes, count)
        });
        points.collect()
    }

    /// What passed between the command and each host.
    fn about_hosts(&self) -> Vec<Metric> {
        let hosts = &self.traffic.hosts;
        let by = |figures: &dyn Fn(&HostTraffic) -> Vec<Figure>| {
            let mut sums = BTreeMap::<(bool, String, u16, &str, &str), u64>::new();
            for (at, host) in hosts.iter().enumerate() {
                let beyond = at >= MOST_HOSTS || host.host == OTHER_HOST;
                let (name, port) = if beyond {
                    (OTHER_HOST, 0)
                } else {
                    (&*host.host, host.port)
                };
                for (key, value, count) in figures(host) {
                    *sums.entry((beyond, name.to_owned(), port, key, value)).or_default() += count;
                }
            }
            let points = sums.into_iter().map(|((_, host, port, key, value), count)| {
                let mut attributes = place(&host, port);
                if !key.is_empty() {
                    attributes.push(text(key, value));
                }
                (attributes, count)
            });
            points.collect::<Vec<Point>>()
        };
        let requests = by(&|host| {
            let requests = &host.requests;
            some([
                ("amb.outcome", "ok", requests.ok),
                ("amb.outcome", "failed", requests.failed),
                ("amb.outcome", "denied", requests.denied),
                ("amb.outcome", "aborted", requests.aborted),
                ("amb.outcome", "cut_short", requests.cut_short),
            ])
        });
        let tunnels = by(&|host| {
            let tunnels = &host.tunnels;
            some([
                ("amb.outcome", "ok", tunnels.ok),
                ("amb.outcome", "failed", tunnels.failed),
                ("amb.outcome", "denied", tunnels.denied),
                ("amb.outcome", "aborted", tunnels.aborted),
                ("amb.outcome", "open_at_end", tunnels.open_at_end),
            ])
        });
        let bytes = by(&|host| {
            vec![
                ("network.io.direction", "transmit", host.bytes.sent),
                ("network.io.direction", "receive", host.bytes.received),
            ]
        });
        let retries = by(&|host| some([("", "", host.retries.retries)]));
        let tried_again = by(&|host| some([("", "", host.requests.retried)]));
        let limited = by(&|host| {
            some([
                ("amb.result", "delayed", host.held.delayed),
                ("amb.result", "rejected", host.held.rejected),
            ])
        });
        vec![
            self.sum(
                "amb.requests",
                "HTTP exchanges, by how they ended.",
                "{request}",
                true,
                requests,
            ),
            self.sum(
                "amb.tunnels",
                "Opaque tunnels, by how they ended.",
                "{tunnel}",
                true,
                tunnels,
            ),
            self.sum("amb.transferred", "Bytes on the wire.", "By", true, bytes),
            self.sum(
                "amb.retries",
                "Times that something was tried again.",
                "{retry}",
                true,
                retries,
            ),
            self.sum(
                "amb.retried_requests",
                "HTTP exchanges that were tried again.",
                "{request}",
                true,
                tried_again,
            ),
            self.sum(
                "amb.rate_limited",
                "What limits delayed or refused.",
                "{request}",
                true,
                limited,
            ),
        ]
    }

    /// What the rules of egress and circuit breakers did.
    fn about_policies(&self) -> Vec<Metric> {
        let mut said = BTreeMap::<(&str, &str), u64>::new();
        for (place, count) in self.traffic.decisions.iter() {
            *said.entry((place.verdict.name(), &place.rule)).or_default() += count;
        }
        let said = said.into_iter().map(|((action, rule), count)| {
            let attributes = vec![text("amb.egress.action", action), text("amb.egress.rule", rule)];
            (attributes, count)
        });
        let circuits = &self.traffic.circuits;
        let opened = circuits
            .iter()
            .map(|circuit| (vec![text("amb.circuit", &circuit.name)], circuit.opened));
        let states = circuits.iter().flat_map(|circuit| {
            let states = [
                ("closed", CircuitState::Closed),
                ("open", CircuitState::Open),
                ("half_open", CircuitState::HalfOpen),
            ];
            states.map(|(name, state)| {
                let attributes = vec![text("amb.circuit", &circuit.name), text("amb.circuit.state", name)];
                (attributes, Value::AsInt(i64::from(circuit.state == state)))
            })
        });
        let tls = Some((Vec::new(), self.traffic.tls_failures)).filter(|(_, count)| *count > 0);
        vec![
            self.sum(
                "amb.egress.decisions",
                "What the rules of egress said.",
                "{decision}",
                true,
                said.collect(),
            ),
            self.sum(
                "amb.circuit_breaker.opened",
                "How often circuits opened.",
                "{circuit}",
                true,
                opened.collect(),
            ),
            self.gauge(
                "amb.circuit_breaker.state",
                "Where circuits stand that opened: 1 for the state that holds.",
                "1",
                states.collect(),
            ),
            self.sum(
                "amb.tls.failures",
                "What failed for want of TLS that both ends accept.",
                "{failure}",
                true,
                tls.into_iter().collect(),
            ),
        ]
    }

    /// The run and the command.
    fn about_run(&self) -> Vec<Metric> {
        let took = self.now.duration_since(self.since).unwrap_or_default();
        let up = Value::AsInt(i64::from(self.child.is_none()));
        let code = self.child.and_then(|child| child.exit_code);
        let code = code.map(|code| (Vec::new(), Value::AsInt(code.into())));
        vec![
            self.gauge(
                "amb.run.duration",
                "For how long the run has been going on.",
                "s",
                vec![(Vec::new(), Value::AsDouble(took.as_secs_f64()))],
            ),
            self.gauge("amb.child.up", "Whether the command runs.", "1", vec![(Vec::new(), up)]),
            self.gauge(
                "amb.child.exit_code",
                "The exit status of the command.",
                "1",
                code.into_iter().collect(),
            ),
        ]
    }
}

/// A host's attributes.
fn place(host: &str, port: u16) -> Vec<KeyValue> {
    vec![text("server.address", host), number("server.port", port)]
}

/// What occurred at all.
fn some<const N: usize>(figures: [Figure; N]) -> Vec<Figure> {
    figures.into_iter().filter(|(_, _, count)| *count > 0).collect()
}
