//! amb's proxy by itself, and clients that talk to it byte for byte.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Amb, PATIENCE, Running};

/// How long a connection takes no byte before its way is full.
const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 300_000_000,
};

/// A running amb whose child does nothing but wait.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The run.
    pub(crate) running: Running,
    /// Where its proxy listens.
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// Without any flags.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::with(std::iter::empty::<OsString>())
    }

    /// With these flags of `amb run`.
    #[track_caller]
    pub(crate) fn with<T: Into<OsString>>(flags: impl IntoIterator<Item = T>) -> Self {
        Self::of(Amb::run(flags))
    }

    /// Of this run.
    #[track_caller]
    pub(crate) fn of(run: Amb) -> Self {
        let running = run
            .reporting()
            .open_stdin()
            .command(["sh", "-c", "echo \"proxy $AMB_PROXY_URL\"; cat >/dev/null"])
            .start();
        let address = running.wait_for_rest("proxy http://");
        let address = address.trim_end_matches('/').parse().expect("an address");
        Self { running, address }
    }

    /// A client's connection to it.
    #[track_caller]
    pub(crate) fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).expect("the proxy listens"))
    }

    /// Sends these bytes over a connection of their own and returns the first answer to them.
    #[track_caller]
    pub(crate) fn ask(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(bytes);
        client.answer()
    }

    /// Ends the run, well, and returns what it recorded.
    #[track_caller]
    pub(crate) fn end(self) -> Records {
        let outcome = self.running.wait();
        outcome.assert_status(0);
        let said = outcome.stderr().to_owned();
        assert!(!said.contains("panicked"), "{said}");
        Records::of(outcome.report.expect("a report"))
    }
}

/// What a run recorded.
#[derive(Debug)]
pub(crate) struct Records {
    /// The run's JSON report.
    report: serde_json::Value,
    /// The same as text.
    text: String,
}

impl Records {
    /// By a run's report.
    pub(crate) fn of(report: serde_json::Value) -> Self {
        let text = report.to_string();
        Self { report, text }
    }

    /// All of the report.
    pub(crate) fn report(&self) -> &serde_json::Value {
        &self.report
    }

    /// A sum of the whole run.
    #[track_caller]
    fn number(&self, section: &str, name: &str) -> u64 {
        self.report["totals"][section][name].as_u64().expect("a sum")
    }

    /// A part of the report, by its JSON pointer.
    #[track_caller]
    pub(crate) fn part(&self, pointer: &str) -> &serde_json::Value {
        let part = self.report.pointer(pointer);
        part.unwrap_or_else(|| panic!("no {pointer} in {}", self.text))
    }

    /// The number of exchanges of this kind: `total`, `ok`, `failed`, `denied`, `aborted`, `cut_short`, `resends`.
    #[track_caller]
    pub(crate) fn exchanges(&self, kind: &str) -> u64 {
        self.number("requests", kind)
    }

    /// The number of tunnels of this kind: `total`, `ok`, `failed`, `denied`, `aborted`, `open_at_end`.
    #[track_caller]
    pub(crate) fn tunnels(&self, kind: &str) -> u64 {
        self.number("tunnels", kind)
    }

    /// What retries did: `retried`, `retries`, `rescued`, `hedged`, `hedges_won`, or `refused.REASON`; 0 if nothing is said.
    pub(crate) fn retries(&self, kind: &str) -> u64 {
        let path = format!("/totals/retries/{}", kind.replace('.', "/"));
        self.report
            .pointer(&path)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default()
    }

