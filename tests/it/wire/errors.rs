//! Answers of amb's own: told apart from the server's, with a reason, and recorded once.

use super::{answered, by_hand, get};
use crate::support::{Amb, Proxy, Upstream, ok, say_skipped};

/// Checklist 28, 107. Table: refused port.
#[test]
fn a_refused_port_is_a_502_that_says_so() {
    let proxy = Proxy::start();
    let answer = proxy.ask("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n");
    answer.assert_own(502, "connection_refused");
    assert_eq!(
        answer.field("proxy-status").as_deref(),
        Some("amb; error=connection_refused; next-hop=\"127.0.0.1:1\"; details=\"connection refused by 127.0.0.1:1\"")
    );
    assert_eq!(
        answer.field("content-type").as_deref(),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], 502);
    assert_eq!(problem["upstream"], "127.0.0.1:1");
    assert_eq!(problem["blame"], "upstream");
    proxy
        .end()
        .assert_exchanges(&[("failed", 1)])
        .assert_failure("connection_refused");
}

/// Checklist 28: nobody takes an answer of amb's own for the server's, be it no error.
#[test]
fn whatever_amb_answers_by_itself_says_so() {
    let hops = "Host: x\r\nMax-Forwards: 0\r\n\r\n";
    let proxy = Proxy::start();
    for (text, status, error) in [
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, "proxy_internal_response"),
        (
            &format!("OPTIONS http://x/ HTTP/1.1\r\n{hops}"),
            200,
            "proxy_internal_response",
        ),
        (
            &format!("TRACE http://x/ HTTP/1.1\r\n{hops}"),
            200,
            "proxy_internal_response",
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "http_request_error"),
        ("GET http://x/ HTTP/3.0\r\nHost: x\r\n\r\n", 505, "http_request_error"),
        ("CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "http_request_error"),
        ("\0\r\n\r\n", 400, "http_request_error"),
    ] {
        let answer = proxy.ask(text);
        assert_eq!(answer.status(), status, "{text}");
        let said = answer.fields("proxy-status");
        assert_eq!(said.len(), 1, "{text}: {}", answer.head());
        assert!(
            said[0].starts_with(&format!("amb; error={error}")),
            "{text}: {}",
            answer.head()
        );
    }
    proxy.end();
}

/// Checklist 107: a resolver that does not answer is told from one that knows no such name.
#[test]
fn a_resolver_that_does_not_answer_is_a_504() {
    // A network of its own, where the child holds the resolver's port and says nothing.
    let network = "ip link set lo up && mount --bind resolv.conf /etc/resolv.conf";
    let Some(unshare) = ["unshare -mn", "unshare -rmn"].into_iter().find(|unshare| {
        let probe = Amb::bare().shell(&format!(
            "echo nameserver 127.0.0.1 >resolv.conf; {unshare} sh -c '{network}'"
        ));
        probe.outcome().status.success()
    }) else {
        return say_skipped("no network of its own can be made here");
    };
    let outcome = Amb::bare()
        .shell(&format!(
            "echo nameserver 127.0.0.1 >resolv.conf; {unshare} sh -c '{network} && \
             exec \"$AMB\" run --summary off --connect-timeout 300ms -- \"$CHILD\" --mute 53 --get http://slow.test/'"
        ))
        .success();
    let said = outcome.stdout();
    assert!(
        said.starts_with("HTTP/1.1 504 ") && said.contains("urn:amb:error:dns_timeout"),
        "{said}\n{}",
        outcome.stderr()
    );
}

/// Checklist 107.
#[test]
fn an_unknown_name_is_a_502_that_says_so() {
    let proxy = Proxy::start();
    let answer = proxy.ask("GET http://nowhere.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n");
    answer.assert_own(502, "dns_error");
    assert!(
        answer.field("proxy-status").unwrap().contains("; rcode=\""),
        "{}",
        answer.head()
    );
    proxy.end().assert_exchanges(&[("failed", 1)]);
}

