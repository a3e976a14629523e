//! What a stream can show: colours, columns, characters. Each stream is asked for itself.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use anstyle::{AnsiColor, Style};

use crate::report::text::Charset;

/// Columns of a table when nobody says how many there are.
const USUAL_COLUMNS: usize = 100;

/// When to use colours: `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    /// Also in files and pipes
    Always,
    /// Not at all
    Never,
}

/// What a stream can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Whether a person may be looking at it.
    pub terminal: bool,
    /// Whether colours are wanted.
    pub color: bool,
    /// Which characters it shows.
    pub charset: Charset,
    /// How wide it is.
    pub columns: usize,
}

impl Stream {
    /// What stderr can show, by the terminal and the environment.
    pub fn stderr(when: When) -> Self {
        Self::of(when, &io::stderr())
    }

    /// What stdout can show, likewise.
    pub fn stdout(when: When) -> Self {
        Self::of(when, &io::stdout())
    }

    /// What this stream can show.
    fn of(when: When, stream: &(impl IsTerminal + AsFd)) -> Self {
        let size = terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0));
        Self::decide(when, stream.is_terminal(), size, |name| std::env::var_os(name))
    }

    /// The same, of what is known of the stream: whether it is a terminal, its columns, and the variables.
    pub fn decide(
        when: When,
        terminal: bool,
        size: Option<usize>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let text = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some(value.to_string_lossy().into_owned())
        };
        let columns = text("COLUMNS").and_then(|columns| columns.parse().ok()).or(size);
        Self {
            terminal,
            color: color(when, terminal, text),
            charset: charset(text),
            columns: columns.filter(|columns| *columns > 0).unwrap_or(USUAL_COLUMNS),
        }
    }

    /// `text` in a style, if colours are wanted.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// What failed.
pub(crate) const FAILED: Style = AnsiColor::Red.on_default().bold();

/// What is worth a look: refusals, retries.
pub(crate) const NOTABLE: Style = AnsiColor::Yellow.on_default();

/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();

/// What is of no interest: zeros.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();

/// Whether colours are wanted: the flag, then <https://no-color.org>, then <https://bixense.com/clicolors/> and
/// `FORCE_COLOR`, then what the stream is. The logs of GitHub Actions are no terminal, and show colours all the same.
fn color(when: When, terminal: bool, text: impl Fn(&str) -> Option<String>) -> bool {
    let on = |name: &str| text(name).is_some_and(|value| value != "0");
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto if text("NO_COLOR").is_some() => false,
        When::Auto if on("CLICOLOR_FORCE") || on("FORCE_COLOR") => true,
        When::Auto => {
            let refused = text("TERM").as_deref() == Some("dumb")
                || text("CLICOLOR").as_deref() == Some("0")
                || text("FORCE_COLOR").as_deref() == Some("0");
            !refused && (terminal || (on("CI") && on("GITHUB_ACTIONS")))
        }
    }
}

/// Unicode if the locale says UTF-8 and the terminal is not one with a small font.
fn charset(text: impl Fn(&str) -> Option<String>) -> Charset {
    let locale = text("LC_ALL")
        .or_else(|| text("LC_CTYPE"))
        .or_else(|| text("LANG"))
        .unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    let small = matches!(text("TERM").as_deref(), Some("dumb" | "linux"));
    if !small && (locale.contains("utf-8") || locale.contains("utf8")) {
        Charset::Unicode
    } else {
        Charset::Ascii
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is decided for a terminal of 80 columns, or for a pipe, with these variables.
    fn decide(when: When, terminal: bool, variables: &[(&str, &str)]) -> Stream {
        Stream::decide(when, terminal, terminal.then_some(80), |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn colours_follow_the_flag_then_the_environment_then_the_stream() {
        for (when, terminal, variables, expected) in [
            (When::Auto, true, &[][..], true),
            (When::Auto, false, &[], false),
            (When::Always, false, &[("NO_COLOR", "1")], true),
            (When::Never, true, &[("FORCE_COLOR", "1")], false),
            (When::Auto, true, &[("NO_COLOR", "1")], false),
            (When::Auto, true, &[("NO_COLOR", "")], true),
            (When::Auto, true, &[("NO_COLOR", "1"), ("FORCE_COLOR", "1")], false),
            (When::Auto, false, &[("FORCE_COLOR", "1")], true),
            (When::Auto, true, &[("FORCE_COLOR", "0")], false),
            (When::Auto, false, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], true),
            (When::Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (When::Auto, true, &[("CLICOLOR", "0")], false),
            (When::Auto, true, &[("TERM", "dumb")], false),
            (When::Auto, false, &[("CI", "true"), ("GITHUB_ACTIONS", "true")], true),
            (When::Auto, false, &[("CI", "true")], false),
        ] {
            assert_eq!(
                decide(when, terminal, variables).color,
                expected,
                "{when:?} {terminal} {variables:?}"
            );
        }
    }

    #[test]
    fn unicode_needs_a_locale_and_a_terminal_that_can() {
        for (variables, expected) in [
            (&[("LANG", "en_GB.UTF-8")][..], Charset::Unicode),
            (&[("LANG", "C.utf8"), ("TERM", "xterm")], Charset::Unicode),
            (&[], Charset::Ascii),
            (&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")], Charset::Ascii),
            (
                &[("LANG", "C"), ("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8")],
                Charset::Unicode,
            ),
            (&[("LANG", "C.UTF-8"), ("TERM", "linux")], Charset::Ascii),
            (&[("LANG", "C.UTF-8"), ("TERM", "dumb")], Charset::Ascii),
        ] {
            assert_eq!(decide(When::Auto, true, variables).charset, expected, "{variables:?}");
        }
    }

    #[test]
    fn columns_are_those_of_the_variable_then_the_terminal() {
        assert_eq!(decide(When::Auto, true, &[("COLUMNS", "123")]).columns, 123);
        assert_eq!(decide(When::Auto, true, &[("COLUMNS", "0")]).columns, USUAL_COLUMNS);
        assert_eq!(decide(When::Auto, true, &[("COLUMNS", "wide")]).columns, 80);
        assert_eq!(decide(When::Auto, false, &[]).columns, USUAL_COLUMNS);
    }
}
