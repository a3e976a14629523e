//! How long exchanges took: the histogram `http.client.request.duration`, by the attributes that [the conventions] name.
//!
//! Workers add to it as records end, under a lock that is held for one record. So no exchange is missing from it, however many
//! spans find no room in their queue.
//!
//! [the conventions]: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use opentelemetry_proto::tonic::{common::v1::KeyValue, metrics::v1::HistogramDataPoint};

use super::{
    attribute::{number, text, truth},
    span,
};
use crate::traffic::{Kind, Record};

/// The bounds of the buckets in seconds, as the conventions have them.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Sets of attributes that are told apart, as OpenTelemetry's own libraries have it; what comes behind them is summed up.
const MOST: usize = 2_000;

/// What is told apart; none of it for what is summed up.
type Key = Option<Set>;

/// A set of attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Set {
    /// The method.
    method: &'static str,
    /// The host.
    host: String,
    /// The port.
    port: u16,
    /// What the server answered.
    status: Option<u16>,
    /// What went wrong.
    error: Option<String>,
    /// The version of HTTP.
    version: Option<&'static str>,
    /// What the route calls such paths.
    template: Option<Arc<str>>,
}

/// How often which durations occurred.
#[derive(Clone, Debug, Default)]
struct Counts {
    /// By bucket; the last one has no bound.
    buckets: [u64; BOUNDS.len() + 1],
    /// All of them added up.
    sum: Duration,
    /// The shortest.
    min: Duration,
    /// The longest.
    max: Duration,
}

/// Durations by sets of attributes.
#[derive(Debug, Default)]
pub(super) struct Durations(Mutex<HashMap<Key, Counts, RandomState>>);

impl Durations {
    /// Adds an exchange's; a tunnel is none.
    pub(super) fn add(&self, record: &Record) {
        if record.kind != Kind::Exchange {
            return;
        }
        let set = Set {
            method: span::method(record),
            host: record.host.clone(),
            port: record.port,
            status: span::status(record),
            error: span::error_type(record),
            version: span::version(record),
            template: record.url_template.clone(),
        };
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Some(set);
        let key = if sets.len() < MOST || sets.contains_key(&key) {
            key
        } else {
            None
        };
        sets.entry(key).or_default().add(record.duration);
    }

    /// All points so far, of a time from `start` to `now`.
    pub(super) fn points(&self, start: u64, now: u64) -> Vec<HistogramDataPoint> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let points = sets.into_iter().map(|(key, counts)| HistogramDataPoint {
            attributes: key.map_or_else(|| vec![truth("otel.metric.overflow", true)], Set::attributes),
            start_time_unix_nano: start,
            time_unix_nano: now,
            count: counts.buckets.iter().sum(),
            sum: Some(counts.sum.as_secs_f64()),
            bucket_counts: counts.buckets.to_vec(),
            explicit_bounds: BOUNDS.to_vec(),
            min: Some(counts.min.as_secs_f64()),
            max: Some(counts.max.as_secs_f64()),
            ..HistogramDataPoint::default()
        });
        points.collect()
    }
}

impl Counts {
    /// Adds one.
    fn add(&mut self, duration: Duration) {
        let is_first = self.buckets.iter().all(|count| *count == 0);
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(duration);
        self.min = if is_first { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
    }
}

impl Set {
    /// Its attributes.
    fn attributes(self) -> Vec<KeyValue> {
        let mut attributes = vec![text("http.request.method", self.method)];
        if !self.host.is_empty() {
            attributes.push(text("server.address", &self.host));
            attributes.push(number("server.port", self.port));
        }
        attributes.extend(self.status.map(|status| number("http.response.status_code", status)));
        attributes.extend(self.error.map(|error| text("error.type", &error)));
        attributes.extend(self.version.map(|version| text("network.protocol.version", version)));
        attributes.extend(self.template.map(|template| text("url.template", &template)));
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_buckets_of_the_conventions() {
        let mut counts = Counts::default();
        for millis in [5, 6, 10_000, 10_001] {
            counts.add(Duration::from_millis(millis));
        }
        assert_eq!(counts.buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(
            (counts.min, counts.max),
            (Duration::from_millis(5), Duration::from_millis(10_001))
        );
    }
}
