//! Clients and servers that break the rules of HTTP/2, or keep them only just: nothing crashes, hangs or grows, and others go on.

use std::time::Duration;

use h2::Reason;
use hyper::{Request, Response, StatusCode, body::Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::support::{
    Upstream,
    http2::{Asked, Client, request, serve, serve_connections},
    secure::Scene,
};

/// What every connection of HTTP/2 begins with, and a client's settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `GET / https h.test`, compressed.
const GET: &[u8] = b"\x82\x84\x87\x41\x06h.test";

/// Frames, by type.
const DATA: u8 = 0;
/// The head of a message, or its beginning.
const HEADERS: u8 = 1;
/// The end of a stream.
const RST_STREAM: u8 = 3;
/// What one side takes.
const SETTINGS: u8 = 4;
/// To be answered.
const PING: u8 = 6;
/// The end of a connection.
const GOAWAY: u8 = 7;
/// More room.
const WINDOW_UPDATE: u8 = 8;
/// More of a head.
const CONTINUATION: u8 = 9;

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Memory that amb has, in bytes.
fn resident(scene: &Scene) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", scene.proxy.running.pid())).unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Sends `bytes` again and again until the other side ends the connection, or all were sent and it has answered what comes last: a
/// ping. Returns what came, up to 1 MiB of it.
async fn flood(mut stream: TlsStream<TcpStream>, bytes: &[u8], times: usize) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(&mut stream);
    let sending = async {
        to.write_all(PREFACE).await.ok()?;
        for _ in 0..times {
            to.write_all(bytes).await.ok()?;
        }
        to.write_all(&frame(PING, 0, 0, b"the last")).await.ok()?;
        to.flush().await.ok()
    };
    let reading = async {
        let mut came = Vec::new();
        let mut piece = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            came.extend_from_slice(&piece[..count]);
            if came.windows(8).any(|it| it == b"the last") {
                break;
            }
            let kept = came.len().saturating_sub(1 << 20);
            came.drain(..kept);
        }
        came
    };
    tokio::join!(sending, reading).1
}

/// The reason of the GOAWAY in what came; none if there is none.
fn goaway(came: &[u8]) -> Option<Reason> {
    let mut rest = came;
    while let Some(head) = rest.first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(9..9 + length)?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()).into());
        }
        rest = &rest[9 + length..];
    }
    None
}

/// A server that is slow to answer, but for `/fine`.
fn slow(scene: &Scene) -> Upstream {
    serve(scene.root.server("h.test").config(), |asked: Asked| async move {
        if asked.path() == "/fine" {
            return asked.answer("fine");
        }
        let Asked { mut respond, .. } = asked;
        drop(std::future::poll_fn(|cx| respond.poll_reset(cx)).await);
    })
}

/// Floods amb, while another client goes on, and says what came. amb grows by no more than a few MiB.
#[track_caller]
fn check(bytes: &[u8], times: usize) -> Vec<u8> {
    let scene = Scene::with(&["--intercept"]);
    let server = slow(&scene);
    let fine = async |mut client: Client| client.expect("/fine", "fine").await;
    scene.speak(&server, fine);
    let before = resident(&scene);
    let came = scene.connect(&server, &["h2"], async |stream| {
        Box::pin(flood(stream, bytes, times)).await
    });
    scene.speak(&server, fine);
    let grown = resident(&scene).saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more");
    scene.proxy.end();
    server.join();
    came
}

