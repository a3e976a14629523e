//! What retries and hedges did, and why failures were left as they were.

use crate::{
    report::{
        color::{HEADING, Stream},
        text::{self, Charset, plural, wrap},
    },
    traffic::retries::{RefusedCounts, RetryCounts},
};

/// The section, with an empty line before it; none if nothing was to be retried.
pub(super) fn section(retries: &RetryCounts, stream: &Stream) -> Vec<String> {
    let mut facts = Vec::new();
    if retries.retried > 0 {
        facts.push(format!(
            "{} tried again {}, after {} in all; {} would have failed without amb",
            plural(retries.retried, "request"),
            plural(retries.retries, "time"),
            text::duration(retries.waited, stream.charset),
            retries.rescued,
        ));
    }
    if retries.hedged > 0 {
        facts.push(format!(
            "{} sent a second time while the first was unanswered; {} of the second answers came first",
            plural(retries.hedged, "request"),
            retries.hedges_won,
        ));
    }
    facts.extend(left(&retries.refused));
    if facts.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("  {}", stream.paint(HEADING, "RETRIES"))];
    for fact in facts {
        lines.extend(wrap(&fact, stream.columns, "    ").lines().map(str::to_owned));
    }
    lines
}

/// The same as one line of facts; none if there are none.
pub(super) fn plain(retries: &RetryCounts) -> Option<String> {
    let refused = reasons(&retries.refused);
    let facts = [
        (retries.retried, "retried"),
        (retries.retries, "retries"),
        (retries.rescued, "rescued"),
        (retries.hedged, "hedged"),
        (retries.hedges_won, "hedges_won"),
        (refused.iter().map(|(count, ..)| count).sum(), "not_retried"),
    ];
    let mut facts: Vec<String> = facts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{what}={count}"))
        .collect();
    if facts.is_empty() {
        return None;
    }
    if !retries.waited.is_zero() {
        facts.push(format!("waited={}", text::duration(retries.waited, Charset::Ascii)));
    }
    facts.extend(refused.into_iter().map(|(count, name, _)| format!("{name}={count}")));
    Some(format!("amb: retries {}", facts.join(" ")))
}

/// Why failures were left as they were while retries were on, those with the most first: how many, the reason's name, and in
/// words.
fn reasons(refused: &RefusedCounts) -> Vec<(u64, &'static str, &'static str)> {
    let mut reasons = vec![
        (refused.not_safe, "not_safe", "may have been executed"),
        (
            refused.method_not_listed,
            "method_not_listed",
            "by a method that is not retried",
        ),
        (
            refused.condition_not_listed,
            "condition_not_listed",
            "by what is not in retry.on",
        ),
        (refused.pointless, "pointless", "would have happened again"),
        (
            refused.body_too_large,
            "body_too_large",
            "with a body above retry.buffer-limit",
        ),
        (refused.budget, "budget", "beyond the budget of the host"),
        (refused.attempts_used, "attempts_used", "at the last attempt"),
        (refused.answer_begun, "answer_begun", "after the answer had begun"),
        (
            refused.retry_after_too_long,
            "retry_after_too_long",
            "where the server asked for too long a wait",
        ),
        (refused.time_over, "time_over", "when no time was left"),
    ];
    reasons.retain(|(count, ..)| *count > 0);
    reasons.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    reasons
}

/// How many failures were left as they were, why, and what would have retried them.
fn left(refused: &RefusedCounts) -> Option<String> {
    let reasons = reasons(refused);
    let total: u64 = reasons.iter().map(|(count, ..)| count).sum();
    if total == 0 {
        return None;
    }
    let told: Vec<String> = reasons.iter().map(|(count, _, why)| format!("{count} {why}")).collect();
    let would = match refused.idempotent_would {
        0 => String::new(),
        count => format!("; `--retry idempotent` would have tried {count} again"),
    };
    Some(format!(
        "{} not tried again: {}{would}",
        plural(total, "failure"),
        told.join(", ")
    ))
}
