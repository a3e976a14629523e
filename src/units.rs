//! Values with units, as people write them: `500ms`, `1m30s`, `64KiB`, `50/s`, `64KiB/s`.
//!
//! A bare number is refused with a proposal, because `timeout = 5` means five of something else to everyone who reads it.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time with its unit: `500ms`, `5s`, `1m30s`, `2h`.
///
/// Nanosecond resolution; zero is allowed here and refused where it has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// [`Period`] as a pattern, for the schema: numbers with units that humantime knows.
const PERIOD_PATTERN: &str = "^\\s*([0-9]+\\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|\
                              hours?|hrs?|hr?|days?|d|weeks?|wks?|wk?|months?|M|years?|yrs?|yr?)\\s*)+$";

/// [`ByteSize`] as a pattern, for the schema.
const SIZE_PATTERN: &str = "^\\s*[0-9]+\\s*(GiB|MiB|KiB|GB|MB|kB|G|M|K|B)\\s*$";

impl Period {
    /// A period of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(format!("`{text}` has no unit: did you mean `{text}s`?"));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|reason| format!("`{text}` is not a duration ({reason}): write it like 500ms, 5s or 1m30s"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a duration with its unit, such as 500ms, 5s or 1m30s",
            "pattern": PERIOD_PATTERN,
        })
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::new("a duration with its unit, such as \"5s\"", "s"))
    }
}

/// A number of bytes with its unit: `64KiB`, `10MB`, `512B`.
///
/// `K`, `M`, `G` alone and with `iB` are powers of 1024; `kB`, `MB`, `GB` are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Units of [`ByteSize`], the longer spelling of a letter before the shorter.
const BYTE_UNITS: [(&str, u64); 10] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit: did you mean `{text}KiB`?"));
        }
        let refused = || format!("`{text}` is not a size: write it like 512B, 64KiB or 10MB");
        let (number, unit) = BYTE_UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .ok_or_else(refused)?;
        let number: u64 = number.trim_end().parse().map_err(|_| refused())?;
        number
            .checked_mul(unit)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is larger than this machine can count"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, unit) in &BYTE_UNITS[..3] {
            if self.0 >= *unit {
                let tenths = u128::from(self.0) * 10 / u128::from(*unit);
                // One decimal only where it says something: 1.9 MiB, but 41 KiB.
                return if tenths < 100 && tenths % 10 != 0 {
                    write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
                } else {
                    write!(f, "{} {name}", tenths / 10)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Whole bytes, so that a value survives the way through a configuration layer unrounded.
        serializer.collect_str(&format_args!("{}B", self.0))
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a size with its unit, such as 512B, 64KiB or 10MB",
            "pattern": SIZE_PATTERN,
        })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::new("a size with its unit, such as \"64KiB\"", "KiB"))
    }
}

/// So many in so much time: `50/s`, `3000/m`, `10/500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least 1.
    pub count: u32,
    /// In how much time; not zero.
    pub per: Duration,
}

/// [`Rate`] as a pattern, for the schema.
const RATE_PATTERN: &str = "^\\s*[0-9]+\\s*/\\s*([0-9]+\\s*)?(ms|s|m|min|h|d|sec|second|minute|hour|day)\\s*$";

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit: did you mean `{text}/s`?"));
        }
        let refused = || format!("`{text}` is not a rate: write it like 50/s, 3000/m or 10/500ms");
        let (count, per) = text.split_once('/').ok_or_else(refused)?;
        let count = count
            .trim()
            .parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(refused)?;
        let per = per.trim();
        let per = if per.starts_with(|first: char| first.is_ascii_digit()) {
            per.to_owned()
        } else {
            format!("1{per}")
        };
        let per = per.parse::<Period>().map_err(|_| refused())?.0;
        if per.is_zero() {
            return Err(refused());
        }
        Ok(Self { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.count)?;
        match self.per.as_millis() {
            1_000 => f.write_str("s"),
            60_000 => f.write_str("m"),
            3_600_000 => f.write_str("h"),
            _ => write!(f, "{}", Period(self.per).to_string().replace(' ', "")),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a rate such as 50/s, 3000/m or 10/500ms",
            "pattern": RATE_PATTERN,
        })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::new("a rate, such as \"50/s\"", "/s"))
    }
}

/// Bytes a second: `64KiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(pub u64);

/// [`ByteRate`] as a pattern, for the schema.
const BYTE_RATE_PATTERN: &str = "^\\s*[0-9]+\\s*(GiB|MiB|KiB|GB|MB|kB|G|M|K|B)\\s*/\\s*s\\s*$";

