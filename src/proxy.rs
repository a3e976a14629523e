//! The proxy: one address, as many workers as asked for, and the sum of what passed.
//!
//! Read `exchange.rs` first. A request's way: `worker.rs` (accept, sniff) → `http.rs` or `socks.rs` → `exchange.rs` or
//! `tunnel.rs` → `upstream.rs`; every end is a record (`recorder.rs`). TLS in a tunnel that is to be opened goes through
//! `intercept.rs`, which makes requests of it for `http.rs` or `http2.rs`; `tls.rs` has what that needs.

mod access;
mod answer;
mod blame;
mod clearance;
mod coding;
mod credentials;
mod crowd;
mod deadline;
mod error;
mod exchange;
mod gate;
mod http;
mod http2;
mod intercept;
mod lookout;
mod own;
mod program;
mod recorder;
mod retrying;
mod sniff;
mod socks;
mod target;
mod tls;
mod tokens;
mod tunnel;
mod upstream;
mod via;
mod wire;
mod worker;

use std::{
    cell::RefCell,
    io::{self, PipeReader, PipeWriter},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::TcpListener,
    runtime::LocalOptions,
    sync::{mpsc::Receiver, oneshot},
};

pub use self::{
    access::{is_of_this_user, recognises_clients},
    lookout::{Look, Lookout, UnderWay},
    own::{Messenger, Question as Message, Reply},
    program::is_made_by_go,
    recorder::Listener,
    target::Authority,
    tls::{CertificateAuthority, Tls, TlsErrors, kept, system_roots, trial},
};
use self::{
    credentials::Credentials, crowd::Crowd, gate::Gate, lookout::Question, recorder::Recorder, upstream::Upstreams,
    via::Via, worker::Worker,
};
use crate::{
    policy::Policy,
    secret::Store,
    traffic::{circuit::Circuit, meter::Meter},
};

/// Connections that may wait to be accepted; the kernel takes less if `somaxconn` says so.
const BACKLOG: i32 = 4096;

/// How long a worker may take to hand over its sums once nothing is left to wait for. It takes no time, but on a crowded machine
/// a second may pass before it has its turn, and records would be lost.
const STUCK_LIMIT: Duration = Duration::from_secs(5);

/// What has become of the circuits that have opened.
pub fn circuits(policy: &Policy) -> Vec<Circuit> {
    Gate::circuits(policy)
}

/// A proxy that is bound and not yet serving: connections already queue up.
#[derive(Debug)]
pub struct Proxy {
    /// One listening socket a worker, all on the same address.
    listeners: Vec<Socket>,
    /// That address.
    address: SocketAddr,
}

