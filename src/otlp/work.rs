//! The thread that sends: spans in batches, metrics from time to time, the rest at the end.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use tokio::{
    runtime::{self, LocalOptions},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use super::{
    End, Fate,
    duration::Durations,
    metric::Measured,
    post::{self, Verdict},
    resource::{SCHEMA, resource, scope},
    span,
};
use crate::{
    policy::{
        Policy,
        export::{Collector, Signal, Traces},
        trace::Trace,
    },
    proxy::{Lookout, Messenger, Tls},
    traffic::{Record, summary},
};

/// The first wait before something is sent again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait before something is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// How long something is tried to be sent while the run goes on. New spans wait meanwhile, as far as there is room.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is told of.
pub(super) struct Subject {
    /// The run.
    pub(super) run: summary::Run,
    /// The child's process id.
    pub(super) child: Option<u32>,
}

/// What the thread works with.
pub(super) struct Work {
    /// What is exported, and where to.
    pub(super) policy: Arc<Policy>,
    /// What of.
    pub(super) subject: Subject,
    /// The proxy's address, to which nothing is sent.
    pub(super) proxy: SocketAddr,
    /// What TLS is spoken by.
    pub(super) tls: Arc<Tls>,
    /// The workers.
    pub(super) lookout: Lookout,
    /// What requests carry: those with traces, those with metrics.
    pub(super) headers: [Vec<(String, Vec<u8>)>; 2],
    /// Where records come from; none if no spans are exported.
    pub(super) records: Option<mpsc::Receiver<Box<Record>>>,
    /// How long exchanges took; none if no metrics are exported.
    pub(super) durations: Option<Arc<Durations>>,
    /// What has come of it all.
    pub(super) fate: Arc<Fate>,
    /// When it is to be over; none as long as the run goes on.
    pub(super) ending: watch::Receiver<Option<Instant>>,
}

/// What happens next.
enum Event {
    /// An exchange or tunnel has ended.
    Ended(Box<Record>),
    /// Spans have waited long enough.
    Flush,
    /// It is time to measure.
    Measure,
    /// The run is over.
    End,
}

impl Work {
    /// All of it.
    pub(super) fn run(self) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                runtime.block_on(self.work());
                runtime.shutdown_background();
            }
            Err(reason) => {
                self.fate.fail_spans(1, reason.to_string());
                self.fate.fail_metrics(reason.to_string());
            }
        }
    }

    /// Sends until the run is over, and then the rest.
    async fn work(mut self) {
        let Some(export) = self.policy.export.clone() else {
            return;
        };
        let sender = Sender {
            messenger: Messenger::new(&self.policy, self.proxy, &self.tls),
            resource: resource(&self.subject.run, &export.resource),
            fate: Arc::clone(&self.fate),
            ending: self.ending.clone(),
        };
        let [of_traces, of_metrics] = std::mem::take(&mut self.headers);
        let spans = export.traces.as_ref().zip(self.policy.trace.clone());
        let measured = export.metrics.as_ref().zip(self.durations.take());
        let mut flush = ticks(spans.as_ref().map_or(PATIENCE, |(traces, _)| traces.delay));
        let mut measure = ticks(measured.as_ref().map_or(PATIENCE, |(metrics, _)| metrics.every));
        let mut records = self.records.take();
        let mut batch = Vec::new();
        loop {
            let event = tokio::select! {
                biased;
                () = ended(&mut self.ending) => Event::End,
                Some(record) = next(&mut records) => Event::Ended(record),
                _ = flush.tick(), if !batch.is_empty() => Event::Flush,
                _ = measure.tick(), if measured.is_some() => Event::Measure,
            };
            match (event, &spans, &measured) {
                (Event::End, ..) => break,
                (Event::Ended(record), Some((traces, trace)), _) => {
                    if batch.is_empty() {
                        flush.reset();
                    }
                    batch.extend(span::of_record(&record, trace));
                    if batch.len() >= traces.batch {
                        sender.spans(std::mem::take(&mut batch), traces, &of_traces).await;
                    }
                }
                (Event::Flush, Some((traces, _)), _) => {
                    sender.spans(std::mem::take(&mut batch), traces, &of_traces).await;
                }
                (Event::Measure, _, Some((metrics, durations))) => {
                    let look = self.lookout.look().await;
                    let now = Measured {
                        since: self.subject.run.started_at,
                        now: SystemTime::now(),
                        open: look.open,
                        under_way: &look.under_way,
                        traffic: &look.meter.finish(),
                        durations,
                        child: None,
                    };
                    sender.metrics(&now, &metrics.collector, &of_metrics).await;
                }
                _ => {}
            }
        }
        let end = self.fate.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(end) = end else { return };
        // The metrics first: they are few, and say how much there was whatever becomes of the spans.
        if let Some((metrics, durations)) = &measured {
            let last = Measured {
                since: self.subject.run.started_at,
                now: SystemTime::now(),
                open: 0,
                under_way: &[],
                traffic: &end.traffic,
                durations,
                child: Some(&end.child),
            };
            sender.metrics(&last, &metrics.collector, &of_metrics).await;
        }
        if let Some((traces, trace)) = &spans {
            sender
                .rest(batch, records, &self.subject, &end, (traces, trace), &of_traces)
                .await;
        }
    }
}

