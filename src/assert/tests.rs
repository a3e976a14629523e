//! What assertions come to, and what is said of those that make no sense.

use std::time::Duration;

use super::*;
use crate::{
    policy::{Problem, condition::Mistake},
    traffic::{
        Outcome, Record,
        assertion::{Actual, Figure},
        latency::{Distribution, Latency},
        meter::{
            Traffic,
            tests::{exchange, failure, metered, tunnel},
        },
        summary::{Child, ChildOutcome, Signal},
    },
};

/// A run to judge.
struct Run {
    /// What passed.
    traffic: Traffic,
    /// How the child ended.
    child: Child,
}

/// A run that nothing was seen of.
fn nothing_seen() -> Run {
    Run {
        traffic: Traffic::default(),
        child: Child {
            pid: Some(4711),
            exit_code: Some(0),
            signal: None,
            outcome: ChildOutcome::Exited,
        },
    }
}

/// A run that went mostly well: 128 requests to two hosts, one of which failed, and two that were refused.
fn usual() -> Run {
    let to = |host: &str, outcome| Record {
        host: host.to_owned(),
        outcome,
        ..exchange()
    };
    let mut traffic = metered(&[
        to("api.stripe.com", Outcome::Ok),
        to("soap.example.com", Outcome::Failed(failure("connection_timeout"))),
        to("telemetry.vendor.io", Outcome::Denied(failure("http_request_denied"))),
    ]);
    let latency = |p95, max| {
        let millis = Duration::from_millis;
        Latency {
            count: 125,
            mean: millis(81),
            min: millis(11),
            p50: millis(51),
            p90: millis(p95),
            p95: millis(p95),
            p99: millis(max),
            max: millis(max),
            histogram: Distribution::default(),
        }
    };
    traffic.requests.total = 128;
    traffic.requests.ok = 125;
    traffic.requests.retried = 4;
    traffic.requests.plaintext = 0;
    traffic.latency = Some(latency(310, 1_200));
    traffic.bytes.received = 4_194_304;
    let stripe = traffic
        .hosts
        .iter_mut()
        .find(|host| host.host == "api.stripe.com")
        .unwrap();
    stripe.requests.total = 90;
    stripe.latency = Some(latency(310, 1_200));
    Run {
        traffic,
        ..nothing_seen()
    }
}

/// What an expression comes to in a run.
fn judged(expression: &str, run: &Run) -> Assertion {
    let expression = Expression::compile(expression).unwrap_or_else(|mistakes| panic!("{expression}: {mistakes:?}"));
    let rule = Rule {
        name: "it".to_owned(),
        expression,
        severity: Severity::Error,
        aborts_after: None,
    };
    rule.judge(&Facts {
        traffic: &run.traffic,
        duration: Duration::from_millis(33_410),
        child: Some(&run.child),
    })
}

/// What an expression comes to where only the traffic counts.
fn of_traffic(expression: &str, traffic: Traffic) -> Assertion {
    let run = Run {
        traffic,
        ..nothing_seen()
    };
    judged(expression, &run)
}

#[track_caller]
fn check(expression: &str, expected: Verdict, values: &[Figure], detail: Option<&str>) {
    let assertion = judged(expression, &usual());
    let found: Vec<Figure> = assertion.actual.iter().map(|actual| actual.value.clone()).collect();
    assert_eq!(assertion.outcome, expected, "{expression}: {assertion:?}");
    assert_eq!(found, values, "{expression}");
    assert_eq!(assertion.detail.as_deref(), detail, "{expression}");
}

/// The mistakes of an expression, with what each is about.
fn mistakes(expression: &str) -> Vec<(String, String)> {
    let mistakes = Expression::compile(expression).expect_err(expression);
    let about = |place: Option<std::ops::Range<usize>>| place.map_or("", |place| &expression[place]).to_owned();
    mistakes
        .into_iter()
        .map(|Mistake { reason, place }| (reason, about(place)))
        .collect()
}

