//! Limits: requests in a time, requests at a time, bytes in a time.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::Instant;

use crate::support::{PATIENCE, Peer, Proxy, Records, Step, Upstream, ok};

/// A proxy with these keys set.
fn with(keys: &[&str]) -> Proxy {
    Proxy::with(keys.iter().flat_map(|key| ["--set", key]))
}

/// A request for the origin's `/`.
fn get(origin: &Upstream) -> String {
    let address = origin.address();
    format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n")
}

/// So many exchanges or tunnels were delayed and rejected.
#[track_caller]
fn assert_held(records: &Records, delayed: u64, rejected: u64) {
    let held = records.part("/totals/held");
    assert_eq!(
        (&held["delayed"], &held["rejected"]),
        (&delayed.into(), &rejected.into()),
        "{held}"
    );
}

#[test]
fn what_is_more_than_the_rate_is_a_429_that_says_whose_it_is() {
    let origin = Upstream::script([ok("1"), ok("2")]);
    let proxy = Proxy::with([
        "--rate-limit",
        "1/h",
        "--set",
        "rate-limit.burst=2",
        "--set",
        "rate-limit.on-limit=reject",
    ]);
    proxy.ask(get(&origin)).assert_is(200, "1");
    proxy.ask(get(&origin)).assert_is(200, "2");
    let answer = proxy.ask(get(&origin));
    answer.assert_own(429, "http_request_denied");
    let seconds: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&seconds), "{seconds}");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["type"], "urn:amb:error:rate_limited");
    assert_eq!(problem["title"], "Too Many Requests");
    assert_eq!(problem["blame"], "policy");
    assert_eq!(problem["detail"], "amb lets 1/h through to 127.0.0.1, and this is more");
    assert_eq!(origin.join().len(), 2);
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 2), ("denied", 1)]);
    assert_held(&records, 0, 1);
    assert_eq!(records.part("/denials/0/error_type"), "rate_limited");
}

#[test]
fn requests_wait_their_turn_and_one_that_had_to_wait_too_long_does_not() {
    let origin = Upstream::script((0..6).map(|_| ok("x")));
    let proxy = Proxy::with(["--rate-limit", "20/s", "--set", "rate-limit.burst=1"]);
    let began = Instant::now();
    let mut clients: Vec<Peer> = (0..6).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.send(get(&origin));
    }
    for client in &mut clients {
        client.answer().assert_is(200, "x");
    }
    let lasted = began.elapsed();
    assert!(lasted >= Duration::from_millis(250), "five times 50 ms: {lasted:?}");
    origin.join();
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 6)]);
    assert!(records.part("/totals/held/waited_seconds").as_f64().unwrap() > 0.05);

    let origin = Upstream::script([ok("x")]);
    let proxy = Proxy::with(["--rate-limit", "1/h"]);
    proxy.ask(get(&origin)).assert_is(200, "x");
    proxy.ask(get(&origin)).assert_own(429, "http_request_denied");
    origin.join();
    proxy.end();
}

#[test]
fn workers_share_a_rate() {
    let origin = Upstream::script((0..3).map(|_| ok("x")));
    let proxy = Proxy::with(["--rate-limit", "1/h", "--set", "rate-limit.burst=3", "--threads", "4"]);
    let answers: Vec<u16> = (0..20).map(|_| proxy.ask(get(&origin)).status()).collect();
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        3,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 429).count(),
        17,
        "{answers:?}"
    );
    origin.join();
    proxy.end();
}

#[test]
fn a_client_that_goes_away_while_it_waits_sends_nothing() {
    let origin = Upstream::script([ok("x")]);
    let proxy = Proxy::with(["--rate-limit", "1/h", "--set", "rate-limit.max-wait=2h"]);
    proxy.ask(get(&origin)).assert_is(200, "x");
    let mut client = proxy.connect();
    // The second request tells that the first was answered, so that it waits by the time its client goes.
    client.send(format!("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n{}", get(&origin)));
    assert_eq!(client.answer().status(), 200);
    drop(client);
    let records = proxy.end();
    assert_eq!(records.exchanges("aborted"), 1);
    assert_eq!(origin.join().len(), 1);
}

