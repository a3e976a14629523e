//! `SOCKS4`, `SOCKS4a` and `SOCKS5`, the server's side ([RFC 1928]): the codec, pure, and the few lines that speak it.
//!
//! No authentication: who may use the listener is decided by the kernel's socket table (`access.rs`).
//!
//! [RFC 1928]: https://www.rfc-editor.org/rfc/rfc1928

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    rc::Rc,
    time::Duration,
};

use super::{
    deadline,
    error::ExchangeError,
    http::After,
    target::{self, Authority},
    tunnel,
    wire::connection::Connection,
    worker::Worker,
};
use crate::traffic::{Kind, Protocol};

/// How long the handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// How long a refused client has to read its reply ([RFC 1928 §6] allows 10 s).
///
/// [RFC 1928 §6]: https://www.rfc-editor.org/rfc/rfc1928#section-6
const LINGER: Duration = Duration::from_secs(1);

/// What the bytes of a handshake come to so far.
#[derive(Debug, PartialEq, Eq)]
enum Step<T> {
    /// More bytes are needed.
    More,
    /// This, from so many bytes.
    Done(T, usize),
    /// The client cannot be served; it gets these bytes, and the record this reason.
    Refuse(Vec<u8>, &'static str),
}

/// The greeting of SOCKS5: answers whether "no authentication" is among the methods.
fn greeting(bytes: &[u8]) -> Step<()> {
    let [_, count, methods @ ..] = bytes else {
        return Step::More;
    };
    let count = usize::from(*count);
    if methods.len() < count {
        return Step::More;
    }
    if methods[..count].contains(&0) {
        Step::Done((), count + 2)
    } else {
        Step::Refuse(
            vec![5, 0xff],
            "the SOCKS5 client offers no method without authentication",
        )
    }
}

/// The request of SOCKS5.
fn request5(bytes: &[u8]) -> Step<Authority> {
    let [version, command, _, kind, rest @ ..] = bytes else {
        return Step::More;
    };
    if *version != 5 {
        return Step::Refuse(reply5(1), "the SOCKS5 request has another version");
    }
    if *command != 1 {
        return Step::Refuse(reply5(7), "SOCKS5 BIND and UDP ASSOCIATE are not supported");
    }
    let (host, length) = match (kind, rest) {
        (1, [a, b, c, d, ..]) => (Ipv4Addr::new(*a, *b, *c, *d).to_string(), 4),
        (4, address) if address.len() >= 16 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&address[..16]);
            (Ipv6Addr::from(octets).to_string(), 16)
        }
        (3, [length, name @ ..]) if name.len() >= usize::from(*length) => {
            let length = usize::from(*length);
            match host(&name[..length]) {
                Ok(host) => (host, length + 1),
                Err(reason) => return Step::Refuse(reply5(1), reason),
            }
        }
        (1 | 3 | 4, _) => return Step::More,
        _ => return Step::Refuse(reply5(8), "the SOCKS5 address type is unknown"),
    };
    let [high, low, ..] = rest[length..] else {
        return Step::More;
    };
    match u16::from_be_bytes([high, low]) {
        0 => Step::Refuse(reply5(1), "the port is 0"),
        port => Step::Done(Authority::new(host, port), 4 + length + 2),
    }
}

/// The request of `SOCKS4` and `SOCKS4a`.
fn request4(bytes: &[u8]) -> Step<Authority> {
    let [_, command, high, low, a, b, c, d, rest @ ..] = bytes else {
        return Step::More;
    };
    let Some(user) = memchr::memchr(0, rest) else {
        return if rest.len() > 512 {
            Step::Refuse(reply4(91), "the SOCKS4 user id does not end")
        } else {
            Step::More
        };
    };
    if *command != 1 {
        return Step::Refuse(reply4(91), "SOCKS4 BIND is not supported");
    }
    let port = u16::from_be_bytes([*high, *low]);
    if port == 0 {
        return Step::Refuse(reply4(91), "the port is 0");
    }
    // 0.0.0.x asks for a name behind the user id: SOCKS4a.
    if [*a, *b, *c] != [0, 0, 0] || *d == 0 {
        return Step::Done(
            Authority::new(Ipv4Addr::new(*a, *b, *c, *d).to_string(), port),
            8 + user + 1,
        );
    }
    let name = &rest[user + 1..];
    let Some(end) = memchr::memchr(0, name) else {
        return if name.len() > 512 {
            Step::Refuse(reply4(91), "the SOCKS4a name does not end")
        } else {
            Step::More
        };
    };
    match host(&name[..end]) {
        Ok(host) => Step::Done(Authority::new(host, port), 8 + user + 1 + end + 1),
        Err(reason) => Step::Refuse(reply4(91), reason),
    }
}

