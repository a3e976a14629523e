//! Spans, by [the conventions for HTTP clients] and [for programs].
//!
//! [the conventions for HTTP clients]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
//! [for programs]: https://opentelemetry.io/docs/specs/semconv/cli/cli-spans/

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{Span, SpanFlags, Status, span::SpanKind, status::StatusCode},
};

use super::{
    End,
    attribute::{count, number, seconds, text, texts},
    work::Subject,
};
use crate::{
    policy::trace::Trace,
    traffic::{
        Kind, Outcome, Protocol, Record,
        retries::{Hedge, Try},
    },
};

/// Methods that are told by their names; all others are [`OTHER`].
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// What stands for the methods that nobody knows, of which there may be any number.
const OTHER: &str = "_OTHER";

/// What is recorded.
const SAMPLED: u32 = 1;

/// A method as the conventions have it.
pub(super) fn method(record: &Record) -> &'static str {
    METHODS
        .into_iter()
        .find(|known| *known == record.method)
        .unwrap_or(OTHER)
}

/// The status that the server has answered; none if it has not, though amb may have.
pub(super) fn status(record: &Record) -> Option<u16> {
    record
        .status
        .filter(|_| record.kind == Kind::Exchange && record.first_byte.is_some())
}

/// What went wrong, in a word; none if nothing did. As the conventions have it, what a server calls the client's mistake is one,
/// too.
pub(super) fn error_type(record: &Record) -> Option<String> {
    match &record.outcome {
        Outcome::Failed(failure) | Outcome::Denied(failure) => Some(failure.error_type.clone()),
        Outcome::ClientAborted | Outcome::CutShort => Some(record.outcome.name().to_owned()),
        Outcome::Ok => status(record)
            .filter(|status| *status >= 400)
            .map(|status| status.to_string()),
    }
}

/// The version of HTTP; none for what is not HTTP.
pub(super) fn version(record: &Record) -> Option<&'static str> {
    match record.protocol {
        Protocol::Http10 => Some("1.0"),
        Protocol::Http11 => Some("1.1"),
        Protocol::Http2 => Some("2"),
        Protocol::Socks4 | Protocol::Socks5 | Protocol::Captured => None,
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// An error's status. Where a status says all there is to say, nothing is said beside it.
fn failed(message: &str) -> Status {
    Status {
        message: crate::veil::text(message).into_owned(),
        code: StatusCode::Error.into(),
    }
}

/// Where a span is, and when: `remote` says that its parent is in another process.
fn placed(trace: u128, span: u64, parent: Option<u64>, remote: bool, start: SystemTime, took: Duration) -> Span {
    let known = SpanFlags::ContextHasIsRemoteMask as u32;
    let remote = if remote {
        SpanFlags::ContextIsRemoteMask as u32
    } else {
        0
    };
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: span.to_be_bytes().to_vec(),
        parent_span_id: parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED | known | remote,
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(start + took),
        ..Span::default()
    }
}

/// The span of an exchange or tunnel in the run of `trace`, and behind it those of its attempts if there were several. What has no
/// place in a trace of its own is below the run.
pub(super) fn of_record(record: &Record, trace: &Trace) -> Vec<Span> {
    let whole = of_whole(record, trace);
    let tries: &[Try] = if record.tries.len() > 1 { &record.tries } else { &[] };
    let tries = tries
        .iter()
        .enumerate()
        .map(|(again, one)| of_try(record, &whole, again, one));
    let tries: Vec<Span> = tries.collect();
    [vec![whole], tries].concat()
}

