//! `amb serve`, and what leads others to it: `amb env`, `amb stop`, `amb status`.

mod environment;
mod units;

use std::{fs, os::unix::fs::PermissionsExt, os::unix::net::UnixDatagram, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::{Amb, Child, PATIENCE, Running, Step, Upstream, ends, ok, say_skipped, send};

/// A user's runtime directory, for all the ambs of a test.
pub(crate) struct Desk {
    /// The directory.
    runtime: tempfile::TempDir,
}

impl Desk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            runtime: tempfile::tempdir().unwrap(),
        }
    }

    /// amb with these words.
    pub(crate) fn amb(&self, words: &[&str]) -> Amb {
        let words = [&[env!("CARGO_BIN_EXE_amb")], words].concat();
        self.here(Amb::bare()).command(words)
    }

    /// Something else of the same user's.
    pub(crate) fn here(&self, amb: Amb) -> Amb {
        amb.env("XDG_RUNTIME_DIR", self.runtime.path())
    }

    /// An `amb run` that is called `job`, whose command waits for the end of its stdin.
    pub(crate) fn job(&self) -> Running {
        let run = self
            .here(Amb::run(["--name", "job"]))
            .open_stdin()
            .child(Child::new(["--ready", "--wait"]));
        let run = run.start();
        run.wait_for_line("ready");
        run
    }

    /// `amb serve` with these flags, ready, and its proxy's URL.
    #[track_caller]
    pub(crate) fn serve(&self, flags: &[&str]) -> (Running, String) {
        let running = self.amb(&[&["serve", "--name", "desk"], flags].concat()).start();
        let url = running.wait_for_rest("desk ");
        (running, url)
    }

    /// What `amb status` tells.
    #[track_caller]
    fn status(&self) -> Vec<Value> {
        let outcome = self.amb(&["status", "--json"]).outcome();
        serde_json::from_str(outcome.stdout()).unwrap_or_else(|_| panic!("{outcome}"))
    }

    /// The control sockets.
    fn sockets(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.runtime.path().join("amb")).into_iter().flatten();
        found.map(|entry| entry.unwrap().path()).collect()
    }
}

/// A request that goes through the proxy at this URL.
fn through(url: &str, upstream: &Upstream) -> Amb {
    Amb::bare().env("http_proxy", url).child(Child::get(upstream.url("/")))
}

#[test]
fn who_is_led_there_is_served_and_the_summary_tells_of_it() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let desk = Desk::new();
        let upstream = Upstream::script([ok("hello")]);
        let report = desk.runtime.path().join("report.json");
        let (serve, url) = desk.serve(&["--report", report.to_str().unwrap(), "--summary", "full"]);
        through(&url, &upstream)
            .success()
            .assert_stdout("HTTP/1.1 200 OK\nhello");
        upstream.join();
        serve.signal(signal);
        let outcome = serve.wait();
        outcome.assert_status(0);
        let first = outcome.own_lines()[0].to_owned();
        assert!(first.contains("desk served") && first.contains("stopped"), "{first}");
        assert!(outcome.stderr().contains("1 request to 1 host"), "{outcome}");
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(report["child"]["outcome"], "absent");
        assert_eq!(report["exit"], serde_json::json!({ "code": 0, "reason": "stopped" }));
        assert!(desk.sockets().is_empty());
    }
}

#[test]
fn what_is_open_when_it_is_told_to_end_may_end_first() {
    let desk = Desk::new();
    let upstream = Upstream::script([vec![
        Step::Read,
        Step::Stall,
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate".to_vec()),
    ]]);
    let (manager, name) = manager(&desk);
    let serve = desk
        .amb(&["serve", "--name", "desk", "--drain", "300s"])
        .env("NOTIFY_SOCKET", name)
        .start();
    let url = serve.wait_for_rest("desk ");
    assert!(told(&manager).starts_with("READY=1\nSTATUS=desk serves on 127.0.0.1:"));
    let client = through(&url, &upstream).start();
    upstream.wait_for_requests(1);
    serve.signal(libc::SIGTERM);
    assert!(told(&manager).starts_with("STOPPING=1\nSTATUS="));
    upstream.release();
    client.wait().assert_stdout("HTTP/1.1 200 OK\nlate");
    serve.wait().assert_status(0);
    upstream.join();
}

/// A socket as a service manager has it, and its name.
fn manager(desk: &Desk) -> (UnixDatagram, String) {
    let path = desk.runtime.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

/// What the manager was told next.
#[track_caller]
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let count = manager.recv(&mut message).expect("a message");
    String::from_utf8_lossy(&message[..count]).into_owned()
}

