//! The one funnel through which goes whatever amb writes: what is known to be secret does not come out of it.
//!
//! A value is known once it was resolved, in each form in which it may be written: as it is, in JSON, in base64, and
//! percent-encoded, however much of it is. Patterns of `[redact]` are looked for too. Nothing is known in a run without secrets and patterns, and then the
//! funnel is one look at a flag.
//!
//! What is known is kept for the process and not for whoever asks: a panic, a log line of a library and a report have
//! nothing else in common.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use memchr::memmem;
use regex::bytes::Regex;
use sha2::Sha256;
use zeroize::Zeroizing;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// A shorter value is not looked for: it would be found in words that have nothing to do with it.
pub const SHORTEST: usize = 6;

/// Values beyond these push out the oldest of those that were derived, such as tokens that have expired.
const MOST_DERIVED: usize = 256;

/// Whether there is anything to look for.
static NEEDED: AtomicBool = AtomicBool::new(false);

/// What there is to look for.
static KNOWN: RwLock<Known> = RwLock::new(Known {
    values: Vec::new(),
    derived: Vec::new(),
    patterns: Vec::new(),
    style: Style::Mask,
});

/// What is to be masked wherever it stands.
struct Known {
    /// Secrets, in all their forms, the longest first.
    values: Vec<Zeroizing<Vec<u8>>>,
    /// The same for what was made of secrets, the oldest first.
    derived: Vec<Zeroizing<Vec<u8>>>,
    /// What looks like a secret.
    patterns: Vec<Regex>,
    /// What stands in its place.
    style: Style,
}

/// What stands in the place of a secret.
#[derive(Clone, Default)]
pub enum Style {
    /// [`MASK`].
    #[default]
    Mask,
    /// [`MASK`] and a hash, keyed for each run: what was the same is the same, and nobody can try out what it was.
    Hash(Zeroizing<[u8; 32]>),
}

impl std::fmt::Debug for Style {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mask => "Mask",
            Self::Hash(_) => "Hash",
        })
    }
}

impl Style {
    /// What is written for this value.
    pub fn of(&self, value: &[u8]) -> String {
        let mut text = MASK.to_owned();
        if let Self::Hash(key) = self
            && let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&**key)
        {
            mac.update(value);
            for byte in &mac.finalize().into_bytes()[..6] {
                write!(text, "{byte:02x}").unwrap_or_default();
            }
        }
        text
    }
}

/// Hashes, with a key that nobody else has.
pub fn keyed_style() -> Style {
    let mut key = Zeroizing::new([0; 32]);
    let filled = rustix::rand::getrandom(&mut key[..], rustix::rand::GetRandomFlags::empty());
    // A key that is known would be worse than no hash.
    if filled == Ok(key.len()) {
        Style::Hash(key)
    } else {
        Style::Mask
    }
}

/// What is known, to look at.
fn known() -> RwLockReadGuard<'static, Known> {
    KNOWN.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What is known, to add to.
fn known_mut() -> RwLockWriteGuard<'static, Known> {
    NEEDED.store(true, Ordering::Release);
    KNOWN.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Masks this secret from now on. False if it is too short for that.
pub fn learn(secret: &[u8]) -> bool {
    if secret.len() < SHORTEST {
        return false;
    }
    let mut known = known_mut();
    for form in forms(secret) {
        if !known.values.contains(&form) {
            known.values.push(form);
        }
    }
    known.values.sort_by_key(|form| std::cmp::Reverse(form.len()));
    true
}

/// Masks what was made of secrets, such as a token that was got for one, for as long as it is likely to be written.
pub fn learn_derived(value: &[u8]) {
    if value.len() < SHORTEST {
        return;
    }
    let mut known = known_mut();
    for form in forms(value) {
        if !known.derived.contains(&form) {
            known.derived.push(form);
        }
    }
    let beyond = known.derived.len().saturating_sub(MOST_DERIVED);
    known.derived.drain(..beyond);
}

