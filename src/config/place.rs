//! Where something stands in a file, and how that is shown: line, column, the line itself and marks below it.

use std::{fmt, ops::Range};

use toml_edit::{Array, ArrayOfTables, ImDocument, Item, TableLike, Value};

/// Which part of `key = value` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The key.
    Key,
    /// The value.
    Value,
    /// A part of the text that the value is, in bytes: where it begins and where it ends.
    Part(u16, u16),
}

/// A place in a text, with the line around it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spot<'a> {
    /// Counted from 1.
    pub(super) line: usize,
    /// In characters, counted from 1.
    pub(super) column: usize,
    /// In characters, at least 1; up to the end of the line.
    width: usize,
    /// The whole line.
    source: &'a str,
}

impl<'a> Spot<'a> {
    /// The place of `span`, which lies inside `text` on the borders of characters.
    pub(super) fn of(text: &'a str, span: &Range<usize>) -> Self {
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
        writeln!(f, " {number} | {}", without_secrets(self.source))?;
        write!(f, " {margin} | {indent}{}", "^".repeat(self.width))
    }
}

/// Keys in whose place a secret may be written by mistake, instead of its name.
const REFERENCES: [&str; 9] = [
    "auth",
    "bearer",
    "client-id",
    "client-secret",
    "key",
    "password",
    "secret-access-key",
    "session-token",
    "value",
];

