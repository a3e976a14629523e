//! ONE exchange: a request of the child, all the way to its answer. The policies in their order, each a line.
//!
//! The order is a contract: framing and loops → where to → whether it may go there → what is sent, and what of it is changed
//! → attempts, as the retry policy has it { pooled or fresh connection → send → answer } → what the child sees → record.
//! Nothing is decided in here that a policy could decide.

mod again;
mod attempt;
mod authenticate;
mod change;
mod hedge;
mod limits;
mod own;
mod reply;
mod respond;
mod signing;
mod stand_ins;

use std::{
    future::poll_fn,
    io,
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use self::{authenticate::Carried, signing::Room};
use super::{
    clearance,
    deadline::Countdown,
    error::ExchangeError,
    gate::{Admission, Passage, Who},
    recorder::Open,
    retrying::Stage,
    target::Authority,
    tunnel,
    upstream::{Purpose, Server},
    wire::{
        connection::Connection,
        framing::{self},
        head::{RequestHead, Version},
        hop::{self, HopFields},
        http1::Conversation,
        pump::{Coding, Pump},
    },
    worker::Worker,
};
use crate::{
    policy::{
        edit::back::Trip,
        rules::{Asked, Rules},
    },
    sabotage,
    traffic::{Outcome, Scheme},
};

/// What is to become of the client's connection.
#[derive(Debug)]
pub(crate) enum Next {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed at once: all of the request was read.
    Over,
    /// It is closed gently, since the client may still be sending.
    Close,
    /// It is reset: what it got is not complete and must not look so.
    Reset,
    /// It was upgraded and is a tunnel from now on.
    Upgraded(Box<tunnel::Opened>),
}

impl Next {
    /// After an answer of amb's own that was `sent`, or could not be; `close` if no further request can follow it.
    pub(crate) fn after(sent: &io::Result<()>, close: bool) -> Self {
        match sent {
            Ok(()) if close => Self::Close,
            Ok(()) => Self::KeepAlive,
            Err(_) => Self::Reset,
        }
    }
}

/// A request, and what its head says about the way to go.
pub(crate) struct Request {
    /// The head; edited on its way through.
    pub(crate) head: RequestHead,
    /// Where it goes.
    pub(crate) authority: Authority,
    /// What `Host` is to say; as it is if none.
    pub(crate) host: Option<Vec<u8>>,
    /// Path and query.
    pub(crate) path: Vec<u8>,
    /// Which kind of connection can carry it.
    pub(crate) purpose: Purpose,
    /// A new connection that is there already, or why there is none.
    pub(crate) prepared: Option<Result<Box<Server>, ExchangeError>>,
}

impl Request {
    /// How the server is asked.
    fn scheme(&self) -> Scheme {
        match self.purpose.aim() {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        }
    }

    /// Is asked of a server of which is demanded what these rules have it: one that was connected by others is none.
    fn go_by(&mut self, rules: &Rules) {
        if let Purpose::Secure(aim) = &mut self.purpose
            && let Some(other) = aim.demanding(&rules.server_tls)
        {
            *aim = other;
            self.prepared = None;
        }
    }

    /// What policies look at.
    fn asked(&self) -> Asked<'_> {
        Asked {
            scheme: self.scheme().name(),
            method: self.head.method(),
            host: &self.authority.host,
            port: self.authority.port,
            path: &self.path,
            fields: &self.head.fields,
        }
    }
}

/// Makes an error of a panic, so that it is answered like any other. The panic hook has counted it. The future is large, and
/// lent for that reason.
async fn unless_it_panics(
    mut carrying: Pin<&mut impl Future<Output = Result<Ended, ExchangeError>>>,
) -> Result<Ended, ExchangeError> {
    poll_fn(|cx| {
        // What it was at work on is looked at again only to refuse it.
        panic::catch_unwind(AssertUnwindSafe(|| carrying.as_mut().poll(cx)))
            .unwrap_or(Poll::Ready(Err(ExchangeError::Panicked)))
    })
    .await
}

/// How an exchange came to its end.
enum Ended {
    /// With an answer.
    With(Next, Outcome),
    /// As a tunnel to this server.
    Upgraded(Box<Server>),
}

