//! Fields of heads that are set, added and removed: the tables `[headers]` and `[response-headers]`.
//!
//! First fields are removed, then set, then added. What frames a message or belongs to one connection is not to be changed:
//! two readers of the message would no longer agree on where it ends.

use std::sync::Arc;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    table::{self, Entry},
    value::{Known, Value, valid},
};
use crate::policy::{Problem, words::list};

/// The name of the table of requests.
pub(super) const REQUESTS: &str = "headers";

/// The table `[headers]`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HeadersOptions {
    /// Set this header on every request; VALUE may be @FILE, and may hold ${run.id}, ${request.id}, ${env.NAME}
    ///
    /// It takes the place of what the request has under this name. $$ is a dollar sign, @@ at the beginning an at sign.
    /// What a command line holds everybody on the machine can see: a credential is for a file. Repeatable.
    #[arg(
        id = "headers.set",
        short = 'H',
        long = "header",
        value_name = "NAME: VALUE",
        value_hint = clap::ValueHint::Other,
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "table")]
    #[schemars(
        schema_with = "table::schema",
        extend("x-danger" = "puts what it reads from a file or a variable into requests", "x-danger-if" = "reads")
    )]
    pub set: Vec<Entry>,

    /// Headers to add to every request, beside what it has under these names [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "table")]
    #[schemars(
        schema_with = "table::schema",
        extend("x-danger" = "puts what it reads from a file or a variable into requests", "x-danger-if" = "reads")
    )]
    pub add: Vec<Entry>,

    /// Headers to remove from every request [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(extend("default" = []))]
    pub remove: Option<Vec<String>>,

    /// Variables of amb's own environment that values may name as ${env.NAME} [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(extend("default" = [], "x-danger" = "lets requests carry variables of the environment"))]
    pub env: Option<Vec<String>>,

    /// Add a Via header to requests and responses [default: on]
    #[arg(
        id = "headers.via",
        long = "no-via",
        help = "Leave out the Via header that amb adds to requests and responses",
        num_args = 0,
        default_missing_value = "false",
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub via: Option<bool>,
}

impl HeadersOptions {
    /// What of it a route can override.
    pub fn edits(&self) -> HeaderOptions {
        HeaderOptions {
            set: self.set.clone(),
            add: self.add.clone(),
            remove: self.remove.clone(),
        }
    }
}

/// Fields to change: the table `[response-headers]`, and both tables of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HeaderOptions {
    /// Headers to set, in the place of what is there under these names [default: none]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "table")]
    #[schemars(
        schema_with = "table::schema",
        extend("x-danger" = "puts what it reads from a file or a variable into messages", "x-danger-if" = "reads")
    )]
    pub set: Vec<Entry>,

    /// Headers to add, beside what is there under these names [default: none]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "table")]
    #[schemars(
        schema_with = "table::schema",
        extend("x-danger" = "puts what it reads from a file or a variable into messages", "x-danger-if" = "reads")
    )]
    pub add: Vec<Entry>,

    /// Headers to remove [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(extend("default" = []))]
    pub remove: Option<Vec<String>>,
}

/// What is done to fields, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits(pub Vec<HeaderEdit>);

/// What is done to the fields of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEdit {
    /// Its key.
    pub id: Arc<str>,
    /// The name.
    pub name: String,
    /// What is done.
    pub change: Change,
}

/// What is done to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is removed.
    Remove,
    /// It has this value and no other.
    Set(Value),
    /// It has this value, too.
    Add(Value),
}

/// Why a field of a message cannot be changed, as a sentence fragment; none if it can.
type Judge = fn(&str) -> Option<&'static str>;

