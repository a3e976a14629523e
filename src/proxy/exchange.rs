//! ONE exchange: a request of the child, all the way to its answer. The policies in their order, each a line.
//!
//! The order is a contract: framing and loops → where to → what is sent → attempts { pooled or fresh connection → send →
//! answer } → what the child sees → record. Nothing is decided in here that a policy could decide.

use std::{io, rc::Rc, time::Duration};

use tokio::time::Instant;

use super::{
    access,
    answer::Answer,
    blame,
    error::ExchangeError,
    recorder::Open,
    target::Authority,
    tunnel,
    upstream::{ParentForm, Purpose, Server},
    wire::{
        connection::Connection,
        framing::{self, Framing},
        head::{RequestHead, ResponseHead, Version},
        hop::{self, HopFields},
        http1::{Awaited, Conversation, ReadHeadError},
        pump::{Coding, Pump, PumpError},
    },
    worker::Worker,
};
use crate::traffic::Outcome;

/// How long the rest of a request may take once its answer is complete.
const UPLOAD_GRACE: Duration = Duration::from_secs(1);

/// What is to become of the client's connection.
#[derive(Debug)]
pub(crate) enum Next {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed, gently.
    Close,
    /// It is reset: what it got is not complete and must not look so.
    Reset,
    /// It was upgraded and is a tunnel from now on.
    Upgraded(Box<tunnel::Opened>),
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
    /// What `Host` says.
    pub(crate) host: Vec<u8>,
    /// Path and query.
    pub(crate) path: Vec<u8>,
}

/// Carries one exchange from the read head to the end of its answer. Never fails: an error *is* an answer.
pub(crate) async fn handle(worker: &Rc<Worker>, client: &mut Connection, request: Request, open: Open) -> Next {
    let mut exchange = Exchange {
        worker,
        method: request.head.method().to_owned(),
        version: request.head.version,
        request,
        open,
        said: HopFields::default(),
        websocket: false,
        answered: false,
        truncation_shows: true,
    };
    match exchange.run(client).await {
        Ok(Ended::With(next, outcome)) => {
            exchange.open.end(outcome);
            next
        }
        Ok(Ended::Upgraded(server)) => Next::Upgraded(Box::new(tunnel::Opened {
            server,
            open: exchange.open,
        })),
        Err(error) => exchange.refuse(client, &error).await,
    }
}

/// How an exchange came to its end.
enum Ended {
    /// With an answer.
    With(Next, Outcome),
    /// As a tunnel to this server.
    Upgraded(Connection),
}

/// Why an attempt ended without a final response head.
enum AttemptError {
    /// As the error says.
    Failed(ExchangeError),
    /// On a connection that had been used before and was dead: nothing was executed, or may be executed again.
    Stale,
}

impl From<ExchangeError> for AttemptError {
    fn from(error: ExchangeError) -> Self {
        Self::Failed(error)
    }
}

/// One exchange under way.
struct Exchange<'a> {
    /// The worker that carries it.
    worker: &'a Rc<Worker>,
    /// The request.
    request: Request,
    /// Its method, before the head is edited.
    method: String,
    /// The client's version.
    version: Version,
    /// Its record.
    open: Open,
    /// What the request's hop-by-hop fields said.
    said: HopFields,
    /// Whether it asks for a WebSocket.
    websocket: bool,
    /// Whether a byte of the final answer has gone to the client: from then on no other answer can.
    answered: bool,
    /// Whether an answer that breaks off can be told from a complete one by its framing.
    truncation_shows: bool,
}

