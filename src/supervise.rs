//! The child: its start, its signals, its end.
//!
//! The oracle is the bare command. [`Signals::listen`] before anything else, [`Spawn::start`], [`Supervisor::run`] until the
//! child has ended, [`Signals::end_on_request`] while amb finishes. All of it on the main thread, which does nothing else:
//! one `poll(2)` waits for signals, for the child's end and for deadlines.

mod attend;
mod caught;
mod child;
mod confine;
mod decide;
mod entries;
mod leftover;
mod linger;
mod parting;
mod signal;
mod spawn_error;
mod startup;
pub(crate) mod terminal;
mod timer;
mod title;
mod vfork;

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
    str::FromStr,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode as Permissions, OFlags, open},
    process::{getpgrp, getpid, getppid, getsid},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tracing::debug;

pub use self::{
    attend::{Dismissal, Term, attend},
    child::{Child, Spawn},
    confine::{Confine, ConfineError, Confinement},
    leftover::Leftovers,
    linger::Wait,
    parting::before_a_signal_ends_it,
    signal::{Signal, Signals, Woken},
    spawn_error::SpawnError,
    startup::{close_inherited, forget_variables, keep_memory_private, settle_in},
    terminal::write_stderr,
    title::Title,
};
use self::{
    decide::{Action, Event, Situation, decide},
    leftover::Stat,
    timer::Timer,
};
use crate::sabotage;

/// In whose process group the child runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessGroup {
    /// `inherit` if amb has a controlling terminal, `new` otherwise.
    #[default]
    Auto,
    /// In amb's, as without amb: Ctrl-C, Ctrl-Z, `fg` and pipelines work. A signal sent to the whole group from outside may
    /// reach the child twice.
    Inherit,
    /// In one of its own: signals reach it through amb, exactly once, and a kill takes the whole group.
    New,
}

impl ProcessGroup {
    /// Decides `auto`. The controlling terminal counts, not whether stdin is one: it often is a pipe, and a job in the
    /// background may come to the foreground later.
    pub fn resolve(self) -> Mode {
        match self {
            Self::Inherit => Mode::Inherit,
            Self::New => Mode::New,
            Self::Auto => {
                let terminal = open(
                    "/dev/tty",
                    OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
                    Permissions::empty(),
                );
                if terminal.is_ok() { Mode::Inherit } else { Mode::New }
            }
        }
    }
}

/// A [`ProcessGroup`] that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The child is in amb's process group.
    Inherit,
    /// The child leads its own.
    New,
}

/// What the kernel sends the child when amb dies without having said goodbye (SIGKILL, a crash).
///
/// A child whose proxy is gone is of no use. Not kept by the kernel across the exec of a setuid program, and not passed on
/// to the child's own children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("title" = "a signal, auto or none", "pattern" = "^ *(auto|none|[A-Za-z0-9+-]+) *$"))]
pub enum OnDeath {
    /// SIGTERM in `inherit` mode; SIGKILL in `new` mode, where amb stands for a group that was to be killed.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// This one.
    Send(Signal),
}

impl OnDeath {
    /// The signal for this mode; `None` for none.
    pub(crate) fn signal(self, mode: Mode) -> Option<Signal> {
        match (self, mode) {
            (Self::None, _) => None,
            (Self::Send(signal), _) => Some(signal),
            (Self::Auto, Mode::Inherit) => Some(Signal::TERM),
            (Self::Auto, Mode::New) => Some(Signal::KILL),
        }
    }
}

impl fmt::Display for OnDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Send(signal) => signal.fmt(f),
        }
    }
}

impl FromStr for OnDeath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            name => name
                .parse()
                .map(Self::Send)
                .map_err(|reason| format!("{reason}, or `none`")),
        }
    }
}

