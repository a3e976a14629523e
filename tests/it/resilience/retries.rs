//! What is tried again, at which level, and what is not; each with what the server has seen.

use std::time::{Duration, SystemTime};

use super::{get, let_pass, refusing, request, set};
use crate::support::{Answer, End, Peer, Proxy, Step, Upstream, ok, status};

/// Answers with this head and body.
fn answer(text: &str) -> Vec<Step> {
    vec![Step::Read, Step::Send(text.as_bytes().to_vec())]
}

/// What the last line of `Proxy-Status` says.
fn proxy_status(answer: &Answer) -> String {
    answer.fields("proxy-status").pop().unwrap_or_default()
}

#[test]
fn retries_a_503_until_the_upstream_recovers() {
    let origin = Upstream::script([status(503), status(503), ok("hello")]);
    let proxy = set(&["retry.level=idempotent"]);
    let answer = proxy.ask(get(&origin));
    answer.assert_is(200, "hello");
    assert_eq!(proxy_status(&answer), "amb; details=\"attempt 3/3\"");
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 1)]);
    records.assert_retries(&[("retried", 1), ("retries", 2), ("rescued", 1)]);
    let requests = origin.join();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.head == requests[0].head));
}

/// By default, and with `--retries` alone, an answer is an answer: the request was executed.
#[test]
fn a_503_is_passed_on_unless_the_level_covers_it() {
    for (settings, why, would) in [
        (&[][..], "refused.off", "refused.idempotent_would"),
        (&["retry.attempts=5"], "refused.not_safe", "refused.idempotent_would"),
        (
            &["retry.level=idempotent", "retry.on=reset"],
            "refused.condition_not_listed",
            "",
        ),
    ] {
        let origin = Upstream::script([answer(
            "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 0\r\n\r\nbusy",
        )]);
        let proxy = set(settings);
        let answer = proxy.ask(get(&origin));
        answer.assert_is(503, "busy");
        assert_eq!(proxy_status(&answer), "");
        let records = proxy.end();
        records.assert_exchanges(&[("failed", 1)]);
        let expected = [(why, 1), (would, 1)];
        records.assert_retries(&expected[..if would.is_empty() { 1 } else { 2 }]);
        origin.join();
    }
}

#[test]
fn what_fails_to_the_end_is_passed_on_and_says_that_no_attempt_was_left() {
    let last = "HTTP/1.1 503 Still\r\nContent-Length: 5\r\n\r\nstill";
    let origin = Upstream::script([status(503), status(502), answer(last)]);
    let proxy = set(&["retry.level=idempotent"]);
    proxy.ask(get(&origin)).assert_is(503, "still");
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 1)]);
    records.assert_retries(&[("retried", 1), ("retries", 2), ("refused.attempts_used", 1)]);
    records.assert_failure("(not retried: no attempt was left)");
    assert_eq!(origin.join().len(), 3);
}

/// Nobody has heard of the request, so that any method may go again, at any level but `off`.
#[test]
fn a_refused_connection_is_tried_again_at_the_level_safe() {
    for (flags, seen) in [
        (&["--retries", "2"][..], 2),
        (&["--retries", "0"], 0),
        (&["--retry", "idempotent"], 2),
    ] {
        let (_kept, refused) = refusing();
        let proxy = Proxy::with(flags.iter().copied());
        let body = "POST http://ADDR/ HTTP/1.1\r\nHost: ADDR\r\nContent-Length: 2\r\n\r\nhi";
        let answer = proxy.ask(body.replace("ADDR", &refused.to_string()));
        answer.assert_own(502, "connection_refused");
        let records = proxy.end();
        records.assert_exchanges(&[("failed", 1)]);
        assert_eq!(records.retries("retries"), seen, "{flags:?}");
    }
}

/// The same, with a server that comes up meanwhile.
#[test]
fn a_server_that_comes_up_late_is_reached() {
    let (socket, address) = refusing();
    let proxy = Proxy::with([
        "--retries=50",
        "--set",
        "retry.backoff={ base = '10ms', max = '10ms', jitter = 'none' }",
        "--set",
        "retry.budget.min=100",
    ]);
    let mut client = proxy.connect();
    client.send(format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\nhi"
    ));
    // The first attempt has failed by the time that the client is heard to wait.
    let listener = std::thread::spawn(move || {
        let_pass(50);
        socket.listen(8).unwrap();
        let listener: std::net::TcpListener = socket.into();
        let mut peer = Peer::new(listener.accept().unwrap().0);
        assert!(peer.until(b"\r\n\r\nhi").is_ok());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer
    });
    client.answer().assert_is(200, "ok");
    drop(listener.join().unwrap());
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 1)]);
    assert_eq!((records.retries("retried"), records.retries("rescued")), (1, 1));
}

