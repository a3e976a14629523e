//! Which paths: `/v1/charges`, `/v1/*/items`, `/v1/customers/{id}/**`.
//!
//! `*` is one segment or a part of one, `{name}` is one segment or a part of one and at least one character, `**` is any
//! number of whole segments, none included: `/v1/**` fits `/v1` and `/v1/a/b`. Case counts, a slash at the end counts, and
//! the query is no part of the path.
//!
//! A path is compared as a server understands it ([RFC 3986 §6.2.2]): `.` and `..` are resolved, and what need not have been
//! encoded is decoded, so that neither `/v1/../admin` nor `/%61dmin` gets around a pattern for `/admin`. An encoded slash
//! is no slash. What is sent stays as it came.
//!
//! [RFC 3986 §6.2.2]: https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::glob::Glob;

/// Paths of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As it was written.
    written: String,
    /// What stands between the slashes, from behind the first one.
    segments: Vec<Segment>,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// These bytes; none behind a slash at the end.
    Literal(Vec<u8>),
    /// One of this form, not empty.
    One(Glob),
    /// Any number of segments.
    Many,
}

impl PathPattern {
    /// Whether a path fits that went through [`plain`].
    pub fn fits(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else {
            return false;
        };
        let (mut segment, mut rest) = (0, Some(path));
        // Where to go on if what follows the last `**` proves not to fit: it takes one segment more then.
        let mut again: Option<(usize, Option<&[u8]>)> = None;
        loop {
            let fits = match (self.segments.get(segment), rest) {
                (Some(Segment::Many), _) => {
                    segment += 1;
                    again = Some((segment, rest));
                    continue;
                }
                (None, None) => return true,
                (Some(Segment::Literal(literal)), Some(path)) => first(path).0 == literal.as_slice(),
                (Some(Segment::One(glob)), Some(path)) => !first(path).0.is_empty() && glob.fits(first(path).0),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if fits {
                segment += 1;
                rest = rest.and_then(|path| first(path).1);
                continue;
            }
            match &mut again {
                Some((behind, Some(path))) => {
                    let (behind, path) = (*behind, first(path).1);
                    again = Some((behind, path));
                    (segment, rest) = (behind, path);
                }
                _ => return false,
            }
        }
    }

    /// It as it was written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// What all paths that fit begin with, whole segments of them: `/v1` of `/v1/{id}/**`, `/` where that is nothing.
    pub fn beginning(&self) -> String {
        let literal = |segment: &&Segment| matches!(segment, Segment::Literal(_));
        let count = self.segments.iter().take_while(literal).count();
        let segments = self.written[1..].split('/').take(count);
        segments.fold("/".to_owned(), |path, segment| {
            let slash = if path == "/" { "" } else { "/" };
            path + slash + segment
        })
    }
}

/// The first segment, and what stands behind its slash, if there is one.
fn first(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'/', path) {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

/// The path of a path with its query, as patterns compare it. Nothing is copied where nothing is to be changed.
pub fn plain(target: &[u8]) -> Cow<'_, [u8]> {
    let path = memchr::memchr(b'?', target).map_or(target, |query| &target[..query]);
    if path.is_empty() {
        return Cow::Borrowed(b"/");
    }
    let path = if memchr::memchr(b'%', path).is_some() {
        Cow::Owned(decoded(path))
    } else {
        Cow::Borrowed(path)
    };
    if memchr::memmem::find(&path, b"/.").is_some() {
        return Cow::Owned(without_dots(&path));
    }
    path
}

/// A path in which letters, digits and `-._~` are never encoded, and the digits of what is are upper case.
fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        at += 1;
        plain.push(*byte);
        let (b'%', Some(high), Some(low)) = (byte, digit(path.get(at)), digit(path.get(at + 1))) else {
            continue;
        };
        // Two digits of four bits make a byte.
        let encoded = u8::try_from(high * 16 + low).unwrap_or_default();
        if encoded.is_ascii_alphanumeric() || b"-._~".contains(&encoded) {
            plain.pop();
            plain.push(encoded);
        } else {
            plain.extend(path[at..at + 2].to_ascii_uppercase());
        }
        at += 2;
    }
    plain
}

/// A path without `.` and `..` ([RFC 3986 §5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4)).
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            other => {
                kept.push(other);
                continue;
            }
        }
        if last {
            kept.push(b"");
        }
    }
    kept.iter()
        .flat_map(|segment| [b"/".as_slice(), segment])
        .collect::<Vec<_>>()
        .concat()
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(match text {
                "" => "a path is missing".to_owned(),
                _ if text.contains("://") => format!("`{text}` is a URL: a path is what stands behind the host"),
                _ => format!("`{text}` is no path: write `/{text}`"),
            });
        };
        if text.contains(['?', '#']) {
            return Err(format!("`{text}` is no path: a query is no part of it"));
        }
        if let Some(odd) = text.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(format!(
                "`{}` is no path: write `{}` as it is sent, encoded with %",
                text.escape_debug(),
                odd.escape_debug()
            ));
        }
        let segments = path
            .split('/')
            .map(|segment| match segment {
                "**" => Ok(Segment::Many),
                "." | ".." => Err(format!("`{text}` fits nothing: `{segment}` is resolved in every path")),
                _ if segment.contains("**") => Err(format!(
                    "`{text}`: `**` stands for whole segments, and not for a part of `{segment}`"
                )),
                _ => {
                    let plain = decoded(segment.as_bytes());
                    let glob = Glob::of_names(&plain).map_err(|reason| format!("`{text}`: {reason}"))?;
                    Ok(if glob.is_literal() {
                        Segment::Literal(plain)
                    } else {
                        Segment::One(glob)
                    })
                }
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Self {
            written: text.to_owned(),
            segments,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for PathPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PathPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a path such as /v1/charges, /v1/* or /v1/customers/{id}/**",
            "pattern": "^/[^?#\\s]*$",
        })
    }
}
