//! What comes on a stream, in the shape of HTTP/1.1: head, body, trailers.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::{
    HeaderMap, Method, Response,
    body::{Body, Bytes, Incoming},
    rt::{Read, ReadBuf},
    upgrade::{OnUpgrade, Upgraded},
};

use super::{
    super::chunked,
    broken::Broken,
    heads::{self, Coding},
};

/// What is yet to come.
pub(super) enum Source {
    /// Nothing, until a request has been sent.
    Unasked,
    /// The answer to a request.
    Answer(Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>),
    /// A body.
    Body(Incoming, Coding),
    /// What is no HTTP, once the other side has agreed to it.
    Agreed(OnUpgrade),
    /// Bytes that are no HTTP, see [`Inward::raw`].
    Raw,
    /// Nothing any more.
    Over,
}

/// One direction of one stream.
pub(super) struct Inward {
    /// What is yet to come.
    pub(super) source: Source,
    /// What has come and was not read.
    pending: VecDeque<Bytes>,
    /// Both directions of what is no HTTP.
    pub(super) raw: Option<Upgraded>,
    /// Whether it is a request, and not an answer.
    is_request: bool,
    /// The method of the request that is answered.
    pub(super) method: Method,
    /// The value of `Sec-WebSocket-Accept` that its client expects.
    pub(super) accept: Option<String>,
}

impl Inward {
    /// A request with this method and what `source` says of its body, or the answer to one that was not asked yet.
    pub(super) fn new(source: Source, method: Method) -> Self {
        let is_request = !matches!(source, Source::Unasked);
        Self {
            source,
            pending: VecDeque::new(),
            raw: None,
            is_request,
            method,
            accept: None,
        }
    }

    /// Reads into `out`, which has room. 0 is the end, which is for the caller to interpret.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize, Broken>> {
        loop {
            if let Some(bytes) = self.pending.front_mut() {
                let count = bytes.len().min(out.len());
                out[..count].copy_from_slice(&bytes.split_to(count));
                if bytes.is_empty() {
                    self.pending.pop_front();
                }
                return Poll::Ready(Ok(count));
            }
            match &mut self.source {
                // Woken by the write that asks.
                Source::Unasked => return Poll::Pending,
                Source::Over => return Poll::Ready(Ok(0)),
                Source::Answer(answer) => match ready!(answer.as_mut().poll(cx)) {
                    Ok(response) => self.begin(response)?,
                    Err(error) => {
                        self.source = Source::Over;
                        return Poll::Ready(Err(Broken::of_answer(&error)));
                    }
                },
                Source::Body(body, coding) => {
                    let coding = *coding;
                    match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) => self.take_data(data, coding),
                            Err(frame) => {
                                self.source = Source::Over;
                                if coding == Coding::Chunked {
                                    let trailers = frame.into_trailers().unwrap_or_default();
                                    self.pending.push_back(last_chunk(&trailers));
                                }
                            }
                        },
                        // A reset that names no error. Servers end complete answers so, Node's among them, and clients take
                        // it for the end; a client that does so is done with its request, complete or not.
                        None if self.is_request && !body.is_end_stream() => {
                            self.source = Source::Over;
                            return Poll::Ready(Err(Broken::Reset(h2::Reason::CANCEL)));
                        }
                        None => {
                            self.source = Source::Over;
                            if coding == Coding::Chunked {
                                self.pending.push_back(last_chunk(&HeaderMap::new()));
                            }
                        }
                        Some(Err(error)) => {
                            self.source = Source::Over;
                            return Poll::Ready(Err(Broken::of_body(&error)));
                        }
                    }
                }
                Source::Agreed(_) => ready!(self.poll_agreed(cx))?,
                Source::Raw => {
                    let Some(raw) = &mut self.raw else {
                        return Poll::Ready(Ok(0));
                    };
                    let mut space = ReadBuf::new(out);
                    ready!(Pin::new(raw).poll_read(cx, space.unfilled())).map_err(|error| Broken::of_raw(&error))?;
                    return Poll::Ready(Ok(space.filled().len()));
                }
            }
        }
    }

    /// Waits until the other side has agreed to something that is no HTTP, if that is what is awaited.
    pub(super) fn poll_agreed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Source::Agreed(agreed) = &mut self.source {
            let upgraded = ready!(Pin::new(agreed).poll(cx));
            self.raw = Some(upgraded.map_err(|error| Broken::of_answer(&error))?);
            self.source = Source::Raw;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes an answer's head.
    fn begin(&mut self, response: Response<Incoming>) -> Result<(), Broken> {
        let (mut parts, body) = response.into_parts();
        if let Some(accept) = self.accept.take().filter(|_| parts.status.is_success()) {
            let Some(agreed) = parts.extensions.remove::<OnUpgrade>() else {
                return Err(Broken::Protocol("an answer to a CONNECT that opens nothing".to_owned()));
            };
            self.pending.push_back(heads::switching(&parts, &accept).into());
            self.source = Source::Agreed(agreed);
            return Ok(());
        }
        let ended = body.is_end_stream();
        let (mut head, coding) = heads::response_to_http1(&parts, ended, &self.method);
        if coding == Coding::Chunked && ended {
            head.extend_from_slice(b"0\r\n\r\n");
        }
        self.pending.push_back(head.into());
        self.source = if ended || coding == Coding::Nothing {
            Source::Over
        } else {
            Source::Body(body, coding)
        };
        Ok(())
    }

    /// Takes data.
    fn take_data(&mut self, data: Bytes, coding: Coding) {
        match coding {
            Coding::Chunked if data.is_empty() => {}
            Coding::Chunked => {
                let size = format!("{:x}\r\n", data.len());
                self.pending.extend([size.into(), data, Bytes::from_static(b"\r\n")]);
            }
            Coding::Plain | Coding::Raw if !data.is_empty() => self.pending.push_back(data),
            Coding::Plain | Coding::Raw | Coding::Nothing => {}
        }
    }
}

/// The last chunk with these trailers, without those that have no place in one.
fn last_chunk(trailers: &HeaderMap) -> Bytes {
    let mut out = b"0\r\n".to_vec();
    for (name, value) in trailers {
        let line = [name.as_str().as_bytes(), b": ", value.as_bytes()].concat();
        match chunked::check_trailer(&line) {
            Ok(()) => {
                out.extend_from_slice(&line);
                out.extend_from_slice(b"\r\n");
            }
            Err(reason) => tracing::debug!(%name, reason, "a trailer was left out"),
        }
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, broken)
    }
}
