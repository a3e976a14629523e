//! Which ports: one, or those from one to another.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A port, 1 to 65535, or a range of them: `443`, `"8000-8999"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPattern {
    /// The first that fits.
    from: u16,
    /// The last that fits.
    to: u16,
}

impl PortPattern {
    /// Whether a port fits.
    pub fn fits(self, port: u16) -> bool {
        (self.from..=self.to).contains(&port)
    }
}

/// A port in plain digits.
///
/// # Errors
/// It is none.
pub(super) fn number(digits: &str) -> Result<u16, String> {
    let plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if plain && port != 0 => Ok(port),
        _ => Err(format!("`{digits}` is no port: they are numbers from 1 to 65535")),
    }
}

impl FromStr for PortPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (number(from.trim())?, number(to.trim())?);
        if from > to {
            return Err(format!("`{text}` holds no port: write `{to}-{from}`"));
        }
        Ok(Self { from, to })
    }
}

impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "{}", self.from)
        } else {
            write!(f, "{}-{}", self.from, self.to)
        }
    }
}

impl Serialize for PortPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.from == self.to {
            serializer.serialize_u16(self.from)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for PortPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

/// Reads a [`PortPattern`] from a number or a text.
struct PortVisitor;

impl de::Visitor<'_> for PortVisitor {
    type Value = PortPattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port such as 443, or a range such as \"8000-8999\"")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<PortPattern, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<PortPattern, E> {
        // A minus would be read as the sign of a range.
        let port = number(&value.to_string()).map_err(de::Error::custom)?;
        Ok(PortPattern { from: port, to: port })
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<PortPattern, E> {
        value.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for PortPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PortPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a port such as 443, or a range such as \"8000-8999\"",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": 65535 },
                { "type": "string", "pattern": "^\\s*[0-9]+\\s*(-\\s*[0-9]+\\s*)?$" },
            ],
        })
    }
}
