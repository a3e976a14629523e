//! What the JSON report says.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::*;
use crate::{
    report::human::tests::{nothing_seen, summary},
    traffic::{
        Blame, Failure, Kind, Limited, Outcome, Protocol, Record,
        assertion::{Actual, Assertion, Figure, Severity, Verdict},
        edits::Notes,
        egress,
        meter::Meter,
        retries::{NotRetried, Refused, RetryLevel},
        summary::{CentralPolicy, ChildOutcome, Clamped, Lifted, Warning},
    },
};

/// The report, read back.
fn report(summary: &Summary) -> Value {
    serde_json::to_value(Document::of(summary)).unwrap()
}

/// A record of a request that was answered.
pub(crate) fn record(host: &str, status: u16, began: Duration, took: Duration) -> Record {
    Record {
        kind: Kind::Exchange,
        protocol: Protocol::Http11,
        scheme: Some(crate::traffic::Scheme::Http),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_380_001) + began,
        duration: took,
        method: "GET".to_owned(),
        host: host.to_owned(),
        port: 80,
        path: "/v1/items?page=2&token=***".to_owned(),
        sent_to: None,
        request_id: String::new(),
        trace: None,
        edits: Notes::default(),
        route: Some("api".into()),
        url_template: Some("/v1/{items}".into()),
        status: Some(status),
        outcome: Outcome::Ok,
        bytes_sent: 120,
        bytes_received: 3_400,
        connect: Some(Duration::from_micros(800)),
        first_byte: Some(took / 2),
        opened: 1,
        attempts: 1,
        reused: false,
        user_agent: Some("curl/8.0".to_owned()),
        ..crate::traffic::meter::tests::exchange()
    }
}

/// An assertion that was judged.
fn asserted(name: &str, severity: Severity, outcome: Verdict, value: Figure) -> Assertion {
    Assertion {
        name: name.to_owned(),
        expression: format!("{name} > 0"),
        place: None,
        severity,
        outcome,
        actual: vec![Actual {
            of: name.to_owned(),
            value,
        }],
        detail: None,
        aborted: false,
    }
}

/// A run that everything there is was seen of.
pub(crate) fn everything() -> Summary {
    let mut meter = Meter::default();
    for number in 0..500_u64 {
        let host = ["api.example.com", "b.example.com"][usize::from(number % 5 == 0)];
        let took = Duration::from_micros(4_000 + number * number % 90_000);
        let mut record = record(host, 200, Duration::from_millis(number * 40), took);
        match number {
            50 => {
                record.outcome = Outcome::Failed(Failure {
                    error_type: "503".to_owned(),
                    blame: Blame::Upstream,
                    detail: "the server answered 503".to_owned(),
                });
                record.retries.refused = Some(Refused {
                    why: NotRetried::Off,
                    level: Some(RetryLevel::Safe),
                });
            }
            60 => {
                record.host = "telemetry.example.net".to_owned();
                record.egress = Some(egress::Said {
                    verdict: egress::Verdict::Denied,
                    rule: "default".into(),
                    origin: None,
                });
                record.outcome = Outcome::Denied(Failure {
                    error_type: "http_request_denied".to_owned(),
                    blame: Blame::Policy,
                    detail: "denied by default".to_owned(),
                });
                (record.route, record.first_byte, record.status) = (None, None, Some(403));
            }
            70 => {
                record.kind = Kind::Tunnel;
                (record.port, record.sealed, record.route) = (443, true, None);
                record.called = vec!["front.example.com".to_owned()];
            }
            90 => {
                record.edits.applied.push("headers.set.X-Team".into());
                record.edits.note("its body is compressed");
                record.signed_in.by_amb = true;
                record.request_id = "r-90".to_owned();
            }
            80 => (record.limited, record.waited) = (Some(Limited::Delayed), Duration::from_millis(5)),
            _ => {
                record.egress = Some(egress::Said {
                    verdict: egress::Verdict::Allowed,
                    rule: "*.example.com".into(),
                    origin: Some("amb.toml:3".into()),
                });
            }
        }
        meter.add(&record);
    }
    meter.note_circuits(vec![Circuit {
        name: "b.example.com".to_owned(),
        state: CircuitState::HalfOpen,
        opened: 2,
        rejected: 9,
    }]);
    let mut summary = Summary {
        traffic: meter.finish(),
        egress: Some("enforce"),
        leftovers: Some(1),
        assertions: vec![
            asserted("called", Severity::Error, Verdict::Passed, Figure::Count(499)),
            asserted(
                "fast",
                Severity::Warning,
                Verdict::Failed,
                Figure::Time(Duration::from_micros(310)),
            ),
        ],
        warnings: vec![Warning::new("records_lost", "some were")],
        ..nothing_seen()
    };
    (summary.traffic.failures_beyond, summary.traffic.denials_beyond) = (3, 4);
    summary.run.policy = Some(CentralPolicy {
        id: "acme".to_owned(),
        paths: vec!["/etc/amb/policy.toml".to_owned()],
        clamped: vec![Clamped {
            key: "retry.attempts".to_owned(),
            asked: 5.into(),
            got: 3.into(),
        }],
        lifted: Some(Lifted {
            user: "root".to_owned(),
            group: "ops".to_owned(),
            reason: "an incident".to_owned(),
            max_duration_seconds: 60.0,
            files: vec!["/etc/amb/policy.toml".to_owned()],
        }),
    });
    summary.run.confine = Some("tcp");
    summary
}

