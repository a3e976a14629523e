//! What is known of the runs, and what was pressed: all that a picture depends on.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use super::watch::Look;
use crate::{
    monitor::view::{Live, Status},
    report::document::{Document, Group, point},
};

/// Seconds that are kept for the sparklines: as many as the widest terminal has columns.
const MOST_BEATS: usize = 512;

/// Two looks that are less apart than this say nothing about a rate.
const SHORTEST: f64 = 0.2;

/// Seconds of the run's own timeline that the sparkline begins with.
const BEFORE: u32 = 120;

/// A key, by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Leave.
    Leave,
    /// Leave what is on top: the help, else all.
    Back,
    /// The help.
    Help,
    /// Another order of hosts.
    Sort,
    /// The next run.
    Next,
    /// The run before.
    Previous,
    /// Down by so many hosts.
    Down(usize),
    /// Up by so many hosts.
    Up(usize),
}

/// What a key leads to beside another picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    Nothing,
    /// The end.
    Leave,
    /// A look at the run with this id.
    See(String),
}

/// The order of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By requests and tunnels.
    #[default]
    Requests,
    /// By requests and tunnels in the last second.
    Rate,
    /// By those that failed or were refused.
    Failed,
    /// By the 95th percentile.
    Slow,
    /// By bytes both ways.
    Bytes,
    /// By name.
    Name,
}

impl Sort {
    /// The next one.
    fn next(self) -> Self {
        match self {
            Self::Requests => Self::Rate,
            Self::Rate => Self::Failed,
            Self::Failed => Self::Slow,
            Self::Slow => Self::Bytes,
            Self::Bytes => Self::Name,
            Self::Name => Self::Requests,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Rate => "rate",
            Self::Failed => "failed",
            Self::Slow => "p95",
            Self::Bytes => "bytes",
            Self::Name => "name",
        }
    }
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Beat {
    /// Requests and tunnels that ended, a second.
    pub(super) rate: f64,
    /// How long requests took on average; none if none ended.
    pub(super) latency: Option<Duration>,
    /// Bytes both ways, a second.
    pub(super) bytes: f64,
}

/// All that a picture depends on.
#[derive(Debug)]
pub(super) struct State {
    /// The runs, the oldest first. The one that is shown stays when it is over.
    pub(super) runs: Vec<Status>,
    /// The id of the one that is shown.
    pub(super) shown: String,
    /// All of it; none before it has answered.
    pub(super) live: Option<Live>,
    /// Whether it has ended.
    pub(super) over: bool,
    /// What happened from look to look, the last one last.
    pub(super) beats: VecDeque<Beat>,
    /// Requests and tunnels of each host, a second.
    pub(super) rates: HashMap<(String, u16), f64>,
    /// How many looks there were.
    looks: u64,
    /// At which look each group of failures has grown last.
    grown: HashMap<String, u64>,
    /// The order of hosts.
    pub(super) sort: Sort,
    /// How many hosts are above the first that is shown.
    pub(super) scroll: usize,
    /// Whether the help is on top.
    pub(super) help: bool,
}

/// What tells a group of failures from the others.
fn name(group: &Group) -> String {
    format!(
        "{} {}:{}{} {}",
        group.method, group.host, group.port, group.path, group.error_type
    )
}

/// Failures and refusals.
pub(super) fn groups(report: &Document) -> impl Iterator<Item = &Group> {
    report.failures.iter().chain(&report.denials)
}

/// Requests and tunnels.
fn passed(status: &Status) -> u64 {
    status.requests + status.tunnels
}

impl State {
    /// What is known after a first look; none if there is nothing to see.
    pub(super) fn new(look: Look) -> Option<Self> {
        let shown = look.runs.last()?.id.clone();
        let mut state = Self {
            runs: Vec::new(),
            shown,
            live: None,
            over: false,
            beats: VecDeque::new(),
            rates: HashMap::new(),
            looks: 0,
            grown: HashMap::new(),
            sort: Sort::default(),
            scroll: 0,
            help: false,
        };
        state.take(look);
        Some(state)
    }

    /// The run that is shown.
    pub(super) fn status(&self) -> Option<&Status> {
        let live = self.live.as_ref().map(|live| &live.status);
        live.or_else(|| self.runs.iter().find(|run| run.id == self.shown))
    }

    /// Where the run that is shown is among all.
    pub(super) fn place(&self) -> usize {
        self.runs.iter().position(|run| run.id == self.shown).unwrap_or(0)
    }

    /// Takes in what was seen.
    pub(super) fn take(&mut self, look: Look) {
        let before = self.status().cloned();
        self.runs = look.runs;
        self.over = self.runs.iter().all(|run| run.id != self.shown);
        if self.over
            && let Some(gone) = before
        {
            self.runs.push(gone);
            self.runs.sort_by(|a, b| a.started_at.cmp(&b.started_at));
        }
        let known = self.live.as_ref().map_or(0, |live| passed(&live.status));
        // A run that ends has no workers any more that could tell of what has passed: what was known of it stays.
        let told = |live: &Live| live.status.id == self.shown && passed(&live.status) >= known;
        let Some(live) = look.live.filter(told) else {
            return;
        };
        self.looks += 1;
        match self.live.take() {
            Some(before) => self.compare(&before, &live),
            None => self.beats = earlier(&live.report).into(),
        }
        for group in groups(&live.report) {
            self.grown.entry(name(group)).or_insert(self.looks);
        }
        self.live = Some(live);
    }

