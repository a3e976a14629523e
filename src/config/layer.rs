//! One source of values, read strictly and by itself.

use std::{fmt, sync::Arc};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::{Actual, Kind},
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};

use super::{
    Options,
    error::{ConfigError, Mark, Origin, nearest},
    files::File,
};

/// The values of one source.
#[derive(Clone)]
pub(super) struct Layer {
    /// Where they were written.
    pub(super) origin: Origin,
    /// The values, as nested tables.
    values: Dict,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// figment's own providers are not given to it directly: `Toml::file` looks in every parent directory and passes over
/// a missing file, `Env` loses how the variable was written, `Serialized` gives a line of this program as the source.
impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layer {
    /// What a file says, without its mistakes, which go to `errors`; none if it is not TOML at all.
    pub(super) fn of_file(file: File, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let file = Arc::new(file);
        let Ok(values) = Toml::from_str::<Dict>(&file.text) else {
            errors.push(ConfigError::syntax(file));
            return None;
        };
        let mut layer = Self {
            origin: Origin::File(file),
            values,
        };
        let mut found = Vec::new();
        layer.check(&mut found);
        found.sort_by_key(ConfigError::position);
        errors.append(&mut found);
        Some(layer)
    }

    /// What one variable says; none if that cannot be, and then `errors` gets the reason.
    pub(super) fn of_variable(name: &str, key: &[String], text: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let layer = |value: Value| Self {
            origin: Origin::Variable(name.to_owned()),
            values: nest(key, value),
        };
        // `2` is a number where a number belongs and a text where a name belongs, which only the reading tells.
        let value = text.parse::<Value>().unwrap_or_else(|never| match never {});
        let mut as_value = layer(value);
        if as_value.check(&mut Vec::new()) {
            return Some(as_value);
        }
        let mut as_text = layer(Value::from(text));
        as_text.check(errors).then_some(as_text)
    }

    /// What the flags say. clap has read them, so there is nothing to check.
    pub(super) fn of_flags(flags: &Options) -> Self {
        let data = Serialized::defaults(flags).data().unwrap_or_default();
        Self {
            origin: Origin::Flags,
            values: data.into_values().next().map(without_empty_tables).unwrap_or_default(),
        }
    }

    /// Whether this layer has a value at `key`.
    pub(super) fn sets(&self, key: &[impl AsRef<str>]) -> bool {
        let Some((last, tables)) = key.split_last() else {
            return false;
        };
        let mut table = &self.values;
        for name in tables {
            let Some(Value::Dict(_, inner)) = table.get(name.as_ref()) else {
                return false;
            };
            table = inner;
        }
        table.contains_key(last.as_ref())
    }

    /// Every key of a merged figment with its value as JSON.
    pub(super) fn merged(merged: &Figment) -> Vec<(Vec<String>, String)> {
        let data = merged.data().unwrap_or_default();
        let mut found = Vec::new();
        if let Some(table) = data.get(&Profile::Default) {
            leaves(table, &mut Vec::new(), &mut found);
        }
        found
    }

    /// Takes every mistake out of the values and puts it in `errors`; whether there was none.
    ///
    /// Reading stops at the first mistake, so each one is taken out and the rest is read again.
    fn check(&mut self, errors: &mut Vec<ConfigError>) -> bool {
        let before = errors.len();
        while let Err(found) = Figment::from(&*self).extract::<Options>() {
            let mut removed = false;
            for error in found {
                removed |= remove(&mut self.values, &error.path);
                errors.push(explain(&self.origin, error));
            }
            if !removed {
                self.values.clear();
            }
        }
        errors.len() == before
    }
}

/// Removes the value at `path`, or the nearest one above it that is not a table; whether there was one.
fn remove(table: &mut Dict, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else {
        return false;
    };
    match table.get_mut(name) {
        Some(Value::Dict(_, inner)) if !rest.is_empty() => remove(inner, rest),
        Some(_) => table.remove(name).is_some(),
        None => false,
    }
}

/// The tables of `key` around `value`.
fn nest(key: &[String], value: Value) -> Dict {
    let mut dict = Dict::new();
    if let Some((name, rest)) = key.split_first() {
        let inner = if rest.is_empty() {
            value
        } else {
            Value::from(nest(rest, value))
        };
        dict.insert(name.clone(), inner);
    }
    dict
}

/// The tables that say something.
fn without_empty_tables(table: Dict) -> Dict {
    table
        .into_iter()
        .filter(|(_, value)| value.as_dict().is_none_or(|inner| !inner.is_empty()))
        .collect()
}

/// Collects every value of `table` that is not a table.
fn leaves(table: &Dict, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    for (name, value) in table {
        path.push(name.clone());
        if let Value::Dict(_, inner) = value {
            leaves(inner, path, found);
        } else {
            found.push((path.clone(), serde_json::to_string(value).unwrap_or_default()));
        }
        path.pop();
    }
}

/// A mistake that figment found, in amb's words: figment's own name profiles and types of this program.
fn explain(origin: &Origin, error: figment::Error) -> ConfigError {
    let key = error.path;
    let (mark, reason, hint) = match error.kind {
        Kind::UnknownField(found, expected) => {
            let reason = match key.split_last() {
                Some((_, tables)) if !tables.is_empty() => {
                    format!("unknown key `{found}` in [{}]", super::error::dotted(tables))
                }
                _ => format!("unknown key `{found}`"),
            };
            let hint = match nearest(&found, expected) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known are {}", expected.join(", ")),
            };
            (Mark::Key, reason, Some(hint))
        }
        Kind::UnknownVariant(found, expected) => {
            let reason = format!("`{found}` is not one of {}", expected.join(", "));
            let hint = nearest(&found, expected).map(|known| format!("did you mean `{known}`?"));
            (Mark::Value, reason, hint)
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            let reason = format!("expected {}, found {}", wanted(&expected), shown(&found));
            (Mark::Value, reason, None)
        }
        // A key that is an entry's name can itself be malformed, as in [connect-to].
        Kind::Message(reason) if key.last().is_some_and(|name| reason.starts_with(&format!("`{name}`"))) => {
            (Mark::Key, reason, None)
        }
        Kind::Message(reason) => (Mark::Value, reason, None),
        other => (Mark::Value, other.to_string(), None),
    };
    ConfigError::at(origin.clone(), key, mark, reason, hint)
}

/// What was expected, in words for people.
fn wanted(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
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
