//! How credentials are written in a request, and how placeholders in it are found.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use zeroize::Zeroizing;

use crate::policy::percent;

/// What an application writes in the place of a secret: this, a colon, and the secret's name.
pub const PLACEHOLDER: &[u8] = b"amb-secret";

/// Base64 as clients write it, with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a value can stand in a header: no control characters, which could end it.
pub fn is_field_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

/// A value with something before it.
pub fn prefixed(prefix: &str, value: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([prefix.as_bytes(), value].concat())
}

/// What `Authorization` says for a user and a password ([RFC 7617 §2]).
///
/// [RFC 7617 §2]: https://www.rfc-editor.org/rfc/rfc7617#section-2
pub fn basic(user: &[u8], password: &[u8]) -> Zeroizing<Vec<u8>> {
    let both = Zeroizing::new([user, b":", password].concat());
    let encoded = Zeroizing::new(STANDARD.encode(&*both));
    prefixed("Basic ", encoded.as_bytes())
}

/// A path and query with a parameter set to this value, in the place of those that have its name if they give way.
pub fn with_parameter(target: &[u8], name: &str, value: &[u8], overrides: bool) -> Vec<u8> {
    let name = percent::encoded(name.as_bytes(), false);
    let value = Zeroizing::new(percent::encoded(value, false));
    let query = memchr::memchr(b'?', target);
    let (path, query) = match query {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &b""[..]),
    };
    let is_it = |parameter: &&[u8]| {
        let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        parameter[..end] == *name.as_bytes()
    };
    let own = query
        .split(|byte| *byte == b'&')
        .filter(|parameter| !parameter.is_empty());
    let mut found = path.to_vec();
    let mut separator = b'?';
    for parameter in own.filter(|parameter| !(overrides && is_it(parameter))) {
        found.push(separator);
        found.extend_from_slice(parameter);
        separator = b'&';
    }
    for part in [&[separator][..], name.as_bytes(), b"=", value.as_bytes()] {
        found.extend_from_slice(part);
    }
    found
}

/// Whether a path's query has a parameter of this name.
pub fn has_parameter(target: &[u8], name: &str) -> bool {
    let name = percent::encoded(name.as_bytes(), false);
    let query = memchr::memchr(b'?', target).map_or(&b""[..], |at| &target[at + 1..]);
    query.split(|byte| *byte == b'&').any(|parameter| {
        let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        parameter[..end] == *name.as_bytes()
    })
}

/// A placeholder: where it begins and ends in a value, and whose it is.
fn placeholder_at(value: &[u8], at: usize) -> Option<(usize, &str)> {
    let behind = &value[at + PLACEHOLDER.len()..];
    // Where an application writes a URL, it may encode the colon.
    let colon = [&b":"[..], b"%3A", b"%3a"]
        .into_iter()
        .find(|colon| behind.starts_with(colon))?;
    let behind = &behind[colon.len()..];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let length = behind.iter().take_while(|byte| is_name(byte)).count();
    let name = str::from_utf8(&behind[..length]).ok().filter(|name| !name.is_empty())?;
    Some((at + PLACEHOLDER.len() + colon.len() + length, name))
}

/// Whether there may be a placeholder in a value.
pub fn may_hold_placeholder(value: &[u8]) -> bool {
    memchr::memmem::find(value, PLACEHOLDER).is_some()
}

/// The names in the placeholders in a value.
pub fn placeholders(value: &[u8]) -> Vec<&str> {
    memchr::memmem::find_iter(value, PLACEHOLDER)
        .filter_map(|at| placeholder_at(value, at))
        .map(|(_, name)| name)
        .collect()
}

/// The value with secrets in the place of placeholders, percent-encoded if it is a part of a URL. `secret` says which there
/// are; of the others the placeholder stays.
pub fn replaced<S: AsRef<[u8]>>(value: &[u8], in_url: bool, secret: impl Fn(&str) -> Option<S>) -> Zeroizing<Vec<u8>> {
    let mut found = Zeroizing::new(Vec::with_capacity(value.len() + 64));
    let mut copied = 0;
    for at in memchr::memmem::find_iter(value, PLACEHOLDER) {
        let Some((end, name)) = placeholder_at(value, at) else {
            continue;
        };
        let Some(secret) = secret(name) else { continue };
        found.extend_from_slice(&value[copied..at]);
        if in_url {
            let encoded = Zeroizing::new(percent::encoded(secret.as_ref(), false));
            found.extend_from_slice(encoded.as_bytes());
        } else {
            found.extend_from_slice(secret.as_ref());
        }
        copied = end;
    }
    found.extend_from_slice(&value[copied..]);
    found
}

/// The user and password of a `Basic` credential, as they are.
pub fn decoded_basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let scheme = value.get(..6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let both = Zeroizing::new(LENIENT.decode(value[6..].trim_ascii()).ok()?);
    both.contains(&b':').then_some(both)
}

/// A `Basic` credential of a user and password, which stand there with the colon between them.
pub fn encoded_basic(both: &[u8]) -> Zeroizing<Vec<u8>> {
    let encoded = Zeroizing::new(STANDARD.encode(both));
    prefixed("Basic ", encoded.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_password_make_a_basic_credential() {
        // RFC 7617 §2.
        assert_eq!(
            &**basic(b"Aladdin", b"open sesame"),
            b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        for text in [
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        ] {
            assert_eq!(
                &**decoded_basic(text.as_bytes()).unwrap(),
                b"Aladdin:open sesame",
                "{text}"
            );
        }
        for text in ["Basic", "Basic !", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic QUFB"] {
            assert_eq!(decoded_basic(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_parameter_takes_the_place_of_those_of_its_name() {
        for (target, overrides, found) in [
            ("/a", true, "/a?k=v%2F"),
            ("/a?b=1", true, "/a?b=1&k=v%2F"),
            ("/a?k=0&b=1&k", true, "/a?b=1&k=v%2F"),
            ("/a?k=0", false, "/a?k=0&k=v%2F"),
            ("/a?", true, "/a?k=v%2F"),
        ] {
            let written = with_parameter(target.as_bytes(), "k", b"v/", overrides);
            assert_eq!(String::from_utf8(written).unwrap(), found, "{target}");
        }
        assert!(has_parameter(b"/a?b&k=1", "k") && has_parameter(b"/a?k", "k"));
        assert!(!has_parameter(b"/k?b=k", "k"));
    }

    #[test]
    fn placeholders_are_replaced_where_there_is_a_secret() {
        let value = b"Bearer amb-secret:one, amb-secret:two;amb-secret:";
        assert_eq!(placeholders(value), ["one", "two"]);
        let secret = |name: &str| (name == "one").then_some("s 1");
        assert_eq!(
            &**replaced(value, false, secret),
            b"Bearer s 1, amb-secret:two;amb-secret:"
        );
        assert_eq!(&**replaced(b"/?a=amb-secret%3Aone&b", true, secret), b"/?a=s%201&b");
    }

    #[test]
    fn what_could_end_a_header_is_no_value_of_one() {
        assert!(is_field_value("tok\u{fc}n ~".as_bytes()));
        for value in ["a\nb", "a\rb", "a\0b", "\u{7f}"] {
            assert!(!is_field_value(value.as_bytes()), "{value:?}");
        }
    }
}
