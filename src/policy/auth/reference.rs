//! A secret by its name: `secret:NAME`.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands before a secret's name.
pub const PREFIX: &str = "secret:";

/// What is said to somebody who writes a value, which must not be repeated.
const NO_VALUE: &str = "expected secret:NAME, the name of an entry of [secret]; the value itself has no place here";

/// The name of a secret: an entry of `[secret]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(String);

impl Reference {
    /// As it is written on a command line. What is no reference stays none, and is refused where the flags are read: clap
    /// would repeat it.
    pub(super) fn unchecked(text: &str) -> Self {
        match text.strip_prefix(PREFIX) {
            Some(name) => Self(name.to_owned()),
            None => Self(String::new()),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(PREFIX) {
            Some(name) if !name.is_empty() => Ok(Self(name.to_owned())),
            _ => Err(NO_VALUE.to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unrepeated)
    }
}

/// Reads a [`Reference`]. Whatever else it finds is not repeated: a number may be a secret, too.
struct Unrepeated;

impl de::Visitor<'_> for Unrepeated {
    type Value = Reference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret:NAME")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Reference, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Reference, E> {
        Err(E::custom(NO_VALUE))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Reference, E> {
        Err(E::custom(NO_VALUE))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Reference, E> {
        Err(E::custom(NO_VALUE))
    }
}

impl JsonSchema for Reference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "secret:NAME", "pattern": "^secret:[A-Za-z0-9_-]+$" })
    }
}

/// A text that may be secret and may be not: an account's name, or `secret:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Text {
    /// As it is.
    Plain(String),
    /// A secret.
    Secret(Reference),
}

impl Text {
    /// The secret, if it is one.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(reference) => Some(reference),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Secret(reference) => reference.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with(PREFIX) {
            text.parse().map(Self::Secret).map_err(de::Error::custom)
        } else {
            Ok(Self::Plain(text))
        }
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TextOrSecret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "a text, or secret:NAME" })
    }
}
