//! Moves one body, or one direction of a tunnel, from one connection to another, with backpressure and without re-framing.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{chunked::Chunked, connection::Connection, framing::Framing, pace, splice::Pipe, tape::Tape};

/// A read of at least this many bytes says that more is coming faster than it is moved: from then on the kernel moves it.
const BULK_READ_BYTES: usize = 32 * 1024;
/// Too little is left to be worth a pipe below this.
const BULK_REST_BYTES: u64 = 64 * 1024;
/// Body bytes that are put behind a head that still waits, so that both leave in one write.
const JOINED_BYTES: usize = 16 * 1024;
/// Transfers of one pump before other connections get their turn.
const TURNS: usize = 32;

/// Why a pump stopped before the end of its body.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// Reading failed.
    Read(io::Error),
    /// The sender ended before the body did.
    Truncated,
    /// The chunked coding is broken.
    Malformed(&'static str),
    /// Writing failed.
    Write(io::Error),
    /// Nothing moved for so long, and not for want of the client.
    Stalled(Duration),
}

/// What is left of a body.
#[derive(Debug)]
enum Rest {
    /// So many bytes.
    Length(u64),
    /// What the chunked coding says.
    Chunked(Box<Chunked>),
    /// Until the sender ends.
    UntilClose,
    /// Nothing.
    Nothing,
}

/// Whether a chunked body goes on as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// It does.
    Kept,
    /// Only its data goes on, for a client of HTTP/1.0, which does not know the coding.
    Removed,
}

/// One body on its way.
#[derive(Debug)]
pub(crate) struct Pump {
    /// What is left to read.
    rest: Rest,
    /// Whether the chunked coding goes on.
    coding: Coding,
    /// The pipe, while the kernel moves the bytes.
    pipe: Option<Pipe>,
    /// Wire bytes read so far.
    pub(crate) moved: u64,
    /// Where they are kept, if they may have to be sent again and are not too many for it.
    pub(crate) tape: Option<Box<Tape>>,
}

