//! ONE exchange: a request of the child, all the way to its answer. The policies in their order, each a line.
//!
//! The order is a contract: framing and loops → where to → what is sent → attempts { pooled or fresh connection → send →
//! answer } → what the child sees → record. Nothing is decided in here that a policy could decide.

mod own;
mod respond;

use std::{
    future::poll_fn,
    io,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    access, blame,
    error::ExchangeError,
    recorder::Open,
    target::Authority,
    tunnel,
    upstream::{ParentForm, Purpose, Server},
    wire::{
        connection::Connection,
        framing::{self},
        head::{RequestHead, ResponseHead, Version},
        hop::{self, HopFields},
        http1::{Awaited, Conversation, ReadHeadError},
        pump::{Coding, Pump},
    },
    worker::Worker,
};
use crate::{
    policy::rules::{Asked, Rules},
    sabotage,
    traffic::Outcome,
};

/// How long a new connection may go without an answer before it looks as if its server were busy with another one.
const TURN_AFTER: Duration = Duration::from_millis(20);

/// What is to become of the client's connection.
#[derive(Debug)]
pub(crate) enum Next {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed at once: all of the request was read.
    Over,
    /// It is closed gently, since the client may still be sending.
    Close,
    /// It is reset: what it got is not complete and must not look so.
    Reset,
    /// It was upgraded and is a tunnel from now on.
    Upgraded(Box<tunnel::Opened>),
}

impl Next {
    /// After an answer of amb's own that was `sent`, or could not be; `close` if no further request can follow it.
    pub(crate) fn after(sent: &io::Result<()>, close: bool) -> Self {
        match sent {
            Ok(()) if close => Self::Close,
            Ok(()) => Self::KeepAlive,
            Err(_) => Self::Reset,
        }
    }
}

/// Which methods may run twice ([RFC 9110 §9.2.2]).
///
/// [RFC 9110 §9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}

/// A request, and what its head says about the way to go.
pub(crate) struct Request {
    /// The head; edited on its way through.
    pub(crate) head: RequestHead,
    /// Where it goes.
    pub(crate) authority: Authority,
    /// What `Host` is to say; as it is if none.
    pub(crate) host: Option<Vec<u8>>,
    /// Path and query.
    pub(crate) path: Vec<u8>,
    /// Which kind of connection can carry it.
    pub(crate) purpose: Purpose,
    /// A new connection that is there already.
    pub(crate) prepared: Option<Server>,
}

impl Request {
    /// What policies look at.
    fn asked(&self) -> Asked<'_> {
        Asked {
            scheme: "http",
            method: self.head.method(),
            host: &self.authority.host,
            port: self.authority.port,
            path: &self.path,
            fields: &self.head.fields,
        }
    }
}

/// Carries one exchange from the read head to the end of its answer. Never fails: an error *is* an answer.
pub(crate) async fn handle(worker: &Rc<Worker>, client: &mut Connection, request: Request, mut open: Open) -> Next {
    let rules = open.goes_by(&worker.policy.rules_for(&request.asked()));
    let mut exchange = Exchange {
        worker,
        rules,
        version: request.head.version,
        request,
        open,
        said: HopFields::default(),
        websocket: false,
        expects: Expects::Nothing,
        answered: false,
        truncation_shows: true,
    };
    match unless_it_panics(exchange.run(client)).await {
        Ok(Ended::With(next, outcome)) => {
            exchange.end(outcome);
            next
        }
        Ok(Ended::Upgraded(server)) => Next::Upgraded(Box::new(tunnel::Opened {
            server,
            open: exchange.open,
            unseen: None,
        })),
        Err(error) => Box::pin(exchange.refuse(client, &error)).await,
    }
}

/// Makes an error of a panic, so that it is answered like any other. The panic hook has counted it.
async fn unless_it_panics(
    carrying: impl Future<Output = Result<Ended, ExchangeError>>,
) -> Result<Ended, ExchangeError> {
    let mut carrying = pin!(carrying);
    poll_fn(|cx| {
        // What it was at work on is looked at again only to refuse it.
        panic::catch_unwind(AssertUnwindSafe(|| carrying.as_mut().poll(cx)))
            .unwrap_or(Poll::Ready(Err(ExchangeError::Panicked)))
    })
    .await
}

