//! What a request asks for: the four forms of a request target ([RFC 9112 §3.2]), and authorities.
//!
//! Pure. A host is normalised once, here, so that what is decided about is what is dialled.
//!
//! [RFC 9112 §3.2]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::traffic::Scheme;

/// A host and a port, normalised: lower case, one trailing dot removed, no brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Name or address literal.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// The address that it is to be reached at, whatever the host is called: that which a captured connection was to lead to.
    /// None looks the host up.
    pub at: Option<IpAddr>,
}

impl Authority {
    /// A host that is looked up, normalised already.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            at: None,
        }
    }

    /// Where a captured connection was to lead, as long as it is not known by what name.
    pub(crate) fn of_captured(to: SocketAddr) -> Self {
        let ip = to.ip().to_canonical();
        Self {
            host: ip.to_string(),
            port: to.port(),
            at: Some(ip),
        }
    }

    /// Whether nobody knows what the client calls it: amb can be no server whose name it does not know.
    pub(crate) fn is_nameless(&self) -> bool {
        self.at.is_some() && self.address().is_some()
    }

    /// The same place by the name that the client has for it.
    pub(crate) fn called(mut self, host: String) -> Self {
        self.host = host;
        self
    }

    /// The host as an address, if it is a plain literal of one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a request target asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `http://host/path`: the form for a proxy.
    Absolute {
        /// Whether it is to be asked for by TLS.
        scheme: Scheme,
        /// Where to.
        authority: Authority,
        /// What `Host` is to say: the authority as written, without user information.
        host: Vec<u8>,
        /// Path and query to the byte as they came; `/` if there was none, `*` for `OPTIONS` without a path.
        path: Vec<u8>,
    },
    /// `host:port`, for `CONNECT` alone.
    Tunnel(Authority),
    /// `/path`: what a server gets. This is a proxy.
    Origin,
    /// `*`, for `OPTIONS` to amb itself.
    Asterisk,
}

impl Target {
    /// Where to, if it says so.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        match self {
            Self::Absolute { authority, .. } | Self::Tunnel(authority) => Some(authority),
            Self::Origin | Self::Asterisk => None,
        }
    }
}

/// A target that is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// A sentence that says what is wrong with it.
    pub(crate) reason: &'static str,
    /// Where to, if that much could be read: whoever looks for the failure knows the host and nothing else of it.
    pub(crate) authority: Option<Authority>,
}

impl From<&'static str> for Refused {
    fn from(reason: &'static str) -> Self {
        Self {
            reason,
            authority: None,
        }
    }
}

/// Reads the target of a request with `method`.
///
/// # Errors
/// What is wrong with it, and as much of it as could be read all the same.
pub(crate) fn parse(method: &str, target: &[u8]) -> Result<Target, Refused> {
    if let Some(fragment) = memchr::memchr(b'#', target) {
        let without = parse(method, &target[..fragment]);
        return Err(Refused {
            reason: "the request target holds a fragment",
            authority: without.map_or_else(|refused| refused.authority, |it| it.authority().cloned()),
        });
    }
    if method == "CONNECT" {
        return Ok(Target::Tunnel(authority(target, None)?));
    }
    match target {
        b"*" if method == "OPTIONS" => return Ok(Target::Asterisk),
        [b'/', ..] => return Ok(Target::Origin),
        _ => {}
    }
    let Some(colon) = memchr::memmem::find(target, b"://") else {
        return Err("the request target is neither a URL nor a path".into());
    };
    let (scheme, rest) = (&target[..colon], &target[colon + 3..]);
    let split = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (written, path) = rest.split_at(split);
    // User information is for the client's own use and must not travel on (RFC 9110 §4.2.4).
    let written = memchr::memrchr(b'@', written).map_or(written, |at| &written[at + 1..]);
    let (scheme, port) = if scheme.eq_ignore_ascii_case(b"http") {
        (Scheme::Http, 80)
    } else if scheme.eq_ignore_ascii_case(b"https") {
        (Scheme::Https, 443)
    } else {
        return Err(Refused {
            reason: "the request target's scheme is neither http nor https",
            authority: authority(written, usual_port(scheme)).ok(),
        });
    };
    let authority = authority(written, Some(port))?;
    let path = match path {
        b"" if method == "OPTIONS" => b"*".to_vec(),
        b"" => b"/".to_vec(),
        [b'?', ..] => [b"/", path].concat(),
        _ => path.to_vec(),
    };
    Ok(Target::Absolute {
        scheme,
        authority,
        host: written.to_vec(),
        path,
    })
}

/// The port of a scheme that programs hand to proxies, and amb does not carry.
fn usual_port(scheme: &[u8]) -> Option<u16> {
    [("ftp", 21), ("ws", 80), ("wss", 443)]
        .into_iter()
        .find(|(known, _)| scheme.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, port)| port)
}