impl Serialize for OnDeath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OnDeath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// How to supervise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// In whose process group the child runs.
    pub process_group: ProcessGroup,
    /// How long the command may run before it is asked to end with SIGTERM; `None` as long as it wants.
    ///
    /// Does not run while amb is stopped.
    pub run_timeout: Option<Duration>,
    /// How long the child has to end after the first forwarded HUP, INT, QUIT or TERM, or after `run_timeout`, before it is
    /// killed; `None` as long as it wants. Further signals do not extend it. Does not run while amb is stopped.
    pub kill_after: Option<Duration>,
    /// What the child gets when amb dies.
    pub on_death: OnDeath,
    /// For what to wait before amb ends.
    pub wait: Wait,
    /// What the child is held to.
    pub confine: Confine,
}

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildExit {
    /// It exited with this status, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How the child ended.
    pub status: ChildExit,
    /// Why amb asked it to end; none if that was not amb's idea.
    pub stopped: Option<Stopped>,
    /// Its processes that may still be there.
    pub leftovers: Leftovers,
}

/// Why amb asked the child to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// `run_timeout` was over.
    TimedOut,
    /// A [`Watch`] said so.
    ByWatch,
}

/// Something that looks at the run from time to time, and may end it.
pub struct Watch<'a> {
    /// How often it looks. Does not run while amb is stopped.
    pub every: Duration,
    /// Looks; whether the child is to be asked to end. Not called again once it said so.
    pub look: Box<dyn FnMut() -> bool + 'a>,
    /// Leaves the terminal to others: called before amb stops, and when the child has ended.
    pub leave: Option<Box<dyn Fn() + 'a>>,
}

impl Watch<'_> {
    /// Leaves the terminal to others.
    fn leave(&self) {
        if let Some(leave) = &self.leave {
            leave();
        }
    }
}

/// Something to be done beside the supervision, once.
pub struct Errand<'a> {
    /// It is due when this is readable.
    pub awaited: OwnedFd,
    /// What to do, and what is to be done later because of it; must not block.
    pub run: Box<dyn FnOnce() -> Option<Errand<'a>> + 'a>,
}

/// Runs the errand at `place`, whose turn it is.
fn run_errand(errands: &mut Vec<Errand<'_>>, place: usize) {
    let next = (errands.remove(place).run)();
    errands.extend(next);
}

/// How long a child has to have been stopped, or amb to have gone on, before amb does the same: Ctrl-Z and `fg` reach
/// both of them, one a moment after the other.
const SETTLED: Duration = Duration::from_millis(50);

/// What is to be done once a stop, or its end, has settled.
#[derive(Clone, Copy, Debug)]
enum Pause {
    /// The child alone was stopped by this signal: amb stops too, so that the shell notices.
    Stop(i32),
    /// The shell has continued amb: the child goes on too, if it has not already.
    Continue,
}

/// Stands between the outside world and the child.
pub struct Supervisor<'a> {
    /// The child.
    child: Child,
    /// Whose process group it is in.
    mode: Mode,
    /// Time left for the whole run.
    run_timeout: Timer,
    /// Time left until the kill, once it was armed.
    kill_timer: Timer,
    /// The time until the kill; taken when it is armed.
    kill_after: Option<Duration>,
    /// Why the child was asked to end.
    stopped: Option<Stopped>,
    /// What looks at the run; none if nothing does, or it has said what it had to.
    watch: Option<Watch<'a>>,
    /// Time left until the watch looks.
    watch_timer: Timer,
    /// Whether it is to look.
    watch_due: bool,
    /// What to do when `pause_timer` fires.
    pause: Option<Pause>,
    /// Time left until then.
    pause_timer: Timer,
}

impl<'a> Supervisor<'a> {
    /// Supervises `child`; the time of `settings.run_timeout` begins now. A `watch` looks until the child has ended.
    pub fn new(child: Child, settings: &Settings, watch: Option<Watch<'a>>) -> Self {
        Self {
            mode: child.mode(),
            child,
            run_timeout: Timer::new(settings.run_timeout),
            kill_timer: Timer::default(),
            kill_after: settings.kill_after,
            stopped: None,
            watch_timer: Timer::new(watch.as_ref().map(|watch| watch.every)),
            watch,
            watch_due: false,
            pause: None,
            pause_timer: Timer::default(),
        }
    }

