//! The JSON report as a value: what a run writes ([`json`](super::json)), and what every other format is made of.
//!
//! Durations are in seconds, sizes in bytes, times RFC 3339 in UTC. What was not measured is absent, never zero. Fields
//! may be added, which bumps the minor version; readers ignore those they do not know, and do without those that are newer
//! than the report.

mod assertion;
mod revive;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize, Serializer};

pub use self::assertion::Asserted;
use crate::{
    traffic::{
        circuit::Circuit,
        credentials::Credentials,
        edits::EditCounts,
        held::Held,
        latency::{Latency, from_seconds, seconds},
        meter::{Bytes, Connections, Requests, Tunnels},
        retries::RetryCounts,
        secured::TlsState,
        summary::{Capture, CentralPolicy, ChildOutcome, ExitReason, Warning},
    },
    veil,
};

/// The version of the report's schema.
pub const SCHEMA_VERSION: &str = "1.6";

/// What names the schema.
pub(super) const SCHEMA: &str = "urn:amb:report:1";

/// Why something is no report that amb could read. A sentence for people, without the file's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON.
    #[error("it is not JSON ({0})")]
    Json(String),
    /// It is JSON, and something else.
    #[error("it is not a report of amb: there is no schema_version in it")]
    Foreign,
    /// It was written by an amb of a later time.
    #[error("its schema is {0}, and this amb reads {SCHEMA_VERSION}: a newer amb can read it")]
    Newer(String),
    /// It says that it is a report, but is not like one.
    #[error("it is not as a report of schema {version} has to be: {reason}")]
    Odd {
        /// What it says that it is.
        version: String,
        /// What is wrong, and where.
        reason: String,
    },
}

/// The schema of the report, as a JSON Schema. Fields that it does not name are allowed: newer reports may have them.
pub fn schema() -> serde_json::Value {
    let settings = SchemaSettings::draft07().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Document>();
    schema.insert("$id".to_owned(), SCHEMA.into());
    schema.insert("title".to_owned(), "The JSON report of amb".into());
    schema.to_value()
}

/// A point in time, RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// The point in time that this text is; 1970 if it is none.
pub(crate) fn point(text: &str) -> SystemTime {
    text.parse::<Timestamp>()
        .map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

/// The whole report.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Names the schema.
    #[serde(rename = "$schema", default)]
    pub schema: String,
    /// Its version.
    pub schema_version: String,
    /// amb itself.
    pub amb: Amb,
    /// The run.
    pub run: Run,
    /// How the child ended.
    pub child: ChildEnd,
    /// How amb ends.
    pub exit: Exit,
    /// All traffic.
    pub totals: Totals,
    /// The traffic by host and port, those with the most first.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// The traffic by route, those with the most first; routes that nothing went by are left out.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// What failed, grouped, the commonest first.
    #[serde(default)]
    pub failures: Vec<Group>,
    /// Failures that are in no group because there were too many different ones; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures_beyond: u64,
    /// What amb refused, grouped in the same way.
    #[serde(default)]
    pub denials: Vec<Group>,
    /// Refusals that are in no group because there were too many different ones; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub denials_beyond: u64,
    /// What the rules of egress said; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// What circuit breakers did.
    #[serde(default)]
    pub breakers: Breakers,
    /// What was asserted of the run, by name; absent if nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Asserted>,
    /// What was changed on the way; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<EditCounts>,
    /// How many exchanges and tunnels began when; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Times>,
    /// Processes of the child's that live on; absent if it could not be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leftovers: Option<usize>,
    /// What the user should know of.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// amb itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Amb {
    /// Its version.
    pub version: String,
}

/// The run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// See [`crate::traffic::summary::Run`], as for all of these.
    pub id: String,
    /// The trace that its requests are in; absent if it put them in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Its name.
    pub name: String,
    /// The command and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// When it began.
    pub started_at: String,
    /// How long it took.
    #[serde(
        rename = "duration_seconds",
        serialize_with = "seconds",
        deserialize_with = "from_seconds"
    )]
    #[schemars(with = "f64")]
    pub duration: Duration,
    /// The ids of the runs whose reports were merged into this one; absent if this is the report of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// Its configuration.
    #[serde(default)]
    pub config: Config,
    /// The central policy that it was under; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<CentralPolicy>,
    /// What the kernel has held the command to: tcp; absent if to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confine: Option<String>,
    /// What came of capturing its connections; absent if they were not captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
}

