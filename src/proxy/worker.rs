//! One worker: a current-thread runtime with its own listening socket, pool and books. Workers share nothing on the request
//! path but the policies.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::{
    access, captured,
    clearance::Clearance,
    credentials::Credentials,
    crowd::{Crowd, Seat},
    deadline,
    error::{ExchangeError, is_exhaustion},
    gate::{Gate, Who},
    http::{self, After, Terms},
    intercept::{self, Opening, StandIn},
    recorder::{Open, Recorder},
    retrying,
    sniff::{self, Inside},
    socks,
    target::Authority,
    tls::Tls,
    tunnel::{self, Opened},
    upstream::{Purpose, Server, Upstreams},
    via::Via,
    wire::connection::Connection,
};
use crate::{
    policy::{
        Policy,
        redact::Redact,
        rules::{Asked, Rules},
    },
    traffic::{Kind, Protocol, Record},
};

/// First and longest pause after an accept that failed for want of descriptors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long a connection may stay silent at first.
pub(crate) const FIRST_BYTE_LIMIT: Duration = Duration::from_mins(5);
/// How long one may that is only there to be turned away.
const TURNED_AWAY_LIMIT: Duration = Duration::from_secs(5);
/// A fatal alert `handshake_failure`, for a client that speaks TLS to the proxy itself.
const TLS_ALERT: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 40];

/// What the tasks of a worker share.
pub(crate) struct Worker {
    /// The books.
    pub(crate) recorder: Rc<Recorder>,
    /// The clients.
    pub(crate) crowd: Rc<Crowd>,
    /// What is to happen to requests.
    pub(crate) policy: Arc<Policy>,
    /// What lets requests go.
    pub(crate) gate: Gate,
    /// What the workers share of secrets.
    pub(crate) credentials: Arc<Credentials>,
    /// The servers.
    pub(crate) upstreams: Rc<Upstreams>,
    /// What the workers share about TLS.
    pub(crate) tls: Arc<Tls>,
    /// How to stand in for servers whose TLS is decrypted; none before the first.
    pub(crate) stand_in: RefCell<Option<StandIn>>,
    /// amb's entry in `Via`.
    pub(crate) via: Via,
    /// What must not be written down.
    pub(crate) redact: Arc<Redact>,
    /// The run's id.
    pub(crate) run_id: String,
    /// The listener's address.
    pub(crate) own: SocketAddr,
    /// Whether the run comes to its end.
    pub(crate) draining: Draining,
}

/// Whether the run comes to its end, so that no client should begin anything new.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    /// Whether it does.
    begun: Cell<bool>,
    /// Told when it does.
    told: Notify,
}

impl Draining {
    /// It does.
    pub(crate) fn begin(&self) {
        self.begun.set(true);
        self.told.notify_waiters();
    }

    /// Waits until it does. Cancel safe.
    pub(crate) async fn begun(&self) {
        while !self.begun.get() {
            self.told.notified().await;
        }
    }
}

impl Worker {
    /// What holds for a tunnel, whose record says so.
    pub(crate) fn rules_of_tunnel(&self, authority: &Authority, open: &mut Open) -> Arc<Rules> {
        let asked = Asked::tunnel(&authority.host, authority.port);
        open.goes_by(&self.policy.rules_for(&asked))
    }

