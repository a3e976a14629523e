//! `amb status`, and the socket through which it asks.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;

use super::{
    progress::{fill, happens, has_thread},
    support::{Amb, Child, Proxy, Upstream, ok},
};

/// A runtime directory.
fn runtime() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// A run of this name that waits, with its control socket there.
#[track_caller]
fn run(runtime: &Path, name: &str) -> Proxy {
    let run = Proxy::of(Amb::run(["--name", name]).env("XDG_RUNTIME_DIR", runtime));
    wait_for_socket(runtime, run.running.pid());
    run
}

/// Waits for the control socket of this amb, which is made a moment after its command has started.
#[track_caller]
fn wait_for_socket(runtime: &Path, pid: i32) {
    let ending = format!("-{pid:x}.sock");
    let is_there = || {
        let names = fs::read_dir(runtime.join("amb")).into_iter().flatten();
        names
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(&ending))
    };
    assert!(happens(is_there), "there is no control socket");
}

/// What `amb status` says with these arguments: its status, and what it writes to both streams.
#[track_caller]
fn status(runtime: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_amb"))
        .arg("status")
        .args(arguments)
        .env("XDG_RUNTIME_DIR", runtime)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// What `amb status --json` says.
#[track_caller]
fn json(runtime: &Path) -> Vec<Value> {
    let (_, said) = status(runtime, &["--json"]);
    serde_json::from_str(&said).unwrap()
}

#[test]
fn runs_are_told_apart_and_a_killed_one_is_in_nobodys_way() {
    let runtime = runtime();
    let runtime = runtime.path();
    assert_eq!(
        status(runtime, &[]),
        (Some(1), "amb: nothing of yours runs under amb\n".to_owned())
    );
    let (one, other) = (run(runtime, "one"), run(runtime, "other"));
    let (code, table) = status(runtime, &[]);
    assert_eq!(code, Some(0));
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("NAME   ID"), "{table}");
    for (name, run) in [("one ", &one), ("other ", &other)] {
        let pid = run.running.pid().to_string();
        let line = lines.iter().find(|line| line.starts_with(name)).expect("its line");
        assert!(line.contains(&format!(" {pid} ")), "{line}");
        assert!(line.ends_with(&format!("http://{}", run.address)), "{line}");
    }
    let (_, only) = status(runtime, &["other"]);
    assert!(only.lines().count() == 2 && only.contains("other "), "{only}");

    other.running.signal(9);
    drop(other.running.wait());
    let (code, table) = status(runtime, &[]);
    assert_eq!((code, table.lines().count()), (Some(0), 2), "{table}");
    assert_eq!(fs::read_dir(runtime.join("amb")).unwrap().count(), 1);
    one.end();
    assert_eq!(fs::read_dir(runtime.join("amb")).unwrap().count(), 0);
}

#[test]
fn what_has_passed_and_what_is_open_is_told_while_the_run_goes_on() {
    let runtime = runtime();
    let upstream = Upstream::script([ok("hello")]);
    let run = run(runtime.path(), "busy");
    assert_eq!(json(runtime.path())[0]["requests"], 0);
    run.ask(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", upstream.url("/")))
        .assert_is(200, "hello");
    upstream.join();
    let silent = Upstream::serve(|stream, _| {
        // Until amb ends or resets the connection, as its client goes away.
        drop(io::copy(&mut &stream, &mut io::sink()));
    });
    let mut waiting = run.connect();
    waiting.send(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", silent.url("/")));
    while silent.connections() == 0 {
        std::thread::yield_now();
    }
    let said = &json(runtime.path())[0];
    for (key, expected) in [("requests", 1), ("failed", 0), ("open", 1), ("tunnels", 0)] {
        assert_eq!(said[key], expected, "{key} of {said}");
    }
    assert_eq!((&said["name"], &said["kind"]), (&"busy".into(), &"run".into()));
    drop(waiting);
    run.end();
}

#[test]
fn what_has_passed_is_told_until_the_last_line_of_a_run() {
    let runtime = runtime();
    let upstream = Upstream::script([ok("hello")]);
    let (unread, full) = io::pipe().unwrap();
    fill(&full);
    let mut running = Amb::run(["--summary=full"])
        .env("XDG_RUNTIME_DIR", runtime.path())
        .child(Child::get(upstream.url("/")).then(["--say", "", "--ready", "--wait"]))
        .open_stdin()
        .stderr(full)
        .start();
    running.wait_for_line("ready");
    wait_for_socket(runtime.path(), running.pid());
    assert_eq!(json(runtime.path())[0]["requests"], 1);
    running.close_stdin();
    // Its worker has ended, and its summary waits for somebody who reads it.
    let pid = running.pid();
    assert!(happens(|| !has_thread(pid, "amb-proxy-0")), "the worker goes on");
    assert_eq!(json(runtime.path())[0]["requests"], 1);
    drop(unread);
    running.wait().assert_status(0);
    upstream.join();
}

#[test]
fn who_wants_no_socket_has_none() {
    let runtime = runtime();
    let run = Proxy::of(Amb::run(["--no-control"]).env("XDG_RUNTIME_DIR", runtime.path()));
    assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
    assert_eq!(json(runtime.path()).len(), 0);
    run.end();
}

#[test]
fn the_run_goes_on_where_no_socket_can_be() {
    let runtime = runtime();
    fs::create_dir(runtime.path().join("amb")).unwrap();
    fs::set_permissions(runtime.path().join("amb"), fs::Permissions::from_mode(0o777)).unwrap();
    Proxy::of(Amb::run([] as [&str; 0]).env("XDG_RUNTIME_DIR", runtime.path())).end();
    assert_eq!(fs::read_dir(runtime.path().join("amb")).unwrap().count(), 0);
}

#[test]
fn one_that_is_stopped_is_told_of() {
    let runtime = runtime();
    let run = run(runtime.path(), "one");
    run.running.signal(libc::SIGSTOP);
    let (code, said) = status(runtime.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("amb: warning: ") && said.contains("it does not answer: timed out"),
        "{said}"
    );
    run.running.signal(libc::SIGCONT);
    assert_eq!(json(runtime.path()).len(), 1);
    run.end();
}
