//! The report as `OpenMetrics` text: for GitLab's metrics reports, and for the textfile collector of Prometheus's node exporter.
//!
//! Names are those of OpenTelemetry's conventions in Prometheus's spelling, and amb's own beside them. Each run has new
//! figures, so that counters say what this run has counted.

use std::fmt::{self, Display, Write};

use crate::{
    report::document::{Document, Host},
    traffic::{circuit::CircuitState, latency::Latency, meter::OTHER_HOST},
};

/// Hosts that have figures of their own; the others are summed up, as no system likes labels without end.
const MOST_HOSTS: usize = 200;

/// The bounds of the histogram's buckets in microseconds, by OpenTelemetry's conventions, and as they are written.
const BUCKETS: [(u64, &str); 14] = [
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (75_000, "0.075"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (750_000, "0.75"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (7_500_000, "7.5"),
    (10_000_000, "10.0"),
];

/// The report.
pub(super) fn render(document: &Document) -> String {
    let hosts = hosts(document);
    let mut text = String::new();
    about_run(&mut text, document);
    about_hosts(&mut text, &hosts);
    about_volume(&mut text, &hosts);
    latencies(&mut text, &hosts);
    about_policies(&mut text, document);
    about_assertions(&mut text, document);
    text.push_str("# EOF\n");
    text
}

/// A value of a label between its quotes.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                // Readers split lines at more than that.
                character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                    write!(f, "\\\\u{{{:x}}}", u32::from(character))?;
                }
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Adds formatted text.
macro_rules! put {
    ($text:expr, $($arguments:tt)*) => {
        writeln!($text, $($arguments)*).expect("a String takes everything")
    };
}

/// Begins a family of metrics.
fn family(text: &mut String, name: &str, kind: &str, unit: &str, help: &str) {
    put!(text, "# TYPE {name} {kind}");
    if !unit.is_empty() {
        put!(text, "# UNIT {name} {unit}");
    }
    put!(text, "# HELP {name} {help}");
}

/// The hosts with figures of their own, and behind them the sum of the others.
fn hosts(document: &Document) -> Vec<Host> {
    let (own, others) = document.hosts.split_at(document.hosts.len().min(MOST_HOSTS));
    let mut hosts = own.to_vec();
    // There may be such a sum already, of hosts that the run did not tell apart.
    let summed = hosts
        .iter()
        .position(|host| host.name == OTHER_HOST && !others.is_empty());
    let summed = summed.map(|place| hosts.remove(place));
    let others: Vec<&Host> = others.iter().chain(&summed).collect();
    hosts.extend(Host::merged(&others).map(|sum| Host {
        name: OTHER_HOST.to_owned(),
        port: 0,
        ..sum
    }));
    hosts
}

/// The run, the command, amb.
fn about_run(text: &mut String, document: &Document) {
    family(text, "amb_build", "info", "", "The version of amb.");
    put!(text, "amb_build_info{{version=\"{}\"}} 1", Label(&document.amb.version));
    family(
        text,
        "amb_run_duration_seconds",
        "gauge",
        "seconds",
        "How long the run took.",
    );
    put!(text, "amb_run_duration_seconds {}", document.run.duration.as_secs_f64());
    let began = document.started_at().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let ended = (began.unwrap_or_default() + document.run.duration).as_secs_f64();
    let help = "When the run was over.";
    family(text, "amb_last_run_timestamp_seconds", "gauge", "seconds", help);
    put!(text, "amb_last_run_timestamp_seconds {ended}");
    if let Some(code) = document.child.exit_code {
        family(
            text,
            "amb_child_exit_code",
            "gauge",
            "",
            "The exit status of the command.",
        );
        put!(text, "amb_child_exit_code {code}");
    }
    family(text, "amb_exit_code", "gauge", "", "The exit status of amb.");
    put!(text, "amb_exit_code {}", document.exit.code);
}

/// The labels of a host.
fn place(host: &Host) -> String {
    format!("server_address=\"{}\",server_port=\"{}\"", Label(&host.name), host.port)
}

/// What hosts were asked for and what they answered.
fn about_hosts(text: &mut String, hosts: &[Host]) {
    family(
        text,
        "amb_requests",
        "counter",
        "",
        "HTTP exchanges, by how they ended.",
    );
    for host in hosts {
        let requests = &host.requests;
        for (outcome, count) in [
            ("ok", requests.ok),
            ("failed", requests.failed),
            ("denied", requests.denied),
            ("aborted", requests.aborted),
            ("cut_short", requests.cut_short),
        ] {
            put!(
                text,
                "amb_requests_total{{{},outcome=\"{outcome}\"}} {count}",
                place(host)
            );
        }
    }
    family(
        text,
        "amb_responses",
        "counter",
        "",
        "What servers answered, by the class of the status.",
    );
    for host in hosts.iter().filter(|host| host.requests.total > 0) {
        let status = &host.requests.status;
        for (class, count) in [
            ("1xx", status.informational),
            ("2xx", status.success),
            ("3xx", status.redirection),
            ("4xx", status.client_error),
            ("5xx", status.server_error),
        ] {
            put!(text, "amb_responses_total{{{},class=\"{class}\"}} {count}", place(host));
        }
    }
    family(text, "amb_tunnels", "counter", "", "Opaque tunnels, by how they ended.");
    for (host, tunnels) in hosts.iter().filter_map(|host| Some((host, host.tunnels.as_ref()?))) {
        for (outcome, count) in [
            ("ok", tunnels.ok),
            ("failed", tunnels.failed),
            ("denied", tunnels.denied),
            ("aborted", tunnels.aborted),
            ("open_at_end", tunnels.open_at_end),
        ] {
            put!(
                text,
                "amb_tunnels_total{{{},outcome=\"{outcome}\"}} {count}",
                place(host)
            );
        }
    }
}

/// What passed between them, what was tried again, and what was held back.
fn about_volume(text: &mut String, hosts: &[Host]) {
    family(text, "amb_transferred_bytes", "counter", "bytes", "Bytes on the wire.");
    for host in hosts {
        let place = place(host);
        put!(
            text,
            "amb_transferred_bytes_total{{{place},direction=\"sent\"}} {}",
            host.bytes.sent
        );
        put!(
            text,
            "amb_transferred_bytes_total{{{place},direction=\"received\"}} {}",
            host.bytes.received
        );
    }
    family(
        text,
        "amb_retried_requests",
        "counter",
        "",
        "HTTP exchanges that were tried again.",
    );
    for host in hosts {
        put!(
            text,
            "amb_retried_requests_total{{{}}} {}",
            place(host),
            host.requests.retried
        );
    }
    family(
        text,
        "amb_rate_limited",
        "counter",
        "",
        "What limits delayed or refused.",
    );
    for (host, held) in hosts.iter().filter_map(|host| Some((host, host.held.as_ref()?))) {
        let place = place(host);
        put!(
            text,
            "amb_rate_limited_total{{{place},result=\"delayed\"}} {}",
            held.delayed
        );
        put!(
            text,
            "amb_rate_limited_total{{{place},result=\"rejected\"}} {}",
            held.rejected
        );
    }
}

/// How long exchanges took, by host.
fn latencies(text: &mut String, hosts: &[Host]) {
    let name = "http_client_request_duration_seconds";
    family(
        text,
        name,
        "histogram",
        "seconds",
        "How long HTTP exchanges took that were answered.",
    );
    let timed = hosts.iter().filter_map(|host| Some((host, host.latency.as_ref()?)));
    // One without its histogram has no buckets: it is older than they are.
    for (host, latency) in timed.filter(|(_, latency)| latency.is_mergeable()) {
        let place = place(host);
        for (bound, written) in BUCKETS {
            put!(
                text,
                "{name}_bucket{{{place},le=\"{written}\"}} {}",
                latency.histogram.up_to(bound)
            );
        }
        put!(text, "{name}_bucket{{{place},le=\"+Inf\"}} {}", latency.count);
        put!(text, "{name}_count{{{place}}} {}", latency.count);
        put!(text, "{name}_sum{{{place}}} {}", sum(latency));
    }
}

/// All of them added up, in seconds.
fn sum(latency: &Latency) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the mean has fewer digits than that")]
    let count = latency.count as f64;
    latency.mean.as_secs_f64() * count
}