#[test]
fn a_client_that_resets_what_it_asks_for_at_once_is_told_to_calm_down() {
    // Many streams in one write, so that none was looked at before it is reset.
    let mut bytes = Vec::new();
    for index in 0..500 {
        let stream = 2 * index + 1;
        bytes.extend(frame(HEADERS, 5, stream, GET));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    assert_eq!(goaway(&check(&bytes, 1)), Some(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn a_head_that_goes_on_for_ever_ends_the_connection() {
    let begun = frame(HEADERS, 1, 1, GET);
    // A field that is not even remembered: 0x00, its name, its value.
    let field = [&b"\x00\x01a\x64"[..], &[b'x'; 100]].concat();
    let more = frame(CONTINUATION, 0, 1, &field.repeat(100));
    let scene = Scene::with(&["--intercept"]);
    let server = slow(&scene);
    let came = scene.connect(&server, &["h2"], async |mut stream| {
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&begun).await.unwrap();
        for _ in 0..2_000 {
            if stream.write_all(&more).await.is_err() {
                break;
            }
        }
        let mut came = Vec::new();
        drop(stream.read_to_end(&mut came).await);
        came
    });
    drop(came);
    scene.speak(&server, async |mut client| client.expect("/fine", "fine").await);
    scene.proxy.end();
    server.join();
}

#[test]
fn floods_of_what_is_to_be_answered_are_answered_and_nothing_more() {
    for (bytes, times) in [
        (frame(PING, 0, 0, b"whatever").repeat(100), 500),
        (frame(SETTINGS, 0, 0, &[]).repeat(100), 500),
        (frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(100), 500),
    ] {
        check(&bytes, times);
    }
}

#[test]
fn frames_that_break_the_rules_end_the_connection() {
    for bytes in [
        // On stream 0, where there is none.
        frame(DATA, 0, 0, b"x"),
        frame(HEADERS, 5, 0, GET),
        // Of a stream that nobody opened, or an even one.
        frame(DATA, 0, 1, b"x"),
        frame(HEADERS, 5, 2, GET),
        frame(CONTINUATION, 4, 1, GET),
        // Of a wrong size.
        frame(PING, 0, 0, b"short"),
        frame(SETTINGS, 0, 0, b"short"),
        frame(RST_STREAM, 0, 1, b"sh"),
        // More room than there can be.
        frame(WINDOW_UPDATE, 0, 0, &u32::MAX.to_be_bytes()).repeat(2),
        // What cannot be decompressed.
        frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"),
    ] {
        let came = check(&bytes, 1);
        assert!(
            goaway(&came).is_some(),
            "{}: {}",
            bytes.escape_ascii(),
            came.escape_ascii()
        );
    }
}

#[test]
fn what_is_not_http2_at_all_is_recorded() {
    let scene = Scene::with(&["--intercept"]);
    let server = slow(&scene);
    scene.connect(&server, &["h2"], async |mut stream| {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h.test\r\n\r\n")
            .await
            .unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
    });
    scene
        .proxy
        .end()
        .assert_exchanges(&[("failed", 1)])
        .assert_failure("what the client sent breaks HTTP/2");
    server.join();
}

#[test]
fn malformed_requests_are_never_passed_on() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |asked: Asked| async move {
        assert_eq!(asked.path(), "/fine");
        asked.answer("fine");
    });
    let host = b"\x41\x06h.test";
    let field = |name: &str, value: &str| {
        let [names, values] = [name, value].map(|text| u8::try_from(text.len()).unwrap());
        [&[0, names], name.as_bytes(), &[values], value.as_bytes()].concat()
    };
    for bad in [
        field("Upper", "x"),
        field("connection", "close"),
        field("transfer-encoding", "chunked"),
        field("upgrade", "h2c"),
        field("te", "gzip"),
        field("x", "a\r\nb: c"),
        field("x", "a\0"),
        field(":path", "/again"),
        field(":unknown", "x"),
        field("content-length", "5"),
        field("host", "other.test"),
        field("host", "h.test\r\nx: y"),
    ] {
        let head = [&b"\x82\x84\x87"[..], host, &bad].concat();
        let bytes = frame(HEADERS, 5, 1, &head);
        scene.connect(&server, &["h2"], async |mut stream| {
            stream.write_all(PREFACE).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut came = Vec::new();
            loop {
                let reset = came.windows(5).any(|it| it == [RST_STREAM, 0, 0, 0, 0]);
                // 400 is 0x8c in the static table.
                let refused = came.windows(10).any(|it| it[3] == HEADERS && it[9] == 0x8c);
                if reset || refused || goaway(&came).is_some() {
                    break;
                }
                let mut piece = [0; 1024];
                let count = stream.read(&mut piece).await.expect("an end that is said");
                assert_ne!(count, 0, "{}: {}", bad.escape_ascii(), came.escape_ascii());
                came.extend_from_slice(&piece[..count]);
            }
        });
    }
    scene.speak(&server, async |mut client| client.expect("/fine", "fine").await);
    scene.proxy.end();
    server.join();
}

#[test]
fn heads_that_are_too_large_are_refused_on_either_side() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        if asked.path() == "/fine" {
            return asked.answer("fine");
        }
        let response = Response::builder()
            .header("x-large", "x".repeat(70_000))
            .body(())
            .unwrap();
        asked.respond.send_response(response, true).unwrap();
    });
    scene.speak(&server, async |mut client| {
        for (large, fields) in [(70_000, 1), (200_000, 1), (10, 300)] {
            let mut asking = Request::get("https://h.test/fine");
            for index in 0..fields {
                asking = asking.header(format!("x-{index}"), "x".repeat(large));
            }
            let (head, _) = client.ask(asking.body(()).unwrap()).await.expect("an answer");
            assert_eq!(
                head.status,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "{large} {fields}"
            );
        }
        let (head, _) = client.get("/large").await.expect("an answer");
        assert_eq!(head.status, StatusCode::BAD_GATEWAY);
        client.expect("/fine", "fine").await;
    });
    scene
        .proxy
        .end()
        .assert_failure("the request's head is larger than 64 KiB or has more than 256 fields");
    server.join();
}

