//! Reports in every format, as whoever reads them checks them; `amb report`, which shows, converts, merges and compares them.
//!
//! Readers that are not installed are not asked, and that is said.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use super::support::{Amb, Upstream, ok, status};

/// Makes a run of four requests, one of which fails, that writes these reports into a directory.
fn run(directory: &Path, flags: &[&str], reports: &[&str]) {
    let upstream = Upstream::script([ok("a"), ok("b"), status(503), ok("c")]);
    let to = format!("::{}", upstream.address());
    let mut arguments = vec![
        "--connect-to".to_owned(),
        to,
        "--name".to_owned(),
        "smoke <&\">".to_owned(),
    ];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    for report in reports {
        let (format, name) = report
            .split_once('=')
            .map_or(("", *report), |(format, name)| (format, name));
        let path = directory.join(name);
        let separator = if format.is_empty() { "" } else { "=" };
        arguments.extend(["-r".to_owned(), format!("{format}{separator}{}", path.display())]);
    }
    let outcome = Amb::run(arguments)
        .env("XDG_STATE_HOME", directory)
        .shell("for path in a?token=secret b c d; do \"$CHILD\" --get \"http://api.test/$path\" || :; done")
        .status(0);
    assert!(outcome.stdout().ends_with('c'), "{outcome}");
    upstream.join();
}

/// `amb report` with these arguments, in this directory.
fn report(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amb"))
        .arg("report")
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("XDG_STATE_HOME", directory)
        .output()
        .unwrap()
}

/// What it wrote to stdout, if it ended with this status.
#[track_caller]
fn said(output: &Output, status: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Has a reader check something, if it is there to be asked: the program with arguments that find out, and those that check.
#[track_caller]
fn checked_by(what: &str, program: &str, probe: &[&str], check: &[&str]) {
    let present = Command::new(program).args(probe).output();
    if !present.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "whoever runs the test is to know")]
        {
            eprintln!("skipped: {what} is not installed");
        }
        return;
    }
    let output = Command::new(program).args(check).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {told}");
}

#[test]
fn every_format_is_as_its_readers_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    run(
        directory.path(),
        &["--egress", "audit", "--deny", "api.test"],
        &["r.json", "r.xml", "r.prom", "k6=k6.json", "r.har", "r.html"],
    );
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path("r.json")).unwrap()).unwrap();
    let validator = jsonschema::draft7::new(&amb::report::document::schema()).unwrap();
    assert!(validator.is_valid(&json), "{:?}", validator.validate(&json));
    assert_eq!(json["totals"]["requests"]["total"], 4);

    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/formats/junit.xsd");
    let check = ["--noout", "--schema", schema, &path("r.xml")];
    checked_by("xmllint", "xmllint", &["--version"], &check);

    let module = "from prometheus_client.openmetrics.parser import text_string_to_metric_families as families";
    let check = format!(
        "{module}; assert len(list(families(open('{}').read()))) > 10",
        path("r.prom")
    );
    checked_by("prometheus_client", "python3", &["-c", module], &["-c", &check]);

    let har: serde_json::Value = serde_json::from_slice(&fs::read(path("r.har")).unwrap()).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[0]["request"]["url"], "http://api.test/a?token=***");
    assert!(!fs::read_to_string(path("r.har")).unwrap().contains("secret"));
    let module = "const validator = require('har-validator')";
    let check = format!(
        "{module}; validator.har(JSON.parse(require('fs').readFileSync('{}'))).catch(error => {{ console.log(error.errors); process.exit(1) }})",
        path("r.har")
    );
    checked_by("har-validator", "node", &["-e", module], &["-e", &check]);

    let k6: serde_json::Value = serde_json::from_slice(&fs::read(path("k6.json")).unwrap()).unwrap();
    assert_eq!(k6["metrics"]["http_reqs"]["count"], 4);
    let page = fs::read_to_string(path("r.html")).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("smoke &lt;&amp;&quot;&gt;"),
        "{page}"
    );
}

