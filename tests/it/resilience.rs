//! What amb does about servers that fail, are slow or are asked too much: what the server sees of it, what the client gets,
//! what is recorded.

mod breaker;
mod budget;
mod hedges;
mod limits;
mod matrix;
mod retries;
mod timeouts;
mod tunnels;

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::support::{Proxy, Upstream};

/// A request for the origin's `/` with this method, these further lines and this body.
fn request(origin: &Upstream, method: &str, lines: &str, body: &str) -> String {
    let address = origin.address();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!("{method} http://{address}/ HTTP/1.1\r\nHost: {address}\r\n{length}{lines}\r\n{body}")
}

/// A plain request for the origin's `/`.
fn get(origin: &Upstream) -> String {
    request(origin, "GET", "", "")
}

/// A proxy with these keys set, and waits so short that nobody has to wait for them.
#[track_caller]
fn set(settings: &[&str]) -> Proxy {
    let mut flags = vec!["--set", "retry.backoff={ base = '1ms', max = '2ms' }"];
    flags.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    Proxy::with(flags)
}

/// An address that refuses connections for as long as the socket lives.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Lets time pass, which is what limits are about.
#[expect(clippy::disallowed_methods, reason = "it is the time that counts here")]
fn let_pass(millis: u64) {
    std::thread::sleep(std::time::Duration::from_millis(millis));
}
