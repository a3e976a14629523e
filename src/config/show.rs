//! `amb config show` and `amb config path`: what holds, where it comes from, which files are read.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{
    Request, Source, Sources,
    error::{ConfigError, dotted},
    layer::Rank,
    schema::{self, Key},
    secret,
    stack::{Found, Stack},
    trust, variables,
};
use crate::spelling::nearest;

/// What of it is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// A key or a table; none for everything.
    pub key: Option<&'a str>,
    /// With the place that each value comes from.
    pub origin: bool,
    /// Only what differs from the built-in defaults, because some layer has set it.
    pub changed: bool,
    /// As JSON.
    pub json: bool,
}

/// A value that holds.
pub(super) struct Effective {
    /// Its key.
    pub(super) path: Vec<String>,
    /// Its value; null if it is the absence of one.
    pub(super) value: Value,
    /// What the absence of a value is called, if it has a name.
    absence: Option<String>,
    /// Who decided it.
    pub(super) sources: Vec<Source>,
}

/// The configuration that holds, as TOML or as JSON.
///
/// # Errors
///
/// There is no such key.
pub fn show(sources: &Sources, wanted: Wanted<'_>) -> Result<String, ConfigError> {
    let path = wanted.key.map(find).transpose()?;
    let whole = path.as_ref().is_some_and(|path| {
        schema::keys()
            .iter()
            .any(|key| key.path == *path && key.entry.is_none())
    });
    let path = path.unwrap_or_default();
    let mut found = effective(sources, &path);
    if wanted.changed {
        found.retain(|value| sources.value(&value.path).is_some());
    }
    Ok(match (wanted.json, found.as_slice()) {
        (true, [only]) if whole && !wanted.origin => line(&only.value.to_string()),
        (true, found) => line(&format!("{:#}", as_json(found, wanted.origin))),
        // A value by itself is for a script: without the quotes of TOML.
        (false, [only]) if whole && !wanted.origin => match &only.value {
            Value::Null => String::new(),
            Value::String(text) => line(text),
            other => line(&secret::toml(other)),
        },
        (false, found) => as_toml(found, wanted.origin),
    })
}

/// All of the configuration that holds, as TOML, each value with its origin.
pub fn all(sources: &Sources) -> String {
    as_toml(&effective(sources, &[]), true)
}

/// A text as a line.
fn line(text: &str) -> String {
    format!("{text}\n")
}

/// The path of a key as somebody wrote it: in TOML, or as a variable.
///
/// # Errors
///
/// There is no such key or table.
pub(super) fn find(written: &str) -> Result<Vec<String>, ConfigError> {
    let path = match variables::key(written) {
        Some(path) => path,
        None => match toml_edit::Key::parse(written) {
            Ok(parts) => parts.iter().map(|part| part.get().to_owned()).collect(),
            Err(_) => vec![written.to_owned()],
        },
    };
    if schema::key_of(&path).is_some() || schema::keys().iter().any(|key| key.path.starts_with(&path)) {
        return Ok(path);
    }
    let keys = || schema::keys().iter().filter(|key| !key.is_inside());
    let names: Vec<String> = keys().map(Key::name).collect();
    let last = path.last().map(String::as_str).unwrap_or_default();
    let by_last = || {
        let same = keys().find(|key| key.path.last().is_some_and(|name| name == last));
        same.map(Key::name)
    };
    let by_flag = || {
        let flag = format!("--{}", last.trim_start_matches('-'));
        keys().find(|key| key.flag.as_ref() == Some(&flag)).map(Key::name)
    };
    let hint = nearest(written, names.iter().map(String::as_str))
        .map(ToOwned::to_owned)
        .or_else(by_flag)
        .or_else(by_last)
        .map_or_else(
            || "`amb config show` lists them".to_owned(),
            |name| format!("did you mean `{name}`?"),
        );
    Err(ConfigError::other(format!(
        "there is no key `{}`; {hint}",
        written.escape_debug()
    )))
}

/// Every value at or below `path`, set or not, by key.
pub(super) fn effective(sources: &Sources, path: &[String]) -> Vec<Effective> {
    let mut found = Vec::new();
    for key in schema::keys()
        .iter()
        .filter(|key| !key.is_inside())
        .filter(|key| key.path.starts_with(path) || path.starts_with(&key.path))
    {
        let paths = match &key.entry {
            Some(_) => sources.keys_below(if path.len() > key.path.len() { path } else { &key.path }),
            None => vec![key.path.clone()],
        };
        found.extend(paths.into_iter().map(|path| Effective {
            value: sources.value(&path).or_else(|| key.default.clone()).unwrap_or_default(),
            absence: key.default_text.clone(),
            sources: sources.sources(&path),
            path,
        }));
    }
    found
}

/// As TOML: a line for each, which can be searched and can be read back.
pub(super) fn as_toml(found: &[Effective], origin: bool) -> String {
    let mut text = String::new();
    for effective in found {
        let name = dotted(&effective.path);
        let mut said = match (&effective.value, &effective.absence) {
            (Value::Null, None) => continue,
            (Value::Null, Some(absence)) => format!("# {name}: {absence}"),
            (value, _) => format!("{name} = {}", secret::toml(value)),
        };
        if origin {
            let places: Vec<&str> = effective.sources.iter().map(|source| source.place.as_str()).collect();
            said = format!("{said:<40}  # {}", places.join(" + "));
        }
        text.push_str(&said);
        text.push('\n');
    }
    text
}

/// As JSON: the tables with their values, or a list that has the sources too.
pub(super) fn as_json(found: &[Effective], origin: bool) -> Value {
    if origin {
        let entry = |effective: &Effective| {
            let sources: Vec<Value> = effective
                .sources
                .iter()
                .map(|source| json!({ "layer": source.layer, "place": source.place }))
                .collect();
            json!({ "key": dotted(&effective.path), "value": effective.value, "sources": sources })
        };
        return found.iter().map(entry).collect();
    }
    let mut root = Map::new();
    for effective in found.iter().filter(|effective| !effective.value.is_null()) {
        let Some((name, tables)) = effective.path.split_last() else {
            continue;
        };
        let mut table = &mut root;
        for name in tables {
            let inner = table.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else {
                return Value::Null;
            };
            table = inner;
        }
        table.insert(name.clone(), effective.value.clone());
    }
    Value::Object(root)
}

/// Every place that is looked in for a file, the weakest first, and what is there.
pub fn paths(request: &Request) -> String {
    let stack = Stack::read(request);
    let mut text = String::new();
    for looked in &stack.looked {
        let state = match &looked.found {
            Found::Nothing if looked.rank == Rank::Project => {
                "no amb.toml, .amb.toml or .config/amb.toml, as far as the project reaches"
            }
            Found::Nothing => "absent",
            Found::LeftOut => "left out (--no-config)",
            Found::Broken => "not readable: see `amb config check`",
            Found::File(_) if looked.rank == Rank::Project => match trust::state(&stack, request) {
                "" => "read",
                state => state,
            },
            Found::File(_) => "read",
        };
        let path = match &looked.found {
            Found::File(file) => file.shown.clone(),
            _ => looked
                .path
                .as_ref()
                .map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
        };
        let rank = looked.rank.to_string();
        writeln!(text, "{rank:<9} {path}  {state}").unwrap_or_default();
    }
    if !stack.profiles.is_empty() {
        writeln!(text, "profiles  {}", stack.profiles.join(", ")).unwrap_or_default();
    }
    text
}
