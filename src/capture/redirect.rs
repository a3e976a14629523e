//! Leads a program's own socket to amb, as its connect(2) would have led it elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::BorrowedFd,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, Result},
    net::{AddressFamily, SocketType, connect, getpeername, getsockname, ipproto, sockopt},
};
use socket2::SockRef;

use super::{kernel::Answer, landing::Landing};

/// How long a connection within this machine may take before its program waits for it by itself: it takes microseconds, unless
/// more connections wait to be accepted than the kernel keeps.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Whether this is a socket of TCP, or of its multipath kind, for addresses of this family.
pub(super) fn is_tcp(socket: BorrowedFd<'_>, to: SocketAddr) -> bool {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    sockopt::socket_domain(socket) == Ok(family)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(socket)
            .is_ok_and(|protocol| matches!(protocol, Some(ipproto::TCP | ipproto::MPTCP)))
}

/// Connects the socket, which was to lead `to`, to the landing, and says what the program is to be told: what it would have been
/// told by a connection within this machine.
///
/// # Errors
/// It cannot be led there. It is as it was, and may go where it wants.
pub(super) fn redirect(socket: BorrowedFd<'_>, to: SocketAddr, landing: &Landing) -> Result<Answer> {
    let place = place(socket, to, landing)?;
    if SockRef::from(&socket).device().is_ok_and(|device| device.is_some()) {
        // What it sends would leave by that card, wherever it is to go.
        return Err(Errno::NODEV);
    }
    if getpeername(socket).is_ok() {
        // Asked again, as programs do that want to know whether it is connected by now. Leads nowhere else any more.
        return Ok(match connect(socket, &place) {
            Ok(()) => Answer::Done,
            Err(number) => Answer::Failed(number.raw_os_error()),
        });
    }
    // Never waited for in the kernel: all other calls would wait, too.
    let flags = fcntl_getfl(socket)?;
    let blocks = !flags.contains(OFlags::NONBLOCK);
    if blocks {
        fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    }
    let connected = lead(socket, place, to, landing);
    let answer = if blocks && connected == Ok(Answer::Failed(Errno::INPROGRESS.raw_os_error())) {
        wait(socket, place)
    } else {
        connected
    };
    if blocks {
        fcntl_setfl(socket, flags)?;
    }
    answer
}

/// Connects the socket without waiting.
fn lead(socket: BorrowedFd<'_>, place: SocketAddr, to: SocketAddr, landing: &Landing) -> Result<Answer> {
    let mut answer = Answer::Done;
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    let led = landing.expect(to, || {
        match connect(socket, &place) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => answer = Answer::Failed(Errno::INPROGRESS.raw_os_error()),
            Err(number) => return Err(number),
        }
        getsockname(socket)?.try_into()
    });
    match led {
        Ok(()) => Ok(answer),
        // The program's own doing: it listens by it, or did not wait for the connection that it has begun.
        Err(number @ (Errno::ISCONN | Errno::ALREADY)) => Ok(Answer::Failed(number.raw_os_error())),
        Err(number) => Err(number),
    }
}

/// Waits for a connection that has begun.
fn wait(socket: BorrowedFd<'_>, place: SocketAddr) -> Result<Answer> {
    let mut events = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    if poll(&mut events, Some(&PATIENCE))? == 0 {
        // The kernel goes on with what has begun, wherever the program now says it wants to be led.
        return Ok(Answer::GoOn);
    }
    match connect(socket, &place) {
        Ok(()) | Err(Errno::ISCONN) => Ok(Answer::Done),
        Err(number) => Err(number),
    }
}

/// Where the socket can be led: a listener that its family reaches.
fn place(socket: BorrowedFd<'_>, to: SocketAddr, landing: &Landing) -> Result<SocketAddr> {
    let ipv4 = landing.ipv4();
    let IpAddr::V6(ip) = to.ip() else { return Ok(ipv4) };
    let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), ipv4.port());
    match landing.ipv6() {
        _ if ip.to_ipv4_mapped().is_some() => Ok(mapped),
        Some(ipv6) => Ok(ipv6),
        None if sockopt::ipv6_v6only(socket)? => Err(Errno::NETUNREACH),
        None => Ok(mapped),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv6Addr, TcpListener},
        os::fd::AsFd,
    };

    use rustix::net::SocketFlags;

    use super::*;

    /// A socket of TCP of the family of `to`.
    fn socket(to: SocketAddr, flags: SocketFlags) -> std::os::fd::OwnedFd {
        let family = if to.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap()
    }

    /// A socket that is to lead there arrives at the landing, and says `answer`.
    #[track_caller]
    fn check(to: &str, flags: SocketFlags, answer: Answer) {
        let landing = Landing::open().unwrap();
        let to: SocketAddr = to.parse().unwrap();
        let socket = socket(to, flags);
        assert!(is_tcp(socket.as_fd(), to));
        assert_eq!(redirect(socket.as_fd(), to, &landing), Ok(answer), "{to}");
        let blocks = !fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK);
        assert_eq!(
            blocks,
            !flags.contains(SocketFlags::NONBLOCK),
            "its flags are as they were"
        );
        let arrived = landing.listeners().find_map(|listener| {
            let mut events = [PollFd::new(listener, PollFlags::IN)];
            poll(&mut events, Some(&Timespec::default())).ok()?;
            listener.accept().ok()
        });
        let (mut arrived, from) = arrived.expect("a connection");
        let canonical = SocketAddr::new(to.ip().to_canonical(), to.port());
        assert_eq!(landing.take(from.as_socket().unwrap()), Some(canonical));
        let again = redirect(socket.as_fd(), to, &landing).unwrap();
        assert!(
            matches!(again, Answer::Done | Answer::Failed(libc::EISCONN)),
            "{again:?}"
        );
        assert_eq!(landing.take(from.as_socket().unwrap()), None, "connected once");
        let mut stream = std::net::TcpStream::from(socket);
        stream.write_all(b"x").unwrap();
        arrived.set_nonblocking(false).unwrap();
        arrived.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn a_socket_of_each_family_is_led_to_the_landing() {
        let begun = Answer::Failed(libc::EINPROGRESS);
        for to in ["192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            check(to, SocketFlags::empty(), Answer::Done);
            check(to, SocketFlags::NONBLOCK, begun);
        }
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            check("[2001:db8::1]:80", SocketFlags::empty(), Answer::Done);
            check("[2001:db8::1]:80", SocketFlags::NONBLOCK, begun);
        }
    }

    #[test]
    fn what_is_no_tcp_is_told_apart() {
        let to: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let udp = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        assert!(!is_tcp(udp.as_fd(), to));
        let other = socket("[::1]:80".parse().unwrap(), SocketFlags::empty());
        assert!(
            !is_tcp(other.as_fd(), to),
            "the address is of another family than the socket"
        );
    }
}
