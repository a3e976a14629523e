//! What was asserted, as the report tells it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    report::text::{self, Charset},
    traffic::{
        assertion::{Actual, Assertion, Figure, Severity, Verdict},
        latency::in_seconds,
    },
};

/// An assertion that was judged.
#[derive(Serialize, JsonSchema)]
pub(super) struct Asserted<'a> {
    /// What it is called; the expression itself if it has no other name.
    name: &'a str,
    /// As it was written.
    expression: &'a str,
    /// What it means if it does not hold.
    severity: Severity,
    /// Whether it held.
    passed: bool,
    /// What came of it; all but passed mean that it did not hold.
    result: Verdict,
    /// What it looked at; absent if that was nothing in particular.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actual: Vec<Looked<'a>>,
    /// What else there is to say; absent if there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// Whether it stopped the run; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    aborted: bool,
}

/// A value that an assertion looked at.
#[derive(Serialize, JsonSchema)]
struct Looked<'a> {
    /// As it is called in the expression: latency.p95.
    of: &'a str,
    /// What it was, durations in seconds and sizes in bytes.
    value: serde_json::Value,
    /// The same for people.
    shown: String,
}

impl<'a> Asserted<'a> {
    /// The part of the report about this assertion.
    pub(super) fn of(assertion: &'a Assertion) -> Self {
        Self {
            name: &assertion.name,
            expression: &assertion.expression,
            severity: assertion.severity,
            passed: assertion.passed(),
            result: assertion.outcome,
            actual: assertion.actual.iter().map(Looked::of).collect(),
            detail: assertion.detail.as_deref(),
            aborted: assertion.aborted,
        }
    }
}

impl<'a> Looked<'a> {
    /// The part of the report about this value.
    fn of(actual: &'a Actual) -> Self {
        let value = match &actual.value {
            Figure::Count(count) | Figure::Bytes(count) => (*count).into(),
            Figure::Number(number) => (*number).into(),
            Figure::Ratio(ratio) => (*ratio).into(),
            Figure::Time(time) => in_seconds(*time).into(),
            Figure::Text(text) => text.as_str().into(),
        };
        Self {
            of: &actual.of,
            value,
            shown: text::figure(&actual.value, Charset::Unicode),
        }
    }
}