/// A reset or an end before an answer: the server may have executed the request.
#[test]
fn a_reset_before_the_answer_is_tried_again_where_it_may_run_twice() {
    for break_off in [Step::Reset, Step::Close] {
        for (method, level, seen) in [
            ("GET", "safe", 1),
            ("GET", "idempotent", 3),
            ("PUT", "idempotent", 1),
            ("POST", "idempotent", 1),
            ("POST", "all", 3),
        ] {
            let origin = Upstream::script(vec![vec![Step::Read, break_off.clone()]; seen]);
            let proxy = set(&[&format!("retry.level={level}")]);
            let body = if method == "GET" { "" } else { "hello" };
            proxy
                .ask(request(&origin, method, "", body))
                .assert_own(502, "connection_terminated");
            let records = proxy.end();
            assert_eq!(records.retries("retries"), seen as u64 - 1, "{method} {level}");
            let requests = origin.join();
            assert!(requests.iter().all(|request| request.body == body.as_bytes()));
            assert_eq!(requests.len(), seen, "{method} {level}");
        }
    }
}

/// In the head nothing has reached the client, so that another attempt can take its place; behind it there is no way back.
#[test]
fn an_answer_that_breaks_off_is_tried_again_only_before_its_body() {
    let cut = |text: &str| vec![Step::Read, Step::Send(text.as_bytes().to_vec()), Step::Reset];
    let origin = Upstream::script([cut("HTTP/1.1 200 O"), cut("HTTP/1.1 200 OK\r\nA: b"), ok("hello")]);
    let proxy = set(&["retry.level=idempotent"]);
    proxy.ask(get(&origin)).assert_is(200, "hello");
    proxy
        .end()
        .assert_retries(&[("retried", 1), ("retries", 2), ("rescued", 1)]);
    origin.join();

    let origin = Upstream::script([cut("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell")]);
    let proxy = set(&["retry.level=all"]);
    let answer = proxy.ask(get(&origin));
    assert_eq!((answer.status(), answer.end), (200, Some(End::Reset)));
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 1)]);
    records.assert_retries(&[("refused.answer_begun", 1)]);
    assert_eq!(origin.join().len(), 1);
}

#[test]
fn a_post_with_a_key_is_tried_again_and_one_without_is_not() {
    let settings = [
        "retry.level=idempotent",
        "retry.allow-non-idempotent-with=Idempotency-Key",
    ];
    let origin = Upstream::script([status(503), ok("charged")]);
    let proxy = set(&settings);
    let keyed = request(&origin, "POST", "idempotency-key: 1\r\n", "hello");
    proxy.ask(keyed).assert_is(200, "charged");
    proxy
        .end()
        .assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
    let requests = origin.join();
    assert_eq!(
        (requests.len(), requests[0].body.clone()),
        (2, requests[1].body.clone())
    );

    let origin = Upstream::script([status(503)]);
    let proxy = set(&settings);
    proxy.ask(request(&origin, "POST", "", "hello")).assert_is(503, "");
    let records = proxy.end();
    records.assert_retries(&[("refused.not_safe", 1), ("refused.all_would", 1)]);
    records.assert_failure("(not retried: it may have been executed; --retry all would have)");
    origin.join();
}

/// The body goes up as it comes, and what went is kept up to the limit.
#[test]
fn a_body_is_sent_again_up_to_the_limit_and_not_above() {
    for (size, settings, seen) in [
        (60_000, &[][..], 2),
        (300 * 1024, &[], 1),
        (300 * 1024, &["retry.buffer-limit=300KiB"], 2),
        (1024, &["retry.buffer-limit=1023B"], 1),
    ] {
        let body = "x".repeat(size);
        for chunked in [false, true] {
            let mut replies = vec![status(503), ok("stored")];
            replies.truncate(seen);
            let origin = Upstream::script(replies);
            let mut all = vec!["retry.level=idempotent", "retry.methods=['PUT']"];
            all.extend(settings);
            let proxy = set(&all);
            let text = if chunked {
                let (half, rest) = body.split_at(size / 2);
                let coded = format!("{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", half.len(), rest.len());
                request(&origin, "PUT", "Transfer-Encoding: chunked\r\n", "") + &coded
            } else {
                request(&origin, "PUT", "", &body)
            };
            // The coding is kept with the body, so that the smaller limit holds a little less of it.
            let mut client = proxy.connect();
            client.send(text);
            let answer = client.answer();
            let records = proxy.end();
            if chunked && size >= 300 * 1024 && seen == 2 {
                answer.assert_is(503, "");
                continue;
            }
            if seen == 2 {
                answer.assert_is(200, "stored");
                records.assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
                let requests = origin.join();
                assert_eq!(requests[0].body, requests[1].body);
                assert!(requests[1].body.len() >= size);
            } else {
                answer.assert_is(503, "");
                records.assert_retries(&[("refused.body_too_large", 1)]);
                origin.join();
            }
        }
    }
}