    /// Retries did exactly this; what is not mentioned did not happen, other than how long was waited.
    #[track_caller]
    pub(crate) fn assert_retries(&self, expected: &[(&str, u64)]) -> &Self {
        let sums = &self.report["totals"]["retries"];
        let mut found = Vec::new();
        for (table, prefix) in [(sums, ""), (&sums["refused"], "refused.")] {
            for (name, value) in table.as_object().into_iter().flatten() {
                if let Some(count @ 1..) = value.as_u64() {
                    found.push((format!("{prefix}{name}"), count));
                }
            }
        }
        let mut expected: Vec<(String, u64)> = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}", self.text);
        self
    }

    /// There were exactly so many exchanges of these kinds and no others.
    #[track_caller]
    pub(crate) fn assert_exchanges(&self, expected: &[(&str, u64)]) -> &Self {
        for kind in ["ok", "failed", "denied", "aborted", "cut_short"] {
            let wanted = expected
                .iter()
                .find(|(it, _)| *it == kind)
                .map_or(0, |(_, count)| *count);
            assert_eq!(self.exchanges(kind), wanted, "{kind}\n{}", self.text);
        }
        let sum = expected.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(self.exchanges("total"), sum, "{}", self.text);
        self
    }

    /// There were exactly so many tunnels of these kinds and no others.
    #[track_caller]
    pub(crate) fn assert_tunnels(&self, expected: &[(&str, u64)]) -> &Self {
        for kind in ["ok", "failed", "denied", "aborted", "open_at_end"] {
            let wanted = expected
                .iter()
                .find(|(it, _)| *it == kind)
                .map_or(0, |(_, count)| *count);
            assert_eq!(self.tunnels(kind), wanted, "{kind}\n{}", self.text);
        }
        let sum = expected.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(self.tunnels("total"), sum, "{}", self.text);
        self
    }

    /// The traffic was with exactly these hosts, `host:port` in any order; `:0` stands for unreadable requests.
    #[track_caller]
    pub(crate) fn assert_hosts(&self, expected: &[&str]) -> &Self {
        let hosts = self.report["hosts"].as_array().expect("a list of hosts");
        let mut hosts: Vec<String> = hosts
            .iter()
            .map(|it| format!("{}:{}", it["host"].as_str().expect("a name"), it["port"]))
            .collect();
        hosts.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(hosts, expected, "{}", self.text);
        self
    }

    /// So many connections to servers and parent proxies were opened.
    #[track_caller]
    pub(crate) fn assert_opened(&self, expected: u64) -> &Self {
        assert_eq!(self.number("connections", "opened"), expected, "{}", self.text);
        self
    }

    /// The failures and denials hold this text: an error's type, its detail or whose fault it was.
    #[track_caller]
    pub(crate) fn assert_failure(&self, text: &str) -> &Self {
        let found = self.text.to_lowercase().contains(&text.to_lowercase());
        assert!(found, "no {text:?} in {}", self.text);
        self
    }

    /// The text does not occur anywhere in what was recorded.
    #[track_caller]
    pub(crate) fn assert_absent(&self, text: &str) -> &Self {
        assert!(!self.text.contains(text), "{text:?} in {}", self.text);
        self
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By an end of file.
    Closed,
    /// By a reset.
    Reset,
    /// By an end of file inside TLS, which nobody has announced.
    CutOff,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Peer<S = TcpStream> {
    /// The connection.
    pub(crate) stream: S,
    /// What was read and not used.
    waiting: Vec<u8>,
}

impl Peer {
    /// Takes a connection over.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self::over(stream)
    }

    /// Sends as much of `chunk`, again and again, as all buffers on the way hold while nobody reads at their end. Fails the test
    /// if that is more than `most` bytes: then they go into somebody's memory.
    #[track_caller]
    pub(crate) fn fill_up(&mut self, chunk: &[u8], most: usize) {
        self.stream.set_nonblocking(true).expect("a socket");
        let (mut sent, mut rest) = (0, chunk);
        loop {
            match self.stream.write(rest) {
                Ok(count) => {
                    sent += count;
                    rest = if count == rest.len() { chunk } else { &rest[count..] };
                }
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => {
                    // Room may come for as long as the kernels move bytes among their buffers.
                    let mut events = [PollFd::new(&self.stream, PollFlags::OUT)];
                    if poll(&mut events, Some(&QUIET)) == Ok(0) {
                        break;
                    }
                }
                Err(reason) => panic!("nobody takes it: {reason}"),
            }
            assert!(sent < most, "{sent} bytes went into somebody's memory");
        }
        self.stream.set_nonblocking(false).expect("a socket");
    }

    /// Neither reads nor writes until the other side has ended its half, or all of it.
    #[track_caller]
    pub(crate) fn hold(&self) {
        let patience = Timespec::try_from(PATIENCE).expect("a time");
        let mut events = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        assert_ne!(poll(&mut events, Some(&patience)), Ok(0), "nobody ends the connection");
    }

    /// Ends the sending half.
    pub(crate) fn half_close(&mut self) -> &mut Self {
        drop(self.stream.shutdown(Shutdown::Write));
        self
    }

    /// Closes by a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
    }
}

