//! A record as a line, in each format. Whatever is in the record, it stays one line, and its values stay apart.

use std::{fmt, io::Write, sync::Arc};

use jiff::Timestamp;

use crate::{
    report::{access_log::LineFormat, document},
    traffic::{Kind, Protocol, Record, Scheme, latency::in_seconds},
};

/// The record as a line with its end.
pub(super) fn line(format: LineFormat, record: &Record) -> Vec<u8> {
    let mut line = Vec::with_capacity(512);
    match format {
        LineFormat::Json => json_line(&mut line, record),
        LineFormat::Logfmt => logfmt_line(&mut line, record),
        LineFormat::Common => common_line(&mut line, record),
        LineFormat::Combined => {
            common_line(&mut line, record);
            for value in [&record.referer, &record.user_agent] {
                line.extend_from_slice(b" \"");
                apache_escaped(&mut line, value.as_deref().unwrap_or("-"));
                line.push(b'"');
            }
        }
    }
    line.push(b'\n');
    line
}

/// A value of a field.
enum Value<'a> {
    /// Text, as it came.
    Text(&'a str),
    /// A whole number.
    Whole(u64),
    /// Seconds.
    Seconds(f64),
    /// Yes or no.
    Flag(bool),
    /// Words, which hold neither commas nor white space.
    List(&'a [Arc<str>]),
    /// The id of a trace, or of a span, with so many hexadecimal digits.
    Id(u128, usize),
}

/// Tells all fields of a record, in their order. Names are those of the OpenTelemetry semantic conventions where there
/// is one. What there is none of is left out.
fn fields<'a>(record: &'a Record, mut tell: impl FnMut(&str, Value<'a>)) {
    let mut optional = |key: &str, value: Option<Value<'a>>| {
        if let Some(value) = value {
            tell(key, value);
        }
    };
    let (protocol, version) = match record.protocol {
        Protocol::Http10 => ("http", Some("1.0")),
        Protocol::Http11 => ("http", Some("1.1")),
        Protocol::Http2 => ("http", Some("2")),
        Protocol::Socks4 => ("socks", Some("4")),
        Protocol::Socks5 => ("socks", Some("5")),
        Protocol::Captured => ("tcp", None),
    };
    let kind = match record.kind {
        Kind::Exchange => "exchange",
        Kind::Tunnel => "tunnel",
    };
    let (outcome, failure) = (record.outcome.name(), record.outcome.failure());
    let (path, query) = match record.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*record.path, None),
    };
    let text = |text: &'a str| (!text.is_empty()).then_some(Value::Text(text));
    let seconds = |duration| Value::Seconds(in_seconds(duration));
    optional("amb.kind", Some(Value::Text(kind)));
    optional("amb.outcome", Some(Value::Text(outcome)));
    optional("http.request.method", text(&record.method));
    optional("url.scheme", record.scheme.map(|scheme| Value::Text(scheme.name())));
    optional("server.address", text(&record.host));
    optional(
        "server.port",
        (record.port != 0).then_some(Value::Whole(record.port.into())),
    );
    optional("url.path", text(path));
    optional("url.query", query.map(Value::Text));
    optional("url.template", record.url_template.as_deref().map(Value::Text));
    optional("amb.sent_to", record.sent_to.as_deref().map(Value::Text));
    optional("amb.route", record.route.as_deref().map(Value::Text));
    if let Some(said) = &record.egress {
        optional("amb.egress.action", Some(Value::Text(said.verdict.name())));
        optional("amb.egress.rule", Some(Value::Text(&said.rule)));
        optional("amb.egress.origin", said.origin.as_deref().map(Value::Text));
    }
    optional(
        "http.response.status_code",
        record.status.map(|status| Value::Whole(status.into())),
    );
    optional("error.type", failure.map(|failure| Value::Text(&failure.error_type)));
    optional("error.message", failure.map(|failure| Value::Text(&failure.detail)));
    optional("amb.blame", failure.map(|failure| Value::Text(failure.blame.name())));
    optional("network.protocol.name", Some(Value::Text(protocol)));
    optional("network.protocol.version", version.map(Value::Text));
    optional("amb.captured", record.captured.then_some(Value::Flag(true)));
    optional("duration", Some(seconds(record.duration)));
    optional("connect.duration", record.connect.map(seconds));
    let tls = record.tls.as_ref();
    optional("tls.duration", tls.map(|tls| seconds(tls.took)));
    optional("tls.protocol.version", tls.map(|tls| Value::Text(tls.version)));
    optional("tls.cipher", tls.map(|tls| Value::Text(tls.cipher)));
    optional("tls.resumed", tls.map(|tls| Value::Flag(tls.resumed)));
    optional("first_byte.duration", record.first_byte.map(seconds));
    optional("amb.waited", record.limited.map(|_| seconds(record.waited)));
    optional("bytes.sent", Some(Value::Whole(record.bytes_sent)));
    optional("bytes.received", Some(Value::Whole(record.bytes_received)));
    optional("amb.request_id", text(&record.request_id));
    optional("trace_id", record.trace.map(|place| Value::Id(place.trace, 32)));
    optional("span_id", record.trace.map(|place| Value::Id(place.span.into(), 16)));
    optional(
        "amb.edits",
        (!record.edits.applied.is_empty()).then_some(Value::List(&record.edits.applied)),
    );
    optional("amb.unedited", record.edits.unedited.as_deref().map(Value::Text));
    optional("amb.attempts", Some(Value::Whole(record.attempts.into())));
    optional("amb.resends", Some(Value::Whole(record.resends.into())));
    optional("connection.reused", Some(Value::Flag(record.reused)));
    optional("user_agent.original", record.user_agent.as_deref().map(Value::Text));
    optional(
        "http.request.header.referer",
        record.referer.as_deref().map(Value::Text),
    );
}

