//! Report files: where they cannot go is said before the start, and nobody waits for them at the end.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::support::{Amb, Child};

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
