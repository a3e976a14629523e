//! Requests that amb makes on its own account. They are carried by hyper, over connections like those of other requests: the
//! same names, redirections, parent proxies and TLS.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::HeaderMap,
    rt::{Executor, Read, ReadBufCursor, Write},
};

use super::{
    deadline,
    error::ExchangeError,
    target::Authority,
    tls::{
        Tls,
        client::{Aim, HTTP2, Offer},
    },
    upstream::{Purpose, Server, Upstreams},
    wire::{connection::Connection, tls::Session},
};
use crate::policy::Policy;

/// How long such a request may take in all, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// What is asked.
pub struct Question {
    /// By which method.
    pub method: Method,
    /// Whom.
    pub authority: Authority,
    /// Whether by TLS.
    pub is_secure: bool,
    /// Path and query.
    pub path: String,
    /// Fields beside `Host` and `Content-Length`.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long it may take in all.
    pub limit: Duration,
    /// Whether it goes by HTTP/2, which the server is known to speak.
    pub by_http2: bool,
}

impl Question {
    /// A POST of this body, which may take the usual time.
    pub fn post(authority: Authority, is_secure: bool, path: String, body: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            authority,
            is_secure,
            path,
            fields: Vec::new(),
            body,
            limit: LIMIT,
            by_http2: false,
        }
    }

    /// A PUT of this body, which may take the usual time.
    pub fn put(authority: Authority, is_secure: bool, path: String, body: Vec<u8>) -> Self {
        Self {
            method: Method::PUT,
            ..Self::post(authority, is_secure, path, body)
        }
    }
}

/// What was answered.
#[derive(Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The fields, those of the trailer behind those of the head.
    pub(super) fields: [HeaderMap; 2],
    /// The body, of at most 64 KiB.
    pub body: Bytes,
}

impl Reply {
    /// The first field of this name in head and trailer; none if it is no text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find_map(|fields| fields.get(name))?;
        found.to_str().ok()
    }
}

/// Carries requests of amb's own from a thread that is none of the proxy's: what is monitored is told by it. Never through
/// amb's own proxy.
pub struct Messenger(Rc<Upstreams>);

impl Messenger {
    /// By the connections' rules of `policy`, for which `tls` was made. `own` is the proxy's address, to which nothing is sent.
    /// Belongs to the local runtime of the thread that made it.
    pub fn new(policy: &Arc<Policy>, own: SocketAddr, tls: &Arc<Tls>) -> Self {
        Self(Upstreams::new(Arc::clone(policy), own, Arc::clone(tls)))
    }

    /// Asks, on a connection of its own.
    ///
    /// # Errors
    /// A sentence fragment that says what went wrong on the way.
    pub async fn ask(&self, question: Question) -> Result<Reply, String> {
        ask(&self.0, question).await
    }
}

/// Asks, on a connection of its own.
///
/// # Errors
/// A sentence fragment that says what went wrong on the way.
pub(crate) async fn ask(upstreams: &Rc<Upstreams>, question: Question) -> Result<Reply, String> {
    let limit = question.limit;
    let asked = Box::pin(deadline::within(limit, exchange(upstreams, question))).await;
    let limit = humantime::format_duration(limit);
    asked.unwrap_or_else(|| Err(format!("it was not over within {limit}")))
}

/// See [`ask`], which bounds it.
async fn exchange(upstreams: &Rc<Upstreams>, question: Question) -> Result<Reply, String> {
    let server = connect(upstreams, &question).await.map_err(|error| error.to_string())?;
    let usual = if question.is_secure { 443 } else { 80 };
    let authority = question.authority.to_string();
    let host = match authority.strip_suffix(&format!(":{usual}")) {
        Some(host) if question.authority.port == usual => host,
        _ => &authority,
    };
    let path = &question.path;
    let mut request = Request::builder().method(question.method);
    request = match &server.parent {
        _ if question.by_http2 => {
            let scheme = if question.is_secure { "https" } else { "http" };
            request.uri(format!("{scheme}://{host}{path}"))
        }
        Some(_) => request.uri(format!("http://{authority}{path}")).header("Host", host),
        None => request.uri(path).header("Host", host),
    };
    for (name, value) in question.fields {
        request = request.header(name, value);
    }
    if let Some(authorization) = server.parent.and_then(|parent| parent.authorization) {
        request = request.header("Proxy-Authorization", authorization);
    }
    let request = request
        .body(Full::new(Bytes::from(question.body)))
        .map_err(|reason| reason.to_string())?;
    let carrier = Carrier(server.connection);
    if question.by_http2 {
        let (mut sender, connection) = http2::handshake(Here, carrier)
            .await
            .map_err(|reason| broken(&reason))?;
        talk(sender.send_request(request), connection).await
    } else {
        let (mut sender, connection) = http1::handshake(carrier).await.map_err(|reason| broken(&reason))?;
        talk(sender.send_request(request), connection).await
    }
}