/// Checklist 107: no connection leads to a multicast address, whatever the machine's routes.
#[test]
fn an_address_that_no_route_leads_to_is_a_502_that_says_so() {
    let proxy = Proxy::start();
    proxy
        .ask("GET http://224.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .assert_own(502, "destination_ip_unroutable");
    proxy.end().assert_exchanges(&[("failed", 1)]).assert_opened(0);
}

/// Checklist 107.
#[test]
fn a_server_that_does_not_accept_is_a_504() {
    let full = super::faults::full_backlog();
    let proxy = Proxy::with(["--connect-timeout", "300ms"]);
    proxy
        .ask(format!(
            "GET http://127.0.0.1:{}/ HTTP/1.1\r\nHost: x\r\n\r\n",
            full.port()
        ))
        .assert_own(504, "connection_timeout");
    proxy
        .ask(format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\nHost: x\r\n\r\n", full.port()))
        .assert_own(504, "connection_timeout");
    proxy
        .end()
        .assert_exchanges(&[("failed", 1)])
        .assert_tunnels(&[("failed", 1)]);
}

/// Checklist 107: the body is in a type that the client asked for.
#[test]
fn an_error_is_told_in_the_clients_language() {
    let proxy = Proxy::start();
    for (accept, media_type) in [
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("application/json", "application/problem+json"),
        ("*/*", "application/problem+json"),
    ] {
        let answer = proxy.ask(format!(
            "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
        ));
        answer.assert_own(502, "connection_refused");
        assert_eq!(answer.field("content-type").as_deref(), Some(media_type));
    }
    proxy.end();
}

/// An error to a `HEAD` has no body.
#[test]
fn an_error_to_a_head_request_is_a_head() {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("HEAD http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").status(), 502);
    client.send(get(&origin));
    client.answer().assert_is(200, "hello");
    proxy.end();
    origin.join();
}

/// Checklist 108: a server's 502 is its own.
#[test]
fn a_servers_own_error_is_passed_on_and_counted_as_its_own() {
    let answer = answered("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nmine");
    answer.assert_is(502, "mine");
    assert_eq!(answer.field("proxy-status"), None);
}

/// A request whose body was not read yet leaves nothing behind that could be taken for a request.
#[test]
fn an_error_before_the_body_was_read_closes_the_connection() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\nGET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.answer();
    answer.assert_own(502, "connection_refused");
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    client.assert_closed();
    proxy.end().assert_exchanges(&[("failed", 1)]);
}

/// Checklist 107: closed before the response, inside its head, not HTTP, too large a head.
#[test]
fn what_is_no_response_is_a_502_that_says_what_it_was() {
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(2_000_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: 1\r\n".repeat(300));
    for (response, error) in [
        ("", "connection_terminated"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "http_response_incomplete"),
        ("HTTP/1.1 200 OK\r\n", "http_response_incomplete"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "http_protocol_error"),
        ("<html>\n\n</html>", "http_protocol_error"),
        ("HTTP/2.0 200 OK\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "http_protocol_error"),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "http_protocol_error",
        ),
        (&large, "http_response_header_section_size"),
        (&many, "http_response_header_section_size"),
    ] {
        answered(response).assert_own(502, error);
    }
}

/// A chunk that is broken from the beginning is still an answer.
#[test]
fn a_body_that_is_broken_from_its_first_byte_is_a_502() {
    answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello").assert_own(502, "http_protocol_error");
}

/// Checklist 103: a client that leaves is recorded as that, and its request is cancelled at once.
#[test]
fn a_client_that_leaves_cancels_its_request() {
    for sent in [
        "",
        "HTTP/1.1 200 OK\r\n\r\nevent",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nevent",
    ] {
        for by_reset in [false, true] {
            let (gone, is_gone) = std::sync::mpsc::channel();
            let origin = by_hand(move |mut peer, _| {
                peer.until(b"\r\n\r\n").unwrap();
                peer.send(sent).send("");
                gone.send(()).unwrap();
                peer.rest();
                gone.send(()).unwrap();
            });
            let proxy = Proxy::start();
            let mut client = proxy.connect();
            client.send(get(&origin));
            is_gone.recv().unwrap();
            if !sent.is_empty() {
                client.until(b"event").unwrap();
            }
            if by_reset {
                client.reset();
            } else {
                drop(client);
            }
            // The server hears of it though it sends nothing.
            is_gone.recv_timeout(crate::support::PATIENCE).unwrap();
            proxy.end().assert_exchanges(&[("aborted", 1)]);
        }
    }
}

/// Many leave when they have read that the server failed, and do not read why.
#[test]
fn a_client_that_leaves_at_the_head_of_a_server_error_has_seen_it_fail() {
    let (gone, is_gone) = std::sync::mpsc::channel();
    let origin = by_hand(move |mut peer, _| {
        peer.until(b"\r\n\r\n").unwrap();
        peer.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nsorry");
        peer.rest();
        gone.send(()).unwrap();
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(get(&origin));
    client.until(b"sorry").unwrap();
    drop(client);
    is_gone.recv_timeout(crate::support::PATIENCE).unwrap();
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 1)]);
    records.assert_failure("the server answered 503 Service Unavailable");
}

/// Checklist 103, decided as: a half-close is not a departure.
#[test]
fn a_client_that_only_half_closes_gets_its_answer() {
    let origin = by_hand(|mut peer, _| {
        peer.until(b"\r\n\r\n").unwrap();
        // Its end is passed on, and only then does the server answer.
        assert_eq!(peer.rest().0, b"");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(get(&origin)).half_close();
    client.answer().assert_is(200, "ok");
    client.assert_closed();
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}
