//! Whether anybody still needs an amb without a child.

use std::{
    io::{self, PipeReader},
    thread,
    time::Duration,
};

use tokio::{runtime, time::Instant};

use crate::proxy::{Look, Lookout};

/// Readable, at its end, once no exchange and no tunnel has been open for as long as `limit`.
///
/// Looks from a thread of its own, and no more often than it has to.
///
/// # Errors
/// The process is out of something.
pub(super) fn watch(lookout: Lookout, limit: Duration) -> io::Result<PipeReader> {
    let (idle, open) = io::pipe()?;
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("amb-idle".to_owned()).spawn(move || {
        runtime.block_on(async {
            let begun = Instant::now();
            let mut wait = Some(limit);
            while let Some(time) = wait {
                tokio::time::sleep(time).await;
                wait = left(&lookout.look().await, begun.elapsed(), limit);
            }
        });
        drop(open);
    })?;
    Ok(idle)
}

/// How long to wait before the next look; none if it has been idle for long enough. It has been there for `age`.
fn left(look: &Look, age: Duration, limit: Duration) -> Option<Duration> {
    // A worker that does not answer is busy.
    if look.open > 0 || look.missing > 0 {
        return Some(limit);
    }
    let left = limit.saturating_sub(look.quiet.unwrap_or(age));
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_idle_when_nothing_was_open_for_so_long() {
        let seconds = Duration::from_secs;
        let look = |open, quiet: Option<u64>| Look {
            open,
            quiet: quiet.map(seconds),
            ..Look::default()
        };
        for (found, age, expected) in [
            (look(0, None), 10, None),
            (look(0, None), 4, Some(6)),
            (look(0, Some(3)), 100, Some(7)),
            (look(0, Some(10)), 100, None),
            (look(1, Some(50)), 100, Some(10)),
        ] {
            assert_eq!(
                left(&found, seconds(age), seconds(10)),
                expected.map(seconds),
                "{found:?} at {age}"
            );
        }
    }
}