/// A server that answers before it has the body, and a client that goes on sending it: the next attempt gets all of it.
#[test]
fn a_body_that_is_still_on_its_way_goes_to_the_next_attempt() {
    let early = vec![
        Step::ReadHead,
        Step::Send(b"HTTP/1.1 503 Early\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Step::Stall,
        Step::Close,
    ];
    let origin = Upstream::script([early, ok("stored")]);
    let proxy = set(&["retry.level=idempotent", "retry.methods=['PUT']"]);
    let mut client = proxy.connect();
    client.send(request(&origin, "PUT", "", "hello world").trim_end_matches(" world"));
    origin.wait_for_requests(1);
    // By now the second attempt waits for the rest, or will.
    client.send(" world");
    client.answer().assert_is(200, "stored");
    proxy
        .end()
        .assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
    assert_eq!(origin.requests()[1].body, b"hello world");
}

#[test]
fn interim_answers_do_not_stand_in_the_way_of_another_attempt() {
    let hints = |then: &str| {
        answer(&format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 {then}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    let origin = Upstream::script([hints("503 Busy"), hints("200 OK")]);
    let proxy = set(&["retry.level=idempotent"]);
    let mut client = proxy.connect();
    client.send(get(&origin));
    let statuses = [(); 3].map(|()| client.answer().status());
    assert_eq!(statuses, [103, 103, 200]);
    proxy
        .end()
        .assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
    origin.join();
}

/// A client that waits for a 100 sends its body once it has one, and gets no second one.
#[test]
fn a_100_is_passed_on_once() {
    let go_on = |then: &str| {
        vec![
            Step::ReadHead,
            Step::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            Step::Stall,
            Step::Send(format!("HTTP/1.1 {then}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()),
            Step::Close,
        ]
    };
    let origin = Upstream::script([go_on("503 Busy"), go_on("200 OK")]);
    let proxy = set(&["retry.level=idempotent", "retry.methods=['PUT']"]);
    let mut client = proxy.connect();
    let text = request(&origin, "PUT", "Expect: 100-continue\r\n", "hello");
    let (head, body) = text.split_at(text.len() - 5);
    client.send(head);
    assert_eq!(client.answer().status(), 100);
    client.send(body);
    origin.release();
    origin.wait_for_requests(2);
    origin.release();
    assert_eq!(client.answer().status(), 200);
    proxy
        .end()
        .assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
}

#[test]
fn a_server_says_when_to_come_back() {
    let come_back = |status: u16, when: &str| {
        answer(&format!(
            "HTTP/1.1 {status} Later\r\nRetry-After: {when}\r\nContent-Length: 5\r\n\r\nlater"
        ))
    };
    // Dates without a zone of their own: long gone, and beyond what anybody waits.
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    for when in ["0", past] {
        for status in [429, 503] {
            let origin = Upstream::script([come_back(status, when), ok("hello")]);
            let proxy = set(&["retry.level=idempotent"]);
            proxy.ask(get(&origin)).assert_is(200, "hello");
            proxy
                .end()
                .assert_retries(&[("retried", 1), ("retries", 1), ("rescued", 1)]);
            origin.join();
        }
    }
    for (when, settings) in [
        ("31", &[][..]),
        ("Fri, 31 Dec 9999 23:59:59 GMT", &[]),
        ("2", &["timeout.request=2s"]),
    ] {
        let origin = Upstream::script([come_back(429, when)]);
        let mut all = vec!["retry.level=idempotent"];
        all.extend(settings);
        let proxy = set(&all);
        let answer = proxy.ask(get(&origin));
        answer.assert_is(429, "later");
        assert_eq!(answer.field("retry-after").as_deref(), Some(when));
        assert_eq!(proxy_status(&answer), "");
        proxy.end().assert_retries(&[("refused.retry_after_too_long", 1)]);
        origin.join();
    }
    // One that does not say when is an answer like any other.
    let origin = Upstream::script([status(429)]);
    let proxy = set(&["retry.level=idempotent"]);
    proxy.ask(get(&origin)).assert_is(429, "");
    proxy.end().assert_retries(&[]);
    origin.join();
}

#[test]
fn a_second_is_waited_for_when_a_server_asks_for_it() {
    let later = "HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let origin = Upstream::script([answer(later), ok("hello")]);
    let proxy = set(&["retry.level=idempotent"]);
    let began = SystemTime::now();
    proxy.ask(get(&origin)).assert_is(200, "hello");
    assert!(began.elapsed().unwrap() >= Duration::from_secs(1));
    proxy.end();
    origin.join();
}

/// Nobody is left for whom anything could be tried.
#[test]
fn nothing_is_tried_for_a_client_that_has_gone() {
    let origin = Upstream::script([answer(
        "HTTP/1.1 503 Later\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n",
    )]);
    let proxy = set(&["retry.level=idempotent"]);
    let mut client = proxy.connect();
    client.send(get(&origin));
    origin.wait_for_requests(1);
    drop(client);
    let records = proxy.end();
    records.assert_exchanges(&[("aborted", 1)]);
    records.assert_retries(&[]);
    assert_eq!(origin.join().len(), 1);
}

/// What is left of a refused answer is read if it is little, so that its connection can be used again, and otherwise cut off.
#[test]
fn the_connection_of_a_failed_attempt_is_used_again_if_that_costs_little() {
    for (body, connection) in [(16 * 1024, 0), (16 * 1024 + 1, 1)] {
        let busy = format!(
            "HTTP/1.1 503 Busy\r\nContent-Length: {body}\r\n\r\n{}",
            "x".repeat(body)
        );
        let origin = Upstream::script([answer(&busy), ok("hello")]);
        let proxy = set(&["retry.level=idempotent"]);
        proxy.ask(get(&origin)).assert_is(200, "hello");
        proxy.end();
        assert_eq!(origin.join()[1].connection, connection, "{body}");
    }
}

/// A name that does not exist will not exist in a moment either, and an answer that is not HTTP is one.
#[test]
fn what_would_happen_again_is_not_tried_again() {
    let proxy = set(&["retry.level=all"]);
    proxy
        .ask("GET http://nowhere.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .assert_own(502, "dns_error");
    let records = proxy.end();
    // Without a network the resolver says that it does not know, which may change.
    assert!(records.retries("refused.pointless") == 1 || records.retries("retries") == 2);

    let origin = Upstream::script([vec![Step::Read, Step::Send(b"SSH-2.0-x\r\n\r\n".to_vec()), Step::Close]]);
    let proxy = set(&["retry.level=all"]);
    proxy.ask(get(&origin)).assert_own(502, "http_protocol_error");
    proxy.end().assert_retries(&[("refused.pointless", 1)]);
    origin.join();
}

/// With nothing configured the server gets what it got before there were retries.
#[test]
fn without_any_configuration_nothing_on_the_wire_is_changed() {
    let origin = Upstream::script([answer(
        "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
    )]);
    let proxy = Proxy::with(["--no-via"]);
    let answer = proxy.ask(request(
        &origin,
        "PUT",
        "X-Odd:  case \r\nidempotency-KEY: 1\r\n",
        "hello",
    ));
    assert_eq!(
        answer.head(),
        "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    );
    proxy.end();
    let requests = origin.join();
    let address = origin_of(&requests[0]);
    let expected = format!(
        "PUT / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\nX-Odd:  case \r\nidempotency-KEY: 1\r\n\r\n"
    );
    assert_eq!((requests[0].head(), &*requests[0].body), (&*expected, &b"hello"[..]));
}

/// The `Host` of a request.
fn origin_of(request: &crate::support::Request) -> String {
    request.field("host").unwrap_or_default().to_owned()
}

/// Whoever asks for the level `all` is told what it did.
#[test]
fn the_level_all_warns_of_what_it_has_repeated() {
    let origin = Upstream::script([status(503), ok("hello"), ok("hello")]);
    let proxy = set(&["retry.level=all"]);
    proxy.ask(request(&origin, "POST", "", "hello")).assert_is(200, "hello");
    proxy.end().assert_failure("retries_may_repeat");
    let proxy = set(&["retry.level=all"]);
    proxy.ask(request(&origin, "POST", "", "hello")).assert_is(200, "hello");
    proxy.end().assert_absent("retries_may_repeat");
    origin.join();
}
