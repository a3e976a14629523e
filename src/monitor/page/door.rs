//! Who may see the page: a pure decision about a request's head, beside the look at whose connection it is.

use std::{fmt::Write as _, io, net::SocketAddr};

use hyper::{
    HeaderMap, StatusCode, Uri,
    header::{COOKIE, HOST, HeaderName, ORIGIN},
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{monitor::endpoint::Ends, proxy::is_of_this_user};

/// Where browsers say what has made them ask.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It knows the token, and gets this cookie for it.
    Welcome(String),
    /// It has the cookie.
    Known,
    /// It gets nothing.
    Refused(StatusCode, &'static str),
}

/// What a request must know.
#[derive(Debug)]
pub(super) struct Door {
    /// Where the page is.
    address: SocketAddr,
    /// What the URL has in it.
    token: String,
    /// What the cookie has in it: cookies go to all ports of a host, and must not give the token away.
    pass: String,
}

impl Door {
    /// With secrets of its own.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            address,
            token: secret()?,
            pass: secret()?,
        })
    }

    /// What opens the page.
    pub(super) fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }

    /// Decides about a request; `ends` are the ends of its connection, if they are known.
    pub(super) fn judge(&self, ends: Option<Ends>, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let of_user = ends.is_some_and(|ends| is_of_this_user(ends.peer, ends.own));
        if !of_user {
            return Verdict::Refused(StatusCode::FORBIDDEN, "this page is for the user who has started amb");
        }
        self.judge_head(uri, headers)
    }

    /// Decides by what the request says.
    fn judge_head(&self, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let Some(host) = only(headers, &HOST).filter(|host| self.is_called(host)) else {
            return Verdict::Refused(
                StatusCode::MISDIRECTED_REQUEST,
                "this is not where that name leads: use the address that amb has written",
            );
        };
        let foreign = headers
            .get_all(ORIGIN)
            .iter()
            .any(|origin| origin.as_bytes() != format!("http://{host}").as_bytes())
            || headers
                .get_all(SEC_FETCH_SITE)
                .iter()
                .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
        if foreign {
            return Verdict::Refused(
                StatusCode::FORBIDDEN,
                "another page has asked for this: put the address into the browser's own address bar",
            );
        }
        let token = uri.query().unwrap_or_default().split('&');
        let mut token = token.filter_map(|pair| pair.strip_prefix("token="));
        if uri.path() == "/"
            && let Some(token) = token.next()
        {
            return if same(token, &self.token) {
                Verdict::Welcome(format!(
                    "{}={}; Path=/; HttpOnly; SameSite=Strict",
                    self.cookie(),
                    self.pass
                ))
            } else {
                Verdict::Refused(StatusCode::UNAUTHORIZED, "this token is not that of this run")
            };
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        if cookies.any(|(name, value)| name == self.cookie() && same(value, &self.pass)) {
            Verdict::Known
        } else {
            Verdict::Refused(
                StatusCode::UNAUTHORIZED,
                "the address that amb has written to its stderr has a token in it, which is needed",
            )
        }
    }

    /// The cookie's name: each run has one of its own, as cookies do not know ports.
    fn cookie(&self) -> String {
        format!("amb-{}", self.address.port())
    }

    /// Whether this names where the page listens. A name of somebody's own domain that leads here does not.
    fn is_called(&self, host: &str) -> bool {
        let port = self.address.port();
        host == self.address.to_string() || host.eq_ignore_ascii_case(&format!("localhost:{port}"))
    }
}

/// The header's value, if there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

/// Whether both are the same, in a time that does not tell how much of them is.
fn same(given: &str, secret: &str) -> bool {
    let pairs = given.bytes().zip(secret.bytes());
    let differ = pairs.fold(0, |differ, (one, other)| differ | (one ^ other));
    given.len() == secret.len() && std::hint::black_box(differ) == 0
}

/// 256 bits that nobody guesses, in hexadecimal.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    if getrandom(&mut bytes, GetRandomFlags::empty())? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A door at a port.
    fn door() -> Door {
        Door::new("127.0.0.1:4711".parse().unwrap()).unwrap()
    }

    /// What becomes of a request to this path with these headers.
    fn judged(door: &Door, path: &str, headers: &[(&'static str, &str)]) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        door.judge_head(&path.parse().unwrap(), &map)
    }

    /// The status of a refusal; 0 if there was none.
    fn refused(verdict: &Verdict) -> u16 {
        match verdict {
            Verdict::Refused(status, _) => status.as_u16(),
            _ => 0,
        }
    }

    #[test]
    fn the_token_opens_the_page_and_the_cookie_keeps_it_open() {
        let door = door();
        let path = format!("/?token={}", door.token);
        let host = ("host", "127.0.0.1:4711");
        let Verdict::Welcome(cookie) = judged(&door, &path, &[host]) else {
            panic!("the token is right");
        };
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict") && !cookie.contains(&door.token));
        let cookie = cookie.split(';').next().unwrap();
        for headers in [
            vec![host, ("cookie", cookie)],
            vec![("host", "LOCALHOST:4711"), ("cookie", cookie)],
            vec![host, ("origin", "http://127.0.0.1:4711"), ("cookie", cookie)],
            vec![host, ("sec-fetch-site", "same-origin"), ("cookie", cookie)],
        ] {
            assert_eq!(judged(&door, "/v1/live", &headers), Verdict::Known, "{headers:?}");
        }
        let among_others = format!("a=b; {cookie}; c=d");
        assert_eq!(judged(&door, "/", &[host, ("cookie", &among_others)]), Verdict::Known);
    }

    #[test]
    fn who_does_not_know_enough_gets_nothing() {
        let door = door();
        let right = format!("/?token={}", door.token);
        let cookie = format!("amb-4711={}", door.pass);
        let host = ("host", "127.0.0.1:4711");
        let shorter = &door.token[1..];
        for (path, headers, expected) in [
            ("/", vec![host], 401),
            ("/?token=", vec![host], 401),
            (&*format!("/?token={shorter}"), vec![host], 401),
            (&*format!("/?token={}", door.pass), vec![host], 401),
            (&*format!("/v1/live?token={}", door.token), vec![host], 401),
            ("/v1/live", vec![host, ("cookie", "amb-4711=")], 401),
            ("/v1/live", vec![host, ("cookie", "amb-4711=x")], 401),
            (&*right, vec![], 421),
            (&*right, vec![("host", "127.0.0.1")], 421),
            (&*right, vec![("host", "127.0.0.1:4712")], 421),
            (&*right, vec![("host", "rebound.example:4711")], 421),
            (&*right, vec![host, host], 421),
            ("/", vec![("host", "rebound.example:4711"), ("cookie", &*cookie)], 421),
            (&*right, vec![host, ("origin", "https://evil.example")], 403),
            (&*right, vec![host, ("origin", "http://localhost:4711")], 403),
            (&*right, vec![host, ("origin", "null")], 403),
            (&*right, vec![host, ("sec-fetch-site", "cross-site")], 403),
            (
                "/v1/live",
                vec![host, ("sec-fetch-site", "same-site"), ("cookie", &*cookie)],
                403,
            ),
        ] {
            assert_eq!(refused(&judged(&door, path, &headers)), expected, "{path} {headers:?}");
        }
    }

    #[test]
    fn a_connection_of_which_nothing_is_known_gets_nothing() {
        let door = door();
        let uri = format!("/?token={}", door.token).parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "127.0.0.1:4711".parse().unwrap());
        assert_eq!(refused(&door.judge(None, &uri, &headers)), 403);
    }
}