/// Where the configuration came from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// Files, variables, flags; the weakest first.
    #[serde(default)]
    pub sources: Vec<String>,
}

/// How the child ended. Its three values are null where there is none, as a process has always either or neither.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChildEnd {
    /// Its process identifier.
    pub pid: Option<u32>,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// The number of the signal that killed it.
    pub signal: Option<i32>,
    /// The name of that signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<String>,
    /// In a word.
    #[schemars(with = "ChildOutcome")]
    pub outcome: String,
}

/// How amb ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// Its status, as a shell sees it.
    pub code: i32,
    /// What decided it.
    #[schemars(with = "ExitReason")]
    pub reason: String,
}

/// All traffic.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Exchanges.
    pub requests: TotalRequests,
    /// Tunnels.
    #[serde(default)]
    pub tunnels: Tunnels,
    /// Connections to servers.
    #[serde(default)]
    pub connections: Connections,
    /// Wire bytes.
    #[serde(default)]
    pub bytes: Bytes,
    /// Exchanges and tunnels that failed for want of TLS that both ends accept.
    #[serde(default)]
    pub tls_failures: u64,
    /// What limits held back; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What retries did, and why others were not made; absent if there was nothing to retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryCounts>,
    /// What was done about credentials; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How long exchanges took, until they were over; absent if none was answered.
    #[serde(rename = "latency_seconds", default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How long connections took, until they were open; absent if none was opened.
    #[serde(rename = "connect_seconds", default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Latency>,
    /// How long answers took, until they began; absent if none did.
    #[serde(rename = "first_byte_seconds", default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Latency>,
}

/// All exchanges. The share is read by being worked out: what is flattened cannot be read where numbers keep all digits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Requests")]
pub struct TotalRequests {
    /// Their counts.
    #[serde(flatten)]
    pub counts: Requests,
    /// The share that failed, 0 to 1, to four places; absent if there were none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_ratio: Option<f64>,
}

/// One host and port.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its name.
    #[serde(rename = "host")]
    pub name: String,
    /// The port.
    pub port: u16,
    /// Exchanges.
    #[serde(default)]
    pub requests: Requests,
    /// Tunnels; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<Tunnels>,
    /// Connections to it.
    #[serde(default)]
    pub connections: Connections,
    /// Wire bytes.
    #[serde(default)]
    pub bytes: Bytes,
    /// What limits held back; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What retries did, and why others were not made; absent if there was nothing to retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryCounts>,
    /// How long exchanges took, until they were over; absent if none was answered.
    #[serde(rename = "latency_seconds", default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How long connections took, until they were open; absent if none was opened.
    #[serde(rename = "connect_seconds", default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Latency>,
    /// How long answers took, until they began; absent if none did.
    #[serde(rename = "first_byte_seconds", default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Latency>,
    /// TLS with it; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// TLS with a host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tls {
    /// What became of it: tunnelled if it passed as it was, intercepted if amb spoke it and saw the requests, pinned if a client
    /// has refused amb's certificate.
    #[schemars(with = "TlsState")]
    pub state: String,
    /// Handshakes of amb's with it.
    #[serde(default)]
    pub handshakes: u64,
    /// Those that went on with an earlier session.
    #[serde(default)]
    pub resumed: u64,
    /// How many handshakes came to each version: 1.3; absent if there were none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, u64>,
    /// How many came to each cipher suite, by IANA's names; absent if there were none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ciphers: BTreeMap<String, u64>,
    /// How long they took; absent if there were none.
    #[serde(rename = "handshake_seconds", default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Latency>,
    /// When its certificate expires, the first of them if there were several; absent if none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<String>,
}

