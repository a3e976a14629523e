//! What a response says of where its request was sent, said of where it was asked for: `Location`, `Content-Location`,
//! `Refresh`, and the domains and paths of cookies.
//!
//! Otherwise a client would follow a redirection past the rewriting, and keep cookies for a host that it never asks.

use super::rewrite::{Place, Rewrite, Scheme, exchange};
use crate::policy::matching::host::of_request;

/// From where to where a request was rewritten.
#[derive(Clone, Debug)]
pub struct Trip {
    /// What was asked for.
    pub asked: Place,
    /// The host and port as the client wrote them.
    pub written: String,
    /// Where it was sent.
    pub sent: Place,
}

impl Trip {
    /// Whether a URL with this scheme, host and port means the server as it was asked.
    fn leads_to(&self, rewrite: &Rewrite, scheme: Scheme, authority: &str) -> bool {
        let Ok((host, port)) = of_request(authority, Some(scheme.port())) else {
            return false;
        };
        let same = |place: &Place| place.scheme == scheme && place.host == host && place.port == port;
        // A server that is told the name that was asked for speaks of itself by that name, if by its own scheme.
        let preserved = || {
            let told = of_request(&self.written, Some(scheme.port()));
            scheme == self.sent.scheme && told.is_ok_and(|told| told == (host.clone(), port))
        };
        same(&self.sent) || rewrite.preserves_host && preserved()
    }
}

impl Rewrite {
    /// What `name`, a field of a response, says to the client in the place of `value`; none if that stays.
    pub fn back(&self, name: &[u8], value: &[u8], trip: &Trip) -> Option<Vec<u8>> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("location") || is("content-location") {
            self.url_back(value, trip)
        } else if is("refresh") {
            self.refresh_back(value, trip)
        } else if is("set-cookie") {
            self.cookie_back(value, trip)
        } else {
            None
        }
    }

    /// A URL, or what may stand for one ([RFC 3986 §4](https://www.rfc-editor.org/rfc/rfc3986#section-4)).
    fn url_back(&self, url: &[u8], trip: &Trip) -> Option<Vec<u8>> {
        let begins = |with: &str| {
            let begin = url.get(..with.len())?;
            begin
                .eq_ignore_ascii_case(with.as_bytes())
                .then_some(&url[with.len()..])
        };
        let (named, scheme, rest) = if let Some(rest) = begins("http://") {
            (true, Scheme::Http, rest)
        } else if let Some(rest) = begins("https://") {
            (true, Scheme::Https, rest)
        } else if let Some(rest) = begins("//") {
            (false, trip.sent.scheme, rest)
        } else if url.starts_with(b"/") {
            return self.path_back(url);
        } else {
            return None;
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
        let authority = str::from_utf8(authority).ok()?;
        if !trip.leads_to(self, scheme, authority) {
            return None;
        }
        let mut back = Vec::with_capacity(url.len());
        if named {
            back.extend_from_slice(trip.asked.scheme.name().as_bytes());
            back.push(b':');
        }
        back.extend_from_slice(b"//");
        back.extend_from_slice(trip.written.as_bytes());
        match self.path_back(path) {
            Some(path) => back.extend(path),
            None => back.extend_from_slice(path),
        }
        (back != url).then_some(back)
    }

    /// A path, and what stands behind it.
    fn path_back(&self, path: &[u8]) -> Option<Vec<u8>> {
        if !self.moves_paths() {
            return None;
        }
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let (path, rest) = path.split_at(end.unwrap_or(path.len()));
        let mut back = exchange(path, &self.prefix, &self.stripped)?;
        back.extend_from_slice(rest);
        Some(back)
    }

    /// `5; url=https://…`
    fn refresh_back(&self, value: &[u8], trip: &Trip) -> Option<Vec<u8>> {
        let lower = value.to_ascii_lowercase();
        let mut from = memchr::memmem::find(&lower, b"url=")? + b"url=".len();
        let quote = value.get(from).copied().filter(|byte| matches!(byte, b'"' | b'\''));
        from += usize::from(quote.is_some());
        let rest = &value[from..];
        let end = quote
            .and_then(|quote| memchr::memchr(quote, rest))
            .unwrap_or(rest.len());
        let back = self.url_back(&rest[..end], trip)?;
        Some([&value[..from], &back, &rest[end..]].concat())
    }

    /// A cookie, whose name and value stay ([RFC 6265 §4.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1)).
    fn cookie_back(&self, value: &[u8], trip: &Trip) -> Option<Vec<u8>> {
        let mut changed = false;
        let mut back: Vec<Vec<u8>> = Vec::new();
        for (at, part) in value.split(|byte| *byte == b';').enumerate() {
            let other = if at == 0 {
                Attribute::Stays
            } else {
                self.attribute_back(part, trip)
            };
            changed |= other != Attribute::Stays;
            match other {
                Attribute::Stays => back.push(part.to_vec()),
                Attribute::Goes => {}
                Attribute::Becomes(other) => back.push(other),
            }
        }
        changed.then(|| back.join(&b';'))
    }

    /// An attribute of a cookie.
    fn attribute_back(&self, part: &[u8], trip: &Trip) -> Attribute {
        let equals = memchr::memchr(b'=', part);
        let name = part[..equals.unwrap_or(part.len())].trim_ascii().to_ascii_lowercase();
        let worth = equals.map(|equals| part[equals + 1..].trim_ascii());
        match (name.as_slice(), worth) {
            (b"domain", Some(domain)) => domain_back(domain, trip),
            (b"path", Some(path)) => self.path_back(path).map_or(Attribute::Stays, |path| {
                Attribute::Becomes([b" Path=", path.as_slice()].concat())
            }),
            // A client that asks in the clear would not send it again.
            (b"secure", None) if trip.asked.scheme == Scheme::Http && trip.sent.scheme == Scheme::Https => {
                Attribute::Goes
            }
            _ => Attribute::Stays,
        }
    }
}

