//! gRPC's four shapes, as its frames are on the wire: messages both ways, a status in the trailers, nothing held back.

use hyper::{HeaderMap, Request, Response, body::Bytes};

use crate::support::{
    http2::{Asked, Client, serve},
    secure::Scene,
};

/// A message: not compressed, its length, itself.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

/// Reads one message; none at the end.
async fn next(body: &mut h2::RecvStream, kept: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(head) = kept.first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if kept.len() >= 5 + length {
                let text = String::from_utf8(kept[5..5 + length].to_vec()).unwrap();
                kept.drain(..5 + length);
                return Some(text);
            }
        }
        let data = body.data().await?.expect("an open stream");
        body.flow_control().release_capacity(data.len()).unwrap();
        kept.extend_from_slice(&data);
    }
}

/// The trailers of a call that went well.
fn fine() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers
}

/// A service that answers `N` messages with `N * M` ones, by its path `/N/M`, as they come.
async fn serve_call(asked: Asked) {
    let Asked {
        head,
        mut body,
        mut respond,
        ..
    } = asked;
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["grpc-timeout"], "5S");
    let response = Response::builder().header("content-type", "application/grpc");
    if head.uri.path() == "/missing" {
        let only = response.header("grpc-status", "12").body(()).unwrap();
        respond.send_response(only, true).unwrap();
        return;
    }
    let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
    let times: usize = head.uri.path().rsplit('/').next().unwrap().parse().unwrap();
    let mut kept = Vec::new();
    while let Some(text) = next(&mut body, &mut kept).await {
        for _ in 0..times {
            stream.send_data(message(&format!("re: {text}")), false).unwrap();
        }
    }
    stream.send_trailers(fine()).unwrap();
}

/// Makes a call: each message is sent when all answers to the last one are there.
async fn call(client: &Client, path: &str, messages: usize, times: usize) {
    let request = Request::builder()
        .method("POST")
        .uri(format!("https://h.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .body(())
        .unwrap();
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (response, mut upload) = sender.send_request(request, false).unwrap();
    let response = response.await.expect("an answer before the first message");
    let mut body = response.into_body();
    let mut kept = Vec::new();
    for number in 0..messages {
        upload.send_data(message(&number.to_string()), false).unwrap();
        for _ in 0..times {
            let text = next(&mut body, &mut kept).await;
            assert_eq!(text, Some(format!("re: {number}")));
        }
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(next(&mut body, &mut kept).await, None);
    let trailers = body.trailers().await.unwrap().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
}

#[test]
fn calls_of_every_shape_go_through_as_they_come() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), serve_call);
    scene.speak(&server, async |client| {
        for (path, messages, times) in [("/1", 1, 1), ("/5", 1, 5), ("/0", 20, 0), ("/2", 20, 2)] {
            call(&client, path, messages, times).await;
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 4)]).assert_opened(1);
    server.join();
}

#[test]
fn an_answer_of_trailers_alone_stays_one() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), serve_call);
    scene.speak(&server, async |client| {
        let request = Request::post("https://h.test/missing")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "5S")
            .body(())
            .unwrap();
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        upload.send_data(message("x"), true).unwrap();
        let response = response.await.expect("an answer");
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.body().is_end_stream(), "its head is all");
    });
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}
