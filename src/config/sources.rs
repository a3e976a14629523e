//! What the layers amount to, and where each value came from.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::Path,
    sync::Arc,
};

use figment::{
    Figment, Provider,
    value::{Dict, Value},
};

use super::{
    Options,
    break_glass::Broken,
    central::Central,
    constrain::{self, Clamp},
    error::{ConfigError, Mark, Origin, dotted},
    layer::{Layer, Rank, elements, read},
    lock, schema, secret,
    tree::{leaves, value_at},
};
use crate::policy::{
    Problem,
    egress::{Origins, lock::Lock},
};

/// Where each value of a [`Config`](super::Config) came from.
#[derive(Debug, Default)]
pub struct Sources {
    /// All layers, the weakest first.
    layers: Vec<Layer>,
    /// What they amount to.
    merged: Dict,
    /// Where the elements of lists of tables came from, by the list's key.
    elements: BTreeMap<Vec<String>, Vec<Element>>,
    /// What the user should know of, though nothing is wrong.
    pub warnings: Vec<ConfigError>,
    /// The central policy; none if there is none.
    pub central: Option<Governed>,
    /// What the lockfile says; none if there is none.
    pub(super) lock: Option<Lock>,
}

/// What the central policy had to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Governed {
    /// What it is called: the ids of its files, with commas.
    pub id: String,
    /// Its files.
    pub paths: Vec<String>,
    /// What it has brought back to its bounds.
    pub clamps: Vec<Clamp>,
    /// Who has lifted it; none if nobody has.
    pub broken: Option<Broken>,
}

/// Where an element of a list was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    /// Which layer, by its place among all; none for the built-in default.
    layer: Option<usize>,
    /// Whether it stands in what that layer adds.
    added: bool,
    /// Which element of that it is.
    at: usize,
}

/// A value that some layer set.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its key: `timeout.connect`.
    pub key: String,
    /// Its value, as it may be shown.
    pub value: serde_json::Value,
    /// The layer that decided it, then those that added to it, the weakest first.
    pub sources: Vec<Source>,
}

impl Setting {
    /// The value as TOML.
    pub fn toml(&self) -> String {
        secret::toml(&self.value)
    }
}

/// A layer that has a say in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which layer: `project`, `environment`.
    pub layer: String,
    /// Where in it: `amb.toml:3:11`, `AMB_TIMEOUT__CONNECT`, `--connect-timeout`.
    pub place: String,
}

/// What one layer says about a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Who says it.
    pub source: Source,
    /// What it says, as it may be shown; null for a built-in default that is no value.
    pub value: serde_json::Value,
    /// What comes of it.
    pub role: Role,
}

/// What becomes of what a layer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds.
    Wins,
    /// It is added to what a weaker layer says.
    Adds,
    /// A stronger layer says something else.
    Covered,
}

impl Sources {
    /// Merges the layers, the weakest of which comes first.
    ///
    /// # Errors
    ///
    /// None, if each layer can be read by itself, unless a value of one stands where another has a table.
    pub(super) fn of(layers: Vec<Layer>, warnings: Vec<ConfigError>) -> Result<(Options, Self), Box<figment::Error>> {
        if layers.is_empty() {
            // So it is where most commands are started, each of which waits for it.
            let sources = Self {
                layers,
                warnings,
                ..Self::default()
            };
            return Ok((Options::default(), sources));
        }
        let mut merged = Figment::new();
        for (at, layer) in layers.iter().enumerate() {
            merged = merged.merge(layer);
            for addition in &layer.additions {
                let list = list(&layers[..=at], &addition.key).into_iter().map(|(value, _)| value);
                merged = merged.merge(Layer::of_list(&addition.key, list.collect()));
            }
        }
        let merged = merged.data()?.into_values().next().unwrap_or_default();
        let options = read(&merged)?;
        let lists = leaves(&merged)
            .into_iter()
            .filter(|(_, value)| is_list_of_tables(value));
        let elements = lists.map(|(key, _)| {
            let elements = list(&layers, &key).into_iter().map(|(_, element)| element).collect();
            (key, elements)
        });
        let sources = Self {
            elements: elements.collect(),
            layers,
            merged,
            warnings,
            central: None,
            lock: None,
        };
        Ok((options, sources))
    }

