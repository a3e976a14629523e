//! What is shown of a run while it goes on: `--progress`.

use std::{
    ffi::OsString,
    fs, io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::support::{Amb, Child, PATIENCE, Step, Terminal, Upstream, ends_within, ok, send};

/// What puts the title on the terminal's stack.
const SAVE: &str = "\x1b[22;2t";
/// What takes it back from there.
const GIVE_BACK: &str = "\x1b]2;\x07\x1b[23;2t";

/// A URL at which nobody listens.
const NOBODY: &str = "http://127.0.0.1:1/";

/// Runs a command in a terminal that has a title.
#[track_caller]
fn in_terminal(words: impl IntoIterator<Item = OsString>) -> Terminal {
    let titled = ["env", "TERM=xterm"].map(OsString::from);
    Terminal::run(&titled.into_iter().chain(words).collect::<Vec<_>>())
}

/// Runs amb in a terminal that has a title.
#[track_caller]
fn amb(flags: &[&str], child: Child) -> Terminal {
    let run = [env!("CARGO_BIN_EXE_amb"), "run", "--name", "app"];
    let words = run.iter().chain(flags).chain(&["--"]).map(OsString::from);
    in_terminal(words.chain(child.command()))
}

/// What is on a screen, without titles.
fn without_titles(screen: &str) -> String {
    let mut rest = screen.replace(GIVE_BACK, "").replace(SAVE, "");
    while let Some(at) = rest.find("\x1b]2;") {
        let end = rest[at..].find('\x07').expect("the title's end");
        rest.replace_range(at..=at + end, "");
    }
    rest
}

#[test]
fn the_title_tells_the_counts_and_is_given_back() {
    let upstream = Upstream::script([ok("hello")]);
    let child = || Child::get(upstream.url("/")).then(["--get", NOBODY, "--ready", "--wait"]);
    let mut terminal = amb(&["-q", "--progress", "title"], child());
    terminal
        .wait_for(SAVE)
        .wait_for("\x1b]2;amb app: 2 requests, 1 failed\x07");
    terminal.type_text("\x04").wait_for(GIVE_BACK);
    assert_eq!(terminal.wait().code(), Some(0));
    upstream.join();
    let screen = terminal.screen();
    assert_eq!(screen.matches(SAVE).count(), 1, "{screen:?}");
    assert!(screen.ends_with(GIVE_BACK), "{screen:?}");
    assert!(!without_titles(&screen).contains('\x1b'), "{screen:?}");
}

#[test]
fn what_is_open_and_what_is_denied_is_told_too() {
    let upstream = Upstream::script([vec![Step::Read, Step::Stall]]);
    let child = Child::get("http://denied.example/").then(["--get".to_owned(), upstream.url("/")]);
    let flags = ["-q", "--progress=title", "--egress=enforce", "--deny=denied.example"];
    let mut terminal = amb(&flags, child);
    terminal.wait_for("\x1b]2;amb app: 1 request, 1 denied, 1 open\x07");
    terminal.type_text("\x03").wait_for(GIVE_BACK);
    assert_eq!(terminal.wait().signal(), Some(libc::SIGINT));
    upstream.release();
}

#[test]
fn by_default_the_terminal_gets_what_the_bare_command_writes() {
    let child = || Child::new(["--say", "hello", "--ready", "--wait"]);
    let mut bare = in_terminal(child().command());
    bare.wait_for("ready");
    let mut plain: Vec<_> = [
        &["-q"][..],
        &["-q", "--progress", "auto"],
        &["-q", "--progress", "never"],
    ]
    .into_iter()
    .map(|flags| amb(flags, child()))
    .collect();
    for terminal in &mut plain {
        terminal.wait_for("ready");
    }
    // Its title comes when theirs would have come.
    let mut titled = amb(&["-q", "--progress", "title"], child());
    titled.wait_for("ready").wait_for("amb app: no requests yet\x07");
    for terminal in plain.iter_mut().chain([&mut bare, &mut titled]) {
        terminal.type_text("\x04");
        assert_eq!(terminal.wait().code(), Some(0));
    }
    titled.wait_for(GIVE_BACK);
    for terminal in &plain {
        assert_eq!(terminal.screen(), bare.screen());
    }
    assert_eq!(without_titles(&titled.screen()), bare.screen());
}

#[test]
fn a_signal_from_elsewhere_gives_the_title_back() {
    let mut terminal = amb(&["-q", "--progress", "title"], Child::new(["--ready", "--wait"]));
    terminal.wait_for("amb app: no requests yet\x07");
    send(terminal.pid(), libc::SIGTERM);
    terminal.wait_for(GIVE_BACK);
    assert_eq!(terminal.wait().signal(), Some(libc::SIGTERM));
}

#[test]
fn a_job_that_is_stopped_or_in_the_background_leaves_the_title_alone() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("stty tostop; export TERM=xterm; $AMB run -q --progress title --name app -- sleep 1000\n")
        .wait_for(SAVE)
        .wait_for("amb app: no requests yet\x07");
    terminal
        .type_text("\x1a")
        .wait_for(GIVE_BACK)
        .wait_for("Stopped")
        .wait_for("prompt> ");
    let stopped = terminal.screen().len();
    terminal.type_text("bg\n").wait_for("prompt> ");
    terminal
        .type_text("$AMB run -q --progress title --name other -- $CHILD --ready --wait\n")
        .wait_for("amb other: no requests yet\x07")
        .type_text("\x04")
        .wait_for(GIVE_BACK)
        .wait_for("prompt> ");
    assert!(
        !terminal.screen()[stopped..].contains("amb app:"),
        "{}",
        terminal.screen()
    );
    terminal.type_text("jobs\n").wait_for("Running").wait_for("prompt> ");
    terminal
        .type_text("fg\n")
        .wait_for(SAVE)
        .wait_for("amb app: no requests yet\x07")
        .type_text("\x03")
        .wait_for(GIVE_BACK)
        .wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 130");
}

