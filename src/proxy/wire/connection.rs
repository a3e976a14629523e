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
    net::{RecvFlags, recv, sockopt},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    buffer::Buffer,
    head::Version,
    http2::{Broken, Stream},
    pace::Pace,
    tls::{HandshakeError, Session},
};

/// Size of the scratch buffer. One read of a bulk transfer; a read that fills most of it turns the transfer over to the kernel.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// How often the rest of an answer is asked for: as many segments as Linux itself acknowledges at once on a new connection
/// (`TCP_MAX_QUICKACKS`).
const PROMPTS: u8 = 16;

thread_local! {
    /// The thread's scratch buffer: borrowed within one poll, never across.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// What a connection is made of.
#[derive(Debug)]
enum Medium {
    /// A socket.
    Socket(TcpStream),
    /// A stream of a connection of HTTP/2, in the shape of one of its own.
    Stream(Box<Stream>),
}

/// A connection to the client or to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What it is made of.
    medium: Medium,
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
    /// How often [`Connection::prompt_rest`] still does something.
    prompts: u8,
    /// Lives as long as the connection does; none while nobody asks for it.
    presence: Option<Rc<()>>,
}

impl Connection {
    /// Takes over `stream`. Without Nagle's algorithm: it costs 40 ms a small message, whatever side it is left on.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::of(Medium::Socket(stream)))
    }

    /// One that is a stream of a connection of HTTP/2.
    pub(crate) fn of_stream(stream: Stream) -> Self {
        Self::of(Medium::Stream(Box::new(stream)))
    }

    /// One of this.
    fn of(medium: Medium) -> Self {
        Self {
            medium,
            tls: None,
            inbox: Buffer::default(),
            outbox: Buffer::default(),
            ended: false,
            personal: false,
            direct: false,
            pace: None,
            prompts: 0,
            presence: None,
        }
    }

    /// Is a part of another one, as far as [`Connection::presence`] goes.
    pub(crate) fn within(mut self, presence: &Rc<()>) -> Self {
        self.presence = Some(Rc::clone(presence));
        self
    }

    /// The stream that it is; none if it is a connection of its own.
    pub(crate) fn as_stream(&self) -> Option<&Stream> {
        match &self.medium {
            Medium::Socket(_) => None,
            Medium::Stream(stream) => Some(stream),
        }
    }

    /// The version of what comes from it, where its head says `version`.
    pub(crate) fn version(&self, version: Version) -> Version {
        match &self.medium {
            Medium::Socket(_) => version,
            Medium::Stream(_) => Version::Http2,
        }
    }

    /// Whether a request that it failed with was certainly not executed: HTTP/2 says so, and HTTP/1.1 cannot.
    pub(crate) fn was_refused(&self) -> bool {
        self.as_stream().is_some_and(Stream::was_refused)
    }

    /// Breaks off, when the time comes, as the other side of an exchange did, if it is a stream and that was one.
    pub(crate) fn breaks_like(&mut self, reason: &io::Error) {
        if let (Medium::Stream(stream), Some(broken)) = (&mut self.medium, Broken::inside(reason)) {
            stream.breaks_like(broken);
        }
    }

    /// The address that was asked for, if that is what is at its other end.
    pub(crate) fn reached(&self) -> Option<IpAddr> {
        match &self.medium {
            Medium::Socket(_) => {
                let peer = self.direct.then(|| self.peer().ok()).flatten();
                peer.map(|peer| peer.ip())
            }
            Medium::Stream(stream) => stream.session().and_then(|session| session.reached()),
        }
    }

    /// Speaks TLS from now on, once both sides agree. Cancel safe, but of no use then.
    ///
    /// # Errors
    /// If they do not. The other side was told so, if it can be.
    pub(crate) async fn secure(&mut self, session: Session) -> Result<(), HandshakeError> {
        debug_assert!(self.outbox.is_empty(), "plain bytes before the handshake");
        let Medium::Socket(socket) = &mut self.medium else {
            return Err(HandshakeError::Ended);
        };
        let session = self.tls.insert(Box::new(session));
        poll_fn(|cx| session.poll_handshake(cx, socket)).await
    }

    /// TLS on it, if any.
    pub(crate) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Whether what is on the wire is what is meant, so that the kernel can move it.
    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none() && matches!(self.medium, Medium::Socket(_))
    }

    /// Whether the other side ended, and with TLS did not say so as it must: somebody may have cut it off.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.cut_off)
    }

    /// Ends, when the time comes, as if it were cut off, if the other side can tell: with TLS it can.
    pub(crate) fn end_as_cut_off(&mut self) -> bool {
        if let Medium::Stream(stream) = &mut self.medium {
            stream.end_as_cut_off();
            return true;
        }
        self.tls.as_mut().map(|session| session.end_unsaid()).is_some()
    }

    /// The socket, for its options and for splicing; none if it is a stream.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.medium {
            Medium::Socket(socket) => Some(socket),
            Medium::Stream(_) => None,
        }
    }

    /// What tells, later, whether this connection is still there.
    pub(crate) fn presence(&mut self) -> Weak<()> {
        Rc::downgrade(self.presence.get_or_insert_default())
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        let socket = self.socket().ok_or(io::ErrorKind::NotConnected)?;
        socket.peer_addr()
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
            let count = match (&mut self.medium, &mut self.tls) {
                (Medium::Socket(socket), None) => {
                    let mut space = ReadBuf::new(&mut scratch[..most]);
                    ready!(Pin::new(socket).poll_read(cx, &mut space))?;
                    space.filled().len()
                }
                (Medium::Socket(socket), Some(session)) => ready!(session.poll_read(cx, socket, &mut scratch[..most]))?,
                (Medium::Stream(stream), _) => ready!(stream.poll_read(cx, &mut scratch[..most]))?,
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
        while !rest.is_empty() {
            let written = match (&mut self.medium, &mut self.tls) {
                (Medium::Socket(socket), None) => Pin::new(socket).poll_write(cx, rest)?,
                (Medium::Socket(socket), Some(session)) => {
                    let count = session.encrypt(rest)?;
                    rest = &rest[count..];
                    if session.poll_send(cx, socket)?.is_pending() {
                        self.outbox.extend(rest);
                        break;
                    }
                    continue;
                }
                (Medium::Stream(stream), _) => stream.poll_write(cx, rest)?,
            };
            match written {
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
        match (&mut self.medium, &mut self.tls) {
            (Medium::Socket(socket), None) => {
                while !self.outbox.is_empty() {
                    match ready!(Pin::new(&mut *socket).poll_write(cx, self.outbox.as_slice()))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        count => self.outbox.consume(count),
                    }
                }
                Poll::Ready(Ok(()))
            }
            (Medium::Socket(socket), Some(session)) => loop {
                ready!(session.poll_send(cx, socket))?;
                if self.outbox.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let count = session.encrypt(self.outbox.as_slice())?;
                self.outbox.consume(count);
            },
            (Medium::Stream(stream), _) => {
                while !self.outbox.is_empty() {
                    let count = ready!(stream.poll_write(cx, self.outbox.as_slice()))?;
                    self.outbox.consume(count);
                }
                stream.poll_flush(cx)
            }
        }
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

    /// Is used again: for the answer that is to come it is made to behave as the new connection that a direct client might have
    /// opened, of which the kernel acknowledges each segment at once.
    pub(crate) fn renew(&mut self) {
        self.prompts = PROMPTS;
    }

    /// Acknowledges what has come so far of something that is not complete. The kernel puts that off for 40 ms where much has
    /// gone to and fro, and a server that leaves Nagle's algorithm on and writes in small pieces does not send the next before.
    pub(crate) fn prompt_rest(&mut self) {
        if self.prompts == 0 {
            return;
        }
        self.prompts -= 1;
        self.acknowledge();
    }

    /// Acknowledges what has come, and what comes next, at once, as on a new connection and until something is written
    /// (`TCP_QUICKACK`, [tcp(7)]).
    ///
    /// [tcp(7)]: https://man7.org/linux/man-pages/man7/tcp.7.html
    pub(crate) fn acknowledge(&self) {
        if let Some(socket) = self.socket()
            && let Err(reason) = sockopt::set_tcp_quickack(socket, true)
        {
            tracing::trace!(%reason, "what came could not be acknowledged at once");
        }
    }

    /// Whether, as far as the event loop has heard, the other side has neither sent anything nor closed. Costs no system call;
    /// with TLS it costs one, and the answer is that of [`Connection::is_idle`].
    pub(crate) fn seems_idle(&mut self) -> bool {
        if !self.inbox.is_empty() || self.ended {
            return false;
        }
        match &self.medium {
            Medium::Socket(socket) if self.tls.is_none() => socket
                .poll_read_ready(&mut Context::from_waker(std::task::Waker::noop()))
                .is_pending(),
            _ => self.is_idle(),
        }
    }

    /// Whether the kernel knows of neither bytes nor an end: the certain form of [`Connection::seems_idle`].
    pub(crate) fn is_idle(&mut self) -> bool {
        if !self.inbox.is_empty() || self.ended {
            return false;
        }
        let Medium::Socket(socket) = &self.medium else {
            // It carries one exchange.
            return false;
        };
        // Not by tokio, which asks the kernel only about what the event loop has heard of.
        if let Some(session) = &mut self.tls {
            return session.is_idle(|scratch| {
                let (received, _) = recv(socket, scratch, RecvFlags::DONTWAIT)?;
                Ok(received)
            });
        }
        let peeked = recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked == Err(Errno::WOULDBLOCK)
    }

    /// From here on bytes are counted for [`Connection::taken`].
    pub(crate) fn mark(&mut self) {
        if let Some(session) = &mut self.tls {
            session.sent = 0;
        }
    }

    /// How many bytes the kernel took, of `queued` ones that were put in the empty outbox since [`Connection::mark`]; with TLS,
    /// of what they were made to. Of a stream nobody knows, unless it was refused.
    pub(crate) fn taken(&self, queued: usize) -> usize {
        match &self.tls {
            None if self.was_refused() => 0,
            None if self.as_stream().is_some() => queued,
            Some(session) => session.sent,
            None => queued.saturating_sub(self.outbox.len()),
        }
    }

    /// Ends our half: the other side reads an end of file, its own half goes on.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.medium {
            Medium::Socket(socket) => {
                if let Some(session) = &mut self.tls {
                    session.end();
                    ready!(session.poll_send(cx, socket))?;
                }
                Pin::new(socket).poll_shutdown(cx)
            }
            Medium::Stream(stream) => stream.poll_end(cx),
        }
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
        if let Some(socket) = self.socket()
            && let Err(reason) = SockRef::from(socket).set_linger(Some(Duration::ZERO))
        {
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
        if let (Medium::Socket(socket), Some(session)) = (&self.medium, &mut self.tls) {
            session.part(socket);
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