    /// The same, held to the lockfile that it names, if it names one; `errors` gets why that cannot be.
    ///
    /// # Errors
    ///
    /// As [`Sources::of`].
    pub(super) fn locked(
        self,
        options: Options,
        directory: &Path,
        errors: &mut Vec<ConfigError>,
    ) -> Result<(Options, Self), Box<figment::Error>> {
        let path = options.egress.locked.as_ref();
        // What a file that is not trusted names is not even looked at.
        let Some(path) = path.filter(|_| errors.is_empty()) else {
            return Ok((options, self));
        };
        match lock::read(directory, path) {
            Ok((lock, layer)) => {
                let mut layers = self.layers;
                layers.push(layer);
                let (options, sources) = Self::of(layers, self.warnings)?;
                let lock = Some(lock);
                Ok((options, Self { lock, ..sources }))
            }
            Err(reason) => {
                errors.push(self.blame(Problem::at(&["egress", "locked"], reason)));
                Ok((options, self))
            }
        }
    }

    /// The same under the central policy; `errors` gets what it refuses.
    ///
    /// # Errors
    ///
    /// As [`Sources::of`].
    pub(super) fn constrained(
        self,
        central: &Central,
        broken: Option<Broken>,
        environment: &[(OsString, OsString)],
        errors: &mut Vec<ConfigError>,
    ) -> Result<(Options, Self), Box<figment::Error>> {
        let imposed = constrain::impose(&central.constraints, &self.merged, environment);
        errors.extend(imposed.refusals.into_iter().map(|refusal| self.blame(refusal)));
        let mut warnings = self.warnings;
        warnings.extend(imposed.warnings);
        let (options, mut sources) = Self::of([self.layers, imposed.layers].concat(), warnings)?;
        sources.lock = self.lock;
        // What was imposed must not be undone by what it was laid over.
        let again = constrain::impose(&central.constraints, &sources.merged, environment);
        if !again.clamps.is_empty() {
            let keys: Vec<&str> = again.clamps.iter().map(|clamp| &*clamp.key).collect();
            errors.push(ConfigError::other(format!(
                "the central policy {} contradicts itself about {}",
                central.ids.join(", "),
                keys.join(", ")
            )));
        }
        sources.central = Some(Governed {
            id: central.ids.join(", "),
            paths: central.paths.iter().map(|path| path.display().to_string()).collect(),
            clamps: imposed.clamps,
            broken,
        });
        Ok((options, sources))
    }

    /// The problem as a mistake of the layers that its values came from.
    pub(super) fn blame(&self, problem: Problem) -> ConfigError {
        let (origin, written) = self.written(&problem.key);
        let part = problem.within.and_then(|part| {
            let (start, end) = (part.start.try_into().ok()?, part.end.try_into().ok()?);
            Some(Mark::Part(start, end))
        });
        let mut error = ConfigError::at(origin, written, part.unwrap_or(Mark::Value), problem.reason, None);
        error.others = problem.others.iter().map(|key| self.written(key)).collect();
        error
    }

    /// Where the value of `key` was written: the layer's origin and the key in it.
    fn written(&self, key: &[String]) -> (Origin, Vec<String>) {
        if let Some((list, element, inside)) = self.element(key) {
            let Some(layer) = element.layer.map(|at| &self.layers[at]) else {
                return (Origin::Elsewhere, key.to_vec());
            };
            let inside = [&[element.at.to_string()], inside].concat();
            let written = if element.added {
                layer.written_in_addition(list, &inside)
            } else {
                layer.written(&[list, &inside].concat())
            };
            return (layer.origin.clone(), written);
        }
        match self.saying(key).next() {
            Some(layer) => (layer.origin.clone(), layer.written(key)),
            None => (Origin::Elsewhere, key.to_vec()),
        }
    }

