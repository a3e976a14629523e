//! JSON in bodies that is edited: the tables `[json]` and `[response-json]`.
//!
//! Places are named by JSON Pointer ([RFC 6901]), and what they do not name keeps its value, its order and the digits of its
//! numbers. First members are removed, then set, then the patch ([RFC 6902]) is applied, which is all or nothing.
//!
//! A body that is no JSON stays as it is.
//!
//! [RFC 6901]: https://www.rfc-editor.org/rfc/rfc6901
//! [RFC 6902]: https://www.rfc-editor.org/rfc/rfc6902

use std::{collections::BTreeMap, fmt, sync::Arc};

use json_patch::Patch;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plain::Plain;
use crate::{
    policy::{Problem, words::list},
    units::ByteSize,
};

/// The largest body that is edited, unless `limit` says otherwise.
const LIMIT: u64 = 1024 * 1024;

/// The largest body that can be asked for: all of it is held in memory, more than once.
const LARGEST_LIMIT: u64 = 64 * 1024 * 1024;

/// What stands in front of some texts, and is no part of them.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What happens to a body that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnLimit {
    /// It goes on as it is
    #[default]
    Pass,
    /// The command gets an error: 413 for a request, 502 for a response
    Refuse,
}

/// A table about JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct JsonOptions {
    /// Values by JSON Pointer, such as "/user/name"; objects on the way are made [default: none]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "set_schema")]
    pub set: BTreeMap<String, Plain>,

    /// What is removed, by JSON Pointer, if it is there [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(extend("default" = []))]
    pub remove: Option<Vec<String>>,

    /// A JSON Patch: a list of tables such as { op = "replace", path = "/a", value = 1 }, or a text of JSON [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patch_schema")]
    pub patch: Option<Plain>,

    /// The largest body that is edited, before and after it is decoded [default: 1MiB]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1MiB"))]
    pub limit: Option<ByteSize>,

    /// What happens to a larger one [default: pass]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "pass"))]
    pub on_limit: Option<OnLimit>,
}

/// The schema of `set`.
fn set_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^(/.*)?$" },
        "additionalProperties": true,
        "x-entry": "POINTER",
    })
}

/// The schema of `patch`.
fn patch_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "title": "a JSON Patch, as a list of tables or as a text" })
}

/// What is done to JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Json {
    /// Its key.
    pub id: Arc<str>,
    /// What goes.
    remove: Vec<Pointer>,
    /// What is set.
    set: Vec<(Pointer, Value)>,
    /// What else is done; empty for nothing.
    patch: Patch,
    /// The largest body, in bytes.
    pub limit: usize,
    /// What happens to a larger one.
    pub on_limit: OnLimit,
}

/// What came of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Edited {
    /// It is this one now.
    Changed(Vec<u8>),
    /// There was nothing to change.
    Unchanged,
    /// It is no JSON, or the patch cannot be applied to it: a sentence fragment.
    Misfit(String),
}

/// A way into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pointer {
    /// As it was written.
    written: String,
    /// The names of members and the places of elements; none for the whole.
    steps: Vec<String>,
}

impl Pointer {
    /// Reads what [RFC 6901 §3] describes.
    ///
    /// [RFC 6901 §3]: https://www.rfc-editor.org/rfc/rfc6901#section-3
    fn read(written: &str) -> Result<Self, String> {
        let steps = match written.strip_prefix('/') {
            Some(steps) => steps.split('/').map(unescaped).collect::<Result<_, _>>()?,
            None if written.is_empty() => Vec::new(),
            None => return Err(format!("`{written}` is no JSON Pointer: write `/{written}`")),
        };
        Ok(Self {
            written: written.to_owned(),
            steps,
        })
    }

    /// Sets what it leads to, and makes objects on the way. False if there is no such way.
    fn set(&self, whole: &mut Value, value: &Value) -> bool {
        let mut here = whole;
        for (at, step) in self.steps.iter().enumerate() {
            let last = at + 1 == self.steps.len();
            here = match here {
                Value::Object(members) => members
                    .entry(step.as_str())
                    .or_insert_with(|| Value::Object(Map::new())),
                Value::Array(elements) => {
                    let Some(place) = place(step, elements.len()) else {
                        return false;
                    };
                    if place == elements.len() && last {
                        elements.push(Value::Null);
                    }
                    match elements.get_mut(place) {
                        Some(element) => element,
                        None => return false,
                    }
                }
                _ => return false,
            };
        }
        here.clone_from(value);
        true
    }

    /// Removes what it leads to, if that is there. The whole cannot be.
    fn remove(&self, whole: &mut Value) {
        let Some((last, way)) = self.steps.split_last() else {
            return;
        };
        let mut here = whole;
        for step in way {
            let next = match here {
                Value::Object(members) => members.get_mut(step),
                Value::Array(elements) => place(step, elements.len()).and_then(|place| elements.get_mut(place)),
                _ => None,
            };
            let Some(next) = next else { return };
            here = next;
        }
        match here {
            // In its order, which `remove` would not keep.
            Value::Object(members) => drop(members.shift_remove(last)),
            Value::Array(elements) => {
                if let Some(place) = place(last, elements.len()).filter(|place| *place < elements.len()) {
                    elements.remove(place);
                }
            }
            _ => {}
        }
    }
}

