//! What must hold of a run's traffic, how amb ends if it does not, and who follows the run.

use std::fs;

use yaml_rust2::{Yaml, YamlLoader};

use super::{
    readme::{block, read},
    support::{Amb, Child, Outcome, Upstream, ok, status},
};

/// Where requests to `api.test` go.
fn to(upstream: &Upstream) -> String {
    format!("api.test:80:{}", upstream.address())
}

/// A run of one request to `api.test`, with these flags.
#[track_caller]
fn one_request(flags: &[&str]) -> Outcome {
    let upstream = Upstream::script([ok("hello")]);
    let outcome = Amb::run([&["--connect-to", &to(&upstream)], flags].concat())
        .reporting()
        .child(Child::get("http://api.test/charges"))
        .outcome();
    upstream.join();
    outcome
}

/// The assertions of the JSON report.
fn told(outcome: &Outcome) -> &Vec<serde_json::Value> {
    outcome.report.as_ref().unwrap()["assertions"].as_array().unwrap()
}

#[test]
fn what_holds_changes_nothing() {
    let flags = ["--assert", "requests.total == 1", "--assert", "latency.p95 < 1h"];
    let outcome = one_request(&flags);
    outcome.assert_status(0);
    assert_eq!(outcome.stderr(), "", "where all is well nothing is said");
    let told = told(&outcome);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|it| it["passed"] == true && it["result"] == "passed"));
    assert_eq!(told[0]["actual"][0]["of"], "latency.p95");
    assert_eq!(outcome.report.as_ref().unwrap()["exit"]["reason"], "child");
}

#[test]
fn what_does_not_hold_is_99_and_the_last_line_names_both_statuses() {
    let outcome = one_request(&["--assert", "requests.total > 1", "--assert", "requests.failed == 0"]);
    outcome.assert_status(99);
    let lines = outcome.own_lines();
    assert_eq!(
        lines[lines.len() - 1],
        "amb: exit 99: 1 assertion failed (the command itself exited 0)",
        "{outcome}"
    );
    assert!(
        lines.contains(&"amb: assert ok \"requests.failed == 0\" got 0"),
        "{outcome}"
    );
    assert!(
        lines.contains(&"amb: assert FAIL \"requests.total > 1\" got 1"),
        "{outcome}"
    );
    let report = outcome.report.as_ref().unwrap();
    assert_eq!(
        report["exit"],
        serde_json::json!({ "code": 99, "reason": "assertion_failed" })
    );
    assert_eq!(report["child"]["exit_code"], 0);
}

#[test]
fn the_commands_own_status_wins_and_what_failed_is_told_all_the_same() {
    let outcome = Amb::run(["--assert", "requests.total > 0"])
        .child(Child::exit(7))
        .status(7);
    let lines = outcome.own_lines();
    assert_eq!(
        lines[lines.len() - 1],
        "amb: exit 7 (the command's own): 1 assertion failed"
    );
}

#[test]
fn nothing_fails_the_run_with_no_fail() {
    let outcome = Amb::run(["--no-fail", "--assert", "requests.total > 0"])
        .child(Child::exit(0))
        .success();
    assert!(
        outcome
            .stderr()
            .contains("amb: assert FAIL \"requests.total > 0\" got 0"),
        "{outcome}"
    );
    let lines = outcome.own_lines();
    assert_eq!(lines[lines.len() - 1], "amb: exit 0 (--no-fail): 1 assertion failed");
}

#[test]
fn no_data_is_no_success() {
    let outcome = Amb::run(["--assert", "latency.p95 < 500ms"])
        .reporting()
        .child(Child::exit(0))
        .status(99);
    let assertion = &told(&outcome)[0];
    assert_eq!(
        (&assertion["passed"], &assertion["result"]),
        (&false.into(), &"no_data".into())
    );
    assert_eq!(assertion["detail"], "no data for latency.p95: no request was answered");
}

#[test]
fn a_quiet_amb_still_says_why_it_fails() {
    for flag in ["--quiet", "--summary=off"] {
        let outcome = Amb::run([flag, "--assert", "requests.total > 0"])
            .child(Child::exit(0))
            .status(99);
        assert_eq!(
            outcome.stderr(),
            "amb: exit 99: 1 assertion failed (the command itself exited 0)\n",
            "{flag}"
        );
    }
}

