//! `--confine tcp`: whatever the command starts, TCP leads to amb's proxy only, whether it abides by proxy variables or not.
//!
//! Each program is run bare first, where it must reach the server, so that a refusal under amb says something.

#![expect(unsafe_code, reason = "a kernel without Landlock is made between fork and exec")]

use std::{fs, net::TcpStream, path::PathBuf, process::Command};

use amb::supervise::Confinement;

use super::support::{Amb, Child, Outcome, Peer, Upstream, say_skipped};

/// Says why, if the kernel cannot hold anything to a port.
fn is_possible() -> bool {
    match Confinement::possible() {
        Ok(()) => true,
        Err(reason) => {
            say_skipped(&reason.to_string());
            false
        }
    }
}

/// A server that answers every request with `hi`.
pub(super) fn server() -> Upstream {
    Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        while peer.until(b"\r\n\r\n").is_ok() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    })
}

/// What a program says that is started by this script, with `$PORT` of the server, and `$DIR` for its files; and how many
/// connections came.
#[track_caller]
fn run(run: Amb, script: &str, files: &[(&str, &str)]) -> (Outcome, usize) {
    let upstream = server();
    for (name, text) in files {
        fs::write(run.home().join(name), text).unwrap();
    }
    let outcome = run
        .env("PORT", upstream.address().port().to_string())
        .shell(script)
        .outcome();
    // Connections are counted in the order in which they came: when this one is answered, all before it have been.
    let mut last = Peer::new(TcpStream::connect(upstream.address()).unwrap());
    last.send("GET / HTTP/1.1\r\n\r\n").until(b"hi").unwrap();
    (outcome, upstream.connections() - 1)
}

/// Checks that `script` reaches the server bare, and nothing at all when held. It says `reached` if it does, else why not.
#[track_caller]
fn check(script: &str, files: &[(&str, &str)]) {
    if !is_possible() {
        return;
    }
    let (bare, connections) = run(Amb::bare(), script, files);
    assert_eq!((bare.stdout(), connections), ("reached\n", 1), "bare: {bare}");
    let (held, connections) = run(Amb::run(["--confine=tcp"]), script, files);
    assert_eq!(connections, 0, "{held}");
    assert!(!held.stdout().contains("reached"), "{held}");
    let said = format!("{}{}", held.stdout(), held.stderr()).to_lowercase();
    assert!(
        said.contains("permission denied") || said.contains("eacces") || said.contains("exited with 7"),
        "{held}"
    );
}

/// The path of a program, past shims that look for the real one by `HOME`; none, with a line about it, if it is not there.
pub(crate) fn program(name: &str, real: &[&str]) -> Option<PathBuf> {
    let asked = Command::new(name).args(real).output().ok();
    let found = asked.filter(|asked| asked.status.success());
    if found.is_none() {
        say_skipped(&format!("{name} is not installed"));
    }
    let path = String::from_utf8(found?.stdout).unwrap();
    Some(path.lines().next().unwrap_or(name).into())
}

#[test]
fn curl_that_is_to_go_directly_reaches_nothing() {
    if program("curl", &["--version"]).is_some() {
        check(
            "curl -sS --noproxy '*' -o out http://127.0.0.1:$PORT/ && echo reached || echo exited with $?",
            &[],
        );
    }
}

#[test]
fn a_static_program_reaches_nothing() {
    let code = "#include <arpa/inet.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <sys/socket.h>\n\
                int main(void) {\n\
                struct sockaddr_in place = { .sin_family = AF_INET, .sin_port = htons(atoi(getenv(\"PORT\"))) };\n\
                place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);\n\
                int made = socket(AF_INET, SOCK_STREAM, 0);\n\
                if (connect(made, (struct sockaddr *)&place, sizeof place)) { perror(\"connect\"); return 1; }\n\
                puts(\"reached\");\n}\n";
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("reach.c");
    fs::write(&source, code).unwrap();
    let made = directory.path().join("reach");
    let compiled = Command::new("cc")
        .arg("-static")
        .arg("-o")
        .arg(&made)
        .arg(&source)
        .output();
    if !compiled.is_ok_and(|compiled| compiled.status.success()) {
        return say_skipped("there is no C compiler with a static library here");
    }
    check(&made.display().to_string(), &[]);
}

