//! What the child inherits is what it would have inherited without amb.

#![expect(
    unsafe_code,
    reason = "a test of what is inherited has to set it between fork and exec"
)]

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    process::Stdio,
    ptr,
};

use crate::{
    supervise::MODES,
    support::{Amb, Child, Outcome},
};

/// Runs a program bare and in both modes with the same preparation; all write the same to stdout.
#[track_caller]
fn check_same(prepare: impl Fn(Amb) -> Amb) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let run = |amb: Amb| prepare(amb).directory(directory.path()).outcome();
    let bare = run(Amb::bare());
    for flags in MODES {
        let wrapped = run(Amb::run(flags));
        assert_eq!(wrapped.stdout(), bare.stdout(), "{flags:?}");
        assert_eq!(wrapped.status, bare.status, "{flags:?}");
    }
    bare
}

/// Prints its signal state; not the test program, because Rust's runtime changes it.
const SIGNAL_STATE: [&str; 4] = ["sed", "-n", "/^Sig[BIC]/p", "/proc/self/status"];

/// Resets all signals, whatever the tests are started from.
fn reset() {
    for signal in 1..=64 {
        // SAFETY: signal(2) is async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // glibc keeps the two that it uses itself, so the kernel is asked.
    let default = [0_u64; 4];
    for signal in [32, 33] {
        // SAFETY: the kernel's sigaction is four words here, of which all zeroes are SIG_DFL.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), 8) };
    }
}

/// Ignores these signals.
fn ignore(signals: &[i32]) {
    for signal in signals {
        // SAFETY: signal(2) is async-signal-safe.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Blocks these signals.
fn block(signals: &[i32]) {
    // SAFETY: all of these are async-signal-safe, and the set is initialised before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
    }
}

#[test]
fn a_clean_parent_makes_a_clean_child() {
    let bare = check_same(|amb| {
        amb.command(SIGNAL_STATE).before_exec(|| {
            reset();
            Ok(())
        })
    });
    bare.assert_stdout("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
}

#[test]
fn ignored_and_blocked_signals_stay_so() {
    let bare = check_same(|amb| {
        amb.command(SIGNAL_STATE).before_exec(|| {
            reset();
            ignore(&[1, 2, 12, 22, 25, libc::SIGPIPE, libc::SIGCHLD, 40]);
            block(&[15, 28, 17, 41]);
            Ok(())
        })
    });
    bare.assert_stdout("SigBlk:\t0000010008014000\nSigIgn:\t0000008001211803\nSigCgt:\t0000000000000000\n");
}

#[test]
fn limits_and_the_like_are_the_same() {
    check_same(|amb| {
        amb.child(Child::new(["--print-status"])).before_exec(|| {
            // SAFETY: umask(2) and nice(2) take integers.
            unsafe {
                libc::umask(0o137);
                libc::nice(3);
            }
            let limit = rustix::process::Rlimit {
                current: Some(777),
                maximum: Some(888),
            };
            Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
        })
    });
}

#[test]
fn open_files_are_the_same() {
    let bare = check_same(|amb| {
        let null = || File::open("/dev/null").unwrap();
        // Stdout is the pipe that the test reads, and so another one in each run.
        let print = "exec \"$CHILD\" --fds | grep -v '^1 -> '";
        amb.env("CHILD", Child::program())
            .command(["sh", "-c", print])
            .stderr(null())
            .before_exec(|| {
                for number in [3, 7, 9] {
                    let zero = rustix::fs::open("/dev/zero", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
                    // SAFETY: dup2(2) takes integers, and the descriptor opened is closed only if it is another one.
                    if unsafe { libc::dup2(zero.as_raw_fd(), number) } < 0 {
                        return Err(io::Error::last_os_error());
                    }
                    if zero.as_raw_fd() == number {
                        std::mem::forget(zero);
                    }
                }
                Ok(())
            })
    });
    assert!(bare.stdout().contains("7 -> /dev/zero"), "{bare}");
}

#[test]
fn the_environment_keeps_its_order_and_gains_only_documented_names() {
    let run = |amb: Amb| {
        amb.env("ZED", "1")
            .env("ABLE", "2")
            .env("HOME", "/nowhere")
            .child(Child::new(["--env"]))
            .success()
    };
    let bare = run(Amb::bare());
    let wrapped = run(Amb::run(MODES[0]));
    let known: Vec<&str> = wrapped
        .stdout()
        .lines()
        .filter(|line| bare.stdout().lines().any(|it| it == *line))
        .collect();
    assert_eq!(known, bare.stdout().lines().collect::<Vec<_>>());
}

#[test]
fn nohup_survives_the_hangup() {
    let mut running = Amb::bare()
        .shell("exec nohup \"$AMB\" run -- \"$CHILD\" --count USR1 2>&1")
        .open_stdin()
        .start();
    running.wait_for_line("ready").signal(libc::SIGHUP);
    running.signal(libc::SIGUSR1).wait_for_line("got USR1");
    running.close_stdin();
    running.wait().assert_status(0);
}

#[test]
fn an_ignored_sigchld_does_not_lose_the_status() {
    for flags in MODES {
        let prepared = Amb::run(flags).before_exec(|| {
            ignore(&[libc::SIGCHLD]);
            Ok(())
        });
        prepared.child(Child::exit(6)).status(6);
    }
}

#[test]
fn a_blocked_sigchld_does_not_hang_amb() {
    for flags in MODES {
        let prepared = Amb::run(flags).before_exec(|| {
            block(&[libc::SIGCHLD]);
            Ok(())
        });
        prepared.child(Child::exit(6)).status(6);
    }
}

#[test]
fn a_child_that_amb_did_not_start_does_not_confuse_it() {
    let outcome = Amb::bare().shell("sh -c 'exit 3' & exec \"$AMB\" run -- \"$CHILD\" --wait --exit 4");
    outcome.status(4);
}

#[test]
fn socket_activation_names_the_child() {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$AMB\" run -- sh -c 'test $LISTEN_PID = $$ && echo same'";
    Amb::bare().shell(script).success().assert_stdout("same\n");
    let other = "export LISTEN_PID=1; exec \"$AMB\" run -- sh -c 'echo $LISTEN_PID'";
    Amb::bare().shell(other).success().assert_stdout("1\n");
}

#[test]
fn an_alarm_set_before_reaches_the_child() {
    for flags in MODES {
        let amb = Amb::run(flags).open_stdin().before_exec(|| {
            // SAFETY: alarm(2) takes an integer.
            unsafe { libc::alarm(1) };
            Ok(())
        });
        let mut running = amb.child(Child::count("ALRM")).start();
        running.wait_for_line("ready").wait_for_line("got ALRM");
        running.close_stdin();
        running.wait().assert_status(0);
    }
}

#[test]
fn a_broken_pipe_ends_the_child_as_without_amb() {
    let script = "{ \"$AMB\" run -- yes; echo $? >&2; } | head -n 1";
    let outcome = Amb::bare().shell(script).success();
    outcome.assert_stdout("y\n");
    assert!(outcome.stderr().lines().any(|line| line == "141"), "{outcome}");
}

#[test]
fn much_data_passes_unharmed() {
    /// What goes through.
    const BYTES: u64 = 200_000_000;
    let script = format!(
        "head -c {BYTES} /dev/zero | tr '\\0' 'x' | \"$AMB\" run -- cat | {{ tr -d 'x' | wc -c; }}; \
         head -c {BYTES} /dev/zero | \"$AMB\" run -- cat | wc -c"
    );
    let outcome = Amb::bare().shell(&script).success();
    let numbers: Vec<&str> = outcome.stdout().split_whitespace().collect();
    assert_eq!(numbers, ["0", &BYTES.to_string()]);
}

#[test]
fn closed_standard_streams_do_no_harm() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        Amb::bare()
            .shell(&format!("exec \"$AMB\" run -- sh -c 'exit 4' {closed}"))
            .status(4);
    }
}

#[test]
fn the_child_finds_closed_the_standard_streams_that_are() {
    let script = "for stream in 0 1 2; do test -e /proc/self/fd/$stream || echo $stream >&9; done";
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let bare = format!("exec 9>&1; sh -c '{script}' {closed}");
        let wrapped = format!("exec 9>&1; \"$AMB\" run -- sh -c '{script}' {closed}");
        let bare = Amb::bare().shell(&bare).success();
        assert_eq!(
            Amb::bare().shell(&wrapped).success().stdout(),
            bare.stdout(),
            "{closed}"
        );
        assert_ne!(bare.stdout(), "", "{closed}");
    }
}

/// The other end of a pipe that nobody reads.
fn unread_pipe() -> (OwnedFd, Stdio) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    (read, write.into())
}

