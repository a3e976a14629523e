//! Supervision: every difference between a command and the same command under amb is a bug.

mod ending;
mod failures;
mod inherited;
mod jobs;
mod peers;
mod service;
mod signals;
mod status;

/// The two modes, each with the flags that choose it.
const MODES: [[&str; 2]; 2] = [["--process-group", "inherit"], ["--process-group", "new"]];
