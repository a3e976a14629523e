//! HTTP/1.1's turns: reading a request's head, and the conversation with a server from the sent head to the end of the
//! response: body up, interim responses, early answers, body down, all at once where need be.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use super::{
    connection::Connection,
    framing::Framing,
    head::{HEAD_LIMIT_BYTES, HeadError, end_of_head},
    pump::{Coding, Pump, PumpError},
    tape::Tape,
};

/// Bytes a client may send ahead (pipelined requests) while an answer is on its way.
const AHEAD_LIMIT_BYTES: usize = 64 * 1024;

/// Why no head could be read.
#[derive(Debug)]
pub(crate) enum ReadHeadError {
    /// The connection ended before the first byte.
    Ended,
    /// The connection ended inside the head.
    EndedInside,
    /// Reading failed; whether bytes of the head had come.
    Io(io::Error, bool),
    /// The head is refused.
    Head(HeadError),
}

/// Reads one head, in as many reads as it takes.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    /// How far the inbox was searched.
    searched: usize,
}

impl HeadReader {
    /// The bytes of one head, once all of it is there. Cancel safe: what was read stays in the inbox.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<Result<Vec<u8>, ReadHeadError>> {
        loop {
            let waiting = connection.inbox.as_slice();
            if let Some(end) = end_of_head(waiting, self.searched) {
                self.searched = 0;
                return Poll::Ready(if end > HEAD_LIMIT_BYTES {
                    Err(ReadHeadError::Head(too_large(waiting)))
                } else {
                    Ok(connection.inbox.take(end))
                });
            }
            if waiting.len() > HEAD_LIMIT_BYTES {
                return Poll::Ready(Err(ReadHeadError::Head(too_large(waiting))));
            }
            self.searched = waiting.len();
            let begun = !waiting.is_empty();
            if connection.ended {
                return Poll::Ready(Err(if begun {
                    ReadHeadError::EndedInside
                } else {
                    ReadHeadError::Ended
                }));
            }
            let filled = connection.poll_fill(cx);
            if begun && filled.is_pending() {
                connection.prompt_rest();
            }
            if let Err(reason) = ready!(filled) {
                return Poll::Ready(Err(ReadHeadError::Io(reason, begun)));
            }
        }
    }
}

/// Which limit an overlong head broke.
fn too_large(bytes: &[u8]) -> HeadError {
    let line = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    if line >= HEAD_LIMIT_BYTES {
        HeadError::TargetTooLong
    } else {
        HeadError::TooLarge
    }
}

/// Takes away the empty line that some old clients send behind a body ([RFC 9112 §2.2]); one, not a flood of them.
///
/// [RFC 9112 §2.2]: https://www.rfc-editor.org/rfc/rfc9112#section-2.2
pub(crate) fn skip_empty_line(connection: &mut Connection) {
    if connection.inbox.as_slice().starts_with(b"\r\n") {
        connection.inbox.consume(2);
    }
}

/// What happened first while an answer was awaited.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// A response's head, final or interim.
    Head(Vec<u8>),
    /// No head could be read.
    Failed(ReadHeadError),
    /// The client's body broke: its fault.
    BodyBroken(PumpError),
    /// The client ended its half of the connection; said once.
    ClientEnded,
    /// The client's connection broke.
    ClientBroken(io::Error),
}

/// One exchange's conversation with a server.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The request's body on its way up.
    pub(crate) upload: Pump,
    /// Whether the upload is over, complete or given up.
    pub(crate) upload_over: bool,
    /// Set once the server would take no more of the request's body: it may still have answered.
    pub(crate) upload_refused: bool,
    /// Whether the client's end was reported.
    client_end_said: bool,
    /// Reads the response's heads.
    reader: HeadReader,
}

impl Conversation {
    /// Before anything was sent.
    pub(crate) fn new(upload: Pump) -> Self {
        let upload_over = upload.is_read();
        Self {
            upload,
            upload_over,
            upload_refused: false,
            client_end_said: false,
            reader: HeadReader::default(),
        }
    }

    /// About a body that is there as a whole, none of which comes from the client any more.
    pub(crate) fn of(body: Tape) -> Self {
        let mut upload = Pump::new(Framing::Empty, Coding::Kept);
        upload.tape = Some(Box::new(body));
        Self::new(upload)
    }

    /// Prepares for another server, which is sent all that the last one was: `bodiless` as it was at first, otherwise what
    /// [`Conversation::kept`] has, and what is still to come.
    pub(crate) fn again(&mut self, bodiless: bool) {
        self.upload_over = bodiless;
        self.upload_refused = false;
        self.client_end_said = false;
        self.reader = HeadReader::default();
    }