impl FromStr for ByteRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit: did you mean `{text}KiB/s`?"));
        }
        let size = text
            .strip_suffix('s')
            .and_then(|rest| rest.trim_end().strip_suffix('/'));
        size.and_then(|size| size.parse().ok())
            .filter(|ByteSize(bytes)| *bytes > 0)
            .map(|ByteSize(bytes)| Self(bytes))
            .ok_or_else(|| format!("`{text}` is not a number of bytes a second: write it like 64KiB/s or 10MB/s"))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0))
    }
}

impl Serialize for ByteRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Whole bytes, as for a size.
        serializer.collect_str(&format_args!("{}B/s", self.0))
    }
}

impl JsonSchema for ByteRate {
    fn schema_name() -> Cow<'static, str> {
        "ByteRate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "bytes a second, such as 64KiB/s or 10MB/s",
            "pattern": BYTE_RATE_PATTERN,
        })
    }
}

impl<'de> Deserialize<'de> for ByteRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::new("bytes a second, such as \"64KiB/s\"", "KiB/s"))
    }
}

/// Reads a value with a unit from text, and answers a bare number with a proposal.
struct TextVisitor<T> {
    /// What is expected, for messages.
    expected: &'static str,
    /// The unit to propose for a bare number.
    unit: &'static str,
    /// The type that is made.
    made: PhantomData<T>,
}

impl<T> TextVisitor<T> {
    /// A visitor that expects `expected` and proposes `unit`.
    const fn new(expected: &'static str, unit: &'static str) -> Self {
        Self {
            expected,
            unit,
            made: PhantomData,
        }
    }

    /// The error for a number without its unit.
    fn bare<E: de::Error>(&self, number: impl fmt::Display) -> E {
        E::custom(format!(
            "`{number}` has no unit: did you mean \"{number}{}\"?",
            self.unit
        ))
    }
}

impl<T: FromStr<Err = String>> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Err(self.bare(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(self.bare(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Err(self.bare(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_reads_as_people_write_it() {
        for (text, millis) in [("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("2h", 7_200_000)] {
            assert_eq!(
                text.parse::<Period>(),
                Ok(Period(Duration::from_millis(millis))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_a_proposal() {
        assert!("5".parse::<Period>().unwrap_err().contains("did you mean `5s`?"));
        assert!("64".parse::<ByteSize>().unwrap_err().contains("did you mean `64KiB`?"));
        let error = serde_json::from_str::<Period>("5").unwrap_err().to_string();
        assert!(error.contains("did you mean \"5s\"?"), "{error}");
    }

    #[test]
    fn a_size_reads_and_prints_with_its_unit() {
        for (text, bytes, shown) in [
            ("512B", 512, "512 B"),
            ("64KiB", 65_536, "64 KiB"),
            ("10MB", 10_000_000, "9.5 MiB"),
            ("2G", 1 << 31, "2 GiB"),
            ("1 kB", 1_000, "1000 B"),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), shown);
        }
        assert!("99999999999G".parse::<ByteSize>().is_err());
        assert!("5 parsecs".parse::<ByteSize>().is_err());
    }

    #[test]
    fn a_rate_reads_and_prints_as_people_write_it() {
        for (text, count, millis, shown) in [
            ("50/s", 50, 1_000, "50/s"),
            ("3000/m", 3_000, 60_000, "3000/m"),
            (" 10 / 500ms ", 10, 500, "10/500ms"),
            ("7/1h", 7, 3_600_000, "7/h"),
            ("2/1m30s", 2, 90_000, "2/1m30s"),
        ] {
            let per = Duration::from_millis(millis);
            assert_eq!(text.parse::<Rate>(), Ok(Rate { count, per }), "{text}");
            assert_eq!(Rate { count, per }.to_string(), shown);
            assert_eq!(shown.parse::<Rate>(), Ok(Rate { count, per }), "{shown}");
        }
        for wrong in ["0/s", "50/", "/s", "-1/s", "50/0s", "50 per second", "1.5/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        assert!("50".parse::<Rate>().unwrap_err().contains("did you mean `50/s`?"));
    }

    #[test]
    fn bytes_a_second_read_and_print_with_their_unit() {
        assert_eq!("64KiB/s".parse::<ByteRate>(), Ok(ByteRate(65_536)));
        assert_eq!(" 10 MB / s".parse::<ByteRate>(), Ok(ByteRate(10_000_000)));
        assert_eq!(ByteRate(65_536).to_string(), "64 KiB/s");
        for wrong in ["64KiB", "0B/s", "64/s", "KiB/s", "64KiB/m"] {
            assert!(wrong.parse::<ByteRate>().is_err(), "{wrong}");
        }
        assert!(
            "64".parse::<ByteRate>()
                .unwrap_err()
                .contains("did you mean `64KiB/s`?")
        );
    }
}
