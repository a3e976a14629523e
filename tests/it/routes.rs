//! Routes from outside: what holds for some requests only, and how it is told.

use std::{fs, net::SocketAddr};

use serde_json::{Value, json};

use super::{
    support::{Amb, Peer, Proxy, Upstream, ok},
    wire::faults::full_backlog,
};

/// A proxy with a project's file.
#[track_caller]
fn proxy(file: &str, flags: &[&str]) -> Proxy {
    let run = Amb::run(flags);
    fs::write(run.home().join("amb.toml"), file).unwrap();
    Proxy::of(run)
}

/// A GET for a path at this host, on the port of this address.
fn get(host: &str, address: SocketAddr, path: &str) -> String {
    let port = address.port();
    format!("GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")
}

/// Opens a tunnel to this host.
#[track_caller]
fn tunnel(proxy: &Proxy, host: &str, address: SocketAddr) -> Peer {
    let mut client = proxy.connect();
    let target = format!("{host}:{}", address.port());
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 200 "));
    client
}

/// A flag that leads a name to this machine.
fn resolve(host: &str, address: SocketAddr) -> String {
    format!("--resolve={host}:{}:127.0.0.1", address.port())
}

#[test]
fn each_route_has_a_connect_timeout_of_its_own() {
    let backlog = full_backlog();
    let full = SocketAddr::from(([127, 0, 0, 1], backlog.port()));
    let routes = "timeout.connect = '300ms'\n\
        [[route]]\nid = 'a'\nmatch = { host = 'a.test' }\ntimeout = { connect = '110ms' }\n\
        [[route]]\nid = 'b'\nmatch = { host = 'b.test' }\ntimeout = { connect = '220ms' }\n\
        [[route]]\nid = 'same'\nmatch = { host = 'c.test' }\n";
    let names = ["a.test", "b.test", "c.test", "d.test"];
    let flags = names.map(|name| resolve(name, full));
    let proxy = proxy(routes, &flags.each_ref().map(String::as_str));
    for (name, limit) in names.into_iter().zip(["110ms", "220ms", "300ms", "300ms"]) {
        for request in [
            get(name, full, "/"),
            format!("CONNECT {name}:{} HTTP/1.1\r\nHost: x\r\n\r\n", full.port()),
        ] {
            let answer = proxy.ask(request);
            answer.assert_own(504, "connection_timeout");
            let said = answer.field("proxy-status").unwrap();
            assert!(said.contains(&format!("within {limit}")), "{name}: {said}");
        }
    }
    let records = proxy.end();
    let routes = records.report()["routes"].as_array().unwrap();
    let told: Vec<_> = routes
        .iter()
        .map(|route| (&route["id"], &route["requests"]["failed"], &route["tunnels"]["failed"]))
        .collect();
    let one = json!(1);
    assert_eq!(
        told,
        [
            (&json!("a"), &one, &one),
            (&json!("b"), &one, &one),
            (&json!("same"), &one, &one)
        ]
    );
}

/// Each record of the access log, with only what is asked about.
fn log_of(log: &str) -> Vec<Value> {
    let line = |line: &str| -> Value {
        let record: Value = serde_json::from_str(line).unwrap();
        json!([
            record["server.address"],
            record["url.path"],
            record["amb.route"],
            record["url.template"]
        ])
    };
    log.lines().map(line).collect()
}

