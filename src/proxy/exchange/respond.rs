//! The way back: interim responses, upgrades, and the final response with its body.

use std::{io, time::Duration};

use super::{
    super::{
        access, blame,
        error::ExchangeError,
        upstream::Server,
        wire::{
            connection::Connection,
            framing::{self, Framing},
            head::{ResponseHead, Version},
            hop,
            http1::Conversation,
            pump::{Coding, Pump, PumpError},
        },
    },
    Ended, Exchange, Expects, Next, Way,
    reply::Reply,
};
use crate::traffic::Outcome;

/// How long the rest of a request may take once its answer is complete.
const UPLOAD_GRACE: Duration = Duration::from_secs(1);

impl Exchange<'_> {
    /// Passes an interim response on, if the client knows such ([RFC 9110 §15.2]).
    ///
    /// [RFC 9110 §15.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.2
    pub(super) async fn pass_interim(
        &mut self,
        client: &mut Connection,
        mut head: ResponseHead,
    ) -> Result<(), ExchangeError> {
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
    pub(super) async fn upgrade(
        &mut self,
        client: &mut Connection,
        server: Box<Server>,
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
    pub(super) async fn respond(
        &mut self,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
        mut head: ResponseHead,
    ) -> Result<(Next, Outcome, bool), ExchangeError> {
        let framing = framing::of_response(&head, self.request.head.method())
            .map_err(|reason| ExchangeError::ResponseMalformed(reason.to_owned()))?;
        server.personal |= hop::authenticates_connection(&self.request.head.fields);
        let server_said = hop::strip(&mut head.fields, head.version, false);
        let contradicts = framing == Framing::Chunked && head.fields.contains("content-length");
        // By what the server said, whatever the client is told.
        let outcome = blame::outcome(&head);
        let edits = self.rules.edits.clone().filter(|edits| edits.is_about_responses());
        let mut reply = Reply::unchanged(framing);
        if let Some(edits) = &edits {
            reply = self
                .change_reply(edits, client, server, conversation, &mut head, framing)
                .await?;
        }
        let (of_server, framing) = (framing, reply.framing);
        let coding = self.fit_to_client(&mut head, framing);
        let withheld = self.withholds_body(client, conversation);
        if withheld {
            conversation.give_up_upload();
        }
        let mut keep = !self.said.close
            && framing != Framing::UntilClose
            && framing::is_plain(&head.fields)
            && coding == Coding::Kept
            && !is_done(client)
            && !withheld;
        self.add_own_fields(&mut head, keep, withheld);
        self.open.record.status = Some(head.status);
        self.answered = true;
        self.truncation_shows = framing != Framing::UntilClose && coding == Coding::Kept;
        head.write_to(client.outbox.appender());
        let to_come = if let Some(body) = &reply.body {
            client.outbox.extend(body);
            Framing::Empty
        } else {
            framing
        };
        let unsent = client.outbox.len();
        let mut download = Pump::new(to_come, coding);
        let result = loop {
            let finished = if self.way == Way::Plain {
                conversation.finish(&mut download, client, server).await
            } else {
                self.finish(&mut download, client, server, conversation).await
            };
            match finished {
                Some(result) => break result,
                None if access::is_gone(client) => break Err(PumpError::Write(io::ErrorKind::BrokenPipe.into())),
                None => pass_end(client, server).await,
            }
        };
        let result = result.and_then(|()| {
            // Only its end tells that it is all, and with TLS an end that nobody has forged is said.
            let unsure = to_come == Framing::UntilClose && server.was_cut_off();
            if unsure { Err(PumpError::Truncated) } else { Ok(()) }
        });
        self.open.record.bytes_received += download.moved;
        if let Err(broken) = result {
            self.open.record.bytes_sent += conversation.upload.moved;
            if matches!(broken, PumpError::Malformed(_)) && download.moved == 0 && client.outbox.len() == unsent {
                // The body broke before the head had left: the client can be told instead of cut off.
                client.outbox.consume(unsent);
                self.answered = false;
            }
            if matches!((&broken, &outcome), (PumpError::Write(_), Outcome::Failed(_))) {
                // The head has told the client that the server failed; many leave then, and do not read why.
                return Ok((Next::Reset, outcome, false));
            }
            if let PumpError::Read(reason) = &broken {
                client.breaks_like(reason);
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
            && !reply.left
            && of_server != Framing::UntilClose
            && conversation.upload_over
            && !conversation.upload_refused
            && !server.ended
            && !client.ended
            && server.inbox.is_empty();
        let next = match (keep, conversation.upload_over && !conversation.upload_refused) {
            (true, _) => Next::KeepAlive,
            (false, true) => Next::Over,
            (false, false) => Next::Close,
        };
        Ok((next, outcome, reusable))
    }

    /// Adds what amb has to say itself: about the connection, which goes on if it is to `keep`, and about the way.
    fn add_own_fields(&self, head: &mut ResponseHead, keep: bool, withheld: bool) {
        if self.version == Version::Http10 && keep {
            head.fields.append("Connection", b"keep-alive");
        } else if !keep && self.version == Version::Http11 && !(withheld && head.status == 417) {
            // A 417 is repeated at once without the expectation, but by curl not if it announces the end: it finds it.
            head.fields.append("Connection", b"close");
        }
        if head.status == 401 && hop::asks_for_connection_authentication(&head.fields) {
            // Without it a client must not go on (RFC 4559 §6); amb keeps its part by the pool.
            head.fields.append("Proxy-Support", b"Session-Based-Authentication");
        }
        if let Some(status) = self.attempt_status() {
            head.fields.append("Proxy-Status", status.as_bytes());
        }
        self.worker.via.add(&mut head.fields, head.version);
    }

    /// Whether the client was told the outcome before it began to send its body, and will not send it now. What comes next
    /// on its connection may be its next request or the body all the same, and nobody could tell: it is closed, so that the
    /// one is not taken for the other ([RFC 9110 §10.1.1]).
    ///
    /// [RFC 9110 §10.1.1]: https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
    fn withholds_body(&self, client: &Connection, conversation: &Conversation) -> bool {
        self.expects == Expects::Continue
            && !conversation.upload_over
            && conversation.upload.moved == 0
            && client.inbox.is_empty()
    }

    /// Makes the response's framing one that the client understands.
    fn fit_to_client(&self, head: &mut ResponseHead, framing: Framing) -> Coding {
        // Two lengths: the coding counts, and the other must not reach anybody who would believe it.
        if framing::is_coded(&head.fields) {
            head.fields.remove("content-length");
        }
        if let Some(length) = framing::repeated_length(&head.fields) {
            head.fields.set("Content-Length", &length);
        }
        if framing != Framing::Chunked {
            if framing == Framing::Empty && self.request.head.method() != "HEAD" && head.status != 304 {
                remove_lengths(head);
            }
            return Coding::Kept;
        }
        if self.version != Version::Http10 {
            return Coding::Kept;
        }
        head.fields.remove("transfer-encoding");
        head.fields.remove("trailer");
        Coding::Removed
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
pub(super) async fn pass_end(client: &Connection, server: &mut Connection) {
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