/// What a client waits for before it sends its body ([RFC 9110 §10.1.1]).
///
/// [RFC 9110 §10.1.1]: https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    /// Nothing, or it has it.
    Nothing,
    /// A 100.
    Continue,
}

/// Which way the attempts of an exchange go. Most go plainly, and are not to pay for what few need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is one, which takes as long as it takes, and nobody asks when it began.
    Plain,
    /// Past limits, breakers and timeouts, as often as retries have it.
    Guarded,
}

/// One exchange under way.
pub(crate) struct Exchange<'a> {
    /// The worker that carries it.
    worker: &'a Rc<Worker>,
    /// The request.
    request: Request,
    /// What holds for it.
    rules: Arc<Rules>,
    /// Which way its attempts go.
    way: Way,
    /// The client's version.
    version: Version,
    /// Its record.
    open: Open,
    /// What the request's hop-by-hop fields said.
    said: HopFields,
    /// Whether it asks for a WebSocket.
    websocket: bool,
    /// What the client waits for before it sends its body.
    expects: Expects,
    /// Whether a byte of the final answer has gone to the client: from then on no other answer can.
    answered: bool,
    /// Whether an answer that breaks off can be told from a complete one by its framing.
    truncation_shows: bool,
    /// From where to where it was rewritten; none if it was not.
    trip: Option<Trip>,
    /// The path that was asked for; none if it is the one that is sent.
    asked_path: Option<Vec<u8>>,
    /// The token that it goes with; none if it needs none, or has had a second one.
    carried: Option<Box<Carried>>,
    /// Room for its body, where all of that had to be there first.
    room: Option<Room>,
    /// What lets the attempt go that is under way, and hears how it went.
    passage: Passage,
    /// How far its attempt has come.
    stage: Stage,
    /// How long all of it may take; none for as long as it likes.
    time: Option<Rc<Countdown>>,
}

impl<'a> Exchange<'a> {
    /// One whose head is there. Boxed, because it is large, and moved about with all that is around it.
    pub(crate) fn begin(worker: &'a Rc<Worker>, mut request: Request, mut open: Open) -> Box<Self> {
        let rules = match worker.policy.only_rules() {
            Some(rules) => Arc::clone(rules),
            None => open.goes_by(&worker.policy.rules_for(&request.asked())),
        };
        request.go_by(&rules);
        Box::new(Self {
            worker,
            way: if rules.lets_be && !worker.policy.exports_traces() {
                Way::Plain
            } else {
                Way::Guarded
            },
            rules,
            version: request.head.version,
            request,
            open,
            said: HopFields::default(),
            websocket: false,
            expects: Expects::Nothing,
            answered: false,
            truncation_shows: true,
            trip: None,
            asked_path: None,
            carried: None,
            room: None,
            passage: Passage::default(),
            stage: Stage::Connecting,
            time: None,
        })
    }

    /// Carries it from the read head to the end of its answer. Never fails: an error *is* an answer.
    pub(crate) async fn carry(mut self: Box<Self>, client: &mut Connection) -> Next {
        let carried = if self.way == Way::Plain {
            unless_it_panics(pin!(self.run(client))).await
        } else {
            Box::pin(self.run_in_time(client)).await
        };
        match carried {
            Ok(Ended::With(next, outcome)) => {
                self.end(outcome);
                next
            }
            Ok(Ended::Upgraded(server)) => Next::Upgraded(Box::new(tunnel::Opened {
                server,
                open: self.open,
                unseen: None,
                idle: self.rules.timeouts.tunnel_idle,
            })),
            Err(error) => {
                self.passage.failed(&error);
                self.note_end(&error);
                Box::pin(self.refuse(client, &error)).await
            }
        }
    }
}