impl Proxy {
    /// Binds `address`, port 0 for any free one, for so many workers.
    ///
    /// # Errors
    /// The kernel's, such as "address in use".
    pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let shared = workers > 1;
        let first = listen(address, shared)?;
        let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut listeners = vec![first];
        for _ in 1..workers {
            listeners.push(listen(address, shared)?);
        }
        Ok(Self { listeners, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves as soon as somebody connects; with several workers at once, since any of their sockets may be the first.
    ///
    /// The arguments are those of [`Proxy::serve`].
    pub fn stand_by(
        self,
        policy: &Arc<Policy>,
        tls: &Arc<Tls>,
        secrets: &Arc<Store>,
        run_id: &str,
        listener: Option<&Listener>,
        lookout: &Lookout,
    ) -> Standby {
        let socket = match &self.listeners[..] {
            [only] => only.try_clone().ok(),
            _ => None,
        };
        let (policy, tls, secrets) = (Arc::clone(policy), Arc::clone(tls), Arc::clone(secrets));
        let (run_id, listener, lookout) = (run_id.to_owned(), listener.cloned(), lookout.clone());
        let mut standby = Standby {
            waiting: Some(Box::new(move || {
                self.serve(&policy, &tls, &secrets, &run_id, listener.as_ref(), &lookout)
            })),
            socket,
            begun: None,
        };
        if standby.socket.is_none() {
            standby.begin();
        }
        standby
    }

    /// Starts the workers. `tls` was made for `policy`. `run_id` marks the run's processes and its `Via`; `listener` gets each record as it ends.
    /// `lookout` sees the workers from then on.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn serve(
        self,
        policy: &Arc<Policy>,
        tls: &Arc<Tls>,
        secrets: &Arc<Store>,
        run_id: &str,
        listener: Option<&Listener>,
        lookout: &Lookout,
    ) -> io::Result<Serving> {
        let count = self.listeners.len();
        let credentials = Credentials::new(Arc::clone(secrets));
        let gate = Gate::new();
        let mut workers = Vec::with_capacity(count);
        for (index, socket) in self.listeners.into_iter().enumerate() {
            let (stop, stopping) = oneshot::channel();
            let (done, ended) = mpsc::sync_channel(1);
            let work = Work {
                index,
                socket,
                own: self.address,
                workers: count,
                policy: Arc::clone(policy),
                tls: Arc::clone(tls),
                credentials: Arc::clone(&credentials),
                gate,
                run_id: run_id.to_owned(),
                listener: listener.cloned(),
                questions: lookout.post(policy),
            };
            thread::Builder::new()
                .name(format!("amb-proxy-{index}"))
                .spawn(move || {
                    let mut over = None;
                    let meter = work.until(stopping, &mut over);
                    if done.send(meter).is_err() {
                        tracing::debug!("nobody waited for a worker's sums");
                    }
                })?;
            workers.push(Running { stop, ended });
        }
        Ok(Serving {
            workers,
            policy: Arc::clone(policy),
        })
    }
}

/// A proxy that begins to serve when somebody connects: a command that calls nobody costs no thread.
pub struct Standby {
    /// Bound and not serving.
    waiting: Option<Box<dyn FnOnce() -> io::Result<Serving>>>,
    /// Its socket.
    socket: Option<Socket>,
    /// Serving, unless it failed to.
    begun: Option<io::Result<Serving>>,
}

impl Standby {
    /// Readable when somebody connects; none once it serves.
    pub fn awaited(&self) -> Option<OwnedFd> {
        let socket = self.socket.as_ref()?.try_clone();
        socket.map(OwnedFd::from).ok()
    }

    /// Begins to serve, unless it does already.
    pub fn begin(&mut self) {
        self.socket = None;
        if let Some(serve) = self.waiting.take() {
            self.begun = Some(serve());
        }
    }

