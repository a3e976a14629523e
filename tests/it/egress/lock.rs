//! The lockfile: a good run writes it, a later one is held to it.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{EVERYWHERE, request, server, tunnel};
use crate::support::{
    Amb, Child, Proxy,
    secure::{Certificate, client_config, hello, shake},
};

/// A proxy of a run with these flags and a lockfile, by `--learn` or `--locked`.
#[track_caller]
fn with(flag: &str, file: &Path, flags: &[&str]) -> Proxy {
    let file = file.to_str().unwrap();
    let own = [flag, file, EVERYWHERE, "--no-config"];
    Proxy::of(Amb::run(own.iter().chain(flags).copied()))
}

/// A directory, and a lockfile in it.
fn lockfile() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("amb.lock");
    (directory, file)
}

/// The lines of a lockfile that are places.
fn places(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.starts_with("# Where the requests of a command go"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_a_good_run_asks_for_may_be_asked_for_again_and_nothing_else() {
    let upstream = server("hi");
    let address = upstream.address();
    let (_directory, file) = lockfile();
    let proxy = with("--learn", &file, &[]);
    for host in ["b.test", "a.test", "b.test"] {
        proxy.ask(request("GET", host, address, "/")).assert_is(200, "hi");
    }
    assert!(!file.exists(), "it is written at the end");
    proxy.end();
    let port = address.port();
    assert_eq!(places(&file), [format!("a.test:{port}"), format!("b.test:{port}")]);
    let proxy = with("--locked", &file, &["--egress=audit"]);
    proxy.ask(request("GET", "a.test", address, "/x")).assert_is(200, "hi");
    let answer = proxy.ask(request("GET", "c.test", address, "/"));
    answer.assert_own(403, "http_request_denied");
    let body: Value = serde_json::from_str(&answer.body()).unwrap();
    let shown = file.display();
    assert_eq!(
        (&body["rule"], &body["origin"]),
        (&json!("locked"), &json!(shown.to_string()))
    );
    let said = format!("it is not in {shown}, which a good run with --learn {shown} writes anew");
    assert!(body["detail"].as_str().unwrap().ends_with(&said), "{body}");
    let (_, head) = tunnel(&proxy, "c.test", address);
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let records = proxy.end();
    records
        .assert_exchanges(&[("ok", 1), ("denied", 1)])
        .assert_tunnels(&[("denied", 1)]);
    let egress = &records.report()["egress"];
    assert_eq!(egress["mode"], "enforce");
    let origins: Vec<_> = egress["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| &said["origin"])
        .collect();
    assert_eq!(origins, [&json!(shown.to_string()), &json!(shown.to_string())]);
}

#[test]
fn what_a_tunnel_is_called_inside_is_learned_too() {
    let root = Certificate::root("Root");
    let upstream = hello(root.server("inner.test").config(), "hi");
    let call = |proxy: &Proxy, name: &str| {
        let (client, head) = tunnel(proxy, "127.0.0.1", upstream.address());
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        shake(client_config(&[&root.pem()], &[]), name, client.stream).is_ok()
    };
    let (_directory, file) = lockfile();
    let proxy = with("--learn", &file, &[]);
    assert!(call(&proxy, "inner.test"));
    proxy.end();
    let port = upstream.address().port();
    assert_eq!(
        places(&file),
        [format!("127.0.0.1:{port}"), format!("inner.test:{port}")]
    );
    let proxy = with("--locked", &file, &[]);
    assert!(call(&proxy, "inner.test"));
    assert!(!call(&proxy, "other.test"));

    assert_eq!(proxy.end().tunnels("denied"), 1);
}

#[test]
fn rules_let_nothing_past_a_lockfile_and_hold_within_it() {
    let upstream = server("hi");
    let address = upstream.address();
    let (directory, file) = lockfile();
    let port = address.port();
    fs::write(&file, format!("ok.test:{port}\nshut.test:{port}\n")).unwrap();
    let rules = directory.path().join("rules.toml");
    fs::write(
        &rules,
        "[egress]\nmode = 'off'\nallow = ['else.test']\ndeny = ['shut.test']\n[[egress.rule]]\naction = 'allow'\n",
    )
    .unwrap();
    let config = format!("--config={}", rules.display());
    let proxy = with("--locked", &file, &[&config]);
    proxy.ask(request("GET", "ok.test", address, "/")).assert_is(200, "hi");
    for host in ["else.test", "shut.test", "127.0.0.1"] {
        proxy
            .ask(request("GET", host, address, "/"))
            .assert_own(403, "http_request_denied");
    }
    proxy.end();
}

#[test]
fn the_central_policy_stays_on_top() {
    let upstream = server("hi");
    let address = upstream.address();
    let (directory, file) = lockfile();
    let port = address.port();
    fs::write(&file, format!("a.ok.test:{port}\nelse.test:{port}\n")).unwrap();
    fs::write(
        directory.path().join("policy.toml"),
        "id = 'acme'\n[enforce]\n'egress.allow' = { within = ['*.ok.test'] }\n",
    )
    .unwrap();
    let flags = ["--locked", file.to_str().unwrap(), EVERYWHERE, "--no-config"];
    let proxy = Proxy::of(Amb::run(flags).env("AMB_POLICY_ROOT", directory.path()));
    proxy
        .ask(request("GET", "a.ok.test", address, "/"))
        .assert_is(200, "hi");
    proxy
        .ask(request("GET", "else.test", address, "/"))
        .assert_own(403, "http_request_denied");
    let records = proxy.end();
    let said = records.report()["run"]["policy"]["clamped"].to_string();
    assert!(said.contains("egress.allow") && said.contains("else.test"), "{said}");
}

#[test]
fn a_run_that_does_not_end_well_teaches_nothing() {
    let upstream = server("hi");
    let (_directory, file) = lockfile();
    fs::write(&file, "old.test:1\n").unwrap();
    let run = |status: &str| {
        let flags = ["--learn", file.to_str().unwrap(), "--proxy-loopback", "--no-config"];
        let child = Child::get(upstream.url("/")).then(["--exit", status]);
        Amb::run(flags).child(child).outcome()
    };
    let outcome = run("3");
    outcome.assert_status(3);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old.test:1\n");
    let said = format!(
        "nothing was learned, and {} stays as it was: the command did not end well",
        file.display()
    );
    assert!(outcome.stderr().contains(&said), "{outcome}");
    run("0").assert_status(0);
    assert_eq!(places(&file), [upstream.address().to_string()]);
}

#[test]
fn what_is_wrong_with_a_lockfile_lets_nothing_start() {
    let refused = |text: Option<&str>, more: &[&str], wanted: &str| {
        let run = Amb::run(["--locked=amb.lock", "--no-config"].iter().chain(more).copied());
        if let Some(text) = text {
            fs::write(run.home().join("amb.lock"), text).unwrap();
        }
        let outcome = run.command(["echo", "it ran"]).status(125);
        outcome.assert_stdout("");
        assert!(outcome.stderr().contains(wanted), "{outcome}");
    };
    let hint = "amb: --locked: there is no amb.lock; a run with --learn amb.lock that ends well writes it";
    refused(None, &[], hint);
    refused(
        Some("a.test:1\n*.b.test:1\n"),
        &[],
        "amb: --locked: line 2 of amb.lock: ",
    );
    refused(
        Some("a.test:1\n"),
        &["--learn=amb.lock"],
        "what is held to a lockfile learns nothing: leave out one of the two",
    );
}
