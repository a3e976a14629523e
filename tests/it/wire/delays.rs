//! What waits for an acknowledgement: whoever leaves Nagle's algorithm on and writes in small pieces.
//!
//! The kernel acknowledges at once on a new connection, and later only after 40 ms. A busy machine may be slower than that, but
//! not each time; a delayed acknowledgement never comes earlier.

use std::time::{Duration, Instant};

use super::{aimed, by_hand, get};
use crate::support::{Peer, Proxy, Upstream};

/// Well below what an acknowledgement is put off by.
const AT_ONCE: Duration = Duration::from_millis(30);

/// Checks that this is over at once, as a rule; once in twenty times is enough to tell.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "it is real time that passes")]
fn check(what: &str, mut happens: impl FnMut()) {
    let times = (0..20).map(|_| {
        let begun = Instant::now();
        happens();
        begun.elapsed()
    });
    let soonest = times.min().unwrap();
    assert!(soonest < AT_ONCE, "{what}: never below {soonest:?}");
}

/// Says hello in two pieces, as a program does that has not heard of Nagle's algorithm.
fn say_hello(peer: &mut Peer) {
    peer.stream.set_nodelay(false).unwrap();
    peer.send("hel").send("lo");
}

/// A server that answers `bye` to `hello`, over and over.
fn polite() -> Upstream {
    by_hand(|mut peer, _| {
        while peer.take(5).is_ok() {
            peer.send("bye");
        }
    })
}

#[test]
fn a_server_that_writes_in_pieces_is_as_fast_on_a_connection_that_is_used_again() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        let origin = by_hand(move |mut peer, _| {
            peer.stream.set_nodelay(false).unwrap();
            while peer.until(b"\r\n\r\n").is_ok() {
                let body = match head.ends_with("5\r\n") {
                    true => "hello\r\n0\r\n\r\n",
                    false if head.ends_with("Le") => "ngth: 5\r\n\r\nhello",
                    false => "hello",
                };
                peer.send(head).send(body);
            }
        });
        let proxy = Proxy::start();
        proxy.ask(get(&origin));
        // Each with a connection of its own to amb, as if there were none.
        check(head, || {
            assert!(proxy.ask(get(&origin)).body().contains("hello"));
        });
        let records = proxy.end();
        records.assert_opened(1).assert_exchanges(&[("ok", 21)]);
        origin.join();
    }
}

#[test]
fn a_client_that_writes_in_pieces_is_as_fast_inside_a_new_tunnel() {
    let origin = polite();
    let proxy = Proxy::start();
    check("CONNECT", || {
        let mut client = proxy.connect();
        client.send(aimed("CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", &origin));
        client.until(b"\r\n\r\n").unwrap();
        say_hello(&mut client);
        assert_eq!(client.take(3).unwrap(), b"bye");
    });
    check("SOCKS5", || {
        let mut client = proxy.connect();
        client.send([5, 1, 0]);
        client.take(2).unwrap();
        let port = origin.address().port().to_be_bytes();
        client.send([&[5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat());
        assert_eq!(client.take(10).unwrap()[1], 0);
        say_hello(&mut client);
        assert_eq!(client.take(3).unwrap(), b"bye");
    });
    proxy.end().assert_tunnels(&[("ok", 40)]);
    origin.join();
}
