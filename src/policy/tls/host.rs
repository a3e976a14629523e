//! Which hosts: `api.example.com`, `*.example.com`, `10.0.0.1`, `*`.
//!
//! `*` stands for one label, `**` for one or more, and a `*` by itself for every host.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Serialize, Serializer};

/// A host, or the hosts below a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// All.
    Any,
    /// This one: a name in lower case without a trailing dot.
    Name(String),
    /// This one, canonical.
    Address(IpAddr),
    /// What is below a name.
    Below {
        /// The name.
        name: String,
        /// Whether more than one label will do.
        deep: bool,
    },
}

impl HostPattern {
    /// Whether a host fits: lower case, without a trailing dot or brackets.
    pub fn fits(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => name == host,
            Self::Address(address) => host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == *address),
            Self::Below { name, deep } => host
                .strip_suffix(name.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty() && (*deep || !rest.contains('.'))),
        }
    }

    /// The part of all hosts that it is about: a name with all that is below it, or an address; none for every host.
    pub fn subtree(&self) -> Option<Subtree<'_>> {
        match self {
            Self::Any => None,
            Self::Name(name) | Self::Below { name, .. } => Some(Subtree::Name(name)),
            Self::Address(address) => Some(Subtree::Address(*address)),
        }
    }
}

/// A part of all hosts, as a certificate authority can be confined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subtree<'a> {
    /// A name, and all that is below it.
    Name(&'a str),
    /// An address.
    Address(IpAddr),
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (pattern, bare) = match (name.strip_prefix("**."), name.strip_prefix("*.")) {
            (Some(bare), _) => (Some(true), bare),
            (None, Some(bare)) => (Some(false), bare),
            (None, None) => (None, &*name),
        };
        let is_name = !bare.is_empty()
            && bare.len() <= 255
            && bare.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            });
        if !is_name {
            return Err(format!(
                "`{text}` is no host: write a name such as api.example.com, *.example.com, an address, or *"
            ));
        }
        let name = bare.to_owned();
        Ok(match pattern {
            None => Self::Name(name),
            Some(deep) => Self::Below { name, deep },
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
            Self::Below { name, deep } => write!(f, "{}.{name}", if *deep { "**" } else { "*" }),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, host: &str, expected: bool) {
        let read: HostPattern = pattern.parse().expect(pattern);
        assert_eq!(read.fits(host), expected, "{pattern} and {host}");
    }

    #[test]
    fn patterns_fit_hosts() {
        for (pattern, host, expected) in [
            ("*", "anything.test", true),
            ("*", "10.0.0.1", true),
            ("API.Example.com.", "api.example.com", true),
            ("example.com", "api.example.com", false),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("**.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "badexample.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("[::ffff:10.0.0.1]", "10.0.0.1", true),
            ("::1", "::1", true),
            ("10.0.0.1", "10.0.0.10", false),
        ] {
            check(pattern, host, expected);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", ".", "a b", "a..b", "*a", "a.*.b", "http://a", "a:443", "*."] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
    }
}
