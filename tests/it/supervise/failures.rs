//! When amb itself fails. The failures are made to order (`AMB_SABOTAGE`), which a release build does not know.

use std::fs;

use crate::{
    supervise::MODES,
    support::{Amb, Child, Upstream, ends, ok, say_skipped},
};

/// Whether amb fails to order.
pub(super) fn can_fail() -> bool {
    if !cfg!(debug_assertions) {
        say_skipped("a release build cannot be made to fail");
    }
    cfg!(debug_assertions)
}

#[test]
fn a_panic_in_the_proxy_is_a_502_and_the_summary_says_so() {
    if !can_fail() {
        return;
    }
    let upstream = Upstream::script([ok("never asked for")]);
    let child = Child::get(upstream.url("/")).then(["--exit", "6"]);
    let amb = Amb::run(["--proxy-loopback"])
        .env("AMB_SABOTAGE", "exchange")
        .child(child);
    let outcome = amb.reporting().outcome();
    outcome.assert_status(6);
    assert!(outcome.stdout().starts_with("HTTP/1.1 502 Bad Gateway\n"), "{outcome}");
    assert!(outcome.stdout().contains("a bug, please report it"), "{outcome}");
    assert!(outcome.stderr().contains("degraded"), "{outcome}");
    let report = outcome.report.expect("a report");
    assert_eq!(report["totals"]["requests"]["total"], 1, "{report:#}");
    assert_eq!(report["totals"]["requests"]["failed"], 1, "{report:#}");
    assert_eq!(upstream.requests().len(), 0);
    drop(upstream);
}

#[test]
fn a_panic_of_the_supervisor_asks_the_child_to_end_and_is_125() {
    if !can_fail() {
        return;
    }
    for flags in MODES {
        let child = Child::new(["--trap", "TERM:7", "--pid", "--ready", "--wait"]);
        let amb = Amb::run(flags).env("AMB_SABOTAGE", "supervisor");
        let running = amb.open_stdin().child(child).start();
        let id: i32 = running.wait_for_line("ready").wait_for_rest("").parse().unwrap();
        running.signal(libc::SIGUSR1);
        assert!(ends(running.pid()));
        assert!(ends(id));
        let outcome = running.wait();
        outcome.assert_status(125);
        assert!(outcome.stderr().contains("amb itself failed"), "{outcome}");
    }
}

#[test]
fn a_panic_of_the_supervisor_kills_a_child_that_does_not_end() {
    if !can_fail() {
        return;
    }
    for flags in MODES {
        let child = Child::new(["--ignore", "TERM", "--pid", "--ready", "--wait"]);
        let amb = Amb::run(flags).env("AMB_SABOTAGE", "supervisor");
        let running = amb.open_stdin().child(child).start();
        let id: i32 = running.wait_for_line("ready").wait_for_rest("").parse().unwrap();
        running.signal(libc::SIGUSR1);
        assert!(ends(id));
        assert!(ends(running.pid()));
        running.wait().assert_status(125);
    }
}

#[test]
fn a_panic_after_the_childs_end_does_not_change_the_status() {
    if !can_fail() {
        return;
    }
    for (child, status) in [(Child::exit(3), Some(3)), (Child::die("15"), None)] {
        let outcome = Amb::run(MODES[1]).env("AMB_SABOTAGE", "report").child(child).outcome();
        assert_eq!(outcome.status.code(), status, "{outcome}");
        assert!(outcome.stderr().contains("degraded"), "{outcome}");
    }
}

#[test]
fn a_child_whose_amb_dies_before_it_is_told_does_not_start() {
    if !can_fail() {
        return;
    }
    for flags in MODES {
        let amb = Amb::run(flags).env("AMB_SABOTAGE", "spawn");
        let marker = amb.home().join("marker");
        let running = amb.command(["touch".into(), marker.clone().into_os_string()]).start();
        let pid = running.pid();
        let child: i32 = loop {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            if let Some(child) = children.split_whitespace().next() {
                break child.parse().unwrap();
            }
            std::thread::yield_now();
        };
        running.signal(libc::SIGKILL);
        assert!(ends(pid));
        assert!(ends(child));
        assert!(!marker.exists());
        running.wait().assert_signal(9);
    }
}