/// Opens the connection for a question.
async fn connect(upstreams: &Rc<Upstreams>, question: &Question) -> Result<Box<Server>, ExchangeError> {
    let Question { authority, .. } = question;
    let rules = upstreams.rules();
    let mut opened = 0;
    let offer = if question.by_http2 { Offer::Http2 } else { Offer::Http11 };
    let aim = question
        .is_secure
        .then(|| Aim::new(&authority.host, true, offer, &rules.server_tls))
        .transpose()?;
    let purpose = match &aim {
        // No proxy would carry HTTP/2 other than in a tunnel, and what is secured in it is this question's alone.
        _ if question.by_http2 => Purpose::Tunnel,
        Some(aim) => Purpose::Secure(Rc::clone(aim)),
        None => Purpose::Exchange,
    };
    // The rules of egress are about what the command wants; whom amb itself asks, somebody has configured.
    let opening = upstreams.connect(authority, &purpose, &rules.timeouts, &mut opened, None);
    let mut server = opening.await?;
    if let Some(aim) = aim.filter(|_| question.by_http2) {
        let (connection, place) = (&mut server.connection, authority.to_string());
        let securing = upstreams
            .securing
            .secure(connection, &place, &aim, false, rules.timeouts.tls);
        securing.await?;
        if server.connection.tls().and_then(Session::protocol) != Some(HTTP2) {
            return Err(ExchangeError::TlsFailed {
                server: place,
                reason: "it does not speak HTTP/2".to_owned(),
            });
        }
    }
    Ok(server)
}

/// What went wrong on a connection.
fn broken(reason: &hyper::Error) -> String {
    match std::error::Error::source(reason) {
        Some(source) => format!("the connection broke: {reason}: {source}"),
        None => format!("the connection broke: {reason}"),
    }
}

/// Waits for what is answered on a connection, which is kept going meanwhile.
async fn talk(
    answering: impl Future<Output = hyper::Result<Response<Incoming>>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<Reply, String> {
    let talking = async {
        let (head, body) = answering.await.map_err(|reason| broken(&reason))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map_err(|reason| match reason.downcast::<LengthLimitError>() {
            Ok(_) => format!("its answer has more than {ANSWER_BYTES} bytes"),
            Err(reason) => format!("the connection broke: {reason}"),
        })?;
        let trailer = body.trailers().cloned().unwrap_or_default();
        Ok(Reply {
            status: head.status.as_u16(),
            fields: [head.headers, trailer],
            body: body.to_bytes(),
        })
    };
    let mut talking = pin!(talking);
    tokio::select! {
        reply = &mut talking => reply,
        // With its end all that will ever come is there, and whoever waits finds it or hears that there is nothing.
        ended = connection => {
            if let Err(reason) = ended {
                tracing::debug!(%reason, "a connection of amb's own broke");
            }
            talking.await
        }
    }
}

/// Lets hyper begin tasks on this thread.
#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}

/// A connection as hyper wants it.
struct Carrier(Connection);

impl Read for Carrier {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut room: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let connection = &mut self.get_mut().0;
        if connection.inbox.is_empty() && !connection.ended {
            ready!(connection.poll_fill(cx))?;
        }
        let count = connection.inbox.len().min(room.remaining());
        room.put_slice(&connection.inbox.as_slice()[..count]);
        connection.inbox.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl Write for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let connection = &mut self.get_mut().0;
        if !connection.outbox.is_empty() {
            ready!(connection.poll_flush(cx))?;
        }
        connection.poll_write_or_queue(cx, bytes)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &mut self.get_mut().0;
        ready!(connection.poll_flush(cx))?;
        connection.poll_end(cx)
    }
}
