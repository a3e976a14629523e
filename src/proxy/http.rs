//! One client connection that speaks HTTP/1.1: its requests one after another, each to its exchange or tunnel.

mod apart;
mod waiting;

use std::{io, rc::Rc, time::Duration};

use self::{
    apart::Apart,
    waiting::{Patience, Unreadable, read_head},
};
use super::{
    answer::Answer,
    captured,
    clearance::{self, Clearance},
    crowd::Seat,
    error::ExchangeError,
    exchange::{Exchange, Next, Request},
    recorder::Open,
    target::{self, Authority, Target},
    tls::client::{Aim, Offer},
    tunnel,
    upstream::{Purpose, Server},
    wire::{
        connection::Connection,
        head::{RequestHead, Version},
        hop,
        http1::skip_empty_line,
    },
    worker::Worker,
};
use crate::{
    policy::rules::Asked,
    traffic::{Kind, Protocol, Record, Scheme},
};

/// How long a connection lingers when it is closed.
const LINGER: Duration = Duration::from_secs(1);

/// What has become of the connection.
pub(crate) enum After {
    /// It is closed.
    Closed,
    /// It is a tunnel now.
    Tunnel(Connection, Box<tunnel::Opened>),
}

/// On what terms a client is served.
pub(crate) enum Terms {
    /// It asks a proxy.
    Proxy,
    /// It asks a proxy that does not serve it.
    Refused(ExchangeError),
    /// It speaks to a server through a tunnel, and knows of no proxy.
    Inside {
        /// Where the tunnel leads.
        authority: Authority,
        /// Whom the server must prove to be, if the two speak TLS and amb is in between.
        aim: Option<Rc<Aim>>,
        /// The tunnel's own connection, which the first request takes, or why there is none.
        prepared: Option<Result<Box<Server>, ExchangeError>>,
    },
}

/// Serves the requests of `client` until it is closed or becomes a tunnel.
pub(crate) async fn serve(worker: &Rc<Worker>, mut client: Connection, seat: &Seat, mut terms: Terms) -> After {
    let mut patience = Patience::default();
    loop {
        skip_empty_line(&mut client);
        let head = match read_head(&mut client, &mut patience, seat).await {
            Ok(head) => head,
            Err(Unreadable::Over) => {
                if !client.is_plain() {
                    Box::pin(client.linger(LINGER)).await;
                }
                return After::Closed;
            }
            Err(Unreadable::Refused(error)) => {
                let open = worker.recorder.begin(Kind::Exchange, Protocol::Http11);
                Box::pin(async {
                    refuse(&mut client, open, &error, None, None).await;
                    client.linger(LINGER).await;
                })
                .await;
                return After::Closed;
            }
        };
        let next = match &mut terms {
            Terms::Proxy => dispatch(worker, &mut client, head).await,
            Terms::Refused(error) => Box::pin(turn_away(worker, &mut client, &head, error)).await,
            Terms::Inside {
                authority,
                aim,
                prepared,
            } => {
                let purpose = aim.clone().map_or(Purpose::Tunnel, Purpose::Secure);
                Box::pin(pass_inside(
                    worker,
                    &mut client,
                    head,
                    authority.clone(),
                    purpose,
                    prepared.take(),
                ))
                .await
            }
        };
        match next {
            Next::KeepAlive => {}
            // With nothing unread left, closing does no harm to what was written.
            Next::Over if client.is_plain() && (client.seems_idle() || client.ended) => return After::Closed,
            Next::Over | Next::Close => {
                Box::pin(client.linger(LINGER)).await;
                return After::Closed;
            }
            Next::Reset => {
                client.reset();
                return After::Closed;
            }
            Next::Upgraded(opened) => return After::Tunnel(client, opened),
        }
    }
}

/// Refuses a request of somebody whom this proxy does not serve.
async fn turn_away(worker: &Rc<Worker>, client: &mut Connection, head: &RequestHead, error: &ExchangeError) -> Next {
    let mut open = begin(worker, head);
    name_target(&mut open, head, &target::parse(head.method(), head.target()));
    refuse(client, open, error, Some(head), None).await;
    Next::Close
}

