//! HTTP/2 inside TLS that amb opens: both sides speak it, and each stream is an exchange like any other.

mod conformance;
mod ends;
mod grpc;
mod hostile;
mod mixed;
mod refused;
mod websockets;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hyper::{HeaderMap, Request, Response, StatusCode, body::Bytes};
use tokio::task::JoinSet;

use crate::support::{
    Upstream,
    http2::{Asked, read, request, serve},
    secure::{Scene, hello},
};

/// A server that says what it was asked.
fn echo(scene: &Scene) -> Upstream {
    serve(scene.root.server("h.test").config(), |asked: Asked| async move {
        let mut asked = asked;
        let authority = asked.head.uri.authority().expect("an authority").to_string();
        let head = format!(
            "{} {authority} {}\n",
            asked.head.method,
            asked.head.uri.path_and_query().expect("a path")
        );
        let fields: Vec<String> = asked
            .head
            .headers
            .iter()
            .filter(|(name, _)| *name != "via")
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().expect("text")))
            .collect();
        let got = read(&mut asked.body).await.expect("a body");
        let body = [
            head.into_bytes(),
            fields.concat().into_bytes(),
            b"\n".to_vec(),
            got.data,
        ]
        .concat();
        let mut stream = asked.respond.send_response(Response::new(()), false).expect("a stream");
        stream.send_data(body.into(), true).expect("a stream");
    })
}

#[test]
fn a_request_passes_with_all_that_it_says_and_nothing_else() {
    let scene = Scene::with(&["--intercept", "--no-via"]);
    let server = echo(&scene);
    scene.speak(&server, async |mut client| {
        let request = Request::builder()
            .method("PROPFIND")
            .uri("https://h.test/a/../%2F//b?c=%20&d")
            .header("x-one", "1")
            .header("te", "trailers")
            .header("x-two", "")
            .header("x-one", "two, three")
            .body(())
            .unwrap();
        let (head, got) = client.ask(request).await.expect("an answer");
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.headers.is_empty(), "{:?}", head.headers);
        let said = String::from_utf8(got.data).unwrap();
        let mut lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.remove(0), "PROPFIND h.test /a/../%2F//b?c=%20&d");
        lines.sort_unstable();
        assert_eq!(lines, ["", "te: trailers", "x-one: 1", "x-one: two, three", "x-two: "]);
    });
    let place = server.address().to_string();
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("total", 0)])
        .assert_hosts(&[&place])
        .assert_opened(1);
    server.join();
}

#[test]
fn streams_of_a_client_share_one_connection_and_go_on_side_by_side() {
    let scene = Scene::with(&["--intercept"]);
    let begun = Arc::new(AtomicUsize::new(0));
    let meeting = Arc::clone(&begun);
    let server = serve(scene.root.server("h.test").config(), move |asked: Asked| {
        let meeting = Arc::clone(&meeting);
        async move {
            assert_eq!(asked.connection, 0, "one connection for all");
            assert!(asked.field("via").starts_with("2.0 amb"), "{}", asked.field("via"));
            // None is answered before all are there.
            meeting.fetch_add(1, Ordering::SeqCst);
            while meeting.load(Ordering::SeqCst) < 50 {
                tokio::task::yield_now().await;
            }
            asked.answer("hi");
        }
    });
    scene.speak(&server, async |client| {
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            let sender = client.sender.clone();
            asking.spawn_local(async move {
                let mut client = crate::support::http2::Client { sender };
                client.expect("/", "hi").await;
            });
        }
        while let Some(ended) = asking.join_next().await {
            ended.unwrap();
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 50)]).assert_opened(1);
    server.join();
}

#[test]
fn bodies_of_any_length_pass_both_ways_at_once() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |asked: Asked| async move {
        let Asked {
            mut body, mut respond, ..
        } = asked;
        let mut stream = respond.send_response(Response::new(()), false).expect("a stream");
        while let Some(data) = body.data().await {
            let data = data.expect("a body");
            body.flow_control().release_capacity(data.len()).unwrap();
            send(&mut stream, data).await;
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let sent: Bytes = (0..5_000_000u32)
        .map(|index| (index * 7 / 3).to_le_bytes()[0])
        .collect();
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/"), false).unwrap();
        let up = async {
            for piece in sent.chunks(70_000) {
                send(&mut upload, Bytes::copy_from_slice(piece)).await;
            }
            upload.send_data(Bytes::new(), true).unwrap();
        };
        let down = async {
            let mut body = response.await.expect("an answer").into_body();
            read(&mut body).await.expect("a body").data
        };
        let ((), came) = tokio::join!(up, down);
        assert!(came == sent, "{} bytes came", came.len());
    });
    let records = scene.proxy.end();
    records.assert_exchanges(&[("ok", 1)]);
    server.join();
}

