//! What came out of a run.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

/// Everything that can be seen of a run from outside.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to stdout.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to stderr, the child's lines and amb's.
    pub(crate) stderr: Vec<u8>,
    /// The JSON report, if one was asked for.
    pub(crate) report: Option<serde_json::Value>,
}

impl Outcome {
    /// Stdout as text.
    #[track_caller]
    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text on stdout")
    }

    /// Stderr as text.
    #[track_caller]
    pub(crate) fn stderr(&self) -> &str {
        std::str::from_utf8(&self.stderr).expect("text on stderr")
    }

    /// amb's own lines on stderr.
    #[track_caller]
    pub(crate) fn own_lines(&self) -> Vec<&str> {
        self.stderr().lines().filter(|line| line.starts_with("amb: ")).collect()
    }

    /// It exited with this status.
    #[track_caller]
    pub(crate) fn assert_status(&self, expected: i32) -> &Self {
        assert_eq!(self.status.code(), Some(expected), "{}\n{self}", self.status);
        self
    }

    /// This signal ended it.
    #[track_caller]
    pub(crate) fn assert_signal(&self, expected: i32) -> &Self {
        assert_eq!(self.status.signal(), Some(expected), "{}\n{self}", self.status);
        self
    }

    /// It wrote exactly this to stdout.
    #[track_caller]
    pub(crate) fn assert_stdout(&self, expected: &str) -> &Self {
        assert_eq!(
            self.stdout.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string(),
            "\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        let stderr = String::from_utf8_lossy(&self.stderr);
        write!(f, "{}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.status)
    }
}
