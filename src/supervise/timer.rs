//! Deadlines that do not run while amb is stopped (Ctrl-Z, SIGSTOP).
//!
//! Nobody tells a process for how long it was stopped. So while a deadline is set amb wakes up every [`TICK`], and
//! whatever a wait took beyond what was asked for counts as time stopped. On a machine that is merely slow the deadlines
//! come a little later, which harms nobody.

use std::time::Duration;

/// The longest wait while a deadline is set, and so the most that a stop can be misjudged by.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// How late a wait may end before it counts as a stop.
const SLACK: Duration = Duration::from_millis(100);

/// The time left until something happens, if it is to happen at all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// Time left, not counting time stopped; `None` if it is not set or has fired.
    left: Option<Duration>,
}

impl Timer {
    /// A timer that fires after `left`; never with `None`.
    pub(super) const fn new(left: Option<Duration>) -> Self {
        Self { left }
    }

    /// How long to wait at most for this timer; `None` if it is not set.
    pub(super) fn wait(self) -> Option<Duration> {
        self.left.map(|left| left.min(TICK))
    }

    /// Lets `passed` go by, of a wait that was to take `asked` at most; `true` if the timer fired, which it does once.
    pub(super) fn advance(&mut self, passed: Duration, asked: Option<Duration>) -> bool {
        let Some(left) = self.left else { return false };
        let passed = match asked {
            Some(asked) if passed > asked + SLACK => asked,
            _ => passed,
        };
        self.left = left.checked_sub(passed).filter(|left| !left.is_zero());
        self.left.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_once_when_its_time_is_over() {
        let mut timer = Timer::new(Some(Duration::from_millis(300)));
        assert_eq!(timer.wait(), Some(TICK));
        assert!(!timer.advance(TICK, Some(TICK)));
        assert_eq!(timer.wait(), Some(Duration::from_millis(100)));
        assert!(timer.advance(Duration::from_millis(101), Some(Duration::from_millis(100))));
        assert!(!timer.advance(TICK, Some(TICK)));
        assert_eq!(timer.wait(), None);
    }

    #[test]
    fn time_stopped_does_not_count() {
        let mut timer = Timer::new(Some(Duration::from_millis(300)));
        assert!(!timer.advance(Duration::from_hours(1), Some(TICK)));
        assert_eq!(timer.wait(), Some(Duration::from_millis(100)));
    }

    #[test]
    fn an_unset_timer_never_fires() {
        let mut timer = Timer::default();
        assert_eq!(timer.wait(), None);
        assert!(!timer.advance(Duration::from_hours(1), None));
    }
}
