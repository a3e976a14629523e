//! What is exported of a run, and the time that its end takes for it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    config::Config,
    otlp::{Begun, End, Exporter},
    proxy::{Drained, Lookout, Tls},
    secret::Store,
    supervise::Signals,
    traffic::summary::{self, Child, Warning},
};

/// What is to be exported; none if nothing is.
pub(super) fn prepare(config: &Config) -> Option<Exporter> {
    let export = config.policy.export.as_ref()?;
    for note in &export.notes {
        tracing::warn!("{note}");
    }
    Exporter::of(&config.policy)
}

/// Begins to export this run, whose child and proxy these are.
pub(super) fn begin(
    exporter: Option<&mut Exporter>,
    run: summary::Run,
    (child, proxy): (Option<i32>, SocketAddr),
    tls: &Arc<Tls>,
    lookout: &Lookout,
    secrets: &Store,
) {
    let Some(exporter) = exporter else { return };
    exporter.begin(Begun {
        run,
        child: child.and_then(|child| u32::try_from(child).ok()),
        proxy,
        tls,
        lookout: lookout.clone(),
        secrets,
    });
}

/// Exports the rest of a run that took so long, ended so, and had this traffic; waits for that, unless a signal has `asked` amb to
/// end. What the user should know of it.
pub(super) fn finish(
    exporter: Exporter,
    (duration, child, drained): (Duration, Child, &Drained),
    signals: &mut Signals,
    asked: &AtomicBool,
) -> Option<Warning> {
    let ending = exporter.end(End {
        duration,
        child,
        traffic: drained.meter.clone().finish(),
    });
    let wait = |over| !asked.load(Ordering::SeqCst) && signals.wait_drained(ending.limit, over, asked);
    let over = ending.over().is_none_or(wait);
    ending.warning(over)
}