#[test]
fn each_example_comes_to_what_it_should() {
    use Verdict::{Failed, NoData, Passed};

    let millis = |millis| Figure::Time(Duration::from_millis(millis));
    let count = Figure::Count;
    check("requests.failed == 0", Failed, &[count(1)], None);
    check("requests.total > 0", Passed, &[count(128)], None);
    check(
        "requests.failed_ratio < 1%",
        Passed,
        &[Figure::Ratio(0.007_812_5)],
        None,
    );
    check("latency.p95 < 500ms", Passed, &[millis(310)], None);
    check(
        "latency.max < 5s && requests.total >= 10",
        Passed,
        &[millis(1_200), count(128)],
        None,
    );
    check(
        "hosts['api.stripe.com'].requests.total >= 1",
        Passed,
        &[count(90)],
        None,
    );
    check(
        "hosts['api.stripe.com'].latency.p99 < 800ms",
        Failed,
        &[millis(1_200)],
        None,
    );
    check(
        "hosts.all(h, h.endsWith('.example.com') || h == 'api.stripe.com')",
        Passed,
        &[],
        None,
    );
    check("egress.denied == 0", Passed, &[count(0)], None);
    check("requests.status['5xx'] == 0", Passed, &[count(0)], None);
    check(
        "requests.retried <= 5 && breakers.opened == 0",
        Passed,
        &[count(4), count(0)],
        None,
    );
    check("bytes.received < 50MiB", Passed, &[Figure::Bytes(4_194_304)], None);
    check(
        "replay.misses == 0",
        NoData,
        &[],
        Some("no data for replay.misses: nothing is replayed"),
    );
    check(
        "child.exit_code == 0 && run.duration < 2m",
        Passed,
        &[Figure::Number(0), millis(33_410)],
        None,
    );
    check(
        "!has(hosts.telemetry) || hosts.telemetry.requests.total == 0",
        Passed,
        &[],
        None,
    );
    check(
        "!hosts.exists(h, hosts[h].requests.failed > 0)",
        Failed,
        &[],
        Some("it holds for soap.example.com"),
    );
    check(
        "tls.failures == 0 && requests.plaintext == 0",
        Passed,
        &[count(0), count(0)],
        None,
    );
}

#[test]
fn the_examples_fail_where_they_should() {
    let of = |host: &str| Record {
        host: host.to_owned(),
        ..exchange()
    };
    let failed = |error_type: &str| Record {
        outcome: Outcome::Failed(failure(error_type)),
        first_byte: None,
        ..exchange()
    };
    let denied = Record {
        outcome: Outcome::Denied(failure("egress_denied")),
        egress: Some(crate::traffic::egress::Said {
            verdict: crate::traffic::egress::Verdict::Denied,
            rule: "default".into(),
            origin: None,
        }),
        ..exchange()
    };
    for (expression, records) in [
        ("requests.total > 0", vec![]),
        ("requests.failed_ratio < 1%", vec![failed("dns_error"), exchange()]),
        ("latency.p95 < 5ms", vec![exchange()]),
        (
            "hosts.all(h, h.endsWith('.example.com') || h == 'api.stripe.com')",
            vec![of("telemetry.vendor.io"), of("a.example.com")],
        ),
        ("egress.denied == 0", vec![denied]),
        (
            "requests.status['5xx'] == 0",
            vec![Record {
                status: Some(503),
                ..exchange()
            }],
        ),
        ("bytes.received < 1kB", vec![exchange()]),
        (
            "!has(hosts.telemetry) || hosts.telemetry.requests.total == 0",
            vec![of("telemetry")],
        ),
        (
            "tls.failures == 0 && requests.plaintext == 0",
            vec![failed("tls_certificate_error")],
        ),
        ("tls.failures == 0 && requests.plaintext == 0", vec![exchange()]),
    ] {
        let assertion = of_traffic(expression, metered(&records));
        assert_eq!(assertion.outcome, Verdict::Failed, "{assertion:?}");
        assert!(assertion.fails());
    }
    let telemetry = of_traffic(
        "hosts.all(h, h.endsWith('.example.com'))",
        metered(&[of("b"), of("a"), of("d"), of("c"), of("e.example.com")]),
    );
    assert_eq!(
        telemetry.detail.as_deref(),
        Some("it does not hold for a, b, c and 1 more")
    );
}

