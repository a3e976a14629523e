//! `WebSocket`: asked for as HTTP, raw bytes from the 101 on.

use super::{aimed, by_hand, get};
use crate::support::{Proxy, Step, Upstream, ok};

/// What a client of WebSocket asks.
const ASKS: &str = "GET http://ORIGIN/chat HTTP/1.1\r\nHost: ORIGIN\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\nSec-WebSocket-Extensions: permessage-deflate; x=1\r\nSec-WebSocket-Protocol: a, b\r\n\r\n";
/// What a server of WebSocket answers.
const ACCEPTS: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: xyz\r\n\r\n";

/// Checklist 65, 68: what was sent ahead on either side is not lost.
#[test]
fn a_websocket_carries_bytes_both_ways_from_the_first_on() {
    let origin = by_hand(|mut peer, _| {
        let head = String::from_utf8(peer.until(b"\r\n\r\n").unwrap()).unwrap();
        for line in [
            "GET /chat HTTP/1.1",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Protocol: a, b",
            "Sec-WebSocket-Extensions: permessage-deflate; x=1",
        ] {
            assert!(head.contains(&format!("{line}\r\n")), "{head}");
        }
        peer.send([ACCEPTS, "first"].concat());
        assert_eq!(peer.take(5).unwrap(), b"ahead");
        assert_eq!(peer.take(4).unwrap(), b"\x00\r\n\xff");
        peer.send(b"\xffpong\x00");
        assert_eq!(peer.rest().0, b"");
        peer.send("last");
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send([&aimed(ASKS, &origin), "ahead"].concat());
    let answer = client.answer();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(answer.field("connection").as_deref(), Some("Upgrade"));
    assert_eq!(client.take(5).unwrap(), b"first");
    client.send(b"\x00\r\n\xff");
    assert_eq!(client.take(6).unwrap(), b"\xffpong\x00");
    client.half_close();
    assert_eq!(client.rest().0, b"last");
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}

/// Checklist 66.
#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let origin = Upstream::script([ok("no websockets here"), ok("next")]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(ASKS, &origin));
    client.answer().assert_is(200, "no websockets here");
    client.send(get(&origin));
    client.answer().assert_is(200, "next");
    proxy.end().assert_exchanges(&[("ok", 2)]);
    origin.join();
}

/// Checklist 67: h2c would carry requests past every policy, alone or beside a WebSocket.
#[test]
fn an_upgrade_to_anything_else_is_not_passed_on() {
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    ] {
        let (request, _) = super::passed(&format!("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{fields}\r\n"));
        let head = request.head().to_ascii_lowercase();
        for gone in ["upgrade", "http2-settings", "connection"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
    }
    let (request, _) = super::passed(
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
    );
    let head = request.head().to_ascii_lowercase();
    assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
        "{head}"
    );
}

/// Checklist 67: nor does a server switch to something that the client may not have.
#[test]
fn a_server_that_switches_to_something_else_is_refused() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let origin = Upstream::script([vec![Step::Read, Step::Send(answer.into()), Step::Stall]]);
    let proxy = Proxy::start();
    proxy.ask(aimed(ASKS, &origin)).assert_own(502, "http_protocol_error");
    proxy.end().assert_exchanges(&[("failed", 1)]);
}

/// Checklist 65: an old client cannot switch.
#[test]
fn an_old_client_is_not_upgraded() {
    let (request, _) = super::passed(
        "GET http://ORIGIN/ HTTP/1.0\r\nHost: ORIGIN\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(request.field("upgrade"), None);
}
