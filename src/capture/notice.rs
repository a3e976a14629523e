//! The thread that the kernel asks, and what has to be there for it.

use std::{
    collections::BTreeMap,
    fmt, io,
    io::{IoSlice, IoSliceMut, PipeReader, PipeWriter},
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, poll},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
    process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
    thread::{CapabilitySet, capabilities},
};
use thiserror::Error;

use super::{
    filter, keeper,
    kernel::{self, Answer, Notice},
    landing::Landing,
    redirect,
    scope::{Scope, Way},
};

/// The most that is read of an address: as much as one of TCP has.
const ADDRESS_BYTES: usize = 28;
/// Destinations that are told of those that went around.
const MOST_TOLD: usize = 5;

/// Why nothing can be captured.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// No filter is made for this calling convention.
    #[error("amb captures on x86_64 and aarch64 only")]
    Machine,
    /// There can be one who is asked, and there is.
    #[error("something else answers what this process connects to already")]
    Taken,
    /// The kernel, or whoever guards this process, does not have it.
    #[error("the kernel hands no calls on ({0})")]
    Unasked(io::Error),
    /// amb could be asked and would know nothing.
    #[error("amb may not look into the processes of the command ({0})")]
    Blind(io::Error),
}

impl Unavailable {
    /// What would help.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Machine => "none is known",
            Self::Taken => "an outer amb run --capture captures what this one does; else find out who it is",
            Self::Unasked(_) => "Linux 5.9 or later, with CONFIG_SECCOMP_FILTER, or a sandbox that allows seccomp",
            Self::Blind(_) => "in a container, the capability SYS_PTRACE; elsewhere kernel.yama.ptrace_scope of 1 or 0",
        }
    }
}

/// Whether anything can be captured, by the example of a thread of amb's own.
///
/// # Errors
/// Why not.
pub fn possible() -> Result<(), Unavailable> {
    if !filter::is_for_this_machine() {
        return Err(Unavailable::Machine);
    }
    let tried = thread::Builder::new().spawn(kernel::install);
    let installed = tried.map_err(Unavailable::Unasked)?.join();
    let listener = match installed {
        Ok(Ok(listener)) => listener,
        Ok(Err(reason)) if reason.raw_os_error() == Some(libc::EBUSY) => return Err(Unavailable::Taken),
        Ok(Err(reason)) => return Err(Unavailable::Unasked(reason)),
        Err(_) => return Err(Unavailable::Unasked(io::ErrorKind::Other.into())),
    };
    let blind = |reason: rustix::io::Errno| Unavailable::Blind(reason.into());
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(blind)?;
    pidfd_getfd(&own, listener.as_raw_fd(), PidfdGetfdFlags::empty()).map_err(blind)?;
    let (known, mut read) = ([7_u8], [0_u8]);
    let address = known.as_ptr().addr() as u64;
    kernel::read_memory(getpid().as_raw_pid(), address, &mut read).map_err(Unavailable::Blind)?;
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let may_trace = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
    if matches!(scope.trim(), "2" | "3") && !may_trace {
        return Err(Unavailable::Blind(io::ErrorKind::PermissionDenied.into()));
    }
    Ok(())
}

/// The child's end of what it passes to amb: by what its calls are asked about.
#[derive(Debug)]
pub struct Handover(UnixStream);

impl Handover {
    /// Puts this process under the filter and passes on what asks about its calls. Between fork and exec: allocates nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn give(&self) -> io::Result<()> {
        let listener = kernel::install()?;
        let listener = [listener.as_fd()];
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        control.push(SendAncillaryMessage::ScmRights(&listener));
        sendmsg(&self.0, &[IoSlice::new(b".")], &mut control, SendFlags::empty())?;
        Ok(())
    }
}

/// Takes what the child has passed on.
fn take(from: &UnixStream) -> io::Result<OwnedFd> {
    let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    recvmsg(
        from,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let found = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    found.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Why a connection that should have been captured was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Around {
    /// amb may not read where it was to lead: it need not have been TCP.
    Unread,
    /// amb may not have the socket.
    Withheld,
    /// Its process has a network of its own, as in a container, in which amb is not.
    Elsewhere,
    /// The socket cannot be led to this machine: it is bound to a network card.
    Bound,
    /// It leads to an address that says nothing without the network card.
    Beyond,
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread => "amb may not look into their processes",
            Self::Withheld => "amb may not have their sockets",
            Self::Elsewhere => "their processes have a network of their own",
            Self::Bound => "their sockets cannot be led to this machine",
            Self::Beyond => "they lead to link-local addresses",
        })
    }
}

/// What came of the connections of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that were led to amb.
    pub captured: u64,
    /// Those that should have been: by why not, how many they were, and where some of them led.
    pub around: BTreeMap<Around, (u64, Vec<SocketAddr>)>,
}

impl Tally {
    /// Counts one that went around.
    fn went_around(&mut self, why: Around, to: Option<SocketAddr>) {
        let (count, places) = self.around.entry(why).or_default();
        *count += 1;
        if let Some(to) = to
            && places.len() < MOST_TOLD
            && !places.contains(&to)
        {
            places.push(to);
        }
    }
}

