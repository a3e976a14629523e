//! Heads of HTTP/2 as those of HTTP/1.1, and back ([RFC 9113 §8.2], [§8.3]).
//!
//! h2 has checked what it reads: names are lower case, values hold no control characters, nothing speaks of the connection, and
//! each pseudo-header is there once, if it may be. What goes to it is checked by the types of `hyper::http`.
//!
//! [RFC 9113 §8.2]: https://www.rfc-editor.org/rfc/rfc9113#section-8.2
//! [§8.3]: https://www.rfc-editor.org/rfc/rfc9113#section-8.3

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    ext::Protocol,
    header::{self, HeaderName, HeaderValue},
    http::{request, response},
};

use super::{
    super::head::{Fields, HEAD_LIMIT_BYTES, HeadError, RequestHead, ResponseHead},
    websocket,
};

/// Fields of HTTP/1.1 that are about a connection, and have no place in HTTP/2 ([RFC 9113 §8.2.2]); `Host` is `:authority` there.
///
/// [RFC 9113 §8.2.2]: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2
const OF_A_CONNECTION: [&str; 7] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// How a body of HTTP/2 is framed in the shape of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is none.
    Nothing,
    /// As it is: the head says how long it is.
    Plain,
    /// By the chunked coding.
    Chunked,
    /// As it is, for as long as it lasts: it is no HTTP.
    Raw,
}

/// A request's head in the shape of HTTP/1.1, and how its body is to be framed; `bodiless` if it has ended already.
///
/// # Errors
/// What is wrong with it.
pub(super) fn request_to_http1(parts: &request::Parts, bodiless: bool) -> Result<(RequestHead, Coding), HeadError> {
    let mut out = Vec::with_capacity(512);
    let websocket = parts.extensions.get::<Protocol>();
    let method = match websocket {
        None if parts.method == Method::CONNECT => {
            return Err(HeadError::Malformed("a CONNECT inside a tunnel"));
        }
        None => parts.method.as_str(),
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => "GET",
        Some(_) => return Err(HeadError::Malformed("a CONNECT for a protocol that amb does not know")),
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    for part in [method, " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    if hosts.next().is_some() || host.is_some() && authority.is_some() && host != authority {
        return Err(HeadError::Malformed("more than one host"));
    }
    if let Some(host) = authority.or(host) {
        line(&mut out, "host", host);
    }
    let coding = if websocket.is_some() {
        websocket::ask(&mut out);
        Coding::Raw
    } else if bodiless {
        Coding::Nothing
    } else if parts.headers.contains_key(header::CONTENT_LENGTH) {
        Coding::Plain
    } else {
        line(&mut out, "transfer-encoding", b"chunked");
        Coding::Chunked
    };
    fields(&mut out, &parts.headers);
    out.extend_from_slice(b"\r\n");
    if out.len() > HEAD_LIMIT_BYTES {
        let long = path.len() >= HEAD_LIMIT_BYTES;
        return Err(if long {
            HeadError::TargetTooLong
        } else {
            HeadError::TooLarge
        });
    }
    let mut head = RequestHead::parse(out)?;
    head.version = super::super::head::Version::Http2;
    Ok((head, coding))
}

/// A response's head in the shape of HTTP/1.1, and how its body is to be framed; `bodiless` if it has ended already.
pub(super) fn response_to_http1(parts: &response::Parts, bodiless: bool, method: &Method) -> (Vec<u8>, Coding) {
    let mut out = Vec::with_capacity(512);
    let phrase = parts.status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", parts.status.as_str(), " ", phrase, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let empty = *method == Method::HEAD || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let announced = parts.headers.contains_key(header::TRAILER) && !bodiless;
    let long = !announced && parts.headers.contains_key(header::CONTENT_LENGTH);
    let coding = if empty {
        Coding::Nothing
    } else if long {
        Coding::Plain
    } else {
        // Also where it has ended: a response without a length would last until the connection's end.
        line(&mut out, "transfer-encoding", b"chunked");
        Coding::Chunked
    };
    fields(&mut out, &parts.headers);
    out.extend_from_slice(b"\r\n");
    (out, coding)
}

/// Writes one line.
fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the lines of all fields but `Host`, the crumbs of a cookie in one ([RFC 9113 §8.2.3]).
///
/// [RFC 9113 §8.2.3]: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3
fn fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        if *name == header::HOST {
            continue;
        }
        if *name == header::COOKIE {
            let crumbs: Vec<&[u8]> = values.collect();
            line(out, name.as_str(), &crumbs.join(&b"; "[..]));
            continue;
        }
        for value in values {
            line(out, name.as_str(), value);
        }
    }
}

