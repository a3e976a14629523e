//! `amb config explain`: one key, what it is for, what every layer says about it, and which of them wins.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Role, Sources,
    error::{ConfigError, dotted},
    schema::{self, Key},
    secret,
    show::find,
};

/// Explains a key, or every key of a table.
///
/// # Errors
///
/// There is no such key.
pub fn explain(sources: &Sources, written: &str) -> Result<String, ConfigError> {
    let path = find(written)?;
    let mut parts = Vec::new();
    for key in schema::keys().iter().filter(|key| !key.is_inside()) {
        if key.entry.is_some() && (path.starts_with(&key.path) || key.path.starts_with(&path)) {
            let below = if path.len() > key.path.len() { &path } else { &key.path };
            let entries = sources.keys_below(below);
            if entries.is_empty() {
                parts.push(format!("{}\n\n  no layer has an entry\n{}", dotted(below), about(key)));
            }
            let explained = entries.iter().map(|entry| one(sources, key, entry));
            parts.extend(explained);
        } else if key.path.starts_with(&path) {
            parts.push(one(sources, key, &key.path));
        }
    }
    Ok(parts.join("\n"))
}

/// Explains one value.
fn one(sources: &Sources, key: &Key, path: &[String]) -> String {
    let history = sources.history(path);
    let value = sources.value(path).or_else(|| key.default.clone());
    let mut text = match &value {
        Some(value) => format!("{} = {}\n\n", dotted(path), secret::toml(value)),
        None => format!(
            "{}: {}\n\n",
            dotted(path),
            key.default_text.as_deref().unwrap_or("not set")
        ),
    };
    let rows: Vec<[String; 4]> = history
        .iter()
        // An entry of a table has no default: it is there or it is not.
        .filter(|step| key.entry.is_none() || step.source.layer != "built-in")
        .map(|step| {
            let said = match &step.value {
                Value::Null => key.default_text.clone().unwrap_or_else(|| "not set".to_owned()),
                value => secret::toml(value),
            };
            let (sign, verdict) = match step.role {
                Role::Wins => ("", "← wins"),
                Role::Adds => ("+ ", "← adds"),
                Role::Covered => ("", ""),
            };
            let layer = match step.source.layer.as_str() {
                "built-in" => "",
                layer => layer,
            };
            [
                format!("{sign}{said}"),
                step.source.place.clone(),
                layer.to_owned(),
                verdict.to_owned(),
            ]
        })
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let (first, second, third) = (width(0), width(1), width(2));
    for [said, place, layer, verdict] in &rows {
        let line = format!("  {said:<first$}  {place:<second$}  {layer:<third$}  {verdict}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&about(key));
    text
}

/// What a key is for, what it takes and how else it is set.
fn about(key: &Key) -> String {
    let mut text = format!("\n  {}\n", key.summary);
    if !key.details.is_empty() {
        writeln!(text, "  {}", key.details.replace("\n\n", "\n  ")).unwrap_or_default();
    }
    writeln!(text, "\n  takes     {}", key.kind).unwrap_or_default();
    if let Some(flag) = &key.flag {
        writeln!(text, "  flag      {flag}").unwrap_or_default();
    }
    if let Some(variable) = key.variable.as_ref().filter(|_| key.entry.is_none()) {
        writeln!(text, "  variable  {variable}").unwrap_or_default();
    }
    if key.is_list {
        let mut extended = key.path.clone();
        if let Some(name) = extended.last_mut() {
            name.insert_str(0, super::layer::EXTEND);
        }
        writeln!(text, "  adding    {}", dotted(&extended)).unwrap_or_default();
    }
    if let Some(danger) = &key.danger {
        let when = if danger.only_outside {
            "with a path that leads out, "
        } else if danger.only_reading {
            "with a value that names a file or a variable, "
        } else {
            ""
        };
        writeln!(
            text,
            "  trust     {when}it {}, so in a project's file it needs `amb trust`",
            danger.does
        )
        .unwrap_or_default();
    }
    text
}