/// Masks what fits one of these from now on, and writes this for whatever it masks.
pub fn configure(patterns: &[Regex], style: Style) {
    if patterns.is_empty() && matches!(style, Style::Mask) {
        return;
    }
    let mut known = known_mut();
    known.patterns = patterns.to_vec();
    known.style = style;
}

/// The forms in which a value may be written.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![value.to_vec()];
    if let Ok(text) = str::from_utf8(value) {
        let json = serde_json::Value::from(text).to_string();
        forms.push(json.as_bytes()[1..json.len() - 1].to_vec());
        forms.push(text.escape_debug().to_string().into_bytes());
    }
    for encoded in [
        STANDARD.encode(value),
        STANDARD_NO_PAD.encode(value),
        URL_SAFE_NO_PAD.encode(value),
    ] {
        forms.push(encoded.into_bytes());
    }
    forms.sort();
    forms.dedup();
    forms.into_iter().map(Zeroizing::new).collect()
}

/// The bytes with what is percent-encoded as it is meant, and where each of them stood; the last place is the end.
fn percent_decoded(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut plain, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len() + 1));
    let mut at = 0;
    while at < bytes.len() {
        places.push(at);
        let digits = bytes
            .get(at + 1..at + 3)
            .filter(|digits| bytes[at] == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        plain.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    places.push(bytes.len());
    (plain, places)
}

impl Known {
    /// Where secrets are in `bytes`, in their order, none inside another.
    fn found(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for form in self.values.iter().chain(&self.derived) {
            found.extend(memmem::find_iter(bytes, form.as_slice()).map(|at| (at, at + form.len())));
        }
        if memchr::memchr(b'%', bytes).is_some() {
            let (plain, places) = percent_decoded(bytes);
            for form in self.values.iter().chain(&self.derived) {
                let matches = memmem::find_iter(&plain, form.as_slice());
                found.extend(matches.map(|at| (places[at], places[at + form.len()])));
            }
        }
        for pattern in &self.patterns {
            let matches = pattern.find_iter(bytes).filter(|found| !found.is_empty());
            found.extend(matches.map(|found| (found.start(), found.end())));
        }
        found.sort_unstable_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)));
        let mut apart: Vec<(usize, usize)> = Vec::with_capacity(found.len());
        for (from, to) in found {
            match apart.last_mut() {
                Some(last) if from < last.1 => last.1 = last.1.max(to),
                _ => apart.push((from, to)),
            }
        }
        apart
    }

    /// `bytes` without secrets; none if there are none in it.
    fn veil(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let found = self.found(bytes);
        if found.is_empty() {
            return None;
        }
        let mut veiled = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for (from, to) in found {
            veiled.extend_from_slice(&bytes[at..from]);
            veiled.extend_from_slice(self.style.of(&bytes[from..to]).as_bytes());
            at = to;
        }
        veiled.extend_from_slice(&bytes[at..]);
        Some(veiled)
    }
}

/// The bytes without secrets.
pub fn bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !NEEDED.load(Ordering::Acquire) {
        return Cow::Borrowed(bytes);
    }
    known().veil(bytes).map_or(Cow::Borrowed(bytes), Cow::Owned)
}

/// The text without secrets.
pub fn text(text: &str) -> Cow<'_, str> {
    match bytes(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(veiled) => Cow::Owned(String::from_utf8_lossy(&veiled).into_owned()),
    }
}

/// JSON without secrets. Only what stands in texts is looked at, so that it stays JSON whatever is secret.
pub fn json(json: &[u8]) -> Cow<'_, [u8]> {
    if !NEEDED.load(Ordering::Acquire) {
        return Cow::Borrowed(json);
    }
    let known = known();
    let mut veiled = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(quote) = memchr::memchr(b'"', &json[at..]) {
        let from = at + quote + 1;
        let mut to = from;
        while to < json.len() && json[to] != b'"' {
            to += if json[to] == b'\\' { 2 } else { 1 };
        }
        let to = to.min(json.len());
        if let Some(inside) = known.veil(&json[from..to]) {
            veiled.extend_from_slice(&json[copied..from]);
            veiled.extend_from_slice(&inside);
            copied = to;
        }
        at = (to + 1).min(json.len());
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    veiled.extend_from_slice(&json[copied..]);
    Cow::Owned(veiled)
}

