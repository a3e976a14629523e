//! What was asserted, whether it held, and what it came to.

use anstyle::Style;

use crate::{
    report::{
        color::{FAILED, GOOD, HEADING, NOTABLE, Stream},
        text::{self, Charset, escape, plural, width, wrap},
    },
    traffic::{
        assertion::{Assertion, Severity, Verdict},
        summary::{ChildOutcome, Summary},
    },
};

/// Those that held, then those that did not, which so stand next to the verdict.
fn in_order(assertions: &[Assertion]) -> impl Iterator<Item = &Assertion> {
    let (held, failed): (Vec<_>, Vec<_>) = assertions.iter().partition(|assertion| assertion.passed());
    held.into_iter().chain(failed)
}

/// What an assertion came to: the one value that it looked at, or all by their names, or only whether it held.
pub(in crate::report) fn got(assertion: &Assertion, charset: Charset) -> String {
    let figure = |actual: &crate::traffic::assertion::Actual| text::figure(&actual.value, charset);
    let values = match (&assertion.actual[..], assertion.outcome) {
        ([], Verdict::Passed) => "true".to_owned(),
        ([], Verdict::Failed) => "false".to_owned(),
        ([], Verdict::NoData | Verdict::Error) => String::new(),
        ([only], _) => figure(only),
        (several, _) => {
            let named = several
                .iter()
                .map(|actual| format!("{} {}", escape(&actual.of, charset), figure(actual)));
            named.collect::<Vec<_>>().join(", ")
        }
    };
    let detail = assertion.detail.as_ref().map(|detail| escape(detail, charset));
    let parts = [Some(values).filter(|values| !values.is_empty()), detail];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The section, with an empty line before it; none if nothing was asserted.
pub(super) fn section(assertions: &[Assertion], stream: &Stream) -> Vec<String> {
    if assertions.is_empty() {
        return Vec::new();
    }
    let count = |is: fn(&Assertion) -> bool| assertions.iter().filter(|assertion| is(assertion)).count();
    let (passed, failed) = (count(Assertion::passed), count(Assertion::fails));
    let warned = match assertions.len() - passed - failed {
        0 => String::new(),
        warned => format!(", {}", plural(u64::try_from(warned).unwrap_or(u64::MAX), "warning")),
    };
    let heading = stream.paint(HEADING, "ASSERTIONS");
    let heading = format!("{heading}  {passed} passed, {failed} failed{warned}");
    let mut lines = vec![String::new(), format!("  {heading}")];
    for assertion in in_order(assertions) {
        let (mark, style) = mark(assertion, stream);
        let name = escape(&assertion.name, stream.charset);
        let expression = escape(&assertion.expression, stream.charset);
        let named = name != expression;
        let gap = |gap: &str| {
            if named {
                format!("{name}{gap}{expression}")
            } else {
                name.clone()
            }
        };
        let asserted = gap("  ");
        let indent = " ".repeat(4 + width(mark) + 1);
        let arrow = stream.charset.arrow();
        let got = format!("{arrow} {}", got(assertion, stream.charset));
        let line = format!("{asserted}  {got}");
        if width(&indent) + width(&line) <= stream.columns {
            lines.push(format!("    {} {line}", stream.paint(style, mark)));
            continue;
        }
        let mut asserted = wrap(&gap(" "), stream.columns, &indent);
        asserted.replace_range(..indent.len(), &format!("    {} ", stream.paint(style, mark)));
        lines.extend(asserted.lines().map(str::to_owned));
        lines.extend(wrap(&got, stream.columns, &indent).lines().map(str::to_owned));
    }
    lines
}

/// What stands before an assertion.
fn mark(assertion: &Assertion, stream: &Stream) -> (&'static str, Style) {
    match (assertion.passed(), assertion.severity) {
        (true, _) => (stream.charset.good(), GOOD),
        (false, Severity::Warning) => ("!", NOTABLE),
        (false, Severity::Error) => (stream.charset.bad(), FAILED),
    }
}

/// The same, one fact a line.
pub(super) fn plain(assertions: &[Assertion]) -> Vec<String> {
    let fact = |assertion: &Assertion| {
        let word = match (assertion.passed(), assertion.severity) {
            (true, _) => "ok",
            (false, Severity::Warning) => "WARN",
            (false, Severity::Error) => "FAIL",
        };
        let name = escape(&assertion.name, Charset::Ascii);
        let expression = escape(&assertion.expression, Charset::Ascii);
        let name = if assertion.name == assertion.expression {
            String::new()
        } else {
            format!("{name} ")
        };
        format!(
            "amb: assert {word} {name}\"{expression}\" got {}",
            got(assertion, Charset::Ascii)
        )
    };
    in_order(assertions).map(fact).collect()
}

/// That amb ends otherwise than the child did because of them.
pub(super) fn verdict(summary: &Summary) -> String {
    let code = summary.exit.code;
    let fate = match (summary.child.outcome, summary.child.exit_code, &summary.child.signal) {
        (ChildOutcome::Exited, Some(status), _) => format!("the command itself exited {status}"),
        (ChildOutcome::Absent, ..) if summary.assertions.iter().any(|assertion| assertion.aborted) => {
            let aborted = summary.assertions.iter().find(|assertion| assertion.aborted);
            let name = aborted.map(|assertion| escape(&assertion.name, Charset::Unicode));
            return format!(
                "exit {code}: assertion `{}` failed, and ended amb",
                name.unwrap_or_default()
            );
        }
        (ChildOutcome::Absent, ..) => return format!("exit {code}: {}", failed(summary)),
        (_, _, Some(signal)) => format!("the command was killed by {}", signal.name),
        _ => "the command was stopped".to_owned(),
    };
    if let Some(assertion) = summary.assertions.iter().find(|assertion| assertion.aborted) {
        let name = escape(&assertion.name, Charset::Unicode);
        return format!("exit {code}: assertion `{name}` failed, and amb stopped the command ({fate})");
    }
    format!("exit {code}: {} ({fate})", failed(summary))
}

/// That some failed and amb ends as the child did all the same; none if all held that count.
pub(super) fn unheeded(summary: &Summary) -> Option<String> {
    if !summary.assertions.iter().any(Assertion::fails) {
        return None;
    }
    let code = summary.exit.code;
    let why = if code == 0 { "--no-fail" } else { "the command's own" };
    Some(format!("exit {code} ({why}): {}", failed(summary)))
}

/// `2 assertions failed`.
fn failed(summary: &Summary) -> String {
    let failed = summary.assertions.iter().filter(|assertion| assertion.fails()).count();
    format!(
        "{} failed",
        plural(u64::try_from(failed).unwrap_or(u64::MAX), "assertion")
    )
}
