//! The bare command, the wrappers that people know, and amb side by side: in every row amb is as the bare command.
//!
//! `cargo test --test it -- --nocapture side_by_side` shows the table. A peer that is not installed is left out.

use std::{
    ffi::OsString,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};

use crate::support::{Amb, Child, PATIENCE, Terminal, ends, ends_within, say_skipped, send};

/// How long a peer may take for what it perhaps never does.
const PEERS_PATIENCE: Duration = Duration::from_secs(1);
/// How long nothing more may come for a count to be final.
const QUIET: Duration = Duration::from_millis(50);

/// Something to put before a command.
struct Wrapper {
    /// What it is called in the table.
    name: &'static str,
    /// Its words; none for the bare command.
    words: Vec<OsString>,
    /// How long it may take.
    patience: Duration,
}

impl Wrapper {
    /// All that are there: the bare command first, amb last.
    fn all() -> Vec<Self> {
        let ours = |name, words: &[&str]| Self {
            name,
            words: words.iter().map(Into::into).collect(),
            patience: PATIENCE,
        };
        let mut all = vec![ours("bare", &[])];
        for (name, words) in [
            ("tini", &["tini", "--"][..]),
            ("dumb-init", &["dumb-init", "--"]),
            ("catatonit", &["catatonit", "--"]),
            ("timeout", &["timeout", "60"]),
        ] {
            if Command::new(name).arg("--version").output().is_err() {
                say_skipped(&format!("{name} is not installed and not compared with"));
                continue;
            }
            all.push(Self {
                patience: PEERS_PATIENCE,
                ..ours(name, words)
            });
        }
        all.push(ours("amb", &[env!("CARGO_BIN_EXE_amb"), "run", "--"]));
        all
    }

    /// A run of this command under it.
    fn command<T: Into<OsString>>(&self, command: impl IntoIterator<Item = T>) -> Amb {
        let words = self.words.iter().cloned();
        Amb::bare().command(words.chain(command.into_iter().map(Into::into)))
    }

    /// A run of the test program under it.
    fn child(&self, child: Child) -> Amb {
        self.command(child.command())
    }

    /// How this command ends under it.
    fn end<T: Into<OsString>>(&self, command: impl IntoIterator<Item = T>) -> String {
        end(self.command(command).outcome().status)
    }

    /// A terminal with an interactive shell in which `$W` is this.
    fn shell(&self) -> Terminal {
        let mut terminal = Terminal::bash();
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        let set = format!("W='{}'\n", words.join(" "));
        terminal.type_text(&set).wait_for("prompt> ");
        terminal
    }

    /// The test program as the only job in a terminal, and `then` what is typed and done; the sums that it tells at the end.
    fn at_terminal(&self, child: Child, first: &str, then: impl Fn(&mut Terminal)) -> String {
        let mut words = self.words.clone();
        words.extend(child.command());
        let mut terminal = Terminal::run(&words);
        if !terminal.comes("ready\r\n", self.patience) {
            return "nothing".to_owned();
        }
        then(&mut terminal);
        terminal.comes(first, self.patience);
        quiet();
        terminal.type_text("\x04");
        terminal.comes("=", self.patience);
        terminal.comes("\n", self.patience);
        sums(&terminal.screen())
    }

    /// What the counting test program has got of `signals`, sent to the wrapper one at a time.
    fn counted(&self, signals: &[(&str, i32, usize)], group: bool) -> String {
        let names: Vec<&str> = signals.iter().map(|(name, ..)| *name).collect();
        let mut running = self.child(Child::count(&names.join(","))).open_stdin().start();
        running.wait_for_line("ready");
        for (name, number, times) in signals {
            for time in 1..=*times {
                send(if group { -running.pid() } else { running.pid() }, *number);
                // In a burst they would melt into one, except for real-time signals.
                if *number < 34 || time == *times {
                    running.comes(&format!("got {name}"), time, self.patience);
                }
            }
        }
        quiet();
        running.close_stdin();
        sums(running.wait().stdout())
    }
}

