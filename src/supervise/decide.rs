//! What to do about an event, decided from plain values: no system call, no clock.
//!
//! In `inherit` mode the child shares amb's process group, so what the terminal sends reaches it without amb; forwarding
//! that as well would deliver every Ctrl-C twice. In `new` mode nothing reaches the child but through amb.

use super::{
    Mode,
    signal::{Received, Sender, Signal},
};

/// What the decision rests on besides the event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Whose process group the child is in.
    pub(super) mode: Mode,
    /// The child's process id.
    pub(super) child: i32,
    /// Whether amb leads its session while the child has moved to another process group: then the kernel tells amb alone
    /// that the terminal hung up.
    pub(super) hears_hangup_alone: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A signal came in.
    Signal(Received),
    /// The time allowed for the whole run is over.
    RunTimeout,
    /// What watches the run says that it is to end.
    Watched,
    /// The time allowed between the request to end and the end is over.
    KillAfter,
}

/// What amb does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing: the child has it already, or it is not meant for the child.
    Leave,
    /// Send the signal on.
    Forward(Signal),
    /// Send the signal on; it asks the child to end, so the time until the kill begins.
    ForwardAndArm(Signal),
    /// Send the signal on, then stop as well.
    ForwardAndStop(Signal),
    /// Ask the child to end because its time is over, or what watches it says so.
    Terminate,
    /// Kill the child.
    Kill,
}

/// Decides about `event`; `descends` tells whether a process is a descendant of the child.
pub(super) fn decide(situation: Situation, event: Event, descends: impl Fn(i32) -> bool) -> Action {
    match event {
        Event::RunTimeout | Event::Watched => Action::Terminate,
        Event::KillAfter => Action::Kill,
        Event::Signal(received) if !is_due(situation, &received, descends) => Action::Leave,
        Event::Signal(Received { signal, .. }) => {
            if signal == Signal::TSTP {
                Action::ForwardAndStop(signal)
            } else if signal.asks_to_end() {
                Action::ForwardAndArm(signal)
            } else {
                Action::Forward(signal)
            }
        }
    }
}

/// Whether the child is to get this signal from amb.
fn is_due(situation: Situation, received: &Received, descends: impl Fn(i32) -> bool) -> bool {
    match (situation.mode, received.sender) {
        // Whoever signals its parent does not mean itself.
        (_, Sender::Process(pid)) if pid == situation.child => false,
        (Mode::New, _) | (Mode::Inherit, Sender::Unknown) => true,
        // `kill 0` in the child's tree reaches amb too.
        (Mode::Inherit, Sender::Process(pid)) => !descends(pid),
        (Mode::Inherit, Sender::Kernel) => {
            if received.signal == Signal::HUP {
                situation.hears_hangup_alone
            } else {
                // Timers that were set before exec belong to amb's process alone: `alarm 5; exec amb run -- …`.
                !received.signal.comes_from_terminals()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The child's process id in these tests.
    const CHILD: i32 = 100;
    /// A descendant of the child.
    const GRANDCHILD: i32 = 101;
    /// A process of somebody else.
    const STRANGER: i32 = 7;

    #[track_caller]
    fn check(mode: Mode, signal: Signal, sender: Sender, expected: Action) {
        let situation = Situation {
            mode,
            child: CHILD,
            hears_hangup_alone: false,
        };
        let received = Received { signal, sender };
        let action = decide(situation, Event::Signal(received), |pid| pid == GRANDCHILD);
        assert_eq!(action, expected, "{mode:?} {signal} from {sender:?}");
    }

    #[test]
    fn what_the_terminal_sends_is_forwarded_only_to_another_group() {
        for signal in [Signal::INT, Signal::QUIT, Signal::HUP] {
            check(Mode::Inherit, signal, Sender::Kernel, Action::Leave);
            check(Mode::New, signal, Sender::Kernel, Action::ForwardAndArm(signal));
        }
        check(Mode::Inherit, Signal::WINCH, Sender::Kernel, Action::Leave);
        check(Mode::New, Signal::WINCH, Sender::Kernel, Action::Forward(Signal::WINCH));
    }

    #[test]
    fn an_inherited_alarm_is_forwarded_although_the_kernel_sends_it() {
        check(
            Mode::Inherit,
            Signal::ALRM,
            Sender::Kernel,
            Action::Forward(Signal::ALRM),
        );
    }

    #[test]
    fn what_other_processes_send_is_forwarded_in_both_modes() {
        for mode in [Mode::Inherit, Mode::New] {
            // Process 0 stands for a sender outside of this pid namespace.
            for sender in [Sender::Process(STRANGER), Sender::Process(0), Sender::Unknown] {
                check(mode, Signal::TERM, sender, Action::ForwardAndArm(Signal::TERM));
                check(mode, Signal::USR1, sender, Action::Forward(Signal::USR1));
            }
        }
    }

    #[test]
    fn the_child_does_not_hear_its_own_echo() {
        for mode in [Mode::Inherit, Mode::New] {
            check(mode, Signal::USR1, Sender::Process(CHILD), Action::Leave);
        }
        check(Mode::Inherit, Signal::USR1, Sender::Process(GRANDCHILD), Action::Leave);
        // `kill 1` in a container: amb's process id stands where the command's would be.
        check(
            Mode::New,
            Signal::USR1,
            Sender::Process(GRANDCHILD),
            Action::Forward(Signal::USR1),
        );
    }

    #[test]
    fn a_stop_is_shared_with_another_group() {
        check(
            Mode::New,
            Signal::TSTP,
            Sender::Process(STRANGER),
            Action::ForwardAndStop(Signal::TSTP),
        );
        check(
            Mode::New,
            Signal::CONT,
            Sender::Process(STRANGER),
            Action::Forward(Signal::CONT),
        );
    }

    #[test]
    fn a_hangup_that_only_amb_hears_is_forwarded() {
        let situation = Situation {
            mode: Mode::Inherit,
            child: CHILD,
            hears_hangup_alone: true,
        };
        let received = Received {
            signal: Signal::HUP,
            sender: Sender::Kernel,
        };
        let action = decide(situation, Event::Signal(received), |_| false);
        assert_eq!(action, Action::ForwardAndArm(Signal::HUP));
    }

    #[test]
    fn deadlines_end_the_child() {
        let situation = Situation {
            mode: Mode::New,
            child: CHILD,
            hears_hangup_alone: false,
        };
        assert_eq!(decide(situation, Event::RunTimeout, |_| false), Action::Terminate);
        assert_eq!(decide(situation, Event::KillAfter, |_| false), Action::Kill);
    }
}