    /// Passes signals on until the child has ended, and what it left behind if that is to be waited for. Without `run_timeout`
    /// or `kill_after` there is no limit in time.
    ///
    /// Each of the `errands` is run once, when its descriptor becomes readable.
    pub fn run(mut self, signals: &mut Signals, mut errands: Vec<Errand<'_>>) -> Ended {
        let status = loop {
            // First, so that nothing is sent to a child that has ended.
            if let Some(status) = self.child.reap() {
                break status;
            }
            if let Some(signal) = self.child.take_stop()
                && self.is_job()
            {
                self.settle(Pause::Stop(signal));
            }
            self.take(signals);
            self.wait(signals, &[], None, &mut errands);
            self.look();
        };
        self.leave();
        signals.release_stop();
        self.watch_timer = Timer::default();
        debug!(?status, "the child has ended");
        self.linger(signals, &mut errands);
        Ended {
            status,
            stopped: self.stopped,
            leftovers: Leftovers::of(self.child.id(), self.mode),
        }
    }

    /// Lets the watch look if it is due, and ends the child if it says so.
    fn look(&mut self) {
        if !std::mem::take(&mut self.watch_due) {
            return;
        }
        let Some(watch) = &mut self.watch else { return };
        if (watch.look)() {
            self.stopped.get_or_insert(Stopped::ByWatch);
            self.act(Event::Watched);
        } else {
            self.watch_timer = Timer::new(Some(watch.every));
        }
    }

    /// Leaves the terminal to others.
    fn leave(&self) {
        if let Some(watch) = &self.watch {
            watch.leave();
        }
    }

    /// Stops amb by `signal`, until somebody continues it.
    fn stop(&self, signal: i32) {
        self.leave();
        terminal::stop(signal);
    }

    /// Goes on for the processes that the child left behind, as far as they are to be waited for.
    fn linger(&mut self, signals: &mut Signals, errands: &mut Vec<Errand<'_>>) {
        let mut look_again = self.child.look_again();
        loop {
            self.child.reap();
            let members = self.child.members();
            if members.is_empty() {
                return;
            }
            self.take(signals);
            self.wait(signals, &linger::watch(&members), look_again.wait(), errands);
        }
    }

    /// Acts on the signals that came in.
    fn take(&mut self, signals: &mut Signals) {
        while let Some(received) = signals.next() {
            sabotage::strike("supervisor");
            debug!(?received, "signal");
            if received.signal == Signal::TSTP && self.mode == Mode::Inherit {
                // The child has had it from the terminal, if it comes from there; amb catches it only to leave first.
                self.stop(libc::SIGTSTP);
            } else {
                self.act(Event::Signal(received));
            }
        }
    }

    /// Waits until something happens, which may be the child's end or that of one of `members`, and acts on deadlines. Waits
    /// for `at_most`, if that is given.
    fn wait(
        &mut self,
        signals: &mut Signals,
        members: &[OwnedFd],
        at_most: Option<Duration>,
        errands: &mut Vec<Errand<'_>>,
    ) {
        let timers = [self.run_timeout, self.kill_timer, self.pause_timer, self.watch_timer];
        let asked = timers.into_iter().map(Timer::wait).chain([at_most]).flatten().min();
        let before = now();
        let awaited = errands.iter().map(|errand| errand.awaited.as_fd());
        let ended = self.child.watch().into_iter().chain(members.iter().map(AsFd::as_fd));
        let ready: Vec<_> = ended.chain(awaited).collect();
        let woken = signals.wait(asked, &ready);
        let first = ready.len() - errands.len();
        if let Woken::Ready(place) = woken
            && place >= first
        {
            run_errand(errands, place - first);
        }
        let passed = before.elapsed();
        if self.run_timeout.advance(passed, asked) {
            self.stopped.get_or_insert(Stopped::TimedOut);
            self.act(Event::RunTimeout);
        }
        self.watch_due |= self.watch_timer.advance(passed, asked);
        if self.kill_timer.advance(passed, asked) {
            self.act(Event::KillAfter);
        }
        if self.pause_timer.advance(passed, asked) {
            self.follow();
        }
    }

