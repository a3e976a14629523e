//! What a collector gets of a run, and what becomes of the run without one.

mod collector;

use std::{fs, time::Instant};

use http_body_util::Full;
use hyper::Response;
use opentelemetry_proto::tonic::trace::v1::Span;

use self::collector::{Collector, attribute, measured, metrics, spans, take};
use crate::support::{Amb, Child, Upstream, ok, status};

/// A context.
const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A run that asks for this, so that it goes through amb.
fn getting(flags: &[&str], urls: &[String]) -> Amb {
    let child = Child::default().then(urls.iter().flat_map(|url| ["--get", url]));
    Amb::run(flags.iter().copied().chain(["--proxy-loopback"]))
        .without_env("TRACEPARENT")
        .child(child)
}

/// The span of this name.
#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} among {spans:#?}"))
}

/// An id as it is written.
fn hex(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn a_collector_gets_spans_and_metrics_by_http() {
    let server = Upstream::script([ok("hello"), status(503)]);
    let collector = Collector::http(take);
    let endpoint = format!("--otlp={}", collector.server.url(""));
    let run = getting(
        &[&endpoint, "--name=billing"],
        &[server.url("/a?token=secret-thing"), server.url("/b")],
    );
    let outcome = run
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci")
        .success();
    assert!(!outcome.stderr().contains("OpenTelemetry"), "{}", outcome.stderr());
    let taken = collector.all();
    for one in &taken {
        assert!(matches!(&*one.path, "/v1/traces" | "/v1/metrics"), "{}", one.path);
        assert_eq!(one.fields["content-type"], "application/x-protobuf");
    }
    let (spans, resource) = spans(&taken);
    assert_eq!(spans.len(), 3);
    let run = named(&spans, "child");
    assert!(run.parent_span_id.is_empty());
    assert_eq!(attribute(&run.attributes, "process.exit.code"), "0");
    let gets: Vec<&Span> = spans.iter().filter(|span| span.name == "GET").collect();
    for (get, url, answered) in [(gets[0], "/a?token=***", "200"), (gets[1], "/b", "503")] {
        assert_eq!((&get.trace_id, &get.parent_span_id), (&run.trace_id, &run.span_id));
        assert_eq!(attribute(&get.attributes, "url.full"), server.url(url));
        assert_eq!(attribute(&get.attributes, "http.response.status_code"), answered);
    }
    for (key, value) in [
        ("service.name", "billing"),
        ("deployment.environment.name", "ci"),
        ("amb.proxy", "BoolValue(true)"),
        ("telemetry.sdk.name", "amb"),
    ] {
        assert_eq!(attribute(&resource, key), value, "{key}");
    }
    assert_eq!(measured(&metrics(&taken)), 2);
}

#[test]
fn a_collector_gets_the_same_by_grpc() {
    let server = Upstream::script([ok("hello")]);
    let collector = Collector::grpc("0");
    let run = getting(&["--otlp"], &[server.url("/")])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.server.url(""))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")
        .env("OTEL_SERVICE_NAME", "told");
    let outcome = run.success();
    assert!(!outcome.stderr().contains("OpenTelemetry"), "{}", outcome.stderr());
    let taken = collector.all();
    for one in &taken {
        assert_eq!(one.fields["te"], "trailers");
        assert_eq!(one.fields["x-key"], "a b");
    }
    let (spans, resource) = spans(&taken);
    assert_eq!((spans.len(), &*attribute(&resource, "service.name")), (2, "told"));
    assert_eq!(measured(&metrics(&taken)), 1);
}

#[test]
fn the_trace_around_the_run_goes_on_in_its_spans_and_in_the_command() {
    let server = Upstream::script([ok("hello")]);
    let collector = Collector::http(take);
    let endpoint = format!("--otlp={}", collector.server.url(""));
    let child = Child::program();
    let get = format!("echo $TRACEPARENT; {} --get {}", child.display(), server.url("/"));
    let flags = [&endpoint, "--proxy-loopback", "--set=otel.propagate=if-missing"];
    let outcome = Amb::run(flags).env("TRACEPARENT", GIVEN).shell(&get).success();
    let (spans, _) = spans(&collector.all());
    let (run, get) = (named(&spans, "sh"), named(&spans, "GET"));
    assert_eq!(hex(&run.trace_id), &GIVEN[3..35]);
    assert_eq!(hex(&run.parent_span_id), &GIVEN[36..52]);
    let parent = outcome.stdout().lines().next().unwrap();
    assert_eq!(parent, format!("00-{}-{}-01", hex(&run.trace_id), hex(&run.span_id)));
    assert_eq!(get.parent_span_id, run.span_id);
    let sent = server.join()[0].field("traceparent").unwrap().to_owned();
    assert_eq!(sent, format!("00-{}-{}-01", hex(&get.trace_id), hex(&get.span_id)));
}

