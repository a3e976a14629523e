//! Hedges: only what may run twice, only one request in twenty, and the loser is cancelled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use super::{get, request, set};
use crate::support::{Answer, PATIENCE, Peer, Records, Upstream};

/// Requests that are answered at once, before one is late.
const QUICK: usize = 20;

/// What became of a late request.
struct Hedged {
    /// What the client got.
    answer: Answer,
    /// What was recorded.
    records: Records,
    /// Requests that the server saw.
    seen: usize,
    /// Whether the loser's connection has ended.
    cancelled: bool,
}

/// Makes `QUICK` requests that are answered at once, and then `text`, of which the first request to come is answered only
/// if `first` is to win: when the second has come, which is then left without an answer.
fn late(settings: &[&str], quick: usize, text: fn(&Upstream) -> String, first: bool) -> Hedged {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let (ended, has_ended) = mpsc::channel();
    let origin = Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        while peer.until(b"\r\n\r\n").is_ok() {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            let name = match number.checked_sub(quick) {
                None => "quick",
                Some(0) if !first => {
                    peer.rest();
                    ended.send(()).unwrap();
                    return;
                }
                Some(0) => {
                    // Without a hedge nobody comes, and the client loses its patience.
                    while counter.load(Ordering::SeqCst) < quick + 2 {
                        std::thread::yield_now();
                    }
                    "first"
                }
                Some(_) if first => {
                    peer.rest();
                    ended.send(()).unwrap();
                    return;
                }
                Some(_) => "second",
            };
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
                name.len()
            ));
        }
    });
    let proxy = set(settings);
    let mut client = proxy.connect();
    for _ in 0..quick {
        client.send(get(&origin));
        client.answer().assert_is(200, "quick");
    }
    client.send(text(&origin));
    let answer = client.answer();
    let cancelled = has_ended.recv_timeout(PATIENCE).is_ok();
    drop(client);
    Hedged {
        answer,
        records: proxy.end(),
        seen: seen.load(Ordering::SeqCst),
        cancelled,
    }
}

#[test]
fn a_late_answer_is_overtaken_by_a_second_one() {
    for after in ["retry.hedge.after=p95", "retry.hedge={ after = '50ms', max = 1 }"] {
        let hedged = late(&["retry.level=idempotent", after], QUICK, get, false);
        hedged.answer.assert_is(200, "second");
        assert!(hedged.cancelled);
        assert_eq!(hedged.seen, QUICK + 2);
        hedged.records.assert_exchanges(&[("ok", QUICK as u64 + 1)]);
        hedged.records.assert_retries(&[("hedged", 1), ("hedges_won", 1)]);
    }
}

#[test]
fn the_first_answer_may_still_come_first() {
    let hedged = late(&["retry.level=all", "retry.hedge.after=50ms"], QUICK, get, true);
    hedged.answer.assert_is(200, "first");
    assert!(hedged.cancelled);
    assert_eq!(hedged.seen, QUICK + 2);
    hedged.records.assert_retries(&[("hedged", 1)]);
}

/// What must not run twice, what is one of too few, and what nobody asked for.
#[test]
fn nothing_else_is_hedged() {
    let post = |origin: &Upstream| request(origin, "POST", "", "hello");
    let limit = "timeout.first-byte=300ms";
    let retries = "retry.attempts=0";
    let hedge = "retry.hedge.after=50ms";
    for (settings, quick, text) in [
        (
            &["retry.level=idempotent", retries, hedge, limit][..],
            QUICK - 2,
            get as fn(&Upstream) -> String,
        ),
        (&["retry.level=idempotent", retries, hedge, limit], QUICK, post),
        (&["retry.level=idempotent", retries, limit], QUICK, get),
    ] {
        let hedged = late(settings, quick, text, false);
        hedged.answer.assert_own(504, "connection_read_timeout");
        assert_eq!(hedged.seen, quick + 1);
        assert_eq!(hedged.records.retries("hedged"), 0);
    }
}
