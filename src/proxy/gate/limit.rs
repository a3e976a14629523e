//! The wait for room within the limits.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{Gate, Who};
use crate::{
    policy::limit::{Limits, concurrency::Turn},
    proxy::{access, deadline, error::ExchangeError, target::Authority, wire::connection::Connection},
    traffic::{Limited, Record},
};

/// Bytes a client may send ahead while it waits.
const AHEAD_LIMIT_BYTES: usize = 64 * 1024;

/// What an exchange holds for as long as it lasts.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Its turn among those that go on at a time.
    _turn: Option<Turn>,
}

/// See [`Gate::admit`], which asks only where there are limits.
pub(super) async fn admit(
    gate: Gate,
    limits: &Limits,
    authority: &Authority,
    who: Who<'_>,
    record: &mut Record,
) -> Result<Admission, ExchangeError> {
    let (mut client, counted) = match who {
        Who::Tunnel => (None, false),
        Who::Exchange { client, tunnelled } => (Some(client), tunnelled),
    };
    let began = Instant::now();
    let waiting = async {
        if !counted {
            wait_for_rate(gate, limits, authority, client.as_deref_mut()).await?;
        }
        wait_for_turn(gate, limits, authority, client).await
    };
    let mut waited = false;
    let result = noting(waiting, &mut waited).await;
    if waited {
        record.waited = began.elapsed();
        record.limited = Some(Limited::Delayed);
    }
    match &result {
        Err(ExchangeError::ClientGone) | Ok(_) => {}
        Err(_) => record.limited = Some(Limited::Rejected),
    }
    result.map(|turn| Admission { _turn: turn })
}

/// What `future` comes to; and whether it was ready at once.
async fn noting<T>(future: impl Future<Output = T>, waited: &mut bool) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        *waited |= polled.is_pending();
        polled
    })
    .await
}

/// Waits until a request is due.
async fn wait_for_rate(
    gate: Gate,
    limits: &Limits,
    authority: &Authority,
    client: Option<&mut Connection>,
) -> Result<(), ExchangeError> {
    let Some(limit) = &limits.rate else { return Ok(()) };
    let place = limit
        .place(&authority.host, authority.port, gate.now())
        .map_err(|refused| ExchangeError::RateLimited {
            name: refused.name.into(),
            rate: limit.rate,
            retry_in: refused.retry_in,
        })?;
    if !place.wait.is_zero() {
        // After a stop the rest is waited for all the same, so that not all who wait go at once.
        attended(client, deadline::within(place.wait, pending::<()>())).await?;
    }
    place.take();
    Ok(())
}

/// Waits until there is room for a request.
async fn wait_for_turn(
    gate: Gate,
    limits: &Limits,
    authority: &Authority,
    client: Option<&mut Connection>,
) -> Result<Option<Turn>, ExchangeError> {
    let Some(limit) = &limits.concurrency else {
        return Ok(None);
    };
    let refused = |name: &str, waited: Option<Duration>| ExchangeError::ConcurrencyLimited {
        name: name.to_owned(),
        most: limit.most,
        waited,
    };
    let turn = limit.turn(&authority.host, authority.port, gate.now());
    let mut turn = turn.map_err(|full| refused(&full.name, None))?;
    let come = poll_fn(|cx| {
        if turn.has_come(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    match attended(client, deadline::within(limit.longest_wait, come)).await? {
        Some(()) => Ok(Some(turn)),
        None => Err(refused(turn.name(), Some(limit.longest_wait))),
    }
}

/// What `waiting` comes to, unless the client goes away before.
async fn attended<T>(client: Option<&mut Connection>, waiting: impl Future<Output = T>) -> Result<T, ExchangeError> {
    let mut waiting = pin!(waiting);
    let Some(client) = client else {
        return Ok(waiting.await);
    };
    let mut watched = true;
    poll_fn(|cx| {
        if let Poll::Ready(value) = waiting.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if watched && let Poll::Ready(gone) = poll_gone(cx, client) {
            if gone {
                return Poll::Ready(Err(ExchangeError::ClientGone));
            }
            watched = false;
        }
        Poll::Pending
    })
    .await
}

/// Whether the client has gone; ready once it sends no more or enough. What it sends is kept.
fn poll_gone(cx: &mut Context<'_>, client: &mut Connection) -> Poll<bool> {
    while !client.ended && client.inbox.len() < AHEAD_LIMIT_BYTES {
        match client.poll_fill(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(true),
        }
    }
    Poll::Ready(client.ended && access::is_gone(client))
}
