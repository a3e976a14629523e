//! One stream in the shape of a connection of HTTP/1.1 that carries one exchange.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use h2::Reason;
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Incoming},
    rt::Write,
    upgrade::OnUpgrade,
};

use super::{
    super::{
        framing,
        head::{HeadError, RequestHead, ResponseHead},
        hop,
    },
    broken::Broken,
    channel::{Answering, Outgoing},
    heads::{self, Coding},
    inward::{Inward, Source},
    outward::{self, Outward},
    session::{Session, Ticket},
    websocket,
};

/// Whose stream it is.
enum Role {
    /// A client's, whose request is answered. What is no HTTP follows a 101, if the client has asked for that.
    Answers(Option<OnUpgrade>),
    /// A server's, which is asked.
    Asks(Ticket),
}

/// A stream.
pub(crate) struct Stream {
    /// What comes.
    inward: Inward,
    /// What goes.
    outward: Outward,
    /// Whose it is.
    role: Role,
    /// Whether the other side refused to look at the request, or never got it.
    refused: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// A client's request, and what hyper gets for an answer. With its head, or what is wrong with that.
    pub(crate) fn asked(request: Request<Incoming>) -> (Self, Answering, Result<RequestHead, HeadError>) {
        let (mut parts, body) = request.into_parts();
        let ended = body.is_end_stream();
        let (head, coding) = match heads::request_to_http1(&parts, ended) {
            Ok((head, coding)) => (Ok(head), coding),
            Err(error) => (Err(error), Coding::Nothing),
        };
        let source = match coding {
            Coding::Plain | Coding::Chunked => Source::Body(body, coding),
            Coding::Nothing | Coding::Raw => Source::Over,
        };
        let agreed = parts.extensions.remove::<OnUpgrade>().filter(|_| coding == Coding::Raw);
        let outward = Outward::new(Reason::INTERNAL_ERROR);
        let answering = Answering::of(&outward.channel);
        let stream = Self {
            inward: Inward::new(source, parts.method),
            outward,
            role: Role::Answers(agreed),
            refused: false,
        };
        (stream, answering, head)
    }

    /// A stream on which a server is to be asked.
    pub(super) fn asking(ticket: Ticket) -> Self {
        Self {
            inward: Inward::new(Source::Unasked, Method::GET),
            outward: Outward::new(Reason::CANCEL),
            role: Role::Asks(ticket),
            refused: false,
        }
    }

    /// The connection that it is a part of; none if it is a client's.
    pub(crate) fn session(&self) -> Option<&Rc<Session>> {
        match &self.role {
            Role::Answers(_) => None,
            Role::Asks(ticket) => Some(&ticket.session),
        }
    }

    /// Whether the other side has certainly not executed the request.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether the other side takes nothing any more.
    pub(crate) fn is_gone(&self) -> bool {
        !self.outward.is_raw() && self.outward.channel.is_gone()
    }

    /// Reads into `out`, which has room. 0 is the end of a server's answer; a client's request has none that would mean
    /// anything.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let asked = matches!(self.role, Role::Answers(_));
        match self.inward.poll_read(cx, out) {
            Poll::Ready(Ok(0)) if asked && self.inward.raw.is_none() => {}
            Poll::Pending if asked && !self.outward.is_raw() => {}
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(count)) => return Poll::Ready(Ok(count)),
            Poll::Ready(Err(broken)) => {
                if let (Broken::Refused { leaving }, Role::Asks(ticket)) = (&broken, &self.role) {
                    self.refused = true;
                    ticket.session.leaving.set(ticket.session.leaving.get() || *leaving);
                }
                return Poll::Ready(Err(broken.into()));
            }
        }
        ready!(self.outward.channel.poll_gone(cx));
        Poll::Ready(Err(Broken::Reset(Reason::CANCEL).into()))
    }

    /// Writes as many of `bytes` as there is room for.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outward.awaits_head() {
            let (taken, head) = self.outward.take_head(bytes);
            if let Some(head) = head {
                match self.role {
                    Role::Answers(_) => self.answer(head)?,
                    Role::Asks(_) => self.ask(head)?,
                }
            }
            return Poll::Ready(Ok(taken));
        }
        if self.outward.is_raw() {
            ready!(self.inward.poll_agreed(cx))?;
            return match &mut self.inward.raw {
                Some(raw) => outward::poll_raw(raw, cx, bytes),
                None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        self.outward.poll_body(cx, bytes)
    }

    /// Sends what is not kept back by the other side.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inward.raw {
            Some(raw) => Pin::new(raw).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Says that nothing follows.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(raw) = &mut self.inward.raw {
            return Pin::new(raw).poll_shutdown(cx);
        }
        // A client that has no more to send has said so with its request's body.
        if matches!(self.role, Role::Answers(_)) {
            self.outward.finish();
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the end that is to come a reset, if it comes before all is said: with the reason of a break of the other stream.
    pub(crate) fn breaks_like(&mut self, broken: &Broken) {
        self.outward.reason = broken.reason();
    }

    /// Makes an end that is not said in the message itself a reset.
    pub(crate) fn end_as_cut_off(&mut self) {
        self.outward.cut_off = true;
    }

    /// Takes the head of an answer.
    fn answer(&mut self, head: Vec<u8>) -> io::Result<()> {
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let head = ResponseHead::parse(head).map_err(|_| wrong("an answer's head"))?;
        if head.status == 101
            && let Role::Answers(agreed) = &mut self.role
            && let Some(agreed) = agreed.take()
        {
            let response = heads::response_to_http2(&head, Some(StatusCode::OK)).map_err(wrong)?;
            self.outward.expect_raw();
            self.inward.source = Source::Agreed(agreed);
            self.outward.channel.put_head(response);
            return Ok(());
        }
        if head.status < 200 {
            // hyper cannot send such a head.
            return Ok(());
        }
        let framing = framing::of_response(&head, self.inward.method.as_str()).map_err(wrong)?;
        let response = heads::response_to_http2(&head, None).map_err(wrong)?;
        self.outward.expect(framing);
        self.outward.channel.put_head(response);
        Ok(())
    }

    /// Takes the head of a request.
    fn ask(&mut self, head: Vec<u8>) -> io::Result<()> {
        let Role::Asks(ticket) = &mut self.role else {
            return Ok(());
        };
        let unsayable = |reason| io::Error::from(Broken::Unsayable(reason));
        let head = RequestHead::parse(head).map_err(|_| unsayable("the request's head has no place in it"))?;
        let framing = framing::of_request(&head).map_err(unsayable)?;
        let websocket = hop::asks_for_websocket(&head.fields);
        if websocket && !ticket.takes_websockets() {
            return Err(unsayable("takes no WebSockets in it"));
        }
        let request = heads::request_to_http2(&head, websocket).map_err(unsayable)?;
        if websocket {
            let key = head.fields.first("sec-websocket-key").unwrap_or_default();
            self.inward.accept = Some(websocket::accept(key));
            self.outward.expect_raw();
        } else {
            self.outward.expect(framing);
        }
        self.inward.method = request.method().clone();
        let outgoing = Outgoing::of(&self.outward.channel);
        self.inward.source = Source::Answer(ticket.send(request.map(|()| outgoing)));
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.outward.finish();
    }
}
