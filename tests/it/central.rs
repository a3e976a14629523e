//! The central policy from outside: announced, explained, reported, and not to be got rid of.

mod lifted;
mod signed;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::json;

use super::support::{Amb, Child};

/// A run under a central policy, and the file that it is in.
fn under(policy: &str, run: Amb) -> (Amb, PathBuf) {
    let directory = run.home().join("policy");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("policy.toml");
    fs::write(&file, policy).unwrap();
    (run.env("AMB_POLICY_ROOT", directory), file)
}

/// What is enforced in these tests.
const POLICY: &str = "id = 'acme'\ncontact = '#platform'\n[enforce]\n'egress.mode' = { at-least = 'enforce' }\n\
                      'egress.allow' = { within = ['ok.test'] }\n'retry.attempts' = { max = 3 }\n";

#[test]
fn what_is_brought_back_is_announced_and_reported_and_holds() {
    let run = Amb::run([
        "--retries=9",
        "--egress=off",
        "--allow=evil.test",
        "--no-config",
        "--proxy-loopback",
    ]);
    let (run, file) = under(POLICY, run);
    let outcome = run.child(Child::get("http://evil.test/")).reporting().outcome();
    let file = file.display();
    for (line, key, how) in [
        (4, "egress.mode", "off becomes enforce"),
        (
            5,
            "egress.allow",
            "left out, since it is not within the bound: evil.test",
        ),
        (
            5,
            "egress.default",
            "what no rule allows is denied, since egress.allow is bounded",
        ),
        (6, "retry.attempts", "9 becomes 3"),
    ] {
        let said = format!("amb: warning: {file}:{line}:1: {key}: {how}\n");
        assert!(outcome.stderr().contains(&said), "{said}{}", outcome.stderr());
    }
    assert!(outcome.stdout().starts_with("HTTP/1.1 403 "), "{}", outcome.stdout());
    assert!(
        outcome.stdout().contains("\"contact\":\"#platform\""),
        "{}",
        outcome.stdout()
    );
    let policy = &outcome.report.as_ref().unwrap()["run"]["policy"];
    assert_eq!(policy["id"], "acme");
    let wanted = json!({ "key": "egress.mode", "asked": "off", "got": "enforce" });
    assert!(policy["clamped"].as_array().unwrap().contains(&wanted), "{policy}");
}

#[test]
fn who_asks_is_told_what_it_does() {
    let ask = |words: &[&str]| {
        let (run, _) = under(POLICY, Amb::bare());
        let amb = [env!("CARGO_BIN_EXE_amb")];
        let said = run
            .env("AMB_RETRY__ATTEMPTS", "7")
            .command(amb.iter().chain(words).copied())
            .success();
        said.stdout().to_owned()
    };
    let explained = ask(&["config", "explain", "retry.attempts"]);
    let lines: Vec<Vec<&str>> = explained
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["retry.attempts", "=", "3"]);
    assert_eq!(lines[2][..1], ["3"]);
    assert!(lines[2].ends_with(&["central", "policy", "←", "wins"]), "{explained}");
    assert!(lines[3].starts_with(&["7", "AMB_RETRY__ATTEMPTS"]), "{explained}");
    assert!(
        ask(&["config", "path"]).starts_with("central policy "),
        "{}",
        ask(&["config", "path"])
    );
}

#[test]
fn one_that_others_can_write_to_lets_nothing_start() {
    let (run, file) = under(POLICY, Amb::run(["--no-config"]));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    let outcome = run.command(["echo", "it ran"]).status(125);
    outcome.assert_stdout("");
    let said = format!(
        "amb: {}: others than root can write to this central policy\namb: hint: chmod go-w {}\n",
        file.display(),
        file.display()
    );
    assert_eq!(outcome.stderr(), said);
}
