//! Runs something under amb, or bare to compare.

#![expect(
    unsafe_code,
    reason = "a test of what is inherited has to set it between fork and exec"
)]

use std::{
    env,
    ffi::OsString,
    fmt, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Child, Outcome, Running, running::reset_interrupts};

/// A run to be made.
pub(crate) struct Amb {
    /// Flags of `amb run`; `None` to run the command bare.
    flags: Option<Vec<OsString>>,
    /// The command under amb.
    command: Vec<OsString>,
    /// Changes to the environment; `None` removes.
    environment: Vec<(OsString, Option<OsString>)>,
    /// What is on stdin; `None` for a pipe that stays open.
    stdin: Option<Stdio>,
    /// Stdout and stderr, if they are not to be caught.
    outputs: [Option<Stdio>; 2],
    /// A directory of its own: home and working directory.
    home: tempfile::TempDir,
    /// The working directory, if it is another one.
    directory: Option<PathBuf>,
    /// What happens in the process before it becomes amb.
    setup: Vec<Box<dyn FnMut() -> io::Result<()> + Send + Sync>>,
    /// Where the JSON report goes.
    report: Option<PathBuf>,
}

impl fmt::Debug for Amb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.flags, self.command)
    }
}

impl Amb {
    /// `amb run` with these flags.
    pub(crate) fn run<T: Into<OsString>>(flags: impl IntoIterator<Item = T>) -> Self {
        let mut run = Self::bare();
        run.flags = Some(flags.into_iter().map(Into::into).collect());
        run
    }

    /// The command without amb: the oracle.
    pub(crate) fn bare() -> Self {
        Self {
            flags: None,
            command: Vec::new(),
            environment: Vec::new(),
            stdin: Some(Stdio::null()),
            outputs: [None, None],
            home: tempfile::tempdir().expect("a directory"),
            directory: None,
            setup: Vec::new(),
            report: None,
        }
    }

    /// Runs the test program.
    #[track_caller]
    pub(crate) fn child(self, child: Child) -> Self {
        self.command(child.command())
    }

    /// Runs any program.
    pub(crate) fn command<T: Into<OsString>>(mut self, command: impl IntoIterator<Item = T>) -> Self {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Runs a text in `sh`, with `$AMB` for amb and `$CHILD` for the test program.
    #[track_caller]
    pub(crate) fn shell(self, text: &str) -> Self {
        self.env("CHILD", Child::program())
            .env("AMB", env!("CARGO_BIN_EXE_amb"))
            .command(["sh", "-c", text])
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable.
    pub(crate) fn without_env(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Takes stdin from there. Without this it is empty.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Leaves stdin open, to be written and closed through [`Running`].
    pub(crate) fn open_stdin(mut self) -> Self {
        self.stdin = None;
        self
    }

    /// Sends stdout there instead of catching it.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.outputs[0] = Some(stdout.into());
        self
    }

    /// Sends stderr there instead of catching it.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.outputs[1] = Some(stderr.into());
        self
    }

    /// Runs in this directory instead of its own.
    pub(crate) fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Its own directory, where it runs and which is its `HOME`.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Does something in the process before it becomes amb, or the bare command. Async-signal-safe things only.
    pub(crate) fn before_exec(mut self, setup: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.setup.push(Box::new(setup));
        self
    }

    /// Asks for the JSON report, to be read from [`Outcome::report`].
    pub(crate) fn reporting(mut self) -> Self {
        let path = self.home.path().join("report.json");
        let mut flag = OsString::from("json=");
        flag.push(&path);
        self.flags
            .as_mut()
            .expect("only amb writes reports")
            .extend(["--report".into(), flag]);
        self.report = Some(path);
        self
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(self) -> Running {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(flags) = &self.flags {
            words.extend([env!("CARGO_BIN_EXE_amb").into(), "run".into()]);
            words.extend(flags.iter().cloned());
            if !self.command.is_empty() {
                words.push("--".into());
            }
        }
        words.extend(self.command);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for (name, _) in env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.ends_with("_PROXY")
                || upper.starts_with("AMB_")
                || upper.starts_with("XDG_")
                || upper.starts_with("GITHUB_")
                || upper.starts_with("GITLAB_")
                || upper.starts_with("OTEL_")
                // What decides about colours, and what tells a service that runs jobs from a terminal.
                || ["RUST_LOG", "CI", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"]
                    .contains(&upper.as_str())
            {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.home.path());
        for (name, value) in self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let directory = self.directory.as_deref().unwrap_or(self.home.path());
        let [stdout, stderr] = self.outputs.map(|output| output.unwrap_or_else(Stdio::piped));
        command
            .current_dir(directory)
            .stdin(self.stdin.unwrap_or_else(Stdio::piped))
            .stdout(stdout)
            .stderr(stderr);
        let mut setup = self.setup;
        // SAFETY: signal(2) and setsid(2) are async-signal-safe, and so is what the tests pass.
        unsafe {
            command.pre_exec(move || {
                reset_interrupts();
                // A session without a terminal, whatever the tests are started from.
                rustix::process::setsid()?;
                setup.iter_mut().try_for_each(|step| step())
            });
        }
        Running::new(&mut command, self.home, self.report)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn outcome(self) -> Outcome {
        self.start().wait()
    }

    /// Runs it to its end, which is success.
    #[track_caller]
    pub(crate) fn success(self) -> Outcome {
        self.status(0)
    }

    /// Runs it to its end, which is this status.
    #[track_caller]
    pub(crate) fn status(self, expected: i32) -> Outcome {
        let outcome = self.outcome();
        outcome.assert_status(expected);
        outcome
    }

    /// Runs it to its end and returns the JSON report.
    #[track_caller]
    pub(crate) fn report(self) -> serde_json::Value {
        self.reporting().outcome().report.expect("a report")
    }
}
