//! Reading a request's head, within its time.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::super::{
    crowd::Seat,
    error::ExchangeError,
    wire::{
        connection::Connection,
        head::RequestHead,
        http1::{HeadReader, ReadHeadError},
    },
};

/// How long a head may take from its first byte. What nginx and hyper allow is 60 and 30 s.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a connection may wait for its next request. Long, since the client is the wrapped program itself: closing under
/// its hands would be a failure that it would not see without amb.
const IDLE_LIMIT: Duration = Duration::from_mins(5);

/// How late a timer may fire before that counts as a stop of amb.
const SLACK: Duration = Duration::from_secs(5);

/// Why there is no request.
pub(super) enum Unreadable {
    /// The client is done, or has waited too long between requests.
    Over,
    /// It gets this answer.
    Refused(ExchangeError),
}

/// The next request's head.
pub(super) async fn read_head(
    client: &mut Connection,
    patience: &mut Patience,
    seat: &Seat,
) -> Result<RequestHead, Unreadable> {
    let mut reader = HeadReader::default();
    let mut begun = !client.inbox.is_empty();
    if !begun {
        seat.waits();
    }
    let mut limit = if begun { HEAD_LIMIT } else { IDLE_LIMIT };
    let mut due = Instant::now() + limit;
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = reader.poll(cx, client) {
            // An empty line that came alone is not the beginning of a request.
            let only_empty_line = matches!(result, Err(ReadHeadError::EndedInside | ReadHeadError::Io(_, true)))
                && client.inbox.as_slice() == b"\r\n";
            return Poll::Ready(Some(if only_empty_line {
                Err(ReadHeadError::Ended)
            } else {
                result
            }));
        }
        if !begun && !matches!(client.inbox.as_slice(), b"" | b"\r" | b"\r\n") {
            begun = true;
            seat.asks();
            limit = HEAD_LIMIT;
            due = Instant::now() + limit;
        }
        if patience.is_over(cx, &mut due, limit) {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await;
    seat.asks();
    let bytes = match result {
        Some(Ok(bytes)) => bytes,
        Some(Err(ReadHeadError::Ended | ReadHeadError::Io(_, false))) => return Err(Unreadable::Over),
        None if !begun => return Err(Unreadable::Over),
        None => return Err(Unreadable::Refused(ExchangeError::RequestTimedOut(HEAD_LIMIT))),
        Some(Err(ReadHeadError::EndedInside | ReadHeadError::Io(_, true))) => {
            return Err(Unreadable::Refused(ExchangeError::RequestMalformed(
                "the connection ended inside the head",
            )));
        }
        Some(Err(ReadHeadError::Head(error))) => return Err(Unreadable::Refused(error.into())),
    };
    RequestHead::parse(bytes).map_err(|error| Unreadable::Refused(error.into()))
}

/// A deadline that costs nothing while it is not reached: one timer a connection, which is moved on only when it fires.
#[derive(Default)]
pub(super) struct Patience {
    /// The timer, once it was needed.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Whether `due` has come; wakes the task when it does. If amb was stopped meanwhile, all of `limit` begins again.
    fn is_over(&mut self, cx: &mut Context<'_>, due: &mut Instant, limit: Duration) -> bool {
        if let Some(timer) = &self.timer
            && !timer.is_elapsed()
            && timer.deadline() <= *due
        {
            // It will wake this task when it fires.
            return false;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*due)));
        if *due < timer.deadline() {
            timer.as_mut().reset(*due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now > timer.deadline() + SLACK {
                *due = now + limit;
            } else if now >= *due {
                return true;
            }
            timer.as_mut().reset(*due);
        }
        false
    }
}
