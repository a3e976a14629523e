//! What was asserted, as the report tells it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    report::text::{self, Charset},
    traffic::{
        assertion::{Actual, Assertion, Figure, Severity, Verdict},
        latency::in_seconds,
    },
};

/// An assertion that was judged.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Asserted {
    /// What it is called; the expression itself if it has no other name.
    pub name: String,
    /// As it was written.
    pub expression: String,
    /// What it means if it does not hold.
    #[schemars(with = "Severity")]
    pub severity: String,
    /// Whether it held.
    pub passed: bool,
    /// What came of it; all but passed mean that it did not hold.
    #[schemars(with = "Verdict")]
    pub result: String,
    /// What it looked at; absent if that was nothing in particular.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actual: Vec<Looked>,
    /// What else there is to say; absent if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether it stopped the run; absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
}

/// A value that an assertion looked at.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Looked {
    /// As it is called in the expression: latency.p95.
    pub of: String,
    /// What it was, durations in seconds and sizes in bytes.
    pub value: Value,
    /// The same for people.
    pub shown: String,
}

impl Asserted {
    /// The part of the report about this assertion.
    pub(in crate::report) fn of(assertion: &Assertion) -> Self {
        Self {
            name: assertion.name.clone(),
            expression: assertion.expression.clone(),
            severity: severity(assertion.severity).to_owned(),
            passed: assertion.passed(),
            result: verdict(assertion.outcome).to_owned(),
            actual: assertion.actual.iter().map(Looked::of).collect(),
            detail: assertion.detail.clone(),
            aborted: assertion.aborted,
        }
    }

    /// Whether the run fails by it.
    pub fn fails(&self) -> bool {
        !self.passed && self.severity == severity(Severity::Error)
    }

    /// What it looked at, for people: `latency.p95 = 310ms`.
    pub fn got(&self) -> String {
        let each = self
            .actual
            .iter()
            .map(|looked| format!("{} = {}", looked.of, looked.shown));
        each.chain(self.detail.clone()).collect::<Vec<_>>().join(", ")
    }

    /// The assertion that this tells of, but for where it was written.
    pub(in crate::report) fn revive(&self) -> Assertion {
        let all = [Verdict::Passed, Verdict::Failed, Verdict::NoData, Verdict::Error];
        Assertion {
            name: self.name.clone(),
            expression: self.expression.clone(),
            place: None,
            severity: if self.severity == severity(Severity::Warning) {
                Severity::Warning
            } else {
                Severity::Error
            },
            outcome: match all.into_iter().find(|known| verdict(*known) == self.result) {
                Some(known) => known,
                None if self.passed => Verdict::Passed,
                None => Verdict::Error,
            },
            actual: self.actual.iter().map(Looked::revive).collect(),
            detail: self.detail.clone(),
            aborted: self.aborted,
        }
    }
}

impl Looked {
    /// The part of the report about this value.
    fn of(actual: &Actual) -> Self {
        let value = match &actual.value {
            Figure::Count(count) | Figure::Bytes(count) => (*count).into(),
            Figure::Number(number) => (*number).into(),
            Figure::Ratio(ratio) => (*ratio).into(),
            Figure::Time(time) => in_seconds(*time).into(),
            Figure::Text(text) => text.as_str().into(),
        };
        Self {
            of: actual.of.clone(),
            value,
            shown: text::figure(&actual.value, Charset::Unicode),
        }
    }

    /// The value. What it was is known by what it reads like; what reads like nothing is shown as it is.
    fn revive(&self) -> Actual {
        let time = self
            .value
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let candidates = [
            self.value.as_u64().map(Figure::Count),
            self.value.as_i64().map(Figure::Number),
            self.value.as_u64().map(Figure::Bytes),
            self.value.as_f64().map(Figure::Ratio),
            time.map(Figure::Time),
        ];
        let alike = |figure: &Figure| text::figure(figure, Charset::Unicode) == self.shown;
        let value = candidates.into_iter().flatten().find(alike);
        Actual {
            of: self.of.clone(),
            value: value.unwrap_or_else(|| Figure::Text(self.shown.clone())),
        }
    }
}

/// The word for what it means if an assertion does not hold.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The word for what came of an assertion.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::NoData => "no_data",
        Verdict::Error => "error",
    }
}
