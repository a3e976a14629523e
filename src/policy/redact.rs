//! What must not be written down. Always on; `[redact]` adds to it.
//!
//! Applied before anything leaves the proxy for a log or a report, so that nothing downstream can forget it. This knows what
//! is secret by where it stands: in which header, parameter, place of a JSON text or option of a command. What is secret
//! whatever it stands in (the values of `[secret]`, `redact.patterns`) is for the [`veil`](crate::veil), through which all of it goes in the end.

mod arguments;
mod json_path;

use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::json_path::JsonPath;
use super::{Problem, matching::glob::Glob, words::list};
use crate::veil::{MASK, Style};

/// Query parameters whose values are secrets wherever they are met.
const SECRET_PARAMETERS: [&str; 16] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "client_secret",
    "code",
    "id_token",
    "key",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "signature",
    "token",
];
/// Beginnings of names of such parameters: AWS's, Azure's and Google's signed URLs.
const SECRET_BEGINNINGS: [&str; 4] = ["sig", "x-amz-cred", "x-amz-s", "x-goog-sig"];
/// Headers whose values are secrets.
const SECRET_HEADERS: [&str; 14] = [
    "api-key",
    "authorization",
    "cookie",
    "cookie2",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-goog-api-key",
    "x-vault-token",
    "x-xsrf-token",
];
/// Names in JSON texts whose values are secrets at any depth.
const SECRET_NAMES: [&str; 10] = [
    "access_token",
    "api_key",
    "apikey",
    "client_secret",
    "id_token",
    "password",
    "private_key",
    "refresh_token",
    "secret",
    "token",
];

/// The table `[redact]`. What is in it is added to what is never written anyway.
#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RedactOptions {
    /// Headers whose values are not written, beside Authorization, Cookie and others that are always left out [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "texts", extend("default" = []))]
    pub headers: Option<Vec<String>>,

    /// Parameters of URLs whose values are not written, with * for any characters, beside token, key and others [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "texts", extend("default" = []))]
    pub query: Option<Vec<String>>,

    /// Places of JSON texts that are not written, such as $.card.number or $..pin, beside $..password and others [default: none]
    ///
    /// Today such texts are among the arguments of the command, which a report has.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "texts", extend("default" = []))]
    pub json: Option<Vec<String>>,

    /// Regular expressions of what is written nowhere, whatever it stands in [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = []))]
    pub patterns: Option<Vec<String>>,

    /// What is written in its place [default: mask]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "mask"))]
    pub mode: Option<Mode>,
}

/// What is written in the place of a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Three stars
    #[default]
    Mask,
    /// Three stars and a keyed hash: what was the same in a run can be told from what was not
    Hash,
}

/// The schema of lists of texts.
fn texts(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "title": "a list of texts",
        "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }],
    })
}

/// Takes secrets out of what is written down.
#[derive(Clone, Debug, Default)]
pub struct Redact {
    /// Further headers, lower case.
    headers: Vec<String>,
    /// Further parameters, lower case.
    query: Vec<Glob>,
    /// Further places of JSON texts.
    json: Vec<JsonPath>,
    /// What is written nowhere.
    pub patterns: Vec<Regex>,
    /// What stands in the place of a secret.
    pub style: Style,
}

