//! What can be configured, read off the options themselves: for editors as a JSON Schema, for the rest of amb as a list.
//!
//! Everything stands beside the option it is about. The documentation of a field is its description, what stands there
//! in `[default: …]` its default in words, the field's attribute `schemars(extend(…))` holds what else there is:
//!
//! | Word | What it says |
//! | --- | --- |
//! | `default` | the built-in default as a value, where it is one |
//! | `x-danger` | what a file that was merely found could do with it; see [`trust`](super::trust) |
//! | `x-danger-if` | when: `outside`, if the value names a file outside the working directory; `reads`, if it refers to a file or a variable |
//! | `writeOnly` | its value is shown to nobody |
//! | `x-entry` | a table has entries under names of this form |
//!
//! The flag is the argument whose id is the key. Nothing here runs in a run without mistakes: making the schema takes
//! longer than loading the configuration.

use std::sync::OnceLock;

use clap::Args;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Options, error::dotted, layer::EXTEND, variables};

/// The name of the dialect, the one that editors know best.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// What stands in a path for any element of a list, and for any name in a table whose names the user chooses.
pub const ANY: &str = "*";

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its path: `["timeout", "connect"]`, or `["route", "*", "rewrite"]` inside the elements of a list.
    pub path: Vec<String>,
    /// The form of the names of its entries, such as `HOST:PORT`, if it is a table whose names the user chooses.
    pub entry: Option<String>,
    /// What it is for, in a line.
    pub summary: String,
    /// What else there is to know of it; may be empty.
    pub details: String,
    /// What values it takes, in words: `a duration with its unit, such as 5s`.
    pub kind: String,
    /// The words that it takes, each with what it says, if these are all.
    pub choices: Vec<(String, String)>,
    /// Whether it is a list, to which `extend-…` can add.
    pub is_list: bool,
    /// Its built-in default, if that is a value.
    pub default: Option<Value>,
    /// Its built-in default, in words.
    pub default_text: Option<String>,
    /// Its flag: `--connect-timeout`.
    pub flag: Option<String>,
    /// Its variable: `AMB_TIMEOUT__CONNECT`; none inside elements and entries, and for lists of tables.
    pub variable: Option<String>,
    /// What a file that was merely found could do with it.
    pub danger: Option<Danger>,
    /// Whether its value is shown to nobody.
    pub secret: bool,
}

/// Why a key is not taken from a file that was merely found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Danger {
    /// What it does, to go on a sentence that begins with the key.
    pub does: String,
    /// Whether that is so only for a value that names a file outside the working directory.
    pub only_outside: bool,
    /// Whether that is so only for a value that refers to a file or a variable.
    pub only_reading: bool,
}

impl Key {
    /// The key as it is written: `timeout.connect`.
    pub fn name(&self) -> String {
        let parts: Vec<String> = self
            .path
            .iter()
            .map(|part| {
                if part == ANY {
                    ANY.to_owned()
                } else {
                    dotted(std::slice::from_ref(part))
                }
            })
            .collect();
        parts.join(".")
    }

    /// Whether it is inside the elements of a list or the entries of a table, and so is no value by itself.
    pub fn is_inside(&self) -> bool {
        self.path.iter().any(|part| part == ANY)
    }

    /// Whether `path` leads to it, with a number for each element and a name for each entry.
    fn fits(&self, path: &[String]) -> bool {
        let length = self.path.len();
        let entry = self.entry.is_some() && path.len() == length + 1;
        (path.len() == length || entry)
            && self
                .path
                .iter()
                .zip(path)
                .all(|(known, part)| known == ANY || known == part)
    }
}

/// Every key, sorted by its path.
pub fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys = Vec::new();
        collect(&tables(), &mut Vec::new(), &mut keys);
        keys
    })
}

/// The key at `path`, or the one whose entry is at `path`.
pub fn key_of(path: &[String]) -> Option<&'static Key> {
    keys().iter().find(|key| key.fits(path))
}

/// The built-in default of the key at `path`, if that is a value.
pub(super) fn default_of(path: &[String]) -> Option<Value> {
    key_of(path)?.default.clone()
}

/// Whether the value at `path` is shown to nobody.
pub(super) fn is_secret(path: &[String]) -> bool {
    key_of(path).is_some_and(|key| key.secret)
}

/// The flag of the key at `path`, or of the table whose entry it is.
pub(super) fn flag(path: &[String]) -> Option<String> {
    let flags = flags();
    (1..=path.len()).rev().find_map(|length| {
        let name = dotted(&path[..length]);
        let found = flags.iter().find(|(id, _)| *id == name);
        found.map(|(_, flag)| flag.clone())
    })
}

