//! amb's own answers: made so that nobody takes them for the server's.
//!
//! `Proxy-Status` ([RFC 9209]) for programs, `application/problem+json` ([RFC 9457]) for developers; HTML or plain text
//! only for a client that asks for it.
//!
//! [RFC 9209]: https://www.rfc-editor.org/rfc/rfc9209
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use super::{error::ExchangeError, wire::head::RequestHead};
use crate::veil;

/// The line that marks what amb answers by itself and is no error: `proxy_internal_response` of [RFC 9209 §2.3].
///
/// The 200 to a `CONNECT` goes without: a client's parser for it may be a few lines that look for the empty one.
///
/// [RFC 9209 §2.3]: https://www.rfc-editor.org/rfc/rfc9209#section-2.3
pub(crate) const OWN: &str = "Proxy-Status: amb; error=proxy_internal_response\r\n";

/// What an answer is made of.
pub(crate) struct Answer<'a> {
    /// The error that it is for.
    pub(crate) error: &'a ExchangeError,
    /// The request, if it could be read.
    pub(crate) request: Option<&'a RequestHead>,
    /// The request's number in this run.
    pub(crate) id: u64,
    /// `host:port` that was asked for; empty if unknown.
    pub(crate) next_hop: String,
    /// Whether the connection ends after it.
    pub(crate) close: bool,
}

impl Answer<'_> {
    /// The answer's bytes, head and body.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let verdict = self.error.verdict();
        let detail = veil::text(&self.error.to_string()).into_owned();
        let (media_type, body) = self.body(verdict.status, &detail);
        let next_hop = if self.next_hop.is_empty() {
            String::new()
        } else {
            format!("; next-hop={}", quoted(&self.next_hop))
        };
        let status_line = format!("HTTP/1.1 {} {}\r\n", verdict.status, phrase(verdict.status));
        let proxy_status = format!(
            "Proxy-Status: amb; error={}{}{next_hop}; details={}\r\n",
            verdict.error,
            self.error.parameters(),
            quoted(&detail),
        );
        let mut out = status_line;
        out.push_str(&proxy_status);
        for part in [
            "Content-Type: ",
            media_type,
            "\r\nContent-Length: ",
            &body.len().to_string(),
            "\r\n",
        ] {
            out.push_str(part);
        }
        if let Some(seconds) = self.error.retry_after() {
            out.extend(["Retry-After: ", &seconds.to_string(), "\r\n"]);
        }
        if self.close {
            out.push_str("Connection: close\r\n");
        } else if self
            .request
            .is_some_and(|request| request.version == super::wire::head::Version::Http10)
        {
            out.push_str("Connection: keep-alive\r\n");
        }
        out.push_str("\r\n");
        if self.request.is_none_or(|request| request.method() != "HEAD") {
            out.push_str(&body);
        }
        out.into_bytes()
    }

    /// The body in the type that the client prefers.
    fn body(&self, status: u16, detail: &str) -> (&'static str, String) {
        let title = phrase(status);
        let error = self.error.error_type();
        match self.wanted() {
            Wanted::Html => (
                "text/html; charset=utf-8",
                format!(
                    "<!doctype html><title>{status} {title}</title><h1>{status} {title}</h1><p>{}</p>\
                     <p>Answered by amb, the proxy in front of this program ({error}), not by the server.</p>\n",
                    escaped(detail)
                ),
            ),
            Wanted::Plain => (
                "text/plain; charset=utf-8",
                format!(
                    "{status} {title}: {detail}\nAnswered by amb, the proxy in front of this program ({error}), not by the server.\n"
                ),
            ),
            Wanted::Problem => {
                let mut problem = serde_json::json!({
                    "type": format!("urn:amb:error:{error}"),
                    "title": title,
                    "status": status,
                    "detail": detail,
                    "blame": self.error.verdict().blame.to_string(),
                    "request_id": self.id,
                });
                if let ExchangeError::EgressDenied(denial) = self.error {
                    problem["rule"] = denial.rule.clone().into();
                    if let Some(contact) = &denial.contact {
                        problem["contact"] = contact.clone().into();
                    }
                }
                if !self.next_hop.is_empty() {
                    problem["upstream"] = self.next_hop.clone().into();
                }
                ("application/problem+json", format!("{problem}\n"))
            }
        }
    }

    /// What the client's `Accept` asks for by name; wildcards ask for nothing in particular.
    fn wanted(&self) -> Wanted {
        let Some(request) = self.request else {
            return Wanted::Problem;
        };
        for member in request.fields.members("accept") {
            let media_type = member
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            if media_type.eq_ignore_ascii_case(b"text/html") {
                return Wanted::Html;
            }
            if media_type.eq_ignore_ascii_case(b"text/plain") {
                return Wanted::Plain;
            }
            if media_type.ends_with(b"json") {
                return Wanted::Problem;
            }
        }
        Wanted::Problem
    }
}

/// The kinds of body.
enum Wanted {
    /// `text/html`.
    Html,
    /// `text/plain`.
    Plain,
    /// `application/problem+json`.
    Problem,
}

/// A string of structured fields ([RFC 8941 §3.3.3]): visible ASCII in quotes, the rest replaced.
///
/// [RFC 8941 §3.3.3]: https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            ' '..='~' => out.push(letter),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

/// Text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The reason phrases of amb's own statuses.
fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
