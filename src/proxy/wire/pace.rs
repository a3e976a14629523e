//! How fast bodies and tunnels may go: what a bandwidth makes of a pump.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::Connection;
use crate::policy::limit::bandwidth::{Next, Share, Way};

/// A server connection's shares of bandwidths.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Of that to the server.
    up: Option<Lane>,
    /// Of that from the server.
    down: Option<Lane>,
    /// Where its clock begins.
    begun: Instant,
}

/// One way.
#[derive(Debug)]
struct Lane {
    /// Its share.
    share: Share,
    /// Until all is paid, while it is the first of those who wait.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// With these shares, up and down, by a clock that began then.
    pub(crate) fn new(shares: [Option<Share>; 2], begun: Instant) -> Self {
        let [up, down] = shares.map(|share| share.map(|share| Lane { share, rest: None }));
        Self { up, down, begun }
    }

    /// The lane for one way.
    fn lane(&mut self, way: Way) -> Option<&mut Lane> {
        match way {
            Way::Up => self.up.as_mut(),
            Way::Down => self.down.as_mut(),
        }
    }

    /// Waits until bytes may be moved, and says how many.
    pub(crate) fn poll_amount(&mut self, cx: &mut Context<'_>, way: Way) -> Poll<usize> {
        let begun = self.begun;
        let Some(lane) = self.lane(way) else {
            return Poll::Ready(usize::MAX);
        };
        loop {
            let wait = match lane.share.next(begun.elapsed(), cx.waker()) {
                Next::Go(amount) => {
                    lane.rest = None;
                    return Poll::Ready(amount);
                }
                Next::Wait(wait) | Next::Rest(wait) => wait,
            };
            let until = Instant::now() + wait;
            let rest = lane.rest.get_or_insert_with(|| Box::pin(sleep_until(until)));
            rest.as_mut().reset(until);
            ready!(rest.as_mut().poll(cx));
        }
    }
}

/// The pace of what goes between two connections, one of which is a server's, and the way it goes.
pub(crate) fn between<'a>(from: &'a mut Connection, to: &'a mut Connection) -> Option<(&'a mut Pace, Way)> {
    match (&mut from.pace, &mut to.pace) {
        (Some(pace), _) => Some((pace, Way::Down)),
        (None, Some(pace)) => Some((pace, Way::Up)),
        (None, None) => None,
    }
}

/// Notes that so many bytes went between them.
pub(crate) fn pay(from: &mut Connection, to: &mut Connection, bytes: usize) {
    if let Some((pace, way)) = between(from, to) {
        let now = pace.begun.elapsed();
        if let Some(lane) = pace.lane(way) {
            lane.share.pay(bytes, now);
        }
    }
}
