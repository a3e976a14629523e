//! Tables whose entries are names and values that the user chooses: `{ X-Team = "billing" }`, or `-H 'X-Team: billing'`.

use std::{fmt, str::FromStr};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserializer, Serializer, de};

/// An entry of such a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it was written.
    pub name: String,
    /// Its value, as it was written.
    pub value: String,
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| format!("`{}` is no header: write NAME: VALUE", text.escape_debug()))?;
        Ok(Self {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
        })
    }
}

/// Writes entries as a table.
pub(super) fn serialize<S: Serializer>(entries: &[Entry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|entry| (&entry.name, &entry.value)))
}

/// Reads a table, in its order.
///
/// # Errors
/// It is no table of texts.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    deserializer.deserialize_map(TableVisitor)
}

/// See [`deserialize`].
struct TableVisitor;

impl<'de> de::Visitor<'de> for TableVisitor {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of texts")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<Vec<Entry>, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = table.next_entry()? {
            entries.push(Entry { name, value });
        }
        Ok(entries)
    }
}

/// The schema of such a table.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": "string", "title": "a text, in which ${run.id}, ${request.id} and ${env.NAME} stand for what they name, or @FILE" },
        "x-entry": "NAME",
    })
}
