//! The address of a proxy: `SCHEME://USER:PASSWORD@HOST:PORT`.

use std::{fmt, net::Ipv6Addr};

use crate::policy::percent;

/// A text that is shown to nobody: its `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the wire.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP: absolute form, and CONNECT for tunnels.
    Http,
    /// SOCKS 5 with an address that amb has resolved.
    Socks5,
    /// SOCKS 5 with a name that the proxy resolves.
    Socks5h,
}

impl Kind {
    /// The scheme in a URL.
    const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// The port where none is written: 80 as most clients have it (curl has 1080), and that of SOCKS.
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

/// What a proxy asks for before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user, percent-decoded; shown to nobody either, for tokens are written here too.
    pub user: Secret,
    /// The password, percent-decoded; empty if there is none.
    pub password: Secret,
}

/// A proxy that amb uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentProxy {
    /// How it is spoken to.
    pub kind: Kind,
    /// A name in lower case or an address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// What to prove who we are with, if the address says so.
    pub credentials: Option<Credentials>,
    /// The flag or the variable that named it.
    pub source: &'static str,
}

impl fmt::Display for ParentProxy {
    /// The address without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, host, port, .. } = self;
        let scheme = kind.scheme();
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl ParentProxy {
    /// Reads the address that `source` holds: without a scheme it is an HTTP proxy; a path is ignored, as in curl.
    pub(super) fn read(source: &'static str, text: &str) -> Result<Self, String> {
        let refused = |reason: &str| format!("{source}: `{}` is not the address of a proxy: {reason}", masked(text));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" => Kind::Socks5,
            // GNOME writes `socks://` into `all_proxy`, and means a proxy that resolves.
            "socks5h" | "socks" => Kind::Socks5h,
            "https" => {
                return Err(format!(
                    "{source}: `{}` is a proxy that is spoken to in TLS, which amb cannot do yet: use its http:// \
                     address, or `--upstream-proxy none` to go without it",
                    masked(text)
                ));
            }
            _ => return Err(refused("its scheme is none of http, socks5, socks5h")),
        };
        // The last `@` of the authority: an unencoded one in a password does no harm.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (user_info, host_and_port) = match authority.rsplit_once('@') {
            Some((user_info, host_and_port)) => (Some(user_info), host_and_port),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port).ok_or_else(|| refused("its port is not a number"))?;
        let host = host_name(host).ok_or_else(|| refused("it has no valid host"))?;
        let port = match port {
            None => kind.default_port(),
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(refused("its port is not between 1 and 65535")),
            },
        };
        let credentials = match user_info {
            None | Some("" | ":") => None,
            Some(user_info) => Some(Credentials::read(kind, user_info).map_err(refused)?),
        };
        Ok(Self {
            kind,
            host,
            port,
            credentials,
            source,
        })
    }
}

impl Credentials {
    /// Reads `USER:PASSWORD` of a URL.
    fn read(kind: Kind, user_info: &str) -> Result<Self, &'static str> {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
        match kind {
            // RFC 7617 §2: the first colon ends the user.
            Kind::Http if user.contains(':') => Err("its user holds a colon"),
            // RFC 1929 §2: each is 1 to 255 bytes long.
            Kind::Socks5 | Kind::Socks5h
                if !(1..=255).contains(&user.len()) || !(1..=255).contains(&password.len()) =>
            {
                Err("SOCKS 5 takes a user and a password of 1 to 255 bytes each")
            }
            _ => Ok(Self {
                user: Secret(user),
                password: Secret(password),
            }),
        }
    }
}

/// The text with `%XX` as the byte it stands for; a `%` that begins no such group stays, as in curl's own URLs.
fn percent_decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent::decoded(text.as_bytes(), false).into_owned();
    if decoded.iter().any(u8::is_ascii_control) {
        return Err("its user or password holds a control character");
    }
    String::from_utf8(decoded).map_err(|_| "its user or password is not UTF-8")
}

/// Host and port; `None` if what follows the host is not a port.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = if let Some(end) = text.find(']') {
        let (host, rest) = text.split_at(end + 1);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return None,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.filter(|port| !port.is_empty());
    port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some((host, port))
}

/// A host as it is dialled: a name in lower case or an address without brackets. `None` if it is neither.
fn host_name(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']')?;
        return address.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_name.then(|| text.to_ascii_lowercase())
}

/// The address without user and password, for messages.
///
/// Up to the *last* `@` of the whole text, because it may be malformed in any way.
pub(super) fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or(0, |colon| colon + "://".len());
            format!("{}***@{}", &before[..scheme], after.escape_default())
        }
        None => text.escape_default().to_string(),
    }
}
