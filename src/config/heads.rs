//! Headers among the layers: their names are the same whatever their case, and credentials are not for command lines.

use std::collections::BTreeMap;

use super::{
    error::{ConfigError, Mark},
    layer::{Layer, Rank},
};
use crate::policy::edit::header::is_exposed;

/// The tables of headers that layers merge.
const TABLES: [[&str; 2]; 4] = [
    ["headers", "set"],
    ["headers", "add"],
    ["response-headers", "set"],
    ["response-headers", "add"],
];

/// The name of a header, if that is what `key` leads to.
fn name(key: &[String]) -> Option<&str> {
    let (name, table) = key.split_last()?;
    let known = TABLES.iter().any(|known| known.iter().eq(table.iter()));
    known.then_some(name.as_str())
}

/// Whether what is at `key`, a text, is a credential that would be seen where values are shown.
pub(super) fn is_credential(key: &[String], text: &str) -> bool {
    // Inside a route, too.
    let tail = key.len().saturating_sub(3);
    name(&key[tail..]).is_some_and(|name| is_exposed(name, text))
}

/// Gives headers that layers spell differently the spelling of the strongest layer, so that it is one header that they are
/// about. The weakest layer comes first.
pub(super) fn spell_alike(layers: &mut [Layer]) {
    let mut spellings: BTreeMap<(Vec<String>, String), String> = BTreeMap::new();
    for layer in layers.iter_mut().rev() {
        for key in layer.keys() {
            let Some(name) = name(&key) else { continue };
            let table = key[..key.len() - 1].to_vec();
            let spelling = spellings
                .entry((table, name.to_ascii_lowercase()))
                .or_insert_with(|| name.to_owned());
            if spelling != name {
                layer.rename(&key, spelling);
            }
        }
    }
}

/// A warning of each credential that the command line holds, where everybody can see it.
pub(super) fn warnings(layers: &[Layer]) -> Vec<ConfigError> {
    let mut warnings = Vec::new();
    for layer in layers
        .iter()
        .filter(|layer| matches!(layer.rank, Rank::Flag | Rank::Set))
    {
        for key in layer.keys() {
            let Some(text) = layer.value(&key).and_then(|value| value.as_str()) else {
                continue;
            };
            if is_credential(&key, text) {
                let name = key.last().cloned().unwrap_or_default();
                let reason = format!("`{name}` holds a credential, and everybody on this machine can see it with ps");
                let hint = Some(format!("put it in a file: -H '{name}: @FILE'"));
                warnings.push(ConfigError::at(layer.origin.clone(), key, Mark::Value, reason, hint));
            }
        }
    }
    warnings
}
