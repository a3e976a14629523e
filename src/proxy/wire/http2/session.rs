//! A connection to a server that carries many streams at once.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use tokio::time::Instant;

use super::{
    super::connection::Connection,
    CONNECTION_WINDOW_BYTES, HEADS_BYTES, STREAM_WINDOW_BYTES,
    carrier::{Carrier, Heard, Local},
    channel::Outgoing,
    stream::Stream,
};

/// hyper's part of it, which a task drives.
struct Driven {
    /// Moves the streams; none once it is over.
    driver: RefCell<Option<http2::Connection<Carrier, Outgoing, Local>>>,
}

/// A connection to a server.
pub(crate) struct Session {
    /// Takes requests. Without it hyper lets go of the connection.
    sender: RefCell<SendRequest<Outgoing>>,
    /// Moves them.
    driven: Rc<Driven>,
    /// Whether the server has said anything.
    heard: Rc<Heard>,
    /// See [`Connection::reached`].
    reached: Option<IpAddr>,
    /// Whether the server has said that it goes: hyper hears of that only with its next turn.
    pub(super) leaving: Cell<bool>,
    /// Streams that are open.
    open: Cell<usize>,
    /// When the last one ended, or it was opened itself.
    since: Cell<Instant>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Speaks HTTP/2 on a connection from now on.
    ///
    /// # Errors
    /// If not even the first bytes can be written.
    pub(crate) async fn open(connection: Connection) -> hyper::Result<Rc<Self>> {
        let reached = connection.reached();
        let carrier = Carrier::new(connection);
        let heard = carrier.heard();
        let (sender, streams) = http2::Builder::new(Local)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADS_BYTES)
            .handshake(carrier)
            .await?;
        let shared = Rc::new(Driven {
            driver: RefCell::new(Some(streams)),
        });
        let task = Rc::clone(&shared);
        let told = Rc::clone(&heard);
        tokio::task::spawn_local(poll_fn(move |cx| {
            let ended = task.poll(cx);
            if ended.is_ready() {
                told.tell();
            }
            ended
        }));
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            driven: shared,
            heard,
            reached,
            leaving: Cell::new(false),
            open: Cell::new(0),
            since: Cell::new(Instant::now()),
        }))
    }

    /// See [`Connection::reached`].
    pub(crate) fn reached(&self) -> Option<IpAddr> {
        self.reached
    }

    /// Whether it takes no more requests.
    pub(crate) fn is_over(&self) -> bool {
        self.leaving.get() || self.driven.driver.borrow().is_none() || self.sender.borrow().is_closed()
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.open.get()
    }

    /// How long it has had none.
    pub(crate) fn idle(&self) -> Duration {
        if self.open.get() > 0 {
            Duration::ZERO
        } else {
            self.since.get().elapsed()
        }
    }

    /// How many streams the server takes at a time, as far as is known.
    pub(crate) fn most_streams(&self) -> usize {
        let driver = self.driven.driver.borrow();
        driver.as_ref().map_or(0, http2::Connection::current_max_send_streams)
    }

    /// Whether the server takes a WebSocket as a stream, as far as is known.
    pub(crate) fn takes_websockets(&self) -> bool {
        let driver = self.driven.driver.borrow();
        driver
            .as_ref()
            .is_some_and(http2::Connection::is_extended_connect_protocol_enabled)
    }

    /// Waits until the server has said what it takes, for so long at most.
    pub(crate) async fn settled(&self, limit: Duration) {
        let settling = async {
            self.heard.wait().await;
            // hyper has read it in this turn, or will in the next.
            tokio::task::yield_now().await;
        };
        if tokio::time::timeout(limit, settling).await.is_err() {
            tracing::debug!("a server was slow to say what it takes");
        }
    }

    /// A stream on it, in the shape of a connection.
    pub(crate) fn stream(self: &Rc<Self>) -> Connection {
        self.open.set(self.open.get() + 1);
        Connection::of_stream(Stream::asking(Ticket {
            session: Rc::clone(self),
        }))
    }
}

impl Driven {
    /// Drives it to its end.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = self.driver.borrow_mut();
        let Some(driver) = slot.as_mut() else {
            return Poll::Ready(());
        };
        let ended = ready!(Pin::new(driver).poll(cx));
        *slot = None;
        if let Err(reason) = ended {
            tracing::debug!(%reason, "a connection of HTTP/2 to a server ended");
        }
        Poll::Ready(())
    }
}

/// The right to one stream of a session, for as long as it lives.
pub(super) struct Ticket {
    /// The session.
    pub(super) session: Rc<Session>,
}

impl Ticket {
    /// Sends a request, and waits for its answer.
    pub(super) fn send(
        &self,
        request: Request<Outgoing>,
    ) -> Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>> {
        Box::pin(self.session.sender.borrow_mut().send_request(request))
    }

    /// See [`Session::takes_websockets`].
    pub(super) fn takes_websockets(&self) -> bool {
        self.session.takes_websockets()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let session = &self.session;
        session.open.set(session.open.get() - 1);
        session.since.set(Instant::now());
    }
}
