//! From what was observed to rules, and checks of rules that run by themselves.

use std::fs;

use serde_json::Value;

use super::{EVERYWHERE, request, server};
use crate::support::{Amb, Outcome, Proxy};

/// `amb policy` with these words, beside these files.
#[track_caller]
fn policy(words: &[&str], files: &[(&str, &str)]) -> Outcome {
    let run = Amb::bare().env("AMB_TRUST", "1");
    for (name, text) in files {
        fs::write(run.home().join(name), text).unwrap();
    }
    let amb = [env!("CARGO_BIN_EXE_amb"), "policy"];
    run.command(amb.iter().chain(words).copied()).outcome()
}

/// Rules to try cases against.
const RULES: &str = "[egress]\nmode = 'enforce'\nallow = ['a.test', '10.0.0.0/8']\n[[egress.rule]]\nid = 'r'\n\
                     match = { host = 'b.test', method = 'GET' }\naction = 'allow'\n\
                     [[route]]\nid = 'slow'\nmatch = { host = 'a.test' }\ntimeout.request = '1m'\n";

#[test]
fn an_audit_run_gives_rules_by_which_the_enforced_run_passes_and_nothing_else() {
    let upstream = server("hi");
    let address = upstream.address();
    let directory = tempfile::tempdir().unwrap();
    let ask = |proxy: &Proxy, host: &str| proxy.ask(request("GET", host, address, "/"));
    let proxy = Proxy::with([EVERYWHERE, "--no-config"]);
    for host in ["files.test", "index.test", "files.test"] {
        ask(&proxy, host).assert_is(200, "hi");
    }
    let report = proxy.end().report().to_string();
    let suggested = policy(&["suggest", "report.json"], &[("report.json", &report)]);
    suggested.assert_status(0);
    let port = address.port();
    let line = format!("    \"files.test:{port}\",  # 2 requests, ");
    assert!(suggested.stdout().contains(&line), "{suggested}");
    let rules = directory.path().join("rules.toml");
    fs::write(&rules, suggested.stdout()).unwrap();
    let proxy = Proxy::with([EVERYWHERE, "--no-config", &format!("--config={}", rules.display())]);
    ask(&proxy, "files.test").assert_is(200, "hi");
    ask(&proxy, "index.test").assert_is(200, "hi");
    ask(&proxy, "other.test").assert_own(403, "http_request_denied");
    proxy.end();
}

#[test]
fn cases_that_come_out_as_expected_pass() {
    let cases = "[[case]]\nrequest = 'GET http://a.test/'\naddress = '192.0.2.9'\nexpect = 'allow'\nrule = 'allow a.test'\nroute = 'slow'\n\
                 [[case]]\nrequest = 'http://b.test/x'\nexpect = 'depends'\n\
                 [[case]]\nrequest = 'http://b.test/x'\naddress = '192.0.2.1'\nexpect = 'allow'\nrule = 'r'\nroute = 'none'\n\
                 [[case]]\nrequest = 'http://c.test/x'\naddress = '10.1.2.3'\nexpect = 'allow'\n\
                 [[case]]\nrequest = 'CONNECT 192.0.2.1:22'\nheaders = []\nexpect = 'deny'\n";
    let outcome = policy(
        &["test", "--cases", "cases.toml"],
        &[("amb.toml", RULES), ("cases.toml", cases)],
    );
    outcome.assert_status(0);
    let said = outcome.stdout();
    assert!(said.ends_with("\n5 cases, 0 wrong\n"), "{outcome}");
    let first = "ok     GET http://a.test/    allow (allow a.test from amb.toml), route slow\n";
    assert!(said.starts_with(first), "{outcome}");
}

#[test]
fn rules_can_be_had_from_the_last_run_that_was_kept() {
    let state = tempfile::tempdir().unwrap();
    let suggest = || {
        let amb = [env!("CARGO_BIN_EXE_amb"), "policy", "suggest", "--last"];
        Amb::bare().env("XDG_STATE_HOME", state.path()).command(amb).outcome()
    };
    let none = suggest();
    none.assert_status(125);
    assert!(none.stderr().contains("hint: `amb run --keep-reports 10`"), "{none}");
    let kept = Amb::run(["--keep-reports=1"]).env("XDG_STATE_HOME", state.path());
    kept.command(["true"]).success();
    let suggested = suggest();
    suggested.assert_status(0);
    assert!(suggested.stdout().starts_with("# Where 1 run went"), "{suggested}");
    assert!(suggested.stdout().contains(": true at "), "{suggested}");
}

#[test]
fn a_case_that_does_not_fails_and_says_what_was_expected() {
    let cases = "{\"request\": \"GET http://192.0.2.1/\", \"expect\": \"allow\", \"rule\": \"r\"}\n\n\
                 {\"request\": \"http://10.0.0.1/\", \"expect\": \"allow\"}\n";
    let files = [("amb.toml", RULES), ("cases.jsonl", cases)];
    let outcome = policy(&["test", "--cases", "cases.jsonl"], &files);
    outcome.assert_status(1);
    outcome.assert_stdout(
        "WRONG  GET http://192.0.2.1/  deny (default); expected allow, rule r\n\
         ok     GET http://10.0.0.1/   allow (allow 10.0.0.0/8 from amb.toml)\n2 cases, 1 wrong\n",
    );
    let outcome = policy(&["test", "--json", "--cases", "cases.jsonl"], &files);
    outcome.assert_status(1);
    let said: Value = serde_json::from_str(outcome.stdout()).unwrap();
    assert_eq!(
        (&said["cases"][0]["ok"], &said["cases"][1]["ok"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn what_checks_nothing_is_a_mistake() {
    for (cases, wanted) in [
        ("", "there are no cases in it"),
        ("{\"request\": \"http://a.test/\"}", "case 1: nothing is expected of it"),
        (
            "{\"request\": \"ftp://a.test/\", \"expect\": \"deny\"}",
            "case 1: amb carries no `ftp` requests",
        ),
        (
            "{\"request\": \"http://a.test/\", \"expects\": \"deny\"}",
            "line 1: unknown field `expects`",
        ),
    ] {
        let outcome = policy(&["test", "--cases", "cases"], &[("cases", cases)]);
        outcome.assert_status(125);
        assert!(outcome.stderr().contains(wanted), "{outcome}");
    }
}
