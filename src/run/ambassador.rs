//! All of a run but the child: what `amb run`, `amb shell` and `amb serve` have in common.
//!
//! [`Ambassador::prepare`] → [`Ambassador::stand_by`] → whatever it is for → [`Ambassador::finish`].

use std::{
    env,
    ffi::OsString,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    Purpose, capture, certificates, export,
    listeners::Listeners,
    live::Live,
    metrics, notify,
    outcome::{self, End, Outcome},
    outputs::Outputs,
    progress::Progress,
    secrets::{self, Secrets},
    start_error::StartError,
};
use crate::{
    cli::{self, Console},
    config::{Config, Sources},
    exit::Exit,
    inject,
    monitor::{
        Kind, Monitor, Offer, Page, View,
        metrics::Scraped,
        place::{Control, Place},
    },
    otlp::Exporter,
    proxy::{Drained, Draining, Listener, Lookout, Proxy, Standby, Tls},
    report::{
        access_log::AccessLog,
        color::Stream,
        har::Keeper,
        progress::{Progress as Spinner, ProgressMode, UNNOTICED},
    },
    sabotage,
    supervise::{Mode, Signals, write_stderr},
    traffic::summary,
    trust::Directory,
};

/// Time for the drain's own work beyond what open exchanges are given.
const DRAIN_MARGIN: Duration = Duration::from_millis(200);

/// Tasks of the proxy that panicked.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// What there is before the proxy serves, and until it has ended.
pub(super) struct Ambassador<'a> {
    /// What it is for.
    pub(super) purpose: Purpose<'a>,
    /// What was configured.
    pub(super) config: &'a Config,
    /// Where that came from.
    pub(super) sources: &'a Sources,
    /// The run's id.
    run_id: String,
    /// When it began.
    started_at: SystemTime,
    /// What it has of secrets, and amb's environment without what is to be hidden.
    pub(super) secrets: Secrets<'a>,
    /// What it is written to.
    outputs: Outputs<'a>,
    /// What may stop it while it goes on; none if nothing may.
    pub(super) live: Option<Live<'a>>,
    /// What shows it while it goes on; none if nobody wants that.
    pub(super) progress: Option<Progress>,
    /// The requests that are kept for reports; none if no report tells them.
    requests: Option<Keeper>,
    /// Who gets each record as it ends; none if nobody wants them.
    listener: Option<Listener>,
    /// Where the metrics are scraped; none if they are not, or it is known to the monitor already.
    scraped: Option<Scraped>,
    /// Its page; none if nobody wants one, or it is known to the monitor already.
    page: Option<Page>,
    /// What TLS is spoken by.
    pub(super) tls: Arc<Tls>,
    /// The files by which others trust amb; none if nothing is decrypted.
    pub(super) trust: Option<Directory>,
    /// Where the proxy listens.
    pub(super) proxy: SocketAddr,
    /// From where the workers can be looked at.
    pub(super) lookout: Lookout,
    /// What came of capturing connections so far.
    pub(super) capture: capture::Found,
}

impl<'a> Ambassador<'a> {
    /// Prepares everything: listens for signals, opens what is written to, binds the proxy, makes certificates. `environment` is
    /// amb's own.
    ///
    /// # Errors
    /// What cannot be had.
    pub(super) fn prepare(
        purpose: Purpose<'a>,
        environment: &'a [(OsString, OsString)],
        config: &'a Config,
        sources: &'a Sources,
        mode: Mode,
    ) -> Result<(Self, Proxy, Signals), StartError> {
        let started_at = SystemTime::now();
        let run_id = run_id(started_at);
        let Console { quiet, verbose, .. } = *purpose.console;
        config.log.clone().start(quiet, verbose).map_err(StartError::Report)?;
        cli::config::warn(purpose.console, &sources.warnings);

        tell_of_override(sources)?;

        let secrets = secrets::fetch(config, quiet, environment).map_err(StartError::Secret)?;
        let lookout = Lookout::default();
        let progress = Progress::of(config, &purpose, &lookout);
        let signals = Signals::listen(mode, progress.as_ref().is_some_and(Progress::leaves))?;
        let outputs = Outputs::open(config).map_err(StartError::Report)?;
        let live = Live::of(config, started_at);
        let requests = config.report.wants_requests().then(Keeper::default);
        let page = config.ui.map(page).transpose()?;
        let listener = Listeners {
            logs: outputs.logs().into_iter().flatten().map(AccessLog::sink).collect(),
            sums: live.as_ref().map(Live::sums),
            requests: requests.clone(),
            feed: page.as_ref().map(Page::feed),
            spans: outputs.exporter.as_ref().map(Exporter::sink),
        };
        let listener = listener.listener();

        let bound = Proxy::bind(config.listen, config.threads);
        let proxy = bound.map_err(|reason| StartError::Listen {
            address: config.listen,
            reason,
        })?;
        tracing::info!(address = %proxy.address(), run = %run_id, "the proxy listens");
        let scraped = metrics::bind(&config.metrics)?;
        let tls = certificates::tls(config, &run_id, started_at)?;
        let trust = certificates::trust(&tls, &inject::environment(&secrets.environment))?;
        let ambassador = Self {
            purpose,
            config,
            sources,
            run_id,
            started_at,
            secrets,
            outputs,
            live,
            progress,
            requests,
            listener,
            scraped,
            page,
            tls,
            trust,
            proxy: proxy.address(),
            lookout,
            capture: capture::Found::default(),
        };
        Ok((ambassador, proxy, signals))
    }

