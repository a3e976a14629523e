//! TLS in a tunnel, opened: the server's first, then the client's with a certificate that only the command trusts, then the
//! requests that are inside.
//!
//! The server is asked for what the client asked for and no more, and the client is told what the server answered: the same
//! protocol, or that its certificate is not to be believed. What amb cannot stand in for stays a tunnel, to the byte: a
//! client that speaks something else in TLS than HTTP, one too old, a server that wants to see the client's own certificate,
//! a host where a client has refused amb's.

mod hello;

use std::{future::poll_fn, io, rc::Rc, sync::Arc, task::Poll, time::Duration};

use rustls::{
    AlertDescription, ServerConfig,
    crypto::ring::Ticketer,
    server::{NoServerSessionStorage, ResolvesServerCertUsingSni},
};
use tokio::{task::JoinHandle, time::Instant};

use self::hello::Hello;
use super::{
    access,
    crowd::Seat,
    deadline,
    error::ExchangeError,
    http::{self, After, Terms},
    http2::{self, Inside},
    program::Program,
    recorder::Open,
    target::Authority,
    tls::{
        CRYPTOGRAPHY,
        authority::CertificateAuthority,
        client::{Aim, HTTP2, Offer, name_of},
        leaves::{Leaves, Only},
        spared::Refusal,
        versions,
    },
    tunnel::Opened,
    upstream::Server,
    wire::{
        connection::Connection,
        tls::{HandshakeError, Session},
    },
    worker::Worker,
};
use crate::{
    policy::{
        rules::Asked,
        tls::{OnPinningFailure, Version},
    },
    traffic::{Blame, Failure, Outcome, secured::REFUSED},
};

/// How long a client may take for its part of the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// The alert of a server that speaks none of the protocols it is offered ([RFC 7301 §3.2]).
///
/// [RFC 7301 §3.2]: https://www.rfc-editor.org/rfc/rfc7301#section-3.2
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// How long a client waits at most until it is known what it is, at its first connections to some hosts; and how long it may
/// take to find out what would help.
const LOOKUP_LIMIT: Duration = Duration::from_secs(1);
/// How long a connection lingers when it is closed.
const LINGER: Duration = Duration::from_secs(1);
/// How long it may then wait with its first request, as it may between two.
const FIRST_REQUEST_LIMIT: Duration = Duration::from_mins(5);

/// One worker's way to stand in for servers.
pub(crate) struct StandIn {
    /// What all that it stands in for have in common.
    basis: ServerConfig,
    /// The certificates that were made.
    leaves: Leaves,
}

impl StandIn {
    /// Made when the first client needs it.
    fn new(oldest: Version) -> Result<Self, String> {
        let said = |error: rustls::Error| error.to_string();
        let nobody = Arc::new(ResolvesServerCertUsingSni::new());
        let mut basis = ServerConfig::builder_with_provider(Arc::clone(&CRYPTOGRAPHY))
            .with_protocol_versions(versions(oldest))
            .map_err(said)?
            .with_no_client_auth()
            .with_cert_resolver(nobody);
        // A client that comes back need not check the certificate again.
        basis.ticketer = Ticketer::new().map_err(said)?;
        basis.session_storage = Arc::new(NoServerSessionStorage {});
        basis.send_tls13_tickets = 1;
        Ok(Self {
            basis,
            leaves: Leaves::default(),
        })
    }

    /// How to be the server of this name, which speaks `protocol`.
    fn config(&mut self, authority: &CertificateAuthority, name: &str) -> Result<ServerConfig, String> {
        let leaf = self.leaves.get(authority, name, std::time::SystemTime::now())?;
        let mut config = self.basis.clone();
        config.cert_resolver = Arc::new(Only(leaf));
        Ok(config)
    }
}

/// What is done about TLS in a tunnel.
pub(crate) enum Opening {
    /// Its requests were served to the end, or to an upgrade.
    Served(After),
    /// It is a tunnel like any other.
    Tunnelled(Connection, Box<Opened>),
    /// It has ended, and so has its record.
    Ended,
}