    /// Whether amb is a job of a shell, which waits for it to stop as well as to end.
    fn is_job(&self) -> bool {
        self.mode == Mode::Inherit
            && getppid()
                .and_then(|parent| Stat::of(parent.as_raw_pid()))
                .is_some_and(|parent| {
                    parent.group != getpgrp().as_raw_pid()
                        && getsid(None).is_ok_and(|session| session.as_raw_pid() == parent.session)
                })
    }

    /// Looks again in a moment.
    fn settle(&mut self, pause: Pause) {
        self.pause = Some(pause);
        self.pause_timer = Timer::new(Some(SETTLED));
    }

    /// Stops with a child that has stopped, and lets it go on when amb does.
    fn follow(&mut self) {
        let still = Stat::of(self.child.id()).is_some_and(|stat| stat.is_stopped());
        match self.pause.take().filter(|_| still) {
            Some(Pause::Stop(signal)) => {
                self.stop(signal);
                self.settle(Pause::Continue);
            }
            Some(Pause::Continue) => self.child.send(Signal::CONT),
            None => {}
        }
    }

    /// Decides about an event and does it.
    fn act(&mut self, event: Event) {
        let child = self.child.id();
        let situation = Situation {
            mode: self.mode,
            child,
            hears_hangup_alone: self.hears_hangup_alone(),
        };
        let action = decide(situation, event, |process| leftover::descends(process, child));
        debug!(?action, "decided");
        match action {
            Action::Leave => {}
            Action::Forward(signal) => self.child.send(signal),
            Action::ForwardAndArm(signal) => {
                self.child.send(signal);
                self.arm();
            }
            Action::ForwardAndStop(signal) => {
                self.child.send(signal);
                self.stop(libc::SIGSTOP);
            }
            Action::Terminate => {
                self.child.send(Signal::TERM);
                // A child that is stopped could not act on it.
                self.child.send(Signal::CONT);
                self.arm();
            }
            Action::Kill => self.child.send(Signal::KILL),
        }
    }

    /// Starts the time until the kill, once.
    fn arm(&mut self) {
        if let Some(left) = self.kill_after.take() {
            self.kill_timer = Timer::new(Some(left));
        }
    }

    /// Whether the kernel tells amb, as the leader of its session, of a hang-up that the child does not hear of.
    fn hears_hangup_alone(&self) -> bool {
        self.mode == Mode::Inherit
            && getsid(None).is_ok_and(|leader| leader == getpid())
            && Stat::of(self.child.id()).is_some_and(|stat| stat.group != getpgrp().as_raw_pid())
    }
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the supervisor does not run on tokio")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_death_reads_and_shows_the_same() {
        for (text, expected) in [
            ("auto", OnDeath::Auto),
            ("none", OnDeath::None),
            ("SIGTERM", OnDeath::Send(Signal::TERM)),
        ] {
            assert_eq!(text.parse(), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        assert!("never".parse::<OnDeath>().unwrap_err().contains("or `none`"));
    }

    #[test]
    fn a_group_that_amb_stands_for_dies_with_it() {
        assert_eq!(OnDeath::Auto.signal(Mode::Inherit), Some(Signal::TERM));
        assert_eq!(OnDeath::Auto.signal(Mode::New), Some(Signal::KILL));
        assert_eq!(OnDeath::None.signal(Mode::New), None);
    }
}
