//! How long things may take. amb invents no failures: what is not set does not end.

use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// Timeouts as they are configured: the table `[timeout]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TimeoutOptions {
    /// How long a connection may take to open, name resolution included [default: 10s]
    ///
    /// An overrun is answered with 504 and `connection_timeout`, or `dns_timeout` if the name was still being looked up.
    #[arg(
        id = "timeout.connect",
        long = "connect-timeout",
        value_name = "DURATION",
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "10s"))]
    pub connect: Option<Period>,
}

/// Timeouts that are valid.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the wish for a connection to the open connection. At least 1 ms; default 10 s, where the kernel alone would take 127 s.
    pub connect: Duration,
}

impl TimeoutOptions {
    /// The values, defaults filled in.
    pub fn build(&self) -> Timeouts {
        Timeouts {
            connect: self.connect.map_or(Duration::from_secs(10), |period| period.0),
        }
    }
}
