//! What a circuit breaker did.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A circuit that opened in the course of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Circuit {
    /// What it is for: a host, a host and port, or a route, as it was configured. Empty for all that are not told apart.
    pub name: String,
    /// Where it stands at the end.
    pub state: CircuitState,
    /// Times it opened.
    pub opened: u64,
    /// Requests and tunnels that were answered at once because it was open.
    pub rejected: u64,
}

/// Where a circuit stands; these are the words of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Requests go through.
    Closed,
    /// None does.
    Open,
    /// One at a time does.
    HalfOpen,
}