    /// The element of a list of tables that `key` is about: the list's key, where the element came from, and the rest of the
    /// way.
    fn element<'a>(&self, key: &'a [String]) -> Option<(&'a [String], Element, &'a [String])> {
        (1..key.len()).find_map(|length| {
            let (list, inside) = key.split_at(length);
            let element = self.elements.get(list)?.get(inside[0].parse::<usize>().ok()?)?;
            Some((list, *element, &inside[1..]))
        })
    }

    /// The value at `key` inside a list of tables, to be shown only as what is at the key it stands for may be shown.
    pub(super) fn value_inside(&self, key: &[String]) -> Option<serde_json::Value> {
        let value = value_at(&self.merged, key)?;
        Some(serde_json::to_value(value).unwrap_or_default())
    }

    /// Where what is at `key` inside a list of tables was written: none if nothing is there.
    pub(super) fn inside(&self, key: &[String]) -> Option<Source> {
        value_at(&self.merged, key)?;
        let (_, element, _) = self.element(key)?;
        let (origin, written) = self.written(key);
        Some(Source {
            layer: element
                .layer
                .map_or_else(|| built_in().layer, |at| self.layers[at].rank.to_string()),
            place: origin.place(&written),
        })
    }

    /// The layers that say something about `key`, the strongest first.
    fn saying<'a>(&'a self, key: &'a [String]) -> impl Iterator<Item = &'a Layer> {
        let layers = self.layers.iter().rev();
        layers.filter(|layer| layer.value(key).is_some() || layer.added(key).is_some())
    }

    /// Every value that is not a built-in default, by key.
    pub fn settings(&self) -> Vec<Setting> {
        leaves(&self.merged)
            .into_iter()
            .map(|(key, value)| Setting {
                key: dotted(&key),
                value: shown(&key, value),
                sources: self.sources(&key),
            })
            .collect()
    }

    /// The value of `key` that holds, as it may be shown; none if it is a built-in default.
    pub fn value(&self, key: &[String]) -> Option<serde_json::Value> {
        value_at(&self.merged, key).map(|value| shown(key, value))
    }

    /// The keys below `key` that some layer has set, or `key` itself.
    pub fn keys_below(&self, key: &[String]) -> Vec<Vec<String>> {
        let keys = leaves(&self.merged).into_iter().map(|(found, _)| found);
        keys.filter(|found| found.starts_with(key)).collect()
    }

    /// The layer that decided `key`, then those that added to it, the weakest first.
    pub fn sources(&self, key: &[String]) -> Vec<Source> {
        let mut sources = Vec::new();
        for (layer, adds) in self.said(key) {
            sources.push(layer.map_or_else(built_in, |layer| source(layer, key)));
            if !adds {
                break;
            }
        }
        // What one layer both sets and adds to comes from one place.
        sources.dedup();
        sources.reverse();
        sources
    }

    /// Whether a value was given on the command line, or is enforced by the central policy.
    pub fn is_demanded(&self, key: &[String]) -> bool {
        let strongest = self.said(key).next().and_then(|(layer, _)| layer);
        strongest.is_some_and(|layer| matches!(layer.rank, Rank::Flag | Rank::Set | Rank::Enforced))
    }

    /// Every place that has a say in some value, sorted, each once.
    pub fn places(&self) -> Vec<String> {
        let keys = leaves(&self.merged).into_iter().map(|(key, _)| key);
        let sources = keys.flat_map(|key| self.sources(&key));
        let mut places: Vec<String> = sources.map(|source| source.place).collect();
        places.sort();
        places.dedup();
        places
    }

    /// Who has written what of the table `egress`, in a word: a file, a variable, a flag.
    pub(super) fn of_egress(&self) -> Origins {
        let default = ["egress", "default"].map(str::to_owned);
        let layer = self.saying(&default).next();
        Origins {
            allow: self.writers("allow"),
            deny: self.writers("deny"),
            rule: self.writers("rule"),
            default: layer.map(|layer| writer(layer, "default")),
        }
    }

    /// Who has written the elements of a list of `egress`. Of what a bound of the central policy leaves standing it is whoever
    /// has written it, and not the policy.
    fn writers(&self, name: &str) -> Vec<Arc<str>> {
        let key = ["egress", name].map(str::to_owned);
        if value_at(&self.merged, &key).is_none() {
            return Vec::new();
        }
        let names: Vec<Arc<str>> = self.layers.iter().map(|layer| writer(layer, name)).collect();
        let below = self.layers.iter().position(|layer| layer.rank == Rank::Enforced);
        let below = list(&self.layers[..below.unwrap_or(0)], &key);
        let known: HashMap<&str, usize> = below
            .iter()
            .filter_map(|(value, element)| Some((value.as_str().or_else(|| id(value))?, element.layer?)))
            .collect();
        let built_in: Arc<str> = built_in().place.into();
        let all = list(&self.layers, &key).into_iter().map(|(value, element)| {
            let enforced = element.layer.filter(|at| self.layers[*at].rank == Rank::Enforced);
            let text = value.as_str().or_else(|| id(&value));
            let own = enforced.and(text).and_then(|text| known.get(text).copied());
            let at = own.or(element.layer);
            at.map_or_else(|| Arc::clone(&built_in), |at| Arc::clone(&names[at]))
        });
        all.collect()
    }

    /// What every layer says about `key`, the strongest first; the built-in default is the last.
    pub fn history(&self, key: &[String]) -> Vec<Step> {
        let mut decided = false;
        let step = |(layer, adds): (Option<&Layer>, bool)| {
            let role = match (decided, adds) {
                (true, _) => Role::Covered,
                (false, true) => Role::Adds,
                (false, false) => Role::Wins,
            };
            decided |= !adds;
            let (source, value) = match layer {
                None => (built_in(), schema::default_of(key).unwrap_or_default()),
                Some(layer) => {
                    let value = match layer.added(key) {
                        Some(added) if adds => Some(Value::from(added.to_vec())),
                        _ => layer.value(key).cloned(),
                    };
                    (
                        source(layer, key),
                        value.map(|value| shown(key, &value)).unwrap_or_default(),
                    )
                }
            };
            Step { source, value, role }
        };
        self.said(key).map(step).collect()
    }

    /// Who says something about `key`, and whether it adds: the strongest first, the built-in default, which is no layer,
    /// as the last.
    fn said<'a>(&'a self, key: &'a [String]) -> impl Iterator<Item = (Option<&'a Layer>, bool)> {
        let says = |layer: &'a Layer| {
            let adds = layer.added(key).is_some().then_some((Some(layer), true));
            let sets = layer.value(key).is_some().then_some((Some(layer), false));
            adds.into_iter().chain(sets)
        };
        self.saying(key).flat_map(says).chain([(None, false)])
    }
}

