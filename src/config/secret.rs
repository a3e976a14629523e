//! Values as they may be shown: what is secret in them is not.

use serde_json::Value;

use super::{heads, schema};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A text without the user and password of a URL.
///
/// Up to the *last* `@`: a password that should have been percent-encoded, and was not, may hold one.
pub(super) fn text(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or(0, |colon| colon + "://".len());
            format!("{}{MASK}@{after}", &before[..scheme])
        }
        None => text.to_owned(),
    }
}

/// The value at `path` as it may be shown; all of what is marked as secret is masked.
pub(super) fn value(path: &[String], value: Value) -> Value {
    masked(&mut path.to_vec(), value, schema::is_secret)
}

/// As [`value`], for anybody's notion of what is secret.
fn masked(path: &mut Vec<String>, value: Value, is_secret: fn(&[String]) -> bool) -> Value {
    let mut inside = |name: String, inner: Value| {
        path.push(name);
        let shown = masked(path, inner, is_secret);
        path.pop();
        shown
    };
    match value {
        Value::Null => Value::Null,
        Value::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            let shown = elements.map(|(at, inner)| inside(at.to_string(), inner)).collect();
            if is_secret(path) { Value::from(MASK) } else { shown }
        }
        Value::Object(table) => {
            let shown = table
                .into_iter()
                .map(|(name, inner)| (name.clone(), inside(name, inner)))
                .collect();
            if is_secret(path) { Value::from(MASK) } else { shown }
        }
        _ if is_secret(path) => Value::from(MASK),
        Value::String(found) if heads::is_credential(path, &found) => Value::from(MASK),
        Value::String(found) => Value::from(text(&found)),
        other => other,
    }
}

/// A value as TOML, on one line.
pub(super) fn toml(value: &Value) -> String {
    match value {
        // TOML has no null; an absent value is not shown at all.
        Value::Null => String::new(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(toml).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(table) => {
            let entries: Vec<String> = table
                .iter()
                .map(|(name, inner)| format!("{} = {}", super::error::dotted(std::slice::from_ref(name)), toml(inner)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        // JSON's escapes are TOML's, but for this one character.
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_password_is_not_shown_wherever_it_stands() {
        for (given, shown) in [
            (json!("http://u:p@ss@host:1"), json!("http://***@host:1")),
            (json!("u:p@host"), json!("***@host")),
            (json!(["a", "socks5://u:p@h"]), json!(["a", "socks5://***@h"])),
            (json!({ "a": "http://u@h" }), json!({ "a": "http://***@h" })),
            (json!(5), json!(5)),
        ] {
            assert_eq!(value(&[], given), shown);
        }
        let is_secret = |path: &[String]| path.last().is_some_and(|name| name == "key");
        assert_eq!(
            masked(
                &mut Vec::new(),
                json!([{ "key": ["a"], "other": 1 }, { "key": 5 }]),
                is_secret
            ),
            json!([{ "key": "***", "other": 1 }, { "key": "***" }])
        );
    }

    #[test]
    fn a_value_is_shown_as_toml_that_reads_back() {
        for value in [
            json!("a \"b\" \\ \n \u{7f} ü"),
            json!([1, "b", [true]]),
            json!({ "a": 1, "b c": ["d"] }),
            json!(1.5),
        ] {
            let text = format!("key = {}", toml(&value));
            let read: Value =
                figment::Figment::from(<figment::providers::Toml as figment::providers::Format>::string(&text))
                    .extract_inner("key")
                    .unwrap();
            assert_eq!(read, value, "{text}");
        }
    }
}