/// Where values are in a line that should have been the names of secrets, and are not.
fn misplaced(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(sign) = line[at..].find('=') {
        let sign = at + sign;
        at = sign + 1;
        let before = line[..sign].trim_end();
        let key = before.trim_end_matches(['"', '\'']);
        let name = key
            .rsplit(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
            .next()
            .unwrap_or_default();
        let is_reference = REFERENCES.contains(&name);
        // The entries of [auth] are called by their hosts; those of other tables too, but what stands there are addresses.
        if !is_reference && key.len() == before.len() {
            continue;
        }
        let value = &line[at..];
        let begin = at + value.len() - value.trim_start().len();
        let quote = line[begin..]
            .chars()
            .next()
            .filter(|letter| matches!(letter, '"' | '\''));
        let (begin, end) = match quote {
            Some(quote) => {
                let inside = &line[begin + 1..];
                (begin + 1, begin + 1 + inside.find(quote).unwrap_or(inside.len()))
            }
            None => (
                begin,
                begin + line[begin..].find([',', '}', ' ']).unwrap_or(line.len() - begin),
            ),
        };
        let value = &line[begin..end];
        // In [connect-to] and [resolve], whose entries have ports, a place may be wrong, and is a word all the same.
        let has_port = key
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let is_word = |byte: u8| byte.is_ascii_lowercase() || b".-:".contains(&byte);
        let is_place = |value: &str| {
            let port = value.rsplit_once(':').map(|(_, port)| port);
            value.len() < 8
                || has_port && value.bytes().all(is_word)
                || port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
                || value
                    .split(',')
                    .all(|address| address.trim().parse::<std::net::IpAddr>().is_ok())
        };
        let is_name = value.starts_with("secret:") || value.starts_with(['{', '[']) || value.contains("://");
        if !is_name && (is_reference || !is_place(value)) {
            found.push(begin..end);
        }
    }
    found
}

/// A line of a file as it may be shown: what can be the user and password of a URL is starred out, one star a character,
/// so that what stands behind it keeps its column, and so is what may be a secret itself in the place of its name. Control
/// characters, which could steer a terminal, become spaces.
fn without_secrets(line: &str) -> String {
    let misplaced = misplaced(line);
    let end = line.rfind('@').unwrap_or(0);
    let begin = line[..end]
        .find("://")
        .map(|at| at + "://".len())
        .or_else(|| line[..end].find(['"', '\'']).map(|at| at + 1))
        .unwrap_or(end);
    line.char_indices()
        .map(|(at, character)| match character {
            _ if (begin..end).contains(&at) => '*',
            _ if misplaced.iter().any(|span| span.contains(&at)) => '*',
            '\t' => '\t',
            other if other.is_control() => ' ',
            other => other,
        })
        .collect()
}

/// Where the entry at `key` stands; the nearest one above it if it has no place of its own.
///
/// An element of a list has a number for its name.
pub(super) fn span_of(document: &ImDocument<String>, key: &[String], mark: Mark) -> Option<Range<usize>> {
    let mut place = Place::Table(document.as_table());
    let mut found = None;
    for (index, name) in key.iter().enumerate() {
        let last = index + 1 == key.len();
        let (span, inner) = match place {
            Place::Table(table) => match table.get_key_value(name) {
                Some((written, item)) => {
                    let span = match mark {
                        Mark::Key if last => written.span(),
                        _ => item.span().or_else(|| written.span()),
                    };
                    (span, Place::of(item))
                }
                None => return found,
            },
            Place::Tables(tables) => match name.parse().ok().and_then(|at| tables.get(at)) {
                Some(table) => (table.span(), Place::Table(table)),
                None => return found,
            },
            Place::List(elements) => match name.parse().ok().and_then(|at| elements.get(at)) {
                Some(value) => (value.span(), Place::of_value(value)),
                None => return found,
            },
            Place::Value => return found,
        };
        found = span.or(found);
        place = inner;
    }
    found
}

/// What can be looked into for what stands inside.
enum Place<'a> {
    /// A table, in any of its forms.
    Table(&'a dyn TableLike),
    /// `[[name]]`
    Tables(&'a ArrayOfTables),
    /// `[a, b]`
    List(&'a Array),
    /// Nothing is inside.
    Value,
}

impl<'a> Place<'a> {
    /// The inside of an item.
    fn of(item: &'a Item) -> Self {
        match item {
            Item::Table(table) => Self::Table(table),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
            Item::Value(value) => Self::of_value(value),
            Item::None => Self::Value,
        }
    }

    /// The inside of a value.
    fn of_value(value: &'a Value) -> Self {
        match value {
            Value::InlineTable(table) => Self::Table(table),
            Value::Array(list) => Self::List(list),
            _ => Self::Value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_line_is_starred_out_and_nothing_moves() {
        for (line, shown) in [
            ("bearer = 'secret:a', x = 1", "bearer = 'secret:a', x = 1"),
            ("a = { bearer = 'value', x = 1 }", "a = { bearer = '*****', x = 1 }"),
            ("'api.test' = \"long-value\"", "'api.test' = \"**********\""),
            ("'api.test' = 'other.test:80'", "'api.test' = 'other.test:80'"),
            ("password = 12345, x", "password = *****, x"),
            ("proxy = 'http://u:p@host'", "proxy = 'http://***@host'"),
            ("proxy = \"me:p@ss@host\"", "proxy = \"*******@host\""),
            ("name = 'x' # nothing", "name = 'x' # nothing"),
            ("name = 'a\u{1b}[31m'", "name = 'a [31m'"),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
    }

    #[test]
    fn what_stands_inside_lists_has_its_place() {
        let text = "[[route]]\nid = 'a'\n[[route]]\nid = 'b'\nmatch = { path = ['x', 'y'] }\n";
        let document = ImDocument::parse(text.to_owned()).unwrap();
        for (key, mark, found) in [
            ("route.1.id", Mark::Value, "'b'"),
            ("route.1.match.path.1", Mark::Value, "'y'"),
            ("route.1.match.path", Mark::Key, "path"),
            ("route.1.match.path.7", Mark::Value, "['x', 'y']"),
            ("route.0", Mark::Value, "[[route]]"),
        ] {
            let key: Vec<String> = key.split('.').map(ToOwned::to_owned).collect();
            let span = span_of(&document, &key, mark).unwrap();
            assert_eq!(text[span].lines().next(), Some(found), "{key:?}");
        }
    }
}
