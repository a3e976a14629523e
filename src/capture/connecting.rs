//! What is decided about connect(2): whether it is led to amb.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{
    kernel::{self, Answer, Notice},
    landing::Landing,
    notice::Shared,
    redirect,
    scope::{Scope, Way},
    tally::Around,
};

/// The most that is read of an address: as much as one of TCP has.
const ADDRESS_BYTES: usize = 28;

/// What decides.
pub(super) struct Connecting {
    /// Where connections are led.
    pub(super) landing: Arc<Landing>,
    /// Which ones.
    pub(super) scope: Scope,
    /// Where they are counted.
    pub(super) shared: Arc<Shared>,
}

impl Connecting {
    /// What a call of connect(2) is answered with.
    pub(super) fn decide(&self, listener: BorrowedFd<'_>, notice: Notice) -> Answer {
        let around = |why, to| {
            tracing::debug!(?why, ?to, thread = notice.thread, "a connection goes around");
            self.shared.count(|tally| tally.went_around(why, to));
            Answer::GoOn
        };
        let [descriptor, address, length, ..] = notice.arguments;
        let mut bytes = [0; ADDRESS_BYTES];
        let room = usize::try_from(length).map_or(ADDRESS_BYTES, |length| length.min(ADDRESS_BYTES));
        let to = match kernel::read_memory(notice.thread, address, &mut bytes[..room]) {
            Ok(count) => parse(&bytes[..count]),
            // The kernel finds it out by itself.
            Err(reason) if matches!(reason.raw_os_error(), Some(libc::EFAULT | libc::ESRCH)) => return Answer::GoOn,
            Err(_) => return around(Around::Unread, None),
        };
        let Some(to) = to else { return Answer::GoOn };
        let way = self.scope.way(to);
        if way == Way::Direct {
            return Answer::GoOn;
        }
        let descriptor = u32::try_from(descriptor & 0xffff_ffff)
            .unwrap_or_default()
            .cast_signed();
        let socket = match duplicate(notice.thread, descriptor) {
            Ok(socket) => socket,
            // It is none, or its process is gone.
            Err(reason) if matches!(reason.raw_os_error(), Some(libc::EBADF | libc::ESRCH)) => return Answer::GoOn,
            Err(_) => return around(Around::Withheld, Some(to)),
        };
        if !redirect::is_tcp(socket.as_fd(), to) || !kernel::still_waits(listener, notice.id) {
            return Answer::GoOn;
        }
        if way == Way::Beyond {
            return around(Around::Beyond, Some(to));
        }
        if is_elsewhere(notice.thread) {
            return around(Around::Elsewhere, Some(to));
        }
        match redirect::redirect(socket.as_fd(), to, &self.landing) {
            Ok(answer) => answer,
            Err(reason) => {
                tracing::debug!(%reason, %to, "a socket was not led to amb");
                around(Around::Bound, Some(to))
            }
        }
    }
}

/// Whether a thread is in another network than amb, as far as amb may know.
fn is_elsewhere(thread: i32) -> bool {
    let network = |thread: &str| std::fs::read_link(format!("/proc/{thread}/ns/net"));
    match (network("self"), network(&thread.to_string())) {
        (Ok(own), Ok(other)) => own != other,
        _ => false,
    }
}

/// Another process's descriptor, as one of this process.
fn duplicate(thread: i32, descriptor: i32) -> io::Result<OwnedFd> {
    let process = match open(thread) {
        Ok(process) => process,
        // It is a thread and not the first one of its process.
        Err(_) => open(process_of(thread).ok_or(io::ErrorKind::NotFound)?)?,
    };
    Ok(pidfd_getfd(&process, descriptor, PidfdGetfdFlags::empty())?)
}

/// A process, by its number.
fn open(process: i32) -> io::Result<OwnedFd> {
    let process = Pid::from_raw(process).ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(process, PidfdFlags::empty())?)
}

/// The process that a thread belongs to.
fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    group.trim().parse().ok()
}

/// The address of TCP that these bytes are; none if they are another one, or not whole.
fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET if bytes.len() >= 16 => {
            let octets: [u8; 4] = *bytes[4..].first_chunk()?;
            Some((Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 if bytes.len() >= 24 => {
            let octets: [u8; 16] = *bytes[8..].first_chunk()?;
            Some((Ipv6Addr::from(octets), port).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of an address, as a program hands them to connect(2).
    fn bytes(family: i32, port: u16, rest: &[u8]) -> Vec<u8> {
        let family = u16::try_from(family).unwrap();
        [&family.to_ne_bytes()[..], &port.to_be_bytes(), rest].concat()
    }

    #[test]
    fn addresses_of_tcp_are_read_and_no_others() {
        let ipv4 = bytes(libc::AF_INET, 80, &[&[192, 0, 2, 1][..], &[0; 8]].concat());
        assert_eq!(parse(&ipv4), Some("192.0.2.1:80".parse().unwrap()));
        assert_eq!(parse(&ipv4[..15]), None, "the kernel refuses it, too");
        let octets = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let ipv6 = bytes(libc::AF_INET6, 443, &[&[0; 4], &octets[..], &[0; 4]].concat());
        assert_eq!(parse(&ipv6), Some("[2001:db8::1]:443".parse().unwrap()));
        assert_eq!(parse(&ipv6[..24]), Some("[2001:db8::1]:443".parse().unwrap()));
        assert_eq!(parse(&ipv6[..23]), None);
        assert_eq!(parse(&bytes(libc::AF_UNIX, 0, b"/run/x.sock\0\0\0\0\0")), None);
        assert_eq!(parse(&bytes(libc::AF_UNSPEC, 80, &[0; 24])), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn the_process_of_a_thread_is_found() {
        let own = rustix::thread::gettid().as_raw_pid();
        assert_eq!(process_of(own), Some(rustix::process::getpid().as_raw_pid()));
        assert_eq!(process_of(0), None);
    }
}
