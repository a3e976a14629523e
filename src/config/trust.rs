//! Trust in a project's file: what comes with a checkout may not lead requests elsewhere before somebody has looked at it.
//!
//! Only a file that was *found* is distrusted, and only if it sets a key that is marked `x-danger` beside its option. A file
//! that was asked for by `--config` is trusted by that, and `AMB_TRUST=1` trusts every one, for CI. Otherwise `amb trust`
//! says once that this file, with this content, is trusted; that is kept in the state directory, as a file for each
//! content, so that switching between two branches does not ask again.
//!
//! `amb run` would be of little use to somebody who can already run what is in the checkout. It is `amb run -- curl …` in
//! somebody else's directory that must not hand a token to somebody else's proxy.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use figment::value::Value;
use sha2::{Digest, Sha256};

use super::{
    Request,
    error::{ConfigError, Mark, Origin, dotted},
    files::{self, File},
    layer::{Findings, Layer, Rank},
    schema, secret,
    stack::{Found, Stack},
    tree,
};

/// The variable that trusts every file.
pub(super) const VARIABLE: &str = "AMB_TRUST";

/// The keys that are marked `x-danger`, sorted, and whether they are so only for some values: for a file outside the working
/// directory, or for what is read from a file or a variable.
///
/// A list, because making the schema for it takes longer than a run may. A test compares it with the marks.
const DANGEROUS: &[(&[&str], bool)] = &[
    (&["access-log", "file"], true),
    (&["auth"], false),
    (&["connect-to"], false),
    (&["egress", "allow"], false),
    (&["egress", "default"], false),
    (&["egress", "deny"], false),
    (&["egress", "learn"], true),
    (&["egress", "locked"], true),
    (&["egress", "mode"], false),
    (&["egress", "rule"], false),
    (&["headers", "add"], true),
    (&["headers", "env"], false),
    (&["headers", "set"], true),
    (&["metrics", "listen"], false),
    (&["metrics", "pushgateway"], false),
    (&["metrics", "textfile"], true),
    (&["otel", "endpoint"], false),
    (&["otel", "headers"], false),
    (&["report", "events"], true),
    (&["report", "files"], true),
    (&["report", "keep"], false),
    (&["resolve"], false),
    (&["response-body", "file"], false),
    (&["response-headers", "add"], true),
    (&["response-headers", "set"], true),
    (&["route", "*", "auth"], false),
    (&["route", "*", "headers", "add"], true),
    (&["route", "*", "headers", "set"], true),
    (&["route", "*", "response-body", "file"], false),
    (&["route", "*", "response-headers", "add"], true),
    (&["route", "*", "response-headers", "set"], true),
    (&["route", "*", "rewrite", "host"], false),
    (&["route", "*", "rewrite", "path-prefix"], false),
    (&["route", "*", "rewrite", "port"], false),
    (&["route", "*", "rewrite", "query", "add"], false),
    (&["route", "*", "rewrite", "query", "remove"], false),
    (&["route", "*", "rewrite", "query", "set"], false),
    (&["route", "*", "rewrite", "scheme"], false),
    (&["route", "*", "rewrite", "strip-prefix"], false),
    (&["route", "*", "tls", "client-cert"], false),
    (&["route", "*", "tls", "client-cert-password"], false),
    (&["route", "*", "tls", "client-key"], false),
    (&["route", "*", "tls", "extra-roots"], false),
    (&["run", "capture"], false),
    (&["run", "capture-roots"], false),
    (&["run", "confine"], false),
    (&["secret"], false),
    (&["tls", "ca", "cert"], false),
    (&["tls", "ca", "key"], false),
    (&["tls", "client-cert"], false),
    (&["tls", "client-cert-password"], false),
    (&["tls", "client-key"], false),
    (&["tls", "extra-roots"], false),
    (&["tls", "intercept"], false),
    (&["tls", "mode"], false),
    (&["ui", "listen"], false),
    (&["upstream", "proxy"], false),
];