/// What the rules of egress and circuit breakers did.
fn about_policies(text: &mut String, document: &Document) {
    if let Some(egress) = &document.egress {
        family(
            text,
            "amb_egress_decisions",
            "counter",
            "",
            "What the rules of egress said.",
        );
        let mut sums = std::collections::BTreeMap::<(&str, &str), u64>::new();
        for decision in &egress.decisions {
            *sums.entry((&decision.action, &decision.rule)).or_default() += decision.count;
        }
        for ((action, rule), count) in sums {
            put!(
                text,
                "amb_egress_decisions_total{{action=\"{}\",rule=\"{}\",mode=\"{}\"}} {count}",
                Label(action),
                Label(rule),
                Label(&egress.mode)
            );
        }
    }
    if !document.breakers.circuits.is_empty() {
        let help = "Where circuits stand that opened: 1 for the state that holds.";
        family(text, "amb_circuit_breaker_state", "gauge", "", help);
        for circuit in &document.breakers.circuits {
            for (name, state) in [
                ("closed", CircuitState::Closed),
                ("open", CircuitState::Open),
                ("half_open", CircuitState::HalfOpen),
            ] {
                let holds = u8::from(circuit.state == state);
                let name_of = Label(&circuit.name);
                put!(
                    text,
                    "amb_circuit_breaker_state{{circuit=\"{name_of}\",state=\"{name}\"}} {holds}"
                );
            }
        }
        family(
            text,
            "amb_circuit_breaker_opened",
            "counter",
            "",
            "How often circuits opened.",
        );
        for circuit in &document.breakers.circuits {
            put!(
                text,
                "amb_circuit_breaker_opened_total{{circuit=\"{}\"}} {}",
                Label(&circuit.name),
                circuit.opened
            );
        }
    }
}

