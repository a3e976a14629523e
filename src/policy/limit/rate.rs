//! Requests in a time: the generic cell rate algorithm, which is a token bucket that remembers one moment.
//!
//! Own code and not the crate governor: a request that is delayed gets a place in the row when it comes and keeps it, so
//! that none overtakes another and each waits once. governor can only say "not yet", to all who wait at once, and reads a
//! clock of its own.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    policy::{
        Problem,
        scope::{Entry, Scope, State, Table},
    },
    units::{Period, Rate},
};

/// The name of the table.
const TABLE: &str = "rate-limit";

/// How long a request is delayed at most, unless `max-wait` says otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// A limit as it is configured: the table `[rate-limit]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RateOptions {
    /// Requests and tunnels that a host gets in a time, such as 50/s or 3000/m [default: no limit]
    ///
    /// What is too much waits for up to a second; beyond that it is answered with 429 and Retry-After. In a file a number
    /// alone is for the time `rate-limit.per`.
    #[arg(
        id = "rate-limit.requests",
        long = "rate-limit",
        value_name = "RATE",
        help_heading = "Resilience"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Quota>,

    /// The time that a number of requests without a time of its own is for [default: 1s]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1s"))]
    pub per: Option<Period>,

    /// So many requests may come at once before the rate holds [default: those of one second]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1))]
    pub burst: Option<u32>,

    /// What becomes of a request that is too much: delay or reject [default: delay]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "delay"))]
    pub on_limit: Option<OnLimit>,

    /// How long a request is delayed at most; one that had to wait longer is rejected at once [default: 1s]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1s"))]
    pub max_wait: Option<Period>,

    /// What has a rate of its own: host, host-port or route [default: host]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "host"))]
    pub key: Option<Scope>,
}

/// What becomes of a request that is too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnLimit {
    /// It waits its turn.
    #[default]
    Delay,
    /// It is answered with 429.
    Reject,
}

/// A number of requests, with the time that they are for or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// So many in the time that stands beside it.
    Number(u32),
    /// So many in their own time.
    Rate(Rate),
}

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Rate)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Rate(rate) => rate.fmt(f),
        }
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Rate(rate) => rate.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuotaVisitor)
    }
}

/// Reads a number or a rate.
struct QuotaVisitor;

impl de::Visitor<'_> for QuotaVisitor {
    type Value = Quota;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate, such as \"50/s\", or a number of requests")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quota, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quota, E> {
        let number = u32::try_from(number).ok().filter(|number| *number > 0);
        number
            .map(Quota::Number)
            .ok_or_else(|| E::custom("expected at least 1 request; leave it out for no limit"))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quota, E> {
        self.visit_u64(u64::try_from(number).unwrap_or(0))
    }
}

impl JsonSchema for Quota {
    fn schema_name() -> Cow<'static, str> {
        "Quota".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a rate such as 50/s, or a number of requests",
            "anyOf": [
                generator.subschema_for::<Rate>(),
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
            ],
        })
    }
}

/// A limit that is valid.
#[derive(Debug)]
pub struct RateLimit {
    /// As it was written, for messages.
    pub rate: Rate,
    /// The time between two requests.
    interval: Duration,
    /// How far requests may be ahead of their time.
    tolerance: Duration,
    /// How long a request may be delayed; zero rejects it.
    longest_wait: Duration,
    /// The moments.
    moments: Table<Moment>,
}

/// When the next request of a row is due, if they come evenly.
#[derive(Debug, Default)]
struct Moment(Duration);

impl State for Moment {
    fn is_idle(&self, now: Duration) -> bool {
        self.0 <= now
    }
}

/// A place in the row. If it is dropped before it was used, who comes next gets it.
#[derive(Debug)]
pub struct Place {
    /// Whose row it is.
    limit: Arc<RateLimit>,
    /// The row.
    entry: Arc<Entry<Moment>>,
    /// How long to wait from now; zero for none.
    pub wait: Duration,
    /// Whether it was used.
    used: bool,
}