/// Ticks, the first of which is still to come. One that is late puts off the next.
fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

/// The next record; never, where none can come.
async fn next(records: &mut Option<mpsc::Receiver<Box<Record>>>) -> Option<Box<Record>> {
    match records {
        Some(records) => records.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the run to be over.
async fn ended(ending: &mut watch::Receiver<Option<Instant>>) {
    if ending.wait_for(Option::is_some).await.is_err() {
        tracing::debug!("the run was over without saying so");
    }
}

/// Sends to collectors.
struct Sender {
    /// Carries requests.
    messenger: Messenger,
    /// Who sends.
    resource: Resource,
    /// What has come of it all.
    fate: Arc<Fate>,
    /// When it is to be over.
    ending: watch::Receiver<Option<Instant>>,
}

impl Sender {
    /// Sends what is left at the end of the run, with the span of the run itself behind it.
    async fn rest(
        &self,
        mut batch: Vec<Span>,
        records: Option<mpsc::Receiver<Box<Record>>>,
        subject: &Subject,
        end: &End,
        (traces, trace): (&Traces, &Trace),
        headers: &[(String, Vec<u8>)],
    ) {
        let mut left = 0;
        let mut records = records;
        while let Some(record) = records.as_mut().and_then(|records| records.try_recv().ok()) {
            batch.extend(span::of_record(&record, trace));
        }
        if trace.run.is_sampled() {
            batch.push(span::of_run(subject, end, trace));
        }
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            let some: Vec<Span> = batch.by_ref().take(traces.batch).collect();
            let count = some.len() as u64;
            if left > 0 {
                // Who did not take those before does not take these within what is left of the time.
                self.fate.lost.fetch_add(count, Ordering::Relaxed);
                continue;
            }
            if !self.spans(some, traces, headers).await {
                left += count;
            }
        }
    }

    /// Sends spans. Whether they were taken.
    async fn spans(&self, spans: Vec<Span>, traces: &Traces, headers: &[(String, Vec<u8>)]) -> bool {
        let count = spans.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans,
                    schema_url: SCHEMA.to_owned(),
                }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        let body = post::body(&request, &traces.collector);
        match self.deliver(Signal::Traces, &body, &traces.collector, headers).await {
            Ok((rejected, said)) => {
                if rejected > 0 {
                    self.fate.fail_spans(rejected, said);
                }
                true
            }
            Err(reason) => {
                self.fate.fail_spans(count, reason);
                false
            }
        }
    }

    /// Sends metrics.
    async fn metrics(&self, measured: &Measured<'_>, to: &Collector, headers: &[(String, Vec<u8>)]) {
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics: measured.metrics(),
                    schema_url: SCHEMA.to_owned(),
                }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        let body = post::body(&request, to);
        match self.deliver(Signal::Metrics, &body, to, headers).await {
            Ok((0, _)) => self.fate.unmeasured.store(false, Ordering::Relaxed),
            Ok((_, reason)) | Err(reason) => self.fate.fail_metrics(reason),
        }
    }

    /// Sends a body until it is taken, or it is no use. How much of it was not taken all the same, and why.
    ///
    /// While the run goes on a collector that is not there is waited for; once it is over, nobody waits for one that does not
    /// even answer.
    async fn deliver(
        &self,
        signal: Signal,
        body: &[u8],
        to: &Collector,
        headers: &[(String, Vec<u8>)],
    ) -> Result<(u64, String), String> {
        let began = Instant::now();
        let mut ending = self.ending.clone();
        let mut wait = FIRST_WAIT;
        loop {
            let asked = {
                let mut asking = pin!(self.messenger.ask(post::message(body, to, headers)));
                tokio::select! {
                    asked = &mut asking => Some(asked),
                    () = ended(&mut ending) => match *ending.borrow() {
                        Some(end) => timeout_at(end, asking).await.ok(),
                        None => None,
                    },
                }
            };
            let over = *self.ending.borrow();
            let (reason, after) = match asked {
                None => return Err("it did not answer in time".to_owned()),
                Some(Ok(reply)) => match post::read(&reply, signal, to.protocol) {
                    Verdict::Taken(rejected, said) => return Ok((rejected, said)),
                    Verdict::Refused(reason) => return Err(reason),
                    Verdict::Later(reason, after) => (reason, after),
                },
                Some(Err(reason)) if over.is_some() => return Err(reason),
                Some(Err(reason)) => (reason, None),
            };
            let pause = after.unwrap_or_else(|| wait.mul_f64(0.75 + fastrand::f64() / 2.0));
            match over {
                Some(end) if Instant::now() + pause >= end => return Err(reason),
                Some(_) => sleep(pause).await,
                None if began.elapsed() + pause > PATIENCE => return Err(reason),
                None => tokio::select! {
                    () = sleep(pause) => {}
                    // One more time, at once.
                    () = ended(&mut ending) => {}
                },
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
