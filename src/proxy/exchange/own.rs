//! What amb itself answers: errors, and requests that may go no further.

use super::{
    super::{
        answer::{Answer, OWN},
        error::ExchangeError,
        wire::{
            connection::Connection,
            framing::{self, Framing},
            hop,
        },
    },
    Ended, Exchange, Next,
};
use crate::traffic::Outcome;

impl Exchange<'_> {
    /// What amb itself answers because the request may go no further ([RFC 9110 §7.6.2]), and counts the hop otherwise.
    ///
    /// [RFC 9110 §7.6.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2
    pub(super) fn last_hop(&mut self) -> Option<Vec<u8>> {
        if !matches!(self.request.head.method(), "TRACE" | "OPTIONS") {
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
        if self.request.head.method() == "OPTIONS" {
            let methods = "Allow: GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH\r\n";
            return Some(
                ["HTTP/1.1 200 OK\r\n", OWN, methods, "Content-Length: 0\r\n\r\n"]
                    .concat()
                    .into(),
            );
        }
        // The echo must not hand out what a script could not read otherwise (RFC 9110 §9.3.8).
        for secret in ["authorization", "cookie", "proxy-authorization"] {
            self.request.head.fields.remove(secret);
        }
        let mut echo = Vec::new();
        let target = self.request.head.target().to_vec();
        self.request.head.write_to(&target, &mut echo);
        let mut out = format!(
            "HTTP/1.1 200 OK\r\n{OWN}Content-Type: message/http\r\nContent-Length: {}\r\n\r\n",
            echo.len()
        )
        .into_bytes();
        out.extend_from_slice(&echo);
        Some(out)
    }

    /// Sends an answer of amb's own. A body that the request has is not read, so nothing behind it can be either.
    pub(super) async fn answer_here(
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

    /// Ends the record as the error says.
    fn fail(self: Box<Self>, error: &ExchangeError) {
        self.end(error.outcome());
    }

    /// Answers with an error, if an answer is still possible, and ends the record.
    pub(super) async fn refuse(mut self: Box<Self>, client: &mut Connection, error: &ExchangeError) -> Next {
        if self.answered || matches!(error, ExchangeError::ClientGone) {
            let gently = matches!(error, ExchangeError::ResponseIncomplete(_))
                && (self.truncation_shows || client.end_as_cut_off());
            self.fail(error);
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
        self.fail(error);
        Next::after(&sent, close)
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
