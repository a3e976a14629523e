//! What is shown of a run that goes on: a spinner while amb itself takes its time, never while the child has the terminal; for
//! whoever asks for it, the state of the run while the child goes on, in a line of words.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    report::{
        color::Stream,
        text::{Charset, escape, plural, shorten},
    },
    traffic::meter::Counts,
};

/// How long something may take without anything being shown. Nobody notices less.
pub const UNNOTICED: Duration = Duration::from_millis(300);

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// The most columns that a run's name takes.
const NAME_COLUMNS: usize = 40;

/// What is shown of a run that goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressMode {
    /// Nothing while the command runs; when it has ended, that amb waits for open requests
    #[default]
    Auto,
    /// As auto; while the command runs, the title of the terminal's window says how many requests there were
    Title,
    /// As auto; where stderr is no terminal, a line says it every 10 s if there is something new
    Line,
    /// Nothing at all
    Never,
}

/// Where the state of a run is shown while its child goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Nowhere,
    /// In the terminal's title.
    Title,
    /// In lines on stderr.
    Lines,
}

impl ProgressMode {
    /// Where it is shown, of stderr being a terminal and of the variable `TERM`.
    ///
    /// # Errors
    ///
    /// Why it cannot be shown where it is wanted.
    pub fn place(self, is_terminal: bool, term: Option<&str>) -> Result<Place, &'static str> {
        match self {
            Self::Auto | Self::Never => Ok(Place::Nowhere),
            Self::Title if !is_terminal => Err("stderr is no terminal, so there is no title"),
            Self::Title if !has_title(term) => Err("by TERM the terminal has no title"),
            Self::Title => Ok(Place::Title),
            Self::Line if is_terminal => Err("stderr is a terminal, where lines would come between the command's own"),
            Self::Line => Ok(Place::Lines),
        }
    }
}

impl fmt::Display for ProgressMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Whether terminals of this kind have a title. Those without one would show it in the middle of their text.
fn has_title(term: Option<&str>) -> bool {
    const WITHOUT: [&str; 8] = ["", "dumb", "unknown", "linux", "ansi", "cons25", "sun", "emacs"];
    // The consoles of hardware: vt52, vt100, vt220.
    term.is_some_and(|term| !WITHOUT.contains(&term) && !term.starts_with("vt"))
}

/// The state of a run in words, in those of the summary: `billing: 12 requests and 1 tunnel, 1 failed, 2 open`.
///
/// `open` is how many of what is counted have begun and not ended.
pub fn state(name: &str, counts: Counts, open: u64, charset: Charset) -> String {
    let name = shorten(&escape(name, charset), NAME_COLUMNS, charset);
    if counts == Counts::default() && open == 0 {
        return format!("{name}: no requests yet");
    }
    let Counts { requests, tunnels, .. } = counts;
    let volume = match (requests, tunnels) {
        (requests, 0) => plural(requests, "request"),
        (0, tunnels) => plural(tunnels, "tunnel"),
        (requests, tunnels) => format!("{} and {}", plural(requests, "request"), plural(tunnels, "tunnel")),
    };
    let endings = [(counts.failed, "failed"), (counts.denied, "denied"), (open, "open")];
    let endings = endings.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = std::iter::once(volume)
        .chain(endings.map(|(count, what)| format!("{count} {what}")))
        .collect();
    format!("{name}: {}", parts.join(", "))
}

/// A spinner on stderr, if that is a terminal; otherwise nothing. It leaves nothing behind, dropped or finished.
#[derive(Debug)]
pub struct Progress {
    /// The spinner.
    bar: ProgressBar,
}

impl Progress {
    /// Shows that the child has ended and `open` exchanges have not, unless nothing is to be shown. To be called when they have
    /// taken longer than [`UNNOTICED`].
    pub fn drain(open: usize, stderr: &Stream, mode: ProgressMode) -> Self {
        let is_shown = stderr.terminal && mode != ProgressMode::Never;
        let target = if is_shown {
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
        if is_shown {
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
        let progress = Progress::drain(3, &stream, ProgressMode::Auto);
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

    #[test]
    fn never_shows_nothing_where_somebody_looks() {
        let stream = Stream::decide(When::Auto, true, None, |_| None);
        assert!(Progress::drain(3, &stream, ProgressMode::Never).bar.is_hidden());
    }

    #[test]
    fn the_title_needs_a_terminal_that_has_one_and_lines_need_none() {
        use ProgressMode::{Auto, Line, Never, Title};
        for (mode, is_terminal, term, expected) in [
            (Auto, true, Some("xterm-256color"), Some(Place::Nowhere)),
            (Auto, false, None, Some(Place::Nowhere)),
            (Never, true, Some("xterm"), Some(Place::Nowhere)),
            (Title, true, Some("xterm-256color"), Some(Place::Title)),
            (Title, true, Some("tmux-256color"), Some(Place::Title)),
            (Title, true, Some("screen"), Some(Place::Title)),
            (Title, true, Some("dumb"), None),
            (Title, true, Some("linux"), None),
            (Title, true, Some("vt220"), None),
            (Title, true, Some(""), None),
            (Title, true, None, None),
            (Title, false, Some("xterm"), None),
            (Line, false, None, Some(Place::Lines)),
            (Line, false, Some("dumb"), Some(Place::Lines)),
            (Line, true, Some("xterm"), None),
        ] {
            assert_eq!(
                mode.place(is_terminal, term).ok(),
                expected,
                "{mode} {is_terminal} {term:?}"
            );
        }
    }

    #[test]
    fn the_state_is_told_in_the_words_of_the_summary() {
        let counts = |requests, tunnels, failed, denied, open| {
            let counts = Counts {
                requests,
                tunnels,
                failed,
                denied,
            };
            (counts, open)
        };
        for ((counts, open), expected) in [
            (counts(0, 0, 0, 0, 0), "app: no requests yet"),
            (counts(0, 0, 0, 0, 1), "app: 0 requests, 1 open"),
            (counts(1, 0, 0, 0, 0), "app: 1 request"),
            (counts(12, 0, 1, 0, 2), "app: 12 requests, 1 failed, 2 open"),
            (counts(0, 3, 0, 2, 0), "app: 3 tunnels, 2 denied"),
            (counts(2, 1, 0, 0, 0), "app: 2 requests and 1 tunnel"),
        ] {
            assert_eq!(state("app", counts, open, Charset::Ascii), expected);
        }
    }

    #[test]
    fn no_name_ends_the_title_or_begins_another_sequence() {
        let name = "a\x07b\x1b]2;c\u{9c}d\u{202e}";
        let shown = state(name, Counts::default(), 0, Charset::Unicode);
        assert_eq!(shown, r"a\u{7}b\u{1b}]2;c\u{9c}d\u{202e}: no requests yet");
        let long = state(&"x".repeat(500), Counts::default(), 0, Charset::Ascii);
        assert!(long.len() < 80, "{long}");
    }
}
