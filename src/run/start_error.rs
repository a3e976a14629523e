//! Why there was no run.

use std::{io, net::SocketAddr};

use thiserror::Error;

use crate::{
    capture::Unavailable,
    proxy::TlsErrors,
    supervise::{ConfineError, SpawnError},
    trust::TrustError,
};

/// Why there was no run.
#[derive(Debug, Error)]
pub(super) enum StartError {
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The kernel's reason.
        reason: io::Error,
    },
    /// The same, where the metrics are to be scraped.
    #[error("--metrics-listen: cannot listen on {address}: {reason}")]
    Metrics {
        /// What was asked for.
        address: SocketAddr,
        /// The kernel's reason.
        reason: io::Error,
    },
    /// A report or a log cannot be written.
    #[error("{0}")]
    Report(String),
    /// The system's log has not heard that the central policy was lifted.
    #[error("--break-glass: the system's log cannot be told of it, as the central policy wants it: {0}")]
    Unlogged(io::Error),
    /// A secret cannot be had.
    #[error("{0}")]
    Secret(String),
    /// TLS cannot be had as it was configured.
    #[error(transparent)]
    Tls(#[from] TlsErrors),
    /// The certificates that the command is to trust cannot be written.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The kernel cannot hold the command to the proxy.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// What the command connects to cannot be captured.
    #[error("cannot capture what the command connects to: {0}\nhint: {remedy}", remedy = .0.remedy())]
    Capture(#[from] Unavailable),
    /// The command cannot be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// There is no command that could be held to the proxy.
    #[error(
        "run.confine = \"tcp\" holds a command to the proxy, and amb serve has none\nhint: use amb run or amb shell, or set \
         --confine off"
    )]
    NothingToConfine,
    /// Nobody could end it.
    #[error("amb serve needs its control socket, which run.control = false leaves out")]
    Uncontrolled,
    /// Nobody could find it, or end it.
    #[error(
        "cannot make the control socket in {directory}: {reason}\nhint: set XDG_RUNTIME_DIR to a directory of yours that is closed to others"
    )]
    Control {
        /// Where it was to be.
        directory: String,
        /// Why not.
        reason: io::Error,
    },
    /// The process is not there that amb is to end with.
    #[error("--exit-with {process}: {reason}")]
    NoProcess {
        /// Its id.
        process: i32,
        /// The kernel's reason.
        reason: io::Error,
    },
    /// The process is out of something.
    #[error("cannot start: {0}")]
    Exhausted(#[from] io::Error),
}
