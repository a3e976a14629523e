//! One bound, and what it makes of one value.

use figment::value::{Dict, Value};

use super::{can_be, value_at};
use crate::{
    policy::egress::destination::Destination,
    units::{ByteRate, ByteSize, Period, Rate},
};

/// What must hold for a value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Bound {
    /// This word, or one that is stricter or further along: the first word counts least.
    AtLeast(Value, &'static [&'static str]),
    /// This word, or one before it.
    AtMost(Value, &'static [&'static str]),
    /// This much or more.
    Min(Value),
    /// This much or less.
    Max(Value),
    /// Every element of a list is one of these, or part of one.
    Within(Vec<String>),
    /// A list has these.
    Include(Vec<Value>),
    /// This and nothing else.
    Equals(Value),
    /// Nothing is said.
    Forbidden,
    /// Something is said.
    Required,
}

/// What comes of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Judged {
    /// It is within the bound.
    Holds,
    /// It becomes this, for this reason.
    Becomes(Value, String),
    /// There is no safe value.
    Refused(String),
}

/// Keys whose words have an order, the loosest first, with the word that holds where nothing is said.
const ORDERS: [(&str, &[&str], &str); 4] = [
    ("egress.mode", &["off", "audit", "enforce"], "audit"),
    ("retry.level", &["off", "safe", "idempotent", "all"], "off"),
    ("run.confine", &["off", "tcp"], "off"),
    ("tls.min-version", &["1.2", "1.3"], "1.2"),
];

/// Keys that know no limit where nothing is said. Those of `timeout` know none with zero, either.
const UNLIMITED: [&str; 11] = [
    "timeout.first-byte",
    "timeout.per-try",
    "timeout.request",
    "timeout.idle",
    "timeout.tunnel-idle",
    "rate-limit.requests",
    "concurrency.max-concurrent",
    "bandwidth.download",
    "bandwidth.upload",
    "run.run-timeout",
    "run.kill-after",
];

/// What holds for some keys that bounds are often set for where nothing is said.
const IMPLIED: [(&str, &str); 1] = [("timeout.connect", "10s")];

/// What holds of a key of which nothing is said, as far as it matters for bounds. `route` is the path of a route that may
/// say something about what it depends on.
pub(super) fn implied(key: &[String], values: &Dict, route: Option<&[String]>) -> Option<Value> {
    let name = key.join(".");
    if name == "retry.attempts" {
        // With retries on it is two, unless the level itself is left to it.
        let level = ["retry".to_owned(), "level".to_owned()];
        let of_route = route.and_then(|route| value_at(values, &[route, &level].concat()));
        let own = if route.is_some() {
            of_route
        } else {
            value_at(values, &level)
        };
        let base = value_at(values, key).is_some() && route.is_some();
        let is_on = own.and_then(Value::as_str).is_some_and(|level| level != "off");
        return (is_on && !base).then(|| Value::from(2));
    }
    if route.is_some() {
        return None;
    }
    let implied = IMPLIED.iter().find(|(known, _)| *known == name);
    let first = || {
        ORDERS
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|(_, _, holds)| *holds)
    };
    implied.map(|(_, value)| *value).or_else(first).map(Value::from)
}

/// A number with what it counts, so that seconds are not compared with bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    /// A number.
    Number(f64),
    /// Seconds.
    Time(f64),
    /// Bytes.
    Size(f64),
    /// So many a second.
    Rate(f64),
    /// Bytes a second.
    ByteRate(f64),
}

impl Amount {
    /// What a value amounts to.
    #[expect(clippy::cast_precision_loss, reason = "bounds are not that near to each other")]
    fn of(value: &Value) -> Option<Self> {
        if let Some(number) = value.to_num() {
            return number
                .to_f64()
                .or_else(|| number.to_i128().map(|number| number as f64))
                .or_else(|| number.to_u128().map(|number| number as f64))
                .map(Self::Number);
        }
        let text = value.as_str()?;
        let time = || text.parse().ok().map(|Period(time)| Self::Time(time.as_secs_f64()));
        let size = || text.parse().ok().map(|ByteSize(size)| Self::Size(size as f64));
        let rate = || {
            let rate: Rate = text.parse().ok()?;
            Some(Self::Rate(f64::from(rate.count) / rate.per.as_secs_f64()))
        };
        let bytes = || text.parse().ok().map(|ByteRate(rate)| Self::ByteRate(rate as f64));
        time().or_else(size).or_else(rate).or_else(bytes)
    }

