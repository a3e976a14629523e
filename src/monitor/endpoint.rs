//! What all endpoints of amb's own have in common: HTTP/1.1 by hyper, on a socket, for so many at once.

use std::{convert::Infallible, io, time::Duration};

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

/// How many connections an endpoint has at once; others wait.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take for the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The most that a head may take, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// The pause after an accept that failed for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Where an endpoint listens.
#[derive(Debug)]
pub(super) enum Socket {
    /// For the user of this machine.
    Unix(UnixListener),
    /// At an address.
    Tcp(TcpListener),
}

/// Both ways of a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Socket {
    /// The next connection. Cancel safe.
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

/// Serves for ever.
pub(super) async fn serve<A, F>(socket: Socket, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
        }
        let stream = match socket.accept().await {
            Ok(stream) => stream,
            Err(reason) => {
                tracing::debug!(%reason, "no connection to an endpoint could be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let answer = answer.clone();
        connections.spawn_local(async move {
            let service = service_fn(|request| {
                let answered = answer(request);
                async { Ok::<_, Infallible>(answered.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(reason) = connection.await {
                tracing::debug!(%reason, "a connection to an endpoint ended early");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An answer of this type, which nobody is to keep.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A line for people, about why there is nothing else.
pub(super) fn refuse(status: StatusCode, reason: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", format!("{reason}\n"))
}