#[test]
fn stop_ends_it_and_returns_when_it_is_gone() {
    let desk = Desk::new();
    let (serve, _) = desk.serve(&[]);
    let pid = serve.pid();
    let id = desk.status()[0]["id"].as_str().unwrap().to_owned();
    let outcome = desk.amb(&["stop"]).success();
    outcome.assert_stdout(&format!("stopped desk ({id})\n"));
    assert!(fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z ")));
    serve.wait().assert_status(0);
    let outcome = desk.amb(&["stop"]).status(1);
    assert_eq!(outcome.stderr(), "amb: no amb serve of yours is there\n");
}

#[test]
fn of_several_stop_wants_to_know_which() {
    let desk = Desk::new();
    let (one, _) = desk.serve(&[]);
    let (other, _) = desk.serve(&["--name", "desk "]);
    let outcome = desk.amb(&["stop"]).status(1);
    assert!(outcome.stderr().starts_with("amb: there are 2: desk ("), "{outcome}");
    // Where the environment is led to one of them, that is meant.
    let id = desk.status()[0]["id"].as_str().unwrap().to_owned();
    desk.amb(&["stop"]).env("AMB_RUN_ID", &*id).success();
    one.wait().assert_status(0);
    desk.amb(&["stop", "nobody"]).status(1);
    desk.amb(&["stop", "--all"]).success();
    other.wait().assert_status(0);
}

#[test]
fn a_run_does_not_end_before_its_command() {
    let desk = Desk::new();
    let run = desk.job();
    let outcome = desk.amb(&["stop", "job"]).status(1);
    assert!(
        outcome.stderr().contains("this amb ends with its command: end that"),
        "{outcome}"
    );
    run.wait().assert_status(0);
}

#[test]
fn runs_and_one_in_the_background_are_told_apart_and_a_killed_one_is_in_nobodys_way() {
    let desk = Desk::new();
    let job = |name: &str| {
        let run = desk
            .here(Amb::run(["--name", name]))
            .open_stdin()
            .child(Child::new(["--ready", "--wait"]));
        let run = run.start();
        run.wait_for_line("ready");
        run
    };
    let (first, second) = (job("first"), job("second"));
    let detached = desk.amb(&["serve", "--name", "third", "--detach"]).success();
    assert!(detached.stdout().starts_with("third http://127.0.0.1:"), "{detached}");
    let status = desk.status();
    let told: Vec<_> = status
        .iter()
        .map(|run| (run["name"].as_str().unwrap(), run["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("first", "run"), ("second", "run"), ("third", "serve")]);
    assert_eq!(status[0]["pid"], first.pid());
    assert_eq!(
        status[2]["proxy"],
        detached.stdout().trim().strip_prefix("third ").unwrap()
    );

    first.signal(libc::SIGKILL);
    assert!(ends(first.pid()));
    drop(first);
    let names = |desk: &Desk| -> Vec<String> {
        let status = desk.status();
        status
            .iter()
            .map(|run| run["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&desk), ["second", "third"]);
    assert_eq!(desk.sockets().len(), 2, "the socket of the killed one is gone");
    desk.amb(&["stop", "third"]).success();
    assert_eq!(names(&desk), ["second"]);
    second.wait().assert_status(0);
}

#[test]
fn it_ends_with_the_process_that_it_is_tied_to() {
    let desk = Desk::new();
    let tied = Amb::bare()
        .open_stdin()
        .child(Child::new(["--ready", "--wait"]))
        .start();
    tied.wait_for_line("ready");
    let (serve, _) = desk.serve(&["--exit-with", &tied.pid().to_string()]);
    tied.wait();
    serve.wait().assert_status(0);
}

#[test]
fn a_process_that_is_gone_is_none_to_be_tied_to() {
    let desk = Desk::new();
    // No process has the highest number there can be.
    let outcome = desk.amb(&["serve", "--exit-with", "4194304"]).status(125);
    assert!(
        outcome
            .stderr()
            .starts_with("amb: --exit-with 4194304: No such process"),
        "{outcome}"
    );
}

#[test]
fn it_ends_when_nobody_has_needed_it_for_so_long_but_not_while_a_request_is_open() {
    let desk = Desk::new();
    let upstream = Upstream::script([vec![
        Step::Read,
        Step::Stall,
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate".to_vec()),
    ]]);
    let limit = ["--idle-timeout", "500ms"];
    let (mut busy, url) = desk.serve(&limit);
    let client = through(&url, &upstream).start();
    upstream.wait_for_requests(1);
    // By this clock the time is over twice.
    for _ in 0..2 {
        desk.serve(&limit).0.wait().assert_status(0);
    }
    assert!(busy.is_running());
    upstream.release();
    client.wait().assert_stdout("HTTP/1.1 200 OK\nlate");
    upstream.join();
    busy.wait().assert_status(0);
}

#[test]
fn what_is_wrong_with_the_start_of_a_detached_one_is_told_by_the_one_who_waits() {
    let desk = Desk::new();
    let (serve, url) = desk.serve(&[]);
    let taken = url.strip_prefix("http://").unwrap();
    let outcome = desk.amb(&["serve", "--detach", "--listen", taken]).status(125);
    assert!(
        outcome
            .stderr()
            .starts_with(&format!("amb: cannot listen on {taken}: ")),
        "{outcome}"
    );
    outcome.assert_stdout("");
    serve.signal(libc::SIGTERM);
    serve.wait().assert_status(0);
    let outcome = desk.amb(&["serve", "--detach", "-s", "timeout.conect=1s"]).status(125);
    assert!(outcome.stderr().contains("did you mean `connect`"), "{outcome}");
}

#[test]
fn a_detached_one_keeps_nothing_open_of_who_has_started_it() {
    let desk = Desk::new();
    let script = "exec 3>&1 4>&1; \"$AMB\" serve --detach --name desk 5>&1";
    // Ends only when nobody holds its stdout any more.
    let outcome = desk.here(Amb::bare()).shell(script).success();
    assert!(outcome.stdout().starts_with("desk http://"), "{outcome}");
    let pid = desk.status()[0]["pid"].as_i64().unwrap();
    let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            fs::read_link(path).unwrap().to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(open.iter().filter(|to| *to == "/dev/null").count(), 3, "{open:?}");
    desk.amb(&["stop"]).success();
}

#[test]
fn what_is_about_a_command_is_refused_or_left_aside() {
    let desk = Desk::new();
    for (flags, reason) in [
        (
            &["--wait", "group"][..],
            "amb: --wait is about a command, and amb serve has none\n",
        ),
        (&["--no-control"], "amb: amb serve needs its control socket"),
        (
            &["--confine", "tcp"],
            "amb: run.confine = \"tcp\" holds a command to the proxy",
        ),
    ] {
        let outcome = desk.amb(&[&["serve"], flags].concat()).status(125);
        assert!(outcome.stderr().starts_with(reason), "{outcome}");
    }
    // What a file says is for runs.
    let (serve, _) = desk.serve(&["-s", "run.run-timeout=1ms", "-s", "run.wait=group"]);
    desk.amb(&["stop"]).success();
    serve.wait().assert_status(0);
}

#[test]
fn assertions_and_rules_decide_how_it_ends() {
    let desk = Desk::new();
    for (flags, status) in [
        (&["--assert", "requests.total > 0"][..], 99),
        (&["--assert", "requests.total == 0"], 0),
    ] {
        let (serve, _) = desk.serve(flags);
        serve.signal(libc::SIGTERM);
        serve.wait().assert_status(status);
    }
    let upstream = Upstream::script([]);
    let flags = [
        "--egress",
        "enforce",
        "--deny",
        "127.0.0.1",
        "-s",
        "egress.violations=fail",
    ];
    let (serve, url) = desk.serve(&flags);
    let outcome = through(&url, &upstream).outcome();
    assert!(outcome.stdout().starts_with("HTTP/1.1 403"), "{outcome}");
    serve.signal(libc::SIGTERM);
    serve.wait().assert_status(98);
}

#[test]
fn without_a_place_for_its_control_socket_it_does_not_start() {
    let desk = Desk::new();
    let directory = desk.runtime.path().join("amb");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = desk.amb(&["serve"]).status(125);
    assert!(
        outcome.stderr().starts_with("amb: cannot make the control socket in "),
        "{outcome}"
    );
    assert!(outcome.stderr().contains("closed to others"), "{outcome}");
}

#[test]
fn a_run_below_it_goes_through_both() {
    let desk = Desk::new();
    let upstream = Upstream::script([ok("hello")]);
    let (serve, url) = desk.serve(&[]);
    let run = Amb::run(["--proxy-loopback"])
        .env("http_proxy", &*url)
        .child(Child::get(upstream.url("/")));
    run.success().assert_stdout("HTTP/1.1 200 OK\nhello");
    let head = upstream.join()[0].head().to_owned();
    assert_eq!(head.matches("\r\nVia: 1.1 amb-").count(), 2, "{head}");
    assert_eq!(desk.status()[0]["requests"], 1);
    serve.signal(libc::SIGTERM);
    serve.wait().assert_status(0);
}

#[test]
fn another_user_is_refused_by_the_control_socket() {
    let perl = "use IO::Socket::UNIX; print IO::Socket::UNIX->new(Peer => shift) ? 'in' : \"out: $!\"";
    let asks_as = |user: Option<&str>, socket: &PathBuf| {
        let mut command = Command::new(if user.is_some() { "setpriv" } else { "perl" });
        if let Some(user) = user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "perl"]);
        }
        let output = command.args(["-e", perl]).arg(socket).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let desk = Desk::new();
    let (serve, _) = desk.serve(&[]);
    let socket = desk.sockets()[0].clone();
    if asks_as(Some("65534"), &PathBuf::from("/nowhere")).is_none() {
        say_skipped("it takes setpriv, perl and root to be another user");
    } else {
        assert_eq!(asks_as(None, &socket).unwrap(), "in");
        // The directories above do not decide: what they refuse is refused, and what they let in is refused all the same.
        for mode in [0o700, 0o755] {
            fs::set_permissions(desk.runtime.path(), fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(asks_as(Some("65534"), &socket).unwrap(), "out: Permission denied");
        }
    }
    send(serve.pid(), libc::SIGTERM);
    serve.wait().assert_status(0);
}
