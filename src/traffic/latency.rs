//! How long things took: collected a value at a time, told as percentiles.

mod distribution;

use std::time::Duration;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub use self::distribution::Distribution;

/// Values that are kept as they are, before a histogram is made.
///
/// Most hosts of a run are asked a few times only. Their figures are exact and cost bytes instead of kilobytes.
const KEPT_AS_THEY_ARE: usize = 32;

/// Significant decimal figures of a histogram: an error of at most 1 %.
const SIGNIFICANT_FIGURES: u8 = 2;

/// The longest duration that is told apart, in microseconds: about 12 days. Whatever lasts longer counts as this long.
const LONGEST_MICROS: u64 = 1 << 40;

/// Durations as they are collected.
///
/// Adding one allocates only until the figures have found their range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations {
    /// The values themselves in microseconds, in the order they came; empty once there is a histogram.
    few: Vec<u64>,
    /// Microseconds by frequency, once there are many.
    many: Option<Box<Histogram<u32>>>,
    /// How many were added.
    count: u64,
    /// The sum, in microseconds.
    sum: u64,
    /// The shortest, in microseconds; meaningless while there is none.
    min: u64,
    /// The longest, in microseconds.
    max: u64,
}

impl Durations {
    /// Adds one.
    pub(crate) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros())
            .unwrap_or(u64::MAX)
            .min(LONGEST_MICROS);
        self.min = if self.count == 0 { micros } else { self.min.min(micros) };
        self.max = self.max.max(micros);
        self.sum = self.sum.saturating_add(micros);
        self.count += 1;
        self.place(micros);
    }

    /// Puts a value among the few, or into the histogram.
    fn place(&mut self, micros: u64) {
        if self.many.is_none() && self.few.len() < KEPT_AS_THEY_ARE {
            self.few.push(micros);
            return;
        }
        self.histogram()
            .record(micros)
            .expect("a histogram that resizes itself takes any value up to LONGEST_MICROS");
    }

    /// The histogram, with the few values moved into it if it is new.
    fn histogram(&mut self) -> &mut Histogram<u32> {
        let few = &mut self.few;
        self.many.get_or_insert_with(|| {
            let mut histogram = Histogram::new(SIGNIFICANT_FIGURES).expect("two figures are between zero and five");
            for micros in few.drain(..) {
                histogram
                    .record(micros)
                    .expect("a histogram that resizes itself takes any value up to LONGEST_MICROS");
            }
            few.shrink_to_fit();
            Box::new(histogram)
        })
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        self.count = self.count.saturating_add(other.count);
        for micros in &other.few {
            self.place(*micros);
        }
        if let Some(many) = &other.many {
            self.histogram()
                .add(&**many)
                .expect("a histogram that resizes itself takes whatever another has taken");
        }
    }

    /// The figures; none if nothing was added.
    pub(crate) fn finish(mut self) -> Option<Latency> {
        if self.count == 0 {
            return None;
        }
        self.few.sort_unstable();
        let histogram = match &self.many {
            Some(many) => Distribution::of(many),
            None => Distribution::of_each(&self.few),
        };
        Some(Latency {
            count: self.count,
            mean: Duration::from_micros(self.sum / self.count),
            min: Duration::from_micros(self.min),
            p50: self.percentile(50),
            p90: self.percentile(90),
            p95: self.percentile(95),
            p99: self.percentile(99),
            max: Duration::from_micros(self.max),
            histogram,
        })
    }

    /// What these figures were made of: to go on collecting, or to be merged with others of their kind.
    pub(crate) fn revive(latency: &Latency) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut durations = Self {
            count: latency.count,
            sum: micros(latency.mean).saturating_mul(latency.count),
            min: micros(latency.min),
            max: micros(latency.max),
            ..Self::default()
        };
        let few = latency.histogram.total() <= KEPT_AS_THEY_ARE as u64;
        for (value, count) in latency.histogram.iter() {
            let value = value.min(LONGEST_MICROS);
            if few {
                durations.few.extend((0..count).map(|_| value));
            } else {
                durations
                    .histogram()
                    .record_n(value, u32::try_from(count).unwrap_or(u32::MAX))
                    .expect("a histogram that resizes itself takes any value up to LONGEST_MICROS");
            }
        }
        durations
    }

    /// The value that `percent` of all do not exceed, by nearest rank; the few must be in order.
    fn percentile(&self, percent: u8) -> Duration {
        let micros = match &self.many {
            Some(histogram) => histogram.value_at_quantile(f64::from(percent) / 100.0),
            None => self.few[(self.few.len() * usize::from(percent)).div_ceil(100).max(1) - 1],
        };
        // A histogram answers with the end of a range, which may lie beyond what was ever seen.
        Duration::from_micros(micros.max(self.min).min(self.max))
    }
}

