//! What is shown while amb itself takes its time. Never while the child has the terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::{
    color::Stream,
    text::{Charset, plural},
};

/// How long something may take without anything being shown. Nobody notices less.
pub const UNNOTICED: Duration = Duration::from_millis(300);

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// A spinner on stderr, if that is a terminal; otherwise nothing. It leaves nothing behind, dropped or finished.
#[derive(Debug)]
pub struct Progress {
    /// The spinner.
    bar: ProgressBar,
}

impl Progress {
    /// Shows that the child has ended and `open` exchanges have not. To be called when they have taken longer than
    /// [`UNNOTICED`].
    pub fn drain(open: usize, stderr: &Stream) -> Self {
        let target = if stderr.terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let ticks = match stderr.charset {
            Charset::Unicode => "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ",
            Charset::Ascii => r"|/-\ ",
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("amb: {spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner())
                .tick_chars(ticks),
        );
        let progress = Self { bar };
        progress.update(open);
        if stderr.terminal {
            progress.bar.enable_steady_tick(TURN);
        }
        progress
    }

    /// Shows how many exchanges are still open.
    pub fn update(&self, open: usize) {
        let open = u64::try_from(open).unwrap_or(u64::MAX);
        let message = format!(
            "the command has ended; waiting for {} to end",
            plural(open, "open exchange")
        );
        self.bar.set_message(message);
    }

    /// Takes it away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::color::When;

    #[test]
    fn nothing_is_shown_where_nobody_looks() {
        let stream = Stream::decide(When::Auto, false, None, |_| None);
        let progress = Progress::drain(3, &stream);
        assert!(progress.bar.is_hidden());
        assert_eq!(
            progress.bar.message(),
            "the command has ended; waiting for 3 open exchanges to end"
        );
        progress.update(1);
        assert_eq!(
            progress.bar.message(),
            "the command has ended; waiting for 1 open exchange to end"
        );
        progress.finish();
    }
}