impl RedactOptions {
    /// What is not written; `problems` gets what is wrong. `style` is what [`Mode::Hash`] stands for.
    pub fn build(self, style: impl FnOnce() -> Style, problems: &mut Vec<Problem>) -> Redact {
        let mut refuse = |key: &str, reason: String| problems.push(Problem::at(&["redact", key], reason));
        let mut json = Vec::new();
        for path in self.json.unwrap_or_default() {
            match path.parse() {
                Ok(path) => json.push(path),
                Err(reason) => refuse("json", reason),
            }
        }
        let mut patterns = Vec::new();
        for pattern in self.patterns.unwrap_or_default() {
            match Regex::new(&pattern) {
                Ok(pattern) if pattern.is_match(b"") => {
                    refuse(
                        "patterns",
                        format!("`{pattern}` fits what is empty, and so is found everywhere"),
                    );
                }
                Ok(pattern) => patterns.push(pattern),
                Err(reason) => {
                    let reason = reason.to_string();
                    let last = reason.lines().last().unwrap_or_default();
                    refuse(
                        "patterns",
                        format!(
                            "`{pattern}` is no regular expression: {}",
                            last.trim_start_matches("error: ")
                        ),
                    );
                }
            }
        }
        let lower = |list: Option<Vec<String>>| {
            let list = list.unwrap_or_default().into_iter();
            list.map(|name| name.to_ascii_lowercase())
        };
        Redact {
            headers: lower(self.headers).collect(),
            query: lower(self.query).map(|glob| Glob::of_stars(glob.as_bytes())).collect(),
            json,
            patterns,
            style: match self.mode.unwrap_or_default() {
                Mode::Mask => Style::Mask,
                Mode::Hash => style(),
            },
        }
    }
}

impl Redact {
    /// A path and query without secret values.
    pub fn path(&self, path: &[u8]) -> String {
        let text = String::from_utf8_lossy(path);
        let Some((path, query)) = text.split_once('?') else {
            return text.into_owned();
        };
        format!("{path}?{}", self.query(query))
    }

