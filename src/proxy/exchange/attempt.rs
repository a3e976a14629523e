//! ONE attempt: a connection, the request sent on it, the head of what comes back. What goes around each attempt is in
//! [`Exchange::attempt`]; whether there is another one is for `again.rs`.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{
        access, blame,
        clearance::Clearance,
        deadline,
        error::ExchangeError,
        retrying::Stage,
        upstream::{ParentForm, Server},
        wire::{
            connection::Connection,
            head::ResponseHead,
            hop,
            http1::{Awaited, Conversation, ReadHeadError},
        },
    },
    Exchange, Expects, Request, Way, respond,
};
use crate::{policy::retry::is_idempotent, traffic::retries::Try};

/// How long a new connection may go without an answer before it looks as if its server were busy with another one.
const TURN_AFTER: Duration = Duration::from_millis(20);

/// How often a request is sent again unseen that a server has refused to look at, before that is an answer.
const REFUSALS: u32 = 2;

/// Why a request that was sent has no final response head.
enum SendError {
    /// As the error says.
    Failed(ExchangeError),
    /// On a connection that had been used before and was dead.
    Stale {
        /// Whether the server cannot have heard any of the request, so that nothing can have been executed.
        unsent: bool,
    },
}

impl From<ExchangeError> for SendError {
    fn from(error: ExchangeError) -> Self {
        Self::Failed(error)
    }
}

