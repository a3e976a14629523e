//! A mistake in the configuration: what is wrong, exactly where, and what may have been meant.

use std::{
    fmt::{self, Write as _},
    io,
    ops::Range,
    sync::Arc,
};

pub use super::place::Mark;
use super::{
    files::File,
    place::{Spot, span_of},
};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In this file.
    File(Arc<File>),
    /// In the variable of this name.
    Variable(String),
    /// In a flag of its own: which one it is follows from the key.
    Flags,
    /// In `--set`.
    Set,
    /// In this flag.
    Flag(&'static str),
    /// Nowhere: the reason says by itself where the mistake is.
    Elsewhere,
}

impl Origin {
    /// Where the value at `key` was written: `amb.toml:3:11`, `AMB_TIMEOUT__CONNECT`, `--connect-timeout`.
    pub(super) fn place(&self, key: &[String]) -> String {
        match self {
            Self::File(file) => match file.span_of(key, Mark::Value) {
                Some(span) => {
                    let spot = Spot::of(&file.text, &span);
                    format!("{}:{}:{}", file.shown, spot.line, spot.column)
                }
                None => file.shown.clone(),
            },
            Self::Variable(name) => name.clone(),
            Self::Flags => super::schema::flag(key).unwrap_or_else(|| "command line".to_owned()),
            Self::Set => format!("--set {}", dotted(key)),
            Self::Flag(flag) => (*flag).to_owned(),
            Self::Elsewhere => "built-in default".to_owned(),
        }
    }
}

/// What is mostly behind a mistake in TOML, by what its parser says of it.
const SYNTAX: [(&str, &str); 4] = [
    ("invalid string, expected", "a text stands in quotes"),
    ("invalid basic string", "is its closing quote missing?"),
    ("invalid literal string", "is its closing quote missing?"),
    (
        "invalid table header, expected",
        "a table begins with its name in brackets, such as [run]",
    ),
];

/// One mistake.
///
/// Shows as one line, followed by the line of the file that it is in, if it is in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct ConfigError {
    /// Where it was written.
    pub origin: Origin,
    /// The path of the key; empty if it is about none.
    pub key: Vec<String>,
    /// Which part of the entry is wrong.
    pub mark: Mark,
    /// What is wrong.
    pub reason: String,
    /// What may have been meant.
    pub hint: Option<String>,
    /// The other places that the mistake is between, each with what stands there.
    pub others: Box<[(Origin, Vec<String>)]>,
}

