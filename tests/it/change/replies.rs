//! Other statuses and other bodies.

use super::{answering, lead, proxy, run};
use crate::support::{Proxy, Upstream, status};

/// A GET.
const GET: &str = "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n";

#[test]
fn a_status_becomes_another_and_its_body_goes_where_it_cannot_stay() {
    let server = Upstream::script([
        answering("HTTP/1.1 404 Nothing Here\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX: y\r\n\r\ngone"),
        answering("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
        answering("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
    ]);
    let file = "headers.via = false\n[response-status]\n404 = 204\n5xx = 502\n204 = 200\n";
    let proxy = proxy(file, &[&lead("api.test", server.address())]);
    let mut client = proxy.connect();
    let mut ask = || {
        let answer = client.send(GET).answer();
        format!("{}{}", answer.head(), answer.body())
    };
    assert_eq!(
        ask(),
        "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\nX: y\r\n\r\n"
    );
    assert_eq!(ask(), "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops");
    assert_eq!(ask(), "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n");
    drop(client);
    server.join();
    let records = proxy.end();
    // What the server said is what counts.
    records.assert_exchanges(&[("ok", 2), ("failed", 1)]).assert_opened(1);
    records.assert_failure("the server answered 500 Oops");
}

#[test]
fn retries_go_by_what_the_server_says() {
    let server = Upstream::script([status(503), status(200)]);
    let file = "[retry]\nlevel = 'idempotent'\nattempts = 1\n[response-status]\n503 = 404\n";
    let proxy = proxy(file, &[&lead("api.test", server.address())]);
    assert_eq!(proxy.ask(GET).status(), 200);
    server.join();
    proxy.end();
}

#[test]
fn a_body_is_replaced_by_a_text() {
    let server = Upstream::script([
        answering(
            "HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nETag: x\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nxxxx",
        ),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        answering("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n"),
    ]);
    let file = "headers.via = false\n[[route]]\nresponse-status = { 404 = 200 }\n\
        response-body = { text = '[]', content-type = 'application/json', on = ['404'] }\n";
    let proxy = proxy(file, &[&lead("api.test", server.address())]);
    let mut client = proxy.connect();
    let answer = client.send(GET).answer();
    assert_eq!(
        format!("{}{}", answer.head(), answer.body()),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
    );
    client.send(GET).answer().assert_is(200, "hi");
    client.send(GET.replace("GET", "HEAD"));
    let answer = client.answer_to("HEAD");
    assert_eq!(
        answer.head(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n"
    );
    drop(client);
    server.join();
    proxy.end().assert_opened(1);
}

#[test]
fn a_body_is_replaced_by_a_file_whatever_is_left_of_the_servers() {
    let long = "x".repeat(300_000);
    let server = Upstream::script([
        answering(&format!(
            "HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{long}",
            long.len()
        )),
        answering("HTTP/1.1 500 Oops\r\n\r\nuntil the end"),
    ]);
    let run = run(
        "headers.via = false\nresponse-body.file = 'page.json'\n",
        &[&lead("api.test", server.address())],
    );
    std::fs::write(run.home().join("page.json"), "{\"page\":1}\n").unwrap();
    let proxy = Proxy::of(run);
    let mut client = proxy.connect();
    for fields in [
        "Content-Length: 11\r\nContent-Type: application/json\r\n",
        "Content-Type: application/json\r\nContent-Length: 11\r\n",
    ] {
        let answer = client.send(GET).answer();
        assert_eq!(
            format!("{}{}", answer.head(), answer.body()),
            format!("HTTP/1.1 500 Oops\r\n{fields}\r\n{{\"page\":1}}\n")
        );
    }
    drop(client);
    drop(server);
    proxy.end();
}
