//! Who may use the listener: processes of the same user and of root, and every descendant of amb's own process, whatever
//! user it has become; anybody else on the machine is refused.
//!
//! The kernel's socket table ([sock_diag(7)]) says whose socket is at the other end: one exact look-up a connection. Only for
//! a stranger's user id the process table is read. Elsewhere than on Linux there is no such table and nobody is refused;
//! the listener is on loopback all the same.
//!
//! [sock_diag(7)]: https://man7.org/linux/man-pages/man7/sock_diag.7.html

use std::net::SocketAddr;

use tokio::{net::TcpStream, task::JoinHandle};

use super::{error::is_exhaustion, program::Program, wire::connection::Connection};

/// What the kernel says about the socket at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSocket {
    /// Its owner's user id.
    pub(crate) uid: u32,
    /// Its inode; 0 once no process has it open any more.
    pub(crate) inode: u32,
    /// Bytes written to it that the other end has not acknowledged, at most 4 GiB.
    pub(crate) unacknowledged: u32,
}

/// What is known about somebody who wants to use the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Welcome.
    Allowed,
    /// Gone before it could be looked up: it cannot be served, whoever it was.
    Gone,
    /// Somebody else's process; the text says whose.
    Stranger(String),
}

/// Decides about the process that connected from `peer` to the listener at `own`.
///
/// Fails open where the kernel keeps no table to ask, and closed where it has one and the socket is not in it, or where amb
/// has no descriptor left to ask with.
pub(crate) async fn judge(peer: SocketAddr, own: SocketAddr, run_id: &str) -> Verdict {
    let socket = match peer_socket(peer, own) {
        Ok(socket) => socket,
        Err(reason) if is_exhaustion(&reason) => return Verdict::Stranger(format!("cannot be looked up: {reason}")),
        Err(_) => return Verdict::Allowed,
    };
    let Some(socket) = socket else {
        return Verdict::Gone;
    };
    if socket.inode == 0 && socket.uid == 0 {
        // Older kernels give user id 0 for a socket that nobody holds any more, so this may have been anybody's.
        return Verdict::Gone;
    }
    if socket.uid == 0 || socket.uid == rustix::process::geteuid().as_raw() {
        return Verdict::Allowed;
    }
    let run_id = run_id.to_owned();
    let descends = tokio::task::spawn_blocking(move || processes::is_ours(socket, &run_id))
        .await
        .unwrap_or(false);
    if descends {
        Verdict::Allowed
    } else {
        Verdict::Stranger(format!("user id {}", socket.uid))
    }
}

/// Whether the process that connected from `peer` to an endpoint of amb's own at `own` is one of the same user or of root. Fails
/// open and closed as the proxy does for its clients, of which it lets in more: what descends from the command.
pub fn is_of_this_user(peer: SocketAddr, own: SocketAddr) -> bool {
    match peer_socket(peer, own) {
        // Whoever has let go of it cannot be answered, and need not be.
        Ok(socket) => socket.is_some_and(|socket| {
            let held = socket.inode != 0 || socket.uid != 0;
            held && (socket.uid == 0 || socket.uid == rustix::process::geteuid().as_raw())
        }),
        Err(reason) => !is_exhaustion(&reason),
    }
}

/// Whether amb can find out whose a connection is, by the example of one of its own.
///
/// # Errors
/// Why not.
pub fn recognises_clients() -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let own = listener.local_addr()?;
    let client = std::net::TcpStream::connect(own)?;
    peer_socket(client.local_addr()?, own)?;
    Ok(())
}

/// Whether the client has closed its socket for good, and not only its sending half.
///
/// The two look alike on the wire; the kernel knows that nobody holds the socket any more.
pub(crate) fn is_gone(client: &Connection) -> bool {
    if let Some(stream) = client.as_stream() {
        return stream.is_gone();
    }
    let (Ok(peer), Some(Ok(own))) = (client.peer(), client.socket().map(TcpStream::local_addr)) else {
        return true;
    };
    match peer_socket(peer, own) {
        Ok(socket) => socket.is_none_or(|socket| socket.inode == 0),
        Err(_) => false,
    }
}

/// Which program is at the other end; none if that cannot be found out any more.
///
/// Looks through the process table, in a thread of its own: for what is said once, and asked before it may be gone.
pub(crate) fn program(client: &Connection) -> Option<JoinHandle<Option<Program>>> {
    let (peer, own) = (client.peer().ok()?, client.socket()?.local_addr().ok()?);
    let socket = peer_socket(peer, own).ok()??;
    Some(tokio::task::spawn_blocking(move || {
        processes::holder(socket.inode).and_then(Program::of)
    }))
}

/// Whether none of the last `sent` bytes has reached the server's machine, or at least that has not said so before it ended its
/// half of the connection: then it ended it before it knew of them.
pub(crate) fn is_unheard(server: &Connection, sent: usize) -> bool {
    let (Ok(peer), Some(Ok(own))) = (server.peer(), server.socket().map(TcpStream::local_addr)) else {
        return false;
    };
    let found = peer_socket(own, peer).ok().flatten();
    found.is_some_and(|socket| u32::try_from(sent) == Ok(socket.unacknowledged))
}

/// The socket at the other end of the connection from `peer` to `own`; none if there is none any more.
///
/// # Errors
/// If the kernel cannot be asked.
#[cfg(not(target_os = "linux"))]
fn peer_socket(_peer: SocketAddr, _own: SocketAddr) -> std::io::Result<Option<PeerSocket>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
use table::peer_socket;

/// The kernel's socket table.
#[cfg(target_os = "linux")]
mod table {
    use std::{cell::RefCell, io, net::SocketAddr};

