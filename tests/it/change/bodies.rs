//! JSON in bodies that is edited.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::{answering, got, lead, proxy};
use crate::support::{Step, Upstream, status};

/// A file that edits JSON both ways.
const FILE: &str = "headers.via = false\n[json]\nset = { '/team' = 'billing' }\nremove = ['/debug']\n\
    [response-json]\nremove = ['/secret']\npatch = [{ op = 'add', path = '/list/-', value = 3 }]\n";

/// A request to a host with JSON.
fn post(host: &str, fields: &str, body: &str) -> String {
    format!(
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A response of this media type.
fn answer(fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Bytes by gzip.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn json_is_edited_both_ways_and_what_is_not_named_stays() {
    let fields =
        "Content-Type: application/problem+json\r\nETag: \"a\"\r\nDigest: x\r\nX: y\r\nAccept-Ranges: bytes\r\n";
    let response = answer(fields, "{\"z\": 1.10, \"secret\": 5, \"list\": [1,2]}");
    let server = Upstream::script([answering(&response)]);
    let proxy = proxy(FILE, &[&lead("api.test", server.address())]);
    let body = "{ \"b\": 12345678901234567890123, \"debug\": true, \"a\": null }";
    let answer = proxy.ask(post("api.test", "Content-MD5: x\r\n", body));
    let edited = "{\"b\":12345678901234567890123,\"a\":null,\"team\":\"billing\"}";
    assert_eq!(
        got(server),
        format!(
            "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{edited}",
            edited.len()
        )
    );
    assert_eq!(
        answer.head(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/problem+json\r\nX: y\r\nContent-Length: 25\r\n\r\n"
    );
    assert_eq!(answer.body(), "{\"z\":1.10,\"list\":[1,2,3]}");
    proxy.end();
}

#[test]
fn what_comes_in_chunks_and_encoded_goes_on_plainly_with_its_length() {
    let body = gzip(b"{\"list\":[],\"secret\":1}");
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for part in body.chunks(5) {
        response.extend(format!("{:x}\r\n", part.len()).bytes());
        response.extend(part);
        response.extend(b"\r\n");
    }
    response.extend(b"0\r\n\r\n");
    let server = Upstream::script([vec![Step::Read, Step::SendSlowly(response, 7)], status(200)]);
    let proxy = proxy(FILE, &[&lead("api.test", server.address())]);
    let mut client = proxy.connect();
    client.dribble(
        "POST http://api.test/ HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n3;x=y\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(
        answer.head(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
    );
    assert_eq!(answer.body(), "{\"list\":[3]}");
    // The connection of each side goes on.
    client.send("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    drop(client);
    proxy.end().assert_opened(1);
    let requests = server.join();
    assert_eq!(
        requests[0].head(),
        "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
    );
    assert_eq!(requests[0].body, b"{\"a\":1,\"team\":\"billing\"}");
}

#[test]
fn what_is_no_json_or_too_long_passes_to_the_byte_and_is_told() {
    let file = "headers.via = false\n[json]\nset = { '/a' = 1 }\nlimit = '20B'\n[response-json]\nset = { '/a/b' = 1 }\nlimit = '20B'\n";
    for (body, response, told) in [
        ("not json", "[1, 2]", "the response's body does not fit `response-json`"),
        (
            "{\"this\":\"is longer than twenty bytes\"}",
            "also longer than twenty bytes",
            "the response's body is longer than `response-json.limit`",
        ),
        ("{\"a\": 1}", "{\"a\":{\"b\": 1}}", ""),
    ] {
        let response = answer("Content-Type: application/json\r\nETag: x\r\n", response);
        let server = Upstream::script([answering(&response)]);
        let proxy = proxy(file, &[&lead("api.test", server.address())]);
        let request = post("api.test", "", body);
        let answer = proxy.ask(&request);
        assert_eq!(format!("{}{}", answer.head(), answer.body()), response);
        assert_eq!(got(server), request.replace("http://api.test/", "/"));
        let records = proxy.end();
        if told.is_empty() {
            assert!(records.report().get("edits").is_none());
        } else {
            assert_eq!(records.part("/edits/unedited"), &json!({ told: 1 }));
        }
    }
}

#[test]
fn what_is_too_long_is_refused_where_that_is_asked_for() {
    let file = "[json]\nset = { '/a' = 1 }\nlimit = '5B'\non-limit = 'refuse'\n\
        [response-json]\nset = { '/a' = 1 }\nlimit = '5B'\non-limit = 'refuse'\n";
    let response = answer("Content-Type: application/json\r\n", "{\"b\":2}");
    let server = Upstream::script([answering(&response)]);
    let proxy = proxy(file, &[&lead("api.test", server.address())]);
    proxy
        .ask(post("api.test", "", "{\"b\":2}"))
        .assert_own(413, "http_request_denied");
    proxy
        .ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n")
        .assert_own(502, "http_response_body_size");
    server.join();
    proxy.end().assert_exchanges(&[("denied", 2)]);
}

#[test]
fn parts_and_other_types_are_left_alone() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Type: application/json\r\nContent-Range: bytes 0-1/9\r\n\
        Content-Length: 2\r\n\r\n{\"";
    let text = answer("Content-Type: text/plain\r\nETag: x\r\n", "{\"secret\":1,\"list\":[]}");
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Type: application/json\r\nETag: x\r\n\r\n";
    let server = Upstream::script([answering(part), answering(&text), answering(unchanged)]);
    let proxy = proxy(FILE, &[&lead("api.test", server.address())]);
    for expected in [part, &text, unchanged] {
        let answer = proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
        assert_eq!(format!("{}{}", answer.head(), answer.body()), expected);
    }
    server.join();
    proxy.end();
}

#[test]
fn a_head_says_no_length_that_its_get_would_not_have() {
    let server = Upstream::script([answering(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\nETag: x\r\nX: y\r\n\r\n",
    )]);
    let proxy = proxy(FILE, &[&lead("api.test", server.address())]);
    let mut client = proxy.connect();
    client.send("HEAD http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let answer = client.answer_to("HEAD");
    assert_eq!(
        answer.head(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX: y\r\n\r\n"
    );
    drop(client);
    server.join();
    proxy.end();
}

#[test]
fn an_edited_body_is_sent_again_with_a_retry() {
    let server = Upstream::script([status(503), status(200)]);
    let flags = [
        "--retries=1",
        "--retry=all",
        "--set=retry.buffer-limit=\"1KiB\"",
        &lead("api.test", server.address()),
    ];
    let proxy = proxy(FILE, &flags);
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(3000));
    let answer = proxy.ask(post("api.test", "", &body));
    assert_eq!(answer.status(), 200);
    let requests = server.join();
    let edited = format!("{{\"text\":\"{}\",\"team\":\"billing\"}}", "x".repeat(3000));
    for request in &requests {
        assert_eq!(String::from_utf8_lossy(&request.body), edited);
    }
    assert_eq!(requests[0].head, requests[1].head);
    proxy.end();
}

#[test]
fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let server = Upstream::script([status(200)]);
    let proxy = proxy(FILE, &[&lead("api.test", server.address())]);
    let mut client = proxy.connect();
    client.send(
        "POST http://api.test/ HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 100);
    client.send("{}");
    assert_eq!(client.answer().status(), 200);
    drop(client);
    assert_eq!(
        got(server),
        "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"team\":\"billing\"}"
    );
    proxy.end();
}

#[test]
fn a_body_that_breaks_off_is_not_made_whole() {
    let server = Upstream::script([
        vec![
            Step::Read,
            Step::Send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"list\":[]}"
                    .to_vec(),
            ),
            Step::Close,
        ],
        vec![Step::ReadHead, Step::Close],
    ]);
    let proxy = proxy(FILE, &[&lead("api.test", server.address())]);
    let answer = proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert!(answer.end.is_some() && answer.body() == "{\"list\":[]}", "{answer:?}");
    let mut client = proxy.connect();
    client.send(
        "POST http://api.test/ HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}",
    );
    client.half_close();
    client.answer().assert_own(400, "http_request_error");
    drop(client);
    proxy.end();
}
