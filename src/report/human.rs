//! The summary for people, on stderr when the child has ended. Somebody else writes it; here it is made.
//!
//! The first line is the whole story. A wide terminal gets a table, a narrow one a smaller table, a very narrow one cards;
//! what is no terminal gets one fact a line, and nothing at all when there is nothing wrong.

mod assertions;
mod circuits;
mod credentials;
mod egress;
mod failures;
mod label;
mod plain;
mod retries;
mod table;

use std::time::Duration;

pub(super) use self::assertions::got;
use crate::{
    report::{
        SummaryMode,
        color::{FAILED, GOOD, NOTABLE, Stream},
        text::{self, Charset, escape, plural, width, wrap},
    },
    traffic::{
        egress::Verdict,
        summary::{ChildOutcome, ExitReason, Summary},
    },
};

/// Columns from which on there is a table; below it, cards.
const TABLE_COLUMNS: usize = 50;

/// What a line that goes on is indented by: the width of `amb: `.
const CONTINUED: &str = "     ";

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing but warnings.
    Silent,
    /// One fact a line, for `grep`.
    Plain,
    /// One line.
    Compact,
    /// All of it.
    Full,
}

/// The summary as text with its newlines; empty if there is nothing to be said.
pub fn render(summary: &Summary, mode: SummaryMode, stream: &Stream) -> String {
    shaped(summary, shape(summary, mode, stream), stream)
}

/// All of the summary, for whoever asks for it: on a terminal as a run tells it when something failed, elsewhere one fact a
/// line.
pub fn tell(summary: &Summary, stream: &Stream) -> String {
    let shape = if stream.terminal { Shape::Full } else { Shape::Plain };
    shaped(summary, shape, stream)
}

