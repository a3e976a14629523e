//! Requests to a collector, and what its answers mean ([OTLP]).
//!
//! [OTLP]: https://opentelemetry.io/docs/specs/otlp/

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::ExportMetricsServiceResponse, trace::v1::ExportTraceServiceResponse,
};
use prost::Message;

use crate::{
    policy::export::{Collector, Protocol, Signal},
    proxy::{self, Authority, Reply},
};

/// The most that is repeated of what a collector says, in characters.
const MOST_SAID: usize = 200;

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was taken, but for so many spans or points, for this reason.
    Taken(u64, String),
    /// It was not, and would not be if it came again.
    Refused(String),
    /// It may be if it comes again, after this time if the collector has named one.
    Later(String, Option<Duration>),
}

/// The body of a request: compressed and framed as the collector wants it.
pub(super) fn body(message: &impl Message, to: &Collector) -> Vec<u8> {
    let plain = message.encode_to_vec();
    let compressed = if to.gzip { compressed(&plain) } else { None };
    let is_compressed = compressed.is_some();
    let bytes = compressed.unwrap_or(plain);
    match to.protocol {
        Protocol::HttpProtobuf => bytes,
        Protocol::Grpc => {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
            [&[u8::from(is_compressed)][..], &length, &bytes].concat()
        }
    }
}

/// The bytes, compressed; none if that failed, which in memory it does not.
fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// A request with this body.
pub(super) fn message(body: &[u8], to: &Collector, headers: &[(String, Vec<u8>)]) -> proxy::Message {
    let authority = Authority::new(&*to.host, to.port);
    let mut fields = headers.to_vec();
    let mut field = |name: &str, value: &str| fields.push((name.to_owned(), value.as_bytes().to_vec()));
    field("user-agent", concat!("amb/", env!("CARGO_PKG_VERSION")));
    match to.protocol {
        Protocol::HttpProtobuf => {
            field("content-type", "application/x-protobuf");
            if to.gzip {
                field("content-encoding", "gzip");
            }
        }
        Protocol::Grpc => {
            field("content-type", "application/grpc");
            field("te", "trailers");
            if to.gzip {
                field("grpc-encoding", "gzip");
            }
        }
    }
    proxy::Message {
        fields,
        limit: to.time(),
        by_http2: to.protocol == Protocol::Grpc,
        ..proxy::Message::post(authority, to.is_secure, to.path.clone(), body.to_vec())
    }
}

/// What an answer means.
pub(super) fn read(reply: &Reply, signal: Signal, protocol: Protocol) -> Verdict {
    match (protocol, reply.status) {
        (Protocol::HttpProtobuf, 200..=299) => taken(&reply.body, signal),
        (_, 429 | 502 | 503 | 504) => Verdict::Later(format!("it answered {}", reply.status), after(reply)),
        (Protocol::Grpc, 200) => match reply.field("grpc-status") {
            // Behind the frame's five bytes.
            Some("0") => taken(reply.body.get(5..).unwrap_or_default(), signal),
            Some(code) => {
                let said = reply
                    .field("grpc-message")
                    .map(|said| format!(" ({})", shortened(said)));
                let said = format!("it answered with the gRPC status {code}{}", said.unwrap_or_default());
                // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
                match code {
                    "1" | "4" | "10" | "11" | "14" | "15" => Verdict::Later(said, None),
                    _ => Verdict::Refused(said),
                }
            }
            None => Verdict::Refused("its answer is not gRPC".to_owned()),
        },
        (_, status) => {
            let hint = match (protocol, status) {
                (Protocol::HttpProtobuf, 404) => ": is this its endpoint for OTLP?",
                (_, 401 | 403) => ": otel.headers, or OTEL_EXPORTER_OTLP_HEADERS, is where credentials go",
                _ => "",
            };
            Verdict::Refused(format!("it answered {status}{hint}"))
        }
    }
}

/// A request that was taken, at least in part.
fn taken(body: &[u8], signal: Signal) -> Verdict {
    let (rejected, said) = match signal {
        Signal::Traces => {
            let read = ExportTraceServiceResponse::decode(body).unwrap_or_default();
            let partial = read.partial_success.unwrap_or_default();
            (partial.rejected_spans, partial.error_message)
        }
        Signal::Metrics => {
            let read = ExportMetricsServiceResponse::decode(body).unwrap_or_default();
            let partial = read.partial_success.unwrap_or_default();
            (partial.rejected_data_points, partial.error_message)
        }
    };
    let said = if said.is_empty() {
        "it did not say why".to_owned()
    } else {
        shortened(&said)
    };
    Verdict::Taken(u64::try_from(rejected).unwrap_or_default(), said)
}

/// What a collector says, as it may be shown: it may be anything.
fn shortened(said: &str) -> String {
    said.chars()
        .filter(|character| !character.is_control())
        .take(MOST_SAID)
        .collect()
}

/// How long a collector wants to be left alone: seconds, or a date.
fn after(reply: &Reply) -> Option<Duration> {
    let written = reply.field("retry-after")?.trim();
    if let Ok(seconds) = written.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(written).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
