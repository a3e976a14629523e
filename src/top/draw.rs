//! The picture: what is known, within the room that there is.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
    widgets::{Block, Clear, Paragraph, RenderDirection, Sparkline},
};

use super::{
    failing, hosts,
    state::State,
    theme::{Part, Side, Theme},
};
use crate::{
    monitor::view::{Kind, Status},
    report::text::{self, Charset, plural},
    units::ByteSize,
};

/// From this many columns on the sparklines stand beside each other; with less there is only that of requests.
const SIDE_BY_SIDE: u16 = 60;

/// What the keys do.
const HELP: [(&str, &str); 7] = [
    ("q, Esc, Ctrl-C", "leave"),
    ("Tab, Shift-Tab", "next run, previous run"),
    ("s", "order hosts by something else"),
    ("j k, arrows", "scroll the hosts"),
    ("PgUp, PgDn", "the same by ten"),
    ("g, G", "first host, last host"),
    ("?", "this help"),
];

/// Lines for each part, from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// What runs, and its figures.
    head: u16,
    /// The sparklines, with their titles.
    sparks: u16,
    /// The hosts, with their heading.
    hosts: u16,
    /// What is under way, with a title; 0 if nothing is.
    under_way: u16,
    /// Circuits, likewise.
    circuits: u16,
    /// Failures, likewise.
    failures: u16,
    /// The keys.
    foot: u16,
}

impl Plan {
    /// Divides so many lines among parts that want so many.
    fn of(height: u16, hosts: u16, under_way: u16, circuits: u16, failures: u16) -> Self {
        let head = match height {
            0..20 => 2,
            _ => 3,
        };
        let foot = u16::from(height >= 5);
        let sparks = match height {
            0..14 => 0,
            14..20 => 3,
            20..40 => 4,
            _ => 6,
        };
        let rest = height.saturating_sub(head + foot + sparks);
        // Air between the parts, where there is enough.
        let air = u16::from(height >= 20);
        let with_title = |count: u16| if count == 0 { 0 } else { count + 1 + air };
        let least = 2 + air;
        let bound = |wanted: u16, share: u16| wanted.min(share.max(least));
        let mut plan = Self {
            head,
            sparks,
            hosts: 0,
            under_way: bound(with_title(under_way), rest / 5),
            circuits: bound(with_title(circuits), rest / 5),
            failures: bound(with_title(failures), rest / 3),
            foot,
        };
        if rest < 12 {
            plan.under_way = 0;
            plan.circuits = 0;
        }
        if rest < 5 {
            plan.failures = 0;
        }
        // A heading and two hosts come before all that.
        let others = rest.saturating_sub(3);
        if plan.under_way + plan.circuits + plan.failures > others {
            plan.under_way = 0;
        }
        if plan.circuits + plan.failures > others {
            plan.circuits = 0;
        }
        plan.failures = plan.failures.min(others);
        let taken = plan.under_way + plan.circuits + plan.failures;
        plan.hosts = rest.saturating_sub(taken);
        // What the hosts have no use for.
        let mut spare = plan.hosts.saturating_sub(hosts.max(1) + 1);
        for (part, wanted) in [
            (&mut plan.failures, with_title(failures)),
            (&mut plan.under_way, with_title(under_way)),
            (&mut plan.circuits, with_title(circuits)),
        ] {
            if *part > 0 {
                let more = spare.min(wanted.saturating_sub(*part));
                *part += more;
                plan.hosts -= more;
                spare -= more;
            }
        }
        plan
    }
}

/// How many there are, as lines are counted.
fn lines(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(1_000).min(1_000)
}

