//! The release `amb` as a process of its own: its start, its address, its CPU time, its memory.

use std::{
    error::Error,
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running amb; it ends with its child, whose stdin ends when this is dropped.
pub(crate) struct Amb {
    /// The process.
    process: Child,
    /// Where its proxy listens.
    pub(crate) address: SocketAddr,
    /// The file of the authority that its child is to trust, if it decrypts.
    pub(crate) authority: Option<PathBuf>,
}

impl Amb {
    /// Starts amb around a child that tells the proxy's address and waits.
    ///
    /// # Errors
    /// amb cannot be started, or its child says nothing.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        Self::with(&[])
    }

    /// The same with further flags.
    ///
    /// # Errors
    /// Those of [`Amb::start`].
    pub(crate) fn with(flags: &[&OsStr]) -> Result<Self, Box<dyn Error>> {
        let mut process = command()
            .args(["run", "--no-config", "--summary", "off"])
            .args(flags)
            .args([
                "--",
                "sh",
                "-c",
                "echo $AMB_PROXY_URL $AMB_CA_FILE; exec cat >/dev/null",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("amb has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let (address, authority) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let address = address
            .strip_prefix("http://")
            .ok_or_else(|| format!("amb's child said {line:?} and not where the proxy is"))?
            .trim_end_matches('/')
            .parse()?;
        let authority = (!authority.is_empty()).then(|| authority.into());
        Ok(Self {
            process,
            address,
            authority,
        })
    }

    /// The CPU time that all its threads have used until now, its child excepted.
    ///
    /// # Errors
    /// There is no `/proc`, or the process has ended.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text
                .split_whitespace()
                .next()
                .and_then(|field| field.parse::<u64>().ok())
                .ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// A size such as `VmRSS` or `Pss` from one of its files in `/proc`, in bytes.
    ///
    /// # Errors
    /// There is no such file or no such line.
    pub(crate) fn memory(&self, file: &str, name: &str) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.process.id()))?;
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .find_map(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kibibytes| kibibytes * 1024)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Amb {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        match self.process.wait() {
            Ok(status) if status.success() => {}
            ended => eprintln!("amb did not end well: {ended:?}"),
        }
    }
}

/// amb, with nothing in its environment that could change what it does.
pub(crate) fn command() -> Command {
    bare(env!("CARGO_BIN_EXE_amb"))
}

/// A program with no environment but `PATH`.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}