/// What the rules of egress said.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Egress {
    /// What becomes of what they deny: enforce or audit.
    pub mode: String,
    /// Requests and tunnels that were refused.
    pub denied: u64,
    /// Requests and tunnels that would have been refused if they were enforced.
    pub would_deny: u64,
    /// By place and rule, what was refused first.
    #[serde(default)]
    pub decisions: Vec<Decision>,
    /// What else hosts were called inside of tunnels, in TLS or in Host: names that rules are asked for, too. Absent if there are
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_called: Vec<Called>,
}

/// A name that a host was called inside of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Called {
    /// The name; empty for all beyond the first thousand.
    pub host: String,
    /// The tunnel's port.
    pub port: u16,
}

/// What was said about a place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The host; empty for all beyond the first thousand.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What was said: deny, would-deny or allow.
    pub action: String,
    /// What said so: the id of a rule, an entry of a list, locked, or default.
    pub rule: String,
    /// Where that was written: a file, a variable, a flag, the central policy; absent if nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// How often.
    pub count: u64,
}

/// What circuit breakers did.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Breakers {
    /// Times that circuits opened.
    pub opened: u64,
    /// Requests and tunnels that were answered at once.
    pub rejected: u64,
    /// Circuits that are open, or half open, at the end.
    pub open: usize,
    /// The circuits that opened.
    #[serde(default)]
    pub circuits: Vec<Circuit>,
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Its id.
    pub id: String,
    /// Exchanges.
    #[serde(default)]
    pub requests: Requests,
    /// Tunnels; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<Tunnels>,
    /// Connections.
    #[serde(default)]
    pub connections: Connections,
    /// Wire bytes.
    #[serde(default)]
    pub bytes: Bytes,
    /// What limits held back; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// How long exchanges took, until they were over; absent if none was answered.
    #[serde(rename = "latency_seconds", default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How long connections took, until they were open; absent if none was opened.
    #[serde(rename = "connect_seconds", default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Latency>,
    /// How long answers took, until they began; absent if none did.
    #[serde(rename = "first_byte_seconds", default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Latency>,
    /// Its exchanges by the names of their paths; absent if none has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub url_templates: Vec<Template>,
}

/// The exchanges of a route whose paths are called the same.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    /// Their method; _OTHER for one that nobody has registered.
    pub method: String,
    /// What their paths are called.
    #[serde(rename = "url_template")]
    pub name: String,
    /// They.
    #[serde(default)]
    pub requests: Requests,
    /// How long they took, until they were over; absent if none was answered.
    #[serde(rename = "latency_seconds", default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// Failures that are alike.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path without the query; absent for tunnels.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What happened, in a word.
    pub error_type: String,
    /// Whose fault the first was: client, upstream, policy or amb.
    pub blame: String,
    /// What happened the first time, in a sentence.
    pub detail: String,
    /// Why the first was not retried: off, budget and so on; absent if there was nothing to retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_retried: Option<String>,
    /// When the first began.
    pub first_at: String,
    /// What tells the first from all other requests; absent if nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub first_request_id: String,
}

/// How many exchanges and tunnels began when, in slots of the same width that follow each other; 240 at most.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// When the first slot begins.
    pub begins_at: String,
    /// How wide each is: 0.1, doubled as often as it was needed.
    #[serde(
        rename = "slot_seconds",
        serialize_with = "seconds",
        deserialize_with = "from_seconds"
    )]
    #[schemars(with = "f64")]
    pub width: Duration,
    /// Exchanges that began within each slot.
    #[serde(serialize_with = "on_one_line")]
    pub requests: Vec<u64>,
    /// Tunnels that did.
    #[serde(serialize_with = "on_one_line")]
    pub tunnels: Vec<u64>,
    /// Those of both that failed, or that amb refused.
    #[serde(serialize_with = "on_one_line")]
    pub failed: Vec<u64>,
}

/// Whether there are none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Writes numbers on one line, also in JSON that is indented.
fn on_one_line<S: Serializer>(numbers: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let raw = serde_json::value::to_raw_value(numbers).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}

