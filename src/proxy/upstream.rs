//! Servers: where a name leads, how a connection to it is opened, and which open ones may be used again.

pub(crate) mod chain;
pub(crate) mod dial;
pub(crate) mod pool;
mod sessions;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use self::{pool::Pool, sessions::Sessions};
use super::{
    clearance::Clearance,
    deadline,
    error::ExchangeError,
    target::Authority,
    tls::{
        Tls,
        client::{Aim, Securing},
    },
    wire::connection::Connection,
};
use crate::{
    policy::{
        Policy,
        parent::{Kind, ParentProxy, Route, Scheme},
        rules::Rules,
        timeout::Timeouts,
    },
    traffic::secured::Handshake,
};

/// What a connection is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests that a proxy was asked to make.
    Exchange,
    /// A tunnel, whatever is spoken in it.
    Tunnel,
    /// Requests by TLS, to somebody who proves to be this one.
    Secure(Rc<Aim>),
}

impl Purpose {
    /// Whom it is secured for; none if it is plain.
    pub(crate) fn aim(&self) -> Option<&Rc<Aim>> {
        match self {
            Self::Exchange | Self::Tunnel => None,
            Self::Secure(aim) => Some(aim),
        }
    }
}

impl Purpose {
    /// Wants it by HTTP/1.1 from now on. False if it did before.
    pub(crate) fn avoid_http2(&mut self) -> bool {
        match self {
            Self::Secure(aim) if aim.offers_http2() => {
                *aim = aim.without_http2();
                true
            }
            _ => false,
        }
    }
}

/// A connection on which a request can be sent. Boxed wherever it is handed on, which happens many times a request.
#[derive(Debug)]
pub(crate) struct Server {
    /// The connection.
    pub(crate) connection: Connection,
    /// How long it took to open; none if it was used before.
    pub(crate) connect: Option<Duration>,
    /// How it was secured after that; none if it was not, or was used before.
    pub(crate) tls: Option<Box<Handshake>>,
    /// Whether it was another client that used it before.
    pub(crate) foreign: bool,
    /// `Proxy-Authorization` and absolute URLs, if a parent proxy of the HTTP kind is at the other end.
    pub(crate) parent: Option<ParentForm>,
}

impl Server {
    /// Notes how the connection was secured, which took so long.
    pub(crate) fn note_handshake(&mut self, took: Duration) {
        self.tls = self.connection.tls().map(|session| Box::new(session.handshake(took)));
    }
}

/// How a request is written for a parent proxy.
#[derive(Clone, Debug)]
pub(crate) struct ParentForm {
    /// The value of `Proxy-Authorization`, if it wants one.
    pub(crate) authorization: Option<String>,
}

/// Opens connections and keeps those that may be used again.
pub(crate) struct Upstreams {
    /// Names, redirections, parent proxies.
    policy: Arc<Policy>,
    /// amb's own listener, which must not be dialled.
    own: SocketAddr,
    /// Speaks TLS with servers.
    pub(crate) securing: Securing,
    /// Connections that wait for the next request, by purpose: a parent proxy may be at the other end of one kind only.
    pools: [RefCell<Pool>; 2],
    /// Connections that carry many requests at once.
    sessions: RefCell<Sessions>,
}

/// How far the opening of a connection has come.
#[derive(Debug, Default)]
struct Progress {
    /// What goes on.
    stage: RefCell<dial::Stage>,
    /// Whether there is a connection, be it to a parent proxy that has not answered yet.
    opened: Cell<bool>,
}

impl Upstreams {
    /// What holds for requests of no route.
    pub(crate) fn rules(&self) -> &Rules {
        &self.policy.rules
    }

    /// With an empty pool.
    pub(crate) fn new(policy: Arc<Policy>, own: SocketAddr, tls: Arc<Tls>) -> Rc<Self> {
        Rc::new(Self {
            policy,
            own,
            securing: Securing::new(tls),
            pools: Default::default(),
            sessions: RefCell::default(),
        })
    }

    /// A pooled connection for a request, if a good one is there.
    ///
    /// For a method that must not run twice only one that served this very client before, that was idle for less than a second
    /// and of which the kernel itself says that it is open: a connection that dies as the request arrives would leave open
    /// whether it was executed. Directly, too, the client would have used its own connection again, and no one else's.
    pub(crate) fn pooled(
        &self,
        authority: &Authority,
        purpose: &Purpose,
        client: &mut Connection,
        idempotent: bool,
    ) -> Option<Box<Server>> {
        if let Some(aim) = purpose.aim().filter(|aim| aim.offers_http2()) {
            let mut sessions = self.sessions.borrow_mut();
            if let Some((session, served)) = sessions.take(authority, aim, &client.presence(), idempotent) {
                return Some(Box::new(Server {
                    connection: session.stream(),
                    connect: None,
                    tls: None,
                    foreign: !served,
                    parent: None,
                }));
            }
        }
        let mut pool = self.pool(purpose).borrow_mut();
        let (mut server, is_own) = pool.take(authority, purpose.aim(), &client.presence(), idempotent)?;
        server.foreign = !is_own;
        server.parent = match purpose {
            Purpose::Exchange => {
                let place = self.place(authority);
                self.parent(purpose, &place, &self.redirected(&place))
                    .and_then(ParentForm::of)
            }
            Purpose::Tunnel | Purpose::Secure(_) => None,
        };
        Some(server)
    }

