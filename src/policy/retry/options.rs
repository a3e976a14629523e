//! The table `[retry]`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        Problem,
        backoff::{Backoff, BackoffOptions, Jitter},
        budget::BudgetOptions,
        hedge::HedgeOptions,
        named,
        words::{is_token, list},
    },
    Condition, Retry, SAFE_METHODS, is_idempotent,
};
use crate::units::ByteSize;

/// Retries after the first attempt, where there are any.
const DEFAULT_MOST: u32 = 2;
/// More of them than helps anybody.
const MOST: u32 = 100;
/// Bytes of a request's body that are kept, as with linkerd.
const DEFAULT_BUFFER_LIMIT: u64 = 64 * 1024;
/// The largest body that can be asked to be kept: what all together may take.
const LARGEST_BUFFER_LIMIT: u64 = super::KEPT_BYTES;

/// The word in `methods` that stands for those of the level.
const DEFAULT_METHODS: &str = "default";

/// How long the level `safe` waits in all, unless a backoff is configured: nobody who asked only for `--retries` expects a
/// refused connection to take longer.
const SAFE_WAIT_LIMIT: Duration = Duration::from_secs(2);

/// How far retries go.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing is retried
    #[default]
    Off,
    /// What was certainly not executed: no connection, or a broken one that took no byte. Any method
    Safe,
    /// Also what may be executed twice: GET, HEAD, OPTIONS, TRACE behind a reset, a timeout, 502, 503, 504
    Idempotent,
    /// Whatever --retry-on and retry.methods list, even if it is executed twice
    All,
}

/// Retries as they are configured: the table `[retry]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetryOptions {
    /// Try a failed request again so many times after the first try [default: 0, or 2 with --retry]
    ///
    /// Alone it means --retry safe: only what was certainly not executed is tried again, such as a connection that was
    /// refused.
    #[arg(
        id = "retry.attempts",
        long = "retries",
        value_name = "N",
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 100))]
    pub attempts: Option<u32>,

    /// How far retries may go [default: off]
    #[arg(
        id = "retry.level",
        long = "retry",
        value_name = "LEVEL",
        value_enum,
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "off"))]
    pub level: Option<Level>,

    /// What to retry on, such as 5xx,reset,429 [default: connect-failure,refused-stream,reset,gateway-error,rate-limited]
    ///
    /// Comma-separated and repeatable, with Envoy's names: connect-failure, reset, reset-before-request, refused-stream,
    /// gateway-error (502, 503, 504), 5xx, retriable-4xx (409); rate-limited, which is a 429 with a Retry-After; and
    /// statuses. Without --retry it means --retry idempotent, unless all of it is certain not to have been executed.
    #[arg(
        id = "retry.on",
        long = "retry-on",
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "conditions_schema",
        extend("default" = ["connect-failure", "refused-stream", "reset", "gateway-error", "rate-limited"])
    )]
    pub on: Option<Vec<Condition>>,

    /// The methods of requests that may be executed twice [default: default]
    ///
    /// The word default stands for GET, HEAD, OPTIONS and TRACE, and with --retry all for any method. Others than
    /// idempotent ones need --retry all.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "methods_schema", extend("default" = ["default"]))]
    pub methods: Option<Vec<String>>,

    /// A header that makes any request one that may be executed twice, such as Idempotency-Key [default: no header]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_non_idempotent_with: Option<String>,

    /// How much of a request's body is kept so that it can be sent again [default: 64KiB]
    ///
    /// It is kept while it is sent, which delays nothing. A request with a longer body is not tried again once some of it
    /// was sent. All requests together keep at most 16 MiB.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "64KiB"))]
    pub buffer_limit: Option<ByteSize>,

    /// Wait as long as Retry-After says, up to 30 seconds [default: on]
    ///
    /// A response that asks for more is passed on as it is.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub respect_retry_after: Option<bool>,

    /// How long to wait before the next try
    #[arg(skip)]
    #[serde(skip_serializing_if = "BackoffOptions::is_empty")]
    pub backoff: BackoffOptions,

    /// How many retries a host gets
    #[arg(skip)]
    #[serde(skip_serializing_if = "BudgetOptions::is_empty")]
    pub budget: BudgetOptions,

    /// A second request while the first one's answer is late
    #[arg(skip)]
    #[serde(skip_serializing_if = "HedgeOptions::is_empty")]
    pub hedge: HedgeOptions,
}

