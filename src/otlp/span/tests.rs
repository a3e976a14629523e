//! Spans against the conventions.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::{of_whole as of_record, *};
use crate::{
    policy::trace::{Propagate, TraceParent},
    traffic::{Blame, Failure, Scheme, TracePlace, edits::Notes},
};

/// The run's trace.
fn trace() -> Trace {
    Trace {
        propagate: Propagate::Never,
        run: TraceParent {
            trace: 7,
            span: 8,
            flags: 1,
        },
        joined: false,
        parent: None,
        state: Some("v=1".to_owned()),
        baggage: None,
    }
}

/// An exchange.
fn exchange() -> Record {
    Record {
        kind: Kind::Exchange,
        protocol: Protocol::Http11,
        scheme: Some(Scheme::Http),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_380_001),
        duration: Duration::from_millis(20),
        method: "GET".to_owned(),
        host: "api.example.com".to_owned(),
        port: 80,
        path: "/v1/items?page=2&token=***".to_owned(),
        sent_to: None,
        request_id: String::new(),
        trace: None,
        edits: Notes::default(),
        route: Some("api".into()),
        url_template: Some("/v1/{items}".into()),
        status: Some(200),
        outcome: Outcome::Ok,
        bytes_sent: 120,
        bytes_received: 3_400,
        connect: Some(Duration::from_micros(800)),
        first_byte: Some(Duration::from_millis(10)),
        opened: 1,
        attempts: 1,
        reused: false,
        user_agent: Some("curl/8.0".to_owned()),
        ..crate::traffic::meter::tests::exchange()
    }
}

/// An attribute as text; empty if there is none.
fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// The status: code and message.
fn status_of(span: &Span) -> (i32, &str) {
    span.status
        .as_ref()
        .map_or((0, ""), |status| (status.code, &status.message))
}

#[test]
fn an_exchange_is_told_as_the_conventions_have_it() {
    let span = of_record(&exchange(), &trace());
    assert_eq!((&*span.name, span.kind), ("GET /v1/{items}", SpanKind::Client.into()));
    assert_eq!(
        (span.trace_id.as_slice(), span.parent_span_id.as_slice()),
        (&7_u128.to_be_bytes()[..], &8_u64.to_be_bytes()[..])
    );
    assert_eq!((span.flags, &*span.trace_state), (0x101, "v=1"));
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 20_000_000);
    assert_eq!(status_of(&span), (0, ""));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("server.address", "api.example.com"),
        ("server.port", "80"),
        ("url.full", "http://api.example.com/v1/items?page=2&token=***"),
        ("url.template", "/v1/{items}"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "curl/8.0"),
        ("error.type", ""),
        ("http.request.resend_count", ""),
        ("http.request.method_original", ""),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
}

#[test]
fn a_method_that_nobody_knows_is_not_part_of_a_name() {
    let record = Record {
        method: "get".to_owned(),
        url_template: None,
        ..exchange()
    };
    let span = of_record(&record, &trace());
    assert_eq!(&*span.name, "HTTP");
    assert_eq!(attribute(&span, "http.request.method"), "_OTHER");
    assert_eq!(attribute(&span, "http.request.method_original"), "get");
}

#[test]
fn what_failed_is_an_error() {
    let failed = |error: &str, status, first_byte| Record {
        status: Some(status),
        first_byte,
        outcome: Outcome::Failed(Failure {
            error_type: error.to_owned(),
            blame: Blame::Upstream,
            detail: "connection refused by 127.0.0.1:9".to_owned(),
        }),
        ..exchange()
    };
    let refused = of_record(&failed("connection_refused", 502, None), &trace());
    assert_eq!(status_of(&refused), (2, "connection refused by 127.0.0.1:9"));
    assert_eq!(attribute(&refused, "error.type"), "connection_refused");
    // That one is amb's.
    assert_eq!(attribute(&refused, "http.response.status_code"), "");
    assert_eq!(attribute(&refused, "amb.response.status_code"), "502");
    let server = of_record(&failed("503", 503, Some(Duration::ZERO)), &trace());
    assert_eq!(
        (status_of(&server), &*attribute(&server, "error.type")),
        ((2, ""), "503")
    );
    let missing = Record {
        status: Some(404),
        ..exchange()
    };
    let missing = of_record(&missing, &trace());
    assert_eq!(
        (status_of(&missing), &*attribute(&missing, "error.type")),
        ((2, ""), "404")
    );
    let aborted = Record {
        outcome: Outcome::ClientAborted,
        ..exchange()
    };
    assert_eq!(attribute(&of_record(&aborted, &trace()), "error.type"), "aborted");
}

