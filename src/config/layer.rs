//! One source of values, read strictly and by itself.

use std::{fmt, sync::Arc};

use figment::{
    Metadata, Profile, Provider,
    error::Kind,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};

use super::{
    Options,
    error::{ConfigError, Mark, Origin},
    files::File,
    mistake,
    tree::{keys, leaves, nest, put, take, value_at, without_empty_tables},
};

/// What a key begins with that adds to a list instead of replacing it.
pub(super) const EXTEND: &str = "extend-";

/// The key of a file that holds the version of its format.
pub(super) const VERSION: &str = "version";

/// The version of the format that this amb knows.
pub const KNOWN_VERSION: i64 = 1;

/// The table of a file that holds profiles.
pub(super) const PROFILE: &str = "profile";

/// How strong a layer is, the weakest first.
///
/// The built-in defaults are below all of them and no layer: they are what holds where no layer says anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// `[defaults]` of the central policy.
    Policy,
    /// The system's file.
    System,
    /// The user's file.
    User,
    /// The project's file.
    Project,
    /// `[profile.NAME]` of one of these files.
    Profile(String),
    /// A variable.
    Environment,
    /// The file of `--config`.
    Explicit,
    /// `[profile.NAME]` of that file.
    ExplicitProfile(String),
    /// A flag.
    Flag,
    /// `--set`.
    Set,
    /// `[enforce]` of the central policy.
    Enforced,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy | Self::Enforced => f.write_str("central policy"),
            Self::System => f.write_str("system"),
            Self::User => f.write_str("user"),
            Self::Project => f.write_str("project"),
            Self::Profile(name) | Self::ExplicitProfile(name) => write!(f, "profile {name}"),
            Self::Environment => f.write_str("environment"),
            Self::Explicit => f.write_str("--config"),
            Self::Flag | Self::Set => f.write_str("command line"),
        }
    }
}

/// What was found in layers that is worth telling.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Nothing starts with these.
    pub(super) errors: Vec<ConfigError>,
    /// Everything goes on with these.
    pub(super) warnings: Vec<ConfigError>,
}

/// The values of one source.
#[derive(Clone)]
pub(super) struct Layer {
    /// How strong it is.
    pub(super) rank: Rank,
    /// Where its values were written.
    pub(super) origin: Origin,
    /// Where in the file they stand: empty, or `profile` and its name.
    pub(super) within: Vec<String>,
    /// The values, as nested tables.
    pub(super) values: Dict,
    /// What it adds to lists.
    pub(super) additions: Vec<Addition>,
    /// The names of entries that were written otherwise than they are compared: `API.test:80` for `api.test:80`.
    spellings: Vec<(Vec<String>, String)>,
}