/// Why the project's file is not taken as it is; empty if it is.
pub(super) fn refusals(stack: &Stack, request: &Request) -> Vec<ConfigError> {
    let Some(file) = project_file(stack) else {
        return Vec::new();
    };
    let of_file = |layer: &&Layer| {
        !matches!(layer.rank, Rank::Explicit | Rank::ExplicitProfile(_))
            && matches!(&layer.origin, Origin::File(found) if Arc::ptr_eq(found, &file))
    };
    let mut refusals: Vec<ConfigError> = stack.layers.iter().filter(of_file).flat_map(refuse).collect();
    if refusals.is_empty() {
        return refusals;
    }
    match trusted_by_variable(&request.environment) {
        Ok(true) => return Vec::new(),
        Ok(false) => {}
        Err(error) => return vec![error],
    }
    let is_explicit = stack.looked.iter().any(|looked| {
        let path = looked.path.as_ref().filter(|_| looked.rank == Rank::Explicit);
        path.is_some_and(|path| files::same(&request.directory.join(path), &file.path))
    });
    if is_explicit || Store::of(&request.environment).is_some_and(|store| store.holds(&file)) {
        return Vec::new();
    }
    refusals.sort_by_key(ConfigError::position);
    if let Some(last) = refusals.last_mut() {
        last.hint = Some(format!(
            "look at {}, then run `amb trust` once, or set {VARIABLE}=1 in CI",
            file.shown
        ));
    }
    refusals
}

/// The project's file.
fn project_file(stack: &Stack) -> Option<Arc<File>> {
    stack.looked.iter().find_map(|looked| match &looked.found {
        Found::File(file) if looked.rank == Rank::Project => Some(Arc::clone(file)),
        _ => None,
    })
}

/// A refusal of each dangerous key of a layer.
fn refuse(layer: &Layer) -> Vec<ConfigError> {
    dangerous(layer)
        .into_iter()
        .map(|found| {
            let reason = format!("this {}, and nobody has trusted this file yet", does(&found.key));
            ConfigError::at(layer.origin.clone(), found.written, Mark::Key, reason, None)
        })
        .collect()
}

/// What a dangerous key does.
fn does(key: &[String]) -> String {
    // The mark may stand at a table above.
    let danger = (1..=key.len())
        .rev()
        .find_map(|length| schema::key_of(&key[..length])?.danger.clone());
    danger.map(|danger| danger.does).unwrap_or_default()
}

/// A value of a layer.
struct Said {
    /// Its key.
    key: Vec<String>,
    /// As it is written there.
    written: Vec<String>,
    /// What it says.
    value: Value,
}

/// The values of a layer that are dangerous.
fn dangerous(layer: &Layer) -> Vec<Said> {
    let mut said = said(layer);
    said.retain(|said| {
        DANGEROUS
            .iter()
            .any(|(path, only)| fits(path, &said.key) && (!only || leads_outside(&said.value) || reads(&said.value)))
    });
    said.sort_by(|a, b| a.written.cmp(&b.written));
    said
}

/// All that a layer sets and adds, also inside the tables of lists.
fn said(layer: &Layer) -> Vec<Said> {
    let set = layer.keys().into_iter().filter_map(|key| {
        let value = layer.value(&key)?.clone();
        let written = layer.written(&key);
        Some(Said { key, written, value })
    });
    let added = layer.additions.iter().flat_map(|addition| {
        let values = tree::nest(&addition.key, Value::from(addition.elements.clone()));
        let keys = tree::keys(&values).into_iter();
        let found = keys.filter_map(move |key| {
            let value = tree::value_at(&values, &key)?.clone();
            let written = layer.written_in_addition(&addition.key, &key[addition.key.len()..]);
            Some(Said { key, written, value })
        });
        found.collect::<Vec<_>>()
    });
    set.chain(added).collect()
}

/// Whether `key` is at or below `path`, in which a star stands for any element and any entry.
fn fits(path: &[&str], key: &[String]) -> bool {
    key.len() >= path.len()
        && key
            .iter()
            .zip(path)
            .all(|(name, known)| *known == schema::ANY || name == known)
}

/// Whether a value names a file outside the working directory, by its spelling. What stands before a `=` is a format.
fn leads_outside(value: &Value) -> bool {
    match value {
        // A descriptor is of whoever started amb.
        Value::String(_, text) if text.starts_with("fd:") => true,
        Value::String(_, text) => {
            let path = Path::new(text.rsplit('=').next().unwrap_or_default());
            path.components()
                .any(|part| matches!(part, Component::ParentDir | Component::RootDir | Component::Prefix(_)))
        }
        Value::Array(_, elements) => elements.iter().any(leads_outside),
        _ => false,
    }
}

