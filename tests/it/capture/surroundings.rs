//! What capturing changes for the command besides, which is nothing; where it cannot be had, and what is left to itself.

use std::{fs, io::Error, os::unix::net::UnixListener, path::Path};

use super::{ADDRESS, captured, counts, is_possible, part, program, python, run_python, server};
use crate::{
    confine::without,
    support::{Amb, ends},
};

/// How curl asks a server on this machine without a proxy.
const CURL: &str = "curl -sS --noproxy '*' http://127.0.0.1:$PORT/";

/// The processes that stay with what others have left behind.
fn keepers() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let keeps = |path: &Path| fs::read(path.join("cmdline")).is_ok_and(|words| words == b"amb\0keep-connecting\0");
    entries
        .filter(|entry| keeps(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[test]
fn this_machine_and_what_is_excepted_are_reached_directly() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    for flags in [
        &[][..],
        &["--proxy-loopback", "--no-proxy=127.0.0.0/8"],
        &["--no-capture", "--proxy-loopback"],
    ] {
        let server = server();
        let run = captured(flags).env("PORT", server.address().port().to_string());
        let outcome = run.shell(CURL).success();
        assert_eq!(outcome.stdout(), "hi", "{outcome}");
        assert_eq!(part(&outcome, "/totals/requests/total"), 0, "{outcome}");
        let captured = part(&outcome, "/run/capture/connections").as_u64();
        assert_eq!(captured, (!flags.contains(&"--no-capture")).then_some(0));
    }
    let server = server();
    let run = captured(&["--proxy-loopback"]).env("PORT", server.address().port().to_string());
    let outcome = run.shell(CURL).success();
    assert_eq!((outcome.stdout(), counts(&outcome)), ("hi", (1, 0)), "{outcome}");
}

#[test]
fn the_command_has_the_descriptors_and_threads_that_it_would_have() {
    if !is_possible() || python().is_none() {
        return;
    }
    let server = server();
    let code = "print(sorted(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task')))";
    let bare = run_python(Amb::bare(), &server, code).unwrap();
    let held = run_python(captured(&[]), &server, code).unwrap();
    assert_eq!(held.stdout(), bare.stdout());
}

#[test]
fn the_command_ends_as_it_would() {
    if !is_possible() {
        return;
    }
    captured(&[]).shell("exit 7").status(7);
    captured(&[])
        .shell("kill -TERM $$")
        .outcome()
        .assert_signal(libc::SIGTERM);
    captured(&[]).command(["/nowhere/to/be/found"]).status(127);
}

#[test]
fn together_with_confine_all_tcp_goes_through_amb() {
    if !is_possible() || amb::supervise::Confinement::possible().is_err() || program("curl", &["--version"]).is_none() {
        return;
    }
    let server = server();
    let run = captured(&["--confine=tcp"]).env("PORT", server.address().port().to_string());
    let outcome = run.shell(CURL).outcome();
    assert_eq!(outcome.stdout(), "hi", "{outcome}");
    assert_eq!(counts(&outcome), (1, 0));
    assert_eq!(part(&outcome, "/totals/requests/ok"), 1);
}

#[test]
fn who_has_no_privileges_captures_and_gives_up_those_of_setuid_programs() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    let unprivileged = || {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        for capability in rustix::thread::CapabilitySet::all().iter() {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(reason) => return Err(Error::from(reason)),
            }
        }
        Ok(())
    };
    let server = server();
    let run = captured(&["--proxy-loopback"]).before_exec(unprivileged);
    let run = run.env("PORT", server.address().port().to_string());
    let outcome = run
        .shell(&format!("grep NoNewPrivs /proc/self/status; {CURL}"))
        .outcome();
    assert_eq!(outcome.stdout(), "NoNewPrivs:\t1\nhi", "{outcome}");
    assert_eq!(counts(&outcome), (1, 0));
}

#[test]
fn within_an_amb_that_captures_that_one_does_and_the_inner_one_says_so() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    let server = server();
    let run = captured(&["--proxy-loopback"]).env("PORT", server.address().port().to_string());
    let outcome = run
        .shell(&format!("$AMB run --capture -- {CURL} 2> said; cat said >&2"))
        .outcome();
    assert_eq!(outcome.stdout(), "hi", "{outcome}");
    let note = "amb: note: an outer amb captures what this command connects to\n";
    assert!(outcome.stderr().contains(note), "{outcome}");
    assert_eq!(counts(&outcome), (1, 0));
    assert_eq!(part(&outcome, "/totals/requests/ok"), 1);
}

