//! The lockfile of `egress.locked`, as a layer: what it names is `egress.allow`, and nothing else may be reached.
//!
//! It is above all other layers and below what the central policy enforces, so that a policy bounds it like any list.

use std::{path::Path, sync::Arc};

use figment::value::{Dict, Value};

use super::{
    error::Origin,
    files::{self, File},
    layer::{Layer, Rank},
    tree::nest,
};
use crate::policy::egress::lock::Lock;

/// Reads a lockfile; `path` is relative to `directory`.
///
/// # Errors
/// It is not there or is none.
pub(super) fn read(directory: &Path, path: &Path) -> Result<(Lock, Layer), String> {
    let shown = path.display().to_string();
    let file = files::optional(directory, path).map_err(|error| error.reason)?;
    let file =
        file.ok_or_else(|| format!("there is no {shown}; a run with --learn {shown} that ends well writes it"))?;
    let lock = Lock::read(&shown, &file.text).map_err(|(line, reason)| format!("line {line} of {shown}: {reason}"))?;
    let layer = layer(&lock, file);
    Ok((lock, layer))
}

/// What it says.
fn layer(lock: &Lock, file: File) -> Layer {
    let places: Vec<Value> = lock.places().into_iter().map(Value::from).collect();
    let table = Dict::from([
        ("mode".to_owned(), Value::from("enforce")),
        ("default".to_owned(), Value::from("deny")),
        ("allow".to_owned(), Value::from(places)),
    ]);
    let values = nest(&["egress".to_owned()], Value::from(table));
    Layer::new(Rank::Locked, Origin::File(Arc::new(file)), values)
}