/// Sends a request on that a client makes inside its tunnel to `authority`: its target and `Host` are those for the server.
pub(super) async fn pass_inside(
    worker: &Rc<Worker>,
    client: &mut Connection,
    head: RequestHead,
    authority: Authority,
    mut purpose: Purpose,
    prepared: Option<Result<Box<Server>, ExchangeError>>,
) -> Next {
    let mut open = begin(worker, &head);
    let authority = captured::called(authority, &head, purpose.aim());
    open.record.captured = authority.at.is_some();
    open.asks_for(head.method(), &authority);
    open.record.opened += u32::from(prepared.is_some());
    open.record.scheme = Some(if purpose.aim().is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    });
    if let Err(error) = check_host(&head, &Target::Origin) {
        refuse(client, open, &error, Some(&head), Some(&authority)).await;
        return Next::Close;
    }
    // HTTP/2 has no way for the one, and not every server of it one for the other.
    let upgrades = head.version != Version::Http2
        && (hop::asks_for_other_protocol(&head.fields) || hop::asks_for_websocket(&head.fields));
    if upgrades {
        purpose.avoid_http2();
    }
    if hop::asks_for_other_protocol(&head.fields) {
        // Directly it would get it, and no policy for HTTP has a say in what follows.
        open.becomes_tunnel();
        if let Err(error) = clear_upgrade(worker, &head, &authority, &purpose, prepared.as_ref(), &mut open.record) {
            refuse(client, open, &error, Some(&head), Some(&authority)).await;
            return Next::Close;
        }
        let rules = worker.rules_of_tunnel(&authority, &mut open);
        let connected = if let Some(prepared) = prepared {
            prepared
        } else {
            let opening = worker.open_tunnel(&authority, &rules, client, &mut open.record);
            let connected = Box::pin(opening).await;
            let upstreams = &worker.upstreams;
            Box::pin(upstreams.secured(connected, &authority, &purpose, rules.timeouts.tls)).await
        };
        return match connected {
            Ok(mut server) => {
                head.write_to(head.target(), server.connection.outbox.appender());
                open.record.connect = server.connect;
                open.record.tls = server.tls.take();
                open.record.attempts = 1;
                Next::Upgraded(Box::new(tunnel::Opened {
                    server,
                    open,
                    unseen: None,
                    idle: rules.timeouts.tunnel_idle,
                }))
            }
            Err(error) => {
                refuse(client, open, &error, Some(&head), Some(&authority)).await;
                Next::Close
            }
        };
    }
    let path = head.target().to_vec();
    let request = Request {
        head,
        authority,
        host: None,
        path,
        purpose,
        prepared,
    };
    Exchange::begin(worker, request, open).carry(client).await
}

/// Sends a request where its target says.
async fn dispatch(worker: &Rc<Worker>, client: &mut Connection, head: RequestHead) -> Next {
    match sort(worker, head) {
        Ok(exchange) => exchange.carry(client).await,
        Err(apart) => Box::pin(apart.answer(worker, client)).await,
    }
}

/// Tells exchanges, which nearly all requests are, from what is apart.
///
/// Not part of [`dispatch`], since what is named there is room in each connection's task, and is moved about in it.
fn sort(worker: &Rc<Worker>, head: RequestHead) -> Result<Box<Exchange<'_>>, Box<Apart>> {
    let mut open = begin(worker, &head);
    let parsed = target::parse(head.method(), head.target());
    name_target(&mut open, &head, &parsed);
    let checked = match parsed {
        Ok(target) => check_host(&head, &target).map(|()| target),
        Err(refused) => Err(ExchangeError::RequestMalformed(refused.reason)),
    };
    let target = checked.map_err(|error| (error, None));
    let (scheme, authority, host, path) = match target {
        Ok(Target::Absolute {
            scheme,
            authority,
            host,
            path,
        }) => (scheme, authority, host, path),
        target => return Err(Box::new(Apart { head, open, target })),
    };
    open.record.scheme = Some(scheme);
    let purpose = match scheme {
        Scheme::Http => Purpose::Exchange,
        Scheme::Https => match Aim::new(&authority.host, true, Offer::Http11, &worker.policy.rules.server_tls) {
            Ok(aim) => Purpose::Secure(aim),
            Err(error) => {
                let target = Err((error, Some(authority)));
                return Err(Box::new(Apart { head, open, target }));
            }
        },
    };
    let request = Request {
        head,
        authority,
        host: Some(host),
        path,
        purpose,
        prepared: None,
    };
    Ok(Exchange::begin(worker, request, open))
}

