//! One fact a line, for logs and `grep`: ASCII, no colours, words in a stable order.

use crate::{
    report::{
        human::{
            self, assertions, circuits, egress, failures, fate, label, label::Labels, leftovers, name, ran, retries,
            verb, verdict, volume,
        },
        text::{self, Charset, escape},
    },
    traffic::{
        failures::FailureGroup,
        held::Held,
        latency::Latency,
        meter::{Bytes, HostTraffic, Requests, Tunnels, route::RouteTraffic},
        summary::{ChildOutcome, Summary},
    },
    units::ByteSize,
};

/// All lines.
pub(super) fn lines(summary: &Summary) -> Vec<String> {
    let traffic = &summary.traffic;
    let mut story = vec![format!(
        "{} {} {}, {}",
        name(summary, Charset::Ascii),
        verb(summary),
        ran(summary, Charset::Ascii),
        fate(summary, Charset::Ascii)
    )];
    let mut lines = Vec::new();
    if traffic.is_empty() {
        story.push(human::NOTHING_SEEN.to_owned());
        if summary.child.outcome != ChildOutcome::Absent {
            let (why, what_to_do) = human::advice(summary);
            lines.push(format!("amb: hint {why}; {what_to_do}"));
        }
    } else {
        story.push(volume(summary));
        story.extend(human::captured(summary));
        let endings = human::endings(summary).into_iter().filter(|(count, ..)| *count > 0);
        story.extend(endings.map(|(count, what, _)| format!("{count} {what}")));
        story.extend(
            traffic
                .latency
                .as_ref()
                .map(|latency| format!("p95 {}", text::duration(latency.p95, Charset::Ascii))),
        );
    }
    lines.insert(0, format!("amb: {}", story.join(", ")));
    let labels = Labels::of(traffic, Charset::Ascii);
    let (shown, rest) = label::shown(traffic);
    lines.extend(
        shown
            .iter()
            .map(|traffic| format!("amb: host {} {}", labels.of_host(traffic), host(traffic))),
    );
    lines.extend(label::rest(&rest).map(|rest| format!("amb: host {rest}")));
    lines.extend(label::shown_routes(traffic).map(|traffic| {
        let id = escape(&traffic.id, Charset::Ascii);
        format!("amb: route {id} {}", route(traffic))
    }));
    lines.extend(label::rest_of_routes(traffic).map(|rest| format!("amb: route {rest}")));
    for (word, groups, beyond) in [
        ("fail", &traffic.failures, traffic.failures_beyond),
        ("denied", &traffic.denials, traffic.denials_beyond),
    ] {
        let (shown, rest) = failures::shown(groups);
        lines.extend(
            shown
                .iter()
                .map(|group| format!("amb: {word} {}", failure(group, &labels))),
        );
        let unshown = rest + beyond;
        if unshown > 0 {
            lines.push(format!("amb: {word} and {unshown} more of other kinds"));
        }
    }
    lines.extend(egress::plain(&traffic.decisions));
    lines.extend(retries::plain(&traffic.retries));
    lines.extend(circuits::plain(&traffic.circuits));
    lines.extend(assertions::plain(&summary.assertions));
    lines.extend(
        summary
            .reports
            .iter()
            .map(|path| format!("amb: wrote {}", escape(path, Charset::Ascii))),
    );
    lines.extend(leftovers(summary).map(|note| format!("amb: note {note}")));
    lines.extend(verdict(summary).map(|verdict| format!("amb: {verdict}")));
    lines
}

/// The facts about a host.
fn host(host: &HostTraffic) -> String {
    facts(
        &host.requests,
        &host.tunnels,
        &host.held,
        host.latency.as_ref(),
        &host.bytes,
    )
}

/// The facts about a route.
fn route(route: &RouteTraffic) -> String {
    facts(
        &route.requests,
        &route.tunnels,
        &route.held,
        route.latency.as_ref(),
        &route.bytes,
    )
}

/// The facts about some traffic. What there was none of is left out, but for the counts that everyone looks for.
fn facts(requests: &Requests, tunnels: &Tunnels, held: &Held, latency: Option<&Latency>, bytes: &Bytes) -> String {
    let mut facts = Vec::new();
    if requests.total > 0 || tunnels.total == 0 {
        facts.push(format!("requests={}", requests.total));
    }
    if tunnels.total > 0 {
        facts.push(format!("tunnels={}", tunnels.total));
    }
    facts.push(format!("ok={}", requests.ok + tunnels.ok));
    facts.push(format!("failed={}", requests.failed + tunnels.failed));
    if requests.total > 0 {
        facts.push(format!("retried={}", requests.retried));
    }
    for (count, what) in [
        (requests.denied + tunnels.denied, "denied"),
        (held.delayed, "delayed"),
        (requests.aborted + tunnels.aborted, "aborted"),
        (requests.cut_short, "cut_short"),
        (tunnels.open_at_end, "open_at_end"),
    ] {
        if count > 0 {
            facts.push(format!("{what}={count}"));
        }
    }
    if !held.waited.is_zero() {
        facts.push(format!("waited={}", text::duration(held.waited, Charset::Ascii)));
    }
    if let Some(latency) = latency {
        for (what, duration) in [("p50", latency.p50), ("p95", latency.p95), ("max", latency.max)] {
            facts.push(format!("{what}={}", text::duration(duration, Charset::Ascii)));
        }
    }
    for (what, bytes) in [("sent", bytes.sent), ("recv", bytes.received)] {
        facts.push(format!("{what}={}", ByteSize(bytes).to_string().replace(' ', "")));
    }
    facts.join(" ")
}

/// The facts about failures that are alike.
fn failure(group: &FailureGroup, labels: &Labels<'_>) -> String {
    let target = failures::target(group, labels, Charset::Ascii);
    let error_type = escape(&group.error_type, Charset::Ascii);
    let detail = escape(&group.detail, Charset::Ascii).replace('"', "\\\"");
    format!(
        "{}x {target} {error_type} blame={} \"{detail}\"",
        group.count, group.blame
    )
}
