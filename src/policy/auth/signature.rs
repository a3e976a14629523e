//! A keyed hash of parts of a request, as the template says: what webhooks and smaller services want.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::{Reference, sigv4};
use crate::policy::rules::Fields;

/// `hmac`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HmacOptions {
    /// The key, as secret:NAME
    pub key: Reference,
    /// The hash function [default: sha256]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "sha256"))]
    pub algorithm: Option<Algorithm>,
    /// The header that gets the signature [default: X-Signature]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "X-Signature"))]
    pub header: Option<String>,
    /// What is signed, a text with parts of the request in braces [default: the body]
    ///
    /// {method}, {scheme}, {host}, {path}, {query}, {target} (path and query), {body}, {body-sha256}, {timestamp}
    /// (seconds since 1970) and {header.NAME}. A brace is written twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// How the signature is written [default: hex]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "hex"))]
    pub encoding: Option<Encoding>,
    /// What stands before it, such as sha256= [default: nothing]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The header that gets the timestamp [default: none]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
}

/// A hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// SHA-1
    Sha1,
    /// SHA-256
    #[default]
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// In hexadecimal, lower case
    #[default]
    Hex,
    /// In base64
    Base64,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// As it is written.
    Text(String),
    /// `{method}`
    Method,
    /// `{scheme}`
    Scheme,
    /// `{host}`
    Host,
    /// `{path}`
    Path,
    /// `{query}`
    Query,
    /// `{target}`
    Target,
    /// `{body}`
    Body,
    /// `{body-sha256}`
    BodyHash,
    /// `{timestamp}`
    Timestamp,
    /// `{header.NAME}`
    Header(String),
}

/// How requests are signed. Every value is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// The key.
    pub key: Reference,
    /// The header that gets the signature.
    pub header: String,
    /// The header that gets the timestamp.
    pub timestamp_header: Option<String>,
    /// The hash.
    algorithm: Algorithm,
    /// What is signed.
    parts: Vec<Part>,
    /// How the signature is written.
    encoding: Encoding,
    /// What stands before it.
    prefix: String,
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The method.
    pub method: &'a str,
    /// `https`.
    pub scheme: &'a str,
    /// What `Host` says.
    pub host: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// The fields.
    pub fields: &'a dyn Fields,
    /// The body; empty where it is not needed.
    pub body: &'a [u8],
    /// Seconds since 1970.
    pub timestamp: u64,
}

impl Signing {
    /// The header that gets the signature, unless another is named.
    pub const HEADER: &str = "X-Signature";

    /// From what is written.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn build(options: HmacOptions, header: String) -> Result<Self, String> {
        let parts = parts(options.template.as_deref().unwrap_or("{body}"))?;
        if parts.contains(&Part::Timestamp) && options.timestamp_header.is_none() {
            return Err("the server cannot check {timestamp} without knowing it: set timestamp-header".to_owned());
        }
        Ok(Self {
            key: options.key,
            header,
            timestamp_header: options.timestamp_header,
            algorithm: options.algorithm.unwrap_or_default(),
            parts,
            encoding: options.encoding.unwrap_or_default(),
            prefix: options.prefix.unwrap_or_default(),
        })
    }

    /// Whether the body is signed, so that all of it has to be there first.
    pub fn needs_body(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Body | Part::BodyHash))
    }

    /// The header's value.
    pub fn sign(&self, key: &[u8], subject: &Subject<'_>) -> String {
        let text = self.text(subject);
        let hash = match self.algorithm {
            Algorithm::Sha1 => keyed::<Hmac<Sha1>>(key, &text),
            Algorithm::Sha256 => keyed::<Hmac<Sha256>>(key, &text),
            Algorithm::Sha384 => keyed::<Hmac<Sha384>>(key, &text),
            Algorithm::Sha512 => keyed::<Hmac<Sha512>>(key, &text),
        };
        let written = match self.encoding {
            Encoding::Hex => sigv4::hex(&hash),
            Encoding::Base64 => STANDARD.encode(&hash),
        };
        format!("{}{written}", self.prefix)
    }

    /// What is signed.
    fn text(&self, subject: &Subject<'_>) -> Vec<u8> {
        let query = memchr::memchr(b'?', subject.target);
        let path = &subject.target[..query.unwrap_or(subject.target.len())];
        let query = query.map_or(&b""[..], |at| &subject.target[at + 1..]);
        let mut text = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.extend_from_slice(part.as_bytes()),
                Part::Method => text.extend_from_slice(subject.method.as_bytes()),
                Part::Scheme => text.extend_from_slice(subject.scheme.as_bytes()),
                Part::Host => text.extend_from_slice(subject.host),
                Part::Path => text.extend_from_slice(path),
                Part::Query => text.extend_from_slice(query),
                Part::Target => text.extend_from_slice(subject.target),
                Part::Body => text.extend_from_slice(subject.body),
                Part::BodyHash => text.extend_from_slice(sigv4::payload(subject.body).as_bytes()),
                Part::Timestamp => text.extend_from_slice(subject.timestamp.to_string().as_bytes()),
                Part::Header(name) => text.extend_from_slice(subject.fields.first(name).unwrap_or_default()),
            }
        }
        text
    }
}

