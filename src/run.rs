//! `amb run` and `amb shell`: the life of a run on one page.
//!
//! Listen for signals → bind → the child's environment → spawn → serve while supervising → drain → summary → end as the
//! child ended. Whatever fails before the child starts ends the run with a line that says so; whatever fails after it
//! never changes how the child's end is passed on.
//!
//! What there is besides the child is `run/ambassador.rs`; without one it is `amb serve` (`run/serve.rs`).

mod ambassador;
mod capture;
mod certificates;
mod descriptors;
mod dry;
mod export;
mod learn;
mod listeners;
mod live;
mod metrics;
mod notify;
mod outcome;
mod outputs;
mod progress;
mod secrets;
pub mod serve;
pub mod shell;
mod start_error;

use std::{
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use self::{
    ambassador::{Ambassador, count_panics},
    live::Live,
    outcome::End,
    progress::Progress,
    start_error::StartError,
};
use crate::{
    cli::{self, Console, RunArgs},
    config::{Config, Sources},
    exit::Exit,
    monitor::Monitor,
    proxy::Standby,
    supervise::{Confine, ConfineError, Confinement, Errand, Spawn, SpawnError, Supervisor, Watch, write_stderr},
};

/// How long a run goes on before it can be asked how it does. To make a socket costs as much as to start a small program, and
/// nobody can ask sooner: another amb takes as long to start.
const UNASKED: Duration = Duration::from_millis(3);

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
    let (mut ambassador, mut proxy, mut signals) = Ambassador::prepare(purpose, environment, config, sources, mode)?;
    let changes = ambassador.changes().into_iter();
    let confinement = confinement(config, ambassador.proxy.port())?;
    let capturing = capture::prepare(&mut ambassador)?;
    if let Some(capturing) = &capturing {
        proxy.serve_captured(Arc::clone(&capturing.landing));
    }
    let spawn = Spawn {
        command: purpose.command,
        inherited: &ambassador.secrets.environment,
        changes: changes.map(|change| (change.name.into(), change.value)).collect(),
        restore_nofile: descriptors::raise_limit(),
        confinement: confinement.as_ref(),
        capture: capturing.as_ref().map(|capturing| Arc::clone(&capturing.handover)),
    };
    notify::status(&format!(
        "{} runs, with amb's proxy on {}",
        config.name, ambassador.proxy
    ));
    if purpose.kind == Kind::Shell {
        shell::greet(&ambassador);
    }
    let child = spawn.start(&config.supervise, &mut signals)?;
    let pid = child.id();
    tracing::info!(pid, "the command runs");
    ambassador.begin_progress(Some(pid));

    // The child runs by now; its first connection waits in the socket's queue until the proxy is at work.
    let mut standby = ambassador.stand_by(proxy);
    ambassador.export(Some(pid));
    let mut monitor = ambassador.monitor(pid);
    let watch = watch(ambassador.live.as_ref(), ambassador.progress.as_ref());
    let supervisor = Supervisor::new(child, &config.supervise, watch);
    let errands = match &mut monitor {
        Some(monitor) => errands(&mut standby, asked(monitor)),
        monitor @ None => errands(&mut standby, soon(monitor, &ambassador, pid)),
    };
    let ended = supervisor.run(&mut signals, errands);
    if let Some(monitor) = &monitor {
        monitor.note_end();
    }
    tracing::info!(pid, status = Exit::from(ended).status(), "the command has ended");

    if let Some(capturing) = &capturing {
        // What is left goes where it wants: there will be no proxy any more.
        ambassador.capture.tally = Some(capturing.watcher.let_go());
    }
    let exit = ambassador.finish(End::Child { pid, ended }, standby, &mut signals);
    if let Some(capturing) = capturing {
        capturing.watcher.end();
    }
    if let Some(monitor) = monitor {
        monitor.end();
    }
    Ok(exit)
}

/// What begins while amb waits for the end: the proxy when somebody connects, and `another`.
fn errands<'a>(standby: &'a mut Standby, another: Option<Errand<'a>>) -> Vec<Errand<'a>> {
    let mut errands = Vec::with_capacity(2);
    errands.extend(standby.awaited().map(|awaited| Errand {
        awaited,
        run: Box::new(|| {
            standby.begin();
            None
        }),
    }));
    errands.extend(another);
    errands
}

/// The endpoints begin when somebody asks; none if nobody can, or they serve already.
fn asked(monitor: &mut Monitor) -> Option<Errand<'_>> {
    Some(Errand {
        awaited: monitor.awaited()?,
        run: Box::new(|| {
            monitor.begin();
            None
        }),
    })
}

/// The run can be asked soon; none if it is not to be. One that is over by then has no need of a socket.
fn soon<'a>(monitor: &'a mut Option<Monitor>, ambassador: &'a Ambassador<'_>, child: i32) -> Option<Errand<'a>> {
    let awaited = ambassador.config.control.then(|| ready_after(UNASKED))?;
    let awaited = awaited.inspect_err(|reason| tracing::debug!(%reason, "there is no control socket"));
    Some(Errand {
        awaited: awaited.ok()?,
        run: Box::new(move || {
            *monitor = ambassador.controlled(child);
            monitor.as_mut().and_then(asked)
        }),
    })
}

/// Readable after this time.
fn ready_after(time: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
    )?;
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec::try_from(time).map_err(io::Error::other)?,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(timer)
}

/// What looks at assertions that may stop the run, and shows how it goes on; none if nobody wants that.
fn watch<'a>(live: Option<&'a Live<'_>>, progress: Option<&'a Progress>) -> Option<Watch<'a>> {
    let every = match (live, progress) {
        (_, Some(_)) => progress::EVERY,
        (Some(_), None) => live::EVERY,
        (None, None) => return None,
    };
    let mut unjudged = Duration::ZERO;
    Some(Watch {
        every,
        look: Box::new(move || {
            if let Some(progress) = progress {
                progress.look();
            }
            unjudged += every;
            let is_due = unjudged >= live::EVERY;
            if is_due {
                unjudged = Duration::ZERO;
            }
            is_due && live.is_some_and(Live::fails)
        }),
        leave: progress
            .filter(|progress| progress.leaves())
            .map(|progress| Box::new(|| progress.leave()) as Box<dyn Fn()>),
    })
}

/// What the command is held to, if it is to be held to the proxy on this port.
fn confinement(config: &Config, port: u16) -> Result<Option<Confinement>, ConfineError> {
    match config.supervise.confine {
        Confine::Off => Ok(None),
        Confine::Tcp => Confinement::to(port).map(Some),
    }
}
