//! GitHub Actions: [workflow commands] on stderr, which is read like stdout, and files that the runner reads after the step.
//!
//! [workflow commands]: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands

use std::{collections::hash_map::RandomState, ffi::OsString, fs, hash::BuildHasher, path::PathBuf};

use crate::{
    report::{
        ci::{append, heading},
        human, json, markdown,
        text::{Charset, escape, plural},
    },
    traffic::{
        assertion::{Assertion, Severity},
        failures::FailureGroup,
        summary::{ExitReason, Summary, Warning},
    },
    veil,
};

/// Annotations of a kind that a step may have; GitHub drops those beyond. The last says how many more there are.
const MOST_ANNOTATIONS: usize = 10;

/// The longest text of an annotation, in bytes: more is not shown.
const LONGEST_ANNOTATION: usize = 4_000;

/// What a step's summary may have, in bytes, of all programs of the step together: with more, GitHub drops all of it.
const MOST_SUMMARY: usize = 1 << 20;

/// What amb's part of it has at most, so that there is room for others.
const OWN_SUMMARY: usize = 256 << 10;

/// A text that nobody else can know, which ends the time in which the runner takes no commands.
pub(super) fn token() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("amb-{:016x}{:016x}", random(), random())
}

/// The summary in a group, and annotations behind it. What a server or client has put into the summary is no command.
pub(super) fn framed(summary: &Summary, text: &str, token: &str) -> String {
    let mut framed = String::new();
    let lines = text.lines().count();
    if lines > 1 {
        framed.extend(["::group::amb: ", &data(&heading(summary)), "\n"]);
    }
    if lines > 0 {
        framed.extend(["::stop-commands::", token, "\n", text, "::", token, "::\n"]);
    }
    if lines > 1 {
        framed.push_str("::endgroup::\n");
    }
    for annotation in annotations(summary) {
        framed.push_str(&annotation);
        framed.push('\n');
    }
    framed
}

/// What the user is pointed to, errors first.
fn annotations(summary: &Summary) -> Vec<String> {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for assertion in summary.assertions.iter().filter(|assertion| !assertion.passed()) {
        let fails = assertion.severity == Severity::Error;
        let list = if fails { &mut errors } else { &mut warnings };
        list.push(Annotation {
            place: assertion.place.as_deref().and_then(place).unwrap_or_default(),
            title: format!("amb: {}", assertion.name),
            text: of_assertion(assertion),
        });
    }
    let traffic = &summary.traffic;
    let violated = summary.exit.reason == ExitReason::PolicyViolation;
    for group in &traffic.denials {
        let list = if violated { &mut errors } else { &mut warnings };
        list.push(of_group("denied", group));
    }
    warnings.extend(traffic.failures.iter().map(|group| of_group("failed", group)));
    let others = summary.all_warnings().into_iter();
    warnings.extend(others.map(|warning| Annotation::of("amb", warning.message)));
    let kinds = [("error", errors), ("warning", warnings)];
    kinds.into_iter().flat_map(|(kind, all)| capped(kind, &all)).collect()
}

/// What the user is pointed to.
struct Annotation {
    /// Properties that say which line of which file it is about; empty if it is about none.
    place: String,
    /// Its heading.
    title: String,
    /// What there is to say.
    text: String,
}

impl Annotation {
    /// One that is about no file.
    fn of(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            title: title.into(),
            text: text.into(),
        }
    }
}

