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

    /// Each duration with its count and what they amount to in seconds, as a histogram of the same precision has them whether
    /// there are few or many: so no bucket and no sum ever falls when more are added. Within 1 %.
    pub fn as_histogram(&self) -> impl Iterator<Item = (u64, u64, f64)> {
        self.iter().map(|(value, count)| {
            let (end, width) = range(value);
            #[expect(
                clippy::cast_precision_loss,
                reason = "a sum of seconds needs no more digits than that"
            )]
            let seconds = (end as f64 - (width - 1) as f64 / 2.0) / 1e6 * count as f64;
            (end, count, seconds)
        })
    }
}

/// The range of a histogram that a value falls into: its end, and how many values it has.
fn range(value: u64) -> (u64, u64) {
    // 256 ranges for each power of two, the lower half of which belongs to the power below: two significant figures.
    let beyond = (u64::BITS - value.leading_zeros()).saturating_sub(8);
    let width = 1 << beyond;
    (value | (width - 1), width)
}

impl Serialize for Distribution {
    /// On one line, also in JSON that is indented: hundreds of numbers would otherwise take thousands of lines.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_raw_value(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_histogram() {
        let histogram = Histogram::<u32>::new(2).unwrap();
        for value in (0..5_000).chain([9_999, 65_535, 65_536, 4_990_001, 1 << 39, (1 << 40) - 1]) {
            let (end, width) = range(value);
            assert_eq!(end, histogram.highest_equivalent(value), "{value}");
            assert_eq!(end + 1 - width, histogram.lowest_equivalent(value), "{value}");
        }
    }
}
