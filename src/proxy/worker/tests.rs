//! What waits in vain does not wait for ever. The clock is the runtime's own and set forward by hand, so that these tests
//! last no time.

use std::io::{Read, Write};

use tokio::{
    runtime::{Builder, LocalOptions},
    time::Instant,
};

use super::*;
use crate::{
    policy::{PolicyOptions, Surroundings},
    traffic::meter::Traffic,
};

/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_hours(1);

/// What became of a client.
struct Served {
    /// What it got.
    got: String,
    /// How long it took until it was closed, to the second.
    seconds: u64,
    /// The records.
    traffic: Traffic,
}

/// Serves a client that sends the first piece at once, another one every second, and then nothing more but does not leave.
fn served(pieces: &[&'static [u8]]) -> Served {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime");
    let recorder = Recorder::new(None, "1", 0, 1);
    let (got, seconds) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address");
        let mut pieces = pieces.iter();
        let mut client = std::net::TcpStream::connect(own).expect("it listens");
        client
            .write_all(pieces.next().expect("a first piece"))
            .expect("a connection");
        let mut reader = client.try_clone().expect("a second handle");
        // Also keeps the clock from moving by itself.
        let reading = tokio::task::spawn_blocking(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).expect("an end of file");
            String::from_utf8_lossy(&got).into_owned()
        });
        let (stream, peer) = listener.accept().await.expect("a connection");
        let worker = worker(&recorder, own);
        tokio::time::pause();
        let began = Instant::now();
        let connection = Connection::new(stream).expect("a socket");
        let serving = tokio::task::spawn_local(async move {
            assert!(matches!(
                serve(&worker, connection, peer, &worker.crowd.seat()).await,
                After::Closed
            ));
        });
        loop {
            turn().await;
            if serving.is_finished() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "it waits for ever");
            tokio::time::advance(Duration::from_secs(1)).await;
            if let Some(piece) = pieces.next() {
                client.write_all(piece).expect("a connection");
            }
        }
        let seconds = began.elapsed().as_secs();
        serving.await.expect("it does not panic");
        (reading.await.expect("it does not panic"), seconds)
    });
    Served {
        got,
        seconds,
        traffic: recorder.take_meter().finish(),
    }
}

/// A worker with nothing configured.
fn worker(recorder: &Rc<Recorder>, own: SocketAddr) -> Rc<Worker> {
    let mut problems = Vec::new();
    let surroundings = Surroundings {
        environment: &[],
        read: &|_| Err("there are no files".to_owned()),
        dice: (1, 1),
        keyed: Default::default,
    };
    let policy = Arc::new(PolicyOptions::default().build(&surroundings, &mut problems));
    Rc::new(Worker {
        crowd: Crowd::of_worker(1),
        recorder: Rc::clone(recorder),
        via: Via::new("1", true),
        redact: Arc::clone(&policy.redact),
        credentials: Credentials::new(Arc::default()),
        upstreams: Upstreams::new(Arc::clone(&policy), own, Arc::default()),
        tls: Arc::default(),
        stand_in: RefCell::default(),
        policy,
        gate: Gate::new(),
        run_id: "1".to_owned(),
        own,
        draining: Draining::default(),
    })
}

/// Lets the event loop see what has come and all tasks run: it looks at the sockets once in 61 turns.
async fn turn() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A client that sends these pieces is closed after so many seconds. A little more is good too: amb lingers for a second behind
/// an answer, and a timer fires at the first whole second behind its deadline.
#[track_caller]
fn check(pieces: &[&'static [u8]], seconds: u64) -> Served {
    let served = served(pieces);
    let range = seconds..=seconds + 4;
    assert!(
        range.contains(&served.seconds),
        "after {} s: {}",
        served.seconds,
        served.got
    );
    served
}

/// One request that amb answers by itself.
const OPTIONS: &[u8] = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n";

/// Checklist 107, 113.
#[test]
fn a_head_that_does_not_end_is_a_408() {
    let served = check(&[b"GET http://x/ HT"], 30);
    assert!(served.got.starts_with("HTTP/1.1 408 "), "{}", served.got);
    assert!(
        served.got.contains("\r\nProxy-Status: amb; error=http_request_error; "),
        "{}",
        served.got
    );
    assert_eq!((served.traffic.requests.total, served.traffic.requests.failed), (1, 1));
}

/// Checklist 113: the limit is that of the whole head, however often another byte comes.
#[test]
fn a_head_that_comes_byte_by_byte_gets_no_longer() {
    let mut pieces: Vec<&[u8]> = vec![b"GET http://x/ HTTP/1.1\r\nA: "];
    pieces.extend([&b"a"[..]; 100]);
    let served = check(&pieces, 30);
    assert!(served.got.starts_with("HTTP/1.1 408 "), "{}", served.got);
}

/// Checklist 113: the same behind a request that was answered.
#[test]
fn the_second_head_has_a_limit_too() {
    let served = check(&[OPTIONS, b"GET "], 31);
    assert!(served.got.starts_with("HTTP/1.1 200 OK\r\n"), "{}", served.got);
    assert!(served.got.contains("HTTP/1.1 408 "), "{}", served.got);
    assert_eq!((served.traffic.requests.ok, served.traffic.requests.failed), (1, 1));
}

/// Checklist 113: a connection that is not used is no failure.
#[test]
fn a_silent_connection_is_closed_without_a_word() {
    for (pieces, requests) in [
        (&[&b""[..]][..], 0),
        (&[b"\r\n"], 0),
        (&[OPTIONS], 1),
        (&[OPTIONS, b"\r\n"], 1),
    ] {
        let served = check(pieces, 300);
        assert_eq!(served.traffic.requests.total, requests);
        assert_eq!(served.traffic.requests.failed, 0);
        assert_eq!(
            served.got.matches("HTTP/1.1 ").count() as u64,
            requests,
            "{}",
            served.got
        );
    }
}

/// Checklist 113: SOCKS has its limit as well.
#[test]
fn a_socks_handshake_that_does_not_end_is_closed() {
    for (handshake, reply) in [(&b"\x05"[..], ""), (b"\x05\x01\x00", "\x05\x00"), (b"\x04\x01", "")] {
        let served = check(&[handshake], 30);
        assert_eq!(served.got, reply);
        assert_eq!((served.traffic.tunnels.total, served.traffic.tunnels.failed), (1, 1));
    }
}
