//! What amb inherited from its own parent: signal dispositions and the signal mask.
//!
//! The child has to inherit the same, so they are read before anything changes them.

#![expect(
    unsafe_code,
    reason = "sigaction(2), pthread_sigmask(3) and environ(7) have no safe wrapper, and .init_array is a link section"
)]

use std::{
    io, mem, ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether SIGPIPE was ignored when amb was started; Rust's runtime ignores it on its own before `main`.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's runtime, which is the last moment at which the inherited disposition of SIGPIPE is known.
extern "C" fn remember_pipe() {
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Has the C runtime call [`remember_pipe`].
#[used]
// SAFETY: the section holds pointers to functions of this type; the function only calls sigaction(2) and stores to an atomic.
#[unsafe(link_section = ".init_array")]
static REMEMBER_PIPE: extern "C" fn() = remember_pipe;

// Unwinding is all that libgcc_s is needed for. Linked in instead of loaded, it takes 0.1 ms off the start, and does not ask the
// processor what it is, which is slow in a virtual machine.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// C's `pow`, which is all that amb would load libm for: that takes as long. (The one in libm.a is of use to the dynamic
/// loader's own version alone.)
#[cfg(all(target_os = "linux", target_env = "gnu"))]
// SAFETY: this is the function of that name, with its signature.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// What Rust's runtime would do before `main`, as far as amb needs it: SIGPIPE is ignored, so that a write to a pipe that nobody
/// reads is an error, and no descriptor of amb's own can become a standard stream.
///
/// What stands in for a stream that is closed is closed again for the child, which so gets what the bare command would.
pub fn settle_in() {
    // SAFETY: no code runs for a signal that is ignored.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both take integers and a constant path. Of the descriptors that are free, open(2) takes the lowest.
        unsafe {
            if libc::fcntl(stream, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            }
        }
    }
}

/// The process's environment, as C has it.
mod environment {
    use std::ffi::c_char;

    unsafe extern "C" {
        /// The entries, closed by a null.
        pub(super) static mut environ: *mut *mut c_char;
    }
}

/// Takes variables out of this process's environment and wipes what it was started with, which is what others see of it in
/// `/proc`. To be called while there is one thread.
pub fn forget_variables(names: &[&str]) {
    // SAFETY: `environ` is null, or a list of texts that end in zero, closed by a null. They are the process's own and may be
    // written to; with one thread nobody else reads them meanwhile. What is copied moves towards the front of the same list.
    unsafe {
        let mut from = environment::environ;
        let mut to = from;
        while !from.is_null() && !(*from).is_null() {
            let entry = *from;
            let length = libc::strlen(entry);
            let bytes = std::slice::from_raw_parts(entry.cast::<u8>(), length);
            let name = bytes.split(|byte| *byte == b'=').next().unwrap_or_default();
            if names.iter().any(|hidden| hidden.as_bytes() == name) {
                for at in 0..length {
                    // Volatile: nobody is going to read it here, and it is to be gone all the same.
                    entry.add(at).write_volatile(0);
                }
            } else {
                *to = entry;
                to = to.add(1);
            }
            from = from.add(1);
        }
        if !to.is_null() {
            *to = ptr::null_mut();
        }
    }
}

/// Closes every descriptor above the standard streams that amb was started with: those that a command would inherit, which
/// amb's own are never among. To be called by an amb that lives on without the one who has started it.
pub fn close_inherited() {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > libc::STDERR_FILENO)
        .collect();
    for descriptor in open {
        // SAFETY: both take integers. What is not closed on exec belongs to nothing in this process, as all that is opened here is.
        unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(descriptor);
            }
        }
    }
}

/// From now on no dump of this process is written and no other process of the same user can look into it: neither trace it nor
/// read its memory. The command is not affected: exec(2) begins anew ([prctl(2)], `PR_SET_DUMPABLE`).
///
/// What `/proc` tells of amb belongs to root meanwhile: who may list its open files is root, and amb itself.
///
/// [prctl(2)]: https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
pub fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(reason) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%reason, "amb holds secrets, and may leave them in a dump");
    }
}

/// Signal state to hand on to the child as it was inherited.
#[derive(Clone, Copy)]
pub(super) struct Inherited {
    /// The signals that were blocked.
    pub(super) mask: libc::sigset_t,
    /// Whether SIGCHLD was ignored, which the kernel takes as "reap my children for me".
    pub(super) child_ignored: bool,
    /// Whether SIGPIPE was ignored (systemd does so by default).
    pub(super) pipe_ignored: bool,
}

impl Inherited {
    /// Reads the state of this process; right only before amb has changed any of it.
    pub(super) fn read() -> Self {
        Self {
            mask: change_mask(libc::SIG_BLOCK, None),
            child_ignored: is_ignored(libc::SIGCHLD),
            pipe_ignored: PIPE_WAS_IGNORED.load(Ordering::Relaxed),
        }
    }
}

impl Inherited {
    /// Whether `signal` was blocked.
    pub(super) fn holds_back(&self, signal: i32) -> bool {
        Pending(self.mask).has(signal)
    }
}

/// Whether `signal` is ignored at this moment; `false` for what is not a signal.
pub(super) fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data for which zeroes are valid; a null new action only asks, and the old one is ours.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// The signals that came while they were blocked.
pub(super) struct Pending(libc::sigset_t);

impl Pending {
    /// Asks the kernel.
    pub(super) fn read() -> Self {
        // SAFETY: the empty set is replaced by what the kernel says.
        unsafe {
            let mut set = signal_set([]);
            libc::sigpending(&raw mut set);
            Self(set)
        }
    }

    /// Whether `signal` is among them.
    pub(super) fn has(&self, signal: i32) -> bool {
        // SAFETY: the set is initialised, and what is no signal is not in it.
        unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
    }
}

/// The set of these signals.
pub(super) fn signal_set(signals: impl IntoIterator<Item = i32>) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before it is used; sigaddset refuses what is not a signal.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Changes this thread's mask (`SIG_BLOCK`, `SIG_UNBLOCK`, `SIG_SETMASK`) and returns the one before; `None` only asks.
pub(super) fn change_mask(how: i32, set: Option<&libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: both sets live through the call, and a null set only asks. It cannot fail with a valid `how`.
    unsafe {
        let mut before = mem::zeroed();
        libc::pthread_sigmask(how, set.map_or(ptr::null(), ptr::from_ref), &raw mut before);
        before
    }
}

/// Holds back signals in this thread for as long as it lives.
pub(super) struct Blocked {
    /// The mask to return to.
    before: libc::sigset_t,
}

impl Blocked {
    /// Blocks `signals` in this thread.
    pub(super) fn new(signals: impl IntoIterator<Item = i32>) -> Self {
        Self {
            before: change_mask(libc::SIG_BLOCK, Some(&signal_set(signals))),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        change_mask(libc::SIG_SETMASK, Some(&self.before));
    }
}

/// Sends `signal` to `target` as kill(2) understands it: a process, or with a minus sign a group.
///
/// # Errors
///
/// As kill(2): `ESRCH`, `EPERM`, `EINVAL`.
pub(super) fn send(target: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    if unsafe { libc::kill(target, signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