/// Whether a value refers to a file, a variable or a secret.
fn reads(value: &Value) -> bool {
    match value {
        Value::String(_, text) => {
            text.starts_with("secret:") || text.starts_with('@') && !text.starts_with("@@") || text.contains("${env.")
        }
        Value::Array(_, elements) => elements.iter().any(reads),
        Value::Dict(_, entries) => entries.values().any(reads),
        _ => false,
    }
}

/// Whether the variable trusts every file.
fn trusted_by_variable(environment: &[(OsString, OsString)]) -> Result<bool, ConfigError> {
    match files::value(environment, VARIABLE).map(OsStr::as_bytes) {
        None | Some(b"0" | b"false" | b"no") => Ok(false),
        Some(b"1" | b"true" | b"yes") => Ok(true),
        Some(other) => {
            let reason = format!("`{}` is neither 1 nor 0", String::from_utf8_lossy(other).escape_debug());
            let origin = Origin::Variable(VARIABLE.to_owned());
            Err(ConfigError::at(origin, Vec::new(), Mark::Value, reason, None))
        }
    }
}

/// What is trusted: a file for each path and content, named by their hash.
struct Store(PathBuf);

impl Store {
    /// Where it is; none if the environment names no home directory.
    fn of(environment: &[(OsString, OsString)]) -> Option<Self> {
        files::base_directory(environment, "XDG_STATE_HOME", ".local/state").map(|base| Self(base.join("amb/trusted")))
    }

    /// The entry of a file as it is now.
    fn entry(&self, file: &File) -> io::Result<PathBuf> {
        let path = fs::canonicalize(&file.path)?;
        let mut hash = Sha256::new();
        hash.update(path.as_os_str().as_bytes());
        hash.update([0]);
        hash.update(file.text.as_bytes());
        let mut name = String::new();
        for byte in hash.finalize() {
            write!(name, "{byte:02x}").unwrap_or_default();
        }
        Ok(self.0.join(name))
    }

    /// Whether the file is trusted as it is now.
    fn holds(&self, file: &File) -> bool {
        self.entry(file).is_ok_and(|entry| entry.is_file())
    }

    /// Trusts the file as it is now.
    fn add(&self, file: &File) -> io::Result<()> {
        let entry = self.entry(file)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let path = fs::canonicalize(&file.path)?;
        fs::write(entry, [path.as_os_str().as_bytes(), b"\n"].concat())
    }

    /// Every entry with the path of its file, sorted by that.
    fn entries(&self) -> io::Result<Vec<(PathBuf, PathBuf)>> {
        let directory = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut entries = Vec::new();
        for entry in directory {
            let entry = entry?.path();
            let path = fs::read(&entry)?;
            let path = PathBuf::from(OsStr::from_bytes(path.strip_suffix(b"\n").unwrap_or(&path)));
            entries.push((path, entry));
        }
        entries.sort();
        Ok(entries)
    }
}

/// The file that is meant: the one at `path`, or the project's.
fn meant(request: &Request, path: Option<&Path>) -> Result<File, ConfigError> {
    match path {
        Some(path) => files::explicit(&request.directory, path),
        None => files::project(&request.directory, files::home(&request.environment).as_deref())?
            .ok_or_else(|| ConfigError::other("there is no amb.toml here or above, as far as the project reaches")),
    }
}

/// The store, or why there is none.
fn store(request: &Request) -> Result<Store, ConfigError> {
    Store::of(&request.environment).ok_or_else(|| {
        ConfigError::other("HOME and XDG_STATE_HOME are not set, so that there is no place to remember trust in")
    })
}

/// A failure of the store.
fn unkept(store: &Store, error: &io::Error) -> ConfigError {
    ConfigError::other(format!("{}: {error}", store.0.display()))
}

