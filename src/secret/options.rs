//! The table `[secret]`.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Recipe, Source};
use crate::{
    policy::{
        Problem,
        auth::Binding,
        matching::{host::HostPattern, several::Several},
    },
    units::Period,
};

/// Every secret by its name: the table `[secret]`. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretsOptions(pub BTreeMap<String, SecretOptions>);

/// An entry of `[secret]`: exactly one source, and what holds for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SecretOptions {
    /// The file that holds it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The variable of amb's own environment that holds it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The program, with its arguments, that prints it; no shell is started
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The name of the credential that systemd has loaded for amb's unit
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The service and the user under which the desktop's keyring holds it
    ///
    /// For an amb that was built with the feature `keyring`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<Vec<String>>,
    /// Leave the variable out of the command's environment [default: false]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub hide_from_child: Option<bool>,
    /// Get it when it is first needed, and not before the command starts [default: false]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub lazy: Option<bool>,
    /// Get it anew after this long [default: never]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Period>,
    /// The only hosts that it may go to, and where amb-secret:NAME in a request stands for it [default: those of its uses]
    ///
    /// In what a request's header, query or basic password says, amb-secret:NAME is replaced for these hosts and for no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Several<HostPattern>>,
    /// Send it by plain http, too, in the place of amb-secret:NAME [default: false]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
}

impl SecretsOptions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How each is to be had, and where each may go; `problems` gets what is wrong.
    pub fn build(self, problems: &mut Vec<Problem>) -> (BTreeMap<String, Recipe>, BTreeMap<String, Binding>) {
        let (mut recipes, mut bindings) = (BTreeMap::new(), BTreeMap::new());
        for (name, options) in self.0 {
            let before = problems.len();
            let binding = Binding::build(
                &["secret", &name, "hosts"],
                options.hosts.clone().map(|hosts| hosts.0),
                options.allow_plain_http.unwrap_or(false),
                problems,
            );
            if !is_name(&name) {
                let reason = format!(
                    "`{}` is no name of a secret: letters, digits, - and _ make one",
                    name.escape_debug()
                );
                problems.push(Problem::at(&["secret", &name], reason));
            }
            if let Some(recipe) = options.build(&name, problems) {
                recipes.insert(name.clone(), recipe);
            }
            debug_assert!(problems.len() > before || recipes.contains_key(&name));
            bindings.insert(name, binding);
        }
        (recipes, bindings)
    }
}

/// Whether a secret may be called so.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl SecretOptions {
    /// How it is to be had; `problems` gets what is wrong.
    fn build(self, name: &str, problems: &mut Vec<Problem>) -> Option<Recipe> {
        let at = |key: &str, reason: &str| Problem::at(&["secret", name, key], reason);
        let mut sources = Vec::new();
        if let Some(file) = self.file {
            if file.as_os_str().is_empty() {
                problems.push(at("file", "the file has no name"));
            }
            sources.push(("file", Source::File(file)));
        }
        if let Some(variable) = self.env {
            if variable.is_empty() || variable.contains(['=', '\0']) {
                problems.push(at("env", "this is no name of a variable"));
            }
            sources.push(("env", Source::Variable(variable)));
        }
        if let Some(command) = self.command {
            if command.first().is_none_or(String::is_empty) {
                problems.push(at("command", "there is no program to start"));
            }
            sources.push((
                "command",
                Source::Command(command.into_iter().map(Into::into).collect()),
            ));
        }
        if let Some(credential) = self.credential {
            if credential.is_empty() || credential.contains('/') || credential.starts_with('.') {
                problems.push(at("credential", "this is no name of a credential"));
            }
            sources.push(("credential", Source::Credential(credential)));
        }
        if let Some(keyring) = self.keyring {
            let Ok([service, user]) = <[String; 2]>::try_from(keyring) else {
                let reason = "expected two texts: the service and the user, as in [\"corp\", \"me\"]";
                problems.push(at("keyring", reason));
                return None;
            };
            sources.push(("keyring", Source::Keyring { service, user }));
        }
        if self.hide_from_child == Some(true) && !sources.iter().any(|(key, _)| *key == "env") {
            let reason = "only a variable can be hidden from the command: this secret comes from elsewhere";
            problems.push(at("hide-from-child", reason));
        }
        if self.cache.is_some_and(|cache| cache.0.is_zero()) {
            problems.push(at("cache", "expected more than 0s; leave it out to get it once"));
        }
        let others: Vec<&str> = sources.iter().skip(1).map(|(key, _)| *key).collect();
        if let [other, ..] = others[..] {
            let first = sources[0].0;
            let reason = format!("a secret comes from one place: `{first}` is set, too");
            problems.push(Problem::between(
                &["secret", name, other],
                &["secret", name, first],
                reason,
            ));
        }
        let Some((_, source)) = sources.into_iter().next() else {
            let reason = "it does not say where it comes from: set file, env, command, credential or keyring";
            problems.push(Problem::at(&["secret", name], reason));
            return None;
        };
        Some(Recipe {
            source,
            hide_from_child: self.hide_from_child.unwrap_or(false),
            lazy: self.lazy.unwrap_or(false),
            cache: self.cache.map(|cache| cache.0),
        })
    }
}

impl JsonSchema for SecretsOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secrets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<SecretOptions>();
        schemars::json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$" },
            "additionalProperties": entry,
            "x-entry": "NAME",
            "x-danger": "reads a file, a variable or what a program prints, and says where it may go",
        })
    }
}
