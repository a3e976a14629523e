//! Captured connections: those of programs that know of no proxy, which the kernel has led here ([`crate::capture`]).
//!
//! Each is a tunnel to the address that it was to lead to, whose words were never spoken. What it is called is what the client
//! calls it, in TLS or in `Host`, and its rules, routes and record go by that; what is dialled is that address all the same.
//! A name that decides about the connection is waited for before it is opened, if anything goes by names.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{
    clearance::Clearance,
    crowd::Seat,
    error::ExchangeError,
    http::{self, After, Terms},
    intercept,
    recorder::Open,
    sniff::{self, Words},
    target::{self, Authority},
    tls::client::Aim,
    tunnel::Opened,
    wire::{connection::Connection, head::RequestHead},
    worker::{self, Caller, FIRST_BYTE_LIMIT, Worker},
};
use crate::{
    capture::Landing,
    traffic::{Kind, Protocol},
};

/// How long a client is given to say whom it wants, before its server is thought to be the one that speaks first.
const WORDS_LIMIT: Duration = Duration::from_millis(100);
/// How long one is whose server cannot be reached: it takes its connection for one, and is told otherwise in what it speaks.
const REFUSAL_LIMIT: Duration = Duration::from_millis(500);

/// Accepts connections for ever, where there is a landing for them.
pub(crate) async fn accept(worker: &Rc<Worker>, landing: Option<&Arc<Landing>>, listeners: &[TcpListener]) {
    let Some(landing) = landing else {
        return std::future::pending().await;
    };
    let caller = |peer| caller(landing, peer);
    match listeners {
        [] => std::future::pending().await,
        [one] => worker::accept(worker, one, caller).await,
        [one, other, ..] => {
            tokio::join!(
                worker::accept(worker, one, caller),
                worker::accept(worker, other, caller)
            );
        }
    }
}

/// Where the connection from there was to lead; none if nobody has led it here, and it is nobody's.
pub(crate) fn caller(landing: &Landing, peer: SocketAddr) -> Option<Caller> {
    let to = landing.take(peer);
    if to.is_none() {
        tracing::debug!(%peer, "a connection was not captured and is closed");
    }
    to.map(Caller::Captured)
}

/// Serves a connection that was to lead `to`.
pub(crate) async fn serve(worker: &Rc<Worker>, mut client: Connection, to: SocketAddr, seat: &Seat) -> After {
    let mut authority = Authority::of_captured(to);
    if seat.fits && worker.policy.goes_by_names() {
        match hear(worker, &mut client, &authority, to).await {
            Words::Http => {
                let terms = Terms::Inside {
                    authority,
                    aim: None,
                    prepared: None,
                };
                return http::serve(worker, client, seat, terms).await;
            }
            Words::Tls => {
                if let Some(name) = intercept::named(&mut client).await {
                    authority = authority.called(name);
                }
            }
            Words::Other | Words::None => {}
        }
    }
    let mut open = worker.recorder.begin(Kind::Tunnel, Protocol::Captured);
    open.asks_for("CONNECT", &authority);
    if !seat.fits {
        client.reset();
        open.fail(&ExchangeError::TooManyClients(worker.crowd.limit()));
        return After::Closed;
    }
    let rules = worker.rules_of_tunnel(&authority, &mut open);
    match worker.open_tunnel(&authority, &rules, &client, &mut open.record).await {
        Ok(server) => {
            open.record.connect = server.connect;
            open.record.attempts = 1;
            let opened = Opened {
                server,
                open,
                unseen: Some(authority),
                idle: rules.timeouts.tunnel_idle,
            };
            After::Tunnel(client, Box::new(opened))
        }
        Err(error) => refuse(worker, client, open, authority, error, seat).await,
    }
}

/// What a client says first. If its address alone may not be connected to, it has as long as any client has: a name may change
/// that, and a server that would speak first may not be asked.
async fn hear(worker: &Worker, client: &mut Connection, authority: &Authority, to: SocketAddr) -> Words {
    let words = sniff::first_words(client, WORDS_LIMIT).await;
    let clearance = Clearance::of_tunnel(worker, authority);
    let denied = clearance.is_some_and(|clearance| clearance.admitted(vec![to]).is_err());
    if words == Words::None && denied && !client.ended {
        return sniff::first_words(client, FIRST_BYTE_LIMIT).await;
    }
    words
}

/// Ends a connection whose server cannot be had. The client has been told that it is connected, so it is told why not if it
/// speaks HTTP, and is reset otherwise.
async fn refuse(
    worker: &Rc<Worker>,
    mut client: Connection,
    open: Open,
    authority: Authority,
    error: ExchangeError,
    seat: &Seat,
) -> After {
    if sniff::first_words(&mut client, REFUSAL_LIMIT).await == Words::Http {
        open.withdraw();
        let terms = Terms::Inside {
            authority,
            aim: None,
            prepared: Some(Err(error)),
        };
        return http::serve(worker, client, seat, terms).await;
    }
    client.reset();
    open.fail(&error);
    After::Closed
}

/// Learns late, from a client that has begun with TLS, what the place is called that its tunnel leads to.
pub(crate) async fn learn_name(
    worker: &Worker,
    client: &mut Connection,
    opened: &mut Opened,
    authority: Authority,
) -> Authority {
    if !authority.is_nameless() {
        return authority;
    }
    let Some(name) = intercept::named(client).await else {
        return authority;
    };
    let authority = authority.called(name);
    opened.open.asks_for("CONNECT", &authority);
    opened.idle = worker
        .rules_of_tunnel(&authority, &mut opened.open)
        .timeouts
        .tunnel_idle;
    authority
}

/// Where a request goes inside a tunnel to `authority`: of a captured one in the clear, `Host` says what that is called.
pub(crate) fn called(authority: Authority, head: &RequestHead, aim: Option<&Rc<Aim>>) -> Authority {
    if authority.at.is_none() || aim.is_some() {
        return authority;
    }
    let host = head.fields.first("host").filter(|host| !host.is_empty());
    match host.map(|host| target::authority(host, Some(authority.port))) {
        Some(Ok(named)) => authority.called(named.host),
        _ => authority,
    }
}
