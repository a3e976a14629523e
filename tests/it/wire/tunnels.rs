//! `CONNECT`: opaque bytes both ways.

use std::thread;

use super::{aimed, by_hand, get};
use crate::support::{End, Peer, Proxy, Upstream, ok};

/// A client inside a tunnel to `origin`.
#[track_caller]
fn tunnel(proxy: &Proxy, origin: &Upstream) -> Peer {
    let mut client = proxy.connect();
    client.send(aimed("CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", origin));
    let head = client.until(b"\r\n\r\n").unwrap();
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(
        !lower.contains("content-length") && !lower.contains("transfer-encoding"),
        "{head}"
    );
    client
}

/// Checklist 71, 73: what the client sends at once is not lost, and who speaks first does not matter.
#[test]
fn a_tunnel_carries_what_was_sent_ahead() {
    let origin = by_hand(|mut peer, _| {
        peer.send("banner");
        assert_eq!(peer.take(5).unwrap(), b"hello");
        peer.send("bye");
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed("CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\nhello", &origin));
    client.until(b"\r\n\r\n").unwrap();
    assert_eq!(client.take(9).unwrap(), b"bannerbye");
    client.half_close();
    client.assert_closed();
    proxy.end().assert_tunnels(&[("ok", 1)]);
    origin.join();
}

/// Checklist 76: the program has its own reasons for a port, be it that of mail.
#[test]
fn a_tunnel_may_lead_to_any_port_but_ambs_own() {
    let origin = by_hand(|mut peer, _| {
        peer.send("220 ready");
    });
    let proxy = Proxy::with(["--connect-to".to_owned(), format!("mail.test::{}", origin.address())]);
    for port in [25, 80, 443, 65_535] {
        let mut client = proxy.connect();
        client.send(format!("CONNECT mail.test:{port} HTTP/1.1\r\nHost: mail.test\r\n\r\n"));
        client.until(b"\r\n\r\n").unwrap();
        assert_eq!(client.take(9).unwrap(), b"220 ready");
    }
    let own = proxy.address;
    proxy
        .ask(format!("CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n"))
        .assert_own(403, "http_request_denied");
    let records = proxy.end();
    assert_eq!(
        (records.tunnels("total"), records.tunnels("failed")),
        (5, 1),
        "{records:?}"
    );
}

/// Checklist 6, 71: also from old clients.
#[test]
fn an_old_client_gets_its_tunnel() {
    let origin = by_hand(|mut peer, _| {
        peer.send("banner");
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed("CONNECT ORIGIN HTTP/1.0\r\n\r\n", &origin));
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 200 "));
    assert_eq!(client.take(6).unwrap(), b"banner");
    drop(client);
    proxy.end();
}

/// Checklist 72, 107. Table: refused port.
#[test]
fn a_tunnel_that_cannot_be_opened_says_why_and_the_connection_goes_on() {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.answer().assert_own(502, "connection_refused");
    client.send("CONNECT nowhere.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.answer().assert_own(502, "dns_error");
    client.send(get(&origin));
    client.answer().assert_is(200, "hello");
    client.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.answer().assert_own(502, "connection_refused");
    client.assert_closed();
    proxy
        .end()
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("failed", 3)]);
    origin.join();
}

/// Checklist 72, 73: bytes for a tunnel that does not open are not a request.
#[test]
fn bytes_sent_ahead_into_a_tunnel_that_does_not_open_are_no_request() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01 hello\r\n\r\n");
    client.answer().assert_own(502, "connection_refused");
    client.assert_closed();
    proxy.end().assert_exchanges(&[]).assert_tunnels(&[("failed", 1)]);
}

