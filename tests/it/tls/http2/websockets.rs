//! `WebSocket`s: a CONNECT of its own kind in HTTP/2, an upgrade in HTTP/1.1, and each as the other.

use std::sync::Arc;

use h2::ext::Protocol;
use hyper::{Request, Response, StatusCode, body::Bytes};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::send;
use crate::support::{
    Upstream,
    http2::{Asked, Client, accept, serve_with},
    secure::Scene,
};

/// What asks for a WebSocket in HTTP/2.
fn asking() -> Request<()> {
    let mut request = Request::builder()
        .method("CONNECT")
        .uri("https://h.test/chat?a")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

/// A server that takes `WebSocket`s as streams, and sends back what it gets.
fn echo(scene: &Scene) -> Upstream {
    let connect = |builder: &mut h2::server::Builder| {
        builder.enable_connect_protocol();
    };
    serve_with(
        scene.root.server("h.test").config(),
        connect,
        |mut asked: Asked| async move {
            if asked.head.method != "CONNECT" {
                return asked.answer("hi");
            }
            let protocol = asked.head.extensions.get::<Protocol>().expect("a protocol");
            assert_eq!((protocol.as_str(), asked.path()), ("websocket", "/chat"));
            assert_eq!(asked.field("sec-websocket-version"), "13");
            assert_eq!(asked.field("sec-websocket-key"), "");
            let response = Response::builder()
                .header("sec-websocket-protocol", "chat")
                .body(())
                .unwrap();
            let mut stream = asked.respond.send_response(response, false).unwrap();
            while let Some(data) = asked.body.data().await {
                let data = data.expect("an open stream");
                asked.body.flow_control().release_capacity(data.len()).unwrap();
                send(&mut stream, data).await;
            }
            stream.send_data(Bytes::from_static(b"bye"), true).unwrap();
        },
    )
}

/// Opens a WebSocket, talks, and ends it.
async fn talk(client: &Client) {
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (response, mut up) = sender.send_request(asking(), false).unwrap();
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let mut down = response.into_body();
    for text in ["one", "two", "three"] {
        send(&mut up, Bytes::from_static(text.as_bytes())).await;
        assert_eq!(down.data().await.unwrap().unwrap(), text);
    }
    up.send_data(Bytes::new(), true).unwrap();
    let mut rest = Vec::new();
    while let Some(data) = down.data().await {
        rest.extend_from_slice(&data.expect("an end"));
    }
    assert_eq!(rest, b"bye");
}

#[test]
fn a_websocket_is_a_stream_on_both_sides_if_the_server_takes_it() {
    let scene = Scene::with(&["--intercept"]);
    let server = echo(&scene);
    scene.speak(&server, async |mut client| {
        client.expect("/", "hi").await;
        assert!(client.sender.is_extended_connect_protocol_enabled());
        talk(&client).await;
        talk(&client).await;
        client.expect("/", "hi").await;
    });
    scene.proxy.end().assert_exchanges(&[("ok", 4)]).assert_opened(1);
    server.join();
}

#[test]
fn a_websocket_that_the_server_refuses_is_an_answer_like_any_other() {
    let scene = Scene::with(&["--intercept"]);
    let connect = |builder: &mut h2::server::Builder| {
        builder.enable_connect_protocol();
    };
    let server = serve_with(
        scene.root.server("h.test").config(),
        connect,
        |mut asked: Asked| async move {
            let response = Response::builder().status(403).body(()).unwrap();
            let mut stream = asked.respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from_static(b"no"), true).unwrap();
        },
    );
    scene.speak(&server, async |client| {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (response, _up) = sender.send_request(asking(), false).unwrap();
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.into_body().data().await.unwrap().unwrap(), "no");
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

/// How a server is configured that speaks this protocol alone.
fn speaking(scene: &Scene, protocol: &str) -> Arc<ServerConfig> {
    let mut config = scene.root.server("h.test").config();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(config)
}

#[test]
fn a_websocket_of_http2_is_an_upgrade_for_a_server_of_http1() {
    let scene = Scene::with(&["--intercept"]);
    let configs = [speaking(&scene, "h2"), speaking(&scene, "http/1.1")];
    let server = Upstream::serve(move |stream, connection| {
        let config = Arc::clone(&configs[connection.min(1)]);
        accept(stream, config, async |mut stream| {
            if connection == 0 {
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol();
                let mut streams = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
                let (_, mut respond) = streams.accept().await.expect("a request").expect("a request");
                respond.send_response(Response::new(()), true).unwrap();
                streams.graceful_shutdown();
                drop(streams.accept().await);
                return;
            }
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
            assert!(head.starts_with("get /chat?a http/1.1\r\n"), "{head}");
            assert!(
                head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"),
                "{head}"
            );
            assert!(
                head.contains("\r\nsec-websocket-key: ") && !head.contains("transfer-encoding"),
                "{head}"
            );
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut piece = [0; 100];
            loop {
                let count = stream.read(&mut piece).await.expect("an end");
                if count == 0 {
                    break;
                }
                stream.write_all(&piece[..count]).await.unwrap();
            }
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
        });
    });
    scene.speak(&server, async |mut client| {
        client.get("/").await.expect("an answer");
        talk(&client).await;
    });
    scene.proxy.end().assert_exchanges(&[("ok", 2)]);
    server.join();
}

#[test]
fn a_websocket_of_http1_asks_its_server_for_http1_alone() {
    let scene = Scene::with(&["--intercept"]);
    let configs = [
        speaking(&scene, "http/1.1"),
        Arc::new(scene.root.server("h.test").config()),
    ];
    let server = Upstream::serve(move |stream, connection| {
        let config = Arc::clone(&configs[connection.min(1)]);
        accept(stream, config, async |mut stream| {
            assert_eq!(
                stream.get_ref().1.alpn_protocol(),
                Some(&b"http/1.1"[..]),
                "nothing else was offered"
            );
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let answer = if connection == 0 {
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    });
    let mut client = scene
        .client_offering(&server, "h.test", &["h2", "http/1.1"])
        .expect("TLS");
    client.send(super::super::GET).answer().assert_is(200, "");
    client.send(
        "GET /chat HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = client.until(b"\r\n\r\n").expect("a head");
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    assert_eq!(client.take(5).expect("bytes"), b"hello");
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 2)]);
    server.join();
}
