//! Secrets before the command starts: they are fetched, what holds them is kept from others, and what the command is not to
//! see of amb's environment is taken out of it.

use std::{borrow::Cow, ffi::OsString, sync::Arc};

use crate::{
    cli,
    config::Config,
    secret::Store,
    supervise::{forget_variables, keep_memory_private},
    veil,
};

/// What a run has of secrets.
pub(super) struct Secrets<'a> {
    /// Them.
    pub(super) store: Arc<Store>,
    /// amb's environment as the command may inherit it.
    pub(super) environment: Cow<'a, [(OsString, OsString)]>,
}

/// Has what is known to be secret masked wherever it would be written.
pub(super) fn veil(config: &Config) {
    let redact = &config.policy.redact;
    veil::configure(&redact.patterns, redact.style.clone());
}

/// Fetches the secrets. Costs nothing where there are none; a process that holds some can be looked into by nobody.
///
/// To be called as long as there is one thread.
///
/// # Errors
/// A line for each that cannot be had.
pub(super) fn fetch<'a>(
    config: &Config,
    quiet: bool,
    environment: &'a [(OsString, OsString)],
) -> Result<Secrets<'a>, String> {
    veil(config);
    let store = Arc::new(Store::new(&config.secrets, environment));
    if store.is_empty() {
        return Ok(Secrets {
            store,
            environment: Cow::Borrowed(environment),
        });
    }
    keep_memory_private();
    let fetched = store.fetch_all();
    // Whether or not: a panic that follows is to find nothing there.
    let hidden = store.hidden();
    forget_variables(&hidden);
    match fetched {
        Ok(notes) => {
            for note in notes.iter().filter(|_| !quiet) {
                cli::say(&format!("warning: {note}"));
            }
            let environment = Cow::Owned(visible(environment, &hidden));
            Ok(Secrets { store, environment })
        }
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
    }
}

/// The environment without these variables.
pub(super) fn visible(environment: &[(OsString, OsString)], hidden: &[&str]) -> Vec<(OsString, OsString)> {
    let shown = environment
        .iter()
        .filter(|(name, _)| !hidden.iter().any(|hidden| name == hidden));
    shown.cloned().collect()
}
