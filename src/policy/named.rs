//! Conditions as people write them: a word of a list, or the status of an error by its number.

use std::fmt;

use schemars::{Schema, json_schema};

/// A kind of condition.
pub(super) trait Named: Copy + PartialEq + 'static {
    /// The words.
    const NAMES: &'static [(&'static str, Self)];
    /// What is wrong with another word, behind "`word` is".
    const MISTAKE: &'static str;
    /// What a list of them is, for people.
    const LIST: &'static str;

    /// That of a status.
    fn of_status(status: u16) -> Self;

    /// Which status it is of; none if it has a word.
    fn status(self) -> Option<u16>;
}

/// Reads one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read<T: Named>(text: &str) -> Result<T, String> {
    let text = text.trim();
    if let Some((_, named)) = T::NAMES.iter().find(|(name, _)| *name == text) {
        return Ok(*named);
    }
    match text.parse() {
        Ok(status @ 400..=599) => Ok(T::of_status(status)),
        Ok(status) => Err(format!(
            "{status} is not the status of an error, which is from 400 to 599"
        )),
        Err(_) => {
            let known: Vec<&str> = names::<T>().collect();
            Err(format!(
                "`{text}` is {}: expected {}, or a status such as 503",
                T::MISTAKE,
                known.join(", ")
            ))
        }
    }
}

/// Writes it as it is read.
///
/// # Errors
/// Those of `f`.
pub(super) fn write<T: Named>(condition: T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let named = || T::NAMES.iter().find(|(_, named)| *named == condition);
    match (condition.status(), named()) {
        (Some(status), _) => write!(f, "{status}"),
        (None, Some((name, _))) => f.write_str(name),
        (None, None) => Err(fmt::Error),
    }
}

/// The schema of a list of them, or of a text with commas.
pub(super) fn list_schema<T: Named>() -> Schema {
    let pattern = format!("^({}|[45][0-9][0-9])$", names::<T>().collect::<Vec<_>>().join("|"));
    json_schema!({
        "title": T::LIST,
        "anyOf": [
            {
                "type": "array",
                "items": {
                    "anyOf": [
                        { "type": "string", "pattern": pattern },
                        { "type": "integer", "minimum": 400, "maximum": 599 },
                    ],
                },
            },
            { "type": "string" },
            { "type": "integer", "minimum": 400, "maximum": 599 },
        ],
    })
}

/// The words alone.
fn names<T: Named>() -> impl Iterator<Item = &'static str> {
    T::NAMES.iter().map(|(name, _)| *name)
}
