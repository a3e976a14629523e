//! Where requests may go: what is refused and how, what gets past by no trick, and how it is told.

mod check;
mod escapes;
mod lock;

use std::{fs, net::SocketAddr};

use serde_json::{Value, json};

use super::support::{Amb, Child, Peer, Proxy, Upstream, ok, secure};

/// A proxy with a project's file, which is trusted.
#[track_caller]
fn proxy(file: &str, flags: &[&str]) -> Proxy {
    let run = Amb::run(flags).env("AMB_TRUST", "1");
    fs::write(run.home().join("amb.toml"), file).unwrap();
    Proxy::of(run)
}

/// A server that answers every request with this.
fn server(body: &'static str) -> Upstream {
    Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        while peer.until(b"\r\n\r\n").is_ok() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

/// A flag that leads every name to this machine.
const EVERYWHERE: &str = "--connect-to=::127.0.0.1:";

/// A request with this method for a path at this host, on the port of this address.
fn request(method: &str, host: &str, address: SocketAddr, path: &str) -> String {
    let port = address.port();
    format!("{method} http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")
}

/// A tunnel to this host, and the answer's head.
fn tunnel(proxy: &Proxy, host: &str, address: SocketAddr) -> (Peer, String) {
    let mut client = proxy.connect();
    let target = format!("{host}:{}", address.port());
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    let head = client.until(b"\r\n\r\n").unwrap();
    (client, String::from_utf8(head).unwrap())
}

/// The decisions of a report: action, host and rule, and how often.
fn decisions(report: &Value) -> Vec<(&str, &str, &str, u64)> {
    let each = report["egress"]["decisions"].as_array().unwrap().iter();
    each.map(|decision| {
        let text = |key: &str| decision[key].as_str().unwrap();
        (
            text("action"),
            text("host"),
            text("rule"),
            decision["count"].as_u64().unwrap(),
        )
    })
    .collect()
}

#[test]
fn a_refusal_names_the_rule_and_whom_to_ask() {
    let upstream = server("hi");
    let proxy = proxy(
        "[egress]\nmode = 'enforce'\ncontact = '#platform'\nallow = ['ok.test']\n\
         [[egress.rule]]\nid = 'no-deletes'\nmatch = { host = 'ok.test', method = 'DELETE' }\naction = 'deny'\n\
         message = 'deletions go by ticket'\n",
        &[EVERYWHERE],
    );
    let address = upstream.address();
    proxy.ask(request("GET", "ok.test", address, "/")).assert_is(200, "hi");
    let answer = proxy.ask(request("DELETE", "ok.test", address, "/x"));
    answer.assert_own(403, "http_request_denied");
    let body: Value = serde_json::from_str(&answer.body()).unwrap();
    assert_eq!(body["type"], "urn:amb:error:egress_denied");
    assert_eq!(
        (&body["rule"], &body["contact"]),
        (&json!("no-deletes"), &json!("#platform"))
    );
    let port = address.port();
    assert_eq!(
        body["detail"],
        format!("ok.test:{port} is not allowed by egress rule `no-deletes`: deletions go by ticket (ask #platform)")
    );
    let answer = proxy.ask(request("GET", "else.test", address, "/"));
    answer.assert_own(403, "http_request_denied");
    assert!(
        answer.body().contains("is not allowed by any rule of egress"),
        "{}",
        answer.body()
    );
    let (_, head) = tunnel(&proxy, "else.test", address);
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let records = proxy.end();
    records
        .assert_exchanges(&[("ok", 1), ("denied", 2)])
        .assert_tunnels(&[("denied", 1)]);
    let report = records.report();
    assert_eq!(report["egress"]["mode"], "enforce");
    assert_eq!(
        (&report["egress"]["denied"], &report["egress"]["would_deny"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(
        decisions(report),
        [
            ("deny", "else.test", "default", 2),
            ("deny", "ok.test", "no-deletes", 1),
            ("allow", "ok.test", "allow ok.test", 1),
        ]
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn every_decision_says_where_its_rule_was_written() {
    let upstream = server("hi");
    let address = upstream.address();
    let run = Amb::run(["--deny=flag.test", EVERYWHERE]).env("AMB_TRUST", "1");
    let home = run.home().to_owned();
    fs::write(
        home.join("amb.toml"),
        "[egress]\nmode = 'enforce'\nallow = ['file.test', 'central.test']\ndefault = 'deny'\n\
         [[egress.rule]]\nid = 'r'\nmatch = { host = 'rule.test' }\naction = 'deny'\n",
    )
    .unwrap();
    let policy = home.join("policy");
    fs::create_dir(&policy).unwrap();
    let central = policy.join("policy.toml");
    let bounds =
        "[enforce]\n'egress.deny' = { include = ['always.test'] }\n'egress.allow' = { within = ['file.test'] }\n";
    fs::write(&central, bounds).unwrap();
    let run = run
        .env("AMB_POLICY_ROOT", &policy)
        .env("AMB_EGRESS__EXTEND_ALLOW", "variable.test");
    let proxy = Proxy::of(run);
    let central = format!("central policy {}", central.display());
    for (host, status, origin) in [
        ("file.test", 200, "amb.toml"),
        // What the bound has left out.
        ("central.test", 403, "amb.toml"),
        ("variable.test", 403, "amb.toml"),
        ("rule.test", 403, "amb.toml"),
        ("flag.test", 403, "--deny"),
        ("always.test", 403, central.as_str()),
    ] {
        let answer = proxy.ask(request("GET", host, address, "/"));
        if status == 200 {
            answer.assert_is(200, "hi");
        } else {
            answer.assert_own(403, "http_request_denied");
            let body: Value = serde_json::from_str(&answer.body()).unwrap();
            assert_eq!(body["origin"], origin, "{host}");
        }
    }
    let records = proxy.end();
    let decisions = records.report()["egress"]["decisions"].as_array().unwrap();
    let of = |host: &str| &decisions.iter().find(|decision| decision["host"] == host).unwrap()["origin"];
    assert_eq!(
        (of("file.test"), of("always.test")),
        (&json!("amb.toml"), &json!(central))
    );
}

#[test]
fn an_audit_lets_everything_pass_and_tells_of_it() {
    let upstream = server("hi");
    let address = upstream.address();
    let proxy = Proxy::with(["--allow=ok.test", EVERYWHERE]);
    for host in ["ok.test", "else.test", "else.test"] {
        proxy.ask(request("GET", host, address, "/")).assert_is(200, "hi");
    }
    let outcome = proxy.running.wait();
    let report = outcome.report.as_ref().unwrap();
    assert_eq!(report["egress"]["mode"], "audit");
    assert_eq!(
        (&report["egress"]["denied"], &report["egress"]["would_deny"]),
        (&json!(0), &json!(2))
    );
    let line = format!("amb: would deny 2x else.test:{} rule=\"default\"\n", address.port());
    assert!(outcome.stderr().contains(&line), "{}", outcome.stderr());
}

#[test]
fn without_rules_nothing_is_said_of_egress() {
    let upstream = server("hi");
    let proxy = Proxy::start();
    proxy
        .ask(request("GET", "127.0.0.1", upstream.address(), "/"))
        .assert_is(200, "hi");
    assert!(proxy.end().report().get("egress").is_none());
}

#[test]
fn a_violation_fails_a_run_that_is_to_fail_of_it() {
    let upstream = Upstream::script([]);
    let run = |extra: &str, child: Child| {
        let run = Amb::run(["--egress=enforce", "--proxy-loopback"]).env("AMB_TRUST", "1");
        fs::write(run.home().join("amb.toml"), format!("[egress]\n{extra}")).unwrap();
        run.child(child).reporting().outcome()
    };
    let get = || Child::get(upstream.url("/"));
    let outcome = run("violations = 'fail'", get().then(["--exit", "0"]));
    outcome.assert_status(98);
    assert_eq!(
        outcome.report.as_ref().unwrap()["exit"],
        json!({ "code": 98, "reason": "policy_violation" })
    );
    let said = "amb: exit 98: a rule of egress was broken (the command itself exited 0)\n";
    assert!(outcome.stderr().ends_with(said), "{}", outcome.stderr());
    // What the command says of itself comes first.
    run("violations = 'fail'", get().then(["--exit", "3"])).assert_status(3);
    run("violations = 'report'", get().then(["--exit", "0"])).assert_status(0);
    run("violations = 'fail'", Child::exit(0)).assert_status(0);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn what_is_in_a_tunnel_is_asked_for_by_itself() {
    let upstream = server("hi");
    let address = upstream.address();
    let proxy = proxy(
        "[egress]\nmode = 'enforce'\n[[egress.rule]]\nid = 'read'\n\
         match = { host = 'api.test', method = 'GET', path = '/open/**' }\naction = 'allow'\n",
        &[EVERYWHERE],
    );
    let (mut client, head) = tunnel(&proxy, "api.test", address);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client
        .send("GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .answer()
        .assert_is(200, "hi");
    let shut = client
        .send("POST /open/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n")
        .answer();
    shut.assert_own(403, "http_request_denied");
    // What nobody can look into is not what the rule allows.
    let (mut client, head) = tunnel(&proxy, "api.test", address);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client.send(b"SSH-2.0-x\r\n");
    assert!(client.rest().0.is_empty());
    let (_, head) = tunnel(&proxy, "else.test", address);
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let records = proxy.end();
    records
        .assert_exchanges(&[("ok", 1), ("denied", 1)])
        .assert_tunnels(&[("denied", 2)]);
}

#[test]
fn requests_inside_decrypted_https_are_asked_for_too() {
    let scene = secure::Scene::prepared(|_, directory| {
        let file = directory.join("rules.toml");
        let rules = "[egress]\nmode = 'enforce'\nallow = ['127.0.0.1']\n[[egress.rule]]\nid = 'no-posts'\n\
                     match = { method = 'POST' }\naction = 'deny'\n";
        fs::write(&file, rules).unwrap();
        vec!["--intercept".to_owned(), format!("--config={}", file.display())]
    });
    let upstream = secure::hello(scene.root.server("127.0.0.1").config(), "hi");
    let mut client = scene.client(&upstream, "127.0.0.1");
    client
        .send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .answer()
        .assert_is(200, "hi");
    let posted = client
        .send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        .answer();
    posted.assert_own(403, "http_request_denied");
    let records = scene.proxy.end();
    records.assert_exchanges(&[("ok", 1), ("denied", 1)]);
}

#[test]
fn what_holds_for_a_request_can_be_asked() {
    let test = |words: &[&str]| {
        let run = Amb::bare().env("AMB_TRUST", "1");
        let file = "[egress]\nmode = 'enforce'\nallow = ['a.test']\n[[egress.rule]]\nid = 'r'\n\
                    match = { host = 'b.test', method = 'GET' }\naction = 'allow'\n";
        fs::write(run.home().join("amb.toml"), file).unwrap();
        let amb = env!("CARGO_BIN_EXE_amb");
        let words: Vec<&str> = [amb, "policy", "test"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        run.command(words).success().stdout().to_owned()
    };
    for (words, wanted) in [
        (&["http://a.test/"][..], "egress: allowed (allow a.test from amb.toml)"),
        (&["http://b.test/"], "egress: allowed (r from amb.toml:7:10)"),
        (&["POST", "http://b.test/"], "egress: refused (default)"),
        (
            &["https://b.test/"],
            "egress: what is in the tunnel decides: a rule allows some of it",
        ),
        (&["https://c.test/"], "egress: refused (default)"),
    ] {
        let said = test(words);
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
    let said: Value = serde_json::from_str(&test(&["--json", "http://c.test/"])).unwrap();
    assert_eq!(
        said["egress"],
        json!({ "action": "deny", "rule": "default", "origin": null, "message": null, "enforced": true })
    );
}

#[test]
fn the_access_log_has_the_rule() {
    let upstream = Upstream::script([ok("hi")]);
    let run = Amb::run([
        "--allow=ok.test",
        EVERYWHERE,
        "--egress=enforce",
        "--access-log=access.ndjson",
    ]);
    let log = run.home().join("access.ndjson");
    let directory = run.home().to_owned();
    let proxy = Proxy::of(run.directory(directory));
    proxy
        .ask(request("GET", "ok.test", upstream.address(), "/"))
        .assert_is(200, "hi");
    proxy
        .ask(request("GET", "else.test", upstream.address(), "/"))
        .assert_own(403, "http_request_denied");
    // Holds the home until the log is read.
    let address = proxy.address;
    let running = proxy.running;
    let read = || fs::read_to_string(&log).unwrap_or_default();
    while read().lines().count() < 2 {
        std::thread::yield_now();
    }
    let lines: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| ["action", "rule", "origin"].map(|part| line[format!("amb.egress.{part}")].clone()))
        .collect();
    assert_eq!(
        told,
        [
            [json!("allow"), json!("allow ok.test"), json!("--allow")],
            [json!("deny"), json!("default"), Value::Null],
        ]
    );
    Proxy { running, address }.end();
}
