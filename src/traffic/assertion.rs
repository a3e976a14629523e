//! What was asserted of a run, and whether it held.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An assertion that was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// What it is called; the expression itself if it has no other name.
    pub name: String,
    /// As it was written.
    pub expression: String,
    /// Where it was written, file, line and column, or a flag or variable; none if nobody asked.
    pub place: Option<String>,
    /// What it means if it does not hold.
    pub severity: Severity,
    /// What came of it.
    pub outcome: Verdict,
    /// What the expression looked at, in its order.
    pub actual: Vec<Actual>,
    /// What else there is to say, in a sentence fragment.
    pub detail: Option<String>,
    /// Whether it stopped the run.
    pub aborted: bool,
}

impl Assertion {
    /// Whether it held.
    pub fn passed(&self) -> bool {
        self.outcome == Verdict::Passed
    }

    /// Whether the run fails by it.
    pub fn fails(&self) -> bool {
        !self.passed() && self.severity == Severity::Error
    }
}

/// What it means if an assertion does not hold; these are the words of the configuration and of the JSON report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The run has failed
    #[default]
    Error,
    /// It is told of
    #[serde(alias = "warn")]
    Warning,
}

/// What came of an assertion; these are the words of the JSON report. All but the first mean that it did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It held.
    Passed,
    /// It did not.
    Failed,
    /// There was nothing that could have told.
    NoData,
    /// It could not be evaluated.
    Error,
}

/// A value that an expression looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Actual {
    /// As it is called in the expression: `latency.p95`.
    pub of: String,
    /// What it was.
    pub value: Figure,
}

/// A value of what passed.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// How many.
    Count(u64),
    /// A status or the number of a signal.
    Number(i64),
    /// A share, 0 to 1.
    Ratio(f64),
    /// How long.
    Time(Duration),
    /// How many bytes.
    Bytes(u64),
    /// A word.
    Text(String),
}
