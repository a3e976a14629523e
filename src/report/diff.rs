//! Two reports compared: hosts that came and went, counts and times that changed, and what of it is more than may be.

mod limit;

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;

pub use self::limit::{FailOn, Figure, Limit};
use crate::{
    report::{
        color::{FAILED, GOOD, HEADING, NOTABLE, Stream},
        document::{Document, Host},
        text::{self, Charset, escape, shorten, width},
    },
    traffic::{
        latency::Latency,
        meter::{Requests, Tunnels},
    },
};

/// Answers that a host must have given on both sides for its times to fail a comparison: those of fewer say nothing.
const FEWEST_ANSWERS: u64 = 20;

/// How much of a change in time is not worth a line about a host, unless it fails.
const NOISE: Limit = Limit::Share(0.1);

/// Hosts that are shown of each kind; JSON has all.
const MOST_SHOWN: usize = 30;

/// Two reports compared.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What it is compared with.
    before: Side,
    /// What is compared.
    after: Side,
    /// Hosts that were not there before.
    new_hosts: Vec<Place>,
    /// Hosts that are not there any more.
    vanished_hosts: Vec<Place>,
    /// All traffic.
    totals: Changes,
    /// The hosts that are on both sides, those of the first in its order.
    hosts: Vec<HostChanges>,
    /// What is more than may be: sentences, empty if nothing is.
    exceeded: Vec<String>,
}

/// One of the two reports.
#[derive(Debug, Serialize)]
struct Side {
    /// The id of its run.
    id: String,
    /// The name of its run.
    name: String,
    /// When that began.
    started_at: String,
}

/// A host that is on one side only.
#[derive(Debug, Serialize)]
struct Place {
    /// Its name.
    host: String,
    /// The port.
    port: u16,
    /// Exchanges and tunnels.
    traffic: u64,
}

/// What changed about a host.
#[derive(Debug, Serialize)]
struct HostChanges {
    /// Its name.
    host: String,
    /// The port.
    port: u16,
    /// What changed.
    #[serde(flatten)]
    changes: Changes,
    /// Whether it gave enough answers on both sides for its times to mean something.
    comparable_times: bool,
}

/// Each figure before and after; times in microseconds; null where nothing was measured.
#[derive(Debug, Serialize)]
struct Changes(BTreeMap<&'static str, [Option<u64>; 2]>);

impl Changes {
    /// What changed between these.
    fn of(before: &Figures<'_>, after: &Figures<'_>) -> Self {
        let each = Figure::ALL.map(|figure| (figure.name(), [before.get(figure), after.get(figure)]));
        Self(each.into())
    }

    /// A figure before and after.
    fn get(&self, figure: Figure) -> [Option<u64>; 2] {
        self.0.get(figure.name()).copied().unwrap_or_default()
    }

    /// Whether a figure differs by more than is to be expected.
    fn is_notable(&self, figure: Figure) -> bool {
        match self.get(figure) {
            [Some(before), Some(after)] if figure.is_time() => {
                NOISE.is_exceeded(before, after) || NOISE.is_exceeded(after, before)
            }
            [before, after] => before != after && !figure.is_time(),
        }
    }
}

/// The figures of some traffic.
struct Figures<'a> {
    /// Exchanges.
    requests: &'a Requests,
    /// Tunnels.
    tunnels: Option<&'a Tunnels>,
    /// How long exchanges took.
    latency: Option<&'a Latency>,
}

impl Figures<'_> {
    /// One of them; none if it was not measured.
    fn get(&self, figure: Figure) -> Option<u64> {
        let micros = |of: fn(&Latency) -> Duration| {
            let duration = of(self.latency?);
            u64::try_from(duration.as_micros()).ok()
        };
        let tunnels = |of: fn(&Tunnels) -> u64| self.tunnels.map_or(0, of);
        match figure {
            Figure::Requests => Some(self.requests.total),
            Figure::Failed => Some(self.requests.failed + tunnels(|tunnels| tunnels.failed)),
            Figure::Denied => Some(self.requests.denied + tunnels(|tunnels| tunnels.denied)),
            Figure::Retried => Some(self.requests.retried),
            Figure::P50 => micros(|latency| latency.p50),
            Figure::P95 => micros(|latency| latency.p95),
            Figure::P99 => micros(|latency| latency.p99),
        }
    }

    /// Answers.
    fn answers(&self) -> u64 {
        self.latency.map_or(0, |latency| latency.count)
    }
}

