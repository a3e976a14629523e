//! Which header fields: `{ Accept = "application/*", X-Debug = "present" }`.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{glob::Glob, several::Several};
use crate::policy::{rules::Fields, words::is_token};

/// What the values of a field must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPattern {
    /// As it was written.
    written: String,
    /// What it says.
    wanted: Wanted,
}

/// What is wanted of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// It is there, whatever it says.
    Present,
    /// It is not there.
    Absent,
    /// One of its values is of this form.
    Value(Glob),
}

/// Fields by their names, all of which must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldPatterns(BTreeMap<String, Several<FieldPattern>>);

impl FieldPattern {
    /// Whether the field `name` of a head fits.
    fn fits(&self, name: &str, fields: &dyn Fields) -> bool {
        match &self.wanted {
            Wanted::Present => fields.first(name).is_some(),
            Wanted::Absent => fields.first(name).is_none(),
            Wanted::Value(glob) => {
                let mut found = false;
                fields.each(&mut |known, value| {
                    found |= known.eq_ignore_ascii_case(name.as_bytes()) && glob.fits(value);
                });
                found
            }
        }
    }
}

impl FieldPatterns {
    /// The name of a field that does not fit, and what was wanted of it; none if all do.
    pub(super) fn unfit(&self, fields: &dyn Fields) -> Option<(&str, &Several<FieldPattern>)> {
        let fits = |(name, wanted): &(&String, &Several<FieldPattern>)| {
            wanted.0.iter().any(|pattern| pattern.fits(name, fields))
        };
        let (name, wanted) = self.0.iter().find(|entry| !fits(entry))?;
        Some((name, wanted))
    }

    /// Whether every head fits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for FieldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for FieldPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for FieldPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        let wanted = match written.as_str() {
            "present" => Wanted::Present,
            "absent" => Wanted::Absent,
            value => Wanted::Value(Glob::of_stars(value.trim_ascii().as_bytes())),
        };
        Ok(Self { written, wanted })
    }
}

impl<'de> Deserialize<'de> for FieldPatterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = BTreeMap::<String, Several<FieldPattern>>::deserialize(deserializer)?;
        match fields.keys().find(|name| !is_token(name)) {
            Some(name) => Err(de::Error::custom(format!("`{name}` is no name of a header field"))),
            None => Ok(Self(fields)),
        }
    }
}

impl JsonSchema for FieldPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a value, with * for any characters; present or absent",
        })
    }
}

impl JsonSchema for FieldPatterns {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldPatterns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<Several<FieldPattern>>();
        json_schema!({ "type": "object", "x-entry": "NAME", "additionalProperties": value })
    }
}
