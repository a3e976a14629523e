//! Exactly one record for each exchange and tunnel that began, whatever happens to its task.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    error::ExchangeError,
    lookout::{Glance, Look, UnderWay},
    target::Authority,
};
use crate::{
    policy::rules::{Chosen, Rules},
    traffic::{
        Blame, Failure, Kind, Outcome, Protocol, Record,
        credentials::SignedIn,
        edits::Notes,
        meter::Meter,
        retries::{NotRetried, Retries},
    },
};

/// Takes each finished record, for the access log. Must not block.
pub type Listener = Arc<dyn Fn(&Record) + Send + Sync>;

/// One worker's books.
pub(crate) struct Recorder {
    /// The sums.
    meter: RefCell<Meter>,
    /// Who else wants the records.
    listener: Option<Listener>,
    /// Exchanges and tunnels that have begun and not ended.
    open: Cell<usize>,
    /// When the last of them ended; none as long as none has.
    ended: Cell<Option<Instant>>,
    /// Those of them that are tunnels.
    tunnels: Cell<usize>,
    /// Told when `open` falls to nothing.
    idle: Notify,
    /// Whether the run is over, so that what is dropped now was cut short and has not panicked.
    closing: Cell<bool>,
    /// The run's id, with which those of requests begin.
    run_id: String,
    /// The number of the last exchange or tunnel.
    last_id: Cell<u64>,
    /// How many workers number theirs, each its own.
    step: u64,
    /// Whether somebody looks at what is under way, and it is noted from then on.
    looked_at: Cell<bool>,
    /// What is under way, by its number: asked for when, and what.
    under_way: RefCell<BTreeMap<u64, (Instant, UnderWay)>>,
    /// The same moment by both clocks, so that a request reads one of them only.
    begun: (SystemTime, Instant),
}

impl Recorder {
    /// Empty books of the run `run_id`, of which there are as many as `workers`; these are number `index`, from 0.
    pub(crate) fn new(listener: Option<Listener>, run_id: &str, index: usize, workers: usize) -> Rc<Self> {
        let step = workers.max(1) as u64;
        Rc::new(Self {
            meter: RefCell::default(),
            listener,
            open: Cell::new(0),
            ended: Cell::new(None),
            tunnels: Cell::new(0),
            idle: Notify::new(),
            closing: Cell::new(false),
            run_id: run_id.to_owned(),
            // The first worker's first is 1.
            last_id: Cell::new((index as u64 + 1).wrapping_sub(step)),
            step,
            looked_at: Cell::new(false),
            under_way: RefCell::default(),
            begun: (SystemTime::now(), Instant::now()),
        })
    }

    /// Opens the record of an exchange or tunnel whose request has just been read.
    pub(crate) fn begin(self: &Rc<Self>, kind: Kind, protocol: Protocol) -> Open {
        self.open.set(self.open.get() + 1);
        self.tunnels.set(self.tunnels.get() + usize::from(kind == Kind::Tunnel));
        self.last_id.set(self.last_id.get().wrapping_add(self.step));
        let started = Instant::now();
        let record = Box::new(Record {
            kind,
            protocol,
            captured: protocol == Protocol::Captured,
            scheme: None,
            started_at: self.begun.0 + started.duration_since(self.begun.1),
            duration: Duration::ZERO,
            method: String::new(),
            host: String::new(),
            port: 0,
            path: String::new(),
            sent_to: None,
            request_id: String::new(),
            trace: None,
            edits: Notes::default(),
            route: None,
            url_template: None,
            status: None,
            outcome: Outcome::CutShort,
            bytes_sent: 0,
            bytes_received: 0,
            connect: None,
            tls: None,
            sealed: false,
            first_byte: None,
            opened: 0,
            attempts: 0,
            retries: Retries::default(),
            tries: Vec::new(),
            resends: 0,
            waited: Duration::ZERO,
            signed_in: SignedIn::default(),
            limited: None,
            egress: None,
            called: Vec::new(),
            reused: false,
            user_agent: None,
            referer: None,
        });
        Open {
            record,
            id: self.last_id.get(),
            started,
            recorder: Rc::clone(self),
            ended: false,
        }
    }

    /// Counts a request of amb's own for a token, which is nobody's exchange.
    pub(crate) fn note_token_request(&self, succeeded: bool) {
        self.meter.borrow_mut().credentials.add_token_request(succeeded);
    }

    /// How many exchanges and tunnels are open.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// A few figures of what there is so far.
    pub(crate) fn glance(&self) -> Glance {
        Glance {
            counts: self.meter.borrow().counts(),
            open: self.open.get() as u64,
        }
    }

    /// What there is so far. What begins from now on is noted, so that the next look finds it.
    pub(crate) fn look(&self) -> Look {
        self.looked_at.set(true);
        let under_way = self.under_way.borrow();
        let under_way = under_way.values().map(|(started, what)| UnderWay {
            since: started.elapsed(),
            ..what.clone()
        });
        Look {
            meter: self.meter.borrow().clone(),
            open: self.open.get(),
            quiet: self.ended.get().map(|ended| ended.elapsed()),
            tunnels: self.tunnels.get(),
            under_way: under_way.collect(),
            ..Look::default()
        }
    }

    /// Notes what is under way, where somebody looks.
    fn note(&self, id: u64, started: Instant, record: &Record) {
        if self.looked_at.get() {
            let what = UnderWay {
                method: record.method.clone(),
                host: record.host.clone(),
                port: record.port,
                since: Duration::ZERO,
            };
            self.under_way.borrow_mut().insert(id, (started, what));
        }
    }

    /// Waits until none is open. Cancel safe.
    pub(crate) async fn idle(&self) {
        while self.open.get() > 0 {
            self.idle.notified().await;
        }
    }