/// A request of HTTP/2 of a head in the shape of HTTP/1.1. An upgrade to a WebSocket becomes a CONNECT ([RFC 8441 §5]).
///
/// # Errors
/// What of it has no place there.
///
/// [RFC 8441 §5]: https://www.rfc-editor.org/rfc/rfc8441#section-5
pub(super) fn request_to_http2(head: &RequestHead, websocket: bool) -> Result<Request<()>, &'static str> {
    let authority = head.fields.first("host").unwrap_or_default();
    let uri = Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(head.target())
        .build()
        .map_err(|_| "the request's target or host has no place in HTTP/2")?;
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri;
    if websocket {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
    } else {
        *request.method_mut() =
            Method::from_bytes(head.method().as_bytes()).map_err(|_| "the request's method has no place in HTTP/2")?;
    }
    headers(&head.fields, request.headers_mut(), |name| {
        websocket && (websocket::is_of_upgrade(name) || name.eq_ignore_ascii_case(b"content-length"))
    })?;
    if let Some(coding) = request.headers_mut().remove(header::TE)
        && coding.as_bytes().eq_ignore_ascii_case(b"trailers")
    {
        let trailers = HeaderValue::from_static("trailers");
        request.headers_mut().insert(header::TE, trailers);
    }
    Ok(request)
}

/// A response of HTTP/2 of a head in the shape of HTTP/1.1; with `status` in the place of its own, if any.
///
/// # Errors
/// What of it has no place there.
pub(super) fn response_to_http2(head: &ResponseHead, status: Option<StatusCode>) -> Result<Response<()>, &'static str> {
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    *response.status_mut() = match status {
        Some(status) => status,
        None => StatusCode::from_u16(head.status).map_err(|_| "a status that is none")?,
    };
    headers(&head.fields, response.headers_mut(), |name| {
        status.is_some() && websocket::is_of_upgrade(name)
    })?;
    Ok(response)
}

/// Adds the fields that are not about a connection, and not among those `left_out`.
fn headers(fields: &Fields, headers: &mut HeaderMap, left_out: impl Fn(&[u8]) -> bool) -> Result<(), &'static str> {
    for (name, value) in fields.iter() {
        let about_connection = OF_A_CONNECTION
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
        if about_connection || left_out(name) {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| "a field's name has no place in HTTP/2")?;
        let value = HeaderValue::from_bytes(value).map_err(|_| "a field's value has no place in HTTP/2")?;
        headers.append(name, value);
    }
    Ok(())
}

