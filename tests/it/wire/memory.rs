//! What amb holds while nobody reads.

use std::{fs, sync::mpsc, thread};

use super::{aimed, by_hand, get};
use crate::support::{PATIENCE, Proxy};

/// How many connections of each kind there are.
const EACH: usize = 8;
/// What a connection's two buffers may hold, in KiB.
const BUFFERS_KIB: usize = 128;

/// More than the kernels' buffers on the way hold.
const MOST_BYTES: usize = 64 << 20;

/// What a process has in memory that is its own, in KiB.
#[track_caller]
fn resident(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Checklist 117: a body, however framed, an upload and pipelined requests that nobody takes are left with their senders.
#[test]
fn what_nobody_reads_costs_no_more_than_its_buffers() {
    let (full, is_full) = mpsc::channel();
    let origin = by_hand(move |mut peer, _| {
        let head = peer.until(b"\r\n\r\n").unwrap();
        let chunk = vec![b'x'; 1 << 16];
        let chunks = [b"10000\r\n", &chunk[..], b"\r\n"].concat();
        let (start, endless) = if head.starts_with(b"GET /plain ") {
            ("HTTP/1.1 200 OK\r\n\r\n", chunk)
        } else if head.starts_with(b"GET /chunked ") {
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunks)
        } else if head.starts_with(b"GET / ") {
            // Not one that would be used again.
            peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            return;
        } else {
            ("", Vec::new())
        };
        peer.send(start);
        if !endless.is_empty() {
            peer.fill_up(&endless, MOST_BYTES);
            full.send(()).unwrap();
        }
        peer.hold();
    });
    let proxy = Proxy::start();
    proxy.ask(get(&origin)).assert_is(200, "ok");
    let before = resident(proxy.running.pid());
    let mut clients = Vec::new();
    let mut fillers = Vec::new();
    for _ in 0..EACH {
        for text in [
            "GET http://ORIGIN/plain HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
            "GET http://ORIGIN/chunked HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
            "GET http://ORIGIN/chunked HTTP/1.0\r\n\r\n",
        ] {
            let mut client = proxy.connect();
            client.send(aimed(text, &origin));
            clients.push(client);
        }
        for (text, rest) in [
            (
                "POST http://ORIGIN/upload HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 99999999999\r\n\r\n",
                vec![b'x'; 1 << 16],
            ),
            (
                "GET http://ORIGIN/silent HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
                aimed("GET http://ORIGIN/silent HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", &origin)
                    .repeat(1000)
                    .into_bytes(),
            ),
        ] {
            let mut client = proxy.connect();
            client.send(aimed(text, &origin));
            fillers.push(thread::spawn(move || {
                client.fill_up(&rest, MOST_BYTES);
                client
            }));
        }
    }
    clients.extend(fillers.into_iter().map(|filler| filler.join().unwrap()));
    for _ in 0..3 * EACH {
        is_full.recv_timeout(PATIENCE).unwrap();
    }
    let held = resident(proxy.running.pid()).saturating_sub(before);
    assert!(
        held <= clients.len() * BUFFERS_KIB,
        "{held} KiB for {} connections",
        clients.len()
    );
    drop(clients);
    let records = proxy.end();
    assert_eq!(records.exchanges("ok"), 1, "{records:?}");
}
