//! Servers: where a name leads, how a connection to it is opened, and which open ones may be used again.

pub(crate) mod chain;
pub(crate) mod dial;
pub(crate) mod pool;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use self::pool::Pool;
use super::{error::ExchangeError, target::Authority, wire::connection::Connection};
use crate::policy::{
    Policy,
    parent::{Kind, ParentProxy, Route, Scheme},
};

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Exchanges in plain HTTP.
    Exchange,
    /// An opaque tunnel.
    Tunnel,
}

/// A connection on which a request can be sent.
#[derive(Debug)]
pub(crate) struct Server {
    /// The connection.
    pub(crate) connection: Connection,
    /// How long it took to open; none if it was used before.
    pub(crate) connect: Option<Duration>,
    /// `Proxy-Authorization` and absolute URLs, if a parent proxy of the HTTP kind is at the other end.
    pub(crate) parent: Option<ParentForm>,
}

/// How a request is written for a parent proxy.
#[derive(Clone, Debug)]
pub(crate) struct ParentForm {
    /// The value of `Proxy-Authorization`, if it wants one.
    pub(crate) authorization: Option<String>,
}

/// Opens connections and keeps those that may be used again.
pub(crate) struct Upstreams {
    /// Names, redirections, parent proxies, timeouts.
    policy: Arc<Policy>,
    /// amb's own listener, which must not be dialled.
    own: SocketAddr,
    /// Connections that wait for the next request.
    pool: RefCell<Pool>,
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
    /// With an empty pool.
    pub(crate) fn new(policy: Arc<Policy>, own: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            policy,
            own,
            pool: RefCell::default(),
        })
    }

    /// A pooled connection for a request, if a good one is there.
    ///
    /// For a method that must not run twice only one that was idle for less than a second and of which the kernel itself says
    /// that it is open: a connection that dies as the request arrives would leave open whether it was executed.
    pub(crate) fn pooled(&self, authority: &Authority, idempotent: bool) -> Option<Server> {
        let connection = self.pool.borrow_mut().take(authority, idempotent)?;
        let target = self.redirected(authority);
        let parent = self
            .parent(Purpose::Exchange, authority, &target)
            .and_then(ParentForm::of);
        Some(Server {
            connection,
            connect: None,
            parent,
        })
    }

    /// Opens a connection.
    ///
    /// `opened` is counted up by one if there is a connection, also if a parent proxy then refuses to go on from there.
    ///
    /// # Errors
    /// Names whose fault it was. Lasts at most the policy's connect timeout.
    pub(crate) async fn connect(
        &self,
        authority: &Authority,
        purpose: Purpose,
        opened: &mut u32,
    ) -> Result<Server, ExchangeError> {
        let started = Instant::now();
        let limit = self.policy.timeouts.connect;
        let progress = Progress::default();
        let result = tokio::time::timeout(limit, self.open(authority, purpose, &progress)).await;
        *opened += u32::from(progress.opened.get());
        let (connection, parent) = match result {
            Ok(result) => result?,
            Err(_) => return Err(progress.stage.into_inner().timed_out(authority, limit)),
        };
        Ok(Server {
            connection,
            connect: Some(started.elapsed()),
            parent,
        })
    }

    /// See [`Upstreams::connect`], which bounds it.
    async fn open(
        &self,
        authority: &Authority,
        purpose: Purpose,
        progress: &Progress,
    ) -> Result<(Connection, Option<ParentForm>), ExchangeError> {
        let target = self.redirected(authority);
        let Some(parent) = self.parent(purpose, authority, &target) else {
            let addresses = match self.policy.reach.addresses(&target.host, target.port) {
                Some(addresses) => addresses
                    .iter()
                    .map(|address| SocketAddr::new(*address, target.port))
                    .collect(),
                None => dial::resolve(&target, &progress.stage).await?,
            };
            return Ok((self.dial(&target, addresses, progress).await?, None));
        };
        let place = Authority {
            host: parent.host.clone(),
            port: parent.port,
        };
        let addresses = dial::resolve(&place, &progress.stage).await?;
        let mut connection = self.dial(&place, addresses, progress).await?;
        match (parent.kind, purpose) {
            (Kind::Http, Purpose::Exchange) => return Ok((connection, ParentForm::of(parent))),
            (Kind::Http, Purpose::Tunnel) => chain::connect_http(&mut connection, parent, &target).await?,
            (Kind::Socks5 | Kind::Socks5h, _) => {
                let address = match (parent.kind, target.address()) {
                    (Kind::Socks5, None) => dial::resolve(&target, &progress.stage)
                        .await?
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

    /// Keeps a connection for the next request to `authority`.
    pub(crate) fn keep(self: &Rc<Self>, authority: &Authority, connection: Connection) {
        let mut pool = self.pool.borrow_mut();
        pool.put(authority, connection);
        if pool.wants_sweeper() {
            let upstreams = Rc::clone(self);
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(pool::IDLE_LIMIT / 2).await;
                    if !upstreams.pool.borrow_mut().sweep() {
                        break;
                    }
                }
            });
        }
    }

    /// Where `--connect-to` sends requests for `authority`.
    fn redirected<'a>(&self, authority: &'a Authority) -> Cow<'a, Authority> {
        let (host, port) = self.policy.reach.target(&authority.host, authority.port);
        if host == authority.host && port == authority.port {
            return Cow::Borrowed(authority);
        }
        Cow::Owned(Authority {
            host: host.to_owned(),
            port,
        })
    }

    /// The parent proxy on the way to `authority`, if any. What was redirected or resolved by hand is reached directly.
    fn parent(&self, purpose: Purpose, authority: &Authority, target: &Authority) -> Option<&ParentProxy> {
        if *authority != *target || self.policy.reach.addresses(&target.host, target.port).is_some() {
            return None;
        }
        let scheme = match purpose {
            Purpose::Exchange => Scheme::Http,
            Purpose::Tunnel => Scheme::Tunnel,
        };
        match self.policy.parent.for_target(scheme, &authority.host, authority.port) {
            Route::Direct => None,
            Route::Via(parent) => Some(parent),
        }
    }

    /// Whether `address` leads to amb's own listener.
    fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        address.port() == self.own.port()
            && (ip == self.own.ip() || ip.is_unspecified() || (self.own.ip().is_unspecified() && ip.is_loopback()))
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
