//! Starts a process as vfork(2) does: it has amb's memory until it has become another program, while amb waits.
//!
//! fork(2) copies the tables of all memory, and exec(2) throws the copy away: a good part of what a small program's start
//! costs. Nor does it need a pipe to tell why exec failed.

#![expect(
    unsafe_code,
    reason = "a process that shares memory and returns only once is started by clone(2)"
)]

use std::{
    ffi::{c_int, c_void},
    io,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::process::{Pid, WaitOptions, waitpid};
use tracing::debug;

/// What the C library needs of a stack to search `PATH` and to exec, in bytes, beside a pointer for each argument.
const STACK: usize = 64 << 10;
/// How a stack has to be aligned, in bytes.
const ALIGNMENT: usize = 16;
/// The status of a process that could not become a program, by which shells tell that there is none; only seen where memory
/// is not really shared (emulators), for otherwise amb tells why.
const NO_PROGRAM: c_int = 127;

/// What the new process shares with amb.
struct Shared<'a> {
    /// What it is to do; returns only if that failed.
    become_program: &'a dyn Fn() -> io::Error,
    /// Why it failed: the number of an error; 0 as long as it has not.
    failure: AtomicI32,
}

/// Starts a process that does `become_program`, which may have so many arguments; its id. Returns when it has become a program,
/// or did not.
///
/// # Safety
///
/// `become_program` runs in another process that shares memory with this one, whose calling thread stands still: it must not
/// allocate, lock, panic or end this process's threads, and what it writes stays written. No signal may run a handler in it that
/// must run in amb alone.
///
/// # Errors
///
/// Why there is no process, or it did not become a program.
pub(super) unsafe fn start(become_program: &dyn Fn() -> io::Error, arguments: usize) -> io::Result<u32> {
    let shared = Shared {
        become_program,
        failure: AtomicI32::new(0),
    };
    let mut stack: Vec<MaybeUninit<u8>> = Vec::with_capacity(STACK + arguments * size_of::<*const u8>() + ALIGNMENT);
    let top = stack.as_mut_ptr_range().start.wrapping_add(stack.capacity());
    let top = top.wrapping_sub(top.addr() % ALIGNMENT);
    // SAFETY: the stack and what is shared live until clone(2) returns, which with CLONE_VFORK is when the process no longer uses
    // them. The rest is the caller's promise.
    let id = unsafe {
        libc::clone(
            run,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            ptr::from_ref(&shared).cast_mut().cast(),
        )
    };
    let Some(process) = Pid::from_raw(id).filter(|_| id > 0) else {
        return Err(io::Error::last_os_error());
    };
    match shared.failure.load(Ordering::Relaxed) {
        0 => Ok(id.unsigned_abs()),
        number => {
            // It has ended, and is nobody's child but amb's.
            if let Err(reason) = waitpid(Some(process), WaitOptions::empty()) {
                debug!(%reason, "what was not started was not reaped");
            }
            Err(io::Error::from_raw_os_error(number))
        }
    }
}

/// The new process.
extern "C" fn run(shared: *mut c_void) -> c_int {
    // SAFETY: the pointer that `start` has passed, which waits.
    let shared = unsafe { &*shared.cast::<Shared<'_>>() };
    let reason = (shared.become_program)();
    let number = reason.raw_os_error().unwrap_or(libc::EINVAL);
    shared.failure.store(number, Ordering::Relaxed);
    // SAFETY: _exit(2) runs nothing of this process's.
    unsafe { libc::_exit(NO_PROGRAM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_becomes_no_program_tells_why_and_is_reaped() {
        // SAFETY: making an error of a number allocates nothing.
        let started = unsafe { start(&|| io::Error::from_raw_os_error(libc::ENOEXEC), 0) };
        assert_eq!(started.unwrap_err().raw_os_error(), Some(libc::ENOEXEC));
    }

    #[test]
    fn a_process_becomes_a_program_on_its_own_stack() {
        let become_true = || {
            let words = [c"/bin/sh".as_ptr(), c"-c".as_ptr(), c"exit 7".as_ptr(), ptr::null()];
            // SAFETY: the words are closed by zeroes, and their list by a null.
            unsafe { libc::execv(words[0], words.as_ptr()) };
            io::Error::last_os_error()
        };
        // SAFETY: execv(3) is all it does.
        let id = unsafe { start(&become_true, 3) }.unwrap();
        let ended = waitpid(Pid::from_raw(id.cast_signed()), WaitOptions::empty());
        let (_, status) = ended.unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }
}
