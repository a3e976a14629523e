//! The terminal, taken over and given back as it was.

use std::{
    io::{self, Stdout, stdout},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Hide,
        execute,
        terminal::{EnterAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::supervise::before_a_signal_ends_it;

/// Shows the cursor, and the screen as it was before.
const PUT_BACK: &[u8] = b"\x1b[0m\x1b[?1049l\x1b[?25h";

/// How long a terminal may take to be ready for that.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Whether the terminal is taken over.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that is drawn on; given back when this is dropped, on a panic, and before a signal ends amb.
#[derive(Debug)]
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It does not let itself be taken over.
    pub(super) fn enter() -> io::Result<Self> {
        before_a_signal_ends_it(put_back)?;
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            put_back();
            told(panicked);
        }));
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let entered = execute!(stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        entered.map(Self).inspect_err(|_| put_back())
    }

    /// Draws.
    ///
    /// # Errors
    /// The terminal takes nothing.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        put_back();
    }
}

/// Puts the terminal back, once. Takes no lock that a thread which is stuck in the terminal may hold.
fn put_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let terminal = rustix::stdio::stdout();
    let writable = PollFd::from_borrowed_fd(terminal, PollFlags::OUT);
    if matches!(poll(&mut [writable], Some(&PATIENCE)), Ok(1)) {
        let written = rustix::io::write(terminal, PUT_BACK);
        if let Err(reason) = written {
            tracing::debug!(%reason, "the terminal takes nothing");
        }
    }
    if let Err(reason) = disable_raw_mode() {
        tracing::debug!(%reason, "the terminal stays as it is");
    }
}