/// Trusts the file at `path`, or the project's, as it is now; returns what it does that needs trust.
///
/// # Errors
///
/// There is no such file, or nothing can be remembered.
pub fn grant(request: &Request, path: Option<&Path>) -> Result<String, ConfigError> {
    let file = meant(request, path)?;
    let store = store(request)?;
    let shown = file.shown.clone();
    store.add(&file).map_err(|error| unkept(&store, &error))?;
    let mut findings = Findings::default();
    let Some((layer, profiles)) = Layer::of_file(&Rank::Project, file, &mut findings) else {
        return Ok(format!(
            "{shown} is trusted as it is now, but it is not TOML: see `amb config check`\n"
        ));
    };
    let mut text = String::new();
    for layer in std::iter::once(&layer).chain(&profiles) {
        for Said { key, written, value } in dangerous(layer) {
            let value = serde_json::to_value(value).unwrap_or_default();
            let value = secret::toml(&secret::value(&key, value));
            // Writing to a string cannot fail.
            writeln!(text, "  {} = {value}    {}", dotted(&written), does(&key)).unwrap_or_default();
        }
    }
    Ok(match text.as_str() {
        "" => format!("{shown} is trusted as it is now; nothing in it needs that\n"),
        text => format!("{shown} is trusted as it is now, with\n{text}"),
    })
}

/// Trusts the file at `path`, or the project's, no more, whatever its content was.
///
/// # Errors
///
/// There is no such file, or what is remembered cannot be changed.
pub fn revoke(request: &Request, path: Option<&Path>) -> Result<String, ConfigError> {
    let file = meant(request, path)?;
    let store = store(request)?;
    let failed = |error: io::Error| unkept(&store, &error);
    let real = fs::canonicalize(&file.path).map_err(failed)?;
    let mut count = 0;
    for (path, entry) in store.entries().map_err(failed)? {
        if path == real {
            fs::remove_file(entry).map_err(failed)?;
            count += 1;
        }
    }
    Ok(match count {
        0 => format!("{} was not trusted\n", file.shown),
        _ => format!("{} is trusted no more\n", file.shown),
    })
}

/// Every file that is trusted, a line each, with what became of it since.
///
/// # Errors
///
/// What is remembered cannot be read.
pub fn list(request: &Request) -> Result<String, ConfigError> {
    let store = store(request)?;
    let mut text = String::new();
    for (path, entry) in store.entries().map_err(|error| unkept(&store, &error))? {
        let state = match files::explicit(Path::new(""), &path) {
            Ok(file) if store.entry(&file).is_ok_and(|now| now == entry) => "",
            Ok(_) => "  (has changed since)",
            Err(_) => "  (cannot be read any more)",
        };
        writeln!(text, "{}{state}", path.display()).unwrap_or_default();
    }
    Ok(text)
}

/// Whether a file that was found is trusted, as far as it needs that; for those who only look.
pub(super) fn state(stack: &Stack, request: &Request) -> &'static str {
    if refusals(stack, request).is_empty() {
        ""
    } else {
        "needs `amb trust`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_dangerous_keys_is_that_of_the_marks() {
        let mut marked: Vec<(Vec<String>, bool)> = schema::keys()
            .iter()
            .filter_map(|key| {
                let danger = key.danger.as_ref()?;
                Some((key.path.clone(), danger.only_outside || danger.only_reading))
            })
            .collect();
        let listed: Vec<(Vec<String>, bool)> = DANGEROUS
            .iter()
            .map(|(path, only)| (path.iter().map(ToString::to_string).collect(), *only))
            .collect();
        marked.sort();
        assert_eq!(
            listed, marked,
            "DANGEROUS in src/config/trust.rs is to hold what is marked `x-danger`"
        );
    }

    #[test]
    fn a_star_fits_any_element_and_any_entry() {
        let key = |words: &str| -> Vec<String> { words.split('.').map(ToOwned::to_owned).collect() };
        assert!(fits(&["route", "*", "rewrite"], &key("route.0.rewrite.host")));
        assert!(fits(&["secret", "*", "command"], &key("secret.token.command")));
        assert!(!fits(&["route", "*", "rewrite"], &key("route.0.match")));
        assert!(!fits(&["route", "*", "rewrite"], &key("route.0")));
    }

    #[test]
    fn a_path_that_leads_outside_is_known_by_its_spelling() {
        for (path, outside) in [
            ("a.json", false),
            ("json=out/a.json", false),
            ("-", false),
            ("./a", false),
            ("a..b", false),
            ("/tmp/a", true),
            ("json=/tmp/a", true),
            ("out/../../a", true),
        ] {
            assert_eq!(leads_outside(&Value::from(path)), outside, "{path}");
            assert_eq!(leads_outside(&Value::from(vec!["a", path])), outside, "{path}");
        }
    }
}
