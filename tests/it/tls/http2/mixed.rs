//! Sides that speak different versions: a server that speaks another one by the time it is connected to again.

use std::sync::{Arc, Mutex, mpsc};

use h2::Reason;
use hyper::{HeaderMap, Request, Response, StatusCode, body::Bytes};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::support::{
    Upstream,
    http2::{read, request},
    secure::Scene,
};

/// How a server is configured that speaks this protocol alone.
fn speaking(scene: &Scene, protocol: &str) -> ServerConfig {
    let mut config = scene.root.server("h.test").config();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}

/// A server that speaks `first` to answer one request, goes away, and speaks the other one from then on: HTTP/1.1 by hand, as
/// `http1` does, or HTTP/2 as `http2` does.
fn changing<F, G>(
    scene: &Scene,
    first: &str,
    http1: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
    http2: impl Fn(h2::server::Connection<TlsStream<TcpStream>, Bytes>) -> G + Clone + Send + 'static,
) -> Upstream
where
    F: Future<Output = ()> + 'static,
    G: Future<Output = ()> + 'static,
{
    let mut protocols = [speaking(scene, "h2"), speaking(scene, "http/1.1")].map(Arc::new);
    if first != "h2" {
        protocols.reverse();
    }
    Upstream::serve(move |stream, connection| {
        let (http1, http2) = (http1.clone(), http2.clone());
        let config = Arc::clone(&protocols[connection.min(1)]);
        crate::support::http2::accept(stream, config, async move |stream| {
            if stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]) {
                http2(h2::server::handshake(stream).await.expect("HTTP/2")).await;
            } else {
                http1(stream).await;
            }
        });
    })
}

/// Reads a head of HTTP/1.1.
async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

/// Answers one request, and goes away.
async fn answer_one(mut streams: h2::server::Connection<TlsStream<TcpStream>, Bytes>) {
    let (_, mut respond) = streams.accept().await.expect("a request").expect("a request");
    respond.send_response(Response::new(()), true).unwrap();
    streams.graceful_shutdown();
    while let Some(Ok((_, mut respond))) = streams.accept().await {
        respond.send_reset(Reason::REFUSED_STREAM);
    }
}

