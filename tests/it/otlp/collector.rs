//! A collector: takes what OTLP brings by HTTP or gRPC, and reads it with the messages of the protocol's own definition.

use std::{
    io::Read,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use flate2::read::GzDecoder;
use h2::server;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data},
    trace::v1::Span,
};
use prost::Message;
use tokio::runtime::{Builder, LocalOptions};

use crate::support::{PATIENCE, Upstream, http2};

/// A request that came.
pub(super) struct Taken {
    /// The path.
    pub(super) path: String,
    /// The fields.
    pub(super) fields: HeaderMap,
    /// The message, without what was around it.
    pub(super) message: Vec<u8>,
}

/// What is answered to the how-manieth request.
pub(super) type Answers = fn(usize) -> Response<Full<Bytes>>;

/// A collector.
pub(super) struct Collector {
    /// The server.
    pub(super) server: Upstream,
    /// What came.
    taken: Receiver<Taken>,
}

/// Takes it.
pub(super) fn take(_: usize) -> Response<Full<Bytes>> {
    Response::new(Full::default())
}

impl Collector {
    /// One that is spoken to by HTTP.
    pub(super) fn http(answers: Answers) -> Self {
        let (sender, taken) = channel();
        let (sender, count) = (Arc::new(Mutex::new(sender)), Arc::new(AtomicUsize::new(0)));
        let server = Upstream::serve(move |stream, _| {
            let sender = sender.lock().unwrap().clone();
            let count = Arc::clone(&count);
            on_runtime(stream, async move |stream| {
                let service = service_fn(|request: Request<Incoming>| {
                    let (sender, count) = (sender.clone(), Arc::clone(&count));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes().to_vec();
                        let zipped = head
                            .headers
                            .get("content-encoding")
                            .is_some_and(|coding| coding == "gzip");
                        let answer = answers(count.fetch_add(1, Ordering::SeqCst));
                        tell(&sender, head.uri.path(), head.headers, plain(body, zipped));
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                let serving =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                drop(serving.await);
            });
        });
        Self { server, taken }
    }

    /// One that is spoken to by gRPC, and answers with this status.
    pub(super) fn grpc(status: &'static str) -> Self {
        let (sender, taken) = channel();
        let sender = Arc::new(Mutex::new(sender));
        let server = Upstream::serve(move |stream, _| {
            let sender = sender.lock().unwrap().clone();
            on_runtime(stream, async move |stream| {
                let Ok(mut streams) = server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, mut respond))) = streams.accept().await {
                    let (head, mut body) = request.into_parts();
                    let sender = sender.clone();
                    tokio::task::spawn_local(async move {
                        let mut framed = http2::read(&mut body).await.unwrap().data;
                        let message = framed.split_off(5);
                        assert_eq!(framed[1..], u32::try_from(message.len()).unwrap().to_be_bytes());
                        tell(&sender, head.uri.path(), head.headers, plain(message, framed[0] == 1));
                        let answer = Response::builder().header("content-type", "application/grpc");
                        let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                        stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
                        let mut trailer = HeaderMap::new();
                        trailer.insert("grpc-status", status.parse().unwrap());
                        trailer.insert("grpc-message", "as the test wants it".parse().unwrap());
                        stream.send_trailers(trailer).unwrap();
                    });
                }
            });
        });
        Self { server, taken }
    }

    /// The next request.
    #[track_caller]
    pub(super) fn next(&self) -> Taken {
        self.taken.recv_timeout(PATIENCE).expect("a request")
    }

    /// All that came by now.
    pub(super) fn all(&self) -> Vec<Taken> {
        self.taken.try_iter().collect()
    }
}

/// Serves a connection.
fn on_runtime(stream: TcpStream, serve: impl AsyncFnOnce(tokio::net::TcpStream)) {
    stream.set_nonblocking(true).unwrap();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        serve(tokio::net::TcpStream::from_std(stream).unwrap()).await;
    });
}

/// Tells the test of a request; it may be over.
fn tell(sender: &Sender<Taken>, path: &str, fields: HeaderMap, message: Vec<u8>) {
    let path = path.to_owned();
    drop(sender.send(Taken { path, fields, message }));
}

/// What was compressed.
fn plain(bytes: Vec<u8>, zipped: bool) -> Vec<u8> {
    if !zipped {
        return bytes;
    }
    let mut plain = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// All spans, and the resource's attributes.
pub(super) fn spans(taken: &[Taken]) -> (Vec<Span>, Vec<KeyValue>) {
    let (mut spans, mut resource) = (Vec::new(), Vec::new());
    for one in taken.iter().filter(|one| one.path.contains("race")) {
        let read = ExportTraceServiceRequest::decode(&*one.message).unwrap();
        for of_resource in read.resource_spans {
            resource = of_resource.resource.unwrap().attributes;
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans));
        }
    }
    (spans, resource)
}

/// The metrics that came last.
pub(super) fn metrics(taken: &[Taken]) -> Vec<Metric> {
    let last = taken.iter().rfind(|one| one.path.contains("etrics")).expect("metrics");
    let read = ExportMetricsServiceRequest::decode(&*last.message).unwrap();
    let scopes = read
        .resource_metrics
        .into_iter()
        .flat_map(|of_resource| of_resource.scope_metrics);
    scopes.flat_map(|of_scope| of_scope.metrics).collect()
}

/// How often exchanges were measured.
pub(super) fn measured(metrics: &[Metric]) -> u64 {
    let duration = metrics
        .iter()
        .find(|metric| metric.name == "http.client.request.duration");
    let Some(Data::Histogram(histogram)) = duration.and_then(|metric| metric.data.as_ref()) else {
        return 0;
    };
    histogram.data_points.iter().map(|point| point.count).sum()
}

/// An attribute as text; empty if there is none.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