/// The properties for a place such as `amb.toml:12:3`; none if it is in no file.
fn place(text: &str) -> Option<String> {
    let mut parts = text.rsplitn(3, ':');
    let (column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| text.parse::<u32>().ok();
    Some(format!(
        "file={},line={},col={},",
        property(file),
        number(line)?,
        number(column)?
    ))
}

/// The text about an assertion that does not hold.
fn of_assertion(assertion: &Assertion) -> String {
    let got = human::got(assertion, Charset::Unicode);
    format!("{} → {got}", assertion.expression)
}

/// The annotation about failures that are alike.
fn of_group(word: &str, group: &FailureGroup) -> Annotation {
    let title = format!("amb: {} {word} at {}", plural(group.count, "request"), group.host);
    let text = format!(
        "{} {}:{}{} {}: {}",
        group.method, group.host, group.port, group.path, group.error_type, group.detail
    );
    Annotation::of(title, text)
}

/// The commands for these, as many as are shown.
fn capped(kind: &str, all: &[Annotation]) -> Vec<String> {
    let shown = if all.len() > MOST_ANNOTATIONS {
        MOST_ANNOTATIONS - 1
    } else {
        all.len()
    };
    let command = |annotation: &Annotation| {
        // A secret is looked for as it is: what is escaped would not be found.
        let escaped = |text: &str| escape(&veil::text(text), Charset::Unicode);
        let (title, text) = (escaped(&annotation.title), escaped(&annotation.text));
        let (title, text) = (property(&title), data(&shortened(&text)));
        format!("::{kind} {}title={title}::{text}", annotation.place)
    };
    let mut commands: Vec<String> = all.iter().take(shown).map(command).collect();
    if all.len() > shown {
        let more = format!("and {} more, which GitHub would not show", all.len() - shown);
        commands.push(command(&Annotation::of("amb", more)));
    }
    commands
}

/// A text of no more than is shown.
fn shortened(text: &str) -> String {
    if text.len() <= LONGEST_ANNOTATION {
        return text.to_owned();
    }
    let end = (0..=LONGEST_ANNOTATION).rev().find(|at| text.is_char_boundary(*at));
    format!("{}…", &text[..end.unwrap_or(0)])
}

/// A text behind a command: what ends the line or begins an escape is escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A text as the value of a command's property, which ends at a comma or a colon, too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Writes the summary of the step and its outputs.
pub(super) fn write_files(summary: &Summary, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Warning> {
    let file = |name: &str| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut warnings = Vec::new();
    let mut warn = |what: &str, reason: &dyn std::fmt::Display| {
        let message = format!("GitHub's {what} could not be written: {reason}");
        warnings.push(Warning::new("ci_not_written", message));
    };
    if let Some(path) = file("GITHUB_STEP_SUMMARY") {
        let before = fs::metadata(&path).map_or(0, |file| usize::try_from(file.len()).unwrap_or(usize::MAX));
        let room = MOST_SUMMARY.saturating_sub(before).min(OWN_SUMMARY);
        let text = markdown::render(&json::veiled(summary), room);
        if text.is_empty() {
            warn("job summary", &"other programs have left no room in it");
        } else if let Err(reason) = append(&path, &text) {
            warn("job summary", &reason);
        }
    }
    if let Some(path) = file("GITHUB_OUTPUT")
        && let Err(reason) = append(&path, &veil::text(&outputs(summary)))
    {
        warn("outputs of the step", &reason);
    }
    warnings
}

/// The outputs of the step: `steps.ID.outputs.requests`.
fn outputs(summary: &Summary) -> String {
    let traffic = &summary.traffic;
    let failed = summary.assertions.iter().filter(|assertion| assertion.fails()).count();
    let mut outputs = vec![
        ("requests", traffic.requests.total.to_string()),
        ("tunnels", traffic.tunnels.total.to_string()),
        ("failed", traffic.failed().to_string()),
        ("denied", traffic.denied().to_string()),
        ("retried", traffic.requests.retried.to_string()),
        ("assertions_failed", failed.to_string()),
        ("exit_code", summary.exit.code.to_string()),
    ];
    if let Some(latency) = &traffic.latency {
        outputs.push(("p95_ms", latency.p95.as_millis().to_string()));
    }
    // A name with a line break in it would be read as more than one output.
    let report = summary.reports.first().filter(|path| !path.contains(['\n', '\r']));
    outputs.extend(report.map(|path| ("report", path.clone())));
    let lines = outputs
        .iter()
        .flat_map(|(name, value)| [*name, "=", value.as_str(), "\n"]);
    lines.collect()
}
