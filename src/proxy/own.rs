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
    Method, Request,
    body::Bytes,
    client::conn::http1,
    rt::{Read, ReadBufCursor, Write},
};

use super::{
    deadline,
    error::ExchangeError,
    target::Authority,
    tls::{
        Tls,
        client::{Aim, Offer},
    },
    upstream::{Purpose, Upstreams},
    wire::connection::Connection,
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
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body, of at most 64 KiB.
    pub body: Bytes,
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
    let said = |error: ExchangeError| error.to_string();
    let Question { authority, path, .. } = &question;
    let rules = upstreams.rules();
    let (purpose, usual) = if question.is_secure {
        let aim = Aim::new(&authority.host, true, Offer::Http11, &rules.server_tls).map_err(said)?;
        (Purpose::Secure(aim), 443)
    } else {
        (Purpose::Exchange, 80)
    };
    let mut opened = 0;
    // The rules of egress are about what the command wants; whom amb itself asks, somebody has configured.
    let server = upstreams
        .connect(authority, &purpose, &rules.timeouts, &mut opened, None)
        .await
        .map_err(said)?;
    let uri = match &server.parent {
        Some(_) => format!("http://{authority}{path}"),
        None => path.clone(),
    };
    let host = if authority.port == usual {
        authority.to_string().trim_end_matches(&format!(":{usual}")).to_owned()
    } else {
        authority.to_string()
    };
    let mut request = Request::builder().method(question.method).uri(uri).header("Host", host);
    for (name, value) in question.fields {
        request = request.header(name, value);
    }
    if let Some(authorization) = server.parent.and_then(|parent| parent.authorization) {
        request = request.header("Proxy-Authorization", authorization);
    }
    let request = request
        .body(Full::new(Bytes::from(question.body)))
        .map_err(|reason| reason.to_string())?;
    let broken = |reason: hyper::Error| format!("the connection broke: {reason}");
    let (mut sender, connection) = http1::handshake(Carrier(server.connection)).await.map_err(broken)?;
    let talking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|reason| match reason.downcast::<LengthLimitError>() {
            Ok(_) => format!("its answer has more than {ANSWER_BYTES} bytes"),
            Err(reason) => format!("the connection broke: {reason}"),
        })?;
        Ok(Reply {
            status,
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