/// The schema of `amb.toml`.
pub fn document() -> Value {
    let tables = tables();
    let reference = |name: &String| json!({ "$ref": format!("#/definitions/{name}") });
    let mut references: Map<String, Value> = tables.keys().map(|name| (name.clone(), reference(name))).collect();
    let lists = tables.iter().filter(|(_, schema)| is_list(schema));
    let extensions: Vec<_> = lists
        .map(|(name, _)| (format!("{EXTEND}{name}"), reference(name)))
        .collect();
    references.extend(extensions);
    let mut properties = references.clone();
    properties.insert(
        super::layer::VERSION.to_owned(),
        json!({ "type": "integer", "minimum": 1, "default": 1, "description": "The version of this file's format" }),
    );
    properties.insert(
        super::layer::PROFILE.to_owned(),
        json!({
            "type": "object",
            "description": "Values that hold when --profile or AMB_PROFILE names them, over those of all files",
            "additionalProperties": {
                "type": "object",
                "properties": references,
                "additionalProperties": false,
            },
        }),
    );
    let mut definitions = tables;
    for table in definitions.values_mut() {
        add_extensions(table);
    }
    json!({
        "$schema": DIALECT,
        "title": "amb.toml",
        "description": "The configuration of amb, which gives one process a proxy of its own",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions,
    })
}

/// The tables of the configuration, each with its schema.
fn tables() -> Map<String, Value> {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<Options>().to_value();
    simplify(&mut schema);
    match schema.get_mut("properties") {
        Some(Value::Object(tables)) => std::mem::take(tables),
        _ => Map::new(),
    }
}

/// Takes out what comes of every field being optional in the program: TOML has no null, and an absent table is no value.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(variants)) = object.get_mut("anyOf") {
                variants.retain(|variant| *variant != json!({ "type": "null" }));
                if variants.len() == 1
                    && let Some(Value::Object(only)) = variants.pop()
                {
                    object.remove("anyOf");
                    for (name, value) in only {
                        object.entry(name).or_insert(value);
                    }
                }
            }
            if object
                .get("default")
                .is_some_and(|value| *value == json!({}) || value.is_null())
            {
                object.remove("default");
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(elements) => elements.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// Gives each list of a table its `extend-…`.
fn add_extensions(table: &mut Value) {
    let Some(Value::Object(properties)) = table.get_mut("properties") else {
        return;
    };
    let mut added = Map::new();
    for (name, schema) in properties.iter_mut() {
        add_extensions(schema);
        if is_list(schema) {
            let mut extension = schema.clone();
            if let Value::Object(extension) = &mut extension {
                extension.remove("default");
                let text = format!("Adds to what weaker layers set as `{name}`, or to its built-in default");
                extension.insert("description".to_owned(), Value::from(text));
            }
            added.insert(format!("{EXTEND}{name}"), extension);
        }
    }
    properties.extend(added);
}

/// Whether a schema takes lists.
fn is_list(schema: &Value) -> bool {
    let takes = |schema: &Value| schema["type"] == "array";
    takes(schema)
        || schema["anyOf"]
            .as_array()
            .is_some_and(|variants| variants.iter().any(takes))
}

/// Collects the keys of a table at `path`.
fn collect(properties: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<Key>) {
    let mut properties: Vec<_> = properties.iter().collect();
    properties.sort_by_key(|(name, _)| *name);
    for (name, schema) in properties {
        path.push(name.clone());
        if let Some(Value::Object(inner)) = schema.get("properties") {
            collect(inner, path, found);
        } else {
            found.push(key(path, schema));
            collect_inside(schema, path, found);
        }
        path.pop();
    }
}

/// Collects the keys inside a value at `path`: those of the elements of a list, of the entries of a table, of each of its
/// variants.
fn collect_inside(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Key>) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        collect(properties, path, found);
    }
    for variant in ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|name| schema[name].as_array())
        .flatten()
    {
        collect_inside(variant, path, found);
    }
    path.push(ANY.to_owned());
    for inside in ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|name| schema.get(name))
    {
        collect_inside(inside, path, found);
    }
    path.pop();
}