    /// The number, if it counts the same.
    fn beside(self, other: Self) -> Option<(f64, f64)> {
        match (self, other) {
            (Self::Number(one), Self::Number(two))
            | (Self::Time(one), Self::Time(two))
            | (Self::Size(one), Self::Size(two))
            | (Self::Rate(one), Self::Rate(two))
            | (Self::ByteRate(one), Self::ByteRate(two)) => Some((one, two)),
            _ => None,
        }
    }

    /// Whether it is nothing.
    fn is_zero(self) -> bool {
        matches!(self, Self::Number(number) | Self::Time(number) | Self::Size(number) | Self::Rate(number) | Self::ByteRate(number) if number == 0.0)
    }
}

impl Bound {
    /// Reads `word = value` for `key`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(key: &[String], word: &str, value: &Value) -> Result<Self, String> {
        let name = key.join(".");
        let fits = || can_be(key, value).map_err(|reason| format!("{name} cannot be that: {reason}"));
        let ordered = || {
            let order = ORDERS.iter().find(|(known, ..)| *known == name);
            let known = || ORDERS.map(|(known, ..)| known).join(", ");
            let (_, words, _) =
                order.ok_or_else(|| format!("the words of {name} have no order; they have for {}", known()))?;
            let is_word = value.as_str().is_some_and(|word| words.contains(&word));
            let none = || format!("expected one of {}", words.join(", "));
            is_word.then_some(*words).ok_or_else(none)
        };
        let amount = || {
            fits()?;
            Amount::of(value)
                .map(drop)
                .ok_or_else(|| format!("`{word}` wants an amount, such as 3, 30s or 1MiB"))
        };
        let flag = |bound: Self| match value {
            Value::Bool(_, true) => {
                // Whatever a text would be, the key has to be one.
                let known = can_be(key, &Value::from("x"))
                    .err()
                    .filter(|reason| reason.contains("unknown field"));
                known.map_or(Ok(bound), Err)
            }
            _ => Err(format!("`{word}` is true or is left out")),
        };
        let list = || match value {
            Value::Array(_, elements) if !elements.is_empty() => Ok(elements.clone()),
            _ => Err(format!("`{word}` wants a list")),
        };
        match word {
            "at-least" => ordered().map(|words| Self::AtLeast(value.clone(), words)),
            "at-most" => ordered().map(|words| Self::AtMost(value.clone(), words)),
            "min" => amount().map(|()| Self::Min(value.clone())),
            "max" => amount().map(|()| Self::Max(value.clone())),
            "equals" => fits().map(|()| Self::Equals(value.clone())),
            "include" => fits().and_then(|()| list()).map(Self::Include),
            "within" => {
                fits()?;
                let elements = list()?;
                let texts: Option<Vec<String>> = elements
                    .iter()
                    .map(|element| element.as_str().map(str::to_owned))
                    .collect();
                texts
                    .map(Self::Within)
                    .ok_or_else(|| "`within` wants a list of texts".to_owned())
            }
            "forbidden" => flag(Self::Forbidden),
            "required" => flag(Self::Required),
            _ => Err(format!("`{word}` is no bound: expected {}", super::WORDS.join(", "))),
        }
    }

    /// What it makes of the value of `key`; none if nothing is said.
    pub(super) fn judge(&self, key: &[String], value: Option<&Value>) -> Judged {
        let name = key.join(".");
        let shown = |value: Option<&Value>| value.map_or_else(|| "no limit".to_owned(), shown);
        match self {
            Self::AtLeast(bound, words) | Self::AtMost(bound, words) => {
                let place = |value: &Value| words.iter().position(|word| value.as_str() == Some(word));
                let (Some(value), Some(least)) = (value, place(bound)) else {
                    return Judged::Holds;
                };
                let holds = match (self, place(value)) {
                    (Self::AtLeast(..), Some(at)) => at >= least,
                    (_, Some(at)) => at <= least,
                    (_, None) => false,
                };
                if holds {
                    return Judged::Holds;
                }
                Judged::Becomes(
                    bound.clone(),
                    format!("{} becomes {}", shown(Some(value)), shown(Some(bound))),
                )
            }
            Self::Min(bound) | Self::Max(bound) => {
                let becomes = || {
                    let how = format!("{} becomes {}", shown(value), shown(Some(bound)));
                    Judged::Becomes(bound.clone(), how)
                };
                let is_unlimited = UNLIMITED.contains(&&*name);
                let Some(amount) = value.map(Amount::of) else {
                    return match self {
                        Self::Max(_) if is_unlimited => becomes(),
                        _ => Judged::Holds,
                    };
                };
                // What it is cannot be told, so it is not known to hold.
                let (Some(amount), Some(limit)) = (amount, Amount::of(bound)) else {
                    return becomes();
                };
                if is_unlimited && amount.is_zero() && key[0] == "timeout" {
                    return if matches!(self, Self::Max(_)) {
                        becomes()
                    } else {
                        Judged::Holds
                    };
                }
                match (self, amount.beside(limit)) {
                    (Self::Min(_), Some((amount, limit))) if amount >= limit => Judged::Holds,
                    (Self::Max(_), Some((amount, limit))) if amount <= limit => Judged::Holds,
                    _ => becomes(),
                }
            }
            Self::Within(within) => {
                let asked = value.map(elements).unwrap_or_default();
                let (kept, dropped): (Vec<Value>, Vec<Value>) = asked
                    .into_iter()
                    .partition(|element| element.as_str().is_some_and(|element| is_within(element, within)));
                if dropped.is_empty() {
                    return Judged::Holds;
                }
                let dropped: Vec<String> = dropped.iter().map(|value| shown(Some(value))).collect();
                Judged::Becomes(
                    Value::from(kept),
                    format!("left out, since it is not within the bound: {}", dropped.join(", ")),
                )
            }
            Self::Include(wanted) => {
                let mut list = value.map(elements).unwrap_or_default();
                let same = |one: &Value, other: &Value| match (one.as_str(), other.as_str()) {
                    (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                    _ => one == other,
                };
                let missing: Vec<Value> = wanted
                    .iter()
                    .filter(|wanted| !list.iter().any(|known| same(known, wanted)))
                    .cloned()
                    .collect();
                if missing.is_empty() {
                    return Judged::Holds;
                }
                let added: Vec<String> = missing.iter().map(|value| shown(Some(value))).collect();
                list.extend(missing);
                Judged::Becomes(Value::from(list), format!("added: {}", added.join(", ")))
            }
            Self::Equals(bound) => {
                if value.is_some_and(|value| shown(Some(value)) == shown(Some(bound))) {
                    return Judged::Holds;
                }
                let was = value.map_or_else(|| "what is not said".to_owned(), |value| shown(Some(value)));
                Judged::Becomes(bound.clone(), format!("{was} becomes {}", shown(Some(bound))))
            }
            Self::Forbidden if value.is_some() => Judged::Refused("the central policy forbids it".to_owned()),
            Self::Required if value.is_none() => Judged::Refused("the central policy requires it".to_owned()),
            Self::Forbidden | Self::Required => Judged::Holds,
        }
    }
}

/// The elements of a list, also of one that was written as a text with commas.
fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(_, elements) => elements.clone(),
        Value::String(_, text) => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(Value::from).collect()
        }
        other => vec![other.clone()],
    }
}

/// Whether something is one of these or a part of one: a host within hosts, and any other text the same text.
pub(super) fn is_within(element: &str, within: &[String]) -> bool {
    if within.iter().any(|known| known == element) {
        return true;
    }
    let Ok(asked) = element.parse::<Destination>() else {
        return false;
    };
    let within: Vec<Destination> = within.iter().filter_map(|known| known.parse().ok()).collect();
    let covered = |host| {
        let hosts = within.iter().flat_map(Destination::hosts);
        hosts.into_iter().any(|known| known.covers(host))
    };
    asked.hosts().iter().all(covered)
}

/// A value for people.
fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_default(),
    }
}