    /// Opens a connection.
    ///
    /// `opened` is counted up by one if there is a connection, also if a parent proxy then refuses to go on from there.
    ///
    /// Nothing is dialled that `clearance` does not admit.
    ///
    /// # Errors
    /// Names whose fault it was. Lasts at most as long as connecting may, and securing it as long as that may.
    pub(crate) async fn connect(
        self: &Rc<Self>,
        authority: &Authority,
        purpose: &Purpose,
        timeouts: &Timeouts,
        opened: &mut u32,
        clearance: Option<Clearance<'_>>,
    ) -> Result<Box<Server>, ExchangeError> {
        let limit = timeouts.connect;
        let started = Instant::now();
        let progress = Progress::default();
        let opening = async {
            match self.open(authority, purpose, &progress, clearance).await {
                // What only waits in a pool must not keep a request from its server.
                Err(ExchangeError::OutOfDescriptors(_)) if self.close_pooled() => {
                    self.open(authority, purpose, &progress, clearance).await
                }
                result => result,
            }
        };
        let result = deadline::within(limit, opening).await;
        *opened += u32::from(progress.opened.get());
        let (connection, parent) = match result {
            Some(result) => result?,
            None => return Err(progress.stage.into_inner().timed_out(authority, limit)),
        };
        let server = Box::new(Server {
            connection,
            connect: Some(started.elapsed()),
            tls: None,
            foreign: false,
            parent,
        });
        self.secured(Ok(server), authority, purpose, timeouts.tls).await
    }

    /// A new connection as it is wanted: by TLS, if that is what it is for, within `limit`.
    ///
    /// # Errors
    /// Names whose fault it was; the one that there was before, if any.
    pub(crate) async fn secured(
        self: &Rc<Self>,
        connected: Result<Box<Server>, ExchangeError>,
        authority: &Authority,
        purpose: &Purpose,
        limit: Duration,
    ) -> Result<Box<Server>, ExchangeError> {
        let mut server = connected?;
        let Some(aim) = purpose.aim() else {
            return Ok(server);
        };
        let started = Instant::now();
        let place = authority.to_string();
        let connection = &mut server.connection;
        self.securing.secure(connection, &place, aim, false, limit).await?;
        server.note_handshake(started.elapsed());
        self.shared(server, authority, aim).await
    }

    /// See [`Upstreams::connect`], which bounds it.
    async fn open(
        &self,
        authority: &Authority,
        purpose: &Purpose,
        progress: &Progress,
        clearance: Option<Clearance<'_>>,
    ) -> Result<(Connection, Option<ParentForm>), ExchangeError> {
        let admitted = |addresses| match clearance {
            Some(clearance) => clearance.admitted(addresses),
            None => Ok(addresses),
        };
        let place = self.place(authority);
        let target = self.redirected(&place);
        let Some(parent) = self.parent(purpose, &place, &target) else {
            let addresses = match self.policy.reach.addresses(&target.host, target.port) {
                Some(addresses) => addresses
                    .iter()
                    .map(|address| SocketAddr::new(*address, target.port))
                    .collect(),
                None => dial::resolve(&target, &progress.stage).await?,
            };
            let mut connection = self.dial(&target, admitted(addresses)?, progress).await?;
            connection.direct = true;
            return Ok((connection, None));
        };
        let place = Authority::new(&*parent.host, parent.port);
        let addresses = dial::resolve(&place, &progress.stage).await?;
        let mut connection = self.dial(&place, addresses, progress).await?;
        match (parent.kind, purpose) {
            (Kind::Http, Purpose::Exchange) => return Ok((connection, ParentForm::of(parent))),
            (Kind::Http, Purpose::Tunnel | Purpose::Secure(_)) => {
                chain::connect_http(&mut connection, parent, &target).await?;
            }
            (Kind::Socks5 | Kind::Socks5h, _) => {
                let address = match (parent.kind, target.address()) {
                    (Kind::Socks5, None) => admitted(dial::resolve(&target, &progress.stage).await?)?
                        .first()
                        .map(SocketAddr::ip),
                    (_, literal) => literal,
                };
                chain::connect_socks5(&mut connection, parent, &target, address).await?;
            }
        }
        Ok((connection, None))
    }

    /// Dials one of `addresses`, none of which may be amb's own.
    async fn dial(
        &self,
        place: &Authority,
        addresses: Vec<SocketAddr>,
        progress: &Progress,
    ) -> Result<Connection, ExchangeError> {
        if addresses.iter().any(|address| self.is_own(*address)) {
            return Err(ExchangeError::OwnListener);
        }
        let stream = dial::race(place, addresses, &progress.stage).await?;
        progress.opened.set(true);
        Connection::new(stream).map_err(|reason| ExchangeError::of_connect(place.to_string(), reason))
    }

