//! Connections to servers that carry many requests at once, and those that may be used for the next one.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use super::{
    super::{
        clearance::Clearance,
        error::ExchangeError,
        target::Authority,
        tls::client::{Aim, HTTP2},
        wire::{
            connection::Connection,
            http2::{Session, Stream},
            tls,
        },
    },
    Purpose, Server, Upstreams,
    pool::IDLE_LIMIT,
};
use crate::policy::timeout::Timeouts;

/// A connection, and for whom.
struct Kept {
    /// The connection.
    session: Rc<Session>,
    /// Whom it was secured for.
    aim: Rc<Aim>,
    /// The connections of the clients that have used it.
    clients: Vec<Weak<()>>,
}

impl Kept {
    /// Whether a client has used it.
    fn served(&self, client: &Weak<()>) -> bool {
        self.clients.iter().any(|served| served.ptr_eq(client))
    }

    /// Whether it is of no more use: nobody is there any more who would have kept one open, and it has waited for others.
    fn is_over(&mut self) -> bool {
        self.clients.retain(|client| client.strong_count() > 0);
        self.session.is_over() || self.clients.is_empty() && self.session.idle() >= IDLE_LIMIT
    }
}

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Sessions {
    /// By authority.
    kept: HashMap<Authority, Vec<Kept>, RandomState>,
    /// Whether a sweeper is at work.
    swept: bool,
    /// Where one is being opened; told when it is there, or not.
    opening: HashMap<Authority, Rc<Notify>, RandomState>,
}

/// The opening of a connection that others wait for, until it is dropped.
pub(super) struct Opening<'a> {
    /// Where it is noted.
    sessions: &'a RefCell<Sessions>,
    /// Where it leads.
    authority: &'a Authority,
}

impl<'a> Opening<'a> {
    /// Notes that one is opened to `authority`; the one to wait for if there is one already.
    pub(super) fn begin(sessions: &'a RefCell<Sessions>, authority: &'a Authority) -> Result<Self, Rc<Notify>> {
        let opening = &mut sessions.borrow_mut().opening;
        if let Some(other) = opening.get(authority) {
            return Err(Rc::clone(other));
        }
        opening.insert(authority.clone(), Rc::default());
        Ok(Self { sessions, authority })
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(told) = self.sessions.borrow_mut().opening.remove(self.authority) {
            told.notify_waiters();
        }
    }
}

impl Sessions {
    /// Keeps a connection. True if somebody should begin to sweep.
    pub(super) fn put(&mut self, authority: &Authority, aim: &Rc<Aim>, session: &Rc<Session>) -> bool {
        self.kept.entry(authority.clone()).or_default().push(Kept {
            session: Rc::clone(session),
            aim: Rc::clone(aim),
            clients: Vec::new(),
        });
        !std::mem::replace(&mut self.swept, true)
    }

    /// A connection with room for one more stream, and whether it has served this client before; one that has, if there is one.
    /// For a request that must not run twice it must have, as it would have been the client's own.
    pub(super) fn take(
        &mut self,
        authority: &Authority,
        aim: &Rc<Aim>,
        client: &Weak<()>,
        idempotent: bool,
    ) -> Option<(Rc<Session>, bool)> {
        let kept = self.kept.get_mut(authority)?;
        let fits = |candidate: &&mut Kept| {
            let session = &candidate.session;
            candidate.aim == *aim && !session.is_over() && session.streams() < session.most_streams()
        };
        let served = kept.iter().position(|candidate| candidate.served(client));
        let mut fitting = kept.iter_mut().filter(fits);
        let found = match served {
            Some(_) => fitting.find(|candidate| candidate.served(client)),
            None => None,
        };
        if let Some(found) = found {
            return Some((Rc::clone(&found.session), true));
        }
        let other = kept
            .iter_mut()
            .filter(fits)
            .find(|candidate| idempotent && candidate.session.idle() < IDLE_LIMIT)?;
        other.clients.push(client.clone());
        Some((Rc::clone(&other.session), false))
    }

    /// Notes that a client uses a connection.
    pub(super) fn note(&mut self, authority: &Authority, session: &Rc<Session>, client: &Weak<()>) {
        let kept = self.kept.get_mut(authority).into_iter().flatten();
        for candidate in kept.filter(|candidate| Rc::ptr_eq(&candidate.session, session)) {
            if !candidate.served(client) {
                candidate.clients.push(client.clone());
            }
        }
    }

    /// Lets go of what is of no more use. False, once nothing is left: the sweeper goes.
    pub(super) fn sweep(&mut self) -> bool {
        self.kept.retain(|_, kept| {
            kept.retain_mut(|candidate| !candidate.is_over());
            !kept.is_empty()
        });
        self.swept = !self.kept.is_empty();
        self.swept
    }

    /// Lets go of those that nobody uses at the moment, and says how many there were.
    pub(super) fn close(&mut self) -> usize {
        let mut closed = 0;
        self.kept.retain(|_, kept| {
            let before = kept.len();
            kept.retain(|candidate| candidate.session.streams() > 0);
            closed += before - kept.len();
            !kept.is_empty()
        });
        closed
    }
}

impl Upstreams {
    /// A new connection as it is used: where the server has chosen HTTP/2, one of the streams that it carries for everybody.
    ///
    /// # Errors
    /// If the server has gone already.
    pub(crate) async fn shared(
        self: &Rc<Self>,
        server: Box<Server>,
        authority: &Authority,
        aim: &Rc<Aim>,
    ) -> Result<Box<Server>, ExchangeError> {
        if server.connection.tls().and_then(tls::Session::protocol) != Some(HTTP2) {
            return Ok(server);
        }
        let session = Session::open(server.connection)
            .await
            .map_err(|reason| ExchangeError::UpstreamClosedEarly {
                how: format!("broke the connection ({reason})"),
            })?;
        if self.sessions.borrow_mut().put(authority, aim, &session) {
            let upstreams = Rc::clone(self);
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(IDLE_LIMIT / 2).await;
                    if !upstreams.sessions.borrow_mut().sweep() {
                        break;
                    }
                }
            });
        }
        Ok(Box::new(Server {
            connection: session.stream(),
            ..*server
        }))
    }

    /// Opens a connection for a request of `client`, see [`Upstreams::connect`]. The streams of one that speaks HTTP/2 wait for
    /// the first of them to do so, since they can share it.
    pub(crate) async fn connect_for(
        self: &Rc<Self>,
        client: &mut Connection,
        authority: &Authority,
        purpose: &Purpose,
        timeouts: &Timeouts,
        opened: &mut u32,
        clearance: Option<Clearance<'_>>,
    ) -> Result<Box<Server>, ExchangeError> {
        let shares = client.as_stream().is_some() && purpose.aim().is_some_and(|aim| aim.offers_http2());
        let mut opening = shares.then(|| Opening::begin(&self.sessions, authority));
        if let Some(Err(other)) = &opening {
            other.notified().await;
            // Another stream's connection is the client's own.
            if let Some(server) = self.pooled(authority, purpose, client, false) {
                return Ok(server);
            }
            opening = None;
        }
        let server = self.connect(authority, purpose, timeouts, opened, clearance).await?;
        self.note(authority, &server.connection, client);
        drop(opening);
        Ok(server)
    }

    /// Notes that a client uses a server's connection, if that carries many requests.
    pub(crate) fn note(&self, authority: &Authority, server: &Connection, client: &mut Connection) {
        if let Some(session) = server.as_stream().and_then(Stream::session) {
            let mut sessions = self.sessions.borrow_mut();
            sessions.note(authority, session, &client.presence());
        }
    }
}