/// How an exchange came to its end.
enum Ended {
    /// With an answer.
    With(Next, Outcome),
    /// As a tunnel to this server.
    Upgraded(Server),
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

/// What a client waits for before it sends its body ([RFC 9110 §10.1.1]).
///
/// [RFC 9110 §10.1.1]: https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    /// Nothing, or it has it.
    Nothing,
    /// A 100.
    Continue,
}

/// One exchange under way.
struct Exchange<'a> {
    /// The worker that carries it.
    worker: &'a Rc<Worker>,
    /// The request.
    request: Request,
    /// What holds for it.
    rules: Arc<Rules>,
    /// The client's version.
    version: Version,
    /// Its record.
    open: Open,
    /// What the request's hop-by-hop fields said.
    said: HopFields,
    /// Whether it asks for a WebSocket.
    websocket: bool,
    /// What the client waits for before it sends its body.
    expects: Expects,
    /// Whether a byte of the final answer has gone to the client: from then on no other answer can.
    answered: bool,
    /// Whether an answer that breaks off can be told from a complete one by its framing.
    truncation_shows: bool,
}

impl Exchange<'_> {
    /// Ends the record. The path is written down only where somebody will read it.
    fn end(mut self, outcome: Outcome) {
        if outcome != Outcome::Ok || self.worker.recorder.is_listened_to() {
            self.open.record.path = self.worker.redact.path(&self.request.path);
        }
        self.open.end(outcome);
    }

    /// The policies, in the order in which they apply.
    async fn run(&mut self, client: &mut Connection) -> Result<Ended, ExchangeError> {
        let framing = framing::of_request(&self.request.head).map_err(ExchangeError::RequestMalformed)?;
        sabotage::strike("exchange");
        if let Err(looped) = self.worker.via.check_loop(&self.request.head.fields) {
            // What the client said about its connection holds for this answer too.
            self.said = hop::strip(&mut self.request.head.fields, self.version, false);
            return Err(looped);
        }
        if let Some(own) = self.last_hop() {
            return self.answer_here(client, &own, framing).await;
        }
        self.rewrite_request();
        let upload = Pump::new(framing, Coding::Kept);
        let mut conversation = Conversation::new(upload);
        let (mut server, head) = self.send(client, &mut conversation).await?;
        if head.status == 101 {
            return self.upgrade(client, server, head).await;
        }
        let (next, outcome, reusable) = self
            .respond(client, &mut server.connection, &mut conversation, head)
            .await?;
        if reusable {
            let Request { authority, purpose, .. } = &self.request;
            self.worker
                .upstreams
                .keep(authority, *purpose, server.connection, client);
        }
        Ok(Ended::With(next, outcome))
    }

    /// Makes the request what goes to the server: hop-by-hop fields off, `Host` as the target says, `Via` on.
    fn rewrite_request(&mut self) {
        let fields = &mut self.request.head.fields;
        self.websocket = self.version == Version::Http11 && hop::asks_for_websocket(fields);
        self.said = hop::strip(fields, self.version, self.websocket);
        if self.version == Version::Http11 && fields.has_member("expect", "100-continue") {
            self.expects = Expects::Continue;
        }
        if let Some(host) = &self.request.host {
            fields.set("Host", host);
        }
        if self.said.trailers {
            // amb does carry trailers, so it says so on its own behalf (RFC 9110 §10.1.4).
            fields.append("TE", b"trailers");
            fields.append("Connection", b"TE");
        }
        self.worker.via.add(fields, self.version);
    }

    /// Sends the request until a server answers it: on a pooled connection, and again on another one if that proves dead.
    async fn send(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<(Server, ResponseHead), ExchangeError> {
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
            self.open.record.connect = server.connect;
            self.open.record.reused = server.connect.is_none();
            match self.attempt(client, &mut server, conversation).await {
                Ok(head) => return Ok((server, head)),
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