    /// The pool for this purpose.
    fn pool(&self, purpose: &Purpose) -> &RefCell<Pool> {
        match purpose {
            Purpose::Exchange => &self.pools[0],
            Purpose::Tunnel | Purpose::Secure(_) => &self.pools[1],
        }
    }

    /// Keeps a connection for the next request to `authority`; `client` is the one that it served.
    pub(crate) fn keep(
        self: &Rc<Self>,
        authority: &Authority,
        purpose: &Purpose,
        mut server: Box<Server>,
        client: &mut Connection,
    ) {
        if server.connection.as_stream().is_some() {
            // The connection that it is a part of is kept.
            return;
        }
        let mut pool = self.pool(purpose).borrow_mut();
        server.connect = None;
        server.tls = None;
        pool.put(authority, purpose.aim().cloned(), server, client.presence());
        if pool.wants_sweeper() {
            let (upstreams, purpose) = (Rc::clone(self), purpose.clone());
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(pool::IDLE_LIMIT / 2).await;
                    if !upstreams.pool(&purpose).borrow_mut().sweep() {
                        break;
                    }
                }
            });
        }
    }

    /// Closes all pooled connections. False if there was none.
    fn close_pooled(&self) -> bool {
        let closed: usize = self.pools.iter().map(|pool| pool.borrow_mut().close()).sum();
        closed + self.sessions.borrow_mut().close() > 0
    }

    /// Notes, as long as what is returned lives, that a request waits for its turn at `authority`.
    pub(crate) fn queue(self: &Rc<Self>, authority: &Authority) -> Queued {
        for pool in &self.pools {
            pool.borrow_mut().queue(authority);
        }
        Queued {
            upstreams: Rc::clone(self),
            authority: authority.clone(),
        }
    }

    /// Closes what a client that is gone has left behind, where others wait for their turn.
    pub(crate) fn client_left(&self) {
        for pool in &self.pools {
            pool.borrow_mut().give_way();
        }
    }

    /// What is dialled for `authority`. Where a captured connection was to lead, that is the address, whatever the client calls it;
    /// but for names that `--connect-to` or `--resolve` lead elsewhere.
    fn place<'a>(&self, authority: &'a Authority) -> Cow<'a, Authority> {
        match authority.at {
            Some(at) if !self.policy.reach.knows(&authority.host, authority.port) => {
                Cow::Owned(Authority::new(at.to_string(), authority.port))
            }
            _ => Cow::Borrowed(authority),
        }
    }

    /// Where `--connect-to` sends requests for `authority`.
    fn redirected<'a>(&self, authority: &'a Authority) -> Cow<'a, Authority> {
        let (host, port) = self.policy.reach.target(&authority.host, authority.port);
        if host == authority.host && port == authority.port {
            return Cow::Borrowed(authority);
        }
        Cow::Owned(Authority::new(host, port))
    }

    /// The parent proxy on the way to `authority`, if any. What was redirected or resolved by hand is reached directly.
    fn parent(&self, purpose: &Purpose, authority: &Authority, target: &Authority) -> Option<&ParentProxy> {
        if *authority != *target || self.policy.reach.addresses(&target.host, target.port).is_some() {
            return None;
        }
        let scheme = match purpose {
            Purpose::Exchange => Scheme::Http,
            Purpose::Tunnel | Purpose::Secure(_) => Scheme::Tunnel,
        };
        match self.policy.parent.for_target(scheme, &authority.host, authority.port) {
            Route::Direct => None,
            Route::Via(parent) => Some(parent),
        }
    }

    /// Whether a plain connection for `authority` leads nowhere but to this machine, as far as that is known without asking
    /// the resolver.
    pub(crate) fn stays_here(&self, authority: &Authority, purpose: &Purpose) -> bool {
        let place = self.place(authority);
        let target = self.redirected(&place);
        self.parent(purpose, &place, &target).is_none() && self.policy.reach.stays_here(&place.host, place.port)
    }

    /// Whether `address` leads to amb's own listener.
    fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        address.port() == self.own.port()
            && (ip == self.own.ip() || ip.is_unspecified() || (self.own.ip().is_unspecified() && ip.is_loopback()))
    }
}

/// A request that waits for its turn at a server. Its end is the wait's.
pub(crate) struct Queued {
    /// Where it is noted.
    upstreams: Rc<Upstreams>,
    /// Where it waits.
    authority: Authority,
}

impl Drop for Queued {
    fn drop(&mut self) {
        for pool in &self.upstreams.pools {
            pool.borrow_mut().unqueue(&self.authority);
        }
    }
}

impl ParentForm {
    /// The form for a parent of the HTTP kind.
    fn of(parent: &ParentProxy) -> Option<Self> {
        (parent.kind == Kind::Http).then(|| Self {
            authorization: chain::basic_authorization(parent),
        })
    }
}