impl HeaderOptions {
    /// The valid edits of the table `table`, whose names `judge` judges; `problems` gets what is wrong. `weaker` is the table
    /// that this one was laid over.
    pub(super) fn build(
        &self,
        table: &str,
        weaker: Option<&Self>,
        judge: Judge,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> HeaderEdits {
        let mut edits = Vec::new();
        for (at, name) in self.remove.iter().flatten().enumerate() {
            let at = at.to_string();
            if let Some(reason) = misfit(name, judge) {
                problems.push(Problem::at(&[table, "remove", &at], reason));
                continue;
            }
            edits.push(HeaderEdit {
                id: format!("{table}.remove.{name}").into(),
                name: name.clone(),
                change: Change::Remove,
            });
        }
        let covered = weaker.map_or(&[][..], |weaker| &weaker.set);
        let mut entries = Entries {
            table,
            judge,
            known,
            problems,
        };
        edits.extend(entries.build("set", &self.set, covered, Change::Set));
        let covered = weaker.map_or(&[][..], |weaker| &weaker.add);
        edits.extend(entries.build("add", &self.add, covered, Change::Add));
        HeaderEdits(edits)
    }
}

/// What the entries of a table are built with.
struct Entries<'a, 'b> {
    /// The table of both.
    table: &'a str,
    /// Who judges their names.
    judge: Judge,
    /// What their values may refer to.
    known: &'a Known<'b>,
    /// Gets what is wrong.
    problems: &'a mut Vec<Problem>,
}

impl Entries<'_, '_> {
    /// The valid entries of the table's table `operation`, which was laid over `covered`.
    fn build(
        &mut self,
        operation: &str,
        entries: &[Entry],
        covered: &[Entry],
        change: fn(Value) -> Change,
    ) -> Vec<HeaderEdit> {
        let mut edits = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let Entry { name, value } = entry;
            let key = [self.table, operation, name];
            let others = entries.iter().enumerate().filter(|(other, _)| *other != at);
            let mut same = others.filter(|(_, other)| other.name.eq_ignore_ascii_case(name));
            if let Some((other, twin)) = same.next() {
                if covered.contains(entry) && !covered.contains(twin) {
                    continue;
                }
                if at > other && !covered.contains(twin) {
                    let reason = format!("`{name}` and `{}` are the same header", twin.name);
                    self.problems.push(Problem::at(&key, reason));
                    continue;
                }
            }
            if let Some(reason) = misfit(name, self.judge) {
                self.problems.push(Problem::at(&key, reason));
                continue;
            }
            let Some(value) = valid(value, self.table == REQUESTS, &key, self.known, self.problems) else {
                continue;
            };
            if let Some(reason) = value.misfit() {
                self.problems.push(Problem::at(&key, reason));
                continue;
            }
            edits.push(HeaderEdit {
                id: format!("{}.{operation}.{name}", self.table).into(),
                name: name.clone(),
                change: change(value),
            });
        }
        edits
    }
}

impl HeaderEdit {
    /// The secret that the field is to say.
    pub fn secret(&self) -> Option<&str> {
        match &self.change {
            Change::Remove => None,
            Change::Set(value) | Change::Add(value) => value.secret(),
        }
    }
}

impl HeaderEdits {
    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is done to the fields of `messages`, with each one's id.
    pub(super) fn said(&self, messages: &str) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(move |HeaderEdit { id, name, change }| {
            let does = match change {
                Change::Remove => format!("{messages} lose {name}"),
                Change::Set(value) => format!("{messages} say {name}: {}", shown(name, value)),
                Change::Add(value) => format!("{messages} say {name}: {} as well", shown(name, value)),
            };
            (id.to_string(), does)
        })
    }
}

/// A value as it may be shown.
fn shown(name: &str, value: &Value) -> String {
    let written = value.to_string();
    if is_exposed(name, &written) {
        "***".to_owned()
    } else {
        written
    }
}

/// Whether this value of a field, as it was written, looks like a credential and not like a reference to one.
pub fn is_exposed(name: &str, written: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let refers = written.starts_with('@') && !written.starts_with("@@")
        || written.starts_with("secret:")
        || written.contains("${env.");
    let names = [
        "cookie",
        "token",
        "secret",
        "password",
        "api-key",
        "apikey",
        "credential",
    ];
    let schemes = ["basic ", "bearer ", "token ", "digest "];
    let lower = written.to_ascii_lowercase();
    !refers
        && !written.is_empty()
        && (name.ends_with("authorization")
            || names.iter().any(|part| name.contains(part))
            || schemes.iter().any(|scheme| lower.starts_with(scheme)))
}

/// Why a field cannot be changed, as a sentence fragment; none if it can.
fn misfit(name: &str, judge: Judge) -> Option<String> {
    let special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || special(byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some(format!("`{}` is no name of a header field", name.escape_debug()));
    }
    judge(&name.to_ascii_lowercase()).map(|reason| format!("`{name}` cannot be changed: {reason}"))
}

