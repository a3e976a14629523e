//! How often each duration occurred, in a form that is small in JSON and can be added up.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer, ser::Error};
use serde_json::value::to_raw_value;

/// How often each duration occurred: microseconds and a count, the shortest first, none with a count of zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Distribution(Vec<(u64, u64)>);

impl Distribution {
    /// That of a histogram, by the upper ends of its ranges: put into a histogram of the same precision again, each falls into
    /// the range it came from.
    pub(super) fn of(histogram: &Histogram<u32>) -> Self {
        let recorded = histogram.iter_recorded();
        Self(
            recorded
                .map(|range| (range.value_iterated_to(), u64::from(range.count_at_value())))
                .collect(),
        )
    }

    /// That of these values, which are in order.
    pub(super) fn of_each(values: &[u64]) -> Self {
        let mut pairs: Vec<(u64, u64)> = Vec::with_capacity(values.len());
        for value in values {
            match pairs.last_mut() {
                Some((last, count)) if last == value => *count += 1,
                _ => pairs.push((*value, 1)),
            }
        }
        Self(pairs)
    }

    /// Each duration in microseconds with its count, the shortest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// How many there are in all.
    pub fn total(&self) -> u64 {
        self.iter().fold(0, |total, (_, count)| total.saturating_add(count))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many took no longer than this many microseconds.
    pub fn up_to(&self, micros: u64) -> u64 {
        let within = self.iter().filter(|(value, _)| *value <= micros);
        within.fold(0, |total, (_, count)| total.saturating_add(count))
    }
}

impl Serialize for Distribution {
    /// On one line, also in JSON that is indented: hundreds of numbers would otherwise take thousands of lines.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_raw_value(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}