/// A name, or an address literal in the place of one.
fn host(name: &[u8]) -> Result<String, &'static str> {
    let text = str::from_utf8(name).map_err(|_| "the name is not ASCII")?;
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => target::name(text),
    }
}

/// A reply of SOCKS5 with this code, its bound address left blank.
fn reply5(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A reply of SOCKS4 with this code.
fn reply4(code: u8) -> Vec<u8> {
    vec![0, code, 0, 0, 0, 0, 0, 0]
}

/// The reply for an error ([RFC 1928 §6]; SOCKS4 has one code for all of them).
fn reply(protocol: Protocol, error: Option<&ExchangeError>) -> Vec<u8> {
    if protocol == Protocol::Socks4 {
        return reply4(if error.is_some() { 91 } else { 90 });
    }
    reply5(match error {
        None => 0,
        Some(
            ExchangeError::OwnListener
            | ExchangeError::StrangerRefused(_)
            | ExchangeError::EgressDenied(_)
            | ExchangeError::RateLimited { .. }
            | ExchangeError::ConcurrencyLimited { .. },
        ) => 2,
        Some(ExchangeError::NameUnresolved { .. } | ExchangeError::NameTimedOut(_)) => 4,
        Some(ExchangeError::UpstreamUnroutable { reason, .. }) => {
            if reason.kind() == std::io::ErrorKind::HostUnreachable {
                4
            } else {
                3
            }
        }
        Some(ExchangeError::UpstreamRefused(_)) => 5,
        Some(ExchangeError::UpstreamConnectTimedOut { .. }) => 6,
        Some(_) => 1,
    })
}

/// Serves a client whose first byte is a SOCKS version.
pub(crate) async fn serve(worker: &Rc<Worker>, mut client: Connection, refusal: Option<ExchangeError>) -> After {
    let protocol = if client.inbox.as_slice().first() == Some(&4) {
        Protocol::Socks4
    } else {
        Protocol::Socks5
    };
    let handshake = deadline::within(HANDSHAKE_LIMIT, handshake(&mut client, protocol));
    let (authority, mut open) = match handshake.await {
        Some(Ok(authority)) => {
            let mut open = worker.recorder.begin(Kind::Tunnel, protocol);
            open.asks_for("CONNECT", &authority);
            (authority, open)
        }
        Some(Err(refusal)) => {
            let open = worker.recorder.begin(Kind::Tunnel, protocol);
            if let Err(reason) = client.send(&refusal.answer).await {
                tracing::debug!(%reason, "a SOCKS client did not take its refusal");
            }
            open.fail(&ExchangeError::RequestMalformed(refusal.reason));
            client.linger(LINGER).await;
            return After::Closed;
        }
        None => {
            worker
                .recorder
                .begin(Kind::Tunnel, protocol)
                .fail(&ExchangeError::RequestTimedOut(HANDSHAKE_LIMIT));
            return After::Closed;
        }
    };
    let rules = worker.rules_of_tunnel(&authority, &mut open);
    let connected = if let Some(refusal) = refusal {
        Err(refusal)
    } else {
        worker.open_tunnel(&authority, &rules, &client, &mut open.record).await
    };
    let answer = reply(protocol, connected.as_ref().err());
    let sent = client.send(&answer).await;
    match (connected, sent) {
        (Ok(server), Ok(())) => {
            open.record.connect = server.connect;
            open.record.attempts = 1;
            // To the client's own protocol this is a new connection.
            client.acknowledge();
            After::Tunnel(
                client,
                Box::new(tunnel::Opened {
                    server,
                    open,
                    unseen: Some(authority),
                    idle: rules.timeouts.tunnel_idle,
                }),
            )
        }
        (Ok(_), Err(_)) => {
            open.fail(&ExchangeError::ClientGone);
            After::Closed
        }
        (Err(error), _) => {
            open.fail(&error);
            client.linger(LINGER).await;
            After::Closed
        }
    }
}

/// Why a handshake failed.
struct Refusal {
    /// What the client is sent.
    answer: Vec<u8>,
    /// Why.
    reason: &'static str,
}

/// Reads the handshake up to the request.
async fn handshake(client: &mut Connection, protocol: Protocol) -> Result<Authority, Refusal> {
    if protocol == Protocol::Socks4 {
        return read(client, request4).await;
    }
    read(client, greeting).await?;
    if client.send(&[5, 0]).await.is_err() {
        return Err(Refusal {
            answer: Vec::new(),
            reason: "the connection broke inside the SOCKS handshake",
        });
    }
    read(client, request5).await
}

/// Reads until `step` is done.
async fn read<T>(client: &mut Connection, step: fn(&[u8]) -> Step<T>) -> Result<T, Refusal> {
    loop {
        match step(client.inbox.as_slice()) {
            Step::Done(value, length) => {
                client.inbox.consume(length);
                return Ok(value);
            }
            Step::Refuse(answer, reason) => return Err(Refusal { answer, reason }),
            Step::More => {}
        }
        if !matches!(client.fill().await, Ok(1..)) {
            return Err(Refusal {
                answer: Vec::new(),
                reason: "the connection ended inside the SOCKS handshake",
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `step` says "more" to every shorter stretch of `bytes`, and this to all of them.
    #[track_caller]
    fn check(step: fn(&[u8]) -> Step<Authority>, bytes: &[u8], host: &str, port: u16) {
        for cut in 0..bytes.len() {
            assert_eq!(step(&bytes[..cut]), Step::More, "cut at {cut}");
        }
        let behind = [bytes, b"GET"].concat();
        assert_eq!(step(&behind), Step::Done(Authority::new(host, port), bytes.len()));
    }

    #[test]
    fn every_kind_of_address_is_read_in_pieces_of_any_size() {
        check(request5, b"\x05\x01\x00\x01\x7f\0\0\x01\x00\x50", "127.0.0.1", 80);
        check(request5, b"\x05\x01\x00\x03\x09Example.X\x01\xbb", "example.x", 443);
        check(request5, b"\x05\x01\x00\x03\x03::1\x01\xbb", "::1", 443);
        check(
            request5,
            b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
            "::1",
            80,
        );
        check(request4, b"\x04\x01\x00\x50\x7f\0\0\x01user\0", "127.0.0.1", 80);
        check(request4, b"\x04\x01\x00\x50\0\0\0\x01\0example.x\0", "example.x", 80);
    }

    #[test]
    fn what_is_not_supported_is_refused_with_its_code() {
        let code = |step: Step<Authority>| match step {
            Step::Refuse(answer, _) => answer[1],
            other => panic!("{other:?}"),
        };
        assert_eq!(code(request5(b"\x05\x02\x00\x01\x7f\0\0\x01\x00\x50")), 7);
        assert_eq!(code(request5(b"\x05\x01\x00\x05\x7f\0\0\x01\x00\x50")), 8);
        assert_eq!(code(request5(b"\x05\x01\x00\x03\x03a b\x00\x50")), 1);
        assert_eq!(code(request4(b"\x04\x02\x00\x50\x7f\0\0\x01\0")), 91);
        assert!(matches!(greeting(b"\x05\x01\x02"), Step::Refuse(answer, _) if answer == [5, 0xff]));
        assert_eq!(greeting(b"\x05\x02\x02\x00"), Step::Done((), 4));
        assert_eq!(greeting(b"\x05\x02\x02"), Step::More);
    }
}
