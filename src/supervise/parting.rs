//! The end of a program that has changed the terminal: it puts it back first, whatever ends it.

use std::{io, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
};

use super::terminal;

/// Does this before a signal that asks to end ends the process, also while every other thread is stuck: a terminal that was hung
/// up may keep its readers busy for ever.
///
/// # Errors
/// The signals cannot be caught.
pub fn before_a_signal_ends_it(put_back: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::Builder::new().name("amb-signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            put_back();
            terminal::die_by(signal);
        }
    })?;
    Ok(())
}
