//! Values with units as CEL takes them: `500ms` becomes `duration('500000000ns')`, `50MiB` the number of bytes, `1%` a hundredth.
//!
//! They are rewritten before anything is parsed, outside of strings; places in what was rewritten are led back to what was
//! written.

use std::ops::Range;

use crate::{policy::condition::Mistake, units::ByteSize};

/// Units of durations, in nanoseconds; a longer spelling before the shorter.
const TIMES: [(&str, u64); 9] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// An expression without units.
#[derive(Debug)]
pub(super) struct Rewritten {
    /// What CEL is given.
    pub(super) text: String,
    /// What was put in the place of what: places in `text`, then in what was written.
    changes: Vec<(Range<usize>, Range<usize>)>,
}

impl Rewritten {
    /// Rewrites an expression.
    ///
    /// # Errors
    /// A unit that there is not, or a value that is too large.
    pub(super) fn of(source: &str) -> Result<Self, Mistake> {
        let mut rewritten = Self {
            text: String::with_capacity(source.len()),
            changes: Vec::new(),
        };
        let mut at = 0;
        while let Some(character) = source[at..].chars().next() {
            let rest = &source[at..];
            let length = if character == '\'' || character == '"' {
                string(rest)
            } else if character.is_alphabetic() || character == '_' {
                // A prefix such as r belongs to the string behind it, which the next turn reads: only a raw one matters.
                raw(rest).unwrap_or_else(|| word(rest))
            } else if character.is_ascii_digit() {
                let (length, value) = number(rest).map_err(|(length, reason)| Mistake {
                    reason,
                    place: Some(at..at + length),
                })?;
                if let Some(value) = value {
                    let start = rewritten.text.len();
                    rewritten.text.push_str(&value);
                    rewritten.changes.push((start..rewritten.text.len(), at..at + length));
                    at += length;
                    continue;
                }
                length
            } else {
                character.len_utf8()
            };
            rewritten.text.push_str(&rest[..length]);
            at += length;
        }
        Ok(rewritten)
    }

    /// A place in the text as one in what was written.
    pub(super) fn back(&self, place: &Range<usize>) -> Range<usize> {
        let point = |at: usize, end: bool| {
            let before = self.changes.iter().take_while(|(new, _)| new.start <= at).last();
            match before {
                None => at,
                Some((new, old)) if at < new.end => {
                    if end {
                        old.end
                    } else {
                        old.start
                    }
                }
                Some((new, old)) => old.end + (at - new.end),
            }
        };
        point(place.start, false)..point(place.end, true)
    }
}

