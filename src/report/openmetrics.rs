//! The report as metrics, in the text formats of Prometheus: for GitLab's metrics reports, for whoever scrapes a run, for files
//! and push gateways.
//!
//! Names are those of OpenTelemetry's conventions in Prometheus's spelling, and amb's own beside them. Each run has new
//! figures, so that counters say what this run has counted. Between two scrapes of a run no counter ever falls: which hosts
//! have figures of their own is settled once, and durations are counted in ranges that do not depend on how many there are.

mod classic;
mod families;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, encoding::text::encode, registry::Registry,
};

use self::families::Families;
use crate::{
    report::document::{Document, Host},
    traffic::{latency::Latency, meter::OTHER_HOST},
};

/// Hosts that have figures of their own; the others are summed up, as no system likes labels without end.
const MOST_HOSTS: usize = 200;

/// The bounds of the histogram's buckets in microseconds and in seconds, by OpenTelemetry's conventions.
const BUCKETS: [(u64, f64); 14] = [
    (5_000, 0.005),
    (10_000, 0.01),
    (25_000, 0.025),
    (50_000, 0.05),
    (75_000, 0.075),
    (100_000, 0.1),
    (250_000, 0.25),
    (500_000, 0.5),
    (750_000, 0.75),
    (1_000_000, 1.0),
    (2_500_000, 2.5),
    (5_000_000, 5.0),
    (7_500_000, 7.5),
    (10_000_000, 10.0),
];

/// Names of labels that figures have of their own, which none that the user chooses may have.
pub const OWN_LABELS: [&str; 16] = [
    "action",
    "circuit",
    "class",
    "direction",
    "id",
    "le",
    "mode",
    "outcome",
    "policy_id",
    "reason",
    "result",
    "rule",
    "server_address",
    "server_port",
    "state",
    "version",
];

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The text format 0.0.4, which everything around Prometheus reads.
    Text,
}

/// What is known of a run while it goes on, and of no other.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Exchanges that have begun and not ended.
    pub requests: usize,
    /// Tunnels that have.
    pub tunnels: usize,
    /// Whether the command runs; none if there is no command.
    pub child_up: Option<bool>,
}

/// What stays the same as long as somebody scrapes.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Labels that every figure gets.
    labels: BTreeMap<String, String>,
    /// The hosts that have figures of their own.
    shown: BTreeSet<(String, u16)>,
}

impl Format {
    /// Its type for `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Exposition {
    /// With these labels on every figure.
    pub fn new(labels: BTreeMap<String, String>) -> Self {
        Self {
            labels,
            shown: BTreeSet::new(),
        }
    }

    /// The figures of the report, and of the moment if the run goes on.
    pub fn render(&mut self, document: &Document, moment: Option<Moment>, format: Format) -> String {
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| (Cow::Owned(name.clone()), Cow::Owned(printable(value).into_owned())));
        let mut registry = Registry::with_labels(labels);
        registry.register_collector(Box::new(Figures {
            hosts: self.hosts(document),
            document: document.clone(),
            moment,
        }));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes everything");
        match format {
            Format::OpenMetrics => text,
            Format::Text => classic::converted(&text),
        }
    }

    /// The hosts with figures of their own, and behind them the sum of the others.
    fn hosts(&mut self, document: &Document) -> Vec<Host> {
        let mut places: BTreeMap<(String, u16), usize> = BTreeMap::new();
        // Secrets in names are masked, which may make several alike, and a figure may be told once only.
        let mut alike: Vec<Vec<&Host>> = Vec::new();
        let mut others = Vec::new();
        for host in &document.hosts {
            let place = (host.name.clone(), host.port);
            if host.name != OTHER_HOST && self.shown.len() < MOST_HOSTS {
                self.shown.insert(place.clone());
            }
            if !self.shown.contains(&place) {
                others.push(host);
                continue;
            }
            let at = *places.entry(place).or_insert_with(|| {
                alike.push(Vec::new());
                alike.len() - 1
            });
            alike[at].push(host);
        }
        let merged = alike.into_iter().filter_map(|alike| match alike[..] {
            [only] => Some(only.clone()),
            _ => Host::merged(&alike),
        });
        let mut hosts: Vec<Host> = merged.collect();
        hosts.extend(Host::merged(&others).map(|sum| Host {
            name: OTHER_HOST.to_owned(),
            port: 0,
            ..sum
        }));
        hosts
    }
}

/// The report that a run has written, or that was read back.
pub(super) fn render(document: &Document) -> String {
    Exposition::default().render(document, None, Format::OpenMetrics)
}

/// A value of a label without what some readers end lines at. Quotes and the like are escaped when it is written.
fn printable(value: &str) -> Cow<'_, str> {
    let odd =
        |character: char| character != '\n' && character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    if !value.contains(odd) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if odd(character) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    Cow::Owned(text)
}

/// All that is told at once.
#[derive(Debug)]
struct Figures {
    /// The hosts that are told apart, and the sum of the others.
    hosts: Vec<Host>,
    /// The rest of it.
    document: Document,
    /// What is under way.
    moment: Option<Moment>,
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.tell_of_run(&mut families)?;
        self.tell_of_moment(&mut families)?;
        self.tell_of_requests(&mut families)?;
        self.tell_of_volume(&mut families)?;
        self.tell_of_retries(&mut families)?;
        self.tell_of_latency(&mut families)?;
        self.tell_of_policies(&mut families)?;
        self.tell_of_assertions(&mut families)
    }
}

