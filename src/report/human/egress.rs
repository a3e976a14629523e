//! What would have been refused if the rules of `[egress]` were enforced. What was refused is among the denied.

use crate::{
    report::{
        color::{HEADING, NOTABLE, Stream},
        text::{Charset, escape, wrap},
    },
    traffic::egress::{Decisions, Place, Verdict},
};

/// Places that are shown; the JSON report has more.
const MOST_SHOWN: usize = 10;

/// The places to show, with how often they were asked for.
fn shown(decisions: &Decisions) -> Vec<(&Place, u64)> {
    let would = decisions
        .iter()
        .filter(|(place, _)| place.verdict == Verdict::WouldDeny);
    let mut places: Vec<(&Place, u64)> = would.collect();
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    places
}

/// The section, with an empty line before it; none if there is nothing to tell.
pub(super) fn section(decisions: &Decisions, stream: &Stream) -> Vec<String> {
    let places = shown(decisions);
    if places.is_empty() {
        return Vec::new();
    }
    let heading = stream.paint(HEADING, "WOULD BE DENIED");
    let mut lines = vec![String::new(), format!("  {heading}")];
    for (place, count) in places.iter().take(MOST_SHOWN) {
        let count = format!("{count}{}", stream.charset.times());
        let said = format!(
            "{} by {}",
            name(place, stream.charset),
            escape(&place.rule, stream.charset)
        );
        let said = wrap(&said, stream.columns.saturating_sub(count.len() + 5), "");
        lines.push(format!("    {} {said}", stream.paint(NOTABLE, &count)));
    }
    lines.extend(beyond(&places).map(|more| format!("    {more}")));
    let hint = "they passed, since egress.mode is audit; --allow HOST:PORT lets one pass under --egress enforce";
    lines.extend(wrap(hint, stream.columns, "    ").lines().map(str::to_owned));
    lines
}

/// The same, one fact a line.
pub(super) fn plain(decisions: &Decisions) -> Vec<String> {
    let places = shown(decisions);
    let facts = places.iter().take(MOST_SHOWN).map(|(place, count)| {
        let (name, rule) = (name(place, Charset::Ascii), escape(&place.rule, Charset::Ascii));
        format!("amb: would deny {count}x {name} rule={rule:?}")
    });
    facts
        .chain(beyond(&places).map(|more| format!("amb: would deny {more}")))
        .collect()
}

/// What is said of places that are not shown.
fn beyond(places: &[(&Place, u64)]) -> Option<String> {
    let more = places.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0)?;
    Some(format!("and {more} more"))
}

/// The place.
fn name(place: &Place, charset: Charset) -> String {
    if place.host.is_empty() {
        return "(others)".to_owned();
    }
    let host = escape(&place.host, charset);
    if host.contains(':') {
        format!("[{host}]:{}", place.port)
    } else {
        format!("{host}:{}", place.port)
    }
}
