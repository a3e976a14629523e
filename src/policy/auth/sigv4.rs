//! Signatures of AWS, version 4.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Reference, Text};
use crate::policy::percent::{decoded, encoded};

/// `aws-sigv4`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SigV4Options {
    /// The service's name in signatures, such as s3 or execute-api
    pub service: String,
    /// The region, such as eu-central-1
    pub region: String,
    /// The access key's id, or secret:NAME
    pub access_key_id: Text,
    /// The access key, as secret:NAME
    pub secret_access_key: Reference,
    /// The session's token, for temporary keys [default: none]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Reference>,
}

/// Who signs, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The service.
    pub service: String,
    /// The region.
    pub region: String,
    /// The access key's id.
    pub access_key_id: Text,
    /// The access key.
    pub secret_access_key: Reference,
    /// The session's token.
    pub session_token: Option<Reference>,
}

/// The hash of a body that is not looked at: S3 takes it by TLS.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

impl Signer {
    /// Whether the service is S3 or one like it: paths are encoded once, and the body's hash is a field of its own.
    pub fn is_s3(&self) -> bool {
        matches!(
            self.service.as_str(),
            "s3" | "s3express" | "s3-object-lambda" | "s3-outposts"
        )
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub target: &'a [u8],
    /// The fields that are signed: name and value.
    pub fields: &'a [(&'a [u8], &'a [u8])],
    /// The hash of the body, in hexadecimal, or a word in its place.
    pub payload: &'a str,
    /// When: `20150830T123600Z`.
    pub time: &'a str,
    /// Whether the path is encoded a second time and straightened, as all services want it but S3.
    pub straightens: bool,
}

/// A key that is good for a day, a region and a service.
pub fn key(secret: &[u8], time: &str, region: &str, service: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new(Vec::with_capacity(secret.len() + 4));
    key.extend_from_slice(b"AWS4");
    key.extend_from_slice(secret);
    let mut hash = keyed(&key, day(time).as_bytes());
    for part in [region, service, "aws4_request"] {
        hash = keyed(&*hash, part.as_bytes());
    }
    hash
}

/// The value of `Authorization`.
pub fn authorization(
    subject: &Subject<'_>,
    access_key_id: &[u8],
    secret: &[u8],
    region: &str,
    service: &str,
) -> Vec<u8> {
    let (canonical, names) = canonical(subject);
    let scope = format!("{}/{region}/{service}/aws4_request", day(subject.time));
    let hash = hex(&Sha256::digest(&canonical));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", subject.time);
    let key = key(secret, subject.time, region, service);
    let signature = hex(&*keyed(&*key, text.as_bytes()));
    let mut value = b"AWS4-HMAC-SHA256 Credential=".to_vec();
    value.extend_from_slice(access_key_id);
    value.extend_from_slice(format!("/{scope}, SignedHeaders={names}, Signature={signature}").as_bytes());
    value
}

/// The hash of a body, in hexadecimal.
pub fn payload(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// A moment as signatures have it, from the seconds since 1970: `20150830T123600Z`.
pub fn time(since_epoch: u64) -> String {
    // Days to a date: Howard Hinnant's civil_from_days, for days that are never negative.
    let (days, rest) = (since_epoch / 86_400, since_epoch % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The day of such a moment.
fn day(time: &str) -> &str {
    time.get(..8).unwrap_or(time)
}

/// HMAC with SHA-256.
fn keyed(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// The canonical request, and the names of its signed fields.
fn canonical(subject: &Subject<'_>) -> (Vec<u8>, String) {
    let query = memchr::memchr(b'?', subject.target);
    let (path, query) = match query {
        Some(at) => (&subject.target[..at], &subject.target[at + 1..]),
        None => (subject.target, &b""[..]),
    };
    let mut names: Vec<String> = Vec::new();
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in subject.fields {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = straight_value(value);
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(b',');
                values.extend_from_slice(&value);
            }
            None => fields.push((name, value)),
        }
    }
    fields.sort();
    let mut text = format!(
        "{}\n{}\n{}\n",
        subject.method,
        canonical_path(path, subject.straightens),
        canonical_query(query)
    )
    .into_bytes();
    for (name, value) in fields {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(&value);
        text.push(b'\n');
        names.push(name);
    }
    let names = names.join(";");
    text.extend_from_slice(format!("\n{names}\n{}", subject.payload).as_bytes());
    (text, names)
}

/// A value without the white space around it, and with one space where there are several.
fn straight_value(value: &[u8]) -> Vec<u8> {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// The path: without dot segments and empty ones and encoded once more, or as S3 wants it, decoded and encoded once.
fn canonical_path(path: &[u8], straightens: bool) -> String {
    if !straightens {
        return encoded(&decoded(path, false), true);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut text = String::new();
    for segment in &segments {
        text.push('/');
        text.push_str(&encoded(segment, false));
    }
    if text.is_empty() || path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..") {
        text.push('/');
    }
    text
}

/// The query's parameters, each encoded in the one way that counts, sorted.
fn canonical_query(query: &[u8]) -> String {
    let mut parameters: Vec<(String, String)> = query
        .split(|byte| *byte == b'&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = match memchr::memchr(b'=', parameter) {
                Some(at) => (&parameter[..at], &parameter[at + 1..]),
                None => (parameter, &b""[..]),
            };
            (
                encoded(&decoded(name, true), false),
                encoded(&decoded(value, true), false),
            )
        })
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parameters.join("&")
}

#[cfg(test)]
mod tests;
