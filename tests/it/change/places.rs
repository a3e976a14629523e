//! Requests that go elsewhere, and what comes back of that.

use std::fs;

use serde_json::json;

use super::{answering, got, lead, proxy, record};
use crate::support::{
    Peer, Upstream,
    secure::{Scene, serve},
    status,
};

#[test]
fn a_request_goes_to_the_host_and_the_path_that_are_named() {
    let server = Upstream::script([answering(
        "HTTP/1.1 302 Found\r\nLocation: http://soap-v2.test/v2/next?a=/v2\r\nContent-Location: /v2/x\r\n\
         Refresh: 5; url=/v2/y\r\nSet-Cookie: a=b; Domain=soap-v2.test; Path=/v2; HttpOnly\r\nX-Path: /v2\r\n\
         Content-Length: 0\r\n\r\n",
    )]);
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("log");
    let file = "headers.via = false\n[[route]]\nid = 'soap'\nmatch = { host = 'soap.test', path = '/v1/**' }\n\
        rewrite = { host = 'soap-v2.test', path-prefix = '/v2', query = { set = { v = '2' }, remove = ['old'] } }\n";
    let proxy = proxy(
        file,
        &[
            "--access-log",
            log.to_str().unwrap(),
            &lead("soap-v2.test", server.address()),
        ],
    );
    let answer = proxy.ask(
        "POST http://soap.test/v1/a%2fb/../c?x=%2F&old=1 HTTP/1.1\r\nHost: ignored.test\r\nContent-Length: 4\r\n\r\nbody",
    );
    assert_eq!(
        got(server),
        "POST /v2/a%2fb/../c?x=%2F&v=2 HTTP/1.1\r\nHost: soap-v2.test\r\nContent-Length: 4\r\n\r\nbody"
    );
    assert_eq!(
        answer.head(),
        "HTTP/1.1 302 Found\r\nLocation: http://soap.test/v1/next?a=/v2\r\nContent-Location: /v1/x\r\n\
         Refresh: 5; url=/v1/y\r\nSet-Cookie: a=b; Domain=soap.test; Path=/v1; HttpOnly\r\nX-Path: /v2\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let records = proxy.end();
    records.assert_hosts(&["soap.test:80"]);
    let record = record(&log);
    assert_eq!(
        [
            &record["amb.sent_to"],
            &record["amb.edits"],
            &record["amb.route"],
            &record["server.address"]
        ],
        [
            &json!("http://soap-v2.test/v2/a%2fb/../c?x=%2F&v=2"),
            &json!("rewrite,rewrite.response"),
            &json!("soap"),
            &json!("soap.test")
        ]
    );
}

#[test]
fn a_command_that_speaks_plain_http_is_served_by_tls() {
    let mut started = None;
    let scene = Scene::prepared(|root, directory| {
        let server = serve(root.server("h.test").config(), |mut peer, _| {
            while let Ok(head) = peer.until(b"\r\n\r\n") {
                let body = String::from_utf8(head).unwrap();
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nLocation: https://h.test/b\r\nSet-Cookie: a=b; Domain=h.test; Secure\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
        });
        let file = "[[route]]\nmatch = { host = 'plain.test' }\nrewrite = { scheme = 'https', host = 'h.test' }\n\
            [[route]]\nmatch = { host = 'keep.test' }\n\
            rewrite = { scheme = 'https', host = 'h.test', preserve-host = true }\n\
            [[route]]\nmatch = { host = 'wrong.test' }\nrewrite = { scheme = 'https' }\n";
        let path = directory.join("rewrite.toml");
        fs::write(&path, file).unwrap();
        let flags = vec![
            "--no-via".to_owned(),
            format!("--config={}", path.display()),
            format!("--connect-to=:443:127.0.0.1:{}", server.address().port()),
        ];
        started = Some(server);
        flags
    });
    let mut client = scene.proxy.connect();
    let mut ask = |host: &str| {
        client.send(format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer()
    };
    for _ in 0..2 {
        let answer = ask("plain.test");
        assert_eq!(answer.body(), "GET /a HTTP/1.1\r\nHost: h.test\r\n\r\n");
        assert_eq!(answer.field("set-cookie").as_deref(), Some("a=b; Domain=plain.test"));
        assert_eq!(answer.field("location").as_deref(), Some("http://plain.test/b"));
    }
    let answer = ask("keep.test");
    assert_eq!(answer.body(), "GET /a HTTP/1.1\r\nHost: keep.test\r\n\r\n");
    ask("wrong.test").assert_own(502, "tls_certificate_error");
    // One connection for the three, as they go to one server, and the one that was refused.
    scene.proxy.end().assert_opened(2);
    drop(started);
}

#[test]
fn a_request_inside_a_tunnel_goes_elsewhere_too() {
    let (first, second) = (
        Upstream::serve(|stream, _| drop(Peer::new(stream).rest())),
        Upstream::script([status(200)]),
    );
    let file = "headers.via = false\n[[route]]\nmatch = { host = '127.0.0.1', path = '/away' }\n\
        rewrite = { host = 'other.test', port = 80 }\n";
    let proxy = proxy(file, &[&lead("other.test", second.address())]);
    let mut client = proxy.connect();
    let place = first.address().to_string();
    client.send(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"));
    client.until(b"\r\n\r\n").unwrap();
    client.send(format!("GET /away HTTP/1.1\r\nHost: {place}\r\n\r\n"));
    assert_eq!(client.answer().status(), 200);
    drop(client);
    assert_eq!(got(second), "GET /away HTTP/1.1\r\nHost: other.test\r\n\r\n");
    proxy.end();
}

#[test]
fn what_holds_for_a_server_holds_for_the_one_that_a_request_goes_to() {
    let server = Upstream::script([status(503)]);
    let file = "[circuit-breaker]\nenabled = true\nconsecutive-failures = 1\n\
        [[route]]\nmatch = { host = 'a.test' }\nrewrite = { host = 'server.test' }\n";
    let proxy = proxy(file, &[&lead("server.test", server.address())]);
    let ask = |host: &str| proxy.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(ask("a.test").status(), 503);
    let answer = ask("server.test");
    answer.assert_own(503, "destination_unavailable");
    assert!(answer.body().contains("server.test keeps failing"), "{}", answer.body());
    server.join();
    proxy.end();
}

#[test]
fn amb_s_own_address_is_no_place_to_go_to() {
    let file = "[[route]]\nmatch = { host = 'a.test' }\nrewrite = { host = '127.0.0.1' }\n";
    let proxy = proxy(file, &[]);
    let port = proxy.address.port();
    let answer = proxy.ask(format!("GET http://a.test:{port}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    answer.assert_own(403, "http_request_denied");
    proxy.end();
}

#[test]
fn a_parent_proxy_is_asked_for_the_place_that_a_request_goes_to() {
    let parent = Upstream::script([status(200)]);
    let file = "headers.via = false\n[[route]]\n\
        rewrite = { host = 'other.test', port = 81, strip-prefix = '/v1', preserve-host = true }\n";
    let flag = format!("--upstream-proxy={}", parent.url(""));
    let proxy = proxy(file, &[&flag]);
    proxy.ask("GET http://a.test/v1/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(
        got(parent),
        "GET http://other.test:81/x HTTP/1.1\r\nHost: a.test\r\n\r\n"
    );
    proxy.end();
}

#[test]
fn the_rules_of_egress_hold_for_the_place_that_a_request_goes_to() {
    let server = Upstream::script([status(200)]);
    let file = "[egress]\nmode = 'enforce'\nallow = ['a.test', 'b.test', 'good.test']\n\
        [[route]]\nmatch = { host = 'a.test' }\nrewrite = { host = 'good.test' }\n\
        [[route]]\nmatch = { host = 'b.test' }\nrewrite = { host = 'bad.test' }\n\
        [[route]]\nmatch = { host = 'c.test' }\nrewrite = { host = 'good.test' }\n";
    let proxy = proxy(file, &[&lead("good.test", server.address())]);
    let ask = |host: &str| proxy.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(ask("a.test").status(), 200);
    for (host, denied) in [("b.test", "bad.test:80"), ("c.test", "c.test:80")] {
        let answer = ask(host);
        answer.assert_own(403, "http_request_denied");
        assert!(answer.body().contains(denied), "{}", answer.body());
    }
    server.join();
    proxy.end();
}