/// A request that is too much.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch {
    /// Whose rate it is.
    pub name: Box<str>,
    /// When one more would not be.
    pub retry_in: Duration,
}

impl RateOptions {
    /// The limit, for the requests of `route`; none if there is none.
    pub fn build(self, route: &str, problems: &mut Vec<Problem>) -> Option<Arc<RateLimit>> {
        let mut refuse = |key: &str, reason: &str| problems.push(Problem::at(&[TABLE, key], reason));
        let mut per = self.per.map_or(Duration::from_secs(1), |period| period.0);
        if per.is_zero() {
            refuse("per", "no request comes in no time");
            per = Duration::from_secs(1);
        }
        if self.burst == Some(0) {
            refuse("burst", "expected at least 1");
        }
        let rate = match self.requests? {
            Quota::Number(count) => Rate { count, per },
            Quota::Rate(rate) => rate,
        };
        let interval = (rate.per / rate.count).max(Duration::from_nanos(1));
        let of_a_second = Duration::from_secs(1).as_nanos() / interval.as_nanos();
        let burst = self
            .burst
            .unwrap_or_else(|| u32::try_from(of_a_second).unwrap_or(u32::MAX))
            .max(1);
        let longest_wait = match self.on_limit.unwrap_or_default() {
            OnLimit::Delay => self.max_wait.map_or(DEFAULT_WAIT, |period| period.0),
            OnLimit::Reject => Duration::ZERO,
        };
        Some(Arc::new(RateLimit {
            rate,
            interval,
            tolerance: interval.saturating_mul(burst - 1),
            longest_wait,
            moments: Table::new(self.key.unwrap_or_default(), route),
        }))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a {} gets {} requests, and what is more ",
            self.moments.scope(),
            self.rate
        )?;
        if self.longest_wait.is_zero() {
            f.write_str("is rejected")
        } else {
            write!(f, "waits for up to {}", humantime::format_duration(self.longest_wait))
        }
    }
}

impl RateLimit {
    /// A place in the row of requests to `host` and `port` at `now`, which is a time since any moment that stays the same.
    ///
    /// # Errors
    /// If it would have to wait too long.
    pub fn place(self: &Arc<Self>, host: &str, port: u16, now: Duration) -> Result<Place, TooMuch> {
        let entry = self.moments.entry(host, port, now, |_| {});
        let mut moment = entry.state();
        let due = moment.0.max(now);
        let wait = due.saturating_sub(now + self.tolerance);
        if wait > self.longest_wait {
            return Err(TooMuch {
                name: entry.name.clone(),
                retry_in: wait,
            });
        }
        moment.0 = due + self.interval;
        drop(moment);
        Ok(Place {
            limit: Arc::clone(self),
            entry,
            wait,
            used: wait.is_zero(),
        })
    }
}

