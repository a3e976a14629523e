//! Which servers were given a rest, and how often.

use crate::{
    report::{
        color::{HEADING, Stream},
        text::{Charset, escape, plural, wrap},
    },
    traffic::circuit::{Circuit, CircuitState},
};

/// Circuits that are shown; the JSON report has more.
const MOST_SHOWN: usize = 10;

/// The section, with an empty line before it; none if no circuit opened.
pub(super) fn section(circuits: &[Circuit], stream: &Stream) -> Vec<String> {
    if circuits.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("  {}", stream.paint(HEADING, "CIRCUITS"))];
    for circuit in circuits.iter().take(MOST_SHOWN) {
        let state = match circuit.state {
            CircuitState::Closed => "",
            CircuitState::Open => ", open at the end",
            CircuitState::HalfOpen => ", half open at the end",
        };
        let said = format!(
            "{} opened {}, {} answered at once{state}",
            name(circuit, stream.charset),
            plural(circuit.opened, "time"),
            plural(circuit.rejected, "request"),
        );
        lines.extend(wrap(&said, stream.columns, "    ").lines().map(str::to_owned));
    }
    lines.extend(beyond(circuits).map(|more| format!("    {more}")));
    lines
}

/// The same, one fact a line.
pub(super) fn plain(circuits: &[Circuit]) -> Vec<String> {
    let facts = circuits.iter().take(MOST_SHOWN).map(|circuit| {
        let state = match circuit.state {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half_open",
        };
        format!(
            "amb: circuit {} opened={} rejected={} state={state}",
            name(circuit, Charset::Ascii),
            circuit.opened,
            circuit.rejected
        )
    });
    facts
        .chain(beyond(circuits).map(|more| format!("amb: circuit {more}")))
        .collect()
}

/// What is said of circuits that are not shown.
fn beyond(circuits: &[Circuit]) -> Option<String> {
    let more = circuits.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0)?;
    Some(format!("and {more} more"))
}

/// What it is for.
fn name(circuit: &Circuit, charset: Charset) -> String {
    if circuit.name.is_empty() {
        return "(others)".to_owned();
    }
    escape(&circuit.name, charset)
}