/// Sends data when there is room for it. False if it is not wanted any more.
pub(super) async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return false;
        };
        stream
            .send_data(data.split_to(room.min(data.len())), false)
            .expect("a stream");
    }
    true
}

#[test]
fn crumbs_of_a_cookie_and_repeated_fields_of_an_answer_arrive() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        assert_eq!(asked.field("cookie"), "a=1; b=2; c=3");
        let response = Response::builder()
            .status(207)
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("x-high", hyper::header::HeaderValue::from_bytes(b"\xe4\xff").unwrap())
            .body(())
            .unwrap();
        asked.respond.send_response(response, true).unwrap();
    });
    scene.speak(&server, async |mut client| {
        let mut asking = request("GET", "/");
        for crumb in ["a=1", "b=2", "c=3"] {
            asking.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        let (head, got) = client.ask(asking).await.expect("an answer");
        assert_eq!((head.status.as_u16(), got.data.len()), (207, 0));
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(head.headers["x-high"].as_bytes(), b"\xe4\xff");
        assert!(!head.headers.contains_key("transfer-encoding"));
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        let (status, length) = match asked.path() {
            "/204" => (204, None),
            "/304" => (304, Some("5")),
            "/head" => (200, Some("7")),
            _ => (200, None),
        };
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(length) = length {
            response.headers_mut().insert("content-length", length.parse().unwrap());
        }
        asked.respond.send_response(response, true).unwrap();
    });
    scene.speak(&server, async |client| {
        for (method, path, status, length) in [
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, Some("5")),
            ("HEAD", "/head", 200, Some("7")),
            ("POST", "/", 200, None),
        ] {
            let mut sender = client.sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request(method, path), true).unwrap();
            let response = response.await.expect("an answer");
            assert_eq!(response.status(), status, "{path}");
            let said = response
                .headers()
                .get("content-length")
                .map(|value| value.to_str().unwrap());
            assert_eq!(said, length, "{path}");
            assert!(response.body().is_end_stream(), "{path}");
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 4)]);
    server.join();
}

#[test]
fn a_client_that_also_speaks_http1_gets_what_its_server_speaks() {
    let scene = Scene::with(&["--intercept"]);
    let mut config = scene.root.server("h.test").config();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = hello(config, "hi");
    let mut client = scene
        .client_offering(&server, "h.test", &["h2", "http/1.1"])
        .expect("TLS");
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.send(super::GET).answer().assert_is(200, "hi");
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_host_that_is_not_the_connections_own_is_misdirected() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |asked: Asked| async move {
        asked.answer("hi");
    });
    scene.speak(&server, async |mut client| {
        let other = Request::get("https://other.test/").body(()).unwrap();
        let (head, _) = client.ask(other).await.expect("an answer");
        assert_eq!(head.status, StatusCode::MISDIRECTED_REQUEST);
        client.expect("/", "hi").await;
        let with_port = Request::get("https://H.test:443/").body(()).unwrap();
        assert_eq!(client.ask(with_port).await.expect("an answer").0.status, StatusCode::OK);
    });
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 2), ("failed", 1)])
        .assert_failure("the request is for other.test, and this connection is to h.test");
    server.join();
}

#[test]
fn trailers_of_a_request_and_of_an_answer_arrive() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        let got = read(&mut asked.body).await.expect("a body");
        assert_eq!(got.trailers.expect("trailers")["x-sum"], "up");
        let mut stream = asked.respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(got.data.into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "down".parse().unwrap());
        trailers.append("x-sum", "again".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    });
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/"), false).unwrap();
        upload.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "up".parse().unwrap());
        upload.send_trailers(trailers).unwrap();
        let mut body = response.await.expect("an answer").into_body();
        let got = read(&mut body).await.expect("a body");
        let trailers = got.trailers.expect("trailers");
        let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
        assert_eq!(got.data, b"abc");
        assert_eq!(sums, ["down", "again"]);
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}
