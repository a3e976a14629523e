//! What passed, as the variables of an assertion; and a run of which everything is known, to try assertions on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use cel::{
    Value,
    objects::{Key, Map},
};

use super::names::Wanted;
use crate::traffic::{
    circuit::CircuitState,
    egress::Verdict,
    latency::{Distribution, Latency},
    meter::{Bytes, HostTraffic, OTHER_HOST, Requests, StatusClasses, Traffic, Tunnels},
    summary::Child,
};

/// What is known of a run.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What passed.
    pub traffic: &'a Traffic,
    /// How long it has taken.
    pub duration: Duration,
    /// How the child ended; none while it runs.
    pub child: Option<&'a Child>,
}

/// The value of a table.
fn table<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let map: HashMap<Key, Value> = fields
        .into_iter()
        .map(|(name, value)| (Key::from(name.to_owned()), value))
        .collect();
    Value::Map(Map { map: Arc::new(map) })
}

/// A number, as CEL counts.
fn count(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A duration, as CEL counts.
fn time(duration: Duration) -> Value {
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Value::Duration(chrono::Duration::nanoseconds(nanos))
}

impl Facts<'_> {
    /// The variables that are wanted, each with its value. What there is no data of is left out.
    pub(super) fn variables(&self, wanted: &Wanted) -> Vec<(&'static str, Value)> {
        let each = wanted.variables.iter().map(|name| (*name, self.variable(name)));
        each.collect()
    }

    /// The value of a variable.
    fn variable(&self, name: &str) -> Value {
        let traffic = self.traffic;
        match name {
            "requests" => requests(&traffic.requests),
            "latency" => latency(traffic.latency.as_ref()),
            "hosts" => self.hosts(),
            "routes" => self.routes(),
            "tunnels" => tunnels(&traffic.tunnels),
            "bytes" => bytes(&traffic.bytes),
            "egress" => table([
                ("denied", count(traffic.decisions.total(Verdict::Denied))),
                ("would_deny", count(traffic.decisions.total(Verdict::WouldDeny))),
            ]),
            "tls" => table([("failures", count(traffic.tls_failures))]),
            "breakers" => {
                let opened = traffic.circuits.iter().map(|circuit| circuit.opened).sum();
                table([("opened", count(opened))])
            }
            "run" => table([("duration", time(self.duration))]),
            "child" => child(self.child),
            // Nothing is replayed, so there is nothing to say of it.
            _ => table([]),
        }
    }

    /// Every host that was called, whatever the port. One whose every request was refused was not.
    fn hosts(&self) -> Value {
        let traffic = self.traffic;
        let mut sums: BTreeMap<&str, &HostTraffic> = BTreeMap::new();
        // What is known of all ports of a host comes last, and so counts.
        for host in traffic.hosts.iter().chain(&traffic.names) {
            sums.insert(&host.host, host);
        }
        let called = sums.into_values().filter(|host| {
            let refused = host.requests.denied + host.tunnels.denied;
            !host.host.is_empty() && host.requests.total + host.tunnels.total > refused
        });
        table(called.map(|host| {
            let fields = [
                ("requests", requests(&host.requests)),
                ("latency", latency(host.latency.as_ref())),
                ("tunnels", tunnels(&host.tunnels)),
                ("bytes", bytes(&host.bytes)),
                ("breaker", Value::from(self.breaker(&host.host))),
            ];
            (&*host.host, table(fields))
        }))
    }

    /// Where the circuit of a host stands; of several, that which lets the least through.
    fn breaker(&self, host: &str) -> &'static str {
        let of_host = self.traffic.circuits.iter().filter(|circuit| {
            let name = circuit.name.strip_prefix(host);
            host != OTHER_HOST && name.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        let states: Vec<CircuitState> = of_host.map(|circuit| circuit.state).collect();
        if states.contains(&CircuitState::Open) {
            "open"
        } else if states.contains(&CircuitState::HalfOpen) {
            "half_open"
        } else {
            "closed"
        }
    }

    /// Every route by its id, and what its paths are called by method, host and name: `POST api.example.com/charges/{id}`.
    fn routes(&self) -> Value {
        let mut known: BTreeMap<String, Value> = BTreeMap::new();
        for route in &self.traffic.routes {
            let fields = [
                ("requests", requests(&route.requests)),
                ("latency", latency(route.latency.as_ref())),
            ];
            known.insert(route.id.clone(), table(fields));
            for template in &route.templates {
                let host = template.host.as_deref().unwrap_or("*");
                let fields = [
                    ("requests", requests(&template.requests)),
                    ("latency", latency(template.latency.as_ref())),
                ];
                // Of two routes that call theirs the same, the one with more counts.
                known
                    .entry(format!("{} {host}{}", template.method, template.template))
                    .or_insert_with(|| table(fields));
            }
        }
        table(known.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }
}

/// Exchanges.
fn requests(requests: &Requests) -> Value {
    let status = &requests.status;
    let mut fields = vec![
        ("total", count(requests.total)),
        ("ok", count(requests.ok)),
        ("failed", count(requests.failed)),
        ("denied", count(requests.denied)),
        ("aborted", count(requests.aborted)),
        ("cut_short", count(requests.cut_short)),
        ("retried", count(requests.retried)),
        ("resends", count(requests.resends)),
        // amb has neither recordings nor faults of its own, so there are none.
        ("replayed", count(0)),
        ("faulted", count(0)),
        ("plaintext", count(requests.plaintext)),
        (
            "status",
            table([
                ("1xx", count(status.informational)),
                ("2xx", count(status.success)),
                ("3xx", count(status.redirection)),
                ("4xx", count(status.client_error)),
                ("5xx", count(status.server_error)),
            ]),
        ),
    ];
    if requests.total > 0 {
        let ratio = precise(requests.failed) / precise(requests.total);
        fields.push(("failed_ratio", Value::Float(ratio)));
    }
    table(fields)
}

/// A number of requests as a floating point number.
#[expect(clippy::cast_precision_loss, reason = "nobody sends more than it counts exactly")]
fn precise(count: u64) -> f64 {
    count as f64
}

/// Tunnels.
fn tunnels(tunnels: &Tunnels) -> Value {
    table([
        ("total", count(tunnels.total)),
        ("ok", count(tunnels.ok)),
        ("failed", count(tunnels.failed)),
        ("denied", count(tunnels.denied)),
        ("aborted", count(tunnels.aborted)),
        ("open_at_end", count(tunnels.open_at_end)),
    ])
}

/// How long exchanges took; nothing if none was answered.
fn latency(latency: Option<&Latency>) -> Value {
    let Some(latency) = latency else { return table([]) };
    table([
        ("min", time(latency.min)),
        ("mean", time(latency.mean)),
        ("p50", time(latency.p50)),
        ("p90", time(latency.p90)),
        ("p95", time(latency.p95)),
        ("p99", time(latency.p99)),
        ("max", time(latency.max)),
    ])
}

/// Bytes on the wire.
fn bytes(bytes: &Bytes) -> Value {
    table([("sent", count(bytes.sent)), ("received", count(bytes.received))])
}

/// How the child ended.
fn child(child: Option<&Child>) -> Value {
    let mut fields = Vec::new();
    if let Some(code) = child.and_then(|child| child.exit_code) {
        fields.push(("exit_code", Value::Int(code.into())));
    }
    if let Some(signal) = child.and_then(|child| child.signal.as_ref()) {
        fields.push(("signal", Value::Int(signal.number.into())));
        fields.push(("signal_name", Value::from(signal.name.as_str())));
    }
    table(fields)
}

/// The variables of a run of which everything is known, all that is wanted included.
pub(super) fn sample(wanted: &Wanted) -> Vec<(&'static str, Value)> {
    let sum = Requests {
        total: 10,
        ok: 4,
        failed: 1,
        denied: 1,
        aborted: 1,
        cut_short: 1,
        retried: 1,
        resends: 1,
        plaintext: 1,
        status: StatusClasses {
            informational: 1,
            success: 1,
            redirection: 1,
            client_error: 1,
            server_error: 1,
        },
    };
    let some = Duration::from_millis(42);
    let took = Latency {
        count: 10,
        mean: some,
        min: some,
        p50: some,
        p90: some,
        p95: some,
        p99: some,
        max: some,
        histogram: Distribution::default(),
    };
    let moved = Bytes { sent: 1, received: 1 };
    let host = || {
        table([
            ("requests", requests(&sum)),
            ("latency", latency(Some(&took))),
            ("tunnels", tunnels(&Tunnels::default())),
            ("bytes", bytes(&moved)),
            ("breaker", Value::from("closed")),
        ])
    };
    let route = || table([("requests", requests(&sum)), ("latency", latency(Some(&took)))]);
    let entries = |of: &'static str, usual: &'static str, entry: &dyn Fn() -> Value| {
        let mentioned = wanted.entries.iter().filter(|(known, _)| *known == of);
        let names = mentioned.map(|(_, name)| name.as_str()).chain([usual]);
        table(names.map(|name| (name, entry())))
    };
    let value = |name: &str| match name {
        "requests" => requests(&sum),
        "latency" => latency(Some(&took)),
        "hosts" => entries("hosts", "api.example.com", &host),
        "routes" => entries("routes", "GET api.example.com/", &route),
        "tunnels" => tunnels(&Tunnels::default()),
        "bytes" => bytes(&moved),
        "egress" => table([("denied", count(1)), ("would_deny", count(1))]),
        "tls" => table([("failures", count(1))]),
        "breakers" => table([("opened", count(1))]),
        "run" => table([("duration", time(some))]),
        "child" => table([
            ("exit_code", Value::Int(0)),
            ("signal", Value::Int(15)),
            ("signal_name", Value::from("SIGTERM")),
        ]),
        _ => table([("hits", count(1)), ("misses", count(1)), ("unused", count(1))]),
    };
    wanted.variables.iter().map(|name| (*name, value(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert::names::{Known, VARIABLES};

    /// Compares a value with what is said of it.
    #[track_caller]
    fn check(name: &str, known: &Known, value: &Value) {
        match (known, value) {
            (Known::Count | Known::Number | Known::Bytes, Value::Int(_))
            | (Known::Ratio, Value::Float(_))
            | (Known::Time, Value::Duration(_))
            | (Known::Text, Value::String(_)) => {}
            (Known::Table(fields), Value::Map(map)) => {
                assert_eq!(fields.len(), map.map.len(), "{name}");
                for (field, known) in *fields {
                    let value = map.map.get(&Key::from((*field).to_owned()));
                    check(&format!("{name}.{field}"), known, value.expect(field));
                }
            }
            (Known::Entries(entry), Value::Map(map)) => {
                map.map.values().for_each(|value| check(name, entry, value));
            }
            (known, value) => panic!("{name}: {known:?}, {value:?}"),
        }
    }

    #[test]
    fn the_sample_has_every_name_and_no_other() {
        let wanted = Wanted {
            variables: VARIABLES.iter().map(|(name, _)| *name).collect(),
            entries: [("hosts", "a".to_owned())].into(),
        };
        for ((name, known), (_, value)) in VARIABLES
            .iter()
            .map(|(name, known)| (name, known))
            .map(|(name, known)| {
                let found = sample(&wanted).into_iter().find(|(sampled, _)| sampled == name);
                ((name, known), found.unwrap())
            })
        {
            check(name, known, &value);
        }
    }
}
