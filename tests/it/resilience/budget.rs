//! An outage must not be made worse by those who wait for its end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{get, set};
use crate::support::{Peer, Upstream};

#[test]
fn a_total_outage_gets_at_most_a_fifth_more_requests() {
    const REQUESTS: usize = 1_000;
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let origin = Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        while peer.until(b"\r\n\r\n").is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
            peer.send("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = set(&["retry.level=idempotent", "retry.attempts=3"]);
    let mut client = proxy.connect();
    for _ in 0..REQUESTS {
        client.send(get(&origin));
        assert_eq!(client.answer().status(), 503);
    }
    drop(client);
    let records = proxy.end();
    records.assert_exchanges(&[("failed", REQUESTS as u64)]);
    let seen = seen.load(Ordering::SeqCst);
    amb::supervise::write_stderr(&format!("{REQUESTS} requests under a total outage: {seen} were sent\n"));
    assert_eq!(seen as u64, REQUESTS as u64 + records.retries("retries"));
    assert!((REQUESTS + 3..=REQUESTS * 6 / 5).contains(&seen), "{seen}");
    assert!(records.retries("refused.budget") > REQUESTS as u64 / 2, "{records:?}");
}