/// Says in the record where a request was to go, refused or not, as far as that is known.
fn name_target(open: &mut Open, head: &RequestHead, target: &Result<Target, target::Refused>) {
    let authority = match target {
        Ok(target) => target.authority(),
        Err(refused) => refused.authority.as_ref(),
    };
    if let Some(authority) = authority {
        open.asks_for(head.method(), authority);
    }
}

/// Whether a request may go that leads to another protocol.
///
/// # Errors
/// If it may not.
fn clear_upgrade(
    worker: &Worker,
    head: &RequestHead,
    authority: &Authority,
    purpose: &Purpose,
    prepared: Option<&Result<Box<Server>, ExchangeError>>,
    record: &mut Record,
) -> Result<(), ExchangeError> {
    let asked = Asked {
        scheme: record.scheme.map_or("", Scheme::name),
        method: head.method(),
        host: &authority.host,
        port: authority.port,
        path: head.target(),
        fields: &head.fields,
    };
    clearance::by_names(worker, asked, purpose.aim(), true, record)?;
    match (Clearance::of(worker, asked), prepared) {
        (Some(clearance), Some(Ok(server))) => clearance.by_server(server, record),
        _ => Ok(()),
    }
}

/// Opens the record of a request whose head is there.
pub(super) fn begin(worker: &Rc<Worker>, head: &RequestHead) -> Open {
    let protocol = match head.version {
        Version::Http10 => Protocol::Http10,
        Version::Http11 => Protocol::Http11,
        Version::Http2 => Protocol::Http2,
    };
    let kind = if head.method() == "CONNECT" {
        Kind::Tunnel
    } else {
        Kind::Exchange
    };
    let mut open = worker.recorder.begin(kind, protocol);
    head.method().clone_into(&mut open.record.method);
    if worker.recorder.is_listened_to() {
        let agent = head.fields.first("user-agent");
        open.record.user_agent = agent.map(|value| worker.redact.header("user-agent", value));
        open.record.referer = head.fields.first("referer").map(|value| worker.redact.referer(value));
    }
    open
}

/// Exactly one valid `Host`, as HTTP/1.1 demands ([RFC 9112 §3.2]).
///
/// [RFC 9112 §3.2]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
fn check_host(head: &RequestHead, target: &Target) -> Result<(), ExchangeError> {
    let mut hosts = head.fields.values("host");
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(ExchangeError::RequestMalformed("more than one Host"));
    }
    match first {
        // Curl leaves it out of a CONNECT in HTTP/1.0, and old clients of HTTP/1.0 have none at all.
        None if head.version == Version::Http10 => Ok(()),
        None if matches!(target, Target::Tunnel(_)) => Ok(()),
        None => Err(ExchangeError::RequestMalformed("no Host in an HTTP/1.1 request")),
        Some(b"") => Ok(()),
        Some(host) => target::authority(host, Some(80))
            .map(drop)
            .map_err(|_| ExchangeError::RequestMalformed("Host is not a host")),
    }
}

/// Answers with an error before which the connection is closed, and ends the record.
pub(super) async fn refuse(
    client: &mut Connection,
    open: Open,
    error: &ExchangeError,
    head: Option<&RequestHead>,
    to: Option<&Authority>,
) {
    if let Err(reason) = answer_error(client, open, error, head, to, true).await {
        tracing::debug!(%reason, "a client did not take its error");
    }
}

/// Answers with an error and ends the record; `close` if the connection is closed behind it.
async fn answer_error(
    client: &mut Connection,
    mut open: Open,
    error: &ExchangeError,
    head: Option<&RequestHead>,
    to: Option<&Authority>,
    close: bool,
) -> io::Result<()> {
    open.record.status = Some(error.verdict().status);
    let answer = Answer {
        error,
        request: head,
        id: open.id,
        next_hop: to.map(ToString::to_string).unwrap_or_default(),
        close,
    };
    let sent = client.send(&answer.bytes()).await;
    open.fail(error);
    sent
}
