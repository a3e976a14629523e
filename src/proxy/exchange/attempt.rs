//! Attempts: a connection, the request sent on it, the head of what comes back; and again, where that is safe.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{
        access, blame,
        error::ExchangeError,
        upstream::{ParentForm, Server},
        wire::{
            connection::Connection,
            head::ResponseHead,
            hop,
            http1::{Awaited, Conversation, ReadHeadError},
        },
    },
    Exchange, Expects, Request, respond,
};

/// How long a new connection may go without an answer before it looks as if its server were busy with another one.
const TURN_AFTER: Duration = Duration::from_millis(20);

/// Which methods may run twice ([RFC 9110 §9.2.2]).
///
/// [RFC 9110 §9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}

/// Why an attempt ended without a final response head.
enum AttemptError {
    /// As the error says.
    Failed(ExchangeError),
    /// On a connection that had been used before and was dead.
    Stale {
        /// Whether the kernel took no byte of the request, so that nothing can have been executed.
        unsent: bool,
    },
}

impl From<ExchangeError> for AttemptError {
    fn from(error: ExchangeError) -> Self {
        Self::Failed(error)
    }
}

impl Exchange<'_> {
    /// Sends the request until a server answers it: on a pooled connection, and again on another one if that proves dead.
    pub(super) async fn send(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<(Server, ResponseHead), ExchangeError> {
        let breaker = self.rules.breaker.as_ref();
        self.passage = self.worker.gate.pass(breaker, &self.request.authority)?;
        let idempotent = is_idempotent(self.request.head.method());
        // A body cannot be sent a second time once some of it has gone, since it is not kept.
        let bodiless = conversation.upload_over;
        let prepared = self.request.prepared.take();
        let mut ready = prepared.or_else(|| self.pooled(client, idempotent));
        loop {
            let mut server = match ready.take() {
                Some(server) => server,
                None => self.connect().await?,
            };
            server.connection.pace = self.worker.gate.pace(&self.rules.limits, &self.request.authority);
            self.open.record.connect = server.connect;
            self.open.record.reused = server.connect.is_none();
            match self.attempt(client, &mut server, conversation).await {
                Ok(head) => {
                    self.passage.answered(head.status);
                    return Ok((server, head));
                }
                Err(AttemptError::Failed(error)) => {
                    // Whatever it got so far must not look complete to it.
                    server.connection.reset();
                    return Err(error);
                }
                Err(AttemptError::Stale { unsent })
                    if (idempotent || unsent) && (bodiless || conversation.upload.moved == 0) =>
                {
                    conversation.again(bodiless);
                    self.open.record.resends += 1;
                    ready = self.pooled(client, idempotent);
                }
                Err(AttemptError::Stale { .. }) => {
                    return Err(ExchangeError::UpstreamClosedEarly {
                        how: "closed the connection".to_owned(),
                    });
                }
            }
        }
    }

    /// A connection that was used before.
    fn pooled(&self, client: &mut Connection, idempotent: bool) -> Option<Server> {
        let Request { authority, purpose, .. } = &self.request;
        self.worker.upstreams.pooled(authority, *purpose, client, idempotent)
    }

    /// Opens a connection. Boxed, since most requests find one in the pool and should not carry the room for this.
    async fn connect(&mut self) -> Result<Server, ExchangeError> {
        let Request { authority, purpose, .. } = &self.request;
        let limit = self.rules.timeouts.connect;
        let opened = &mut self.open.record.opened;
        Box::pin(self.worker.upstreams.connect(authority, *purpose, limit, opened)).await
    }

    /// Sends the request once and waits for the final head of its answer, passing interim ones on.
    async fn attempt(
        &mut self,
        client: &mut Connection,
        server: &mut Server,
        conversation: &mut Conversation,
    ) -> Result<ResponseHead, AttemptError> {
        let reused = server.connect.is_none();
        self.write_request(server.parent.as_ref(), server.connection.outbox.appender());
        self.open.record.attempts = 1;
        let queued = server.connection.outbox.len();
        self.open.record.bytes_sent += queued as u64;
        let server = &mut server.connection;
        // With a body to come the pump writes the head, together with what is there of the body.
        if conversation.upload_over
            && let Err(reason) = server.flush().await
        {
            return Err(if reused {
                AttemptError::Stale {
                    unsent: server.outbox.len() == queued,
                }
            } else {
                blame::closed_early(&reason).into()
            });
        }
        let sent_at = Instant::now();
        let mut in_line = !reused;
        loop {
            let awaited = if std::mem::take(&mut in_line) {
                self.wait_in_line(client, server, conversation).await
            } else {
                conversation.next_head(client, server).await
            };
            let head = match awaited {
                Awaited::Head(head) => head,
                Awaited::ClientEnded if access::is_gone(client) => return Err(ExchangeError::ClientGone.into()),
                Awaited::ClientEnded => {
                    respond::pass_end(client, server).await;
                    continue;
                }
                Awaited::ClientBroken(_) => return Err(ExchangeError::ClientGone.into()),
                Awaited::BodyBroken(broken) => return Err(blame::request_body_error(client, broken).into()),
                Awaited::Failed(ReadHeadError::Ended | ReadHeadError::Io(_, false)) if reused => {
                    return Err(AttemptError::Stale {
                        unsent: server.outbox.len() == queued,
                    });
                }
                Awaited::Failed(error) => return Err(blame::no_head(error).into()),
            };
            self.open.record.first_byte.get_or_insert_with(|| sent_at.elapsed());
            self.open.record.bytes_received += head.len() as u64;
            let head = ResponseHead::parse(head).map_err(ExchangeError::of_response_head)?;
            match head.status {
                101 if self.websocket && hop::switches_to_websocket(&head.fields) => return Ok(head),
                101 => {
                    return Err(ExchangeError::ResponseMalformed(
                        "101 for an upgrade that the request did not ask for".to_owned(),
                    )
                    .into());
                }
                100..=199 => {
                    if head.status == 100 {
                        self.expects = Expects::Nothing;
                    }
                    self.pass_interim(client, head).await?;
                }
                _ => return Ok(head),
            }
        }
    }

    /// Waits for the first head on a new connection. If that takes long, what waits for other requests gives way to it.
    ///
    /// Boxed like [`Exchange::connect`], and for the same reason.
    async fn wait_in_line(
        &self,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
    ) -> Awaited {
        Box::pin(async {
            if let Ok(awaited) = tokio::time::timeout(TURN_AFTER, conversation.next_head(client, server)).await {
                return awaited;
            }
            let queued = self.worker.upstreams.queue(&self.request.authority);
            let awaited = conversation.next_head(client, server).await;
            drop(queued);
            awaited
        })
        .await
    }

    /// Writes the request as the next hop wants it.
    fn write_request(&mut self, parent: Option<&ParentForm>, out: &mut Vec<u8>) {
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
