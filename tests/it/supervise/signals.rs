//! Each signal reaches the child exactly once.

use crate::{
    supervise::MODES,
    support::{Amb, Child, ends, send},
};

/// The signals that are passed on in every mode.
const FORWARDED: [&str; 15] = [
    "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "STKFLT", "VTALRM", "PROF", "WINCH", "IO", "PWR", "34", "64",
];
/// Their numbers.
const NUMBERS: [i32; 15] = [1, 2, 3, 10, 12, 14, 15, 16, 26, 27, 28, 29, 30, 34, 64];

#[test]
fn each_signal_is_passed_on_once_and_in_order() {
    for flags in MODES {
        let mut running = Amb::run(flags)
            .open_stdin()
            .child(Child::count(&FORWARDED.join(",")))
            .start();
        running.wait_for_line("ready");
        for (name, number) in FORWARDED.iter().zip(NUMBERS) {
            running.signal(number).wait_for_line(&format!("got {name}"));
        }
        running.close_stdin();
        let outcome = running.wait();
        outcome.assert_status(0);
        let got = FORWARDED.map(|name| format!("got {name}\n")).concat();
        let sums = FORWARDED.map(|name| format!("{name}=1\n")).concat();
        outcome.assert_stdout(&format!("ready\n{got}{sums}"));
    }
}

#[test]
fn a_trapped_signal_ends_as_the_child_decides() {
    for flags in MODES {
        let running = Amb::run(flags)
            .open_stdin()
            .child(Child::new(["--trap", "TERM:7", "--ready", "--wait"]))
            .start();
        running.wait_for_line("ready").signal(libc::SIGTERM);
        assert!(ends(running.pid()));
        let outcome = running.wait();
        outcome.assert_status(7);
        assert!(!outcome.own_lines().is_empty(), "no summary");
    }
}

#[test]
fn a_child_that_ignores_sigterm_is_left_alone() {
    for flags in MODES {
        let child = Child::new(["--ignore", "TERM", "--pid"]).then(Child::count("USR1").command().into_iter().skip(1));
        let mut running = Amb::run(flags).open_stdin().child(child).start();
        running.wait_for_line("ready");
        running.signal(libc::SIGTERM).signal(libc::SIGTERM);
        // The next signal shows that those before it were dealt with.
        running.signal(libc::SIGUSR1).wait_for_line("got USR1");
        assert!(running.is_running());
        running.close_stdin();
        running.wait().assert_status(0);
    }
}

#[test]
fn kill_after_kills_a_child_that_ignores_the_request() {
    for [flag, mode] in MODES {
        let child = Child::new(["--ignore", "TERM", "--ready", "--wait"]);
        let running = Amb::run([flag, mode, "--kill-after", "300ms"])
            .open_stdin()
            .child(child)
            .start();
        running.wait_for_line("ready").signal(libc::SIGTERM);
        assert!(ends(running.pid()));
        running.wait().assert_signal(9);
    }
}

#[test]
fn kill_after_waits_for_a_request_to_end() {
    let mut running = Amb::run(["--kill-after", "1ms"])
        .open_stdin()
        .child(Child::count("USR1"))
        .start();
    running
        .wait_for_line("ready")
        .signal(libc::SIGUSR1)
        .wait_for_line("got USR1");
    assert!(running.is_running());
    running.close_stdin();
    running.wait().assert_status(0);
}

#[test]
fn a_run_timeout_asks_the_child_to_end_and_is_124() {
    for [flag, mode] in MODES {
        let child = Child::new(["--trap", "TERM:7", "--wait"]);
        let running = Amb::run([flag, mode, "--run-timeout", "200ms"])
            .open_stdin()
            .child(child)
            .start();
        assert!(ends(running.pid()));
        running.wait().assert_status(124);
    }
}

#[test]
fn a_run_timeout_with_kill_after_ends_a_child_that_ignores_it() {
    let child = Child::new(["--ignore", "TERM", "--wait"]);
    let running = Amb::run(["--run-timeout", "100ms", "--kill-after", "100ms"])
        .open_stdin()
        .child(child)
        .start();
    assert!(ends(running.pid()));
    running.wait().assert_status(124);
}

#[test]
fn a_signal_during_the_start_is_never_lost() {
    let child = || Child::new(["--wait"]);
    for round in 0..120_u64 {
        let running = Amb::run(MODES[usize::from(round % 2 == 0)])
            .open_stdin()
            .child(child())
            .start();
        // From before amb's first instruction to well after the child's: the moment is what is tested.
        let pause = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: (round * 50_000).cast_signed(),
        };
        rustix::event::poll(&mut [], Some(&pause)).unwrap();
        running.signal(libc::SIGTERM);
        assert!(ends(running.pid()), "round {round}");
        running.wait().assert_signal(15);
    }
}

#[test]
fn a_signal_to_the_own_group_does_not_come_back() {
    let child = Child::new(["--count", "USR1", "--kill0", "USR1", "--count", "USR1"]);
    // The first count installs the handler and ends with the empty stdin; the second reports.
    for flags in MODES {
        let outcome = Amb::run(flags).child(child.clone()).success();
        assert!(outcome.stdout().ends_with("USR1=1\n"), "{outcome}");
    }
}

#[test]
fn a_child_that_signals_its_parent_is_not_hit_itself() {
    let child = Child::new(["--kill-parent", "TERM"]).then(Child::count("USR1").command().into_iter().skip(1));
    for flags in MODES {
        let mut running = Amb::run(flags).open_stdin().child(child.clone()).start();
        running
            .wait_for_line("ready")
            .signal(libc::SIGUSR1)
            .wait_for_line("got USR1");
        running.close_stdin();
        running.wait().assert_status(0);
    }
}