/// Who has written what a layer says of `egress.NAME`. Where in the file it is not looked up: that takes long.
fn writer(layer: &Layer, name: &str) -> Arc<str> {
    match (&layer.rank, &layer.origin) {
        (Rank::Policy | Rank::Enforced, Origin::File(file)) => format!("central policy {}", file.shown).into(),
        (_, Origin::File(file)) => file.shown.as_str().into(),
        // Only lists have flags.
        (_, Origin::Flags) => format!("--{name}").into(),
        (_, origin) => origin.place(&["egress".to_owned(), name.to_owned()]).into(),
    }
}

/// A layer as the source of what it says about `key`.
fn source(layer: &Layer, key: &[String]) -> Source {
    Source {
        layer: layer.rank.to_string(),
        place: layer.place(key),
    }
}

/// The source of what no layer says.
fn built_in() -> Source {
    Source {
        layer: "built-in".to_owned(),
        place: "built-in default".to_owned(),
    }
}

/// Whether a value is a list of tables, of which the first that fits is meant.
fn is_list_of_tables(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|list| !list.is_empty() && list.iter().all(|element| element.as_dict().is_some()))
}

/// The list that these layers make of `key`, each element with where it came from.
///
/// What a layer adds stands behind what weaker ones said, but for tables: of these the first that fits is meant, so the
/// stronger layer's come first; and one with the `id` of another takes its place.
fn list(layers: &[Layer], key: &[String]) -> Vec<(Value, Element)> {
    let set = layers.iter().rposition(|layer| layer.value(key).is_some());
    let base = match set {
        Some(at) => layers[at].value(key).cloned(),
        None => schema::default_of(key).and_then(|value| Value::serialize(value).ok()),
    };
    let from = |layer, added| move |(at, value): (usize, Value)| (value, Element { layer, added, at });
    let base = base.map_or_else(Vec::new, |value| elements(key, value));
    let mut list: Vec<_> = base.into_iter().enumerate().map(from(set, false)).collect();
    for (place, layer) in layers.iter().enumerate().skip(set.unwrap_or(0)) {
        let added = layer.added(key).unwrap_or_default();
        let tables = added.iter().all(|element| element.as_dict().is_some());
        let mut new: Vec<_> = added.iter().cloned().enumerate().map(from(Some(place), true)).collect();
        if tables {
            new.retain(|element| {
                let same = |(other, _): &&mut (Value, Element)| id(&element.0).is_some() && id(other) == id(&element.0);
                let known = list.iter_mut().find(same);
                known.map(|known| known.clone_from(element)).is_none()
            });
            list.splice(0..0, new);
        } else {
            list.extend(new);
        }
    }
    list
}

/// The `id` of a table.
fn id(table: &Value) -> Option<&str> {
    table.as_dict()?.get("id")?.as_str()
}

/// A value as it may be shown.
fn shown(key: &[String], value: &Value) -> serde_json::Value {
    let value = serde_json::to_value(value).unwrap_or_default();
    secret::value(key, value)
}
