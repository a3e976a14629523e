//! Every way in which amb ends.

use std::io::Write;

use crate::supervise::{ChildExit, Ended, SpawnError, Stopped, terminal};

/// How amb ends. The child's own end comes through unchanged; the numbers of amb's own stay clear of what programs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As the child ended.
    Child(ChildExit),
    /// [`Exit::ASSERTION_FAILED`]
    AssertionFailed,
    /// [`Exit::POLICY_VIOLATED`]
    PolicyViolated,
    /// [`Exit::TIMED_OUT`]
    TimedOut,
    /// [`Exit::FAILED`]
    Failed,
    /// [`Exit::CANNOT_RUN`]
    CannotRun,
    /// [`Exit::NOT_FOUND`]
    NotFound,
    /// All went well: 0, of subcommands other than `run`, and of help.
    Done,
    /// The answer is no, or the work could not be done: 1, of subcommands other than `run`.
    Negative,
    /// Wrong arguments: 2, of subcommands other than `run`.
    Usage,
}

impl Exit {
    /// The policy was violated, and `violations = "fail"`.
    pub const POLICY_VIOLATED: u8 = 98;
    /// An assertion about the traffic does not hold.
    pub const ASSERTION_FAILED: u8 = 99;
    /// `--run-timeout` was over, as with timeout(1).
    pub const TIMED_OUT: u8 = 124;
    /// amb could not start: usage, configuration, no port.
    pub const FAILED: u8 = 125;
    /// The command was found but cannot be started, as with env(1).
    pub const CANNOT_RUN: u8 = 126;
    /// The command was not found, as with env(1).
    pub const NOT_FOUND: u8 = 127;

    /// The status as a shell shows it: a signal counts as 128 and its number.
    pub const fn status(self) -> i32 {
        match self {
            Self::Child(ChildExit::Code(code)) => code,
            Self::Child(ChildExit::Signal(signal)) => 128 + signal,
            Self::AssertionFailed => Self::ASSERTION_FAILED as i32,
            Self::PolicyViolated => Self::POLICY_VIOLATED as i32,
            Self::TimedOut => Self::TIMED_OUT as i32,
            Self::Failed => Self::FAILED as i32,
            Self::CannotRun => Self::CANNOT_RUN as i32,
            Self::NotFound => Self::NOT_FOUND as i32,
            Self::Done => 0,
            Self::Negative => 1,
            Self::Usage => 2,
        }
    }

    /// Ends this process. If a signal ended the child, it ends amb too, so that a shell's loop stops on Ctrl-C and systemd
    /// sees a clean end; amb leaves no core file beside the child's. No destructor runs.
    pub fn leave(self) -> ! {
        // Commands other than `run` write to it.
        if let Err(reason) = std::io::stdout().flush() {
            tracing::debug!(%reason, "stdout takes nothing");
        }
        match self {
            Self::Child(ChildExit::Signal(signal)) => terminal::die_by(signal),
            other => terminal::leave(other.status()),
        }
    }
}

impl From<ChildExit> for Exit {
    fn from(exit: ChildExit) -> Self {
        Self::Child(exit)
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        if ended.stopped == Some(Stopped::TimedOut) {
            Self::TimedOut
        } else {
            Self::Child(ended.status)
        }
    }
}

impl From<&SpawnError> for Exit {
    fn from(error: &SpawnError) -> Self {
        match (error, error.status()) {
            (SpawnError::Interrupted(signal), _) => Self::Child(ChildExit::Signal(signal.number())),
            (_, Self::NOT_FOUND) => Self::NotFound,
            (_, Self::CANNOT_RUN) => Self::CannotRun,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_ends_amb_as_it_ended() {
        for code in 0..=255 {
            assert_eq!(Exit::from(ChildExit::Code(code)).status(), code);
        }
        assert_eq!(Exit::from(ChildExit::Signal(9)).status(), 137);
    }
}
