//! The report as k6's summary export, for what reads that: the load performance widget of GitLab's merge requests.
//!
//! Only what amb has measured: no virtual users, no iterations. Times are in milliseconds, as k6 has them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    report::document::Document,
    traffic::{latency::Latency, summary::ChildOutcome},
};

/// The report, with a newline at its end.
pub(super) fn render(document: &Document) -> String {
    let totals = &document.totals;
    let requests = &totals.requests.counts;
    let seconds = document.run.duration.as_secs_f64();
    let mut metrics = Map::new();
    let mut rate = |name: &str, count: u64| {
        metrics.insert(
            name.to_owned(),
            json!({ "count": count, "rate": per_second(count, seconds) }),
        );
    };
    rate("http_reqs", requests.total);
    rate("data_sent", totals.bytes.sent);
    rate("data_received", totals.bytes.received);
    // k6 counts in `passes` how often it is true that a request failed.
    let ratio = totals.requests.failed_ratio.unwrap_or_default();
    let failed = json!({ "passes": requests.failed, "fails": requests.total - requests.failed.min(requests.total), "value": ratio });
    metrics.insert("http_req_failed".to_owned(), failed);
    for (name, latency) in [
        ("http_req_duration", &totals.latency),
        ("http_req_waiting", &totals.first_byte),
        ("http_req_connecting", &totals.connect),
    ] {
        metrics.extend(latency.iter().map(|latency| (name.to_owned(), trend(latency))));
    }
    let ends_well = document.child.exit_code == Some(0) || document.child.outcome == ChildOutcome::Absent.name();
    let ended = std::iter::once(("the command ends well", ends_well));
    let checks: Vec<_> = ended
        .chain(document.assertions.iter().map(|one| (&*one.name, one.passed)))
        .collect();
    let passes = checks.iter().filter(|(_, passed)| *passed).count();
    let fails = checks.len() - passes;
    #[expect(clippy::cast_precision_loss, reason = "a share of a handful of assertions")]
    let ratio = passes as f64 / checks.len() as f64;
    metrics.insert(
        "checks".to_owned(),
        json!({ "passes": passes, "fails": fails, "value": ratio }),
    );
    let checks: Map<String, Value> = checks.iter().map(|(name, passed)| check(name, *passed)).collect();
    let group = json!({ "name": "", "path": "", "id": "amb", "groups": {}, "checks": checks });
    format!(
        "{:#}\n",
        json!({ "metrics": Value::Object(metrics), "root_group": group })
    )
}

/// A check by its name.
fn check(name: &str, held: bool) -> (String, Value) {
    let (passes, fails) = (u64::from(held), u64::from(!held));
    let check = json!({ "name": name, "path": format!("::{name}"), "id": name, "passes": passes, "fails": fails });
    (name.to_owned(), check)
}

/// How often something happened in a second.
fn per_second(count: u64, seconds: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate has no need of the last of sixteen digits"
    )]
    let count = count as f64;
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// The figures of a k6 trend.
fn trend(latency: &Latency) -> Value {
    let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    json!({
        "avg": millis(latency.mean), "min": millis(latency.min), "med": millis(latency.p50),
        "max": millis(latency.max), "p(90)": millis(latency.p90), "p(95)": millis(latency.p95),
        "p(99)": millis(latency.p99)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{human::tests::nothing_seen, json::tests::everything};

    /// The report on a run, read back.
    fn k6(document: &Document) -> Value {
        serde_json::from_str(&render(document)).unwrap()
    }

    #[test]
    fn what_gitlab_shows_is_there_in_its_units() {
        let document = Document::of(&everything());
        let metrics = &k6(&document)["metrics"];
        assert_eq!(metrics["http_reqs"]["count"], 499);
        let rate = metrics["http_reqs"]["rate"].as_f64().unwrap();
        assert!((rate - 499.0 / 33.41).abs() < 1e-9, "{rate}");
        let p95 = document.totals.first_byte.as_ref().unwrap().p95;
        assert_eq!(metrics["http_req_waiting"]["p(95)"], p95.as_secs_f64() * 1_000.0);
        assert_eq!(
            (&metrics["checks"]["passes"], &metrics["checks"]["fails"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(metrics["http_req_failed"]["passes"], 1);
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let metrics = &k6(&Document::of(&nothing_seen()))["metrics"];
        assert!(metrics.get("http_req_waiting").is_none());
        assert_eq!(metrics["http_reqs"]["rate"], 0.0);
    }
}
