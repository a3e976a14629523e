//! At a terminal: Ctrl-C, Ctrl-Z, the shell's job control.

use std::os::unix::process::ExitStatusExt;

use super::failures::can_fail;
use crate::support::{Child, Step, Terminal, Upstream, ends, send};

/// How often a test is repeated whose failure would be a race.
const ROUNDS: usize = 10;

/// A child that counts `signals`, under amb in a terminal.
fn counting(signals: &str) -> Terminal {
    let mut terminal = Terminal::amb(&[], Child::count(signals));
    terminal.wait_for("ready");
    terminal
}

#[test]
fn ctrl_c_reaches_the_child_once() {
    for _ in 0..ROUNDS {
        let mut terminal = counting("INT");
        terminal
            .type_text("\x03")
            .wait_for("got INT")
            .type_text("\x04")
            .wait_for("INT=1\r");
        assert_eq!(terminal.wait().code(), Some(0));
    }
}

#[test]
fn ctrl_c_twice_reaches_the_child_twice() {
    let mut terminal = counting("INT");
    terminal
        .type_text("\x03")
        .wait_for("got INT")
        .type_text("\x03")
        .wait_for("got INT");
    terminal.type_text("\x04").wait_for("INT=2\r");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn ctrl_backslash_reaches_the_child_once() {
    let mut terminal = counting("QUIT");
    terminal
        .type_text("\x1c")
        .wait_for("got QUIT")
        .type_text("\x04")
        .wait_for("QUIT=1\r");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn ctrl_c_ends_a_child_that_does_nothing_about_it() {
    let mut terminal = Terminal::amb(&[], Child::new(["--ready", "--wait"]));
    terminal.wait_for("ready").type_text("\x03");
    assert_eq!(terminal.wait().signal(), Some(libc::SIGINT));
}

#[test]
fn a_new_window_size_is_told_once() {
    let mut terminal = Terminal::amb(&[], Child::new(["--count", "WINCH", "--window"]));
    terminal
        .wait_for("ready")
        .resize(123, 45)
        .wait_for("got WINCH")
        .type_text("\x04");
    terminal.wait_for("WINCH=1\r").wait_for("window 123x45");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn a_signal_from_elsewhere_is_passed_on_at_a_terminal_too() {
    let mut terminal = counting("INT");
    send(terminal.pid(), libc::SIGINT);
    terminal.wait_for("got INT").type_text("\x04").wait_for("INT=1\r");
}

#[test]
fn the_child_reads_the_terminal() {
    let mut terminal = Terminal::run(&[env!("CARGO_BIN_EXE_amb"), "run", "--", "cat"].map(Into::into));
    // Once by the terminal, once by cat.
    terminal
        .type_text("typed\n")
        .wait_for("typed")
        .wait_for("typed")
        .type_text("\x04");
    assert_eq!(terminal.wait().code(), Some(0));
    let mut terminal = Terminal::amb(&[], Child::new(["--ready", "--read-tty"]));
    terminal.wait_for("ready").type_text("secret\n").wait_for("read secret");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn ctrl_z_stops_the_job_and_fg_goes_on_with_it() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("$AMB run -- $CHILD --count INT,CONT\n")
        .wait_for("ready\r\n")
        .type_text("\x1a");
    terminal.wait_for("Stopped").wait_for("prompt> ");
    terminal
        .type_text("fg\n")
        .wait_for("got CONT")
        .type_text("\x03")
        .wait_for("got INT");
    terminal
        .type_text("\x04")
        .wait_for("INT=1\r")
        .wait_for("CONT=1\r")
        .wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 0");
}

#[test]
fn ctrl_z_before_there_is_a_child_stops_the_job_too() {
    if !can_fail() {
        return;
    }
    for flags in ["", "--progress=title"] {
        let mut bash = Terminal::bash();
        bash.type_text(&format!("AMB_SABOTAGE=stop $AMB run {flags} -- $CHILD --say begun\n"));
        bash.wait_for("Stopped").wait_for("prompt> ");
        bash.type_text("fg\n").wait_for("begun").wait_for("prompt> ");
        bash.type_text("echo status $?\n").wait_for("status 0");
    }
}

#[test]
fn a_job_in_the_background_stops_when_it_reads_and_fg_goes_on_with_it() {
    let mut terminal = Terminal::bash();
    // `jobs` until the shell has noticed.
    terminal.type_text("$AMB run -- cat &\n").wait_for("prompt> ");
    terminal
        .type_text("while ! jobs | grep -q Stopped; do :; done; echo it has stop''ped\n")
        .wait_for("it has stopped");
    terminal
        .wait_for("prompt> ")
        .type_text("fg\n")
        .wait_for("run -- cat")
        .type_text("typed\n");
    terminal
        .wait_for("typed")
        .wait_for("typed")
        .type_text("\x04")
        .wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 0");
}

#[test]
fn a_pipeline_sibling_keeps_the_terminal() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("$AMB run -- $CHILD --wait </dev/tty | $CHILD --ready --read-tty\n")
        .wait_for("ready\r\n");
    terminal.type_text("one\n\x04\x04").wait_for("prompt> ");
    let screen = terminal.screen();
    assert!(!screen.contains("Stopped"), "{screen}");
}

#[test]
fn ctrl_c_stops_a_loop_in_a_script() {
    let script = "for i in 1 2 3; do $AMB run -- $CHILD --say running --wait; echo \"after $i\"; done";
    let mut terminal = Terminal::run(&["bash", "-c", script].map(Into::into));
    terminal.wait_for("running").type_text("\x03");
    assert_eq!(terminal.wait().signal(), Some(libc::SIGINT));
    let screen = terminal.screen();
    assert!(!screen.contains("after"), "{screen}");
}

#[test]
fn a_shell_under_amb_has_job_control() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("PS1='inner'\"> \" $AMB run -- bash --norc --noprofile --noediting -i\n")
        .wait_for("inner> ");
    terminal.type_text("\x03").wait_for("inner> ");
    terminal
        .type_text("$CHILD --count INT\n")
        .wait_for("ready\r\n")
        .type_text("\x1a")
        .wait_for("Stopped");
    terminal
        .wait_for("inner> ")
        .type_text("fg\n")
        .wait_for("--count INT")
        .type_text("\x04")
        .wait_for("INT=0\r");
    terminal.wait_for("inner> ").type_text("exit 5\n").wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 5");
    let screen = terminal.screen();
    assert!(!screen.contains("no job control"), "{screen}");
}

#[test]
fn a_summary_from_the_background_does_not_stop_amb() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("stty tostop; $AMB run -- $CHILD --exit 3 & wait $!; echo status $?\n")
        .wait_for("status 3");
}

