//! What a central policy enforces: bounds for keys, laid over what all layers amount to. What is looser is brought back to
//! the bound where there is a safe direction, and lets nothing start where there is none.

mod bound;

use std::ffi::{OsStr, OsString};

use figment::value::{Dict, Value};

pub(super) use self::bound::Bound;
use super::{
    error::{ConfigError, Mark, Origin, dotted},
    files,
    layer::{Layer, Rank, read as read_options},
    schema::ANY,
    secret,
    tree::{leaves, nest, value_at},
};
use crate::{policy::Problem, spelling::nearest};

/// The tables that routes can say something else about.
pub(super) const OF_ROUTES: [&str; 14] = [
    AUTH,
    "timeout",
    "retry",
    "circuit-breaker",
    "rate-limit",
    "concurrency",
    "bandwidth",
    "tls",
    "headers",
    "response-headers",
    "json",
    "response-json",
    "response-status",
    "response-body",
];

/// What of these tables holds for all requests alike, whatever their route.
pub(super) const OF_ALL: [[&str; 2]; 6] = [
    ["headers", "env"],
    ["headers", "via"],
    ["tls", "intercept"],
    ["tls", "mode"],
    ["tls", "never"],
    ["tls", "on-pinning-failure"],
];

/// The table whose entries are called by hosts, where a route has one of them for its own.
const AUTH: &str = "auth";

/// The words of a bound.
const WORDS: [&str; 10] = [
    "at-least",
    "at-most",
    "min",
    "max",
    "within",
    "include",
    "equals",
    "forbidden",
    "required",
    "unless-env",
];

/// A bound for a key.
#[derive(Clone, Debug)]
pub(super) struct Constraint {
    /// The key; [`ANY`] stands for any name.
    key: Vec<String>,
    /// What must hold.
    bound: Bound,
    /// A variable that lifts it, if it is set and not empty.
    unless: Option<String>,
    /// The policy's file.
    origin: Origin,
}

/// What was brought back to its bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Clamp {
    /// The key.
    pub key: String,
    /// What was asked for; null if nothing was.
    pub asked: serde_json::Value,
    /// What holds.
    pub got: serde_json::Value,
}

/// What the constraints come to.
#[derive(Debug, Default)]
pub(super) struct Imposed {
    /// Layers above all others, with what has to be said otherwise.
    pub(super) layers: Vec<Layer>,
    /// What that was.
    pub(super) clamps: Vec<Clamp>,
    /// The same for people.
    pub(super) warnings: Vec<ConfigError>,
    /// What lets nothing start.
    pub(super) refusals: Vec<Problem>,
}

/// Reads `[enforce]`; `errors` gets what is wrong.
pub(super) fn read(origin: &Origin, table: &Dict, errors: &mut Vec<ConfigError>) -> Vec<Constraint> {
    let mut found = Vec::new();
    collect(table, &mut Vec::new(), &mut found);
    let mut constraints = Vec::new();
    for (written, words) in found {
        let at = |mark, reason: String, hint| {
            let key = [&["enforce".to_owned()], written.as_slice()].concat();
            ConfigError::at(origin.clone(), key, mark, reason, hint)
        };
        let key: Vec<String> = written
            .iter()
            .flat_map(|part| part.split('.'))
            .map(str::to_owned)
            .collect();
        let Some(words) = words else {
            let reason = format!("`{}` wants a table of {}", dotted(&key), WORDS.join(", "));
            errors.push(at(Mark::Value, reason, None));
            continue;
        };
        let unless = match words.get("unless-env") {
            None => None,
            Some(Value::String(_, name)) => Some(name.clone()),
            Some(_) => {
                errors.push(at(
                    Mark::Value,
                    "`unless-env` is the name of a variable".to_owned(),
                    None,
                ));
                continue;
            }
        };
        for (word, value) in words.iter().filter(|(word, _)| *word != "unless-env") {
            match Bound::read(&key, word, value) {
                Ok(bound) => constraints.push(Constraint {
                    key: key.clone(),
                    bound,
                    unless: unless.clone(),
                    origin: origin.clone(),
                }),
                Err(reason) => {
                    let hint = nearest(word, WORDS).filter(|known| known != word);
                    errors.push(at(
                        Mark::Value,
                        reason,
                        hint.map(|known| format!("did you mean `{known}`?")),
                    ));
                }
            }
        }
    }
    constraints
}

/// Finds the tables of bounds, however the keys that they are for were written: `"a.b" = {…}`, `a.b = {…}`, `[enforce.a]`.
fn collect<'a>(table: &'a Dict, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Option<&'a Dict>)>) {
    for (name, value) in table {
        path.push(name.clone());
        match value {
            Value::Dict(_, inner) if !inner.is_empty() && !inner.keys().any(|word| WORDS.contains(&&**word)) => {
                collect(inner, path, found);
            }
            Value::Dict(_, inner) => found.push((path.clone(), Some(inner))),
            _ => found.push((path.clone(), None)),
        }
        path.pop();
    }
}

