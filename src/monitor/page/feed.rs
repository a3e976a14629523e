//! The last requests of a run, for browsers that follow it: as server-sent events, of which a slow browser loses some and is told
//! how many. Nothing waits for a browser.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    task,
    time::timeout,
};

use super::curl;
use crate::{report::access_log, traffic::Record, veil};

/// Records that are kept for browsers that come later.
const MOST_KEPT: usize = 1_000;

/// The most bytes that they may take: paths may be long.
const MOST_BYTES: usize = 4 << 20;

/// Events that a browser may be behind.
const BEHIND: usize = 1_024;

/// Events that wait for one connection.
const ON_THE_WAY: usize = 64;

/// How often something is sent that nobody reads, to find out whether somebody is still there.
const ALIVE: Duration = Duration::from_secs(15);

/// An event: its number, from 1, and its bytes.
type Event = (u64, Bytes);

/// The last records.
#[derive(Debug, Default)]
pub struct Feed(Mutex<Kept>);

/// What is kept. The lock is held for one record, or for a copy of what there is.
#[derive(Debug)]
struct Kept {
    /// The last events, the oldest first.
    events: VecDeque<Event>,
    /// The bytes that they take.
    bytes: usize,
    /// The number of the last event.
    last: u64,
    /// Who follows; none once the run is over.
    followers: Option<broadcast::Sender<Event>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            last: 0,
            followers: Some(broadcast::Sender::new(BEHIND)),
        }
    }
}

impl Feed {
    /// Adds a record.
    pub fn add(&self, record: &Record) {
        let line = access_log::json(record);
        let line = String::from_utf8_lossy(&line);
        let curl = serde_json::Value::from(curl::command(record));
        let data = format!(r#"{{"record":{},"curl":{curl}}}"#, line.trim_end());
        let data = veil::json(data.as_bytes());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let number = kept.last;
        let mut event = format!("id: {number}\nevent: record\ndata: ").into_bytes();
        event.extend_from_slice(&data);
        event.extend_from_slice(b"\n\n");
        let event = (number, Bytes::from(event));
        kept.bytes += event.1.len();
        kept.events.push_back(event.clone());
        while kept.events.len() > MOST_KEPT || kept.bytes > MOST_BYTES {
            let Some((_, gone)) = kept.events.pop_front() else {
                break;
            };
            kept.bytes -= gone.len();
        }
        if let Some(followers) = &kept.followers
            && followers.send(event).is_err()
        {
            // Nobody follows.
        }
    }

    /// The events behind number `last`, and those to come. To be called on a local runtime.
    pub(super) fn follow(&self, last: u64) -> Events {
        let (behind, events, fresh) = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A browser that has seen more was that of another run.
            let last = if last > kept.last { 0 } else { last };
            let events: Vec<Event> = kept
                .events
                .iter()
                .filter(|(number, _)| *number > last)
                .cloned()
                .collect();
            let first = events.first().map_or(kept.last + 1, |(number, _)| *number);
            let fresh = kept.followers.as_ref().map(broadcast::Sender::subscribe);
            (first - last - 1, events, fresh)
        };
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        task::spawn_local(async move {
            let all = forward(&sender, behind, events, fresh);
            if all.await.is_none() {
                tracing::debug!("a browser has gone");
            }
        });
        Events(receiver)
    }

    /// Tells those who follow that there will be no more; whether there were any.
    pub(in crate::monitor) fn end(&self) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let followers = kept.followers.take();
        followers.is_some_and(|followers| followers.receiver_count() > 0)
    }
}

/// Sends a browser what it is to have; none if it goes first.
async fn forward(
    browser: &mpsc::Sender<Bytes>,
    behind: u64,
    events: Vec<Event>,
    fresh: Option<broadcast::Receiver<Event>>,
) -> Option<()> {
    let lost = |count: u64| Bytes::from(format!("event: lost\ndata: {count}\n\n"));
    // Where it is to begin again by itself, should the connection break.
    browser.send(Bytes::from_static(b"retry: 1000\n\n")).await.ok()?;
    if behind > 0 {
        browser.send(lost(behind)).await.ok()?;
    }
    for (_, event) in events {
        browser.send(event).await.ok()?;
    }
    if let Some(mut fresh) = fresh {
        loop {
            let event = match timeout(ALIVE, fresh.recv()).await {
                Ok(Ok((_, event))) => event,
                Ok(Err(RecvError::Lagged(count))) => lost(count),
                Ok(Err(RecvError::Closed)) => break,
                Err(_) => Bytes::from_static(b": still there\n\n"),
            };
            browser.send(event).await.ok()?;
        }
    }
    browser.send(Bytes::from_static(b"event: over\ndata: 0\n\n")).await.ok()
}

/// The body of an answer that goes on as long as the run.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(context);
        next.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests;
