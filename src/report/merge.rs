//! One report of several: counts are added up, histograms too, so that its percentiles are those of all runs together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    time::SystemTime,
};

use crate::{
    report::document::{
        Amb, Breakers, Called, ChildEnd, Config, Decision, Document, Egress, Exit, Group, Host, Route, Run, SCHEMA,
        SCHEMA_VERSION, Template, Times, Tls, Totals, point, time,
    },
    traffic::{
        circuit::Circuit,
        credentials::Credentials,
        edits::EditCounts,
        held::Held,
        latency::Latency,
        meter::{Bytes, Connections, Requests, Tunnels},
        retries::RetryCounts,
        summary::{Capture, Warning},
        timeline::Timeline,
    },
};

impl Document {
    /// Whether it can be merged with others: not if it has figures without their histograms, as before schema 1.3.
    pub fn is_mergeable(&self) -> bool {
        let whole = |all: [&Option<Latency>; 3]| all.into_iter().flatten().all(Latency::is_mergeable);
        let totals = &self.totals;
        let handshakes = self.hosts.iter().filter_map(|host| host.tls.as_ref()?.took.as_ref());
        let templates = self.routes.iter().flat_map(|route| &route.url_templates);
        whole([&totals.latency, &totals.connect, &totals.first_byte])
            && self
                .hosts
                .iter()
                .all(|host| whole([&host.latency, &host.connect, &host.first_byte]))
            && self
                .routes
                .iter()
                .all(|route| whole([&route.latency, &route.connect, &route.first_byte]))
            && handshakes
                .chain(templates.filter_map(|template| template.latency.as_ref()))
                .all(Latency::is_mergeable)
    }

    /// The report on all of these runs; none if there are none. What is not counted is that of the first run, and how it ended
    /// that of the first that did not end well.
    pub fn merged(all: &[Self]) -> Option<Self> {
        let first = all.first()?;
        let ended = all.iter().find(|one| one.exit.code != 0).unwrap_or(first);
        let circuits = alike(all.iter().flat_map(|one| &one.breakers.circuits), |it| it.name.clone());
        let leftovers: Vec<usize> = all.iter().filter_map(|one| one.leftovers).collect();
        let mut warnings: Vec<Warning> = Vec::new();
        for warning in all.iter().flat_map(|one| &one.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        Some(Self {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION.to_owned(),
            amb: Amb {
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            run: Run::merged(all, first),
            child: ChildEnd {
                pid: None,
                ..ended.child.clone()
            },
            exit: Exit { ..ended.exit.clone() },
            totals: Totals::merged(all),
            hosts: busiest(
                alike(all.iter().flat_map(|one| &one.hosts), |host| {
                    (host.name.clone(), host.port)
                })
                .iter()
                .filter_map(|hosts| Host::merged(hosts)),
                |host| (&host.requests, host.tunnels.as_ref()),
            ),
            routes: busiest(
                alike(all.iter().flat_map(|one| &one.routes), |route| route.id.clone())
                    .iter()
                    .filter_map(|routes| Route::merged(routes)),
                |route| (&route.requests, route.tunnels.as_ref()),
            ),
            failures: groups(all.iter().flat_map(|one| &one.failures)),
            failures_beyond: all.iter().map(|one| one.failures_beyond).sum(),
            denials: groups(all.iter().flat_map(|one| &one.denials)),
            denials_beyond: all.iter().map(|one| one.denials_beyond).sum(),
            egress: Egress::merged(all.iter().filter_map(|one| one.egress.as_ref())),
            breakers: Breakers::of(circuits.iter().filter_map(|these| circuit(these)).collect()),
            assertions: all.iter().flat_map(|one| one.assertions.clone()).collect(),
            edits: edits(all.iter().filter_map(|one| one.edits.as_ref())),
            timeline: timeline(all),
            leftovers: (!leftovers.is_empty()).then(|| leftovers.iter().sum()),
            warnings,
        })
    }
}

/// Puts together what has the same key, in the order in which keys are first met.
fn alike<'a, T, K: Hash + Eq>(all: impl Iterator<Item = &'a T>, key: impl Fn(&T) -> K) -> Vec<Vec<&'a T>> {
    let mut places = HashMap::new();
    let mut groups: Vec<Vec<&T>> = Vec::new();
    for one in all {
        let place = *places.entry(key(one)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(one);
    }
    groups
}

/// What has the most traffic first; what has as much in the order it came.
fn busiest<T>(all: impl Iterator<Item = T>, traffic: impl Fn(&T) -> (&Requests, Option<&Tunnels>)) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_by_key(|one| {
        let (requests, tunnels) = traffic(one);
        std::cmp::Reverse(requests.total + tunnels.map_or(0, |tunnels| tunnels.total))
    });
    all
}

