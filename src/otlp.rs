//! The run in OpenTelemetry's terms: a span for it and one for each exchange and tunnel, and metrics, sent to a collector by
//! [OTLP] while it goes on and when it is over.
//!
//! Nothing of this exists unless it was asked for. Records reach the thread `amb-otlp` through a bounded queue that nobody waits
//! at; what finds no room in it, or no collector, is counted, and told of in one warning at the end. The command waits for
//! nothing of it, and its end for as long as [`Export::flush`](crate::policy::export::Export::flush) says at most.
//!
//! [OTLP]: https://opentelemetry.io/docs/specs/otlp/

mod attribute;
mod duration;
mod metric;
mod post;
mod resource;
mod span;
mod work;

use std::{
    io::{self, PipeReader},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{
    duration::Durations,
    work::{Subject, Work},
};
use crate::{
    policy::{Policy, auth::Text, export::Collector},
    proxy::{Lookout, Tls},
    secret::Store,
    traffic::{
        Record,
        meter::Traffic,
        summary::{self, Warning},
    },
    veil,
};

/// What stays of the end's time for whatever is not sending.
const MARGIN: Duration = Duration::from_millis(200);

/// What is exported, before and while it is.
pub struct Exporter {
    /// What is to be exported, and where to.
    policy: Arc<Policy>,
    /// Where records come from.
    records: Option<mpsc::Receiver<Box<Record>>>,
    /// Where they are put.
    sink: Sink,
    /// Says when it is to be over.
    ending: watch::Sender<Option<Instant>>,
    /// At its end when all is over; none before it begins, and if it could not.
    over: Option<PipeReader>,
}

/// Where records are put; each worker thread has one of its own.
#[derive(Clone)]
pub struct Sink {
    /// The way to the thread; none if no spans are exported.
    spans: Option<mpsc::Sender<Box<Record>>>,
    /// How long exchanges took; none if no metrics are exported.
    durations: Option<Arc<Durations>>,
    /// Which spans are wanted.
    policy: Arc<Policy>,
    /// What has come of them.
    fate: Arc<Fate>,
}

/// What has come of what was to be exported.
#[derive(Debug, Default)]
struct Fate {
    /// Spans that no collector took.
    lost: AtomicU64,
    /// Whether it lacks the last metrics.
    unmeasured: AtomicBool,
    /// The first reason for a loss of spans, other than that there was no room for them.
    of_spans: Mutex<Option<String>>,
    /// The last reason for a loss of metrics.
    of_metrics: Mutex<Option<String>>,
    /// How the run ended, once it has.
    end: Mutex<Option<End>>,
}

/// What is exported of.
pub struct Begun<'a> {
    /// The run.
    pub run: summary::Run,
    /// The child's process id.
    pub child: Option<u32>,
    /// Where the proxy listens, through which nothing is sent.
    pub proxy: SocketAddr,
    /// What TLS is spoken by.
    pub tls: &'a Arc<Tls>,
    /// The workers.
    pub lookout: Lookout,
    /// The secrets.
    pub secrets: &'a Store,
}

/// How a run ended.
#[derive(Debug)]
pub struct End {
    /// How long it took.
    pub duration: Duration,
    /// How the child ended.
    pub child: summary::Child,
    /// All that passed.
    pub traffic: Traffic,
}

impl Exporter {
    /// What is exported by this policy; none if nothing is.
    pub fn of(policy: &Arc<Policy>) -> Option<Self> {
        let export = policy.export.as_ref()?;
        let queue = export.traces.as_ref().map(|traces| mpsc::channel(traces.queue));
        let (spans, records) = queue.unzip();
        Some(Self {
            policy: Arc::clone(policy),
            records,
            sink: Sink {
                spans,
                durations: export.metrics.is_some().then(Arc::default),
                policy: Arc::clone(policy),
                fate: Arc::default(),
            },
            ending: watch::Sender::new(None),
            over: None,
        })
    }

    /// A place to put records.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Begins to send, on a thread of its own. The child runs by now.
    pub fn begin(&mut self, begun: Begun<'_>) {
        let started = self.start(begun);
        if let Err(reason) = started {
            self.sink.fate.fail_spans(1, reason.to_string());
            self.sink.fate.fail_metrics(reason.to_string());
        }
    }

    /// See [`Exporter::begin`].
    fn start(&mut self, begun: Begun<'_>) -> io::Result<()> {
        let Some(export) = self.policy.export.as_ref() else {
            return Ok(());
        };
        let collectors = [
            export.traces.as_ref().map(|traces| &traces.collector),
            export.metrics.as_ref().map(|metrics| &metrics.collector),
        ];
        let headers = collectors.map(|collector| collector.map_or_else(Vec::new, |to| headers(to, begun.secrets)));
        let (over, done) = io::pipe()?;
        let work = Work {
            policy: Arc::clone(&self.policy),
            subject: Subject {
                run: begun.run,
                child: begun.child,
            },
            proxy: begun.proxy,
            tls: Arc::clone(begun.tls),
            lookout: begun.lookout,
            headers,
            records: self.records.take(),
            durations: self.sink.durations.clone(),
            fate: Arc::clone(&self.sink.fate),
            ending: self.ending.subscribe(),
        };
        thread::Builder::new().name("amb-otlp".to_owned()).spawn(move || {
            work.run();
            // Held to the end: that it is closed is the news.
            drop(done);
        })?;
        self.over = Some(over);
        Ok(())
    }

