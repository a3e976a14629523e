//! What comes before the final answer: 1xx, `Expect`, answers before the request is complete; and streaming both ways.

use super::{aimed, answered, by_hand, get};
use crate::support::{Proxy, Step, Upstream};

/// Checklist 62. Table: 103 forwarded.
#[test]
fn interim_responses_reach_the_client_as_they_come() {
    let origin = by_hand(|mut peer, _| {
        peer.until(b"\r\n\r\n").unwrap();
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X\r\nX: 1\r\n\r\n");
        // The client says that it has the first before there is more.
        peer.until(b"seen").unwrap();
        peer.send("HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\nHTTP/1.1 103 Again\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer.rest();
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 4\r\n\r\n",
        &origin,
    ));
    let hints = client.answer();
    assert_eq!(hints.head(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    client.send("seen");
    assert_eq!(client.answer().head(), "HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(client.answer().status(), 103);
    client.answer().assert_is(200, "ok");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]);
}

/// Checklist 56, 62: never to an old client.
#[test]
fn an_old_client_gets_no_interim_response() {
    let origin = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
    ]]);
    let proxy = Proxy::start();
    proxy
        .ask(aimed("GET http://ORIGIN/ HTTP/1.0\r\n\r\n", &origin))
        .assert_is(200, "ok");
    proxy.end();
    origin.join();
}

/// Checklist 60, decided as: the server alone decides, as it would directly.
#[test]
fn expect_is_the_servers_to_answer() {
    let origin = by_hand(|mut peer, _| {
        let head = String::from_utf8(peer.until(b"\r\n\r\n").unwrap()).unwrap();
        assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.take(5).unwrap(), b"hello");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer.rest();
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(
        "PUT http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        &origin,
    ));
    assert_eq!(client.answer().head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    client.answer().assert_is(200, "ok");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]);
}

/// Checklist 60: a refusal instead of 100 comes at once, and the body is never sent.
#[test]
fn a_refusal_instead_of_100_reaches_the_client_at_once() {
    let origin = by_hand(|mut peer, _| {
        peer.until(b"\r\n\r\n").unwrap();
        peer.send("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
        assert_eq!(peer.rest().0, b"");
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(
        "PUT http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        &origin,
    ));
    client.answer().assert_is(401, "no");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}

/// Checklist 60, 45: curl keeps its body to itself once it is refused, and goes on with the next request (its test 357).
/// What then looks like the body is a request, and must not reach the server as anything else.
#[test]
fn what_follows_a_refusal_instead_of_100_is_not_taken_for_the_body() {
    for (refusal, announced) in [("417 No", None), ("401 Who", Some("close")), ("200 OK", Some("close"))] {
        let origin = Upstream::script([vec![
            Step::ReadHead,
            Step::Send(format!("HTTP/1.1 {refusal}\r\nContent-Length: 2\r\n\r\nno").into_bytes()),
            Step::Stall,
        ]]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        let request = aimed(
            "PUT http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            &origin,
        );
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.body(), "no");
        assert_eq!(answer.field("connection").as_deref(), announced, "{}", answer.head());
        client.send(&request);
        assert!(client.rest().0.is_empty(), "a second answer");
        proxy.end().assert_exchanges(&[("ok", 1)]);
        origin.release();
        assert_eq!(origin.join().len(), 1);
    }
}

/// Checklist 61.
#[test]
fn an_unknown_expectation_is_the_servers_too() {
    let (request, _) = super::passed("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nExpect: a-miracle\r\n\r\n");
    assert_eq!(request.field("expect"), Some("a-miracle"));
}

/// Checklist 63, 64. Table: early 413 delivered.
#[test]
fn an_answer_before_the_uploads_end_reaches_the_client() {
    for end in [vec![Step::Close], vec![Step::Reset], vec![Step::Stall, Step::Close]] {
        let mut steps = vec![
            Step::ReadHead,
            Step::Send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno".to_vec()),
            Step::Stall,
        ];
        steps.extend(end);
        let origin = Upstream::script([steps]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(aimed(
            "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 100000000\r\n\r\nbegin",
            &origin,
        ));
        client.answer().assert_is(413, "no");
        origin.release();
        client.send(vec![b'x'; 100_000]);
        assert!(client.rest().0.is_empty(), "more than one answer");
        proxy.end().assert_exchanges(&[("ok", 1)]);
        origin.release();
        origin.join();
    }
}

/// Checklist 63: though the client sends all it has before it looks.
#[test]
fn an_early_answer_survives_a_client_that_looks_late() {
    let origin = Upstream::script([vec![
        Step::ReadHead,
        Step::Send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        Step::Close,
    ]]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 200000\r\n\r\n",
        &origin,
    ));
    client.send(vec![b'x'; 200_000]);
    client.answer().assert_is(413, "no");
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}

/// Checklist 98. Table: SSE not buffered.
#[test]
fn each_event_reaches_the_client_before_the_next_is_made() {
    for (head, tail) in [
        ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"),
    ] {
        let events = ["7\r\nevent 1\r\n", "7\r\nevent 2\r\n", "7\r\nevent 3\r\n"];
        let mut steps = vec![Step::Read, Step::Send(head.into())];
        for event in events {
            steps.extend([Step::Send(event.into()), Step::Stall]);
        }
        steps.extend([Step::Send(tail.into()), Step::Close]);
        let origin = Upstream::script([steps]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.until(b"\r\n\r\n").unwrap();
        for event in events {
            assert_eq!(client.take(event.len()).unwrap(), event.as_bytes());
            origin.release();
        }
        assert_eq!(client.take(tail.len()).unwrap(), tail.as_bytes());
        proxy.end();
        origin.join();
    }
}

/// Checklist 99: a response may begin, and go on, while the request does.
#[test]
fn an_exchange_may_talk_both_ways_at_once() {
    let origin = by_hand(|mut peer, _| {
        peer.until(b"\r\n\r\n").unwrap();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let chunk = peer.until(b"\r\n").unwrap();
            peer.send(&chunk);
            if chunk == b"0\r\n" {
                peer.until(b"\r\n").unwrap();
                peer.send("\r\n");
                break;
            }
            let data = peer.until(b"\r\n").unwrap();
            peer.send(data);
        }
        peer.rest();
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n",
        &origin,
    ));
    client.until(b"\r\n\r\n").unwrap();
    for turn in 0..50 {
        let chunk = format!("4\r\n{turn:04}\r\n");
        client.send(&chunk);
        assert_eq!(client.take(chunk.len()).unwrap(), chunk.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.take(5).unwrap(), b"0\r\n\r\n");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]);
}

/// An interim response that nobody asked for does not end the exchange, and 101 does not come uncalled.
#[test]
fn a_101_that_nobody_asked_for_is_refused() {
    answered("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .assert_own(502, "http_protocol_error");
    answered("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").assert_is(100, "");
}
