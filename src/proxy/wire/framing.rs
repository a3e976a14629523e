//! How long a body is, or why the message is refused ([RFC 9112 §6]). Pure.
//!
//! What two parsers could read differently is refused, never passed on: it is how requests are smuggled.
//!
//! [RFC 9112 §6]: https://www.rfc-editor.org/rfc/rfc9112#section-6

use super::head::{Fields, RequestHead, ResponseHead, Version};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Empty,
    /// So many bytes, more than none.
    Length(u64),
    /// By the chunked coding.
    Chunked,
    /// By the end of the connection. Responses only.
    UntilClose,
}

/// Most digits a `Content-Length` may have: 10^18 bytes fit in 64 bits with room, and no body is longer.
const LENGTH_DIGITS: usize = 19;

/// The framing of a request's body.
///
/// # Errors
/// The reason, if `Content-Length` and `Transfer-Encoding` do not give exactly one unambiguous answer.
pub(crate) fn of_request(head: &RequestHead) -> Result<Framing, &'static str> {
    let coded = head.fields.contains("transfer-encoding");
    let length = content_length(&head.fields)?;
    if !coded {
        return Ok(length.map_or(Framing::Empty, by_length));
    }
    if head.version == Version::Http10 {
        return Err("Transfer-Encoding in an HTTP/1.0 request");
    }
    if length.is_some() {
        return Err("both Content-Length and Transfer-Encoding");
    }
    let mut values = head.fields.values("transfer-encoding");
    let only = values
        .next()
        .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
        && values.next().is_none();
    if only {
        Ok(Framing::Chunked)
    } else {
        Err("a Transfer-Encoding other than chunked")
    }
}

/// The framing of the body of a response to a request with `method`.
///
/// With both fields the chunked coding wins; the caller removes `Content-Length` and does not use the connection again
/// ([RFC 9112 §6.3] rule 3). One length that is said several times is that length, as most clients have it (rule 5); the
/// caller passes it on once.
///
/// # Errors
/// The reason, if the lengths contradict each other.
///
/// [RFC 9112 §6.3]: https://www.rfc-editor.org/rfc/rfc9112#section-6.3
pub(crate) fn of_response(head: &ResponseHead, method: &str) -> Result<Framing, &'static str> {
    if method == "HEAD" || head.status < 200 || matches!(head.status, 204 | 304) {
        return Ok(Framing::Empty);
    }
    if let Some(last) = last_coding(&head.fields) {
        if head.version == Version::Http10 {
            return Err("Transfer-Encoding in an HTTP/1.0 response");
        }
        let chunked = last.eq_ignore_ascii_case(b"chunked");
        return Ok(if chunked { Framing::Chunked } else { Framing::UntilClose });
    }
    let mut lengths = head.fields.values("content-length").flat_map(|value| {
        let members = value.split(|byte| *byte == b',');
        members.map(|member| number(member.trim_ascii()))
    });
    let Some(first) = lengths.next().transpose()? else {
        return Ok(Framing::UntilClose);
    };
    for length in lengths {
        if length? != first {
            return Err("more than one Content-Length, and they differ");
        }
    }
    Ok(by_length(first))
}

/// Whether a response's body has a transfer coding, which takes the place of any `Content-Length`.
pub(crate) fn is_coded(fields: &Fields) -> bool {
    last_coding(fields).is_some()
}

/// Whether every client reads a response's transfer coding alike: none, or `chunked` alone. Behind any other the connection is
/// closed, so that a client which takes the body to last until then is not left waiting.
pub(crate) fn is_plain(fields: &Fields) -> bool {
    let mut values = fields.values("transfer-encoding");
    values
        .next()
        .is_none_or(|value| value.eq_ignore_ascii_case(b"chunked") && values.next().is_none())
}

/// The length that a response says several times, if it does and always says the same: some clients refuse that, and which one
/// they take must not be left to them.
pub(crate) fn repeated_length(fields: &Fields) -> Option<Vec<u8>> {
    let mut values = fields.values("content-length");
    let said_once = values.next().is_none_or(|value| !value.contains(&b',')) && values.next().is_none();
    if said_once {
        return None;
    }
    let mut members = fields.members("content-length");
    let (first, second) = (members.next()?, members.next()?);
    (first == second && members.all(|other| other == first)).then(|| first.to_vec())
}

