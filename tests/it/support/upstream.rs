//! A server on loopback that does what a script says, byte for byte.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    panic,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::PATIENCE;

/// One thing that the server does on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads a request: its head, and its body by `Content-Length` or in chunks.
    Read,
    /// Reads the head of a request and leaves the body.
    ReadHead,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes in pieces of this many, each in a packet of its own.
    SendSlowly(Vec<u8>, usize),
    /// Waits for [`Upstream::release`].
    Stall,
    /// Ends its own direction only.
    CloseWrite,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
}

/// What the server does about one request, or about one connection if it does not begin with reading.
pub(crate) type Reply = Vec<Step>;

/// Answers `200` with this body and keeps the connection.
pub(crate) fn ok(body: &str) -> Reply {
    answer(200, body)
}

/// Answers with this status and an empty body, and keeps the connection.
pub(crate) fn status(status: u16) -> Reply {
    answer(status, "")
}

/// Answers with this status and body.
fn answer(status: u16, body: &str) -> Reply {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let response = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![Step::Read, Step::Send(response.into_bytes())]
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// Its head, the empty line included.
    pub(crate) head: Vec<u8>,
    /// Its body as it was on the wire, chunk sizes included.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The head as text.
    #[track_caller]
    pub(crate) fn head(&self) -> &str {
        std::str::from_utf8(&self.head).expect("a head in text")
    }

    /// The first value of a field.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name).map(|value| std::str::from_utf8(value).expect("a value in text"))
    }
}

/// What the server's threads share.
#[derive(Default)]
struct Shared {
    /// What to do about the requests to come.
    replies: Mutex<VecDeque<Reply>>,
    /// What came.
    requests: Mutex<Vec<Request>>,
    /// Rings when a request came.
    arrived: Condvar,
    /// How many stalls may go on.
    released: Mutex<usize>,
    /// Rings when one more may.
    release: Condvar,
    /// Whether the test is over.
    over: AtomicBool,
    /// The connections, to be cut off when the test is over; none for one that is over before.
    connections: Mutex<Vec<Option<TcpStream>>>,
}

