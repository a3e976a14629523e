//! Tunnels: only the connect can be tried again, and only silence ends them.

use super::{refusing, set};
use crate::support::{End, Peer, Upstream};

#[test]
fn the_connect_of_a_tunnel_is_tried_again() {
    let (_kept, refused) = refusing();
    let proxy = set(&["retry.attempts=2"]);
    let answer = proxy.ask(format!("CONNECT {refused} HTTP/1.1\r\nHost: x\r\n\r\n"));
    answer.assert_own(502, "connection_refused");
    let mut client = proxy.connect();
    let [high, low] = refused.port().to_be_bytes();
    client.send([5, 1, 0]);
    client.take(2).unwrap();
    client.send([5, 1, 0, 1, 127, 0, 0, 1, high, low]);
    assert_eq!(client.take(10).unwrap()[1], 5);
    let records = proxy.end();
    records.assert_tunnels(&[("failed", 2)]);
    // The budget of a host that nobody has asked for much is three.
    records.assert_retries(&[
        ("retried", 2),
        ("retries", 3),
        ("refused.attempts_used", 1),
        ("refused.budget", 1),
    ]);
}

#[test]
fn nothing_is_tried_again_once_a_tunnel_is_open() {
    let origin = Upstream::serve(|stream, _| {
        let mut peer = Peer::new(stream);
        peer.take(2).unwrap();
        peer.reset();
    });
    let proxy = set(&["retry.level=all"]);
    let mut client = proxy.connect();
    client.send(format!(
        "CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03",
        origin.address()
    ));
    client.until(b"\r\n\r\n").unwrap();
    client.rest();
    let records = proxy.end();
    assert_eq!((records.tunnels("total"), records.retries("retries")), (1, 0));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_tunnel_in_which_nothing_passes_is_closed_only_if_asked() {
    let origin = Upstream::serve(|stream, _| {
        let mut peer = Peer::new(stream);
        peer.take(4).unwrap();
        peer.send("pong");
        peer.rest();
    });
    let proxy = set(&["timeout.tunnel-idle=300ms"]);
    let mut client = proxy.connect();
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address()));
    client.until(b"\r\n\r\n").unwrap();
    client.send("\x16\x03ng");
    assert_eq!(client.take(4).unwrap(), b"pong");
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    let records = proxy.end();
    records.assert_tunnels(&[("failed", 1)]);
    records.assert_failure("nothing passed in the tunnel for 300ms");
}
