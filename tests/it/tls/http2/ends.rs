//! How streams end that are not complete, on either side, and whom that concerns.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, mpsc},
};

use h2::Reason;
use hyper::{Response, StatusCode, body::Bytes};

use super::send;
use crate::support::{
    http2::{Asked, read, request, serve, serve_with},
    secure::Scene,
};

#[test]
fn a_stream_that_the_client_resets_ends_at_the_server_and_no_other_does() {
    let scene = Scene::with(&["--intercept"]);
    let (reset, was_reset) = mpsc::channel();
    let reset = Arc::new(Mutex::new(reset));
    let server = serve(scene.root.server("h.test").config(), move |mut asked: Asked| {
        let reset = Arc::clone(&reset);
        async move {
            let path = asked.path().to_owned();
            if path == "/quick" {
                return asked.answer("quick");
            }
            if path == "/begun" {
                let mut stream = asked.respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(b"begun"), false).unwrap();
                let reason = poll_fn(|cx| stream.poll_reset(cx)).await.expect("a reset");
                reset.lock().unwrap().send((path, reason)).unwrap();
                return;
            }
            let reason = poll_fn(|cx| asked.respond.poll_reset(cx)).await.expect("a reset");
            reset.lock().unwrap().send((path, reason)).unwrap();
        }
    });
    scene.speak(&server, async |mut client| {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (response, mut stream) = sender.send_request(request("GET", "/silent"), true).unwrap();
        client.expect("/quick", "quick").await;
        stream.send_reset(Reason::CANCEL);
        drop(response);
        let told = tokio::task::spawn_blocking(move || (was_reset.recv().unwrap(), was_reset));
        let (told, was_reset) = told.await.unwrap();
        assert_eq!(told, ("/silent".to_owned(), Reason::CANCEL));

        let (response, mut stream) = sender.send_request(request("GET", "/begun"), true).unwrap();
        let mut body = response.await.expect("an answer").into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "begun");
        stream.send_reset(Reason::CANCEL);
        let told = tokio::task::spawn_blocking(move || (was_reset.recv().unwrap(), was_reset));
        let (told, was_reset) = told.await.unwrap();
        assert_eq!(told, ("/begun".to_owned(), Reason::CANCEL));

        let (response, mut upload) = sender.send_request(request("POST", "/upload"), false).unwrap();
        send(&mut upload, Bytes::from_static(b"half of it")).await;
        client.expect("/quick", "quick").await;
        upload.send_reset(Reason::CANCEL);
        drop(response);
        let told = tokio::task::spawn_blocking(move || was_reset.recv().unwrap());
        assert_eq!(told.await.unwrap(), ("/upload".to_owned(), Reason::CANCEL));
        client.expect("/quick", "quick").await;
    });
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 3), ("aborted", 3)])
        .assert_opened(1);
    server.join();
}

#[test]
fn a_reset_inside_an_answer_keeps_its_reason() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        if asked.path() == "/fine" {
            return asked.answer("fine");
        }
        let mut stream = asked.respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        // When it has arrived.
        let mut body = asked.body;
        drop(body.data().await);
        stream.send_reset(Reason::ENHANCE_YOUR_CALM);
    });
    scene.speak(&server, async |mut client| {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/"), false).unwrap();
        let mut body = response.await.expect("an answer").into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        upload.send_data(Bytes::from_static(b"go on"), false).unwrap();
        let broke = read(&mut body).await.expect_err("a reset");
        assert_eq!(broke.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        client.expect("/fine", "fine").await;
    });
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1), ("failed", 1)])
        .assert_failure("the server reset the stream (ENHANCE_YOUR_CALM) inside the body");
    server.join();
}

#[test]
fn a_reset_in_the_place_of_an_answer_is_a_502_that_says_so() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        asked.respond.send_reset(Reason::INTERNAL_ERROR);
    });
    scene.speak(&server, async |mut client| {
        let (head, _) = client.get("/").await.expect("an answer");
        assert_eq!(head.status, StatusCode::BAD_GATEWAY);
        let said = head.headers["proxy-status"].to_str().unwrap();
        assert!(said.contains("error=connection_terminated"), "{said}");
    });
    scene
        .proxy
        .end()
        .assert_exchanges(&[("failed", 1)])
        .assert_failure("the server reset the stream (INTERNAL_ERROR) before it answered");
    server.join();
}