/// Every mistake that was found: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The mistakes: those of one place together, in the order in which they stand there.
    pub mistakes: Vec<ConfigError>,
    /// What is worth knowing besides, and may be the reason of it all.
    pub warnings: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The mistakes in their order. One that was found twice counts once: `--config` may name the project's own file.
    pub(super) fn new(errors: Vec<ConfigError>, warnings: Vec<ConfigError>) -> Self {
        let mut once: Vec<ConfigError> = Vec::with_capacity(errors.len());
        for error in errors {
            if !once.contains(&error) {
                once.push(error);
            }
        }
        let places: Vec<Origin> = once.iter().map(|error| error.origin.clone()).collect();
        let place = |error: &ConfigError| match &error.origin {
            Origin::File(_) => places.iter().position(|place| *place == error.origin),
            _ => places.iter().position(|place| !matches!(place, Origin::File(_))),
        };
        once.sort_by_key(|error| (place(error), error.position()));
        Self {
            mistakes: once,
            warnings,
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.mistakes.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            error.fmt(f)?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigError {
    /// A mistake at a key.
    pub(super) fn at(
        origin: Origin,
        key: Vec<String>,
        mark: Mark,
        reason: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Self {
            origin,
            key,
            mark,
            reason: reason.into(),
            hint,
            others: Box::default(),
        }
    }

    /// A mistake of which `reason` says all.
    pub(super) fn other(reason: impl Into<String>) -> Self {
        Self::at(Origin::Elsewhere, Vec::new(), Mark::Value, reason, None)
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(shown: &str, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "may not be read".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        Self::other(format!("{shown}: {reason}"))
    }

    /// A file that is not TOML.
    pub(super) fn syntax(file: Arc<File>) -> Self {
        Self::at(Origin::File(file), Vec::new(), Mark::Value, "is not TOML", None)
    }

    /// The mistake in one line, and the line that it is in.
    ///
    /// The places of values in a file are looked up only here: a run without mistakes never pays for them.
    fn render(&self) -> String {
        let mut reason = self.reason.clone();
        if let Some(hint) = &self.hint {
            reason = format!("{reason}; {hint}");
        }
        let mut text = match &self.origin {
            Origin::Elsewhere => reason,
            Origin::File(file) => match self.locate(file) {
                Some((span, syntax)) => {
                    let spot = Spot::of(&file.text, &span);
                    let reason = syntax.unwrap_or(reason);
                    format!("{}:{}:{}: {reason}\n{spot}", file.shown, spot.line, spot.column)
                }
                None => format!("{}: {reason}", file.shown),
            },
            origin => format!("{}: {reason}", origin.place(&self.key)),
        };
        for (origin, key) in &self.others {
            // Writing to a string cannot fail.
            let name: Vec<String> = key
                .iter()
                .filter(|part| part.parse::<usize>().is_err())
                .cloned()
                .collect();
            write!(text, "\n  the other is {} in {}", dotted(&name), origin.place(key)).unwrap_or_default();
            if let Origin::File(file) = origin
                && let Some(span) = file.span_of(key, Mark::Value)
            {
                write!(text, "\n{}", Spot::of(&file.text, &span)).unwrap_or_default();
            }
        }
        text
    }

    /// Where in its file the mistake begins, in bytes; mistakes elsewhere come first.
    pub(super) fn position(&self) -> Option<usize> {
        match &self.origin {
            Origin::File(file) => Some(self.locate(file)?.0.start),
            _ => None,
        }
    }

    /// Where in the file the mistake is; for text that is not TOML, also the reason.
    fn locate(&self, file: &File) -> Option<(Range<usize>, Option<String>)> {
        if let Err(error) = file.document() {
            let reason = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
            let remedy = SYNTAX.iter().find(|(found, _)| reason.starts_with(found));
            let remedy = remedy.map_or_else(String::new, |(_, remedy)| format!("; {remedy}"));
            return Some((error.span()?, Some(format!("{reason}{remedy}"))));
        }
        let mut span = file.span_of(&self.key, self.mark)?;
        if let Mark::Part(start, end) = self.mark {
            span = part(&file.text, span, &(start.into()..end.into()));
        }
        Some((span, None))
    }
}

/// A part of the text that the value at `span` is. All of the value if escapes in it or its quotes make it
/// uncertain which part that is.
fn part(text: &str, span: Range<usize>, within: &Range<usize>) -> Range<usize> {
    let value = &text[span.clone()];
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| value.starts_with(quote));
    let part = quote.and_then(|quote| {
        let written = value.strip_prefix(quote)?;
        // TOML passes over a line break behind three quotes.
        let skipped = usize::from(quote.len() == 3 && written.starts_with('\n'));
        let start = span.start + quote.len() + skipped + within.start;
        let end = start + within.len();
        let plain = quote.starts_with('\'') || !value.contains('\\');
        (plain && end <= span.end && text.is_char_boundary(start) && text.is_char_boundary(end)).then_some(start..end)
    });
    part.unwrap_or(span)
}

impl File {
    /// Where the entry at `key` stands; none if the file is no TOML, or has no such entry and no table above it.
    fn span_of(&self, key: &[String], mark: Mark) -> Option<Range<usize>> {
        span_of(self.document().as_ref().ok()?, key, mark)
    }
}

/// The key as it is written in TOML: `resolve."api.example.com:80"`.
pub(super) fn dotted(key: &[String]) -> String {
    let bare = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let parts: Vec<String> = key
        .iter()
        .map(|name| if bare(name) { name.clone() } else { format!("{name:?}") })
        .collect();
    parts.join(".")
}