/// What came of assertions.
fn about_assertions(text: &mut String, document: &Document) {
    if document.assertions.is_empty() {
        return;
    }
    family(
        text,
        "amb_assertions",
        "gauge",
        "",
        "What came of assertions: 1 for what did.",
    );
    let mut told = std::collections::BTreeSet::new();
    // Of several runs an assertion may be told twice; a figure may not.
    for one in document
        .assertions
        .iter()
        .filter(|one| told.insert((&one.name, &one.result)))
    {
        let (id, result) = (Label(&one.name), Label(&one.result));
        put!(text, "amb_assertions{{id=\"{id}\",result=\"{result}\"}} 1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{human::tests::nothing_seen, json::tests::everything};

    #[test]
    fn counts_and_times_are_told_by_host() {
        let text = render(&Document::of(&everything()));
        for line in [
            r#"amb_requests_total{server_address="api.example.com",server_port="80",outcome="ok"} 400"#,
            r#"amb_requests_total{server_address="telemetry.example.net",server_port="80",outcome="denied"} 1"#,
            r#"amb_tunnels_total{server_address="b.example.com",server_port="443",outcome="ok"} 1"#,
            r#"http_client_request_duration_seconds_bucket{server_address="b.example.com",server_port="80",le="+Inf"} 98"#,
            r#"http_client_request_duration_seconds_bucket{server_address="b.example.com",server_port="80",le="0.1"} 98"#,
            r#"amb_egress_decisions_total{action="deny",rule="default",mode="enforce"} 1"#,
            r#"amb_circuit_breaker_state{circuit="b.example.com",state="half_open"} 1"#,
            r#"amb_rate_limited_total{server_address="b.example.com",server_port="80",result="delayed"} 1"#,
            "amb_child_exit_code 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert!(render(&Document::of(&nothing_seen())).ends_with("# EOF\n"));
    }

    #[test]
    fn hosts_beyond_two_hundred_are_summed_up() {
        let mut document = Document::of(&everything());
        let host = document.hosts[0].clone();
        document.hosts = (0..1_000)
            .map(|number| Host {
                name: format!("{number}.example"),
                ..host.clone()
            })
            .collect();
        document.hosts[7].name = OTHER_HOST.to_owned();
        let text = render(&document);
        let family = |line: &&str| line.starts_with("amb_requests_total{") && line.contains("outcome=\"ok\"");
        assert_eq!(text.lines().filter(family).count(), 200);
        let other = r#"amb_requests_total{server_address="_other",server_port="0",outcome="ok"} "#;
        assert!(text.contains(&format!("{other}{}\n", 801 * host.requests.ok)), "{text}");
    }

    #[test]
    fn a_label_stays_within_its_quotes() {
        let mut document = Document::of(&everything());
        document.hosts[0].name = "a\"} 1\nb\\\r\u{2028}\u{85}c".to_owned();
        let text = render(&document);
        assert!(
            text.contains(r#"server_address="a\"} 1\nb\\\\u{d}\\u{2028}\\u{85}c",server_port"#),
            "{text}"
        );
    }
}
