//! Charts as SVG, which scales with the page: text stays outside of it, so that it is as large on a phone as elsewhere.

use std::{fmt::Write, time::Duration};

use super::{
    duration, marks,
    table::{Cell, Table},
};
use crate::{
    report::document::{Document, Times},
    traffic::latency::Latency,
};

/// Adds formatted text.
macro_rules! put {
    ($text:expr, $($arguments:tt)*) => {
        write!($text, $($arguments)*).expect("a String takes everything")
    };
}

/// The height of a chart in its own units.
const HEIGHT: u64 = 100;

/// Bars of a distribution: enough to see a second hump, and wide enough for a phone.
const BARS: usize = 48;

/// A chart in its section; none without a chart.
fn figure(heading: &str, contents: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n<figure>\n{contents}</figure>\n</section>\n")
}

/// Two charts beside each other where there is room for it.
pub(super) fn pair(one: &str, other: &str) -> String {
    if one.is_empty() && other.is_empty() {
        return String::new();
    }
    format!("<div class=\"pair\">\n{one}{other}</div>\n")
}

/// How high something is in a chart that reaches up to `most`: at least a line, if there is any of it.
fn height(count: u64, most: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a chart has no need of the last of sixteen digits"
    )]
    let share = count as f64 / most.max(1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let height = share * HEIGHT as f64;
    if count > 0 { height.max(1.0) } else { 0.0 }
}

/// A bar from `bottom` upwards at this place; what it says when a reader points at it.
fn rect(place: usize, bottom: f64, height: f64, class: &str, said: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let top = HEIGHT as f64 - bottom - height;
    format!(
        "<rect class=\"{class}\" x=\"{place}.05\" y=\"{top:.2}\" width=\"0.9\" height=\"{height:.2}\"><title>{said}</title></rect>\n"
    )
}

/// The beginning of a chart that is this many bars wide, and what it says to those who do not see it.
fn svg(width: usize, label: &str) -> String {
    format!(
        "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\">\n\
         <path class=\"grid\" fill=\"none\" d=\"M0 0H{width}M0 50H{width}\"/>\n"
    )
}

/// A line of a legend.
fn legend(class: &str, what: &str) -> String {
    format!(
        "<li><svg aria-hidden=\"true\" viewBox=\"0 0 10 10\"><path class=\"{class}\" d=\"M0 0H10V10H0z\"/></svg>{what}</li>\n"
    )
}

/// The table beside a chart, folded up.
fn folded(table: Table) -> String {
    format!(
        "<details>\n<summary>As a table</summary>\n{}</details>\n",
        table.finish(0)
    )
}

/// How many exchanges and tunnels began when; empty if that is not known.
pub(super) fn timeline(document: &Document) -> String {
    let Some(times) = &document.timeline else {
        return String::new();
    };
    let slots = times.requests.len().min(times.tunnels.len()).min(times.failed.len());
    let all = |slot: usize| times.requests[slot].saturating_add(times.tunnels[slot]);
    let most = (0..slots).map(all).max().unwrap_or_default();
    let failed: u64 = times.failed.iter().fold(0, |sum, count| sum.saturating_add(*count));
    let width = slots.max(1);
    let span = at(times, slots);
    let tunnels = times.tunnels.iter().any(|count| *count > 0);
    let label = format!(
        "Requests over time: at most {most} within {}, over {span}; {failed} failed or were refused",
        duration(times.width)
    );
    let mut chart = format!(
        "<div class=\"top\"><span>{most} within {}</span></div>\n{}",
        duration(times.width),
        svg(width, &label)
    );
    let headings = ["*From", "Requests", "Tunnels", "Failed or refused"];
    let mut table = Table::new("Requests over time", &headings);
    for slot in (0..slots).filter(|slot| all(*slot) > 0) {
        let (requests, tunnels, bad) = (
            times.requests[slot],
            times.tunnels[slot],
            times.failed[slot].min(all(slot)),
        );
        let from = at(times, slot);
        let said = format!("from {from}: {requests} requests, {tunnels} tunnels, {bad} failed or refused");
        // Failures are part of what they are failures of; of what remains, tunnels take what requests leave.
        let good = all(slot) - bad;
        let parts = [
            (good.min(requests), "ok-fill"),
            (good.saturating_sub(requests), "tunnel-fill"),
            (bad, "bad-fill"),
        ];
        let mut bottom = 0.0;
        for (count, class) in parts.into_iter().filter(|(count, _)| *count > 0) {
            let height = height(count, most);
            chart.push_str(&rect(slot, bottom, height, class, &said));
            bottom += height;
        }
        table.row([
            Cell::text(&from),
            Cell::count(requests),
            Cell::count(tunnels),
            Cell::count(bad),
        ]);
    }
    chart.push_str("</svg>\n");
    put!(
        chart,
        "<div class=\"axis\"><span>{}</span><span>{span}</span></div>\n",
        at(times, 0)
    );
    let mut items = legend("ok-fill", "requests");
    if tunnels {
        items.push_str(&legend("tunnel-fill", "tunnels"));
    }
    if failed > 0 {
        items.push_str(&legend("bad-fill", "failed or refused"));
    }
    put!(chart, "<ul class=\"legend\">\n{items}</ul>\n{}", folded(table));
    figure("Requests over time", &chart)
}

/// When a slot begins, from the beginning of the first.
fn at(times: &Times, slot: usize) -> String {
    let slot = u32::try_from(slot).unwrap_or(u32::MAX);
    match times.width.saturating_mul(slot) {
        Duration::ZERO => "0s".to_owned(),
        time => duration(time),
    }
}