/// What is the same everywhere.
fn common<'a, T: PartialEq + 'a>(mut all: impl Iterator<Item = &'a T>) -> Option<&'a T> {
    let first = all.next()?;
    all.all(|one| one == first).then_some(first)
}

impl Run {
    /// The run that began with the first of these and ended with the last.
    fn merged(all: &[Document], first: &Document) -> Self {
        let began = all
            .iter()
            .map(Document::started_at)
            .min()
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let ended = all
            .iter()
            .map(|one| one.started_at() + one.run.duration)
            .max()
            .unwrap_or(began);
        let ids = all.iter().flat_map(|one| match &*one.run.merged {
            [] => vec![one.run.id.clone()],
            several => several.to_vec(),
        });
        let names: BTreeSet<&str> = all.iter().map(|one| &*one.run.name).collect();
        let mut sources: Vec<String> = Vec::new();
        for source in all.iter().flat_map(|one| &one.run.config.sources) {
            if !sources.contains(source) {
                sources.push(source.clone());
            }
        }
        let ids: Vec<String> = ids.collect();
        let policies = all.iter().map(|one| &one.run.policy);
        Self {
            trace_id: common(all.iter().map(|one| &one.run.trace_id)).cloned().flatten(),
            id: format!("{}+{}", first.run.id, ids.len().saturating_sub(1)),
            name: names.into_iter().collect::<Vec<_>>().join(", "),
            command: common(all.iter().map(|one| &one.run.command))
                .cloned()
                .unwrap_or_default(),
            started_at: time(began),
            duration: ended.duration_since(began).unwrap_or_default(),
            merged: ids,
            config: Config { sources },
            policy: common(policies).cloned().flatten(),
            capture: all
                .iter()
                .filter_map(|one| one.run.capture)
                .reduce(|one, other| Capture {
                    connections: one.connections + other.connections,
                    around: one.around + other.around,
                    roots: [one.roots, other.roots]
                        .into_iter()
                        .flatten()
                        .reduce(|one, other| one + other),
                }),
            confine: common(all.iter().map(|one| &one.run.confine)).cloned().flatten(),
        }
    }
}

/// Adds counts up that know how to be added.
macro_rules! total {
    ($kind:ty, $all:expr) => {
        $all.fold(<$kind>::default(), |mut total, one| {
            total.merge(one);
            total
        })
    };
}

/// The sum of what limits held back; none if nothing was.
fn held<'a>(all: impl Iterator<Item = &'a Held>) -> Option<Held> {
    Some(total!(Held, all)).filter(|held| !held.is_nothing())
}

/// The sum of what retries did; none if there was nothing to retry.
fn retries<'a>(all: impl Iterator<Item = &'a RetryCounts>) -> Option<RetryCounts> {
    Some(total!(RetryCounts, all)).filter(|counts| !counts.is_empty())
}

/// The sum of tunnels; none if there were none.
fn tunnels<'a>(all: impl Iterator<Item = &'a Tunnels>) -> Option<Tunnels> {
    Some(total!(Tunnels, all)).filter(|tunnels| tunnels.total > 0)
}

/// The sum of what was done about credentials; none if nothing was.
fn credentials<'a>(all: impl Iterator<Item = &'a Credentials>) -> Option<Credentials> {
    Some(total!(Credentials, all.cloned())).filter(|credentials| !credentials.is_nothing())
}

/// The sum of what was changed on the way; none if nothing was.
fn edits<'a>(all: impl Iterator<Item = &'a EditCounts>) -> Option<EditCounts> {
    Some(total!(EditCounts, all.cloned())).filter(|edits| !edits.is_nothing())
}

