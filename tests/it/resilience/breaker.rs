//! The circuit breaker: a server that keeps failing is given a rest, and its clients an answer at once.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use tokio::time::Instant;

use crate::support::{Answer, Peer, Proxy, Records, Step, Upstream, ok, status};

/// A proxy whose circuits open after three failures in a row, for as long as that.
fn proxy(open: &str) -> Proxy {
    with(open, &[])
}

/// The same with further flags.
fn with(open: &str, flags: &[&str]) -> Proxy {
    let open = format!("circuit-breaker.open-duration={open}");
    let more = [
        "--circuit-breaker",
        "--set",
        "circuit-breaker.consecutive-failures=3",
        "--set",
        &open,
    ];
    Proxy::with(more.into_iter().chain(flags.iter().copied()))
}

/// Asks for the origin's `/`.
#[track_caller]
fn ask(proxy: &Proxy, origin: &Upstream) -> Answer {
    let address = origin.address();
    proxy.ask(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// Asks until the circuit lets a request through, and returns its answer. Time has to pass for that, and nothing tells.
#[track_caller]
fn ask_until_let_through(proxy: &Proxy, origin: &Upstream) -> Answer {
    loop {
        let answer = ask(proxy, origin);
        if answer.field("proxy-status").is_none() {
            return answer;
        }
        pause();
    }
}

/// Asks until the origin has got `count` requests, the last of which it does not answer yet, and returns the client of that.
#[track_caller]
fn probe(proxy: &Proxy, origin: &Upstream, count: usize) -> Peer {
    let address = origin.address();
    loop {
        let mut client = proxy.connect();
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        client.stream.set_nonblocking(true).unwrap();
        while client.stream.peek(&mut [0]).is_err() {
            if origin.requests().len() == count {
                client.stream.set_nonblocking(false).unwrap();
                return client;
            }
            pause();
        }
        client.stream.set_nonblocking(false).unwrap();
        client.answer().assert_own(503, "destination_unavailable");
    }
}

/// These circuits opened: each with where it stands, how often it opened and how many requests it rejected.
#[track_caller]
fn assert_breakers(records: &Records, expected: &[(&str, &str, u64, u64)]) {
    let circuits: Vec<_> = expected
        .iter()
        .map(|(name, state, opened, rejected)| {
            serde_json::json!({ "name": name, "state": state, "opened": opened, "rejected": rejected })
        })
        .collect();
    let sum = |count: fn(&(&str, &str, u64, u64)) -> u64| expected.iter().map(count).sum::<u64>();
    let sums = serde_json::json!({
        "opened": sum(|it| it.2),
        "rejected": sum(|it| it.3),
        "open": sum(|it| u64::from(it.1 != "closed")),
        "circuits": circuits,
    });
    assert_eq!(records.part("/breakers"), &sums);
}

/// Gives the others a moment.
fn pause() {
    let moment = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    assert_eq!(rustix::event::poll(&mut [], Some(&moment)), Ok(0));
}

#[test]
fn a_host_that_keeps_failing_is_not_called_and_its_clients_are_told_at_once() {
    let origin = Upstream::script([status(503), status(502), status(504)]);
    let proxy = proxy("1h");
    for expected in [503, 502, 504] {
        assert_eq!(ask(&proxy, &origin).status(), expected);
    }
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        let answer = ask(&proxy, &origin);
        fastest = fastest.min(began.elapsed());
        answer.assert_own(503, "destination_unavailable");
        assert_eq!(
            answer.field("content-type").as_deref(),
            Some("application/problem+json")
        );
        let seconds: u64 = answer.field("retry-after").unwrap().parse().unwrap();
        assert!(
            (1_700..=5_400).contains(&seconds),
            "an hour, give or take a half: {seconds}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["type"], "urn:amb:error:circuit_open");
        assert_eq!(problem["blame"], "upstream");
    }
    // One of them on a machine that does ten other things; a debug build, connection and all.
    assert!(fastest < Duration::from_millis(20), "{fastest:?}");
    assert_eq!(origin.join().len(), 3, "what was answered at once was not sent");
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 23)]);
    assert_eq!(records.part("/failures/0/error_type"), "circuit_open");
    assert_breakers(&records, &[("127.0.0.1", "open", 1, 20)]);
}

#[test]
fn one_request_at_a_time_probes_until_the_host_is_well() {
    // A probe that fails, then one that waits until told, then another: in all, what the server sees is exactly this.
    let waits = vec![Step::Read, Step::Stall, ok("1").remove(1)];
    let origin = Upstream::script([
        status(503),
        status(503),
        status(503),
        status(503),
        waits,
        ok("2"),
        ok("3"),
    ]);
    let proxy = proxy("20ms");
    for _ in 0..3 {
        assert_eq!(ask(&proxy, &origin).status(), 503);
    }
    assert_eq!(ask_until_let_through(&proxy, &origin).status(), 503, "the first probe");
    let mut probing = probe(&proxy, &origin, 5);
    origin.release();
    probing.answer().assert_is(200, "1");
    ask_until_let_through(&proxy, &origin).assert_is(200, "2");
    ask(&proxy, &origin).assert_is(200, "3");
    assert_eq!(origin.join().len(), 7);
    let records = proxy.end();
    assert_eq!(records.part("/breakers/opened"), 2);
    assert_eq!(records.part("/breakers/open"), 0);
}

