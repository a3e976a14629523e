//! What is changed in a response before the client gets it: the last thing that happens to it, so that what retries,
//! circuits and the record's outcome go by is what the server said.

use super::{
    super::{
        access, blame,
        deadline::Countdown,
        error::ExchangeError,
        wire::{
            connection::Connection,
            framing::Framing,
            gather::{Gathering, Seen},
            head::ResponseHead,
            http1::Conversation,
            pump::PumpError,
        },
    },
    Exchange,
    change::{Other, change_fields, changed, reframe, too_long},
    respond::pass_end,
};
use crate::policy::edit::{
    Edits,
    json::{Json, is_json},
    reply::{BODY_ID, phrase},
    rewrite::BACK_ID,
    value::Ids,
};

/// The largest body that is read only so that its connection can be used again, where another one takes its place.
const DRAINED_BYTES: usize = 64 * 1024;

/// How a response goes on.
pub(super) struct Reply {
    /// How the client knows its end.
    pub(super) framing: Framing,
    /// Its body, if that is here as a whole; none if it is still to come from the server.
    pub(super) body: Option<Vec<u8>>,
    /// Whether some of the server's own body is left on its connection, and nobody will read it.
    pub(super) left: bool,
}

impl Reply {
    /// With the server's own body.
    pub(super) fn unchanged(framing: Framing) -> Self {
        Self {
            framing,
            body: None,
            left: false,
        }
    }
}