/// The summary in this shape.
fn shaped(summary: &Summary, shape: Shape, stream: &Stream) -> String {
    let mut lines = match shape {
        Shape::Silent => Vec::new(),
        Shape::Plain => plain::lines(summary),
        Shape::Compact => compact(summary, stream),
        Shape::Full => full(summary, stream),
    };
    if matches!(shape, Shape::Compact | Shape::Full) {
        lines.extend(leftovers(summary).map(|note| format!("amb: note: {note}")));
    }
    if shape == Shape::Full || shape != Shape::Plain && summary.exit.reason == ExitReason::AssertionFailed {
        lines.extend(verdict(summary).map(|verdict| format!("amb: {verdict}")));
    }
    for warning in summary.all_warnings() {
        let charset = if shape == Shape::Plain {
            Charset::Ascii
        } else {
            stream.charset
        };
        let message = escape(&warning.message, charset);
        lines.push(format!("amb: {}: {message}", stream.paint(NOTABLE, "warning")));
    }
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// What is to be shown.
fn shape(summary: &Summary, mode: SummaryMode, stream: &Stream) -> Shape {
    let traffic = &summary.traffic;
    let failed = traffic.failed() + traffic.denied() + summary.panicked_tasks > 0
        || summary.assertions.iter().any(|assertion| !assertion.passed());
    let notable = traffic.is_empty()
        || summary.leftovers.is_some_and(|leftovers| leftovers > 0)
        || !summary.all_warnings().is_empty()
        || traffic.decisions.total(Verdict::WouldDeny) > 0
        || verdict(summary).is_some();
    if summary.child.outcome == ChildOutcome::NotStarted {
        // That has been told of already, and there is no traffic.
        return Shape::Silent;
    }
    match mode {
        SummaryMode::Compact => Shape::Compact,
        SummaryMode::Full => Shape::Full,
        SummaryMode::Auto if stream.terminal && failed => Shape::Full,
        SummaryMode::Auto if stream.terminal => Shape::Compact,
        SummaryMode::Auto if failed || notable => Shape::Plain,
        SummaryMode::Auto | SummaryMode::Off => Shape::Silent,
    }
}

/// One line, as long as the terminal takes it.
fn compact(summary: &Summary, stream: &Stream) -> Vec<String> {
    let traffic = &summary.traffic;
    if traffic.is_empty() {
        return nothing_seen(summary, stream);
    }
    let failed = traffic.failed() + traffic.denied() + summary.panicked_tasks > 0 || summary.exit.code != 0;
    let mark = if failed {
        stream.paint(FAILED, stream.charset.bad())
    } else {
        stream.paint(GOOD, stream.charset.good())
    };
    let mut parts = counts(summary, stream, Wording::Short);
    if traffic.requests.retried > 0 {
        let retried = format!("{} retried", traffic.requests.retried);
        parts.push(Part::styled(stream, NOTABLE, &retried));
    }
    parts.extend(captured(summary).map(Part::new));
    parts.extend(p95(summary, stream));
    parts.push(Part::new(text::duration(summary.run.duration, stream.charset)));
    parts.push(Part::new(fate(summary, stream.charset)));
    let shown = format!("{mark} {}", parts[0].shown);
    let marked = if failed {
        stream.charset.bad()
    } else {
        stream.charset.good()
    };
    parts[0] = Part {
        columns: parts[0].columns + width(marked) + 1,
        shown,
    };
    flow(&parts, stream)
}

/// All of it.
fn full(summary: &Summary, stream: &Stream) -> Vec<String> {
    if summary.traffic.is_empty() {
        let mut lines = nothing_seen(summary, stream);
        lines.extend(assertions::section(&summary.assertions, stream));
        lines.extend(reports(summary, stream));
        return lines;
    }
    let story = format!(
        "{} {} {}, {}",
        name(summary, stream.charset),
        verb(summary),
        ran(summary, stream.charset),
        fate(summary, stream.charset)
    );
    let mut parts = vec![Part::new(story)];
    parts.extend(counts(summary, stream, Wording::Long));
    parts.extend(captured(summary).map(Part::new));
    parts.extend(p95(summary, stream));
    let mut lines = flow(&parts, stream);
    lines.push(String::new());
    if stream.columns < TABLE_COLUMNS {
        lines.extend(table::cards(&summary.traffic, stream));
    } else {
        lines.extend(table::table(&summary.traffic, stream));
    }
    lines.extend(failures::sections(&summary.traffic, stream));
    lines.extend(egress::section(&summary.traffic.decisions, stream));
    lines.extend(retries::section(&summary.traffic.retries, stream));
    lines.extend(circuits::section(&summary.traffic.circuits, stream));
    lines.extend(credentials::section(&summary.traffic.credentials, stream));
    lines.extend(assertions::section(&summary.assertions, stream));
    lines.extend(reports(summary, stream));
    lines
}

/// The lines about report files.
fn reports(summary: &Summary, stream: &Stream) -> Vec<String> {
    if summary.reports.is_empty() {
        return Vec::new();
    }
    let written = summary
        .reports
        .iter()
        .map(|path| format!("  wrote {}", escape(path, stream.charset)));
    std::iter::once(String::new()).chain(written).collect()
}

/// The story of a run that nothing was seen of, and what may be the reason.
fn nothing_seen(summary: &Summary, stream: &Stream) -> Vec<String> {
    let charset = stream.charset;
    let parts = [
        Part::new(format!(
            "{} {} {}, {}",
            name(summary, charset),
            verb(summary),
            ran(summary, charset),
            fate(summary, charset)
        )),
        Part::styled(stream, NOTABLE, NOTHING_SEEN),
    ];
    let mut lines = flow(&parts, stream);
    if summary.child.outcome == ChildOutcome::Absent {
        return lines;
    }
    let (why, what_to_do) = advice(summary);
    let hint = format!("If it should have made requests: {why}. {what_to_do}.");
    lines.extend(wrap(&hint, stream.columns, CONTINUED).lines().map(str::to_owned));
    lines
}

/// That nothing was seen.
const NOTHING_SEEN: &str = "no request came through amb";

/// Why that may be.
const NOTHING_SEEN_WHY: &str = "it may ignore the proxy variables, or call only hosts in NO_PROXY";

/// Why that may be where connections were captured.
const NOTHING_CAPTURED_WHY: &str = "it may call only this machine, or hosts in NO_PROXY";

/// Why nothing was seen of a run, and what to do about it.
fn advice(summary: &Summary) -> (&'static str, &'static str) {
    if summary.run.capture.is_some() {
        (NOTHING_CAPTURED_WHY, NOTHING_CAPTURED_HINT)
    } else {
        (NOTHING_SEEN_WHY, NOTHING_SEEN_HINT)
    }
}

/// What to do about it.
const NOTHING_SEEN_HINT: &str = "`amb run --dry-run` shows the variables; `--capture` takes what ignores them; `--proxy-loopback` lets amb see calls to servers on this machine";

/// What to do about it where connections were captured.
const NOTHING_CAPTURED_HINT: &str =
    "`amb run --dry-run` shows the variables; `--proxy-loopback` lets amb see calls to servers on this machine";

/// How many words there are room for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wording {
    /// `128 requests and 3 tunnels to 4 hosts`.
    Long,
    /// `128 req`.
    Short,
}

