//! `amb run` and `amb shell`: the life of a run on one page.
//!
//! Listen for signals → bind → the child's environment → spawn → serve while supervising → drain → summary → end as the
//! child ended. Whatever fails before the child starts ends the run with a line that says so; whatever fails after it
//! never changes how the child's end is passed on.
//!
//! What there is besides the child is `run/ambassador.rs`; without one it is `amb serve` (`run/serve.rs`).

mod ambassador;
mod certificates;
mod descriptors;
mod dry;
mod export;
mod learn;
mod live;
mod metrics;
mod notify;
mod outcome;
mod outputs;
mod secrets;
pub mod serve;
pub mod shell;
mod start_error;

use std::{
    ffi::OsString,
    mem,
    panic::{self, AssertUnwindSafe},
};

use self::{
    ambassador::{Ambassador, count_panics},
    live::Live,
    outcome::End,
    start_error::StartError,
};
use crate::{
    cli::{self, Console, RunArgs},
    config::{Config, Sources},
    exit::Exit,
    monitor::Monitor,
    proxy::Standby,
    supervise::{
        Confine, ConfineError, Confinement, Ended, Errand, Signals, Spawn, SpawnError, Supervisor, Watch, write_stderr,
    },
};

/// What amb was started for.
#[derive(Clone, Copy, Debug)]
struct Purpose<'a> {
    /// In a word.
    kind: Kind,
    /// The command; empty without one.
    command: &'a [OsString],
    /// How amb speaks.
    console: &'a Console,
}

/// What amb was started for, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `amb run`.
    Command,
    /// `amb shell`.
    Shell,
    /// `amb serve`.
    Serve,
}

/// Runs the command, and ends as it ended. `environment` is amb's own.
pub fn run(args: &RunArgs, environment: &[(OsString, OsString)], config: &Config, sources: &Sources) -> Exit {
    if args.dry_run {
        return dry::run(args, environment, config, sources);
    }
    let purpose = Purpose {
        kind: if args.is_shell { Kind::Shell } else { Kind::Command },
        command: &args.command,
        console: &args.console,
    };
    count_panics();
    // A panic on this thread has ended the child on its way here.
    let Ok(started) = panic::catch_unwind(AssertUnwindSafe(|| start(purpose, environment, config, sources))) else {
        write_stderr("amb: amb itself failed, and has ended the command: a bug, please report it\n");
        return Exit::Failed;
    };
    match started {
        Ok(exit) => exit,
        Err(StartError::Spawn(error)) => {
            if !matches!(error, SpawnError::Interrupted(_)) {
                cli::say(&error);
            }
            Exit::from(&error)
        }
        Err(error) => cli::refuse_to_start(&error),
    }
}

/// The run itself.
fn start(
    purpose: Purpose<'_>,
    environment: &[(OsString, OsString)],
    config: &Config,
    sources: &Sources,
) -> Result<Exit, StartError> {
    let mode = config.supervise.process_group.resolve();
    let (mut ambassador, proxy, mut signals) = Ambassador::prepare(purpose, environment, config, sources, mode)?;
    let changes = ambassador.changes().into_iter();
    let confinement = confinement(config, ambassador.proxy.port())?;
    let spawn = Spawn {
        command: purpose.command,
        inherited: &ambassador.secrets.environment,
        changes: changes.map(|change| (change.name.into(), change.value)).collect(),
        restore_nofile: descriptors::raise_limit(),
        confinement: confinement.as_ref(),
    };
    notify::status(&format!(
        "{} runs, with amb's proxy on {}",
        config.name, ambassador.proxy
    ));
    if purpose.kind == Kind::Shell {
        shell::greet(&ambassador);
    }
    let control = ambassador.control();
    let child = spawn.start(&config.supervise, &mut signals)?;
    let pid = child.id();
    tracing::info!(pid, "the command runs");

    // The child runs by now; its first connection waits in the socket's queue until the proxy is at work.
    let mut standby = ambassador.stand_by(proxy);
    ambassador.export(Some(pid));
    let mut monitor = ambassador.monitor(Some(pid), control, None);
    let supervisor = Supervisor::new(child, &config.supervise);
    let live = ambassador.live.as_ref();
    let ended = supervise(supervisor, &mut signals, &mut standby, monitor.as_mut(), live);
    tracing::info!(pid, status = Exit::from(ended).status(), "the command has ended");

    let exit = ambassador.finish(End::Child { pid, ended }, standby, &mut signals);
    if let Some(monitor) = monitor {
        monitor.end();
    }
    // Taking off the handlers, one by one, would only delay the end.
    mem::forget(signals);
    Ok(exit)
}

/// Supervises the child to its end. The proxy begins when somebody connects, and the endpoints when somebody asks.
fn supervise(
    supervisor: Supervisor,
    signals: &mut Signals,
    standby: &mut Standby,
    mut monitor: Option<&mut Monitor>,
    live: Option<&Live<'_>>,
) -> Ended {
    let ended = supervisor.run(signals, errands(standby, monitor.as_deref_mut()), live.map(watch));
    if let Some(monitor) = monitor {
        monitor.note_end();
    }
    ended
}

/// What begins while amb waits for the end: the proxy when somebody connects, and the endpoints when somebody asks.
fn errands<'a>(standby: &'a mut Standby, monitor: Option<&'a mut Monitor>) -> Vec<Errand<'a>> {
    let mut errands = Vec::with_capacity(2);
    errands.extend(standby.awaited().map(|awaited| Errand {
        awaited,
        run: Box::new(|| standby.begin()),
    }));
    if let Some(monitor) = monitor {
        errands.extend(monitor.awaited().map(|awaited| Errand {
            awaited,
            run: Box::new(|| monitor.begin()),
        }));
    }
    errands
}

/// What looks at assertions that may stop the run.
fn watch<'a>(live: &'a Live<'_>) -> Watch<'a> {
    Watch {
        every: live::EVERY,
        look: Box::new(|| live.fails()),
    }
}

/// What the command is held to, if it is to be held to the proxy on this port.
fn confinement(config: &Config, port: u16) -> Result<Option<Confinement>, ConfineError> {
    match config.supervise.confine {
        Confine::Off => Ok(None),
        Confine::Tcp => Confinement::to(port).map(Some),
    }
}
