//! What is sent on a stream: read in the shape of HTTP/1.1, and taken apart.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use h2::Reason;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
    rt::Write,
    upgrade::Upgraded,
};

use super::{
    super::{
        chunked::Chunked,
        framing::Framing,
        head::{FIELDS_LIMIT, end_of_head},
    },
    channel::Channel,
};

/// What is yet to be written.
#[derive(Debug)]
enum Rest {
    /// A head.
    Head,
    /// So many bytes of a body.
    Length(u64),
    /// A body in the chunked coding.
    Chunked(Box<Chunked>),
    /// A body that lasts until its writer says so.
    UntilClose,
    /// Bytes that are no HTTP.
    Raw,
    /// Nothing.
    Nothing,
}

/// One direction of one stream.
#[derive(Debug)]
pub(super) struct Outward {
    /// What is yet to be written.
    rest: Rest,
    /// The beginning of a head.
    head: Vec<u8>,
    /// Where what was taken apart goes.
    pub(super) channel: Rc<Channel>,
    /// What the other side is told if this ends before it is complete.
    pub(super) reason: Reason,
    /// Whether it is to look as if it were incomplete, see [`Outward::finish`].
    pub(super) cut_off: bool,
}

impl Outward {
    /// Before the head.
    pub(super) fn new(reason: Reason) -> Self {
        Self {
            rest: Rest::Head,
            head: Vec::new(),
            channel: Channel::new(),
            reason,
            cut_off: false,
        }
    }

    /// Whether a head is awaited.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.rest, Rest::Head)
    }

    /// Whether what is written is no HTTP.
    pub(super) fn is_raw(&self) -> bool {
        matches!(self.rest, Rest::Raw)
    }

    /// Takes bytes of a head, of which those that belong to it are counted. With the last of them, all of it.
    pub(super) fn take_head(&mut self, bytes: &[u8]) -> (usize, Option<Vec<u8>>) {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = end_of_head(&self.head, before) else {
            return (bytes.len(), None);
        };
        self.head.truncate(end);
        (end - before, Some(std::mem::take(&mut self.head)))
    }

    /// What follows a head.
    pub(super) fn expect(&mut self, framing: Framing) {
        self.rest = match framing {
            Framing::Empty => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Box::new(Chunked::keeping_trailers())),
            Framing::UntilClose => Rest::UntilClose,
        };
        if framing == Framing::Empty {
            self.channel.complete(None);
        }
    }

    /// Says that what follows is no HTTP.
    pub(super) fn expect_raw(&mut self) {
        self.rest = Rest::Raw;
    }

    /// Takes bytes of a body, as many as there is room for, and says how many.
    pub(super) fn poll_body(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if matches!(self.rest, Rest::Nothing) {
            // Behind the end of a message there is nothing in HTTP/2.
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.channel.poll_room(cx))?;
        let channel = &self.channel;
        let (taken, ended) = match &mut self.rest {
            Rest::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                channel.put_data(&bytes[..taken]);
                *left -= taken as u64;
                (taken, (*left == 0).then_some(None))
            }
            Rest::Chunked(chunked) => {
                let taken = chunked.advance(bytes, |range| channel.put_data(&bytes[range]));
                let taken = taken.map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
                (taken, chunked.ended().then(|| trailers(chunked.kept())))
            }
            Rest::UntilClose => {
                channel.put_data(bytes);
                (bytes.len(), None)
            }
            Rest::Head | Rest::Raw | Rest::Nothing => (bytes.len(), None),
        };
        if let Some(trailers) = ended {
            self.rest = Rest::Nothing;
            self.channel.complete(trailers);
        }
        Poll::Ready(Ok(taken))
    }

    /// Ends it: complete if it is, or lasts until this moment; with a reset otherwise.
    pub(super) fn finish(&mut self) {
        if matches!(self.rest, Rest::UntilClose) && !self.cut_off {
            self.rest = Rest::Nothing;
            self.channel.complete(None);
        } else {
            self.channel.reset(self.reason);
        }
    }
}

/// Writes what is no HTTP.
pub(super) fn poll_raw(raw: &mut Upgraded, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(raw).poll_write(cx, bytes)
}

/// The fields in the lines of a trailer section; none if there are none.
fn trailers(lines: &[u8]) -> Option<HeaderMap> {
    if lines.is_empty() {
        return None;
    }
    let lines = [lines, b"\r\n"].concat();
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&lines, &mut fields) else {
        return None;
    };
    let mut trailers = HeaderMap::new();
    for field in fields {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(field.name.as_bytes()),
            HeaderValue::from_bytes(field.value),
        ) {
            trailers.append(name, value);
        }
    }
    Some(trailers)
}