#[test]
fn while_a_probe_is_under_way_others_are_answered_at_once() {
    let waits = vec![Step::Read, Step::Stall, ok("well").remove(1)];
    let origin = Upstream::script([status(503), status(503), status(503), waits]);
    // What is open for an hour is of no use here, and what is open for no time does not show; the probe keeps its place
    // for as long as the circuit was open.
    let proxy = with("2s", &[]);
    for _ in 0..3 {
        assert_eq!(ask(&proxy, &origin).status(), 503);
    }
    let mut probing = probe(&proxy, &origin, 4);
    let answer = ask(&proxy, &origin);
    answer.assert_own(503, "destination_unavailable");
    assert_eq!(answer.field("retry-after").as_deref(), Some("1"));
    assert!(answer.body().contains("one request is under way"), "{}", answer.body());
    origin.release();
    probing.answer().assert_is(200, "well");
    assert_eq!(origin.join().len(), 4);
    proxy.end();
}

#[test]
fn what_is_no_failure_of_the_server_does_not_open_a_circuit() {
    let script = [500, 404, 429, 500, 401, 501].map(status);
    let origin = Upstream::script(script);
    let proxy = proxy("1h");
    for expected in [500, 404, 429, 500, 401, 501] {
        assert_eq!(ask(&proxy, &origin).status(), expected);
    }
    origin.join();
    assert_breakers(&proxy.end(), &[]);
}

#[test]
fn a_client_that_goes_away_does_not_open_a_circuit() {
    let origin = Upstream::script((0..6).map(|_| vec![Step::Read, Step::Stall]));
    let proxy = proxy("1h");
    let address = origin.address();
    for count in 1..=6 {
        let mut client = proxy.connect();
        client.send(format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        origin.wait_for_requests(count);
        client.reset();
    }
    let records = proxy.end();
    drop(origin);
    records.assert_exchanges(&[("aborted", 6)]);
    assert_breakers(&records, &[]);
}

#[test]
fn answers_that_break_off_open_a_circuit() {
    let broken = || {
        vec![
            Step::Read,
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec()),
            Step::Close,
        ]
    };
    let origin = Upstream::script((0..3).map(|_| broken()));
    let proxy = proxy("1h");
    for _ in 0..3 {
        assert_eq!(ask(&proxy, &origin).status(), 200);
    }
    ask(&proxy, &origin).assert_own(503, "destination_unavailable");
    origin.join();
    proxy.end();
}

#[test]
fn tunnels_to_a_host_that_cannot_be_reached_are_refused_at_once() {
    let origin = Upstream::serve(|mut stream: TcpStream, _| {
        let mut bytes = [0; 4];
        drop(stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes)));
    });
    let proxy = with("1h", &["--set", "circuit-breaker.key=host-port"]);
    let connect = |port: u16| format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
    for _ in 0..3 {
        proxy.ask(connect(1)).assert_own(502, "connection_refused");
    }
    let answer = proxy.ask(connect(1));
    answer.assert_own(503, "destination_unavailable");
    assert!(answer.body().contains("127.0.0.1:1 keeps failing"), "{}", answer.body());
    let socks = |port: [u8; 2]| {
        let mut client = proxy.connect();
        client.send([&b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01"[..], &port].concat());
        let reply = client.take(12).unwrap();
        (reply[3], client)
    };
    assert_eq!(socks([0, 1]).0, 1, "the same by SOCKS");
    // Another port of the same host is another circuit.
    let (code, mut client): (u8, Peer) = socks(origin.address().port().to_be_bytes());
    assert_eq!(code, 0);
    client.send(b"ping");
    assert_eq!(client.take(4).unwrap(), b"ping");
    drop(client);
    let records = proxy.end();
    records.assert_tunnels(&[("failed", 5), ("ok", 1)]);
    assert_breakers(&records, &[("127.0.0.1:1", "open", 1, 2)]);
}

#[test]
fn workers_share_a_circuit() {
    let origin = Upstream::script([status(503), status(503), status(503)]);
    let proxy = with("1h", &["--threads", "4"]);
    for _ in 0..3 {
        assert_eq!(ask(&proxy, &origin).status(), 503);
    }
    for _ in 0..20 {
        ask(&proxy, &origin).assert_own(503, "destination_unavailable");
    }
    origin.join();
    assert_breakers(&proxy.end(), &[("127.0.0.1", "open", 1, 20)]);
}

#[test]
fn the_summary_tells_of_circuits_that_opened() {
    let origin = Upstream::script([status(503), status(503), status(503)]);
    let proxy = proxy("1h");
    for _ in 0..5 {
        ask(&proxy, &origin);
    }
    origin.join();
    let outcome = proxy.running.wait();
    outcome.assert_status(0);
    let said = outcome.stderr();
    assert!(
        said.contains("\namb: circuit 127.0.0.1 opened=1 rejected=2 state=open\n"),
        "{said}"
    );
}