/// A step of a pointer as it is meant.
fn unescaped(step: &str) -> Result<String, String> {
    let mut parts = step.split('~');
    let mut meant = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = match part.chars().next() {
            Some('0') => "~",
            Some('1') => "/",
            _ => return Err(format!("`{step}`: in a JSON Pointer `~` is written ~0, and `/` ~1")),
        };
        meant.push_str(rest);
        meant.push_str(&part[1..]);
    }
    Ok(meant)
}

/// The place of an element in a list of so many, or the one behind the last.
fn place(step: &str, length: usize) -> Option<usize> {
    if step == "-" {
        return Some(length);
    }
    let plain = step == "0" || !step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit());
    step.parse().ok().filter(|place| plain && *place <= length)
}

impl JsonOptions {
    /// What is done, by the table `table`; none if nothing is. `problems` gets what is wrong.
    pub(super) fn build(&self, table: &str, problems: &mut Vec<Problem>) -> Option<Json> {
        let mut pointer = |key: &[&str], written: &str| {
            Pointer::read(written)
                .map_err(|reason| problems.push(Problem::at(key, reason)))
                .ok()
        };
        let mut remove = Vec::new();
        for (at, written) in self.remove.iter().flatten().enumerate() {
            remove.extend(pointer(&[table, "remove", &at.to_string()], written));
        }
        let mut set = Vec::new();
        for (written, value) in &self.set {
            set.extend(pointer(&[table, "set", written], written).map(|pointer| (pointer, value.json())));
        }
        let patch = self.patch.as_ref().map(|patch| match patch {
            Plain::Text(text) => serde_json::from_str(text),
            other => serde_json::from_value(other.json()),
        });
        let patch = patch.unwrap_or_else(|| Ok(Patch::default())).unwrap_or_else(|reason| {
            let reason = format!("this is no JSON Patch: {reason}");
            problems.push(Problem::at(&[table, "patch"], reason));
            Patch::default()
        });
        let limit = self.limit.map_or(LIMIT, |limit| limit.0);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            let reason = format!("at least one byte, and at most {}", ByteSize(LARGEST_LIMIT));
            problems.push(Problem::at(&[table, "limit"], reason));
        }
        let nothing = remove.is_empty() && set.is_empty() && patch.is_empty();
        (!nothing).then(|| Json {
            id: table.into(),
            remove,
            set,
            patch,
            limit: usize::try_from(limit.min(LARGEST_LIMIT)).unwrap_or(usize::MAX),
            on_limit: self.on_limit.unwrap_or_default(),
        })
    }
}

impl Json {
    /// Edits a text.
    pub fn apply(&self, text: &[u8]) -> Edited {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let before: Value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(reason) => return Edited::Misfit(format!("it is no JSON: {reason}")),
        };
        let mut after = before.clone();
        for pointer in &self.remove {
            pointer.remove(&mut after);
        }
        for (pointer, value) in &self.set {
            if !pointer.set(&mut after, value) {
                return Edited::Misfit(format!("no way leads to {} in it", pointer.written));
            }
        }
        if let Err(reason) = json_patch::patch(&mut after, &self.patch) {
            return Edited::Misfit(format!("the patch cannot be applied: {reason}"));
        }
        if before == after {
            return Edited::Unchanged;
        }
        // A value that was read can be written.
        serde_json::to_vec(&after).map_or(Edited::Unchanged, Edited::Changed)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let names = |pointers: &mut dyn Iterator<Item = &Pointer>| {
            let names: Vec<&str> = pointers.map(|pointer| pointer.written.as_str()).collect();
            names.join(", ")
        };
        if !self.remove.is_empty() {
            parts.push(format!("{} removed", names(&mut self.remove.iter())));
        }
        if !self.set.is_empty() {
            parts.push(format!(
                "{} set",
                names(&mut self.set.iter().map(|(pointer, _)| pointer))
            ));
        }
        if !self.patch.is_empty() {
            parts.push(format!("a patch of {} applied", self.patch.len()));
        }
        f.write_str(&parts.join(", "))
    }
}