#[test]
fn what_there_is_no_data_of_does_not_hold() {
    for (expression, why) in [
        (
            "latency.p95 < 500ms",
            "no data for latency.p95: no request was answered",
        ),
        (
            "requests.failed_ratio < 1%",
            "no data for requests.failed_ratio: there was no request",
        ),
        (
            "hosts['api.stripe.com'].latency.p99 < 800ms",
            "no data for hosts['api.stripe.com'].latency.p99: nothing was sent to api.stripe.com",
        ),
        (
            "hosts['api.stripe.com'].requests.total == 0",
            "no data for hosts['api.stripe.com'].requests.total: nothing was sent to api.stripe.com",
        ),
        (
            "routes['POST api/x'].requests.failed == 0",
            "no data for routes['POST api/x'].requests.failed: nothing went by POST api/x",
        ),
        (
            "child.signal == 15",
            "no data for child.signal: no signal ended the command",
        ),
    ] {
        let assertion = judged(expression, &nothing_seen());
        assert_eq!(assertion.outcome, Verdict::NoData, "{expression}");
        assert_eq!(assertion.detail.as_deref(), Some(why));
        assert!(assertion.fails());
    }
    // A host that was called, and never answered.
    let unanswered = Record {
        outcome: Outcome::Failed(failure("connection_refused")),
        status: Some(502),
        first_byte: None,
        ..exchange()
    };
    let assertion = of_traffic("hosts['a.example'].latency.p99 < 800ms", metered(&[unanswered]));
    assert_eq!(assertion.outcome, Verdict::NoData);
    let why = "no data for hosts['a.example'].latency.p99: no request was answered";
    assert_eq!(assertion.detail.as_deref(), Some(why));
}

#[test]
fn what_was_counted_is_data_even_if_it_is_nothing() {
    for expression in [
        "requests.failed == 0",
        "egress.denied == 0",
        "!hosts.exists(h, hosts[h].requests.failed > 0)",
        "!has(hosts.telemetry)",
        "latency.p95 < 1s || requests.total == 0",
    ] {
        let assertion = judged(expression, &nothing_seen());
        assert!(assertion.passed(), "{expression}: {assertion:?}");
    }
}

#[test]
fn tunnels_are_told_of_where_requests_are_missed() {
    let assertion = of_traffic("latency.p95 < 500ms", metered(&[tunnel()]));
    let why = "no data for latency.p95: no request was answered; of the one tunnel amb cannot see what was in it";
    assert_eq!(assertion.detail.as_deref(), Some(why));
    assert!(
        of_traffic(
            "hosts['a.example'].tunnels.ok == 1 && tunnels.total == 1",
            metered(&[tunnel()])
        )
        .passed()
    );
}

#[test]
fn a_host_is_the_sum_of_its_ports_and_one_that_was_only_refused_was_not_called() {
    let other = Record {
        port: 8080,
        duration: Duration::from_millis(40),
        ..exchange()
    };
    let refused = Record {
        host: "refused.example".to_owned(),
        outcome: Outcome::Denied(failure("egress_denied")),
        ..exchange()
    };
    let traffic = metered(&[exchange(), other, refused]);
    for expression in [
        "hosts['a.example'].requests.total == 2",
        "hosts['a.example'].latency.max == 40ms && hosts['a.example'].latency.min == 10ms",
        "size(hosts) == 1",
        "!('refused.example' in hosts)",
        "requests.denied == 1",
    ] {
        let assertion = of_traffic(expression, traffic.clone());
        assert!(assertion.passed(), "{assertion:?}");
    }
}

