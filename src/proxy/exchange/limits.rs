//! Waiting for a server, within the limits for it. A limit that is not set costs nothing, and neither does one that is not
//! waited for.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{
    super::{
        blame,
        deadline::{Countdown, Silence},
        error::ExchangeError,
        wire::{
            connection::Connection,
            http1::{Awaited, Conversation},
            pump::{Pump, PumpError},
        },
    },
    Exchange,
};

/// What `future` comes to at once, if it does.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

impl Exchange<'_> {
    /// Waits for the next head, while the request's body goes up: as long as `timeout.idle` allows the server to take none of
    /// it, and behind it as long as `timeout.first-byte` allows, unless the answer has `begun`.
    pub(super) async fn wait_for_head(
        &self,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
        begun: bool,
    ) -> Result<Awaited, ExchangeError> {
        let first_byte = self.rules.timeouts.first_byte.filter(|_| !begun);
        let idle = self.rules.timeouts.idle.filter(|_| !conversation.upload_over);
        if first_byte.is_none() && idle.is_none() {
            return Ok(conversation.next_head(client, server).await);
        }
        if let Some(awaited) = at_once(conversation.next_head(client, server)).await {
            return Ok(awaited);
        }
        Box::pin(async {
            if !conversation.upload_over {
                let waiting = upload(idle, client, server, conversation).await;
                match waiting {
                    Ok(None) => {}
                    Ok(Some(awaited)) => return Ok(awaited),
                    Err(stalled) => return Err(blame::request_body_error(client, stalled)),
                }
            }
            let Some(limit) = first_byte else {
                return Ok(conversation.next_head(client, server).await);
            };
            let waiting = Countdown::of(limit);
            let awaited = waiting.bound(conversation.next_head(client, server)).await;
            awaited.ok_or(ExchangeError::FirstByteTimedOut(limit))
        })
        .await
    }

    /// As [`Conversation::finish`], for as long as `timeout.idle` allows the server to be silent.
    pub(super) async fn finish(
        &self,
        download: &mut Pump,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
    ) -> Option<Result<(), PumpError>> {
        let Some(limit) = self.rules.timeouts.idle else {
            return conversation.finish(download, client, server).await;
        };
        if let Some(finished) = at_once(conversation.finish(download, client, server)).await {
            return finished;
        }
        Box::pin(async {
            let silence = Silence::of(limit, download.moved + conversation.upload.moved);
            loop {
                if let Some(finished) = silence.tick(conversation.finish(download, client, server)).await {
                    return finished;
                }
                // It may be the client that does not read, or has not said all yet.
                let by_client = download.is_held_up_by(client)
                    || !conversation.upload_over && !conversation.upload.is_held_up_by(server);
                if silence.is_over(download.moved + conversation.upload.moved, by_client) {
                    return Some(Err(PumpError::Stalled(limit)));
                }
            }
        })
        .await
    }
}

/// Waits for the end of the upload, or for a head that comes before it, for as long as `idle` allows the server to take nothing.
async fn upload(
    idle: Option<Duration>,
    client: &mut Connection,
    server: &mut Connection,
    conversation: &mut Conversation,
) -> Result<Option<Awaited>, PumpError> {
    let Some(limit) = idle else {
        return Ok(conversation.head_or_upload(client, server).await);
    };
    let silence = Silence::of(limit, conversation.upload.moved);
    loop {
        if let Some(awaited) = silence.tick(conversation.head_or_upload(client, server)).await {
            return Ok(awaited);
        }
        let by_client = !conversation.upload.is_held_up_by(server);
        if silence.is_over(conversation.upload.moved, by_client) {
            return Err(PumpError::Stalled(limit));
        }
    }
}