#[test]
fn a_warning_is_told_and_fails_nothing() {
    let amb = Amb::run([""; 0]);
    let text = "[assert]\nmany = { expr = \"requests.total > 9\", severity = \"warning\" }\n";
    fs::write(amb.home().join("amb.toml"), text).unwrap();
    let outcome = amb.child(Child::exit(0)).success();
    assert!(
        outcome
            .stderr()
            .contains("amb: assert WARN many \"requests.total > 9\" got 0"),
        "{outcome}"
    );
}

#[test]
fn what_makes_no_sense_is_told_before_the_command_starts() {
    let amb = Amb::run(["--assert", "latency.p95 <", "--assert", "latency.p95 < 500"]);
    let text = "[assert]\nfast = \"latncy.p95 < 1s\"\nslow = { expr = \"latency.p59 > 1s\" }\n";
    fs::write(amb.home().join("amb.toml"), text).unwrap();
    let outcome = amb.shell("echo started").status(125);
    outcome.assert_stdout("");
    for said in [
        "there is no variable `latncy`; did you mean `latency`?",
        "there is no `latency.p59`; did you mean `latency.p50`?",
        "amb.toml:2:9",
        "amb.toml:3:26",
        "(in `latency.p95 < 500`)",
        "this is no assertion: it breaks off",
        "`latency.p95` is a duration: 500 what? try 500ms",
    ] {
        assert!(outcome.stderr().contains(said), "{said}\n{outcome}");
    }
}

#[test]
fn an_assertion_that_aborts_stops_the_command_within_seconds() {
    let upstream = Upstream::script([status(404)]);
    let amb = Amb::run(["--connect-to", &to(&upstream)]).reporting();
    let text = "[assert]\nall-found = { expr = \"requests.status['4xx'] == 0\", abort = true }\n";
    fs::write(amb.home().join("amb.toml"), text).unwrap();
    let running = amb.shell("\"$CHILD\" --get http://api.test/; exec sleep 600").start();
    // Only amb ends it so soon.
    let outcome = running.wait();
    outcome.assert_status(99);
    let line =
        "amb: exit 99: assertion `all-found` failed, and amb stopped the command (the command was killed by SIGTERM)";
    assert!(outcome.own_lines().contains(&line), "{outcome}");
    let assertion = &told(&outcome)[0];
    assert_eq!(
        (&assertion["aborted"], &assertion["actual"][0]["value"]),
        (&true.into(), &1.into())
    );
    upstream.join();
}

#[test]
fn with_no_fail_nothing_is_stopped() {
    let upstream = Upstream::script([status(404)]);
    let amb = Amb::run(["--no-fail", "--connect-to", &to(&upstream)]).reporting();
    let text = "[assert]\nall-found = { expr = \"requests.status['4xx'] == 0\", abort = true }\n";
    fs::write(amb.home().join("amb.toml"), text).unwrap();
    // Longer than it would take to be stopped.
    let outcome = amb
        .shell("\"$CHILD\" --get http://api.test/; sleep 2; exit 3")
        .status(3);
    assert_eq!(told(&outcome)[0]["aborted"], serde_json::Value::Null);
    upstream.join();
}

#[test]
fn events_come_as_exchanges_end_through_a_descriptor_of_the_users() {
    let upstream = Upstream::script([ok("hello")]);
    let mut running = Amb::bare()
        .env("TO", to(&upstream))
        .open_stdin()
        .shell(
            "exec 3>events.ndjson; \"$AMB\" run --events fd:3 --connect-to \"$TO\" -- \
             sh -c '\"$CHILD\" --get http://api.test/ >/dev/null; until grep -q api.test events.ndjson; do sleep 0.01; done; \
             echo seen; cat events.ndjson; exec cat'",
        )
        .start();
    // The run goes on while its events are there already.
    running.wait_for_line("seen");
    let line = running.wait_for_rest("{");
    running.close_stdin();
    running.wait().assert_status(0);
    let line = &format!("{{{line}");
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["server.address"], "api.test");
    assert_eq!(event["http.response.status_code"], 200);
    upstream.join();
}