#[test]
fn routes_go_by_their_id_and_by_what_their_paths_are_called() {
    let charge = Record {
        method: "POST".to_owned(),
        host: "api.stripe.com".to_owned(),
        route: Some("stripe".into()),
        url_template: Some("/v1/charges/{id}".into()),
        ..exchange()
    };
    let elsewhere = Record {
        host: "api.example.com".to_owned(),
        ..charge.clone()
    };
    let traffic = metered(std::slice::from_ref(&charge));
    for expression in [
        "routes['POST api.stripe.com/v1/charges/{id}'].requests.total == 1",
        "routes.stripe.latency.p95 == 10ms",
    ] {
        assert!(of_traffic(expression, traffic.clone()).passed(), "{expression}");
    }
    let traffic = metered(&[charge, elsewhere]);
    assert!(of_traffic("routes['POST */v1/charges/{id}'].requests.total == 2", traffic).passed());
}

#[test]
fn the_end_of_the_command_can_be_asserted() {
    let mut run = nothing_seen();
    run.child = Child {
        pid: None,
        exit_code: None,
        signal: Some(Signal {
            number: 15,
            name: "SIGTERM".to_owned(),
        }),
        outcome: ChildOutcome::Signalled,
    };
    assert!(judged("child.signal == 15 && child.signal_name == 'SIGTERM'", &run).passed());
    assert!(judged("!has(child.exit_code)", &run).passed());
    let assertion = judged("child.exit_code == 0", &run);
    assert_eq!(assertion.outcome, Verdict::NoData);
    let why = "no data for child.exit_code: a signal ended the command";
    assert_eq!(assertion.detail.as_deref(), Some(why));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    for (expression, reason, about) in [
        (
            "latncy.p95 < 1s",
            "there is no variable `latncy`; did you mean `latency`?",
            "latncy",
        ),
        (
            "latency.p95 < 500",
            "`latency.p95` is a duration: 500 what? try 500ms",
            "",
        ),
        (
            "latency.p95 == 500 || requests.total == 0",
            "`latency.p95` is a duration: 500 what? try 500ms",
            "",
        ),
        (
            "requests.total == 10 && 500 > hosts['x'].latency.p99",
            "`hosts['x'].latency.p99` is a duration: 500 what? try 500ms",
            "",
        ),
        ("latency.p95 < ", "this is no assertion: it breaks off", ""),
        ("latency.p95 <", "this is no assertion: it breaks off", ""),
        (
            "5s < 10s && latency.p59 < 1s",
            "there is no `latency.p59`; did you mean `latency.p50`?",
            "p59",
        ),
        (
            "hosts['a'].requests.totl >= 1",
            "there is no `hosts['a'].requests.totl`; did you mean `hosts['a'].requests.total`?",
            "totl",
        ),
        (
            "hosts.all(h, hosts[h].latncy.p95 < 1s)",
            "there is no `hosts[h].latncy`; did you mean `hosts[h].latency`?",
            "latncy",
        ),
        (
            "requests.status['6xx'] == 0",
            "there is no `requests.status.6xx`; did you mean `requests.status.1xx`?",
            "6xx",
        ),
        ("requests.total.all == 1", "`requests.total` has no fields", "all"),
        ("requests.total", "an assertion is true or false, and this is a int", ""),
        (
            "requests.total = 1",
            "this is no assertion: `=` compares nothing; did you mean `==`?",
            "=",
        ),
        ("requests.total == 'many'", "`==` does not take int and string", ""),
        (
            "hosts.all(h, hosts[h].latency.p95 < 500)",
            "`hosts[h].latency.p95` is a duration: 500 what? try 500ms",
            "",
        ),
        (
            "hosts.all(h, h.endswith('x'))",
            "there is no function `endswith`; did you mean `endsWith`?",
            "endswith",
        ),
        (
            "latency.p95 < 500sec",
            "`500sec` is neither a duration such as 500ms, 5s or 1m30s nor a size such as 64KiB, 10MB or 512B",
            "500sec",
        ),
        (
            "hosts.all(a, hosts.all(b, a == b))",
            "inside `all` and its like only a list that is written out can be gone through",
            "",
        ),
    ] {
        assert_eq!(
            mistakes(expression),
            [(reason.to_owned(), about.to_owned())],
            "{expression}"
        );
    }
}

