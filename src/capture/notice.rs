//! The thread that the kernel asks, and what has to be there for it.

use std::{
    io,
    io::{IoSlice, IoSliceMut, PipeReader, PipeWriter},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
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
};

use super::{
    connecting::Connecting,
    filter::Asks,
    keeper,
    kernel::{self, Answer, Notice},
    landing::Landing,
    opening::{Opening, Roots},
    scope::Scope,
    tally::Tally,
    wanted::Wanted,
};

/// The child's end of what it passes to amb: by what its calls are asked about.
#[derive(Debug)]
pub struct Handover {
    /// Where it is passed to amb.
    to: UnixStream,
    /// What the kernel is to ask.
    asks: Asks,
}

impl Handover {
    /// Puts this process under the filter and passes on what asks about its calls. Between fork and exec: allocates nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn give(&self) -> io::Result<()> {
        let listener = kernel::install(self.asks)?;
        let listener = [listener.as_fd()];
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        control.push(SendAncillaryMessage::ScmRights(&listener));
        sendmsg(&self.to, &[IoSlice::new(b".")], &mut control, SendFlags::empty())?;
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

/// The thread that the kernel asks, until it is ended.
#[derive(Debug)]
pub struct Watcher {
    /// Ends it by being closed.
    stop: PipeWriter,
    /// Brings what it was asked by; none if nobody ever gave it that.
    thread: JoinHandle<Option<OwnedFd>>,
    /// Where it leads connections.
    landing: Arc<Landing>,
    /// What opens roots in the place of programs; none if nothing does.
    opening: Option<Arc<Opening>>,
    /// What it shares with the run.
    shared: Arc<Shared>,
}

/// What the thread shares with the run.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Whether everything goes where it wants by now.
    over: AtomicBool,
    /// What came of it so far.
    tally: Mutex<Tally>,
}

impl Shared {
    /// Whether everything goes where it wants by now.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Changes the figures.
    pub(super) fn count<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watcher {
    /// Begins to wait for what a child hands over, and then for its connections, which it leads to the landing, and for the
    /// roots that it opens, if there are others to be opened in their place.
    ///
    /// # Errors
    /// Neither sockets nor a thread.
    pub fn begin(landing: Arc<Landing>, scope: Scope, roots: Option<Roots>) -> io::Result<(Self, Handover)> {
        let asks = roots.as_ref().map_or(Asks::Connecting, |_| Asks::OpeningToo);
        let (from, to) = UnixStream::pair()?;
        let (stopping, stop) = io::pipe()?;
        let shared = Arc::<Shared>::default();
        let opening = roots.map(|roots| Arc::new(Opening::new(roots, Arc::clone(&shared))));
        let watch = Watch {
            connecting: Connecting {
                landing: Arc::clone(&landing),
                scope,
                shared: Arc::clone(&shared),
            },
            opening: opening.clone(),
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("amb-capture".to_owned())
            .spawn(move || watch.run(&from, &stopping))?;
        let watcher = Self {
            stop,
            thread,
            landing,
            opening,
            shared,
        };
        Ok((watcher, Handover { to, asks }))
    }

    /// Lets everything go where it wants from now on; what came of it until then.
    pub fn let_go(&self) -> Tally {
        self.shared.over.store(true, Ordering::SeqCst);
        let tally = self.shared.count(|tally| tally.clone());
        Tally {
            captured: self.landing.count(),
            roots: self.opening.as_ref().map(|opening| opening.count()),
            ..tally
        }
    }

    /// Ends the thread. Where processes are left that would ask it, somebody else answers in its place.
    pub fn end(self) {
        drop(self.stop);
        let Ok(Some(listener)) = self.thread.join() else { return };
        if let Some(opening) = &self.opening {
            opening.let_go(listener.as_fd());
        }
        if keeper::is_needed(listener.as_fd())
            && let Err(reason) = keeper::leave(listener)
        {
            tracing::warn!(%reason, "what the command has left behind cannot connect any more");
        }
    }
}

/// The thread's own.
struct Watch {
    /// What it does about connections.
    connecting: Connecting,
    /// What it does about files; none if it is not asked about them.
    opening: Option<Arc<Opening>>,
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
        if self.opening.is_some() {
            kernel::wake_in_turn(listener.as_fd());
        }
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

    /// Decides about a call, and answers it, unless another thread does. A bug in amb lets it go where it wants.
    fn answer(&self, listener: BorrowedFd<'_>, notice: Notice) {
        let decided = panic::catch_unwind(AssertUnwindSafe(|| self.decide(listener, notice)));
        if let Some(answer) = decided.unwrap_or(Some(Answer::GoOn))
            && let Err(reason) = kernel::answer(listener, notice.id, answer)
        {
            tracing::debug!(%reason, ?answer, "a call was not waiting any more");
        }
    }

    /// What a call is answered with; none if another thread answers it.
    fn decide(&self, listener: BorrowedFd<'_>, notice: Notice) -> Option<Answer> {
        if self.shared.is_over() {
            return Some(Answer::GoOn);
        }
        let Some(opening) = &self.opening else {
            return Some(self.connecting.decide(listener, notice));
        };
        match Wanted::of(&notice) {
            Ok(None) => Some(Answer::GoOn),
            Ok(Some(wanted)) => opening.begin(listener, notice.id, wanted),
            Err(_) => Some(self.connecting.decide(listener, notice)),
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
