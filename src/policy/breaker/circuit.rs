//! One circuit: its position, and the requests of the last while.

use std::time::Duration;

use super::{Change, Counts, Position, Settings};
use crate::policy::scope::State;

/// Slices of a window. It slides by one of them, so that what counts is between 9/10 and 10/10 of it.
const SLICES: u8 = 10;

/// How far a time that a circuit stays open may be from the one that is due: half, either way.
const JITTER: f64 = 0.5;

/// One server's circuit.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// Where it stands.
    phase: Phase,
    /// Counts its changes, so that what began before one is not counted after it.
    era: u64,
    /// Failures in a row.
    failures_in_a_row: u32,
    /// What happened lately.
    window: Window,
    /// Times it opened since it was last closed.
    openings: u32,
    /// What was counted.
    pub(super) counts: Counts,
}

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Requests go through.
    #[default]
    Closed,
    /// None does.
    Open {
        /// Until then.
        until: Duration,
        /// How long in all.
        lasts: Duration,
    },
    /// One at a time does.
    HalfOpen {
        /// When the one that is under way began; none if none is.
        probe: Option<Duration>,
        /// How long the circuit was open, and so how long a probe may take before another one is sent.
        patience: Duration,
        /// Probes that went well.
        successes: u32,
    },
}

/// What a circuit knows an attempt by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// In which era it began.
    era: u64,
    /// When it began, if it probes.
    probe: Option<Duration>,
}

impl Ticket {
    /// Whether it probes.
    pub(super) fn is_probe(self) -> bool {
        self.probe.is_some()
    }
}

impl Circuit {
    /// Lets an attempt go, or says how long it has to wait.
    pub(super) fn admit(&mut self, settings: &Settings, now: Duration) -> Result<(Ticket, Option<Change>), Duration> {
        let mut change = None;
        if let Phase::Open { until, lasts } = self.phase {
            if let Some(left) = until.checked_sub(now).filter(|left| !left.is_zero()) {
                self.counts.rejected += 1;
                return Err(left);
            }
            self.turn(Phase::HalfOpen {
                probe: None,
                patience: lasts.max(settings.open),
                successes: 0,
            });
            change = Some(Change::HalfOpened);
        }
        let Phase::HalfOpen { probe, patience, .. } = &mut self.phase else {
            return Ok((
                Ticket {
                    era: self.era,
                    probe: None,
                },
                None,
            ));
        };
        // A probe that got no answer for so long must not keep the circuit from trying again.
        if probe.is_some_and(|began| now < began + *patience) {
            self.counts.rejected += 1;
            return Err(Duration::ZERO);
        }
        *probe = Some(now);
        Ok((
            Ticket {
                era: self.era,
                probe: Some(now),
            },
            change,
        ))
    }

    /// Counts an attempt that has ended.
    pub(super) fn record(
        &mut self,
        settings: &Settings,
        ticket: Ticket,
        failed: bool,
        took: Duration,
        now: Duration,
        random: f64,
    ) -> Option<Change> {
        if ticket.era != self.era {
            return None;
        }
        let slow = settings.slow.is_some_and(|slow| took >= slow.after);
        match &mut self.phase {
            Phase::Closed => {
                self.failures_in_a_row = if failed { self.failures_in_a_row + 1 } else { 0 };
                self.window.add(settings.window, now, failed, slow);
                if !self.is_to_open(settings, now) {
                    return None;
                }
            }
            Phase::Open { .. } => return None,
            Phase::HalfOpen { probe, successes, .. } if !failed && !slow => {
                if *probe == ticket.probe {
                    *probe = None;
                }
                *successes += 1;
                if *successes < settings.probes {
                    return None;
                }
                self.turn(Phase::Closed);
                self.failures_in_a_row = 0;
                self.window = Window::default();
                self.openings = 0;
                return Some(Change::Closed);
            }
            Phase::HalfOpen { .. } => {}
        }
        let lasts = self.open_for(settings, random);
        self.turn(Phase::Open {
            until: now + lasts,
            lasts,
        });
        self.openings = self.openings.saturating_add(1);
        self.counts.opened += 1;
        Some(Change::Opened(lasts))
    }

    /// Frees the place of an attempt of which nothing is known.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        if let Phase::HalfOpen { probe, .. } = &mut self.phase
            && ticket.era == self.era
            && *probe == ticket.probe
        {
            *probe = None;
        }
    }

    /// Where it stands.
    pub(super) fn position(&self) -> Position {
        match self.phase {
            Phase::Closed => Position::Closed,
            Phase::Open { .. } => Position::Open,
            Phase::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// Changes its position.
    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }

    /// Whether what happened lately is too much.
    fn is_to_open(&self, settings: &Settings, now: Duration) -> bool {
        if settings.consecutive.is_some_and(|most| self.failures_in_a_row >= most) {
            return true;
        }
        let sums = self.window.sums(settings.window, now);
        let exceeds = |count: u32, ratio: f64| f64::from(count) >= ratio * f64::from(sums.requests);
        sums.requests >= settings.minimum_requests
            && (sums.failures > 0 && exceeds(sums.failures, settings.failure_ratio)
                || settings
                    .slow
                    .is_some_and(|slow| sums.slow > 0 && exceeds(sums.slow, slow.ratio)))
    }

    /// How long it is open the next time: twice as long as the last time, up to a limit, and spread.
    fn open_for(&self, settings: &Settings, random: f64) -> Duration {
        let due = settings
            .open
            .saturating_mul(1_u32.checked_shl(self.openings).unwrap_or(u32::MAX));
        let spread = 1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0);
        due.min(settings.longest_open)
            .mul_f64(spread)
            .min(settings.longest_open)
    }
}

impl State for Circuit {
    fn is_idle(&self, _now: Duration) -> bool {
        matches!(self.phase, Phase::Closed) && self.counts == Counts::default() && self.failures_in_a_row == 0
    }
}

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which stretch, counted from the beginning of time.
    number: u64,
    /// Attempts that ended.
    requests: u32,
    /// Those that failed.
    failures: u32,
    /// Those that were slow, failed or not.
    slow: u32,
}

/// What happened lately, as the last slices of time.
#[derive(Debug, Default)]
struct Window {
    /// A slice is at its number modulo [`SLICES`].
    slices: [Slice; SLICES as usize],
}

impl Window {
    /// The number of the slice that is under way.
    fn number(length: Duration, now: Duration) -> u64 {
        let slice = (length.as_nanos() / u128::from(SLICES)).max(1);
        u64::try_from(now.as_nanos() / slice).unwrap_or(u64::MAX)
    }

    /// Counts an attempt.
    fn add(&mut self, length: Duration, now: Duration, failed: bool, slow: bool) {
        let number = Self::number(length, now);
        let place = usize::try_from(number % u64::from(SLICES)).unwrap_or_default();
        let slice = &mut self.slices[place];
        if slice.number != number {
            *slice = Slice {
                number,
                ..Slice::default()
            };
        }
        slice.requests += 1;
        slice.failures += u32::from(failed);
        slice.slow += u32::from(slow);
    }

    /// The sums of all slices that are not too old.
    fn sums(&self, length: Duration, now: Duration) -> Slice {
        let number = Self::number(length, now);
        let recent = |slice: &&Slice| slice.number + u64::from(SLICES) > number;
        self.slices
            .iter()
            .filter(recent)
            .fold(Slice::default(), |sum, slice| Slice {
                number,
                requests: sum.requests + slice.requests,
                failures: sum.failures + slice.failures,
                slow: sum.slow + slice.slow,
            })
    }
}