/// A keyed hash.
fn keyed<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The parts of a template.
fn parts(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let brace = &rest[at..=at];
        if let Some(behind) = behind.strip_prefix(brace) {
            text.push_str(brace);
            rest = behind;
            continue;
        }
        let Some((name, behind)) = behind.split_once('}').filter(|_| brace == "{") else {
            return Err("a brace is written twice where none begins or ends a name".to_owned());
        };
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(match name {
            "method" => Part::Method,
            "scheme" => Part::Scheme,
            "host" => Part::Host,
            "path" => Part::Path,
            "query" => Part::Query,
            "target" => Part::Target,
            "body" => Part::Body,
            "body-sha256" => Part::BodyHash,
            "timestamp" => Part::Timestamp,
            other => match other.strip_prefix("header.").filter(|name| !name.is_empty()) {
                Some(name) => Part::Header(name.to_owned()),
                None => {
                    return Err(format!(
                        "`{{{other}}}` is none of {{method}}, {{scheme}}, {{host}}, {{path}}, {{query}}, {{target}}, {{body}}, \
                         {{body-sha256}}, {{timestamp}}, {{header.NAME}}"
                    ));
                }
            },
        });
        rest = behind;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One field.
    struct Field;

    impl Fields for Field {
        fn first(&self, name: &str) -> Option<&[u8]> {
            name.eq_ignore_ascii_case("x-a").then_some(b"1")
        }

        fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
            see(b"X-A", b"1");
        }
    }

    #[track_caller]
    fn check(template: &str, algorithm: Algorithm, encoding: Encoding, key: &str, body: &str, signature: &str) {
        let options = HmacOptions {
            key: "secret:a".parse().unwrap(),
            algorithm: Some(algorithm),
            header: None,
            template: Some(template.to_owned()),
            encoding: Some(encoding),
            prefix: None,
            timestamp_header: Some("X-T".to_owned()),
        };
        let signing = Signing::build(options, "X-S".to_owned()).unwrap();
        let subject = Subject {
            method: "POST",
            scheme: "https",
            host: b"h:1",
            target: b"/p?q=1",
            fields: &Field,
            body: body.as_bytes(),
            timestamp: 7,
        };
        assert_eq!(signing.sign(key.as_bytes(), &subject), signature, "{template}");
    }

    /// [RFC 4231 §4.3] and [RFC 2202 §3], test case 2 of each.
    ///
    /// [RFC 4231 §4.3]: https://www.rfc-editor.org/rfc/rfc4231#section-4.3
    /// [RFC 2202 §3]: https://www.rfc-editor.org/rfc/rfc2202#section-3
    #[test]
    fn signs_what_the_rfcs_sign() {
        let body = "what do ya want for nothing?";
        check(
            "{body}",
            Algorithm::Sha256,
            Encoding::Hex,
            "Jefe",
            body,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            "{body}",
            Algorithm::Sha1,
            Encoding::Hex,
            "Jefe",
            body,
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        );
        check(
            "what do ya want {{for}} nothing?",
            Algorithm::Sha512,
            Encoding::Base64,
            "Jefe",
            "",
            &STANDARD.encode(keyed::<Hmac<Sha512>>(b"Jefe", b"what do ya want {for} nothing?")),
        );
    }

    #[test]
    fn every_part_of_a_request_can_be_signed() {
        let options = HmacOptions {
            key: "secret:a".parse().unwrap(),
            algorithm: None,
            header: None,
            template: Some(
                "{method} {scheme} {host} {path} {query} {target} {header.x-a}{header.none} {timestamp}".to_owned(),
            ),
            encoding: None,
            prefix: None,
            timestamp_header: Some("X-T".to_owned()),
        };
        let signing = Signing::build(options, "X-S".to_owned()).unwrap();
        assert!(!signing.needs_body());
        let text = signing.text(&Subject {
            method: "PUT",
            scheme: "http",
            host: b"h",
            target: b"/p?q=1",
            fields: &Field,
            body: b"",
            timestamp: 7,
        });
        assert_eq!(String::from_utf8(text).unwrap(), "PUT http h /p q=1 /p?q=1 1 7");
    }

    #[test]
    fn a_template_that_cannot_be_read_is_refused() {
        for template in ["{", "}", "{nothing}", "{header.}", "a}b", "{body"] {
            assert!(parts(template).is_err(), "{template}");
        }
        assert_eq!(parts("").unwrap(), []);
    }
}
