//! The signals that amb listens for. The only file that names `signal_hook`.

use std::{
    collections::VecDeque,
    fmt, io,
    os::fd::BorrowedFd,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use signal_hook::flag;

use super::{
    Mode,
    caught::Caught,
    startup::{Blocked, Inherited, change_mask, is_ignored, signal_set},
    terminal::{act_by_default, stop},
};

/// A signal, real-time ones included.
///
/// Read from `TERM`, `SIGTERM`, `15` or `RTMIN+3`; shown as `SIGTERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// The terminal hung up.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// The end, which cannot be refused.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// A timer that was set before exec ran out.
    pub const ALRM: Self = Self(libc::SIGALRM);
    /// The polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// The program's own business.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// The terminal has another size.
    pub const WINCH: Self = Self(libc::SIGWINCH);
    /// Ctrl-Z.
    pub const TSTP: Self = Self(libc::SIGTSTP);
    /// Go on after a stop.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// The signal of this number, as a child's status has it.
    pub const fn of(number: i32) -> Self {
        Self(number)
    }

    /// The signal's number.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Whether it asks a program to end, so that the time until the kill begins with it.
    pub(super) fn asks_to_end(self) -> bool {
        ENDING.contains(&self)
    }

    /// Whether terminals send it to their foreground group.
    pub(super) fn comes_from_terminals(self) -> bool {
        [Self::INT, Self::QUIT, Self::HUP, Self::WINCH, Self::TSTP].contains(&self)
    }

    /// Whether a program that does nothing about it is ended by it.
    fn ends_by_default(self) -> bool {
        ![Self::WINCH, Self::TSTP, Self::CONT].contains(&self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match signal_hook::low_level::signal_name(self.0) {
            Some(name) => f.write_str(name),
            None if self.0 >= libc::SIGRTMIN() => write!(f, "SIGRTMIN+{}", self.0 - libc::SIGRTMIN()),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let last = libc::SIGRTMAX();
        let number = if let Ok(number) = name.parse() {
            Some(number)
        } else if let Some(above) = name.strip_prefix("RTMIN") {
            let above = if above.is_empty() {
                Some(0)
            } else {
                above.strip_prefix('+').and_then(|it| it.parse().ok())
            };
            above.and_then(|above: i32| above.checked_add(libc::SIGRTMIN()))
        } else {
            (1..32).find(|number| {
                signal_hook::low_level::signal_name(*number)
                    .is_some_and(|known| known.strip_prefix("SIG") == Some(name))
            })
        };
        number
            .filter(|number| (1..=last).contains(number))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a signal: write it like TERM, HUP or KILL"))
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Signals by which people and supervisors ask a program to end.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Signals that are the child's business, whatever the mode; the real-time ones come on top.
///
/// Not among them: what cannot be caught, what reports a fault of amb itself (SEGV, BUS, PIPE, XCPU, …), and the stop
/// signals, whose default action is what a shell's job control expects.
const FORWARDED: [i32; 13] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGPWR,
    libc::SIGIO,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGSTKFLT,
];

/// Who sent a signal, as far as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The kernel: a terminal, a timer.
    Kernel,
    /// A process; 0 if it lives outside of this pid namespace.
    Process(i32),
    /// Not told.
    Unknown,
}

/// A signal that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Which one.
    pub(super) signal: Signal,
    /// Who sent it.
    pub(super) sender: Sender,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A signal came in.
    Signal,
    /// The file descriptor of this place among those waited for, the first if there are several, is readable or was closed
    /// at its other end.
    Ready(usize),
    /// The time is over.
    Timeout,
}

/// The signals for the child, caught from [`Signals::listen`] on.
pub struct Signals {
    /// Those that came in.
    caught: Caught,
    /// Read and not yet decided about.
    queue: VecDeque<Received>,
    /// Which are caught: without those which amb inherited as ignored.
    numbers: Vec<i32>,
    /// What the child has to inherit.
    pub(super) inherited: Inherited,
    /// The process group mode that the choice of signals was made for.
    pub(super) mode: Mode,
}

impl Signals {
    /// Starts to catch the signals meant for the child; those that came ignored stay ignored, in amb and in the child. If it
    /// `leaves` something before it stops with its process group, Ctrl-Z is caught in `inherit` mode as well, until
    /// `release_stop`.
    ///
    /// To be called on the main thread before any other is started: they inherit its signal mask.
    ///
    /// # Errors
    ///
    /// If the process is out of file descriptors.
    pub fn listen(mode: Mode, leaves: bool) -> io::Result<Self> {
        let inherited = Inherited::read();
        let job_control: &[i32] = match mode {
            Mode::New => &[libc::SIGTSTP, libc::SIGCONT],
            Mode::Inherit if leaves => &[libc::SIGTSTP],
            Mode::Inherit => &[],
        };
        let numbers: Vec<i32> = FORWARDED
            .into_iter()
            .chain(job_control.iter().copied())
            .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
            .filter(|signal| !is_ignored(*signal))
            .collect();
        // SIGCHLD wakes amb as PID 1, where it has orphans to reap; it is caught even if it came ignored, because an ignored
        // one makes the kernel throw the child's status away.
        act_by_default(libc::SIGCHLD);
        let caught = Caught::listen(numbers.iter().copied().chain([libc::SIGCHLD]))?;
        Ok(Self {
            caught,
            queue: VecDeque::new(),
            numbers,
            inherited,
            mode,
        })
    }

    /// Lets Ctrl-Z stop amb at once again.
    pub(super) fn release_stop(&self) {
        if self.mode == Mode::Inherit && self.numbers.contains(&libc::SIGTSTP) {
            change_mask(libc::SIG_UNBLOCK, Some(&signal_set([libc::SIGTSTP])));
        }
    }

    /// Stops with amb's process group, if a Ctrl-Z that was caught says so.
    pub(super) fn stop_if_told(&mut self) {
        self.collect();
        let before = self.queue.len();
        self.queue.retain(|received| received.signal != Signal::TSTP);
        if self.queue.len() < before {
            stop(libc::SIGTSTP);
        }
    }

    /// Waits until a signal comes in, until one of `ready` is readable, or for `timeout`; `None` waits for ever.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &[BorrowedFd<'_>]) -> Woken {
        if !self.queue.is_empty() {
            return Woken::Signal;
        }
        let mut descriptors = vec![PollFd::from_borrowed_fd(self.caught.watch(), PollFlags::IN)];
        descriptors.extend(
            ready
                .iter()
                .map(|ready| PollFd::from_borrowed_fd(*ready, PollFlags::IN)),
        );
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let found = poll(&mut descriptors, timeout.as_ref());
        match found {
            Ok(0) => Woken::Timeout,
            Ok(_) if !descriptors[0].revents().is_empty() => Woken::Signal,
            Err(Errno::INTR) => Woken::Signal,
            Ok(_) | Err(_) => {
                let found = descriptors[1..]
                    .iter()
                    .position(|descriptor| !descriptor.revents().is_empty());
                Woken::Ready(found.unwrap_or_default())
            }
        }
    }

    /// The next signal for the child that came in, without waiting.
    pub(super) fn next(&mut self) -> Option<Received> {
        if self.queue.is_empty() {
            self.collect();
        }
        self.queue.pop_front()
    }

    /// Takes over what was caught.
    fn collect(&mut self) {
        let caught = std::iter::from_fn(|| self.caught.next());
        self.queue
            .extend(caught.filter(|received| received.signal.number() != libc::SIGCHLD));
    }

    /// A signal that already came in, and that would have ended the command, had it been running.
    pub(super) fn fatal(&mut self) -> Option<Signal> {
        self.collect();
        let mut queued = self.queue.iter().map(|received| received.signal);
        queued.find(|signal| signal.ends_by_default())
    }

    /// To be called when the child has ended: from now on the first signal that asks to end sets the flag returned, which
    /// means "do not wait for anything any more", and the next one ends amb even if it hangs in a write to a full stderr.
    ///
    /// # Errors
    ///
    /// If a handler cannot be registered.
    pub fn end_on_request(&mut self) -> io::Result<Arc<AtomicBool>> {
        // What came since the child was reaped; the terminal's own signals meant the child.
        self.collect();
        let asks = |received: &Received| received.signal.asks_to_end() && received.sender != Sender::Kernel;
        let asked = Arc::new(AtomicBool::new(self.queue.drain(..).any(|received| asks(&received))));
        let ending: Vec<i32> = ENDING
            .map(Signal::number)
            .into_iter()
            .filter(|signal| self.numbers.contains(signal))
            .collect();
        for signal in &ending {
            // In this order: the handler that ends amb looks at the flag before the other one sets it.
            flag::register_conditional_default(*signal, Arc::clone(&asked))?;
            flag::register(*signal, Arc::clone(&asked))?;
        }
        change_mask(libc::SIG_UNBLOCK, Some(&signal_set(ending)));
        Ok(asked)
    }

    /// Waits for the drain to be over: until `drained` is readable or closed, until `asked` of
    /// [`Signals::end_on_request`] is set, or for `timeout`. Returns whether it was drained.
    pub fn wait_drained(&mut self, timeout: Duration, drained: BorrowedFd<'_>, asked: &AtomicBool) -> bool {
        let end = super::now() + timeout;
        // Read meanwhile: a handler could run between a look at `asked` and the wait, which would not notice.
        let _blocked = Blocked::new(ENDING.map(Signal::number));
        loop {
            if asked.load(Ordering::SeqCst) {
                return false;
            }
            let left = end.saturating_duration_since(super::now());
            let woken = self.wait(Some(left), &[drained]);
            self.collect();
            if self.queue.drain(..).any(|received| received.signal.asks_to_end()) {
                asked.store(true, Ordering::SeqCst);
            }
            match woken {
                Woken::Timeout => return false,
                Woken::Ready(_) => return !asked.load(Ordering::SeqCst),
                // One without a meaning at this stage, unless it asks.
                Woken::Signal => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reads_as_people_write_it() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sighup", 1),
            ("9", 9),
            ("RTMIN", libc::SIGRTMIN()),
        ] {
            assert_eq!(text.parse(), Ok(Signal(number)), "{text}");
        }
        assert_eq!("RTMIN+3".parse(), Ok(Signal(libc::SIGRTMIN() + 3)));
        for text in ["", "0", "-1", "65", "RTMIN+99", "BOGUS", "RTMINX"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_signal_is_shown_by_its_name() {
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(Signal(libc::SIGRTMIN() + 3).to_string(), "SIGRTMIN+3");
    }
}