/// What becomes of an attribute of a cookie.
#[derive(Debug, PartialEq, Eq)]
enum Attribute {
    /// It stays as it is.
    Stays,
    /// It goes: a cookie without `Domain` is one of the host alone.
    Goes,
    /// It becomes this.
    Becomes(Vec<u8>),
}

/// The attribute `Domain` of a cookie.
fn domain_back(domain: &[u8], trip: &Trip) -> Attribute {
    let Ok(domain) = str::from_utf8(domain) else {
        return Attribute::Stays;
    };
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let (asked, sent) = (&trip.asked.host, &trip.sent.host);
    let is_of = |host: &str| host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
    if asked == sent || is_of(asked) || !is_of(sent) {
        return Attribute::Stays;
    }
    // Neither an address nor a name without a dot can be a domain.
    if asked.contains('.') && asked.parse::<std::net::IpAddr>().is_err() {
        Attribute::Becomes([b" Domain=", asked.as_bytes()].concat())
    } else {
        Attribute::Goes
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{rewrite::RewriteOptions, value::tests::with_known},
        *,
    };

    /// What a field says to a client that asked for `http://soap.example.com/v1/…`, of a server that is
    /// `https://v2.example.net/v2/…`.
    fn back(name: &str, value: &str, options: &str) -> Option<String> {
        let options: RewriteOptions = serde_json::from_str(options).unwrap();
        let rewrite = with_known(|known| options.build(known, &mut Vec::new())).unwrap();
        let asked = Place {
            scheme: Scheme::Http,
            host: "soap.example.com".into(),
            port: 80,
        };
        let trip = Trip {
            sent: rewrite.place(&asked).unwrap(),
            asked,
            written: "Soap.example.com".into(),
        };
        let found = rewrite.back(name.as_bytes(), value.as_bytes(), &trip)?;
        Some(String::from_utf8(found).unwrap())
    }

    /// All of it.
    const ALL: &str = r#"{ "scheme": "https", "host": "v2.example.net", "path-prefix": "/v2", "strip-prefix": "/v1" }"#;

    #[track_caller]
    fn check(name: &str, value: &str, expected: Option<&str>) {
        assert_eq!(back(name, value, ALL).as_deref(), expected, "{name}: {value}");
    }

    #[test]
    fn a_url_of_the_server_is_one_of_what_was_asked_for() {
        for name in ["Location", "content-location"] {
            check(
                name,
                "https://v2.example.net/v2/a?b#c",
                Some("http://Soap.example.com/v1/a?b#c"),
            );
        }
        check(
            "Location",
            "HTTPS://V2.example.net:443/v2",
            Some("http://Soap.example.com/v1"),
        );
        check(
            "Location",
            "https://v2.example.net/other",
            Some("http://Soap.example.com/other"),
        );
        check("Location", "https://v2.example.net", Some("http://Soap.example.com"));
        check("Location", "//v2.example.net/v2/a", Some("//Soap.example.com/v1/a"));
        check("Location", "/v2/a?x=/v2", Some("/v1/a?x=/v2"));
        check("Location", "/v22/a", None);
        check("Location", "a/b", None);
        check("Location", "https://v2.example.net:8443/v2/a", None);
        check("Location", "http://v2.example.net/v2/a", None);
        check("Location", "https://elsewhere.example/v2/a", None);
        check("Link", "</v2/a>", None);
    }

    #[test]
    fn a_server_that_is_told_the_name_that_was_asked_for_speaks_by_it() {
        let options = r#"{ "scheme": "https", "host": "v2.example.net", "preserve-host": true }"#;
        let found = back("Location", "https://soap.example.com/a", options);
        assert_eq!(found.as_deref(), Some("http://Soap.example.com/a"));
        let found = back("Location", "http://soap.example.com/a", options);
        assert_eq!(found, None);
    }

    #[test]
    fn a_refresh_leads_back() {
        check(
            "Refresh",
            "5; url=https://v2.example.net/v2/a",
            Some("5; url=http://Soap.example.com/v1/a"),
        );
        check("Refresh", "0;URL='/v2/a' ", Some("0;URL='/v1/a' "));
        check("Refresh", "5", None);
    }

    #[test]
    fn a_cookie_is_for_what_was_asked_for() {
        let check = |value, expected| check("Set-Cookie", value, expected);
        check(
            "a=b; Domain=v2.example.net;Path=/v2/x; Secure; HttpOnly",
            Some("a=b; Domain=soap.example.com; Path=/v1/x; HttpOnly"),
        );
        check("a=b; domain=.example.net", Some("a=b; Domain=soap.example.com"));
        check("path=/v2; Path=/", None);
        check("a=b; Domain=com", None);
        check("a=b; secure; Max-Age=5", Some("a=b; Max-Age=5"));
        check("a=Domain=v2.example.net", None);
    }
}
