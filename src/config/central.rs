//! The central policy: what a group that looks after many machines says for all of them, in files that only root can change.
//!
//! `[defaults]` is the weakest layer of all, `[enforce]` has the last word (`constrain.rs`). Nothing skips it: no flag, no
//! variable, no file. A policy that is there and cannot be read, or could have been written by others, lets nothing start.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use figment::{
    providers::{Format, Toml},
    value::{Dict, Value},
};

use super::{
    break_glass::{self, Terms},
    constrain::{self, Constraint},
    error::{ConfigError, Mark, Origin},
    files::{self, File},
    layer::{Findings, Layer, Rank},
    mistake,
    signature::{self, Key},
};
use crate::spelling::nearest;

/// Where the policy is, unless the build was told otherwise by `AMB_BUILD_POLICY_DIR`.
const DIRECTORY: &str = "/etc/amb";

/// The variable by which the tests of a debug build say where it is.
const TEST_VARIABLE: &str = "AMB_POLICY_ROOT";

/// Write permission for the group and for others, in a mode.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The keys of a policy.
const KEYS: [&str; 7] = [
    "version",
    "id",
    "contact",
    "signed-by",
    "defaults",
    "enforce",
    break_glass::TABLE,
];

/// The key that all files have to be signed with, if the build was told of one.
const BUILT_IN_KEY: Option<&str> = option_env!("AMB_BUILD_POLICY_KEY");

/// The central policy of this machine: all its files together.
#[derive(Debug, Default)]
pub(super) struct Central {
    /// The ids of its files; a file without one is called by its name.
    pub(super) ids: Vec<String>,
    /// Its files.
    pub(super) paths: Vec<PathBuf>,
    /// What it says where nobody says anything.
    pub(super) defaults: Vec<Layer>,
    /// What holds whatever anybody says.
    pub(super) constraints: Vec<Constraint>,
    /// Who may lift what a file enforces.
    pub(super) overrides: Vec<Terms>,
    /// One of these has to have signed what comes next; empty for nobody.
    signers: Vec<Key>,
}

/// The directory of the policy.
pub fn directory() -> PathBuf {
    let of_a_test = cfg!(debug_assertions).then(|| env::var_os(TEST_VARIABLE)).flatten();
    of_a_test.map_or_else(
        || option_env!("AMB_BUILD_POLICY_DIR").unwrap_or(DIRECTORY).into(),
        PathBuf::from,
    )
}

/// What there is of a central policy, for those who only look.
#[derive(Debug, Default)]
pub struct Examined {
    /// Its files, those with mistakes in them left out.
    pub paths: Vec<PathBuf>,
    /// Whether somebody has to have signed them.
    pub is_signed: bool,
    /// What is wrong with it: each lets nothing start.
    pub mistakes: Vec<ConfigError>,
}

/// Looks at the central policy in a directory.
pub fn examine(directory: &Path) -> Examined {
    let mut findings = Findings::default();
    let central = read(directory, &mut findings).unwrap_or_default();
    Examined {
        is_signed: !central.signers.is_empty(),
        paths: central.paths,
        mistakes: findings.errors,
    }
}

/// Reads `policy.toml` and, in the order of their names, `policy.d/*.toml`; none if there are no such files. `findings` gets
/// what is wrong, and then nothing may start.
pub(super) fn read(directory: &Path, findings: &mut Findings) -> Option<Central> {
    let mut central = Central::default();
    if let Some(key) = BUILT_IN_KEY {
        match Key::read(key) {
            Ok(key) => central.signers.push(key),
            Err(reason) => {
                let reason = format!("AMB_BUILD_POLICY_KEY of this build {reason}");
                findings.errors.push(ConfigError::other(reason));
                return None;
            }
        }
    }
    let paths = match paths(directory) {
        Ok(paths) => paths,
        Err(error) => {
            findings.errors.push(error);
            return None;
        }
    };
    for path in paths {
        let signed = |file: &File| match &*central.signers {
            [] => Ok(()),
            keys => signature::check(&path, &file.text, keys).map(drop),
        };
        match open(&path) {
            Ok(Some(file)) => match signed(&file) {
                Ok(()) => central.take(file, path, findings),
                Err(error) => findings.errors.push(error),
            },
            Ok(None) => {}
            Err(error) => findings.errors.push(error),
        }
    }
    (!central.paths.is_empty()).then_some(central)
}

/// The files that there may be.
fn paths(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut paths = vec![directory.join("policy.toml")];
    let more = directory.join("policy.d");
    let shown = more.display().to_string();
    let entries = match fs::read_dir(&more) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
        Err(error) => return Err(ConfigError::unreadable(&shown, &error)),
    };
    let metadata = fs::metadata(&more).map_err(|error| ConfigError::unreadable(&shown, &error))?;
    check_owner(&shown, &metadata)?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| ConfigError::unreadable(&shown, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    found.sort();
    paths.append(&mut found);
    Ok(paths)
}

