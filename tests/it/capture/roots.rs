//! `--capture-roots`: who opens a bundle of roots by its path gets what is in it and amb's authority, and all else is as ever.

use std::{fs, io::Read as _, os::unix::net::UnixListener};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{captured, is_possible, part, python};
use crate::support::{Amb, Outcome, ends, say_skipped};

/// Something that looks like a certificate to those who do not look inside.
fn certificate(byte: u8) -> String {
    let der = [&[0x30, 9], [byte; 9].as_slice()].concat();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(der)
    )
}

/// A run whose directory has a bundle of roots as `lib/certifi/cacert.pem`, links to it, and files that are none.
fn rooted(run: Amb) -> Amb {
    let home = run.home().to_owned();
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let roots = certificate(1) + "# Two\n" + &certificate(2);
    write("lib/certifi/cacert.pem", &roots);
    write("link/x", "");
    std::os::unix::fs::symlink("../lib/certifi/cacert.pem", home.join("link/cacert.pem")).unwrap();
    std::os::unix::fs::symlink("lib/certifi", home.join("certs")).unwrap();
    write("elsewhere/cacert.pem", &roots);
    write("empty/certifi/cacert.pem", "nothing\n");
    write(
        "key/certifi/cacert.pem",
        &(roots.clone() + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    );
    write("etc/ssl/cert.pem", &roots);
    write("certifi", "");
    write("many/ssl/cert.pem", &(1..=20).map(certificate).collect::<String>());
    run.directory(home)
}

/// What Python code, without what a machine has it begin with, says in such a run, which knows `read(path)` and the authority's text as `authority`.
#[track_caller]
fn run_python(run: Amb, code: &str) -> Option<Outcome> {
    let before = "import os, sys\n\
                  def read(path, flags=0, **more):\n\
                  \x20 made = os.open(path, os.O_RDONLY | flags, **more)\n\
                  \x20 with open(made) as file: return file.read()\n\
                  def attempt(path, flags=0, **more):\n\
                  \x20 try: return read(path, flags, **more)\n\
                  \x20 except OSError as error: return error.errno\n\
                  authority = ''\n\
                  if 'AMB_CA_FILE' in os.environ: authority = read(os.environ['AMB_CA_FILE'])\n\
                  def kept(path): return read('elsewhere/cacert.pem') + authority == read(path)\n";
    let command = [
        python()?.into_os_string(),
        "-IS".into(),
        "-c".into(),
        format!("{before}{code}").into(),
    ];
    Some(rooted(run).command(command).outcome())
}

/// `amb run --capture-roots --intercept`.
fn rooting() -> Amb {
    captured(&["--capture-roots", "--intercept"])
}

/// Checks what code says under amb, and how many roots were opened with its authority.
#[track_caller]
fn check(code: &str, said: &str, roots: u64) {
    if !is_possible() {
        return;
    }
    let Some(outcome) = run_python(rooting(), code) else {
        return;
    };
    assert_eq!(outcome.stdout(), said, "{outcome}");
    outcome.assert_status(0);
    assert_eq!(part(&outcome, "/run/capture/roots"), roots, "{outcome}");
}

/// Checks that code says the same under amb as without, which opens no roots.
#[track_caller]
fn check_same(code: &str) {
    if !is_possible() {
        return;
    }
    let Some(bare) = run_python(Amb::bare(), code) else {
        return;
    };
    check(code, bare.stdout(), 0);
}

#[test]
fn a_program_that_reads_roots_by_their_path_gets_what_is_there_and_the_authority() {
    check(
        "print(kept('lib/certifi/cacert.pem'), authority != '')",
        "True True\n",
        1,
    );
    check("print(kept(os.getcwd() + '/lib/certifi/cacert.pem'))", "True\n", 1);
}

#[test]
fn a_program_that_reads_the_systems_roots_gets_them_all_and_the_authority() {
    let place = "/etc/ssl/certs/ca-certificates.crt";
    let Ok(roots) = fs::read_to_string(place) else {
        return say_skipped("this system has its roots elsewhere");
    };
    let said = format!("{}", roots.len());
    let code = format!("text = read('{place}')\nprint(len(text) - len(authority), text.endswith('-\\n' + authority))");
    check(&code, &format!("{said} True\n"), 1);
}

#[test]
fn relative_paths_descriptors_and_links_lead_where_they_would() {
    check(
        "os.chdir('lib/certifi')\nprint(read('cacert.pem').endswith(authority))",
        "True\n",
        1,
    );
    check(
        "place = os.open('lib/certifi', os.O_RDONLY | os.O_DIRECTORY)\n\
         print(read('cacert.pem', dir_fd=place).endswith(authority), read('../certifi/cacert.pem', dir_fd=place).endswith(authority))",
        "True True\n",
        2,
    );
    check(
        "print(kept('link/cacert.pem'), kept('certs/cacert.pem'))",
        "True True\n",
        2,
    );
    check("print(read('many/ssl/cert.pem').endswith(authority))", "True\n", 1);
}

#[test]
fn an_open_that_is_none_of_roots_is_as_ever() {
    check_same("print(read('elsewhere/cacert.pem'), read('empty/certifi/cacert.pem'), read('key/certifi/cacert.pem'))");
    // A server's own certificate may be called so.
    check_same("print(read('etc/ssl/cert.pem'))");
    check_same("print(attempt('nowhere/certifi/cacert.pem'), attempt('certifi/cacert.pem'), attempt('x' * 5000))");
    check_same(
        "print(attempt('cacert.pem', dir_fd=99), attempt('cacert.pem/'), attempt(''), attempt('lib/certifi/cacert.pem/'))",
    );
}

#[test]
fn what_is_opened_for_more_than_reading_is_what_it_was() {
    check_same(
        "path = 'lib/certifi/cacert.pem'\n\
         print([read(path, flags) for flags in (os.O_RDWR, os.O_NOFOLLOW, os.O_APPEND | os.O_RDWR)])\n\
         print([attempt(path, flags) for flags in (os.O_DIRECTORY, os.O_CREAT | os.O_EXCL)])\n\
         print(attempt('link/cacert.pem', os.O_NOFOLLOW))\n\
         open(path, 'a').write('more')\n",
    );
}

#[test]
fn a_descriptor_has_the_flags_that_were_asked_for() {
    check(
        "import ctypes, fcntl\n\
         libc = ctypes.CDLL(None)\n\
         for flags in (0, os.O_CLOEXEC, os.O_NONBLOCK):\n\
         \x20 made = libc.open(b'lib/certifi/cacert.pem', flags)\n\
         \x20 status = fcntl.fcntl(made, fcntl.F_GETFL)\n\
         \x20 print(fcntl.fcntl(made, fcntl.F_GETFD), status & os.O_NONBLOCK, status & os.O_ACCMODE, made > 2)\n",
        &format!("0 0 0 True\n1 0 0 True\n0 {} 0 True\n", libc::O_NONBLOCK),
        3,
    );
}

#[test]
fn threads_and_processes_at_once_read_each_from_the_beginning() {
    check(
        "import threading\n\
         expected = read('elsewhere/cacert.pem') + authority\n\
         wrong = []\n\
         def many():\n\
         \x20 for _ in range(50):\n\
         \x20   if read('lib/certifi/cacert.pem') != expected: wrong.append(1)\n\
         children = []\n\
         for _ in range(4):\n\
         \x20 child = os.fork()\n\
         \x20 if not child:\n\
         \x20   many()\n\
         \x20   os._exit(len(wrong))\n\
         \x20 children.append(child)\n\
         threads = [threading.Thread(target=many) for _ in range(4)]\n\
         for thread in threads: thread.start()\n\
         for thread in threads: thread.join()\n\
         print(wrong, [os.waitpid(child, 0)[1] for child in children])\n",
        "[] [0, 0, 0, 0]\n",
        400,
    );
}

#[test]
fn below_another_root_the_file_there_is_what_counts() {
    if !rustix::process::geteuid().is_root() {
        return say_skipped("only root changes its root");
    }
    check(
        "expected = read('elsewhere/cacert.pem') + authority\n\
         os.mkdir('abs'); os.symlink('/lib/certifi/cacert.pem', 'abs/cacert.pem')\n\
         os.chroot('.')\n\
         print(read('/lib/certifi/cacert.pem') == expected, read('/abs/cacert.pem') == expected)\n\
         os.chdir('/lib')\n\
         print(read('certifi/cacert.pem') == expected, attempt('/etc/ssl/certs/ca-certificates.crt'))\n",
        &format!("True True\nTrue {}\n", libc::ENOENT),
        3,
    );
}

#[test]
fn who_may_not_read_roots_may_not_under_amb() {
    if !rustix::process::geteuid().is_root() {
        return say_skipped("only root becomes somebody else");
    }
    let code = |mode: &str| {
        format!(
            "for place in ('.', '..', 'lib', 'lib/certifi'): os.chmod(place, 0o755)\n\
             {mode}\n\
             os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
             print(len(str(attempt(os.getcwd() + '/lib/certifi/cacert.pem'))))\n"
        )
    };
    check_same(&code("os.chmod('lib/certifi/cacert.pem', 0o600)"));
    check_same(&code("os.chmod('lib', 0o700)"));
}

#[test]
fn what_copies_files_copies_them_as_they_are() {
    if !is_possible() {
        return;
    }
    let outcome = rooted(rooting())
        .shell("cp lib/certifi/cacert.pem copy && cmp copy elsewhere/cacert.pem && echo same")
        .outcome();
    assert_eq!(outcome.stdout(), "same\n", "{outcome}");
}

#[test]
fn while_amb_is_stopped_roots_wait_and_are_opened_then() {
    // Who looks at amb has opened what it looks at before.
    check(
        "import signal, threading\n\
         amb = os.getppid()\n\
         state = os.open('/proc/%d/stat' % amb, os.O_RDONLY)\n\
         expected = read('elsewhere/cacert.pem') + authority\n\
         found = []\n\
         os.kill(amb, signal.SIGSTOP)\n\
         while b') T ' not in os.pread(state, 4096, 0): pass\n\
         thread = threading.Thread(target=lambda: found.append(read('lib/certifi/cacert.pem') == expected))\n\
         thread.start()\n\
         before = list(found)\n\
         os.kill(amb, signal.SIGCONT)\n\
         thread.join()\n\
         print(before, found)\n",
        "[] [True]\n",
        1,
    );
}

#[test]
fn what_is_left_behind_opens_what_it_wants_when_amb_has_gone() {
    if !is_possible() || python().is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("socket");
    let listener = UnixListener::bind(&place).unwrap();
    // It waits for the end of amb.
    let code = "import socket, time\n\
                amb = os.getppid()\n\
                if os.fork(): sys.exit(0)\n\
                os.setsid()\n\
                if os.fork(): os._exit(0)\n\
                while os.path.exists('/proc/%d' % amb): time.sleep(0.01)\n\
                same = attempt('lib/certifi/cacert.pem') == attempt('elsewhere/cacert.pem')\n\
                made = socket.socket(socket.AF_UNIX)\n\
                made.connect(os.environ['SOCKET'])\n\
                made.sendall(b'%d %d' % (same, os.getpid()))\n";
    let run = captured(&["-q", "--capture-roots", "--intercept"]).env("SOCKET", &place);
    let run = run
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    // The directory must outlast amb.
    let kept = directory.path().join("kept");
    fs::create_dir_all(kept.join("lib/certifi")).unwrap();
    fs::create_dir_all(kept.join("elsewhere")).unwrap();
    for name in ["lib/certifi/cacert.pem", "elsewhere/cacert.pem"] {
        fs::write(kept.join(name), certificate(1)).unwrap();
    }
    let code = format!("os.chdir('{}')\n{code}", kept.display());
    if run_python(run, &code).is_none() {
        return;
    }
    let (mut stream, _) = listener.accept().unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (same, process) = said.split_once(' ').unwrap();
    assert_eq!(same, "1");
    assert!(ends(process.parse().unwrap()));
}

#[test]
fn where_nothing_is_decrypted_the_flag_says_so_and_a_setting_waits() {
    let outcome = Amb::run(["--capture-roots"]).command(["echo", "it ran"]).status(125);
    outcome.assert_stdout("");
    assert!(outcome.stderr().contains("add `--intercept`"), "{outcome}");
    if !is_possible() {
        return;
    }
    for (flags, roots) in [
        (&[][..], Value::Null),
        (&["--intercept", "--no-capture-roots"], Value::Null),
        (&["--intercept"], 0.into()),
    ] {
        let run = Amb::run(flags).reporting().env("AMB_RUN__CAPTURE_ROOTS", "true");
        let outcome = run.command(["true"]).success();
        assert_eq!(part(&outcome, "/run/capture/roots"), &roots, "{flags:?}{outcome}");
    }
    let run = Amb::run(["--intercept", "--no-capture"]).reporting();
    let outcome = run.env("AMB_RUN__CAPTURE_ROOTS", "true").command(["true"]).success();
    assert_eq!(part(&outcome, "/run/capture"), &Value::Null, "{outcome}");
}

#[test]
fn a_run_without_it_asks_about_connecting_alone() {
    if !is_possible() {
        return;
    }
    let Some(outcome) = run_python(captured(&["--intercept"]), "print(kept('lib/certifi/cacert.pem'))") else {
        return;
    };
    assert_eq!(outcome.stdout(), "False\n", "{outcome}");
    assert_eq!(part(&outcome, "/run/capture/roots"), &Value::Null);
}
