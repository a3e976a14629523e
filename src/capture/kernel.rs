//! What of seccomp user notification ([seccomp_unotify(2)]) there is no safe function for.
//!
//! [seccomp_unotify(2)]: https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html

#![expect(
    unsafe_code,
    reason = "seccomp(2), its ioctl(2)s and process_vm_readv(2) have no safe wrapper"
)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::filter;

/// Room for a notification and for its answer, as words: more than the kernel's structures take, which may grow.
const ROOM: usize = 64;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    /// By what it is answered.
    pub(super) id: u64,
    /// The thread that has made it, as this process sees it; 0 if it cannot.
    pub(super) thread: i32,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

/// What a call is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel does what was asked of it.
    GoOn,
    /// It is done.
    Done,
    /// It failed with this number.
    Failed(i32),
}

/// Puts this thread, and all that it starts, under the filter; what asks about its calls.
///
/// Between fork and exec, too: it allocates nothing and locks nothing.
///
/// # Errors
/// The kernel's: `EBUSY` if somebody else is asked already.
pub(super) fn install() -> io::Result<OwnedFd> {
    let mut steps = filter::program();
    let program = libc::sock_fprog {
        len: u16::try_from(steps.len()).unwrap_or_default(),
        filter: steps.as_mut_ptr(),
    };
    // A command that is asked about is no more suspect than it was: on older kernels filters slow all computing down, lest it
    // tells what it should not.
    let needed = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let load = |flags: libc::c_ulong| {
        // SAFETY: seccomp(2) reads the program, which lives until it returns, and gives a new descriptor.
        let made = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
                flags,
                &raw const program,
            )
        };
        match RawFd::try_from(made) {
            // SAFETY: it is new, so nobody else owns it.
            Ok(made @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(made) }),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let load = || match load(needed | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        // Before Linux 5.19, where a signal may interrupt a call that is being answered.
        Err(reason) if reason.raw_os_error() == Some(libc::EINVAL) => load(needed),
        loaded => loaded,
    };
    match load() {
        // Who has no privileges gives up those of setuid programs. Who has some may keep them: sudo goes on working.
        Err(reason) if reason.raw_os_error() == Some(libc::EACCES) => {
            rustix::thread::set_no_new_privs(true)?;
            load()
        }
        loaded => loaded,
    }
}

/// Takes the next call.
///
/// # Errors
/// `ENOENT` if its process is gone already, `EINTR`; others mean that there will be none.
pub(super) fn receive(listener: BorrowedFd<'_>) -> io::Result<Notice> {
    let mut room = [0_u64; ROOM];
    // SAFETY: the room is larger than the structure, filled with zeroes as the kernel wants it, and aligned for it.
    let notice = unsafe {
        let result = libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, room.as_mut_ptr());
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        ptr::from_ref(&room).cast::<libc::seccomp_notif>().read()
    };
    Ok(Notice {
        id: notice.id,
        thread: notice.pid.cast_signed(),
        arguments: notice.data.args,
    })
}

/// Answers a call.
///
/// # Errors
/// `ENOENT` if it does not wait any more.
pub(super) fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: match answer {
            Answer::Failed(number) => -number,
            Answer::GoOn | Answer::Done => 0,
        },
        flags: match answer {
            Answer::GoOn => u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default(),
            Answer::Done | Answer::Failed(_) => 0,
        },
    };
    let mut room = [0_u64; ROOM];
    const { assert!(size_of::<libc::seccomp_notif_resp>() <= ROOM * 8) };
    // SAFETY: the room is larger than the structure, and aligned for it; the kernel reads it.
    let result = unsafe {
        ptr::from_mut(&mut room)
            .cast::<libc::seccomp_notif_resp>()
            .write(response);
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, room.as_mut_ptr())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether a call still waits, so that what was found out about its thread was about that thread.
pub(super) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads the number.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Reads the memory of another process into `room`; how much of it could be read.
///
/// # Errors
/// `EPERM` if amb may not look into it, `ESRCH` if it is gone, `EFAULT` if there is nothing.
pub(super) fn read_memory(thread: i32, address: u64, room: &mut [u8]) -> io::Result<usize> {
    let address = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
    let to = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    let from = libc::iovec {
        iov_base: ptr::without_provenance_mut(address),
        iov_len: room.len(),
    };
    // SAFETY: the kernel writes into `room` alone, as much as it has room for; the other address is another process's.
    let read = unsafe { libc::process_vm_readv(thread, &raw const to, 1, &raw const from, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