/// Whom a client wants that has begun with TLS; none if it has not, or does not say.
pub(crate) async fn named(client: &mut Connection) -> Option<String> {
    let is_tls = client.inbox.as_slice().first() == Some(&0x16);
    if is_tls { hello::read(client).await?.name } else { None }
}

/// Opens the TLS with which `client` has begun in its tunnel to `authority`, if that is wanted and possible, and serves the
/// requests in it.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    mut client: Connection,
    opened: Box<Opened>,
    authority: Authority,
    seat: &Seat,
) -> Opening {
    let Some(hello) = hello::read(&mut client).await else {
        return Opening::Tunnelled(client, opened);
    };
    let name = hello.name.clone().unwrap_or_else(|| authority.host.clone());
    let policy = &worker.policy.tls;
    let wanted = policy.opens(&name, &authority.host, authority.port) && !worker.tls.spared.contains(&name);
    let (true, Some(offer), true) = (wanted, hello.offer, hello.fits) else {
        return Opening::Tunnelled(client, opened);
    };
    let rules = worker
        .policy
        .rules_for(&Asked::tunnel(&authority.host, authority.port))
        .rules;
    let prepared = Aim::new(&name, hello.name.is_some(), offer, &rules.server_tls)
        .map_err(|error| error.to_string())
        .and_then(|aim| Ok((aim, config(worker, &name)?)));
    let (aim, config) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => {
            tracing::warn!(%reason, name, "TLS is tunnelled, since no certificate can be made for its server");
            return Opening::Tunnelled(client, opened);
        }
    };
    let lookup = worker
        .tls
        .spared
        .is_uncertain(&name)
        .then(|| access::program(&client))
        .flatten();
    let opening = OpeningUp {
        worker,
        lookup,
        program: None,
        authority,
        name,
        aim,
        limit: rules.timeouts.tls,
        config,
    };
    Box::pin(opening.run(client, opened, hello, seat)).await
}

/// How to be the server of this name.
fn config(worker: &Worker, name: &str) -> Result<ServerConfig, String> {
    let mut stand_in = worker.stand_in.borrow_mut();
    let stand_in = match &mut *stand_in {
        Some(stand_in) => stand_in,
        empty => empty.insert(StandIn::new(worker.policy.tls.min_version)?),
    };
    let authority = worker.tls.authority.as_ref().ok_or("there is no authority")?;
    stand_in.config(authority, name)
}

/// The opening of one client's TLS.
struct OpeningUp<'a> {
    /// Who does it.
    worker: &'a Rc<Worker>,
    /// The look-up of the client, if that was asked and has not come to its end.
    lookup: Option<JoinHandle<Option<Program>>>,
    /// What it came to.
    program: Option<Program>,
    /// Where the tunnel leads.
    authority: Authority,
    /// Whom the client wants there.
    name: String,
    /// The same for amb.
    aim: Rc<Aim>,
    /// How long the handshake with it may take.
    limit: Duration,
    /// How to be that one.
    config: ServerConfig,
}

