//! The client: many connections on one thread, each with one request under way at any time.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep},
};

use super::table::Measured;

/// The length of a small response's body, in bytes.
pub(crate) const BODY: usize = 64;

/// How long connections are in use before it counts: pools fill, pages are touched, buffers grow.
const WARM_UP: Duration = Duration::from_millis(150);

/// What a connection is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// One request after another over one connection.
    KeptAlive,
    /// A new connection for each request.
    Once,
    /// A new connection for each request, and through amb a new tunnel.
    Tunnel,
}

/// The way to the origin.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// The origin.
    pub(crate) origin: SocketAddr,
    /// amb's proxy, unless the way is direct.
    pub(crate) proxy: Option<SocketAddr>,
}

impl Way {
    /// A connection to the origin, through a tunnel if there is a proxy.
    ///
    /// # Errors
    /// It cannot be reached, or the proxy refuses.
    pub(crate) async fn tunnel(self) -> io::Result<TcpStream> {
        let mut stream = self.connect().await?;
        if self.proxy.is_some() {
            let head = format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", self.origin);
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::with_capacity(512);
            receive(&mut stream, &mut answer, 0).await?;
        }
        Ok(stream)
    }

    /// A connection to the proxy, or to the origin if there is none.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn connect(self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.proxy.unwrap_or(self.origin)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A request for a body of so many bytes; in absolute form if `forwarded` by a proxy.
    pub(crate) fn request(self, length: usize, forwarded: bool, last: bool) -> String {
        let authority = if forwarded && self.proxy.is_some() {
            format!("http://{}", self.origin)
        } else {
            String::new()
        };
        let close = if last { "connection: close\r\n" } else { "" };
        format!(
            "GET {authority}/{length} HTTP/1.1\r\nhost: {}\r\n{close}\r\n",
            self.origin
        )
    }
}

/// Reads a response with a body of so many bytes, and nothing after it.
///
/// # Errors
/// It is no such response, or its status is not 200.
pub(crate) async fn receive(stream: &mut TcpStream, response: &mut Vec<u8>, body: usize) -> io::Result<()> {
    response.clear();
    loop {
        if stream.read_buf(response).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = memmem::find(response, b"\r\n\r\n") else {
            continue;
        };
        if !response.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&response[..end]).into_owned()));
        }
        let length = response.len() - end - 4;
        if length >= body {
            let exact = length == body;
            return exact.then_some(()).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
    }
}

/// Asks a small response over this connection, and reads it.
///
/// # Errors
/// Those of [`receive`].
pub(crate) async fn exchange(stream: &mut TcpStream, request: &str, response: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    receive(stream, response, BODY).await
}

/// What the connections have done together.
struct Done {
    /// One permit for each connection in use that has done its first request.
    warm: Semaphore,
    /// Whether it counts by now.
    counting: Cell<bool>,
    /// How long each request took, connection included if it has one of its own, in microseconds.
    latencies: RefCell<Vec<u32>>,
}

impl Done {
    /// A request that began then is done.
    fn note(&self, began: Instant) {
        if self.counting.get() {
            let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.latencies.borrow_mut().push(micros);
        }
    }
}

/// Uses one connection, or one after the other, until it is aborted.
///
/// # Errors
/// A request fails: none may.
async fn keep_busy(way: Way, purpose: Use, done: Rc<Done>) -> io::Result<()> {
    let forwarded = purpose != Use::Tunnel;
    let request = way.request(BODY, forwarded, purpose != Use::KeptAlive);
    let mut response = Vec::with_capacity(1024);
    let mut kept = None;
    let mut first = true;
    loop {
        let began = Instant::now();
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None if forwarded => way.connect().await?,
            None => way.tunnel().await?,
        };
        exchange(&mut stream, &request, &mut response).await?;
        done.note(began);
        if first {
            first = false;
            done.warm.add_permits(1);
        }
        if purpose == Use::KeptAlive {
            kept = Some(stream);
        } else if stream.read(&mut [0]).await? != 0 {
            // The other side closes first, so that this side's port is free at once; and it sends nothing before.
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Keeps so many connections busy for so long, and asks `cpu_time` at both ends of what counts.
///
/// # Errors
/// A request fails, or the CPU time cannot be read.
pub(crate) fn measure(
    way: Way,
    purpose: Use,
    connections: u32,
    measurement: Duration,
    cpu_time: impl Fn() -> io::Result<Duration>,
) -> io::Result<Measured> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let done = Rc::new(Done {
        warm: Semaphore::new(0),
        counting: Cell::new(false),
        latencies: RefCell::default(),
    });
    let local = LocalSet::new();
    let mut busy = JoinSet::new();
    for _ in 0..connections {
        busy.spawn_local_on(keep_busy(way, purpose, Rc::clone(&done)), &local);
    }
    local.block_on(&runtime, async {
        unless_one_fails(&mut busy, async {
            sleep(WARM_UP).await;
            // The semaphore is never closed, so this waits for nothing but the permits.
            drop(done.warm.acquire_many(connections).await);
        })
        .await?;
        let (cpu_before, began) = (cpu_time()?, Instant::now());
        done.counting.set(true);
        unless_one_fails(&mut busy, sleep(measurement)).await?;
        let (lasted, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(cpu_before));
        busy.shutdown().await;
        let latencies = done.latencies.take();
        if latencies.is_empty() {
            return Err(io::Error::other(
                "no request was done in time; AMB_BENCH_SECONDS gives more",
            ));
        }
        Ok(Measured::requests(latencies, lasted, cpu))
    })
}

/// Waits for this.
///
/// # Errors
/// One of the connections fails meanwhile.
async fn unless_one_fails(busy: &mut JoinSet<io::Result<()>>, wait: impl Future<Output = ()>) -> io::Result<()> {
    tokio::select! {
        () = wait => Ok(()),
        Some(ended) = busy.join_next() => ended.map_err(io::Error::other)?,
    }
}
