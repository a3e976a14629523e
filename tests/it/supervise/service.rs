//! Under a service manager, and with other users about.

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    supervise::MODES,
    support::{Amb, Child, PATIENCE, Step, Systemd, Upstream, ends, say_skipped},
};

/// A socket as a service manager has it, below `directory`, and its name.
fn manager(directory: &Path) -> (UnixDatagram, String) {
    let path = directory.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

/// What the manager was told next.
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let count = manager.recv(&mut message).expect("a message");
    String::from_utf8_lossy(&message[..count]).into_owned()
}

#[test]
fn the_service_manager_is_told_the_status_and_the_command_can_tell_it_too() {
    let amb = Amb::run(MODES[1]);
    let (manager, name) = manager(amb.home());
    let amb = amb.env("NOTIFY_SOCKET", &*name).child(Child::new(["--env"]));
    let outcome = amb.success();
    assert!(outcome.stdout().contains(&format!("NOTIFY_SOCKET={name}")), "{outcome}");
    let status = told(&manager);
    assert!(
        status.starts_with("STATUS=child runs, with amb's proxy on 127.0.0.1:"),
        "{status}"
    );
}

#[test]
fn a_service_manager_that_is_gone_is_no_trouble() {
    for name in ["/nowhere/notify", "@nobody-listens-here", "", "relative"] {
        Amb::run(MODES[1])
            .env("NOTIFY_SOCKET", name)
            .child(Child::exit(4))
            .status(4);
    }
}

#[test]
fn what_names_the_services_process_names_the_command() {
    let script = "export LISTEN_FDS=1 LISTEN_PIDFDID=77 WATCHDOG_PID=$$ SYSTEMD_EXEC_PID=$$ LISTEN_PID=$$ ZED=1; \
         exec \"$AMB\" run -- sh -c 'echo $((LISTEN_PID == $$)) $((WATCHDOG_PID == $$)) $((SYSTEMD_EXEC_PID == $$)) \
         ${LISTEN_PIDFDID-none}'";
    Amb::bare().shell(script).success().assert_stdout("1 1 1 none\n");
}

#[test]
fn a_request_to_end_ends_the_drain() {
    let upstream = Upstream::script([vec![Step::Read, Step::Stall]]);
    let amb = Amb::run(["--drain", "300s", "--proxy-loopback"]);
    let (manager, name) = manager(amb.home());
    // The request is a leftover's, so the drain waits for it.
    let url = upstream.url("/");
    let script = format!("\"$CHILD\" --get {url} >/dev/null 2>&1 </dev/null & echo $!; read line; exit 4");
    let amb = amb.env("CHILD", Child::program()).env("NOTIFY_SOCKET", name);
    let mut running = amb.command(["sh", "-c", &script]).open_stdin().start();
    let leftover: i32 = running.wait_for_rest("").parse().unwrap();
    upstream.wait_for_requests(1);
    running.close_stdin();
    told(&manager);
    let status = told(&manager);
    assert!(status.contains("waits for its open requests"), "{status}");
    running.signal(libc::SIGTERM);
    running.wait().assert_status(4);
    assert!(ends(leftover));
    upstream.release();
}

#[test]
fn a_child_that_amb_may_not_signal_is_waited_for() {
    if !rustix::process::geteuid().is_root() {
        return say_skipped("only root can make a setuid program");
    }
    let amb = Amb::bare();
    let home = amb.home().to_owned();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let (program, child) = (home.join("amb"), home.join("child"));
    // By another process: what another test starts meanwhile would inherit the open file, and nobody can execute that.
    for (from, to) in [
        (Path::new(env!("CARGO_BIN_EXE_amb")).to_owned(), &program),
        (Child::program(), &child),
    ] {
        assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
    }
    fs::set_permissions(&child, fs::Permissions::from_mode(0o4755)).unwrap();
    let words: [std::ffi::OsString; 11] = [
        program.into(),
        "run".into(),
        "--log-level".into(),
        "debug".into(),
        "--".into(),
        child.into(),
        "--become-root".into(),
        "--ready".into(),
        "--wait".into(),
        "--exit".into(),
        "9".into(),
    ];
    let mut running = amb
        .command(words)
        .open_stdin()
        .before_exec(|| {
            let nobody = 65534;
            rustix::thread::set_thread_res_gid(
                rustix::process::Gid::from_raw(nobody),
                rustix::process::Gid::from_raw(nobody),
                rustix::process::Gid::from_raw(nobody),
            )?;
            let user = rustix::process::Uid::from_raw(nobody);
            Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
        })
        .start();
    running.wait_for_line("ready");
    running.signal(libc::SIGTERM).wait_for_stderr("not sent");
    assert!(running.is_running());
    running.close_stdin();
    running.wait().assert_status(9);
}

#[test]
fn systemd_takes_an_end_by_sigterm_for_a_clean_one() {
    let systemd = match Systemd::boot() {
        Ok(systemd) => systemd,
        Err(reason) => return say_skipped(&format!("no systemd can be had: {reason}")),
    };
    // Bare, then wrapped: what the manager says of the unit is to be the same.
    let wrapped = [env!("CARGO_BIN_EXE_amb"), "run", "--"];
    for (unit, wrapper) in [("bare", &wrapped[..0]), ("wrapped", &wrapped[..])] {
        let mut service = systemd
            .command("systemd-run")
            .args(["--quiet", "--wait", "--pipe", "-p", "KillMode=mixed", "--unit", unit])
            .args(wrapper)
            .arg(Child::program())
            .args(["--ready", "--wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        service.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n", "{unit}");
        let stopped = systemd.command("systemctl").args(["stop", unit]).status().unwrap();
        assert!(stopped.success(), "{unit}");
        assert!(service.wait().unwrap().success(), "{unit}");
    }
}
