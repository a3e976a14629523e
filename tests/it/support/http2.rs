//! HTTP/2 for the tests, by h2: servers that do anything with a stream, and clients of amb that do.

use std::sync::Arc;

use h2::{
    RecvStream, client,
    client::SendRequest,
    server::{self, SendResponse},
};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Bytes,
    http::{request, response},
};
use rustls::{ServerConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    task::{JoinSet, spawn_local},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::{
    PATIENCE, Proxy, Upstream,
    secure::{Scene, client_config},
};

/// A request that a server got.
pub(crate) struct Asked {
    /// Its head.
    pub(crate) head: request::Parts,
    /// Its body.
    pub(crate) body: RecvStream,
    /// For the answer.
    pub(crate) respond: SendResponse<Bytes>,
    /// On which connection, from 0.
    pub(crate) connection: usize,
    /// The how-manieth it is on that one, from 0.
    pub(crate) number: usize,
}

impl Asked {
    /// The path.
    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The values of a field, joined by ` | `.
    pub(crate) fn field(&self, name: &str) -> String {
        let values = self.head.headers.get_all(name).iter();
        let values: Vec<&str> = values.map(|value| value.to_str().expect("text")).collect();
        values.join(" | ")
    }

    /// Answers 200 with this.
    pub(crate) fn answer(mut self, body: &'static str) {
        let mut stream = self.respond.send_response(Response::new(()), false).expect("a stream");
        stream
            .send_data(Bytes::from_static(body.as_bytes()), true)
            .expect("a stream");
    }
}

/// What somebody got in the place of an answer's body.
#[derive(Debug)]
pub(crate) struct Got {
    /// Its data.
    pub(crate) data: Vec<u8>,
    /// Its trailers.
    pub(crate) trailers: Option<HeaderMap>,
}

/// Reads a body to its end.
///
/// # Errors
/// If it breaks off.
pub(crate) async fn read(body: &mut RecvStream) -> Result<Got, h2::Error> {
    let mut data = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        data.extend_from_slice(&bytes);
        body.flow_control().release_capacity(bytes.len())?;
    }
    let trailers = body.trailers().await?;
    Ok(Got { data, trailers })
}

/// A server that does this with each stream.
pub(crate) fn serve<F>(config: ServerConfig, answer: impl Fn(Asked) -> F + Clone + Send + 'static) -> Upstream
where
    F: Future<Output = ()> + 'static,
{
    serve_with(config, |_| {}, answer)
}

/// The same with settings of its own.
pub(crate) fn serve_with<F>(
    config: ServerConfig,
    set: impl Fn(&mut server::Builder) + Clone + Send + 'static,
    answer: impl Fn(Asked) -> F + Clone + Send + 'static,
) -> Upstream
where
    F: Future<Output = ()> + 'static,
{
    serve_connections(config, move |stream, connection| {
        let (set, answer) = (set.clone(), answer.clone());
        async move {
            let mut builder = server::Builder::new();
            set(&mut builder);
            let Ok(mut streams) = builder.handshake::<_, Bytes>(stream).await else {
                return;
            };
            let mut answers = JoinSet::new();
            let mut number = 0;
            while let Some(Ok((request, respond))) = streams.accept().await {
                let (head, body) = request.into_parts();
                answers.spawn_local(answer(Asked {
                    head,
                    body,
                    respond,
                    connection,
                    number,
                }));
                number += 1;
            }
            while let Some(ended) = answers.join_next().await {
                ended.expect("a server without a mistake");
            }
        }
    })
}

/// A server that does this with each connection by TLS.
pub(crate) fn serve_connections<F>(
    config: ServerConfig,
    serve: impl Fn(tokio_rustls::server::TlsStream<TcpStream>, usize) -> F + Clone + Send + 'static,
) -> Upstream
where
    F: Future<Output = ()> + 'static,
{
    let config = Arc::new(config);
    Upstream::serve(move |stream, connection| {
        accept(stream, Arc::clone(&config), async |stream| {
            serve(stream, connection).await;
        });
    })
}

/// Does this with a connection, once the other side speaks TLS on it.
pub(crate) fn accept(
    stream: std::net::TcpStream,
    config: Arc<ServerConfig>,
    serve: impl AsyncFnOnce(tokio_rustls::server::TlsStream<TcpStream>),
) {
    stream.set_nonblocking(true).expect("a socket");
    block_on(async {
        let stream = TcpStream::from_std(stream).expect("a socket");
        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
            serve(stream).await;
        }
    });
}

