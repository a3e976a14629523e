//! What amb does in its own name: write a line, stop, end.

#![expect(unsafe_code, reason = "sigaction(2), kill(2) and _exit(2) have no safe wrapper")]

use std::{mem, process, ptr};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    stdio::stderr,
};
use tracing::debug;

use super::startup::{Blocked, change_mask, signal_set};

/// How long a full stderr that somebody made non-blocking may hold amb up.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Writes amb's own lines to stderr; every failure is ignored, because amb's status is the child's and not that of a summary.
///
/// SIGTTOU is held back meanwhile: with `stty tostop` a line written from the background would stop amb for ever.
pub fn write_stderr(text: &str) {
    let _blocked = Blocked::new([libc::SIGTTOU]);
    let text = crate::veil::text(text);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(stderr(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let writable = PollFd::from_borrowed_fd(stderr(), PollFlags::OUT);
                if !matches!(poll(&mut [writable], Some(&PATIENCE)), Ok(1)) {
                    return;
                }
            }
            Err(reason) => {
                debug!(%reason, "stderr takes nothing");
                return;
            }
        }
    }
}

/// Stops this process by `signal`, one of the four that stop, until somebody continues it.
///
/// All but SIGSTOP do nothing if they came ignored, or if no shell is there to continue this process.
pub(super) fn stop(signal: i32) {
    // What is caught is blocked.
    let caught = change_mask(libc::SIG_UNBLOCK, Some(&signal_set([signal])));
    // SAFETY: raise(3) takes an integer, and comes back when this thread has stopped and gone on, which kill(2) does not promise:
    // what is caught must not be so before that.
    if unsafe { libc::raise(signal) } != 0 {
        debug!(signal, "cannot stop");
    }
    change_mask(libc::SIG_SETMASK, Some(&caught));
}

/// Has `signal` do from now on what it does where nobody catches it.
pub(super) fn act_by_default(signal: i32) {
    // SAFETY: sigaction is plain data for which zeroes are valid, and SIG_DFL runs no code of ours.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// Ends this process by `signal`, so that its parent sees what it would have seen of the child.
///
/// Leaves no core file of its own. As PID 1, which no signal of its own can kill, it exits with 128 + `signal`.
pub(crate) fn die_by(signal: i32) -> ! {
    if let Err(reason) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        debug!(%reason, "still dumpable");
    }
    let core = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    if let Err(reason) = setrlimit(Resource::Core, core) {
        debug!(%reason, "core files stay allowed");
    }
    act_by_default(signal);
    change_mask(libc::SIG_UNBLOCK, Some(&signal_set([signal])));
    if super::startup::send(process::id().cast_signed(), signal).is_ok() {
        // Another thread may be the one that takes the delivery.
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        if let Err(reason) = poll(&mut [], Some(&moment)) {
            debug!(%reason, "did not wait for the signal");
        }
    }
    leave(128 + signal)
}

/// Ends this process with `status` at once: no destructor and no thread that is stuck in a name lookup can hold it up.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(status) }
}
