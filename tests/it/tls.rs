//! TLS that amb opens, TLS that it speaks for clients that ask it to, and TLS that it leaves alone.

mod authority;
mod bytes;
mod certificates;
mod clients;
mod diagnosis;
mod http2;
mod refusals;
mod reported;
mod routes;
mod traces;
mod tunnels;

use std::sync::{Arc, Mutex};

use crate::support::{
    End, Proxy,
    secure::{Scene, hello, serve},
};

/// A request for the root of a host.
const GET: &str = "GET / HTTP/1.1\r\nHost: h.test\r\n\r\n";

#[test]
fn requests_inside_are_seen_and_the_first_takes_the_tunnels_own_connection() {
    let scene = Scene::with(&["--intercept"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    let mut client = scene.client(&server, "h.test");
    for _ in 0..3 {
        let answer = client.send(GET).answer();
        answer.assert_is(200, "hi");
        assert!(
            answer.field("via").is_some_and(|via| via.contains("amb")),
            "{}",
            answer.head()
        );
    }
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.end();
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    let place = server.address().to_string();
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 3)])
        .assert_tunnels(&[("total", 0)])
        .assert_hosts(&[&place])
        .assert_opened(1);
    server.join();
}

#[test]
fn a_tunnel_by_socks_is_opened_by_the_name_that_the_client_wants_inside() {
    let scene = Scene::with(&["--intercept=h.test"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    let mut tunnel = scene.proxy.connect();
    let port = server.address().port().to_be_bytes();
    tunnel.send([&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat());
    assert_eq!(tunnel.take(12).unwrap()[..4], [5, 0, 5, 0]);
    let config = crate::support::secure::client_config(&[&scene.authority()], &[]);
    let mut client = crate::support::secure::shake(config, "h.test", tunnel.stream).unwrap();
    client.send(GET).answer().assert_is(200, "hi");
    assert_eq!(client.stream.conn.alpn_protocol(), None, "nobody offered one");
    drop(client);
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("total", 0)]);
    server.join();
}

#[test]
fn a_server_without_a_name_is_known_by_its_address() {
    let scene = Scene::with(&["--intercept=127.0.0.1"]);
    let server = hello(scene.root.server("127.0.0.1").config(), "hi");
    let mut client = scene.client(&server, "127.0.0.1");
    client.send(GET).answer().assert_is(200, "hi");
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_proxy_that_is_asked_for_an_https_url_speaks_tls_for_the_client() {
    let scene = Scene::with(&[]);
    let server = hello(scene.root.server("127.0.0.1").config(), "hi");
    let request = format!("GET https://{}/a?b HTTP/1.1\r\nHost: x\r\n\r\n", server.address());
    let mut client = scene.proxy.connect();
    for _ in 0..3 {
        client.send(&request).answer().assert_is(200, "hi");
    }
    drop(client);
    // It is not asked about in the clear, and the connection is used again.
    scene.proxy.end().assert_exchanges(&[("ok", 3)]).assert_opened(1);
    server.join();
}

#[test]
fn a_server_that_ends_its_connection_between_requests_is_called_again() {
    let scene = Scene::with(&["--intercept"]);
    let (closed, was_closed) = std::sync::mpsc::channel();
    let closed = Arc::new(Mutex::new(closed));
    let server = serve(scene.root.server("h.test").config(), move |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").end();
        closed.lock().unwrap().send(()).unwrap();
    });
    let mut client = scene.client(&server, "h.test");
    for _ in 0..3 {
        client.send(GET).answer().assert_is(200, "hi");
        was_closed.recv().unwrap();
    }
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 3)]).assert_opened(3);
    server.join();
}

#[test]
fn a_client_may_end_its_half_and_still_gets_its_answer() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        // Its end arrives before it is answered.
        assert_eq!(peer.rest(), (Vec::new(), End::Closed));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").end();
    });
    let mut client = scene.client(&server, "h.test");
    client.send(GET).end();
    client.answer().assert_is(200, "hi");
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn an_upgrade_to_a_websocket_is_a_tunnel_by_tls_on_both_sides() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfrom server");
        assert_eq!(peer.take(11).unwrap(), b"from client");
        peer.end();
        assert_eq!(peer.rest(), (b"the rest".to_vec(), End::Closed));
    });
    let mut client = scene.client(&server, "h.test");
    client.send("GET / HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n");
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 101 "));
    assert_eq!(client.take(11).unwrap(), b"from server");
    client.send("from client");
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    client.send("the rest").end();
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_switch_to_an_unknown_protocol_inside_is_a_tunnel_by_tls_too() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut peer, number| {
        if number == 0 {
            drop(peer.until(b"\r\n\r\n"));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        } else {
            drop(peer.until(b"\r\n\r\n"));
            peer.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw");
        }
        drop(peer.rest());
    });
    let mut client = scene.client(&server, "h.test");
    client.send(GET).answer().assert_is(200, "hi");
    client.send("POST /attach HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 101 "));
    assert_eq!(client.take(3).unwrap(), b"raw");
    client.end();
    drop(client);
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("ok", 1)]);
    server.join();
}

#[test]
fn nothing_of_it_is_there_unless_asked_for() {
    let scene = Scene::with(&[]);
    assert!(!scene.authority_file().exists());
    let server = hello(scene.root.server("h.test").config(), "hi");
    let mut client = scene.stranger(&server, "h.test").unwrap();
    client.send(GET).answer().assert_is(200, "hi");
    client.end();
    drop(client);
    scene.proxy.end().assert_exchanges(&[]).assert_tunnels(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_file_that_is_no_certificate_stops_the_run_before_it_begins() {
    for (flags, said) in [
        (
            &["--extra-root", "absent.pem"][..],
            "tls.extra-roots: absent.pem: No such file",
        ),
        (
            &["--extra-root", "/dev/null"],
            "tls.extra-roots: /dev/null: there is no certificate in it",
        ),
        (
            &[
                "--set",
                "tls.client-cert='/dev/null'",
                "--set",
                "tls.client-key='/dev/null'",
            ],
            "tls.client-cert: /dev/null: there is no certificate in it",
        ),
        (&["--set", "tls.client-key='/dev/null'"], "set tls.client-cert too"),
        (&["--intercept=a b"], "`a b` is no host: ` ` stands in no name"),
    ] {
        let outcome = crate::support::Amb::run(flags).command(["true"]).status(125);
        assert!(outcome.stderr().contains(said), "{said}: {outcome}");
    }
}

/// What a proxy cannot know is not asked of it: a client that speaks TLS to the proxy itself is still told so.
#[test]
fn a_client_that_speaks_tls_to_the_proxy_itself_is_told_so() {
    let proxy = Proxy::with(["--intercept"]);
    let mut client = proxy.connect();
    client.send(b"\x16\x03\x01\x00\x05hello");
    assert_eq!(client.take(7).unwrap(), [0x15, 3, 1, 0, 2, 2, 40]);
    drop(client);
    proxy.end().assert_exchanges(&[("failed", 1)]);
}
