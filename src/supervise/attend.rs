//! An amb without a child: what goes on until somebody, or something, ends it.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tracing::debug;

use super::{
    Errand, Mode, Watch, now, run_errand,
    signal::{Signal, Signals, Woken},
    terminal,
    timer::Timer,
};

/// Why an amb without a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// By this signal.
    Signal(Signal),
    /// Somebody has asked it to, over its control socket.
    Asked,
    /// The process has ended that it was to end with.
    Released,
    /// Nobody has needed it for so long.
    Idle,
    /// A [`Watch`] said so.
    ByWatch,
    /// Its time is over.
    TimedOut,
}

/// Until when an amb without a child goes on.
pub struct Term<'a> {
    /// Descriptors that are readable, or closed at their other end, when it is to end, each with why.
    pub endings: Vec<(OwnedFd, Dismissal)>,
    /// How long it may go on at most; none for as long as it is wanted. Does not run while amb is stopped.
    pub limit: Option<Duration>,
    /// What looks at it from time to time, and may end it.
    pub watch: Option<Watch<'a>>,
}

/// Waits for the end, which is a signal that asks for it if nothing else is. Other signals do nothing.
///
/// Each of the `errands` is run once, when its descriptor becomes readable.
pub fn attend(signals: &mut Signals, errands: Vec<Errand<'_>>, mut term: Term<'_>) -> Dismissal {
    let dismissal = wait(signals, errands, &mut term);
    leave(&term);
    signals.release_stop();
    dismissal
}

/// Leaves the terminal to others.
fn leave(term: &Term<'_>) {
    if let Some(watch) = &term.watch {
        watch.leave();
    }
}

/// Waits for the end, and says which it was.
fn wait(signals: &mut Signals, mut errands: Vec<Errand<'_>>, term: &mut Term<'_>) -> Dismissal {
    let mut limit = Timer::new(term.limit);
    let mut watch_timer = Timer::new(term.watch.as_ref().map(|watch| watch.every));
    loop {
        while let Some(received) = signals.next() {
            debug!(?received, "signal");
            if received.signal.asks_to_end() {
                return Dismissal::Signal(received.signal);
            }
            // Caught only to leave first.
            if received.signal == Signal::TSTP && signals.mode == Mode::Inherit {
                leave(term);
                terminal::stop(libc::SIGTSTP);
            }
        }
        let asked = [limit, watch_timer].into_iter().filter_map(Timer::wait).min();
        let before = now();
        let woken = {
            let endings = term.endings.iter().map(|(descriptor, _)| descriptor.as_fd());
            let awaited = errands.iter().map(|errand| errand.awaited.as_fd());
            signals.wait(asked, &endings.chain(awaited).collect::<Vec<_>>())
        };
        if let Woken::Ready(place) = woken {
            match term.endings.get(place) {
                Some((_, why)) => return *why,
                None => run_errand(&mut errands, place - term.endings.len()),
            }
        }
        let passed = before.elapsed();
        if limit.advance(passed, asked) {
            return Dismissal::TimedOut;
        }
        if watch_timer.advance(passed, asked)
            && let Some(watch) = &mut term.watch
        {
            if (watch.look)() {
                return Dismissal::ByWatch;
            }
            watch_timer = Timer::new(Some(watch.every));
        }
    }
}