/// How a histogram has durations: their sum in seconds, and how many are within each bucket and above the one before it.
fn buckets(latency: &Latency) -> (f64, [(f64, u64); BUCKETS.len() + 1]) {
    let mut buckets = [(f64::INFINITY, 0); BUCKETS.len() + 1];
    for (bucket, (_, seconds)) in buckets.iter_mut().zip(BUCKETS) {
        bucket.0 = seconds;
    }
    let mut sum = 0.0;
    for (micros, count, seconds) in latency.histogram.as_histogram() {
        let at = BUCKETS.iter().position(|(bound, _)| micros <= *bound);
        buckets[at.unwrap_or(BUCKETS.len())].1 += count;
        sum += seconds;
    }
    (sum, buckets)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        report::{human::tests::nothing_seen, json::tests::everything},
        traffic::latency::Durations,
    };

    #[test]
    fn counts_and_times_are_told_by_host() {
        let text = render(&Document::of(&everything()));
        for line in [
            r#"amb_requests_total{server_address="api.example.com",server_port="80",outcome="ok"} 400"#,
            r#"amb_requests_total{server_address="telemetry.example.net",server_port="80",outcome="denied"} 1"#,
            r#"amb_tunnels_total{server_address="b.example.com",server_port="443",outcome="ok"} 1"#,
            r#"http_client_request_duration_seconds_bucket{le="+Inf",server_address="b.example.com",server_port="80"} 98"#,
            r#"http_client_request_duration_seconds_bucket{le="0.1",server_address="b.example.com",server_port="80"} 98"#,
            r#"amb_egress_decisions_total{action="deny",rule="default",mode="enforce"} 1"#,
            r#"amb_circuit_breaker_state{circuit="b.example.com",state="half_open"} 1"#,
            r#"amb_rate_limited_total{server_address="b.example.com",server_port="80",result="delayed"} 1"#,
            "amb_child_exit_code 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert!(render(&Document::of(&nothing_seen())).ends_with("# EOF\n"));
    }

    #[test]
    fn hosts_beyond_two_hundred_are_summed_up() {
        let mut document = Document::of(&everything());
        let host = document.hosts[0].clone();
        document.hosts = (0..1_000)
            .map(|number| Host {
                name: format!("{number}.example"),
                ..host.clone()
            })
            .collect();
        document.hosts[7].name = OTHER_HOST.to_owned();
        let text = render(&document);
        let family = |line: &&str| line.starts_with("amb_requests_total{") && line.contains("outcome=\"ok\"");
        assert_eq!(text.lines().filter(family).count(), 201);
        let other = r#"amb_requests_total{server_address="_other",server_port="0",outcome="ok"} "#;
        assert!(text.contains(&format!("{other}{}\n", 800 * host.requests.ok)), "{text}");
    }

    #[test]
    fn hosts_with_figures_of_their_own_keep_them_between_two_scrapes() {
        let mut document = Document::of(&everything());
        let host = document.hosts[0].clone();
        document.hosts = (0..300)
            .map(|number| Host {
                name: format!("{number}.example"),
                ..host.clone()
            })
            .collect();
        let mut exposition = Exposition::default();
        let first = exposition.render(&document, None, Format::Text);
        // Those that were behind are the busiest now.
        document.hosts.reverse();
        let second = exposition.render(&document, None, Format::Text);
        let figures = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(figures(&first), figures(&second));
    }

    #[test]
    fn names_that_are_masked_alike_are_one_host() {
        let mut document = Document::of(&everything());
        let host = Host {
            name: "***".to_owned(),
            ..document.hosts[0].clone()
        };
        document.hosts = vec![host.clone(), host.clone()];
        let text = render(&document);
        let mut samples: Vec<&str> = text
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .map(|it| it.0)
            .collect();
        samples.sort_unstable();
        let all = samples.len();
        samples.dedup();
        assert_eq!(samples.len(), all, "{text}");
        let ok = format!(
            "server_port=\"{}\",outcome=\"ok\"}} {}\n",
            host.port,
            2 * host.requests.ok
        );
        assert!(text.contains(&ok), "{text}");
    }

    #[test]
    fn no_bucket_and_no_sum_ever_falls_when_more_is_counted() {
        let mut durations = Durations::default();
        let mut before = (0.0, [0; BUCKETS.len() + 1]);
        for number in 0..200 {
            // About the bound of a bucket, where a range has values on either side.
            durations.add(Duration::from_micros(4_960 + number * 31 % 97));
            let latency = durations.clone().finish().unwrap();
            let (sum, buckets) = buckets(&latency);
            let counts = buckets.map(|(_, count)| count);
            assert!(sum > before.0, "{sum} after {} of {number}", before.0);
            assert!(
                counts.iter().zip(before.1).all(|(now, before)| *now >= before),
                "{number}"
            );
            assert_eq!(counts.iter().sum::<u64>(), number + 1);
            before = (sum, counts);
        }
        assert!((before.0 / 200.0 - 0.005_008).abs() < 0.000_05, "{}", before.0);
    }

    #[test]
    fn a_label_stays_within_its_quotes() {
        let mut document = Document::of(&everything());
        document.hosts[0].name = "a\"} 1\nb\\\r\u{2028}\u{85}c".to_owned();
        let text = render(&document);
        assert!(
            text.contains(r#"server_address="a\"} 1\nb\\\\u{d}\\u{2028}\\u{85}c",server_port"#),
            "{text}"
        );
    }
}