#[test]
fn an_answer_shorter_than_it_says_is_no_complete_one() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        let mut response = Response::new(());
        if asked.path() == "/known" {
            response.headers_mut().insert("content-length", "10".parse().unwrap());
        }
        let mut stream = asked.respond.send_response(response, false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        drop(asked.body.data().await);
        stream.send_reset(Reason::NO_ERROR);
    });
    scene.speak(&server, async |client| {
        for (path, complete) in [("/known", false), ("/unknown", true)] {
            let mut sender = client.sender.clone().ready().await.unwrap();
            let (response, mut upload) = sender.send_request(request("POST", path), false).unwrap();
            let mut body = response.await.expect("an answer").into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "half");
            upload.send_data(Bytes::from_static(b"go on"), false).unwrap();
            // Of one that did not say how long it is nobody knows; Node's servers end their answers so.
            assert_eq!(read(&mut body).await.is_ok(), complete, "{path}");
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1), ("failed", 1)]);
    server.join();
}

#[test]
fn an_early_answer_to_an_upload_arrives() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        let response = Response::builder().status(413).body(()).unwrap();
        asked.respond.send_response(response, true).unwrap();
    });
    scene.speak(&server, async |client| {
        let mut sender = client.sender.ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/"), false).unwrap();
        upload.send_data(Bytes::from_static(b"some of it"), false).unwrap();
        assert_eq!(
            response.await.expect("an answer").status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let reason = poll_fn(|cx| upload.poll_reset(cx)).await.expect("no more is wanted");
        assert_eq!(reason, Reason::NO_ERROR);
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_client_that_does_not_read_one_answer_gets_the_others() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut asked: Asked| async move {
        if asked.path() == "/fine" {
            return asked.answer("fine");
        }
        let mut stream = asked.respond.send_response(Response::new(()), false).unwrap();
        let piece = Bytes::from(vec![7; 60_000]);
        // As much as there is room for on the way, until it is not wanted any more.
        while send(&mut stream, piece.clone()).await {}
        let reason = poll_fn(|cx| stream.poll_reset(cx)).await;
        assert_eq!(reason.expect("a reset"), Reason::CANCEL);
    });
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1_000_000);
    scene.speak_with(&server, &builder, async |mut client| {
        let mut unread = Vec::new();
        for _ in 0..5 {
            let mut sender = client.sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request("GET", "/"), true).unwrap();
            unread.push(response.await.expect("an answer"));
        }
        for _ in 0..5 {
            client.expect("/fine", "fine").await;
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 5), ("aborted", 5)]);
    server.join();
}

#[test]
fn a_run_that_ends_lets_streams_end_and_takes_no_new_ones() {
    let scene = Scene::with(&["--intercept", "--drain", "10s"]);
    let (end, ends) = mpsc::channel::<()>();
    let ends = Arc::new(Mutex::new(Some(ends)));
    let server = serve(scene.root.server("h.test").config(), move |mut asked: Asked| {
        let ends = ends.lock().unwrap().take();
        async move {
            let mut stream = asked.respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"begun "), false).unwrap();
            let ends = ends.expect("one request");
            tokio::task::spawn_blocking(move || ends.recv().unwrap()).await.unwrap();
            stream.send_data(Bytes::from_static(b"ended"), true).unwrap();
        }
    });
    let records = scene.speak_until_end(&server, async |client, proxy| {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (response, _) = sender.send_request(request("GET", "/"), true).unwrap();
        let mut body = response.await.expect("an answer").into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "begun ");
        let ending = tokio::task::spawn_blocking(move || proxy.end());
        // The connection says that it is over before the stream is.
        while client.sender.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
        assert_eq!(read(&mut body).await.expect("the rest").data, b"ended");
        ending.await.unwrap()
    });
    records.assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_server_that_takes_few_streams_at_a_time_is_given_few() {
    let scene = Scene::with(&["--intercept"]);
    let few = |builder: &mut h2::server::Builder| {
        builder.max_concurrent_streams(3);
    };
    let server = serve_with(scene.root.server("h.test").config(), few, |asked: Asked| async move {
        asked.answer("hi");
    });
    scene.speak(&server, async |mut client| {
        client.expect("/", "hi").await;
        assert_eq!(client.sender.current_max_send_streams(), 3);
        assert!(!client.sender.is_extended_connect_protocol_enabled());
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}
