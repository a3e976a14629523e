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

use super::filter::{self, Asks};

/// Room for a notification and for its answer, as words: more than the kernel's structures take, which may grow.
const ROOM: usize = 64;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    /// By what it is answered.
    pub(super) id: u64,
    /// The thread that has made it, as this process sees it; 0 if it cannot.
    pub(super) thread: i32,
    /// Its number.
    pub(super) call: i32,
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
    /// It has opened this descriptor.
    Descriptor(i32),
    /// It failed with this number.
    Failed(i32),
}

/// Puts this thread, and all that it starts, under the filter that has this asked; what asks about its calls.
///
/// Between fork and exec, too: it allocates nothing and locks nothing.
///
/// # Errors
/// The kernel's: `EBUSY` if somebody else is asked already.
pub(super) fn install(asks: Asks) -> io::Result<OwnedFd> {
    let mut made = filter::program(asks);
    let steps = made.steps();
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
        call: notice.data.nr,
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
        val: match answer {
            Answer::Descriptor(number) => number.into(),
            Answer::GoOn | Answer::Done | Answer::Failed(_) => 0,
        },
        error: match answer {
            Answer::Failed(number) => -number,
            Answer::GoOn | Answer::Done | Answer::Descriptor(_) => 0,
        },
        flags: match answer {
            Answer::GoOn => u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default(),
            Answer::Done | Answer::Descriptor(_) | Answer::Failed(_) => 0,
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

/// Answers a call that opens a file with a descriptor of this file, which exec closes or does not.
///
/// # Errors
/// `ENOENT` if it does not wait any more, `EMFILE` if its process has no room for it.
pub(super) fn answer_with(listener: BorrowedFd<'_>, id: u64, file: BorrowedFd<'_>, closes: bool) -> io::Result<()> {
    match add(listener, id, file, closes, libc::SECCOMP_ADDFD_FLAG_SEND) {
        // Before Linux 5.14 the process gets it first and its number then. If a signal comes in between, it has one open that
        // it does not know of.
        Err(reason) if reason.raw_os_error() == Some(libc::EINVAL) => {
            let number = add(listener, id, file, closes, 0)?;
            answer(listener, id, Answer::Descriptor(number))
        }
        added => added.map(drop),
    }
}

/// Has whoever waits for a call be woken on the processor on which it was made, and the other way around, since the one sleeps
/// while the other works. Takes Linux 6.6, and is slower without.
pub(super) fn wake_in_turn(listener: BorrowedFd<'_>) {
    /// The flag for it ([seccomp.h], `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`).
    ///
    /// [seccomp.h]: https://github.com/torvalds/linux/blob/master/include/uapi/linux/seccomp.h
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the kernel takes the flags as they are, and reads nothing.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    if result != 0 {
        tracing::debug!("the kernel wakes amb wherever it likes");
    }
}

/// Whether the kernel can open a file in the place of another process at all: asks for it where nobody waits.
///
/// # Errors
/// Why not.
pub(super) fn opens(listener: BorrowedFd<'_>) -> io::Result<()> {
    match add(listener, 0, listener, true, 0) {
        Err(reason) if reason.raw_os_error() != Some(libc::ENOENT) => Err(reason),
        _ => Ok(()),
    }
}

/// Gives the process whose call it is a descriptor of this file; its number there.
fn add(listener: BorrowedFd<'_>, id: u64, file: BorrowedFd<'_>, closes: bool, flags: libc::c_ulong) -> io::Result<i32> {
    let added = libc::seccomp_notif_addfd {
        id,
        flags: u32::try_from(flags).unwrap_or_default(),
        srcfd: file.as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if closes { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
    };
    // SAFETY: the kernel reads the structure.
    let number = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const added) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(number)
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
