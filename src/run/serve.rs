//! `amb serve`: an ambassador without a child, for whoever is led to it.
//!
//! The same preparation as a run's, then ready → until it is to end → drain → summary. What would tell a run apart from its
//! command is nobody's here: stdout is amb's own.

mod detach;
mod idle;

use std::{
    ffi::OsString,
    io::{self, PipeReader},
    os::fd::OwnedFd,
    panic::{self, AssertUnwindSafe},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub use self::detach::launch;
use super::{
    Kind, Purpose,
    ambassador::{Ambassador, count_panics},
    asked, descriptors, errands, notify,
    outcome::End,
    start_error::StartError,
    watch,
};
use crate::{
    cli::{
        self,
        serve::ServeArgs,
        variables::{self, Shell},
    },
    config::{Config, Sources},
    exit::Exit,
    inject,
    supervise::{Confine, Dismissal, Mode, Term, attend, write_stderr},
};

/// Serves until it is to end. `environment` is amb's own.
pub fn run(args: &ServeArgs, environment: &[(OsString, OsString)], config: &Config, sources: &Sources) -> Exit {
    count_panics();
    let Ok(served) = panic::catch_unwind(AssertUnwindSafe(|| serve(args, environment, config, sources))) else {
        write_stderr("amb: amb itself failed: a bug, please report it\n");
        return Exit::Failed;
    };
    served.unwrap_or_else(|error| cli::refuse_to_start(&error))
}

/// Prepares, serves, and tells what it came to.
fn serve(
    args: &ServeArgs,
    environment: &[(OsString, OsString)],
    config: &Config,
    sources: &Sources,
) -> Result<Exit, StartError> {
    if args.detached {
        detach::leave_the_terminal();
    }
    if config.supervise.confine != Confine::Off {
        return Err(StartError::NothingToConfine);
    }
    let purpose = Purpose {
        kind: Kind::Serve,
        command: &[],
        console: &args.console,
    };
    let (mut ambassador, proxy, mut signals) =
        Ambassador::prepare(purpose, environment, config, sources, Mode::Inherit)?;
    descriptors::raise_limit();
    let (stopping, stop) = stop_switch()?;
    let control = ambassador.required_control()?;
    let mut monitor = ambassador.monitored(None, Some(control), Some(stop));
    ambassador.export(None);
    let mut endings = vec![(OwnedFd::from(stopping), Dismissal::Asked)];
    if let Some(process) = args.exit_with {
        endings.push((process_end(process)?, Dismissal::Released));
    }
    if let Some(limit) = args.idle_timeout {
        let idle = idle::watch(ambassador.lookout.clone(), limit.0)?;
        endings.push((idle.into(), Dismissal::Idle));
    }
    let term = Term {
        endings,
        limit: config.supervise.run_timeout.filter(|_| ambassador.is_lifted()),
        watch: watch(ambassador.live.as_ref(), ambassador.progress.as_ref()),
    };
    let mut standby = ambassador.stand_by(proxy);
    ambassador.begin_progress(None);

    announce(args, &ambassador);
    notify::ready(&format!("{} serves on {}", config.name, ambassador.proxy));
    let dismissal = attend(&mut signals, errands(&mut standby, asked(&mut monitor)), term);
    tracing::info!(?dismissal, "amb ends");
    notify::stopping("amb ends");

    let exit = ambassador.finish(End::Dismissed(dismissal), standby, &mut signals);
    monitor.end();
    Ok(exit)
}

/// What ends it when it is called, and what is readable from then on.
fn stop_switch() -> io::Result<(PipeReader, Box<dyn Fn() + Send + Sync>)> {
    let (stopping, switch) = io::pipe()?;
    let stop = move || {
        if let Err(reason) = io::Write::write_all(&mut &switch, b".") {
            tracing::debug!(%reason, "amb was not told to stop");
        }
    };
    Ok((stopping, Box::new(stop)))
}

/// Readable when this process has ended.
fn process_end(process: i32) -> Result<OwnedFd, StartError> {
    let no_process = |reason| StartError::NoProcess { process, reason };
    let pid = Pid::from_raw(process).ok_or_else(|| no_process(io::ErrorKind::InvalidInput.into()))?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|reason| no_process(reason.into()))
}

/// Says on stdout where it serves, or prints the variables that lead there. Who has asked for a detached one hears of it
/// from then on no more.
fn announce(args: &ServeArgs, ambassador: &Ambassador<'_>) {
    let text = if args.print_env {
        let inherited = inject::environment(&ambassador.secrets.environment);
        let shell = args.shell.unwrap_or_else(Shell::guess);
        variables::write(
            shell,
            &variables::entering(&inherited, |base| ambassador.changes_to(base)),
        )
    } else {
        let name = ambassador.config.name.escape_debug();
        format!("{name} http://{}\n", ambassador.proxy).into_bytes()
    };
    if cli::print(text) != Exit::Done {
        tracing::debug!("nobody reads where amb serves");
    }
    if args.detached {
        detach::say_ready();
    }
}
