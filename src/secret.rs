//! Secrets: named once in `[secret]`, used by reference (`secret:NAME`), shown to nobody.
//!
//! What is known of a secret before it is fetched is its [`Source`] and where it may go ([`policy::secret`](crate::policy::auth)).
//! The [`Store`] fetches each from its source, all of them before the command starts but for those that are `lazy`, and
//! tells the [`veil`] of it, behind which it stays. A [`Secret`] is wiped from memory when the last who
//! needs it lets it go.

#![expect(
    clippy::disallowed_methods,
    reason = "secrets are fetched outside of the proxy's event loop, whose clock tests may pause"
)]

pub mod options;
mod source;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::veil;

/// The largest secret, in bytes: a header with it still fits.
const MOST_BYTES: usize = 32 * 1024;

/// A value that is shown to nobody and wiped when it is dropped. It cannot be cloned: it is shared.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The value itself, for whoever sends it where it belongs.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(veil::MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(veil::MASK)
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A variable of amb's own environment.
    Variable(String),
    /// What a program prints.
    Command(Vec<OsString>),
    /// What the service manager has put for amb in `$CREDENTIALS_DIRECTORY`: `LoadCredential=` of systemd.exec(5).
    Credential(String),
    /// What the desktop's keyring holds: the [Secret Service].
    ///
    /// [Secret Service]: https://specifications.freedesktop.org/secret-service-spec/latest/
    Keyring {
        /// Its attribute `service`.
        service: String,
        /// Its attribute `username`.
        user: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
            // Its arguments may tell more than is good.
            Self::Command(words) => {
                let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
                write!(f, "the command {program}")
            }
            Self::Credential(name) => write!(f, "the credential {name}"),
            Self::Keyring { service, user } => write!(f, "the keyring's entry {service} of {user}"),
        }
    }
}

/// How a secret is to be had. Every value is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// From where.
    pub source: Source,
    /// Whether the command does not get the variable that it comes from.
    pub hide_from_child: bool,
    /// Whether it is fetched when it is first needed, and not before the command starts.
    pub lazy: bool,
    /// After this long it is fetched anew; none keeps it for the run.
    pub cache: Option<Duration>,
}

/// Why there is no secret. Never holds any of its value.
#[derive(Clone, Debug, Error)]
#[error("the secret `{name}` cannot be had from {origin}: {reason}")]
pub struct SecretError {
    /// What it is called.
    pub name: String,
    /// Where it was to come from.
    pub origin: String,
    /// Why not.
    pub reason: String,
}

/// A secret that was fetched.
#[derive(Debug)]
struct Held {
    /// It.
    secret: Arc<Secret>,
    /// When it is of no use any more; none for never.
    until: Option<Instant>,
}

/// A secret and how it is to be had.
#[derive(Debug)]
struct Entry {
    /// How.
    recipe: Recipe,
    /// As it was fetched last. Whoever fetches it has the lock meanwhile, so that it is fetched once; nobody waits for that
    /// on a thread that serves others.
    held: Mutex<Option<Held>>,
}

/// All secrets of a run, by name.
#[derive(Debug, Default)]
pub struct Store {
    /// Them.
    entries: BTreeMap<String, Entry>,
    /// The variables of amb's own environment that secrets come from or that programs get who print secrets, as amb was
    /// started with.
    environment: Vec<(OsString, Zeroizing<Vec<u8>>)>,
}

