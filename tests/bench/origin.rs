//! The origin: a thread that answers `GET /LENGTH` with as many bytes of body, over plain HTTP/1.1.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    thread,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::{self, LocalSet},
};

/// What bodies are made of, in pieces of at most this many bytes.
const PIECE: usize = 256 * 1024;

/// How many connections may wait to be accepted: all that the largest row opens at once.
const BACKLOG: i32 = 4096;

/// The origin; it ends with the process.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Origin {
    /// Begins to serve on a free port of loopback.
    ///
    /// # Errors
    /// No port or no thread is to be had.
    pub(crate) fn start() -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = std::net::TcpListener::from(socket);
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, accept(listener)))?;
        Ok(Self { address })
    }
}

/// Accepts connections for as long as there are descriptors.
async fn accept(listener: TcpListener) {
    let piece: Rc<[u8]> = vec![b'.'; PIECE].into();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let piece = Rc::clone(&piece);
                task::spawn_local(async move {
                    // A client that goes away when its time is over is no fault.
                    drop(serve(stream, &piece).await);
                });
            }
            // Whoever connects from now on is refused, and the row fails.
            Err(reason) => return eprintln!("the origin cannot accept: {reason}"),
        }
    }
}

/// Serves one connection until the client closes it or asks to have it closed.
///
/// # Errors
/// The client has gone, or sends something that is no request of this bench.
async fn serve(mut stream: TcpStream, piece: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(512);
    let mut answer = Vec::with_capacity(512);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let length = body_length(&head).ok_or(io::ErrorKind::InvalidData)?;
        // The bench writes its headers in lower case, and amb carries them as they are.
        let last = memchr::memmem::find(&head, b"\r\nconnection: close\r\n").is_some();
        answer.clear();
        answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: ");
        answer.extend_from_slice(length.to_string().as_bytes());
        answer.extend_from_slice(if last {
            b"\r\nconnection: close\r\n\r\n"
        } else {
            b"\r\n\r\n"
        });
        let mut left = length;
        if left <= 1024 {
            answer.extend_from_slice(&piece[..left]);
            left = 0;
        }
        stream.write_all(&answer).await?;
        while left > 0 {
            left -= stream.write(&piece[..left.min(PIECE)]).await?;
        }
        if last {
            return Ok(());
        }
    }
}

/// The length of the body that is asked for: `GET /LENGTH HTTP/1.1`.
fn body_length(head: &[u8]) -> Option<usize> {
    let target = head.strip_prefix(b"GET /")?.split(|byte| *byte == b' ').next()?;
    str::from_utf8(target).ok()?.parse().ok()
}

/// Raises the soft limit of open files to the hard one: the row of idle tunnels holds two for each.
///
/// # Errors
/// The kernel refuses, which it does not for the soft limit.
pub(crate) fn allow_many_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(())
}