/// A body in a `CONNECT` has no meaning.
#[test]
fn a_connect_with_a_body_is_refused() {
    super::refused([
        (
            400,
            "CONNECT ORIGIN HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            400,
            "CONNECT ORIGIN HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ]);
}

/// Checklist 74.
#[test]
fn each_sides_end_is_passed_on_by_itself() {
    let origin = by_hand(|mut peer, number| {
        if number == 0 {
            assert_eq!(peer.rest(), (b"question".to_vec(), End::Closed));
            peer.send("answer");
        } else {
            peer.send("statement").half_close();
            assert_eq!(peer.rest(), (b"applause".to_vec(), End::Closed));
        }
    });
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin);
    client.send("question").half_close();
    assert_eq!(client.rest(), (b"answer".to_vec(), End::Closed));
    let mut client = tunnel(&proxy, &origin);
    assert_eq!(client.rest(), (b"statement".to_vec(), End::Closed));
    client.send("applause").half_close();
    drop(client);
    proxy.end().assert_tunnels(&[("ok", 2)]);
    origin.join();
}

/// Checklist 103: nobody is left to whom the server could send anything, so its silence does not hold the tunnel.
#[test]
fn a_tunnel_ends_with_a_client_that_has_closed_for_good() {
    let (recorded, records) = std::sync::mpsc::channel::<()>();
    let records = std::sync::Arc::new(std::sync::Mutex::new(records));
    let origin = by_hand(move |mut peer, _| {
        assert_eq!(peer.rest(), (b"goodbye".to_vec(), End::Closed));
        // It keeps its own half open until the run is over.
        records.lock().unwrap().recv().unwrap();
    });
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin);
    client.send("goodbye");
    drop(client);
    proxy.end().assert_tunnels(&[("ok", 1)]);
    recorded.send(()).unwrap();
    origin.join();
}

/// Checklist 74: a reset is passed on as a reset.
#[test]
fn each_sides_reset_is_passed_on_as_a_reset() {
    let origin = by_hand(|mut peer, number| {
        peer.take(5).unwrap();
        if number == 0 {
            peer.reset();
        } else {
            peer.send("ready");
            assert_eq!(peer.rest().1, End::Reset);
        }
    });
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin);
    client.send("hello");
    assert_eq!(client.rest().1, End::Reset);
    let mut client = tunnel(&proxy, &origin);
    client.send("hello");
    assert_eq!(client.take(5).unwrap(), b"ready");
    client.reset();
    // The origin's thread asserts; its connection is over only then.
    let records = proxy.end();
    assert_eq!(records.tunnels("total"), 2, "{records:?}");
}

/// Checklist 75: byte for byte, both ways at once.
#[test]
fn a_tunnel_is_transparent_both_ways_at_once() {
    let data = super::noise(8_000_000);
    let sent = data.clone();
    let (over, is_over) = std::sync::mpsc::channel();
    let origin = by_hand(move |mut peer, _| {
        let mut writer = Peer::new(peer.stream.try_clone().unwrap());
        let down = sent.clone();
        let writing = thread::spawn(move || {
            writer.send(down).half_close();
        });
        let (came, end) = peer.rest();
        let same = came.iter().zip(&sent).take_while(|(one, other)| one == other).count();
        writing.join().unwrap();
        over.send((came.len(), same, end)).unwrap();
    });
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin);
    let mut writer = Peer::new(client.stream.try_clone().unwrap());
    let up = data.clone();
    let writing = thread::spawn(move || {
        writer.send(up).half_close();
    });
    let (came, end) = client.rest();
    let same = came.iter().zip(&data).take_while(|(one, other)| one == other).count();
    let all = (data.len(), data.len(), End::Closed);
    assert_eq!((came.len(), same, end), all, "down: bytes, those that are right, end");
    writing.join().unwrap();
    assert_eq!(is_over.recv().unwrap(), all, "up: bytes, those that are right, end");
    proxy.end().assert_tunnels(&[("ok", 1)]);
    origin.join();
}

/// Checklist 75, and 117 in the small: what nobody reads stops its sender.
#[test]
fn a_reader_that_stalls_stops_the_writer() {
    let (stop, stopped) = std::sync::mpsc::channel();
    let origin = by_hand(move |mut peer, _| {
        peer.take(2).unwrap();
        peer.fill_up(&vec![b'x'; 1 << 16], 256 << 20);
        stop.send(()).unwrap();
    });
    let proxy = Proxy::start();
    let mut client = tunnel(&proxy, &origin);
    client.send("go");
    stopped.recv().unwrap();
    drop(client);
    proxy.end();
    origin.join();
}
