//! Signals read from the kernel's own queue: who sent each is known, and of the real-time ones each counts, however many come
//! at once. A handler would have to keep what it cannot pass on yet, and would have to be taken off again in the child.

#![expect(unsafe_code, reason = "signalfd(2) has no safe wrapper")]

use std::{
    io,
    mem::{offset_of, size_of},
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
};

use tracing::debug;

use super::{
    signal::{Received, Sender, Signal},
    startup::{change_mask, signal_set},
};

/// Signals that came in and were not read yet.
pub(super) struct Caught {
    /// Readable while there are any.
    queue: OwnedFd,
}

impl Caught {
    /// Collects `signals` from now on. They are blocked in this thread and in those it starts, so that they stay in the queue.
    ///
    /// # Errors
    ///
    /// If the process is out of file descriptors.
    pub(super) fn listen(signals: impl Iterator<Item = i32>) -> io::Result<Self> {
        let signals = signal_set(signals);
        // SAFETY: signalfd(2) reads a set that lives through the call; -1 asks for a new descriptor.
        let queue = unsafe { libc::signalfd(-1, &raw const signals, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        change_mask(libc::SIG_BLOCK, Some(&signals));
        Ok(Self {
            // SAFETY: it was opened just now and belongs to nobody else.
            queue: unsafe { OwnedFd::from_raw_fd(queue) },
        })
    }

    /// Readable while there are any.
    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// The next one, without waiting.
    pub(super) fn next(&self) -> Option<Received> {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.queue, &mut record) {
            Ok(count) if count == record.len() => Some(received(&record)),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
            Err(reason) => {
                debug!(%reason, "no signals");
                None
            }
        }
    }
}

/// Reads a record as signalfd(2) writes it.
fn received(record: &[u8]) -> Received {
    let word = |offset: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&record[offset..offset + 4]);
        i32::from_ne_bytes(bytes)
    };
    let sender = match word(offset_of!(libc::signalfd_siginfo, ssi_code)) {
        libc::SI_KERNEL => Sender::Kernel,
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL => {
            Sender::Process(word(offset_of!(libc::signalfd_siginfo, ssi_pid)))
        }
        _ => Sender::Unknown,
    };
    Received {
        signal: Signal::of(word(offset_of!(libc::signalfd_siginfo, ssi_signo))),
        sender,
    }
}
