//! `amb env`: what shells make of it.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, process::Command};

use super::Desk;
use crate::support::{Amb, Upstream, ok, say_skipped};

/// A value in which everything is that means something to some shell.
const HOSTILE: &str = "it's \"$HOME\" `id` $(id) \\n \\ %d & ; # ! * ~ {a,b} <x> | ü \n second line";

/// Whether a program is there.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).args(["-c", "exit"]).output().is_ok();
    if !found {
        say_skipped(&format!("there is no {program}"));
    }
    found
}

/// A variable of the test's own whose value no text can have.
fn odd() -> OsString {
    OsString::from_vec(b"-Da=\xff'\"$x\\\n -Db".to_vec())
}

/// What a shell prints that is led there, and back: `led` and `back` are how it reads `amb env`, `shown` prints the variables.
fn check(shell: &str, arguments: &[&str], led: &str, shown: &str, back: &str) {
    if !is_there(shell) {
        return;
    }
    let desk = Desk::new();
    let serve = desk.amb(&["serve", "--name", HOSTILE]).start();
    serve.wait_for_rest(&HOSTILE.escape_debug().to_string());
    let script = format!("{led}\n{shown}\n{back}\n{shown}");
    let mut words = vec![shell];
    words.extend(arguments);
    words.extend(["-c", &script]);
    let outcome = desk
        .here(Amb::bare())
        .env("AMB", env!("CARGO_BIN_EXE_amb"))
        .env("SHELL", format!("/usr/bin/{shell}"))
        .env("JAVA_TOOL_OPTIONS", odd())
        .env("NO_PROXY", "mine.example")
        .command(words)
        .success();
    let shown = |name: &str, no_proxy: &str| {
        let mut expected = format!("[{name}][{no_proxy}][").into_bytes();
        expected.extend(odd().into_vec());
        expected
    };
    let led = shown(HOSTILE, "mine.example,localhost,127.0.0.1,::1");
    let back = [shown("", "mine.example"), b"]".to_vec()].concat();
    assert!(
        outcome.stdout.starts_with(&led) && outcome.stdout.ends_with(&back),
        "{shell}\n{outcome}\n{}\n{}",
        led.escape_ascii(),
        outcome.stdout.escape_ascii()
    );
    serve.signal(libc::SIGTERM);
    serve.wait().assert_status(0);
}

/// Prints the variables in a shell of the POSIX family.
const POSIX: &str = "printf '[%s][%s][%s]' \"$AMB_NAME\" \"$NO_PROXY\" \"$JAVA_TOOL_OPTIONS\"";

#[test]
fn bash_is_led_there_and_back() {
    check(
        "bash",
        &["--norc"],
        "eval \"$(\"$AMB\" env)\"",
        POSIX,
        "eval \"$(\"$AMB\" env --unset)\"",
    );
}

#[test]
fn dash_is_led_there_and_back() {
    check(
        "dash",
        &[],
        "eval \"$(\"$AMB\" env)\"",
        POSIX,
        "eval \"$(\"$AMB\" env --unset)\"",
    );
}

#[test]
fn zsh_is_led_there_and_back() {
    check(
        "zsh",
        &["-f"],
        "eval \"$(\"$AMB\" env)\"",
        POSIX,
        "eval \"$(\"$AMB\" env --unset)\"",
    );
}

#[test]
fn fish_is_led_there_and_back_whichever_way_it_reads() {
    let shown = "printf '[%s][%s][%s]' \"$AMB_NAME\" \"$NO_PROXY\" \"$JAVA_TOOL_OPTIONS\"";
    check(
        "fish",
        &["--no-config"],
        "$AMB env | source",
        shown,
        "$AMB env --unset | source",
    );
    check(
        "fish",
        &["--no-config"],
        "eval ($AMB env)",
        shown,
        "eval ($AMB env --unset)",
    );
}