/// How much there was and how it ended: the first part is never absent, the others are if they are zero.
fn counts(summary: &Summary, stream: &Stream, wording: Wording) -> Vec<Part> {
    let traffic = &summary.traffic;
    let mut parts = vec![Part::new(match wording {
        Wording::Long => volume(summary),
        Wording::Short => match (traffic.requests.total, traffic.tunnels.total) {
            (requests, 0) => format!("{requests} req"),
            (0, tunnels) => plural(tunnels, "tunnel"),
            (requests, tunnels) => format!("{requests} req, {}", plural(tunnels, "tunnel")),
        },
    })];
    for (count, what, style) in endings(summary) {
        if count > 0 {
            parts.push(Part::styled(stream, style, &format!("{count} {what}")));
        }
    }
    parts
}

/// How many connections were captured, where they were.
fn captured(summary: &Summary) -> Option<String> {
    let capture = summary.run.capture?;
    Some(format!("{} captured", plural(capture.connections, "connection")))
}

/// How many did not end well, in which way, and how that is painted.
fn endings(summary: &Summary) -> [(u64, &'static str, anstyle::Style); 5] {
    let traffic = &summary.traffic;
    [
        (traffic.failed(), "failed", FAILED),
        (traffic.denied(), "denied", NOTABLE),
        (
            traffic.requests.aborted + traffic.tunnels.aborted,
            "aborted",
            anstyle::Style::new(),
        ),
        (traffic.requests.cut_short, "cut short", NOTABLE),
        (traffic.tunnels.open_at_end, "open at the end", anstyle::Style::new()),
    ]
}

/// `128 requests and 3 tunnels to 4 hosts`.
fn volume(summary: &Summary) -> String {
    let traffic = &summary.traffic;
    let what = match (traffic.requests.total, traffic.tunnels.total) {
        (requests, 0) => plural(requests, "request"),
        (0, tunnels) => plural(tunnels, "tunnel"),
        (requests, tunnels) => format!("{} and {}", plural(requests, "request"), plural(tunnels, "tunnel")),
    };
    match traffic.host_count() {
        (0, _) => what,
        (hosts, false) => format!("{what} to {}", plural(u64::try_from(hosts).unwrap_or(u64::MAX), "host")),
        (hosts, true) => format!("{what} to more than {hosts} hosts"),
    }
}

/// `p95 310ms`, if a server answered.
fn p95(summary: &Summary, stream: &Stream) -> Option<Part> {
    let latency = summary.traffic.latency.as_ref()?;
    Some(Part::new(format!(
        "p95 {}",
        text::duration(latency.p95, stream.charset)
    )))
}

/// The story of the run in a line: `billing ran 33.4s, exit 0, 128 requests to 3 hosts`.
pub(super) fn story(summary: &Summary, charset: Charset) -> String {
    let what = if summary.traffic.is_empty() {
        NOTHING_SEEN.to_owned()
    } else {
        volume(summary)
    };
    let (name, ran, fate) = (name(summary, charset), ran(summary, charset), fate(summary, charset));
    let verb = verb(summary);
    format!("{name} {verb} {ran}, {fate}, {what}")
}

/// What the user calls the run.
fn name(summary: &Summary, charset: Charset) -> String {
    escape(&summary.run.name, charset)
}

/// What it did for so long.
fn verb(summary: &Summary) -> &'static str {
    match summary.child.outcome {
        ChildOutcome::Absent => "served",
        _ => "ran",
    }
}