/// Draws it all.
pub(super) fn draw(state: &State, theme: Theme, frame: &mut Frame<'_>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let live = state.live.as_ref();
    let failures = state.failures().len() * failing::lines_of_failure(width);
    let plan = Plan::of(
        area.height,
        lines(live.map_or(0, |live| live.report.hosts.len())),
        lines(live.map_or(0, |live| live.under_way.len())),
        lines(failing::not_closed(state).len()),
        lines(failures),
    );
    let parts = [
        plan.head,
        plan.sparks,
        plan.hosts,
        plan.under_way,
        plan.circuits,
        plan.failures,
        plan.foot,
    ];
    let [head, sparks, hosts, under_way, circuits, failures, foot] =
        Layout::vertical(parts.map(Constraint::Length)).areas(area);
    frame.render_widget(Paragraph::new(heading(state, theme, width, head.height)), head);
    if sparks.height > 0 {
        draw_sparks(state, theme, frame, sparks);
    }
    let table = hosts::table(state, theme, width, usize::from(hosts.height));
    frame.render_widget(Paragraph::new(table), hosts);
    for (part, draw) in [
        (under_way, failing::under_way as fn(&_, _, _, _) -> _),
        (circuits, failing::circuits),
        (failures, failing::failures),
    ] {
        if part.height > 0 {
            let air = u16::from(area.height >= 20);
            let part = Rect {
                y: part.y + air,
                height: part.height - air,
                ..part
            };
            let lines: Vec<Line<'_>> = draw(state, theme, width, usize::from(part.height));
            frame.render_widget(Paragraph::new(lines), part);
        }
    }
    if foot.height > 0 {
        frame.render_widget(Paragraph::new(keys(state, theme, width)), foot);
    }
    if state.help {
        draw_help(theme, frame, area);
    }
}

/// What runs, and its figures.
fn heading(state: &State, theme: Theme, width: usize, height: u16) -> Vec<Line<'static>> {
    let Some(status) = state.status() else {
        return vec![Line::raw("")];
    };
    let up = Duration::try_from_secs_f64(status.duration_seconds.max(0.0)).unwrap_or_default();
    let up = text::duration(up, theme.charset);
    let up = if state.over {
        format!("ran {up}, over")
    } else {
        format!("up {up}")
    };
    let which = match state.runs.len() {
        0 | 1 => String::new(),
        count => format!("  run {} of {count}", state.place() + 1),
    };
    let kind = match status.kind {
        Kind::Run => "",
        Kind::Serve => " (serve)",
    };
    let right = format!("{up}{which} ");
    let room = width.saturating_sub(text::width(&right));
    let name = text::escape(&status.name, theme.charset);
    let left = if text::width(&name) + status.id.len() + 16 <= room {
        format!(" amb top  {name}{kind}  {}", status.id)
    } else {
        format!(" {name}{kind}")
    };
    let bar = theme.fit(&left, room, Side::Left) + &right;
    let mut lines = vec![
        Line::styled(theme.fit(&bar, width, Side::Left), theme.style(Part::Bar)),
        figures(state, status, theme, width),
    ];
    if height > 2 {
        let command = status.command.join(" ");
        let dot = theme.charset.dot();
        let pid = status
            .child_pid
            .map_or(String::new(), |pid| format!(" {dot} pid {pid}"));
        let place = format!("proxy {}{pid}", status.proxy);
        let room = width.saturating_sub(text::width(&place) + 3);
        let text = if command.is_empty() || room < 10 {
            format!(" {place}")
        } else {
            let command = theme.fit(&command, room, Side::Left);
            format!(" {place} {dot} {}", command.trim_end())
        };
        lines.push(Line::styled(
            theme.fit(&text, width, Side::Left),
            theme.style(Part::Quiet),
        ));
    }
    lines
}

/// The run's figures on a line, as many as there is room for.
fn figures(state: &State, status: &Status, theme: Theme, width: usize) -> Line<'static> {
    let rate = hosts::total_rate(state).map_or(String::new(), |rate| format!("{}/s", hosts::rate(rate)));
    let tunnels = match status.tunnels {
        0 => String::new(),
        count => plural(count, "tunnel"),
    };
    let ratio = state.beats.back().map(|beat| hosts::bytes_a_second(beat.bytes));
    let bad = |count: u64| if count == 0 { Part::Quiet } else { Part::Failed };
    let parts = [
        (plural(status.requests, "request"), Part::Heading),
        (rate, Part::Good),
        (format!("{} failed", status.failed), bad(status.failed)),
        (format!("{} open", status.open), Part::Plain),
        (format!("{} denied", status.denied), bad(status.denied)),
        (tunnels, Part::Plain),
        (format!("{} sent", ByteSize(status.bytes_sent)), Part::Plain),
        (format!("{} received", ByteSize(status.bytes_received)), Part::Plain),
        (ratio.unwrap_or_default(), Part::Quiet),
    ];
    let mut spans = Vec::new();
    let mut taken = 0;
    for (text, part) in parts.into_iter().filter(|(text, _)| !text.is_empty()) {
        let gap = if spans.is_empty() { 1 } else { 2 };
        taken += gap + text::width(&text);
        if taken > width {
            break;
        }
        spans.push(ratatui::text::Span::raw(" ".repeat(gap)));
        spans.push(ratatui::text::Span::styled(text, theme.style(part)));
    }
    Line::from(spans)
}

