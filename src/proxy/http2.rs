//! One client connection that speaks HTTP/2: its streams, each to its exchange.

use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, time::Duration};

use hyper::{Request, body::Incoming};
use tokio::{sync::Notify, time::Instant};

use super::{
    crowd::Seat,
    error::ExchangeError,
    exchange::Next,
    http,
    target::{self, Authority},
    tls::client::Aim,
    tunnel,
    upstream::{Purpose, Server},
    wire::{
        connection::Connection,
        head::{HeadError, RequestHead},
        http2::{self, Answering, Stream, of_http2},
    },
    worker::Worker,
};
use crate::traffic::{Kind, Protocol};

/// Streams of a client at a time, where its server would take as many; where it says less, so does amb.
const STREAMS_LIMIT: usize = 1000;
/// How long a connection may be without a stream. Long, for the reason that one of HTTP/1.1 may wait so long.
const IDLE_LIMIT: Duration = Duration::from_mins(5);

/// On what terms a client is served inside its tunnel.
pub(crate) struct Inside {
    /// Where the tunnel leads.
    pub(crate) authority: Authority,
    /// The name that the client takes amb for.
    pub(crate) name: String,
    /// Whom the server must prove to be.
    pub(crate) aim: Rc<Aim>,
    /// The tunnel's own connection, which the first request takes, or why there is none.
    pub(crate) prepared: Option<Result<Box<Server>, ExchangeError>>,
}

/// What the streams of a connection share.
struct Streams {
    /// Who carries them.
    worker: Rc<Worker>,
    /// Where they go.
    authority: Authority,
    /// The name that the client takes amb for.
    name: String,
    /// Whom the server must prove to be.
    aim: Rc<Aim>,
    /// For the first one.
    prepared: Cell<Option<Result<Box<Server>, ExchangeError>>>,
    /// Lives as long as the connection.
    presence: Rc<()>,
    /// How many there are.
    open: Cell<usize>,
    /// Whether there ever was one.
    begun: Cell<bool>,
    /// Told when there is the first one, or none any more.
    changed: Notify,
}