#[test]
fn who_evaluates_it_is_served_and_the_newest_is_meant() {
    let desk = Desk::new();
    let upstream = Upstream::script([ok("hello")]);
    let (old, _) = desk.serve(&["--proxy-loopback"]);
    let (new, url) = desk.serve(&["--proxy-loopback"]);
    let script = format!(
        "eval \"$(\"$AMB\" env)\"; echo \"$http_proxy\"; \"$CHILD\" --get {}",
        upstream.url("/")
    );
    let outcome = desk.here(Amb::bare()).shell(&script).success();
    outcome.assert_stdout(&format!("{url}\nHTTP/1.1 200 OK\nhello"));
    upstream.join();
    for serve in [old, new] {
        serve.signal(libc::SIGTERM);
        serve.wait().assert_status(0);
    }
}

#[test]
fn a_run_can_be_joined_by_its_name() {
    let desk = Desk::new();
    let run = desk.job();
    let shown = desk.amb(&["env", "job", "--shell", "dotenv"]).success();
    assert!(shown.stdout().contains("\nAMB_NAME=job\n"), "{shown}");
    assert!(shown.stdout().contains("\nHTTPS_PROXY=http://127.0.0.1:"), "{shown}");
    // Only a serve is meant if nothing is named.
    let outcome = desk.amb(&["env"]).status(1);
    assert_eq!(
        outcome.stderr(),
        "amb: no amb serve of yours is there\namb: hint: amb serve --detach starts one\n"
    );
    outcome.assert_stdout("");
    run.wait().assert_status(0);
}

#[test]
fn one_line_starts_one_and_leads_there() {
    let desk = Desk::new();
    let script = "eval \"$(\"$AMB\" serve --name desk --detach --print-env)\"; echo \"$AMB_NAME $HTTPS_PROXY\"; \
                  \"$AMB\" stop; eval \"$(\"$AMB\" env --unset)\"; echo \"${AMB_NAME-none} ${HTTPS_PROXY-none}\"; \
                  \"$AMB\" env --unset";
    let outcome = desk.here(Amb::bare()).shell(script).status(1);
    let lines: Vec<_> = outcome.stdout().lines().collect();
    assert!(lines[0].starts_with("desk http://127.0.0.1:"), "{outcome}");
    assert!(lines[1].starts_with("stopped desk ("), "{outcome}");
    assert_eq!(lines[2..], ["none none"], "{outcome}");
    assert_eq!(
        outcome.stderr(),
        "amb: amb env has changed nothing in this environment\n"
    );
}

#[test]
fn certificates_go_with_it_where_https_is_decrypted() {
    let desk = Desk::new();
    let (serve, _) = desk.serve(&["--intercept=api.example.com"]);
    let shown = desk.amb(&["env", "--shell", "json"]).success();
    let variables: serde_json::Value = serde_json::from_str(shown.stdout()).unwrap();
    for name in ["SSL_CERT_FILE", "AMB_CA_FILE", "NODE_EXTRA_CA_CERTS"] {
        let path = variables[name].as_str().unwrap_or_else(|| panic!("{name}\n{shown}"));
        let pem = std::fs::read_to_string(path).unwrap();
        assert!(pem.contains("BEGIN CERTIFICATE"), "{name}");
    }
    serve.signal(libc::SIGTERM);
    serve.wait().assert_status(0);
}

#[test]
fn steps_of_github_read_what_is_appended() {
    let desk = Desk::new();
    let (serve, url) = desk.serve(&[]);
    let shown = desk.amb(&["env", "--shell", "github"]).success();
    let mut lines = shown.stdout().lines();
    let mut found = None;
    while let Some(line) = lines.next() {
        let (name, word) = line.split_once("<<").unwrap();
        let value: Vec<_> = lines.by_ref().take_while(|line| *line != word).collect();
        if name == "HTTPS_PROXY" {
            found = Some(value.join("\n"));
        }
    }
    assert_eq!(found, Some(url));
    serve.signal(libc::SIGTERM);
    serve.wait().assert_status(0);
}