/// Reads `host[:port]`, with `default` for a port that is missing or empty.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn authority(written: &[u8], default: Option<u16>) -> Result<Authority, &'static str> {
    let text = str::from_utf8(written).map_err(|_| "the host is not ASCII: use its A-label (xn--…)")?;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, behind) = rest.split_once(']').ok_or("a bracket of the host is not closed")?;
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| "the host in brackets is not an IPv6 address")?;
        let port = if behind.is_empty() {
            None
        } else {
            Some(behind.strip_prefix(':').ok_or("text behind the host's bracket")?)
        };
        (address.to_string(), port)
    } else {
        let (host, port) = text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port)));
        (name(host)?, port)
    };
    let port = match port {
        Some(digits) if !digits.is_empty() => number(digits)?,
        _ => default.ok_or("the port is missing")?,
    };
    Ok(Authority::new(host, port))
}

/// A host name, normalised.
pub(crate) fn name(host: &str) -> Result<String, &'static str> {
    if !host.is_ascii() {
        return Err("the host is not ASCII: use its A-label (xn--…)");
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.len() > 255 {
        return Err("the host is longer than 255 bytes");
    }
    // What getaddrinfo might take; percent-encoding and sub-delimiters have no meaning in a name that is looked up.
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    {
        return Err("the host holds a character that no name has");
    }
    Ok(host.to_ascii_lowercase())
}

/// A port, 1 to 65535, plain digits.
fn number(digits: &str) -> Result<u16, &'static str> {
    let plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if plain && port != 0 => Ok(port),
        _ => Err("the port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authority, `Host` and path that a GET of `target` comes to.
    #[track_caller]
    fn check(target: &str, authority: &str, host: &str, path: &str) {
        match parse("GET", target.as_bytes()) {
            Ok(Target::Absolute {
                authority: found,
                host: found_host,
                path: found_path,
                ..
            }) => {
                let shown = (found.to_string(), String::from_utf8_lossy(&found_host).into_owned());
                assert_eq!(shown, (authority.to_owned(), host.to_owned()), "{target}");
                assert_eq!(String::from_utf8_lossy(&found_path), path, "{target}");
            }
            other => panic!("{target}: {other:?}"),
        }
    }

    #[test]
    fn the_path_survives_to_the_byte() {
        check("http://h/%2F/a/../b//c?x=|&y=%", "h:80", "h", "/%2F/a/../b//c?x=|&y=%");
        check("http://h", "h:80", "h", "/");
        check("http://h?q", "h:80", "h", "/?q");
        check("HTTPS://h/x", "h:443", "h", "/x");
        check("https://h:8443/x", "h:8443", "h:8443", "/x");
        check("HTTP://H.Example.:8080/ü", "h.example:8080", "H.Example.:8080", "/ü");
        check("http://h:/x", "h:80", "h:", "/x");
        check("http://[::1]:8080/", "[::1]:8080", "[::1]:8080", "/");
        check(
            "http://[::ffff:127.0.0.1]/",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:127.0.0.1]",
            "/",
        );
    }

    #[test]
    fn user_information_does_not_travel() {
        check("http://user:secret@h/", "h:80", "h", "/");
        check("http://a@b@h:81/", "h:81", "h:81", "/");
    }

    #[test]
    fn the_other_forms_are_told_apart() {
        assert_eq!(parse("GET", b"/path"), Ok(Target::Origin));
        assert_eq!(parse("OPTIONS", b"*"), Ok(Target::Asterisk));
        let tunnel = Authority::new("h", 443);
        assert_eq!(parse("CONNECT", b"H.:443"), Ok(Target::Tunnel(tunnel)));
        assert!(matches!(parse("OPTIONS", b"http://h"), Ok(Target::Absolute { path, .. }) if path == b"*"));
    }

    #[test]
    fn a_bad_target_is_refused() {
        for (method, target) in [
            ("CONNECT", "h"),
            ("CONNECT", "h:"),
            ("CONNECT", "h:0"),
            ("CONNECT", "h:65536"),
            ("CONNECT", "http://h/"),
            ("CONNECT", "h:+80"),
            ("CONNECT", "h:080000"),
            ("CONNECT", "[::1%lo]:80"),
            ("CONNECT", "[::1]80"),
            ("CONNECT", "::1:80"),
            ("GET", "*"),
            ("GET", "h:80"),
            ("GET", "ftp://h/"),
            ("GET", "http:///x"),
            ("GET", "http://:80/"),
            ("GET", "http://h/#f"),
            ("GET", "http://bücher.example/"),
            ("GET", "http://a b/"),
            ("GET", "http://h%41/"),
        ] {
            assert!(parse(method, target.as_bytes()).is_err(), "{method} {target}");
        }
    }

    #[test]
    fn a_refusal_knows_the_host_as_far_as_there_is_one() {
        for (method, target, known) in [
            ("GET", "https://user@H.Example/x#f", Some("h.example:443")),
            ("GET", "https://[::1]:8443/#", Some("[::1]:8443")),
            ("GET", "http://h/x#f", Some("h:80")),
            ("GET", "https://h:1#f", Some("h:1")),
            ("CONNECT", "h:1#f", Some("h:1")),
            ("GET", "ftp://h/", Some("h:21")),
            ("GET", "odd://h:7/", Some("h:7")),
            ("GET", "odd://h/", None),
            ("GET", "https://a b/", None),
            ("GET", "/x#f", None),
            ("GET", "h:80", None),
        ] {
            let refused = parse(method, target.as_bytes()).expect_err(target);
            let authority = refused.authority.map(|authority| authority.to_string());
            assert_eq!(authority.as_deref(), known, "{method} {target}");
        }
    }
}