/// Lets pass the time in which a second copy would come.
fn quiet() {
    rustix::event::poll(&mut [], Some(&QUIET.try_into().unwrap())).unwrap();
}

/// The sums that the test program tells.
fn sums(text: &str) -> String {
    let sums: Vec<&str> = text.lines().map(str::trim).filter(|line| line.contains('=')).collect();
    sums.join(" ")
}

/// A status in words.
fn end(status: ExitStatus) -> String {
    status.signal().map_or_else(
        || format!("exit {}", status.code().unwrap()),
        |it| format!("signal {it}"),
    )
}

/// Writes a file.
fn file(path: &Path, content: &str, mode: u32) -> OsString {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.into()
}

/// What is seen of a wrapper in a row of the table.
type Look = fn(&Wrapper) -> String;

/// The rows: what is looked at, and how.
const ROWS: &[(&str, Look)] = &[
    ("exits with 7", |it| it.end(Child::exit(7).command())),
    ("exits with 255", |it| it.end(Child::exit(255).command())),
    ("ends by SIGTERM", |it| it.end(Child::die("15").command())),
    ("ends by SIGKILL", |it| it.end(Child::die("9").command())),
    ("ends by SIGSEGV", |it| it.end(Child::die("11").command())),
    ("ends by SIGPIPE", |it| it.end(Child::die("13").command())),
    ("SIGTERM, trapped: 5", |it| {
        let running = it
            .child(Child::new(["--trap", "TERM:5", "--ready", "--wait"]))
            .open_stdin()
            .start();
        running.wait_for_line("ready").signal(libc::SIGTERM);
        ends(running.pid());
        end(running.wait().status)
    }),
    ("is not found", |it| match it.name {
        // As a shell says it, which has no wrapper to ask.
        "bare" => end(Amb::bare().shell("nosuchcommand").outcome().status),
        _ => it.end(["nosuchcommand"]),
    }),
    ("is a directory", |it| match it.name {
        "bare" => end(Amb::bare().shell("/").outcome().status),
        _ => it.end(["/"]),
    }),
    ("has no interpreter", |it| {
        let directory = tempfile::tempdir().unwrap();
        let script = file(&directory.path().join("script"), "#!/nonexistent\n", 0o755);
        match it.name {
            "bare" => end(Amb::bare().env("S", script).shell("\"$S\"").outcome().status),
            _ => it.end([script]),
        }
    }),
    ("a script without #!", |it| {
        let directory = tempfile::tempdir().unwrap();
        let script = file(&directory.path().join("script"), "exit 6\n", 0o755);
        match it.name {
            "bare" => end(Amb::bare().env("S", script).shell("\"$S\"").outcome().status),
            _ => it.end([script]),
        }
    }),
    ("gets each signal once", |it| {
        let signals = [
            ("HUP", 1),
            ("INT", 2),
            ("QUIT", 3),
            ("USR1", 10),
            ("USR2", 12),
            ("ALRM", 14),
            ("TERM", 15),
        ];
        it.counted(&signals.map(|(name, number)| (name, number, 1)), false)
    }),
    ("gets WINCH, IO, PWR once", |it| {
        it.counted(&[("WINCH", 28, 1), ("IO", 29, 1), ("PWR", 30, 1)], false)
    }),
    ("gets each of two SIGTERM", |it| it.counted(&[("TERM", 15, 2)], false)),
    ("gets 100 SIGRTMIN", |it| it.counted(&[("34", 34, 100)], false)),
    ("SIGINT to the group", |it| it.counted(&[("INT", 2, 1)], true)),
    ("its own kill(0)", |it| {
        let child = Child::new(["--count", "USR1", "--kill0", "USR1", "--count", "USR1"]);
        // The first count ends with the empty stdin. The last line is the sum.
        sums(it.child(child).outcome().stdout().lines().last().unwrap_or_default())
    }),
    ("its leftover", |it| {
        let outcome = it.child(Child::new(["--fork-leftover", "60", "--exit", "0"])).outcome();
        let id = outcome.stdout().trim().strip_prefix("left ").unwrap().parse().unwrap();
        if ends_within(id, Duration::from_millis(300)) {
            return "is killed".to_owned();
        }
        send(id, libc::SIGKILL);
        "is left alone".to_owned()
    }),
    ("when that one is killed", |it| {
        let running = it
            .child(Child::new(["--pid", "--ready", "--wait"]))
            .open_stdin()
            .start();
        let id = running.wait_for_line("ready").wait_for_rest("").parse().unwrap();
        running.signal(libc::SIGKILL);
        let gone = ends_within(id, it.patience);
        (if gone { "ends" } else { "lives on" }).to_owned()
    }),
    ("ignored and blocked signals", |it| {
        let state = ["sh", "-c", "sed -n 's/^Sig[BI]..:.//p' /proc/self/status"];
        let text = "trap '' HUP USR2 PIPE; exec \"$@\"";
        let mut words: Vec<OsString> = ["sh", "-c", text, "sh"].map(Into::into).to_vec();
        words.extend(it.words.iter().cloned());
        words.extend(state.map(Into::into));
        Amb::bare().command(words).outcome().stdout().replace('\n', " ")
    }),
    ("open files", |it| {
        let text = "exec 7</dev/zero 9>/dev/null; exec \"$@\"";
        let mut words: Vec<OsString> = ["sh", "-c", text, "sh"].map(Into::into).to_vec();
        words.extend(it.words.iter().cloned());
        words.extend(Child::new(["--fds"]).command());
        let outcome = Amb::bare().command(words).outcome();
        let files = outcome.stdout().lines().filter_map(|line| line.split(" -> ").next());
        files.collect::<Vec<_>>().join(" ")
    }),
    ("LISTEN_PID", |it| {
        let text = "export LISTEN_PID=$$; exec \"$@\"";
        let mut words: Vec<OsString> = ["sh", "-c", text, "sh"].map(Into::into).to_vec();
        words.extend(it.words.iter().cloned());
        words.extend(["sh", "-c", "test $LISTEN_PID = $$ && echo is right || echo is wrong"].map(Into::into));
        Amb::bare().command(words).outcome().stdout().trim().to_owned()
    }),
    ("a stderr that is full", |it| {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        end(it.child(Child::exit(3)).stderr(full).outcome().status)
    }),
    ("Ctrl-C", |it| {
        it.at_terminal(Child::count("INT"), "got INT", |it| {
            it.type_text("\x03");
        })
    }),
    ("Ctrl-\\", |it| {
        it.at_terminal(Child::count("QUIT"), "got QUIT", |it| {
            it.type_text("\x1c");
        })
    }),
    ("a new window size", |it| {
        it.at_terminal(Child::count("WINCH"), "got WINCH", |it| {
            it.resize(99, 9);
        })
    }),
    ("SIGINT from elsewhere", |it| {
        it.at_terminal(Child::count("INT"), "got INT", |terminal| {
            send(terminal.pid(), libc::SIGINT);
        })
    }),
    ("reads the terminal", |it| {
        let mut terminal = it.shell();
        terminal.type_text("$W $CHILD --ready --read-tty; echo d''one\n");
        let ready = terminal.comes("ready\r\n", it.patience);
        terminal.type_text("secret\n");
        let read = ready && terminal.comes("read secret", it.patience);
        (if read { "yes" } else { "no" }).to_owned()
    }),
    ("Ctrl-Z", |it| {
        let mut terminal = it.shell();
        terminal.type_text("$W $CHILD --ready --wait\n");
        terminal.comes("ready\r\n", it.patience);
        terminal.type_text("\x1a");
        let stopped = terminal.comes("Stopped", it.patience) && terminal.comes("prompt> ", it.patience);
        (if stopped { "prompt comes back" } else { "hangs" }).to_owned()
    }),
    ("stops by itself", |it| {
        let mut terminal = it.shell();
        terminal.type_text("$W $CHILD --raise STOP --say back\n");
        let stopped = terminal.comes("Stopped", it.patience) && terminal.comes("prompt> ", it.patience);
        if !stopped {
            return "hangs".to_owned();
        }
        terminal.type_text("fg\n");
        let back = terminal.comes("\nback\r", it.patience);
        (if back { "prompt, then fg" } else { "prompt, no fg" }).to_owned()
    }),
    ("& and fg", |it| {
        let mut terminal = it.shell();
        terminal.type_text("$W cat &\n").wait_for("prompt> ");
        terminal
            .type_text("while ! jobs | grep -q Stopped && test $((++i)) -lt 100; do sleep 0.02; done; echo look''ed\n");
        terminal.comes("looked\r\n", PATIENCE);
        terminal.type_text("fg\n");
        terminal.comes("cat\r\n", it.patience);
        terminal.type_text("line\n");
        let works = terminal.comes("line\r\n", it.patience) && terminal.comes("line\r\n", it.patience);
        (if works { "works" } else { "does not work" }).to_owned()
    }),
    ("its sibling in a pipeline", |it| {
        let mut terminal = it.shell();
        terminal.type_text("$W sleep 1 | $CHILD --ready --read-tty; echo d''one\n");
        terminal.comes("ready\r\n", it.patience);
        terminal.type_text("secret\n");
        let read = terminal.comes("read secret", it.patience);
        (if read { "reads the terminal" } else { "is stopped" }).to_owned()
    }),
    ("Ctrl-C in a script's loop", |it| {
        let mut terminal = it.shell();
        let words: Vec<_> = it.words.iter().map(|word| word.to_string_lossy()).collect();
        let script = "for i in 1 2; do $W $CHILD --say runn\"\"ing --wait; echo af\"\"ter; done";
        terminal.type_text(&format!("bash -c '{}'\n", script.replace("$W", &words.join(" "))));
        terminal.comes("running\r\n", it.patience);
        terminal.type_text("\x03");
        let ended = terminal.comes("prompt> ", it.patience) && !terminal.screen().contains("after\r\n");
        (if ended { "it ends" } else { "it goes on" }).to_owned()
    }),
    ("a shell's job control", |it| {
        let mut terminal = it.shell();
        terminal.type_text("PS1=inner'> ' $W bash --norc --noprofile --noediting -i\n");
        terminal.comes("inner> ", it.patience);
        terminal.type_text("$CHILD --ready --wait\n");
        terminal.comes("ready\r\n", it.patience);
        terminal.type_text("\x1a");
        let stopped = terminal.comes("Stopped", it.patience) && terminal.comes("inner> ", it.patience);
        let complains = terminal.screen().contains("no job control");
        terminal.type_text("kill %1; exit\n");
        (if stopped && !complains {
            "works"
        } else {
            "does not work"
        })
        .to_owned()
    }),
];

#[test]
fn side_by_side_with_its_peers_amb_alone_is_as_the_bare_command_everywhere() {
    let wrappers = Wrapper::all();
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (row, look) in ROWS {
        let seen: Vec<String> = thread::scope(|scope| {
            let looking: Vec<_> = wrappers.iter().map(|it| scope.spawn(move || look(it))).collect();
            looking.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let mut lines = format!("{row}: {}\n", seen[0]);
        for (wrapper, seen_here) in wrappers.iter().zip(&seen).skip(1) {
            let mark = if *seen_here == seen[0] { "as bare" } else { seen_here };
            lines.extend([&format!("    {:10} ", wrapper.name), mark, "\n"]);
        }
        ::amb::supervise::write_stderr(&lines);
        table.push_str(&lines);
        if seen.last() != seen.first() {
            wrong.push(*row);
        }
    }
    assert!(
        wrong.is_empty(),
        "amb differs from the bare command: {wrong:?}\n{table}"
    );
}
