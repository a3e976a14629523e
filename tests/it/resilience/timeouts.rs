//! Each limit by itself: what ends, as what, and what it does not touch.

use std::thread;

use super::{get, let_pass, request, set};
use crate::support::{End, Proxy, Step, Upstream, ok};

/// A complete answer.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that takes a request and does not answer.
fn silent() -> Upstream {
    Upstream::script([vec![Step::Read, Step::Stall]])
}

#[test]
fn an_answer_that_does_not_begin_in_time_is_a_504() {
    let origin = silent();
    let proxy = set(&["timeout.first-byte=100ms"]);
    let answer = proxy.ask(get(&origin));
    answer.assert_own(504, "connection_read_timeout");
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 1)]);
    records.assert_failure("the server did not begin its answer within 100ms");
    assert_eq!(origin.requests().len(), 1);
}

/// The time for the first byte begins with the last one of the request, and ends with an interim answer.
#[test]
fn the_first_byte_has_its_time_from_the_end_of_the_request() {
    let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec();
    let origin = Upstream::script([vec![
        Step::Read,
        Step::Send(hints),
        Step::Stall,
        Step::Send(OK.to_vec()),
    ]]);
    let proxy = set(&["timeout.first-byte=200ms"]);
    let mut client = proxy.connect();
    let text = request(&origin, "POST", "", "hello");
    let (head, body) = text.split_at(text.len() - 5);
    client.send(head);
    let_pass(400);
    client.send(body);
    assert_eq!(client.answer().status(), 103);
    let_pass(400);
    origin.release();
    client.answer().assert_is(200, "ok");
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}

/// A 100 says only that the request may go on.
#[test]
fn a_100_is_no_beginning_of_an_answer() {
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let origin = Upstream::script([vec![Step::ReadHead, Step::Send(go_on), Step::Stall, Step::Close]]);
    let proxy = set(&["timeout.first-byte=200ms"]);
    let mut client = proxy.connect();
    let text = request(&origin, "POST", "Expect: 100-continue\r\n", "hello");
    let (head, body) = text.split_at(text.len() - 5);
    client.send(head);
    assert_eq!(client.answer().status(), 100);
    client.send(body);
    client.answer().assert_own(504, "connection_read_timeout");
    proxy.end().assert_exchanges(&[("failed", 1)]);
}

#[test]
fn each_attempt_has_its_time_and_all_of_them_theirs() {
    // The first is given up, the second answers.
    let origin = Upstream::script([vec![Step::Read, Step::Stall], ok("hello")]);
    let proxy = set(&["timeout.per-try=100ms", "retry.level=idempotent"]);
    proxy.ask(get(&origin)).assert_is(200, "hello");
    proxy
        .end()
        .assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
    assert_eq!(origin.requests().len(), 2);

    let origin = silent();
    let proxy = set(&["timeout.per-try=100ms"]);
    proxy.ask(get(&origin)).assert_own(504, "http_response_timeout");
    let records = proxy.end();
    records.assert_failure("the attempt had no answer within 100ms");
    records.assert_retries(&[("refused.off", 1), ("refused.idempotent_would", 1)]);

    // The whole ends before the third attempt does.
    let origin = Upstream::script(vec![vec![Step::Read, Step::Stall]; 3]);
    let proxy = set(&[
        "timeout.per-try=200ms",
        "timeout.request=500ms",
        "retry.level=idempotent",
        "retry.attempts=9",
    ]);
    proxy.ask(get(&origin)).assert_own(504, "http_response_timeout");
    let records = proxy.end();
    records.assert_failure("the request was not over within 500ms");
    records.assert_retries(&[("retried", 1), ("retries", 2), ("refused.time_over", 1)]);
    assert_eq!(origin.requests().len(), 3);
}

