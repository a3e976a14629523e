//! What stays when amb has ended and processes of the command have not: without anybody who answers, they could connect to
//! nothing any more, be it a socket in the file system. A process of amb's own lets them go where they want until the last of
//! them has ended.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::kernel::{self, Answer};

/// The word by which amb becomes the one that stays: a subcommand (`cli.rs`).
const KEEP: &str = "keep-connecting";

/// Whether there is still a process that asks.
pub(super) fn is_needed(listener: BorrowedFd<'_>) -> bool {
    let mut events = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    let polled = poll(&mut events, Some(&Timespec::default()));
    polled.is_ok() && !events[0].revents().contains(PollFlags::HUP)
}

/// Leaves a process behind that answers in amb's place.
///
/// # Errors
/// It cannot be started.
pub(super) fn leave(listener: OwnedFd) -> io::Result<()> {
    Command::new("/proc/self/exe")
        .arg0("amb")
        .arg(KEEP)
        .stdin(Stdio::from(File::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map(drop)
}

/// Is that process: lets every connection go where it wants, as long as there is somebody who asks on standard input.
pub fn keep() {
    let listener = io::stdin();
    let listener = listener.as_fd();
    loop {
        let mut events = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        match poll(&mut events, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !events[0].revents().contains(PollFlags::IN) {
            return;
        }
        if let Ok(notice) = kernel::receive(listener)
            && let Err(reason) = kernel::answer(listener, notice.id, Answer::GoOn)
        {
            tracing::trace!(%reason, "a call was not waiting any more");
        }
    }
}
