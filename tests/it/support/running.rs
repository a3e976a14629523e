//! A run under way.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{self, ChildStdin, Command, ExitStatus},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Outcome, PATIENCE};

/// What a process wrote so far.
#[derive(Debug, Default)]
struct Written {
    /// The bytes.
    bytes: Vec<u8>,
    /// Whether no more will come.
    ended: bool,
}

/// Reads a stream in a thread of its own.
#[derive(Debug)]
struct Reader {
    /// What came, with a bell that rings when more does.
    written: Arc<(Mutex<Written>, Condvar)>,
    /// The thread.
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads `stream` to its end.
    fn new(stream: Option<impl Read + Send + 'static>) -> Self {
        let written = Arc::<(Mutex<Written>, Condvar)>::default();
        let shared = Arc::clone(&written);
        let thread = stream.map(|mut stream| {
            thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                loop {
                    let count = stream.read(&mut buffer).unwrap_or(0);
                    let mut written = shared.0.lock().unwrap();
                    written.bytes.extend_from_slice(&buffer[..count]);
                    written.ended = count == 0;
                    shared.1.notify_all();
                    if count == 0 {
                        return;
                    }
                }
            })
        });
        Self { written, thread }
    }

    /// Waits until `found` returns something; `None` if the stream ended or time ran out before.
    fn wait_for<T>(&self, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        self.wait_within(PATIENCE, found)
    }

    /// The same with another limit in time.
    fn wait_within<T>(&self, patience: Duration, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let (lock, bell) = &*self.written;
        let guard = lock.lock().unwrap();
        let waiting = |written: &mut Written| !written.ended && found(&written.bytes).is_none();
        let (guard, _) = bell.wait_timeout_while(guard, patience, waiting).unwrap();
        found(&guard.bytes)
    }

    /// Everything, once the stream has ended.
    #[track_caller]
    fn finish(&mut self) -> Vec<u8> {
        if let Some(thread) = self.thread.take() {
            self.wait_for(|_| None::<()>);
            assert!(self.written.0.lock().unwrap().ended, "somebody keeps the output open");
            thread.join().unwrap();
        }
        std::mem::take(&mut self.written.0.lock().unwrap().bytes)
    }

    /// What came so far, for messages.
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.written.0.lock().unwrap().bytes).into_owned()
    }
}