impl Place {
    /// Says that the request was sent.
    pub fn take(mut self) {
        self.used = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.used {
            let mut moment = self.entry.state();
            moment.0 = moment.0.saturating_sub(self.limit.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::scope::NO_ROUTE;

    /// A limit of these figures.
    fn limit(requests: &str, burst: Option<u32>, on_limit: OnLimit, max_wait: &str) -> Arc<RateLimit> {
        let options = RateOptions {
            requests: Some(requests.parse().unwrap()),
            burst,
            on_limit: Some(on_limit),
            max_wait: Some(max_wait.parse().unwrap()),
            ..RateOptions::default()
        };
        options.build(NO_ROUTE, &mut Vec::new()).unwrap()
    }

    /// So many milliseconds.
    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// How long a request at `now` waits, in milliseconds; or until when it is refused.
    fn ask(limit: &Arc<RateLimit>, now: u64) -> Result<u64, u64> {
        let place = limit.place("h", 80, millis(now));
        let wait = place
            .as_ref()
            .map(|place| place.wait)
            .map_err(|refused| refused.retry_in);
        if let Ok(place) = place {
            place.take();
        }
        let whole = |wait: Duration| u64::try_from(wait.as_millis()).unwrap();
        wait.map(whole).map_err(whole)
    }

    #[test]
    fn requests_beyond_the_burst_wait_their_turn_and_too_many_are_refused() {
        let limit = limit("10/s", Some(2), OnLimit::Delay, "250ms");
        let waits: Vec<_> = (0..6).map(|_| ask(&limit, 1_000)).collect();
        assert_eq!(waits, [Ok(0), Ok(0), Ok(100), Ok(200), Err(300), Err(300)]);
        assert_eq!(ask(&limit, 1_050), Ok(250));
        assert_eq!(ask(&limit, 1_051), Err(349));
        // All is forgotten once the rate has caught up.
        let waits: Vec<_> = (0..3).map(|_| ask(&limit, 9_000)).collect();
        assert_eq!(waits, [Ok(0), Ok(0), Ok(100)]);
    }

    #[test]
    fn what_is_rejected_does_not_wait() {
        let limit = limit("2/s", Some(1), OnLimit::Reject, "1s");
        let waits: Vec<_> = [0, 0, 499, 500, 700].into_iter().map(|now| ask(&limit, now)).collect();
        assert_eq!(waits, [Ok(0), Err(500), Err(1), Ok(0), Err(300)]);
    }

    #[test]
    fn the_rate_is_held_whatever_is_offered() {
        for (rate, burst, offered_every) in [("50/s", 1, 2_u64), ("3000/m", 1, 7), ("50/s", 50, 2), ("333/s", 1, 1)] {
            let limit = limit(rate, Some(burst), OnLimit::Delay, "1s");
            // When each goes, as far as that is within ten seconds.
            let went = (0..10_000)
                .step_by(usize::try_from(offered_every).unwrap())
                .filter_map(|now| ask(&limit, now).ok().map(|wait| now + wait))
                .filter(|at| *at < 10_000);
            let count = u32::try_from(went.count()).unwrap();
            let due = limit.rate.count * 10 * 1_000 / u32::try_from(limit.rate.per.as_millis()).unwrap();
            assert!((due..=due + burst).contains(&count), "{rate}: {count}");
        }
    }

    #[test]
    fn a_place_that_is_not_used_is_the_next_ones() {
        let limit = limit("10/s", Some(1), OnLimit::Delay, "1s");
        assert_eq!(ask(&limit, 0), Ok(0));
        let given_up = limit.place("h", 80, Duration::ZERO).unwrap();
        assert_eq!(given_up.wait, millis(100));
        drop(given_up);
        assert_eq!(ask(&limit, 0), Ok(100));
        assert_eq!(ask(&limit, 0), Ok(200));
    }

    #[test]
    fn the_burst_is_what_a_second_brings() {
        for (rate, burst) in [("50/s", 50), ("3000/m", 50), ("1/m", 1), ("10/500ms", 20)] {
            let limit = RateOptions {
                requests: Some(rate.parse().unwrap()),
                ..RateOptions::default()
            };
            let limit = limit.build(NO_ROUTE, &mut Vec::new()).unwrap();
            assert_eq!(limit.tolerance, limit.interval * (burst - 1), "{rate}");
        }
    }

    #[test]
    fn a_number_is_for_the_time_beside_it_and_a_rate_for_its_own() {
        for (text, rate) in [
            ("{\"requests\": 50}", Some("50/s")),
            ("{\"requests\": 50, \"per\": \"1m\"}", Some("50/m")),
            ("{\"requests\": \"50/s\", \"per\": \"1m\"}", Some("50/s")),
            ("{\"per\": \"1m\"}", None),
        ] {
            let options: RateOptions = serde_json::from_str(text).unwrap();
            let limit = options.build(NO_ROUTE, &mut Vec::new());
            assert_eq!(limit.map(|limit| limit.rate.to_string()).as_deref(), rate);
        }
        for wrong in ["0", "-1", "\"50\"", "1.5"] {
            let text = format!("{{\"requests\": {wrong}}}");
            assert!(serde_json::from_str::<RateOptions>(&text).is_err(), "{wrong}");
        }
    }
}