#[test]
fn the_report_the_log_and_the_summary_name_the_route_and_the_path() {
    let origin = Upstream::script([ok("1"), ok("2"), ok("3"), ok("4"), ok("5")]);
    let routes = "[[route]]\nid = 'charges'\nmatch = { host = 'api.test', path = '/v1/charges/**' }\n\
        url-templates = ['/v1/charges/{id}', '/v1/charges/{id}/**']\n\
        [[route]]\nmatch = { host = '*.test' }\n";
    let flags: Vec<String> = ["api.test", "web.test", "a.b.test"]
        .map(|name| resolve(name, origin.address()))
        .into();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("calls.ndjson");
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(["--access-log", log.to_str().unwrap(), "--summary", "full"]);
    let proxy = proxy(routes, &flags);
    for (host, path) in [
        ("api.test", "/v1/charges/7?limit=1"),
        ("api.test", "/v1/charges/8"),
        ("api.test", "/v1/charges/8/refunds"),
        ("web.test", "/v1/charges/7"),
        ("a.b.test", "/"),
    ] {
        assert_eq!(proxy.ask(get(host, origin.address(), path)).status(), 200);
    }
    let outcome = proxy.running.wait();
    let said = outcome.stderr();
    assert!(said.contains("  ROUTE") && said.contains("\n  charges "), "{said}");
    assert!(said.contains("\n  *.test "), "{said}");
    let report = outcome.report.as_ref().unwrap();
    let charges = &report["routes"][0];
    assert_eq!(
        (&charges["id"], &charges["requests"]["ok"]),
        (&json!("charges"), &json!(3))
    );
    assert!(charges["latency_seconds"]["p95"].is_number(), "{charges}");
    let templates: Vec<_> = charges["url_templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| {
            (
                &template["method"],
                &template["url_template"],
                &template["requests"]["total"],
            )
        })
        .collect();
    let get = json!("GET");
    assert_eq!(
        templates,
        [
            (&get, &json!("/v1/charges/{id}"), &json!(2)),
            (&get, &json!("/v1/charges/{id}/**"), &json!(1)),
        ]
    );
    assert_eq!(report["routes"][1]["id"], "*.test");
    assert!(report["routes"][1].get("url_templates").is_none(), "{report}");
    assert_eq!(
        log_of(&fs::read_to_string(log).unwrap()),
        [
            json!(["api.test", "/v1/charges/7", "charges", "/v1/charges/{id}"]),
            json!(["api.test", "/v1/charges/8", "charges", "/v1/charges/{id}"]),
            json!(["api.test", "/v1/charges/8/refunds", "charges", "/v1/charges/{id}/**"]),
            json!(["web.test", "/v1/charges/7", "*.test", null]),
            json!(["a.b.test", "/", null, null]),
        ]
    );
}

#[test]
fn a_tunnel_has_no_path_and_a_request_inside_it_has() {
    let origin = Upstream::script([ok("inside")]);
    let routes = "[[route]]\nid = 'path'\nmatch = { path = '/v1/**' }\n\
        [[route]]\nid = 'header'\nmatch = { header = { X-Team = 'absent' } }\n\
        [[route]]\nid = 'tunnel'\nmatch = { method = 'CONNECT' }\n";
    let proxy = proxy(routes, &[&resolve("api.test", origin.address())]);
    let mut client = tunnel(&proxy, "api.test", origin.address());
    client.send("GET /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n");
    client.answer().assert_is(200, "inside");
    drop(client);
    let silent = Upstream::serve(|stream, _| drop(stream));
    let mut client = tunnel(&proxy, "127.0.0.1", silent.address());
    client.send([0]);
    drop(client.rest());
    drop(client);
    let records = proxy.end();
    let routes = records.report()["routes"].as_array().unwrap();
    let told: Vec<_> = routes
        .iter()
        .map(|route| (&route["id"], &route["requests"]["total"]))
        .collect();
    assert_eq!(told, [(&json!("path"), &json!(1)), (&json!("tunnel"), &json!(0))]);
}

#[test]
fn a_condition_that_fails_does_not_hold_and_is_told_once() {
    let origin = Upstream::script([ok("1"), ok("2"), ok("3")]);
    let routes = "[[route]]\nid = 'team'\nwhen = \"request.headers['x-team'] == 'billing'\"\n\
        [[route]]\nid = 'rest'\n";
    let proxy = proxy(routes, &[&resolve("api.test", origin.address())]);
    for extra in ["", "", "X-Team: billing\r\n"] {
        let request = get("api.test", origin.address(), "/").replace("\r\n\r\n", &format!("\r\n{extra}\r\n"));
        assert_eq!(proxy.ask(request).status(), 200);
    }
    let outcome = proxy.running.wait();
    let told = outcome.stderr().matches("a condition could not be evaluated").count();
    assert_eq!(told, 1, "{}", outcome.stderr());
    let report = outcome.report.as_ref().unwrap();
    let total = |id: &str| {
        let routes = report["routes"].as_array().unwrap();
        let route = routes.iter().find(|route| route["id"] == id).unwrap();
        route["requests"]["total"].clone()
    };
    assert_eq!((total("team"), total("rest")), (json!(1), json!(2)));
}