    /// What is added to what is never written, for people: a sentence, or none.
    pub fn rules(&self) -> Option<String> {
        let counts = [
            (self.headers.len(), "headers"),
            (self.query.len(), "parameters"),
            (self.json.len(), "places of JSON texts"),
            (self.patterns.len(), "patterns"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!counts.is_empty()).then(|| format!("what is written down is without {} more than usual", counts.join(", ")))
    }

    /// A query without secret values.
    fn query(&self, query: &str) -> String {
        let parameters: Vec<String> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, value)) if self.is_secret_parameter(name) => format!("{name}={}", self.masked(value)),
                _ => parameter.to_owned(),
            })
            .collect();
        parameters.join("&")
    }

    /// A `Referer` without user information and query.
    pub fn referer(&self, referer: &[u8]) -> String {
        if self.is_secret_header("referer") {
            return self.style.of(referer);
        }
        let text = String::from_utf8_lossy(referer);
        let text = text.split(['?', '#']).next().unwrap_or_default();
        match text.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}{path}")
            }
            None => text.to_owned(),
        }
    }

    /// A header's value, if it may be written.
    pub fn header(&self, name: &str, value: &[u8]) -> String {
        if self.is_secret_header(name) {
            return self.style.of(value);
        }
        String::from_utf8_lossy(value).into_owned()
    }

    /// A JSON text without secret values; none if it is not JSON.
    fn json(&self, text: &str) -> Option<String> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        let before = value.clone();
        self.hide_names(&mut value);
        for path in &self.json {
            path.each(&mut value, &mut |found| self.hide(found));
        }
        // As it was, to the byte, if there was nothing to hide.
        Some(if value == before {
            text.to_owned()
        } else {
            value.to_string()
        })
    }

    /// Hides what stands under a name that is secret at any depth.
    fn hide_names(&self, value: &mut Value) {
        match value {
            Value::Object(table) => {
                for (name, inner) in table {
                    if SECRET_NAMES.contains(&name.to_ascii_lowercase().replace('-', "_").as_str()) {
                        self.hide(inner);
                    } else {
                        self.hide_names(inner);
                    }
                }
            }
            Value::Array(elements) => elements.iter_mut().for_each(|inner| self.hide_names(inner)),
            _ => {}
        }
    }

    /// Puts something else in the place of a value.
    fn hide(&self, value: &mut Value) {
        let text = match &*value {
            Value::Null => return,
            Value::String(text) => self.masked(text),
            other => self.masked(&other.to_string()),
        };
        *value = text.into();
    }

    /// What is written in the place of a value.
    fn masked(&self, value: &str) -> String {
        if value.is_empty() {
            return MASK.to_owned();
        }
        self.style.of(value.as_bytes())
    }

    /// Whether a header of this name holds a secret.
    fn is_secret_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        SECRET_HEADERS.contains(&name.as_str()) || self.headers.contains(&name)
    }

    /// Whether a parameter of this name holds a secret.
    fn is_secret_parameter(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        SECRET_PARAMETERS.contains(&name.as_str())
            || SECRET_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
            || self.query.iter().any(|glob| glob.fits(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    /// What this table amounts to.
    #[track_caller]
    pub(super) fn built(table: Value) -> Redact {
        let options: RedactOptions = serde_json::from_value(table).unwrap();
        let mut problems = Vec::new();
        let redact = options.build(|| Style::Hash(Zeroizing::new([7; 32])), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        redact
    }

    #[test]
    fn secret_values_go_and_the_rest_stays() {
        for (path, written) in [
            ("/a?b=c", "/a?b=c"),
            ("/a?token=abc&x=1&API_KEY=q", "/a?token=***&x=1&API_KEY=***"),
            (
                "/a?sig=1&X-Amz-Signature=2&X-Amz-Date=3",
                "/a?sig=***&X-Amz-Signature=***&X-Amz-Date=3",
            ),
            ("/token/abc", "/token/abc"),
            ("/a?token", "/a?token"),
        ] {
            assert_eq!(Redact::default().path(path.as_bytes()), written);
        }
        assert_eq!(Redact::default().referer(b"http://u:p@h/x?token=1#f"), "http://h/x");
    }

    #[test]
    fn what_is_configured_is_added_and_takes_nothing_away() {
        let redact = built(serde_json::json!({ "headers": ["X-Mine", "User-Agent"], "query": ["my*"] }));
        assert_eq!(
            redact.path(b"/?mykey=1&MYID=2&other=3&token=4"),
            "/?mykey=***&MYID=***&other=3&token=***"
        );
        assert_eq!(redact.header("x-mine", b"a"), "***");
        assert_eq!(redact.header("Cookie", b"a"), "***");
        assert_eq!(redact.header("user-agent", b"a"), "***");
        assert_eq!(redact.header("accept", b"a"), "a");
    }

    #[test]
    fn places_of_a_json_text_are_hidden_and_the_rest_stays_to_the_byte() {
        let redact = built(serde_json::json!({ "json": ["$.card.number", "$..pin", "$.list[*].a"] }));
        let hidden = |text: &str| redact.json(text).unwrap();
        assert_eq!(
            hidden(r#"{"card":{"number":411,"name":"x"}}"#),
            r#"{"card":{"number":"***","name":"x"}}"#
        );
        assert_eq!(hidden(r#"{"a":[{"pin":"1"}]}"#), r#"{"a":[{"pin":"***"}]}"#);
        assert_eq!(hidden(r#"{"list":[{"a":1,"b":2}]}"#), r#"{"list":[{"a":"***","b":2}]}"#);
        assert_eq!(hidden(r#"{"x":{"Password":"p"}}"#), r#"{"x":{"Password":"***"}}"#);
        assert_eq!(hidden(r#"{ "b" : 1,  "a":2}"#), r#"{ "b" : 1,  "a":2}"#);
        assert_eq!(redact.json("no json"), None);
    }

    #[test]
    fn a_hash_tells_what_was_the_same() {
        let redact = built(serde_json::json!({ "mode": "hash" }));
        let written = redact.path(b"/?token=a&key=a&secret=b");
        let values: Vec<&str> = written[2..]
            .split('&')
            .filter_map(|it| it.split_once('='))
            .map(|it| it.1)
            .collect();
        assert!(values[0].starts_with("***") && values[0].len() == 15, "{written}");
        assert!(values[0] == values[1] && values[1] != values[2], "{written}");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for table in [
            serde_json::json!({ "patterns": ["("] }),
            serde_json::json!({ "patterns": ["a*"] }),
            serde_json::json!({ "json": ["a.b"] }),
        ] {
            let options: RedactOptions = serde_json::from_value(table.clone()).unwrap();
            let mut problems = Vec::new();
            options.build(Style::default, &mut problems);
            assert_eq!(problems.len(), 1, "{table}");
        }
    }
}