/// The span of an attempt, the how-manieth of its exchange from 0.
fn of_try(record: &Record, whole: &Span, again: usize, one: &Try) -> Span {
    let of_exchange = [
        "http.request.method",
        "http.request.method_original",
        "url.",
        "server.",
        "network.",
    ];
    let shared = |attribute: &&KeyValue| of_exchange.iter().any(|prefix| attribute.key.starts_with(prefix));
    let mut attributes: Vec<KeyValue> = whole.attributes.iter().filter(shared).cloned().collect();
    if again > 0 {
        attributes.push(count("http.request.resend_count", again as u64));
    }
    let status = one.status;
    attributes.extend(status.map(|status| number("http.response.status_code", status)));
    let refused = status.filter(|status| *status >= 400).map(|status| status.to_string());
    let error = one.error.map(str::to_owned).or(refused);
    attributes.extend(error.as_deref().map(|error| text("error.type", error)));
    Span {
        trace_id: whole.trace_id.clone(),
        span_id: fastrand::u64(1..).to_be_bytes().to_vec(),
        parent_span_id: whole.span_id.clone(),
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32,
        start_time_unix_nano: nanos(record.started_at + one.after),
        end_time_unix_nano: nanos(record.started_at + one.after + one.took),
        name: whole.name.clone(),
        kind: SpanKind::Client.into(),
        trace_state: whole.trace_state.clone(),
        attributes,
        status: error.map(|_| failed("")),
        ..Span::default()
    }
}

/// The span of an exchange or tunnel itself.
fn of_whole(record: &Record, trace: &Trace) -> Span {
    let own = record.trace.filter(|place| place.parent.is_some());
    let (id, span, parent) = own.map_or((trace.run.trace, fastrand::u64(1..), Some(trace.run.span)), |place| {
        (place.trace, place.span, place.parent)
    });
    let remote = parent != Some(trace.run.span);
    let mut attributes = vec![text("http.request.method", method(record))];
    about_request(record, &mut attributes);
    about_amb(record, &mut attributes);
    let error = error_type(record);
    attributes.extend(error.as_deref().map(|error| text("error.type", error)));
    let status = match (&error, record.outcome.failure()) {
        (None, _) => None,
        (Some(error), Some(failure)) if *error != failure_status(record) => Some(failed(&failure.detail)),
        (Some(_), _) => Some(failed("")),
    };
    Span {
        name: name(record),
        kind: SpanKind::Client.into(),
        trace_state: trace.state.clone().filter(|_| !remote).unwrap_or_default(),
        attributes,
        status,
        ..placed(id, span, parent, remote, record.started_at, record.duration)
    }
}

/// The server's status as a failure is called that is nothing else.
fn failure_status(record: &Record) -> String {
    status(record).map(|status| status.to_string()).unwrap_or_default()
}

/// The name: of few, so without what is in the path.
fn name(record: &Record) -> String {
    let method = match (record.kind, method(record)) {
        (Kind::Tunnel, _) => return "CONNECT".to_owned(),
        (_, OTHER) => "HTTP",
        (_, known) => known,
    };
    match &record.url_template {
        Some(template) => format!("{method} {template}"),
        None => method.to_owned(),
    }
}

/// What the conventions say of a request and its answer.
fn about_request(record: &Record, attributes: &mut Vec<KeyValue>) {
    if method(record) == OTHER && !record.method.is_empty() {
        attributes.push(text("http.request.method_original", &record.method));
    }
    if !record.host.is_empty() {
        attributes.push(text("server.address", &record.host));
        attributes.push(number("server.port", record.port));
    }
    if let (Kind::Exchange, Some(scheme), false) = (record.kind, record.scheme, record.host.is_empty()) {
        let host = if record.host.contains(':') {
            format!("[{}]", record.host)
        } else {
            record.host.clone()
        };
        let port = if record.port == scheme.port() {
            String::new()
        } else {
            format!(":{}", record.port)
        };
        let url = format!("{}://{host}{port}{}", scheme.name(), record.path);
        attributes.push(text("url.full", &url));
        attributes.push(text("url.scheme", scheme.name()));
    }
    if let Some(template) = &record.url_template {
        attributes.push(text("url.template", template));
    }
    if let Some(status) = status(record) {
        attributes.push(number("http.response.status_code", status));
    }
    if let Some(version) = version(record) {
        attributes.push(text("network.protocol.version", version));
    } else if record.protocol == Protocol::Captured {
        attributes.push(text("network.protocol.name", "tcp"));
    } else {
        let version = if record.protocol == Protocol::Socks4 { "4" } else { "5" };
        attributes.push(text("network.protocol.name", "socks"));
        attributes.push(text("network.protocol.version", version));
    }
    let again = record.attempts.saturating_sub(1) + record.resends;
    if again > 0 {
        attributes.push(number("http.request.resend_count", again));
    }
    if let Some(agent) = &record.user_agent {
        attributes.push(text("user_agent.original", agent));
    }
}

