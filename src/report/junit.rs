//! The report as `JUnit` XML, which Jenkins, GitLab and others read: what fails here is what makes the run fail, and nothing else.
//!
//! There is no standard; this keeps to what the schemas of Ant and of Jenkins have in common.

use std::fmt::Write;

use crate::report::{
    color::{Stream, When},
    document::{Asserted, Decision, Document},
    human,
    markup::{Text, lines},
};

/// Decisions that are told one by one; the JSON report has more.
const MOST_DECISIONS: usize = 200;

/// How a test ended.
enum Verdict {
    /// Well.
    Passed,
    /// Badly: the type and a message.
    Failed(&'static str, String),
    /// It does not count, and why.
    Skipped(String),
}

/// One test.
struct Case {
    /// What is tested.
    name: String,
    /// How it ended.
    verdict: Verdict,
    /// How long it took, in seconds.
    seconds: f64,
}

/// The report, with a newline at its end.
pub(super) fn render(document: &Document) -> String {
    let cases = cases(document);
    let count = |wanted: fn(&Verdict) -> bool| cases.iter().filter(|case| wanted(&case.verdict)).count();
    let (tests, failures) = (cases.len(), count(|verdict| matches!(verdict, Verdict::Failed(..))));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let (run, name) = (&document.run, Text(&document.run.name));
    let seconds = run.duration.as_secs_f64();
    // To the second and without a zone, as Ant's schema wants it: UTC.
    let moment = run.started_at.split(['.', 'Z']).next().unwrap_or_default();
    let mut xml = String::new();
    let mut write = |line: std::fmt::Arguments<'_>| writeln!(xml, "{line}").expect("a String takes everything");
    write(format_args!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"));
    write(format_args!("<testsuites>"));
    write(format_args!(
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\" timestamp=\"{}\" hostname=\"localhost\" id=\"0\" package=\"amb\">",
        Text(moment)
    ));
    write(format_args!("    <properties>"));
    let requests = &document.totals.requests.counts;
    for (key, value) in [
        ("amb.version", document.amb.version.clone()),
        ("amb.run", run.id.clone()),
        ("amb.command", run.command.join(" ")),
        ("amb.exit", document.exit.code.to_string()),
        ("amb.requests", requests.total.to_string()),
        ("amb.failed", requests.failed.to_string()),
    ] {
        write(format_args!(
            "      <property name=\"{key}\" value=\"{}\"/>",
            Text(&value)
        ));
    }
    write(format_args!("    </properties>"));
    for case in &cases {
        let begin = format!(
            "    <testcase classname=\"{name}\" name=\"{}\" time=\"{:.3}\"",
            Text(&case.name),
            case.seconds
        );
        match &case.verdict {
            Verdict::Passed => write(format_args!("{begin}/>")),
            Verdict::Failed(kind, message) => write(format_args!(
                "{begin}>\n      <failure message=\"{0}\" type=\"{kind}\">{0}</failure>\n    </testcase>",
                Text(message)
            )),
            Verdict::Skipped(message) => write(format_args!(
                "{begin}>\n      <skipped message=\"{}\"/>\n    </testcase>",
                Text(message)
            )),
        }
    }
    let plain = Stream::decide(When::Never, false, None, |_| None);
    let told = human::tell(&document.revive(), &plain);
    write(format_args!("    <system-out>{}</system-out>", lines(&told)));
    write(format_args!("    <system-err></system-err>"));
    write(format_args!("  </testsuite>\n</testsuites>"));
    xml
}

/// The tests: how the command ended, what was asserted, and what egress denied.
fn cases(document: &Document) -> Vec<Case> {
    let mut cases = vec![Case {
        name: "the command ends well".to_owned(),
        verdict: command(document),
        seconds: document.run.duration.as_secs_f64(),
    }];
    cases.extend(document.assertions.iter().map(assertion));
    let fatal = document.exit.reason == "policy_violation";
    let decisions = document.egress.iter().flat_map(|egress| &egress.decisions);
    let broken: Vec<_> = decisions.filter(|decision| decision.action != "allow").collect();
    cases.extend(
        broken
            .iter()
            .take(MOST_DECISIONS)
            .map(|decision| egress(decision, fatal)),
    );
    let beyond = broken.len().saturating_sub(MOST_DECISIONS);
    if beyond > 0 {
        cases.push(Case {
            name: format!("egress: {beyond} more places"),
            verdict: Verdict::Skipped("the JSON report has them".to_owned()),
            seconds: 0.0,
        });
    }
    cases
}

/// How the command itself ended.
fn command(document: &Document) -> Verdict {
    let child = &document.child;
    match (child.exit_code, &child.signal_name, &*child.outcome) {
        (Some(0), _, "exited") | (_, _, "absent") => Verdict::Passed,
        (_, _, "timed_out") => Verdict::Failed("run_timeout", "its time was up".to_owned()),
        (Some(code), ..) => Verdict::Failed("exit", format!("exit status {code}")),
        (None, Some(signal), _) => Verdict::Failed("signal", format!("killed by {signal}")),
        (None, None, outcome) => Verdict::Failed("lost", outcome.replace('_', " ")),
    }
}

/// What came of an assertion: a failure only if that fails the run.
fn assertion(asserted: &Asserted) -> Case {
    let got = asserted.got();
    Case {
        name: match &*asserted.name {
            "" => asserted.expression.clone(),
            name => name.to_owned(),
        },
        verdict: if asserted.fails() {
            Verdict::Failed("assertion", format!("expected {}; {got}", asserted.expression))
        } else if asserted.passed {
            Verdict::Passed
        } else {
            Verdict::Skipped(format!("only a warning: expected {}; {got}", asserted.expression))
        },
        seconds: 0.0,
    }
}

/// What egress said of a place: a failure only if that fails the run.
fn egress(decision: &Decision, fatal: bool) -> Case {
    let place = match &*decision.host {
        "" => "other places".to_owned(),
        host => format!("{host}:{}", decision.port),
    };
    let said = if decision.action == "deny" {
        "denied"
    } else {
        "would be denied"
    };
    let message = format!("{said} {} times by {}", decision.count, decision.rule);
    Case {
        name: format!("egress: {place} ({})", decision.rule),
        verdict: if fatal {
            Verdict::Failed("policy_violation", message)
        } else {
            Verdict::Skipped(message)
        },
        seconds: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{human::tests::nothing_seen, json::tests::everything};

    /// The lines of the report about a run that was changed in this way.
    fn report(change: impl FnOnce(&mut Document)) -> String {
        let mut document = Document::of(&everything());
        change(&mut document);
        render(&document)
    }

    #[test]
    fn a_run_that_ended_well_has_no_failures() {
        let report = report(|_| ());
        assert!(
            report.contains(r#"tests="4" failures="0" errors="0" skipped="2" time="33.410""#),
            "{report}"
        );
        assert!(
            report.contains(r#"timestamp="2026-11-22T20:40:01" hostname="localhost""#),
            "{report}"
        );
        assert!(
            report.contains(r#"name="the command ends well" time="33.410"/>"#),
            "{report}"
        );
        assert!(
            report.contains(r#"<skipped message="denied 1 times by default"/>"#),
            "{report}"
        );
        assert!(
            report.contains("<system-out>amb: billing ran 33.4s, exit 0, "),
            "{report}"
        );
        let nothing = render(&Document::of(&nothing_seen()));
        assert!(
            nothing.contains(r#"tests="1" failures="0""#),
            "there is always a test: {nothing}"
        );
    }

    #[test]
    fn what_fails_the_run_is_a_failure() {
        let exit = report(|it| it.child.exit_code = Some(7));
        assert!(
            exit.contains(r#"<failure message="exit status 7" type="exit">exit status 7</failure>"#),
            "{exit}"
        );
        let signal = report(|it| {
            (it.child.exit_code, it.child.signal_name) = (None, Some("SIGKILL".to_owned()));
        });
        assert!(signal.contains(r#"message="killed by SIGKILL""#), "{signal}");
        let late = report(|it| it.child.outcome = "timed_out".to_owned());
        assert!(late.contains(r#"message="its time was up""#), "{late}");
        let violated = report(|it| it.exit.reason = "policy_violation".to_owned());
        assert!(
            violated.contains(r#"tests="4" failures="1" errors="0" skipped="1""#),
            "{violated}"
        );
        assert!(
            violated.contains(r#"type="policy_violation">denied 1 times by default</failure>"#),
            "{violated}"
        );
    }

    #[test]
    fn an_assertion_is_a_test_that_tells_what_it_got() {
        let told = report(|_| ());
        assert!(
            told.contains(r#"classname="billing" name="called" time="0.000"/>"#),
            "{told}"
        );
        assert!(
            told.contains(r#"<skipped message="only a warning: expected fast &gt; 0; fast = 310µs"/>"#),
            "{told}"
        );
        let failed = report(|it| it.assertions[1].severity = "error".to_owned());
        assert!(
            failed.contains(r#"<failure message="expected fast &gt; 0; fast = 310µs" type="assertion">"#),
            "{failed}"
        );
    }

    #[test]
    fn names_are_text_whatever_is_in_them() {
        let report = report(|it| it.run.name = "</testsuite>\"\u{0}&".to_owned());
        assert!(
            report.contains(r#"<testsuite name="&lt;/testsuite&gt;&quot;\u{0}&amp;""#),
            "{report}"
        );
    }
}
