//! A terminal to run things in, as a person has one.

#![expect(unsafe_code, reason = "pseudo-terminals have no safe wrapper among the dependencies")]

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Child as Process, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

use super::{Child, PATIENCE, ends};

/// A pseudo-terminal with a program as the leader of its session.
pub(crate) struct Terminal {
    /// The keyboard and the screen.
    keyboard: Option<File>,
    /// The program.
    process: Process,
    /// What is on the screen, with a bell that rings when more comes.
    screen: Arc<(Mutex<Vec<u8>>, Condvar)>,
    /// Up to where [`Terminal::wait_for`] has read.
    seen: usize,
    /// Dropped to end the thread that reads.
    reading: Option<UnixStream>,
    /// The thread that reads.
    reader: Option<JoinHandle<()>>,
    /// Its directory.
    _home: tempfile::TempDir,
}

impl Terminal {
    /// Runs `amb run` with these flags in a terminal, as the only job there is.
    #[track_caller]
    pub(crate) fn amb(flags: &[&str], child: Child) -> Self {
        let mut words: Vec<OsString> = vec![env!("CARGO_BIN_EXE_amb").into(), "run".into()];
        words.extend(flags.iter().map(Into::into));
        words.push("--".into());
        words.extend(child.command());
        Self::run(&words)
    }

    /// Runs an interactive bash, with `$AMB` for amb and `$CHILD` for the test program; its prompt is `prompt> `.
    #[track_caller]
    pub(crate) fn bash() -> Self {
        let mut terminal = Self::run(&["bash", "--norc", "--noprofile", "--noediting", "-i"].map(OsString::from));
        terminal.wait_for("prompt> ");
        terminal
    }

    /// Runs a program.
    #[track_caller]
    pub(crate) fn run(words: &[OsString]) -> Self {
        let (master, slave) = open().expect("a pseudo-terminal");
        let home = tempfile::tempdir().expect("a directory");
        let stdio = || Stdio::from(slave.try_clone().expect("a second handle"));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .current_dir(home.path());
        command
            .env("AMB", env!("CARGO_BIN_EXE_amb"))
            .env("CHILD", Child::program())
            .env("HOME", home.path());
        command
            .env("PS1", "prompt> ")
            .env("TERM", "dumb")
            .env("HISTFILE", "/dev/null");
        // SAFETY: signal(2), setsid(2) and ioctl(2) are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                super::running::reset_interrupts();
                rustix::process::setsid()?;
                if libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let process = command.spawn().expect("the program starts");
        drop(slave);
        let keyboard = File::from(master);
        let screen = Arc::<(Mutex<Vec<u8>>, Condvar)>::default();
        let (shared, mut output) = (Arc::clone(&screen), keyboard.try_clone().expect("a second handle"));
        let (reading, stop) = UnixStream::pair().expect("a pair of sockets");
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut sources = [PollFd::new(&output, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
                if poll(&mut sources, None).is_ok() && !sources[1].revents().is_empty() {
                    return;
                }
                // EIO when the last process has closed the terminal.
                let Ok(count @ 1..) = output.read(&mut buffer) else {
                    return;
                };
                shared.0.lock().unwrap().extend_from_slice(&buffer[..count]);
                shared.1.notify_all();
            }
        });
        Self {
            keyboard: Some(keyboard),
            process,
            screen,
            seen: 0,
            reading: Some(reading),
            reader: Some(reader),
            _home: home,
        }
    }

    /// The process id of the program.
    pub(crate) fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }

    /// Types something: `\x03` is Ctrl-C, `\x1a` Ctrl-Z, `\x04` Ctrl-D.
    #[track_caller]
    pub(crate) fn type_text(&mut self, text: &str) -> &mut Self {
        self.keyboard
            .as_mut()
            .expect("a terminal")
            .write_all(text.as_bytes())
            .expect("the terminal takes it");
        self
    }

    /// Waits until a text appears after the last one that was waited for.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> &mut Self {
        let (lock, bell) = &*self.screen;
        let screen = lock.lock().unwrap();
        let wanted = text.as_bytes();
        let seen = self.seen;
        let find = |screen: &[u8]| screen[seen..].windows(wanted.len()).position(|it| it == wanted);
        let (screen, _) = bell
            .wait_timeout_while(screen, PATIENCE, |screen| find(screen).is_none())
            .unwrap();
        let found = find(&screen);
        assert!(
            found.is_some(),
            "`{text}` did not appear\n--- screen\n{}",
            String::from_utf8_lossy(&screen)
        );
        self.seen += found.unwrap_or(0) + wanted.len();
        drop(screen);
        self
    }

    /// Whether a text appears within `patience` after the last one that was waited for, of a program that need not do what is
    /// expected.
    pub(crate) fn comes(&mut self, text: &str, patience: Duration) -> bool {
        let (lock, bell) = &*self.screen;
        let screen = lock.lock().unwrap();
        let seen = self.seen;
        let find = |screen: &[u8]| screen[seen..].windows(text.len()).position(|it| it == text.as_bytes());
        let (screen, _) = bell
            .wait_timeout_while(screen, patience, |screen| find(screen).is_none())
            .unwrap();
        let found = find(&screen);
        self.seen += found.map_or(0, |at| at + text.len());
        found.is_some()
    }

    /// Everything that was on the screen.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.0.lock().unwrap()).into_owned()
    }

    /// Changes the window's size.
    #[track_caller]
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) -> &mut Self {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let master = self.keyboard.as_ref().expect("a terminal").as_raw_fd();
        // SAFETY: TIOCSWINSZ reads one winsize.
        assert_eq!(unsafe { libc::ioctl(master, libc::TIOCSWINSZ, &raw const size) }, 0);
        self
    }

    /// Takes the terminal away, as closing its window does.
    pub(crate) fn hang_up(&mut self) {
        self.keyboard = None;
        self.reading = None;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader");
        }
    }

    /// Waits for the program's end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        assert!(ends(self.pid()), "it does not end\n--- screen\n{}", self.screen());
        self.process.wait().expect("a status")
    }
}

/// Opens a pseudo-terminal: the keyboard and screen, and what programs see of it.
///
/// Both close on exec from the first moment on, which openpty(3) cannot do: a program that another test starts at the same
/// time would keep the terminal open, and there would be no hangup.
fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let owned = |descriptor| {
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now and belongs to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    };
    // SAFETY: posix_openpt(3) takes flags.
    let master = owned(unsafe { libc::posix_openpt(flags) })?;
    // SAFETY: both take an open descriptor.
    if unsafe { libc::grantpt(master.as_raw_fd()) != 0 || libc::unlockpt(master.as_raw_fd()) != 0 } {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: TIOCGPTPEER takes flags.
    let slave = owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    Ok((master, slave))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