#[test]
fn a_hangup_ends_the_child_once_and_amb_with_it() {
    let mut terminal = Terminal::amb(&[], Child::new(["--ready", "--wait"]));
    terminal.wait_for("ready");
    terminal.hang_up();
    let status = terminal.wait();
    // Its stdin ended as well; which of the two it notices first is its own business.
    assert!(
        status.signal() == Some(libc::SIGHUP) || status.code() == Some(0),
        "{status}"
    );
}

#[test]
fn a_transfer_goes_on_after_ctrl_z_and_fg() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec();
    let upstream = Upstream::script([vec![
        Step::Read,
        Step::Send(answer),
        Step::Stall,
        Step::Send(b"after".to_vec()),
    ]]);
    let mut terminal = Terminal::bash();
    terminal.type_text(&format!("$AMB run -- $CHILD --get {}\n", upstream.url("/")));
    // Shown already: what is still on its way to the screen when Ctrl-Z is typed, the terminal throws away.
    terminal.wait_for("HTTP/1.1 200 OK");
    terminal.type_text("\x1a").wait_for("Stopped").wait_for("prompt> ");
    upstream.release();
    terminal.type_text("fg\n").wait_for("firstafter").wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 0");
    upstream.join();
}

#[test]
fn a_pager_at_the_end_of_a_pipe_reads_single_keys_and_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("stty -g >before; echo text | $AMB run -- $CHILD --read-keys\n")
        .wait_for("raw\r");
    // Raw: without a line's end, and Ctrl-C is a key.
    terminal
        .type_text("a")
        .wait_for("key 97")
        .type_text("\x03")
        .wait_for("key 3");
    terminal.type_text("q").wait_for("prompt> ");
    terminal
        .type_text("stty -g | cmp - before && echo it is as it w''as\n")
        .wait_for("it is as it was");
}

#[test]
fn a_child_killed_while_it_has_the_foreground_does_not_stop_amb() {
    let child = Child::new(["--take-foreground", "--pid", "--ready", "--wait"]);
    let mut terminal = Terminal::amb(&[], child);
    terminal.wait_for("ready");
    let screen = terminal.screen();
    let id: i32 = screen.lines().find_map(|line| line.trim().parse().ok()).unwrap();
    send(id, libc::SIGKILL);
    assert_eq!(terminal.wait().signal(), Some(libc::SIGKILL));
    terminal.wait_for("amb: ");
}

#[test]
fn a_child_that_stops_by_itself_stops_the_job() {
    for signal in ["STOP", "TSTP"] {
        let mut terminal = Terminal::bash();
        terminal
            .type_text(&format!("$AMB run -- $CHILD --raise {signal} --say back''again\n"))
            .wait_for("Stopped")
            .wait_for("prompt> ");
        terminal.type_text("fg\n").wait_for("back''again").wait_for("prompt> ");
        terminal.type_text("echo status $?\n").wait_for("status 0");
    }
}

#[test]
fn a_child_stopped_in_a_group_of_its_own_goes_on_with_the_job() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("$AMB run -- $CHILD --take-foreground --raise STOP --say again\n")
        .wait_for("Stopped")
        .wait_for("prompt> ");
    terminal.type_text("fg\n").wait_for("\nagain").wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 0");
}

#[test]
fn a_child_without_a_shell_that_waits_for_stops_is_continued_alone() {
    let mut terminal = Terminal::amb(
        &[],
        Child::new(["--pid", "--ready", "--raise", "STOP", "--say", "again"]),
    );
    terminal.wait_for("ready");
    let screen = terminal.screen();
    let id: i32 = screen.lines().find_map(|line| line.trim().parse().ok()).unwrap();
    while !std::fs::read_to_string(format!("/proc/{id}/stat"))
        .unwrap()
        .contains(") T ")
    {
        std::thread::yield_now();
    }
    send(id, libc::SIGCONT);
    terminal.wait_for("again");
    assert_eq!(terminal.wait().code(), Some(0));
    assert!(ends(id));
}
