//! Connections to servers: used again when that is safe, and never so that a response reaches the wrong request.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use super::{aimed, by_hand, get};
use crate::support::{Proxy, Step, Upstream, ok};

/// A complete answer.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Decision 4.
#[test]
fn a_connection_is_used_again_for_the_next_request() {
    let origin = Upstream::script(std::iter::repeat_n(ok("hello"), 5));
    let proxy = Proxy::start();
    for _ in 0..5 {
        proxy.ask(get(&origin)).assert_is(200, "hello");
    }
    proxy.end().assert_exchanges(&[("ok", 5)]);
    assert!(origin.join().iter().all(|request| request.connection == 0));
}

/// Decision 4: what a server closed in the meantime is noticed, for any method.
#[test]
fn a_connection_that_the_server_closed_is_not_used_again() {
    for method in ["GET", "POST"] {
        let (closed, was_closed) = std::sync::mpsc::channel();
        let origin = by_hand(move |mut peer, _| {
            peer.until(b"\r\n\r\nhi").unwrap();
            peer.send(OK).half_close();
            closed.send(()).unwrap();
        });
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        let text = aimed(
            &format!("{method} http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 2\r\n\r\nhi"),
            &origin,
        );
        for _ in 0..20 {
            client.send(&text);
            client.answer().assert_is(200, "ok");
            was_closed.recv().unwrap();
        }
        proxy.end().assert_exchanges(&[("ok", 20)]);
        origin.join();
    }
}

/// A connection that ends after the request has arrived: the server may have executed it.
#[test]
fn a_get_that_the_server_has_heard_is_sent_again_only_if_that_was_asked_for() {
    let origin = by_hand(|mut peer, _| {
        peer.until(b"\r\n\r\n").unwrap();
        peer.send(OK);
        // The second request is read, and not answered.
        if peer.until(b"\r\n\r\n").is_ok() {
            peer.half_close();
        }
    });
    for (flags, status) in [
        (&[][..], 502),
        (&["--retries", "1"], 502),
        (&["--retry", "idempotent"], 200),
    ] {
        let proxy = Proxy::with(flags);
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.answer().assert_is(200, "ok");
        client.send(get(&origin));
        assert_eq!(client.answer().status(), status);
        let records = proxy.end();
        assert_eq!(records.exchanges("resends"), 0);
        assert_eq!(records.exchanges("ok"), if status == 200 { 2 } else { 1 });
    }
}

/// Directly, another client would have opened a connection of its own: what amb's pool breaks is mended.
#[test]
fn a_get_on_another_clients_connection_is_sent_again() {
    let origin = by_hand(|mut peer, number| {
        peer.until(b"\r\n\r\n").unwrap();
        peer.send(OK);
        // The first connection's second request is read, and not answered.
        if number == 0 && peer.until(b"\r\n\r\n").is_ok() {
            peer.reset();
        }
    });
    let proxy = Proxy::start();
    for _ in 0..2 {
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.answer().assert_is(200, "ok");
    }
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 2)]);
    assert_eq!(records.exchanges("resends"), 1);
}

/// The same with a method that must not run twice: never sent again.
#[test]
fn a_post_is_never_sent_twice() {
    for body in [
        "Content-Length: 2\r\n\r\nhi",
        "Content-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let (count, counted) = std::sync::mpsc::channel();
        let origin = by_hand(move |mut peer, _| {
            if peer.until(b"\r\n\r\n").is_ok() {
                count.send(()).unwrap();
                peer.send(OK);
            }
            if peer.until(b"\r\n\r\n").is_ok() {
                count.send(()).unwrap();
                peer.reset();
            }
        });
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.answer().assert_is(200, "ok");
        client.send(aimed(
            &format!("POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{body}"),
            &origin,
        ));
        client.answer().assert_own(502, "connection_terminated");
        let records = proxy.end();
        records.assert_exchanges(&[("ok", 1), ("failed", 1)]);
        assert_eq!(records.exchanges("resends"), 0);
        origin.join();
        assert_eq!(counted.iter().count(), 2);
    }
}

/// Checklist 51: a response too many never reaches the next request.
#[test]
fn a_response_that_nobody_asked_for_reaches_nobody() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (first, second) in [
        (format!("{}{evil}", String::from_utf8_lossy(OK)), ""),
        (String::from_utf8_lossy(OK).into_owned(), evil),
        (format!("HTTP/1.1 204 No Content\r\n\r\n{evil}"), ""),
        (
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}"),
            "",
        ),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{evil}"), ""),
    ] {
        let second = second.to_owned();
        let (sent, was_sent) = std::sync::mpsc::channel::<()>();
        let origin = by_hand(move |mut peer, number| {
            peer.until(b"\r\n\r\n").unwrap();
            if number > 0 {
                peer.send(OK);
            } else {
                peer.send(&first);
                peer.send(&second);
                sent.send(()).unwrap();
            }
            peer.rest();
        });
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        client.answer();
        was_sent.recv().unwrap();
        client.send(get(&origin));
        client.answer().assert_is(200, "ok");
        proxy.end().assert_exchanges(&[("ok", 2)]);
        assert_eq!(origin.connections(), 2);
    }
}

