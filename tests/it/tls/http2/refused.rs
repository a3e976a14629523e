//! What a server has not looked at, and says so: it is sent again unseen, whatever the method, and retries know it by its name.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use h2::Reason;
use hyper::{StatusCode, body::Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Upstream,
    http2::{Asked, read, request, serve, serve_connections},
    secure::Scene,
};

/// A server that refuses so many streams before it answers one.
fn refusing(scene: &Scene, times: usize) -> Upstream {
    let refused = Arc::new(AtomicUsize::new(0));
    serve(scene.root.server("h.test").config(), move |mut asked: Asked| {
        let refused = Arc::clone(&refused);
        async move {
            if refused.fetch_add(1, Ordering::SeqCst) < times {
                asked.respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                asked.answer("hi");
            }
        }
    })
}

#[test]
fn a_refused_stream_is_sent_again_unseen_whatever_its_method() {
    let scene = Scene::with(&["--intercept"]);
    let server = refusing(&scene, 2);
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, _) = sender.send_request(request("POST", "/"), true).unwrap();
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
    });
    let records = scene.proxy.end();
    records.assert_exchanges(&[("ok", 1)]).assert_retries(&[]);
    assert_eq!(records.exchanges("resends"), 2);
    server.join();
}

#[test]
fn a_server_that_goes_on_refusing_is_an_error_and_a_reason_to_retry() {
    for (flags, status, retries) in [
        (
            &["--intercept"][..],
            502,
            &[("refused.off", 1), ("refused.safe_would", 1)][..],
        ),
        (
            &["--intercept", "--retries=1", "--retry-on=refused-stream"],
            200,
            &[("retried", 1), ("retries", 1), ("rescued", 1)],
        ),
    ] {
        let scene = Scene::with(flags);
        let server = refusing(&scene, 3);
        scene.speak(&server, async |mut client| {
            let (head, _) = client.ask(request("DELETE", "/")).await.expect("an answer");
            assert_eq!(head.status, status);
        });
        let records = scene.proxy.end();
        records.assert_retries(retries);
        if status == 502 {
            records.assert_failure("the server refused the stream: it has not looked at the request");
        }
        server.join();
    }
}

#[test]
fn a_body_of_which_some_has_gone_is_not_sent_again() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        drop(asked.body.data().await);
        asked.respond.send_reset(Reason::REFUSED_STREAM);
    });
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/"), false).unwrap();
        upload.send_data(Bytes::from_static(b"some of it"), false).unwrap();
        assert_eq!(response.await.expect("an answer").status(), StatusCode::BAD_GATEWAY);
    });
    scene.proxy.end().assert_exchanges(&[("failed", 1)]);
    server.join();
}

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn streams_above_the_last_one_of_a_goaway_are_sent_again_elsewhere_and_those_below_are_not() {
    let scene = Scene::with(&["--intercept"]);
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let server = serve_connections(scene.root.server("h.test").config(), move |mut stream, connection| {
        let counted = Arc::clone(&counted);
        async move {
            if connection > 0 {
                let mut streams = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = streams.accept().await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"hi"), true).unwrap();
                }
                return;
            }
            // By hand: h2 sends no such thing. The preface, the settings, then what comes until both streams are there.
            stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            let mut headers = 0;
            while headers < 2 {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                stream.read_exact(&mut payload).await.unwrap();
                headers += usize::from(head[3] == 1);
            }
            // The first was seen, the second was not.
            let last = [1_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat();
            stream.write_all(&frame(7, 0, 0, &last)).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        }
    });
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (first, _) = sender.send_request(request("POST", "/seen"), true).unwrap();
        let mut sender = sender.ready().await.unwrap();
        let (second, _) = sender.send_request(request("POST", "/unseen"), true).unwrap();
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first.expect("an answer").status(), StatusCode::BAD_GATEWAY);
        let second = second.expect("an answer");
        assert_eq!(second.status(), StatusCode::OK);
        assert_eq!(read(&mut second.into_body()).await.unwrap().data, b"hi");
    });
    let records = scene.proxy.end();
    assert_eq!(records.exchanges("resends"), 1);
    records
        .assert_exchanges(&[("ok", 1), ("failed", 1)])
        .assert_opened(2)
        .assert_failure("the server closed the connection before it answered");
    server.join();
    assert_eq!(
        posts.load(Ordering::SeqCst),
        1,
        "the one that was seen is not sent again"
    );
}

#[test]
fn streams_that_have_to_go_elsewhere_at_once_share_a_connection_there_too() {
    let scene = Scene::with(&["--intercept"]);
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let server = serve_connections(scene.root.server("h.test").config(), move |stream, connection| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut streams = h2::server::handshake(stream).await.expect("HTTP/2");
            if connection == 0 {
                // All that comes behind the first is for another connection.
                let (_, mut respond) = streams.accept().await.expect("a request").expect("a request");
                respond.send_response(hyper::Response::new(()), true).unwrap();
                streams.graceful_shutdown();
            }
            while let Some(Ok((_, mut respond))) = streams.accept().await {
                if connection == 0 {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    respond.send_response(hyper::Response::new(()), true).unwrap();
                }
            }
        }
    });
    scene.speak(&server, async |mut client| {
        client.get("/").await.expect("an answer");
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let sender = client.sender.clone();
            asking.spawn_local(async move {
                let mut client = crate::support::http2::Client { sender };
                let (head, _) = client.ask(request("POST", "/")).await.expect("an answer");
                assert_eq!(head.status, StatusCode::OK);
            });
        }
        while let Some(ended) = asking.join_next().await {
            ended.unwrap();
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 31)]).assert_opened(2);
    server.join();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