#[test]
fn a_report_is_shown_and_converted() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &[], &["r.json", "r.xml", "r.prom"]);
    let shown = said(&report(directory.path(), &["r.json"]), 0);
    assert!(shown.starts_with("amb: smoke <&\"> ran "), "{shown}");
    assert!(shown.contains("amb: fail 1x GET api.test/c 503 "), "{shown}");
    for (arguments, same) in [
        (&["r.json", "--format", "junit"][..], "r.xml"),
        (&["r.json", "-f", "openmetrics"], "r.prom"),
        (&["r.json", "-f", "json"], "r.json"),
    ] {
        let converted = said(&report(directory.path(), arguments), 0);
        assert_eq!(
            converted,
            fs::read_to_string(directory.path().join(same)).unwrap(),
            "{same}"
        );
    }
    assert_eq!(said(&report(directory.path(), &["r.json", "-o", "page.html"]), 0), "");
    let page = fs::read_to_string(directory.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &[], &["r.json"]);
    fs::write(directory.path().join("newer.json"), r#"{"schema_version": "2.0"}"#).unwrap();
    fs::write(directory.path().join("other.json"), "{}").unwrap();
    for (arguments, words) in [
        (&["newer.json", "none.json"][..], "its schema is 2.0"),
        (&["newer.json", "none.json"], "cannot read none.json: "),
        (&["other.json"], "it is not a report of amb"),
        (
            &["r.json", "-o", "r.pdf"],
            "no report format has the extension .pdf; the formats are: json",
        ),
        (
            &["r.json", "-o", "calls.har"],
            "hint: `amb run --report calls.har` writes them",
        ),
        (
            &["r.json", "r.json", "-f", "html"],
            "`amb report merge` makes one of several",
        ),
        (&["r.json", "-o", "none/x.html"], "cannot write the report none/x.html"),
        (&["--last"], "hint: `amb run --keep-reports 10` keeps them"),
        (&["diff", "r.json", "r.json", "--fail-on", "p95"], "`p95` needs a limit"),
        (&[], "usage"),
    ] {
        let output = report(directory.path(), arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(
            stderr.to_lowercase().contains(&words.to_lowercase()),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn several_reports_make_one() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.json", "b.json", "c.json"] {
        run(directory.path(), &[], &[name]);
    }
    let merged = said(&report(directory.path(), &["merge", "a.json", "b.json", "c.json"]), 0);
    let merged: serde_json::Value = serde_json::from_str(&merged).unwrap();
    let validator = jsonschema::draft7::new(&amb::report::document::schema()).unwrap();
    assert!(validator.is_valid(&merged), "{:?}", validator.validate(&merged));
    assert_eq!(merged["totals"]["requests"]["total"], 12);
    assert_eq!(merged["totals"]["latency_seconds"]["count"], 12);
    assert_eq!(merged["run"]["merged"].as_array().unwrap().len(), 3);
    said(
        &report(directory.path(), &["merge", "a.json", "b.json", "-o", "two.html"]),
        0,
    );
    assert!(
        fs::read_to_string(directory.path().join("two.html"))
            .unwrap()
            .contains("2 runs together")
    );
}

#[test]
fn two_runs_are_compared_and_fail_on_what_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &[], &["before.json"]);
    let upstream = Upstream::script([status(500), status(500)]);
    let to = format!("::{}", upstream.address());
    let after = directory.path().join("after.json").display().to_string();
    Amb::run(["--connect-to", &to, "-r", &after])
        .shell("for host in api.test new.test; do \"$CHILD\" --get \"http://$host/\" || :; done")
        .status(0);
    upstream.join();
    let compared = |more: &[&str]| {
        report(
            directory.path(),
            &[&["diff", "before.json", "after.json"], more].concat(),
        )
    };
    let told = said(&compared(&[]), 0);
    assert!(told.contains("NEW HOSTS\n  + new.test:80  asked once\n"), "{told}");
    assert!(told.contains("  requests          4         2   -50%\n"), "{told}");
    assert!(told.contains("  failed            1         2   +100%\n"), "{told}");
    let told = said(&compared(&["--fail-on", "new-hosts,failed=50%"]), 1);
    assert!(told.contains("FAIL: new hosts: new.test:80\n"), "{told}");
    assert!(
        told.contains("FAIL: failed grew from 1 to 2, which is more than by 50%\n"),
        "{told}"
    );
    let json = said(&compared(&["--fail-on", "failed=1", "--json"]), 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["totals"]["failed"], serde_json::json!([1, 2]));
}

#[test]
fn the_last_report_is_kept_where_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &[], &[]);
    assert!(
        !directory.path().join("amb/reports").exists(),
        "amb leaves nothing behind unasked"
    );
    run(directory.path(), &["--keep-reports", "1"], &[]);
    run(directory.path(), &["--keep-reports", "1"], &["r.json"]);
    assert_eq!(fs::read_dir(directory.path().join("amb/reports")).unwrap().count(), 1);
    let last = said(&report(directory.path(), &["--last", "-f", "json"]), 0);
    assert_eq!(last, fs::read_to_string(directory.path().join("r.json")).unwrap());
}