/// The sparklines, each under its title; the newest at the right.
fn draw_sparks(state: &State, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let both = area.width >= SIDE_BY_SIDE;
    let [left, _, right] = Layout::horizontal(if both {
        [Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]
    } else {
        [Constraint::Fill(1), Constraint::Length(0), Constraint::Length(0)]
    })
    .areas(area);
    let rates = state.beats.iter().rev().map(|beat| Some(beat.rate));
    let shown = |rate: Option<f64>| rate.map_or("-".to_owned(), hosts::rate);
    draw_spark("REQUESTS/S", rates, shown, theme, frame, left);
    if both {
        let times = state
            .beats
            .iter()
            .rev()
            .map(|beat| beat.latency.map(|time| time.as_secs_f64()));
        let shown = |seconds: Option<f64>| match seconds {
            Some(seconds) => text::duration(Duration::from_secs_f64(seconds), theme.charset),
            None => theme.charset.none().to_owned(),
        };
        draw_spark("MEAN LATENCY", times, shown, theme, frame, right);
    }
}

/// A sparkline of these values, the newest first.
fn draw_spark(
    title: &str,
    values: impl Iterator<Item = Option<f64>>,
    shown: impl Fn(Option<f64>) -> String,
    theme: Theme,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let values: Vec<Option<f64>> = values.take(usize::from(area.width)).collect();
    let now = values.first().copied().flatten();
    let most = values.iter().flatten().copied().fold(0.0_f64, f64::max);
    let title = format!("{title}  now {}  most {}", shown(now), shown(Some(most)));
    let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let title = theme.fit(&title, usize::from(area.width), Side::Left);
    frame.render_widget(Line::styled(title, theme.style(Part::Heading)), above);
    // In thousandths of the highest bar, of which even the lowest shows something.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    let bar = |value: f64| match most {
        most if most > 0.0 && value > 0.0 => ((value / most * 1000.0) as u64).max(1),
        _ => 0,
    };
    let least = 1000 / (8 * u64::from(below.height.max(1))) + 1;
    let bars = values.iter().map(|value| {
        let bar = value.map_or(0, bar);
        if bar == 0 { 0 } else { bar.max(least) }
    });
    let style = theme.style(if theme.charset == Charset::Ascii {
        Part::Plain
    } else {
        Part::Good
    });
    let spark = Sparkline::default()
        .data(bars)
        .max(1000)
        .bar_set(theme.bars())
        .direction(RenderDirection::RightToLeft)
        .style(style);
    frame.render_widget(spark, below);
}

/// What the keys do, as much as there is room for.
fn keys(state: &State, theme: Theme, width: usize) -> Line<'static> {
    let mut text = if state.over {
        " this run is over   q leave".to_owned()
    } else {
        " q leave".to_owned()
    };
    let sort = format!("s sort ({})", state.sort.name());
    let several = state.runs.len() > 1;
    for key in ["? help", &sort, if several { "Tab next run" } else { "" }, "j k scroll"] {
        if !key.is_empty() && text::width(&text) + 3 + text::width(key) <= width {
            text.push_str("   ");
            text.push_str(key);
        }
    }
    let part = if state.over { Part::Notable } else { Part::Quiet };
    Line::styled(theme.fit(&text, width, Side::Left), theme.style(part))
}

/// The help, on top of all.
fn draw_help(theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let keys = HELP.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let text: Vec<String> = HELP
        .iter()
        .map(|(key, what)| format!(" {key:keys$}  {what} "))
        .collect();
    let width = lines(text.iter().map(String::len).max().unwrap_or(0) + 2).min(area.width);
    let height = lines(HELP.len() + 2).min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::bordered().border_set(theme.border()).title(" keys ");
    let text: Vec<Line<'_>> = text.into_iter().map(Line::from).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text).block(block), place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_given_out_once_and_none_twice() {
        for height in 0..=200 {
            for (hosts, under_way, circuits, failures) in [(0, 0, 0, 0), (1, 1, 1, 1), (3, 2, 0, 4), (500, 90, 9, 80)] {
                let plan = Plan::of(height, hosts, under_way, circuits, failures);
                let sum =
                    plan.head + plan.sparks + plan.hosts + plan.under_way + plan.circuits + plan.failures + plan.foot;
                assert!(sum == height || height < 2, "{height}: {plan:?}");
                if height >= 10 {
                    assert!(plan.hosts >= 3, "{height}: {plan:?}");
                }
            }
        }
    }
}
