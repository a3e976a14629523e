//! What an environment was like before it was led to a proxy, kept in a variable of its own, so that it can be taken back.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt::Write,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use super::{Change, Environment};

/// The variable. Its value is a list, with `&` between: `NAME` for what was not there, `NAME=VALUE` for what was, percent-encoded
/// where a byte is none of a URL's plain ones.
pub const BEFORE: &str = "AMB_ENV_BEFORE";

/// An environment as it was before `amb env`; the same if there was none.
pub fn taken_back(environment: &Environment<'_>) -> BTreeMap<OsString, OsString> {
    let mut before: BTreeMap<OsString, OsString> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let Some(kept) = before.remove(OsStr::new(BEFORE)) else {
        return before;
    };
    for entry in kept
        .as_bytes()
        .split(|byte| *byte == b'&')
        .filter(|entry| !entry.is_empty())
    {
        let mut parts = entry.splitn(2, |byte| *byte == b'=');
        let name = decoded(parts.next().unwrap_or_default());
        match parts.next() {
            Some(value) => before.insert(name, decoded(value)),
            None => before.remove(&name),
        };
    }
    before
}

/// What is kept of an environment that is changed like this.
pub fn kept(before: &Environment<'_>, changes: &[Change]) -> OsString {
    let entries = changes.iter().map(|change| {
        let name = encoded(OsStr::new(&change.name));
        match before.get(OsStr::new(&change.name)) {
            Some(value) => format!("{name}={}", encoded(value)),
            None => name,
        }
    });
    entries.collect::<Vec<_>>().join("&").into()
}

/// With every byte percent-encoded that has a meaning somewhere.
fn encoded(text: &OsStr) -> String {
    let mut encoded = String::new();
    for byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"_-./:,".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

/// Undoes [`encoded`]; what is not so encoded stays as it is.
fn decoded(text: &[u8]) -> OsString {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                decoded.push(byte);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{Origin, environment};

    #[test]
    fn what_was_there_comes_back_byte_for_byte() {
        let value = OsString::from_vec(b"a=b&c%d \n\xff'\"$".to_vec());
        let original = [("no_proxy".into(), value.clone()), ("HOME".into(), "/home/me".into())];
        let change = |name: &str, value: Option<&str>| Change {
            name: name.to_owned(),
            value: value.map(OsString::from),
            origin: Origin::Marker,
        };
        let changes = [change("http_proxy", Some("http://x")), change("no_proxy", None)];
        let kept = kept(&environment(&original), &changes);
        assert!(kept.to_str().unwrap().is_ascii(), "{kept:?}");
        let after = [
            ("http_proxy".into(), "http://x".into()),
            ("HOME".into(), "/home/me".into()),
            (BEFORE.into(), kept),
        ];
        let back: Vec<_> = taken_back(&environment(&after)).into_iter().collect();
        assert_eq!(back, [("HOME".into(), "/home/me".into()), ("no_proxy".into(), value)]);
    }
}