/// Checklist 47, 49, 104: after these nothing can follow on the same connection.
#[test]
fn a_connection_whose_framing_was_doubtful_is_not_used_again() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let answer = vec![Step::Read, Step::Send(response.into()), Step::Stall];
        let origin = Upstream::script([answer, ok("next")]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        client.send(get(&origin));
        assert_eq!(client.answer().status(), 200);
        client.send(get(&origin));
        client.answer().assert_is(200, "next");
        proxy.end();
        assert_eq!(origin.requests()[1].connection, 1, "{response}");
    }
}

/// Two hosts that lead to one server do not share a connection.
#[test]
fn connections_belong_to_the_authority_that_was_asked_for() {
    let origin = Upstream::script([ok("one"), ok("two"), ok("one")]);
    let proxy = Proxy::with([
        "--connect-to".to_owned(),
        format!("a.test:80:{}", origin.address()),
        "--connect-to".to_owned(),
        format!("b.test:80:{}", origin.address()),
    ]);
    for (host, body) in [("a.test", "one"), ("b.test", "two"), ("A.Test.", "one")] {
        proxy
            .ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n"))
            .assert_is(200, body);
    }
    proxy.end();
    let connections: Vec<_> = origin.join().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 0]);
}

/// A server that serves one connection at a time waits for the end of one that amb keeps, while others stand in line. Each of
/// these programs ends, and directly its connection would end with it. Otherwise each turn lasts as long as amb keeps a
/// connection, and the last of them gives up.
#[test]
fn a_connection_whose_client_is_gone_does_not_keep_the_server_from_the_next_one() {
    let turn = Arc::new(Mutex::new(()));
    let origin = by_hand(move |mut peer, _| {
        let turn = turn.lock();
        while peer.until(b"\r\n\r\n").is_ok() {
            peer.send(OK);
        }
        drop(turn);
    });
    let proxy = Proxy::start();
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                proxy.ask(get(&origin)).assert_is(200, "ok");
            });
        }
    });
    proxy.end().assert_exchanges(&[("ok", 24)]);
}

/// A POST goes over the connection that its own client has used before, as it would directly, and over nobody else's: a
/// server may be closing that one just now, after an answer that it took for the last.
#[test]
fn a_post_is_not_sent_over_a_connection_that_another_client_has_used() {
    let origin = Upstream::script([ok("hers"), ok("his"), ok("his again")]);
    let proxy = Proxy::start();
    let post = aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 2\r\n\r\nhi",
        &origin,
    );
    let mut clients = [proxy.connect(), proxy.connect()];
    for (client, request, body) in [
        (0, get(&origin), "hers"),
        (1, post.clone(), "his"),
        (1, post, "his again"),
    ] {
        clients[client].send(request);
        clients[client].answer().assert_is(200, body);
    }
    drop(clients);
    proxy.end().assert_exchanges(&[("ok", 3)]);
    let connections: Vec<_> = origin.join().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 1]);
}

/// NTLM authenticates a connection, not a request: between its steps, and behind them, nobody else's request may go over it.
#[test]
fn a_connection_by_which_the_server_knows_its_user_is_that_users_alone() {
    let origin = Upstream::script([
        vec![
            Step::Read,
            Step::Send(
                b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n".to_vec(),
            ),
        ],
        vec![
            Step::Read,
            Step::Send(
                b"HTTP/1.1 401 Go on\r\nWWW-Authenticate: NTLM challenge\r\nContent-Length: 0\r\n\r\n".to_vec(),
            ),
        ],
        ok("hers"),
        ok("his"),
        ok("his"),
        ok("hers"),
        ok("his"),
    ]);
    let proxy = Proxy::start();
    let ask = |method: &str, field: &str| {
        aimed(
            &format!("{method} http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{field}\r\n"),
            &origin,
        )
    };
    let mut him = proxy.connect();
    him.send(get(&origin));
    assert_eq!(
        him.answer().field("proxy-support").as_deref(),
        Some("Session-Based-Authentication")
    );
    him.send(ask("GET", "Authorization: NTLM negotiate\r\n"));
    assert_eq!(him.answer().status(), 401);
    let mut her = proxy.connect();
    her.send(get(&origin));
    her.answer().assert_is(200, "hers");
    him.send(ask("POST", "Authorization: NTLM authenticate\r\nContent-Length: 0\r\n"));
    him.answer().assert_is(200, "his");
    him.send(get(&origin));
    him.answer().assert_is(200, "his");
    her.send(get(&origin));
    her.answer().assert_is(200, "hers");
    him.send(get(&origin));
    him.answer().assert_is(200, "his");
    drop((him, her));
    proxy.end();
    let connections: Vec<_> = origin.join().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1, 0, 0, 1, 0]);
}
