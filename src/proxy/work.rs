//! One worker's life, from its socket to its sums.

use std::{
    cell::RefCell,
    io::{self, PipeWriter},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::Socket;
use tokio::{
    net::TcpListener,
    runtime::LocalOptions,
    sync::{mpsc::Receiver, oneshot},
};

use super::{
    captured,
    credentials::Credentials,
    crowd::Crowd,
    gate::Gate,
    lookout::{self, Question},
    recorder::{Listener, Recorder},
    tls::Tls,
    upstream::Upstreams,
    via::Via,
    worker::{self, Caller, Worker},
};
use crate::{capture::Landing, policy::Policy, traffic::meter::Meter};

/// What a worker gets.
pub(super) struct Work {
    /// Which of the workers it is, from 0.
    pub(super) index: usize,
    /// Its listening socket.
    pub(super) socket: Socket,
    /// Where connections arrive that are captured.
    pub(super) landing: Option<Arc<Landing>>,
    /// The address of all workers.
    pub(super) own: SocketAddr,
    /// How many there are.
    pub(super) workers: usize,
    /// The policies.
    pub(super) policy: Arc<Policy>,
    /// What they share about TLS.
    pub(super) tls: Arc<Tls>,
    /// What they share of secrets.
    pub(super) credentials: Arc<Credentials>,
    /// The clock of all workers.
    pub(super) gate: Gate,
    /// The run's id.
    pub(super) run_id: String,
    /// Who else wants the records.
    pub(super) listener: Option<Listener>,
    /// Where it is asked for what it has so far.
    pub(super) questions: Receiver<Question>,
}

impl Work {
    /// A worker's life, on its thread, until it is told to drain; `over` is given what tells the end of that.
    pub(super) fn until(
        mut self,
        stopping: oneshot::Receiver<Drain>,
        over: &mut Option<Arc<PipeWriter>>,
    ) -> Result<Meter, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(64)
            .build_local(LocalOptions::default())
            .map_err(|reason| format!("a worker could not start: {reason}"))?;
        let recorder = Recorder::new(self.listener, &self.run_id, self.index, self.workers);
        let served = runtime.block_on(async {
            let worker = Rc::new(Worker {
                recorder: Rc::clone(&recorder),
                crowd: Crowd::of_worker(self.workers),
                via: Via::new(&self.run_id, self.policy.via),
                redact: Arc::clone(&self.policy.redact),
                policy: Arc::clone(&self.policy),
                gate: self.gate,
                credentials: self.credentials,
                upstreams: Upstreams::new(self.policy, self.own, Arc::clone(&self.tls)),
                tls: self.tls,
                stand_in: RefCell::default(),
                run_id: self.run_id,
                own: self.own,
                draining: worker::Draining::default(),
            });
            let sockets = TcpListener::from_std(self.socket.into())
                .map_err(|reason| format!("a worker could not listen: {reason}"))?;
            let landing = self.landing.as_ref();
            let arrivals = arrivals(landing).map_err(|reason| format!("a worker could not listen: {reason}"))?;
            let drain = tokio::select! {
                // Without an order to drain the run has ended in some other way.
                drain = stopping => drain.ok(),
                () = worker::accept(&worker, &sockets, |peer| Some(Caller::Client(peer))) => None,
                () = captured::accept(&worker, landing, &arrivals) => None,
                () = lookout::answer(&mut self.questions, &recorder) => None,
            };
            if let Some(mut drain) = drain {
                *over = drain.done.take();
                tokio::select! {
                    () = settle(&worker, &sockets, (landing, &arrivals), drain) => {}
                    () = lookout::answer(&mut self.questions, &recorder) => {}
                }
            }
            Ok::<(), String>(())
        });
        recorder.close();
        // Ends what is still open; each drops its guard, and the guard enters its record.
        runtime.shutdown_background();
        served?;
        Ok(recorder.take_meter())
    }
}

/// The listeners of the landing, for one of the workers; they share them.
fn arrivals(landing: Option<&Arc<Landing>>) -> io::Result<Vec<TcpListener>> {
    let listeners = landing.into_iter().flat_map(|landing| landing.listeners());
    listeners
        .map(|listener| TcpListener::from_std(listener.try_clone()?.into()))
        .collect()
}

/// Lets what is under way come to its end.
async fn settle(
    worker: &Rc<Worker>,
    listener: &TcpListener,
    (landing, arrivals): (Option<&Arc<Landing>>, &[TcpListener]),
    drain: Drain,
) {
    // What the child sent just before it ended is still its own: take the connections that queue, and give their first
    // bytes the turns of the event loop that reading them takes.
    let mut took = worker.recorder.open() > 0 || tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0;
    while let Some(Ok((stream, peer))) = now(listener.accept()).await {
        worker::begin(worker, stream, Caller::Client(peer));
        took = true;
    }
    for arrivals in arrivals {
        while let Some(Ok((stream, peer))) = now(arrivals.accept()).await {
            if let Some(caller) = landing.and_then(|landing| captured::caller(landing, peer)) {
                worker::begin(worker, stream, caller);
                took = true;
            }
        }
    }
    if !took {
        return;
    }
    worker.draining.begin();
    drain.open.fetch_add(worker.recorder.open(), Ordering::Relaxed);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::select! {
        () = worker.recorder.idle() => {}
        () = tokio::time::sleep(drain.limit) => {}
        _ = drain.hurry => {}
    }
}

/// What `future` comes to if it is ready at once.
pub(super) async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = std::future::ready(()) => None,
    }
}

/// How a worker is to end.
#[derive(Debug)]
pub(super) struct Drain {
    /// How long what is open may take.
    pub(super) limit: Duration,
    /// Ends the wait early, by a message or by its sender's end.
    pub(super) hurry: oneshot::Receiver<()>,
    /// Closed when the worker's sums are there.
    pub(super) done: Option<Arc<PipeWriter>>,
    /// Gets what was open when the drain began.
    pub(super) open: Arc<AtomicUsize>,
}