impl OpeningUp<'_> {
    /// The server's TLS, the client's, the requests.
    async fn run(mut self, mut client: Connection, opened: Box<Opened>, hello: Hello, seat: &Seat) -> Opening {
        let mut opened = opened;
        let begun = Instant::now();
        let securing = &self.worker.upstreams.securing;
        let place = self.authority.to_string();
        let mut protocol = None;
        let failed = match securing
            .secure(&mut opened.server.connection, &place, &self.aim, true, self.limit)
            .await
        {
            Ok(true) => {
                opened.server.note_handshake(begun.elapsed());
                protocol = opened
                    .server
                    .connection
                    .tls()
                    .and_then(Session::protocol)
                    .map(<[u8]>::to_vec);
                None
            }
            Ok(false) => {
                let reason = "asks for a client's certificate, and amb has none (tls.client-cert)";
                return self.leave_to_client(client, opened, reason).await;
            }
            Err(ExchangeError::TlsAlertReceived {
                number: NO_APPLICATION_PROTOCOL,
                ..
            }) if hello.offers_more => {
                let reason = "speaks none of the protocols that amb does, and the client offers more";
                return self.leave_to_client(client, opened, reason).await;
            }
            Err(error) => Some(error),
        };
        self.config.alpn_protocols = match (&failed, hello.offer) {
            (None, _) => protocol.into_iter().collect(),
            // So that it gets as far as to be told why.
            (Some(_), offer) => offer.map(Offer::protocols).unwrap_or_default(),
        };
        self.look_program_up().await;
        let Opened { server, open, .. } = *opened;
        let mut prepared = Some(match failed {
            None => self.worker.upstreams.shared(server, &self.authority, &self.aim).await,
            Some(error) => Err(error),
        });
        if let Err(refused) = self.be_server(&mut client, hello).await {
            return self.refused(client, open, refused).await;
        }
        match self.first_request(&mut client, &mut prepared, seat).await {
            Ok(Some(1..)) => {}
            Ok(Some(0)) => return self.refused(client, open, Refused::Left).await,
            Ok(None) => {
                open.end(Outcome::Ok);
                client.linger(LINGER).await;
                return Opening::Ended;
            }
            Err(reason) => {
                return self
                    .refused(client, open, Refused::of(HandshakeError::of(reason)))
                    .await;
            }
        }
        self.worker.tls.spared.worked(&self.name);
        open.withdraw();
        Opening::Served(self.serve(client, prepared, seat).await)
    }

    /// Serves the requests of a client that is content, by the protocol that it has chosen.
    async fn serve(
        self,
        client: Connection,
        prepared: Option<Result<Box<Server>, ExchangeError>>,
        seat: &Seat,
    ) -> After {
        if client.tls().and_then(Session::protocol) == Some(HTTP2) {
            let inside = Inside {
                authority: self.authority,
                name: self.name,
                aim: self.aim,
                prepared,
            };
            Box::pin(http2::serve(self.worker, client, seat, inside)).await;
            return After::Closed;
        }
        let terms = Terms::Inside {
            authority: self.authority,
            aim: Some(self.aim),
            prepared,
        };
        Box::pin(http::serve(self.worker, client, seat, terms)).await
    }

    /// Gives those who look up what the client is some time for it: when it has refused, it may be gone.
    async fn look_program_up(&mut self) {
        if let Some(lookup) = &mut self.lookup
            && let Some(found) = deadline::within(LOOKUP_LIMIT, lookup).await
        {
            self.lookup = None;
            self.program = found.ok().flatten();
        }
    }

    /// Is the server that the client wants.
    async fn be_server(&self, client: &mut Connection, hello: Hello) -> Result<(), Refused> {
        let inbox = client.inbox.take(client.inbox.len());
        let session = match hello.accepted.into_connection(Arc::new(self.config.clone())) {
            Ok(session) => session,
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                if alert.write_all(&mut bytes).is_ok()
                    && let Err(reason) = client.send(&bytes).await
                {
                    tracing::trace!(%reason, "a client did not take its alert");
                }
                return Err(Refused::of(HandshakeError::Tls(error)));
            }
        };
        let shaking = client.secure(Session::new(session, inbox[hello.length..].to_vec()));
        match deadline::within(HANDSHAKE_LIMIT, shaking).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Refused::of(error)),
            None => Err(Refused::TimedOut),
        }
    }

    /// Waits for the client's first request, and returns how many bytes of it came: 0 if it leaves without one, none if it
    /// waits too long. The server's connection is given up if it ends meanwhile: there will be another one then.
    async fn first_request(
        &self,
        client: &mut Connection,
        prepared: &mut Option<Result<Box<Server>, ExchangeError>>,
        seat: &Seat,
    ) -> io::Result<Option<usize>> {
        seat.waits();
        let waiting = poll_fn(|cx| {
            if let Poll::Ready(read) = client.poll_fill(cx) {
                return Poll::Ready(read);
            }
            if let Some(Ok(server)) = prepared
                && server.connection.poll_fill(cx).is_ready()
            {
                *prepared = None;
            }
            Poll::Pending
        });
        let came = deadline::within(FIRST_REQUEST_LIMIT, waiting).await;
        seat.asks();
        came.transpose()
    }

    /// Lets the two have it out with each other, since the server wants what amb has not.
    async fn leave_to_client(self, client: Connection, mut opened: Box<Opened>, reason: &str) -> Opening {
        if self.worker.tls.spared.add(&self.name) {
            tracing::warn!("{} {reason}: it is tunnelled", self.name);
        }
        // The connection so far cannot be used, since its beginning is spent.
        let rules = self.worker.rules_of_tunnel(&self.authority, &mut opened.open);
        let record = &mut opened.open.record;
        match self.worker.open_tunnel(&self.authority, &rules, &client, record).await {
            Ok(server) => {
                opened.server = server;
                Opening::Tunnelled(client, opened)
            }
            Err(error) => {
                client.reset();
                opened.open.fail(&error);
                Opening::Ended
            }
        }
    }

    /// Ends what the client does not want.
    async fn refused(self, client: Connection, open: Open, refused: Refused) -> Opening {
        let lasting = self.worker.policy.tls.on_pinning_failure == OnPinningFailure::Passthrough;
        let (refusal, how) = match refused {
            Refused::Said(alert) => (Refusal::Said, format!("with the alert {alert}")),
            Refused::Left => {
                let abrupt = client.was_cut_off() || !client.ended;
                let refusal = if abrupt { Refusal::Broken } else { Refusal::Silent };
                (refusal, "by closing the connection without a request".to_owned())
            }
            Refused::TimedOut => {
                open.fail(&ExchangeError::RequestTimedOut(HANDSHAKE_LIMIT));
                return Opening::Ended;
            }
            Refused::Broken(detail) => {
                open.end(Outcome::Failed(Failure {
                    error_type: "tls_protocol_error".to_owned(),
                    blame: Blame::Client,
                    detail,
                }));
                return Opening::Ended;
            }
        };
        let consequence = self.worker.tls.spared.refused(&self.name, refusal, lasting);
        if !consequence.counts {
            // Opened in advance and not needed, by somebody who trusts amb.
            open.end(Outcome::Ok);
            client.linger(LINGER).await;
            return Opening::Ended;
        }
        let program = match self.lookup {
            Some(lookup) if consequence.tell => {
                let found = deadline::within(LOOKUP_LIMIT, lookup).await;
                found.and_then(Result::ok).flatten()
            }
            _ => self.program,
        };
        let who = program
            .as_ref()
            .map_or_else(|| "the command".to_owned(), ToString::to_string);
        let advice = match program {
            Some(program) if consequence.tell => {
                let asking = tokio::task::spawn_blocking(|| program.advice());
                let advice = deadline::within(LOOKUP_LIMIT, asking).await;
                advice.and_then(Result::ok).flatten()
            }
            _ => None,
        };
        let advice = advice.map_or_else(String::new, |advice| format!(" ({advice})"));
        let detail = format!("{who} has refused amb's certificate for {} {how}{advice}", self.name);
        if consequence.tell {
            let then = if lasting {
                "it is tunnelled from now on"
            } else {
                "tls.never would tunnel it"
            };
            tracing::warn!("{detail}; {then}");
        }
        open.end(Outcome::Failed(Failure {
            error_type: REFUSED.to_owned(),
            blame: Blame::Client,
            detail,
        }));
        Opening::Ended
    }
}

/// Why a client did not get to its first request.
enum Refused {
    /// It does not accept the certificate, and said so by this alert.
    Said(String),
    /// It left.
    Left,
    /// It fell silent.
    TimedOut,
    /// It speaks TLS in a way that amb does not.
    Broken(String),
}

impl Refused {
    /// What a failed handshake means.
    fn of(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Ended | HandshakeError::Io(_) | HandshakeError::Asked => Self::Left,
            HandshakeError::Tls(rustls::Error::AlertReceived(alert)) if is_about_certificate(alert) => {
                Self::Said(name_of(alert))
            }
            HandshakeError::Tls(error) => Self::Broken(format!("no TLS with the command: {error}")),
        }
    }
}

/// Whether a client that sends this alert does not accept the certificate ([RFC 8446 §6.2], 42 to 48).
///
/// [RFC 8446 §6.2]: https://www.rfc-editor.org/rfc/rfc8446#section-6.2
fn is_about_certificate(alert: AlertDescription) -> bool {
    (42..=48).contains(&u8::from(alert))
}