#[test]
fn events_are_lines_of_the_access_log() {
    let upstream = Upstream::script([ok("hello")]);
    let amb = Amb::run([
        "--events",
        "events",
        "--access-log",
        "log",
        "--connect-to",
        &to(&upstream),
    ]);
    let outcome = amb
        .shell("\"$CHILD\" --get http://api.test/; until cmp events log && grep -q api.test log; do sleep 0.01; done")
        .success();
    assert_eq!(outcome.own_lines(), [""; 0]);
    upstream.join();
}

#[test]
fn events_that_cannot_be_written_are_told_before_the_start() {
    for (target, said) in [
        ("fd:1", "stdout is the command's own"),
        ("fd:77", "cannot write the events to fd:77: it is not open"),
        ("none/events", "cannot write the events none/events: "),
    ] {
        let outcome = Amb::run(["--events", target]).shell("echo started").status(125);
        outcome.assert_stdout("");
        assert!(outcome.stderr().contains(said), "{outcome}");
    }
}

#[test]
fn events_that_are_lost_are_warned_of_once() {
    let upstream = Upstream::script([ok("hello")]);
    let outcome = Amb::run(["--events", "/dev/full", "--connect-to", &to(&upstream)])
        .child(Child::get("http://api.test/"))
        .success();
    let warnings: Vec<_> = outcome
        .own_lines()
        .into_iter()
        .filter(|line| line.contains("warning"))
        .collect();
    assert_eq!(warnings.len(), 1, "{outcome}");
    assert!(warnings[0].contains("the events could not be written"), "{outcome}");
    upstream.join();
}

/// A run in a job of GitHub's, with the files of its step.
fn on_github(flags: &[&str]) -> Amb {
    let amb = Amb::run(flags);
    let home = amb.home().to_owned();
    for name in ["summary", "output"] {
        fs::write(home.join(name), "before\n").unwrap();
    }
    amb.env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", home.join("summary"))
        .env("GITHUB_OUTPUT", home.join("output"))
}

#[test]
fn github_gets_a_summary_annotations_and_outputs_and_stdout_nothing() {
    let amb = on_github(&["--assert", "requests.total > 0"]);
    // What the child can see of the files before and amb appends at the end.
    let outcome = amb.shell("cat summary output").outcome();
    outcome.assert_status(99);
    outcome.assert_stdout("before\nbefore\n");
    let lines: Vec<&str> = outcome.stderr().lines().collect();
    let position = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect(start);
    let order = [
        position("::group::amb: sh ran "),
        position("::stop-commands::amb-"),
        position("amb: sh ran "),
        position("amb: exit 99"),
        position("::amb-"),
        position("::endgroup::"),
        position("::error title=amb%3A requests.total > 0::requests.total > 0 → 0"),
    ];
    assert!(order.is_sorted(), "{outcome}");
}

#[test]
fn github_files_are_appended_to() {
    let upstream = Upstream::script([ok("hello")]);
    let amb = on_github(&["--connect-to", &to(&upstream), "--assert", "requests.total == 1"]);
    let amb = amb.reporting();
    let home = amb.home().to_owned();
    let mut running = amb
        .open_stdin()
        .shell("\"$CHILD\" --get http://api.test/; echo; exec cat")
        .start();
    running.wait_for_line("hello");
    // Held open, so that they outlive the directory of the run.
    let mut files = ["summary", "output"].map(|name| fs::File::open(home.join(name)).unwrap());
    running.close_stdin();
    let outcome = running.wait();
    outcome.assert_status(0);
    assert_eq!(
        outcome.own_lines(),
        [""; 0],
        "all is well, so the log has nothing: {outcome}"
    );
    let [summary, output] = &mut files;
    let read = |file: &mut fs::File| std::io::read_to_string(file).unwrap();
    let summary = read(summary);
    assert!(
        summary.starts_with("before\n### ✅ amb · `sh` — 1 request to 1 host\n"),
        "{summary}"
    );
    assert!(summary.contains("| ✅ |  | `requests.total == 1` | 1 |"), "{summary}");
    let output = read(output);
    assert!(
        output.starts_with("before\nrequests=1\ntunnels=0\nfailed=0\n"),
        "{output}"
    );
    assert!(
        output.contains("\nassertions_failed=0\nexit_code=0\np95_ms="),
        "{output}"
    );
    assert!(output.contains("\nreport="), "{output}");
    upstream.join();
}