impl<'a> From<&'a Host> for Figures<'a> {
    fn from(host: &'a Host) -> Self {
        Self {
            requests: &host.requests,
            tunnels: host.tunnels.as_ref(),
            latency: host.latency.as_ref(),
        }
    }
}

impl<'a> From<&'a Document> for Figures<'a> {
    fn from(document: &'a Document) -> Self {
        Self {
            requests: &document.totals.requests.counts,
            tunnels: Some(&document.totals.tunnels),
            latency: document.totals.latency.as_ref(),
        }
    }
}

impl Comparison {
    /// Compares the report `after` with the one `before`.
    pub fn of(before: &Document, after: &Document, fail_on: &[FailOn]) -> Self {
        let hosts = |document: &Document| -> BTreeMap<(String, u16), usize> {
            let places = document.hosts.iter().enumerate();
            places
                .map(|(place, host)| ((host.name.clone(), host.port), place))
                .collect()
        };
        let (old, new) = (hosts(before), hosts(after));
        let only = |ours: &Document, theirs: &BTreeMap<(String, u16), usize>| -> Vec<Place> {
            let absent = |host: &&Host| !theirs.contains_key(&(host.name.clone(), host.port));
            ours.hosts.iter().filter(absent).map(Place::of).collect()
        };
        let both = before.hosts.iter().filter_map(|host| {
            let place = new.get(&(host.name.clone(), host.port))?;
            let (old, new) = (Figures::from(host), Figures::from(&after.hosts[*place]));
            Some(HostChanges {
                host: host.name.clone(),
                port: host.port,
                changes: Changes::of(&old, &new),
                comparable_times: old.answers().min(new.answers()) >= FEWEST_ANSWERS,
            })
        });
        let mut comparison = Self {
            before: Side::of(before),
            after: Side::of(after),
            new_hosts: only(after, &old),
            vanished_hosts: only(before, &new),
            totals: Changes::of(&before.into(), &after.into()),
            hosts: both.collect(),
            exceeded: Vec::new(),
        };
        comparison.exceeded = fail_on
            .iter()
            .flat_map(|condition| comparison.check(*condition))
            .collect();
        comparison
    }

    /// Whether nothing is more than may be.
    pub fn holds(&self) -> bool {
        self.exceeded.is_empty()
    }

    /// What a condition finds fault with.
    fn check(&self, condition: FailOn) -> Vec<String> {
        let named = |places: &[Place], what: &str| {
            let names: Vec<String> = places.iter().map(|place| label(&place.host, place.port)).collect();
            match names.as_slice() {
                [] => Vec::new(),
                names => vec![format!("{what}: {}", names.join(", "))],
            }
        };
        let (figure, limit) = match condition {
            FailOn::NewHosts => return named(&self.new_hosts, "new hosts"),
            FailOn::VanishedHosts => return named(&self.vanished_hosts, "vanished hosts"),
            FailOn::Growth(figure, limit) => (figure, limit),
        };
        let hosts = self
            .hosts
            .iter()
            .filter(|host| host.comparable_times || !figure.is_time());
        let all = std::iter::once((None, &self.totals)).chain(hosts.map(|host| (Some(host), &host.changes)));
        all.filter_map(|(host, changes)| {
            let [Some(before), Some(after)] = changes.get(figure) else {
                return None;
            };
            let shown = |value| value_of(figure, value, Charset::Ascii);
            let of = host.map_or_else(String::new, |host| format!(" of {}", label(&host.host, host.port)));
            let may = match limit {
                Limit::Absolute(limit) => shown(limit),
                share @ Limit::Share(_) => share.to_string(),
            };
            limit.is_exceeded(before, after).then(|| {
                format!(
                    "{}{of} grew from {} to {}, which is more than by {may}",
                    figure.name(),
                    shown(before),
                    shown(after)
                )
            })
        })
        .collect()
    }

