//! Trace context.

use super::{got, lead, record, run};
use crate::support::{Amb, Child, Proxy, Upstream, status};

/// A context.
const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The trace of it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn a_trace_goes_on_in_requests_that_have_none() {
    let server = Upstream::script([status(200), status(200)]);
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("log");
    let run = run(
        "headers.via = false\notel.propagate = 'if-missing'\n",
        &[
            "--access-log",
            log.to_str().unwrap(),
            &lead("api.test", server.address()),
        ],
    );
    let proxy = Proxy::of(
        run.env("TRACEPARENT", GIVEN)
            .env("TRACESTATE", "v=1")
            .env("BAGGAGE", "team=billing"),
    );
    let other = "00-11111111111111111111111111111111-2222222222222222-00";
    for extra in [String::new(), format!("TraceParent: {other}\r\ntracestate: o=2\r\n")] {
        proxy.ask(format!(
            "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n{extra}\r\n"
        ));
    }
    let requests = server.join();
    let parent = requests[0].field("traceparent").unwrap().to_owned();
    assert!(
        parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"),
        "{parent}"
    );
    assert_ne!(parent, GIVEN);
    assert_eq!(
        requests[0].head(),
        format!(
            "GET / HTTP/1.1\r\nHost: api.test\r\ntraceparent: {parent}\r\ntracestate: v=1\r\nbaggage: team=billing\r\n\r\n"
        )
    );
    assert_eq!(
        requests[1].head(),
        format!("GET / HTTP/1.1\r\nHost: api.test\r\nTraceParent: {other}\r\ntracestate: o=2\r\n\r\n")
    );
    assert_eq!(proxy.end().part("/run/trace_id"), TRACE);
    let text = std::fs::read_to_string(&log).unwrap();
    let records: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&records[0]["trace_id"], &records[0]["amb.edits"]),
        (&TRACE.into(), &"otel.propagate".into())
    );
    assert_eq!(records[0]["span_id"], parent[36..52]);
    assert_eq!(records[1]["trace_id"], "1".repeat(32));
    assert_eq!(records[1].get("amb.edits"), None);
}

#[test]
fn a_run_without_a_trace_around_it_begins_one_and_may_replace_others() {
    let server = Upstream::script([status(200)]);
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("log");
    let proxy = Proxy::of(
        run(
            "otel.propagate = 'always'\n",
            &[
                "--access-log",
                log.to_str().unwrap(),
                &lead("api.test", server.address()),
            ],
        )
        .without_env("TRACEPARENT"),
    );
    proxy.ask(format!(
        "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\ntraceparent: {GIVEN}\r\ntracestate: a=b\r\n\r\n"
    ));
    let request = got(server);
    assert!(!request.contains(TRACE) && !request.contains("tracestate"), "{request}");
    let records = proxy.end();
    let trace = records.part("/run/trace_id").as_str().unwrap();
    assert!(request.contains(&format!("traceparent: 00-{trace}-")), "{request}");
    assert_eq!(record(&log)["trace_id"], trace);
}

#[test]
fn the_command_is_part_of_the_trace_where_that_is_asked_for() {
    let variables = |flags: &[&str], parent: Option<&str>| {
        let run = Amb::run(flags).shell("echo \"$TRACEPARENT $TRACESTATE $BAGGAGE\"");
        let run = match parent {
            Some(parent) => run.env("TRACEPARENT", parent),
            None => run.without_env("TRACEPARENT"),
        };
        let outcome = run.env("TRACESTATE", "v=1").env("BAGGAGE", "team=billing").success();
        outcome.stdout().trim_end().to_owned()
    };
    let on = "--set=otel.propagate=if-missing";
    assert_eq!(variables(&[], Some(GIVEN)), format!("{GIVEN} v=1 team=billing"));
    assert_eq!(variables(&[], None), " v=1 team=billing");
    let joined = variables(&[on], Some(GIVEN));
    assert!(
        joined.starts_with(&format!("00-{TRACE}-")) && joined.ends_with("-01 v=1 team=billing"),
        "{joined}"
    );
    assert_ne!(&joined[..55], GIVEN);
    let own = variables(&[on], None);
    assert!(own.starts_with("00-") && own.ends_with("-01  team=billing"), "{own}");
    let without = variables(&[on, "--inject=-traceparent"], Some(GIVEN));
    assert_eq!(without, format!("{GIVEN} v=1 team=billing"));
    drop(Child::exit(0));
}

#[test]
fn nothing_is_added_unless_it_is_asked_for() {
    let server = Upstream::script([status(200)]);
    let proxy = Proxy::of(Amb::run(["--no-via", &lead("api.test", server.address())]).env("TRACEPARENT", GIVEN));
    proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(got(server), "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let records = proxy.end();
    assert!(records.report()["run"].get("trace_id").is_none() && records.report().get("edits").is_none());
}