/// How long something took, of all the times it was done. Never of none: that is an absent `Latency`.
///
/// Written in seconds; the field names are those of the JSON report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// How many were measured, at least 1.
    pub count: u64,
    /// The arithmetic mean.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub mean: Duration,
    /// The shortest.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub min: Duration,
    /// The median. This and the other percentiles are exact for up to 32 values, and within 1 % beyond.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub p50: Duration,
    /// 90 % took no longer.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub p90: Duration,
    /// 95 % took no longer.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub p95: Duration,
    /// 99 % took no longer.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "f64")]
    pub max: Duration,
    /// How often each duration occurred: pairs of microseconds and a count, the shortest first. Exact for up to 32 values;
    /// beyond, each stands for those up to 1 % below it. Two of these add up to that of both.
    #[serde(rename = "histogram_micros", default, skip_serializing_if = "Distribution::is_empty")]
    pub histogram: Distribution,
}

impl Latency {
    /// The figures of all of these together; none if there are none. What [is not mergeable](Self::is_mergeable) is left out.
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut durations = Durations::default();
        for latency in all.into_iter().filter(|latency| latency.is_mergeable()) {
            durations.merge(&Durations::revive(latency));
        }
        durations.finish()
    }

    /// Whether its histogram has all that was counted. Reports before schema 1.3 have none.
    pub fn is_mergeable(&self) -> bool {
        self.histogram.total() == self.count
    }
}

/// Writes a duration as seconds, to the microsecond.
pub(crate) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(in_seconds(*duration))
}

/// Reads a duration in seconds, to the microsecond.
pub(crate) fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    // Rounded, because 0.31 is not exactly what was written.
    let whole = Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)?;
    let micros = u64::try_from((whole.as_nanos() + 500) / 1_000).map_err(D::Error::custom)?;
    Ok(Duration::from_micros(micros))
}