/// A writer behind the funnel. Each write is looked at by itself, so a line is to be written at once.
pub struct Veiled<W> {
    /// Where it goes.
    inner: W,
    /// Whether it is JSON.
    is_json: bool,
}

impl<W> Veiled<W> {
    /// In front of `inner`.
    pub fn new(inner: W, is_json: bool) -> Self {
        Self { inner, is_json }
    }
}

impl<W: io::Write> io::Write for Veiled<W> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        let veiled = if self.is_json { json(written) } else { bytes(written) };
        self.inner.write_all(&veiled)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known, without the process's own.
    fn of(secrets: &[&str], patterns: &[&str], style: Style) -> Known {
        Known {
            values: secrets.iter().flat_map(|secret| forms(secret.as_bytes())).collect(),
            derived: Vec::new(),
            patterns: patterns.iter().map(|text| Regex::new(text).unwrap()).collect(),
            style,
        }
    }

    #[track_caller]
    fn check(known: &Known, text: &str, veiled: &str) {
        let found = known.veil(text.as_bytes()).unwrap_or_else(|| text.as_bytes().to_vec());
        assert_eq!(String::from_utf8(found).unwrap(), veiled);
    }

    #[test]
    fn a_secret_is_found_in_every_form_in_which_it_may_be_written() {
        let known = of(&["pa\"ss w/rd"], &[], Style::Mask);
        for text in [
            "a pa\"ss w/rd b",
            "a pa\\\"ss w/rd b",
            "a pa%22ss%20w%2Frd b",
            "a pa%22ss%20w/rd b",
            "a p%61%22ss%20w%2frd b",
            "a pa%5c%22ss w/rd b",
            "a cGEic3Mgdy9yZA== b",
            "a cGEic3Mgdy9yZA b",
        ] {
            let known = known
                .veil(text.as_bytes())
                .map(|bytes| String::from_utf8(bytes).unwrap());
            assert!(
                known
                    .as_deref()
                    .is_some_and(|text| text.starts_with("a ***") && text.ends_with(" b")),
                "{text}: {known:?}"
            );
        }
        check(&known, "nothing", "nothing");
    }

    #[test]
    fn what_overlaps_is_masked_once() {
        let known = of(&["secret-one", "one-and-more"], &["s[a-z]+t"], Style::Mask);
        check(&known, "x secret-one-and-more y", "x *** y");
        check(&known, "x secret y", "x *** y");
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_and_differs_with_the_key() {
        let (one, other) = (
            Style::Hash(Zeroizing::new([1; 32])),
            Style::Hash(Zeroizing::new([2; 32])),
        );
        assert_eq!(one.of(b"a"), one.of(b"a"));
        assert_ne!(one.of(b"a"), one.of(b"b"));
        assert_ne!(one.of(b"a"), other.of(b"a"));
        assert_eq!(one.of(b"a").len(), MASK.len() + 12);
        assert_eq!(format!("{one:?}"), "Hash");
    }

    #[test]
    fn json_stays_json_and_short_values_are_left() {
        assert!(!learn(b"short"));
        assert!(learn(b"7319046285"));
        assert!(learn(b"in the funnel's test"));
        let text = br#"{"7319046285":7319046285,"a":"x\"7319046285","b":"in the funnel's test"}"#;
        let veiled = json(text);
        assert_eq!(
            str::from_utf8(&veiled).unwrap(),
            r#"{"***":7319046285,"a":"x\"***","b":"***"}"#
        );
    }
}