/// The schema of `on`.
fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    named::list_schema::<Condition>()
}

/// The schema of `methods`.
fn methods_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "title": "a list of methods",
        "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }],
    })
}

impl RetryOptions {
    /// The level: as it was said, or as what else was said makes sense.
    fn level(&self) -> Level {
        if let Some(level) = self.level {
            return level;
        }
        match (&self.on, self.attempts) {
            (None, None) | (_, Some(0)) => Level::Off,
            (Some(on), _) if on.iter().any(|condition| !condition.is_safe()) => Level::Idempotent,
            (Some(_), _) | (None, Some(_)) => Level::Safe,
        }
    }

    /// The values, defaults filled in; `problems` gets what is wrong with them.
    pub fn build(self, problems: &mut Vec<Problem>) -> Retry {
        let level = self.level();
        if self.attempts.is_some_and(|attempts| attempts > MOST) {
            problems.push(Problem::at(&["retry", "attempts"], "expected 0 to 100 retries"));
        }
        let on = ["retry", "on"];
        if let Some(listed) = &self.on {
            if listed.is_empty() {
                problems.push(Problem::at(
                    &on,
                    "the list is empty; to retry nothing, set retry.level = \"off\"",
                ));
            } else if level == Level::Safe && listed.iter().all(|condition| condition.is_about_answers()) {
                let reason = "a request that was answered was executed, which the level safe never retries: it takes the \
                              level idempotent";
                problems.push(Problem::between(&on, &["retry", "level"], reason));
            }
        }
        let mut methods = self.methods.unwrap_or_else(|| vec![DEFAULT_METHODS.to_owned()]);
        let any_method = methods.iter().any(|method| method == DEFAULT_METHODS);
        if any_method {
            methods.retain(|method| method != DEFAULT_METHODS);
            methods.extend(SAFE_METHODS.map(ToOwned::to_owned));
        }
        if let Some(method) = methods.iter().find(|method| !is_idempotent(method))
            && level != Level::All
        {
            let reason = format!("{method} must not be executed twice: to list it takes the level all");
            problems.push(Problem::between(&["retry", "methods"], &["retry", "level"], reason));
        }
        if self
            .allow_non_idempotent_with
            .as_ref()
            .is_some_and(|name| !is_token(name))
        {
            let key = ["retry", "allow-non-idempotent-with"];
            problems.push(Problem::at(
                &key,
                "expected the name of a header, such as Idempotency-Key",
            ));
        }
        if self.buffer_limit.is_some_and(|limit| limit.0 > LARGEST_BUFFER_LIMIT) {
            let reason = "all requests together keep at most 16MiB";
            problems.push(Problem::at(&["retry", "buffer-limit"], reason));
        }
        let (base, max) = if level <= Level::Safe {
            (50, 1_000)
        } else {
            (100, 5_000)
        };
        let defaults = Backoff {
            base: Duration::from_millis(base),
            max: Duration::from_millis(max),
            jitter: Jitter::Full,
        };
        let own_backoff = !self.backoff.is_empty();
        Retry {
            level,
            most: self.attempts.unwrap_or(DEFAULT_MOST),
            on: self.on.unwrap_or_else(|| Condition::DEFAULTS.to_vec()),
            methods,
            any_method,
            key_field: self.allow_non_idempotent_with,
            buffer_limit: self.buffer_limit.map_or(DEFAULT_BUFFER_LIMIT, |limit| limit.0),
            respect_retry_after: self.respect_retry_after.unwrap_or(true),
            backoff: self.backoff.build(defaults, problems),
            wait_limit: (level == Level::Safe && !own_backoff).then_some(SAFE_WAIT_LIMIT),
            budget: self.budget.build(problems),
            hedge: self.hedge.build(level >= Level::Idempotent, problems),
        }
    }
}