    /// What has happened since the look before.
    fn compare(&mut self, before: &Live, now: &Live) {
        for group in groups(&now.report) {
            let known = groups(&before.report).find(|known| name(known) == name(group));
            if known.is_none_or(|known| known.count < group.count) {
                self.grown.insert(name(group), self.looks);
            }
        }
        let seconds = now.status.duration_seconds - before.status.duration_seconds;
        if seconds < SHORTEST {
            return;
        }
        let a_second = |now: u64, before: u64| figure(now.saturating_sub(before)) / seconds;
        let bytes = |status: &Status| status.bytes_sent + status.bytes_received;
        self.beats.push_back(Beat {
            rate: a_second(passed(&now.status), passed(&before.status)),
            latency: latency_between(&before.report, &now.report),
            bytes: a_second(bytes(&now.status), bytes(&before.status)),
        });
        while self.beats.len() > MOST_BEATS {
            self.beats.pop_front();
        }
        let counts = |report: &Document| -> HashMap<(String, u16), u64> {
            let count = |host: &crate::report::document::Host| {
                host.requests.total + host.tunnels.as_ref().map_or(0, |tunnels| tunnels.total)
            };
            let hosts = report.hosts.iter();
            hosts
                .map(|host| ((host.name.clone(), host.port), count(host)))
                .collect()
        };
        let known = counts(&before.report);
        let rate = |(host, count): ((String, u16), u64)| {
            let rate = a_second(count, known.get(&host).copied().unwrap_or(0));
            (host, rate)
        };
        self.rates = counts(&now.report).into_iter().map(rate).collect();
    }

    /// The failures, those that grew last first.
    pub(super) fn failures(&self) -> Vec<&Group> {
        let mut all: Vec<_> = self.live.iter().flat_map(|live| groups(&live.report)).collect();
        let last = |group: &Group| self.grown.get(&name(group)).copied().unwrap_or(0);
        all.sort_by(|a, b| last(b).cmp(&last(a)).then_with(|| b.first_at.cmp(&a.first_at)));
        all
    }

    /// What a key leads to.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        match key {
            Key::Back | Key::Help if self.help => self.help = false,
            Key::Leave | Key::Back => return Wish::Leave,
            Key::Help => self.help = true,
            Key::Sort => self.sort = self.sort.next(),
            Key::Next => return self.turn(1),
            Key::Previous => return self.turn(self.runs.len().saturating_sub(1)),
            Key::Down(by) => {
                let hosts = self.live.as_ref().map_or(0, |live| live.report.hosts.len());
                self.scroll = self.scroll.saturating_add(by).min(hosts.saturating_sub(1));
            }
            Key::Up(by) => self.scroll = self.scroll.saturating_sub(by),
        }
        Wish::Nothing
    }

    /// Goes to another run.
    fn turn(&mut self, by: usize) -> Wish {
        let count = self.runs.len();
        if count < 2 {
            return Wish::Nothing;
        }
        let id = self.runs[(self.place() + by) % count].id.clone();
        self.shown.clone_from(&id);
        self.live = None;
        self.over = false;
        self.beats.clear();
        self.rates.clear();
        self.grown.clear();
        self.scroll = 0;
        Wish::See(id)
    }
}

/// A count as a figure to divide.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts that far, and a rate is no exact figure"
)]
pub(super) fn figure(count: u64) -> f64 {
    count as f64
}

/// How long the requests took on average that ended between two reports; none if none did.
fn latency_between(before: &Document, now: &Document) -> Option<Duration> {
    let sum = |report: &Document| {
        let latency = report.totals.latency.as_ref()?;
        Some((latency.count, latency.mean.as_secs_f64() * figure(latency.count)))
    };
    let (count, seconds) = sum(now)?;
    let (known, passed) = sum(before).unwrap_or_default();
    let fresh = count.checked_sub(known).filter(|fresh| *fresh > 0)?;
    Some(Duration::from_secs_f64(
        ((seconds - passed) / figure(fresh)).clamp(0.0, 1e9),
    ))
}

/// The rates of the last seconds of a run, by its own timeline: when requests began.
fn earlier(report: &Document) -> Vec<Beat> {
    let Some(timeline) = &report.timeline else {
        return Vec::new();
    };
    let begins = point(&timeline.begins_at);
    let end = report.started_at() + report.run.duration;
    let since = |time: SystemTime| time.duration_since(begins).ok().map(|since| since.as_secs_f64());
    let width = timeline.width.as_secs_f64().max(0.1);
    let beat = |back: u32| {
        let from = since(end.checked_sub(Duration::from_secs(u64::from(back)))?)?;
        let counts = timeline.requests.iter().zip(&timeline.tunnels).enumerate();
        let inside = counts.map(|(slot, (requests, tunnels))| {
            let begin = figure(slot as u64) * width;
            let shared = ((from + 1.0).min(begin + width) - from.max(begin)).max(0.0);
            figure(requests + tunnels) * shared / width
        });
        Some(Beat {
            rate: inside.sum(),
            ..Beat::default()
        })
    };
    (1..=BEFORE).rev().filter_map(beat).collect()
}