/// Serves the requests of `client` until it is closed.
pub(crate) async fn serve(worker: &Rc<Worker>, client: Connection, seat: &Seat, inside: Inside) {
    let mut client = client;
    let (most, websockets) = match &inside.prepared {
        Some(Ok(server)) => most_streams(server).await,
        _ => (STREAMS_LIMIT, false),
    };
    let streams = Rc::new(Streams {
        worker: Rc::clone(worker),
        authority: inside.authority,
        name: inside.name,
        aim: inside.aim,
        prepared: Cell::new(inside.prepared),
        presence: Rc::default(),
        open: Cell::new(0),
        begun: Cell::new(false),
        changed: Notify::new(),
    });
    client = client.within(&streams.presence);
    let answering = Rc::clone(&streams);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let mut serving = pin!(http2::serve(client, most, websockets, move |request| answering.begin(request)));
    let mut idle_since = Instant::now();
    let mut ending = false;
    let ended = loop {
        let idle = streams.open.get() == 0;
        tokio::select! {
            ended = &mut serving => break ended,
            () = streams.changed.notified() => {
                if streams.open.get() > 0 {
                    seat.asks();
                } else {
                    seat.waits();
                    idle_since = Instant::now();
                }
            }
            () = worker.draining.begun(), if !ending => {
                ending = true;
                serving.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(idle_since + IDLE_LIMIT), if idle && !ending => {
                ending = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    };
    seat.asks();
    if let Err(reason) = ended {
        streams.note_end(&reason);
    }
}

/// How many streams the server takes at a time, and whether they may be `WebSocket`s: the client is told no more than that.
async fn most_streams(server: &Server) -> (usize, bool) {
    let Some(session) = server.connection.as_stream().and_then(Stream::session) else {
        return (STREAMS_LIMIT, false);
    };
    session.settled(SETTLED_LIMIT).await;
    (
        session.most_streams().clamp(1, STREAMS_LIMIT),
        session.takes_websockets(),
    )
}

/// How long a server may take to say what it takes. It says so first of all, and the client has finished its handshake already.
const SETTLED_LIMIT: Duration = Duration::from_secs(1);

impl Streams {
    /// Begins to carry a request.
    fn begin(self: &Rc<Self>, request: Request<Incoming>) -> Answering {
        let (stream, answering, head) = Stream::asked(request);
        let client = Connection::of_stream(stream).within(&self.presence);
        let busy = Busy::of(self);
        tokio::task::spawn_local(async move {
            busy.streams.carry(client, head).await;
            drop(busy);
        });
        answering
    }

    /// Carries one request to the end of its answer.
    async fn carry(&self, mut client: Connection, head: Result<RequestHead, HeadError>) {
        let next = match head {
            Ok(head) => Box::pin(self.pass(&mut client, head)).await,
            Err(error) => {
                let open = self.worker.recorder.begin(Kind::Exchange, Protocol::Http2);
                http::refuse(&mut client, open, &error.into(), None, Some(&self.authority)).await;
                Next::Close
            }
        };
        match next {
            Next::KeepAlive | Next::Over | Next::Close => {
                let ended = poll_fn(|cx| client.poll_flush(cx)).await;
                if ended.is_err() || poll_fn(|cx| client.poll_end(cx)).await.is_err() {
                    tracing::debug!("a client has not taken all of its answer");
                }
            }
            Next::Reset => client.reset(),
            Next::Upgraded(mut opened) => {
                let outcome = tunnel::carry(&mut client, &mut opened, None).await;
                let tunnel::Opened { server, open, .. } = *opened;
                drop((client, server));
                open.end(outcome);
            }
        }
    }

    /// Sends a request on, if it is for this connection's host.
    async fn pass(&self, client: &mut Connection, head: RequestHead) -> Next {
        let asked = head.fields.first("host").unwrap_or_default();
        if !self.is_host(asked) {
            let error = ExchangeError::Misdirected {
                asked: String::from_utf8_lossy(asked).into_owned(),
                connected: self.name.clone(),
            };
            let mut open = http::begin(&self.worker, &head);
            open.asks_for(head.method(), &self.authority);
            http::refuse(client, open, &error, Some(&head), Some(&self.authority)).await;
            return Next::Close;
        }
        let purpose = Purpose::Secure(Rc::clone(&self.aim));
        // There will be another one, if it has ended meanwhile.
        let is_over = |server: &Server| {
            server
                .connection
                .as_stream()
                .and_then(Stream::session)
                .is_some_and(|session| session.is_over())
        };
        let prepared = self
            .prepared
            .take()
            .filter(|prepared| !prepared.as_ref().is_ok_and(|server| is_over(server)));
        if let Some(Ok(server)) = &prepared {
            self.worker.upstreams.note(&self.authority, &server.connection, client);
        }
        http::pass_inside(&self.worker, client, head, self.authority.clone(), purpose, prepared).await
    }

    /// Whether an authority is that of the server which the client takes amb for. amb's certificates are for one name, so that a
    /// client has no reason to ask for another one ([RFC 9113 §9.1.1]).
    ///
    /// [RFC 9113 §9.1.1]: https://www.rfc-editor.org/rfc/rfc9113#section-9.1.1
    fn is_host(&self, asked: &[u8]) -> bool {
        // What is no authority is refused with a better reason.
        target::authority(asked, Some(443)).map_or(true, |asked| {
            asked.host == self.name || asked.host == self.authority.host
        })
    }

    /// Notes that the connection ended badly, if that is not to be seen otherwise.
    fn note_end(&self, reason: &hyper::Error) {
        tracing::debug!(%reason, "a client's connection of HTTP/2 ended");
        let by_client = of_http2(reason).is_some_and(|inner| inner.is_library() || inner.is_reset());
        if by_client && !self.begun.get() {
            let mut open = self.worker.recorder.begin(Kind::Exchange, Protocol::Http2);
            open.asks_for("", &self.authority);
            open.fail(&ExchangeError::RequestMalformed("what the client sent breaks HTTP/2"));
        }
    }
}

/// A stream that is open, for as long as it lives.
struct Busy {
    /// The others.
    streams: Rc<Streams>,
}

impl Busy {
    /// One more.
    fn of(streams: &Rc<Streams>) -> Self {
        streams.begun.set(true);
        streams.open.set(streams.open.get() + 1);
        if streams.open.get() == 1 {
            streams.changed.notify_one();
        }
        Self {
            streams: Rc::clone(streams),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.open.set(streams.open.get() - 1);
        if streams.open.get() == 0 {
            streams.changed.notify_one();
        }
    }
}
