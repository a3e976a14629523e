//! Assertions: what must hold of a run's traffic, as expressions in [CEL] with units, judged when the child has ended.
//!
//! They are compiled and tried on a sample before the child starts, so that a name nobody knows or a duration that is compared
//! with a bare number is a mistake of the configuration. While the child runs they cost nothing, but for those that may stop
//! it: these are judged once a second. What there is no data of does not hold.
//!
//! [CEL]: https://cel.dev

mod expression;
mod facts;
mod literals;
mod names;
mod options;

use std::time::Duration;

use self::expression::Expression;
pub use self::{facts::Facts, options::AssertOptions};
use crate::traffic::assertion::{Assertion, Severity, Verdict};

/// What must hold: valid [`AssertOptions`], in the order of their names.
#[derive(Debug, Default)]
pub struct Assertions(Vec<Rule>);

/// One of them.
#[derive(Debug)]
struct Rule {
    /// What it is called.
    name: String,
    /// What must hold.
    expression: Expression,
    /// What it means if it does not.
    severity: Severity,
    /// From when on it stops the run as soon as it does not hold; none if it never does.
    aborts_after: Option<Duration>,
}

impl Rule {
    /// Judges it.
    fn judge(&self, facts: &Facts<'_>) -> Assertion {
        let judged = self.expression.judge(facts);
        Assertion {
            name: self.name.clone(),
            expression: self.expression.source.clone(),
            place: None,
            severity: self.severity,
            outcome: judged.outcome,
            actual: judged.actual,
            detail: judged.detail,
            aborted: false,
        }
    }
}

impl Assertions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them may stop the run.
    pub fn may_abort(&self) -> bool {
        self.0.iter().any(|rule| rule.aborts_after.is_some())
    }

    /// The first that stops the run; none if all hold that may, or there is no data of them yet.
    pub fn abort(&self, facts: &Facts<'_>) -> Option<Assertion> {
        let due = self
            .0
            .iter()
            .filter(|rule| rule.aborts_after.is_some_and(|after| facts.duration >= after));
        let mut judged = due.map(|rule| rule.judge(facts));
        let mut failed = judged.find(|assertion| assertion.outcome == Verdict::Failed)?;
        failed.aborted = true;
        Some(failed)
    }

    /// Judges all of them. What has stopped the run stays as it was then.
    pub fn judge(&self, facts: &Facts<'_>, aborted: Option<&Assertion>) -> Vec<Assertion> {
        let each = self.0.iter().map(|rule| match aborted {
            Some(assertion) if assertion.name == rule.name => assertion.clone(),
            _ => rule.judge(facts),
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests;
