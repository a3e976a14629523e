//! The table `[circuit-breaker]`.

use std::{sync::Arc, time::Duration};

use clap::Args;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Breaker, Condition, Settings, Slow};
use crate::{
    policy::{Problem, named, scope::Scope, words::list},
    units::Period,
};

/// The name of the table.
const TABLE: &str = "circuit-breaker";

/// A circuit breaker as it is configured: the table `[circuit-breaker]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BreakerOptions {
    /// Stop calling a host that keeps failing, for a while [default: off]
    ///
    /// After 5 failures in a row, or when half of at least 20 requests in 10 s fail, requests to the host are answered with
    /// 503 and Retry-After at once; then one at a time goes through until two went well. --no-circuit-breaker undoes it.
    #[arg(
        id = "circuit-breaker.enabled",
        long = "circuit-breaker",
        num_args = 0,
        default_missing_value = "true",
        overrides_with_all = ["circuit-breaker.enabled", "no-circuit-breaker"],
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub enabled: Option<bool>,

    /// Call every host, whatever was said before
    #[arg(
        id = "no-circuit-breaker",
        long = "no-circuit-breaker",
        hide = true,
        overrides_with_all = ["circuit-breaker.enabled", "no-circuit-breaker"],
        help_heading = "Resilience"
    )]
    #[serde(skip)]
    pub off: bool,

    /// What has a circuit of its own: host, host-port or route [default: host]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "host"))]
    pub key: Option<Scope>,

    /// What counts as a failure [default: connect-failure,reset,timeout,gateway-error]
    ///
    /// Names, or statuses such as 500; 5xx stands for all from 500 on, gateway-error for 502, 503 and 504. A client that
    /// goes away never counts.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "conditions_schema",
        extend("default" = ["connect-failure", "reset", "timeout", "gateway-error"])
    )]
    pub on: Option<Vec<Condition>>,

    /// So many failures in a row open a circuit; 0 leaves it to the ratio [default: 5]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 5))]
    pub consecutive_failures: Option<u32>,

    /// The share of failures within the window that opens a circuit, above 0 up to 1 [default: 0.5]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0.5, "title" = "a share, above 0 up to 1", "exclusiveMinimum" = 0, "maximum" = 1))]
    pub failure_ratio: Option<f64>,

    /// A share counts only of so many requests within the window [default: 20]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 20, "minimum" = 1))]
    pub minimum_requests: Option<u32>,

    /// How far back requests count [default: 10s]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "10s"))]
    pub window: Option<Period>,

    /// How long a circuit stays open at first, give or take a half; each failed probe doubles it [default: 5s]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "5s"))]
    pub open_duration: Option<Period>,

    /// How long a circuit stays open at most [default: 1m]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1m"))]
    pub max_open_duration: Option<Period>,

    /// So many requests, one at a time, have to go well before a circuit closes [default: 2]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 2, "minimum" = 1))]
    pub half_open_requests: Option<u32>,

    /// An answer that begins later than this is slow [default: never]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_call_duration: Option<Period>,

    /// The share of slow answers within the window that opens a circuit, above 0 up to 1 [default: 0.5]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 0.5, "title" = "a share, above 0 up to 1", "exclusiveMinimum" = 0, "maximum" = 1))]
    pub slow_call_ratio: Option<f64>,
}

/// The schema of `on`.
fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    named::list_schema::<Condition>()
}

impl BreakerOptions {
    /// Puts the two flags of one switch into its one value: the flags as a layer.
    #[must_use]
    pub fn settle(mut self) -> Self {
        if self.off {
            self.enabled = Some(false);
        }
        self
    }

    /// The breaker, with closed circuits of its own, for the requests of `route`; none if it is off.
    pub fn build(self, route: &str, problems: &mut Vec<Problem>) -> Option<Arc<Breaker>> {
        let mut refuse = |key: &str, reason: &str| problems.push(Problem::at(&[TABLE, key], reason));
        let mut ratio = |key: &str, ratio: Option<f64>| {
            let ratio = ratio.unwrap_or(0.5);
            if !(ratio > 0.0 && ratio <= 1.0) {
                refuse(key, "a share is above 0 and at most 1");
            }
            ratio
        };
        let failure_ratio = ratio("failure-ratio", self.failure_ratio);
        let slow_ratio = ratio("slow-call-ratio", self.slow_call_ratio);
        let mut period = |key: &str, period: Option<Period>, default: u64| {
            let period = period.map_or(Duration::from_secs(default), |period| period.0);
            if period.is_zero() {
                refuse(key, "it must be longer than nothing");
            }
            period
        };
        let window = period("window", self.window, 10);
        let open = period("open-duration", self.open_duration, 5);
        let longest = period("max-open-duration", self.max_open_duration, 60);
        let slow = period("slow-call-duration", self.slow_call_duration, 1);
        let mut number = |key: &str, number: Option<u32>, default: u32| {
            let number = number.unwrap_or(default);
            if number == 0 {
                refuse(key, "at least 1");
            }
            number
        };
        let minimum_requests = number("minimum-requests", self.minimum_requests, 20);
        let probes = number("half-open-requests", self.half_open_requests, 2);
        let default_on = || {
            vec![
                Condition::ConnectFailure,
                Condition::Reset,
                Condition::Timeout,
                Condition::GatewayError,
            ]
        };
        let settings = Settings {
            on: self.on.unwrap_or_else(default_on),
            consecutive: Some(self.consecutive_failures.unwrap_or(5)).filter(|most| *most > 0),
            failure_ratio,
            minimum_requests,
            window,
            open,
            // A longer time at first is meant to be kept.
            longest_open: longest.max(open),
            probes,
            slow: self.slow_call_duration.map(|_| Slow {
                after: slow,
                ratio: slow_ratio,
            }),
        };
        self.enabled
            .unwrap_or(false)
            .then(|| Arc::new(Breaker::new(settings, self.key.unwrap_or_default(), route)))
    }
}
