//! The end: what outlives the child, PID 1, core files.

use std::{fs, process::Command};

use crate::{
    supervise::MODES,
    support::{Amb, Child, ends, send},
};

/// A process id that was printed after `left`.
fn left(outcome: &crate::support::Outcome) -> i32 {
    outcome
        .stdout()
        .lines()
        .find_map(|line| line.strip_prefix("left "))
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_leftover_does_not_hold_amb_up_and_is_left_alone() {
    for flags in MODES {
        for verb in ["--fork-leftover", "--setsid-leftover"] {
            let outcome = Amb::run(flags).child(Child::new([verb, "60", "--exit", "5"])).status(5);
            let id = left(&outcome);
            assert!(
                outcome.stderr().contains("1 process of the command is still running"),
                "{outcome}"
            );
            // Signal 0 only asks whether it is there.
            send(id, 0);
            send(id, libc::SIGKILL);
            assert!(ends(id));
        }
    }
}

#[test]
fn a_leftover_in_its_own_session_is_not_signalled() {
    for flags in MODES {
        let child = Child::new(["--setsid-leftover", "60"]).then(Child::count("TERM").command().into_iter().skip(1));
        let mut running = Amb::run(flags).open_stdin().child(child).start();
        running
            .wait_for_line("ready")
            .signal(libc::SIGTERM)
            .wait_for_line("got TERM");
        running.close_stdin();
        let outcome = running.wait();
        let id = left(&outcome);
        send(id, libc::SIGKILL);
        assert!(ends(id));
    }
}

/// Whether a pid namespace can be made here.
fn can_be_first() -> bool {
    let made = Command::new("unshare")
        .args(["-pf", "--kill-child", "true"])
        .output()
        .is_ok_and(|it| it.status.success());
    if !made {
        crate::support::say_skipped("no pid namespace can be made here");
    }
    made
}

/// Runs a text in `sh`, where `$FIRST` makes what follows PID 1.
fn first(text: &str) -> Amb {
    Amb::bare()
        .env("FIRST", "unshare -pf --kill-child --mount-proc")
        .shell(text)
}

#[test]
fn as_the_first_process_a_signal_counts_as_128_and_its_number() {
    if can_be_first() {
        first("exec $FIRST \"$AMB\" run -- \"$CHILD\" --die 15").status(143);
        first("exec $FIRST \"$AMB\" run -- \"$CHILD\" --exit 9").status(9);
        first("exec $FIRST \"$AMB\" run --run-timeout 100ms -- sleep 60").status(124);
    }
}

#[test]
fn as_the_first_process_it_does_not_wait_for_leftovers() {
    if can_be_first() {
        // A leftover that would keep amb for longer than the test waits.
        first("exec $FIRST \"$AMB\" run -- \"$CHILD\" --fork-leftover 300 --exit 5").status(5);
    }
}

#[test]
fn as_the_first_process_it_reaps_orphans() {
    if can_be_first() {
        let script = "i=0; while test $i -lt 100; do (sh -c \"exit 3\" & ) ; i=$((i+1)); done; \
             for turn in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; cat /proc/[0-9]*/stat 2>/dev/null | grep -c \") Z 1 \" >zombies; \
             test \"$(cat zombies)\" = 0 && break; done; cat zombies; exit 6";
        let outcome = first(&format!("exec $FIRST \"$AMB\" run -- sh -c '{script}'")).status(6);
        outcome.assert_stdout("0\n");
    }
}

#[test]
fn as_the_first_process_it_never_loses_the_status() {
    if can_be_first() {
        let script = "i=0; while test $i -lt 50; do (sleep 0.02 & ); i=$((i+1)); done; sleep 0.02; exit 7";
        for _ in 0..10 {
            first(&format!("exec $FIRST \"$AMB\" run -- sh -c '{script}'")).status(7);
        }
    }
}

#[test]
fn a_crash_leaves_the_core_files_that_the_bare_command_leaves() {
    let cores = |command: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("ulimit -c unlimited 2>/dev/null; exec {command} \"$CHILD\" --die 11");
        let amb = Amb::bare().shell(&text).directory(directory.path());
        amb.outcome().assert_signal(11);
        fs::read_dir(directory.path()).unwrap().count()
    };
    // One, or none if the kernel pipes them elsewhere.
    assert_eq!(cores("\"$AMB\" run --"), cores(""));
}

#[test]
fn amb_killed_while_its_child_ignores_sigterm_takes_it_along_in_a_new_group() {
    let script = "exec timeout -k 0.3 0.3 \"$AMB\" run --process-group new -- \"$CHILD\" --ignore TERM --pid --wait";
    let running = Amb::bare().shell(script).open_stdin().start();
    let id: i32 = running.wait_for_rest("").parse().unwrap();
    assert!(ends(id));
    assert!(ends(running.pid()));
}