/// The thread that the kernel asks, until it is ended.
#[derive(Debug)]
pub struct Watcher {
    /// Ends it by being closed.
    stop: PipeWriter,
    /// Brings what it was asked by; none if nobody ever gave it that.
    thread: JoinHandle<Option<OwnedFd>>,
    /// Where it leads connections.
    landing: Arc<Landing>,
    /// What it shares with the run.
    shared: Arc<Shared>,
}

/// What the thread shares with the run.
#[derive(Debug, Default)]
struct Shared {
    /// Whether everything goes where it wants by now.
    over: AtomicBool,
    /// What came of it so far.
    tally: Mutex<Tally>,
}

impl Shared {
    /// Changes the figures.
    fn count<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watcher {
    /// Begins to wait for what a child hands over, and then for its connections, which it leads to the landing.
    ///
    /// # Errors
    /// Neither sockets nor a thread.
    pub fn begin(landing: Arc<Landing>, scope: Scope) -> io::Result<(Self, Handover)> {
        let (from, to) = UnixStream::pair()?;
        let (stopping, stop) = io::pipe()?;
        let shared = Arc::<Shared>::default();
        let watch = Watch {
            landing: Arc::clone(&landing),
            scope,
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("amb-capture".to_owned())
            .spawn(move || watch.run(&from, &stopping))?;
        let watcher = Self {
            stop,
            thread,
            landing,
            shared,
        };
        Ok((watcher, Handover(to)))
    }

    /// Lets everything go where it wants from now on; what came of it until then.
    pub fn let_go(&self) -> Tally {
        self.shared.over.store(true, Ordering::SeqCst);
        let around = self.shared.count(|tally| tally.around.clone());
        Tally {
            captured: self.landing.count(),
            around,
        }
    }

    /// Ends the thread. Where processes are left that would ask it, somebody else answers in its place.
    pub fn end(self) {
        drop(self.stop);
        let Ok(Some(listener)) = self.thread.join() else { return };
        if keeper::is_needed(listener.as_fd())
            && let Err(reason) = keeper::leave(listener)
        {
            tracing::warn!(%reason, "what the command has left behind cannot connect any more");
        }
    }
}

/// The thread's own.
struct Watch {
    /// Where it leads connections.
    landing: Arc<Landing>,
    /// Which ones.
    scope: Scope,
    /// What it shares with the run.
    shared: Arc<Shared>,
}

impl Watch {
    /// Waits for what the child hands over, then answers until it is stopped, or nobody is left who could ask.
    fn run(&self, from: &UnixStream, stopping: &PipeReader) -> Option<OwnedFd> {
        if !is_called(from.as_fd(), stopping) {
            return None;
        }
        let listener = take(from)
            .inspect_err(|reason| tracing::warn!(%reason, "nothing is captured: amb is not asked"))
            .ok()?;
        while is_called(listener.as_fd(), stopping) {
            match kernel::receive(listener.as_fd()) {
                Ok(notice) => self.answer(listener.as_fd(), notice),
                // It has ended, or a signal has ended its call.
                Err(reason) if matches!(reason.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
                Err(reason) => {
                    tracing::warn!(%reason, "nothing is captured any more: amb is not asked");
                    break;
                }
            }
        }
        Some(listener)
    }

    /// Decides about a call, and answers it. A bug in amb lets it go where it wants.
    fn answer(&self, listener: BorrowedFd<'_>, notice: Notice) {
        let decided = panic::catch_unwind(AssertUnwindSafe(|| self.decide(listener, notice)));
        let answer = decided.unwrap_or(Answer::GoOn);
        if let Err(reason) = kernel::answer(listener, notice.id, answer) {
            tracing::debug!(%reason, ?answer, "a call was not waiting any more");
        }
    }

    /// What a call is answered with.
    fn decide(&self, listener: BorrowedFd<'_>, notice: Notice) -> Answer {
        if self.shared.over.load(Ordering::SeqCst) {
            return Answer::GoOn;
        }
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

/// Waits until there is something to read; false if amb is to stop, or there will be nothing.
fn is_called(from: BorrowedFd<'_>, stopping: &PipeReader) -> bool {
    loop {
        let mut events = [
            PollFd::from_borrowed_fd(from, PollFlags::IN),
            PollFd::new(stopping, PollFlags::IN),
        ];
        match poll(&mut events, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return events[1].revents().is_empty() && events[0].revents().contains(PollFlags::IN),
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
    fn what_goes_around_is_counted_and_some_of_it_told() {
        let mut tally = Tally::default();
        for last in 0..20 {
            tally.went_around(Around::Withheld, Some((Ipv4Addr::new(192, 0, 2, last), 80).into()));
        }
        tally.went_around(Around::Unread, None);
        let (count, places) = &tally.around[&Around::Withheld];
        assert_eq!((*count, places.len()), (20, MOST_TOLD));
        assert_eq!(tally.around[&Around::Unread], (1, Vec::new()));
    }

    #[test]
    fn the_process_of_a_thread_is_found() {
        let own = rustix::thread::gettid().as_raw_pid();
        assert_eq!(process_of(own), Some(getpid().as_raw_pid()));
        assert_eq!(process_of(0), None);
    }
}