impl<S: Read + Write> Peer<S> {
    /// Takes over what is on a connection.
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            waiting: Vec::new(),
        }
    }

    /// Sends bytes. That the other side may have gone is for the test to find out by reading.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        drop(self.stream.write_all(bytes.as_ref()));
        self
    }

    /// Sends bytes one by one.
    pub(crate) fn dribble(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        for byte in bytes.as_ref() {
            drop(self.stream.write_all(&[*byte]));
            std::thread::yield_now();
        }
        self
    }

    /// Reads once; an end if nothing more comes.
    fn fill(&mut self) -> Result<(), End> {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.waiting.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(reason) if reason.kind() == io::ErrorKind::ConnectionReset => Err(End::Reset),
            Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof => Err(End::CutOff),
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(reason) => panic!(
                "nothing came: {reason}; so far {:?}",
                self.waiting.escape_ascii().to_string()
            ),
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// How the connection ended, if it did so before.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.waiting.len() < count {
            self.fill()?;
        }
        Ok(self.waiting.drain(..count).collect())
    }

    /// Everything up to and including `end`.
    ///
    /// # Errors
    /// How the connection ended, if it did so before.
    pub(crate) fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, End> {
        let mut searched = 0;
        loop {
            let found = memchr::memmem::find(&self.waiting[searched..], end);
            if let Some(found) = found {
                return Ok(self.waiting.drain(..searched + found + end.len()).collect());
            }
            searched = self.waiting.len().saturating_sub(end.len());
            self.fill()?;
        }
    }

    /// All that is still to come, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.waiting), end);
            }
        }
    }

    /// Nothing more comes, and the connection ends by an end of file.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!((rest.escape_ascii().to_string(), end), (String::new(), End::Closed));
    }

    /// The next answer, which is the one to a request that was not `HEAD`.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The next answer, interim or not, to a request with this method.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        self.try_answer(method).expect("an answer")
    }

    /// The next answer.
    ///
    /// # Errors
    /// How the connection ended, if there was not even a head.
    pub(crate) fn try_answer(&mut self, method: &str) -> Result<Answer, End> {
        let head = self.until(b"\r\n\r\n")?;
        let mut answer = Answer {
            head,
            body: Vec::new(),
            end: None,
        };
        if let Err(end) = self.body(method, &mut answer) {
            answer.end = Some(end);
            answer.body.append(&mut self.waiting);
        }
        Ok(answer)
    }

    /// Reads the body that an answer's head announces.
    fn body(&mut self, method: &str, answer: &mut Answer) -> Result<(), End> {
        let status = answer.status();
        if method == "HEAD" || status < 200 || matches!(status, 204 | 304) {
            return Ok(());
        }
        if answer
            .field("transfer-encoding")
            .is_some_and(|it| it.to_ascii_lowercase().ends_with("chunked"))
        {
            loop {
                let line = self.until(b"\r\n")?;
                let digits = line
                    .split(|byte| matches!(byte, b';' | b'\r'))
                    .next()
                    .unwrap_or_default();
                let size = usize::from_str_radix(&String::from_utf8_lossy(digits), 16).expect("a chunk's size");
                answer.body.extend_from_slice(&line);
                if size == 0 {
                    break;
                }
                let chunk = self.take(size + 2)?;
                answer.body.extend_from_slice(&chunk);
            }
            loop {
                let line = self.until(b"\r\n")?;
                answer.body.extend_from_slice(&line);
                if line == b"\r\n" {
                    return Ok(());
                }
            }
        }
        if let Some(length) = answer.field("content-length") {
            answer.body = self.take(length.parse().expect("a length"))?;
            return Ok(());
        }
        let (body, end) = self.rest();
        answer.body = body;
        answer.end = Some(end);
        Ok(())
    }
}

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its head, the empty line included.
    pub(crate) head: Vec<u8>,
    /// Its body as it was on the wire, chunk sizes included.
    pub(crate) body: Vec<u8>,
    /// How the connection ended, if it did so before the body or as its end.
    pub(crate) end: Option<End>,
}

impl Answer {
    /// The head as text.
    pub(crate) fn head(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The status.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let digits = self.head.get(9..12).map(String::from_utf8_lossy).unwrap_or_default();
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no status in {:?}", self.head()))
    }

    /// The body as text.
    pub(crate) fn body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let head = self.head();
        let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields(name).into_iter().next()
    }

    /// It has this status and this body.
    #[track_caller]
    pub(crate) fn assert_is(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status(), self.body().as_str()), (status, body), "{}", self.head());
        self
    }

    /// amb itself made it, as this status and for this reason in the words of RFC 9209, with a body that explains it.
    #[track_caller]
    pub(crate) fn assert_own(&self, status: u16, error: &str) -> &Self {
        let said = self.field("proxy-status").unwrap_or_default();
        assert!(
            self.status() == status && said.starts_with(&format!("amb; error={error};")),
            "expected {status} {error}: {}{}",
            self.head(),
            self.body()
        );
        assert!(!self.body.is_empty(), "an error without a body: {}", self.head());
        self
    }
}