/// A process that was started; killed if the test ends before it does.
#[derive(Debug)]
pub(crate) struct Running {
    /// The process.
    process: process::Child,
    /// Its stdin, if that was left open.
    stdin: Option<ChildStdin>,
    /// Its stdout.
    stdout: Reader,
    /// Its stderr.
    stderr: Reader,
    /// Its directory, which goes when it does.
    home: tempfile::TempDir,
    /// Where its report goes.
    report: Option<PathBuf>,
    /// How it ended.
    status: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`.
    #[track_caller]
    pub(super) fn new(command: &mut Command, home: tempfile::TempDir, report: Option<PathBuf>) -> Self {
        let mut process = command.spawn().expect("the program starts");
        Self {
            stdin: process.stdin.take(),
            stdout: Reader::new(process.stdout.take()),
            stderr: Reader::new(process.stderr.take()),
            process,
            home,
            report,
            status: None,
        }
    }

    /// The process id: amb's, or with a bare command that one's.
    pub(crate) fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }

    /// Waits for a line on stdout.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, line: &str) -> &Self {
        self.wait_for_lines(line, 1)
    }

    /// Waits until a line has come `times` times on stdout.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, line: &str, times: usize) -> &Self {
        let came = self.stdout.wait_for(|bytes| {
            let count = complete_lines(bytes).filter(|it| *it == line.as_bytes()).count();
            (count >= times).then_some(())
        });
        let (stdout, stderr) = (self.stdout.so_far(), self.stderr.so_far());
        assert!(
            came.is_some(),
            "`{line}` did not come\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        self
    }

    /// Whether a line comes `times` times on stdout within `patience`, of a program that need not do what is expected.
    pub(crate) fn comes(&self, line: &str, times: usize, patience: Duration) -> bool {
        let came = self.stdout.wait_within(patience, |bytes| {
            let count = complete_lines(bytes).filter(|it| *it == line.as_bytes()).count();
            (count >= times).then_some(())
        });
        came.is_some()
    }

    /// Waits for a line on stdout that begins with `start`, and returns the rest of it.
    #[track_caller]
    pub(crate) fn wait_for_rest(&self, start: &str) -> String {
        let rest = self.stdout.wait_for(|bytes| {
            let rest = complete_lines(bytes).find_map(|line| line.strip_prefix(start.as_bytes()))?;
            Some(String::from_utf8_lossy(rest).trim().to_owned())
        });
        rest.unwrap_or_else(|| panic!("`{start}…` did not come: {}", self.stdout.so_far()))
    }

    /// Waits for a text on stderr.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, text: &str) -> &Self {
        let wanted = text.as_bytes();
        let came = self
            .stderr
            .wait_for(|bytes| bytes.windows(wanted.len()).any(|it| it == wanted).then_some(()));
        assert!(came.is_some(), "`{text}` did not come: {}", self.stderr.so_far());
        self
    }

    /// Waits for a line on stderr that holds this, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_stderr_line(&self, text: &str) -> String {
        let line = self.stderr.wait_for(|bytes| {
            let mut lines = complete_lines(bytes).map(String::from_utf8_lossy);
            lines.find(|line| line.contains(text)).map(|line| line.into_owned())
        });
        line.unwrap_or_else(|| panic!("`…{text}…` did not come: {}", self.stderr.so_far()))
    }

    /// Its own directory, which goes when it does.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Sends a signal to amb.
    #[track_caller]
    pub(crate) fn signal(&self, signal: i32) -> &Self {
        send(self.pid(), signal);
        self
    }

    /// Writes to stdin.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> &mut Self {
        self.stdin
            .as_mut()
            .expect("stdin was left open")
            .write_all(bytes)
            .expect("it reads");
        self
    }

    /// Ends stdin.
    pub(crate) fn close_stdin(&mut self) -> &mut Self {
        self.stdin = None;
        self
    }

    /// Whether it has not ended.
    #[track_caller]
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("it can be asked").is_none()
    }

    /// Waits for its end, ending its stdin first.
    #[track_caller]
    pub(crate) fn wait(self) -> Outcome {
        self.wait_and(|| ()).0
    }

    /// The same, and looks at what it has left behind before its directory goes.
    #[track_caller]
    pub(crate) fn wait_and<T>(mut self, look: impl FnOnce() -> T) -> (Outcome, T) {
        self.stdin = None;
        self.wait_for_end();
        let seen = look();
        let status = self.process.wait().expect("a status");
        self.status = Some(status);
        let report = self
            .report
            .as_ref()
            .and_then(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok());
        let outcome = Outcome {
            status,
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            report,
        };
        (outcome, seen)
    }

    /// Waits until it has ended; fails the test if it does not.
    #[track_caller]
    fn wait_for_end(&self) {
        let ended = ends(self.pid());
        let (stdout, stderr) = (self.stdout.so_far(), self.stderr.so_far());
        assert!(ended, "it does not end\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// The lines that are complete.
fn complete_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
}

/// Sends a signal by number to a process.
#[track_caller]
#[expect(unsafe_code, reason = "rustix has no real-time signals")]
pub(crate) fn send(pid: i32, signal: i32) {
    // SAFETY: kill(2) takes integers.
    assert_eq!(
        unsafe { libc::kill(pid, signal) },
        0,
        "{}",
        std::io::Error::last_os_error()
    );
}

/// Waits until a process has ended; `false` if it does not. Right also for processes that are not ours.
pub(crate) fn ends(pid: i32) -> bool {
    ends_within(pid, PATIENCE)
}

/// The same with another limit in time.
pub(crate) fn ends_within(pid: i32, patience: Duration) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let Ok(watch) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let patience = Timespec::try_from(patience).unwrap();
    loop {
        match poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            found => return found == Ok(1),
        }
    }
}

/// Lets Ctrl-C and Ctrl-\ do what they do, for a process before it becomes another: a shell without job control starts what
/// it puts into the background, and the tests may be that, with both ignored.
#[expect(unsafe_code, reason = "rustix sets no dispositions")]
pub(super) fn reset_interrupts() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: signal(2) is async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