/// Whether something has come for `client` by the time something has for one of the two.
#[track_caller]
fn is_first(client: &Peer, other: &Peer) -> bool {
    let mut events = [
        PollFd::new(&client.stream, PollFlags::IN),
        PollFd::new(&other.stream, PollFlags::IN),
    ];
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_ne!(poll(&mut events, Some(&patience)), Ok(0), "nothing comes");
    events[0].revents().contains(PollFlags::IN)
}

#[test]
fn so_many_go_at_a_time_so_many_wait_and_the_others_are_told() {
    let waits = || vec![Step::Read, Step::Stall, ok("x").remove(1)];
    let origin = Upstream::script([waits(), waits(), waits()]);
    let proxy = with(&[
        "concurrency.max-concurrent=2",
        "concurrency.max-queued=1",
        "concurrency.max-wait=1h",
    ]);
    let client = || {
        let mut client = proxy.connect();
        client.send(get(&origin));
        client
    };
    let mut served = [client(), client()];
    origin.wait_for_requests(2);
    let (mut third, mut fourth) = (client(), client());
    if is_first(&third, &fourth) {
        std::mem::swap(&mut third, &mut fourth);
    }
    let answer = fourth.answer();
    answer.assert_own(503, "connection_limit_reached");
    assert_eq!(answer.field("retry-after").as_deref(), Some("1"));
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["type"], "urn:amb:error:concurrency_limited");
    assert_eq!(
        problem["detail"],
        "amb lets 2 at a time through to 127.0.0.1, and too many wait already"
    );
    assert_eq!(origin.requests().len(), 2);
    origin.release();
    origin.wait_for_requests(3);
    origin.release();
    origin.release();
    for client in served.iter_mut().chain([&mut third]) {
        client.answer().assert_is(200, "x");
    }
    origin.join();
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 3), ("denied", 1)]);
    assert_held(&records, 1, 1);
}

#[test]
fn nobody_waits_for_longer_than_was_said() {
    let waits = vec![Step::Read, Step::Stall, ok("x").remove(1)];
    let origin = Upstream::script([waits, ok("y")]);
    let proxy = with(&["concurrency.max-concurrent=1", "concurrency.max-wait=100ms"]);
    let mut served = proxy.connect();
    served.send(get(&origin));
    origin.wait_for_requests(1);
    let answer = proxy.ask(get(&origin));
    answer.assert_own(503, "connection_limit_reached");
    assert!(
        answer.body().contains("none has ended within 100ms"),
        "{}",
        answer.body()
    );
    // A place is free again however its exchange ends.
    served.reset();
    loop {
        let answer = proxy.ask(get(&origin));
        if answer.status() == 200 {
            answer.assert_is(200, "y");
            break;
        }
    }
    drop(origin);
    proxy.end();
}

#[test]
fn tunnels_are_limited_as_they_are_opened() {
    let origin = Upstream::serve(|mut stream: TcpStream, _| {
        let mut bytes = [0; 4];
        drop(stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes)));
    });
    let proxy = with(&[
        "rate-limit.requests='1/h'",
        "rate-limit.burst=2",
        "concurrency.max-concurrent=1",
    ]);
    let connect = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address());
    // Both are open at a time: only their opening counts as one of so many.
    let mut tunnels = [proxy.connect(), proxy.connect()];
    for tunnel in &mut tunnels {
        tunnel.send(&connect);
        assert_eq!(tunnel.answer_to("HEAD").status(), 200);
    }
    proxy.ask(&connect).assert_own(429, "http_request_denied");
    let mut socks = proxy.connect();
    socks.send(
        [
            &b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01"[..],
            &origin.address().port().to_be_bytes(),
        ]
        .concat(),
    );
    assert_eq!(socks.take(12).unwrap()[3], 2, "not allowed by the rules");
    for tunnel in &mut tunnels {
        tunnel.send(b"ping");
        assert_eq!(tunnel.take(4).unwrap(), b"ping");
    }
    drop(tunnels);
    let records = proxy.end();
    records.assert_tunnels(&[("ok", 2), ("denied", 2)]);
    assert_held(&records, 0, 2);
}