impl Exchange<'_> {
    /// The policies, in the order in which they apply.
    async fn run(&mut self, client: &mut Connection) -> Result<Ended, ExchangeError> {
        let framing = framing::of_request(&self.request.head).map_err(ExchangeError::RequestMalformed)?;
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
            return self.upgrade(client, server.connection, head).await;
        }
        let (next, outcome, reusable) = self
            .respond(client, &mut server.connection, &mut conversation, head)
            .await?;
        if reusable {
            self.worker.upstreams.keep(&self.request.authority, server.connection);
        }
        Ok(Ended::With(next, outcome))
    }

    /// What amb itself answers because the request may go no further ([RFC 9110 §7.6.2]), and counts the hop otherwise.
    ///
    /// [RFC 9110 §7.6.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2
    fn last_hop(&mut self) -> Option<Vec<u8>> {
        if !matches!(self.method.as_str(), "TRACE" | "OPTIONS") {
            return None;
        }
        let hops = self.request.head.fields.first("max-forwards")?;
        let hops: u32 = str::from_utf8(hops).ok()?.parse().ok()?;
        if let Some(left) = hops.checked_sub(1) {
            self.request
                .head
                .fields
                .set("Max-Forwards", left.to_string().as_bytes());
            return None;
        }
        if self.method == "OPTIONS" {
            return Some(b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH\r\nContent-Length: 0\r\n\r\n".to_vec());
        }
        // The echo must not hand out what a script could not read otherwise (RFC 9110 §9.3.8).
        for secret in ["authorization", "cookie", "proxy-authorization"] {
            self.request.head.fields.remove(secret);
        }
        let mut echo = Vec::new();
        let target = self.request.head.target().to_vec();
        self.request.head.write_to(&target, &mut echo);
        let mut out = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: {}\r\n\r\n",
            echo.len()
        )
        .into_bytes();
        out.extend_from_slice(&echo);
        Some(out)
    }

    /// Sends an answer of amb's own. A body that the request has is not read, so nothing behind it can be either.
    async fn answer_here(
        &mut self,
        client: &mut Connection,
        answer: &[u8],
        framing: Framing,
    ) -> Result<Ended, ExchangeError> {
        self.said = hop::strip(&mut self.request.head.fields, self.version, false);
        self.open.record.status = Some(200);
        self.answered = true;
        client.send(answer).await.map_err(|_| ExchangeError::ClientGone)?;
        Ok(Ended::With(
            if self.said.close || framing != Framing::Empty {
                Next::Close
            } else {
                Next::KeepAlive
            },
            Outcome::Ok,
        ))
    }

    /// Makes the request what goes to the server: hop-by-hop fields off, `Host` as the target says, `Via` on.
    fn rewrite_request(&mut self) {
        let fields = &mut self.request.head.fields;
        self.websocket = self.version == Version::Http11 && hop::asks_for_websocket(fields);
        self.said = hop::strip(fields, self.version, self.websocket);
        fields.set("Host", &self.request.host);
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
        let idempotent = is_idempotent(&self.method);
        // A body cannot be sent a second time, since it is not kept.
        let resendable = idempotent && conversation.upload_over;
        let mut pooled = self.worker.upstreams.pooled(&self.request.authority, idempotent);
        loop {
            let (mut server, reused) = match pooled.take() {
                Some(server) => (server, true),
                None => (
                    self.worker
                        .upstreams
                        .connect(&self.request.authority, Purpose::Exchange)
                        .await?,
                    false,
                ),
            };
            self.open.record.connect = server.connect;
            self.open.record.reused = reused;
            match self.attempt(client, &mut server, conversation).await {
                Ok(head) => return Ok((server, head)),
                Err(AttemptError::Failed(error)) => {
                    // Whatever it got so far must not look complete to it.
                    server.connection.reset();
                    return Err(error);
                }
                Err(AttemptError::Stale)
                    if reused && (resendable || conversation.upload.moved == 0 && !conversation.upload_over) =>
                {
                    self.open.record.resends += 1;
                    pooled = self.worker.upstreams.pooled(&self.request.authority, idempotent);
                }
                Err(AttemptError::Stale) => {
                    return Err(ExchangeError::UpstreamClosedEarly {
                        how: "closed the connection".to_owned(),
                    });
                }
            }
        }
    }

    /// Sends the request once and waits for the final head of its answer, passing interim ones on.
    async fn attempt(
        &mut self,
        client: &mut Connection,
        server: &mut Server,
        conversation: &mut Conversation,
    ) -> Result<ResponseHead, AttemptError> {
        let reused = server.connect.is_none();
        let mut out = Vec::with_capacity(1024);
        self.write_request(server.parent.as_ref(), &mut out);
        self.open.record.attempts = 1;
        self.open.record.bytes_sent += out.len() as u64;
        let server = &mut server.connection;
        if conversation.upload_over {
            if let Err(reason) = server.send(&out).await {
                return Err(if reused {
                    AttemptError::Stale
                } else {
                    blame::closed_early(&reason).into()
                });
            }
        } else {
            // The pump writes it, together with what is there of the body.
            server.outbox.extend(&out);
        }
        let sent_at = Instant::now();
        loop {
            let head = match conversation.next_head(client, server).await {
                Awaited::Head(head) => head,
                Awaited::ClientEnded if access::is_gone(client) => return Err(ExchangeError::ClientGone.into()),
                Awaited::ClientEnded => {
                    pass_end(client, server).await;
                    continue;
                }
                Awaited::ClientBroken(_) => return Err(ExchangeError::ClientGone.into()),
                Awaited::BodyBroken(broken) => return Err(blame::request_body_error(client, broken).into()),
                Awaited::Failed(ReadHeadError::Ended) if reused => return Err(AttemptError::Stale),
                Awaited::Failed(ReadHeadError::Io(_, false)) if reused => return Err(AttemptError::Stale),
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
                100..=199 => self.pass_interim(client, head).await?,
                _ => return Ok(head),
            }
        }
    }

    /// Writes the request as the next hop wants it.
    fn write_request(&mut self, parent: Option<&ParentForm>, out: &mut Vec<u8>) {
        let Some(parent) = parent else {
            self.request.head.write_to(&self.request.path, out);
            return;
        };
        if let Some(authorization) = &parent.authorization {
            self.request
                .head
                .fields
                .set("Proxy-Authorization", authorization.as_bytes());
        }
        let path = if self.request.path == b"*" {
            b"".as_slice()
        } else {
            &self.request.path
        };
        let target = [b"http://", self.request.host.as_slice(), path].concat();
        self.request.head.write_to(&target, out);
    }

    /// Passes an interim response on, if the client knows such ([RFC 9110 §15.2]).
    ///
    /// [RFC 9110 §15.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.2
    async fn pass_interim(&mut self, client: &mut Connection, mut head: ResponseHead) -> Result<(), ExchangeError> {
        if self.version == Version::Http10 {
            return Ok(());
        }
        hop::strip(&mut head.fields, head.version, false);
        remove_lengths(&mut head);
        let mut out = Vec::new();
        head.write_to(&mut out);
        client.send(&out).await.map_err(|_| ExchangeError::ClientGone)
    }

    /// Passes a 101 on; from then on the bytes are not HTTP.
    async fn upgrade(
        &mut self,
        client: &mut Connection,
        server: Connection,
        mut head: ResponseHead,
    ) -> Result<Ended, ExchangeError> {
        hop::strip(&mut head.fields, head.version, true);
        self.worker.via.add(&mut head.fields, head.version);
        let mut out = Vec::new();
        head.write_to(&mut out);
        self.open.record.status = Some(101);
        self.answered = true;
        client.send(&out).await.map_err(|_| ExchangeError::ClientGone)?;
        Ok(Ended::Upgraded(server))
    }

    /// Passes the final response on, its body as it comes. Says whether the server's connection can be used again.
    async fn respond(
        &mut self,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
        mut head: ResponseHead,
    ) -> Result<(Next, Outcome, bool), ExchangeError> {
        let framing = framing::of_response(&head, &self.method)
            .map_err(|reason| ExchangeError::ResponseMalformed(reason.to_owned()))?;
        let server_said = hop::strip(&mut head.fields, head.version, false);
        let contradicts = framing == Framing::Chunked && head.fields.contains("content-length");
        let coding = self.fit_to_client(&mut head, framing);
        let mut keep = !self.said.close
            && framing != Framing::UntilClose
            && framing::is_plain(&head.fields)
            && coding == Coding::Kept
            && !is_done(client);
        if self.version == Version::Http10 && keep {
            head.fields.append("Connection", b"keep-alive");
        } else if !keep && self.version == Version::Http11 {
            head.fields.append("Connection", b"close");
        }
        self.worker.via.add(&mut head.fields, head.version);
        self.open.record.status = Some(head.status);
        self.answered = true;
        self.truncation_shows = framing != Framing::UntilClose && coding == Coding::Kept;
        head.write_to(client.outbox.appender());
        let unsent = client.outbox.len();
        let mut download = Pump::new(framing, coding);
        let result = loop {
            match conversation.finish(&mut download, client, server).await {
                Some(result) => break result,
                None if access::is_gone(client) => break Err(PumpError::Write(io::ErrorKind::BrokenPipe.into())),
                None => pass_end(client, server).await,
            }
        };
        self.open.record.bytes_received += download.moved;
        if let Err(broken) = result {
            self.open.record.bytes_sent += conversation.upload.moved;
            if matches!(broken, PumpError::Malformed(_)) && download.moved == 0 && client.outbox.len() == unsent {
                // The body broke before the head had left: the client can be told instead of cut off.
                client.outbox.consume(unsent);
                self.answered = false;
            }
            return Err(blame::response_body_error(broken));
        }
        if !conversation.upload_over {
            // The answer is complete, the request is not. The server may read on, or not care any more.
            let finishing = conversation.finish_upload(client, server);
            if tokio::time::timeout(UPLOAD_GRACE, finishing).await.is_err() {
                keep = false;
            }
        }
        self.open.record.bytes_sent += conversation.upload.moved;
        keep &= conversation.upload_over && !conversation.upload_refused;
        let reusable = !server_said.close
            && !contradicts
            && framing != Framing::UntilClose
            && conversation.upload_over
            && !conversation.upload_refused
            && !server.ended
            && !client.ended
            && server.inbox.is_empty();
        let outcome = if head.status >= 500 {
            Outcome::Failed(blame::server_error(&head))
        } else {
            Outcome::Ok
        };
        Ok((if keep { Next::KeepAlive } else { Next::Close }, outcome, reusable))
    }

    /// Makes the response's framing one that the client understands.
    fn fit_to_client(&self, head: &mut ResponseHead, framing: Framing) -> Coding {
        // Two lengths: the coding counts, and the other must not reach anybody who would believe it.
        if framing::is_coded(&head.fields) {
            head.fields.remove("content-length");
        }
        if framing != Framing::Chunked {
            if framing == Framing::Empty && self.method != "HEAD" && head.status != 304 {
                remove_lengths(head);
            }
            return Coding::Kept;
        }
        if self.version == Version::Http11 {
            return Coding::Kept;
        }
        head.fields.remove("transfer-encoding");
        head.fields.remove("trailer");
        Coding::Removed
    }

    /// Answers with an error, if an answer is still possible, and ends the record.
    async fn refuse(mut self, client: &mut Connection, error: &ExchangeError) -> Next {
        if self.answered || matches!(error, ExchangeError::ClientGone) {
            let gently = self.truncation_shows && matches!(error, ExchangeError::ResponseIncomplete(_));
            self.open.fail(error);
            return if gently { Next::Close } else { Next::Reset };
        }
        let close = self.said.close || !self.request_is_read(error);
        self.open.record.status = Some(error.verdict().status);
        let answer = Answer {
            error,
            request: Some(&self.request.head),
            id: self.open.id,
            next_hop: self.request.authority.to_string(),
            close,
        };
        let sent = client.send(&answer.bytes()).await;
        self.open.fail(error);
        match sent {
            Ok(()) if close => Next::Close,
            Ok(()) => Next::KeepAlive,
            Err(_) => Next::Reset,
        }
    }

    /// Whether nothing of the request is left on the client's connection, so that the next one can be read from it.
    fn request_is_read(&self, error: &ExchangeError) -> bool {
        let clear = !matches!(
            error,
            ExchangeError::RequestMalformed(_) | ExchangeError::RequestBodyBroken(_)
        );
        clear && matches!(framing::of_request(&self.request.head), Ok(Framing::Empty))
    }
}

/// Takes lengths from a response that has no body, where a client that believed them would wait for one, or take the next
/// response for it ([RFC 9112 §6.3]). A length of nothing is true, and stays.
///
/// [RFC 9112 §6.3]: https://www.rfc-editor.org/rfc/rfc9112#section-6.3
fn remove_lengths(head: &mut ResponseHead) {
    head.fields.remove("transfer-encoding");
    if head.fields.values("content-length").any(|length| length != b"0") {
        head.fields.remove("content-length");
    }
}

/// Tells the server that the client has no more to send, as it would be told directly, unless the client has sent requests
/// ahead that are still to be answered.
async fn pass_end(client: &Connection, server: &mut Connection) {
    if !is_done(client) {
        return;
    }
    if let Err(reason) = std::future::poll_fn(|cx| server.poll_end(cx)).await {
        tracing::debug!(%reason, "the server's connection could not be half-closed");
    }
}

/// Whether the client has ended its half and no request that it sent ahead is left.
fn is_done(client: &Connection) -> bool {
    client.ended && client.inbox.is_empty()
}