impl Totals {
    /// The sum of these.
    fn merged(all: &[Document]) -> Self {
        let all = || all.iter().map(|one| &one.totals);
        Self {
            requests: total!(Requests, all().map(|one| &one.requests.counts)).into(),
            tunnels: total!(Tunnels, all().map(|one| &one.tunnels)),
            connections: total!(Connections, all().map(|one| &one.connections)),
            bytes: total!(Bytes, all().map(|one| &one.bytes)),
            tls_failures: all().map(|one| one.tls_failures).sum(),
            held: held(all().filter_map(|one| one.held.as_ref())),
            retries: retries(all().filter_map(|one| one.retries.as_ref())),
            credentials: credentials(all().filter_map(|one| one.credentials.as_ref())),
            latency: Latency::merged(all().filter_map(|one| one.latency.as_ref())),
            connect: Latency::merged(all().filter_map(|one| one.connect.as_ref())),
            first_byte: Latency::merged(all().filter_map(|one| one.first_byte.as_ref())),
        }
    }
}

impl Host {
    /// The sum of these, by the name of the first; none of none.
    pub(super) fn merged(all: &[&Self]) -> Option<Self> {
        let first = all.first()?;
        let all = || all.iter().copied();
        Some(Self {
            name: first.name.clone(),
            port: first.port,
            requests: total!(Requests, all().map(|one| &one.requests)),
            tunnels: tunnels(all().filter_map(|one| one.tunnels.as_ref())),
            connections: total!(Connections, all().map(|one| &one.connections)),
            bytes: total!(Bytes, all().map(|one| &one.bytes)),
            held: held(all().filter_map(|one| one.held.as_ref())),
            retries: retries(all().filter_map(|one| one.retries.as_ref())),
            latency: Latency::merged(all().filter_map(|one| one.latency.as_ref())),
            connect: Latency::merged(all().filter_map(|one| one.connect.as_ref())),
            first_byte: Latency::merged(all().filter_map(|one| one.first_byte.as_ref())),
            tls: Tls::merged(all().filter_map(|one| one.tls.as_ref())),
        })
    }
}

impl Tls {
    /// The sum of these; none of none. Of several states it is the worst, and of several certificates the one that ends first.
    fn merged<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        let order = |state: &str| {
            ["tunnelled", "intercepted", "pinned"]
                .iter()
                .position(|known| *known == state)
        };
        let state = all.clone().max_by_key(|one| order(&one.state))?.state.clone();
        let counts = |of: fn(&Self) -> &BTreeMap<String, u64>| {
            let mut sums = BTreeMap::new();
            for (name, count) in all.clone().flat_map(of) {
                *sums.entry(name.clone()).or_default() += count;
            }
            sums
        };
        let expires = all.clone().filter_map(|one| one.certificate_expires_at.as_ref());
        Some(Self {
            state,
            handshakes: all.clone().map(|one| one.handshakes).sum(),
            resumed: all.clone().map(|one| one.resumed).sum(),
            versions: counts(|one| &one.versions),
            ciphers: counts(|one| &one.ciphers),
            certificate_expires_at: expires.min_by_key(|text| point(text)).cloned(),
            took: Latency::merged(all.filter_map(|one| one.took.as_ref())),
        })
    }
}

impl Route {
    /// The sum of these, which have the same id; none of none.
    fn merged(all: &[&Self]) -> Option<Self> {
        let first = all.first()?;
        let all = || all.iter().copied();
        let templates = alike(all().flat_map(|one| &one.url_templates), |template| {
            (template.method.clone(), template.name.clone())
        });
        Some(Self {
            id: first.id.clone(),
            requests: total!(Requests, all().map(|one| &one.requests)),
            tunnels: tunnels(all().filter_map(|one| one.tunnels.as_ref())),
            connections: total!(Connections, all().map(|one| &one.connections)),
            bytes: total!(Bytes, all().map(|one| &one.bytes)),
            held: held(all().filter_map(|one| one.held.as_ref())),
            latency: Latency::merged(all().filter_map(|one| one.latency.as_ref())),
            connect: Latency::merged(all().filter_map(|one| one.connect.as_ref())),
            first_byte: Latency::merged(all().filter_map(|one| one.first_byte.as_ref())),
            url_templates: busiest(
                templates.iter().filter_map(|these| Template::merged(these)),
                |template| (&template.requests, None),
            ),
        })
    }
}