/// Lays the constraints over what all layers amount to.
pub(super) fn impose(constraints: &[Constraint], merged: &Dict, environment: &[(OsString, OsString)]) -> Imposed {
    let mut imposed = Imposed::default();
    let mut values = merged.clone();
    spell_out(&mut values);
    for constraint in constraints {
        let is_lifted = |name: &String| files::value(environment, name).is_some_and(|value: &OsStr| !value.is_empty());
        if constraint.unless.as_ref().is_some_and(is_lifted) {
            continue;
        }
        for key in constraint.keys(&values) {
            constraint.apply(&key, &mut values, &mut imposed);
        }
        constraint.close_ways_around(&mut values, &mut imposed);
    }
    imposed
}

/// Writes credentials in full that are written as no more than their bearer token, so that a bound for that finds it.
fn spell_out(values: &mut Dict) {
    let in_full = |value: &mut Value| {
        if value.as_str().is_some() {
            *value = Value::from(nest(&["bearer".to_owned()], value.clone()));
        }
    };
    if let Some(Value::Dict(_, entries)) = values.get_mut(AUTH) {
        entries.values_mut().for_each(in_full);
    }
    if let Some(Value::Array(_, routes)) = values.get_mut("route") {
        for route in routes {
            if let Value::Dict(_, table) = route
                && let Some(auth) = table.get_mut(AUTH)
            {
                in_full(auth);
            }
        }
    }
}

impl Constraint {
    /// Whether it is about this table.
    pub(super) fn is_about(&self, table: &str) -> bool {
        self.key.first().is_some_and(|first| first == table)
    }

    /// `max` for a key.
    ///
    /// # Errors
    /// The key has no such bound.
    pub(super) fn at_most(key: &[&str], most: &Value, origin: Origin) -> Result<Self, String> {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        Ok(Self {
            bound: Bound::read(&key, "max", most)?,
            key,
            unless: None,
            origin,
        })
    }

    /// The policy's file.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The keys that it is about, and those of routes that say something about them.
    fn keys(&self, values: &Dict) -> Vec<Vec<String>> {
        let mut keys = Vec::new();
        if self.key.iter().any(|part| part == ANY) {
            let fits = |key: &Vec<String>| {
                key.len() >= self.key.len()
                    && self
                        .key
                        .iter()
                        .zip(key)
                        .all(|(known, part)| known == ANY || known == part)
            };
            let known = leaves(values).into_iter().map(|(key, _)| key);
            keys.extend(known.filter(fits).map(|key| key[..self.key.len()].to_vec()));
            keys.dedup();
        } else {
            keys.push(self.key.clone());
        }
        let of_all = OF_ALL
            .iter()
            .any(|key| self.key.len() >= 2 && *key == [&*self.key[0], &*self.key[1]]);
        if OF_ROUTES.contains(&&*self.key[0])
            && !of_all
            && let Some(Value::Array(_, routes)) = values.get("route")
        {
            let of_route = |at: usize| [&["route".to_owned(), at.to_string()], self.key.as_slice()].concat();
            let entry = |mut key: Vec<String>| {
                // A bound for one host says nothing about a route, which may be for others.
                let is_for_all = self.key[0] != AUTH || self.key.get(1).is_none_or(|host| host == ANY);
                if self.key[0] == AUTH && key.len() > 3 {
                    key.remove(3);
                }
                is_for_all.then_some(key)
            };
            keys.extend((0..routes.len()).map(of_route).filter_map(entry));
        }
        keys
    }

    /// Brings what is at `key` back to the bound.
    fn apply(&self, key: &[String], values: &mut Dict, imposed: &mut Imposed) {
        let in_route = key[0] == "route";
        let asked = value_at(values, key).cloned();
        let effective = match &asked {
            Some(value) => Some(value.clone()),
            // A route that says nothing is as all requests are.
            None if in_route => bound::implied(&self.key, values, Some(&key[..2])),
            None => bound::implied(&self.key, values, None),
        };
        if in_route && effective.is_none() {
            return;
        }
        match self.bound.judge(&self.key, effective.as_ref()) {
            bound::Judged::Holds => {}
            bound::Judged::Refused(reason) => imposed.refusals.push(Problem::at(
                &key.iter().map(String::as_str).collect::<Vec<_>>(),
                format!("{reason} ({})", self.place()),
            )),
            bound::Judged::Becomes(value, how) => self.set(key, asked.as_ref(), value, &how, values, imposed),
        }
    }