#[test]
fn http_inside_a_tunnel_is_counted_once() {
    let origin = Upstream::script([ok("1"), ok("2")]);
    let proxy = with(&["rate-limit.requests='1/h'", "rate-limit.burst=2"]);
    let mut client = proxy.connect();
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address()));
    assert_eq!(client.answer_to("HEAD").status(), 200);
    for expected in ["1", "2"] {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.answer().assert_is(200, expected);
    }
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client.answer().assert_own(429, "http_request_denied");
    origin.join();
    proxy.end().assert_exchanges(&[("ok", 2), ("denied", 1)]);
}

/// What is moved in these tests, and a rate at which that takes a second.
const BODY_BYTES: usize = 1 << 20;

/// It took that second, give or take what may be moved at once; how much longer depends on the machine.
#[track_caller]
fn assert_paced(began: Instant) {
    let lasted = began.elapsed();
    assert!(
        (Duration::from_millis(890)..Duration::from_secs(10)).contains(&lasted),
        "{lasted:?}"
    );
}

/// Bytes that do not repeat themselves.
fn noise() -> Vec<u8> {
    (0..u32::try_from(BODY_BYTES).unwrap())
        .map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect()
}

#[test]
fn bodies_come_and_go_no_faster_than_they_may() {
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let response = [response.as_bytes(), &noise()].concat();
    let origin = Upstream::script([vec![Step::Read, Step::Send(response)], ok("thanks")]);
    let proxy = with(&["bandwidth.download='1MiB/s'", "bandwidth.upload='1MiB/s'"]);
    let mut client = proxy.connect();
    let began = Instant::now();
    client.send(get(&origin));
    let answer = client.answer();
    assert!(answer.body == noise(), "the body came as it was sent");
    assert_paced(began);
    let began = Instant::now();
    let address = origin.address();
    client.send(format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    ));
    client.send(noise());
    client.answer().assert_is(200, "thanks");
    assert_paced(began);
    assert!(origin.join()[1].body == noise(), "the body went as it was sent");
    proxy.end().assert_exchanges(&[("ok", 2)]);
}

#[test]
fn chunked_bodies_keep_the_pace_too() {
    let chunk = [b"10000\r\n", &noise()[..65_536], b"\r\n"].concat();
    let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..16 {
        response.extend_from_slice(&chunk);
    }
    response.extend_from_slice(b"0\r\n\r\n");
    let origin = Upstream::script([vec![Step::Read, Step::Send(response.clone())]]);
    let proxy = with(&["bandwidth.download='1MiB/s'"]);
    let began = Instant::now();
    let answer = proxy.ask(get(&origin));
    assert_paced(began);
    assert!(response.ends_with(&answer.body) && answer.body.len() > BODY_BYTES);
    origin.join();
    proxy.end();
}

#[test]
fn tunnels_to_a_host_share_its_bandwidth() {
    // Sends half of it to each of two.
    let origin = Upstream::serve(|mut stream: TcpStream, _| {
        drop(stream.write_all(&noise()[..BODY_BYTES / 2]));
        drop(stream.shutdown(Shutdown::Write));
    });
    let proxy = with(&["bandwidth.download='1MiB/s'", "run.threads=2"]);
    let began = Instant::now();
    let mut tunnels = [proxy.connect(), proxy.connect()];
    for tunnel in &mut tunnels {
        tunnel.send(format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address()));
    }
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.answer_to("HEAD").status(), 200);
        // It speaks first, so it is no HTTP.
        assert!(tunnel.take(BODY_BYTES / 2).unwrap() == noise()[..BODY_BYTES / 2]);
    }
    assert_paced(began);
    drop(tunnels);
    proxy.end();
}