#[test]
fn raw_sockets_of_python_reach_nothing() {
    let Some(python) = program("python3", &["-c", "import sys; print(sys.executable)"]) else {
        return;
    };
    let code =
        "import os, socket\nsocket.create_connection(('127.0.0.1', int(os.environ['PORT'])))\nprint('reached')\n";
    // By IPv6 as well, in which the same address can be written.
    let mapped = "import os, socket\nmade = socket.socket(socket.AF_INET6)\n\
                  made.connect(('::ffff:127.0.0.1', int(os.environ['PORT'])))\nprint('reached')\n";
    for code in [code, mapped] {
        check(&format!("{} reach.py", python.display()), &[("reach.py", code)]);
    }
}

#[test]
fn java_reaches_nothing() {
    let Some(java) = program("java", &["-version"]).and(program("java", &["--version"])) else {
        return;
    };
    drop(java);
    let code = "public class Reach { public static void main(String[] words) throws Exception {\n\
                new java.net.Socket(java.net.Proxy.NO_PROXY).connect(\n\
                new java.net.InetSocketAddress(\"127.0.0.1\", Integer.parseInt(System.getenv(\"PORT\"))));\n\
                System.out.println(\"reached\"); } }\n";
    check("java -Xshare:auto Reach.java", &[("Reach.java", code)]);
}

#[test]
fn node_reaches_nothing() {
    if program("node", &["--version"]).is_none() {
        return;
    }
    let code = "const made = require('net').connect(+process.env.PORT, '127.0.0.1');\n\
                made.on('connect', () => { console.log('reached'); process.exit(); });\n\
                made.on('error', error => { console.log(error.code); process.exit(1); });\n";
    check("node reach.js", &[("reach.js", code)]);
}

#[test]
fn what_the_command_leaves_behind_reaches_nothing() {
    if program("setsid", &["--version"]).is_none() || program("curl", &["--version"]).is_none() {
        return;
    }
    check(
        "setsid --fork env -i PATH=\"$PATH\" PORT=$PORT sh -c \
         'curl -sS --noproxy \"*\" -o out http://127.0.0.1:$PORT/ && echo reached > said || echo exited with $? > said; \
         mv said done'; while ! cat done 2> nothing; do sleep 0.02; done",
        &[],
    );
}

#[test]
fn requests_go_through_amb_whatever_is_excepted_from_the_proxy() {
    if !is_possible() {
        return;
    }
    let upstream = server();
    let run = Amb::run(["--confine=tcp", "--no-proxy=127.0.0.1"]).env("no_proxy", "127.0.0.1,localhost");
    let outcome = run.child(Child::get(upstream.url("/"))).reporting().success();
    assert!(outcome.stdout().starts_with("HTTP/1.1 200 "), "{outcome}");
    let report = outcome.report.as_ref().unwrap();
    assert_eq!(report["run"]["confine"], "tcp");
    assert_eq!(report["totals"]["requests"]["total"], 1);
}