#[test]
fn a_client_of_http2_reaches_a_server_of_http1() {
    let scene = Scene::with(&["--intercept"]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    let server = changing(
        &scene,
        "h2",
        move |mut stream| {
            let heads = Arc::clone(&heads);
            async move {
                for answer in [
                    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nhi",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nKeep-Alive: 5\r\n\r\n\
                     3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
                    "HTTP/1.1 404 Not Found\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\nto the end",
                ] {
                    let head = head(&mut stream).await;
                    if head.contains("transfer-encoding: chunked") {
                        let mut body = Vec::new();
                        while !body.ends_with(b"\r\n\r\n") {
                            body.push(stream.read_u8().await.unwrap());
                        }
                        heads.lock().unwrap().push(String::from_utf8(body).unwrap());
                    }
                    heads.lock().unwrap().push(head);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
                stream.shutdown().await.unwrap();
            }
        },
        answer_one,
    );
    scene.speak(&server, async |mut client| {
        assert_eq!(client.get("/first").await.expect("an answer").0.status, StatusCode::OK);

        let asking = Request::get("https://h.test/a?b")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (head, got) = client.ask(asking).await.expect("an answer");
        assert_eq!((head.status, got.data.as_slice()), (StatusCode::OK, &b"hi"[..]));
        assert_eq!(
            (&head.headers["x-a"], &head.headers["content-length"]),
            (&"1".parse().unwrap(), &"2".parse().unwrap())
        );

        let mut sender = client.sender.clone().ready().await.unwrap();
        let (response, mut upload) = sender.send_request(request("POST", "/chunked"), false).unwrap();
        upload.send_data(Bytes::from_static(b"some"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-up", "4".parse().unwrap());
        upload.send_trailers(trailers).unwrap();
        let response = response.await.expect("an answer");
        assert!(!response.headers().contains_key("keep-alive"));
        let got = read(&mut response.into_body()).await.expect("a body");
        assert_eq!(
            (got.data.as_slice(), &got.trailers.expect("trailers")["x-sum"]),
            (&b"abcde"[..], &"5".parse().unwrap())
        );

        let (head, got) = client.get("/last").await.expect("an answer");
        assert_eq!((head.status.as_u16(), got.data.as_slice()), (404, &b"to the end"[..]));
        assert!(!head.headers.contains_key("x-hop"));
    });
    scene.proxy.end().assert_exchanges(&[("ok", 4)]).assert_opened(2);
    server.join();
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].starts_with("GET /a?b HTTP/1.1\r\nhost: h.test\r\n"),
        "{}",
        asked[0]
    );
    assert!(asked[0].contains("cookie: a=1; b=2\r\n"), "{}", asked[0]);
    assert!(
        asked[0].contains("TE: trailers\r\n") && asked[0].contains("Via: 2.0 "),
        "{}",
        asked[0]
    );
    assert_eq!(asked[1], "4\r\nsome\r\n0\r\nx-up: 4\r\n\r\n");
}

#[test]
fn a_client_of_http1_reaches_a_server_of_http2() {
    let scene = Scene::with(&["--intercept"]);
    let (said, asked) = mpsc::channel();
    let said = Arc::new(Mutex::new(said));
    let server = changing(
        &scene,
        "http/1.1",
        async |mut stream| {
            head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            stream.shutdown().await.unwrap();
        },
        move |mut streams: h2::server::Connection<TlsStream<TcpStream>, Bytes>| {
            let said = Arc::clone(&said);
            async move {
                while let Some(Ok((mut request, mut respond))) = streams.accept().await {
                    let said = Arc::clone(&said);
                    tokio::task::spawn_local(async move {
                        let got = read(request.body_mut()).await.expect("a body");
                        said.lock().unwrap().send((request.into_parts().0, got)).unwrap();
                        let response = Response::builder().status(201).header("x-a", "b").body(()).unwrap();
                        let mut stream = respond.send_response(response, false).unwrap();
                        stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-sum", "5".parse().unwrap());
                        stream.send_trailers(trailers).unwrap();
                    });
                }
            }
        },
    );
    let offered = ["h2", "http/1.1"];
    let mut client = scene.client_offering(&server, "h.test", &offered).expect("TLS");
    client.send(super::super::GET).answer().assert_is(200, "");
    client.send(
        "PUT /a HTTP/1.1\r\nHost: h.test\r\nX-One: 1\r\nConnection: x-hop\r\nX-Hop: 2\r\nTransfer-Encoding: chunked\r\n\
         TE: trailers\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 3\r\n\r\n",
    );
    let answer = client.until(b"\r\n\r\n").expect("a head");
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.starts_with("HTTP/1.1 201 Created\r\n"), "{text}");
    assert!(text.contains("x-a: b\r\n") && text.contains("Via: 2.0 "), "{text}");
    assert_eq!(
        client.until(b"0\r\nx-sum: 5\r\n\r\n").expect("a body"),
        b"5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n"
    );
    let (head, got) = asked.recv().unwrap();
    assert_eq!(
        (head.method.as_str(), head.uri.to_string().as_str()),
        ("PUT", "https://h.test/a")
    );
    assert_eq!(
        (&head.headers["x-one"], &head.headers["te"]),
        (&"1".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert!(!head.headers.contains_key("x-hop") && !head.headers.contains_key("transfer-encoding"));
    assert_eq!(
        (got.data.as_slice(), &got.trailers.expect("trailers")["x-up"]),
        (&b"abc"[..], &"3".parse().unwrap())
    );
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 2)]).assert_opened(2);
    server.join();
}

#[test]
fn a_request_that_the_server_wants_by_http1_goes_there_by_http1() {
    let scene = Scene::with(&["--intercept"]);
    let server = changing(
        &scene,
        "h2",
        async |mut stream| {
            let head = head(&mut stream).await;
            assert!(head.starts_with("POST /signed HTTP/1.1\r\n"), "{head}");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                .await
                .unwrap();
            stream.shutdown().await.unwrap();
        },
        async |mut streams: h2::server::Connection<TlsStream<TcpStream>, Bytes>| {
            while let Some(Ok((request, mut respond))) = streams.accept().await {
                if request.uri().path() == "/signed" {
                    respond.send_reset(Reason::HTTP_1_1_REQUIRED);
                } else {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        },
    );
    scene.speak(&server, async |mut client| {
        client.get("/").await.expect("an answer");
        let (head, got) = client.ask(request("POST", "/signed")).await.expect("an answer");
        assert_eq!((head.status, got.data.as_slice()), (StatusCode::OK, &b"hi"[..]));
        client.get("/").await.expect("an answer");
    });
    let records = scene.proxy.end();
    records.assert_exchanges(&[("ok", 3)]).assert_opened(2);
    assert_eq!(records.exchanges("resends"), 1);
    server.join();
}

#[test]
fn rules_about_addresses_hold_for_every_stream() {
    let scene = Scene::with(&["--intercept", "--egress=enforce", "--allow=127.0.0.0/8"]);
    let server = crate::support::http2::serve(scene.root.server("h.test").config(), |asked| async move {
        asked.answer("hi");
    });
    scene.speak(&server, async |mut client| {
        for _ in 0..3 {
            client.expect("/", "hi").await;
        }
    });
    scene.proxy.end().assert_exchanges(&[("ok", 3)]).assert_opened(1);
    server.join();
}