/// A duration in seconds, to the microsecond: what lies below is noise, and would show as seventeen digits.
pub(crate) fn in_seconds(duration: Duration) -> f64 {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The durations of these many milliseconds.
    fn millis(values: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::default();
        for value in values {
            durations.add(Duration::from_millis(value));
        }
        durations
    }

    #[test]
    fn nothing_measured_is_absent_not_zero() {
        assert_eq!(Durations::default().finish(), None);
    }

    #[test]
    fn few_values_are_told_exactly() {
        let latency = millis((1..=20).rev()).finish().unwrap();
        assert_eq!(latency.count, 20);
        assert_eq!(latency.min, Duration::from_millis(1));
        assert_eq!(latency.p50, Duration::from_millis(10));
        assert_eq!(latency.p95, Duration::from_millis(19));
        assert_eq!(latency.p99, Duration::from_millis(20));
        assert_eq!(latency.max, Duration::from_millis(20));
        assert_eq!(latency.mean, Duration::from_micros(10_500));
        let one = millis([7]).finish().unwrap();
        assert_eq!((one.p50, one.p99), (Duration::from_millis(7), Duration::from_millis(7)));
    }

    #[test]
    fn many_values_are_told_within_a_percent() {
        let latency = millis(1..=10_000).finish().unwrap();
        for (told, exact) in [(latency.p50, 5_000.0), (latency.p95, 9_500.0), (latency.p99, 9_900.0)] {
            let error = (told.as_secs_f64() * 1_000.0 - exact).abs() / exact;
            assert!(error <= 0.01, "{told:?} for {exact} ms");
        }
        assert_eq!(latency.max, Duration::from_secs(10), "the longest is exact");
    }

    #[test]
    fn merging_is_the_same_as_adding() {
        for split in [0, 5, 31, 32, 33, 500] {
            let mut left = millis(0..split);
            left.merge(&millis(split..1_000));
            assert_eq!(left.finish(), millis(0..1_000).finish(), "split at {split}");
        }
    }

    #[test]
    fn what_was_told_can_be_merged_as_if_it_had_been_collected_together() {
        let parts: Vec<_> = (0..10)
            .map(|part| millis((1..=1_000).map(|value| value * 10 + part)))
            .collect();
        let told: Vec<_> = parts.iter().map(|part| part.clone().finish().unwrap()).collect();
        let merged = Latency::merged(&told).unwrap();
        let mut collected = Durations::default();
        for part in &parts {
            collected.merge(part);
        }
        assert_eq!(merged, collected.finish().unwrap());
        for (told, exact) in [(merged.p50, 5_009.0), (merged.p95, 9_509.0), (merged.p99, 9_909.0)] {
            let error = (told.as_secs_f64() * 1_000.0 - exact).abs() / exact;
            assert!(error <= 0.01, "{told:?} for {exact} ms");
        }
        let few: Vec<_> = [millis([3]), millis([1, 2])].map(|part| part.finish().unwrap()).into();
        assert_eq!(Latency::merged(&few), millis([1, 2, 3]).finish(), "few stay exact");
        assert_eq!(Latency::merged([]), None);
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        for latency in [millis([1, 1, 7]), millis(1..1_000)].map(|all| all.finish().unwrap()) {
            let written = serde_json::to_string(&latency).unwrap();
            assert_eq!(serde_json::from_str::<Latency>(&written).unwrap(), latency);
        }
        let written = serde_json::to_string_pretty(&millis([1, 7, 1]).finish().unwrap()).unwrap();
        assert!(
            written.contains("\"histogram_micros\": [[1000,2],[7000,1]]"),
            "on one line: {written}"
        );
    }

    #[test]
    fn figures_that_nobody_can_have_measured_are_no_panic() {
        for (histogram, mergeable) in [
            ("[[18446744073709551615,18446744073709551615]]", true),
            ("[[0,0]]", false),
            ("[[5,9],[5,9]]", false),
        ] {
            let text = format!(
                r#"{{"count":18446744073709551615,"mean":1e9,"min":9,"p50":0,"p90":0,"p95":0,"p99":0,"max":1,"histogram_micros":{histogram}}}"#
            );
            let latency: Latency = serde_json::from_str(&text).unwrap();
            assert_eq!(latency.is_mergeable(), mergeable, "{histogram}");
            assert_eq!(Latency::merged([&latency, &latency]).is_some(), mergeable);
        }
        for seconds in ["-1", "1e300", "\"1\""] {
            let text = format!(r#"{{"count":1,"mean":{seconds},"min":0,"p50":0,"p90":0,"p95":0,"p99":0,"max":0}}"#);
            assert!(serde_json::from_str::<Latency>(&text).is_err(), "{seconds}");
        }
    }

    #[test]
    fn absurd_durations_are_taken_too() {
        let mut durations = Durations::default();
        for _ in 0..100 {
            durations.add(Duration::MAX);
            durations.add(Duration::ZERO);
        }
        let latency = durations.finish().unwrap();
        assert_eq!(
            (latency.min, latency.max),
            (Duration::ZERO, Duration::from_micros(LONGEST_MICROS))
        );
    }
}