/// The answer to an upgrade, of one to a CONNECT that was granted.
pub(super) fn switching(parts: &response::Parts, accept: &str) -> Vec<u8> {
    let mut out = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    line(&mut out, "connection", b"Upgrade");
    line(&mut out, "upgrade", b"websocket");
    line(&mut out, "sec-websocket-accept", accept.as_bytes());
    fields(&mut out, &parts.headers);
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request in the shape of HTTP/1.1.
    #[track_caller]
    fn asked(request: request::Builder, bodiless: bool) -> Result<(String, Coding), HeadError> {
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let (head, coding) = request_to_http1(&parts, bodiless)?;
        let mut out = Vec::new();
        head.write_to(head.target(), &mut out);
        Ok((String::from_utf8(out).expect("text"), coding))
    }

    #[test]
    fn a_request_is_written_with_its_host_first_and_framed() {
        let get = || Request::get("https://h.test/a?b").header("x-b", "1").header("x-a", "2");
        for (request, bodiless, expected, coding) in [
            (
                get(),
                true,
                "GET /a?b HTTP/1.1\r\nhost: h.test\r\nx-b: 1\r\nx-a: 2\r\n\r\n",
                Coding::Nothing,
            ),
            (
                get(),
                false,
                "GET /a?b HTTP/1.1\r\nhost: h.test\r\ntransfer-encoding: chunked\r\nx-b: 1\r\nx-a: 2\r\n\r\n",
                Coding::Chunked,
            ),
            (
                Request::post("https://h.test:8443/")
                    .header("content-length", "5")
                    .header("host", "h.test:8443"),
                false,
                "POST / HTTP/1.1\r\nhost: h.test:8443\r\ncontent-length: 5\r\n\r\n",
                Coding::Plain,
            ),
            (
                Request::get("https://h.test/")
                    .header("cookie", "a=1")
                    .header("cookie", "b=2"),
                true,
                "GET / HTTP/1.1\r\nhost: h.test\r\ncookie: a=1; b=2\r\n\r\n",
                Coding::Nothing,
            ),
            (
                Request::options("https://h.test"),
                true,
                "OPTIONS / HTTP/1.1\r\nhost: h.test\r\n\r\n",
                Coding::Nothing,
            ),
        ] {
            assert_eq!(asked(request, bodiless), Ok((expected.to_owned(), coding)));
        }
    }

    #[test]
    fn what_has_no_one_host_or_is_too_large_is_refused() {
        for request in [
            Request::get("https://h.test/").header("host", "other.test"),
            Request::get("/").header("host", "a").header("host", "b"),
            Request::connect("h.test:443"),
            Request::get("https://h.test/").header("x", "y".repeat(70_000)),
        ] {
            assert!(asked(request, true).is_err());
        }
    }

    #[test]
    fn a_response_says_how_long_it_is_or_is_chunked() {
        for (status, lengths, bodiless, method, framed, coding) in [
            (200, None, false, Method::GET, true, Coding::Chunked),
            (200, None, true, Method::GET, true, Coding::Chunked),
            (200, Some("5"), false, Method::GET, false, Coding::Plain),
            (200, Some("5"), true, Method::HEAD, false, Coding::Nothing),
            (204, None, true, Method::GET, false, Coding::Nothing),
            (304, Some("5"), true, Method::GET, false, Coding::Nothing),
        ] {
            let mut response = Response::builder().status(status);
            if let Some(length) = lengths {
                response = response.header("content-length", length);
            }
            let (parts, ()) = response.body(()).expect("a response").into_parts();
            let (head, found) = response_to_http1(&parts, bodiless, &method);
            let head = String::from_utf8(head).expect("text");
            assert_eq!(head.contains("transfer-encoding: chunked\r\n"), framed, "{head}");
            assert_eq!(found, coding, "{head}");
            let parsed = ResponseHead::parse(head.into_bytes()).expect("a head");
            assert_eq!(parsed.status, status);
        }
    }

    #[test]
    fn nothing_about_a_connection_goes_to_http2() {
        let text = "POST /a HTTP/1.1\r\nHost: h.test\r\nX-One: 1\r\nConnection: TE\r\nTE: Trailers\r\nKeep-Alive: 5\r\n\
                    Transfer-Encoding: chunked\r\nUpgrade: x\r\nx-one: 2\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes().to_vec()).expect("a head");
        let request = request_to_http2(&head, false).expect("a request");
        assert_eq!(request.uri(), "https://h.test/a");
        let fields: Vec<(&str, &[u8])> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(fields, [("x-one", &b"1"[..]), ("x-one", b"2"), ("te", b"trailers")]);
    }

    #[test]
    fn a_websockets_upgrade_is_a_connect_and_back() {
        let text = "GET /chat HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes().to_vec()).expect("a head");
        let request = request_to_http2(&head, true).expect("a request");
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.headers().len(), 1, "{:?}", request.headers());
        let (parts, ()) = request.into_parts();
        let (back, coding) = request_to_http1(&parts, false).expect("a head");
        assert_eq!(
            (back.method(), back.target(), coding),
            ("GET", &b"/chat"[..], Coding::Raw)
        );
        assert!(super::super::super::hop::asks_for_websocket(&back.fields));
        assert_eq!(back.fields.first("sec-websocket-key").map(<[u8]>::len), Some(24));
    }
}