    /// Opens a connection for a tunnel, and tries again as long as the rules have it and `client` is there; see
    /// [`Upstreams::connect`].
    pub(crate) async fn open_tunnel(
        &self,
        authority: &Authority,
        rules: &Rules,
        client: &Connection,
        record: &mut Record,
    ) -> Result<Box<Server>, ExchangeError> {
        let (timeouts, retry) = (&rules.timeouts, &rules.retry);
        let clearance = Clearance::of_tunnel(self, authority);
        if let Some(clearance) = clearance {
            clearance.by_name(record)?;
        }
        let _admission = self.gate.admit(&rules.limits, authority, Who::Tunnel, record).await?;
        if !retry.is_off() {
            let now = self.gate.now();
            self.policy.spending.request(&authority.host, authority.port, now);
        }
        loop {
            let mut passage = self.gate.pass(rules.breaker.as_ref(), authority)?;
            let opened = &mut record.opened;
            let connecting = self
                .upstreams
                .connect(authority, &Purpose::Tunnel, timeouts, opened, clearance);
            let server = connecting.await;
            passage.opened(&server);
            let error = match server {
                Ok(mut server) => {
                    if let Some(clearance) = clearance {
                        clearance.by_server(&server, record)?;
                    }
                    server.connection.pace = self.gate.pace(&rules.limits, authority);
                    return Ok(server);
                }
                Err(error) => error,
            };
            let now = self.gate.now();
            let Some(wait) = retrying::after_connect(&self.policy, retry, &error, authority, now, record) else {
                return Err(error);
            };
            tokio::time::sleep(wait).await;
            if access::is_gone(client) {
                return Err(ExchangeError::ClientGone);
            }
            record.retries.waited += wait;
            record.retries.count += 1;
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// Somebody who asks a proxy, from there.
    Client(SocketAddr),
    /// Somebody who knows of none: the connection was to lead there.
    Captured(SocketAddr),
}

/// Accepts connections for ever, of those whom `caller` knows. When the process is out of descriptors it pauses, and goes on.
pub(crate) async fn accept(worker: &Rc<Worker>, listener: &TcpListener, caller: impl Fn(SocketAddr) -> Option<Caller>) {
    let mut pause = PAUSES.0;
    loop {
        worker.crowd.room().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSES.0;
                if let Some(caller) = caller(peer) {
                    begin(worker, stream, caller);
                }
            }
            Err(reason) if is_exhaustion(&reason) => {
                tracing::warn!(%reason, "no connection can be accepted for the moment");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            // The others concern one connection that is gone already.
            Err(reason) => tracing::debug!(%reason, "a connection was lost before it was accepted"),
        }
    }
}

/// Begins to serve a connection, in a task of its own.
pub(crate) fn begin(worker: &Rc<Worker>, stream: TcpStream, caller: Caller) {
    let worker = Rc::clone(worker);
    let seat = worker.crowd.seat();
    let place = seat.place();
    let task = tokio::task::spawn_local(async move {
        match Connection::new(stream) {
            Ok(client) => match serve_caller(&worker, client, caller, &seat).await {
                After::Tunnel(client, opened) => {
                    // A task of its own: it is small, and lives long.
                    let place = seat.place();
                    let task = tokio::task::spawn_local(carry(worker, client, opened, seat));
                    place.is_served_by(task.abort_handle());
                }
                After::Closed => worker.upstreams.client_left(),
            },
            Err(reason) => tracing::debug!(%reason, "a connection was gone as soon as it was accepted"),
        }
    });
    place.is_served_by(task.abort_handle());
}

/// Serves a connection until it is closed or becomes a tunnel.
async fn serve_caller(worker: &Rc<Worker>, client: Connection, caller: Caller, seat: &Seat) -> After {
    match caller {
        Caller::Client(peer) => serve(worker, client, peer, seat).await,
        Caller::Captured(to) => Box::pin(captured::serve(worker, client, to, seat)).await,
    }
}

/// Whether a tunnel may go on in which nobody can see what is said: to where it leads, and to whom the client says it speaks.
///
/// # Errors
/// If it may not.
async fn clear_opaque(
    worker: &Worker,
    authority: &Authority,
    client: &mut Connection,
    opened: &mut Opened,
) -> Result<(), ExchangeError> {
    let named = Box::pin(intercept::named(client)).await;
    let named = named.filter(|name| *name != authority.host);
    for host in [Some(&authority.host), named.as_ref()].into_iter().flatten() {
        let Some(clearance) = Clearance::of(worker, Asked::tunnel(host, authority.port)) else {
            break;
        };
        clearance.by_name(&mut opened.open.record)?;
        clearance.by_server(&opened.server, &mut opened.open.record)?;
    }
    Ok(())
}

/// Carries a tunnel to its end, or the requests that are in it.
async fn carry(worker: Rc<Worker>, mut client: Connection, mut opened: Box<Opened>, seat: Seat) {
    let mut broke = None;
    if let Some(mut authority) = opened.unseen.take() {
        let inside = sniff::look_inside(&mut client, &mut opened.server.connection).await;
        if matches!(inside, Inside::Tls) {
            authority = Box::pin(captured::learn_name(&worker, &mut client, &mut opened, authority)).await;
        }
        let mut opaque = worker.policy.egress.is_some().then(|| authority.clone());
        match inside {
            Inside::Http => {
                let Opened { server, open, .. } = *opened;
                open.withdraw();
                let terms = Terms::Inside {
                    authority,
                    aim: None,
                    prepared: Some(Ok(server)),
                };
                match Box::pin(http::serve(&worker, client, &seat, terms)).await {
                    After::Closed => return worker.upstreams.client_left(),
                    After::Tunnel(still, upgraded) => (client, opened) = (still, upgraded),
                }
                opaque = None;
            }
            Inside::Tls if worker.tls.authority.is_some() && !authority.is_nameless() => {
                match Box::pin(intercept::open(&worker, client, opened, authority, &seat)).await {
                    Opening::Served(After::Closed) | Opening::Ended => return worker.upstreams.client_left(),
                    Opening::Served(After::Tunnel(still, upgraded)) => {
                        (client, opened) = (still, upgraded);
                        opaque = None;
                    }
                    Opening::Tunnelled(still, unopened) => {
                        (client, opened) = (still, unopened);
                        opened.open.record.sealed = true;
                    }
                }
            }
            Inside::Tls => opened.open.record.sealed = true,
            Inside::Other => {}
            Inside::Broken(side, reason) => broke = Some((side, reason)),
        }
        if let Some(authority) = opaque
            && let Err(error) = clear_opaque(&worker, &authority, &mut client, &mut opened).await
        {
            client.reset();
            opened.open.fail(&error);
            return;
        }
    }
    let outcome = tunnel::carry(&mut client, &mut opened, broke).await;
    let Opened { server, open, .. } = *opened;
    drop((client, server));
    open.end(outcome);
}

/// Tells by the first byte what a client speaks, and serves it.
async fn serve(worker: &Rc<Worker>, mut client: Connection, peer: SocketAddr, seat: &Seat) -> After {
    let mut patience = FIRST_BYTE_LIMIT;
    let refusal = match access::judge(peer, worker.own, &worker.run_id).await {
        access::Verdict::Allowed if seat.fits => None,
        access::Verdict::Allowed => {
            patience = TURNED_AWAY_LIMIT;
            Some(ExchangeError::TooManyClients(worker.crowd.limit()))
        }
        access::Verdict::Gone => {
            // Only if it asked for something is there anything to record.
            if matches!(client.fill().await, Ok(1..)) {
                let open = worker.recorder.begin(Kind::Exchange, Protocol::Http11);
                open.fail(&ExchangeError::ClientGone);
            }
            return After::Closed;
        }
        access::Verdict::Stranger(who) => Some(ExchangeError::StrangerRefused(who)),
    };
    seat.waits();
    match deadline::within(patience, client.fill()).await {
        Some(Ok(1..)) => seat.asks(),
        _ => return After::Closed,
    }
    match client.inbox.as_slice().first() {
        Some(4 | 5) => Box::pin(socks::serve(worker, client, refusal)).await,
        Some(0x16) => {
            let open = worker.recorder.begin(Kind::Exchange, Protocol::Http11);
            if let Err(reason) = client.send(&TLS_ALERT).await {
                tracing::debug!(%reason, "a client did not take its alert");
            }
            open.fail(&ExchangeError::RequestMalformed(
                "the client speaks TLS to the proxy: its proxy URL must begin with http://",
            ));
            client.linger(Duration::from_secs(1)).await;
            After::Closed
        }
        _ => http::serve(worker, client, seat, refusal.map_or(Terms::Proxy, Terms::Refused)).await,
    }
}

#[cfg(test)]
mod tests;