    /// Begins to drain, see [`Serving::drain`]; none if nobody ever connected.
    ///
    /// # Errors
    /// If it could not serve.
    pub fn drain(mut self, limit: Duration) -> io::Result<Option<Draining>> {
        if self.socket.as_ref().is_some_and(is_readable) {
            self.begin();
        }
        self.begun.map(|serving| Ok(serving?.drain(limit))).transpose()
    }
}

/// Whether a connection waits to be accepted.
fn is_readable(socket: &Socket) -> bool {
    let mut events = [PollFd::new(socket, PollFlags::IN)];
    poll(&mut events, Some(&Timespec::default())) != Ok(0)
}

/// Opens one listening socket. Several may share an address; then the kernel spreads the connections.
fn listen(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.port() != 0 {
        socket.set_reuse_address(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A worker's thread.
#[derive(Debug)]
struct Running {
    /// Tells it to drain.
    stop: oneshot::Sender<Drain>,
    /// Brings its sums.
    ended: mpsc::Receiver<Result<Meter, String>>,
}

/// How a worker is to end.
#[derive(Debug)]
struct Drain {
    /// How long what is open may take.
    limit: Duration,
    /// Ends the wait early, by a message or by its sender's end.
    hurry: oneshot::Receiver<()>,
    /// Closed when the worker's sums are there.
    done: Option<Arc<PipeWriter>>,
    /// Gets what was open when the drain began.
    open: Arc<AtomicUsize>,
}

/// A proxy at work.
#[derive(Debug)]
pub struct Serving {
    /// Its workers.
    workers: Vec<Running>,
    /// What they share.
    policy: Arc<Policy>,
}

/// What is left of the proxy at the end.
#[derive(Debug, Default)]
pub struct Drained {
    /// All workers' sums.
    pub meter: Meter,
    /// What went wrong with a worker, in a sentence each.
    pub lost: Vec<String>,
}

/// A drain that is going on.
#[derive(Debug)]
pub struct Draining {
    /// What brings each worker's sums.
    ended: Vec<mpsc::Receiver<Result<Meter, String>>>,
    /// What ends each worker's wait.
    hurry: Vec<oneshot::Sender<()>>,
    /// Ends when the last worker has.
    over: Option<PipeReader>,
    /// What was open when the drain began, as far as the workers have said.
    open: Arc<AtomicUsize>,
    /// What the workers share.
    policy: Arc<Policy>,
}

impl Serving {
    /// Begins to drain: what is open may end within `limit`; what is not is cut short.
    pub fn drain(self, limit: Duration) -> Draining {
        let (over, done) = match io::pipe() {
            Ok((over, done)) => (Some(over), Some(Arc::new(done))),
            // Out of descriptors: then the sums are waited for without being told.
            Err(reason) => {
                tracing::debug!(%reason, "no pipe for the end of the drain");
                (None, None)
            }
        };
        let mut draining = Draining {
            ended: Vec::new(),
            hurry: Vec::new(),
            over,
            open: Arc::new(AtomicUsize::new(0)),
            policy: self.policy,
        };
        for worker in self.workers {
            let (hurry, hurried) = oneshot::channel();
            if worker
                .stop
                .send(Drain {
                    limit,
                    hurry: hurried,
                    done: done.clone(),
                    open: Arc::clone(&draining.open),
                })
                .is_err()
            {
                tracing::debug!("a worker had ended before it was told to");
            }
            draining.ended.push(worker.ended);
            draining.hurry.push(hurry);
        }
        draining
    }
}

impl Draining {
    /// Readable, at its end, once the drain is over; none if the process is out of descriptors.
    pub fn over(&self) -> Option<BorrowedFd<'_>> {
        self.over.as_ref().map(AsFd::as_fd)
    }

    /// How many exchanges and tunnels were open when the drain began.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The sums; what is still open is cut short. A worker that is stuck for `STUCK_LIMIT` is given up.
    pub fn finish(self) -> Drained {
        drop(self.hurry);
        let mut drained = Drained::default();
        for ended in self.ended {
            match ended.recv_timeout(STUCK_LIMIT) {
                Ok(Ok(meter)) => drained.meter.merge(meter),
                Ok(Err(reason)) => drained.lost.push(reason),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    drained.lost.push("a worker panicked; its records are lost".to_owned());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => drained
                    .lost
                    .push("a worker did not end in time; its records are lost".to_owned()),
            }
        }
        drained.meter.note_circuits(Gate::circuits(&self.policy));
        drained
    }
}

/// What a worker gets.
struct Work {
    /// Which of the workers it is, from 0.
    index: usize,
    /// Its listening socket.
    socket: Socket,
    /// The address of all workers.
    own: SocketAddr,
    /// How many there are.
    workers: usize,
    /// The policies.
    policy: Arc<Policy>,
    /// What they share about TLS.
    tls: Arc<Tls>,
    /// What they share of secrets.
    credentials: Arc<Credentials>,
    /// The clock of all workers.
    gate: Gate,
    /// The run's id.
    run_id: String,
    /// Who else wants the records.
    listener: Option<Listener>,
    /// Where it is asked for what it has so far.
    questions: Receiver<Question>,
}

impl Work {
    /// A worker's life, on its thread, until it is told to drain; `over` is given what tells the end of that.
    fn until(
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
            let drain = tokio::select! {
                // Without an order to drain the run has ended in some other way.
                drain = stopping => drain.ok(),
                () = worker::accept(Rc::clone(&worker), &sockets) => None,
                () = lookout::answer(&mut self.questions, &recorder) => None,
            };
            if let Some(mut drain) = drain {
                *over = drain.done.take();
                tokio::select! {
                    () = settle(&worker, &sockets, drain) => {}
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

/// Lets what is under way come to its end.
async fn settle(worker: &Rc<Worker>, listener: &TcpListener, drain: Drain) {
    // What the child sent just before it ended is still its own: take the connections that queue, and give their first
    // bytes the turns of the event loop that reading them takes.
    let mut took = worker.recorder.open() > 0 || tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0;
    while let Some(Ok((stream, peer))) = now(listener.accept()).await {
        worker::begin(worker, stream, peer);
        took = true;
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
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = std::future::ready(()) => None,
    }
}
