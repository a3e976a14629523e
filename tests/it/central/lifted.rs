//! Break-glass: who may lift what is enforced, for how long, and who hears of it.

use std::{fs, os::unix::net::UnixDatagram, process::Command};

use crate::support::{Amb, Outcome};

/// The name of a group that the tests are in, and one that they are not in.
fn groups() -> (String, &'static str) {
    let asked = Command::new("id").arg("-gn").output().unwrap();
    (
        String::from_utf8(asked.stdout).unwrap().trim().to_owned(),
        "no-such-group-here",
    )
}

/// A run under a policy with this `[override]`, with a log that listens or none, with these flags; what the log has heard.
#[track_caller]
fn run(lift: &str, flags: &[&str], script: &str, with_log: bool) -> (Outcome, String) {
    let run = Amb::run(["--no-config", "--threads=1"].iter().chain(flags).copied());
    let directory = run.home().join("policy");
    fs::create_dir_all(directory.join("policy.d")).unwrap();
    let policy = format!("id = 'acme'\n[enforce]\n'run.threads' = {{ min = 2 }}\n{lift}\n");
    fs::write(directory.join("policy.toml"), policy).unwrap();
    fs::write(
        directory.join("policy.d/firm.toml"),
        "[enforce]\n'retry.attempts' = { max = 1 }\n",
    )
    .unwrap();
    let socket = run.home().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_nonblocking(true).unwrap();
    if !with_log {
        fs::remove_file(&socket).unwrap();
    }
    let outcome = run
        .env("AMB_POLICY_ROOT", directory)
        .env("AMB_SYSLOG_SOCKET", &socket)
        .command(["sh", "-c", script])
        .reporting()
        .outcome();
    let mut heard = [0; 1024];
    let length = log.recv(&mut heard).unwrap_or(0);
    (outcome, String::from_utf8_lossy(&heard[..length]).into_owned())
}

#[test]
fn a_member_of_the_group_may_and_everybody_hears_of_it() {
    let (own, _) = groups();
    let lift = format!("[override]\nallow-groups = ['sre-of-nobody', '{own}']\nmax-duration = '4h'");
    let flags = ["--break-glass", "INC-7: the index is down", "--retries=5", "-q"];
    let (outcome, heard) = run(&lift, &flags, "echo it ran", true);
    outcome.assert_status(0).assert_stdout("it ran\n");
    let said = "has lifted what ";
    assert!(outcome.stderr().contains(said), "{outcome}");
    assert!(heard.starts_with("<85>amb["), "{heard}");
    assert!(
        heard.contains(said) && heard.ends_with("for 4h at most: INC-7: the index is down"),
        "{heard}"
    );
    let run = &outcome.report.as_ref().unwrap()["run"]["policy"];
    assert_eq!(run["override"]["group"], own.as_str());
    assert_eq!(run["override"]["reason"], "INC-7: the index is down");
    assert_eq!(run["override"]["max_duration_seconds"], 14400.0);
    let clamped = run["clamped"].to_string();
    assert!(
        !clamped.contains("run.threads"),
        "what its own file enforces is lifted: {clamped}"
    );
    assert!(
        clamped.contains("retry.attempts"),
        "what another enforces is not: {clamped}"
    );
    assert!(clamped.contains("run.run-timeout"), "{clamped}");
    let warnings = outcome.report.as_ref().unwrap()["warnings"].to_string();
    assert!(warnings.contains("policy_overridden"), "{warnings}");
}

#[test]
fn the_run_ends_when_the_time_is_over() {
    let (own, _) = groups();
    let lift = format!("[override]\nallow-groups = ['{own}']\nmax-duration = '100ms'");
    let (outcome, _) = run(&lift, &["--break-glass=x", "--run-timeout=1h"], "exec sleep 60", true);
    outcome.assert_status(124);
}

#[test]
fn nobody_else_may_and_nothing_starts() {
    let (own, other) = groups();
    let allowed = |groups: &str| format!("[override]\nallow-groups = [{groups}]\nmax-duration = '4h'");
    let cases = [
        (
            allowed(&format!("'{other}'")),
            "x",
            true,
            "is in none of the groups that may lift it: no-such-group-here",
        ),
        (
            String::new(),
            "x",
            true,
            "the central policy acme, firm has no [override]",
        ),
        (allowed(&format!("'{own}'")), " ", true, "say why: the reason is logged"),
        (
            allowed(&format!("'{own}'")),
            "x",
            false,
            "--break-glass: the system's log cannot be told of it",
        ),
        (
            format!("[override]\nallow-groups = ['{own}']"),
            "x",
            true,
            "missing field `max-duration`",
        ),
        (
            allowed(""),
            "x",
            true,
            "an override is for some groups and for some time",
        ),
    ];
    for (lift, reason, with_log, wanted) in cases {
        let (outcome, heard) = run(&lift, &["--break-glass", reason], "echo it ran", with_log);
        outcome.assert_status(125).assert_stdout("");
        assert!(outcome.stderr().contains(wanted), "{wanted}: {outcome}");
        assert_eq!(heard, "");
    }
    let outcome = Amb::run(["--no-config", "--break-glass=x"])
        .env("AMB_POLICY_ROOT", "/nowhere")
        .command(["true"])
        .status(125);
    assert!(
        outcome
            .stderr()
            .contains("there is no central policy that could be lifted"),
        "{outcome}"
    );
}

#[test]
fn without_a_log_it_can_be_allowed_and_without_being_asked_it_is_not_lifted() {
    let (own, _) = groups();
    let lift = format!("[override]\nallow-groups = ['{own}']\nmax-duration = '4h'\nsyslog = false");
    let (outcome, _) = run(&lift, &["--break-glass=x"], "echo it ran", false);
    outcome.assert_status(0);
    let (outcome, heard) = run(&lift, &[], "echo it ran", true);
    outcome.assert_status(0);
    assert_eq!(heard, "");
    let policy = &outcome.report.as_ref().unwrap()["run"]["policy"];
    assert!(policy.get("override").is_none());
    assert!(policy["clamped"].to_string().contains("run.threads"), "{policy}");
}
