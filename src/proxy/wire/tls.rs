//! TLS on a connection: rustls between the bytes of the wire and those of the peers.
//!
//! What is read from the socket is decrypted at once, as far as there is room for it, so that nothing waits in here that the
//! event loop does not know of.

use std::{
    cell::{Cell, RefCell},
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use rustls::{CipherSuite, Connection as Tls, HandshakeKind, ProtocolVersion, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::traffic::secured::{Handshake, Validity};

/// Bytes that are read from the socket at once.
const RAW_BYTES: usize = 32 * 1024;

thread_local! {
    /// The thread's scratch buffer for what is encrypted: borrowed within one poll, never across.
    static RAW: RefCell<Vec<u8>> = RefCell::new(vec![0; RAW_BYTES]);
    /// Whether the server whose bytes are being worked on has asked for a certificate that there is none of.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the server whose bytes this thread works on has asked for a certificate that there is none of.
pub(crate) fn note_certificate_request() {
    ASKED.set(true);
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The other side ended the connection.
    Ended,
    /// The connection broke.
    Io(io::Error),
    /// The server asked for a certificate, see [`Session::stops_if_asked`].
    Asked,
    /// One side did not accept the other.
    Tls(rustls::Error),
}

/// A session of TLS.
pub(crate) struct Session {
    /// rustls' state.
    tls: Tls,
    /// What was read from the socket and not yet decrypted, for want of room.
    raw: Vec<u8>,
    /// How many bytes the kernel took, since somebody set it to nothing.
    pub(crate) sent: usize,
    /// Whether the handshake ends where the server asks for a certificate that there is none of.
    pub(crate) stops_if_asked: bool,
    /// Whether the other side ended without saying so: somebody may have cut it off.
    pub(crate) cut_off: bool,
    /// Whether our end was said.
    end_said: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What became of decrypted bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// There are no more at the moment.
    Dry,
    /// There may be more, and there is no room for them.
    Full,
    /// There will be no more.
    End,
}

impl Session {
    /// Before the handshake, or after as much of it as was read already but for `raw`.
    pub(crate) fn new(tls: impl Into<Tls>, raw: Vec<u8>) -> Self {
        Self {
            tls: tls.into(),
            raw,
            sent: 0,
            stops_if_asked: false,
            cut_off: false,
            end_said: false,
        }
    }

    /// The protocol that both sides agreed on, once they have; none if they named none.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// How the handshake with a server went, which took so long.
    pub(crate) fn handshake(&self, took: Duration) -> Handshake {
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let leaf = self.tls.peer_certificates().and_then(<[_]>::first);
        Handshake {
            took,
            version: match self.tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            cipher: match self.tls.negotiated_cipher_suite().map(|suite| suite.suite()) {
                // rustls has names of its own for those of TLS 1.3.
                Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
                Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
                Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
                other => other.and_then(|suite| suite.as_str()).unwrap_or("unknown"),
            },
            resumed,
            valid: leaf.filter(|_| !resumed).and_then(validity),
        }
    }

    /// Brings the handshake further, until both sides have their keys.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<Result<(), HandshakeError>> {
        loop {
            ready!(self.poll_send(cx, stream)).map_err(HandshakeError::Io)?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let read = if self.raw.is_empty() {
                RAW.with_borrow_mut(|raw| {
                    let mut space = ReadBuf::new(raw);
                    ready!(Pin::new(&mut *stream).poll_read(cx, &mut space)).map_err(HandshakeError::Io)?;
                    Poll::Ready(self.shake(space.filled()))
                })
            } else {
                let raw = std::mem::take(&mut self.raw);
                Poll::Ready(self.shake(&raw))
            };
            if let Err(error) = ready!(read) {
                if !matches!(error, HandshakeError::Asked)
                    && let Poll::Ready(Err(reason)) = self.poll_send(cx, stream)
                {
                    tracing::trace!(%reason, "an alert could not be sent");
                }
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Brings the handshake as far as `bytes` do, of which none are the end.
    fn shake(&mut self, mut bytes: &[u8]) -> Result<(), HandshakeError> {
        if bytes.is_empty() {
            return Err(HandshakeError::Ended);
        }
        while !bytes.is_empty() && self.tls.is_handshaking() {
            self.decrypt(&mut bytes)?;
        }
        // Behind the handshake there may be the first bytes already.
        self.raw.extend_from_slice(bytes);
        Ok(())
    }

    /// Feeds some of `bytes` to rustls.
    fn decrypt(&mut self, bytes: &mut &[u8]) -> Result<(), HandshakeError> {
        self.tls.read_tls(bytes).map_err(HandshakeError::Io)?;
        ASKED.set(false);
        self.tls.process_new_packets().map_err(HandshakeError::Tls)?;
        if self.stops_if_asked && ASKED.get() {
            return Err(HandshakeError::Asked);
        }
        Ok(())
    }

    /// Reads once into `out`. Returns how many bytes came; 0 is the end, said or not.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut filled = 0;
            let taken = self.take_raw(out, &mut filled);
            let taken = self.or_alert(cx, stream, taken)?;
            if filled > 0 || taken == Taken::End {
                return Poll::Ready(Ok(filled));
            }
            let read = RAW.with_borrow_mut(|raw| {
                let mut space = ReadBuf::new(raw);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut space))?;
                let bytes = space.filled();
                if bytes.is_empty() {
                    self.cut_off = true;
                    return Poll::Ready(Ok(Taken::End));
                }
                Poll::Ready(self.take(bytes, out, &mut filled))
            });
            let read = ready!(read);
            let taken = self.or_alert(cx, stream, read)?;
            if self.tls.wants_write()
                && let Poll::Ready(Err(reason)) = self.poll_send(cx, stream)
            {
                // Whoever writes next will hear of it.
                tracing::trace!(%reason, "an answer of TLS itself could not be sent");
            }
            if filled > 0 || taken == Taken::End {
                return Poll::Ready(Ok(filled));
            }
        }
    }

    /// Tells the other side what is wrong with what it sent.
    fn or_alert<T>(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, result: io::Result<T>) -> io::Result<T> {
        if result.is_err()
            && let Poll::Ready(Err(reason)) = self.poll_send(cx, stream)
        {
            tracing::trace!(%reason, "an alert could not be sent");
        }
        result
    }

    /// Decrypts what had to wait, into `out` from `filled` on.
    fn take_raw(&mut self, out: &mut [u8], filled: &mut usize) -> io::Result<Taken> {
        let raw = std::mem::take(&mut self.raw);
        self.take(&raw, out, filled)
    }

    /// Decrypts `bytes` into `out` from `filled` on, behind what was decrypted before. What has no room waits.
    fn take(&mut self, mut bytes: &[u8], out: &mut [u8], filled: &mut usize) -> io::Result<Taken> {
        loop {
            let taken = self.take_plain(out, filled)?;
            if taken != Taken::Dry || bytes.is_empty() {
                self.raw.extend_from_slice(bytes);
                return Ok(taken);
            }
            self.decrypt(&mut bytes)?;
        }
    }

    /// Takes what is decrypted already.
    fn take_plain(&mut self, out: &mut [u8], filled: &mut usize) -> io::Result<Taken> {
        while *filled < out.len() {
            match self.tls.reader().read(&mut out[*filled..]) {
                Ok(0) => return Ok(Taken::End),
                Ok(count) => *filled += count,
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::Dry),
                Err(reason) => return Err(reason),
            }
        }
        Ok(Taken::Full)
    }

    /// Encrypts as much of `bytes` as there is room for, which is some if all that was encrypted before has left.
    pub(crate) fn encrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.writer().write(bytes)
    }

    /// Sends what is encrypted.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket { stream, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(reason) => return Poll::Ready(Err(reason)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says, once, that nothing follows ([RFC 8446 §6.1]); to be sent.
    ///
    /// [RFC 8446 §6.1]: https://www.rfc-editor.org/rfc/rfc8446#section-6.1
    pub(crate) fn end(&mut self) {
        if !std::mem::replace(&mut self.end_said, true) {
            self.tls.send_close_notify();
        }
    }

    /// Ends without saying so, as the one did from whom the bytes come.
    pub(crate) fn end_unsaid(&mut self) {
        self.end_said = true;
    }

    /// Says farewell to a server, as far as its socket takes that at once. A client is told nothing: it might take what was
    /// cut off for complete.
    pub(crate) fn part(&mut self, stream: &TcpStream) {
        if self.end_said || self.tls.is_handshaking() || matches!(self.tls, Tls::Server(_)) {
            return;
        }
        self.end();
        let mut taken = Vec::new();
        if self.tls.write_tls(&mut taken).is_ok()
            && let Err(reason) = stream.try_write(&taken)
        {
            tracing::trace!(%reason, "a server was left without a farewell");
        }
    }

    /// Whether the other side has sent nothing but what concerns TLS alone, such as tickets for later sessions, as far as
    /// `receive` yields it; that is taken in.
    pub(crate) fn is_idle(&mut self, mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) -> bool {
        if self.tls.is_handshaking() || !self.raw.is_empty() {
            return false;
        }
        RAW.with_borrow_mut(|raw| {
            loop {
                let mut bytes = match receive(raw) {
                    Ok(0) => return false,
                    Ok(count) => &raw[..count],
                    Err(reason) => return reason.kind() == io::ErrorKind::WouldBlock,
                };
                while !bytes.is_empty() {
                    let quiet = self.tls.read_tls(&mut bytes).is_ok_and(|count| count > 0)
                        && self
                            .tls
                            .process_new_packets()
                            .is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed());
                    if !quiet {
                        self.raw.extend_from_slice(bytes);
                        return false;
                    }
                }
            }
        })
    }
}

/// How long a certificate is valid; none if it cannot be read.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let time = |time: ASN1Time| {
        let since_epoch = Duration::from_secs(u64::try_from(time.timestamp()).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since_epoch)
    };
    Some(Validity {
        from: time(read.validity().not_before)?,
        to: time(read.validity().not_after)?,
    })
}

/// The socket as rustls writes to it.
struct Socket<'a, 'b> {
    /// The socket.
    stream: &'a mut TcpStream,
    /// Who is to be woken when it takes more.
    cx: &'a mut Context<'b>,
}

impl Socket<'_, '_> {
    /// What a poll comes to.
    fn settle(poll: Poll<io::Result<usize>>) -> io::Result<usize> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::settle(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Self::settle(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl HandshakeError {
    /// What an error of a connection is that has come so far as to have keys.
    pub(crate) fn of(reason: io::Error) -> Self {
        match reason.downcast() {
            Ok(error) => Self::Tls(error),
            Err(reason) => Self::Io(reason),
        }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Ended | HandshakeError::Asked => io::ErrorKind::UnexpectedEof.into(),
            HandshakeError::Io(reason) => reason,
            HandshakeError::Tls(error) => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