/// Elements for a list that a weaker layer has set.
#[derive(Clone, Debug)]
pub(super) struct Addition {
    /// The list's key.
    pub(super) key: Vec<String>,
    /// What is added.
    pub(super) elements: Vec<Value>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("rank", &self.rank)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// figment's own providers are not given to it directly: `Toml::file` looks in every parent directory and passes over
/// a missing file, `Env` loses how the variable was written, `Serialized` gives a line of this program as the source.
impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.rank.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layer {
    /// A layer of these values, which are right or still to be checked.
    pub(super) fn new(rank: Rank, origin: Origin, values: Dict) -> Self {
        Self {
            rank,
            origin,
            within: Vec::new(),
            values,
            additions: Vec::new(),
            spellings: Vec::new(),
        }
    }

    /// What a file says, and what each of its profiles says, without their mistakes, which go to `findings`; none if it
    /// is not TOML at all.
    pub(super) fn of_file(rank: &Rank, file: File, findings: &mut Findings) -> Option<(Self, Vec<Self>)> {
        let file = Arc::new(file);
        let Ok(mut values) = Toml::from_str::<Dict>(&file.text) else {
            findings.errors.push(ConfigError::syntax(file));
            return None;
        };
        let origin = Origin::File(file);
        let mut errors = Vec::new();
        if let Some(version) = values.remove(VERSION) {
            check_version(&origin, &version, &mut errors, &mut findings.warnings);
        }
        let profiles = match values.remove(PROFILE) {
            Some(Value::Dict(_, profiles)) => profiles,
            Some(other) => {
                errors.push(mistake::no_table(&origin, vec![PROFILE.to_owned()], &other.to_actual()));
                Dict::new()
            }
            None => Dict::new(),
        };
        let mut layer = Self::new(rank.clone(), origin.clone(), values);
        layer.check(&mut errors);
        let mut read = Vec::new();
        for (name, value) in profiles {
            let within = vec![PROFILE.to_owned(), name.clone()];
            let Value::Dict(_, values) = value else {
                errors.push(mistake::no_table(&origin, within, &value.to_actual()));
                continue;
            };
            let rank = match rank {
                Rank::Explicit => Rank::ExplicitProfile(name),
                _ => Rank::Profile(name),
            };
            let mut profile = Self::new(rank, origin.clone(), values);
            profile.within = within;
            profile.check(&mut errors);
            read.push(profile);
        }
        errors.sort_by_key(ConfigError::position);
        findings.errors.append(&mut errors);
        Some((layer, read))
    }

    /// What a table of a file says, without its mistakes, which go to `errors`.
    pub(super) fn of_table(
        rank: Rank,
        origin: Origin,
        within: Vec<String>,
        values: Dict,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let mut layer = Self::new(rank, origin, values);
        layer.within = within;
        layer.check(errors);
        layer
    }

    /// What is said by a value that may be of any type or a text, which only the reading tells: `2` is a number where a
    /// number belongs and a text where a name belongs. None if it can be neither, and then `errors` gets the reason.
    pub(super) fn of_text(
        rank: &Rank,
        origin: &Origin,
        key: &[String],
        value: Option<Value>,
        text: &str,
        errors: &mut Vec<ConfigError>,
    ) -> Option<Self> {
        let layer = |value: Value| Self::new(rank.clone(), origin.clone(), nest(key, value));
        let mut as_text = layer(Value::from(text));
        let Some(value) = value else {
            return as_text.check(errors).then_some(as_text);
        };
        let mut as_value = layer(value);
        // To say what is wrong takes long, and here it may be nothing.
        let extends = key.last().is_some_and(|name| name.starts_with(EXTEND));
        if read(&as_value.values).is_ok() || extends && as_value.check(&mut Vec::new()) {
            return Some(as_value);
        }
        as_text.check(errors).then_some(as_text)
    }

    /// What the flags say. clap has read them, so there is nothing to check.
    pub(super) fn of_flags(flags: &Options) -> Self {
        let data = Serialized::defaults(flags).data().unwrap_or_default();
        let values = data.into_values().next().map(without_empty_tables).unwrap_or_default();
        Self::new(Rank::Flag, Origin::Flags, values)
    }

    /// What is added to a list below; its rank is of no importance.
    pub(super) fn of_list(key: &[String], elements: Vec<Value>) -> Self {
        Self::new(Rank::Set, Origin::Elsewhere, nest(key, Value::from(elements)))
    }

    /// The value that this layer has at `key`.
    pub(super) fn value(&self, key: &[String]) -> Option<&Value> {
        value_at(&self.values, key)
    }

    /// The path of a part of what this layer adds to the list at `key`, as it is written: the element's place in that, and
    /// the way from there.
    pub(super) fn written_in_addition(&self, key: &[String], inside: &[String]) -> Vec<String> {
        let mut path = [self.within.as_slice(), key].concat();
        if let Some(name) = path.last_mut() {
            name.insert_str(0, EXTEND);
        }
        path.extend_from_slice(inside);
        path
    }

    /// What this layer adds to the list at `key`.
    pub(super) fn added(&self, key: &[String]) -> Option<&[Value]> {
        let found = self.additions.iter().find(|addition| addition.key == key)?;
        Some(&found.elements)
    }

    /// Every key that this layer sets, also those inside the tables of a list, with a number for each.
    pub(super) fn keys(&self) -> Vec<Vec<String>> {
        keys(&self.values)
    }

    /// Where this layer says something about `key`: its file, line and column, its variable or its flag.
    pub(super) fn place(&self, key: &[String]) -> String {
        self.origin.place(&self.written(key))
    }

    /// The path of `key` as it is written in this layer.
    pub(super) fn written(&self, key: &[String]) -> Vec<String> {
        if self.rank == Rank::Enforced {
            // There a key is one name, and what is said of routes is said of all requests.
            let key = if key.first().is_some_and(|name| name == "route") {
                &key[..0]
            } else {
                key
            };
            return vec!["enforce".to_owned(), super::error::dotted(key)];
        }
        let mut path = [self.within.as_slice(), key].concat();
        if let Some((_, spelled)) = self.spellings.iter().find(|(known, _)| known == key)
            && let Some(name) = path.last_mut()
        {
            name.clone_from(spelled);
        }
        if self.value(key).is_none()
            && self.added(key).is_some()
            && let Some(name) = path.last_mut()
        {
            name.insert_str(0, EXTEND);
        }
        path
    }

    /// Takes every mistake out of the values and puts it in `errors`; whether there was none.
    ///
    /// Reading stops at the first mistake, so each one is taken out and the rest is read again. What adds to a list is
    /// no key that the reading knows: it is taken out in the same way, and read as the list it adds to.
    fn check(&mut self, errors: &mut Vec<ConfigError>) -> bool {
        let before = errors.len();
        while let Err(found) = read(&self.values) {
            let mut removed = false;
            for error in *found {
                if let Some((key, value)) = self.addition(&error) {
                    self.extend(key, value, errors);
                    removed = true;
                    continue;
                }
                removed |= take(&mut self.values, &error.path).is_some();
                errors.push(mistake::explain(&self.origin, &self.within, error));
            }
            if !removed {
                self.values.clear();
            }
        }
        self.respell();
        errors.len() == before
    }

    /// Gives entries whose names the user chose the names by which they are compared, so that two layers that spell a
    /// host differently mean the same entry.
    fn respell(&mut self) {
        let is_chosen = |name: &str| !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let chosen: Vec<Vec<String>> = leaves(&self.values)
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| key.last().is_some_and(|name| is_chosen(name)))
            .collect();
        for key in chosen {
            let Some(value) = self.value(&key).cloned() else {
                continue;
            };
            let read = read(&nest(&key, value)).map(|options| Self::of_flags(&options).keys());
            let Ok([known]) = read.as_deref() else {
                continue;
            };
            if *known != key
                && let Some(value) = take(&mut self.values, &key)
            {
                put(&mut self.values, known, value);
                self.spellings
                    .push((known.clone(), key.last().cloned().unwrap_or_default()));
            }
        }
    }