impl Template {
    /// The sum of these, which are called the same; none of none.
    fn merged(all: &[&Self]) -> Option<Self> {
        let first = all.first()?;
        Some(Self {
            method: first.method.clone(),
            name: first.name.clone(),
            requests: total!(Requests, all.iter().map(|one| &one.requests)),
            latency: Latency::merged(all.iter().filter_map(|one| one.latency.as_ref())),
        })
    }
}

/// Failures that are alike, counted together, the commonest first.
fn groups<'a>(all: impl Iterator<Item = &'a Group>) -> Vec<Group> {
    let likeness = |group: &Group| {
        let (method, host, path) = (group.method.clone(), group.host.clone(), group.path.clone());
        (method, host, group.port, path, group.error_type.clone())
    };
    let mut groups: Vec<Group> = alike(all, likeness)
        .into_iter()
        .filter_map(|these| {
            let first = these.iter().min_by_key(|group| point(&group.first_at))?;
            Some(Group {
                count: these.iter().map(|group| group.count).sum(),
                ..(*first).clone()
            })
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

impl Egress {
    /// The sum of these; none of none. If any was enforced, all count as if they were.
    fn merged<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        let any = all.clone().next()?;
        let enforced = all.clone().find(|one| one.mode == "enforce").unwrap_or(any);
        let decisions = alike(all.clone().flat_map(|one| &one.decisions), |decision| {
            let (action, rule) = (decision.action.clone(), decision.rule.clone());
            (action, decision.host.clone(), decision.port, rule)
        });
        let mut decisions: Vec<Decision> = decisions
            .into_iter()
            .filter_map(|these| {
                Some(Decision {
                    count: these.iter().map(|decision| decision.count).sum(),
                    ..(*these.first()?).clone()
                })
            })
            .collect();
        let order = |action: &str| {
            ["deny", "would-deny", "allow"]
                .iter()
                .position(|known| *known == action)
        };
        decisions.sort_by(|a, b| {
            let first = order(&a.action).cmp(&order(&b.action));
            first.then_with(|| (&a.host, a.port, &a.rule).cmp(&(&b.host, b.port, &b.rule)))
        });
        let called = all.clone().flat_map(|one| &one.also_called);
        let called: BTreeSet<&Called> = called.collect();
        Some(Self {
            mode: enforced.mode.clone(),
            denied: all.clone().map(|one| one.denied).sum(),
            would_deny: all.map(|one| one.would_deny).sum(),
            decisions,
            also_called: called.into_iter().cloned().collect(),
        })
    }
}

/// The sum of circuits of the same name; where it stands is where it stood last.
fn circuit(these: &[&Circuit]) -> Option<Circuit> {
    let last = these.last()?;
    Some(Circuit {
        opened: these.iter().map(|circuit| circuit.opened).sum(),
        rejected: these.iter().map(|circuit| circuit.rejected).sum(),
        ..(*last).clone()
    })
}

/// How many began when, in all of them.
fn timeline(all: &[Document]) -> Option<Times> {
    let timelines = all.iter().filter_map(|one| one.timeline.as_ref()?.revive());
    let whole = timelines.fold(Timeline::default(), |mut whole, one| {
        whole.merge(&one);
        whole
    });
    Times::of(&whole)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        report::{
            human::tests::nothing_seen,
            json::tests::{everything, record},
        },
        traffic::{meter::Meter, summary::Summary},
    };

    /// The reports of these many runs of a hundred to a thousand requests each, and that of all of them as one run.
    fn runs(count: u64) -> (Vec<Document>, Document) {
        let mut whole = Meter::default();
        let mut reports = Vec::new();
        for run in 0..count {
            let mut meter = Meter::default();
            for number in 0..100 * (run + 1) {
                let began = Duration::from_millis(run * 60_000 + number * 10);
                let took = Duration::from_micros(500 + (number * 7_919 + run * 104_729) % 1_000_003);
                let host = ["a.example", "b.example", "c.example"][usize::try_from((number + run) % 3).unwrap()];
                let record = record(host, 200, began, took);
                meter.add(&record);
                whole.add(&record);
            }
            reports.push(Document::of(&of(meter)));
        }
        (reports, Document::of(&of(whole)))
    }

    /// A run with this traffic.
    fn of(meter: Meter) -> Summary {
        Summary {
            traffic: meter.finish(),
            ..nothing_seen()
        }
    }

    #[test]
    fn ten_reports_are_together_what_one_run_would_have_told() {
        let (reports, whole) = runs(10);
        let read: Vec<Document> = reports
            .iter()
            .map(|report| Document::read(&report.to_json()).unwrap())
            .collect();
        let merged = Document::merged(&read).unwrap();
        assert_eq!(merged.run.merged.len(), 10);
        let (mut merged, mut whole) = (
            serde_json::to_value(&merged).unwrap(),
            serde_json::to_value(&whole).unwrap(),
        );
        // A mean is told to the microsecond, and so are those it is made of.
        for figure in ["latency_seconds", "connect_seconds", "first_byte_seconds"] {
            let mean = |report: &mut serde_json::Value| report["totals"][figure]["mean"].take().as_f64().unwrap();
            assert!((mean(&mut merged) - mean(&mut whole)).abs() < 2e-6, "{figure}");
        }
        // Not compared by `assert_eq`: there are hundreds of numbers in it.
        assert!(merged["totals"] == whole["totals"]);
        assert_eq!(merged["timeline"], whole["timeline"]);
        assert_eq!(merged["hosts"].as_array().unwrap().len(), 3);
        for (merged, whole) in merged["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .zip(whole["hosts"].as_array().unwrap())
        {
            assert_eq!(merged["requests"], whole["requests"]);
            for figure in ["count", "min", "p50", "p90", "p95", "p99", "max", "histogram_micros"] {
                assert_eq!(
                    merged["latency_seconds"][figure], whole["latency_seconds"][figure],
                    "{figure}"
                );
            }
        }
    }

    #[test]
    fn the_whole_has_the_percentiles_of_the_union_within_a_percent() {
        let (reports, _) = runs(10);
        let merged = Document::merged(&reports).unwrap();
        let mut all: Vec<u64> = (0..10)
            .flat_map(|run| (0..100 * (run + 1)).map(move |number| 500 + (number * 7_919 + run * 104_729) % 1_000_003))
            .collect();
        all.sort_unstable();
        let latency = merged.totals.latency.unwrap();
        assert_eq!(latency.count, 5_500);
        for (told, percent) in [
            (latency.p50, 50),
            (latency.p90, 90),
            (latency.p95, 95),
            (latency.p99, 99),
        ] {
            let exact = Duration::from_micros(all[(all.len() * percent).div_ceil(100) - 1]);
            let error = told.abs_diff(exact).as_secs_f64() / exact.as_secs_f64();
            assert!(error <= 0.01, "p{percent}: {told:?} for {exact:?}");
        }
    }

    #[test]
    fn merged_with_itself_everything_is_twice_as_much() {
        let one = Document::of(&everything());
        let twice = Document::merged(&[one.clone(), one.clone()]).unwrap();
        assert_eq!(twice.totals.requests.counts.total, 2 * one.totals.requests.counts.total);
        assert_eq!(twice.hosts.len(), one.hosts.len());
        assert_eq!(twice.failures[0].count, 2);
        assert_eq!(twice.failures_beyond, 6);
        assert_eq!(twice.egress.unwrap().denied, 2);
        assert_eq!(twice.breakers.rejected, 18);
        assert_eq!(twice.leftovers, Some(2));
        assert_eq!(twice.warnings.len(), one.warnings.len());
        assert_eq!(twice.run.duration, one.run.duration);
        assert_eq!(twice.run.command, one.run.command);
        assert_eq!(twice.routes[0].url_templates.len(), 1);
        let again = Document::merged(&[one]).unwrap();
        assert_eq!((again.run.merged.len(), again.run.id.as_str()), (1, "01JD8ZK3V6W2Q4+0"));
    }

    #[test]
    fn one_bad_end_is_that_of_all() {
        let mut all = vec![Document::of(&everything()); 3];
        (all[1].exit.code, all[1].child.exit_code) = (7, Some(7));
        all[2].run.name = "shipping".to_owned();
        let merged = Document::merged(&all).unwrap();
        assert_eq!((merged.exit.code, merged.child.exit_code), (7, Some(7)));
        assert_eq!(merged.run.name, "billing, shipping");
    }

    #[test]
    fn what_has_no_histograms_cannot_be_merged() {
        let mut one = Document::of(&everything());
        assert!(one.is_mergeable());
        one.hosts[1].first_byte.as_mut().unwrap().histogram = crate::traffic::latency::Distribution::default();
        assert!(!one.is_mergeable());
    }
}