/// An answer that has begun is cut off so that nobody takes it for complete.
#[test]
fn a_request_whose_time_is_over_is_cut_off_if_its_answer_has_begun() {
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked", "X: until close"] {
        let begun = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nab");
        let origin = Upstream::script([vec![Step::Read, Step::Send(begun.into_bytes()), Step::Stall]]);
        let proxy = Proxy::with(["--timeout", "200ms"]);
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.until(b"\r\n\r\n").unwrap();
        assert_eq!(client.rest().1, End::Reset, "{framing}");
        let records = proxy.end();
        records.assert_exchanges(&[("failed", 1)]);
        records.assert_failure("the request was not over within 200ms");
    }
}

#[test]
fn a_server_that_falls_silent_inside_its_answer_is_given_up() {
    let origin = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell".to_vec()),
        Step::Stall,
    ]]);
    let proxy = set(&["timeout.idle=200ms"]);
    let answer = proxy.ask(get(&origin));
    assert_eq!((answer.body(), answer.end), ("hell".to_owned(), Some(End::Reset)));
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 1)]);
    records.assert_failure("the server sent nothing for 200ms inside the response's body");
}

/// One that goes on, however slowly, is not; nor is one that has not begun.
#[test]
fn a_slow_server_is_not_a_silent_one() {
    let origin = Upstream::serve(|stream, _| {
        let mut peer = crate::support::Peer::new(stream);
        peer.until(b"\r\n\r\n").unwrap();
        let_pass(800);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        for _ in 0..8 {
            let_pass(150);
            peer.send("x");
        }
    });
    let proxy = set(&["timeout.idle=500ms"]);
    proxy.ask(get(&origin)).assert_is(200, "xxxxxxxx");
    proxy.end().assert_exchanges(&[("ok", 1)]);
}

/// What the command itself holds up is its own affair.
#[test]
fn a_client_may_pause_for_as_long_as_it_likes() {
    let body = "x".repeat(32 << 20);
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let origin = Upstream::script([ok("stored"), vec![Step::Read, Step::Send(response.into_bytes())]]);
    let proxy = set(&["timeout.idle=200ms"]);
    let mut client = proxy.connect();
    // Inside its request.
    client.send(request(&origin, "PUT", "", "hello").trim_end_matches("llo"));
    let_pass(700);
    client.send("llo");
    client.answer().assert_is(200, "stored");
    // Inside its answer, of which all buffers on the way are full.
    client.send(get(&origin));
    client.until(b"\r\n\r\n").unwrap();
    let_pass(700);
    assert_eq!(client.take(body.len()).map(|bytes| bytes.len()), Ok(body.len()));
    proxy.end().assert_exchanges(&[("ok", 2)]);
    origin.join();
}

/// A server that does not take the request any more.
#[test]
fn a_server_that_does_not_read_is_given_up() {
    let origin = Upstream::script([vec![Step::ReadHead, Step::Stall, Step::Close]]);
    let proxy = set(&["timeout.idle=200ms"]);
    let mut client = proxy.connect();
    let address = origin.address();
    client.send(format!(
        "PUT http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
        64 << 20
    ));
    let mut sender = client.stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        // It breaks off when amb has answered.
        drop(std::io::Write::write_all(&mut sender, &vec![b'x'; 64 << 20]));
    });
    let answer = client.try_answer("PUT");
    if let Ok(answer) = answer {
        answer.assert_own(504, "connection_write_timeout");
    }
    drop(client);
    sending.join().unwrap();
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 1)]);
    records.assert_failure("the server took nothing of the request's body for 200ms");
}

/// `fg` after a long Ctrl-Z times nothing out.
#[test]
fn no_limit_runs_while_amb_is_stopped() {
    let origin = Upstream::script([vec![Step::Read, Step::Stall, Step::Send(OK.to_vec())]]);
    let proxy = set(&[
        "timeout.first-byte=2s",
        "timeout.per-try=2s",
        "timeout.request=2s",
        "timeout.idle=2s",
    ]);
    let mut client = proxy.connect();
    client.send(get(&origin));
    origin.wait_for_requests(1);
    proxy.running.signal(libc::SIGSTOP);
    let_pass(3_000);
    proxy.running.signal(libc::SIGCONT);
    let_pass(100);
    origin.release();
    client.answer().assert_is(200, "ok");
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}
