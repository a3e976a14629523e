//! What policies did, in the JSON report.

use schemars::JsonSchema;
use serde::Serialize;

use crate::traffic::{
    circuit::{Circuit, CircuitState},
    egress::{Decisions, Verdict},
};

/// What the rules of egress said.
#[derive(Serialize, JsonSchema)]
pub(super) struct Egress<'a> {
    /// What becomes of what they deny: enforce or audit.
    mode: &'static str,
    /// Requests and tunnels that were refused.
    denied: u64,
    /// Requests and tunnels that would have been refused if they were enforced.
    would_deny: u64,
    /// By place and rule, what was refused first.
    decisions: Vec<Decision<'a>>,
}

/// What was said about a place.
#[derive(Serialize, JsonSchema)]
pub(super) struct Decision<'a> {
    /// The host; empty for all beyond the first thousand.
    host: &'a str,
    /// The port.
    port: u16,
    /// What was said: deny, would-deny or allow.
    action: &'static str,
    /// What said so: the id of a rule, an entry of a list, or default.
    rule: &'a str,
    /// How often.
    count: u64,
}

impl<'a> Egress<'a> {
    /// The part of the report about these decisions.
    pub(super) fn of(mode: &'static str, decisions: &'a Decisions) -> Self {
        let each = decisions.iter().map(|(place, count)| Decision {
            host: &place.host,
            port: place.port,
            action: place.verdict.name(),
            rule: &place.rule,
            count,
        });
        Self {
            mode,
            denied: decisions.total(Verdict::Denied),
            would_deny: decisions.total(Verdict::WouldDeny),
            decisions: each.collect(),
        }
    }
}

/// What circuit breakers did.
#[derive(Serialize, JsonSchema)]
pub(super) struct Breakers<'a> {
    /// Times that circuits opened.
    opened: u64,
    /// Requests and tunnels that were answered at once.
    rejected: u64,
    /// Circuits that are open, or half open, at the end.
    open: usize,
    /// The circuits that opened.
    circuits: &'a [Circuit],
}

impl<'a> Breakers<'a> {
    /// The part of the report about these circuits.
    pub(super) fn of(circuits: &'a [Circuit]) -> Self {
        Self {
            opened: circuits.iter().map(|circuit| circuit.opened).sum(),
            rejected: circuits.iter().map(|circuit| circuit.rejected).sum(),
            open: circuits.iter().filter(|it| it.state != CircuitState::Closed).count(),
            circuits,
        }
    }
}
