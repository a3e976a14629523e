//! `amb serve --detach`: amb starts itself once more, and goes when the other one is ready.
//!
//! The other one has the same stdin and stderr until then, so that what is wrong with the start is said by itself; its stdout is a
//! pipe, which brings what is to be printed, and a zero at the end as the sign that it is ready.

use std::{
    env,
    fs::File,
    io::{self, Read},
    process::{Command, ExitStatus},
};

use rustix::{
    process::setsid,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use crate::{cli, exit::Exit, supervise::close_inherited};

/// What says that it is ready.
const READY: u8 = 0;

/// Starts an amb with the same arguments in a session of its own; returns when it is ready, or has failed to start.
pub fn launch() -> Exit {
    match start() {
        Ok((said, None)) => cli::print(said),
        // It has said why.
        Ok((_, Some(status))) if status.code() == Some(Exit::Failed.status()) => Exit::Failed,
        Ok((_, Some(status))) => cli::refuse_to_start(&format_args!("the detached amb ended early: {status}")),
        Err(reason) => cli::refuse_to_start(&format_args!("cannot detach: {reason}")),
    }
}

/// Starts it; what it said, and if it is not ready how it ended.
fn start() -> io::Result<(Vec<u8>, Option<ExitStatus>)> {
    let (mut output, input) = io::pipe()?;
    let mut amb = {
        let mut command = Command::new(env::current_exe()?);
        command.args(env::args_os().skip(1)).arg("--detached").stdout(input);
        command.spawn()?
    };
    let mut said = Vec::new();
    output.read_to_end(&mut said)?;
    if said.pop_if(|last| *last == READY).is_some() {
        return Ok((said, None));
    }
    amb.wait().map(|status| (said, Some(status)))
}

/// Begins a session of its own: neither the terminal nor the one who has started it sends it signals from now on.
pub(super) fn leave_the_terminal() {
    if let Err(reason) = setsid() {
        tracing::debug!(%reason, "stays in its session");
    }
}

/// Tells the one who waits that it is ready, and lets go of all that was inherited: who reads what they wrote to is not to
/// wait for this amb's end.
pub(super) fn say_ready() {
    if cli::print([READY]) != Exit::Done {
        tracing::debug!("nobody waits for it to be ready");
    }
    close_inherited();
    let silenced = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .and_then(|null| {
            dup2_stdin(&null)?;
            dup2_stdout(&null)?;
            dup2_stderr(&null)?;
            Ok(())
        });
    if let Err(reason) = silenced {
        tracing::debug!(%reason, "the standard streams stay as they are");
    }
}