impl Exchange<'_> {
    /// Ends the record. The path is written down only where somebody will read it.
    fn end(mut self: Box<Self>, outcome: Outcome) {
        if outcome != Outcome::Ok || self.worker.recorder.is_listened_to() {
            let (redact, sent) = (&self.worker.redact, &self.request.path);
            self.open.record.path = redact.path(self.asked_path.as_ref().unwrap_or(sent));
            let trip = self.trip.as_ref();
            self.open.record.sent_to = trip.map(|trip| format!("{}{}", trip.sent, redact.path(sent)));
        }
        self.open.end(outcome);
    }

    /// All of it, within its time.
    async fn run_in_time(&mut self, client: &mut Connection) -> Result<Ended, ExchangeError> {
        let Some(limit) = self.rules.timeouts.request else {
            return unless_it_panics(pin!(self.run(client))).await;
        };
        let time = Rc::new(Countdown::of(limit));
        self.time = Some(Rc::clone(&time));
        Box::pin(time.bound(unless_it_panics(pin!(self.run(client)))))
            .await
            .unwrap_or(Err(ExchangeError::ExchangeTimedOut(limit)))
    }

    /// The policies, in the order in which they apply.
    async fn run(&mut self, client: &mut Connection) -> Result<Ended, ExchangeError> {
        let framing = framing::of_request(&self.request.head).map_err(ExchangeError::RequestMalformed)?;
        sabotage::strike("exchange");
        if let Err(looped) = self.worker.via.check_loop(&self.request.head.fields) {
            // What the client said about its connection holds for this answer too.
            self.said = hop::strip(&mut self.request.head.fields, self.version, false);
            return Err(looped);
        }
        if let Some(own) = self.last_hop() {
            return self.answer_here(client, &own, framing).await;
        }
        self.clear_names()?;
        self.prepare_request();
        let mut conversation = if self.rules.edits.is_some() || self.worker.policy.trace.is_some() {
            self.change_request(client, framing).await?
        } else {
            Conversation::new(Pump::new(framing, Coding::Kept))
        };
        if let Some(guard) = self.rules.guard.clone() {
            Box::pin(self.sign_in(client, &guard, &conversation, framing)).await?;
        }
        // The room for what few requests need is not carried by all of them.
        let _admission = if self.way == Way::Plain {
            Admission::default()
        } else {
            Box::pin(self.be_admitted(client)).await?
        };
        let (mut server, head) = if self.carried.is_some() {
            Box::pin(self.send_with_token(client, &mut conversation)).await?
        } else if self.way == Way::Plain {
            let attempt = self.make_attempt(client, &mut conversation).await;
            self.note_only_attempt(&conversation, &attempt);
            attempt?
        } else {
            Box::pin(self.send(client, &mut conversation)).await?
        };
        if head.status == 101 {
            return self.upgrade(client, server, head).await;
        }
        let (next, outcome, reusable) = self
            .respond(client, &mut server.connection, &mut conversation, head)
            .await?;
        if reusable {
            let Request { authority, purpose, .. } = &self.request;
            self.worker.upstreams.keep(authority, purpose, server, client);
        }
        Ok(Ended::With(next, outcome))
    }

    /// Waits until the limits have room for it.
    async fn be_admitted(&mut self, client: &mut Connection) -> Result<Admission, ExchangeError> {
        let (limits, record) = (&self.rules.limits, &mut self.open.record);
        let (authority, tunnelled) = (&self.request.authority, self.request.prepared.is_some());
        let who = Who::Exchange { client, tunnelled };
        self.worker.gate.admit(limits, authority, who, record).await
    }

    /// Asks whether it may go where it wants.
    fn clear_names(&mut self) -> Result<(), ExchangeError> {
        let (asked, aim) = (self.request.asked(), self.request.purpose.aim());
        let in_tunnel = self.request.host.is_none();
        clearance::by_names(self.worker, asked, aim, in_tunnel, &mut self.open.record)
    }

    /// Makes the request what goes to the server: hop-by-hop fields off, `Host` as the target says, `Via` on.
    fn prepare_request(&mut self) {
        let fields = &mut self.request.head.fields;
        self.websocket = self.version != Version::Http10 && hop::asks_for_websocket(fields);
        self.said = hop::strip(fields, self.version, self.websocket);
        if self.version != Version::Http10 && fields.has_member("expect", "100-continue") {
            self.expects = Expects::Continue;
        }
        if let Some(host) = &self.request.host {
            fields.set("Host", host);
        }
        if self.said.trailers {
            // amb does carry trailers, so it says so on its own behalf (RFC 9110 §10.1.4).
            fields.append("TE", b"trailers");
            fields.append("Connection", b"TE");
        }
        self.worker.via.add(fields, self.version);
    }
}