/// A file of the policy; none if there is none.
fn open(path: &Path) -> Result<Option<File>, ConfigError> {
    let Some(file) = files::optional(Path::new(""), path)? else {
        // One that must not even be looked at is there all the same.
        return match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError::unreadable(&path.display().to_string(), &error)),
            Ok(_) => Err(ConfigError::other(format!("{}: leads nowhere", path.display()))),
        };
    };
    let metadata = fs::metadata(path).map_err(|error| ConfigError::unreadable(&file.shown, &error))?;
    check_owner(&file.shown, &metadata)?;
    Ok(Some(file))
}

/// Whether only root can have written something.
fn check_owner(shown: &str, metadata: &fs::Metadata) -> Result<(), ConfigError> {
    // The tests of a debug build may be anybody's.
    let is_mine = || cfg!(debug_assertions) && metadata.uid() == rustix::process::geteuid().as_raw();
    let reason = if metadata.uid() != 0 && !is_mine() {
        format!(
            "{shown}: a central policy belongs to root, and this is user {}'s",
            metadata.uid()
        )
    } else if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        format!("{shown}: others than root can write to this central policy\nhint: chmod go-w {shown}")
    } else {
        return Ok(());
    };
    Err(ConfigError::other(reason))
}

impl Central {
    /// Takes in a file; `findings` gets what is wrong with it.
    fn take(&mut self, file: File, path: PathBuf, findings: &mut Findings) {
        let file = Arc::new(file);
        let errors = &mut findings.errors;
        let Ok(mut values) = Toml::from_str::<Dict>(&file.text) else {
            errors.push(ConfigError::syntax(file));
            return;
        };
        let origin = Origin::File(file);
        if let Some(version) = values.remove("version") {
            super::layer::check_version(&origin, &version, errors, &mut findings.warnings);
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let id = text(&origin, "id", values.remove("id"), errors).or(stem);
        let contact = text(&origin, "contact", values.remove("contact"), errors);
        self.signers(&origin, values.remove("signed-by"), errors);
        if let Some(written) = values.remove(break_glass::TABLE) {
            let written = table(&origin, break_glass::TABLE, Some(written), errors);
            self.overrides.extend(Terms::read(&origin, &written, errors));
        }
        let mut defaults = table(&origin, "defaults", values.remove("defaults"), errors);
        let enforce = table(&origin, "enforce", values.remove("enforce"), errors);
        for unknown in values.keys() {
            let hint = nearest(unknown, KEYS).map(|known| format!("did you mean `{known}`?"));
            let reason = format!("unknown key `{unknown}`; a policy has {}", KEYS.join(", "));
            errors.push(ConfigError::at(
                origin.clone(),
                vec![unknown.clone()],
                Mark::Key,
                reason,
                hint,
            ));
        }
        if let Some(contact) = contact {
            let egress = defaults
                .entry("egress".to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, egress) = egress {
                egress
                    .entry("contact".to_owned())
                    .or_insert_with(|| Value::from(contact));
            }
        }
        let within = vec!["defaults".to_owned()];
        self.defaults
            .push(Layer::of_table(Rank::Policy, origin.clone(), within, defaults, errors));
        let constraints = constrain::read(&origin, &enforce, errors);
        self.constraints.extend(constraints);
        self.ids.extend(id);
        self.paths.push(path);
    }
}

impl Central {
    /// Takes in `signed-by`: the first file says who signs the others.
    fn signers(&mut self, origin: &Origin, value: Option<Value>, errors: &mut Vec<ConfigError>) {
        let Some(value) = value else { return };
        let mut mistake = |reason: String| {
            let key = vec!["signed-by".to_owned()];
            errors.push(ConfigError::at(origin.clone(), key, Mark::Value, reason, None));
        };
        let is_first = self.paths.is_empty()
            && matches!(origin, Origin::File(file) if file.path.ends_with("policy.toml") && !file.path.ends_with("policy.d/policy.toml"));
        if !is_first {
            mistake("only policy.toml itself says who signs the files of policy.d".to_owned());
            return;
        }
        let texts = match &value {
            Value::String(_, text) => vec![text.as_str()],
            Value::Array(_, texts) => texts.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if texts.is_empty() {
            mistake("`signed-by` is a public key of minisign, or a list of them".to_owned());
        }
        let keys: Vec<Result<Key, String>> = texts.into_iter().map(Key::read).collect();
        for key in keys {
            match key {
                Ok(key) => self.signers.push(key),
                Err(reason) => mistake(format!("`signed-by` {reason}")),
            }
        }
    }
}

/// A text of the file.
fn text(origin: &Origin, name: &str, value: Option<Value>, errors: &mut Vec<ConfigError>) -> Option<String> {
    let value = value?;
    if let Value::String(_, text) = value {
        return Some(text);
    }
    let key = vec![name.to_owned()];
    let reason = format!("`{name}` is a text");
    errors.push(ConfigError::at(origin.clone(), key, Mark::Value, reason, None));
    None
}

/// A table of the file; empty if it is not there.
fn table(origin: &Origin, name: &str, value: Option<Value>, errors: &mut Vec<ConfigError>) -> Dict {
    match value {
        None => Dict::new(),
        Some(Value::Dict(_, table)) => table,
        Some(other) => {
            errors.push(mistake::no_table(origin, vec![name.to_owned()], &other.to_actual()));
            Dict::new()
        }
    }
}
