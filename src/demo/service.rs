//! What the demo's program calls: one hyper server for two of its hosts, and an address for the third where nobody listens.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HOST, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
};

/// The host with the customers.
pub(super) const API: &str = "api.demo.test";
/// The host with the download.
pub(super) const FILES: &str = "files.demo.test";
/// The host that is down.
pub(super) const BILLING: &str = "billing.demo.test";

/// The size of the download, in bytes.
pub(super) const DOWNLOAD: usize = 256 * 1024;

/// How long the one slow answer takes, so that the latencies of the summary differ.
const SLOW: Duration = Duration::from_millis(40);

/// The servers. The one that answers ends with the process; the address that refuses is kept as long as this.
pub(super) struct Service {
    /// Where the server listens.
    address: SocketAddr,
    /// Bound but not listening: the kernel refuses connections, and gives the port to nobody else.
    refusing: Socket,
}

impl Service {
    /// Begins to serve on a free port of loopback, on a thread of its own.
    ///
    /// # Errors
    /// No port or no thread is to be had.
    pub(super) fn start() -> io::Result<Self> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let refusing = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        refusing.bind(&anywhere.into())?;
        let listener = std::net::TcpListener::bind(anywhere)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        thread::Builder::new()
            .name("amb-demo-service".to_owned())
            .spawn(move || runtime.block_on(serve(listener)))?;
        Ok(Self { address, refusing })
    }

    /// Where the server listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where nobody listens.
    ///
    /// # Errors
    /// None that can happen: the kernel knows what it has bound.
    pub(super) fn refusing(&self) -> io::Result<SocketAddr> {
        let bound = self.refusing.local_addr()?;
        bound.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Accepts connections until the process ends, or until one cannot be accepted.
async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.spawn(carry(stream)),
            Err(reason) => {
                tracing::warn!(%reason, "the demo's server takes no more connections");
                break;
            }
        };
        while connections.try_join_next().is_some() {}
    }
    connections.join_all().await;
}

/// Answers what comes on one connection.
async fn carry(stream: TcpStream) {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(reason) = connection.await {
        tracing::debug!(%reason, "a connection of the demo's server ended early");
    }
}

/// The answer to a request.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let response = match (host, &parts.method, parts.uri.path()) {
        (Some(API), &Method::GET, "/customers") => {
            json(StatusCode::OK, r#"[{"id":7,"name":"Ada"},{"id":8,"name":"Bob"}]"#)
        }
        (Some(API), &Method::GET, "/customers/7") => json(StatusCode::OK, r#"{"id":7,"name":"Ada"}"#),
        (Some(API), &Method::GET, "/statistics") => {
            tokio::time::sleep(SLOW).await;
            json(StatusCode::OK, r#"{"customers":2,"orders":1}"#)
        }
        (Some(API), &Method::POST, "/orders") => match body.collect().await {
            Ok(_) => json(StatusCode::CREATED, r#"{"order":1}"#),
            Err(_) => json(StatusCode::BAD_REQUEST, r#"{"problem":"the order broke off"}"#),
        },
        (Some(API), &Method::GET, "/rates") => {
            let mut response = json(StatusCode::SERVICE_UNAVAILABLE, r#"{"problem":"down for maintenance"}"#);
            response.headers_mut().insert(RETRY_AFTER, 120.into());
            response
        }
        (Some(FILES), &Method::GET, "/manual.txt") => plain(StatusCode::OK, vec![b'.'; DOWNLOAD].into(), "text/plain"),
        _ => json(StatusCode::NOT_FOUND, r#"{"problem":"there is no such thing"}"#),
    };
    Ok(response)
}

/// An answer in JSON.
fn json(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    plain(status, body.into(), "application/json")
}

/// An answer of some type.
fn plain(status: StatusCode, body: Bytes, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