    /// Gives the entry at `key` another name, by which other layers know it.
    pub(super) fn rename(&mut self, key: &[String], name: &str) {
        let Some(value) = take(&mut self.values, key) else {
            return;
        };
        let mut known = key.to_vec();
        let spelled = std::mem::replace(known.last_mut().expect("an entry has a name"), name.to_owned());
        put(&mut self.values, &known, value);
        self.spellings.push((known, spelled));
    }

    /// The list's key and the value, taken out, if the mistake is no more than that the reading knows no `extend-…`.
    fn addition(&mut self, error: &figment::Error) -> Option<(Vec<String>, Value)> {
        let Kind::UnknownField(name, known) = &error.kind else {
            return None;
        };
        let list = name.strip_prefix(EXTEND).filter(|list| known.contains(list))?;
        let mut key = error.path.clone();
        // No weaker layer has set anything inside the elements of this layer's list.
        let inside = (1..key.len()).any(|length| matches!(self.value(&key[..length]), Some(Value::Array(..))));
        if inside {
            return None;
        }
        let value = take(&mut self.values, &key)?;
        list.clone_into(key.last_mut()?);
        Some((key, value))
    }

    /// Adds `value` to the list at `key`, or says in `errors` why it cannot be.
    fn extend(&mut self, key: Vec<String>, value: Value, errors: &mut Vec<ConfigError>) {
        let elements = match value {
            Value::Array(_, elements) => elements,
            other => elements(&key, other),
        };
        let mut values = nest(&key, Value::from(elements.clone()));
        let before = errors.len();
        while let Err(found) = read(&values) {
            let mut removed = false;
            for error in *found {
                let is_list = error.path != key || !matches!(error.kind, Kind::InvalidType(..));
                removed |= take(&mut values, &error.path).is_some();
                let mut error = mistake::explain(&self.origin, &[], error);
                let inside = error.key.split_off(key.len().min(error.key.len()));
                error.key = self.written_in_addition(&key, &inside);
                if !is_list {
                    error.reason = format!("`{}` is no list that could be added to", super::error::dotted(&key));
                    error.hint = None;
                    error.mark = Mark::Key;
                }
                errors.push(error);
            }
            if !removed {
                values.clear();
            }
        }
        if errors.len() == before {
            self.additions.push(Addition { key, elements });
        }
    }
}

/// Judges the version of a file's format: one that this amb does not know yet is no mistake by itself.
pub(super) fn check_version(
    origin: &Origin,
    version: &Value,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigError>,
) {
    let key = vec![VERSION.to_owned()];
    match version.deserialize::<i64>().ok() {
        Some(1..=KNOWN_VERSION) => {}
        Some(..=0) => errors.push(ConfigError::at(
            origin.clone(),
            key,
            Mark::Value,
            "versions begin with 1",
            None,
        )),
        Some(newer) => {
            let reason = format!("written for a newer amb: this one knows version {KNOWN_VERSION}, not {newer}");
            warnings.push(ConfigError::at(origin.clone(), key, Mark::Value, reason, None));
        }
        None => errors.push(mistake::no_number(origin, key, &version.to_actual())),
    }
}

/// Reads values as options.
pub(super) fn read(values: &Dict) -> Result<Options, Box<figment::Error>> {
    Value::from(values.clone()).deserialize().map_err(Box::new)
}

/// The elements of the list that `key` holds, if it was written as a text with commas where that is allowed.
pub(super) fn elements(key: &[String], value: Value) -> Vec<Value> {
    match value {
        Value::Array(_, elements) => elements,
        Value::String(_, text) if read(&nest(key, Value::from(text.as_str()))).is_ok() => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(Value::from).collect()
        }
        other => vec![other],
    }
}