#[test]
fn ctrl_z_and_fg_go_on_as_without_a_title() {
    let mut terminal = Terminal::bash();
    // Not one that reads: stopped a moment after the prompt is there, it would take what is typed for the shell.
    terminal
        .type_text("TERM=xterm $AMB run -q --progress title -- sleep 1000\n")
        .wait_for(SAVE);
    for _ in 0..3 {
        terminal.type_text("\x1a").wait_for("Stopped").wait_for("prompt> ");
        // The title is there again when both have gone on.
        terminal.type_text("fg\n").wait_for(SAVE);
    }
    terminal.type_text("\x03").wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 130");
}

#[test]
fn one_without_a_command_has_a_title_too() {
    let mut terminal = Terminal::bash();
    terminal
        .type_text("export XDG_RUNTIME_DIR=$PWD; TERM=xterm $AMB serve --progress title --name app\n")
        .wait_for("amb app: no requests yet\x07");
    terminal
        .type_text("\x1a")
        .wait_for(GIVE_BACK)
        .wait_for("Stopped")
        .wait_for("prompt> ");
    terminal
        .type_text("fg\n")
        .wait_for(SAVE)
        .wait_for("amb app: no requests yet\x07");
    terminal.type_text("\x03").wait_for(GIVE_BACK).wait_for("prompt> ");
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_up_the_end() {
    let upstream = Upstream::script([vec![
        Step::Read,
        Step::Stall,
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ]]);
    let child = Child::get(upstream.url("/")).then(["--wait"]);
    let mut terminal = amb(&["-q", "--progress", "title"], child);
    terminal.wait_for("amb app: 0 requests, 1 open\x07");
    // Ctrl-S; from now on the child hangs in its write, and what amb would show changes.
    terminal.type_text("\x13");
    upstream.release();
    upstream.join();
    send(terminal.pid(), libc::SIGTERM);
    assert_eq!(terminal.wait().signal(), Some(libc::SIGTERM));
}

#[test]
fn what_cannot_be_shown_is_said_once_and_nothing_else() {
    let outcome = Amb::run(["--progress", "title", "--summary=off"])
        .child(Child::exit(0))
        .success();
    let said = "amb: warning: --progress title: stderr is no terminal, so there is no title\n";
    assert_eq!(outcome.stderr(), said);
    let mut dumb = Terminal::amb(&["--summary=off", "--progress", "title"], Child::exit(0));
    dumb.wait_for("amb: warning: --progress title: by TERM the terminal has no title\r\n");
    assert_eq!(dumb.wait().code(), Some(0));
    let mut lines = amb(&["--summary=off", "--progress", "line"], Child::exit(0));
    lines.wait_for("amb: warning: --progress line: stderr is a terminal");
    assert_eq!(lines.wait().code(), Some(0));
    let quiet = Amb::run(["--progress", "title", "-q"]).child(Child::exit(0)).success();
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn a_line_says_what_is_new_where_nobody_has_a_terminal() {
    let upstream = Upstream::script([ok("hello")]);
    let mut running = Amb::run(["--progress", "line", "--name", "app"])
        .env("AMB_SABOTAGE", "progress")
        .child(Child::get(upstream.url("/")).then(["--get", NOBODY, "--wait"]))
        .open_stdin()
        .start();
    running.wait_for_stderr("amb: app: 2 requests, 1 failed\n");
    running.close_stdin();
    let outcome = running.wait();
    upstream.join();
    let stderr = outcome.stderr();
    assert_eq!(
        stderr.matches("amb: app: 2 requests, 1 failed\n").count(),
        1,
        "{stderr}"
    );
    assert!(!stderr.contains("no requests yet"), "{stderr}");
}

#[test]
fn a_stderr_that_nobody_reads_does_not_hold_up_the_end_of_a_run_with_lines() {
    let upstream = Upstream::script([ok("hello")]);
    let (unread, full) = io::pipe().unwrap();
    fill(&full);
    let mut running = Amb::run(["-q", "--progress", "line"])
        .env("AMB_SABOTAGE", "progress")
        .child(Child::get(upstream.url("/")).then(["--wait"]))
        .open_stdin()
        .stderr(full)
        .start();
    let pid = running.pid();
    assert!(happens(|| has_thread(pid, "amb-progress")), "no line is written");
    running.close_stdin();
    assert!(ends_within(running.pid(), PATIENCE), "it hangs");
    assert!(running.wait().status.success());
    drop(unread);
    upstream.join();
}

/// Fills a pipe.
pub(crate) fn fill(pipe: impl AsFd) {
    let flags = fcntl_getfl(&pipe).unwrap();
    fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).unwrap();
    let filled = std::iter::repeat_with(|| rustix::io::write(&pipe, &[b'.'; 4096])).find(Result::is_err);
    assert_eq!(filled, Some(Err(Errno::AGAIN)));
    fcntl_setfl(&pipe, flags).unwrap();
}

/// Whether a process has a thread of this name.
pub(crate) fn has_thread(pid: i32, name: &str) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.any(|found| found.trim() == name)
}

/// Whether something happens that nobody tells of.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells of it, and to look at /proc all the time is rude"
)]
pub(crate) fn happens(what: impl Fn() -> bool) -> bool {
    let turn = Duration::from_millis(10);
    let mut left = PATIENCE;
    while !what() {
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(turn);
        left = left.saturating_sub(turn);
    }
    true
}
