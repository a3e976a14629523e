//! What counts as a failure of a server.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One kind of failure, in Envoy's words; a status by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No connection could be opened: no address, refused, no route, no answer in time, no TLS.
    ConnectFailure,
    /// The connection broke before the answer was complete.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// 502, 503 or 504.
    GatewayError,
    /// Any status from 500 on.
    ServerError,
    /// This status.
    Status(u16),
}

/// The kinds that have names.
const NAMES: [(&str, Condition); 5] = [
    ("connect-failure", Condition::ConnectFailure),
    ("reset", Condition::Reset),
    ("timeout", Condition::Timeout),
    ("gateway-error", Condition::GatewayError),
    ("5xx", Condition::ServerError),
];

/// What was seen of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An answer with this status; a tunnel that opened is a 200.
    Status(u16),
    /// No connection.
    NoConnection,
    /// No connection in time.
    NoConnectionInTime,
    /// A connection that broke.
    Break,
    /// No answer in time.
    NoAnswerInTime,
    /// Nothing that says anything of the server: the client has gone, or amb itself failed.
    Nothing,
}

/// Whether what was seen is one of `conditions`; none if it says nothing of the server.
pub(super) fn is_failure(conditions: &[Condition], seen: Seen) -> Option<bool> {
    (seen != Seen::Nothing).then(|| conditions.iter().any(|condition| condition.fits(seen)))
}

impl Condition {
    /// Whether this is what was seen.
    fn fits(self, seen: Seen) -> bool {
        match (self, seen) {
            (Self::ConnectFailure, Seen::NoConnection | Seen::NoConnectionInTime)
            | (Self::Timeout, Seen::NoConnectionInTime | Seen::NoAnswerInTime)
            | (Self::Reset, Seen::Break)
            | (Self::GatewayError, Seen::Status(502..=504)) => true,
            (Self::ServerError, Seen::Status(status)) => status >= 500,
            (Self::Status(wanted), Seen::Status(status)) => status == wanted,
            _ => false,
        }
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, named)| *named);
        let status = || text.parse().ok().filter(|status| (400..600).contains(status));
        named.or_else(|| status().map(Self::Status)).ok_or_else(|| {
            let known = NAMES.map(|(name, _)| name).join(", ");
            format!("`{text}` is no kind of failure: expected {known}, or a status such as 500")
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMES.iter().find(|(_, named)| named == self)) {
            (_, Some((name, _))) => f.write_str(name),
            (Self::Status(status), None) => write!(f, "{status}"),
            (_, None) => Err(fmt::Error),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConditionVisitor)
    }
}

/// Reads a name, or a status as a number or a text.
struct ConditionVisitor;

impl de::Visitor<'_> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kind of failure, such as \"reset\" or 503")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Condition, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<Condition, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<Condition, E> {
        self.visit_str(&status.to_string())
    }
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        json_schema!({
            "title": "a kind of failure, or a status",
            "anyOf": [
                { "enum": names },
                { "type": "string", "pattern": "^[45][0-9][0-9]$" },
                { "type": "integer", "minimum": 400, "maximum": 599 },
            ],
        })
    }
}