#[test]
fn what_began_when_is_told_in_slots() {
    let report = report(&everything());
    let timeline = &report["timeline"];
    assert_eq!(timeline["slot_seconds"], 0.1);
    let sum = |name: &str| -> u64 {
        timeline[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_u64().unwrap())
            .sum()
    };
    assert_eq!((sum("requests"), sum("tunnels"), sum("failed")), (499, 1, 2));
}

#[test]
fn the_schema_is_what_programs_were_told() {
    let report = report(&summary());
    assert_eq!(report["$schema"], "urn:amb:report:1");
    assert_eq!(report["schema_version"], SCHEMA_VERSION);
    assert_eq!(
        report["run"],
        json!({
            "id": "01JD8ZK3V6W2Q4",
            "name": "billing",
            "command": ["./legacy-app", "--port", "8080"],
            "started_at": "2026-11-22T20:40:01.120Z",
            "duration_seconds": 33.41,
            "config": { "sources": ["amb.toml", "AMB_TIMEOUT__CONNECT", "--summary"] }
        })
    );
    assert_eq!(
        report["child"],
        json!({ "pid": 4711, "exit_code": 0, "signal": null, "outcome": "exited" })
    );
    assert_eq!(report["exit"], json!({ "code": 0, "reason": "child" }));
    assert_eq!(
        report["totals"]["requests"],
        json!({
            "total": 128, "ok": 125, "failed": 1, "denied": 2, "aborted": 0, "cut_short": 0,
            "retried": 4, "resends": 5, "plaintext": 0, "failed_ratio": 0.0078,
            "status": { "1xx": 0, "2xx": 120, "3xx": 0, "4xx": 5, "5xx": 0 }
        })
    );
    assert_eq!(report["totals"]["connections"], json!({ "opened": 9, "reused": 119 }));
    assert_eq!(report["totals"]["latency_seconds"]["p95"], json!(0.31));
    let host = &report["hosts"][0];
    assert_eq!((&host["host"], &host["port"]), (&json!("api.stripe.com"), &json!(80)));
    assert_eq!(host["bytes"], json!({ "sent": 41_984, "received": 1_992_294 }));
    assert_eq!(
        report["failures"],
        json!([{
            "count": 1, "method": "POST", "host": "soap.example.com", "port": 80, "path": "/v1/invoices",
            "error_type": "connection_timeout", "blame": "upstream", "detail": "no connection within 2s",
            "first_at": "2026-11-22T20:40:07.000Z"
        }])
    );
    assert_eq!(report["denials"][0]["count"], 2);
}

#[test]
fn what_was_not_measured_is_absent() {
    let report = report(&nothing_seen());
    assert!(report["totals"].get("latency_seconds").is_none());
    assert!(report["totals"]["requests"].get("failed_ratio").is_none());
    assert!(report.get("leftovers").is_none());
    assert_eq!(report["totals"]["requests"]["total"], 0, "what was counted is zero");
    assert_eq!(report["hosts"], json!([]));
}

#[test]
fn a_signal_has_its_number_and_name() {
    let mut summary = summary();
    summary.child.exit_code = None;
    summary.child.outcome = ChildOutcome::Signalled;
    summary.child.signal = Some(crate::traffic::summary::Signal {
        number: 15,
        name: "SIGTERM".to_owned(),
    });
    assert_eq!(
        report(&summary)["child"],
        json!({ "pid": 4711, "exit_code": null, "signal": 15, "signal_name": "SIGTERM", "outcome": "signalled" })
    );
}

#[test]
fn a_ratio_has_four_places() {
    assert_eq!(ratio(1, 128), Some(0.0078));
    assert_eq!(ratio(1, 3), Some(0.3333));
    assert_eq!(ratio(5, 5), Some(1.0));
    assert_eq!(ratio(0, 0), None);
}