#[test]
fn a_signal_to_the_group_of_amb_reaches_a_child_of_another_group_once() {
    let mut running = Amb::run(MODES[1]).open_stdin().child(Child::count("TERM,USR1")).start();
    running.wait_for_line("ready");
    // Each run of the tests is a session of its own, whose leader is amb.
    send(-running.pid(), libc::SIGTERM);
    running
        .wait_for_line("got TERM")
        .signal(libc::SIGUSR1)
        .wait_for_line("got USR1");
    running.close_stdin();
    running
        .wait()
        .assert_stdout("ready\ngot TERM\ngot USR1\nTERM=1\nUSR1=1\n");
}

#[test]
fn timeout_ends_amb_as_it_ends_the_bare_command() {
    let running = Amb::bare()
        .shell("exec timeout 0.3 \"$AMB\" run -- \"$CHILD\" --ready --wait")
        .open_stdin()
        .start();
    running.wait_for_line("ready");
    assert!(ends(running.pid()));
    running.wait().assert_status(124);
}

#[test]
fn a_killed_amb_takes_its_child_along() {
    for [flag, mode] in MODES {
        let child = Child::new(["--pid", "--ready", "--wait"]);
        let running = Amb::run([flag, mode]).open_stdin().child(child).start();
        let id = child_of(&running.wait_for_line("ready").wait_for_rest(""));
        running.signal(libc::SIGKILL);
        assert!(ends(id), "{mode}");
        running.wait().assert_signal(9);
    }
}

#[test]
fn on_death_none_leaves_the_child() {
    let child = Child::new(["--pid", "--ready", "--wait"]);
    let running = Amb::run(["--on-death", "none"]).open_stdin().child(child).start();
    let id = child_of(&running.wait_for_line("ready").wait_for_rest(""));
    running.signal(libc::SIGKILL);
    assert!(ends(running.pid()));
    // Signal 0 only asks whether it is there.
    send(id, 0);
    running.wait().assert_signal(9);
    assert!(ends(id), "it ends with its stdin");
}

/// A process id that was printed.
fn child_of(text: &str) -> i32 {
    text.parse().expect("a process id")
}

#[test]
fn a_storm_of_signals_around_the_end_changes_nothing() {
    for flags in MODES {
        let mut running = Amb::run(flags)
            .open_stdin()
            .child(Child::new(["--ignore", "USR1", "--ready", "--wait"]))
            .start();
        running.wait_for_line("ready");
        let pid = running.pid();
        for round in 0..1000 {
            send(pid, libc::SIGUSR1);
            if round == 500 {
                running.close_stdin();
            }
        }
        let outcome = running.wait();
        outcome.assert_status(0);
        assert_eq!(outcome.stderr().lines().count(), outcome.own_lines().len(), "{outcome}");
    }
}

#[test]
fn a_burst_of_real_time_signals_is_passed_on_to_the_last() {
    /// How many; a handler's buffers hold far less.
    const BURST: usize = 300;
    for flags in MODES {
        let mut running = Amb::run(flags).open_stdin().child(Child::count("34,USR1")).start();
        running.wait_for_line("ready");
        for _ in 0..BURST {
            running.signal(34);
        }
        running.wait_for_lines("got 34", BURST);
        running.close_stdin();
        let outcome = running.wait();
        assert!(
            outcome.stdout().ends_with(&format!("34={BURST}\nUSR1=0\n")),
            "{outcome}"
        );
    }
}

#[test]
fn further_requests_to_end_do_not_put_the_kill_off() {
    let child = Child::new(["--ignore", "TERM", "--ready", "--wait"]);
    let mut running = Amb::run(["--kill-after", "300ms"]).open_stdin().child(child).start();
    running.wait_for_line("ready");
    // If each began the time anew, this would not end.
    while running.is_running() {
        running.signal(libc::SIGTERM);
        let moment = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        rustix::event::poll(&mut [], Some(&moment)).unwrap();
    }
    running.wait().assert_signal(9);
}

#[test]
fn signals_that_came_ignored_do_not_end_a_job_in_the_background() {
    // What a shell without job control ignores for it.
    let script = "trap '' INT QUIT; exec \"$AMB\" run -- \"$CHILD\" --count USR1";
    let mut running = Amb::bare().shell(script).open_stdin().start();
    running.wait_for_line("ready");
    running.signal(libc::SIGINT).signal(libc::SIGQUIT);
    running.signal(libc::SIGUSR1).wait_for_line("got USR1");
    running.close_stdin();
    running
        .wait()
        .assert_status(0)
        .assert_stdout("ready\ngot USR1\nUSR1=1\n");
}

#[test]
fn a_child_outlives_the_threads_that_looked_names_up() {
    let child = Child::new(["--get", "http://name.invalid/", "--ready", "--wait", "--exit", "8"]);
    let running = Amb::run(["--on-death", "KILL"]).open_stdin().child(child).start();
    running.wait_for_line("ready");
    let threads = || {
        std::fs::read_dir(format!("/proc/{}/task", running.pid()))
            .unwrap()
            .count()
    };
    // The main thread and the proxy's, once those for lookups have gone, which takes ten seconds.
    while threads() > 2 {
        let moment = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        rustix::event::poll(&mut [], Some(&moment)).unwrap();
    }
    running.wait().assert_status(8);
}
