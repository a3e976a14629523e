//! Values as TOML has them, for what is to become JSON.
//!
//! JSON's own type would not do: to keep all digits of a number it writes numbers in a form that only JSON's reader knows.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// The name under which JSON's reader hands over a number that is not whole.
const JSON_NUMBER: &str = "$serde_json::private::Number";

/// A value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Plain {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// A text; times and dates are texts in JSON.
    Text(String),
    /// A list.
    List(Vec<Plain>),
    /// A table.
    Table(BTreeMap<String, Plain>),
}

impl Plain {
    /// The value as JSON. What is no number there, such as infinity, is null.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Flag(flag) => Value::from(*flag),
            Self::Whole(number) => Value::from(*number),
            Self::Number(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(elements) => elements.iter().map(Self::json).collect(),
            Self::Table(entries) => entries
                .iter()
                .map(|(name, value)| (name.clone(), value.json()))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

/// Reads a [`Plain`].
struct PlainVisitor;

impl<'de> de::Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Plain, E> {
        Ok(Plain::Flag(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Plain, E> {
        Ok(Plain::Whole(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Plain, E> {
        i64::try_from(number)
            .map(Plain::Whole)
            .map_err(|_| E::custom(format!("{number} is too large for TOML")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Plain, E> {
        Ok(Plain::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain::Text(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Plain, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Plain::List(elements))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<Plain, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = table.next_entry::<String, Plain>()? {
            match value {
                Plain::Text(digits) if name == JSON_NUMBER => {
                    let number = digits.parse().map(Plain::Number);
                    return number.map_err(|_| de::Error::custom(format!("{digits} is no number")));
                }
                value => drop(entries.insert(name, value)),
            }
        }
        Ok(Plain::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_to_json_and_through_layers_unharmed() {
        let text = r#"{"a":[1,-2,1.5,true,"x",{}],"b":9007199254740993}"#;
        let plain: Plain = serde_json::from_str(text).unwrap();
        assert_eq!(plain.json().to_string(), text);
        let value = serde_json::to_value(&plain).unwrap();
        assert_eq!(serde_json::from_value::<Plain>(value).unwrap(), plain);
    }
}
