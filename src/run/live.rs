//! What assertions that may stop the run look at while it goes on. Without one, nothing of this exists.

use std::{
    cell::RefCell,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    assert::Facts,
    config::Config,
    proxy::circuits,
    traffic::{Record, assertion::Assertion, meter::Meter},
};

/// How often they are judged.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Sums of what has passed so far, and what they are held against.
pub(super) struct Live<'a> {
    /// What was configured.
    config: &'a Config,
    /// When the run began.
    started_at: SystemTime,
    /// What has passed since the last look.
    fresh: Arc<Sums>,
    /// What had passed by then.
    before: RefCell<Meter>,
    /// What stops the run.
    aborted: RefCell<Option<Assertion>>,
}

/// Sums that the workers add to. The lock is held for one record, or for taking all out.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<Meter>);

impl Sums {
    /// Counts one exchange or tunnel.
    pub(super) fn add(&self, record: &Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(record);
    }

    /// Takes all out.
    fn take(&self) -> Meter {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'a> Live<'a> {
    /// What is needed; none if no assertion may stop the run, or none is to count.
    pub(super) fn of(config: &'a Config, started_at: SystemTime) -> Option<Self> {
        (config.assertions.may_abort() && !config.report.no_fail).then(|| Self {
            config,
            started_at,
            fresh: Arc::default(),
            before: RefCell::default(),
            aborted: RefCell::default(),
        })
    }

    /// Where records are counted.
    pub(super) fn sums(&self) -> Arc<Sums> {
        Arc::clone(&self.fresh)
    }

    /// Whether an assertion does not hold by now that is to stop the run.
    pub(super) fn fails(&self) -> bool {
        let mut sums = self.before.borrow_mut();
        sums.merge(self.fresh.take());
        let mut now = sums.clone();
        now.note_circuits(circuits(&self.config.policy));
        let traffic = now.finish();
        let failed = self.config.assertions.abort(&Facts {
            traffic: &traffic,
            duration: self.started_at.elapsed().unwrap_or_default(),
            child: None,
        });
        let fails = failed.is_some();
        *self.aborted.borrow_mut() = failed;
        fails
    }

    /// What stopped the run; none if nothing did.
    pub(super) fn aborted(self) -> Option<Assertion> {
        self.aborted.into_inner()
    }
}
