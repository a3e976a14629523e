//! One large body, of which the client throws away what has come without looking at it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use memchr::memmem;
use rustix::net::{RecvFlags, recv};
use tokio::{runtime, time::Instant};

use super::{load::Way, table::Measured};

/// The most that is thrown away at once, in bytes.
const GULP: usize = 1024 * 1024;

/// How many measurements' time a body may take; what has come by then counts.
const PATIENCE: u32 = 4;

/// Receives a body of so many bytes through a tunnel, or forwarded as a response, and asks `cpu_time` before and after.
///
/// # Errors
/// It does not come as asked, or the CPU time cannot be read.
pub(crate) fn measure(
    way: Way,
    tunnel: bool,
    length: usize,
    measurement: Duration,
    cpu_time: impl Fn() -> io::Result<Duration>,
) -> io::Result<Measured> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let opened = runtime.block_on(async {
        if tunnel {
            way.tunnel().await
        } else {
            way.connect().await
        }
    })?;
    let mut stream = opened.into_std()?;
    stream.set_nonblocking(false)?;
    let (cpu_before, began) = (cpu_time()?, Instant::now());
    stream.write_all(way.request(length, !tunnel, true).as_bytes())?;
    let mut received = begin(&mut stream)?;
    let mut gulp = vec![0; GULP];
    while received < length && began.elapsed() < measurement * PATIENCE {
        // With TRUNC a TCP socket copies nothing: the client costs next to nothing.
        match recv(&stream, &mut *gulp, RecvFlags::TRUNC)?.1 {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => received += bytes,
        }
    }
    let (lasted, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(cpu_before));
    Ok(Measured::bytes(received, lasted, cpu))
}

/// Reads the head of the response, and says how many bytes of the body came with it.
///
/// # Errors
/// It is no head, or its status is not 200.
fn begin(stream: &mut TcpStream) -> io::Result<usize> {
    let mut head = Vec::new();
    let mut piece = [0; 512];
    loop {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => head.extend_from_slice(&piece[..bytes]),
        }
        if let Some(end) = memmem::find(&head, b"\r\n\r\n") {
            if !head.starts_with(b"HTTP/1.1 200 ") {
                return Err(io::Error::other(String::from_utf8_lossy(&head[..end]).into_owned()));
            }
            return Ok(head.len() - end - 4);
        }
    }
}
