//! A mistake that figment found, in amb's words: figment's own name profiles and types of this program.

use figment::error::{Actual, Error, Kind};

use super::{
    error::{ConfigError, Mark, Origin, dotted},
    layer::{EXTEND, PROFILE, VERSION},
    schema,
};
use crate::spelling::nearest;

/// The mistake, in a layer that stands `within` a table of its file.
pub(super) fn explain(origin: &Origin, within: &[String], error: Error) -> ConfigError {
    let key = error.path;
    let (mark, reason, hint) = match error.kind {
        Kind::UnknownField(found, expected) => {
            let tables = key.split_last().map_or(&[][..], |(_, tables)| tables);
            let reason = match tables {
                [] => format!("unknown key `{found}`"),
                tables => format!("unknown key `{found}` in {}", header(tables)),
            };
            // The top of a file has more keys than a layer.
            let top = tables.is_empty() && within.is_empty() && matches!(origin, Origin::File(_));
            let more: &[&str] = if top { &[PROFILE, VERSION] } else { &[] };
            let known: Vec<&str> = expected.iter().chain(more).copied().collect();
            (Mark::Key, reason, Some(meant(&key, &known)))
        }
        Kind::UnknownVariant(found, expected) => {
            let reason = format!("`{found}` is not one of {}", expected.join(", "));
            let hint = nearest(&found, expected.iter().copied()).map(|known| format!("did you mean `{known}`?"));
            (Mark::Value, reason, hint)
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            let reason = format!("expected {}, found {}", wanted(&key, &expected), shown(&found));
            (Mark::Value, reason, None)
        }
        // A key that is an entry's name can itself be malformed, as in [connect-to].
        Kind::Message(reason) if key.last().is_some_and(|name| reason.starts_with(&format!("`{name}`"))) => {
            (Mark::Key, reason, None)
        }
        Kind::Message(reason) => (Mark::Value, reason, None),
        other => (Mark::Value, other.to_string(), None),
    };
    ConfigError::at(origin.clone(), [within, &key].concat(), mark, reason, hint)
}

/// A table as the header over it is written: `[run]`, and for the tables of a list `[[route]]` and `[route.match]`.
fn header(tables: &[String]) -> String {
    let is_place = |part: &String| part.parse::<usize>().is_ok();
    let names: Vec<String> = tables.iter().filter(|part| !is_place(part)).cloned().collect();
    match tables.last() {
        Some(last) if is_place(last) => format!("[[{}]]", dotted(&names)),
        _ => format!("[{}]", dotted(&names)),
    }
}

/// What somebody may have meant who wrote the last part of `key`, in whose place are `known`.
fn meant(key: &[String], known: &[&str]) -> String {
    let found = key.last().map(String::as_str).unwrap_or_default();
    let inside_list = key.iter().any(|part| part.parse::<usize>().is_ok());
    if let Some(list) = found.strip_prefix(EXTEND)
        && let Some(known) = nearest(list, known.iter().copied())
    {
        let extend = if inside_list { "" } else { EXTEND };
        return format!("did you mean `{extend}{known}`?");
    }
    if let Some(known) = nearest(found, known.iter().copied()) {
        return format!("did you mean `{known}`?");
    }
    let same = |known: &&schema::Key| known.path.last() == key.last();
    let (inside, plain): (Vec<_>, Vec<_>) = schema::keys().iter().filter(same).partition(|known| known.is_inside());
    let elsewhere = plain.into_iter().chain(inside).next();
    match elsewhere {
        Some(key) => format!("did you mean `{}`?", key.name()),
        None => format!("known are {}", known.join(", ")),
    }
}

/// A value that stands in the place of a table.
pub(super) fn no_table(origin: &Origin, key: Vec<String>, found: &Actual) -> ConfigError {
    let reason = format!("expected a table, found {}", shown(found));
    ConfigError::at(origin.clone(), key, Mark::Value, reason, None)
}

/// A value that stands in the place of a whole number.
pub(super) fn no_number(origin: &Origin, key: Vec<String>, found: &Actual) -> ConfigError {
    let reason = format!("expected a whole number, found {}", shown(found));
    ConfigError::at(origin.clone(), key, Mark::Value, reason, None)
}

/// What was expected, in words for people: what the key takes, if the program's word for it is a type.
fn wanted<'a>(key: &[String], expected: &'a str) -> &'a str {
    let kind = schema::keys()
        .iter()
        .find(|known| known.path == key)
        .map(|known| known.kind.as_str());
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => kind.unwrap_or("a whole number"),
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => kind.unwrap_or("a list"),
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// What was found, in words for people.
fn shown(found: &Actual) -> String {
    match found {
        Actual::Bool(value) => format!("`{value}`"),
        Actual::Unsigned(value) => format!("`{value}`"),
        Actual::Signed(value) => format!("`{value}`"),
        Actual::Float(value) => format!("`{value}`"),
        Actual::Char(value) => format!("`{value}`"),
        Actual::Str(value) => format!("the text `{value}`"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}
