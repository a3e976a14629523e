//! Places of JSON texts: `$.card.number`, `$..password`, `$.items[*].token` ([RFC 9535], without filters and slices).
//!
//! [RFC 9535]: https://www.rfc-editor.org/rfc/rfc9535

use std::str::FromStr;

use serde_json::Value;

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `.name`
    Name(String),
    /// `..name`
    Deep(String),
    /// `[0]`
    Place(usize),
    /// `[*]` or `.*`
    Any,
}

/// Where values stand in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Shows each value that it leads to.
    pub(super) fn each(&self, value: &mut Value, see: &mut dyn FnMut(&mut Value)) {
        walk(&self.0, value, see);
    }
}

/// The rest of the way from here.
fn walk(steps: &[Step], value: &mut Value, see: &mut dyn FnMut(&mut Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return see(value);
    };
    match (step, value) {
        (Step::Name(name), Value::Object(table)) => {
            if let Some(inner) = table.get_mut(name) {
                walk(rest, inner, see);
            }
        }
        (Step::Place(at), Value::Array(elements)) => {
            if let Some(inner) = elements.get_mut(*at) {
                walk(rest, inner, see);
            }
        }
        (Step::Any, Value::Object(table)) => table.values_mut().for_each(|inner| walk(rest, inner, see)),
        (Step::Any, Value::Array(elements)) => elements.iter_mut().for_each(|inner| walk(rest, inner, see)),
        (Step::Deep(name), Value::Object(table)) => {
            for (found, inner) in table {
                if found == name {
                    walk(rest, inner, see);
                }
                walk(steps, inner, see);
            }
        }
        (Step::Deep(_), Value::Array(elements)) => elements.iter_mut().for_each(|inner| walk(steps, inner, see)),
        _ => {}
    }
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no place of a JSON text: write it like $.card.number, $..password or $.items[*].token")
        };
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (word, behind) = inside.split_once(']').ok_or_else(wrong)?;
                let quoted = ['\'', '"']
                    .into_iter()
                    .find_map(|quote| word.strip_prefix(quote)?.strip_suffix(quote));
                steps.push(match (quoted, word) {
                    (Some(name), _) => Step::Name(name.to_owned()),
                    (None, "*") => Step::Any,
                    (None, number) => Step::Place(number.parse().map_err(|_| wrong())?),
                });
                rest = behind;
                continue;
            }
            let (deep, behind) = match rest.strip_prefix("..") {
                Some(behind) => (true, behind),
                None => (false, rest.strip_prefix('.').ok_or_else(wrong)?),
            };
            let (name, behind) = behind.split_at(behind.find(['.', '[']).unwrap_or(behind.len()));
            steps.push(match (deep, name) {
                (_, "") | (true, "*") => return Err(wrong()),
                (true, name) => Step::Deep(name.to_owned()),
                (false, "*") => Step::Any,
                (false, name) => Step::Name(name.to_owned()),
            });
            rest = behind;
        }
        if steps.is_empty() {
            Err(wrong())
        } else {
            Ok(Self(steps))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_leads_to_its_values() {
        let text = r#"{"a":{"b":1,"b c":2},"l":[{"b":3},{"b":[{"b":4}]}]}"#;
        for (path, found) in [
            ("$.a.b", "1"),
            ("$.a['b c']", "2"),
            ("$.a.*", "1 2"),
            ("$.l[0].b", "3"),
            ("$.l[*].b", r#"3 [{"b":4}]"#),
            ("$..b", r#"1 3 [{"b":4}] 4"#),
            ("$.none.b", ""),
        ] {
            let mut value: Value = serde_json::from_str(text).unwrap();
            let mut seen = Vec::new();
            let path: JsonPath = path.parse().unwrap();
            path.each(&mut value, &mut |value| seen.push(value.to_string()));
            assert_eq!(seen.join(" "), found, "{path:?}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for path in [
            "",
            "$",
            "a",
            "$a",
            "$.",
            "$..",
            "$..*",
            "$.a[",
            "$.a[x]",
            "$.a..",
            "$[?(@.a)]",
        ] {
            assert!(path.parse::<JsonPath>().is_err(), "{path}");
        }
    }
}