    /// Has it shown how this child does, if that is wanted.
    pub(super) fn begin_progress(&self, child: Option<i32>) {
        if let Some(progress) = &self.progress {
            progress.note_child(child.unwrap_or_default());
        }
    }

    /// What differs in the environment of whoever is to use the proxy, compared with amb's own.
    pub(super) fn changes(&self) -> Vec<inject::Change> {
        self.changes_to(&inject::environment(&self.secrets.environment))
    }

    /// The same, compared with this environment.
    pub(super) fn changes_to(&self, inherited: &inject::Environment<'_>) -> Vec<inject::Change> {
        let certificates = self.trust.as_ref().map(Directory::files);
        inject::changes(inherited, self.proxy, certificates, &self.run_id, &self.config.inject)
    }

    /// Has the proxy serve as soon as somebody connects.
    pub(super) fn stand_by(&self, proxy: Proxy) -> Standby {
        proxy.stand_by(
            &self.config.policy,
            &self.tls,
            &self.secrets.store,
            &self.run_id,
            self.listener.as_ref(),
            &self.lookout,
        )
    }

    /// Begins to export what a collector is to have of it.
    pub(super) fn export(&mut self, child: Option<i32>) {
        if self.outputs.exporter.is_some() {
            let run = self.description();
            let exporter = self.outputs.exporter.as_mut();
            export::begin(
                exporter,
                run,
                (child, self.proxy),
                &self.tls,
                &self.lookout,
                &self.secrets.store,
            );
        }
    }

    /// The run itself, as reports see it.
    fn description(&self) -> summary::Run {
        outcome::description(
            &self.purpose,
            self.config,
            self.sources,
            self.run_id.clone(),
            self.started_at,
        )
    }

    /// The socket by which others look at the run; none if they are not to. A run goes on without one if there is none to be had:
    /// who looks for it does not find it.
    fn control(&self) -> Option<Control> {
        let bound = self.config.control.then(|| place().bind(&self.run_id))?;
        bound
            .inspect_err(|reason| tracing::debug!(%reason, "there is no control socket"))
            .ok()
    }

    /// The same for an amb that nobody could end without it.
    ///
    /// # Errors
    /// There is none to be had, or none is wanted.
    pub(super) fn required_control(&self) -> Result<Control, StartError> {
        if !self.config.control {
            return Err(StartError::Uncontrolled);
        }
        let place = place();
        place.bind(&self.run_id).map_err(|reason| StartError::Control {
            directory: place.directory().display().to_string(),
            reason,
        })
    }

    /// What lets others look at the run of this child at once; none if it has neither a page nor metrics.
    pub(super) fn monitor(&mut self, child: i32) -> Option<Monitor> {
        if self.scraped.is_none() && self.page.is_none() {
            return None;
        }
        let control = self.control();
        Some(self.monitored(Some(child), control, None))
    }

    /// What lets others look at it by this socket, by its page and its metrics, and ends it by `stop`, if it does not end with
    /// its child.
    pub(super) fn monitored(
        &mut self,
        child: Option<i32>,
        control: Option<Control>,
        stop: Option<Box<dyn Fn() + Send + Sync>>,
    ) -> Monitor {
        let (scraped, page) = (self.scraped.take(), self.page.take());
        let view = self.view(child, scraped.as_ref().map(Scraped::address), stop);
        Monitor::new(view, control, scraped, page)
    }

    /// What lets others look at the run of this child by a socket alone; none if there is none to be had.
    pub(super) fn controlled(&self, child: i32) -> Option<Monitor> {
        let control = self.control()?;
        Some(Monitor::new(
            self.view(Some(child), None, None),
            Some(control),
            None,
            None,
        ))
    }

    /// The run as its endpoints see it.
    fn view(&self, child: Option<i32>, metrics: Option<SocketAddr>, stop: Option<Box<dyn Fn() + Send + Sync>>) -> View {
        let run = self.description();
        View {
            kind: match self.purpose.kind {
                super::Kind::Command | super::Kind::Shell => Kind::Run,
                super::Kind::Serve => Kind::Serve,
            },
            run,
            child: child.and_then(|pid| u32::try_from(pid).ok()),
            directory: env::current_dir().unwrap_or_default(),
            proxy: self.proxy,
            metrics,
            egress: outcome::egress(self.config),
            lookout: self.lookout.clone(),
            offer: Offer::new(
                self.proxy,
                &self.config.inject,
                self.trust.as_ref().map(Directory::files),
            ),
            stop,
        }
    }