#[test]
fn a_window_that_stays_shut_ends_with_the_time_that_a_request_has() {
    let scene = Scene::with(&["--intercept", "--timeout=1s"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        let mut stream = asked.respond.send_response(Response::new(()), false).unwrap();
        while super::send(&mut stream, Bytes::from(vec![7; 100_000])).await {}
    });
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    scene.speak_with(&server, &builder, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, _) = sender.send_request(request("GET", "/"), true).unwrap();
        let mut body = response.await.expect("an answer").into_body();
        let broke = tokio::time::timeout(Duration::from_secs(20), body.data())
            .await
            .expect("an end");
        assert!(broke.is_some_and(|broke| broke.is_err()));
    });
    scene.proxy.end().assert_exchanges(&[("failed", 1)]);
    server.join();
}

#[test]
fn a_server_that_takes_nothing_of_a_body_has_its_time_too() {
    let scene = Scene::with(&["--intercept", "--set", "timeout.idle=1s"]);
    let server = serve(scene.root.server("h.test").config(), |asked: Asked| async move {
        let Asked { body, mut respond, .. } = asked;
        drop(std::future::poll_fn(|cx| respond.poll_reset(cx)).await);
        drop(body);
    });
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/"), false).unwrap();
        let sending = async { while super::send(&mut upload, Bytes::from(vec![7; 100_000])).await {} };
        let (response, ()) = tokio::join!(response, sending);
        assert_eq!(response.expect("an answer").status(), StatusCode::GATEWAY_TIMEOUT);
    });
    scene.proxy.end().assert_exchanges(&[("failed", 1)]);
    server.join();
}

#[test]
fn a_server_that_breaks_the_rules_is_a_bad_gateway() {
    for bytes in [
        frame(DATA, 0, 0, b"x"),
        frame(HEADERS, 4, 2, b"\x88"),
        frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"),
        // An answer without a status.
        frame(HEADERS, 5, 1, b"\x00\x01a\x01b"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ] {
        let scene = Scene::with(&["--intercept"]);
        let sent = bytes.clone();
        let server = serve_connections(scene.root.server("h.test").config(), move |mut stream, _| {
            let sent = sent.clone();
            async move {
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                let mut piece = [0; 1024];
                let mut came = Vec::new();
                // Until the request is there.
                while !came.windows(4).any(|it| it == [HEADERS, 5, 0, 0]) {
                    let count = stream.read(&mut piece).await.unwrap_or(0);
                    if count == 0 {
                        return;
                    }
                    came.extend_from_slice(&piece[..count]);
                }
                drop(stream.write_all(&sent).await);
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
        });
        scene.speak(&server, async |client| {
            let mut sender = client.sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request("POST", "/"), true).unwrap();
            let status = response.await.expect("an answer").status();
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{}", bytes.escape_ascii());
        });
        scene.proxy.end().assert_exchanges(&[("failed", 1)]);
        server.join();
    }
}
