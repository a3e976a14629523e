//! What goes no further than one connection ([RFC 9110 §7.6.1]), and what a proxy adds ([RFC 9110 §7.6.3]).
//!
//! [RFC 9110 §7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
//! [RFC 9110 §7.6.3]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3

use super::head::{Fields, Version, members};

/// Fields that are always between two neighbours, whatever `Connection` says.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "proxy-authorization",
    "proxy-authentication-info",
];

/// Fields that `Connection` must not take away, because the message means something else without them.
const PROTECTED: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "authorization",
    "cookie",
    "via",
];

/// What `Connection` and its kin said, before they were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HopFields {
    /// Whether the sender ends the connection after this message.
    pub(crate) close: bool,
    /// Whether a sender of HTTP/1.0 asked to keep it.
    pub(crate) keep_alive: bool,
    /// Whether the sender can use trailers.
    pub(crate) trailers: bool,
}

/// Removes the hop-by-hop fields, and those that `Connection` names, and returns what they said.
///
/// With `upgrades`, `Connection` and `Upgrade` themselves stay, to ask for a WebSocket and nothing else: both neighbours switch
/// protocols then.
pub(crate) fn strip(fields: &mut Fields, version: Version, upgrades: bool) -> HopFields {
    let mut said = HopFields::default();
    let mut named: Vec<Vec<u8>> = Vec::new();
    let mut found = false;
    for (name, value) in fields.iter().filter(|(name, _)| is_hop_by_hop(name)) {
        found = true;
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("te") {
            said.trailers |= members(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        } else if is("connection") || is("proxy-connection") {
            for member in members(value) {
                if member.eq_ignore_ascii_case(b"close") {
                    said.close = true;
                } else if member.eq_ignore_ascii_case(b"keep-alive") {
                    said.keep_alive = true;
                } else if is("connection")
                    && !PROTECTED
                        .iter()
                        .any(|kept| member.eq_ignore_ascii_case(kept.as_bytes()))
                {
                    named.push(member.to_vec());
                }
            }
        }
    }
    said.close |= version == Version::Http10 && !said.keep_alive;
    if !found {
        return said;
    }
    let stays =
        |name: &[u8]| upgrades && (name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"upgrade"));
    fields.remove_where(|name| {
        if stays(name) {
            return false;
        }
        is_hop_by_hop(name) || named.iter().any(|named| name.eq_ignore_ascii_case(named))
    });
    if upgrades {
        if !named.iter().all(|name| name.eq_ignore_ascii_case(b"upgrade")) {
            fields.set("Connection", b"Upgrade");
        }
        if !fields.members("upgrade").all(is_websocket) {
            fields.set("Upgrade", b"websocket");
        }
    }
    said
}

/// Whether a field is between two neighbours by its name.
fn is_hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP
        .iter()
        .any(|hop| name.len() == hop.len() && name.eq_ignore_ascii_case(hop.as_bytes()))
}

/// Whether the request asks for an upgrade that is passed on: WebSocket. `h2c` is not, since it would carry requests past
/// every policy.
pub(crate) fn asks_for_websocket(fields: &Fields) -> bool {
    fields.has_member("connection", "upgrade") && fields.members("upgrade").any(is_websocket)
}

/// Whether the request asks for an upgrade to a protocol of which nothing is known, such as the raw stream of a container's
/// engine. `h2c` is known, and never granted.
pub(crate) fn asks_for_other_protocol(fields: &Fields) -> bool {
    let is_known = |protocol: &[u8]| is_websocket(protocol) || protocol.eq_ignore_ascii_case(b"h2c");
    fields.has_member("connection", "upgrade") && fields.members("upgrade").any(|protocol| !is_known(protocol))
}

/// Whether a response switches to WebSocket, and to nothing else.
pub(crate) fn switches_to_websocket(fields: &Fields) -> bool {
    fields.contains("upgrade") && fields.members("upgrade").all(is_websocket)
}

/// Whether a protocol that `Upgrade` names is WebSocket.
fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

/// Whether the request authenticates its connection rather than itself, as NTLM does and Negotiate may ([RFC 4559 §6]): what
/// comes after it on the connection is the same user's.
///
/// [RFC 4559 §6]: https://www.rfc-editor.org/rfc/rfc4559#section-6
pub(crate) fn authenticates_connection(request: &Fields) -> bool {
    request.values("authorization").any(is_of_connection)
}

/// Whether a response asks for such an authentication, among others.
pub(crate) fn asks_for_connection_authentication(response: &Fields) -> bool {
    response.members("www-authenticate").any(is_of_connection)
}

/// Whether credentials or a challenge are of a scheme that authenticates connections.
fn is_of_connection(value: &[u8]) -> bool {
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"NTLM") || scheme.eq_ignore_ascii_case(b"Negotiate")
}

#[cfg(test)]
mod tests {
    use super::{super::head::RequestHead, *};

    /// The field lines that are left of `lines`, and what was said.
    #[track_caller]
    fn stripped(lines: &str) -> (String, HopFields) {
        let mut head = RequestHead::parse(format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes()).expect("a good head");
        let said = strip(&mut head.fields, head.version, false);
        let mut out = Vec::new();
        head.fields.write_to(&mut out);
        (
            String::from_utf8(out)
                .expect("text")
                .trim_end_matches("\r\n")
                .to_owned(),
            said,
        )
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let (left, said) = stripped(
            "A: 1\r\nConnection: x-ONE , close\r\nX-One: 1\r\nKeep-Alive: 5\r\nconnection: x-two\r\nX-Two: 2\r\nB: 2\r\n",
        );
        assert_eq!(left, "A: 1\r\nB: 2");
        assert!(said.close);
    }

    #[test]
    fn connection_cannot_take_away_what_routes_frames_or_authorises() {
        let lines = "Host: h\r\nAuthorization: a\r\nCookie: c\r\nContent-Length: 0";
        let (left, _) = stripped(&format!(
            "{lines}\r\nConnection: host, authorization, cookie, content-length\r\n"
        ));
        assert_eq!(left, lines);
    }

    #[test]
    fn credentials_for_a_proxy_go_no_further() {
        let (left, _) =
            stripped("Proxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nTE: trailers, gzip\r\n");
        assert_eq!(left, "");
    }

    #[test]
    fn only_websocket_upgrades_are_passed_on() {
        let asks = |lines: &str| {
            asks_for_websocket(
                &RequestHead::parse(format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes())
                    .expect("good")
                    .fields,
            )
        };
        assert!(asks("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"));
        assert!(!asks(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
        ));
        assert!(!asks("Upgrade: websocket\r\n"));
    }
}
