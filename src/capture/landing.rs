//! Where captured connections arrive: listeners of their own on the loopback, and where each connection was to lead.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted; the kernel takes less if `somaxconn` says so.
const BACKLOG: i32 = 4096;

/// Where captured connections arrive.
#[derive(Debug)]
pub struct Landing {
    /// The listener for all sockets but those that know IPv6 alone.
    ipv4: (Socket, SocketAddr),
    /// The listener for those; none where this machine has no IPv6.
    ipv6: Option<(Socket, SocketAddr)>,
    /// Where connections were to lead that have not been accepted, by the address that they come from.
    ///
    /// Locked while a socket is connected, so that whoever accepts it finds the entry.
    origins: Mutex<HashMap<SocketAddr, SocketAddr>>,
    /// How many connections were led here.
    count: AtomicU64,
}

impl Landing {
    /// Listens at free ports.
    ///
    /// # Errors
    /// The kernel's, if there is none.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            ipv4: listen((Ipv4Addr::LOCALHOST, 0).into())?,
            ipv6: listen((Ipv6Addr::LOCALHOST, 0).into())
                .inspect_err(|reason| tracing::debug!(%reason, "no IPv6 on this machine"))
                .ok(),
            origins: Mutex::default(),
            count: AtomicU64::new(0),
        })
    }

    /// The listeners; none of them blocks.
    pub fn listeners(&self) -> impl Iterator<Item = &Socket> {
        [Some(&self.ipv4), self.ipv6.as_ref()]
            .into_iter()
            .flatten()
            .map(|(socket, _)| socket)
    }

    /// Where they are.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [Some(&self.ipv4), self.ipv6.as_ref()]
            .into_iter()
            .flatten()
            .map(|(_, address)| *address)
    }

    /// Where the connection was to lead that has arrived from there; none if it is not a captured one.
    pub fn take(&self, from: SocketAddr) -> Option<SocketAddr> {
        self.lock().remove(&canonical(from))
    }

    /// How many connections were led here.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The address of the listener for IPv4.
    pub(super) fn ipv4(&self) -> SocketAddr {
        self.ipv4.1
    }

    /// The address of the listener for IPv6, if there is one.
    pub(super) fn ipv6(&self) -> Option<SocketAddr> {
        self.ipv6.as_ref().map(|(_, address)| *address)
    }

    /// Has `connect` connect a socket that was to lead `to`, and remembers it by the address that it then has.
    pub(super) fn expect<E>(&self, to: SocketAddr, connect: impl FnOnce() -> Result<SocketAddr, E>) -> Result<(), E> {
        let mut origins = self.lock();
        let from = connect()?;
        origins.insert(canonical(from), to);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The entries. Whoever panicked while it held them was inserting or removing one: they are whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, SocketAddr>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address as both ends of a connection know it: without what is added to it in the other family.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Listens there.
fn listen(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let address = socket
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_connection_is_known_once_by_where_it_comes_from() {
        let landing = Landing::open().unwrap();
        let to: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let mut connected = None;
        landing
            .expect(to, || {
                let stream = TcpStream::connect(landing.ipv4())?;
                connected.insert(stream).local_addr()
            })
            .unwrap();
        let from = connected.unwrap().local_addr().unwrap();
        assert_eq!(landing.take(from), Some(to));
        assert_eq!(landing.take(from), None);
    }

    #[test]
    fn nothing_is_known_of_what_could_not_be_connected() {
        let landing = Landing::open().unwrap();
        let to: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(landing.expect(to, || Err(1)), Err(1));
        assert!(landing.lock().is_empty());
    }
}
