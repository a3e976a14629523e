//! The table `[egress]`.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum, ValueHint};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Action, Background, Egress, Rule, destination::Destination};
use crate::policy::{Problem, condition::Condition, matching::Match, words::list};

/// What a file that was merely found could do with most keys.
const LOOSENS: &str = "may let requests pass that a weaker layer refuses";

/// Where requests may go, as it is configured: the table `[egress]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EgressOptions {
    /// What becomes of requests that the rules deny: off, audit or enforce [default: audit]
    ///
    /// audit lets them pass and reports them, enforce refuses them; off asks no rule. Without any rule audit does nothing.
    #[arg(id = "egress.mode", long = "egress", value_name = "MODE", help_heading = "Egress")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "audit", "x-danger" = LOOSENS))]
    pub mode: Option<Mode>,

    /// What happens where no rule says anything: allow or deny [default: deny, or allow if things are only denied]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = LOOSENS))]
    pub default: Option<Action>,

    /// Where requests may go; everywhere else is denied [default: none]
    ///
    /// Comma-separated and repeatable: a host, *.example.com for what is one label below it, **.example.com for all that is,
    /// an address or a network, each with a port if need be, or a set: metadata, loopback, private, link-local.
    #[arg(
        id = "egress.allow",
        long = "allow",
        value_name = "DEST",
        value_delimiter = ',',
        value_hint = ValueHint::Hostname,
        help_heading = "Egress"
    )]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "destinations_schema",
        extend("default" = [], "x-danger" = LOOSENS)
    )]
    pub allow: Option<Vec<Destination>>,

    /// Where requests may not go, whatever else is allowed [default: none]
    ///
    /// As in --allow. A name that leads to an address which is denied is denied.
    #[arg(
        id = "egress.deny",
        long = "deny",
        value_name = "DEST",
        value_delimiter = ',',
        value_hint = ValueHint::Hostname,
        help_heading = "Egress"
    )]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "destinations_schema",
        extend("default" = [], "x-danger" = LOOSENS)
    )]
    pub deny: Option<Vec<Destination>>,

    /// Rules, of which the first that fits counts; they come behind deny and before allow [default: none]
    ///
    /// extend-rule puts rules in front of those of weaker layers, and one whose id is known there takes the place of that.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = [], "x-danger" = LOOSENS))]
    pub rule: Option<Vec<RuleOptions>>,

    /// Write where requests went to this lockfile, if the command ends well: for --locked [default: none]
    ///
    /// A line for each host and port, sorted. What was there is replaced.
    #[arg(
        id = "egress.learn",
        long = "learn",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Egress"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "writes a file outside the directory", "x-danger-if" = "outside"))]
    pub learn: Option<PathBuf>,

    /// Refuse requests to places that are not in this lockfile; --learn writes it [default: none]
    ///
    /// It takes the place of egress.allow, and sets egress.mode to enforce and egress.default to deny. What is in it may be
    /// denied by other rules all the same, and by the central policy.
    #[arg(
        id = "egress.locked",
        long = "locked",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Egress"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "reads a file outside the directory", "x-danger-if" = "outside"))]
    pub locked: Option<PathBuf>,

    /// What the run ends with if a request was refused and the command ended well: report, or fail with status 98 [default: report]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "report"))]
    pub violations: Option<Violations>,

    /// Whom to ask for an exception: stands in every refusal [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// An element of the list `[[egress.rule]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RuleOptions {
    /// What it is called in refusals, logs and reports [default: rule-1 and so on]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which requests it is about; all parts that are given must fit, and one of a list
    ///
    /// Its host may be an address or a network: then it is about every name that leads there, too.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// And only if this is so: an expression in CEL, as in a route [default: true]
    ///
    /// Where it cannot be evaluated, a rule that denies fits, and one that allows does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What it says: allow or deny; required
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What the refused are told [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What becomes of requests that the rules deny.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// No rule is asked
    Off,
    /// They pass, and are reported
    #[default]
    Audit,
    /// They are refused
    #[serde(alias = "block")]
    #[value(alias = "block")]
    Enforce,
}

