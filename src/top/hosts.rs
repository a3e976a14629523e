//! The table of hosts.

use std::{cmp::Ordering, time::Duration};

use ratatui::text::{Line, Span};

use super::{
    state::{Sort, State, figure},
    theme::{Part, Side, Theme},
};
use crate::{
    report::{document::Host, text},
    units::ByteSize,
};

/// The least that is left of a host's name, in columns.
const LEAST_NAME: usize = 14;

/// What is told of a host: its heading, and for how many columns, in the order in which there must be room for it.
const COLUMNS: [(&str, usize); 9] = [
    ("REQS", 7),
    ("FAIL", 5),
    ("RATE/S", 7),
    ("P95", 7),
    ("P50", 7),
    ("RECEIVED", 9),
    ("SENT", 9),
    ("TUNNELS", 8),
    ("MAX", 7),
];

/// A count in at most five columns or so.
pub(super) fn count(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// How many a second.
pub(super) fn rate(rate: f64) -> String {
    if rate < 0.05 {
        "0".to_owned()
    } else if rate < 9.95 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

/// Requests and tunnels of it that failed, or that amb refused.
fn bad(host: &Host) -> u64 {
    let tunnels = host
        .tunnels
        .as_ref()
        .map_or(0, |tunnels| tunnels.failed + tunnels.denied);
    host.requests.failed + host.requests.denied + tunnels
}

/// Requests and tunnels a second.
fn rate_of(state: &State, host: &Host) -> f64 {
    let key = (host.name.clone(), host.port);
    state.rates.get(&key).copied().unwrap_or(0.0)
}

/// The hosts in the order that was asked for; those that are equal stay as the report has them, those with the most first.
fn sorted(state: &State) -> Vec<&Host> {
    let mut hosts: Vec<&Host> = state.live.iter().flat_map(|live| &live.report.hosts).collect();
    let slow = |host: &Host| host.latency.as_ref().map(|latency| latency.p95);
    let bytes = |host: &Host| host.bytes.sent + host.bytes.received;
    match state.sort {
        Sort::Requests => {}
        Sort::Rate => hosts.sort_by(|a, b| {
            let order = rate_of(state, b).partial_cmp(&rate_of(state, a));
            order.unwrap_or(Ordering::Equal)
        }),
        Sort::Failed => hosts.sort_by_key(|host| std::cmp::Reverse(bad(host))),
        Sort::Slow => hosts.sort_by_key(|host| std::cmp::Reverse(slow(host))),
        Sort::Bytes => hosts.sort_by_key(|host| std::cmp::Reverse(bytes(host))),
        Sort::Name => hosts.sort_by(|a, b| (&a.name, a.port).cmp(&(&b.name, b.port))),
    }
    hosts
}

/// The table, of so many columns and lines.
pub(super) fn table(state: &State, theme: Theme, width: usize, height: usize) -> Vec<Line<'static>> {
    let hosts = sorted(state);
    let room = width.saturating_sub(LEAST_NAME);
    let mut taken = 0;
    let shown = COLUMNS.iter().take_while(|(_, columns)| {
        taken += columns + 1;
        taken <= room
    });
    let shown = shown.count();
    let figures: usize = COLUMNS[..shown].iter().map(|(_, columns)| columns + 1).sum();
    let name = width.saturating_sub(figures);
    let below = height.saturating_sub(1);
    let scroll = state.scroll.min(hosts.len().saturating_sub(below));
    let hidden = hosts.len().saturating_sub(below);
    let title = match hidden {
        0 => format!("HOSTS by {}", state.sort.name()),
        // The order is told below.
        _ => format!(
            "HOSTS {}-{} of {}",
            scroll + 1,
            (scroll + below).min(hosts.len()),
            hosts.len()
        ),
    };
    let mut head = theme.fit(&title, name, Side::Left);
    for (column, columns) in &COLUMNS[..shown] {
        head.push(' ');
        head.push_str(&theme.fit(column, *columns, Side::Right));
    }
    let mut lines = vec![Line::styled(head, theme.style(Part::Heading))];
    if hosts.is_empty() {
        let nothing = "nothing has come through the proxy yet";
        lines.push(Line::styled(
            theme.fit(nothing, width, Side::Left),
            theme.style(Part::Quiet),
        ));
    }
    for host in hosts.into_iter().skip(scroll).take(below) {
        lines.push(line(state, theme, host, name, shown));
    }
    lines
}

/// The line of a host.
fn line(state: &State, theme: Theme, host: &Host, name: usize, shown: usize) -> Line<'static> {
    let latency = host.latency.as_ref();
    let time = |time: Option<Duration>| match time {
        Some(time) => text::duration(time, theme.charset),
        None => theme.charset.none().to_owned(),
    };
    let tunnels = host.tunnels.as_ref().map_or(0, |tunnels| tunnels.total);
    let rate_of = rate_of(state, host);
    let cells = [
        (count(host.requests.total), host.requests.total == 0, Part::Plain),
        (count(bad(host)), bad(host) == 0, Part::Failed),
        (rate(rate_of), rate_of < 0.05, Part::Good),
        (time(latency.map(|it| it.p95)), latency.is_none(), Part::Plain),
        (time(latency.map(|it| it.p50)), latency.is_none(), Part::Plain),
        (
            ByteSize(host.bytes.received).to_string(),
            host.bytes.received == 0,
            Part::Plain,
        ),
        (ByteSize(host.bytes.sent).to_string(), host.bytes.sent == 0, Part::Plain),
        (count(tunnels), tunnels == 0, Part::Plain),
        (time(latency.map(|it| it.max)), latency.is_none(), Part::Plain),
    ];
    let unusual = match host.port {
        0 | 80 | 443 => String::new(),
        port => format!(":{port}"),
    };
    let mut spans = vec![Span::raw(theme.fit(
        &format!("{}{unusual}", host.name),
        name,
        Side::Left,
    ))];
    for ((cell, quiet, part), (_, columns)) in cells.into_iter().zip(&COLUMNS[..shown]) {
        let part = if quiet { Part::Quiet } else { part };
        spans.push(Span::raw(" "));
        spans.push(Span::styled(theme.fit(&cell, *columns, Side::Right), theme.style(part)));
    }
    Line::from(spans)
}

/// The sum of rates, for the head.
pub(super) fn total_rate(state: &State) -> Option<f64> {
    state.beats.back().map(|beat| beat.rate)
}

/// A count of bytes a second as people read it.
pub(super) fn bytes_a_second(bytes: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between nothing and what a network carries"
    )]
    let whole = bytes.clamp(0.0, figure(u64::MAX / 2)) as u64;
    format!("{}/s", ByteSize(whole))
}
