//! What must hold of a run's traffic, and how amb ends if it does not.

use std::fs;

use super::support::{Amb, Child, Outcome, Upstream, ok, status};

/// A run of one request, whose answer is `hello`, with these flags.
#[track_caller]
fn one_request(flags: &[&str]) -> Outcome {
    let upstream = Upstream::script([ok("hello")]);
    let outcome = Amb::run(flags)
        .reporting()
        .child(Child::get(upstream.url("/").replace("127.0.0.1", "api.test")).or(&upstream))
        .outcome();
    upstream.join();
    outcome
}

/// The assertions of the JSON report.
fn told(outcome: &Outcome) -> &Vec<serde_json::Value> {
    outcome.report.as_ref().unwrap()["assertions"].as_array().unwrap()
}
