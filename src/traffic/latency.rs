//! How long things took: collected a value at a time, told as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

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
        self.count += other.count;
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
        Some(Latency {
            count: self.count,
            mean: Duration::from_micros(self.sum / self.count),
            min: Duration::from_micros(self.min),
            p50: self.percentile(50),
            p90: self.percentile(90),
            p95: self.percentile(95),
            p99: self.percentile(99),
            max: Duration::from_micros(self.max),
        })
    }

    /// The value that `percent` of all do not exceed, by nearest rank; the few must be in order.
    fn percentile(&self, percent: u8) -> Duration {
        let micros = match &self.many {
            Some(histogram) => histogram.value_at_quantile(f64::from(percent) / 100.0),
            None => self.few[(self.few.len() * usize::from(percent)).div_ceil(100).max(1) - 1],
        };
        // A histogram answers with the end of a range, which may lie beyond what was ever seen.
        Duration::from_micros(micros.clamp(self.min, self.max))
    }
}

/// How long something took, of all the times it was done. Never of none: that is an absent `Latency`.
///
/// Written in seconds; the field names are those of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Latency {
    /// How many were measured, at least 1.
    pub count: u64,
    /// The arithmetic mean.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub mean: Duration,
    /// The shortest.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub min: Duration,
    /// The median. This and the other percentiles are exact for up to 32 values, and within 1 % beyond.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub p50: Duration,
    /// 90 % took no longer.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub p90: Duration,
    /// 95 % took no longer.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub p95: Duration,
    /// 99 % took no longer.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub max: Duration,
}

/// Writes a duration as seconds, to the microsecond.
pub(crate) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(in_seconds(*duration))
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
