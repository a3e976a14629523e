//! Placeholder.
use std::net::SocketAddr;

/// A listener whose queue is full: connecting to it takes for ever.
pub(super) struct FullBacklog {
    /// The listener and the connections that fill its queue.
    _sockets: Vec<socket2::Socket>,
    /// Where it listens.
    address: SocketAddr,
}

impl FullBacklog {
    /// Its port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Makes a listener whose queue is full.
pub(super) fn full_backlog() -> FullBacklog {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        // In progress, or in the queue already.
        drop(filler.connect(&address.into()));
        sockets.push(filler);
    }
    FullBacklog {
        _sockets: sockets,
        address,
    }
}