    /// Sends the rest. What is returned says when that is over.
    pub fn end(self, end: End) -> Ending {
        let limit = self
            .policy
            .export
            .as_ref()
            .map_or(Duration::ZERO, |export| export.flush);
        *self.sink.fate.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.ending.send_replace(Some(Instant::now() + limit));
        Ending {
            limit: limit + MARGIN,
            over: self.over,
            policy: self.policy,
            fate: self.sink.fate,
        }
    }
}

/// What the requests to a collector carry, its secrets filled in. What cannot be had is left out: the collector will say so.
fn headers(collector: &Collector, secrets: &Store) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    for (name, value) in &collector.headers {
        match value {
            Text::Plain(value) => headers.push((name.clone(), value.clone().into_bytes())),
            Text::Secret(secret) => match secrets.get(secret.name()) {
                Ok(value) => headers.push((name.clone(), value.expose().to_vec())),
                Err(reason) => tracing::debug!(%reason, "a header for the collector is missing"),
            },
        }
    }
    headers
}

impl Sink {
    /// Takes a finished record. Never waits.
    pub fn take(&self, record: &Record) {
        if let Some(durations) = &self.durations {
            durations.add(record);
        }
        if let Some(spans) = &self.spans
            && self.is_wanted(record)
            && spans.try_send(Box::new(record.clone())).is_err()
        {
            self.fate.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the span of a record is exported.
    fn is_wanted(&self, record: &Record) -> bool {
        let (Some(run), Some(export)) = (&self.policy.trace, &self.policy.export) else {
            return false;
        };
        match record.trace {
            Some(place) if place.parent != Some(run.run.span) => export.samples(Some(place.sampled), place.trace),
            _ => run.run.is_sampled(),
        }
    }
}

impl Fate {
    /// Notes that no collector took these, and keeps the first reason.
    fn fail_spans(&self, spans: u64, reason: String) {
        self.lost.fetch_add(spans, Ordering::Relaxed);
        let mut first = self.of_spans.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(reason);
    }

    /// Notes that metrics were not taken. The next ones stand for them, too, if they are.
    fn fail_metrics(&self, reason: String) {
        self.unmeasured.store(true, Ordering::Relaxed);
        *self.of_metrics.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// An export that is coming to its end.
pub struct Ending {
    /// How long that may take.
    pub limit: Duration,
    /// At its end when all is over.
    over: Option<PipeReader>,
    /// What was to be exported, and where to.
    policy: Arc<Policy>,
    /// What has come of it.
    fate: Arc<Fate>,
}

impl Ending {
    /// Readable, at its end, once all is over; none if nothing was begun.
    pub fn over(&self) -> Option<BorrowedFd<'_>> {
        self.over.as_ref().map(AsFd::as_fd)
    }

    /// What the user should know, whether `was_over` or waited for in vain; none if all was taken.
    pub fn warning(&self, was_over: bool) -> Option<Warning> {
        let export = self.policy.export.as_ref()?;
        let reason = |reason: &Mutex<Option<String>>| reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let late = || format!("it did not answer within {}", humantime::format_duration(export.flush));
        let mut reasons = Vec::new();
        let mut missing = Vec::new();
        if let Some(traces) = &export.traces {
            let lost = self.fate.lost.load(Ordering::Relaxed);
            if lost > 0 || !was_over {
                let spans = if lost == 1 { "span" } else { "spans" };
                missing.push(if was_over {
                    format!("{lost} {spans}")
                } else {
                    "the last spans".to_owned()
                });
                let crowded = || {
                    if was_over {
                        "they came faster than it took them".to_owned()
                    } else {
                        late()
                    }
                };
                reasons.push((&traces.collector, reason(&self.fate.of_spans).unwrap_or_else(crowded)));
            }
        }
        if let Some(metrics) = &export.metrics
            && (self.fate.unmeasured.load(Ordering::Relaxed) || !was_over)
        {
            missing.push("the last metrics".to_owned());
            reasons.push((&metrics.collector, reason(&self.fate.of_metrics).unwrap_or_else(late)));
        }
        let (collector, reason) = reasons.into_iter().next()?;
        let message = format!(
            "the OpenTelemetry collector {} lacks {}: {reason}",
            collector.place(),
            missing.join(" and ")
        );
        Some(Warning::new("otlp_incomplete", veil::text(&message).into_owned()))
    }
}
