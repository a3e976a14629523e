//! One connection: a socket, what was read from it and not yet understood, what is to be written and not yet taken.
//!
//! Bytes are read into one scratch buffer per thread and kept only if they cannot be passed on at once, so that an idle
//! connection holds no buffer at all.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    buffer::Buffer,
    pace::Pace,
    tls::{HandshakeError, Session},
};

/// Size of the scratch buffer. One read of a bulk transfer; a read that fills most of it turns the transfer over to the kernel.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// The thread's scratch buffer: borrowed within one poll, never across.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// A connection to the client or to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket.
    stream: TcpStream,
    /// TLS on it; none if what is on the wire is what is meant.
    tls: Option<Box<Session>>,
    /// Bytes that were read and not yet understood.
    pub(crate) inbox: Buffer,
    /// Bytes that are to be written.
    pub(crate) outbox: Buffer,
    /// Whether the other side has ended its half.
    pub(crate) ended: bool,
    /// Whether the server knows one user by this connection, so that no other client may use it.
    pub(crate) personal: bool,
    /// Whether what was asked for is at its other end, and no proxy on the way there.
    pub(crate) direct: bool,
    /// How fast the bytes of bodies and tunnels may come from it and go to it; none for as fast as they can.
    pub(crate) pace: Option<Box<Pace>>,
    /// Lives as long as the connection does; none while nobody asks for it.
    presence: Option<Rc<()>>,
}