#[test]
fn a_stderr_that_fails_does_not_change_the_status() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    Amb::run(MODES[1]).stderr(full()).child(Child::exit(3)).status(3);
    let (read, write) = unread_pipe();
    drop(read);
    Amb::run(MODES[1]).stderr(write).child(Child::exit(3)).status(3);
}

#[test]
fn amb_stuck_in_a_full_stderr_dies_of_the_second_request() {
    let (read, write) = unread_pipe();
    let filler = "dd if=/dev/zero bs=4096 count=16 >&2 2>/dev/null; echo filled; exec \"$CHILD\" --exit 0";
    // Fills the pipe to the last byte, so that amb's own line has no room.
    let script = format!("exec \"$AMB\" run -- sh -c '{filler}'").replace("2>/dev/null", "status=none");
    let running = Amb::bare().shell(&script).stderr(write).start();
    running.wait_for_line("filled");
    // The child is gone when amb has no child any more.
    while std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).is_ok_and(|it| !it.is_empty())
    {
        std::thread::yield_now();
    }
    running.signal(libc::SIGTERM);
    // Until amb ends: what comes before it listens for the end is taken for the child's.
    let pid = running.pid();
    for _ in 0..200 {
        if std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| it.contains(") Z ")) {
            break;
        }
        running.signal(libc::SIGTERM);
        let moment = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        rustix::event::poll(&mut [], Some(&moment)).unwrap();
    }
    running.wait().assert_signal(15);
    drop(read);
}