impl Exchange<'_> {
    /// Makes one attempt, within its time. It begins here, and what came of it is known here.
    pub(super) async fn attempt(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<(Box<Server>, ResponseHead), ExchangeError> {
        self.stage = Stage::Connecting;
        let breaker = self.rules.breaker.as_ref();
        self.passage = self.worker.gate.pass(breaker, &self.request.authority)?;
        let began = self.worker.policy.exports_traces().then(Instant::now);
        let attempted = match self.rules.timeouts.per_try {
            None => self.make_attempt(client, conversation).await,
            Some(limit) => Box::pin(deadline::within(limit, self.make_attempt(client, conversation)))
                .await
                .unwrap_or(Err(ExchangeError::AttemptTimedOut(limit))),
        };
        match &attempted {
            Ok((_, head)) => self.passage.answered(head.status),
            Err(error) => self.passage.failed(error),
        }
        if let Some(began) = began {
            self.open.record.tries.push(Try {
                after: began.duration_since(self.open.started),
                took: began.elapsed(),
                status: attempted.as_ref().ok().map(|(_, head)| head.status),
                error: attempted.as_ref().err().map(ExchangeError::error_type),
            });
        }
        attempted
    }

    /// Sends the request until a server answers it: on a pooled connection, and unseen on another one if that proves to have
    /// been dead before. Where the server may have heard the request it is for the retry policy, at any level above `safe`.
    pub(super) async fn make_attempt(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<(Box<Server>, ResponseHead), ExchangeError> {
        let idempotent = is_idempotent(self.request.head.method());
        // Unseen, a body is not sent a second time once some of it has gone, whether it is kept or not.
        let bodiless = conversation.upload_over;
        let moved = conversation.upload.moved;
        let prepared = self.request.prepared.take().transpose()?;
        let mut ready = prepared.or_else(|| self.pooled(client, idempotent));
        let mut counted = false;
        let mut refusals = 0;
        loop {
            let mut server = match ready.take() {
                Some(server) => server,
                None => self.connect(client).await?,
            };
            if let Some(clearance) = Clearance::of(self.worker, self.request.asked()) {
                clearance.by_server(&server, &mut self.open.record)?;
            }
            server.connection.pace = self.worker.gate.pace(&self.rules.limits, &self.request.authority);
            self.open.record.connect = server.connect;
            self.open.record.tls = server.tls.take();
            self.open.record.reused = server.connect.is_none();
            self.open.record.attempts += u32::from(!std::mem::replace(&mut counted, true));
            match self.exchange_heads(client, &mut server, conversation).await {
                Ok(head) => return Ok((server, head)),
                Err(SendError::Failed(ExchangeError::Http11Required))
                    if self.request.purpose.avoid_http2() && (bodiless || conversation.upload.moved == moved) =>
                {
                    conversation.again(bodiless);
                    self.open.record.resends += 1;
                    ready = self.pooled(client, idempotent);
                }
                Err(SendError::Failed(error)) => {
                    // Whatever it got so far must not look complete to it.
                    server.connection.reset();
                    return Err(error);
                }
                Err(SendError::Stale { .. }) if server.connection.was_refused() && refusals == REFUSALS => {
                    return Err(ExchangeError::StreamRefused);
                }
                // A client that had called directly would not have met a connection of somebody else's.
                Err(SendError::Stale { unsent })
                    if (unsent || idempotent && server.foreign) && (bodiless || conversation.upload.moved == moved) =>
                {
                    conversation.again(bodiless);
                    self.open.record.resends += 1;
                    refusals += u32::from(server.connection.was_refused());
                    ready = self.pooled(client, idempotent);
                }
                Err(SendError::Stale { .. }) if server.connection.was_refused() => {
                    return Err(ExchangeError::StreamRefused);
                }
                Err(SendError::Stale { .. }) => {
                    return Err(ExchangeError::UpstreamClosedEarly {
                        how: "closed the connection".to_owned(),
                    });
                }
            }
        }
    }

    /// A connection that was used before.
    fn pooled(&self, client: &mut Connection, idempotent: bool) -> Option<Box<Server>> {
        let Request { authority, purpose, .. } = &self.request;
        self.worker.upstreams.pooled(authority, purpose, client, idempotent)
    }

    /// Opens a connection. Boxed, since most requests find one in the pool and should not carry the room for this.
    async fn connect(&mut self, client: &mut Connection) -> Result<Box<Server>, ExchangeError> {
        let Request { authority, purpose, .. } = &self.request;
        let timeouts = &self.rules.timeouts;
        let clearance = Clearance::of(self.worker, self.request.asked());
        let opened = &mut self.open.record.opened;
        let upstreams = &self.worker.upstreams;
        Box::pin(upstreams.connect_for(client, authority, purpose, timeouts, opened, clearance)).await
    }

    /// Sends the request once and waits for the final head of its answer, passing interim ones on.
    async fn exchange_heads(
        &mut self,
        client: &mut Connection,
        server: &mut Box<Server>,
        conversation: &mut Conversation,
    ) -> Result<ResponseHead, SendError> {
        let reused = server.connect.is_none();
        self.stage = Stage::Sent;
        server.connection.mark();
        if reused {
            server.connection.renew();
        }
        let out = server.connection.outbox.appender();
        self.write_request(server.parent.as_ref(), out);
        // What an earlier attempt has read of the body; the rest comes from the client.
        let behind = conversation.kept().unwrap_or_default();
        out.extend_from_slice(behind);
        let is_all = conversation.upload_over && behind.is_empty();
        let queued = server.connection.outbox.len();
        let moved = conversation.upload.moved;
        self.open.record.bytes_sent += queued as u64;
        // With a body to come the pump writes the head, together with what is there of the body; and a body that is there is
        // written while the answer is waited for, which may come before the server has read all of it.
        if is_all && let Err(reason) = server.connection.flush().await {
            let unsent = self.note_unsent(&server.connection, queued, false);
            return Err(if reused {
                SendError::Stale { unsent }
            } else {
                blame::closed_early(&reason).into()
            });
        }
        let sent_at = Instant::now();
        let mut in_line = !reused;
        // A 100 says only that the request may go on.
        let mut begun = false;
        loop {
            let awaited = if self.way == Way::Plain && !in_line {
                conversation.next_head(client, &mut server.connection).await
            } else if let Some(delay) = self.hedge_delay(conversation) {
                Box::pin(self.wait_hedged(delay, client, server, conversation)).await?
            } else if std::mem::take(&mut in_line) {
                self.wait_in_line(client, &mut server.connection, conversation).await?
            } else {
                self.wait_for_head(client, &mut server.connection, conversation, begun)
                    .await?
            };
            let head = match awaited {
                Awaited::Head(head) => head,
                Awaited::ClientEnded if access::is_gone(client) => return Err(ExchangeError::ClientGone.into()),
                Awaited::ClientEnded => {
                    respond::pass_end(client, &mut server.connection).await;
                    continue;
                }
                Awaited::ClientBroken(_) => return Err(ExchangeError::ClientGone.into()),
                Awaited::BodyBroken(broken) => return Err(blame::request_body_error(client, broken).into()),
                Awaited::Failed(error) => {
                    let body = usize::try_from(conversation.upload.moved - moved).unwrap_or(usize::MAX);
                    let ended = matches!(error, ReadHeadError::Ended);
                    let unsent = self.note_unsent(&server.connection, queued.saturating_add(body), ended);
                    return Err(match error {
                        ReadHeadError::Ended if reused => SendError::Stale { unsent },
                        ReadHeadError::Io(reason, false)
                            if server.connection.was_refused() || reused && !blame::is_of_stream(&reason) =>
                        {
                            SendError::Stale { unsent }
                        }
                        error => blame::no_head(error).into(),
                    });
                }
            };
            self.open.record.first_byte.get_or_insert_with(|| sent_at.elapsed());
            self.open.record.bytes_received += head.len() as u64;
            let mut head = ResponseHead::parse(head).map_err(ExchangeError::of_response_head)?;
            head.version = server.connection.version(head.version);
            match head.status {
                101 if self.websocket && hop::switches_to_websocket(&head.fields) => return Ok(head),
                101 => {
                    return Err(ExchangeError::ResponseMalformed(
                        "101 for an upgrade that the request did not ask for".to_owned(),
                    )
                    .into());
                }
                100 => {
                    let expected = std::mem::replace(&mut self.expects, Expects::Nothing);
                    // One that an earlier attempt has passed on is not news.
                    if expected == Expects::Continue || self.open.record.retries.count == 0 {
                        self.pass_interim(client, head).await?;
                    }
                }
                102..=199 => {
                    begun = true;
                    self.pass_interim(client, head).await?;
                }
                _ => {
                    self.note_pace();
                    return Ok(head);
                }
            }
        }
    }

    /// Whether the server cannot have heard any of the `queued` bytes, which is then the stage of the attempt: the kernel took
    /// none, or the server `ended` the connection before it knew of them. Of a reset nobody knows what came before it.
    fn note_unsent(&mut self, server: &Connection, queued: usize, ended: bool) -> bool {
        let taken = server.taken(queued);
        let unsent = taken == 0 || ended && access::is_unheard(server, taken);
        if unsent {
            self.stage = Stage::Unsent;
        }
        unsent
    }

    /// Waits for the first head on a new connection. If that takes long, what waits for other requests gives way to it.
    ///
    /// Boxed like [`Exchange::connect`], and for the same reason.
    async fn wait_in_line(
        &self,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<Awaited, ExchangeError> {
        Box::pin(async {
            if let Ok(awaited) = tokio::time::timeout(TURN_AFTER, conversation.next_head(client, server)).await {
                return Ok(awaited);
            }
            let queued = self.worker.upstreams.queue(&self.request.authority);
            let awaited = self.wait_for_head(client, server, conversation, false).await;
            drop(queued);
            awaited
        })
        .await
    }

    /// Writes the request as the next hop wants it.
    pub(super) fn write_request(&mut self, parent: Option<&ParentForm>, out: &mut Vec<u8>) {
        let Some(parent) = parent else {
            self.request.head.write_to(&self.request.path, out);
            return;
        };
        if let Some(authorization) = &parent.authorization {
            // It is there already if the request is sent again. At the end, since `Host` belongs at the front.
            let fields = &mut self.request.head.fields;
            fields.remove("Proxy-Authorization");
            fields.append("Proxy-Authorization", authorization.as_bytes());
        }
        let path = if self.request.path == b"*" {
            b"".as_slice()
        } else {
            &self.request.path
        };
        let host = self.request.host.as_deref().unwrap_or_default();
        let target = [b"http://", host, path].concat();
        self.request.head.write_to(&target, out);
    }
}
