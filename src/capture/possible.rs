//! Whether anything can be captured on this machine, and why not.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    thread,
};

use rustix::{
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
    thread::{CapabilitySet, capabilities},
};
use thiserror::Error;

use super::{
    filter::{self, Asks},
    kernel,
};

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

/// Whether anything can be captured where the kernel asks this, by the example of a thread of amb's own.
///
/// # Errors
/// Why not.
pub fn possible(asks: Asks) -> Result<(), Unavailable> {
    if !filter::is_for_this_machine() {
        return Err(Unavailable::Machine);
    }
    let tried = thread::Builder::new().spawn(move || kernel::install(asks));
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
    if asks == Asks::OpeningToo {
        kernel::opens(listener.as_fd()).map_err(Unavailable::Unasked)?;
    }
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
