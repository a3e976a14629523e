//! How long a message is: what is unambiguous passes unchanged, what is not is refused.

use super::{aimed, answered, by_hand, get, passed, refused};
use crate::support::{End, Proxy, Step, Upstream, ok};

/// `POST` with these field lines and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{fields}\r\n{body}")
}

/// A chunked `POST` with this body.
fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// Checklist 33–36. Table: CL+TE; differing CLs → 400.
#[test]
fn a_request_of_ambiguous_length_is_refused() {
    refused(
        [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 \x0b\r\n",
            "Content-Length: 1_0\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked;a=b\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\r\n",
        ]
        .map(|fields| (400, post(fields, "0\r\n\r\n"))),
    );
}

/// Checklist 37. Table: TE on HTTP/1.0.
#[test]
fn the_chunked_coding_is_refused_of_an_old_client() {
    refused([(
        400,
        "POST http://ORIGIN/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )]);
}

/// Checklist 38, 39, 40, 41, 30. Table: obs-fold; bare LF request rejected; space before colon → 400.
#[test]
fn a_head_that_parsers_read_differently_is_refused() {
    let line = "GET http://ORIGIN/ HTTP/1.1\r\n";
    refused(
        [
            "Host: h\r\nA: 1\r\n 2\r\n\r\n",
            "Host: h\r\n A: 1\r\n\r\n",
            " Host: h\r\n\r\n",
            "\tHost: h\r\n\r\n",
            "Host: h\nA: 1\r\n\r\n",
            "Host: h\r\nA: 1\n\n",
            "Host: h\r\nA: 1\r\n\n",
            "Host: h\r\nA: 1\rB: 2\r\n\r\n",
            "Host: h\r\nA: 1\r\r\n\r\n",
            "Host : h\r\n\r\n",
            "Host: h\r\nA\t: 1\r\n\r\n",
            "Host: h\r\nA: \x001\r\n\r\n",
            "Host: h\r\nA: \x7f\r\n\r\n",
            "Host: h\r\nA: \x01\r\n\r\n",
            "Host: h\r\nA\x00: 1\r\n\r\n",
            "Host: h\r\n: 1\r\n\r\n",
            "Host: h\r\nno colon\r\n\r\n",
            "Host: h\r\nA(b): 1\r\n\r\n",
        ]
        .map(|rest| (400, format!("{line}{rest}"))),
    );
    refused([
        (400, "GET http://ORIGIN/ HTTP/1.1\nHost: h\n\n"),
        (400, "GET  http://ORIGIN/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET\thttp://ORIGIN/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "G(T http://ORIGIN/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, "GET http://ORIGIN/ HTTP/1.1 \r\nHost: h\r\n\r\n"),
        (400, "GET http://ORIGIN/a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]);
}

/// Checklist 42, 44, 46. Table: bare LF after chunk size.
#[test]
fn a_broken_chunk_is_the_clients_fault_and_never_completed() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "8000000000000000\r\nhello\r\n0\r\n\r\n",
        "0\r\nContent-Length: 3\r\n\r\n",
        "0\r\nX: 1\n\r\n",
        "\r\nhello",
    ] {
        let origin = by_hand(|mut peer, _| {
            let (bytes, _) = peer.rest();
            assert!(!bytes.ends_with(b"0\r\n\r\n"), "{:?}", bytes.escape_ascii().to_string());
        });
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(aimed(&chunked(body), &origin));
        client.answer().assert_own(400, "http_request_error");
        client.assert_closed();
        proxy.end().assert_exchanges(&[("failed", 1)]).assert_failure("Client");
        origin.join();
    }
}

/// Checklist 46: a body that ends early.
#[test]
fn a_short_body_is_the_clients_fault_and_never_completed() {
    for text in [
        post("Content-Length: 9\r\n", "hello"),
        chunked("5\r\nhel"),
        chunked("5\r\nhello\r\n0\r\n"),
    ] {
        let origin = by_hand(|mut peer, _| {
            assert_eq!(peer.rest().1, End::Reset);
        });
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(aimed(&text, &origin)).half_close();
        client.answer().assert_own(400, "http_request_error");
        proxy.end().assert_exchanges(&[("failed", 1)]);
        origin.join();
    }
}

/// Checklist 27, 43, 54, 55, 99: framing goes on as it came, extensions and trailers included.
#[test]
fn a_body_keeps_its_framing_to_the_byte() {
    for (fields, body) in [
        ("", ""),
        ("Content-Length: 0\r\n", ""),
        ("Content-Length: 5\r\n", "hello"),
        ("content-length: 05\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        (
            "transfer-encoding:chunked\r\n",
            "A;x=\"y\"\r\n0123456789\r\n1\r\na\r\n000\r\nX-Sum: 1\r\n\r\n",
        ),
    ] {
        let (request, _) = passed(&post(fields, body));
        assert_eq!(String::from_utf8_lossy(&request.body), body);
        assert!(request.head().contains(fields), "{}", request.head());
        let lower = request.head().to_ascii_lowercase();
        assert_eq!(
            lower.contains("content-length"),
            fields.to_ascii_lowercase().contains("content-length")
        );
        assert_eq!(
            lower.contains("transfer-encoding"),
            fields.to_ascii_lowercase().contains("transfer-encoding")
        );
    }
}

/// Checklist 54: `GET` may have a body.
#[test]
fn a_get_keeps_its_body() {
    let (request, _) = passed("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(request.body, b"hello");
}

/// Checklist 45, 105: what is behind a body is the next request.
#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Upstream::script([ok("one"), ok("two"), ok("three")]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    let text = [
        chunked("2\r\nhi\r\n0\r\n\r\n"),
        post("Content-Length: 3\r\n", "abc"),
        chunked("0\r\n\r\n"),
    ]
    .concat();
    client.send(aimed(&text, &origin));
    for body in ["one", "two", "three"] {
        client.answer().assert_is(200, body);
    }
    proxy.end().assert_exchanges(&[("ok", 3)]);
    let requests = origin.join();
    assert_eq!(requests.iter().map(|it| it.body.len()).collect::<Vec<_>>(), [12, 3, 5]);
}

/// Checklist 45, 105: also when the client has said that it will send no more.
#[test]
fn pipelined_requests_are_answered_though_the_client_has_half_closed() {
    let origin = Upstream::script([ok("one"), ok("two"), ok("three")]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(get(&origin).repeat(3)).half_close();
    for body in ["one", "two", "three"] {
        client.answer().assert_is(200, body);
    }
    client.assert_closed();
    proxy.end().assert_exchanges(&[("ok", 3)]);
    origin.join();
}

/// Checklist 45: a body for amb's own answers is not the next request.
#[test]
fn a_body_that_amb_itself_answers_is_not_the_next_request() {
    let inner = "GET http://ORIGIN/smuggled HTTP/1.1\r\nHost: ORIGIN\r\n\r\n";
    for start in [
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n",
        "OPTIONS http://ORIGIN/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n",
        "TRACE http://ORIGIN/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n",
    ] {
        let origin = Upstream::script([]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        let inner = aimed(inner, &origin);
        let text = aimed(start, &origin);
        client.send(format!("{text}Content-Length: {}\r\n\r\n{inner}", inner.len()));
        assert_eq!(client.answer().status(), 200);
        client.assert_closed();
        proxy.end().assert_exchanges(&[("ok", 1)]);
        origin.join();
    }
    refused([(
        400,
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )]);
}

/// Checklist 47. Table: response CL+TE.
#[test]
fn a_response_with_two_lengths_is_passed_on_with_the_chunked_one() {
    let answer =
        answered("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    answer.assert_is(200, "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(answer.field("content-length"), None);
    for fields in [
        "Transfer-Encoding: gzip\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: x\r\n",
    ] {
        let answer = answered(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello"));
        answer.assert_is(200, "hello");
        assert_eq!(answer.field("content-length"), None, "{}", answer.head());
    }
}

/// Checklist 48. Table: response duplicate CL → 502.
#[test]
fn a_response_whose_lengths_contradict_is_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: five\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        answered(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello")).assert_own(502, "http_protocol_error");
    }
}

/// Checklist 48: nothing that follows on such a connection can be trusted.
#[test]
fn a_server_whose_lengths_contradict_is_cut_off() {
    let origin = by_hand(|mut peer, number| {
        peer.until(b"\r\n\r\n").unwrap();
        if number == 0 {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello");
        } else {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
        }
        // It would go on, if anybody asked.
        assert_eq!(peer.rest().0, b"");
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(get(&origin));
    client.answer().assert_own(502, "http_protocol_error");
    client.send(get(&origin));
    client.answer().assert_is(200, "next");
    proxy
        .end()
        .assert_exchanges(&[("ok", 1), ("failed", 1)])
        .assert_opened(2);
    origin.join();
}

/// Checklist 48: a server that repeats itself is understood, as it is without amb.
#[test]
fn a_length_that_is_said_twice_is_passed_on_once() {
    for fields in [
        "Content-Length: 5\r\nX: 1\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 5\r\nX: 1\r\n",
    ] {
        let answer = answered(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello"));
        answer.assert_is(200, "hello");
        assert_eq!(answer.fields("content-length"), ["5"], "{}", answer.head());
        assert_eq!(answer.end, None);
    }
}

/// Checklist 53: a 205 is framed as any other, whatever its server thinks of content.
#[test]
fn a_reset_content_ends_where_its_framing_says() {
    for (fields, body, next) in [
        ("Content-Length: 0\r\n", "", true),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", true),
        ("Content-Length: 2\r\n", "hi", true),
        ("", "", false),
    ] {
        let response = format!("HTTP/1.1 205 Reset Content\r\n{fields}\r\n{body}");
        let mut first = vec![Step::Read, Step::Send(response.into())];
        if !next {
            first.push(Step::Close);
        }
        let origin = Upstream::script([first, ok("next")]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        let answer = client.answer();
        answer.assert_is(205, body);
        assert_eq!(answer.end.is_none(), next, "{fields}");
        if !next {
            client = proxy.connect();
        }
        client.send(get(&origin));
        client.answer().assert_is(200, "next");
        proxy.end().assert_exchanges(&[("ok", 2)]);
        origin.join();
    }
}

/// Checklist 49, decided as: as it came, until the connection ends.
#[test]
fn a_response_without_a_length_ends_with_the_connection() {
    let answer = answered("HTTP/1.1 200 OK\r\nX: 1\r\n\r\nhello");
    answer.assert_is(200, "hello");
    assert_eq!(
        (answer.end, answer.field("connection").as_deref()),
        (Some(End::Closed), Some("close"))
    );
    assert_eq!(answer.field("transfer-encoding"), None);
}

/// Checklist 49, 50. Table: truncated body visible.
#[test]
fn a_response_that_breaks_off_does_not_look_complete() {
    for (response, end) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Step::Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Step::Reset),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Step::Close,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            Step::Close,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Step::Reset,
        ),
    ] {
        let steps = vec![Step::Read, Step::Send(response.into()), Step::Stall, end.clone()];
        let origin = Upstream::script([steps]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        let mut got = client.until(b"hello").expect("what there is");
        origin.release();
        // What came, and not a byte more that could pass for the rest.
        got.append(&mut client.rest().0);
        let got = String::from_utf8(got).unwrap();
        let via = got.split_inclusive("\r\n").find(|line| line.starts_with("Via: "));
        let got = got.replacen(via.unwrap_or_default(), "", 1);
        assert!(response.starts_with(&got), "{got}");
        let error = if matches!(end, Step::Close) {
            "http_response_incomplete"
        } else {
            "connection_terminated"
        };
        proxy.end().assert_exchanges(&[("failed", 1)]).assert_failure(error);
        origin.join();
    }
}

/// Checklist 49: where only the connection's end tells, a break is a reset.
#[test]
fn a_response_without_a_length_that_breaks_off_ends_in_a_reset() {
    let origin = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec()),
        Step::Stall,
        Step::Reset,
    ]]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(get(&origin));
    client.until(b"hello").expect("what there is");
    origin.release();
    assert_eq!(client.rest().1, End::Reset);
    proxy.end().assert_exchanges(&[("failed", 1)]);
    origin.join();
}

/// Checklist 52, 53.
#[test]
fn a_response_without_a_body_has_none_whatever_it_says() {
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        let first = vec![Step::Read, Step::Send(response.into())];
        let origin = Upstream::script([first, ok("next")]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin).replacen("GET", method, 1));
        let answer = client.answer_to(method);
        assert_eq!(answer.end, None);
        if response.contains(" 204 ") {
            assert_eq!(answer.field("transfer-encoding"), None);
            assert_ne!(answer.field("content-length").as_deref(), Some("5"));
        } else if response.contains("Content-Length") {
            assert_eq!(answer.field("content-length").as_deref(), Some("5"));
        }
        client.send(get(&origin));
        client.answer().assert_is(200, "next");
        proxy.end().assert_exchanges(&[("ok", 2)]);
        assert_eq!(origin.join()[1].connection, 0);
    }
}

/// Checklist 56. Table: chunked to HTTP/1.0 client avoided.
#[test]
fn an_old_client_never_sees_the_chunked_coding() {
    let origin = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\nX: 1\r\n\r\n".to_vec()),
    ]]);
    let proxy = Proxy::start();
    let answer = proxy.ask(aimed(
        "GET http://ORIGIN/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &origin,
    ));
    answer.assert_is(200, "hello");
    assert_eq!(
        (answer.field("transfer-encoding"), answer.end),
        (None, Some(End::Closed))
    );
    proxy.end().assert_exchanges(&[("ok", 1)]);
    assert!(origin.join()[0].head().starts_with("GET / HTTP/1.1\r\n"));
}

/// Checklist 49: without the coding only a reset can show that it broke off.
#[test]
fn an_old_client_sees_a_broken_chunked_body_as_a_reset() {
    let origin = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()),
        Step::Stall,
        Step::Close,
    ]]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed("GET http://ORIGIN/ HTTP/1.0\r\n\r\n", &origin));
    client.until(b"hello").expect("what there is");
    origin.release();
    assert_eq!(client.rest().1, End::Reset);
    proxy.end().assert_exchanges(&[("failed", 1)]);
    origin.join();
}

/// Checklist 27. Table: trailers forwarded.
#[test]
fn trailers_are_passed_on() {
    let body = "5;e=1\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Two: \r\n\r\n";
    let answer = answered(format!(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    ));
    answer.assert_is(200, body);
    assert_eq!(answer.field("trailer").as_deref(), Some("X-Sum"));
}

/// Checklist 27, 42: a response's chunks are held to the same rules.
#[test]
fn a_response_with_a_broken_chunk_ends_in_a_reset() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        "x\r\n",
    ] {
        let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n".to_vec();
        let steps = vec![
            Step::Read,
            Step::Send(start),
            Step::Stall,
            Step::Send(body.into()),
            Step::Stall,
        ];
        let origin = Upstream::script([steps]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.until(b"hi\r\n").expect("what there is");
        origin.release();
        assert_eq!(client.rest().1, End::Reset);
        origin.release();
        proxy.end().assert_exchanges(&[("failed", 1)]);
        origin.join();
    }
}
