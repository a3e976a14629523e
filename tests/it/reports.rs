//! The end of a run: what is still open, what is told and written, and that nothing of it changes how amb ends.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::support::{Amb, Child, Running, Step, Upstream, ends};

/// Makes a named pipe and fills it, so that not even a short report fits. It has a reader as long as the file lives.
fn full_pipe(path: &Path) -> fs::File {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // Open for both, so that neither side waits for the other.
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let mut pipe = options.open(path).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    pipe
}

#[test]
fn all_outputs_that_cannot_be_written_are_told_before_the_start() {
    let amb = Amb::run([
        "-r",
        "none/a.json",
        "-r",
        "b.json",
        "-r",
        "c/d.json",
        "--access-log",
        "e/f.log",
    ]);
    let outcome = amb.shell("echo started").status(125);
    outcome.assert_stdout("");
    let lines = outcome.own_lines();
    assert_eq!(lines.len(), 3, "{outcome}");
    for (line, name) in lines.iter().zip(["none/a.json", "c/d.json", "e/f.log"]) {
        assert!(line.contains(name), "{outcome}");
    }
}

#[test]
fn all_reports_of_unknown_formats_are_told_at_once() {
    let outcome = Amb::run(["-r", "a.odd", "-r", "b.json", "-r", "strange=c"])
        .shell("echo started")
        .status(125);
    outcome.assert_stdout("");
    for name in [".odd", "`strange`"] {
        assert!(outcome.stderr().contains(name), "{outcome}");
    }
}

#[test]
fn a_report_that_nobody_reads_is_given_up_and_changes_no_status() {
    let amb = Amb::run(["--report", "json=pipe", "--report", "file.json"]);
    let pipe = full_pipe(&amb.home().join("pipe"));
    let amb = amb.shell("exit 7");
    let outcome = amb.status(7);
    let said = outcome.stderr();
    assert!(
        said.contains("cannot write the report pipe: its reader has read nothing for 5s"),
        "{outcome}"
    );
    drop(pipe);
}

#[test]
fn a_report_without_a_reader_changes_no_status() {
    let amb = Amb::run(["--report", "json=pipe"]);
    drop(full_pipe(&amb.home().join("pipe")));
    let outcome = amb.child(Child::exit(7)).status(7);
    assert!(outcome.stderr().contains("cannot write the report pipe: "), "{outcome}");
}

/// A run whose child ends with 3 while a process that it leaves behind waits for its answer.
fn ended_with_an_open_exchange(flags: &[&str], upstream: &Upstream) -> Running {
    let mut running = Amb::run(flags)
        .reporting()
        .open_stdin()
        .env("URL", upstream.url("/").replace("127.0.0.1", "upstream.test"))
        .shell("\"$CHILD\" --get \"$URL\" </dev/null >got 2>&1 & echo child $$; cat >/dev/null; exit 3")
        .start();
    let child = running.wait_for_rest("child ").parse().unwrap();
    upstream.wait_for_requests(1);
    running.close_stdin();
    assert!(ends(child));
    running
}

/// An answer that comes when the test says so.
fn late() -> Upstream {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec();
    Upstream::script([vec![Step::Read, Step::Stall, Step::Send(answer)]])
}

/// Checklist 118.
#[test]
fn what_is_open_when_the_child_ends_may_come_to_its_end() {
    let upstream = late();
    let to = format!("upstream.test::{}", upstream.address());
    let running = ended_with_an_open_exchange(&["--drain", "30s", "--connect-to", &to], &upstream);
    upstream.release();
    let outcome = running.wait();
    outcome.assert_status(3);
    let requests = &outcome.report.as_ref().unwrap()["totals"]["requests"];
    assert_eq!(
        (&requests["ok"], &requests["cut_short"]),
        (&1.into(), &0.into()),
        "{outcome}"
    );
    upstream.join();
}

/// Checklist 118.
#[test]
fn what_does_not_end_within_the_drain_is_cut_short_and_changes_no_status() {
    let upstream = late();
    let to = format!("upstream.test::{}", upstream.address());
    let running = ended_with_an_open_exchange(&["--drain", "10ms", "--connect-to", &to], &upstream);
    let outcome = running.wait();
    outcome.assert_status(3);
    let requests = &outcome.report.as_ref().unwrap()["totals"]["requests"];
    assert_eq!(
        (&requests["ok"], &requests["cut_short"]),
        (&0.into(), &1.into()),
        "{outcome}"
    );
}

/// Checklist 118: a signal ends the child, and amb after it has told what there is to tell.
#[test]
fn a_run_that_a_signal_ends_is_told_in_full() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let upstream = Upstream::script([super::support::ok("hello")]);
        let to = format!("upstream.test:80:{}", upstream.address());
        let running = Amb::run(["--summary", "full", "--connect-to", &to])
            .reporting()
            .shell("\"$CHILD\" --get http://upstream.test/ --ready && exec sleep 300")
            .start();
        running.wait_for_line("helloready").signal(signal);
        let outcome = running.wait();
        outcome.assert_signal(signal);
        assert!(outcome.stderr().contains("upstream.test"), "{outcome}");
        let report = outcome.report.as_ref().unwrap();
        assert_eq!(report["totals"]["requests"]["ok"], 1, "{outcome}");
        assert_eq!(report["child"]["signal"], signal, "{outcome}");
    }
}

#[test]
fn amb_says_as_much_as_was_asked_for() {
    let answer = || super::support::ok("hello");
    let upstream = Upstream::script([answer(), answer(), answer()]);
    let url = upstream.url("/");
    for (flags, info, debug) in [
        (vec![], false, false),
        (vec!["-v"], true, false),
        (vec!["-vv"], true, true),
    ] {
        let said = Amb::run([&flags[..], &["--proxy-loopback"]].concat())
            .child(Child::get(&url))
            .success();
        let said = said.stderr();
        assert_eq!(
            said.contains("amb: info: the command runs (pid="),
            info,
            "{flags:?}: {said}"
        );
        assert_eq!(
            said.contains("amb: debug: GET ok (host=127.0.0.1"),
            debug,
            "{flags:?}: {said}"
        );
    }
    let refused = Child::get("http://127.0.0.1:1/");
    let said = Amb::run(["-q", "--proxy-loopback"]).child(refused).success();
    assert_eq!(said.stderr(), "");
}