    /// Whether there is no body, or nothing of it was ever to be read.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.upload_over && self.upload.is_read() && self.kept().is_some_and(<[u8]>::is_empty)
    }

    /// What was read of the request's body, all of it; none if that is not known any more.
    pub(crate) fn kept(&self) -> Option<&[u8]> {
        match &self.upload.tape {
            Some(tape) => Some(tape.as_slice()),
            None if self.upload.moved == 0 => Some(&[]),
            None => None,
        }
    }

    /// Watches the client while nothing is sent. Cancel safe.
    pub(crate) async fn watch(&mut self, client: &mut Connection) -> Awaited {
        poll_fn(|cx| {
            // What comes before the end of the body is the next attempt's.
            if self.upload.is_read() {
                self.poll_client(cx, client)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Takes nothing more of the request's body.
    pub(crate) fn give_up_upload(&mut self) {
        self.upload_over = true;
        self.upload_refused = true;
    }

    /// Waits for the next response head while the request's body goes up. Cancel safe.
    ///
    /// Lasts as long as the server thinks: the deadline is the caller's.
    pub(crate) async fn next_head(&mut self, client: &mut Connection, server: &mut Connection) -> Awaited {
        poll_fn(|cx| self.poll_next_head(cx, client, server)).await
    }

    /// As [`Conversation::next_head`], but only until the request's body is up: none then. Cancel safe.
    pub(crate) async fn head_or_upload(&mut self, client: &mut Connection, server: &mut Connection) -> Option<Awaited> {
        poll_fn(|cx| match self.poll_next_head(cx, client, server) {
            Poll::Ready(awaited) => Poll::Ready(Some(awaited)),
            Poll::Pending if self.upload_over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// See [`Conversation::next_head`].
    fn poll_next_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Connection,
        server: &mut Connection,
    ) -> Poll<Awaited> {
        if !self.upload_over {
            match self.upload.poll(cx, client, server) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.upload_over = true,
                // It may have answered before it stopped reading: the answer decides.
                Poll::Ready(Err(PumpError::Write(_))) => {
                    self.upload_over = true;
                    self.upload_refused = true;
                }
                Poll::Ready(Err(broken)) => return Poll::Ready(Awaited::BodyBroken(broken)),
            }
        } else if !self.upload_refused
            && let Poll::Ready(Err(_)) = server.poll_flush(cx)
        {
            self.upload_refused = true;
        }
        if let Poll::Ready(result) = self.reader.poll(cx, server) {
            return Poll::Ready(match result {
                Ok(head) => Awaited::Head(head),
                Err(reason) => Awaited::Failed(reason),
            });
        }
        if self.upload_over {
            return self.poll_client(cx, client);
        }
        Poll::Pending
    }

    /// Watches a client that has sent its whole request: it may send the next one ahead, or go away.
    fn poll_client(&mut self, cx: &mut Context<'_>, client: &mut Connection) -> Poll<Awaited> {
        loop {
            if client.ended {
                if self.client_end_said {
                    return Poll::Pending;
                }
                self.client_end_said = true;
                return Poll::Ready(Awaited::ClientEnded);
            }
            if client.inbox.len() >= AHEAD_LIMIT_BYTES {
                return Poll::Pending;
            }
            if let Err(reason) = ready!(client.poll_fill(cx)) {
                return Poll::Ready(Awaited::ClientBroken(reason));
            }
        }
    }

    /// Moves the response's body down, and what is left of the request's body up meanwhile. Ends with the response, or once
    /// with nothing if the client has ended its half before. Cancel safe.
    pub(crate) async fn finish(
        &mut self,
        download: &mut Pump,
        client: &mut Connection,
        server: &mut Connection,
    ) -> Option<Result<(), PumpError>> {
        poll_fn(|cx| {
            if !self.upload_over
                && let Poll::Ready(result) = self.upload.poll(cx, client, server)
            {
                self.upload_over = true;
                self.upload_refused = result.is_err();
            }
            if let Poll::Ready(result) = download.poll(cx, server, client) {
                return Poll::Ready(Some(result));
            }
            if !self.upload_over {
                return Poll::Pending;
            }
            match self.poll_client(cx, client) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Awaited::ClientBroken(reason)) => Poll::Ready(Some(Err(PumpError::Write(reason)))),
                Poll::Ready(_) => Poll::Ready(None),
            }
        })
        .await
    }

    /// Reads more of the response, which is to be looked at before any of it goes on, while what is left of the request's body
    /// goes up. Returns how many bytes came, or once nothing if the client has ended its half. Cancel safe.
    pub(crate) async fn read_on(
        &mut self,
        client: &mut Connection,
        server: &mut Connection,
    ) -> Option<io::Result<usize>> {
        poll_fn(|cx| {
            if !self.upload_over
                && let Poll::Ready(result) = self.upload.poll(cx, client, server)
            {
                self.upload_over = true;
                self.upload_refused = result.is_err();
            }
            if let Poll::Ready(result) = server.poll_fill(cx) {
                return Poll::Ready(Some(result));
            }
            if !self.upload_over {
                return Poll::Pending;
            }
            match self.poll_client(cx, client) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Awaited::ClientBroken(reason)) => Poll::Ready(Some(Err(reason))),
                Poll::Ready(_) => Poll::Ready(None),
            }
        })
        .await
    }

    /// Lets the upload come to its end after the response has: a server may answer early and read on.
    pub(crate) async fn finish_upload(&mut self, client: &mut Connection, server: &mut Connection) {
        if self.upload_over {
            return;
        }
        let result = poll_fn(|cx| self.upload.poll(cx, client, server)).await;
        self.upload_over = true;
        self.upload_refused = result.is_err();
    }
}