/// A JSON object.
fn json_line(line: &mut Vec<u8>, record: &Record) {
    push(
        line,
        format_args!("{{\"timestamp\":\"{}\"", document::time(record.started_at)),
    );
    fields(record, |key, value| {
        push(line, format_args!(",\"{key}\":"));
        match value {
            Value::Text(text) => json_text(line, text),
            Value::Id(number, digits) => push(line, format_args!("\"{number:0digits$x}\"")),
            value => plain(line, &value),
        }
    });
    line.push(b'}');
}

/// `key=value`, values in quotation marks where they need them.
fn logfmt_line(line: &mut Vec<u8>, record: &Record) {
    push(line, format_args!("timestamp={}", document::time(record.started_at)));
    fields(record, |key, value| {
        push(line, format_args!(" {key}="));
        match value {
            Value::Text(text) => {
                let bare = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
                if !text.is_empty() && text.bytes().all(bare) {
                    line.extend_from_slice(text.as_bytes());
                } else {
                    json_text(line, text);
                }
            }
            value => plain(line, &value),
        }
    });
}

/// Text in quotation marks, escaped as JSON has it, and control characters of all kinds with it: people `cat` logs.
fn json_text(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    for character in text.chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                push(line, format_args!("\\u{:04x}", u32::from(character)));
            }
            character => push(line, format_args!("{character}")),
        }
    }
    line.push(b'"');
}

/// A value that needs no quotation marks.
fn plain(line: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Text(text) => json_text(line, text),
        Value::Whole(number) => push(line, format_args!("{number}")),
        Value::Seconds(seconds) => push(line, format_args!("{seconds}")),
        Value::Flag(flag) => push(line, format_args!("{flag}")),
        Value::List(words) => json_text(line, &words.join(",")),
        Value::Id(number, digits) => push(line, format_args!("{number:0digits$x}")),
    }
}

/// Apache's common log format: `%h %l %u %t "%r" %>s %b`. The bytes are those on the wire from the server, heads included.
///
/// The client is always on this machine, and time is UTC.
fn common_line(line: &mut Vec<u8>, record: &Record) {
    let time = Timestamp::try_from(record.started_at).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time.strftime("%d/%b/%Y:%H:%M:%S +0000");
    push(line, format_args!("127.0.0.1 - - [{time}] \""));
    if record.method.is_empty() && record.host.is_empty() {
        // What Apache writes for a request that it could not read.
        line.push(b'-');
    } else {
        apache_escaped(line, &record.method);
        line.push(b' ');
        let host = &record.host;
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let scheme = record.scheme.unwrap_or(Scheme::Http);
        if record.kind == Kind::Exchange {
            line.extend_from_slice(scheme.name().as_bytes());
            line.extend_from_slice(b"://");
        }
        apache_escaped(line, &format!("{open}{host}{close}"));
        if record.kind == Kind::Tunnel || record.port != scheme.port() {
            push(line, format_args!(":{}", record.port));
        }
        apache_escaped(line, &record.path);
        push(line, format_args!(" {}", record.protocol));
    }
    line.push(b'"');
    match record.status {
        Some(status) => push(line, format_args!(" {status}")),
        None => line.extend_from_slice(b" -"),
    }
    match record.bytes_received {
        0 => line.extend_from_slice(b" -"),
        bytes => push(line, format_args!(" {bytes}")),
    }
}

/// Text as Apache escapes it in its logs: `\"`, `\\`, `\n`, `\t`, and `\xhh` for every other byte that is not ASCII text.
fn apache_escaped(line: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' => line.extend_from_slice(b"\\\""),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            b' '..=b'~' => line.push(byte),
            byte => push(line, format_args!("\\x{byte:02x}")),
        }
    }
}

/// Appends what is formatted.
fn push(line: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    line.write_fmt(arguments).expect("a Vec takes everything");
}