/// The length of the string at the start, or of the rest if it does not end.
fn string(text: &str) -> usize {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let mark = if text.starts_with(&triple) { &*triple } else { quote };
    let mut at = mark.len();
    while let Some(character) = text[at..].chars().next() {
        if text[at..].starts_with(mark) {
            return at + mark.len();
        }
        at += character.len_utf8();
        if character == '\\' {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the raw string at the start, in which a backslash means nothing; none if there is none.
fn raw(text: &str) -> Option<usize> {
    let prefix = text.find(['\'', '"'])?;
    if !matches!(
        &text[..prefix],
        "r" | "R" | "br" | "bR" | "Br" | "BR" | "rb" | "rB" | "Rb" | "RB"
    ) {
        return None;
    }
    let inside = &text[prefix..];
    let triple = inside[..1].repeat(3);
    let mark = if inside.starts_with(&triple) {
        &*triple
    } else {
        &inside[..1]
    };
    let end = inside[mark.len()..].find(mark);
    Some(end.map_or(text.len(), |end| prefix + end + 2 * mark.len()))
}

/// The length of the word at the start.
fn word(text: &str) -> usize {
    text.find(|character: char| !character.is_alphanumeric() && character != '_')
        .unwrap_or(text.len())
}

/// The length of the number at the start with its unit, and what CEL takes for it; none if CEL takes it as it is.
fn number(text: &str) -> Result<(usize, Option<String>), (usize, String)> {
    let digits = digits(text);
    let behind = &text[digits..];
    if let Some(after) = behind.strip_prefix('%') {
        // Without anything to divide by it is a share, and no remainder.
        let operand = after.trim_start().starts_with(|next: char| {
            next.is_alphanumeric() || matches!(next, '_' | '(' | '[' | '-' | '\'' | '"' | '.')
        });
        if operand {
            return Ok((digits, None));
        }
        let share: f64 = text[..digits].parse().unwrap_or_default();
        return Ok((digits + 1, Some(format!("{:?}", share / 100.0))));
    }
    let unit = unit(behind);
    if unit == 0 || matches!(&behind[..unit], "u" | "U") || is_plain(text, behind) {
        // What CEL itself reads as one number: 5u, 0xff, 1e9.
        return Ok((digits + if unit == 0 { 0 } else { word(behind) }, None));
    }
    let whole = digits + word(behind);
    if let Some((length, nanos)) = time(text) {
        let nanos = nanos.ok_or_else(|| (length, format!("`{}` is longer than can be counted", &text[..length])))?;
        return Ok((length, Some(format!("duration('{nanos}ns')"))));
    }
    match text[..whole].parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if i64::try_from(bytes).is_ok() => Ok((whole, Some(bytes.to_string()))),
        Ok(_) => Err((whole, format!("`{}` is larger than can be counted", &text[..whole]))),
        Err(_) => Err((
            whole,
            format!(
                "`{}` is neither a duration such as 500ms, 5s or 1m30s nor a size such as 64KiB, 10MB or 512B",
                &text[..whole]
            ),
        )),
    }
}

/// Whether a number with letters behind it is one of CEL's: hexadecimal, or with an exponent.
fn is_plain(text: &str, behind: &str) -> bool {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let exponent = behind.strip_prefix(['e', 'E']).is_some_and(|power| {
        let power = power.strip_prefix(['+', '-']).unwrap_or(power);
        power.starts_with(|digit: char| digit.is_ascii_digit())
    });
    hexadecimal || exponent
}

/// The length of the digits at the start, with a fraction if there is one.
fn digits(text: &str) -> usize {
    let whole = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let length = whole(text);
    match text[length..].strip_prefix('.').map(whole) {
        Some(fraction) if fraction > 0 => length + 1 + fraction,
        _ => length,
    }
}

/// The length of the letters at the start.
fn unit(text: &str) -> usize {
    text.find(|character: char| !character.is_alphabetic())
        .unwrap_or(text.len())
}

/// The length of the duration at the start, and its nanoseconds if they can be counted; none if it is none.
fn time(text: &str) -> Option<(usize, Option<u64>)> {
    let (mut at, mut sum) = (0, Some(0_u64));
    while text[at..].starts_with(|digit: char| digit.is_ascii_digit()) {
        let number = digits(&text[at..]);
        let behind = &text[at + number..];
        let letters = unit(behind);
        let (name, nanos) = TIMES.into_iter().find(|(name, _)| *name == &behind[..letters])?;
        sum = sum.and_then(|sum| sum.checked_add(times(&text[at..at + number], nanos)?));
        at += number + name.len();
    }
    let ends = !text[at..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
    (at > 0 && ends).then(|| (at, sum.filter(|sum| i64::try_from(*sum).is_ok())))
}

/// A decimal number of units, in whole nanoseconds.
fn times(number: &str, nanos: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut sum = whole.parse::<u64>().ok()?.checked_mul(nanos)?;
    let mut part = nanos;
    for digit in fraction.bytes() {
        part /= 10;
        sum = sum.checked_add(part * u64::from(digit - b'0'))?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(Rewritten::of(source).unwrap().text, expected, "{source}");
    }

    #[test]
    fn units_become_what_cel_knows() {
        for (source, expected) in [
            ("latency.p95 < 500ms", "latency.p95 < duration('500000000ns')"),
            ("a < 5s", "a < duration('5000000000ns')"),
            ("a < 1m30s", "a < duration('90000000000ns')"),
            ("a < 1.5h", "a < duration('5400000000000ns')"),
            ("a<2m&&b", "a<duration('120000000000ns')&&b"),
            ("a < 310µs", "a < duration('310000ns')"),
            ("a < 1d", "a < duration('86400000000000ns')"),
            ("r < 1%", "r < 0.01"),
            ("r < 0.5% && x", "r < 0.005 && x"),
            ("(r < 25%)", "(r < 0.25)"),
            ("b < 50MiB", "b < 52428800"),
            ("b < 10kB || c > 1B", "b < 10000 || c > 1"),
        ] {
            check(source, expected);
        }
    }

    #[test]
    fn what_has_no_unit_stays_as_it_is() {
        for source in [
            "requests.total >= 10",
            "hosts['5s.example.com'].p95 == \"10MB\"",
            "'it\\'s 5s' + r'\\' + '''5s'5s'''",
            "p95 + x5s + _5s",
            "5u + 0x5f + 1e9 + 1.5e-3 + 2.5",
            "5 % 2 == 1",
            "5%2 == 5%x",
            "a[0].b",
            "'unterminated 5s",
            "1.size()",
        ] {
            check(source, source);
        }
    }

    #[test]
    fn units_that_there_are_not_are_refused_where_they_stand() {
        for (source, place) in [
            ("a < 500sec", 4..10),
            ("a < 5parsecs && b", 4..12),
            ("a < 1.5MiB", 4..10),
            ("a < 1m30", 4..8),
            ("a < 9999999999d", 4..15),
            ("a < 99999999999GiB", 4..18),
        ] {
            assert_eq!(Rewritten::of(source).unwrap_err().place, Some(place), "{source}");
        }
    }

    #[test]
    fn places_lead_back_to_what_was_written() {
        let source = "a < 5s && bad < 50MiB && worse";
        let rewritten = Rewritten::of(source).unwrap();
        for word in ["a <", "bad", "worse"] {
            let at = rewritten.text.find(word).unwrap();
            let back = rewritten.back(&(at..at + word.len()));
            assert_eq!(&source[back], word);
        }
        let at = rewritten.text.find("duration").unwrap();
        assert_eq!(&source[rewritten.back(&(at..at + 8))], "5s");
    }
}
