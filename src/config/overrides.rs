//! `--set KEY=TOML`: any key, on the command line.
//!
//! What is not TOML is a text, because a shell takes away the quotes that TOML wants: `--set timeout.connect=2s`.

use figment::{
    providers::{Format, Toml},
    value::{Dict, Value},
};
use toml_edit::Key;

use super::{
    error::{ConfigError, Mark, Origin},
    layer::{Layer, Rank},
};

/// What a value begins with that can only be meant as TOML.
const UNMISTAKABLE: [char; 4] = ['[', '{', '"', '\''];

/// A layer for each setting, in their order: the last one wins. Mistakes go to `errors`.
pub(super) fn layers(settings: &[String], errors: &mut Vec<ConfigError>) -> Vec<Layer> {
    settings
        .iter()
        .filter_map(|setting| match split(setting) {
            Ok((key, text)) => layer(&key, text, errors),
            Err(error) => {
                errors.push(error);
                None
            }
        })
        .collect()
}

/// The layer of one setting.
fn layer(key: &[String], text: &str, errors: &mut Vec<ConfigError>) -> Option<Layer> {
    let value = value(text);
    if value.is_none() && text.starts_with(UNMISTAKABLE) {
        let reason = format!("`{}` is not TOML", super::secret::text(text));
        let hint = "in a shell, put quotes around the whole: --set 'KEY=[\"a\", \"b\"]'".to_owned();
        errors.push(ConfigError::at(
            Origin::Set,
            key.to_owned(),
            Mark::Value,
            reason,
            Some(hint),
        ));
        return None;
    }
    Layer::of_text(&Rank::Set, &Origin::Set, key, value, text, errors)
}

/// The key and the value's text.
fn split(setting: &str) -> Result<(Vec<String>, &str), ConfigError> {
    let refuse = |reason: String| {
        Err(ConfigError::other(format!(
            "--set {}: {reason}",
            super::secret::text(setting)
        )))
    };
    // A quoted part of a key may hold the sign, too.
    for (at, _) in setting.match_indices('=') {
        if let Ok(key) = Key::parse(&setting[..at]) {
            let key = key.iter().map(|part| part.get().to_owned()).collect();
            return Ok((key, setting[at + 1..].trim()));
        }
    }
    match setting.split_once('=') {
        None => refuse("write KEY=VALUE, such as timeout.connect=2s".to_owned()),
        Some((key, _)) => refuse(format!(
            "`{key}` is not a key: quote a part with other characters than letters, digits, - and _, \
             such as connect-to.\"api.example.com:80\""
        )),
    }
}

/// The value that `text` is in TOML.
fn value(text: &str) -> Option<Value> {
    let mut document = Toml::from_str::<Dict>(&format!("value = {text}\n")).ok()?;
    // A line break in the text may not bring other keys in.
    (document.len() == 1).then(|| document.remove("value")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_quoted_and_a_value_may_hold_the_sign() {
        for (setting, key, text) in [
            ("a.b=c", vec!["a", "b"], "c"),
            ("a . b = c ", vec!["a", "b"], "c"),
            ("a.\"x=y:80\"=c", vec!["a", "x=y:80"], "c"),
            ("a=b=c", vec!["a"], "b=c"),
            ("a=", vec!["a"], ""),
        ] {
            let (found, value) = split(setting).unwrap();
            assert_eq!((found, value), (key.into_iter().map(ToOwned::to_owned).collect(), text));
        }
        assert!(split("a.b").is_err());
        assert!(split("a:b=c").is_err());
        assert!(split("=c").is_err());
    }

    #[test]
    fn what_is_not_toml_is_no_value() {
        assert_eq!(value("3"), Some(Value::from(3)));
        assert_eq!(value("'3s'"), Some(Value::from("3s")));
        for text in ["3s", "", "[1", "1\nother = 2"] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