#[test]
fn where_it_cannot_be_had_nothing_starts_if_it_was_asked_for_and_else_it_is_told() {
    let lacking = || without(libc::SYS_seccomp, libc::EPERM);
    let outcome = Amb::run(["--capture"])
        .before_exec(lacking())
        .command(["echo", "it ran"])
        .status(125);
    outcome.assert_stdout("");
    let said = outcome.stderr();
    assert!(
        said.starts_with("amb: cannot capture what the command connects to: "),
        "{said}"
    );
    assert!(said.contains("amb: hint: Linux 5.9"), "{said}");
    let outcome = Amb::run::<&str>([])
        .env("AMB_RUN__CAPTURE", "true")
        .before_exec(lacking())
        .reporting()
        .command(["echo", "it ran"])
        .success();
    outcome.assert_stdout("it ran\n");
    assert!(
        outcome.stderr().starts_with("amb: warning: nothing is captured: "),
        "{outcome}"
    );
    assert_eq!(part(&outcome, "/warnings/0/code"), "not_captured", "{outcome}");
    assert!(part(&outcome, "/run/capture").is_null());
}

#[test]
fn a_process_that_may_not_be_looked_into_goes_around_and_is_counted() {
    if !is_possible() || !rustix::process::geteuid().is_root() {
        return;
    }
    // Without the capability amb may look only into processes that let it.
    let blind = || {
        rustix::thread::remove_capability_from_bounding_set(rustix::thread::CapabilitySet::SYS_PTRACE)?;
        Ok(())
    };
    let server = server();
    let code = "import ctypes\n\
                ctypes.CDLL(None).prctl(4, 0)\n\
                socket.create_connection(('127.0.0.1', port))\n\
                print('reached')\n";
    let run = captured(&["--proxy-loopback"]).before_exec(blind);
    let Some(outcome) = run_python(run, &server, code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "reached\n", "{outcome}");
    assert_eq!(counts(&outcome), (0, 1), "{outcome}");
    assert!(
        outcome
            .stderr()
            .contains("1 connection went around amb: amb may not look into"),
        "{outcome}"
    );
}

#[test]
fn a_socket_that_is_bound_to_a_network_card_goes_around_and_is_counted() {
    if !is_possible() || !rustix::process::geteuid().is_root() {
        return;
    }
    let server = server();
    let code = format!(
        "made = socket.socket()\n\
         made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')\n\
         made.setblocking(False)\n\
         print(made.connect_ex(('{ADDRESS}', port)))\n"
    );
    let Some(bare) = run_python(Amb::bare(), &server, &code) else {
        return;
    };
    let held = run_python(captured(&[]), &server, &code).unwrap();
    assert_eq!(held.stdout(), bare.stdout());
    assert_eq!(counts(&held), (0, 1), "{held}");
}

#[test]
fn a_process_with_a_network_of_its_own_goes_around_and_is_counted() {
    if !is_possible() || program("unshare", &["--net", "echo"]).is_none() {
        return;
    }
    let script = "exec unshare --net curl -sS --noproxy '*' http://203.0.113.5/ || true";
    let bare = Amb::bare().shell(script).outcome();
    let held = captured(&[]).shell(script).outcome();
    assert!(held.stderr().starts_with(bare.stderr()), "{bare}{held}");
    assert_eq!(counts(&held), (0, 1), "{held}");
    assert!(
        held.stderr()
            .contains("(to 203.0.113.5:80): their processes have a network of their own"),
        "{held}"
    );
}

#[test]
fn what_is_left_behind_connects_to_what_it_wants_when_amb_has_gone() {
    if !is_possible() || python().is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("socket");
    let listener = UnixListener::bind(&place).unwrap();
    let server = server();
    // It waits for the end of amb.
    let code = "import time\n\
                amb = os.getppid()\n\
                if os.fork(): sys.exit(0)\n\
                os.setsid()\n\
                if os.fork(): os._exit(0)\n\
                while os.path.exists('/proc/%d' % amb): time.sleep(0.01)\n\
                made = socket.socket(socket.AF_UNIX)\n\
                made.connect(os.environ['SOCKET'])\n\
                socket.create_connection(('127.0.0.1', port))\n\
                made.sendall(b'connected')\n\
                made.recv(1)\n";
    let run = captured(&["-q"])
        .env("SOCKET", &place)
        .stdout(std::process::Stdio::null());
    let run = run.stderr(std::process::Stdio::null());
    if run_python(run, &server, code).is_none() {
        return;
    }
    let (stream, _) = listener.accept().unwrap();
    let mut said = [0; 9];
    std::io::Read::read_exact(&mut &stream, &mut said).unwrap();
    assert_eq!(&said, b"connected");
    let keepers = keepers();
    assert!(!keepers.is_empty(), "somebody answers in amb's place");
    drop(stream);
    // Those of other tests are among them; each goes with the last process that it is there for.
    for keeper in keepers {
        assert!(ends(keeper), "process {keeper} stays");
    }
}

#[test]
fn it_is_shown_before_anything_is_done() {
    let outcome = Amb::run(["--capture", "--dry-run"]).command(["true"]).success();
    assert!(outcome.stdout().contains("\ncaptured: "), "{outcome}");
    let outcome = Amb::run(["--dry-run"]).command(["true"]).success();
    assert!(!outcome.stdout().contains("\ncaptured: "), "{outcome}");
    let outcome = Amb::run::<&str>([])
        .shell(&format!("$AMB serve --capture; echo $?; : {ADDRESS}"))
        .success();
    assert_eq!(outcome.stdout(), "125\n", "{outcome}");
}
