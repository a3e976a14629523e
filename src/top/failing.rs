//! What is under way, which circuits are not closed, and what failed.

use std::time::Duration;

use ratatui::text::{Line, Span};

use super::{
    state::State,
    theme::{Part, Side, Theme},
};
use crate::{
    report::{document::Group, text},
    traffic::circuit::{Circuit, CircuitState},
};

/// From this many columns on a failure is told on one line.
const ONE_LINE: usize = 130;

/// What has begun and not ended, the oldest first.
pub(super) fn under_way(state: &State, theme: Theme, width: usize, height: usize) -> Vec<Line<'static>> {
    let under_way = state.live.iter().flat_map(|live| &live.under_way);
    let lines = under_way.take(height.saturating_sub(1)).map(|one| {
        let age = Duration::try_from_secs_f64(one.seconds.max(0.0)).unwrap_or_default();
        let age = theme.fit(&text::duration(age, theme.charset), 7, Side::Right);
        let method = theme.fit(&one.method, 8, Side::Left);
        let place = format!("{}:{}", one.host, one.port);
        let place = theme.fit(&place, width.saturating_sub(17), Side::Left);
        Line::from(format!("{age}  {method}{place}"))
    });
    with_title(theme, "OPEN", lines)
}

/// Circuits that are not closed.
pub(super) fn not_closed(state: &State) -> Vec<&Circuit> {
    let circuits = state.live.iter().flat_map(|live| &live.report.breakers.circuits);
    circuits
        .filter(|circuit| circuit.state != CircuitState::Closed)
        .collect()
}

/// The circuits that are not closed, a line each.
pub(super) fn circuits(state: &State, theme: Theme, width: usize, height: usize) -> Vec<Line<'static>> {
    let circuits = not_closed(state).into_iter().take(height.saturating_sub(1));
    let lines = circuits.map(|circuit| {
        let stands = match circuit.state {
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half open",
            CircuitState::Closed => "closed",
        };
        let rest = format!(
            "{}  opened {}{}, {} answered at once",
            if circuit.name.is_empty() {
                "all hosts"
            } else {
                &circuit.name
            },
            theme.charset.times(),
            circuit.opened,
            circuit.rejected,
        );
        Line::from(vec![
            Span::styled(theme.fit(stands, 11, Side::Left), theme.style(Part::Notable)),
            Span::raw(theme.fit(&rest, width.saturating_sub(11), Side::Left)),
        ])
    });
    with_title(theme, "CIRCUITS", lines)
}

/// How many lines a failure takes.
pub(super) fn lines_of_failure(width: usize) -> usize {
    if width >= ONE_LINE { 1 } else { 2 }
}

/// The failures, those that grew last first.
pub(super) fn failures(state: &State, theme: Theme, width: usize, height: usize) -> Vec<Line<'static>> {
    let lines = state.failures().into_iter();
    let lines = lines.flat_map(|group| failure(theme, group, width));
    // Whole failures, unless there is room for less than one.
    let room = height.saturating_sub(1);
    let whole = room - room % lines_of_failure(width);
    let lines = lines.take(if whole == 0 { room } else { whole });
    with_title(theme, "LAST FAILURES", lines)
}

/// The lines of a failure.
fn failure(theme: Theme, group: &Group, width: usize) -> Vec<Line<'static>> {
    let times = theme.fit(&format!("{}{}", group.count, theme.charset.times()), 6, Side::Right);
    let unusual = match group.port {
        80 | 443 => String::new(),
        port => format!(":{port}"),
    };
    let what = format!("{} {}{unusual}{}", group.method, group.host, group.path);
    let why = format!("{}, {}: {}", group.error_type, group.blame, group.detail);
    let part = if group.blame == "policy" {
        Part::Notable
    } else {
        Part::Failed
    };
    let style = theme.style(part);
    if lines_of_failure(width) == 1 {
        let room = (width - 9) * 2 / 5;
        return vec![Line::from(vec![
            Span::raw(format!("{times} ")),
            Span::raw(theme.fit(&what, room, Side::Left)),
            Span::raw("  "),
            Span::styled(theme.fit(&why, width - 9 - room, Side::Left), style),
        ])];
    }
    let room = width.saturating_sub(7);
    vec![
        Line::from(format!("{times} {}", theme.fit(&what, room, Side::Left))),
        Line::from(vec![
            Span::raw(" ".repeat(7)),
            Span::styled(theme.fit(&why, room, Side::Left), style),
        ]),
    ]
}

/// Lines under a title.
fn with_title(theme: Theme, title: &'static str, lines: impl Iterator<Item = Line<'static>>) -> Vec<Line<'static>> {
    let title = Line::styled(title, theme.style(Part::Heading));
    std::iter::once(title).chain(lines).collect()
}