    use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_sock_diag::{
        SockDiagMessage,
        constants::{AF_INET, AF_INET6, IPPROTO_TCP},
        inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
    };
    use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

    use super::PeerSocket;

    thread_local! {
        /// One netlink socket a thread, opened at the first question.
        static SOCKET: RefCell<Option<Socket>> = const { RefCell::new(None) };
    }

    /// See the same function for other systems.
    pub(super) fn peer_socket(peer: SocketAddr, own: SocketAddr) -> io::Result<Option<PeerSocket>> {
        SOCKET.with_borrow_mut(|slot| {
            if slot.is_none() {
                let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
                socket.bind_auto()?;
                socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
                *slot = Some(socket);
            }
            let Some(socket) = slot else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let answer = ask(socket, peer, own);
            if answer.is_err() {
                *slot = None;
            }
            answer
        })
    }

    /// Asks for exactly one socket.
    fn ask(socket: &Socket, peer: SocketAddr, own: SocketAddr) -> io::Result<Option<PeerSocket>> {
        let (family, blank) = if peer.is_ipv4() {
            (AF_INET, SocketId::new_v4())
        } else {
            (AF_INET6, SocketId::new_v6())
        };
        let socket_id = SocketId {
            source_port: peer.port(),
            destination_port: own.port(),
            source_address: peer.ip(),
            destination_address: own.ip(),
            // INET_DIAG_NOCOOKIE: whatever its cookie is.
            cookie: [0xff; 8],
            ..blank
        };
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id,
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        socket.send(&bytes, 0)?;
        let mut answer = Vec::with_capacity(1024);
        socket.recv(&mut answer, 0)?;
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(&answer)
            .map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => Ok(Some(PeerSocket {
                uid: response.header.uid,
                inode: response.header.inode,
                unacknowledged: response.header.send_queue,
            })),
            NetlinkPayload::Error(error) if error.raw_code() == -libc::ENOENT => Ok(None),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The process table, for user ids that are not amb's own.
mod processes {
    use std::{fs, os::unix::fs::MetadataExt, path::Path};

    use super::PeerSocket;

    /// Longest chain of parents that is walked.
    const ANCESTORS: usize = 64;

    /// Whether `socket` belongs to a descendant of this process: by its chain of parents, or, if that chain was cut because a
    /// parent has ended, by the run's id in its environment. Where amb may look at a process's descriptors, one of them must
    /// be the socket; where it may not, the user id decides.
    pub(super) fn is_ours(socket: PeerSocket, run_id: &str) -> bool {
        let Ok(entries) = fs::read_dir("/proc") else {
            return false;
        };
        let marker = format!("AMB_RUN_ID={run_id}");
        entries.filter_map(Result::ok).any(|entry| {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                return false;
            };
            let process = entry.path();
            let of_that_user = fs::metadata(&process).is_ok_and(|metadata| metadata.uid() == socket.uid);
            of_that_user && (descends(pid) || is_marked(&process, marker.as_bytes())) && holds(&process, socket.inode)
        })
    }

    /// A process that has the socket open. amb itself is none.
    pub(super) fn holder(inode: u32) -> Option<u32> {
        let entries = fs::read_dir("/proc").ok()?;
        entries.filter_map(Result::ok).find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let process = entry.path();
            let may_look = pid != std::process::id() && fs::read_dir(process.join("fd")).is_ok();
            (may_look && holds(&process, inode)).then_some(pid)
        })
    }

    /// Whether amb's own process is among the ancestors of `pid`.
    fn descends(mut pid: u32) -> bool {
        for _ in 0..ANCESTORS {
            let Some(parent) = parent_of(pid) else { return false };
            if parent == std::process::id() {
                return true;
            }
            pid = parent;
        }
        false
    }

    /// The parent of `pid`, from the fourth field of its `stat`.
    fn parent_of(pid: u32) -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let behind_name = &stat[stat.rfind(')')? + 2..];
        behind_name.split(' ').nth(1)?.parse().ok().filter(|parent| *parent > 0)
    }

    /// Whether the environment that the process began with has the run's id in it.
    fn is_marked(process: &Path, marker: &[u8]) -> bool {
        fs::read(process.join("environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == marker))
    }

    /// Whether the process has the socket open, as far as amb may know.
    fn holds(process: &Path, inode: u32) -> bool {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
            return true;
        };
        let wanted = format!("socket:[{inode}]");
        descriptors
            .filter_map(Result::ok)
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn the_kernel_knows_whose_socket_it_is_and_when_it_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let client = TcpStream::connect(own).unwrap();
        let peer = client.local_addr().unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = peer_socket(peer, own).unwrap().expect("an open socket");
        assert_eq!(socket.uid, rustix::process::geteuid().as_raw());
        assert_ne!(socket.inode, 0);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_ne!(
            peer_socket(peer, own).unwrap().expect("half-closed is not gone").inode,
            0
        );
        drop(client);
        assert!(peer_socket(peer, own).unwrap().is_none_or(|socket| socket.inode == 0));
        drop(accepted);
    }

    #[tokio::test]
    async fn the_kernel_knows_what_the_other_end_has_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_deaf, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let server = Connection::new(tokio::net::TcpStream::from_std(client.try_clone().unwrap()).unwrap()).unwrap();
        (&client).write_all(b"heard").unwrap();
        assert!(!is_unheard(&server, 5));
        let mut written = 5;
        while let Ok(count) = (&client).write(&[0; 4096]) {
            written += count;
        }
        // What does not fit into the other end's memory.
        let (own, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let unheard = peer_socket(own, peer).unwrap().unwrap().unacknowledged as usize;
        assert!((1..written).contains(&unheard));
        assert!(is_unheard(&server, unheard));
        assert!(!is_unheard(&server, written));
    }
}
