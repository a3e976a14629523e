//! Other statuses and other bodies of responses: the tables `[response-status]` and `[response-body]`.
//!
//! They are about what servers answer, and change nothing of what retries and circuits make of it; amb's own answers stay.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::value::Known;
use crate::policy::{Problem, words::list};

/// What a body was replaced by, in records.
pub const BODY_ID: &str = "response-body";

/// The table of statuses.
const STATUS_TABLE: &str = "response-status";

/// The media types that files have by their names' ends.
const MEDIA_TYPES: [(&str, &str); 8] = [
    ("json", "application/json"),
    ("html", "text/html; charset=utf-8"),
    ("txt", TEXT),
    ("xml", "application/xml"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("pdf", "application/pdf"),
];

/// The media type of a text.
const TEXT: &str = "text/plain; charset=utf-8";

/// The media type of which nothing is known.
const BYTES: &str = "application/octet-stream";

/// The largest file that is answered with.
const LARGEST_FILE: usize = 16 * 1024 * 1024;

/// A status, or all of a class: `404`, `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// This one.
    Only(u16),
    /// Those that begin with this digit.
    Class(u16),
}

impl Status {
    /// Whether a status is meant.
    fn fits(self, status: u16) -> bool {
        match self {
            Self::Only(only) => only == status,
            Self::Class(class) => class == status / 100,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(only) => write!(f, "{only}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{}` is no status: write one such as 404, or 4xx", text.escape_debug());
        let status = match text.strip_suffix("xx") {
            Some(class) => class.parse().map(Self::Class),
            None => text.parse().map(Self::Only),
        };
        match status {
            Ok(Self::Class(2..=5) | Self::Only(200..=599)) if text.len() == 3 => status.map_err(|_| refused()),
            _ => Err(refused()),
        }
    }
}

/// The table `[response-status]`: what the command gets instead of what the server answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusOptions(Vec<(Status, u16)>);

impl StatusOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The valid table; `problems` gets what is wrong.
    pub(super) fn build(&self, problems: &mut Vec<Problem>) -> Statuses {
        let mut statuses = Vec::new();
        for (from, to) in &self.0 {
            let key = [STATUS_TABLE, &from.to_string()];
            if !(200..=599).contains(to) {
                problems.push(Problem::at(
                    &key,
                    format!("{to} is no status of a final response (200 to 599)"),
                ));
            }
            statuses.push(Mapping {
                from: *from,
                to: *to,
                id: key.join(".").into(),
            });
        }
        // One status is more particular than a class.
        statuses.sort_by_key(|mapping| mapping.from);
        Statuses(statuses)
    }
}

/// What statuses become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses(Vec<Mapping>);

/// What a status becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What it is.
    from: Status,
    /// What it becomes.
    pub to: u16,
    /// Its key.
    pub id: Arc<str>,
}

impl Statuses {
    /// Whether all stay as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a status becomes; none if it stays.
    pub fn of(&self, status: u16) -> Option<&Mapping> {
        self.0
            .iter()
            .find(|mapping| mapping.from.fits(status) && mapping.to != status)
    }

    /// What they become, each with its id.
    pub(super) fn said(&self) -> impl Iterator<Item = (String, String)> {
        let sentence = |mapping: &Mapping| format!("responses with {} get {}", mapping.from, mapping.to);
        self.0
            .iter()
            .map(move |mapping| (mapping.id.to_string(), sentence(mapping)))
    }
}

/// The reason phrase of a status ([RFC 9110 §15]); empty for one that has none.
///
/// [RFC 9110 §15]: https://www.rfc-editor.org/rfc/rfc9110#section-15
pub fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// The table `[response-body]`: a body in the place of the server's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReplyOptions {
    /// The body, as a text [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,

    /// The body, as a file that is read when amb starts, up to 16 MiB [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "reads a file and answers with it"))]
    pub file: Option<PathBuf>,

    /// What the body is, such as application/json [default: none]
    ///
    /// Without it a text is text/plain, and a file what its name says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,

    /// Only of responses with one of these statuses, such as 404 and 5xx; of all without any [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "statuses_schema", extend("default" = []))]
    pub on: Option<Vec<Status>>,
}

/// The schema of a list of statuses.
fn statuses_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "title": "a list of statuses",
        "items": { "anyOf": [
            { "type": "integer", "minimum": 200, "maximum": 599 },
            { "type": "string", "pattern": "^([2-5][0-9][0-9]|[2-5]xx)$" },
        ] },
    })
}

/// A body in the place of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The body.
    pub body: Arc<[u8]>,
    /// Its media type.
    pub content_type: String,
    /// Of responses with these statuses; empty for any.
    on: Vec<Status>,
    /// Where it comes from, for people.
    source: String,
}

