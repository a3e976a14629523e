//! One worker: a current-thread runtime with its own listening socket, pool and books. Workers share nothing on the request
//! path but the policies.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::{
    access,
    error::{ExchangeError, is_exhaustion},
    http::{self, After},
    recorder::Recorder,
    socks, tunnel,
    upstream::Upstreams,
    via::Via,
    wire::connection::Connection,
};
use crate::{
    policy::redact::Redact,
    traffic::{Kind, Protocol},
};

/// First and longest pause after an accept that failed for want of descriptors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long a connection may stay silent at first.
const FIRST_BYTE_LIMIT: Duration = Duration::from_mins(5);
/// A fatal alert `handshake_failure`, for a client that speaks TLS to the proxy itself.
const TLS_ALERT: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 40];

/// What the tasks of a worker share.
pub(crate) struct Worker {
    /// The books.
    pub(crate) recorder: Rc<Recorder>,
    /// The servers.
    pub(crate) upstreams: Rc<Upstreams>,
    /// amb's entry in `Via`.
    pub(crate) via: Via,
    /// What must not be written down.
    pub(crate) redact: Arc<Redact>,
    /// The run's id.
    pub(crate) run_id: String,
    /// The listener's address.
    pub(crate) own: SocketAddr,
}

/// Accepts connections for ever. When the process is out of descriptors it pauses, and goes on.
pub(crate) async fn accept(worker: Rc<Worker>, listener: &TcpListener) {
    let mut pause = PAUSES.0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSES.0;
                begin(&worker, stream, peer);
            }
            Err(reason) if is_exhaustion(&reason) => {
                tracing::warn!(%reason, "no connection can be accepted for the moment");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            // The others concern one connection that is gone already.
            Err(reason) => tracing::debug!(%reason, "a connection was lost before it was accepted"),
        }
    }
}

/// Begins to serve a connection, in a task of its own.
pub(crate) fn begin(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        match Connection::new(stream) {
            Ok(client) => {
                if let After::Tunnel(client, opened) = serve(&worker, client, peer).await {
                    // A task of its own: it is small, and lives long.
                    tokio::task::spawn_local(tunnel::carry(client, opened));
                }
            }
            Err(reason) => tracing::debug!(%reason, "a connection was gone as soon as it was accepted"),
        }
    });
}

/// Tells by the first byte what a client speaks, and serves it.
async fn serve(worker: &Rc<Worker>, mut client: Connection, peer: SocketAddr) -> After {
    let stranger = match access::judge(peer, worker.own, &worker.run_id).await {
        access::Verdict::Allowed => None,
        access::Verdict::Gone => {
            // Only if it asked for something is there anything to record.
            if matches!(client.fill().await, Ok(1..)) {
                let open = worker.recorder.begin(Kind::Exchange, Protocol::Http11);
                open.fail(&ExchangeError::ClientGone);
            }
            return After::Closed;
        }
        access::Verdict::Stranger(who) => Some(who),
    };
    match tokio::time::timeout(FIRST_BYTE_LIMIT, client.fill()).await {
        Ok(Ok(1..)) => {}
        _ => return After::Closed,
    }
    match client.inbox.as_slice().first() {
        Some(4 | 5) => Box::pin(socks::serve(worker, client, stranger)).await,
        Some(0x16) => {
            let open = worker.recorder.begin(Kind::Exchange, Protocol::Http11);
            if let Err(reason) = client.send(&TLS_ALERT).await {
                tracing::debug!(%reason, "a client did not take its alert");
            }
            open.fail(&ExchangeError::RequestMalformed(
                "the client speaks TLS to the proxy: its proxy URL must begin with http://",
            ));
            client.linger(Duration::from_secs(1)).await;
            After::Closed
        }
        _ => http::serve(worker, client, stranger).await,
    }
}

#[cfg(test)]
mod tests;