#[test]
fn resends_are_counted() {
    let record = Record {
        attempts: 3,
        resends: 1,
        ..exchange()
    };
    assert_eq!(
        attribute(&of_record(&record, &trace()), "http.request.resend_count"),
        "3"
    );
}

#[test]
fn a_span_of_the_command_is_the_parent_of_its_request() {
    let record = Record {
        trace: Some(TracePlace {
            trace: 1,
            span: 3,
            parent: Some(2),
            sampled: true,
        }),
        ..exchange()
    };
    let span = of_record(&record, &trace());
    assert_eq!(
        (
            span.trace_id.as_slice(),
            span.span_id.as_slice(),
            span.parent_span_id.as_slice()
        ),
        (
            &1_u128.to_be_bytes()[..],
            &3_u64.to_be_bytes()[..],
            &2_u64.to_be_bytes()[..]
        )
    );
    assert_eq!((span.flags, &*span.trace_state), (0x301, ""));
}

#[test]
fn each_of_several_attempts_is_below_its_exchange() {
    let one = |after, status, error| Try {
        after: Duration::from_millis(after),
        took: Duration::from_millis(2),
        status,
        error,
    };
    let refused = one(1, None, Some("connection_refused"));
    let tries = vec![refused, one(5, Some(503), None), one(9, Some(200), None)];
    let record = Record { tries, ..exchange() };
    let spans = super::of_record(&record, &trace());
    let (whole, tries) = spans.split_first().unwrap();
    let told: Vec<_> = tries
        .iter()
        .map(|span| {
            assert_eq!(
                (&span.parent_span_id, &span.trace_id),
                (&whole.span_id, &whole.trace_id)
            );
            assert_eq!(attribute(span, "url.full"), attribute(whole, "url.full"));
            let resent = attribute(span, "http.request.resend_count");
            let began = (span.start_time_unix_nano - whole.start_time_unix_nano) / 1_000_000;
            (began, resent, attribute(span, "error.type"), status_of(span).0)
        })
        .collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        told,
        [
            (1, text(""), text("connection_refused"), 2),
            (5, text("1"), text("503"), 2),
            (9, text("2"), text(""), 0),
        ]
    );
    // One attempt is the exchange itself.
    let record = Record {
        tries: vec![refused],
        ..exchange()
    };
    assert_eq!(super::of_record(&record, &trace()).len(), 1);
}

#[test]
fn a_tunnel_is_a_connect_without_a_url() {
    let record = Record {
        kind: Kind::Tunnel,
        protocol: Protocol::Socks5,
        scheme: None,
        method: "CONNECT".to_owned(),
        url_template: Some(Arc::from("/x")),
        status: None,
        ..exchange()
    };
    let span = of_record(&record, &trace());
    assert_eq!(&*span.name, "CONNECT");
    assert_eq!(attribute(&span, "url.full"), "");
    assert_eq!(attribute(&span, "network.protocol.name"), "socks");
    let captured = Record {
        protocol: Protocol::Captured,
        captured: true,
        ..record
    };
    let span = of_record(&captured, &trace());
    assert_eq!(attribute(&span, "network.protocol.name"), "tcp");
    assert_eq!(attribute(&span, "network.protocol.version"), "");
}
