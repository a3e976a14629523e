//! What a client speaks inside its tunnel: plain HTTP is carried as exchanges, everything else as bytes.

use std::sync::{Arc, Barrier};

use super::{aimed, by_hand, get};
use crate::support::{End, Peer, Proxy, Upstream, ok};

/// A client whose `CONNECT` to `origin` was answered.
#[track_caller]
fn connected(proxy: &Proxy, origin: &Upstream) -> Peer {
    let mut client = proxy.connect();
    client.send(aimed("CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", origin));
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 200 "));
    client
}

/// A client whose SOCKS5 request for `origin` was granted.
#[track_caller]
fn granted(proxy: &Proxy, origin: &Upstream) -> Peer {
    let mut client = proxy.connect();
    let port = origin.address().port().to_be_bytes();
    client.send([&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat());
    assert_eq!(client.take(12).unwrap()[..4], [5, 0, 5, 0]);
    client
}

#[test]
fn plain_http_is_seen_whichever_way_the_tunnel_was_asked_for() {
    for open in [connected, granted] {
        let origin = Upstream::script([ok("one"), ok("two")]);
        let proxy = Proxy::start();
        let mut client = open(&proxy, &origin);
        for (path, body) in [("/a?b=c", "one"), ("/d", "two")] {
            client.send(format!(
                "POST {path} HTTP/1.1\r\nhost: Name.Example\r\nX-Odd:  kept \r\nContent-Length: 2\r\n\r\nhi"
            ));
            client.answer().assert_is(200, body);
        }
        drop(client);
        proxy
            .end()
            .assert_exchanges(&[("ok", 2)])
            .assert_tunnels(&[("total", 0)]);
        let requests = origin.join();
        let head = requests[0].head();
        assert!(
            head.starts_with("POST /a?b=c HTTP/1.1\r\nhost: Name.Example\r\nX-Odd:  kept \r\n"),
            "{head}"
        );
        assert!(head.contains("Via: 1.1 amb-"), "{head}");
    }
}

#[test]
fn the_first_request_takes_the_tunnels_own_connection() {
    let origin = Upstream::script([ok("one")]);
    let proxy = Proxy::start();
    let mut client = connected(&proxy, &origin);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.answer().assert_is(200, "one");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]).assert_opened(1);
    assert_eq!(origin.connections(), 1);
    origin.join();
}

/// A slow typist.
#[test]
fn a_request_that_comes_byte_by_byte_is_a_request() {
    let origin = Upstream::script([ok("one")]);
    let proxy = Proxy::start();
    let mut client = connected(&proxy, &origin);
    for byte in b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" {
        client.send([*byte]);
    }
    client.answer().assert_is(200, "one");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}

#[test]
fn what_is_not_http_arrives_to_the_byte() {
    for sent in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\nConnection: x\r\n\r\n",
        b"CONNECT other.example:80 HTTP/1.1\r\n\r\n",
        b"OPTIONS rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"get key\r\n",
        // Half a request line, and then the client waits for the server.
        b"GET",
        b"POST /unfinished",
    ] {
        let origin = by_hand(move |mut peer, _| {
            assert_eq!(peer.take(sent.len()).unwrap(), sent);
            peer.send("answer");
        });
        let proxy = Proxy::start();
        let mut client = connected(&proxy, &origin);
        client.send(sent);
        assert_eq!(client.take(6).unwrap(), b"answer", "{}", sent.escape_ascii());
        drop(client);
        proxy.end().assert_exchanges(&[]).assert_tunnels(&[("ok", 1)]);
        origin.join();
    }
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let origin = by_hand(|mut peer, _| {
        peer.send("220 ready\r\n");
        assert_eq!(peer.take(16).unwrap(), b"GET / HTTP/1.1\r\n");
        peer.send("done");
    });
    let proxy = Proxy::start();
    let mut client = connected(&proxy, &origin);
    assert_eq!(client.take(11).unwrap(), b"220 ready\r\n");
    client.send("GET / HTTP/1.1\r\n");
    assert_eq!(client.take(4).unwrap(), b"done");
    drop(client);
    proxy.end().assert_exchanges(&[]).assert_tunnels(&[("ok", 1)]);
    origin.join();
}

/// A server that is gone before anybody spoke: its reset is passed on as one.
#[test]
fn a_reset_before_the_first_byte_is_passed_on() {
    let opened = Arc::new(Barrier::new(2));
    let told = Arc::clone(&opened);
    let origin = by_hand(move |peer, _| {
        told.wait();
        peer.reset();
    });
    let proxy = Proxy::start();
    let mut client = connected(&proxy, &origin);
    opened.wait();
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    proxy.end().assert_tunnels(&[("failed", 1)]);
    origin.join();
}

/// A protocol that only the two ends know: it is switched to as it would be without amb.
#[test]
fn a_switch_to_an_unknown_protocol_leaves_the_rest_to_the_two_ends() {
    const ASKED: &str = "POST /attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    let origin = by_hand(|mut peer, _| {
        let mut head = peer.until(b"\r\n\r\n").unwrap();
        if head.starts_with(b"GET") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            let Ok(next) = peer.until(b"\r\n\r\n") else { return };
            head = next;
        }
        assert_eq!(String::from_utf8(head).unwrap(), ASKED);
        peer.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw");
        assert_eq!(peer.take(3).unwrap(), b"raw");
        peer.send("end");
    });
    for before in ["", "GET /ping HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let proxy = Proxy::start();
        let mut client = connected(&proxy, &origin);
        if !before.is_empty() {
            client.send(before);
            client.answer().assert_is(200, "hi");
        }
        client.send(ASKED);
        assert!(
            client
                .until(b"\r\n\r\n")
                .unwrap()
                .starts_with(b"HTTP/1.1 101 UPGRADED\r\n")
        );
        assert_eq!(client.take(3).unwrap(), b"raw");
        client.send("raw");
        assert_eq!(client.take(3).unwrap(), b"end");
        drop(client);
        let exchanges = u64::from(!before.is_empty());
        proxy
            .end()
            .assert_exchanges(&[("ok", exchanges)])
            .assert_tunnels(&[("ok", 1)]);
    }
    origin.join();
}

/// The strict rules for framing hold inside too.
#[test]
fn an_ambiguous_request_is_refused_inside_as_outside() {
    let origin = by_hand(|mut peer, _| {
        assert_eq!(peer.rest().0, b"");
    });
    let proxy = Proxy::start();
    for head in [
        "Host: h\r\nHost: i\r\n",
        "Host: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut client = connected(&proxy, &origin);
        client.send(format!("POST / HTTP/1.1\r\n{head}\r\n"));
        client.answer().assert_own(400, "http_request_error");
        client.assert_closed();
    }
    proxy
        .end()
        .assert_exchanges(&[("failed", 3)])
        .assert_tunnels(&[("total", 0)]);
    origin.join();
}

/// The next request comes when the server has long closed the connection: there is another one.
#[test]
fn a_tunnel_outlives_the_connection_of_its_first_request() {
    let origin = Upstream::script([ok("one"), ok("two")]);
    let proxy = Proxy::start();
    let mut client = connected(&proxy, &origin);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    client.answer().assert_is(200, "one");
    proxy.ask(get(&origin)).assert_is(200, "two");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 2)]);
    origin.join();
}
