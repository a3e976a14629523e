//! `--capture`: what there has to be for it before the command starts, and what is told of it at the end.

use std::sync::Arc;

use super::{ambassador::Ambassador, start_error::StartError};
use crate::{
    capture::{self, Asks, Handover, Landing, Roots, Scope, Tally, Unavailable, Watcher},
    cli,
    inject::{self, Loopback},
    policy::parent::Excepted,
    traffic::summary::{Capture, Warning},
};

/// What captures the connections of a command.
pub(super) struct Capturing {
    /// Where they arrive.
    pub(super) landing: Arc<Landing>,
    /// What the child passes on.
    pub(super) handover: Arc<Handover>,
    /// The thread that the kernel asks.
    pub(super) watcher: Watcher,
}

/// Prepares it, if it is wanted. Who has demanded it gets no run without it; else it is told why there is none, once now and once
/// in the summary. Within an amb that captures, that one does.
///
/// # Errors
/// It is demanded and cannot be had.
pub(super) fn prepare(ambassador: &mut Ambassador<'_>) -> Result<Option<Capturing>, StartError> {
    let config = ambassador.config;
    if !config.capture {
        return Ok(None);
    }
    match begin(ambassador) {
        Ok(capturing) => {
            ambassador.capture.tally = Some(Tally::default());
            Ok(Some(capturing))
        }
        Err(Unavailable::Taken) if runs_under_amb(ambassador) => {
            say(ambassador, "note: an outer amb captures what this command connects to");
            Ok(None)
        }
        Err(reason) if is_demanded(ambassador) => Err(reason.into()),
        Err(reason) => {
            let message = format!("nothing is captured: {reason} ({})", reason.remedy());
            say(ambassador, &format!("warning: {message}"));
            ambassador.capture.lacking = Some(Warning::new("not_captured", message));
            Ok(None)
        }
    }
}

/// Whether whoever started this run has demanded it, or who holds them to that, and not a file of settings.
fn is_demanded(ambassador: &Ambassador<'_>) -> bool {
    let key = ["run", "capture"].map(str::to_owned);
    ambassador.sources.is_demanded(&key)
}

/// Whether amb was itself started by a command of an amb.
fn runs_under_amb(ambassador: &Ambassador<'_>) -> bool {
    let mut variables = ambassador.secrets.environment.iter();
    variables.any(|(name, _)| name == inject::RUN_ID)
}

/// Says something before the command starts.
fn say(ambassador: &Ambassador<'_>, line: &str) {
    if !ambassador.purpose.console.quiet {
        cli::say(&line);
    }
}

/// Begins to wait for the command.
fn begin(ambassador: &Ambassador<'_>) -> Result<Capturing, Unavailable> {
    let roots = roots(ambassador);
    capture::possible(roots.as_ref().map_or(Asks::Connecting, |_| Asks::OpeningToo))?;
    let landing = Arc::new(Landing::open().map_err(Unavailable::Unasked)?);
    let settings = &ambassador.config.inject;
    let inherited = inject::environment(&ambassador.secrets.environment);
    let excepted = Excepted::read(inject::no_proxy(&inherited, ambassador.proxy, settings));
    let scope = Scope {
        loopback: settings.loopback != Loopback::Direct,
        own: landing.addresses().chain([ambassador.proxy]).collect(),
        excepted: Box::new(move |to| excepted.has(to)),
    };
    let (watcher, handover) = Watcher::begin(Arc::clone(&landing), scope, roots).map_err(Unavailable::Unasked)?;
    Ok(Capturing {
        landing,
        handover: Arc::new(handover),
        watcher,
    })
}

/// What programs get in the place of the roots that they open; none if they get those, since that is not wanted or nothing is
/// decrypted.
fn roots(ambassador: &Ambassador<'_>) -> Option<Roots> {
    let directory = ambassador.trust.as_ref().filter(|_| ambassador.config.capture_roots)?;
    let authority = ambassador.tls.authority()?;
    let merged = directory.merged(authority.der());
    let merged = merged.inspect_err(|reason| tracing::warn!(%reason, "roots are opened as they are"));
    let merged = merged.ok()?;
    Some(Roots::new(move |file, fewest| merged.of(file, fewest)))
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The connections; none if they were not captured.
    pub(super) tally: Option<Tally>,
    /// Why they were not, though that was wished for.
    lacking: Option<Warning>,
}

impl Found {
    /// What reports tell of it; none if nothing was captured.
    pub(super) fn figures(&self) -> Option<Capture> {
        let tally = self.tally.as_ref()?;
        Some(Capture {
            connections: tally.captured,
            around: tally.around.values().map(|(count, _)| count).sum(),
            roots: tally.roots,
        })
    }

    /// What to warn of: that it could not be had, and connections that were not captured and should have been, by why.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Warning> {
        let around = self.tally.iter().flat_map(|tally| &tally.around);
        let around = around.map(|(why, (count, places))| {
            let connections = if *count == 1 { "connection" } else { "connections" };
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            let places = if places.is_empty() {
                String::new()
            } else {
                format!(" (to {})", places.join(", "))
            };
            let message = format!("{count} {connections} went around amb{places}: {why}");
            Warning::new("went_around", message)
        });
        self.lacking.iter().cloned().chain(around)
    }
}