    /// The central policy's name; none if there is none.
    pub(super) fn central_policy(&self) -> Option<&str> {
        self.sources.central.as_ref().map(|central| &*central.id)
    }

    /// Whether the central policy was lifted, for the time of `run-timeout`.
    pub(super) fn is_lifted(&self) -> bool {
        let central = self.sources.central.as_ref();
        central.is_some_and(|central| central.broken.is_some())
    }

    /// Ends the proxy, and tells what it came to. Returns how amb is to end, which is the child's business and not changed by
    /// whatever becomes of what is told about it.
    pub(super) fn finish(mut self, end: End, standby: Standby, signals: &mut Signals) -> Exit {
        let duration = self.started_at.elapsed().unwrap_or_default();
        let trust = self.trust;
        let told = panic::catch_unwind(AssertUnwindSafe(|| {
            sabotage::strike("report");
            let stderr = Stream::stderr(self.purpose.console.color);
            let waits = match self.purpose.kind {
                super::Kind::Command | super::Kind::Shell => {
                    "the command has ended, and amb waits for its open requests"
                }
                super::Kind::Serve => "amb waits for open requests",
            };
            let asked = asked(signals);
            let shown = (&stderr, self.config.report.progress);
            let drained = drain(standby, signals, self.config.drain, shown, (waits, &asked));
            drop(self.listener);
            let exporter = self.outputs.exporter.take();
            let lacking = exporter
                .and_then(|exporter| export::finish(exporter, (duration, end.child(), &drained), signals, &asked));
            let (files, logs) = self.outputs.close();
            let (policy, tls) = (&self.config.policy, &self.tls);
            let tell = |summary: &_| files.figures.tell(summary, policy, self.proxy, tls);
            let outcome = Outcome {
                purpose: self.purpose,
                config: self.config,
                sources: self.sources,
                run_id: self.run_id,
                started_at: self.started_at,
                duration,
                end,
                drained,
                panicked: PANICS.load(Ordering::Relaxed),
                aborted: self.live.and_then(Live::aborted),
                logs,
                lacking,
                capture: self.capture,
                requests: self.requests,
            };
            outcome.report(files.reports, files.learned, tell, &stderr)
        }));
        // A title that the terminal did not take back when the child ended.
        drop(self.progress);
        drop(trust);
        told.unwrap_or_else(|_| {
            write_stderr("amb: degraded: amb failed after the command had ended: a bug, please report it\n");
            end.exit()
        })
    }
}

/// Where control sockets are.
fn place() -> Place {
    Place::of(|name| env::var_os(name))
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

/// The live page, whose address is told: the child starts after that, and stderr is its own then.
fn page(address: SocketAddr) -> Result<Page, StartError> {
    let page = Page::bind(address).map_err(|reason| StartError::Listen { address, reason })?;
    cli::say(&format_args!("live page: {}", page.url()));
    Ok(page)
}

/// From here on a signal that asks amb to end shortens what it waits for, and is noted here; a second one ends it, wherever it
/// hangs.
fn asked(signals: &mut Signals) -> Arc<AtomicBool> {
    signals.end_on_request().unwrap_or_else(|reason| {
        tracing::debug!(%reason, "signals do not shorten the drain");
        Arc::default()
    })
}

/// Ends the proxy, and waits for what is still open, of which the service manager is told as `waits`. A signal that asks amb to
/// end, as `asked` says, ends the wait.
fn drain(
    standby: Standby,
    signals: &mut Signals,
    limit: Duration,
    shown: (&Stream, ProgressMode),
    (waits, asked): (&str, &AtomicBool),
) -> Drained {
    match standby.drain(limit) {
        Ok(None) => Drained::default(),
        Ok(Some(draining)) => {
            if draining.over().is_some() {
                notify::status(waits);
            }
            wait(&draining, signals, limit, shown, asked);
            draining.finish()
        }
        Err(reason) => Drained {
            lost: vec![format!("the proxy could not serve: {reason}")],
            ..Drained::default()
        },
    }
}

/// Waits for a drain, until `asked` says that a signal has asked amb to end.
fn wait(
    draining: &Draining,
    signals: &mut Signals,
    limit: Duration,
    (stderr, mode): (&Stream, ProgressMode),
    asked: &AtomicBool,
) {
    let Some(over) = draining.over() else { return };
    let limit = limit + DRAIN_MARGIN;
    if signals.wait_drained(limit.min(UNNOTICED), over, asked) || asked.load(Ordering::SeqCst) || limit <= UNNOTICED {
        return;
    }
    let progress = Spinner::drain(draining.open(), stderr, mode);
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
pub(super) fn count_panics() {
    panic::set_hook(Box::new(|panicked| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a bug in amb: {panicked}");
    }));
}
