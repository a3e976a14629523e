//! `amb shell`, at a terminal as a person has one.

use crate::support::{Amb, Terminal, Upstream, ok, say_skipped};

/// Whether a shell is installed.
fn is_there(shell: &str) -> bool {
    let found = std::process::Command::new(shell).args(["-c", "exit"]).output().is_ok();
    if !found {
        say_skipped(&format!("there is no {shell}"));
    }
    found
}

/// A terminal in which `amb shell` was typed, with these flags.
fn opened(flags: &str) -> Terminal {
    let mut terminal = Terminal::bash();
    terminal.type_text(&format!("{flags}\n"));
    terminal.wait_for("amb: shell ");
    terminal
}

#[test]
fn a_shell_says_what_is_on_and_what_came_of_it() {
    let upstream = Upstream::script([ok("hello")]);
    let mut terminal = opened("SHELL=/bin/sh $AMB shell --name dev --proxy-loopback --allow 127.0.0.1");
    terminal
        .wait_for("dev, proxy http://127.0.0.1:")
        .wait_for(", egress audit; exit to see the summary");
    terminal.type_text("echo \"name $AMB_NAME\" run ${AMB_RUN_ID:+known}\n");
    terminal.wait_for("name dev run known");
    terminal.type_text(&format!("$CHILD --get {}\n", upstream.url("/")));
    terminal.wait_for("hello");
    terminal.type_text("exit 7\n");
    // All of it, though nothing failed.
    terminal
        .wait_for("dev ran")
        .wait_for("exit 7")
        .wait_for("1 request to 1 host");
    terminal.wait_for("HOST").wait_for("127.0.0.1:").wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 7");
    upstream.join();
}

/// Job control in a shell under amb, whose prompt is `inner> `, which calls a job that is stopped `stopped`, and ends its
/// first by `kill`.
fn controls_jobs(command: &str, stopped: &str, kill: &str) {
    let mut terminal = opened(command);
    terminal.wait_for("inner> ");
    // Ctrl-C ends what runs in it, and neither it nor amb.
    terminal
        .type_text("$CHILD --ready --wait\n")
        .wait_for("ready\r\n")
        .type_text("\x03");
    terminal.wait_for("inner> ");
    // Ctrl-Z stops it, and fg goes on with it.
    terminal
        .type_text("$CHILD --count CONT\n")
        .wait_for("ready\r\n")
        .type_text("\x1a");
    terminal
        .wait_for("inner> ")
        .type_text("jobs\n")
        .wait_for(stopped)
        .wait_for("inner> ");
    terminal
        .type_text("fg\n")
        .wait_for("got CONT")
        .type_text("\x04")
        .wait_for("CONT=1");
    terminal.wait_for("inner> ");
    // In the background it goes on.
    terminal.type_text("sleep 1000 &\n").wait_for("inner> ");
    terminal
        .type_text(&format!("{kill}; wait; echo all ov''er\n"))
        .wait_for("all over")
        .wait_for("inner> ");
    terminal.type_text("exit\n").wait_for("exit 0").wait_for("prompt> ");
    terminal.type_text("echo status $?\n").wait_for("status 0");
}

#[test]
fn bash_controls_its_jobs() {
    controls_jobs(
        "PS1='inner> ' $AMB shell -- bash --norc --noprofile --noediting -i",
        "Stopped",
        "kill %1",
    );
}

#[test]
fn zsh_controls_its_jobs() {
    if is_there("zsh") {
        controls_jobs("PS1='inner> ' $AMB shell -- zsh -f -i +Z", "suspended", "kill %1");
    }
}

#[test]
fn fish_controls_its_jobs() {
    if is_there("fish") {
        let greeting = "set -g fish_greeting; function fish_prompt; echo \"inner> \"; end";
        controls_jobs(
            &format!("$AMB shell -- fish --no-config --init-command '{greeting}' -i"),
            "stopped",
            "kill (jobs -p)",
        );
    }
}

#[test]
fn a_shell_in_a_run_goes_through_both_and_a_quiet_one_says_nothing() {
    let upstream = Upstream::script([ok("hello")]);
    let url = upstream.url("/");
    let shell = format!("\"$AMB\" shell -q --proxy-loopback -- sh -c '\"$CHILD\" --get {url}'");
    let outcome = Amb::run(["--proxy-loopback", "-q"]).shell(&shell).success();
    outcome.assert_stdout("HTTP/1.1 200 OK\nhello");
    assert_eq!(outcome.stderr(), "");
    let head = upstream.join()[0].head().to_owned();
    assert_eq!(head.matches("\r\nVia: 1.1 amb-").count(), 2, "{head}");
}

#[test]
fn the_shell_is_found_and_interactive() {
    let stub = "#!/bin/sh\necho \"shell $0 $*\"\n";
    let amb = Amb::bare();
    let path = amb.home().join("mine");
    std::fs::write(&path, stub).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let outcome = amb
        .env("SHELL", &path)
        .command([env!("CARGO_BIN_EXE_amb"), "shell", "-q"])
        .success();
    outcome.assert_stdout(&format!("shell {} -i\n", path.display()));
    Amb::bare()
        .command([
            env!("CARGO_BIN_EXE_amb"),
            "shell",
            "-q",
            "--",
            "echo",
            "-i",
            "as it stands",
        ])
        .success()
        .assert_stdout("-i as it stands\n");
    let outcome = Amb::bare()
        .command([env!("CARGO_BIN_EXE_amb"), "shell", "--retries"])
        .outcome();
    outcome.assert_status(125);
}
