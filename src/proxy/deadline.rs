//! Limits that do not run while amb is stopped: `fg` after a long Ctrl-Z must not time out what was under way.
//!
//! Nobody tells a process for how long it was stopped, but then even a short sleep ends far too late.

use std::{cell::Cell, future::Future, pin::pin, time::Duration};

use tokio::time::{Instant, timeout};

/// The shortest tick of a limit that is longer.
const TICK: Duration = Duration::from_millis(500);
/// Ticks of a limit, other than a short one: what a stop can be misjudged by at most is one of them.
const TICKS: u32 = 16;
/// How late a sleep may end before that counts as a stop: this, or an eighth of it. On a machine that is merely slow the limit
/// comes a little later.
const SLACK: Duration = Duration::from_millis(200);

/// A limit that is counted down tick by tick.
#[derive(Debug)]
pub(crate) struct Countdown {
    /// All of it.
    limit: Duration,
    /// What was left at the last tick.
    left: Cell<Duration>,
    /// When that was.
    ticked: Cell<Instant>,
}

impl Countdown {
    /// The whole limit.
    pub(crate) fn of(limit: Duration) -> Self {
        Self {
            limit,
            left: Cell::new(limit),
            ticked: Cell::new(Instant::now()),
        }
    }

    /// What `future` comes to; none if that takes longer than a tick, which is then counted. Cancel safe if `future` is.
    pub(crate) async fn tick<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let left = self.left.get();
        let asked = left.min(TICK.max(self.limit / TICKS));
        let before = Instant::now();
        self.ticked.set(before);
        let result = timeout(asked, future).await.ok();
        if result.is_none() {
            self.left.set(left.saturating_sub(counted(before.elapsed(), asked)));
            self.ticked.set(Instant::now());
        }
        result
    }

    /// What `future` comes to; none if the limit is over before.
    pub(crate) async fn bound<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            if let Some(value) = self.tick(future.as_mut()).await {
                return Some(value);
            }
            if self.is_over() {
                return None;
            }
        }
    }

    /// Begins again.
    pub(crate) fn renew(&self) {
        self.left.set(self.limit);
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.left.get().is_zero()
    }

    /// What is left by now, while [`Countdown::bound`] counts.
    pub(crate) fn left(&self) -> Duration {
        self.left.get().saturating_sub(self.ticked.get().elapsed())
    }
}

/// For how long nothing may move.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Since something moved last.
    countdown: Countdown,
    /// What had moved by then, in bytes.
    seen: Cell<u64>,
}

impl Silence {
    /// The whole limit, from now on, when `moved` bytes have moved.
    pub(crate) fn of(limit: Duration, moved: u64) -> Self {
        Self {
            countdown: Countdown::of(limit),
            seen: Cell::new(moved),
        }
    }

    /// As [`Countdown::tick`].
    pub(crate) async fn tick<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.countdown.tick(future).await
    }

    /// After a tick, when `moved` bytes have moved: whether nothing has for too long. What is `excused` counts as movement.
    pub(crate) fn is_over(&self, moved: u64, excused: bool) -> bool {
        if self.seen.replace(moved) != moved || excused {
            self.countdown.renew();
        }
        self.countdown.is_over()
    }
}

/// What `future` comes to; none if it takes longer than `limit`, not counting time stopped.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    Countdown::of(limit).bound(future).await
}

/// How much of the time that passed counts, of a sleep that was to take `asked`. Of one that a stop has cut across, half: so
/// that a short limit is not over as soon as amb goes on, and any limit ends.
fn counted(passed: Duration, asked: Duration) -> Duration {
    if passed > asked + SLACK.max(asked / 8) {
        (asked / 2).max(Duration::from_millis(1))
    } else {
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_ends_what_takes_longer() {
        for limit in [1, 300, 1_700, 60_000, 86_400_000].map(Duration::from_millis) {
            let began = Instant::now();
            assert_eq!(within(limit, pending::<()>()).await, None);
            let lasted = began.elapsed();
            assert!(
                lasted >= limit && lasted < limit + Duration::from_millis(20),
                "{lasted:?}"
            );
            assert_eq!(within(limit, ready(1)).await, Some(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_can_be_asked_for_and_renewed() {
        let countdown = Countdown::of(Duration::from_secs(16));
        let asking = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            countdown.left()
        };
        let left = countdown.bound(asking).await.expect("it is in time");
        assert_eq!(left.as_millis().div_ceil(10), 1_350);
        assert_eq!(countdown.bound(pending::<()>()).await, None);
        assert!(countdown.is_over() && countdown.left().is_zero());
        countdown.renew();
        assert!(!countdown.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_from_the_last_byte_on() {
        let silence = Silence::of(Duration::from_millis(900), 7);
        let mut ticks = [(7, false), (8, false), (8, true), (8, false), (8, false)].into_iter();
        let mut over = Vec::new();
        while silence.tick(pending::<()>()).await.is_none()
            && let Some((moved, excused)) = ticks.next()
        {
            over.push(silence.is_over(moved, excused));
        }
        assert_eq!(over, [false, false, false, false, true]);
    }

    #[test]
    fn time_stopped_does_not_count() {
        let asked = Duration::from_millis(500);
        assert_eq!(counted(Duration::from_millis(510), asked), Duration::from_millis(510));
        assert_eq!(counted(Duration::from_hours(1), asked), asked / 2);
        assert!(!counted(Duration::from_hours(1), Duration::ZERO).is_zero());
    }
}
