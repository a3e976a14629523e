//! The title of the terminal's window, borrowed while the child has the terminal.
//!
//! Written through a file description of amb's own, which alone does not block: the child's stays as it is, and a terminal
//! that takes nothing (Ctrl-S, a link that hangs) holds nobody up. Only while amb's process group, or the child's, has the
//! terminal: the title of a job in the background is nobody's business.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::OwnedFd,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode as Permissions, OFlags, open},
    process::getpgrp,
    stdio::stderr,
    termios::{tcgetpgrp, tcgetsid},
};
use tracing::debug;

use super::{leftover::Stat, startup::Blocked};

/// Puts the title on the terminal's stack: xterm's window operation 22, which terminals without a stack pass over.
const SAVE: &str = "\x1b[22;2t";

/// Takes the title off, for those without a stack, and the one before back from the stack, for all others.
const GIVE_BACK: &str = "\x1b]2;\x07\x1b[23;2t";

/// The title of amb's controlling terminal. What was there before comes back when it is given back, or dropped.
#[derive(Debug)]
pub struct Title {
    /// The terminal, by a description that does not block.
    terminal: OwnedFd,
    /// The child's process id; 0 if there is none.
    child: Cell<i32>,
    /// What is on loan.
    loan: RefCell<Loan>,
}

/// What amb owes the terminal.
#[derive(Debug, Default)]
struct Loan {
    /// Whether the title before is on the terminal's stack.
    is_taken: bool,
    /// What stands there; none if amb cannot know.
    shown: Option<String>,
    /// What is left of a sequence that the terminal took in part: it comes before anything else.
    rest: Vec<u8>,
}

impl Title {
    /// The title of the terminal that is stderr.
    ///
    /// # Errors
    ///
    /// Stderr is not amb's controlling terminal, or cannot be opened once more.
    pub fn open() -> io::Result<Self> {
        tcgetsid(stderr())?;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(Self {
            terminal: open("/dev/tty", flags, Permissions::empty())?,
            child: Cell::new(0),
            loan: RefCell::default(),
        })
    }

    /// Says which process the child is, whose group may have the terminal; 0 is none.
    pub fn note_child(&self, child: i32) {
        self.child.set(child);
    }

    /// Shows this, unless it stands there already. `text` holds no control characters. Does not wait: what the terminal does not
    /// take now may be shown another time.
    pub fn show(&self, text: &str) {
        let mut loan = self.loan.borrow_mut();
        if !self.is_in_foreground() {
            // Whoever has the terminal meanwhile may have a title of its own.
            loan.shown = None;
            return;
        }
        if loan.shown.as_deref() == Some(text) && loan.rest.is_empty() {
            return;
        }
        let save = if loan.is_taken { "" } else { SAVE };
        if self.write(&mut loan, &format!("{save}\x1b]2;{text}\x07")) {
            loan.is_taken = true;
            loan.shown = Some(text.to_owned());
        }
    }

    /// Gives the title back. If the terminal takes nothing now, or is another's, amb goes on owing it.
    pub fn give_back(&self) {
        let mut loan = self.loan.borrow_mut();
        loan.shown = None;
        let owed = if loan.is_taken { GIVE_BACK } else { "" };
        if (!owed.is_empty() || !loan.rest.is_empty()) && self.is_in_foreground() && self.write(&mut loan, owed) {
            loan.is_taken = false;
        }
    }

    /// Whether amb's process group has the terminal, or the child's.
    fn is_in_foreground(&self) -> bool {
        let Ok(foreground) = tcgetpgrp(&self.terminal) else {
            return false;
        };
        foreground == getpgrp()
            || (self.child.get() > 0
                && Stat::of(self.child.get()).is_some_and(|child| child.group == foreground.as_raw_pid()))
    }

    /// Writes this behind what is left of the sequence before it; whether the terminal takes it now. If it takes a part of it,
    /// the others are written later: half a sequence would swallow what the child writes.
    fn write(&self, loan: &mut Loan, sequence: &str) -> bool {
        // With `stty tostop` a write that comes a moment after somebody else got the terminal would stop amb.
        let _blocked = Blocked::new([libc::SIGTTOU]);
        let sequence = [&loan.rest, sequence.as_bytes()].concat();
        let mut events = [PollFd::new(&self.terminal, PollFlags::OUT)];
        // A terminal says that it is writable while it has room for far more than this.
        if poll(&mut events, Some(&Timespec::default())) != Ok(1) || !events[0].revents().contains(PollFlags::OUT) {
            return false;
        }
        match rustix::io::write(&self.terminal, &sequence) {
            Ok(0) => false,
            Ok(written) if written < loan.rest.len() => {
                loan.rest.drain(..written);
                false
            }
            Ok(written) => {
                loan.rest = sequence[written..].to_vec();
                true
            }
            Err(reason) => {
                debug!(%reason, "the terminal takes no title");
                false
            }
        }
    }
}

impl Drop for Title {
    fn drop(&mut self) {
        self.give_back();
    }
}