    /// Sets `key`, and tells of it.
    fn set(
        &self,
        key: &[String],
        asked: Option<&Value>,
        value: Value,
        how: &str,
        values: &mut Dict,
        imposed: &mut Imposed,
    ) {
        let plain = |value: &Value| serde_json::to_value(value).unwrap_or_default();
        let shown = |value: &Value| secret::value(key, plain(value));
        let clamp = Clamp {
            key: dotted(key),
            asked: asked.map(shown).unwrap_or_default(),
            got: shown(&value),
        };
        let is_secret = clamp.got != plain(&value) || clamp.asked != asked.map(plain).unwrap_or_default();
        let how = if is_secret {
            "becomes what the central policy says"
        } else {
            how
        };
        let reason = format!("{}: {how}", dotted(key));
        imposed.clamps.push(clamp);
        let written = vec!["enforce".to_owned(), dotted(&self.key)];
        imposed
            .warnings
            .push(ConfigError::at(self.origin.clone(), written, Mark::Key, reason, None));
        // A list of tables is replaced as a whole.
        let whole = key.iter().position(|part| part.parse::<usize>().is_ok());
        overwrite(values, key, value);
        let top = whole.map_or(key, |at| &key[..at]);
        if let Some(value) = value_at(values, top) {
            let layer = Layer::new(Rank::Enforced, self.origin.clone(), nest(top, value.clone()));
            imposed.layers.push(layer);
        }
    }

    /// Where `allow` is bounded, what else lets requests pass is bounded with it: what is not listed is denied, and a rule that
    /// allows names hosts within the bound.
    fn close_ways_around(&self, values: &mut Dict, imposed: &mut Imposed) {
        let Bound::Within(within) = &self.bound else { return };
        if self.key != ["egress", "allow"] {
            return;
        }
        let default = ["egress".to_owned(), "default".to_owned()];
        let asked = value_at(values, &default).cloned();
        if asked.as_ref().and_then(Value::as_str) != Some("deny") {
            let how = "what no rule allows is denied, since egress.allow is bounded";
            self.set(&default, asked.as_ref(), Value::from("deny"), how, values, imposed);
        }
        let list = ["egress".to_owned(), "rule".to_owned()];
        let Some(Value::Array(tag, rules)) = value_at(values, &list).cloned() else {
            return;
        };
        let fits = |rule: &Value| {
            let of = |key: &str| rule.find_ref(key);
            let denies = of("action").and_then(Value::as_str) == Some("deny");
            let hosts = match of("match.host") {
                Some(Value::Array(_, hosts)) => hosts.iter().filter_map(Value::as_str).collect(),
                Some(host) => host.as_str().into_iter().collect(),
                None => Vec::new(),
            };
            denies || !hosts.is_empty() && hosts.iter().all(|host| bound::is_within(host, within))
        };
        let (kept, dropped): (Vec<Value>, Vec<Value>) = rules.into_iter().partition(fits);
        if dropped.is_empty() {
            return;
        }
        let ids: Vec<&str> = dropped
            .iter()
            .map(|rule| {
                rule.find_ref("id")
                    .and_then(Value::as_str)
                    .unwrap_or("a rule without an id")
            })
            .collect();
        let how = format!(
            "left out, since they allow more than is within the bound: {}",
            ids.join(", ")
        );
        self.set(
            &list,
            Some(&Value::Array(tag, dropped.clone())),
            Value::Array(tag, kept),
            &how,
            values,
            imposed,
        );
    }

    /// Where it stands.
    fn place(&self) -> String {
        self.origin.place(&["enforce".to_owned(), dotted(&self.key)])
    }
}

/// Puts `value` at `key`, with the tables around it where there are none.
fn overwrite(values: &mut Dict, key: &[String], value: Value) {
    let Some((name, rest)) = key.split_first() else { return };
    if rest.is_empty() {
        values.insert(name.clone(), value);
        return;
    }
    match values.get_mut(name) {
        Some(Value::Dict(_, inner)) => overwrite(inner, rest, value),
        Some(Value::Array(_, elements)) => {
            let element = rest[0].parse::<usize>().ok().and_then(|at| elements.get_mut(at));
            if let Some(Value::Dict(_, inner)) = element {
                overwrite(inner, &rest[1..], value);
            }
        }
        _ => {
            values.insert(name.clone(), Value::from(nest(rest, value)));
        }
    }
}

/// Whether a value could be that of a key.
fn can_be(key: &[String], value: &Value) -> Result<(), String> {
    let mut concrete = key.to_vec();
    for part in &mut concrete {
        if part == ANY {
            "any".clone_into(part);
        }
    }
    match read_options(&nest(&concrete, value.clone())) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
