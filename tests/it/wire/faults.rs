//! Servers and clients that break off, stall, dribble and lie, at every point where they can.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use super::{aimed, by_hand, get};
use crate::support::{End, Proxy, Step, Upstream, ok};

/// A listener whose queue is full: connecting to it takes for ever.
pub(crate) struct FullBacklog {
    /// The listener, and the connections that fill its queue.
    _sockets: Vec<Socket>,
    /// Where it listens.
    address: SocketAddr,
}

impl FullBacklog {
    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Makes a listener whose queue is full.
pub(crate) fn full_backlog() -> FullBacklog {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = socket();
        filler.set_nonblocking(true).unwrap();
        // In the queue, or on its way for ever.
        drop(filler.connect(&address.into()));
        sockets.push(filler);
    }
    FullBacklog {
        _sockets: sockets,
        address,
    }
}

/// Figure F: the server closes or resets behind each byte of its response.
#[test]
fn a_server_may_break_off_behind_any_byte() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ] {
        for end in [Step::Close, Step::Reset] {
            let replies =
                (0..response.len()).map(|cut| vec![Step::Read, Step::Send(response[..cut].into()), end.clone()]);
            let origin = Upstream::script(replies.chain([ok("alive")]));
            let proxy = Proxy::start();
            for cut in 0..response.len() {
                let mut client = proxy.connect();
                client.send(aimed("POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", &origin));
                let mut answer = client.try_answer("GET");
                if answer.as_ref().is_ok_and(|answer| answer.status() < 200) {
                    answer = client.try_answer("GET");
                }
                let heads_sent = response[..cut].matches("\r\n\r\n").count();
                let answer = match answer {
                    Ok(answer) => answer,
                    // The final head has gone to the client, and a reset may overtake it on the way, as it may without amb.
                    Err(End::Reset)
                        if matches!(end, Step::Reset) && heads_sent == response.matches("HTTP/").count() =>
                    {
                        continue;
                    }
                    Err(how) => panic!("no answer: {how:?}, cut at {cut} {end:?}: {response:?}"),
                };
                let explained = answer.status() == 502 && answer.field("proxy-status").is_some();
                assert!(
                    explained || answer.end.is_some(),
                    "cut at {cut} {end:?}: {}{}",
                    answer.head(),
                    answer.body()
                );
            }
            proxy.ask(get(&origin)).assert_is(200, "alive");
            let count = response.len() as u64;
            proxy.end().assert_exchanges(&[("ok", 1), ("failed", count)]);
            origin.join();
        }
    }
}

/// Figure F: the client closes, half-closes or resets behind each byte of its request.
#[test]
fn a_client_may_break_off_behind_any_byte() {
    let text = "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5\r\n\r\nhello";
    for kind in 0..3 {
        let origin = by_hand(|mut peer, _| {
            if peer.until(b"\r\n\r\n").is_ok() && peer.take(5).is_ok() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive");
                peer.rest();
            }
        });
        let proxy = Proxy::start();
        let text = aimed(text, &origin);
        for cut in 1..text.len() {
            let mut client = proxy.connect();
            client.send(&text[..cut]);
            match kind {
                0 => drop(client),
                1 => client.reset(),
                _ => {
                    client.half_close();
                    client.answer().assert_own(400, "http_request_error");
                    client.assert_closed();
                }
            }
        }
        proxy.ask(&text).assert_is(200, "alive");
        let records = proxy.end();
        let total = records.exchanges("total");
        // A connection that was reset before it was accepted never was one.
        assert!(kind == 1 || total == text.len() as u64, "{records:?}");
        assert_eq!(records.exchanges("ok"), 1, "{records:?}");
        assert_eq!(records.exchanges("cut_short"), 0, "{records:?}");
    }
}

/// One byte at a time, both ways.
#[test]
fn a_dribble_arrives_whole() {
    let origin = Upstream::script([
        vec![
            Step::Read,
            Step::SendSlowly(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: 1\r\n\r\n".to_vec(),
                1,
            ),
        ],
        vec![
            Step::Read,
            Step::SendSlowly(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(), 1),
        ],
    ]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.dribble(aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nB: 2\r\n\r\n",
        &origin,
    ));
    client.answer().assert_is(200, "5;x=y\r\nhello\r\n0\r\nA: 1\r\n\r\n");
    client.dribble(aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5\r\n\r\nworld",
        &origin,
    ));
    client.answer().assert_is(200, "hello");
    proxy.end().assert_exchanges(&[("ok", 2)]);
    let requests = origin.join();
    assert_eq!(requests[0].body, b"5\r\nhello\r\n0\r\nB: 2\r\n\r\n");
    assert_eq!(requests[1].body, b"world");
}

/// Checklist 103: also when the client breaks off its upload, and nothing that the server got looks complete.
#[test]
fn an_upload_that_its_client_breaks_off_is_reset_at_the_server() {
    let origin = by_hand(|mut peer, _| {
        assert_eq!(peer.rest().1, End::Reset);
    });
    let proxy = Proxy::start();
    for by_reset in [false, true] {
        let mut client = proxy.connect();
        client.send(aimed(
            "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 999\r\n\r\nhello",
            &origin,
        ));
        if by_reset {
            client.reset();
        }
    }
    let records = proxy.end();
    assert_eq!(records.exchanges("ok") + records.exchanges("failed"), 0, "{records:?}");
    origin.join();
}

/// Checklist 100: large bodies, both ways, whatever their framing: byte for byte.
#[test]
fn large_bodies_arrive_byte_for_byte() {
    let data = super::noise(5_000_000);
    let mut chunked = Vec::new();
    for piece in data.chunks(77_777) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let length = format!("Content-Length: {}\r\n", data.len());
    for (fields, body) in [
        (length.as_str(), &data),
        ("Transfer-Encoding: chunked\r\n", &chunked),
        ("", &data),
    ] {
        let response = [format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), body].concat();
        let origin = Upstream::script([vec![Step::Read, Step::Send(response), Step::Close]]);
        let proxy = Proxy::start();
        let mut client = proxy.connect();
        let upload = if fields.is_empty() { &[][..] } else { body };
        let mut writer = crate::support::Peer::new(client.stream.try_clone().unwrap());
        let request = [
            aimed(
                &format!("POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{fields}\r\n"),
                &origin,
            )
            .as_bytes(),
            upload,
        ]
        .concat();
        let writing = std::thread::spawn(move || {
            writer.send(request);
        });
        let answer = client.answer();
        writing.join().unwrap();
        assert!(answer.body == *body, "the response differs: {fields}");
        proxy.end().assert_exchanges(&[("ok", 1)]);
        assert!(origin.join()[0].body == upload, "the request differs: {fields}");
    }
}
