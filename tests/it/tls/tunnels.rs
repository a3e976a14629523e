//! What is not opened, although it begins like TLS or leads to a host that is: it passes to the byte.

use super::GET;
use crate::support::{
    End, Peer, Upstream,
    secure::{Scene, client_config, hello, serve, shake},
};

#[test]
fn only_the_hosts_that_are_named_are_opened_and_never_wins() {
    let flags = [
        "--intercept=*.test,other.example",
        "--set",
        "tls.never=['*.bank.test', 'b.test']",
    ];
    let scene = Scene::with(&flags);
    for (name, opened) in [
        ("h.test", true),
        ("b.test", false),
        ("x.bank.test", false),
        ("h.example", false),
    ] {
        let server = hello(scene.root.server(name).config(), "hi");
        let client = if opened {
            Ok(scene.client(&server, name))
        } else {
            scene.stranger(&server, name)
        };
        let mut client = client.expect("the right certificate");
        let answer = client.send(GET).answer();
        assert_eq!(answer.field("via").is_some(), opened, "{name}: {}", answer.head());
        client.end();
        client.rest();
    }
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("ok", 3)]);
}

#[test]
fn the_last_word_about_interception_counts() {
    for (flags, opened) in [
        (&["--intercept", "--no-intercept"][..], false),
        (&["--no-intercept", "--intercept"], true),
        (&["--set", "tls.mode='intercept'"], true),
        (&["--set", "tls.mode='intercept'", "--no-intercept"], false),
    ] {
        let scene = Scene::with(flags);
        assert_eq!(scene.authority_file().exists(), opened, "{flags:?}");
        scene.proxy.end();
    }
}

#[test]
fn a_client_that_speaks_something_else_by_tls_is_left_alone() {
    let scene = Scene::with(&["--intercept"]);
    let mut config = scene.root.server("h.test").config();
    config.alpn_protocols = ["postgresql", "imap"].map(|name| name.as_bytes().to_vec()).to_vec();
    let server = serve(config, |mut peer, _| {
        drop(peer.until(b"\n"));
        peer.send("answer").end();
    });
    for protocol in ["postgresql", "imap"] {
        let config = client_config(&[&scene.root.pem()], &[protocol]);
        let mut client = shake(config, "h.test", scene.tunnel(&server.address().to_string()).stream).unwrap();
        assert_eq!(client.stream.conn.alpn_protocol(), Some(protocol.as_bytes()));
        client.send("hello\n");
        assert_eq!(client.rest(), (b"answer".to_vec(), End::Closed));
        client.end();
    }
    scene.proxy.end().assert_exchanges(&[]).assert_tunnels(&[("ok", 2)]);
    server.join();
}

#[test]
fn what_only_begins_like_tls_passes_to_the_byte() {
    let scene = Scene::with(&["--intercept"]);
    for sent in [
        &b"\x16hello"[..],
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"SSH-2.0-x\r\n",
    ] {
        let server = Upstream::serve(move |stream, _| {
            let mut peer = Peer::new(stream);
            assert_eq!(peer.rest(), (sent.to_vec(), End::Closed));
            peer.send("answer");
        });
        let mut client = scene.tunnel(&server.address().to_string());
        client.dribble(sent).half_close();
        assert_eq!(
            client.rest(),
            (b"answer".to_vec(), End::Closed),
            "{}",
            sent.escape_ascii()
        );
        server.join();
    }
    scene.proxy.end().assert_exchanges(&[]).assert_tunnels(&[("ok", 5)]);
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let scene = Scene::with(&["--intercept"]);
    let server = Upstream::serve(|stream, _| {
        let mut peer = Peer::new(stream);
        peer.send("220 ready\r\n");
        peer.rest();
    });
    let mut client = scene.tunnel(&server.address().to_string());
    assert_eq!(client.take(11).unwrap(), b"220 ready\r\n");
    drop(client);
    scene.proxy.end().assert_tunnels(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_greeting_that_comes_byte_by_byte_is_one() {
    let scene = Scene::with(&["--intercept"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    let config = client_config(&[&scene.authority()], &["http/1.1"]);
    let mut tunnel = scene.tunnel(&server.address().to_string());
    let name = rustls::pki_types::ServerName::try_from("h.test").unwrap();
    let mut tls = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut greeting = Vec::new();
    tls.write_tls(&mut greeting).unwrap();
    tunnel.dribble(&greeting);
    let mut client = Peer::over(rustls::StreamOwned::new(tls, tunnel.stream));
    client.send(GET).answer().assert_is(200, "hi");
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}