    /// It as JSON, with a newline at its end.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("no map in it has keys other than strings");
        text + "\n"
    }

    /// It for people.
    pub fn tell(&self, stream: &Stream) -> String {
        let mut lines = vec![format!(
            "{} {}, compared with {} {}",
            escape(&self.after.name, stream.charset),
            escape(&self.after.started_at, stream.charset),
            escape(&self.before.name, stream.charset),
            escape(&self.before.started_at, stream.charset)
        )];
        for (what, places, sign, style) in [
            ("NEW HOSTS", &self.new_hosts, '+', NOTABLE),
            ("VANISHED HOSTS", &self.vanished_hosts, '-', NOTABLE),
        ] {
            if places.is_empty() {
                continue;
            }
            lines.push(String::new());
            lines.push(stream.paint(HEADING, what));
            lines.extend(places.iter().take(MOST_SHOWN).map(|place| {
                let name = escape(&label(&place.host, place.port), stream.charset);
                let asked = match place.traffic {
                    1 => "once".to_owned(),
                    traffic => format!("{traffic} times"),
                };
                format!("  {} {name}  asked {asked}", stream.paint(style, &sign.to_string()))
            }));
            lines.extend(more(places.len()));
        }
        lines.push(String::new());
        lines.push(stream.paint(HEADING, "ALL TRAFFIC"));
        let rows = Figure::ALL
            .iter()
            .filter(|figure| self.totals.get(**figure) != [None, None]);
        lines.extend(rows.map(|figure| row(*figure, self.totals.get(*figure), stream)));
        let notable: Vec<_> = self.hosts.iter().filter(|host| !host.notable().is_empty()).collect();
        if !notable.is_empty() {
            lines.push(String::new());
            lines.push(stream.paint(HEADING, "CHANGED HOSTS"));
        }
        for host in notable.iter().take(MOST_SHOWN) {
            let name = escape(&label(&host.host, host.port), stream.charset);
            lines.push(format!(
                "  {}",
                shorten(&name, stream.columns.saturating_sub(2), stream.charset)
            ));
            let rows = host.notable();
            lines.extend(
                rows.iter()
                    .map(|figure| format!("  {}", row(*figure, host.changes.get(*figure), stream))),
            );
        }
        lines.extend(more(notable.len()));
        if !self.exceeded.is_empty() {
            lines.push(String::new());
        }
        let bad = stream.paint(FAILED, stream.charset.bad());
        lines.extend(
            self.exceeded
                .iter()
                .map(|reason| format!("{bad} {}", escape(reason, stream.charset))),
        );
        lines.join("\n") + "\n"
    }
}

impl HostChanges {
    /// The figures that are worth a line.
    fn notable(&self) -> Vec<Figure> {
        let figures = Figure::ALL
            .into_iter()
            .filter(|figure| self.comparable_times || !figure.is_time());
        figures.filter(|figure| self.changes.is_notable(*figure)).collect()
    }
}

impl Side {
    /// This report.
    fn of(document: &Document) -> Self {
        Self {
            id: document.run.id.clone(),
            name: document.run.name.clone(),
            started_at: document.run.started_at.clone(),
        }
    }
}

impl Place {
    /// This host.
    fn of(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
            port: host.port,
            traffic: host.requests.total + host.tunnels.as_ref().map_or(0, |tunnels| tunnels.total),
        }
    }
}

