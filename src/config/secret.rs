//! Values as they may be shown: what is secret in them is not.

use serde_json::Value;

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

/// A value as it may be shown; all of it is masked if its key is `secret`.
pub(super) fn value(value: Value, secret: bool) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if secret => Value::from(MASK),
        Value::String(found) => Value::from(text(&found)),
        Value::Array(elements) => elements
            .into_iter()
            .map(|element| self::value(element, false))
            .collect(),
        Value::Object(table) => table
            .into_iter()
            .map(|(name, inner)| (name, self::value(inner, false)))
            .collect(),
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
            assert_eq!(value(given, false), shown);
        }
        assert_eq!(value(json!(["a"]), true), json!("***"));
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