    /// Whether records are wanted one by one, in which case they carry what only a log shows.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listener.is_some()
    }

    /// From now on what is dropped was cut short by the end of the run.
    pub(crate) fn close(&self) {
        self.closing.set(true);
    }

    /// The sums, once every task is gone.
    pub(crate) fn take_meter(&self) -> Meter {
        self.meter.take()
    }

    /// Enters a finished record.
    fn enter(&self, id: u64, record: &Record) {
        tracing::debug!(
            host = record.host,
            port = record.port,
            status = record.status,
            sent = record.bytes_sent,
            received = record.bytes_received,
            "{} {}",
            record.method,
            record.outcome.name(),
        );
        self.meter.borrow_mut().add(record);
        self.one_less(id, record.kind);
        // Last, so that the books are right even if it panics.
        if let Some(listener) = &self.listener {
            listener(record);
        }
    }

    /// One that was open is not any more.
    fn one_less(&self, id: u64, kind: Kind) {
        if self.looked_at.get() {
            self.under_way.borrow_mut().remove(&id);
        }
        self.open.set(self.open.get() - 1);
        self.tunnels.set(self.tunnels.get() - usize::from(kind == Kind::Tunnel));
        if self.open.get() == 0 {
            self.idle.notify_one();
        }
    }
}

/// What tells a request from all others of all runs, not written out yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId<'a> {
    /// The run's id.
    pub(crate) run: &'a str,
    /// Its number in the run.
    pub(crate) number: u64,
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

/// An exchange or tunnel that has begun: ends in one record, by [`Open::end`] or when it is dropped.
pub(crate) struct Open {
    /// What is known so far. Large, and an exchange is handed on many times.
    pub(crate) record: Box<Record>,
    /// Its number in the run.
    pub(crate) id: u64,
    /// When the request was read.
    pub(crate) started: Instant,
    /// Where the record goes.
    recorder: Rc<Recorder>,
    /// Whether it has gone there.
    ended: bool,
}

impl Open {
    /// Says what was asked for.
    pub(crate) fn asks_for(&mut self, method: &str, authority: &Authority) {
        method.clone_into(&mut self.record.method);
        authority.host.clone_into(&mut self.record.host);
        self.record.port = authority.port;
        self.recorder.note(self.id, self.started, &self.record);
    }

    /// From now on it is a tunnel: what follows the request is not HTTP.
    pub(crate) fn becomes_tunnel(&mut self) {
        if self.record.kind == Kind::Exchange {
            self.record.kind = Kind::Tunnel;
            self.recorder.tunnels.set(self.recorder.tunnels.get() + 1);
        }
    }

    /// What tells it from all other requests of all runs.
    pub(crate) fn request_id(&self) -> String {
        let (run, number) = (&*self.recorder.run_id, self.id);
        RequestId { run, number }.to_string()
    }

    /// Says by which route it goes, and what holds for it.
    pub(crate) fn goes_by(&mut self, chosen: &Chosen<'_>) -> Arc<Rules> {
        self.record.route = chosen.route.cloned();
        self.record.url_template = chosen.url_template.cloned();
        Arc::clone(chosen.rules)
    }

    /// Ends it. Where retries were asked for, a failure says why it was left at that.
    pub(crate) fn end(mut self, mut outcome: Outcome) {
        if let (Outcome::Failed(failure), Some(refused)) = (&mut outcome, self.record.retries.refused)
            && refused.why != NotRetried::Off
        {
            failure.detail = format!("{} (not retried: {refused})", failure.detail);
        }
        self.record.outcome = outcome;
        self.enter();
    }

    /// Ends it as this error says.
    pub(crate) fn fail(self, error: &ExchangeError) {
        self.end(error.outcome());
    }

    /// Takes it back: the tunnel turned out to carry exchanges, each of which has a record of its own.
    pub(crate) fn withdraw(mut self) {
        self.ended = true;
        self.recorder.one_less(self.id, self.record.kind);
    }

    /// Enters the record, once.
    fn enter(&mut self) {
        self.ended = true;
        self.record.duration = self.started.elapsed();
        self.recorder.ended.set(Some(self.started + self.record.duration));
        if self.record.outcome != Outcome::Ok || self.recorder.is_listened_to() {
            self.record.request_id = self.request_id();
        }
        self.recorder.enter(self.id, &self.record);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.record.outcome = if std::thread::panicking() {
            let detail = "amb failed while it carried this: a bug, please report it".to_owned();
            Outcome::Failed(Failure {
                error_type: "proxy_internal_error".to_owned(),
                blame: Blame::Amb,
                detail,
            })
        } else if self.recorder.closing.get() {
            Outcome::CutShort
        } else {
            Outcome::ClientAborted
        };
        self.enter();
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    #[test]
    fn a_task_that_panics_leaves_its_record_and_ambs_fault_in_it() {
        let recorder = Recorder::new(None, "1", 0, 1);
        let runtime = Builder::new_current_thread()
            .build_local(LocalOptions::default())
            .expect("a runtime");
        let open = recorder.begin(Kind::Exchange, Protocol::Http11);
        let ended = runtime.block_on(async {
            tokio::task::spawn_local(async move {
                let _open = open;
                panic!("as the test wants it");
            })
            .await
        });
        assert!(ended.is_err_and(|error| error.is_panic()));
        assert_eq!(recorder.open(), 0);
        let traffic = recorder.take_meter().finish();
        assert_eq!((traffic.requests.total, traffic.requests.failed), (1, 1));
        assert_eq!(
            (&*traffic.failures[0].error_type, traffic.failures[0].blame),
            ("proxy_internal_error", Blame::Amb)
        );
    }
}
