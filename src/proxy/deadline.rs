//! Limits that do not run while amb is stopped: `fg` after a long Ctrl-Z must not time out what was under way.
//!
//! Nobody tells a process for how long it was stopped, but then even a short sleep ends far too late.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::{Instant, timeout};

/// The longest sleep, and so the most that a stop can be misjudged by.
const TICK: Duration = Duration::from_millis(500);
/// How late a sleep may end before that counts as a stop. On a machine that is merely slow the limit comes a little later.
const SLACK: Duration = Duration::from_millis(200);

/// What `future` comes to; none if it takes longer than `limit`, not counting time stopped.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = limit;
    loop {
        let asked = left.min(TICK);
        let before = Instant::now();
        if let Ok(value) = timeout(asked, future.as_mut()).await {
            return Some(value);
        }
        left = left.saturating_sub(counted(before.elapsed(), asked));
        if left.is_zero() {
            return None;
        }
    }
}

/// How much of the time that passed counts, of a sleep that was to take `asked`.
fn counted(passed: Duration, asked: Duration) -> Duration {
    if passed > asked + SLACK { asked } else { passed }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_ends_what_takes_longer() {
        let began = Instant::now();
        let limit = Duration::from_millis(1700);
        assert_eq!(within(limit, pending::<()>()).await, None);
        let lasted = began.elapsed();
        assert!(
            lasted >= limit && lasted < limit + Duration::from_millis(20),
            "{lasted:?}"
        );
        assert_eq!(within(limit, ready(1)).await, Some(1));
    }

    #[test]
    fn time_stopped_does_not_count() {
        let asked = Duration::from_millis(500);
        assert_eq!(counted(Duration::from_millis(510), asked), Duration::from_millis(510));
        assert_eq!(counted(Duration::from_hours(1), asked), asked);
    }
}
