//! `--wait`: the proxy stays for what the command leaves behind.

use std::fs;

use crate::{
    supervise::MODES,
    support::{Amb, Child, Running, Upstream, ends, ok, send},
};

/// Runs something that leaves a process behind with `--wait`, and returns when it has ended itself and amb has not, with the
/// process that it left.
#[track_caller]
fn left_behind(wait: &str, mode: [&str; 2], verb: &str) -> (Running, i32) {
    let child = Child::new(["--pid", verb, "300", "--exit", "5"]);
    let amb = Amb::run(["--wait", wait].into_iter().chain(mode));
    let mut running = amb.child(child).start();
    let left = running.wait_for_rest("left ").parse().unwrap();
    let child = running.wait_for_rest("").parse().unwrap();
    assert!(ends(child));
    assert!(running.is_running());
    (running, left)
}

#[test]
fn a_process_in_the_background_still_has_its_proxy() {
    for [flag, mode] in MODES {
        let upstream = Upstream::script([ok("hello")]);
        let amb = Amb::run(["--wait", "group", flag, mode]);
        let (go, answer) = (amb.home().join("go"), amb.home().join("answer"));
        let url = upstream.url("/");
        let script = format!(
            "mkfifo go; (read line <go; \"$CHILD\" --get {url} >answer) >/dev/null 2>&1 </dev/null & echo $$; exit 5"
        );
        let mut running = amb
            .env("CHILD", Child::program())
            .command(["sh", "-c", &script])
            .start();
        assert!(ends(running.wait_for_rest("").parse().unwrap()));
        assert!(running.is_running());
        fs::write(go, "\n").unwrap();
        // The directory goes with the run.
        upstream.wait_for_requests(1);
        while fs::read_to_string(&answer).is_ok_and(|answer| answer != "HTTP/1.1 200 OK\nhello") {
            std::thread::yield_now();
        }
        running.wait().assert_status(5);
        upstream.join();
    }
}

#[test]
fn a_tree_has_daemons_in_it_and_a_group_has_not() {
    for mode in MODES {
        let (running, left) = left_behind("tree", mode, "--setsid-leftover");
        send(left, libc::SIGKILL);
        running.wait().assert_status(5);
        let child = Child::new(["--setsid-leftover", "300", "--exit", "5"]);
        let outcome = Amb::run(["--wait", "group"].into_iter().chain(mode))
            .child(child)
            .status(5);
        let left = outcome.stdout().trim().strip_prefix("left ").unwrap().parse().unwrap();
        send(left, libc::SIGKILL);
    }
}

#[test]
fn a_process_that_leaves_the_group_later_is_no_longer_waited_for() {
    for [flag, mode] in MODES {
        let amb = Amb::run(["--wait", "group", flag, mode]);
        let go = amb.home().join("go");
        let script = "mkfifo go; (read line <go; exec setsid sleep 300) >/dev/null 2>&1 </dev/null & echo left $!; echo child $$; exit 5";
        let mut running = amb.command(["sh", "-c", script]).start();
        let left = running.wait_for_rest("left ").parse().unwrap();
        assert!(ends(running.wait_for_rest("child ").parse().unwrap()));
        assert!(running.is_running());
        fs::write(go, "\n").unwrap();
        running.wait().assert_status(5);
        send(left, libc::SIGKILL);
    }
}

#[test]
fn what_is_waited_for_gets_the_signals() {
    for mode in MODES {
        let (running, left) = left_behind("group", mode, "--fork-leftover");
        running.signal(libc::SIGTERM);
        assert!(ends(left));
        running.wait().assert_status(5);
    }
}

#[test]
fn processes_that_amb_did_not_start_are_not_waited_for() {
    let script = "sleep 300 >/dev/null 2>&1 & echo $!; exec \"$AMB\" run --wait tree -- \"$CHILD\" --exit 4";
    let outcome = Amb::bare().shell(script).status(4);
    send(outcome.stdout().trim().parse().unwrap(), libc::SIGKILL);
}