/// Whether a media type is JSON, in UTF-8 as that is ([RFC 8259 §8.1](https://www.rfc-editor.org/rfc/rfc8259#section-8.1)):
/// `application/json`, `text/json`, `…+json`.
pub fn is_json(media_type: &[u8]) -> bool {
    let Ok(media_type) = str::from_utf8(media_type) else {
        return false;
    };
    let mut parts = media_type.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    });
    let known = ["utf-8", "utf8", "us-ascii"];
    (matches!(name.as_str(), "application/json" | "text/json") || name.ends_with("+json"))
        && charset.is_none_or(|charset| known.iter().any(|known| charset.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a table does.
    #[track_caller]
    fn json(options: &str) -> Json {
        let options: JsonOptions = serde_json::from_str(options).unwrap();
        let mut problems = Vec::new();
        let json = options.build("json", &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        json.unwrap()
    }

    #[track_caller]
    fn check(options: &str, before: &str, after: Option<&str>) {
        let expected = match after {
            Some(after) => Edited::Changed(after.into()),
            None => Edited::Unchanged,
        };
        assert_eq!(json(options).apply(before.as_bytes()), expected, "{options}");
    }

    #[test]
    fn members_are_set_and_removed_where_pointers_lead() {
        let set = r#"{ "set": { "/a/b": 1, "/list/-": 9, "/list/0": true, "/x~1y/~0": "t" } }"#;
        check(
            set,
            r#"{"z":0,"list":[1,2],"a":{"c":2}}"#,
            Some(r#"{"z":0,"list":[true,2,9],"a":{"c":2,"b":1},"x/y":{"~":"t"}}"#),
        );
        check(r#"{ "set": { "": [] } }"#, "5", Some("[]"));
        check(
            r#"{ "remove": ["/b", "/list/1", "/gone/x", "/list/7"] }"#,
            r#"{"a":1,"b":2,"c":3,"list":[1,2,3]}"#,
            Some(r#"{"a":1,"c":3,"list":[1,3]}"#),
        );
        check(r#"{ "remove": ["/b"] }"#, r#"{ "a" : 1 }"#, None);
        check(r#"{ "set": { "/a": 1 } }"#, r#"{ "a" : 1 }"#, None);
    }

    #[test]
    fn what_is_not_named_keeps_its_order_and_its_digits() {
        check(
            r#"{ "remove": ["/secret"] }"#,
            r#"{"z":1.10,"secret":1,"a":123456789012345678901234567890,"m":1e400,"b":"\u00fc"}"#,
            Some(r#"{"z":1.10,"a":123456789012345678901234567890,"m":1e+400,"b":"ü"}"#),
        );
    }

    #[test]
    fn a_patch_is_applied_as_a_whole_or_not_at_all() {
        let patch = r#"{ "patch": [
            { "op": "test", "path": "/a", "value": 1 },
            { "op": "replace", "path": "/a", "value": 1.5 },
            { "op": "move", "from": "/b", "path": "/c" },
            { "op": "add", "path": "/list/0", "value": {} },
            { "op": "copy", "from": "/a", "path": "/d" }
        ] }"#;
        check(
            patch,
            r#"{"a":1,"b":2,"list":[]}"#,
            Some(r#"{"a":1.5,"list":[{}],"c":2,"d":1.5}"#),
        );
        let other = json(patch).apply(br#"{"a":2,"b":2,"list":[]}"#);
        assert!(matches!(other, Edited::Misfit(why) if why.contains("patch cannot be applied")));
        let text = serde_json::json!({ "patch": r#"[{ "op": "add", "path": "/n", "value": null }]"# });
        check(&text.to_string(), "{}", Some(r#"{"n":null}"#));
    }

    #[test]
    fn what_is_no_json_is_told_and_not_changed() {
        let json = json(r#"{ "set": { "/a/b": 1 } }"#);
        for (text, why) in [
            ("", "no JSON"),
            ("{", "no JSON"),
            ("{} {}", "no JSON"),
            ("\u{fffd}", "no JSON"),
            ("[]", "no way leads to /a/b"),
            (r#"{"a":1}"#, "no way leads to /a/b"),
        ] {
            assert!(
                matches!(json.apply(text.as_bytes()), Edited::Misfit(found) if found.contains(why)),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(json.apply(deep.as_bytes()), Edited::Misfit(_)));
        assert_eq!(
            json.apply(b"\xef\xbb\xbf{}"),
            Edited::Changed(br#"{"a":{"b":1}}"#.to_vec())
        );
    }

    #[test]
    fn a_pointer_that_is_none_is_told() {
        for options in [
            r#"{ "set": { "a": 1 } }"#,
            r#"{ "remove": ["/a~2"] }"#,
            r#"{ "patch": [{ "op": "raplace", "path": "/a" }] }"#,
            r#"{ "patch": "[" }"#,
            r#"{ "limit": "0B" }"#,
            r#"{ "limit": "1GiB" }"#,
        ] {
            let options: JsonOptions = serde_json::from_str(options).unwrap();
            let mut problems = Vec::new();
            options.build("json", &mut problems);
            assert_eq!(problems.len(), 1, "{options:?}");
        }
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        for (media_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/problem+json", true),
            ("text/json;charset=\"utf-8\"", true),
            ("application/json; charset=utf-16", false),
            ("application/x-ndjson", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(media_type.as_bytes()), expected, "{media_type}");
        }
    }
}