/// How long it ran.
fn ran(summary: &Summary, charset: Charset) -> String {
    text::duration(summary.run.duration.max(Duration::ZERO), charset)
}

/// How the child ended: `exit 0`, `killed by SIGTERM`.
fn fate(summary: &Summary, charset: Charset) -> String {
    let child = &summary.child;
    match (child.outcome, child.exit_code, &child.signal) {
        (ChildOutcome::Exited, Some(code), _) => format!("exit {code}"),
        (ChildOutcome::Signalled, _, Some(signal)) => format!("killed by {}", escape(&signal.name, charset)),
        (ChildOutcome::Signalled, _, None) => "killed by a signal".to_owned(),
        (ChildOutcome::TimedOut, ..) => "stopped because its time was up".to_owned(),
        (ChildOutcome::NotStarted, ..) => "not started".to_owned(),
        (ChildOutcome::Running, ..) => "still running".to_owned(),
        (ChildOutcome::Absent, ..) => "stopped".to_owned(),
        (ChildOutcome::Exited, None, _) | (ChildOutcome::Lost, ..) => "lost sight of".to_owned(),
    }
}

/// How amb ends, if that is not how the child ended.
fn verdict(summary: &Summary) -> Option<String> {
    let code = summary.exit.code;
    match summary.exit.reason {
        ExitReason::Running => None,
        ExitReason::Child | ExitReason::Signal | ExitReason::Stopped => assertions::unheeded(summary),
        ExitReason::RunTimeout | ExitReason::PolicyViolation if summary.child.outcome == ChildOutcome::Absent => {
            let why = match summary.exit.reason {
                ExitReason::RunTimeout => "its time was up",
                _ => "a rule of egress was broken",
            };
            Some(format!("exit {code}: {why}"))
        }
        ExitReason::RunTimeout => Some(format!("exit {code}: the command's time was up")),
        ExitReason::PolicyViolation => Some(format!(
            "exit {code}: a rule of egress was broken (the command itself exited 0)"
        )),
        ExitReason::AssertionFailed => Some(assertions::verdict(summary)),
        ExitReason::Startup => Some(format!("exit {code}: amb failed")),
    }
}

/// How amb ends and nothing else, with a newline; empty if that is how the child ended.
pub fn verdict_alone(summary: &Summary) -> String {
    verdict(summary).map_or_else(String::new, |verdict| format!("amb: {verdict}\n"))
}

/// What is said of processes that live on.
fn leftovers(summary: &Summary) -> Option<String> {
    let running = summary.leftovers.filter(|running| *running > 0)?;
    let (processes, are) = if running == 1 {
        ("process", "is")
    } else {
        ("processes", "are")
    };
    Some(format!(
        "{running} {processes} of the command {are} still running, now without the proxy"
    ))
}

/// A part of a line, between dots.
struct Part {
    /// It with its colours.
    shown: String,
    /// The columns it takes.
    columns: usize,
}

impl Part {
    /// A part without a colour.
    fn new(text: String) -> Self {
        Self {
            columns: width(&text),
            shown: text,
        }
    }

    /// A part in a style.
    fn styled(stream: &Stream, style: anstyle::Style, text: &str) -> Self {
        Self {
            columns: width(text),
            shown: stream.paint(style, text),
        }
    }
}

/// Puts parts on lines that begin with `amb: `, broken only between parts.
fn flow(parts: &[Part], stream: &Stream) -> Vec<String> {
    let dot = stream.charset.dot();
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for part in parts {
        match lines.last_mut() {
            Some(line) if used + 2 + width(dot) + part.columns <= stream.columns => {
                line.extend([" ", dot, " ", &part.shown]);
                used += 2 + width(dot) + part.columns;
            }
            last => {
                let begin = if last.is_none() { "amb: " } else { CONTINUED };
                lines.push(format!("{begin}{}", part.shown));
                used = CONTINUED.len() + part.columns;
            }
        }
    }
    lines
}

#[cfg(test)]
pub(crate) mod tests;