/// What a host is called: `api.example.com:443`.
fn label(host: &str, port: u16) -> String {
    match host {
        "" => "(unreadable)".to_owned(),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// That there are more than are shown.
fn more(count: usize) -> Option<String> {
    let more = count.checked_sub(MOST_SHOWN).filter(|more| *more > 0)?;
    Some(format!("  and {more} more"))
}

/// A value of a figure.
fn value_of(figure: Figure, value: u64, charset: Charset) -> String {
    if figure.is_time() {
        text::duration(Duration::from_micros(value), charset)
    } else {
        value.to_string()
    }
}

/// A line about a figure: what it was, what it is, how much that is more.
fn row(figure: Figure, [before, after]: [Option<u64>; 2], stream: &Stream) -> String {
    let shown = |value: Option<u64>| {
        value.map_or_else(
            || stream.charset.none().to_owned(),
            |value| value_of(figure, value, stream.charset),
        )
    };
    let mut line = format!("  {:<9}", figure.name());
    for value in [shown(before), shown(after)] {
        write!(line, "{}{value}", " ".repeat(10_usize.saturating_sub(width(&value))))
            .expect("a String takes everything");
    }
    if let (Some(before), Some(after)) = (before, after)
        && let Some(change) = change(before, after)
    {
        // More requests are no worse than fewer, but all else is.
        let style = match after > before {
            _ if figure == Figure::Requests => NOTABLE,
            true => FAILED,
            false => GOOD,
        };
        line.push_str("   ");
        line.push_str(&stream.paint(style, &change));
    }
    line
}

/// How much more or less something is: `+30%`, and `+3` where there was nothing; none if it is the same.
fn change(before: u64, after: u64) -> Option<String> {
    let sign = match after.cmp(&before) {
        std::cmp::Ordering::Less => '-',
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => '+',
    };
    let difference = u128::from(after.abs_diff(before));
    Some(
        match (difference * 100 + u128::from(before) / 2).checked_div(u128::from(before)) {
            None => format!("{sign}{difference}"),
            Some(percent) => format!("{sign}{percent}%"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{color::When, json::tests::everything};

    /// Two reports: the second has a new host, lacks another, fails more often and takes longer.
    fn reports() -> (Document, Document) {
        let before = Document::of(&everything());
        let mut after = before.clone();
        after.run.id = "later".to_owned();
        after.hosts.retain(|host| host.name != "telemetry.example.net");
        let mut new = after.hosts[0].clone();
        new.name = "new.example".to_owned();
        after.hosts.push(new);
        after.hosts[0].requests.failed += 2;
        after.totals.requests.counts.failed += 2;
        let latency = after.hosts[0].latency.as_mut().unwrap();
        latency.p95 *= 2;
        (before, after)
    }

    /// What fails on this condition.
    fn exceeded(condition: &str) -> Vec<String> {
        let (before, after) = reports();
        Comparison::of(&before, &after, &[condition.parse().unwrap()]).exceeded
    }

    #[test]
    fn what_came_and_went_is_found() {
        let (before, after) = reports();
        let comparison = Comparison::of(&before, &after, &[]);
        assert!(comparison.holds());
        assert_eq!(comparison.new_hosts[0].host, "new.example");
        assert_eq!(comparison.vanished_hosts[0].host, "telemetry.example.net");
        assert_eq!(exceeded("new-hosts"), ["new hosts: new.example:80"]);
        assert_eq!(exceeded("vanished-hosts"), ["vanished hosts: telemetry.example.net:80"]);
    }

    #[test]
    fn what_grew_beyond_its_limit_is_told_with_its_values() {
        assert_eq!(
            exceeded("failed"),
            [
                "failed grew from 1 to 3, which is more than by 0",
                "failed of api.example.com:80 grew from 0 to 2, which is more than by 0"
            ]
        );
        assert_eq!(exceeded("failed=2"), [""; 0]);
        let slower = exceeded("p95=50%");
        assert_eq!(slower.len(), 1, "{slower:?}");
        assert!(
            slower[0].starts_with("p95 of api.example.com:80 grew from "),
            "{slower:?}"
        );
        assert!(slower[0].ends_with("which is more than by 50%"), "{slower:?}");
        assert_eq!(exceeded("p95=100%"), [""; 0]);
        assert_eq!(exceeded("requests"), [""; 0]);
    }

    #[test]
    fn times_of_a_few_answers_say_nothing() {
        let (mut before, after) = reports();
        before.hosts[0].latency.as_mut().unwrap().count = FEWEST_ANSWERS - 1;
        let comparison = Comparison::of(&before, &after, &["p95=10%".parse().unwrap()]);
        assert_eq!(comparison.exceeded, [""; 0]);
    }

    #[test]
    fn people_read_what_changed() {
        let (before, after) = reports();
        let stream = Stream::decide(When::Never, false, None, |_| None);
        let told = Comparison::of(&before, &after, &["failed".parse().unwrap()]).tell(&stream);
        for part in [
            "NEW HOSTS\n  + new.example:80  ",
            "VANISHED HOSTS\n  - telemetry.example.net:80  asked once\n",
            "ALL TRAFFIC\n  requests        499       499\n  failed            1         3   +200%\n",
            "CHANGED HOSTS\n  api.example.com:80\n    failed            0         2   +2\n",
            "FAIL: failed grew from 1 to 3, which is more than by 0\n",
        ] {
            assert!(told.contains(part), "{part}\n---\n{told}");
        }
        let same = Comparison::of(&before, &before, &[]).tell(&stream);
        assert!(!same.contains("HOSTS"), "{same}");
    }

    #[test]
    fn programs_read_the_same() {
        let (before, after) = reports();
        let json = Comparison::of(&before, &after, &["failed".parse().unwrap()]).to_json();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["totals"]["failed"], serde_json::json!([1, 3]));
        assert_eq!(json["hosts"][0]["failed"], serde_json::json!([0, 2]));
        assert_eq!(json["new_hosts"][0]["host"], "new.example");
        assert_eq!(json["exceeded"].as_array().unwrap().len(), 2);
    }
}
