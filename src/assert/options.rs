//! The table `[assert]` and the flag `--assert`.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, value::MapAccessDeserializer},
};

use super::{Assertions, Expression, Rule};
use crate::{policy::Problem, traffic::assertion::Severity, units::Period};

/// What must hold, by name: the table `[assert]`, the flag `--assert`. Default: nothing.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Results")]
pub struct AssertOptions {
    /// Fail with 99 unless this holds at the end: 'requests.failed == 0', 'latency.p95 < 500ms'; repeatable
    ///
    /// An expression in CEL over what passed; amb help assertions has the variables. Only a command that ends well fails by
    /// it.
    #[arg(
        id = "assert",
        long = "assert",
        value_name = "EXPR",
        value_hint = clap::ValueHint::Other
    )]
    pub each: Vec<NamedAssertion>,
}

/// An entry of `[assert]` with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedAssertion {
    /// What it is called.
    name: String,
    /// What it says.
    options: AssertionTable,
}

impl FromStr for NamedAssertion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("an assertion says what must hold: requests.failed == 0".to_owned());
        }
        Ok(Self {
            name: text.to_owned(),
            options: AssertionTable {
                expr: text.to_owned(),
                ..AssertionTable::default()
            },
        })
    }
}

/// An entry of `[assert]`: an expression alone, or a table with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct AssertionTable {
    /// What must hold
    pub expr: String,
    /// What it means if it does not [default: error]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "error"))]
    pub severity: Option<Severity>,
    /// Whether it stops the run as soon as it does not hold, which is looked at once a second [default: false]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub abort: Option<bool>,
    /// How long into the run that begins [default: 0s]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "0s"))]
    pub after: Option<Period>,
    /// Whether it was written as a table.
    #[serde(skip)]
    pub is_table: bool,
}

impl AssertOptions {
    /// Whether nothing is asserted.
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// The valid assertions; `problems` gets what is wrong. Needs much room on the stack: see `config::CONDITION_ROOM`.
    pub fn build(self, problems: &mut Vec<Problem>) -> Assertions {
        let mut rules: Vec<Rule> = Vec::new();
        for NamedAssertion { name, options } in self.each {
            let before = problems.len();
            if options.after.is_some() && options.abort != Some(true) {
                let reason = "`after` says from when on it may stop the run, and without abort = true it never does";
                problems.push(Problem::at(&["assert", &name, "after"], reason));
            }
            if options.abort == Some(true) && options.severity == Some(Severity::Warning) {
                let reason = "what stops the run is no mere warning: it has severity = \"error\", or abort = false";
                problems.push(Problem::between(
                    &["assert", &name, "abort"],
                    &["assert", &name, "severity"],
                    reason,
                ));
            }
            match Expression::compile(options.expr.trim_end()) {
                Ok(expression) if problems.len() == before => rules.push(Rule {
                    aborts_after: (options.abort == Some(true))
                        .then(|| options.after.map(|after| after.0).unwrap_or_default()),
                    severity: options.severity.unwrap_or_default(),
                    name,
                    expression,
                }),
                Ok(_) => {}
                Err(mistakes) => {
                    let key: &[&str] = if options.is_table {
                        &["assert", &name, "expr"]
                    } else {
                        &["assert", &name]
                    };
                    // On the command line there is no place to point to.
                    let of = if name == options.expr {
                        format!(" (in `{name}`)")
                    } else {
                        String::new()
                    };
                    problems.extend(mistakes.into_iter().map(|mistake| Problem {
                        within: mistake.place,
                        ..Problem::at(key, format!("{}{of}", mistake.reason))
                    }));
                }
            }
        }
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        // The same expression twice on the command line is one.
        rules.dedup_by(|a, b| a.name == b.name);
        Assertions(rules)
    }
}

impl Serialize for AssertOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.each
                .iter()
                .map(|entry| (&entry.name, Entry(entry.options.clone()))),
        )
    }
}

impl<'de> Deserialize<'de> for AssertOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<String, Entry>::deserialize(deserializer)?;
        let each = table
            .into_iter()
            .map(|(name, Entry(options))| NamedAssertion { name, options });
        Ok(Self { each: each.collect() })
    }
}

/// An entry as it is written: a text, or a table.
struct Entry(AssertionTable);

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_table {
            self.0.serialize(serializer)
        } else {
            serializer.serialize_str(&self.0.expr)
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

/// Reads an [`Entry`].
struct EntryVisitor;

impl<'de> de::Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expression, or a table with expr, severity, abort and after")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
        let named: NamedAssertion = text.parse().map_err(E::custom)?;
        Ok(Entry(named.options))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
        let mut table = AssertionTable::deserialize(MapAccessDeserializer::new(map))?;
        table.is_table = true;
        Ok(Entry(table))
    }
}

impl JsonSchema for AssertOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Assert".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<AssertionTable>();
        json_schema!({
            "type": "object",
            "additionalProperties": {
                "title": "an expression, or a table with it",
                "anyOf": [{ "type": "string" }, table],
            },
            "x-entry": "NAME",
        })
    }
}
