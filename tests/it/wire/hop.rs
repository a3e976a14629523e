//! What goes no further than one connection, and what a proxy adds.

use super::{aimed, answered, passed};
use crate::support::{Proxy, Step, Upstream, ok};

/// Checklist 19. Table: Connection-nominated request field removed.
#[test]
fn fields_that_connection_names_are_removed_from_a_request() {
    let (request, _) = passed(
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nX-One: 1\r\nConnection: x-ONE ,, keep-alive\r\nX-Two: 2\r\nconnection: X-Two\r\nKeep-Alive: 5\r\nX-Three: 3\r\n\r\n",
    );
    let head = request.head().to_ascii_lowercase();
    for gone in ["x-one", "x-two", "connection", "keep-alive"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert!(head.contains("x-three: 3"), "{head}");
}

/// Checklist 20. Table: Proxy-Authorization kept from origin.
#[test]
fn what_is_for_the_proxy_is_kept_from_the_origin() {
    let (request, _) = passed(
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
    );
    let head = request.head().to_ascii_lowercase();
    for gone in ["proxy-", "te:", "upgrade", "http2-settings"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
}

/// Checklist 21.
#[test]
fn connection_cannot_take_away_what_routes_frames_or_authorises() {
    let (request, _) = passed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 2\r\nAuthorization: a\r\nCookie: c\r\nConnection: host, content-length, authorization, cookie, via\r\n\r\nhi",
    );
    let head = request.head().to_ascii_lowercase();
    for kept in [
        "host: 127",
        "content-length: 2",
        "authorization: a",
        "cookie: c",
        "via: 1.1 amb-",
    ] {
        assert!(head.contains(kept), "no {kept} in {head}");
    }
    assert_eq!(request.body, b"hi");
}

/// Checklist 19, 20. Table: hop-by-hop response fields removed.
#[test]
fn hop_by_hop_fields_are_removed_from_a_response() {
    let answer = answered(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let head = answer.head().to_ascii_lowercase();
    for gone in ["x-hop", "keep-alive", "connection", "upgrade"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert!(head.contains("x-kept: 1"), "{head}");
}

/// Checklist 20: an origin's own 401 and 407 are its own business.
#[test]
fn a_challenge_of_the_origin_is_passed_on() {
    let answer =
        answered("HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answer.status(), 407);
    assert!(answer.field("www-authenticate").is_some() && answer.field("proxy-authenticate").is_some());
}

/// Checklist 23: one entry each way, behind those that are there.
#[test]
fn via_is_added_behind_what_is_there_in_both_directions() {
    let (request, _) = passed("GET http://ORIGIN/ HTTP/1.0\r\nHost: ORIGIN\r\nVia: 1.0 fred\r\n\r\n");
    let vias: Vec<_> = request
        .head()
        .lines()
        .filter(|line| line.starts_with("Via: "))
        .collect();
    assert_eq!(vias.len(), 2, "{vias:?}");
    assert!(
        vias[0] == "Via: 1.0 fred" && vias[1].starts_with("Via: 1.0 amb-"),
        "{vias:?}"
    );
    let vias = answered("HTTP/1.1 200 OK\r\nVia: 1.1 fred\r\nContent-Length: 0\r\n\r\n").fields("via");
    assert_eq!(vias.len(), 2, "{vias:?}");
    assert!(vias[0] == "1.1 fred" && vias[1].starts_with("1.1 amb-"), "{vias:?}");
}

/// Checklist 109: its own entry in `Via` is a loop.
#[test]
fn a_request_that_comes_back_is_a_loop() {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::start();
    proxy.ask(super::get(&origin)).assert_is(200, "hello");
    let request = origin.join().remove(0);
    let via = request.field("via").expect("a Via").to_owned();
    let mut client = proxy.connect();
    client.send(format!(
        "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nVia: 1.0 a, {via}\r\n\r\n"
    ));
    client.answer().assert_own(502, "proxy_loop_detected");
    client.send(format!("GET http://127.0.0.1:1/ HTTP/1.0\r\nVia: {via}\r\n\r\n"));
    client.answer().assert_own(502, "proxy_loop_detected");
    client.assert_closed();
    proxy
        .ask(format!("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nVia: {via}\r\n\r\n"))
        .assert_own(502, "proxy_loop_detected");
    proxy
        .end()
        .assert_exchanges(&[("ok", 1), ("failed", 2)])
        .assert_tunnels(&[("failed", 1)]);
}

/// Checklist 25. Table: TRACE Max-Forwards:0 not forwarded.
#[test]
fn max_forwards_ends_at_amb_when_it_is_zero() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("TRACE http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nX: 1\r\nCookie: c\r\nAuthorization: a\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status(), answer.field("content-type").as_deref()),
        (200, Some("message/http"))
    );
    let echo = answer.body();
    assert!(
        echo.contains("X: 1\r\n") && !echo.contains("Cookie") && !echo.contains("Authorization"),
        "{echo}"
    );
    client.send("OPTIONS http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n");
    client.answer().assert_is(200, "");
    proxy.end().assert_exchanges(&[("ok", 2)]);
}

/// Checklist 25: counted down for two methods, left alone for the others.
#[test]
fn max_forwards_is_counted_down() {
    for (method, left) in [("TRACE", "4"), ("OPTIONS", "4"), ("GET", "5")] {
        let (request, _) = passed(&format!(
            "{method} http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nMax-Forwards: 5\r\n\r\n"
        ));
        assert_eq!(request.field("max-forwards"), Some(left));
    }
}

/// Checklist 26: regenerated, since amb carries trailers.
#[test]
fn a_wish_for_trailers_is_passed_on() {
    let (request, _) =
        passed("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTE: trailers, deflate\r\nConnection: TE\r\n\r\n");
    assert_eq!(
        (request.field("te"), request.field("connection")),
        (Some("trailers"), Some("TE"))
    );
}

/// Checklist 24, 31.
#[test]
fn nothing_but_via_is_added() {
    let (request, answer) = passed("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n");
    assert_eq!(request.head().lines().count(), 4, "{}", request.head());
    assert_eq!(answer.head().lines().count(), 4, "{}", answer.head());
}

/// Checklist 100, 101: what is said about the content is untouched.
#[test]
fn coded_and_partial_content_is_untouched() {
    let head = "HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-1/9\r\nETag: W/\"x\"\r\nContent-Length: 2\r\n";
    let answer = answered(format!("{head}\r\n\x1f\x00"));
    assert!(answer.head().starts_with(head), "{}", answer.head());
    assert_eq!(answer.body, b"\x1f\x00");
}

/// Checklist 104.
#[test]
fn a_connection_is_kept_or_closed_as_the_client_asks() {
    for (line, kept, said) in [
        ("HTTP/1.1\r\nHost: ORIGIN\r\n", true, None),
        (
            "HTTP/1.1\r\nHost: ORIGIN\r\nConnection: close\r\n",
            false,
            Some("close"),
        ),
        (
            "HTTP/1.1\r\nHost: ORIGIN\r\nProxy-Connection: close\r\n",
            false,
            Some("close"),
        ),
        ("HTTP/1.0\r\n", false, None),
        ("HTTP/1.0\r\nConnection: keep-alive\r\n", true, Some("keep-alive")),
        ("HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n", true, Some("keep-alive")),
    ] {
        let origin = Upstream::script(std::iter::repeat_n(ok("hello"), 1 + usize::from(kept)));
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        let text = aimed(&format!("GET http://ORIGIN/ {line}\r\n"), &origin);
        client.send(&text);
        let answer = client.answer();
        answer.assert_is(200, "hello");
        assert_eq!(answer.field("connection").as_deref(), said, "{line:?}");
        if kept {
            client.send(&text);
            client.answer().assert_is(200, "hello");
        } else {
            client.assert_closed();
        }
        proxy.end();
        origin.join();
    }
}

/// Checklist 104: what the server does with its connection is between it and amb.
#[test]
fn a_server_that_closes_does_not_close_the_clients_connection() {
    let closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let origin = Upstream::script(std::iter::repeat_n(
        vec![Step::Read, Step::Send(closing.to_vec()), Step::Close],
        2,
    ));
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send(super::get(&origin));
        let answer = client.answer();
        answer.assert_is(200, "ok");
        assert_eq!(answer.field("connection"), None);
    }
    proxy.end().assert_exchanges(&[("ok", 2)]);
    assert_eq!(origin.join()[1].connection, 1);
}