impl ReplyOptions {
    /// The valid replacement; none if there is none. `problems` gets what is wrong.
    pub(super) fn build(&self, known: &Known<'_>, problems: &mut Vec<Problem>) -> Option<Replacement> {
        let (body, usual, source) = match (&self.text, &self.file) {
            (Some(_), Some(_)) => {
                let reason = "a body is either a text or a file".to_owned();
                problems.push(Problem::between(&[BODY_ID, "text"], &[BODY_ID, "file"], reason));
                return None;
            }
            (Some(text), None) => (text.clone().into_bytes(), TEXT, "a text".to_owned()),
            (None, Some(path)) => {
                let read = (known.read)(path).and_then(|body| {
                    let fits = body.len() <= LARGEST_FILE;
                    fits.then_some(body)
                        .ok_or_else(|| "it is larger than 16 MiB".to_owned())
                });
                let body = match read {
                    Ok(body) => body,
                    Err(reason) => {
                        problems.push(Problem::at(&[BODY_ID, "file"], format!("{}: {reason}", path.display())));
                        return None;
                    }
                };
                let end = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
                let known = MEDIA_TYPES.iter().find(|(name, _)| end.as_deref() == Some(name));
                let usual = known.map_or(BYTES, |(_, media_type)| media_type);
                (body, usual, path.display().to_string())
            }
            (None, None) => {
                for (key, said) in [
                    ("content-type", self.content_type.is_some()),
                    ("on", self.on.as_ref().is_some_and(|on| !on.is_empty())),
                ] {
                    if said {
                        let reason = "there is no body to go with it: say `text` or `file`";
                        problems.push(Problem::at(&[BODY_ID, key], reason));
                    }
                }
                return None;
            }
        };
        let content_type = self.content_type.clone().unwrap_or_else(|| usual.to_owned());
        if !content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            problems.push(Problem::at(
                &[BODY_ID, "content-type"],
                "no media type holds such a character",
            ));
        }
        Some(Replacement {
            body: body.into(),
            content_type,
            on: self.on.clone().unwrap_or_default(),
            source,
        })
    }
}

impl Replacement {
    /// Whether a response that the server gave this status gets this body.
    pub fn fits(&self, status: u16) -> bool {
        self.on.is_empty() || self.on.iter().any(|on| on.fits(status))
    }
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("responses")?;
        for (at, status) in self.on.iter().enumerate() {
            write!(f, "{} {status}", if at == 0 { " with" } else { " or" })?;
        }
        let (length, source) = (self.body.len(), &self.source);
        write!(f, " get another body, {length} bytes of {source}")
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for StatusOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(from, to)| (from.to_string(), to)))
    }
}

impl<'de> Deserialize<'de> for StatusOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StatusVisitor)
    }
}

/// Reads [`StatusOptions`].
struct StatusVisitor;

impl<'de> de::Visitor<'de> for StatusVisitor {
    type Value = StatusOptions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of statuses")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<StatusOptions, A::Error> {
        let mut statuses = Vec::new();
        while let Some((from, to)) = table.next_entry::<String, u16>()? {
            statuses.push((from.parse().map_err(de::Error::custom)?, to));
        }
        Ok(StatusOptions(statuses))
    }
}

impl JsonSchema for StatusOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusOptions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^([2-5][0-9][0-9]|[2-5]xx)$" },
            "additionalProperties": { "type": "integer", "minimum": 200, "maximum": 599 },
            "x-entry": "STATUS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::value::tests::with_known, *};

    #[test]
    fn a_status_becomes_what_the_most_particular_entry_says() {
        let options: StatusOptions = serde_json::from_str(r#"{ "4xx": 500, "404": 204, "503": 503 }"#).unwrap();
        let mut problems = Vec::new();
        let statuses = options.build(&mut problems);
        assert!(problems.is_empty());
        let of = |status| statuses.of(status).map(|mapping| (mapping.to, mapping.id.to_string()));
        assert_eq!(of(404), Some((204, "response-status.404".to_owned())));
        assert_eq!(of(410), Some((500, "response-status.4xx".to_owned())));
        assert_eq!((of(503), of(200)), (None, None));
        assert_eq!(
            serde_json::to_string(&options).unwrap(),
            r#"{"4xx":500,"404":204,"503":503}"#
        );
    }

    #[test]
    fn what_is_no_status_is_told() {
        for wrong in [
            r#"{ "100": 200 }"#,
            r#"{ "1xx": 200 }"#,
            r#"{ "4x": 200 }"#,
            r#"{ "+04": 200 }"#,
        ] {
            assert!(serde_json::from_str::<StatusOptions>(wrong).is_err(), "{wrong}");
        }
        let options: StatusOptions = serde_json::from_str(r#"{ "404": 101 }"#).unwrap();
        let mut problems = Vec::new();
        options.build(&mut problems);
        assert_eq!(problems.len(), 1);
    }

    /// What a table comes to, or what is wrong.
    fn built(options: &str) -> Result<Option<Replacement>, String> {
        let options: ReplyOptions = serde_json::from_str(options).unwrap();
        let mut problems = Vec::new();
        let built = with_known(|known| options.build(known, &mut problems));
        match problems.pop() {
            Some(problem) => Err(problem.reason),
            None => Ok(built),
        }
    }

    #[test]
    fn a_body_is_a_text_or_a_file_and_has_a_type() {
        let text = built(r#"{ "text": "[]", "content-type": "application/json", "on": ["404", "5xx"] }"#);
        let text = text.unwrap().unwrap();
        assert_eq!((&*text.body, &*text.content_type), (&b"[]"[..], "application/json"));
        assert_eq!([404, 503, 200].map(|status| text.fits(status)), [true, true, false]);
        assert_eq!(
            text.to_string(),
            "responses with 404 or 5xx get another body, 2 bytes of a text"
        );
        let file = built(r#"{ "file": "token" }"#).unwrap().unwrap();
        assert_eq!((&*file.content_type, file.fits(200)), (BYTES, true));
        assert_eq!(built("{}"), Ok(None));
        assert!(
            built(r#"{ "file": "gone.json" }"#)
                .unwrap_err()
                .contains("No such file")
        );
        assert!(
            built(r#"{ "text": "", "file": "token" }"#)
                .unwrap_err()
                .contains("either")
        );
        assert!(built(r#"{ "on": ["404"] }"#).unwrap_err().contains("no body"));
    }
}