/// The last of a response's transfer codings. `identity` was removed from HTTP; old servers send it and mean nothing by it.
fn last_coding(fields: &Fields) -> Option<&[u8]> {
    // Nearly no response has a field of this name, and to look for one is all that is done then.
    if !fields.contains("transfer-encoding") {
        return None;
    }
    fields
        .members("transfer-encoding")
        .filter(|coding| !coding.eq_ignore_ascii_case(b"identity"))
        .last()
}

/// No body at all for a length of nothing.
fn by_length(length: u64) -> Framing {
    if length == 0 {
        Framing::Empty
    } else {
        Framing::Length(length)
    }
}

/// The one `Content-Length` of a request, digits only.
fn content_length(fields: &Fields) -> Result<Option<u64>, &'static str> {
    let mut values = fields.values("content-length");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("more than one Content-Length");
    }
    number(value).map(Some)
}

/// A length, digits only.
fn number(value: &[u8]) -> Result<u64, &'static str> {
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return Err("a Content-Length that is not a plain number");
    }
    let length = value.iter().try_fold(0u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    length.ok_or("a Content-Length beyond 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing of a request with these field lines.
    #[track_caller]
    fn request(lines: &str) -> Result<Framing, &'static str> {
        let version = if lines.starts_with("1.0 ") {
            "HTTP/1.0"
        } else {
            "HTTP/1.1"
        };
        let lines = lines.trim_start_matches("1.0 ");
        let text = format!("POST / {version}\r\n{lines}\r\n");
        of_request(&RequestHead::parse(text.into_bytes()).expect("a good head"))
    }

    /// The framing of a response with this status and these field lines.
    #[track_caller]
    fn response(status: u16, lines: &str, method: &str) -> Result<Framing, &'static str> {
        let text = format!("HTTP/1.1 {status} X\r\n{lines}\r\n");
        of_response(&ResponseHead::parse(text.into_bytes()).expect("a good head"), method)
    }

    #[test]
    fn a_request_has_one_unambiguous_length() {
        assert_eq!(request(""), Ok(Framing::Empty));
        assert_eq!(request("Content-Length: 0\r\n"), Ok(Framing::Empty));
        assert_eq!(request("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(request("content-length: 007\r\n"), Ok(Framing::Length(7)));
        assert_eq!(request("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    }

    #[test]
    fn an_ambiguous_request_is_refused() {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 1_0\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 9999999999999999999999\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding:\r\n",
            "1.0 Transfer-Encoding: chunked\r\n",
        ] {
            assert!(request(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_response_without_a_body_has_none_whatever_it_says() {
        for (status, method) in [(200, "HEAD"), (204, "GET"), (304, "GET"), (103, "GET")] {
            assert_eq!(response(status, "Content-Length: 5\r\n", method), Ok(Framing::Empty));
            assert_eq!(
                response(status, "Transfer-Encoding: chunked\r\n", method),
                Ok(Framing::Empty)
            );
        }
    }

    #[test]
    fn a_response_is_framed_as_the_rules_rank() {
        assert_eq!(response(200, "", "GET"), Ok(Framing::UntilClose));
        assert_eq!(response(200, "Content-Length: 5\r\n", "GET"), Ok(Framing::Length(5)));
        assert_eq!(
            response(200, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "GET"),
            Ok(Framing::Chunked)
        );
        assert_eq!(
            response(200, "Transfer-Encoding: gzip, chunked\r\n", "GET"),
            Ok(Framing::Chunked)
        );
        assert_eq!(
            response(200, "Transfer-Encoding: gzip\r\n", "GET"),
            Ok(Framing::UntilClose)
        );
        assert_eq!(
            response(200, "Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "GET"),
            Ok(Framing::Length(3))
        );
        assert!(response(200, "Content-Length: 5\r\nContent-Length: 6\r\n", "GET").is_err());
        for lines in [
            "Content-Length: abc\r\n",
            "Content-Length:\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: 5\r\nContent-Length: 05x\r\n",
        ] {
            assert!(response(200, lines, "GET").is_err(), "{lines:?}");
        }
    }

    #[test]
    fn one_length_said_twice_by_a_server_is_that_length() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5 ,5\r\nContent-Length: 5\r\n",
        ] {
            assert_eq!(response(200, lines, "GET"), Ok(Framing::Length(5)), "{lines:?}");
        }
        assert_eq!(response(205, "", "GET"), Ok(Framing::UntilClose));
        assert_eq!(response(205, "Content-Length: 0\r\n", "GET"), Ok(Framing::Empty));
    }
}
