//! The demo's legacy program: it takes its proxy from `http_proxy`, as many do, and knows nothing of amb.
//!
//! HTTP/1.1 by hand over std, a connection a request. It tells each answer on stdout and ends with 0 if all were as it
//! expects; some of what it expects is bad, as in real life.

use std::{
    env, fmt,
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::service::{API, BILLING, DOWNLOAD, FILES};
use crate::{cli, exit::Exit};

/// How long an answer may take. Loopback needs no such time; a demo must not hang.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request and what comes back.
struct Call {
    /// `GET` or `POST`.
    method: &'static str,
    /// The name that is called.
    host: &'static str,
    /// What is asked for there.
    path: &'static str,
    /// The request's body.
    body: &'static str,
    /// The status that it expects.
    status: u16,
}

/// A call without a body.
const fn get(host: &'static str, path: &'static str, status: u16) -> Call {
    Call {
        method: "GET",
        host,
        path,
        body: "",
        status,
    }
}

/// What the program does, in order.
const CALLS: &[Call] = &[
    get(API, "/customers", 200),
    get(API, "/customers/7", 200),
    get(API, "/customers/99", 404),
    Call {
        method: "POST",
        host: API,
        path: "/orders",
        body: r#"{"customer":7,"item":"tea"}"#,
        status: 201,
    },
    get(API, "/rates", 503),
    get(API, "/statistics", 200),
    get(FILES, "/manual.txt", 200),
    // Nobody listens there, so this answer is amb's.
    get(BILLING, "/invoices", 502),
];

/// Makes the calls.
pub fn run() -> Exit {
    let proxy = env::var("http_proxy").ok();
    let proxy = proxy.as_deref().and_then(|url| url.strip_prefix("http://"));
    let Some(proxy) = proxy else {
        cli::say(&"the demo's program reaches its hosts by the proxy in http_proxy, and there is none\nhint: amb demo");
        return Exit::Negative;
    };
    let mut all_went_well = true;
    for call in CALLS {
        let (told, went_well) = match call.make(proxy) {
            Ok(answer) => (answer.to_string(), answer.is_expected(call)),
            Err(reason) => (reason.to_string(), false),
        };
        all_went_well &= went_well;
        let url = format!("http://{}{}", call.host, call.path);
        let unexpected = if went_well { "" } else { ", unexpected" };
        if let Err(reason) = writeln!(io::stdout(), "{:4} {url:36} {told}{unexpected}", call.method) {
            tracing::debug!(%reason, "stdout takes nothing");
        }
    }
    if all_went_well { Exit::Done } else { Exit::Negative }
}

impl Call {
    /// Sends the request to the proxy and reads the answer to its end.
    fn make(&self, proxy: &str) -> io::Result<Answer> {
        let mut connection = TcpStream::connect(proxy)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let Self {
            method,
            host,
            path,
            body,
            ..
        } = self;
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        write!(
            connection,
            "{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: legacy/1.0\r\n{length}Connection: close\r\n\r\n{body}"
        )?;
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes)?;
        Answer::read(&bytes).ok_or_else(|| io::Error::other("the answer is not HTTP"))
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// `404 Not Found`.
    status_line: String,
    /// `404`.
    status: u16,
    /// The size of its body, in bytes.
    length: usize,
}

impl Answer {
    /// Reads a whole answer; none if it is not HTTP/1.
    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = str::from_utf8(&bytes[..end]).ok()?;
        let (version, status_line) = head.lines().next()?.split_once(' ')?;
        if !version.starts_with("HTTP/1.") {
            return None;
        }
        Some(Self {
            status_line: status_line.to_owned(),
            status: status_line.split(' ').next()?.parse().ok()?,
            length: bytes.len() - (end + 4),
        })
    }

    /// Whether the call expects this.
    fn is_expected(&self, call: &Call) -> bool {
        self.status == call.status && (call.host != FILES || self.length == DOWNLOAD)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.status_line, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_size() {
        let answer = Answer::read(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nnone").unwrap();
        assert_eq!((answer.status, answer.length), (404, 4));
        assert_eq!(answer.to_string(), "404 Not Found, 4 bytes");
    }

    #[test]
    fn what_is_not_http_is_no_answer() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 x\r\n\r\n",
        ] {
            assert_eq!(Answer::read(bytes), None);
        }
    }
}