#[test]
fn a_request_that_is_part_of_a_trace_stays_as_it_is_and_its_span_is_below_that() {
    let server = Upstream::script([status(204)]);
    let collector = Collector::http(take);
    let proxy = crate::support::Proxy::with([format!("--otlp={}", collector.server.url("")), "--no-via".to_owned()]);
    let host = server.address();
    let head = format!("Host: {host}\r\ntraceparent: {GIVEN}\r\n\r\n");
    proxy.ask(format!("GET http://{host}/ HTTP/1.1\r\n{head}"));
    proxy.end();
    assert_eq!(server.join()[0].head(), format!("GET / HTTP/1.1\r\n{head}"));
    let (spans, _) = spans(&collector.all());
    let get = named(&spans, "GET");
    assert_eq!(hex(&get.trace_id), &GIVEN[3..35]);
    assert_eq!(hex(&get.parent_span_id), &GIVEN[36..52]);
    assert_ne!(named(&spans, "sh").trace_id, get.trace_id);
}

#[test]
fn variables_by_themselves_send_nothing() {
    let collector = Collector::http(take);
    let run = Amb::run([""; 0]).child(Child::exit(0));
    run.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.server.url(""))
        .success();
    assert_eq!(collector.server.connections(), 0);
}

#[test]
fn a_collector_that_is_not_there_costs_one_warning_and_no_time() {
    // Nobody listens there: it was let go of.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let run = Amb::run([format!("--otlp=http://{free}")]).child(Child::exit(7));
    let outcome = run.status(7);
    let warnings: Vec<&str> = outcome
        .stderr()
        .lines()
        .filter(|line| line.contains("OpenTelemetry"))
        .collect();
    let expected = format!(
        "amb: warning: the OpenTelemetry collector http://{free} lacks 1 span and the last metrics: connection refused by {free}"
    );
    assert_eq!(warnings, [expected]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is the time that counts here")]
fn a_collector_that_does_not_answer_is_not_waited_for_by_the_command() {
    let server = Upstream::script([ok("hello"), ok("world")]);
    let (silence, end) = std::sync::mpsc::channel::<()>();
    let end = std::sync::Arc::new(std::sync::Mutex::new(end));
    let silent = Upstream::serve(move |stream, _| {
        assert!(end.lock().unwrap().recv().is_err());
        drop(stream);
    });
    let run = getting(
        &[&format!("--otlp={}", silent.url(""))],
        &[server.url("/"), server.url("/")],
    );
    let started = Instant::now();
    let outcome = run
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
        .env("OTEL_BSP_SCHEDULE_DELAY", "1")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1")
        .success();
    assert!(started.elapsed() < crate::support::PATIENCE / 2);
    assert_eq!(outcome.stdout().matches("200 OK").count(), 2);
    assert!(
        outcome.stderr().contains("it did not answer in time"),
        "{}",
        outcome.stderr()
    );
    drop(silence);
}

#[test]
fn what_a_collector_cannot_take_now_is_sent_again() {
    let collector = Collector::http(|number| match number {
        0 => Response::builder()
            .status(503)
            .header("retry-after", "0")
            .body(Full::default())
            .unwrap(),
        _ => take(number),
    });
    let run = Amb::run([format!("--otlp={}", collector.server.url(""))]).child(Child::exit(0));
    let outcome = run.success();
    assert!(!outcome.stderr().contains("OpenTelemetry"), "{}", outcome.stderr());
    let taken = collector.all();
    let paths: Vec<&str> = taken.iter().map(|one| &*one.path).collect();
    assert_eq!(paths, ["/v1/metrics", "/v1/metrics", "/v1/traces"]);
}

#[test]
fn what_a_collector_refuses_is_told_with_its_reason() {
    let collector = Collector::grpc("16");
    let run = Amb::run([format!("--otlp={}", collector.server.url(""))]).child(Child::exit(0));
    let outcome = run.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").success();
    let said = "it answered with the gRPC status 16 (as the test wants it)";
    assert!(outcome.stderr().contains(said), "{}", outcome.stderr());
}

#[test]
fn spans_are_sent_while_the_run_goes_on() {
    let server = Upstream::script([status(204)]);
    let collector = Collector::http(take);
    let run = Amb::run([format!("--otlp={}", collector.server.url(""))])
        .env("OTEL_BSP_SCHEDULE_DELAY", "1")
        .env("OTEL_METRICS_EXPORTER", "none");
    let proxy = crate::support::Proxy::of(run);
    proxy.ask(format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", server.url("/")));
    let first = collector.next();
    assert_eq!(named(&spans(&[first]).0, "GET").name, "GET");
    proxy.end();
}

#[test]
fn a_header_may_be_a_secret_that_is_for_the_collector() {
    let collector = Collector::http(take);
    let run = Amb::run([format!("--otlp={}", collector.server.url(""))])
        .env("AMB_TRUST", "1")
        .env("TOKEN_OF_COLLECTOR", "s3cret-token")
        .child(Child::exit(0));
    let file =
        "[otel]\nheaders.x-key = 'secret:key'\n[secret.key]\nenv = 'TOKEN_OF_COLLECTOR'\nhosts = ['127.0.0.1']\n";
    fs::write(run.home().join("amb.toml"), file).unwrap();
    let outcome = run.success();
    assert!(!outcome.stderr().contains("s3cret"), "{}", outcome.stderr());
    assert_eq!(collector.next().fields["x-key"], "s3cret-token");
}
