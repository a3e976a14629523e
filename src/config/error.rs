//! A mistake in the configuration: what is wrong, exactly where, and what may have been meant.

use std::{fmt, io, ops::Range, sync::Arc};

use toml_edit::{ImDocument, Item, TableLike};

use super::files::File;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In this file.
    File(Arc<File>),
    /// In the variable of this name.
    Variable(String),
    /// In this flag.
    Flag(&'static str),
    /// In some flag.
    Flags,
    /// Nowhere: the reason says by itself where the mistake is.
    Elsewhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(&file.shown),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Flags => f.write_str("command line"),
            Self::Elsewhere => f.write_str("built-in default"),
        }
    }
}

impl Origin {
    /// The exact place of the value at `key`: with line and column if it is in a file.
    pub(super) fn place(&self, key: &[String]) -> String {
        let spot = match self {
            Self::File(file) => span_of(&file.text, key, Mark::Value).map(|span| Spot::of(&file.text, &span)),
            _ => None,
        };
        spot.map_or_else(
            || self.to_string(),
            |spot| format!("{self}:{}:{}", spot.line, spot.column),
        )
    }
}

/// Which part of `key = value` a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The key.
    Key,
    /// The value.
    Value,
}

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
}

/// Every mistake that was found: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes in their order. One that was found twice counts once: `--config` may name the project's own file.
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        let mut once: Vec<ConfigError> = Vec::with_capacity(errors.len());
        for error in errors {
            if !once.contains(&error) {
                once.push(error);
            }
        }
        Self(once)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigError {
    /// A mistake at a key.
    pub(super) fn at(origin: Origin, key: Vec<String>, mark: Mark, reason: String, hint: Option<String>) -> Self {
        Self {
            origin,
            key,
            mark,
            reason,
            hint,
        }
    }

    /// A mistake of which `reason` says all.
    pub(super) fn other(reason: String) -> Self {
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
        Self::at(
            Origin::File(file),
            Vec::new(),
            Mark::Value,
            "is not TOML".to_owned(),
            None,
        )
    }

    /// The mistake in one line, and the line that it is in.
    ///
    /// The places of values in a file are looked up only here: a run without mistakes never pays for them.
    fn render(&self) -> String {
        let mut reason = self.reason.clone();
        if let Some(hint) = &self.hint {
            reason = format!("{reason}; {hint}");
        }
        match &self.origin {
            Origin::Elsewhere => reason,
            Origin::File(file) => match self.locate(&file.text) {
                Some((span, syntax)) => {
                    let spot = Spot::of(&file.text, &span);
                    let reason = syntax.unwrap_or(reason);
                    format!("{}:{}:{}: {reason}\n{spot}", file.shown, spot.line, spot.column)
                }
                None => format!("{}: {reason}", file.shown),
            },
            origin => format!("{origin}: {reason}"),
        }
    }

    /// Where in its file the mistake begins, in bytes; mistakes elsewhere come first.
    pub(super) fn position(&self) -> Option<usize> {
        match &self.origin {
            Origin::File(file) => Some(self.locate(&file.text)?.0.start),
            _ => None,
        }
    }

    /// Where in `text` the mistake is; for text that is not TOML, also the reason.
    fn locate(&self, text: &str) -> Option<(Range<usize>, Option<String>)> {
        if let Err(error) = ImDocument::parse(text) {
            let reason = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
            return Some((error.span()?, Some(reason)));
        }
        Some((span_of(text, &self.key, self.mark)?, None))
    }
}

/// A place in a text, with the line around it.
#[derive(Debug, PartialEq, Eq)]
struct Spot<'a> {
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    /// In characters, at least 1; up to the end of the line.
    width: usize,
    /// The whole line.
    source: &'a str,
}

impl<'a> Spot<'a> {
    /// The place of `span`, which lies inside `text` on the borders of characters.
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let before = &text[..span.start];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let source = text[start..].lines().next().unwrap_or_default();
        let marked = text[span.clone()].lines().next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            width: marked.chars().count().max(1),
            source,
        }
    }
}

impl fmt::Display for Spot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs are copied, so that the marks stand below what they mark however wide a tab is.
        let indent: String = self
            .source
            .chars()
            .take(self.column - 1)
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, " {number} | {}", self.source)?;
        write!(f, " {margin} | {indent}{}", "^".repeat(self.width))
    }
}

/// Where the entry at `key` stands in `text`; the nearest table above it if it has no place of its own.
fn span_of(text: &str, key: &[String], mark: Mark) -> Option<Range<usize>> {
    let document = ImDocument::parse(text).ok()?;
    let mut item: Option<&Item> = None;
    let mut table: Option<&dyn TableLike> = Some(document.as_table());
    let mut found = None;
    for (index, name) in key.iter().enumerate() {
        if let Some((written, inner)) = table.and_then(|table| table.get_key_value(name)) {
            let last = index + 1 == key.len();
            found = match mark {
                Mark::Key if last => written.span(),
                _ => inner.span().or_else(|| written.span()),
            };
            item = Some(inner);
            table = inner.as_table_like();
        } else {
            // An element of a list has a number for its name.
            let element = item.and_then(Item::as_array).zip(name.parse().ok());
            return element.and_then(|(list, at)| list.get(at)?.span()).or(found);
        }
    }
    found
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

/// The known word that `found` was probably meant to be: at most every third letter is wrong, missing or swapped.
pub(super) fn nearest(found: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(found, word), *word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
