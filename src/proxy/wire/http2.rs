//! HTTP/2, which is hyper's: each stream of it looks to the rest of amb like a connection of HTTP/1.1 that carries one exchange.
//!
//! So an exchange is the same whatever its two sides speak, and all four pairs of versions come to the same code. What comes on
//! a stream is read as an HTTP/1.1 message ([`inward`]), and what is written to it as one is taken apart ([`outward`]); only the
//! heads are translated ([`heads`]). Backpressure is passed on: nothing is read from a stream before there is room for it on
//! the other side, so that its window stays shut.
//!
//! What hyper has no way for: interim responses other than `101` end here, and priorities do.

mod broken;
mod carrier;
mod channel;
mod heads;
mod inward;
mod outward;
mod session;
mod stream;
mod websocket;

use hyper::{Request, Response, body::Incoming, server::conn::http2};

pub(crate) use self::{
    broken::{Broken, of_http2},
    channel::Answering,
    session::Session,
    stream::Stream,
};
use self::{
    carrier::{Carrier, Ending},
    channel::Outgoing,
};
use super::connection::Connection;

/// Most bytes of a stream's body that are on their way to amb and were not read: what it may hold of one that nobody reads.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same of all streams of a connection. So large that streams which nobody reads do not hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Most bytes of a head as HTTP/2 counts them, 32 more a field than there are. What is above the limit of [`super::head`] is
/// refused as in HTTP/1.1 up to here; beyond, hyper refuses it.
const HEADS_BYTES: u32 = 128 * 1024;
/// Streams that a client may have reset before amb has looked at them; with one more its connection ends.
const UNSEEN_RESETS: usize = 50;
/// Streams that amb may have had to reset because they broke the rules; with one more the connection ends.
const RULES_BROKEN: usize = 1024;

/// What answers the requests of a client's connection.
pub(crate) struct Service<F> {
    /// What does.
    answer: F,
    /// What runs the task that carries the answer.
    ending: Ending,
}

impl<F: Fn(Request<Incoming>) -> Answering> hyper::service::Service<Request<Incoming>> for Service<F> {
    type Response = Response<Outgoing>;
    type Error = h2::Error;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let answering = (self.answer)(request);
        self.ending.announce(&answering);
        answering
    }
}

/// A client's connection, served stream by stream: to be polled to its end.
pub(crate) type Serving<F> = http2::Connection<Carrier, Service<F>, Ending>;

/// Serves a client's connection: `answer` is called with each request. `streams` is how many there may be at a time, and
/// `websockets` whether one may become a WebSocket.
pub(crate) fn serve<F>(client: Connection, streams: u32, websockets: bool, answer: F) -> Serving<F>
where
    F: Fn(Request<Incoming>) -> Answering + 'static,
{
    let ending = Ending::default();
    let mut builder = http2::Builder::new(ending.clone());
    builder
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADS_BYTES)
        .max_concurrent_streams(streams)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(RULES_BROKEN)
        .auto_date_header(false);
    if websockets {
        builder.enable_connect_protocol();
    }
    builder.serve_connection(Carrier::new(client), Service { answer, ending })
}
