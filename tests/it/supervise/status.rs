//! The exit status and the arguments come through unchanged.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
};

use crate::{
    supervise::MODES,
    support::{Amb, Child},
};

/// No flags.
const NONE: [&str; 0] = [];

/// Writes a file that can be executed, or not.
fn file(path: &Path, content: &str, mode: u32) -> OsString {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.into()
}

/// amb refuses to run the command with this status and one line that holds all of `words`.
#[track_caller]
fn check_refused(amb: Amb, status: i32, words: &[&str]) {
    let outcome = amb.status(status);
    outcome.assert_stdout("");
    let lines = outcome.own_lines();
    assert_eq!(
        lines.len(),
        outcome
            .stderr()
            .lines()
            .filter(|line| !line.starts_with("hint:"))
            .count(),
        "{outcome}"
    );
    assert!(
        words.iter().all(|word| outcome.stderr().contains(word)),
        "{words:?}\n{outcome}"
    );
}

#[test]
fn every_exit_status_comes_through() {
    for status in 0..=255 {
        let flags = MODES[usize::from(status % 2 == 0)];
        Amb::run(flags).child(Child::exit(status)).status(status.into());
    }
}

#[test]
fn a_child_ended_by_a_signal_ends_amb_by_it() {
    for signal in [
        "1", "2", "3", "6", "8", "9", "10", "11", "13", "14", "15", "27", "34", "64",
    ] {
        let bare = Amb::bare().child(Child::die(signal)).outcome();
        for flags in MODES {
            let outcome = Amb::run(flags).child(Child::die(signal)).outcome();
            assert_eq!(outcome.status.signal(), signal.parse().ok(), "{outcome}");
            assert_eq!(outcome.status.signal(), bare.status.signal());
        }
    }
}

#[test]
fn a_shell_sees_the_signal_as_of_the_bare_command() {
    let outcome = Amb::bare()
        .shell("\"$AMB\" run -- \"$CHILD\" --die 15; echo $?")
        .success();
    outcome.assert_stdout("143\n");
}

#[test]
fn a_command_that_is_not_found_is_127() {
    check_refused(
        Amb::run(NONE).command(["/doesnotexist"]),
        127,
        &["/doesnotexist", "does not exist"],
    );
    check_refused(
        Amb::run(NONE).command(["nosuchcommand"]),
        127,
        &["nosuchcommand", "PATH"],
    );
    check_refused(Amb::run(NONE).command(["ls"]).env("PATH", "/nowhere"), 127, &["ls"]);
    check_refused(Amb::run(NONE).command([""]), 127, &[]);
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    check_refused(Amb::run(NONE).command(["/"]), 126, &["is a directory"]);
    let amb = Amb::run(NONE);
    let plain = file(&amb.home().join("plain"), "echo no", 0o644);
    check_refused(amb.command([plain]), 126, &["plain", "not executable"]);
}

#[test]
fn a_missing_interpreter_is_named() {
    let amb = Amb::run(NONE);
    let script = file(&amb.home().join("script"), "#!/nonexistent/interpreter -x\n", 0o755);
    check_refused(amb.command([script]), 127, &["script", "/nonexistent/interpreter`"]);
}

#[test]
fn a_script_without_an_interpreter_line_runs_in_the_shell() {
    let amb = Amb::run(NONE);
    let script = file(&amb.home().join("script"), "echo from the shell\n", 0o755);
    amb.command([script]).success().assert_stdout("from the shell\n");
}

#[test]
fn a_file_that_is_being_written_is_126() {
    let amb = Amb::run(NONE);
    let copy = amb.home().join("copy");
    fs::copy("/bin/true", &copy).unwrap();
    let writer = fs::OpenOptions::new().write(true).open(&copy).unwrap();
    check_refused(amb.command([copy]), 126, &["open for writing"]);
    drop(writer);
}

#[test]
fn an_environment_beyond_what_the_kernel_takes_is_126() {
    // One variable may have 128 KiB, its name and zero byte included; amb adds the loopback to this one.
    let hosts = "x".repeat(128 * 1024 - "no_proxy=".len() - 1);
    let amb = Amb::run(NONE).env("no_proxy", hosts).command(["true"]);
    check_refused(amb, 126, &["too large"]);
}

#[test]
fn a_port_that_is_taken_is_125_and_starts_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_started_nothing(Amb::run(["--listen", &address]));
}

#[test]
fn a_deleted_working_directory_is_said() {
    let amb = Amb::run(NONE).shell("mkdir gone && cd gone && rmdir ../gone && exec \"$AMB\" run -- ./program");
    check_refused(amb, 127, &["working directory was deleted"]);
}

#[test]
fn a_mistake_in_usage_is_125_and_starts_nothing() {
    check_started_nothing(Amb::run(["--no-such-flag"]));
    Amb::run(NONE).status(125);
}

/// The command is not run, and amb says so with 125.
#[track_caller]
fn check_started_nothing(amb: Amb) {
    let marker = amb.home().join("marker");
    let running = amb.command(["touch".into(), marker.clone().into_os_string()]).start();
    running.wait().assert_status(125).assert_stdout("");
    assert!(!marker.exists());
}

#[test]
fn arguments_come_through_byte_for_byte() {
    let arguments = || {
        [
            &b"--help"[..],
            b"-x",
            b"",
            b"--",
            b"--process-group",
            b"a b",
            b"\xff\xfe",
            b"*",
            b"$HOME",
            b"new\nline",
        ]
        .map(|bytes| OsString::from_vec(bytes.to_vec()))
    };
    let bare = Amb::bare().child(Child::argv(arguments())).success();
    let wrapped = Amb::run(NONE).child(Child::argv(arguments())).success();
    wrapped.assert_stdout(bare.stdout());
    assert_eq!(bare.stdout().lines().count(), 10);
}

#[test]
fn amb_in_amb_in_amb_is_still_invisible() {
    let amb = OsString::from(env!("CARGO_BIN_EXE_amb"));
    let nested = |child: Child| {
        let prefix = [
            amb.clone(),
            "run".into(),
            "--".into(),
            amb.clone(),
            "run".into(),
            "--".into(),
        ];
        Amb::run(NONE).command(prefix.into_iter().chain(child.command()))
    };
    nested(Child::exit(7)).status(7);
    nested(Child::die("9")).outcome().assert_signal(9);
    let mut running = nested(Child::count("TERM")).open_stdin().start();
    running
        .wait_for_line("ready")
        .signal(libc::SIGTERM)
        .wait_for_line("got TERM");
    running.close_stdin();
    running
        .wait()
        .assert_status(0)
        .assert_stdout("ready\ngot TERM\nTERM=1\n");
}
