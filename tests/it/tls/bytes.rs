//! What is inside TLS arrives as it was sent, and ends as it ended.

use super::GET;
use crate::support::{
    End,
    secure::{Scene, Server, client_config, serve, shake},
};

/// Random bytes by xorshift, the same ones in every run.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// How many bytes the body of a response has.
fn size(number: usize) -> usize {
    match number % 10 {
        0 => 0,
        1 => 1,
        2 => 100,
        3 => 16 * 1024 - 1,
        4 => 16 * 1024 + 1,
        5 => 70_000,
        6 => 300_000,
        7 => 3_000_000,
        8 => 32 * 1024,
        _ => 5_000 + 37 * number,
    }
}

/// Answers the request for response `number`. Returns whether the connection goes on.
fn respond(peer: &mut Server, number: usize) -> bool {
    let body = noise(number as u64, size(number));
    // amb looks into no coding, so what is in it need not be one.
    let coded = match number % 3 {
        0 => "Content-Encoding: gzip\r\n",
        1 => "Content-Encoding: br\r\n",
        _ => "",
    };
    match number % 4 {
        0 | 1 => {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\n{coded}Content-Length: {}\r\n\r\n",
                body.len()
            ))
            .send(&body);
            true
        }
        2 => {
            peer.send(format!("HTTP/1.1 200 OK\r\n{coded}Transfer-Encoding: chunked\r\n\r\n"));
            for chunk in body.chunks(1 + number * 997) {
                peer.send(format!("{:x};n={number}\r\n", chunk.len()))
                    .send(chunk)
                    .send("\r\n");
            }
            peer.send("0\r\nX-Trailer: t\r\n\r\n");
            true
        }
        _ => {
            peer.send(format!("HTTP/1.1 200 OK\r\n{coded}\r\n")).send(&body).end();
            false
        }
    }
}

/// A server of these responses.
fn server(scene: &Scene) -> crate::support::Upstream {
    serve(scene.root.server("h.test").config(), |mut peer, _| {
        while let Ok(head) = peer.until(b"\r\n\r\n") {
            let head = String::from_utf8(head).unwrap();
            let number = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let length = head
                .split_once("Content-Length: ")
                .map(|(_, rest)| rest.split('\r').next().unwrap());
            if let Some(length) = length {
                let length: usize = length.parse().unwrap();
                assert_eq!(
                    peer.take(length).unwrap(),
                    noise(7, length),
                    "what arrives of the request's body"
                );
            }
            if !respond(&mut peer, number) {
                return;
            }
        }
    })
}

#[test]
fn a_hundred_responses_of_all_kinds_are_the_same_directly_and_opened() {
    let scene = Scene::with(&["--intercept"]);
    let server = server(&scene);
    let mut opened = None;
    let mut direct = None;
    for number in 0..100 {
        let upload = if number % 5 == 0 { size(number + 3) } else { 0 };
        let mut answers = Vec::new();
        for (client, trusted) in [(&mut direct, scene.root.pem()), (&mut opened, scene.authority())] {
            let peer = client.get_or_insert_with(|| {
                let stream = if trusted == scene.root.pem() {
                    std::net::TcpStream::connect(server.address()).unwrap()
                } else {
                    scene.tunnel(&server.address().to_string()).stream
                };
                shake(client_config(&[&trusted], &["http/1.1"]), "h.test", stream).unwrap()
            });
            if upload > 0 {
                peer.send(format!(
                    "POST /{number} HTTP/1.1\r\nHost: h.test\r\nContent-Length: {upload}\r\n\r\n"
                ))
                .send(noise(7, upload));
            } else {
                peer.send(format!("GET /{number} HTTP/1.1\r\nHost: h.test\r\n\r\n"));
            }
            let answer = peer.answer();
            if answer.end.is_some() {
                *client = None;
            }
            let coding = answer.field("content-encoding");
            answers.push((answer.status(), coding, answer.body, answer.end));
        }
        assert!(answers[0] == answers[1], "response {number} differs");
    }
    drop(opened);
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 100)])
        .assert_tunnels(&[("total", 0)]);
    drop(direct);
    server.join();
}

