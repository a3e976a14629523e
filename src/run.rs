//! `amb run`: the life of a run on one page.
//!
//! Listen for signals → bind → the child's environment → spawn → serve while supervising → drain → summary → end as the
//! child ended. Whatever fails before the child starts ends the run with a line that says so; whatever fails after it
//! never changes how the child's end is passed on.

mod certificates;
mod descriptors;
mod dry;
mod export;
mod learn;
mod live;
mod metrics;
mod notify;
mod outcome;
mod secrets;

use std::{
    env,
    ffi::OsString,
    io, mem,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use thiserror::Error;

use self::{live::Live, metrics::Figures, outcome::Outcome};
use crate::{
    cli::{self, Console, RunArgs},
    config::{Config, Sources},
    exit::Exit,
    inject,
    monitor::{
        Feed, Kind, Monitor, Page, View,
        metrics::Scraped,
        place::{Control, Place},
    },
    otlp::Exporter,
    proxy::{Drained, Draining, Listener, Lookout, Proxy, Standby, TlsErrors},
    report::{
        access_log::{AccessLog, Sink},
        color::Stream,
        file::{OutputFile, ReportFile},
        har::Keeper,
        progress::{Progress, UNNOTICED},
    },
    sabotage,
    supervise::{
        Confine, ConfineError, Confinement, Ended, Errand, Signals, Spawn, SpawnError, Supervisor, Watch, write_stderr,
    },
    traffic::summary,
    trust::{Directory, TrustError},
};

/// Time for the drain's own work beyond what open exchanges are given.
const DRAIN_MARGIN: Duration = Duration::from_millis(200);

/// Why there was no run.
#[derive(Debug, Error)]
enum StartError {
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
    /// The command cannot be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The process is out of something.
    #[error("cannot start: {0}")]
    Exhausted(#[from] io::Error),
}

/// Tasks of the proxy that panicked.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Runs the command, and ends as it ended. `environment` is amb's own.
pub fn run(args: &RunArgs, environment: &[(OsString, OsString)], config: &Config, sources: &Sources) -> Exit {
    if args.dry_run {
        return dry::run(args, environment, config, sources);
    }
    count_panics();
    // A panic on this thread has ended the child on its way here.
    let Ok(started) = panic::catch_unwind(AssertUnwindSafe(|| start(args, environment, config, sources))) else {
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
    args: &RunArgs,
    environment: &[(OsString, OsString)],
    config: &Config,
    sources: &Sources,
) -> Result<Exit, StartError> {
    let started_at = SystemTime::now();
    let run_id = run_id(started_at);
    let Console { quiet, verbose, .. } = args.console;
    config.log.clone().start(quiet, verbose).map_err(StartError::Report)?;
    cli::config::warn(&args.console, &sources.warnings);

    tell_of_override(sources)?;

    let secrets = secrets::fetch(config, quiet, environment).map_err(StartError::Secret)?;
    let environment = &secrets.environment[..];
    let mut signals = Signals::listen(config.supervise.process_group.resolve())?;
    let mut outputs = Outputs::open(config).map_err(StartError::Report)?;
    let live = Live::of(config, started_at);
    let requests = config.report.wants_requests().then(Keeper::default);
    let page = config.ui.map(page).transpose()?;
    let feed = page.as_ref().map(Page::feed);
    let listener = outputs.listener(live.as_ref(), requests.clone(), feed);

    let bound = Proxy::bind(config.listen, config.threads);
    let proxy = bound.map_err(|reason| StartError::Listen {
        address: config.listen,
        reason,
    })?;
    tracing::info!(address = %proxy.address(), run = %run_id, "the proxy listens");
    let scraped = metrics::bind(&config.metrics)?;
    let tls = certificates::tls(config, &run_id, started_at)?;
    let inherited = inject::environment(environment);
    let trust = certificates::trust(&tls, &inherited)?;
    let certificates = trust.as_ref().map(Directory::files);
    let changes = inject::changes(&inherited, proxy.address(), certificates, &run_id, &config.inject);
    let confinement = confinement(config, proxy.address().port())?;
    let spawn = Spawn {
        command: &args.command,
        inherited: environment,
        changes: changes
            .into_iter()
            .map(|change| (change.name.into(), change.value))
            .collect(),
        restore_nofile: descriptors::raise_limit(),
        confinement: confinement.as_ref(),
    };
    let address = proxy.address();
    notify::status(&format!("{} runs, with amb's proxy on {address}", config.name));
    let control = control(config, &run_id);
    let child = spawn.start(&config.supervise, &mut signals)?;
    let pid = child.id();
    tracing::info!(pid, "the command runs");

    // The child runs by now; its first connection waits in the socket's queue until the proxy is at work.
    let lookout = Lookout::default();
    let mut standby = proxy.stand_by(
        &config.policy,
        &tls,
        &secrets.store,
        &run_id,
        listener.as_ref(),
        &lookout,
    );
    let run = || outcome::description(args, config, sources, run_id.clone(), started_at);
    let exporter = outputs.exporter.as_mut();
    export::begin(exporter, run, (pid, address), &tls, &lookout, &secrets.store);
    let mut monitor = (control.is_some() || scraped.is_some() || page.is_some()).then(|| {
        let view = view(run(), pid, address, scraped.as_ref(), config, lookout);
        Monitor::new(view, control, scraped, page)
    });
    let supervisor = Supervisor::new(child, &config.supervise);
    let ended = supervise(supervisor, &mut signals, &mut standby, monitor.as_mut(), live.as_ref());
    let duration = started_at.elapsed().unwrap_or_default();

    tracing::info!(pid, status = Exit::from(ended).status(), "the command has ended");

    // The child's end is passed on, whatever becomes of what is told about it.
    let told = panic::catch_unwind(AssertUnwindSafe(|| {
        sabotage::strike("report");
        let stderr = Stream::stderr(args.console.color);
        let asked = asked(&mut signals);
        let drained = drain(standby, &mut signals, config.drain, &stderr, &asked);
        drop(listener);
        let end = || (duration, outcome::child(pid, ended), &drained);
        let exporter = outputs.exporter;
        let lacking = exporter.and_then(|exporter| export::finish(exporter, end(), &mut signals, &asked));
        let outcome = Outcome {
            args,
            config,
            sources,
            run_id,
            started_at,
            duration,
            pid,
            ended,
            drained,
            panicked: PANICS.load(Ordering::Relaxed),
            aborted: live.and_then(Live::aborted),
            logs: [outputs.access_log, outputs.events].map(|log| log.map(AccessLog::close)),
            lacking,
            requests,
        };
        let tell = |summary: &_| outputs.figures.tell(summary, &config.policy, address, &tls);
        outcome.report(outputs.reports, outputs.learned, tell, &stderr)
    }));
    let exit = told.unwrap_or_else(|_| {
        write_stderr("amb: degraded: amb failed after the command had ended: a bug, please report it\n");
        Exit::from(ended)
    });
    drop(trust);
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
    let mut errands = Vec::with_capacity(2);
    errands.extend(standby.awaited().map(|awaited| Errand {
        awaited,
        run: Box::new(|| standby.begin()),
    }));
    if let Some(monitor) = monitor.as_deref_mut() {
        errands.extend(monitor.awaited().map(|awaited| Errand {
            awaited,
            run: Box::new(|| monitor.begin()),
        }));
    }
    let watch = live.map(|live| Watch {
        every: live::EVERY,
        look: Box::new(|| live.fails()),
    });
    let ended = supervisor.run(signals, errands, watch);
    if let Some(monitor) = monitor {
        monitor.note_end();
    }
    ended
}

/// The socket by which others look at the run; none if they are not to. A run goes on without one if there is none to be had:
/// who looks for it does not find it.
fn control(config: &Config, run_id: &str) -> Option<Control> {
    let bound = config
        .control
        .then(|| Place::of(|name| env::var_os(name)).bind(run_id))?;
    bound
        .inspect_err(|reason| tracing::debug!(%reason, "there is no control socket"))
        .ok()
}

/// The live page, whose address is told: the child starts after that, and stderr is its own then.
fn page(address: SocketAddr) -> Result<Page, StartError> {
    let page = Page::bind(address).map_err(|reason| StartError::Listen { address, reason })?;
    cli::say(&format_args!("live page: {}", page.url()));
    Ok(page)
}

/// The run as others see it.
fn view(
    run: summary::Run,
    pid: i32,
    proxy: SocketAddr,
    scraped: Option<&Scraped>,
    config: &Config,
    lookout: Lookout,
) -> View {
    View {
        kind: Kind::Run,
        run,
        child: u32::try_from(pid).ok(),
        directory: env::current_dir().unwrap_or_default(),
        proxy,
        metrics: scraped.map(Scraped::address),
        egress: outcome::egress(config),
        lookout,
        stop: None,
    }
}

/// Tells of a central policy that was lifted, first of all those who look after it.
fn tell_of_override(sources: &Sources) -> Result<(), StartError> {
    let broken = sources.central.as_ref().and_then(|central| central.broken.as_ref());
    if let Some(broken) = broken {
        broken.log().map_err(StartError::Unlogged)?;
        // Whoever wants no warnings is told of this one.
        cli::say(&format_args!("warning: {}", broken.sentence()));
    }
    Ok(())
}

/// What the command is held to, if it is to be held to the proxy on this port.
fn confinement(config: &Config, port: u16) -> Result<Option<Confinement>, ConfineError> {
    match config.supervise.confine {
        Confine::Off => Ok(None),
        Confine::Tcp => Confinement::to(port).map(Some),
    }
}

/// What the run is written to.
struct Outputs<'a> {
    /// The reports' files.
    reports: Vec<ReportFile>,
    /// The lockfile that it makes; none if it makes none.
    learned: Option<OutputFile>,
    /// The access log; none if none is wanted.
    access_log: Option<AccessLog>,
    /// The events; none if nobody follows the run.
    events: Option<AccessLog>,
    /// What is exported; none if nothing is.
    exporter: Option<Exporter>,
    /// Its figures at the end.
    figures: Figures<'a>,
}

impl<'a> Outputs<'a> {
    /// Opens all of them.
    ///
    /// # Errors
    /// A line for each that cannot be written.
    fn open(config: &'a Config) -> Result<Self, String> {
        let reports = config.report.reserve();
        let learned = config.policy.egress.as_ref().and_then(|egress| egress.learn.as_deref());
        let learned = learned.map(|path| OutputFile::reserve("lockfile", path)).transpose();
        let learned = learned.map_err(|error| error.to_string());
        let access_log = config.access_log.as_ref().map(AccessLog::open).transpose();
        let events = config.report.events.as_ref().map(AccessLog::follow).transpose();
        match (reports, learned, access_log, events) {
            (Ok(reports), Ok(learned), Ok(access_log), Ok(events)) => Ok(Self {
                reports,
                learned,
                access_log,
                events,
                exporter: export::prepare(config),
                figures: Figures::prepare(&config.metrics),
            }),
            (reports, learned, access_log, events) => {
                let reasons = [reports.err(), learned.err(), access_log.err(), events.err()];
                Err(reasons.into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// Who gets each record as it ends; none if nobody wants them.
    fn listener(
        &self,
        live: Option<&Live<'_>>,
        requests: Option<Keeper>,
        feed: Option<Arc<Feed>>,
    ) -> Option<Listener> {
        let logs = [&self.access_log, &self.events];
        let sinks: Vec<Sink> = logs.into_iter().flatten().map(AccessLog::sink).collect();
        let sums = live.map(Live::sums);
        let spans = self.exporter.as_ref().map(Exporter::sink);
        if sinks.is_empty() && sums.is_none() && requests.is_none() && feed.is_none() && spans.is_none() {
            return None;
        }
        Some(Arc::new(move |record| {
            for sink in &sinks {
                sink.log(record);
            }
            if let Some(sums) = &sums {
                sums.add(record);
            }
            if let Some(requests) = &requests {
                requests.keep(record);
            }
            if let Some(feed) = &feed {
                feed.add(record);
            }
            if let Some(spans) = &spans {
                spans.take(record);
            }
        }))
    }
}

/// From here on a signal that asks amb to end shortens what it waits for, and is noted here; a second one ends it, wherever it
/// hangs.
fn asked(signals: &mut Signals) -> Arc<AtomicBool> {
    signals.end_on_request().unwrap_or_else(|reason| {
        tracing::debug!(%reason, "signals do not shorten the drain");
        Arc::default()
    })
}

/// Ends the proxy, and waits for what is still open when the child has ended. A signal that asks amb to end, as `asked` says,
/// ends the wait.
fn drain(standby: Standby, signals: &mut Signals, limit: Duration, stderr: &Stream, asked: &AtomicBool) -> Drained {
    match standby.drain(limit) {
        Ok(None) => Drained::default(),
        Ok(Some(draining)) => {
            wait(&draining, signals, limit, stderr, asked);
            draining.finish()
        }
        Err(reason) => Drained {
            lost: vec![format!("the proxy could not serve: {reason}")],
            ..Drained::default()
        },
    }
}

/// Waits for a drain, until `asked` says that a signal has asked amb to end.
fn wait(draining: &Draining, signals: &mut Signals, limit: Duration, stderr: &Stream, asked: &AtomicBool) {
    let Some(over) = draining.over() else { return };
    notify::status("the command has ended, and amb waits for its open requests");
    let limit = limit + DRAIN_MARGIN;
    if signals.wait_drained(limit.min(UNNOTICED), over, asked) || asked.load(Ordering::SeqCst) || limit <= UNNOTICED {
        return;
    }
    let progress = Progress::drain(draining.open(), stderr);
    signals.wait_drained(limit.saturating_sub(UNNOTICED), over, asked);
    progress.finish();
}

/// An id that no other run on this machine has: the time in milliseconds and amb's process id.
fn run_id(now: SystemTime) -> String {
    let millis = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    format!("{millis:x}-{:x}", std::process::id())
}

/// Counts panics instead of printing them into the child's terminal; the summary says so.
fn count_panics() {
    panic::set_hook(Box::new(|panicked| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a bug in amb: {panicked}");
    }));
}
