//! Numbers to lines of a Markdown table.

use std::{fmt, time::Duration};

use super::footprint::Launches;

/// The head of the table.
pub(crate) const HEAD: &str = "\
| row | direct | amb | ratio | spread | amb's CPU | p50 direct → amb | p99 direct → amb |
| --- | --: | --: | --: | --: | --: | --: | --: |";

/// What to know before quoting it.
pub(crate) const NOTE: &str = "\
Medians; a ratio is that of two neighbours in time, and its spread is (highest - lowest) / median over the repetitions.
Client, origin and amb share this machine, and machines are noisy: distrust a row whose spread is above 30 %, compare only
numbers of one run, and trust CPU time before rates. Bytes for a tunnel are amb's own; the kernel's buffers come on top.";

/// One gibibyte, in bytes.
const GIBIBYTE: f64 = 1_073_741_824.0;

/// What one measurement found.
pub(crate) struct Measured {
    /// Requests or gibibytes a second.
    rate: f64,
    /// CPU seconds of amb for a request or a gibibyte.
    cpu: f64,
    /// Of requests the median time and that of the slowest of a hundred, in microseconds.
    latency: Option<[f64; 2]>,
}

impl Measured {
    /// Requests that took so long each, in microseconds, and all together.
    pub(crate) fn requests(mut latencies: Vec<u32>, lasted: Duration, cpu: Duration) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies
                .get(latencies.len() * percent / 100)
                .copied()
                .map_or(f64::NAN, f64::from)
        };
        let count = as_f64(latencies.len());
        Self {
            rate: count / lasted.as_secs_f64(),
            cpu: cpu.as_secs_f64() / count,
            latency: Some([at(50), at(99)]),
        }
    }

    /// So many bytes, which took so long.
    pub(crate) fn bytes(bytes: usize, lasted: Duration, cpu: Duration) -> Self {
        let gibibytes = as_f64(bytes) / GIBIBYTE;
        Self {
            rate: gibibytes / lasted.as_secs_f64(),
            cpu: cpu.as_secs_f64() / gibibytes,
            latency: None,
        }
    }
}

/// A line of the table: its cells as they are printed.
pub(crate) struct Line([String; 8]);

impl Line {
    /// From repeated measurements, of each the direct one first.
    pub(crate) fn pairs(name: &str, pairs: &[[Measured; 2]]) -> Self {
        let of = |side: usize, number: fn(&Measured) -> f64| median(pairs.iter().map(|pair| number(&pair[side])));
        let requests = pairs.iter().all(|pair| pair[1].latency.is_some());
        let rate = |rate: f64| {
            if requests {
                format!("{rate:.0}/s")
            } else {
                format!("{rate:.2} GiB/s")
            }
        };
        let cpu = of(1, |measured| measured.cpu);
        let ratios = || pairs.iter().map(|[direct, amb]| amb.rate / direct.rate);
        let latency = |number: fn(&Measured) -> f64| {
            if requests {
                format!("{:.0} → {:.0} µs", of(0, number), of(1, number))
            } else {
                "–".to_owned()
            }
        };
        Self([
            name.to_owned(),
            rate(of(0, |measured| measured.rate)),
            rate(of(1, |measured| measured.rate)),
            format!("{:.2}", median(ratios())),
            spread(&ratios().collect::<Vec<_>>()),
            if requests {
                format!("{:.1} µs/request", cpu * 1e6)
            } else {
                format!("{cpu:.2} s/GiB")
            },
            latency(|measured| measured.latency.map_or(f64::NAN, |[median, _]| median)),
            latency(|measured| measured.latency.map_or(f64::NAN, |[_, slow]| slow)),
        ])
    }

    /// From the times of a command in each way. What the other wrappers add stands where there is no spread.
    pub(crate) fn launch(name: &str, launches: &Launches) -> Self {
        let millis = |times: &[Duration]| times.iter().map(|time| time.as_secs_f64() * 1e3).collect::<Vec<_>>();
        let at = |times: &[f64], percent: usize| {
            let mut times = times.to_vec();
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() * percent / 100]
        };
        let bare = millis(&launches.bare);
        let added = |times: &[f64]| median(bare.iter().zip(times).map(|(bare, wrapped)| wrapped - bare));
        let mut wrapped = launches.wrapped.iter().map(|(name, times)| (*name, millis(times)));
        let amb = wrapped.next().map_or_else(Vec::new, |(_, times)| times);
        let peers: Vec<String> = wrapped
            .map(|(name, times)| format!("{name} {:+.2}", added(&times)))
            .collect();
        let latency = |percent| format!("{:.2} → {:.2} ms", at(&bare, percent), at(&amb, percent));
        Self([
            name.to_owned(),
            format!("{:.2} ms", at(&bare, 50)),
            format!("{:.2} ms", at(&amb, 50)),
            format!("{:+.2} ms", added(&amb)),
            peers.join(", "),
            "–".to_owned(),
            latency(50),
            latency(99),
        ])
    }

    /// From amb's resident memory, in bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    pub(crate) fn idle(name: &str, resident: u64) -> Self {
        Self::alone(name, format!("{:.1} MiB", resident as f64 / 1_048_576.0))
    }

    /// From the memory for a tunnel, in bytes.
    pub(crate) fn per_tunnel(name: &str, bytes: f64) -> Self {
        Self::alone(name, format!("{bytes:.0} B"))
    }

    /// A number to which there is no direct one.
    fn alone(name: &str, amb: String) -> Self {
        let mut cells = [(); 8].map(|()| "–".to_owned());
        name.clone_into(&mut cells[0]);
        cells[2] = amb;
        Self(cells)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} |", self.0.join(" | "))
    }
}

/// The middle one of some numbers, or the mean of the two in the middle.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// How far the numbers lie apart, in hundredths of their median.
fn spread(numbers: &[f64]) -> String {
    let numbers = || numbers.iter().copied();
    let highest = numbers().fold(f64::NEG_INFINITY, f64::max);
    let lowest = numbers().fold(f64::INFINITY, f64::min);
    format!("{:.0} %", (highest - lowest) / median(numbers()) * 100.0)
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