impl Exchange<'_> {
    /// Changes a response whose hop-by-hop fields are off.
    pub(super) async fn change_reply(
        &mut self,
        edits: &Edits,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
        head: &mut ResponseHead,
        framing: Framing,
    ) -> Result<Reply, ExchangeError> {
        let answered = head.status;
        if let Some(mapping) = edits.response_status.of(answered) {
            head.set_status(mapping.to, phrase(mapping.to));
            self.open.record.edits.applied.push(mapping.id.clone());
        }
        if let (Some(rewrite), Some(trip)) = (&edits.rewrite, &self.trip)
            && head.fields.exchange(|name, value| rewrite.back(name, value, trip))
        {
            self.open.record.edits.applied.push(BACK_ID.into());
        }
        // Boxed here and not by the caller: heads are changed far more often than bodies.
        let reply = if edits.may_change_reply_body() {
            Box::pin(self.change_reply_body(edits, answered, client, server, conversation, head, framing)).await?
        } else {
            Reply::unchanged(framing)
        };
        let request = self.request_id();
        let ids = Ids {
            run: request.run,
            request: &request,
        };
        let notes = &mut self.open.record.edits;
        change_fields(&mut head.fields, &edits.response_headers, &ids, notes);
        Ok(reply)
    }

    /// The body that goes on, and how its end is known.
    #[expect(clippy::too_many_arguments, reason = "a response is all of these")]
    async fn change_reply_body(
        &mut self,
        edits: &Edits,
        answered: u16,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
        head: &mut ResponseHead,
        framing: Framing,
    ) -> Result<Reply, ExchangeError> {
        let is_head = self.request.head.method() == "HEAD";
        // Neither is all of what is asked about.
        let is_whole = !matches!(answered, 206 | 304);
        if let Some(replacement) = edits
            .response_body
            .as_ref()
            .filter(|body| is_whole && body.fits(answered))
        {
            self.open.record.edits.applied.push(BODY_ID.into());
            reframe(&mut head.fields);
            head.fields.put("Content-Type", replacement.content_type.as_bytes());
            return Ok(self
                .reply_with(&replacement.body, is_head, server, conversation, head, framing)
                .await);
        }
        if has_no_body(head.status) != has_no_body(answered) {
            return Ok(self.reply_with(b"", is_head, server, conversation, head, framing).await);
        }
        if let Some(json) = &edits.response_json
            && head.fields.first("content-type").is_some_and(is_json)
        {
            if !is_whole {
                if answered == 206 {
                    self.open
                        .record
                        .edits
                        .note("the response is only a part of what is to be edited");
                }
            } else if is_head {
                // How long the body would be, nobody knows.
                reframe(&mut head.fields);
                head.fields.remove("Content-Length");
            } else if framing != Framing::Empty {
                let body = self
                    .reply_json(json, client, server, conversation, head, framing)
                    .await?;
                if let Other::Body(body) = body {
                    head.fields.put("Content-Length", body.len().to_string().as_bytes());
                    return Ok(Reply {
                        framing: Framing::Length(body.len() as u64),
                        body: Some(body),
                        left: false,
                    });
                }
            }
        }
        Ok(Reply::unchanged(framing))
    }

    /// A response with this body instead of the server's, as far as it can have one.
    async fn reply_with(
        &mut self,
        body: &[u8],
        is_head: bool,
        server: &mut Connection,
        conversation: &Conversation,
        head: &mut ResponseHead,
        framing: Framing,
    ) -> Reply {
        let left = !self.drain(server, conversation, framing).await;
        head.fields.remove("Transfer-Encoding");
        head.fields.remove("Trailer");
        let body = if has_no_body(head.status) {
            head.fields.remove("Content-Length");
            Vec::new()
        } else {
            head.fields.put("Content-Length", body.len().to_string().as_bytes());
            if is_head { Vec::new() } else { body.to_vec() }
        };
        Reply {
            framing: if body.is_empty() {
                Framing::Empty
            } else {
                Framing::Length(body.len() as u64)
            },
            body: Some(body),
            left,
        }
    }

    /// Takes the server's body off its connection, if all of it is there at once.
    async fn drain(&mut self, server: &mut Connection, conversation: &Conversation, framing: Framing) -> bool {
        if !conversation.upload_over || framing == Framing::UntilClose {
            return false;
        }
        let mut gathering = Gathering::new(framing, DRAINED_BYTES);
        let draining = async {
            loop {
                match gathering.look(server.inbox.as_slice(), server.ended) {
                    Seen::Whole(length) => return Some(length),
                    Seen::Part => drop(server.fill().await.ok()?),
                    Seen::TooLong | Seen::Trailers | Seen::Broken => return None,
                }
            }
        };
        let drained = tokio::time::timeout(super::again::DRAIN_LIMIT, draining).await;
        let Ok(Some(length)) = drained else { return false };
        server.inbox.consume(length);
        self.open.record.bytes_received += length as u64;
        true
    }

    /// Reads all of the server's body, if it is not too long for that, and changes it.
    async fn reply_json(
        &mut self,
        json: &Json,
        client: &mut Connection,
        server: &mut Connection,
        conversation: &mut Conversation,
        head: &mut ResponseHead,
        framing: Framing,
    ) -> Result<Other, ExchangeError> {
        let whose = "the response's";
        let mut gathering = Gathering::new(framing, json.limit);
        let length = loop {
            match gathering.look(server.inbox.as_slice(), server.ended) {
                // An end that nobody has announced is for whoever passes it on.
                Seen::Whole(_) if framing == Framing::UntilClose && server.was_cut_off() => return Ok(Other::None),
                Seen::Whole(length) => break length,
                Seen::TooLong => {
                    return too_long(json, whose, &mut self.open.record.edits)
                        .map(|()| Other::None)
                        .ok_or(ExchangeError::ResponseUnedited(json.limit));
                }
                Seen::Trailers => {
                    self.open.record.edits.note("the response has trailers");
                    return Ok(Other::None);
                }
                Seen::Broken => return Ok(Other::None),
                Seen::Part => {}
            }
            let reading = conversation.read_on(client, server);
            let read = match self.rules.timeouts.idle {
                None => reading.await,
                Some(limit) => match Countdown::of(limit).bound(reading).await {
                    Some(read) => read,
                    None => return Err(ExchangeError::UpstreamSilent(limit)),
                },
            };
            match read {
                Some(Ok(_)) => {}
                Some(Err(_)) | None if access::is_gone(client) => return Err(ExchangeError::ClientGone),
                Some(Err(reason)) => return Err(blame::response_body_error(PumpError::Read(reason))),
                None => pass_end(client, server).await,
            }
        };
        let notes = &mut self.open.record.edits;
        let changed = changed(json, &mut head.fields, gathering.body, whose, notes)
            .ok_or(ExchangeError::ResponseUnedited(json.limit))?;
        if matches!(changed, Other::Body(_)) {
            server.inbox.consume(length);
            self.open.record.bytes_received += length as u64;
        }
        Ok(changed)
    }
}

/// Whether a response with this status has no body, whatever its fields say ([RFC 9110 §6.4.1]).
///
/// [RFC 9110 §6.4.1]: https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1
fn has_no_body(status: u16) -> bool {
    matches!(status, 204 | 304)
}
