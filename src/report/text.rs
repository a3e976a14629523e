//! Text as a terminal shows it: escaped, measured, shortened, wrapped; numbers as people read them.

use std::{fmt::Write, time::Duration};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{traffic::assertion::Figure, units::ByteSize};

/// Which characters may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Only ASCII: the locale or the terminal has nothing better, or a program is going to read it.
    Ascii,
    /// All of Unicode.
    Unicode,
}

impl Charset {
    /// `·`, between parts of a line.
    pub(crate) fn dot(self) -> &'static str {
        self.pick("·", "-")
    }

    /// `–`, for a number that there is none of.
    pub(crate) fn none(self) -> &'static str {
        self.pick("–", "-")
    }

    /// `…`, for what was left out.
    pub(crate) fn ellipsis(self) -> &'static str {
        self.pick("…", "...")
    }

    /// `×`, after a count.
    pub(crate) fn times(self) -> &'static str {
        self.pick("×", "x")
    }

    /// `→`, before what came of something.
    pub(crate) fn arrow(self) -> &'static str {
        self.pick("→", "->")
    }

    /// `✓`: all is well.
    pub(crate) fn good(self) -> &'static str {
        self.pick("✓", "ok:")
    }

    /// `✗`: something is not.
    pub(crate) fn bad(self) -> &'static str {
        self.pick("✗", "FAIL:")
    }

    /// `✓` in front of a line of its own.
    pub(crate) fn sound(self) -> &'static str {
        self.pick("✓", "ok  ")
    }

    /// `!` in front of a line of its own: worth a look.
    pub(crate) fn doubtful(self) -> &'static str {
        self.pick("!", "warn")
    }

    /// `✗` in front of a line of its own.
    pub(crate) fn broken(self) -> &'static str {
        self.pick("✗", "FAIL")
    }

    /// One of two spellings.
    fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }
}

/// The text with everything made visible that could move the cursor, change colours, or reorder what is around it.
///
/// Escapes are Rust's: `\n`, `\u{1b}`. A backslash stays as it is, so this is for people and not reversible.
pub(crate) fn escape(text: &str, charset: Charset) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) || (charset == Charset::Ascii && !character.is_ascii()) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a terminal would do something else with a character than show it.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        // Width zero covers joiners and marks of direction; such text would not be where it seems to be.
        || character.width().is_none_or(|width| width == 0)
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns it takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text within this many columns: what is too long loses its middle, because the ends tell hosts and paths apart.
pub(crate) fn shorten(text: &str, columns: usize, charset: Charset) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let ellipsis = charset.ellipsis();
    let room = columns.saturating_sub(width(ellipsis));
    let head = take(text.chars(), room.div_ceil(2));
    let tail: String = take(text.chars().rev(), room - width(&head)).chars().rev().collect();
    format!("{head}{ellipsis}{tail}")
}

/// The first characters that fit into this many columns.
fn take(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut left = columns;
    let fits = |character: &char| {
        let width = character.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    characters.take_while(fits).collect()
}

/// The text broken between words into lines of at most this many columns, each begun with `indent`.
///
/// A word that is longer than a line is broken where it must: nothing is lost.
pub(crate) fn wrap(text: &str, columns: usize, indent: &str) -> String {
    let room = columns.saturating_sub(width(indent)).max(8);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && width(line) + 1 + width(word) <= room {
            line.push(' ');
            line.push_str(word);
            continue;
        }
        let mut rest = word.to_owned();
        while width(&rest) > room {
            let head = take(rest.chars(), room);
            rest = rest.split_off(head.len());
            lines.push(head);
        }
        lines.push(rest);
    }
    let mut wrapped = String::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        writeln!(wrapped, "{indent}{line}").expect("a String takes everything");
    }
    wrapped
}

/// A duration as people read it: `310µs`, `42ms`, `1.2s`, `33.4s`, `2m05s`, `3h07m`. In ASCII it is `310us`.
pub(crate) fn duration(duration: Duration, charset: Charset) -> String {
    let micros = duration.as_micros();
    let tenths = (duration.as_millis() + 50) / 100;
    let seconds = (duration.as_millis() + 500) / 1_000;
    if micros < 1_000 {
        format!("{micros}{}", charset.pick("µs", "us"))
    } else if micros < 10_000 && micros % 1_000 >= 100 {
        format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100)
    } else if micros < 999_500 {
        format!("{}ms", (micros + 500) / 1_000)
    } else if tenths < 600 {
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else if seconds < 3_600 {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    } else {
        format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60)
    }
}

/// A value that an assertion looked at, as people read it.
pub(crate) fn figure(figure: &Figure, charset: Charset) -> String {
    match figure {
        Figure::Count(count) => count.to_string(),
        Figure::Number(number) => number.to_string(),
        Figure::Ratio(ratio) => {
            let percent = format!("{:.2}", ratio * 100.0);
            format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
        }
        Figure::Time(time) => duration(*time, charset),
        Figure::Bytes(bytes) => ByteSize(*bytes).to_string(),
        Figure::Text(text) => escape(text, charset),
    }
}

/// `1 request`, `2 requests`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_survives() {
        let hostile = "a\x1b[31mb\x07\r\n\u{9b}2J\u{202e}gpj.exe\u{200b}";
        let escaped = escape(hostile, Charset::Unicode);
        assert_eq!(escaped, r"a\u{1b}[31mb\u{7}\r\n\u{9b}2J\u{202e}gpj.exe\u{200b}");
        assert_eq!(escape("bücher.example", Charset::Unicode), "bücher.example");
        assert_eq!(escape("bücher.example", Charset::Ascii), r"b\u{fc}cher.example");
    }

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(shorten("api.example.com", 15, Charset::Unicode), "api.example.com");
        assert_eq!(shorten("api.example.com", 9, Charset::Unicode), "api.….com");
        assert_eq!(shorten("api.example.com", 9, Charset::Ascii), "api...com");
        for columns in 1..20 {
            let shortened = shorten("日本語日本語.example", columns, Charset::Unicode);
            assert!(width(&shortened) <= columns, "{shortened} in {columns}");
        }
    }

    #[test]
    fn wrapping_loses_nothing() {
        assert_eq!(wrap("one two three four", 12, "  "), "  one two\n  three four\n");
        assert_eq!(wrap("abcdefghijklmnop x", 10, "  "), "  abcdefgh\n  ijklmnop\n  x\n");
        assert_eq!(wrap("x", 0, ""), "x\n");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (micros, shown) in [
            (0, "0µs"),
            (310, "310µs"),
            (1_000, "1ms"),
            (1_230, "1.2ms"),
            (42_400, "42ms"),
            (999_499, "999ms"),
            (999_500, "1.0s"),
            (1_240_000, "1.2s"),
            (33_410_000, "33.4s"),
            (59_960_000, "1m00s"),
            (125_000_000, "2m05s"),
            (3_599_600_000, "1h00m"),
            (11_220_000_000, "3h07m"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros), Charset::Unicode), shown);
        }
        assert_eq!(duration(Duration::from_micros(310), Charset::Ascii), "310us");
    }
}
