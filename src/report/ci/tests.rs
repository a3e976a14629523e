//! What services get, within their limits.

use std::fs;

use super::*;
use crate::{
    report::{
        human::tests::{nothing_seen, summary},
        markdown::tests::{asserted, large},
    },
    traffic::assertion::Severity,
};

/// The commands of a kind in what the log of GitHub gets.
fn commands<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let start = format!("::{kind} ");
    text.lines().filter(|line| line.starts_with(&start)).collect()
}

#[test]
fn a_service_is_known_by_its_variable_unless_one_is_named() {
    for (kind, variables, expected) in [
        (CiKind::Auto, &[][..], None),
        (CiKind::Auto, &[("GITHUB_ACTIONS", "true")], Some(Service::Github)),
        (CiKind::Auto, &[("GITLAB_CI", "true")], Some(Service::Gitlab)),
        (CiKind::Auto, &[("CI", "true"), ("GITHUB_ACTIONS", "")], None),
        (CiKind::None, &[("GITHUB_ACTIONS", "true")], None),
        (CiKind::Gitlab, &[("GITHUB_ACTIONS", "true")], Some(Service::Gitlab)),
        (CiKind::Github, &[], Some(Service::Github)),
    ] {
        let found = kind.service(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        });
        assert_eq!(found, expected, "{kind:?} {variables:?}");
    }
}

#[test]
fn annotations_are_escaped_and_errors_come_first() {
    let mut summary = summary();
    summary.assertions = vec![asserted("a: b, 100%", "requests.total == 0", false, 128)];
    summary.assertions[0].detail = Some("one\ntwo: 5%, x".to_owned());
    summary.traffic.failures.clear();
    summary.traffic.denials.clear();
    let text = github::framed(&summary, "", "token");
    assert_eq!(
        text,
        "::error title=amb%3A a%3A b%2C 100%25::requests.total == 0 → 128; one\\ntwo: 5%25, x\n"
    );
    summary.assertions[0].place = Some("a,b/amb.toml:12:5".to_owned());
    let text = github::framed(&summary, "", "token");
    assert!(
        text.starts_with("::error file=a%2Cb/amb.toml,line=12,col=5,title=amb"),
        "{text}"
    );
    summary.assertions[0].place = Some("--assert".to_owned());
    summary.assertions[0].severity = Severity::Warning;
    assert!(github::framed(&summary, "", "token").starts_with("::warning title="));
}

#[test]
fn no_more_annotations_than_github_shows() {
    let mut summary = large();
    summary.assertions = (0..200)
        .map(|number| asserted(&format!("a{number}"), "false", false, number))
        .collect();
    let text = github::framed(&summary, "amb: one\namb: two\n", "token");
    let errors = commands(&text, "error");
    assert_eq!(errors.len(), 10);
    assert!(
        errors[9].ends_with("::and 191 more, which GitHub would not show"),
        "{}",
        errors[9]
    );
    let warnings = commands(&text, "warning");
    assert_eq!(warnings.len(), 10);
    assert!(
        warnings[9].ends_with("::and 192 more, which GitHub would not show"),
        "{}",
        warnings[9]
    );
    assert!(text.lines().all(|line| line.len() < 5_000));
    // What is in the log as it is begins behind the command that lets the runner take no others.
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1..6],
        [
            "::stop-commands::token",
            "amb: one",
            "amb: two",
            "::token::",
            "::endgroup::"
        ]
    );
}

#[test]
fn a_run_in_which_all_is_well_leaves_the_log_alone() {
    let mut summary = nothing_seen();
    summary.assertions = vec![asserted("a", "true", true, 0)];
    assert_eq!(github::framed(&summary, "", "token"), "");
    assert_eq!(gitlab::framed(&summary, ""), "");
    assert_eq!(gitlab::framed(&summary, "amb: one line\n"), "amb: one line\n");
}

#[test]
fn the_token_cannot_be_guessed() {
    assert_ne!(github::token(), github::token());
}

#[test]
fn a_jobs_summary_keeps_to_the_room_that_others_have_left() {
    let directory = tempfile::tempdir().unwrap();
    let (path, output) = (directory.path().join("summary"), directory.path().join("output"));
    let variable = |name: &str| match name {
        "GITHUB_STEP_SUMMARY" => Some(path.clone().into_os_string()),
        "GITHUB_OUTPUT" => Some(output.clone().into_os_string()),
        _ => None,
    };
    let summary = large();
    for (before, most) in [(0, 256 << 10), ((1 << 20) - 30_000, 30_000), ((1 << 20) - 1_000, 1_000)] {
        fs::write(&path, vec![b'x'; before]).unwrap();
        assert_eq!(Service::Github.write_files(&summary, variable), []);
        let text = fs::read(&path).unwrap();
        assert!(
            text.len() > before && text.len() <= before + most,
            "{before}: {}",
            text.len()
        );
    }
    fs::write(&path, vec![b'x'; (1 << 20) - 10]).unwrap();
    let warnings = Service::Github.write_files(&summary, variable);
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].message,
        "GitHub's job summary could not be written: other programs have left no room in it"
    );
    assert_eq!(
        fs::metadata(&path).unwrap().len(),
        (1 << 20) - 10,
        "nothing of the others is lost"
    );
    let outputs = fs::read_to_string(&output).unwrap();
    assert!(outputs.starts_with(
        "requests=128\ntunnels=0\nfailed=1\ndenied=2\nretried=4\nassertions_failed=1\nexit_code=99\np95_ms=310\n"
    ));
}

#[test]
fn files_that_cannot_be_written_are_warned_of() {
    let variable = |name: &str| (name == "GITHUB_STEP_SUMMARY").then(|| OsString::from("/none/summary"));
    let warnings = Service::Github.write_files(&summary(), variable);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].code, "ci_not_written");
    assert_eq!(Service::Github.write_files(&summary(), |_| None), []);
}

#[test]
fn gitlab_folds_what_is_well_and_shows_what_is_not() {
    let mut well = nothing_seen();
    well.run.id = "1/../x y".to_owned();
    let text = "amb: one\namb: two\n";
    let framed = gitlab::framed(&well, text);
    let ended = 1_795_380_034;
    assert_eq!(
        framed,
        format!(
            "\u{1b}[0Ksection_start:{ended}:amb_1xy[collapsed=true]\r\u{1b}[0Kamb: billing ran 33.4s, exit 0, no request came \
             through amb\n{text}\u{1b}[0Ksection_end:{ended}:amb_1xy\r\u{1b}[0K\n"
        )
    );
    assert!(!gitlab::framed(&summary(), text).contains("collapsed"));
}