impl Document {
    /// Reads a report.
    ///
    /// # Errors
    ///
    /// It is none, or one that only a newer amb understands.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        /// What every version of the schema has.
        #[derive(Deserialize)]
        struct Versioned {
            /// `1.4`.
            schema_version: Option<String>,
        }
        let json = |reason: serde_json::Error| ReadError::Json(reason.to_string());
        let version = match serde_json::from_slice::<Versioned>(bytes) {
            Ok(Versioned { schema_version }) => schema_version.ok_or(ReadError::Foreign)?,
            Err(reason) if reason.is_data() => return Err(ReadError::Foreign),
            Err(reason) => return Err(json(reason)),
        };
        let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        match (major(&version), major(SCHEMA_VERSION)) {
            (Some(theirs), Some(ours)) if theirs <= ours => {}
            _ => return Err(ReadError::Newer(version)),
        }
        serde_json::from_slice(bytes).map_err(|reason| ReadError::Odd {
            version,
            reason: reason.to_string(),
        })
    }

    /// It as JSON, indented and with a newline at its end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("no map in it has keys other than strings");
        bytes.push(b'\n');
        bytes
    }

    /// It without the secrets that amb knows, which every format is made of.
    ///
    /// # Errors
    ///
    /// A secret is one of the words that a report consists of.
    pub fn veiled(&self) -> Result<Self, ReadError> {
        // Always read back, so that a format is the same whether it is written by the run or made of its report.
        Self::read(&veil::json(&self.to_json()))
    }

    /// It as a JSON value.
    ///
    /// # Errors
    ///
    /// None that is known of.
    pub fn to_value(&self) -> Result<serde_json::Value, ReadError> {
        serde_json::to_value(self).map_err(|reason| ReadError::Json(reason.to_string()))
    }

    /// When the run began.
    pub fn started_at(&self) -> SystemTime {
        point(&self.run.started_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::tests::everything;

    /// The reason why this is no report.
    fn refused(text: &str) -> String {
        Document::read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_read_and_written_again_byte_for_byte() {
        let written = Document::of(&everything()).to_json();
        let again = Document::read(&written).unwrap().to_json();
        assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(written).unwrap());
    }

    #[test]
    fn a_report_of_another_time_is_read_if_it_can_be() {
        let mut written = serde_json::to_value(Document::of(&everything())).unwrap();
        written["schema_version"] = "1.99".into();
        written["exit"]["reason"] = "eclipse".into();
        written["novelty"] = serde_json::json!({ "x": [1] });
        let newer = Document::read(written.to_string().as_bytes()).unwrap();
        assert_eq!(newer.exit.reason, "eclipse");
        let old = r#"{"schema_version":"1.0","amb":{"version":"0"},"run":{"id":"x","name":"y","started_at":"?","duration_seconds":1},
            "child":{"pid":null,"exit_code":0,"signal":null,"outcome":"exited"},"exit":{"code":0,"reason":"child"},
            "totals":{"requests":{"total":1}}}"#;
        let old = Document::read(old.as_bytes()).unwrap();
        assert_eq!(
            (old.totals.requests.counts.total, old.started_at()),
            (1, SystemTime::UNIX_EPOCH)
        );
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        assert_eq!(
            refused(r#"{"schema_version": "2.0", "runs": []}"#),
            format!("its schema is 2.0, and this amb reads {SCHEMA_VERSION}: a newer amb can read it")
        );
        assert!(refused(r#"{"schema_version": "next"}"#).starts_with("its schema is next"));
        for foreign in ["{}", "[]", "7", r#"{"schema_version": 1}"#] {
            assert!(refused(foreign).starts_with("it is not a report of amb"), "{foreign}");
        }
        for broken in ["", "{", "<html>"] {
            assert!(refused(broken).starts_with("it is not JSON ("), "{broken}");
        }
        let odd = refused(r#"{"schema_version": "1.0", "amb": 5}"#);
        assert!(
            odd.starts_with("it is not as a report of schema 1.0 has to be: "),
            "{odd}"
        );
    }
}