/// What a run with refused requests ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Violations {
    /// They are reported
    #[default]
    Report,
    /// The run fails
    Fail,
}

/// The schema of a list of destinations.
fn destinations_schema(generator: &mut SchemaGenerator) -> Schema {
    let destination = generator.subschema_for::<Destination>();
    json_schema!({
        "title": "a list of hosts, networks and sets such as metadata",
        "anyOf": [{ "type": "array", "items": destination }, { "type": "string" }],
    })
}

impl EgressOptions {
    /// The rules; none if they are off, or there are none, and nothing is to be learned. `problems` gets what is wrong.
    pub fn build(self, background: Background, problems: &mut Vec<Problem>) -> Option<Egress> {
        let mode = self.mode.unwrap_or_default();
        let rules = build_rules(self.rule.unwrap_or_default(), &background.origins.rule, problems);
        let (allow, deny) = (self.allow.unwrap_or_default(), self.deny.unwrap_or_default());
        let says_nothing = allow.is_empty() && deny.is_empty() && rules.is_empty() && self.default.is_none();
        let asks_nothing = mode == Mode::Off || says_nothing && mode == Mode::Audit;
        let base = if asks_nothing {
            // What is only watched goes where it likes.
            self.learn.as_ref()?;
            Egress::new(Action::Allow, &[], &[], Vec::new(), Background::default())
        } else {
            let allows = !allow.is_empty() || rules.iter().any(|rule| rule.action == Action::Allow);
            let denies = !deny.is_empty() || rules.iter().any(|rule| rule.action == Action::Deny);
            let default = self
                .default
                .unwrap_or(if denies && !allows { Action::Allow } else { Action::Deny });
            Egress::new(default, &allow, &deny, rules, background)
        };
        Some(Egress {
            enforced: mode == Mode::Enforce,
            fails: self.violations == Some(Violations::Fail),
            contact: self.contact.map(Arc::from),
            learn: self.learn,
            ..base
        })
    }
}

/// The valid rules; `problems` gets what is wrong.
fn build_rules(options: Vec<RuleOptions>, origins: &[Arc<str>], problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut rules = Vec::with_capacity(options.len());
    for (at, options) in options.into_iter().enumerate() {
        let place = at.to_string();
        let key = |name: &'static str| ["egress", "rule", place.as_str(), name];
        let id = options.id.unwrap_or_else(|| format!("rule-{}", at + 1));
        let odd = |character: char| character.is_whitespace() || character.is_control() || "\"\\".contains(character);
        if id.is_empty() || id.contains(odd) {
            problems.push(Problem::at(
                &key("id"),
                "an id is a word without white space and quotes",
            ));
        } else if let Some(other) = taken.insert(id.clone(), at) {
            let other = other.to_string();
            let reason = format!("`{id}` is another rule's id, too");
            problems.push(Problem::between(&key("id"), &["egress", "rule", &other, "id"], reason));
        }
        let when = options.when.and_then(|when| match Condition::compile(&when) {
            Ok(condition) => Some(condition),
            Err(mistakes) => {
                problems.extend(mistakes.into_iter().map(|mistake| Problem {
                    within: mistake.place,
                    ..Problem::at(&key("when"), mistake.reason)
                }));
                None
            }
        });
        let Some(action) = options.action else {
            let reason = "a rule says what it does: set action to allow or deny";
            problems.push(Problem::at(&["egress", "rule", &place], reason));
            continue;
        };
        rules.push(Rule {
            id: Arc::from(id),
            matches: options.matches.unwrap_or_default(),
            when,
            action,
            message: options.message.map(Arc::from),
            origin: origins.get(at).map(Arc::clone),
        });
    }
    rules
}