/// How long exchanges took; empty if that is not known.
pub(super) fn latencies(document: &Document) -> String {
    let known = document.totals.latency.as_ref();
    let Some(latency) = known.filter(|latency| latency.is_mergeable() && latency.count > 0) else {
        return String::new();
    };
    let scale = Scale::of(latency);
    let mut counts = [0_u64; BARS];
    for (micros, count) in latency.histogram.iter() {
        counts[scale.bar(micros)] = counts[scale.bar(micros)].saturating_add(count);
    }
    let most = counts.iter().copied().max().unwrap_or_default();
    let told = marks(latency)
        .map(|(name, time)| format!("{name} {}", duration(time)))
        .join(", ");
    let label = format!(
        "Distribution of latency over {} answers, from {} to {}: {told}",
        latency.count,
        duration(latency.min),
        duration(latency.max)
    );
    let mut chart = format!(
        "<div class=\"top\"><span>{most} answers</span></div>\n{}",
        svg(BARS, &label)
    );
    let mut table = Table::new(
        "Distribution of latency",
        &["*From", "*To", "Answers", "Share up to here"],
    );
    let mut sum = 0_u64;
    for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (duration(scale.begin(bar)), duration(scale.begin(bar + 1)));
        chart.push_str(&rect(
            bar,
            0.0,
            height(*count, most),
            "ok-fill",
            &format!("{from} to {to}: {count} answers"),
        ));
        sum = sum.saturating_add(*count);
        let share = u128::from(sum) * 1_000 / u128::from(latency.count);
        let share = format!("{}.{} %", share / 10, share % 10);
        table.row([
            Cell::text(&from),
            Cell::text(&to),
            Cell::count(*count),
            Cell::text(&share),
        ]);
    }
    for (name, time) in marks(latency) {
        let place = scale.place(micros(time));
        put!(
            chart,
            "<path class=\"mark {name}\" fill=\"none\" d=\"M{place:.2} 0V{HEIGHT}\"/>\n"
        );
    }
    let middle = duration(scale.begin(BARS / 2));
    put!(
        chart,
        "</svg>\n<div class=\"axis\"><span>{}</span><span>{middle}</span><span>{}</span></div>\n<ul class=\"legend\">\n",
        duration(scale.begin(0)),
        duration(scale.begin(BARS))
    );
    for (name, time) in marks(latency) {
        put!(
            chart,
            "<li><svg aria-hidden=\"true\" viewBox=\"0 0 10 10\"><path class=\"mark {name}\" fill=\"none\" d=\"M0 5H10\"/></svg>\
             {name} {}</li>\n",
            duration(time)
        );
    }
    put!(chart, "</ul>\n{}", folded(table));
    figure("Latency", &chart)
}

/// A duration in microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Where times are in a chart: each bar is by the same factor longer than the one before it.
struct Scale {
    /// The logarithm of where the first begins, in microseconds.
    begin: f64,
    /// By how much the logarithm grows in a bar.
    step: f64,
}

impl Scale {
    /// From somewhat below the shortest to somewhat above the longest.
    fn of(latency: &Latency) -> Self {
        let begin = logarithm(micros(latency.min)) - 0.05;
        let end = logarithm(micros(latency.max.max(latency.min))) + 0.05;
        #[expect(clippy::cast_precision_loss, reason = "48")]
        let bars = BARS as f64;
        Self {
            begin,
            step: ((end - begin) / bars).max(0.005),
        }
    }

    /// Where a time is, in bars.
    fn place(&self, micros: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "48")]
        let bars = BARS as f64;
        ((logarithm(micros) - self.begin) / self.step).clamp(0.0, bars)
    }

    /// The bar that a time is in.
    fn bar(&self, micros: u64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of bars"
        )]
        let bar = self.place(micros) as usize;
        bar.min(BARS - 1)
    }

    /// Where a bar begins.
    fn begin(&self, bar: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "48 at most")]
        let bar = bar as f64;
        let micros = libm::exp(self.begin + self.step * bar);
        Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX)
    }
}

/// The logarithm of a time in microseconds; below one microsecond nothing is told apart.
fn logarithm(micros: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a chart has no need of the last of sixteen digits"
    )]
    let micros = micros.max(1) as f64;
    libm::log(micros)
}

/// A bar in a table: how much of the most there is, and how much of that is bad. The numbers are beside it.
pub(super) fn bar(total: u64, bad: u64, most: u64) -> String {
    let (total, bad) = (height(total, most), height(bad.min(total), most));
    format!(
        "<svg aria-hidden=\"true\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\">\
         <path class=\"soft-fill\" d=\"M0 0H100V10H0z\"/><path class=\"ok-fill\" d=\"M0 0H{total:.1}V10H0z\"/>\
         <path class=\"bad-fill\" d=\"M0 0H{bad:.1}V10H0z\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_place_in_the_scale() {
        let json = r#"{"count":3,"mean":1,"min":0.001,"p50":0.01,"p90":1,"p95":1,"p99":1,"max":1.5}"#;
        let latency: Latency = serde_json::from_str(json).unwrap();
        let scale = Scale::of(&latency);
        assert_eq!((scale.bar(0), scale.bar(u64::MAX)), (0, BARS - 1));
        for bar in 0..BARS {
            let middle = (scale.begin(bar) + scale.begin(bar + 1)) / 2;
            assert_eq!(scale.bar(micros(middle)), bar);
        }
        assert!(scale.begin(0) <= latency.min && scale.begin(BARS) >= latency.max);
    }

    #[test]
    fn times_that_are_all_the_same_have_a_scale_too() {
        let json = r#"{"count":1,"mean":0,"min":0,"p50":0,"p90":0,"p95":0,"p99":0,"max":0}"#;
        let scale = Scale::of(&serde_json::from_str(json).unwrap());
        assert!(scale.bar(0) < BARS && scale.step > 0.0);
    }
}