#[test]
fn a_hundred_megabytes_are_the_same() {
    const CHUNKS: u64 = 400;
    const CHUNK: usize = 256 * 1024;
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        let length = CHUNKS * CHUNK as u64;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        let chunk = noise(3, CHUNK);
        for number in 0..CHUNKS {
            // Each piece is told from the others, so that none can take another's place.
            peer.send([&number.to_be_bytes()[..], &chunk[8..]].concat());
        }
    });
    let mut client = scene.client(&server, "h.test");
    client.send(GET);
    drop(client.until(b"\r\n\r\n").unwrap());
    let chunk = noise(3, CHUNK);
    for number in 0..CHUNKS {
        let came = client.take(CHUNK).unwrap();
        assert!(
            came[..8] == number.to_be_bytes() && came[8..] == chunk[8..],
            "piece {number}"
        );
    }
    drop(client);
    let records = scene.proxy.end();
    records.assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn a_slow_response_arrives_piece_by_piece_as_it_is_sent() {
    let scene = Scene::with(&["--intercept"]);
    let (came, next) = std::sync::mpsc::channel();
    let next = std::sync::Arc::new(std::sync::Mutex::new(next));
    let server = serve(scene.root.server("h.test").config(), move |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..20 {
            peer.send(format!("7\r\npiece{number:02}\r\n"));
            // Nothing more before this has been read.
            next.lock().unwrap().recv().unwrap();
        }
        peer.send("0\r\nX-Trailer: t\r\n\r\n");
    });
    let mut client = scene.client(&server, "h.test");
    client.send(GET);
    drop(client.until(b"\r\n\r\n").unwrap());
    for number in 0..20 {
        assert_eq!(
            client.take(12).unwrap(),
            format!("7\r\npiece{number:02}\r\n").as_bytes()
        );
        came.send(()).unwrap();
    }
    assert_eq!(client.until(b"\r\n\r\n").unwrap(), b"0\r\nX-Trailer: t\r\n\r\n");
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

/// A close that nobody announced may be somebody else's: what it ends is not complete.
#[test]
fn a_body_that_ends_with_its_connection_and_was_cut_off_is_cut_off_for_the_client_too() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut peer, number| {
        drop(peer.until(b"\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\n\r\nall of it?");
        if number == 0 {
            peer.end();
        }
    });
    for (end, shown) in [(End::Closed, "whole"), (End::CutOff, "cut off")] {
        let mut client = scene.client(&server, "h.test");
        let answer = client.send(GET).answer();
        assert_eq!(
            (answer.body().as_str(), answer.end),
            ("all of it?", Some(end)),
            "{shown}"
        );
    }
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1), ("failed", 1)])
        .assert_failure("http_response_incomplete");
    server.join();
}

#[test]
fn a_response_that_breaks_off_by_its_length_is_short_for_the_client_too() {
    let scene = Scene::with(&["--intercept"]);
    let server = serve(scene.root.server("h.test").config(), |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").end();
    });
    let answer = scene.client(&server, "h.test").send(GET).answer();
    assert_eq!((answer.body().as_str(), answer.end), ("short", Some(End::Closed)));
    scene.proxy.end().assert_failure("http_response_incomplete");
    server.join();
}

/// Nobody reads, so what the server sends has to wait where it is.
#[test]
fn a_client_that_does_not_read_stops_its_server() {
    let scene = Scene::with(&["--intercept"]);
    let (told, stopped) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let told = std::sync::Arc::new(told);
    let server = serve(scene.root.server("h.test").config(), move |mut peer, _| {
        drop(peer.until(b"\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let mut records = Vec::new();
        // Records are made beforehand, so that the socket alone decides how many of them go.
        let chunk = [0; 16 * 1024];
        for _ in 0..4096 {
            std::io::Write::write_all(&mut peer.stream.conn.writer(), &chunk).unwrap();
            peer.stream.conn.write_tls(&mut records).unwrap();
        }
        let mut socket = crate::support::Peer::new(peer.stream.sock.try_clone().unwrap());
        socket.fill_up(&records, 32 << 20);
        told.lock().unwrap().send(()).unwrap();
    });
    let mut client = scene.client(&server, "h.test");
    client.send(GET);
    stopped
        .recv_timeout(crate::support::PATIENCE)
        .expect("the server was stopped");
    drop(client);
    scene.proxy.end();
}