/// The server. What goes wrong in its threads fails the test when it is dropped.
pub(crate) struct Upstream {
    /// Where it listens.
    address: SocketAddr,
    /// What its threads share.
    shared: Arc<Shared>,
    /// The thread that accepts.
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Answers one request after the other, over any connections, and fails the test if there are more.
    pub(crate) fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared = Arc::new(Shared {
            replies: Mutex::new(replies.into_iter().collect()),
            ..Shared::default()
        });
        Self::listen(shared, |shared, mut stream, connection| {
            follow(&shared, &mut stream, connection)
        })
    }

    /// Does this with each connection, given with its number from 0.
    pub(crate) fn serve(serve: impl Fn(TcpStream, usize) + Clone + Send + 'static) -> Self {
        Self::listen(Arc::default(), move |_, stream, connection| {
            serve(stream, connection);
            Ok(())
        })
    }

    /// Listens, and calls `serve` in a thread for each connection.
    fn listen<S>(shared: Arc<Shared>, serve: S) -> Self
    where
        S: Fn(Arc<Shared>, TcpStream, usize) -> io::Result<()> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let mut threads: Vec<JoinHandle<()>> = Vec::new();
                let mut panics = Vec::new();
                for (connection, stream) in listener.incoming().enumerate() {
                    if shared.over.load(Ordering::SeqCst) {
                        break;
                    }
                    let stream = stream.expect("a connection");
                    stream.set_nodelay(true).expect("a socket");
                    shared
                        .connections
                        .lock()
                        .unwrap()
                        .push(Some(stream.try_clone().expect("a second handle")));
                    let (shared, serve) = (Arc::clone(&shared), serve.clone());
                    // A thread that is over holds its stack until it is joined.
                    let over = threads.extract_if(.., |thread| thread.is_finished());
                    panics.extend(over.filter_map(|thread| thread.join().err()));
                    threads.push(thread::spawn(move || {
                        // The other side may go at any time: that is for the test to judge.
                        drop(serve(Arc::clone(&shared), stream, connection));
                        shared.connections.lock().unwrap()[connection] = None;
                    }));
                }
                panics.extend(threads.into_iter().filter_map(|thread| thread.join().err()));
                if let Some(reason) = panics.into_iter().next() {
                    panic::resume_unwind(reason);
                }
            })
        };
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets one [`Step::Stall`] go on.
    pub(crate) fn release(&self) {
        *self.shared.released.lock().unwrap() += 1;
        self.shared.release.notify_all();
    }

    /// Waits until `count` requests have come, and returns all.
    #[track_caller]
    pub(crate) fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        let waiting = |requests: &mut Vec<Request>| requests.len() < count;
        let (requests, _) = self
            .shared
            .arrived
            .wait_timeout_while(requests, PATIENCE, waiting)
            .unwrap();
        assert!(
            requests.len() >= count,
            "only {} of {count} requests came",
            requests.len()
        );
        requests.clone()
    }

    /// The requests that came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Ends the server, re-raises what went wrong in it, checks that the whole script was played, and returns what came.
    #[track_caller]
    pub(crate) fn join(mut self) -> Vec<Request> {
        self.stop();
        let left = self.shared.replies.lock().unwrap().len();
        assert_eq!(left, 0, "replies of the script that nobody asked for");
        self.requests()
    }

    /// Ends the threads.
    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.over.store(true, Ordering::SeqCst);
        drop(self.shared.released.lock().unwrap());
        self.shared.release.notify_all();
        for connection in self.shared.connections.lock().unwrap().iter().flatten() {
            drop(connection.shutdown(Shutdown::Both));
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Err(reason) = thread.join()
            && !thread::panicking()
        {
            panic::resume_unwind(reason);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Plays the script on one connection.
fn follow(shared: &Shared, stream: &mut TcpStream, connection: usize) -> io::Result<()> {
    loop {
        let at_once = {
            let mut replies = shared.replies.lock().unwrap();
            let at_once = replies
                .front()
                .is_some_and(|reply| !matches!(reply.first(), Some(Step::Read | Step::ReadHead)));
            if at_once { replies.pop_front() } else { None }
        };
        let reply = if let Some(reply) = at_once {
            reply
        } else {
            if stream.peek(&mut [0])? == 0 {
                return Ok(());
            }
            let reply = shared.replies.lock().unwrap().pop_front();
            reply.unwrap_or_else(|| panic!("a request that is not in the script"))
        };
        for step in reply {
            if !play(shared, stream, connection, step)? {
                return Ok(());
            }
        }
    }
}

/// Does one thing; `false` if the connection is over.
fn play(shared: &Shared, stream: &mut TcpStream, connection: usize, step: Step) -> io::Result<bool> {
    match step {
        Step::Read | Step::ReadHead => {
            let head = read_until(stream, b"\r\n\r\n")?;
            let body = if matches!(step, Step::Read) {
                read_body(stream, &head)?
            } else {
                Vec::new()
            };
            shared.requests.lock().unwrap().push(Request { connection, head, body });
            shared.arrived.notify_all();
        }
        Step::Send(bytes) => stream.write_all(&bytes)?,
        Step::SendSlowly(bytes, size) => {
            for piece in bytes.chunks(size) {
                stream.write_all(piece)?;
                // Not a wait for anything: it only keeps the kernel from joining the pieces.
                thread::yield_now();
            }
        }
        Step::Stall => {
            let released = shared.released.lock().unwrap();
            let waiting = |released: &mut usize| *released == 0 && !shared.over.load(Ordering::SeqCst);
            let (mut released, _) = shared.release.wait_timeout_while(released, PATIENCE, waiting).unwrap();
            *released = released.saturating_sub(1);
        }
        Step::CloseWrite => stream.shutdown(Shutdown::Write)?,
        Step::Close => {
            // The list of connections holds the socket open.
            stream.shutdown(Shutdown::Both)?;
            return Ok(false);
        }
        Step::Reset => {
            // The reset goes out when the last handle is closed, which is when the script's thread is over.
            socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO))?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads up to and including `end`, byte by byte so that nothing after it is lost.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(bytes)
}

/// Reads the body that `head` announces.
fn read_body(stream: &mut TcpStream, head: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if field(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
        loop {
            let line = read_until(stream, b"\r\n")?;
            let digits = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or(&[]);
            let digits = std::str::from_utf8(digits).expect("a chunk's size");
            let size = usize::from_str_radix(digits.trim(), 16).expect("a chunk's size");
            body.extend_from_slice(&line);
            if size == 0 {
                break;
            }
            let start = body.len();
            body.resize(start + size + 2, 0);
            stream.read_exact(&mut body[start..])?;
        }
        // Trailers, up to the empty line.
        loop {
            let line = read_until(stream, b"\r\n")?;
            body.extend_from_slice(&line);
            if line == b"\r\n" {
                return Ok(body);
            }
        }
    }
    if let Some(length) = field(head, "content-length") {
        let length = std::str::from_utf8(length)
            .ok()
            .and_then(|it| it.parse().ok())
            .expect("a length");
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
    }
    Ok(body)
}

/// The first value of a field in a head.
fn field<'head>(head: &'head [u8], name: &str) -> Option<&'head [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon]
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| line[colon + 1..].trim_ascii())
    })
}