#[test]
fn an_expression_that_is_too_large_is_refused_before_it_is_parsed() {
    let deep = format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000));
    assert!(mistakes(&deep)[0].0.contains("bytes"));
    let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    assert_eq!(mistakes(&deep)[0].0, "an assertion is at most 32 parentheses deep");
    let chain = vec!["requests.total"; 60].join("+") + " == 0";
    let reason = &mistakes(&chain)[0].0;
    assert!(
        reason.contains("operations of this assertion are inside each other"),
        "{reason}"
    );
}

#[test]
fn lists_that_are_written_out_go_inside_of_hosts() {
    check(
        "hosts.all(h, ['api.stripe.com', 'soap.example.com'].exists(x, h == x))",
        Verdict::Passed,
        &[],
        None,
    );
}

#[test]
fn an_assertion_stops_the_run_once_it_is_known_not_to_hold() {
    let rule = |name: &str, expression: &str, after| Rule {
        name: name.to_owned(),
        expression: Expression::compile(expression).unwrap(),
        severity: Severity::Error,
        aborts_after: after,
    };
    let assertions = Assertions(vec![
        rule("at the end", "requests.total == 0", None),
        rule("known of nothing", "hosts.a.requests.total > 9", Some(Duration::ZERO)),
        rule("later", "requests.total == 0", Some(Duration::from_secs(10))),
    ]);
    assert!(assertions.may_abort());
    let traffic = metered(&[exchange()]);
    let at = |seconds| {
        let facts = Facts {
            traffic: &traffic,
            duration: Duration::from_secs(seconds),
            child: None,
        };
        assertions.abort(&facts)
    };
    assert_eq!(at(9), None);
    let aborted = at(10).unwrap();
    assert_eq!((aborted.name.as_str(), aborted.aborted), ("later", true));
    let facts = Facts {
        traffic: &Traffic::default(),
        duration: Duration::from_secs(11),
        child: None,
    };
    let judged = assertions.judge(&facts, Some(&aborted));
    assert_eq!(judged[2], aborted, "it stays what it was when it stopped the run");
    assert_eq!(
        judged[2].actual,
        [Actual {
            of: "requests.total".to_owned(),
            value: Figure::Count(1)
        }]
    );
    assert!(judged[0].passed());
}

#[test]
fn a_table_says_what_a_failure_means() {
    let text = r#"{
        "a": "requests.failed == 0",
        "b": { "expr": "requests.total > 0", "severity": "warning" },
        "c": { "expr": "egress.denied == 0", "abort": true, "after": "10s" }
    }"#;
    let options: AssertOptions = serde_json::from_str(text).unwrap();
    let expected: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&options).unwrap(), expected);
    let mut problems: Vec<Problem> = Vec::new();
    let Assertions(rules) = options.build(&mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let told: Vec<_> = rules
        .iter()
        .map(|rule| (rule.name.as_str(), rule.severity, rule.aborts_after))
        .collect();
    assert_eq!(
        told,
        [
            ("a", Severity::Error, None),
            ("b", Severity::Warning, None),
            ("c", Severity::Error, Some(Duration::from_secs(10))),
        ]
    );
}

#[test]
fn what_contradicts_itself_is_a_mistake() {
    for (text, key) in [
        (
            r#"{ "a": { "expr": "requests.failed == 0", "after": "10s" } }"#,
            "after",
        ),
        (
            r#"{ "a": { "expr": "requests.failed == 0", "abort": true, "severity": "warn" } }"#,
            "abort",
        ),
    ] {
        let options: AssertOptions = serde_json::from_str(text).unwrap();
        let mut problems: Vec<Problem> = Vec::new();
        assert!(options.build(&mut problems).is_empty());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, ["assert", "a", key]);
    }
}