/// What amb knows besides.
fn about_amb(record: &Record, attributes: &mut Vec<KeyValue>) {
    attributes.push(text("amb.outcome", record.outcome.name()));
    if let Some(failure) = record.outcome.failure() {
        attributes.push(text("amb.blame", failure.blame.name()));
    }
    if !record.request_id.is_empty() {
        attributes.push(text("amb.request.id", &record.request_id));
    }
    if let Some(route) = &record.route {
        attributes.push(text("amb.route", route));
    }
    if let Some(url) = &record.sent_to {
        attributes.push(text("amb.url.sent_to", url));
    }
    if let (None, Some(status), Kind::Exchange) = (status(record), record.status, record.kind) {
        // What the command got is not the server's.
        attributes.push(number("amb.response.status_code", status));
    }
    attributes.push(count("amb.bytes.sent", record.bytes_sent));
    attributes.push(count("amb.bytes.received", record.bytes_received));
    let times = [
        ("amb.connect.duration", record.connect),
        ("amb.tls.duration", record.tls.as_ref().map(|tls| tls.took)),
        ("amb.first_byte.duration", record.first_byte),
        (
            "amb.limits.duration",
            Some(record.waited).filter(|waited| !waited.is_zero()),
        ),
    ];
    attributes.extend(times.into_iter().filter_map(|(key, time)| Some(seconds(key, time?))));
    let retries = &record.retries;
    if retries.count > 0 {
        attributes.push(number("amb.retry.count", retries.count));
        attributes.push(seconds("amb.retry.duration", retries.waited));
    }
    if let Some(hedge) = retries.hedge {
        let won = if hedge == Hedge::Won { "won" } else { "lost" };
        attributes.push(text("amb.hedge", won));
    }
}

/// The span of the run itself, whose end is known.
pub(super) fn of_run(subject: &Subject, end: &End, trace: &Trace) -> Span {
    let run = &subject.run;
    let program = run.command.first().map_or("", |program| program);
    let executable = Path::new(program).file_name().map(|name| name.to_string_lossy());
    let executable = executable.as_deref().unwrap_or(program);
    let mut attributes = vec![
        text("process.executable.name", executable),
        texts("process.command_args", run.command.iter().map(|word| &**word)),
    ];
    if let Some(pid) = subject.child {
        attributes.push(number("process.pid", pid));
    }
    let child = &end.child;
    if let Some(code) = child.exit_code {
        attributes.push(number("process.exit.code", code));
    }
    let error = match (child.exit_code, &child.signal) {
        (Some(0), _) | (None, None) => None,
        (Some(code), _) => Some((code.to_string(), format!("it exited with {code}"))),
        (None, Some(signal)) => Some((signal.name.clone(), format!("it was ended by {}", signal.name))),
    };
    if let Some((error, _)) = &error {
        attributes.push(text("error.type", error));
    }
    attributes.push(text("amb.run.id", &run.id));
    Span {
        name: executable.to_owned(),
        kind: SpanKind::Internal.into(),
        trace_state: trace.state.clone().unwrap_or_default(),
        attributes,
        status: error.map(|(_, message)| failed(&message)),
        ..placed(
            trace.run.trace,
            trace.run.span,
            trace.parent,
            trace.parent.is_some(),
            run.started_at,
            end.duration,
        )
    }
}

#[cfg(test)]
mod tests;