#[test]
fn gitlab_gets_a_section() {
    let outcome = Amb::run(["--summary=full"])
        .env("GITLAB_CI", "true")
        .child(Child::exit(0))
        .success();
    outcome.assert_stdout("");
    let said = outcome.stderr();
    assert!(said.starts_with("\u{1b}[0Ksection_start:"), "{said:?}");
    assert!(said.contains("[collapsed=true]\r\u{1b}[0Kamb: child ran "), "{said:?}");
    let end = said.split("section_end:").nth(1).unwrap();
    assert!(end.ends_with("\r\u{1b}[0K\n"), "{said:?}");
}

#[test]
fn without_a_service_and_with_ci_none_nothing_changes() {
    // Whether there are colours is not for the service alone to say; sections have escapes all the same.
    let plain = |amb: Amb| {
        let amb = amb.env("NO_COLOR", "1");
        let said = amb.child(Child::exit(0)).success().stderr().to_owned();
        assert!(!said.contains("::") && !said.contains('\u{1b}'), "{said}");
    };
    plain(Amb::run(["--summary=full"]));
    plain(on_github(&["--summary=full", "--ci=none"]));
    plain(
        Amb::run(["--summary=full"])
            .env("GITHUB_ACTIONS", "false")
            .env("GITLAB_CI", ""),
    );
}

/// The only document of the README's block of this name.
#[track_caller]
fn workflow(name: &str) -> Yaml {
    let readme = read("README.md");
    let mut documents = YamlLoader::load_from_str(block(&readme, name)).expect(name);
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// Runs a command of a job, with amb in the PATH and a `smoke.sh` that makes a request.
#[track_caller]
fn run_in_a_job(command: &str, trust: Option<&str>) {
    let upstream = Upstream::script([ok("hello")]);
    let amb = Amb::bare().env("AMB_TRUST", trust.expect("the variable"));
    let home = amb.home().to_owned();
    let binaries = home.join("bin");
    fs::create_dir(&binaries).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_amb"), binaries.join("amb")).unwrap();
    // A key that only a file that is trusted may set.
    let configuration = format!("[connect-to]\n\"api.test:80\" = \"{}\"\n", upstream.address());
    fs::write(home.join("amb.toml"), configuration).unwrap();
    let script = "#!/bin/sh\n\"$CHILD\" --get http://api.test/\n";
    fs::write(home.join("smoke.sh"), script).unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let command = format!("chmod +x smoke.sh; {command}; status=$?; echo; test -s report.json && exit $status");
    amb.env("PATH", path).shell(&command).success();
    upstream.join();
}

#[test]
fn the_workflows_of_the_readme_are_yaml_whose_commands_run() {
    let github = workflow("github-workflow");
    let job = &github["jobs"]["smoke"];
    let steps = job["steps"].as_vec().unwrap();
    let command = steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .find(|run| run.starts_with("amb "));
    run_in_a_job(command.unwrap(), job["env"]["AMB_TRUST"].as_str());

    let gitlab = workflow("gitlab-workflow");
    let command = gitlab["smoke"]["script"][0].as_str();
    run_in_a_job(command.unwrap(), gitlab["smoke"]["variables"]["AMB_TRUST"].as_str());
}

#[test]
fn the_assertions_of_the_readme_can_be_made() {
    let readme = read("README.md");
    let amb = Amb::run(["--no-fail", "--summary=full"]);
    fs::write(amb.home().join("amb.toml"), block(&readme, "assertions")).unwrap();
    let outcome = amb.child(Child::exit(0)).success();
    assert!(outcome.stderr().contains("  ASSERTIONS  "), "{outcome}");
}
