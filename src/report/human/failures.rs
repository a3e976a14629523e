//! What failed and what was refused: how often, where, whose fault it was.

use crate::{
    report::{
        color::{FAILED, HEADING, NOTABLE, Stream},
        human::label::Labels,
        text::{Charset, escape, shorten, width, wrap},
    },
    traffic::{Blame, failures::FailureGroup, meter::Traffic},
};

/// Groups that are shown of each kind; the JSON report has more.
const MOST_SHOWN: usize = 10;

/// The groups to show, and how many failures are in the others.
pub(super) fn shown(groups: &[FailureGroup]) -> (&[FailureGroup], u64) {
    let (shown, rest) = groups.split_at(groups.len().min(MOST_SHOWN));
    (shown, rest.iter().map(|group| group.count).sum())
}

/// What was asked for: `POST soap.example.com/v1/invoices`.
pub(super) fn target(group: &FailureGroup, labels: &Labels<'_>, charset: Charset) -> String {
    let method = escape(&group.method, charset);
    let path = escape(&group.path, charset);
    format!("{method} {}{path}", labels.name(&group.host, group.port))
        .trim_start()
        .to_owned()
}

/// The sections, each with an empty line before it; none if nothing went wrong.
pub(super) fn sections(traffic: &Traffic, stream: &Stream) -> Vec<String> {
    let labels = Labels::of(traffic, stream.charset);
    let mut lines = Vec::new();
    for (heading, style, groups, beyond) in [
        ("FAILURES", FAILED, &traffic.failures, traffic.failures_beyond),
        ("DENIED", NOTABLE, &traffic.denials, traffic.denials_beyond),
    ] {
        let (shown, rest) = shown(groups);
        if shown.is_empty() {
            continue;
        }
        lines.push(String::new());
        lines.push(format!("  {}", stream.paint(HEADING, heading)));
        for group in shown {
            let count = format!("{}{}", group.count, stream.charset.times());
            let indent = " ".repeat(4 + width(&count) + 1);
            let room = stream.columns.saturating_sub(width(&indent));
            let target = shorten(&target(group, &labels, stream.charset), room, stream.charset);
            lines.push(format!("    {} {target}", stream.paint(style, &count)));
            lines.extend(
                wrap(&reason(group, stream.charset), stream.columns, &indent)
                    .lines()
                    .map(str::to_owned),
            );
        }
        let unshown = rest + beyond;
        if unshown > 0 {
            lines.push(format!("    and {unshown} more of other kinds"));
        }
    }
    lines
}

/// What happened, whose fault it was, and the sentence about it.
fn reason(group: &FailureGroup, charset: Charset) -> String {
    let fault = match group.blame {
        Blame::Client => "the client's fault",
        Blame::Upstream => "the upstream's fault",
        Blame::Policy => "by policy",
        Blame::Amb => "amb's fault",
    };
    let error_type = escape(&group.error_type, charset);
    let detail = escape(&group.detail, charset);
    let separator = if detail.is_empty() { "" } else { ": " };
    format!("{error_type} ({fault}){separator}{detail}")
}
