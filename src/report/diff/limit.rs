//! What makes a comparison fail: `new-hosts`, `failed`, `p95=20%`.

use std::{fmt, str::FromStr};

use crate::units::Period;

/// A condition that `--fail-on` names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FailOn {
    /// Hosts that were not there before.
    NewHosts,
    /// Hosts that are not there any more.
    VanishedHosts,
    /// A figure that has grown by more than this.
    Growth(Figure, Limit),
}

/// A figure that can grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Exchanges.
    Requests,
    /// Exchanges and tunnels that failed.
    Failed,
    /// Exchanges and tunnels that amb refused.
    Denied,
    /// Exchanges that were tried again.
    Retried,
    /// The median.
    P50,
    /// What 95 % did not exceed.
    P95,
    /// What 99 % did not exceed.
    P99,
}

/// How much a figure may grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// By this share of what it was: 0.2.
    Share(f64),
    /// By this many, or by this many microseconds.
    Absolute(u64),
}

impl Figure {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Failed,
        Self::Denied,
        Self::Retried,
        Self::P50,
        Self::P95,
        Self::P99,
    ];

    /// Its name: `p95`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Retried => "retried",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    /// Whether it is a time in microseconds and not a count.
    pub fn is_time(self) -> bool {
        matches!(self, Self::P50 | Self::P95 | Self::P99)
    }
}

impl Limit {
    /// Whether a figure has grown beyond it.
    pub(super) fn is_exceeded(self, before: u64, after: u64) -> bool {
        let grown = after.saturating_sub(before);
        match self {
            Self::Absolute(limit) => grown > limit,
            #[expect(
                clippy::cast_precision_loss,
                reason = "a share has no need of the last of sixteen digits"
            )]
            Self::Share(limit) => grown as f64 > before as f64 * limit,
        }
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limit) = match text.split_once('=') {
            Some((name, limit)) => (name.trim(), Some(limit.trim())),
            None => (text.trim(), None),
        };
        if let Some(hosts) = [("new-hosts", Self::NewHosts), ("vanished-hosts", Self::VanishedHosts)]
            .into_iter()
            .find_map(|(known, it)| (known == name).then_some(it))
        {
            return match limit {
                None => Ok(hosts),
                Some(_) => Err(format!("`{name}` takes no limit")),
            };
        }
        let figure = Figure::ALL
            .into_iter()
            .find(|figure| figure.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = Figure::ALL.iter().map(|figure| figure.name()).collect();
                format!(
                    "`{name}` is nothing to fail on; there are: new-hosts, vanished-hosts, {}",
                    names.join(", ")
                )
            })?;
        let limit = match limit {
            None if figure.is_time() => {
                return Err(format!(
                    "`{name}` needs a limit, as no two runs take the same time: {name}=20% or {name}=50ms"
                ));
            }
            None => Limit::Absolute(0),
            Some(limit) => read(figure, limit)?,
        };
        Ok(Self::Growth(figure, limit))
    }
}

/// Reads how much a figure may grow.
fn read(figure: Figure, text: &str) -> Result<Limit, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().unwrap_or(f64::NAN);
        return if percent.is_finite() && percent >= 0.0 {
            Ok(Limit::Share(percent / 100.0))
        } else {
            Err(format!("`{text}` is no share: write it like 20%"))
        };
    }
    if figure.is_time() {
        let Period(period) = text.parse()?;
        return Ok(Limit::Absolute(u64::try_from(period.as_micros()).unwrap_or(u64::MAX)));
    }
    let count = text.parse();
    count
        .map(Limit::Absolute)
        .map_err(|_| format!("`{text}` is neither a number nor a share such as 20%"))
}

impl fmt::Display for Limit {
    /// For people: `20%`, `3`; microseconds are for the caller to write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Absolute(limit) => write!(f, "{limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_people_write_them() {
        for (text, condition) in [
            ("new-hosts", FailOn::NewHosts),
            ("vanished-hosts", FailOn::VanishedHosts),
            ("failed", FailOn::Growth(Figure::Failed, Limit::Absolute(0))),
            ("requests=10", FailOn::Growth(Figure::Requests, Limit::Absolute(10))),
            ("p95=20%", FailOn::Growth(Figure::P95, Limit::Share(0.2))),
            ("p99 = 50ms", FailOn::Growth(Figure::P99, Limit::Absolute(50_000))),
        ] {
            assert_eq!(text.parse(), Ok(condition), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        for (text, reason) in [
            (
                "p95",
                "`p95` needs a limit, as no two runs take the same time: p95=20% or p95=50ms",
            ),
            ("new-hosts=1", "`new-hosts` takes no limit"),
            ("failed=x", "`x` is neither a number nor a share such as 20%"),
            ("failed=-1%", "`-1%` is no share: write it like 20%"),
        ] {
            assert_eq!(text.parse::<FailOn>(), Err(reason.to_owned()));
        }
        let unknown = "latency=1".parse::<FailOn>().unwrap_err();
        assert!(
            unknown.starts_with("`latency` is nothing to fail on; there are: new-hosts"),
            "{unknown}"
        );
        assert!("p95=5".parse::<FailOn>().unwrap_err().contains("did you mean `5s`?"));
    }

    #[test]
    fn a_limit_is_what_may_still_be() {
        for (limit, before, after, exceeded) in [
            (Limit::Absolute(0), 3, 3, false),
            (Limit::Absolute(0), 3, 4, true),
            (Limit::Absolute(0), 4, 3, false),
            (Limit::Share(0.2), 100, 120, false),
            (Limit::Share(0.2), 100, 121, true),
            (Limit::Share(0.2), 0, 1, true),
            (Limit::Share(0.0), 0, 0, false),
        ] {
            assert_eq!(limit.is_exceeded(before, after), exceeded, "{limit} {before} {after}");
        }
    }
}