#[test]
fn the_command_may_still_listen_and_be_called() {
    if !is_possible() {
        return;
    }
    let Some(python) = program("python3", &["-c", "import sys; print(sys.executable)"]) else {
        return;
    };
    let code = "import socket\nmade = socket.create_server(('127.0.0.1', 0))\nprint('port', made.getsockname()[1], flush=True)\n\
                made.accept()[0].sendall(b'hello')\n";
    let run = Amb::run(["--confine=tcp"]).command([python.as_os_str(), "-c".as_ref(), code.as_ref()]);
    let running = run.start();
    let port: u16 = running.wait_for_rest("port ").trim().parse().unwrap();
    let mut peer = Peer::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    assert_eq!(peer.rest().0, b"hello");
    running.wait().assert_status(0);
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    let (held, connections) = run(
        Amb::run(["--confine=off"]),
        "grep NoNewPrivs /proc/self/status; curl -sS --noproxy '*' -o out http://127.0.0.1:$PORT/",
        &[],
    );
    assert!(held.stdout().contains("NoNewPrivs:\t0"), "{held}");
    if program("curl", &["--version"]).is_some() {
        assert_eq!(connections, 1, "{held}");
    }
}

/// Lets a system call fail in the process and in what it starts, as on a kernel that does not have it.
pub(crate) fn without(call: libc::c_long, number: i32) -> impl FnMut() -> std::io::Result<()> + Send + Sync + 'static {
    let call = u32::try_from(call).unwrap();
    let deny = libc::SECCOMP_RET_ERRNO | number.unsigned_abs();
    move || {
        let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
            code: u16::try_from(code).unwrap_or_default(),
            jt,
            jf,
            k,
        };
        // The number of the call is what the data begin with.
        let mut steps = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, deny),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: 4,
            filter: steps.as_mut_ptr(),
        };
        rustix::thread::set_no_new_privs(true)?;
        // SAFETY: prctl(2) reads the program, which lives until it returns.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

#[test]
fn a_kernel_that_cannot_lets_nothing_start() {
    let run = |call, number| {
        Amb::run(["--confine=tcp"])
            .before_exec(without(call, number))
            .command(["echo", "it ran"])
            .status(125)
    };
    let outcome = run(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    outcome.assert_stdout("");
    let said = outcome.stderr();
    assert!(
        said.starts_with("amb: this kernel cannot hold a command to the proxy: "),
        "{said}"
    );
    assert!(said.contains("amb: hint: --confine tcp needs Linux 6.7"), "{said}");
    let outcome = run(libc::SYS_landlock_restrict_self, libc::E2BIG);
    outcome.assert_stdout("");
    let said = outcome.stderr();
    let wanted = "amb: the command cannot be held to the proxy, as --confine tcp wants it: ";
    assert!(said.starts_with(wanted), "{said}");
}

#[test]
fn who_has_no_privileges_is_held_too_and_gives_up_those_of_setuid_programs() {
    if !is_possible() {
        return;
    }
    let unprivileged = || {
        /// See capabilities(7).
        const CAP_SYS_ADMIN: libc::c_int = 21;
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        // SAFETY: prctl(2) takes a number.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_ADMIN) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    let script = "grep NoNewPrivs /proc/self/status; curl -sS --noproxy '*' -o out http://127.0.0.1:$PORT/";
    let (held, connections) = run(Amb::run(["--confine=tcp"]).before_exec(unprivileged), script, &[]);
    assert!(held.stdout().contains("NoNewPrivs:\t1"), "{held}");
    assert_eq!(connections, 0, "{held}");
    let (bare, _) = run(Amb::run(["--confine=off"]).before_exec(unprivileged), script, &[]);
    assert!(bare.stdout().contains("NoNewPrivs:\t0"), "{bare}");
}

#[test]
fn a_central_policy_can_demand_it() {
    if !is_possible() {
        return;
    }
    let run = Amb::run(["--confine=off", "--no-config"]);
    let directory = run.home().join("policy");
    fs::create_dir(&directory).unwrap();
    let policy = "[enforce]\n'run.confine' = { at-least = 'tcp' }\n";
    fs::write(directory.join("policy.toml"), policy).unwrap();
    let outcome = run
        .env("AMB_POLICY_ROOT", directory)
        .command(["true"])
        .reporting()
        .success();
    assert!(outcome.stderr().contains("run.confine: off becomes tcp"), "{outcome}");
    assert_eq!(outcome.report.as_ref().unwrap()["run"]["confine"], "tcp");
}