/// Why a field of this name, in lower case, cannot be changed whatever the message.
fn of_message(name: &str) -> Option<&'static str> {
    Some(match name {
        "content-length" | "transfer-encoding" | "trailer" => {
            "it says where the message ends, which amb does as the body has it"
        }
        "connection" | "keep-alive" | "proxy-connection" | "upgrade" | "http2-settings" | "te" => {
            "it is about one connection, and amb has its own"
        }
        "via" => "it tells loops; headers.via leaves it out",
        _ => return None,
    })
}

/// Why a field of a request cannot be changed, by its name in lower case.
pub(super) fn of_request(name: &str) -> Option<&'static str> {
    of_message(name).or(match name {
        "host" => Some("it follows the URL; rewrite.host changes both"),
        "expect" => Some("it is about when the body is sent, which amb sees to"),
        "max-forwards" => Some("it is counted down on the way"),
        "proxy-authorization" => Some("it is for the next proxy, whose URL upstream.proxy is"),
        _ => None,
    })
}

/// Why a field of a response cannot be changed, by its name in lower case.
pub(super) fn of_response(name: &str) -> Option<&'static str> {
    of_message(name).or(match name {
        "proxy-status" | "proxy-support" => Some("it says what proxies did"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::value::tests::with_known, *};

    /// A table from JSON.
    fn options(table: &str) -> HeaderOptions {
        serde_json::from_str(table).unwrap()
    }

    /// The ids of what a table comes to, or what is wrong with it.
    fn built(table: &str, weaker: Option<&str>) -> Result<Vec<String>, Vec<String>> {
        let weaker = weaker.map(options);
        let mut problems = Vec::new();
        let edits =
            with_known(|known| options(table).build("headers", weaker.as_ref(), of_request, known, &mut problems));
        if problems.is_empty() {
            Ok(edits
                .said("requests")
                .map(|(id, does)| format!("{id} = {does}"))
                .collect())
        } else {
            Err(problems
                .into_iter()
                .map(|problem| format!("{}: {}", problem.key.join("."), problem.reason))
                .collect())
        }
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        assert_eq!(
            built(
                r#"{ "set": { "X-Team": "billing" }, "add": { "Accept": "a/b" }, "remove": ["Cookie"] }"#,
                None
            ),
            Ok(vec![
                "headers.remove.Cookie = requests lose Cookie".to_owned(),
                "headers.set.X-Team = requests say X-Team: billing".to_owned(),
                "headers.add.Accept = requests say Accept: a/b as well".to_owned(),
            ])
        );
    }

    #[test]
    fn what_frames_or_routes_a_message_stays() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "HOST",
            "Via",
            "TE",
            "Expect",
            "Connection",
        ] {
            let wrong = built(&format!(r#"{{ "set": {{ "{name}": "1" }} }}"#), None).unwrap_err();
            assert!(wrong[0].contains("cannot be changed"), "{wrong:?}");
            let wrong = built(&format!(r#"{{ "remove": ["{name}"] }}"#), None).unwrap_err();
            assert!(wrong[0].starts_with("headers.remove.0: "), "{wrong:?}");
        }
        for name in ["", "a b", "a:", "ü"] {
            let wrong = built(&format!(r#"{{ "set": {{ "{name}": "1" }} }}"#), None).unwrap_err();
            assert!(wrong[0].contains("is no name of a header field"), "{wrong:?}");
        }
        assert!(of_response("host").is_none() && of_response("proxy-status").is_some());
    }

    #[test]
    fn names_are_the_same_whatever_their_case() {
        let base = r#"{ "set": { "X-Team": "base" } }"#;
        let merged = r#"{ "set": { "X-Team": "base", "x-team": "route" } }"#;
        assert!(built(merged, None).unwrap_err()[0].contains("are the same header"));
        assert_eq!(
            built(merged, Some(base)),
            Ok(vec!["headers.set.x-team = requests say x-team: route".to_owned()])
        );
    }

    #[test]
    fn a_value_from_outside_must_be_one_that_a_field_can_have() {
        let wrong = built(r#"{ "set": { "X": "${env.LINES}" } }"#, None).unwrap_err();
        assert!(wrong[0].contains("control character"), "{wrong:?}");
        assert!(!wrong[0].contains("a\nb"), "{wrong:?}");
    }
}
