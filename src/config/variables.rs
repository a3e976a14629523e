//! The variables that are configuration: `AMB_`, then a key with a double underscore between table and name.
//!
//! A name without a double underscore is never a key: `AMB_CONFIG` steers amb, and what amb puts in a child's
//! environment (`AMB_RUN_ID`) must not disturb another amb inside it.

use std::ffi::OsString;

use figment::value::Value;

use super::{
    error::{ConfigError, Mark, Origin},
    layer::{Layer, Rank},
    schema,
};

/// The variable that stands for `log.level` without being spelled like a key, as `RUST_LOG` does elsewhere.
const LOG: &str = "AMB_LOG";

/// The variables that steer amb, or that it gives its child, and are no keys.
const CONTROLS: [&str; 8] = [
    "AMB_CONFIG",
    super::stack::PROFILE_VARIABLE,
    super::trust::VARIABLE,
    crate::inject::RUN_ID,
    crate::inject::NAME,
    crate::inject::memory::BEFORE,
    crate::inject::PROXY_URL,
    crate::inject::CA_FILE,
];

/// A layer for each variable that is a key, in the order of their names; mistakes go to `errors`.
pub(super) fn layers(environment: &[(OsString, OsString)], errors: &mut Vec<ConfigError>) -> Vec<Layer> {
    let mut found: Vec<_> = environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, key(name.to_str()?)?, value)))
        .filter(|(name, _, value)| *name != LOG || !value.is_empty())
        .collect();
    found.sort();
    let mut layers = Vec::new();
    for (name, key, value) in found {
        let origin = Origin::Variable(name.to_owned());
        if let Some(text) = value.to_str() {
            let value = text.parse::<Value>().unwrap_or_else(|never| match never {});
            layers.extend(Layer::of_text(
                &Rank::Environment,
                &origin,
                &key,
                Some(value),
                text,
                errors,
            ));
        } else {
            errors.push(ConfigError::at(origin, key, Mark::Value, "is not UTF-8", None));
        }
    }
    layers
}

/// A warning of each variable that would be a key with one more underscore, and so is none.
pub(super) fn near_misses(environment: &[(OsString, OsString)]) -> Vec<ConfigError> {
    let mut found: Vec<_> = environment
        .iter()
        .filter_map(|(name, _)| name.to_str())
        .filter(|name| name.starts_with("AMB_") && key(name).is_none() && !CONTROLS.contains(name))
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .filter_map(|name| {
            let mut variables = schema::keys().iter().filter_map(|key| key.variable.as_ref());
            let meant = variables.find(|variable| variable.replace("__", "_") == name)?;
            let hint = format!("did you mean `{meant}`?");
            let origin = Origin::Variable(name.to_owned());
            Some(ConfigError::at(
                origin,
                Vec::new(),
                Mark::Key,
                "is not read",
                Some(hint),
            ))
        })
        .collect()
}

/// The key that a variable stands for: `AMB_ACCESS_LOG__FILE` is `access-log.file`.
pub(super) fn key(name: &str) -> Option<Vec<String>> {
    if name == LOG {
        return Some(vec!["log".to_owned(), "level".to_owned()]);
    }
    let path = name.strip_prefix("AMB_")?;
    path.contains("__").then(|| {
        path.split("__")
            .map(|part| part.to_ascii_lowercase().replace('_', "-"))
            .collect()
    })
}

/// The variable that stands for a key.
pub(super) fn name(key: &[String]) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|part| part.replace('-', "_").to_ascii_uppercase())
        .collect();
    format!("AMB_{}", parts.join("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_double_underscore_makes_a_key() {
        for (name, expected) in [
            ("AMB_RUN__NAME", Some(vec!["run", "name"])),
            ("AMB_ACCESS_LOG__FILE", Some(vec!["access-log", "file"])),
            ("AMB_RUN__KILL_AFTER", Some(vec!["run", "kill-after"])),
            ("AMB_LOG", Some(vec!["log", "level"])),
            ("AMB_RUN_ID", None),
            ("AMB_CONFIG", None),
            ("LAMB_RUN__NAME", None),
            ("AMB_TIMEOUT_CONNECT", None),
        ] {
            let expected = expected.map(|parts| parts.into_iter().map(ToOwned::to_owned).collect());
            assert_eq!(key(name), expected, "{name}");
        }
    }

    #[test]
    fn a_variable_with_one_underscore_too_few_is_told() {
        let names = [
            "AMB_TIMEOUT_CONNECT",
            "AMB_RUN_ID",
            "AMB_OTHER",
            "AMB_RUN__NAME",
            "AMB_RUN_KILL_AFTER",
        ];
        let environment: Vec<_> = names.iter().map(|name| ((*name).into(), "x".into())).collect();
        let told: Vec<String> = near_misses(&environment).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "AMB_RUN_KILL_AFTER: is not read; did you mean `AMB_RUN__KILL_AFTER`?",
                "AMB_TIMEOUT_CONNECT: is not read; did you mean `AMB_TIMEOUT__CONNECT`?",
            ]
        );
    }
}
