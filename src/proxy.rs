//! The proxy: one address, as many workers as asked for, and the sum of what passed.
//!
//! Read `exchange.rs` first. A request's way: `worker.rs` (accept, sniff) → `http.rs` or `socks.rs` → `exchange.rs` or
//! `tunnel.rs` → `upstream.rs`; every end is a record (`recorder.rs`). TLS in a tunnel that is to be opened goes through
//! `intercept.rs`, which makes requests of it for `http.rs` or `http2.rs`; `tls.rs` has what that needs. What asks for no proxy comes
//! in by `captured.rs`.

mod access;
mod answer;
mod blame;
mod captured;
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
mod work;
mod worker;

use std::{
    io::{self, PipeReader},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
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
use tokio::sync::oneshot;

pub use self::{
    access::{is_of_this_user, recognises_clients},
    lookout::{Asked, Glance, Look, Lookout, UnderWay},
    own::{Messenger, Question as Message, Reply},
    program::is_made_by_go,
    recorder::Listener,
    target::Authority,
    tls::{CertificateAuthority, Tls, TlsErrors, kept, system_roots, trial},
};
use self::{
    credentials::Credentials,
    gate::Gate,
    work::{Drain, Work},
};
use crate::{
    capture::Landing,
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
    /// Where connections arrive that are captured; none if none are.
    landing: Option<Arc<Landing>>,
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
        Ok(Self {
            listeners,
            address,
            landing: None,
        })
    }

    /// Serves what is captured, too.
    pub fn serve_captured(&mut self, landing: Arc<Landing>) {
        self.landing = Some(landing);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves as soon as somebody connects; with several sockets at once, since any of them may be the first.
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
            [only] if self.landing.is_none() => only.try_clone().ok(),
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
                landing: self.landing.clone(),
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
            let lookout = lookout.clone();
            thread::Builder::new()
                .name(format!("amb-proxy-{index}"))
                .spawn(move || {
                    let mut over = None;
                    let meter = work.until(stopping, &mut over);
                    if let Ok(meter) = &meter {
                        lookout.leave(index, meter);
                    }
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