impl Store {
    /// Nothing fetched yet. `environment` is amb's own.
    pub fn new(recipes: &BTreeMap<String, Recipe>, environment: &[(OsString, OsString)]) -> Self {
        let wants_all = recipes
            .values()
            .any(|recipe| matches!(recipe.source, Source::Command(_) | Source::Keyring { .. }));
        let is_wanted = |name: &OsString| {
            let is_source = |recipe: &Recipe| match &recipe.source {
                Source::Variable(known) => name == known.as_str(),
                Source::Credential(_) => name == source::CREDENTIALS,
                _ => false,
            };
            wants_all || recipes.values().any(is_source)
        };
        let kept = environment.iter().filter(|(name, _)| is_wanted(name));
        Self {
            entries: recipes
                .iter()
                .map(|(name, recipe)| {
                    let entry = Entry {
                        recipe: recipe.clone(),
                        held: Mutex::default(),
                    };
                    (name.clone(), entry)
                })
                .collect(),
            environment: kept
                .map(|(name, value)| (name.clone(), Zeroizing::new(value.as_encoded_bytes().to_vec())))
                .collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The variables that the command does not get, each once.
    pub fn hidden(&self) -> Vec<&str> {
        let mut hidden: Vec<&str> = self
            .entries
            .values()
            .filter(|entry| entry.recipe.hide_from_child)
            .filter_map(|entry| match &entry.recipe.source {
                Source::Variable(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        hidden.sort_unstable();
        hidden.dedup();
        hidden
    }

    /// Fetches all that are not lazy. Returns what people should know, a sentence each.
    ///
    /// # Errors
    /// Every one that cannot be had.
    pub fn fetch_all(&self) -> Result<Vec<String>, Vec<SecretError>> {
        let (mut notes, mut errors) = (Vec::new(), Vec::new());
        for (name, entry) in self.entries.iter().filter(|(_, entry)| !entry.recipe.lazy) {
            match self.fetch(name, entry) {
                Ok((_, found)) => notes.extend(found),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(notes) } else { Err(errors) }
    }

    /// Learns what can be learnt without starting anything, so that it is masked: for those who only look.
    pub fn learn_what_is_at_hand(&self) {
        for (name, entry) in &self.entries {
            if !matches!(entry.recipe.source, Source::Command(_))
                && let Err(error) = self.fetch(name, entry)
            {
                tracing::debug!(%error, "not masked, since it is not known");
            }
        }
    }

    /// The secret, if it was fetched and is still good: costs a look.
    pub fn ready(&self, name: &str) -> Option<Arc<Secret>> {
        let held = self.entries.get(name)?.held.try_lock().ok()?;
        held.as_ref()
            .filter(|held| held.until.is_none_or(|until| Instant::now() < until))
            .map(|held| Arc::clone(&held.secret))
    }

    /// The secret, fetched if need be: may block for as long as a program takes to print it.
    ///
    /// # Errors
    /// It cannot be had, or there is none of this name.
    pub fn get(&self, name: &str) -> Result<Arc<Secret>, SecretError> {
        let Some(entry) = self.entries.get(name) else {
            return Err(SecretError {
                name: name.to_owned(),
                origin: "anywhere".to_owned(),
                reason: "there is no entry of this name in [secret]".to_owned(),
            });
        };
        let (secret, notes) = self.fetch(name, entry)?;
        for note in notes {
            tracing::warn!("{note}");
        }
        Ok(secret)
    }

    /// The secret as it is held, or fetched anew; and what people should know of that.
    fn fetch(&self, name: &str, entry: &Entry) -> Result<(Arc<Secret>, Vec<String>), SecretError> {
        let mut held = entry.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(good) = held
            .as_ref()
            .filter(|held| held.until.is_none_or(|until| Instant::now() < until))
        {
            return Ok((Arc::clone(&good.secret), Vec::new()));
        }
        let recipe = &entry.recipe;
        let failed = |reason: String| SecretError {
            name: name.to_owned(),
            origin: recipe.source.to_string(),
            reason,
        };
        let (mut value, note) = source::read(&recipe.source, &self.environment).map_err(failed)?;
        trim(&mut value);
        let mut notes: Vec<String> = note
            .map(|note| format!("the secret `{name}`: {note}"))
            .into_iter()
            .collect();
        if value.is_empty() {
            return Err(failed("it is empty".to_owned()));
        }
        if value.len() > MOST_BYTES {
            return Err(failed(format!("it has more than {MOST_BYTES} bytes")));
        }
        if !veil::learn(&value) {
            notes.push(format!(
                "the secret `{name}` has fewer than {} characters: it is not masked where it stands inside other text",
                veil::SHORTEST
            ));
        }
        let secret = Arc::new(Secret(value));
        *held = Some(Held {
            secret: Arc::clone(&secret),
            until: recipe.cache.map(|cache| Instant::now() + cache),
        });
        Ok((secret, notes))
    }
}

/// Takes off the line end that files and programs put behind a value.
fn trim(value: &mut Zeroizing<Vec<u8>>) {
    while matches!(value.last(), Some(b'\n' | b'\r')) {
        value.pop();
    }
}

#[cfg(test)]
mod tests;
