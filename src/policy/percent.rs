//! Percent-encoding in URLs ([RFC 3986 §2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)).

use std::{borrow::Cow, fmt::Write as _};

/// What needs no encoding anywhere in a URL besides letters and digits
/// ([RFC 3986 §2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)).
const UNRESERVED: &[u8] = b"-._~";

/// With everything encoded that is not unreserved; slashes stay if `keeps_slashes`.
pub fn encoded(bytes: &[u8], keeps_slashes: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || UNRESERVED.contains(byte) || keeps_slashes && *byte == b'/' {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

/// With what is encoded as it is meant; a `%` that begins no such group stays, and a plus is a space where `is_form`.
pub fn decoded(bytes: &[u8], is_form: bool) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let group = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let value = group.and_then(|group| u8::try_from(digit(group[0])? * 16 + digit(group[1])?).ok());
        plain.push(match byte {
            b'+' if is_form => b' ',
            byte => value.unwrap_or(byte),
        });
        at += if value.is_some() { 3 } else { 1 };
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_what_is_not_unreserved() {
        assert_eq!(encoded(b"aZ09-._~", false), "aZ09-._~");
        assert_eq!(encoded("/ +%\u{fc}\0".as_bytes(), false), "%2F%20%2B%25%C3%BC%00");
        assert_eq!(encoded(b"/a b/", true), "/a%20b/");
    }

    #[test]
    fn what_is_no_group_stays_as_it_is() {
        for (text, plain, of_form) in [
            ("a%2Fb%2f", "a/b/", "a/b/"),
            ("a+b", "a+b", "a b"),
            ("%2B+", "++", "+ "),
            ("%", "%", "%"),
            ("%4", "%4", "%4"),
            ("%zz%41", "%zzA", "%zzA"),
            ("%+1", "%+1", "% 1"),
            ("%%41", "%A", "%A"),
            ("plain", "plain", "plain"),
        ] {
            assert_eq!(&*decoded(text.as_bytes(), false), plain.as_bytes(), "{text}");
            assert_eq!(&*decoded(text.as_bytes(), true), of_form.as_bytes(), "{text}");
        }
    }
}
