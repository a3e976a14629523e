//! What browsers get of what has passed.

use http_body_util::BodyExt;
use tokio::task::LocalSet;

use super::*;
use crate::traffic::meter::tests::exchange;

/// A record of this path.
fn record(path: &str) -> Record {
    let mut record = exchange();
    record.path = path.to_owned();
    record
}

/// Everything that a browser gets until the run is over.
async fn all(events: Events) -> String {
    let bytes = events.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Does something on a local runtime.
fn locally<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.unwrap(), work)
}

#[test]
fn a_browser_gets_what_has_passed_and_what_passes_and_the_end() {
    let text = locally(async {
        let feed = Feed::default();
        feed.add(&record("/before"));
        let events = feed.follow(0);
        feed.add(&record("/after"));
        assert!(feed.end());
        all(events).await
    });
    let order = [
        "retry: 1000",
        "id: 1\nevent: record\n",
        "/before",
        "id: 2\n",
        "/after",
        "event: over\n",
    ];
    let places = order.map(|part| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}")));
    assert!(places.is_sorted(), "{text}");
    assert!(!text.contains("event: lost"));
    assert_eq!(text.matches("event: record").count(), 2);
}

#[test]
fn a_browser_that_comes_back_gets_what_it_has_missed() {
    let text = locally(async {
        let feed = Feed::default();
        for number in 1..=5 {
            feed.add(&record(&format!("/{number}")));
        }
        let events = feed.follow(3);
        feed.end();
        all(events).await
    });
    assert!(
        !text.contains("id: 3\n") && text.contains("id: 4\n") && text.contains("id: 5\n"),
        "{text}"
    );
    assert!(!text.contains("event: lost"));
}

#[test]
fn what_is_too_much_is_lost_and_told_of() {
    let text = locally(async {
        let feed = Feed::default();
        for _ in 0..MOST_KEPT + 7 {
            feed.add(&record("/"));
        }
        let late = feed.follow(0);
        let slow = feed.follow(MOST_KEPT as u64 + 7);
        // More than a browser may be behind that does not read.
        for _ in 0..BEHIND + 100 {
            feed.add(&record("/"));
        }
        feed.end();
        assert!(all(late).await.contains("event: lost\ndata: 7\n\n"));
        all(slow).await
    });
    let lost = text
        .split("event: lost\ndata: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let lost: usize = lost.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert_eq!(lost + text.matches("event: record").count(), BEHIND + 100);
}

#[test]
fn long_paths_do_not_fill_the_memory() {
    let feed = Feed::default();
    let long = format!("/{}", "x".repeat(1 << 20));
    for _ in 0..20 {
        feed.add(&record(&long));
    }
    let kept = feed.0.lock().unwrap();
    assert!(kept.bytes <= MOST_BYTES && !kept.events.is_empty());
    assert_eq!(
        kept.bytes,
        kept.events.iter().map(|(_, event)| event.len()).sum::<usize>()
    );
}