impl Pump {
    /// A pump for a body of this framing.
    pub(crate) fn new(framing: Framing, coding: Coding) -> Self {
        let rest = match framing {
            Framing::Empty => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Box::new(Chunked::new())),
            Framing::UntilClose => Rest::UntilClose,
        };
        Self {
            rest,
            coding,
            pipe: None,
            moved: 0,
            tape: None,
        }
    }

    /// Whether all of the body was read.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Whether bytes wait for `to` to take them.
    pub(crate) fn is_held_up_by(&self, to: &Connection) -> bool {
        !to.outbox.is_empty() || self.pipe.as_ref().is_some_and(|pipe| pipe.held > 0)
    }

    /// Keeps `bytes`, as long as they are not too many.
    fn keep(&mut self, bytes: &[u8]) {
        if let Some(tape) = &mut self.tape
            && !tape.add(bytes)
        {
            self.tape = None;
        }
    }

    /// Moves bytes until the body is read and written, or nothing can be moved at the moment.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
    ) -> Poll<Result<(), PumpError>> {
        for _ in 0..TURNS {
            let most = match pace::between(from, to) {
                Some((pace, way)) if !self.is_read() => match pace.poll_amount(cx, way) {
                    Poll::Ready(amount) => amount,
                    Poll::Pending => {
                        ready!(to.poll_flush(cx)).map_err(PumpError::Write)?;
                        return Poll::Pending;
                    }
                },
                _ => usize::MAX,
            };
            if !self.is_read() && !from.inbox.is_empty() && to.outbox.len() < JOINED_BYTES {
                self.take_inbox(from, to, most)?;
            }
            ready!(to.poll_flush(cx)).map_err(PumpError::Write)?;
            if self.pipe.is_some() {
                if ready!(self.poll_pipe(cx, from, to))? {
                    continue;
                }
            } else if !from.inbox.is_empty() && !self.is_read() {
                continue;
            }
            if self.is_read() {
                return Poll::Ready(Ok(()));
            }
            if from.ended {
                return Poll::Ready(self.end());
            }
            if self.pipe.is_none() {
                ready!(self.poll_copy(cx, from, to, most))?;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves what was read with something earlier to the outbox, `most` bytes of it.
    fn take_inbox(&mut self, from: &mut Connection, to: &mut Connection, most: usize) -> Result<(), PumpError> {
        let waiting = from.inbox.as_slice();
        let taken = self.advance(&waiting[..waiting.len().min(most)], to.outbox.appender())?;
        self.keep(&waiting[..taken]);
        from.inbox.consume(taken);
        self.moved += taken as u64;
        pace::pay(from, to, taken);
        Ok(())
    }

    /// Reads once, `most` bytes, and writes what came.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
        most: usize,
    ) -> Poll<Result<(), PumpError>> {
        let read = from.poll_read_some_with(cx, most, |from, cx, bytes| {
            // The plain cases need no copy: the bytes go from the scratch buffer to the socket.
            let copied = matches!((&self.rest, self.coding), (Rest::Chunked(_), Coding::Removed));
            let taken = if copied {
                self.advance(bytes, to.outbox.appender())?
            } else {
                self.advance(bytes, &mut Discarded)?
            };
            // Before the write, which may fail: what was read is not to be had again.
            self.moved += taken as u64;
            self.keep(&bytes[..taken]);
            pace::pay(from, to, taken);
            from.inbox.extend(&bytes[taken..]);
            if !copied {
                to.poll_write_or_queue(cx, &bytes[..taken]).map_err(PumpError::Write)?;
            }
            // The kernel would move too much at once for a pace, keeps nothing, and knows no TLS.
            let movable = most == usize::MAX && self.tape.is_none() && from.is_plain() && to.is_plain();
            if bytes.len() >= BULK_READ_BYTES && movable && self.rest_is_bulk() {
                self.pipe = Pipe::take();
            }
            Ok(())
        });
        if read.is_pending() {
            from.prompt_rest();
        }
        Poll::Ready(ready!(read).map_err(PumpError::Read)?)
    }

    /// Whether enough plain bytes are left for a pipe.
    fn rest_is_bulk(&self) -> bool {
        match self.rest {
            Rest::Length(left) => left >= BULK_REST_BYTES,
            Rest::UntilClose => true,
            Rest::Chunked(_) | Rest::Nothing => false,
        }
    }

    /// Lets the kernel move bytes. True if something moved or the end was seen.
    fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
    ) -> Poll<Result<bool, PumpError>> {
        let (Some(pipe), Some(source), Some(sink)) = (&mut self.pipe, from.socket(), to.socket()) else {
            return Poll::Ready(Ok(false));
        };
        while pipe.held > 0 {
            ready!(sink.poll_write_ready(cx)).map_err(PumpError::Write)?;
            match pipe.drain(sink) {
                Ok(_) => {}
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => {}
                Err(reason) => return Poll::Ready(Err(PumpError::Write(reason))),
            }
        }
        let limit = match self.rest {
            Rest::Length(left) => left,
            Rest::UntilClose => u64::MAX,
            Rest::Chunked(_) | Rest::Nothing => 0,
        };
        if limit == 0 {
            self.pipe = None;
            return Poll::Ready(Ok(false));
        }
        loop {
            ready!(source.poll_read_ready(cx)).map_err(PumpError::Read)?;
            match pipe.fill(source, limit) {
                Ok(0) => {
                    from.ended = true;
                    self.pipe = None;
                    return Poll::Ready(Ok(false));
                }
                Ok(count) => {
                    self.moved += count as u64;
                    if let Rest::Length(left) = &mut self.rest {
                        *left -= count as u64;
                        if *left == 0 {
                            self.rest = Rest::Nothing;
                        }
                    }
                    return Poll::Ready(Ok(true));
                }
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => {}
                Err(reason) => return Poll::Ready(Err(PumpError::Read(reason))),
            }
        }
    }

    /// What the sender's end means.
    fn end(&mut self) -> Result<(), PumpError> {
        match self.rest {
            Rest::UntilClose | Rest::Nothing => {
                self.rest = Rest::Nothing;
                Ok(())
            }
            Rest::Length(_) | Rest::Chunked(_) => Err(PumpError::Truncated),
        }
    }

    /// Counts how many of `bytes` belong to the body and hands what is to go on to `sink`.
    fn advance(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, PumpError> {
        let taken = match &mut self.rest {
            Rest::Nothing => 0,
            Rest::UntilClose => bytes.len(),
            Rest::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
                taken
            }
            Rest::Chunked(chunked) => {
                let removed = self.coding == Coding::Removed;
                let data = |range: std::ops::Range<usize>| {
                    if removed {
                        sink.take(&bytes[range]);
                    }
                };
                let taken = chunked.advance(bytes, data).map_err(PumpError::Malformed)?;
                if chunked.ended() {
                    self.rest = Rest::Nothing;
                }
                if removed {
                    return Ok(taken);
                }
                taken
            }
        };
        sink.take(&bytes[..taken]);
        Ok(taken)
    }
}

/// Where bytes that go on are put.
trait Sink {
    /// Takes `bytes`.
    fn take(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// For bytes that the caller writes itself.
struct Discarded;

impl Sink for Discarded {
    fn take(&mut self, _: &[u8]) {}
}