/// The key that a schema describes.
fn key(path: &[String], schema: &Value) -> Key {
    let text = |name: &str| schema[name].as_str().unwrap_or_default();
    let (summary, details) = text("description")
        .split_once("\n\n")
        .unwrap_or((text("description"), ""));
    let summary = summary.replace('\n', " ");
    let (summary, default_text) = match summary.split_once("[default: ") {
        Some((summary, default)) => (summary.trim(), default.strip_suffix(']')),
        None => (summary.as_str(), None),
    };
    let entry = schema["x-entry"].as_str().map(ToOwned::to_owned);
    let choices = choices(schema);
    Key {
        path: path.to_vec(),
        summary: summary.to_owned(),
        // Lines end where the source's do; where they end on a terminal is for whoever shows them.
        details: details
            .split("\n\n")
            .map(|part| part.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n\n"),
        kind: kind(schema, &choices),
        choices,
        is_list: is_list(schema),
        default: schema.get("default").cloned(),
        default_text: default_text.map(ToOwned::to_owned),
        flag: flag(path),
        // Without a table before it, its name would be that of no key.
        variable: (path.len() > 1 && !path.iter().any(|part| part == ANY)).then(|| variables::name(path)),
        danger: schema["x-danger"].as_str().map(|does| Danger {
            does: does.to_owned(),
            only_outside: schema["x-danger-if"] == "outside",
            only_reading: schema["x-danger-if"] == "reads",
        }),
        secret: schema["writeOnly"] == true,
        entry,
    }
}

/// The words that a schema takes, if these are all.
fn choices(schema: &Value) -> Vec<(String, String)> {
    let words = |list: &Value, word: fn(&Value) -> Option<&str>| -> Vec<(String, String)> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(|choice| {
                let about = choice["description"].as_str().unwrap_or_default().replace('\n', " ");
                Some((word(choice)?.to_owned(), about))
            })
            .collect()
    };
    let mut choices = words(&schema["oneOf"], |choice| choice["const"].as_str());
    choices.extend(words(&schema["enum"], Value::as_str));
    choices
}

/// What values a schema takes, in words.
fn kind(schema: &Value, choices: &[(String, String)]) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if !choices.is_empty() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| name.as_str()).collect();
        return format!("one of {}", names.join(", "));
    }
    if let Some(entry) = schema["x-entry"].as_str() {
        let value = &schema["additionalProperties"];
        return format!("entries {entry} = {}", kind(value, &self::choices(value)));
    }
    let plain = match schema["type"].as_str().unwrap_or_default() {
        "boolean" => "true or false",
        "integer" => match (&schema["minimum"], &schema["maximum"]) {
            (Value::Number(least), Value::Number(most)) => return format!("a whole number from {least} to {most}"),
            _ => "a whole number",
        },
        "array" if schema["items"]["type"] == "object" => "a list of tables",
        "array" => "a list of texts",
        "object" => "a table",
        _ => "a text",
    };
    plain.to_owned()
}

/// Every flag that has an id, with the id: that of a key is its name.
fn flags() -> &'static [(String, String)] {
    static FLAGS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    FLAGS.get_or_init(|| {
        Options::augment_args(clap::Command::new("amb"))
            .get_arguments()
            .filter_map(|argument| Some((argument.get_id().to_string(), format!("--{}", argument.get_long()?))))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::JsonSchema;

    use super::*;

    /// What policies may come with: a list of tables, a table of tables, a choice between tables.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Later {
        /// Overrides by destination
        route: Option<Vec<Route>>,
        /// Secrets by name
        secret: Option<BTreeMap<String, Secret>>,
    }

    /// An element.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Route {
        /// Where it goes instead
        #[schemars(extend("x-danger" = "sends requests elsewhere"))]
        rewrite: Option<String>,
        /// The header
        auth: Option<Auth>,
    }

    /// A choice.
    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema counts")]
    enum Auth {
        /// A name.
        Name(String),
        /// A table in a table in a list.
        Table {
            /// The token
            #[schemars(extend("writeOnly" = true))]
            bearer: String,
        },
    }

    /// An entry.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Secret {
        /// A program that prints it
        #[schemars(extend("x-danger" = "starts a program"))]
        command: Option<Vec<String>>,
    }

    #[test]
    fn keys_inside_lists_and_entries_are_found_with_their_marks() {
        let mut settings = SchemaSettings::draft07();
        settings.inline_subschemas = true;
        let mut schema = settings.into_generator().into_root_schema_for::<Later>().to_value();
        simplify(&mut schema);
        let mut found = Vec::new();
        collect(schema["properties"].as_object().unwrap(), &mut Vec::new(), &mut found);
        let told: Vec<_> = found
            .iter()
            .map(|key| (key.name(), key.kind.as_str(), key.danger.is_some(), key.secret))
            .collect();
        let expected = [
            ("route", "a list of tables", false, false),
            ("route.*.auth", "a text", false, false),
            ("route.*.auth.bearer", "a text", false, true),
            ("route.*.rewrite", "a text", true, false),
            ("secret", "a table", false, false),
            ("secret.*.command", "a list of texts", true, false),
        ];
        let expected = expected.map(|(name, kind, danger, secret)| (name.to_owned(), kind, danger, secret));
        assert_eq!(told, expected);
    }
}