/// Runs something on a thread of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(future)
}

/// A client's connection.
pub(crate) struct Client {
    /// Sends requests.
    pub(crate) sender: SendRequest<Bytes>,
}

impl Client {
    /// Asks for a path of `h.test`, without a body.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(response::Parts, Got), h2::Error> {
        self.ask(request("GET", path)).await
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> Result<(response::Parts, Got), h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, _) = sender.send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        Ok((head, read(&mut body).await?))
    }

    /// The same, which is answered 200 with this.
    pub(crate) async fn expect(&mut self, path: &str, body: &str) {
        let (head, got) = self.get(path).await.expect("an answer");
        assert_eq!(
            (head.status, String::from_utf8_lossy(&got.data).as_ref()),
            (StatusCode::OK, body)
        );
    }
}

/// A request for a path of `h.test`.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://h.test{path}"))
        .body(())
        .expect("a request")
}

impl Scene {
    /// Speaks HTTP/2 with the server, which is `h.test`, through amb. Bounded in time.
    #[track_caller]
    pub(crate) fn speak<T>(&self, server: &Upstream, with: impl AsyncFnOnce(Client) -> T) -> T {
        self.speak_with(server, &client::Builder::new(), with)
    }

    /// The same with these settings.
    #[track_caller]
    pub(crate) fn speak_with<T>(
        &self,
        server: &Upstream,
        builder: &client::Builder,
        with: impl AsyncFnOnce(Client) -> T,
    ) -> T {
        self.connect(server, &["h2", "http/1.1"], async |stream| {
            with(greet(stream, builder).await).await
        })
    }

    /// Speaks HTTP/2 with the server, and ends the run meanwhile.
    #[track_caller]
    pub(crate) fn speak_until_end<T>(self, server: &Upstream, with: impl AsyncFnOnce(Client, Proxy) -> T) -> T {
        let stream = self.tunnel(&server.address().to_string()).stream;
        let authority = self.authority();
        let Self { proxy, .. } = self;
        shake(stream, &authority, &["h2"], async |stream| {
            with(greet(stream, &client::Builder::new()).await, proxy).await
        })
    }

    /// Speaks TLS with the server, offering these protocols. Bounded in time.
    #[track_caller]
    pub(crate) fn connect<T>(
        &self,
        server: &Upstream,
        protocols: &[&str],
        with: impl AsyncFnOnce(TlsStream<TcpStream>) -> T,
    ) -> T {
        let stream = self.tunnel(&server.address().to_string()).stream;
        shake(stream, &self.authority(), protocols, with)
    }
}

/// Begins to speak HTTP/2.
async fn greet(stream: TlsStream<TcpStream>, builder: &client::Builder) -> Client {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    spawn_local(async move { drop(connection.await) });
    Client { sender }
}

/// Speaks TLS on a connection.
#[track_caller]
fn shake<T>(
    stream: std::net::TcpStream,
    authority: &str,
    protocols: &[&str],
    with: impl AsyncFnOnce(TlsStream<TcpStream>) -> T,
) -> T {
    stream.set_nonblocking(true).expect("a socket");
    let connector = TlsConnector::from(Arc::new(client_config(&[authority], protocols)));
    block_on(async {
        let speaking = async {
            let stream = TcpStream::from_std(stream).expect("a socket");
            let name = ServerName::try_from("h.test").expect("a name");
            with(connector.connect(name, stream).await.expect("TLS")).await
        };
        timeout(PATIENCE, speaking).await.expect("an end in time")
    })
}
