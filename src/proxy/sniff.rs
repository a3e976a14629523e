//! What a client speaks inside its tunnel, told by its first bytes.
//!
//! Plain HTTP is carried as exchanges, so that it is seen, and treated, as if the client had asked the proxy for it: some
//! clients use `CONNECT` for everything, and SOCKS knows nothing else. All other protocols are none of amb's business.

use std::{
    future::poll_fn,
    io,
    task::{Poll, ready},
    time::Duration,
};

use super::{deadline, tunnel::Side, wire::connection::Connection};

/// How long a client may leave it open what it speaks once it has begun. One that sends half a request line and then waits for
/// the server is not speaking HTTP.
const UNDECIDED_LIMIT: Duration = Duration::from_millis(200);

/// Longest request line that is waited for.
const LINE_LIMIT_BYTES: usize = 16 * 1024;

/// The methods with which a first request may begin: what servers of today know, file shares and version control included. A first
/// request with another one stays in an opaque tunnel.
const METHODS: [&[u8]; 24] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"PROPFIND ",
    b"PROPPATCH ",
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"UNLOCK ",
    b"SEARCH ",
    b"REPORT ",
    b"QUERY ",
    b"PURGE ",
    b"ACL ",
    b"MKCALENDAR ",
    b"CHECKOUT ",
    b"MERGE ",
    b"MKACTIVITY ",
];

/// What a connection begins with that speaks TLS: the record's type ([RFC 8446 §5.1]).
///
/// [RFC 8446 §5.1]: https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const TLS_HANDSHAKE: u8 = 0x16;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    /// A request of HTTP/1.0 or HTTP/1.1 as a server gets it: a path, or `*`.
    Http,
    /// TLS, as far as the first byte says.
    Tls,
    /// Anything else: HTTP/2, a request to yet another proxy, a protocol of its own.
    Other,
    /// More bytes are needed.
    Undecided,
}

/// What `bytes`, the first of a connection, say.
fn classify(bytes: &[u8]) -> Spoken {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Spoken::Tls;
    }
    let Some(method) = METHODS
        .iter()
        .find(|method| method.starts_with(&bytes[..bytes.len().min(method.len())]))
    else {
        return Spoken::Other;
    };
    let Some(rest) = bytes.get(method.len()..) else {
        return Spoken::Undecided;
    };
    match rest.first() {
        None => return Spoken::Undecided,
        Some(b'/' | b'*') => {}
        Some(_) => return Spoken::Other,
    }
    let Some(end) = memchr::memchr(b'\n', rest) else {
        let plausible = rest.len() < LINE_LIMIT_BYTES && rest.iter().all(|byte| *byte == b'\r' || *byte >= b' ');
        return if plausible { Spoken::Undecided } else { Spoken::Other };
    };
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
        Spoken::Http
    } else {
        Spoken::Other
    }
}

/// What is inside a tunnel.
#[derive(Debug)]
pub(crate) enum Inside {
    /// Plain HTTP.
    Http,
    /// TLS.
    Tls,
    /// Anything else, or nothing.
    Other,
    /// Nothing, since one side broke first.
    Broken(Side, io::Error),
}

/// Looks into a tunnel whose two ends are connected. Reads no more than it takes to tell, and what it reads stays in the
/// inboxes.
///
/// Waits for whoever speaks first, as long as it takes: with HTTP that is the client. Cancel safe.
pub(crate) async fn look_inside(client: &mut Connection, server: &mut Connection) -> Inside {
    let first = poll_fn(|cx| {
        // A parent proxy may have sent the server's first words together with its own.
        if !server.inbox.is_empty() {
            return Poll::Ready(Some(Inside::Other));
        }
        if !client.inbox.is_empty() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(read) = client.poll_fill(cx) {
            return Poll::Ready(read.err().map(|reason| Inside::Broken(Side::Up, reason)));
        }
        let read = ready!(server.poll_fill(cx));
        Poll::Ready(Some(match read {
            Ok(_) => Inside::Other,
            Err(reason) => Inside::Broken(Side::Down, reason),
        }))
    });
    if let Some(inside) = first.await {
        return inside;
    }
    match decide(client).await {
        Ok(Spoken::Http) => Inside::Http,
        Ok(Spoken::Tls) => Inside::Tls,
        Ok(Spoken::Other | Spoken::Undecided) => Inside::Other,
        Err(reason) => Inside::Broken(Side::Up, reason),
    }
}

/// What a client says that has begun to speak; undecided if it leaves it open.
async fn decide(client: &mut Connection) -> io::Result<Spoken> {
    let deciding = async {
        loop {
            let spoken = classify(client.inbox.as_slice());
            if spoken != Spoken::Undecided || client.fill().await? == 0 {
                return Ok(spoken);
            }
        }
    };
    deadline::within(UNDECIDED_LIMIT, deciding)
        .await
        .unwrap_or(Ok(Spoken::Undecided))
}

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// A request of HTTP.
    Http,
    /// TLS.
    Tls,
    /// Something else.
    Other,
    /// Nothing: it waits, or has left.
    None,
}

/// What a client says first, to whom nothing is said meanwhile; it is waited for so long. What is read stays in its inbox.
pub(crate) async fn first_words(client: &mut Connection, limit: Duration) -> Words {
    if client.inbox.is_empty() && !matches!(deadline::within(limit, client.fill()).await, Some(Ok(1..))) {
        return Words::None;
    }
    match decide(client).await {
        Ok(Spoken::Http) => Words::Http,
        Ok(Spoken::Tls) => Words::Tls,
        Ok(Spoken::Other | Spoken::Undecided) => Words::Other,
        Err(_) => Words::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_recognised_once_it_is_whole() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /a?b=c HTTP/1.0\r\n",
            "OPTIONS * HTTP/1.1\n",
            "PROPFIND /x y HTTP/1.1\r\n",
        ] {
            let bytes = line.as_bytes();
            for cut in 0..bytes.len() {
                assert_eq!(classify(&bytes[..cut]), Spoken::Undecided, "{line:?} cut at {cut}");
            }
            assert_eq!(classify(bytes), Spoken::Http, "{line:?}");
            assert_eq!(classify(&[bytes, b"Host: h\r\n"].concat()), Spoken::Http, "{line:?}");
        }
    }

    #[test]
    fn everything_else_is_told_apart_as_soon_as_it_differs() {
        for bytes in [
            &b"PRI * HTTP/2.0\r\n"[..],
            b"SSH-2.0",
            b"get /",
            b"GET http://h/ HTTP/1.1\r\n",
            b"GETX",
            b"GET foo\r\n",
            b"GET /\r\n",
            b"GET / RTSP/1.0\r\n",
            b"OPTIONS rtsp://",
            b"GET /\0",
            b"CONNECT h:80",
            b"\0\0\0\x08",
            b"*1\r\n",
        ] {
            assert_eq!(classify(bytes), Spoken::Other, "{}", bytes.escape_ascii());
        }
        let endless = [&b"GET /"[..], &[b'x'; LINE_LIMIT_BYTES]].concat();
        assert_eq!(classify(&endless), Spoken::Other);
    }
}
