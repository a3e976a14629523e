//! SOCKS on the same port as HTTP, told apart by the first byte.

use super::by_hand;
use crate::support::{Peer, Proxy, Upstream};

/// A server that says `hello` to whoever says `ping`.
fn greeter() -> Upstream {
    by_hand(|mut peer, _| {
        if peer.take(4).is_ok() {
            peer.send("hello");
            peer.rest();
        }
    })
}

/// The tunnel works.
#[track_caller]
fn check_open(client: &mut Peer) {
    client.send("ping");
    assert_eq!(client.take(5).unwrap(), b"hello");
}

/// A request of SOCKS5 with this command and address.
fn request5(command: u8, address: &[u8], port: u16) -> Vec<u8> {
    [&[5, command, 0], address, &port.to_be_bytes()].concat()
}

/// A client that has said which methods it has.
#[track_caller]
fn greeted(proxy: &Proxy) -> Peer {
    let mut client = proxy.connect();
    client.send([5, 2, 0, 2]);
    assert_eq!(client.take(2).unwrap(), [5, 0]);
    client
}

/// Checklist 77, 79, 81.
#[test]
fn socks5_opens_tunnels_to_addresses_and_names() {
    let origin = greeter();
    let port = origin.address().port();
    let proxy = Proxy::start();
    let name = [&[3, 9], &b"localhost"[..]].concat();
    let literal = [&[3, 9], &b"127.0.0.1"[..]].concat();
    let mapped = [
        &[4],
        &"::ffff:127.0.0.1".parse::<std::net::Ipv6Addr>().unwrap().octets()[..],
    ]
    .concat();
    for address in [&[1, 127, 0, 0, 1][..], &name, &literal, &mapped] {
        let mut client = greeted(&proxy);
        client.send(request5(1, address, port));
        assert_eq!(client.take(10).unwrap(), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        check_open(&mut client);
    }
    proxy.end().assert_exchanges(&[]);
    origin.join();
}

/// Checklist 77: in pieces, and all at once with what is meant for the server.
#[test]
fn a_socks5_handshake_may_come_in_any_pieces() {
    let origin = greeter();
    let proxy = Proxy::start();
    let request = request5(1, &[1, 127, 0, 0, 1], origin.address().port());
    let mut client = proxy.connect();
    client.dribble([5, 1, 0]);
    assert_eq!(client.take(2).unwrap(), [5, 0]);
    client.dribble(&request);
    assert_eq!(client.take(10).unwrap()[1], 0);
    check_open(&mut client);
    let mut client = proxy.connect();
    client.send([&[5, 1, 0], &request[..], b"ping"].concat());
    assert_eq!(client.take(12).unwrap()[..4], [5, 0, 5, 0]);
    assert_eq!(client.take(5).unwrap(), b"hello");
    proxy.end();
}

/// Checklist 77, 78, 79. Who may use the listener is decided by the kernel's socket table, so there are no passwords to check.
#[test]
fn what_socks5_cannot_do_here_is_refused_with_its_code() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send([5, 1, 2]);
    assert_eq!(client.take(2).unwrap(), [5, 0xff]);
    client.assert_closed();
    for (request, code) in [
        (request5(2, &[1, 127, 0, 0, 1], 80), 7),
        (request5(3, &[1, 127, 0, 0, 1], 80), 7),
        (request5(1, &[5, 127, 0, 0, 1], 80), 8),
        (request5(1, &[1, 127, 0, 0, 1], 0), 1),
        (request5(1, &[3, 3, b'a', b' ', b'b'], 80), 1),
        (vec![4, 1, 0, 1, 127, 0, 0, 1, 0, 80], 1),
    ] {
        let mut client = greeted(&proxy);
        client.send(request);
        let reply = client.take(10).unwrap();
        assert_eq!((reply[0], reply[1]), (5, code));
        client.assert_closed();
    }
    proxy.end().assert_tunnels(&[("failed", 7)]);
}

/// Checklist 80.
#[test]
fn a_socks5_reply_says_why_there_is_no_tunnel() {
    let proxy = Proxy::with(["--connect-timeout", "300ms"]);
    let own = proxy.address.port();
    let full = super::faults::full_backlog();
    let unknown = [&[3, 15], &b"nowhere.invalid"[..]].concat();
    for (address, port, code) in [
        (&[1, 127, 0, 0, 1][..], 1, 5),
        (&[1, 127, 0, 0, 1], own, 2),
        (&[1, 224, 0, 0, 1], 80, 3),
        (&unknown, 80, 4),
        (&[1, 127, 0, 0, 1], full.port(), 6),
    ] {
        let mut client = greeted(&proxy);
        client.send(request5(1, address, port));
        let reply = client.take(10).unwrap();
        assert_eq!((reply[0], reply[1], reply[3]), (5, code, 1));
        client.assert_closed();
    }
    proxy.end().assert_tunnels(&[("failed", 5)]);
}

/// Checklist 82.
#[test]
fn socks4_and_4a_open_tunnels() {
    let origin = greeter();
    let port = origin.address().port().to_be_bytes();
    let proxy = Proxy::start();
    for request in [
        [&[4, 1], &port[..], &[127, 0, 0, 1], b"user\0"].concat(),
        [&[4, 1], &port[..], &[0, 0, 0, 1], b"\0localhost\0"].concat(),
    ] {
        let mut client = proxy.connect();
        client.dribble(request);
        assert_eq!(client.take(8).unwrap()[..2], [0, 90]);
        check_open(&mut client);
    }
    let mut client = proxy.connect();
    client.send([4, 1, 0, 1, 127, 0, 0, 1, 0]);
    assert_eq!(client.take(8).unwrap()[..2], [0, 91]);
    client.assert_closed();
    let records = proxy.end();
    assert_eq!(
        (records.tunnels("total"), records.tunnels("failed")),
        (3, 1),
        "{records:?}"
    );
}

/// Checklist 82: no hang.
#[test]
fn a_client_that_speaks_something_else_is_told_and_closed() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(b"\x16\x03\x01\x00\x05hello");
    let (bytes, _) = client.rest();
    assert_eq!(bytes[..3], [0x15, 3, 1], "a TLS alert");
    let mut client = proxy.connect();
    client.send(b"\x00\x01\x02\r\n\r\n");
    client.answer().assert_own(400, "http_request_error");
    client.assert_closed();
    proxy.end().assert_exchanges(&[("failed", 2)]);
}

/// A handshake that stops is recorded once.
#[test]
fn a_client_that_leaves_inside_the_handshake_is_recorded_once() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send([5, 1]).half_close();
    client.assert_closed();
    proxy.end().assert_tunnels(&[("failed", 1)]);
}