impl Connection {
    /// Takes over `stream`. Without Nagle's algorithm: it costs 40 ms a small message, whatever side it is left on.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            tls: None,
            inbox: Buffer::default(),
            outbox: Buffer::default(),
            ended: false,
            personal: false,
            direct: false,
            pace: None,
            presence: None,
        })
    }

    /// The address that was asked for, if that is what is at its other end.
    pub(crate) fn reached(&self) -> Option<IpAddr> {
        let peer = self.direct.then(|| self.stream.peer_addr().ok()).flatten();
        peer.map(|peer| peer.ip())
    }

    /// Speaks TLS from now on, once both sides agree. Cancel safe, but of no use then.
    ///
    /// # Errors
    /// If they do not. The other side was told so, if it can be.
    pub(crate) async fn secure(&mut self, session: Session) -> Result<(), HandshakeError> {
        debug_assert!(self.outbox.is_empty(), "plain bytes before the handshake");
        let session = self.tls.insert(Box::new(session));
        poll_fn(|cx| session.poll_handshake(cx, &mut self.stream)).await
    }

    /// TLS on it, if any.
    pub(crate) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Whether what is on the wire is what is meant, so that the kernel can move it.
    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Whether the other side ended, and with TLS did not say so as it must: somebody may have cut it off.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.cut_off)
    }

    /// Ends, when the time comes, as if it were cut off, if the other side can tell: with TLS it can.
    pub(crate) fn end_as_cut_off(&mut self) -> bool {
        self.tls.as_mut().map(|session| session.end_unsaid()).is_some()
    }

    /// The socket, for its options and for splicing.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What tells, later, whether this connection is still there.
    pub(crate) fn presence(&mut self) -> Weak<()> {
        Rc::downgrade(self.presence.get_or_insert_default())
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Reads once into the thread's scratch buffer and lets `use_bytes` have what came; an empty slice is the end.
    pub(crate) fn poll_read_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        use_bytes: impl FnOnce(&mut Self, &mut Context<'_>, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        self.poll_read_some_with(cx, SCRATCH_BYTES, use_bytes)
    }

    /// The same with `most` bytes, which are more than none.
    pub(crate) fn poll_read_some_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        use_bytes: impl FnOnce(&mut Self, &mut Context<'_>, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let most = most.min(scratch.len());
            let count = if let Some(session) = &mut self.tls {
                ready!(session.poll_read(cx, &mut self.stream, &mut scratch[..most]))?
            } else {
                let mut space = ReadBuf::new(&mut scratch[..most]);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
                space.filled().len()
            };
            self.ended |= count == 0;
            Poll::Ready(Ok(use_bytes(self, cx, &scratch[..count])))
        })
    }

    /// Reads once into the inbox. Returns how many bytes came; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, |connection, _, bytes| {
            connection.inbox.extend(bytes);
            bytes.len()
        })
    }

    /// Reads once into the inbox. Cancel safe.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Writes as much of `bytes` as the kernel takes now and queues the rest. The outbox must be empty.
    pub(crate) fn poll_write_or_queue(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(self.outbox.is_empty(), "bytes would overtake those in the outbox");
        let mut rest = bytes;
        if let Some(session) = &mut self.tls {
            while !rest.is_empty() {
                let count = session.encrypt(rest)?;
                rest = &rest[count..];
                if session.poll_send(cx, &mut self.stream)?.is_pending() {
                    self.outbox.extend(rest);
                    break;
                }
            }
            return Ok(());
        }
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => rest = &rest[count..],
                Poll::Pending => {
                    self.outbox.extend(rest);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes the outbox until it is empty.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(session) = &mut self.tls {
            loop {
                ready!(session.poll_send(cx, &mut self.stream))?;
                if self.outbox.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let count = session.encrypt(self.outbox.as_slice())?;
                self.outbox.consume(count);
            }
        }
        while !self.outbox.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, self.outbox.as_slice()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outbox.consume(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the outbox until it is empty. Cancel safe: what was not written stays queued.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes `bytes` behind what waits.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.outbox.is_empty() {
            poll_fn(|cx| Poll::Ready(self.poll_write_or_queue(cx, bytes))).await?;
        } else {
            self.outbox.extend(bytes);
        }
        self.flush().await
    }

    /// Whether, as far as the event loop has heard, the other side has neither sent anything nor closed. Costs no system call;
    /// with TLS it costs one, and the answer is that of [`Connection::is_idle`].
    pub(crate) fn seems_idle(&mut self) -> bool {
        if !self.inbox.is_empty() || self.ended {
            return false;
        }
        if self.tls.is_some() {
            return self.is_idle();
        }
        self.stream
            .poll_read_ready(&mut Context::from_waker(std::task::Waker::noop()))
            .is_pending()
    }

    /// Whether the kernel knows of neither bytes nor an end: the certain form of [`Connection::seems_idle`].
    pub(crate) fn is_idle(&mut self) -> bool {
        if !self.inbox.is_empty() || self.ended {
            return false;
        }
        // Not by tokio, which asks the kernel only about what the event loop has heard of.
        if let Some(session) = &mut self.tls {
            return session.is_idle(|scratch| {
                let (received, _) = recv(&self.stream, scratch, RecvFlags::DONTWAIT)?;
                Ok(received)
            });
        }
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked == Err(Errno::WOULDBLOCK)
    }

    /// From here on bytes are counted for [`Connection::taken`].
    pub(crate) fn mark(&mut self) {
        if let Some(session) = &mut self.tls {
            session.sent = 0;
        }
    }

    /// How many bytes the kernel took, of `queued` ones that were put in the empty outbox since [`Connection::mark`]; with TLS,
    /// of what they were made to.
    pub(crate) fn taken(&self, queued: usize) -> usize {
        match &self.tls {
            Some(session) => session.sent,
            None => queued.saturating_sub(self.outbox.len()),
        }
    }

    /// Ends our half: the other side reads an end of file, its own half goes on.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(session) = &mut self.tls {
            session.end();
            ready!(session.poll_send(cx, &mut self.stream))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Closes by a reset, so that the other side sees a failure and not an end.
    pub(crate) fn reset(mut self) {
        self.reset_at_drop();
    }

    /// Makes the close that is to come a reset.
    pub(crate) fn reset_at_drop(&mut self) {
        if let Some(session) = &mut self.tls {
            session.end_unsaid();
        }
        if let Err(reason) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%reason, "a connection could not be made to end by a reset");
        }
    }

    /// Ends our half and reads on for a moment, so that what was written last is not destroyed by a reset that unread
    /// bytes would cause ([RFC 9112 §9.6]).
    ///
    /// Lasts at most `limit` and 256 KiB.
    ///
    /// [RFC 9112 §9.6]: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
    pub(crate) async fn linger(mut self, limit: Duration) {
        let lingering = async {
            self.flush().await?;
            poll_fn(|cx| self.poll_end(cx)).await?;
            let mut seen = 0;
            while seen < 256 * 1024 {
                match poll_fn(|cx| self.poll_read_with(cx, |_, _, bytes| bytes.len())).await? {
                    0 => break,
                    count => seen += count,
                }
            }
            io::Result::Ok(())
        };
        if let Ok(Err(reason)) = tokio::time::timeout(limit, lingering).await {
            tracing::trace!(%reason, "a connection broke while it was closed");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = &mut self.tls {
            session.part(&self.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use super::*;

    /// What the test does to a connection that waits, and `is_idle` must know of without a turn of the event loop.
    #[track_caller]
    fn check(disturb: fn(std::net::TcpStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let mine = TcpStream::connect(address).await.expect("it listens");
            let (theirs, _) = listener.accept().expect("a connection");
            let mut connection = Connection::new(mine).expect("a socket");
            // The first read clears what tokio assumes of a new socket.
            let read = poll_fn(|cx| Poll::Ready(connection.poll_fill(cx).is_pending())).await;
            assert!(read && connection.is_idle());
            disturb(theirs);
            assert!(!connection.is_idle());
        });
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_seen_at_once() {
        check(|mut theirs| theirs.write_all(b"x").expect("a connection"));
    }

    #[test]
    fn an_end_is_seen_at_once() {
        check(drop);
    }
}
