//! Which hosts: names, globs of names, addresses, networks, each with a port if need be.
//!
//! In a glob `*` is one label or a part of one, `**` is one label or more: `*.example.com` fits `a.example.com`, and neither
//! `a.b.example.com` nor `example.com`. A `*` by itself fits every host. Names fit names and addresses fit addresses: no
//! glob of names lets an address in.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{glob::Glob, port::number};

/// Hosts, and a port if only one will do: `api.example.com`, `*.example.com:443`, `10.0.0.0/8`, `[::1]:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// As it was written.
    written: String,
    /// Which hosts.
    hosts: Hosts,
    /// 1 to 65535; none fits any.
    port: Option<u16>,
}

/// A part of all hosts, as a certificate authority can be confined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subtree<'a> {
    /// A name, and all that is below it.
    Name(&'a str),
    /// The addresses whose first bits are those of this one.
    Network(IpAddr, u8),
}

/// Hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// All.
    Any,
    /// A name: lower case, no trailing dot.
    Name(String),
    /// What is one label below a name, and all that is below it if `deep`. The name begins with a dot.
    Below {
        /// The name.
        name: String,
        /// Whether more than one label will do.
        deep: bool,
    },
    /// Names of this form.
    Labels(Vec<Label>),
    /// The addresses whose first bits are those of this one; IPv4 where it is mapped into IPv6.
    Network(IpAddr, u8),
}

/// A label of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// One of this form.
    One(Glob),
    /// One or more, whatever they are.
    Many,
}

impl HostPattern {
    /// Every host.
    pub fn any() -> Self {
        Self {
            written: "*".to_owned(),
            hosts: Hosts::Any,
            port: None,
        }
    }

    /// Whether a host fits: `name` lower case, without a trailing dot or brackets; `address` is what it is if it is one,
    /// canonical.
    pub fn fits(&self, name: &str, address: Option<IpAddr>, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
            && match (&self.hosts, address) {
                (Hosts::Any, _) => true,
                (Hosts::Network(network, bits), Some(address)) => is_in(*network, *bits, address),
                (Hosts::Network(..), None) | (_, Some(_)) => false,
                (Hosts::Name(known), None) => known == name,
                (Hosts::Below { name: below, deep }, None) => name
                    .strip_suffix(below.as_str())
                    .is_some_and(|rest| !rest.is_empty() && (*deep || !rest.contains('.'))),
                (Hosts::Labels(labels), None) => fit(labels, Some(name)),
            }
    }

    /// Whether it fits whatever `other` fits. False where that cannot be told.
    pub fn covers(&self, other: &Self) -> bool {
        let port = self.port.is_none() || self.port == other.port;
        port && match (&self.hosts, &other.hosts) {
            (Hosts::Any, _) => true,
            (Hosts::Network(own, own_bits), Hosts::Network(address, bits)) => {
                own_bits <= bits && is_in(*own, *own_bits, *address)
            }
            (Hosts::Name(_) | Hosts::Below { .. } | Hosts::Labels(_), Hosts::Name(name)) => {
                self.fits(name, None, other.port.or(self.port).unwrap_or(0))
            }
            (
                Hosts::Below { name: own, deep },
                Hosts::Below {
                    name,
                    deep: other_is_deep,
                },
            ) => own == name && (*deep || !other_is_deep) || *deep && name.ends_with(own.as_str()),
            (own, other) => own == other,
        }
    }

    /// A part of all hosts in which it is: a name with all that is below it, or a network; none if it may be anywhere.
    pub fn subtree(&self) -> Option<Subtree<'_>> {
        match &self.hosts {
            Hosts::Any | Hosts::Labels(_) => None,
            Hosts::Name(name) => Some(Subtree::Name(name)),
            Hosts::Below { name, .. } => Some(Subtree::Name(name.trim_start_matches('.'))),
            Hosts::Network(address, bits) => Some(Subtree::Network(*address, *bits)),
        }
    }

    /// Whether every host fits.
    pub fn is_any(&self) -> bool {
        match &self.hosts {
            Hosts::Any | Hosts::Network(_, 0) => true,
            Hosts::Labels(labels) => labels.iter().all(|label| match label {
                Label::Many => true,
                Label::One(glob) => glob.fits(b"") && glob.fits(b"any-label"),
            }),
            Hosts::Name(_) | Hosts::Below { .. } | Hosts::Network(..) => false,
        }
    }

    /// Whether it is about addresses.
    pub fn is_network(&self) -> bool {
        matches!(self.hosts, Hosts::Network(..))
    }

    /// Which hosts, whatever the port.
    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Whether only one port will do.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// The name, if exactly one fits.
    pub fn name(&self) -> Option<&str> {
        match &self.hosts {
            Hosts::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// Whether labels fit what is left of a name; none of it is left behind the last dot.
fn fit(labels: &[Label], name: Option<&str>) -> bool {
    let Some((label, labels)) = labels.split_first() else {
        return name.is_none();
    };
    let Some(name) = name else { return false };
    let split = |name| match str::split_once(name, '.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let (first, mut rest) = split(name);
    match label {
        Label::One(glob) => !first.is_empty() && glob.fits(first.as_bytes()) && fit(labels, rest),
        Label::Many => loop {
            if fit(labels, rest) {
                return true;
            }
            match rest {
                Some(name) => rest = split(name).1,
                None => return false,
            }
        },
    }
}

/// Whether the address is in the network.
fn is_in(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    network.is_ipv4() == address.is_ipv4() && first_bits(network, bits) == first_bits(address, bits)
}

/// The first bits of an address, as the low bits of a number.
pub(super) fn first_bits(address: IpAddr, bits: u8) -> u128 {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    number.checked_shr(width - u32::from(bits)).unwrap_or(0)
}

/// Reads an address or a network: `10.0.0.1`, `10.0.0.0/8`, `::1`; `Err` if it looks like a network and is none.
fn network(text: &str) -> Result<Option<Hosts>, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    let Ok(read) = bare.parse::<IpAddr>() else {
        return Ok(None);
    };
    let width = if read.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => width,
        Some(bits) => match bits.parse::<u8>() {
            Ok(number) if number <= width && !bits.starts_with('+') => number,
            // With a port behind it, which is not looked for here.
            _ if bits.contains(':') => return Ok(None),
            _ => {
                return Err(format!(
                    "`{text}` is no network: behind the / stands a number from 0 to {width}"
                ));
            }
        },
    };
    let address = read.to_canonical();
    // A mapped network is one of IPv4 as far as it is about the last 32 bits.
    let bits = match (read, address) {
        (IpAddr::V6(_), IpAddr::V4(_)) if bits >= 96 => bits - 96,
        (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(Some(Hosts::Network(read, bits))),
        _ => bits,
    };
    Ok(Some(Hosts::Network(address, bits)))
}

/// Reads a name or a glob of names.
fn names(text: &str) -> Result<Hosts, String> {
    if matches!(text, "*" | "**") {
        return Ok(Hosts::Any);
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err("a host is missing".to_owned());
    }
    if !name.is_ascii() {
        return Err(format!(
            "`{text}` is not ASCII: write the name as it is looked up (xn--…)"
        ));
    }
    if let Some(rest) = name.strip_prefix('.') {
        return Err(format!(
            "`{text}` begins with a dot: write `*.{rest}` for what is one label below, `**.{rest}` for all below"
        ));
    }
    let labels: Vec<&str> = name.split('.').collect();
    if labels.iter().any(|label| label.is_empty()) {
        return Err(format!("`{text}` has two dots in a row"));
    }
    let odd = |character: char| !character.is_ascii_alphanumeric() && !"-_~*".contains(character);
    if let Some(odd) = labels
        .iter()
        .find_map(|label| label.chars().find(|character| odd(*character)))
    {
        return Err(format!(
            "`{text}` is no host: `{}` stands in no name",
            odd.escape_debug()
        ));
    }
    if !name.contains('*') {
        return Ok(Hosts::Name(name));
    }
    let is_number = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*');
    if labels.iter().all(is_number) && name.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "`{text}` is no glob of names: addresses are written as a network, such as 10.0.0.0/8"
        ));
    }
    if let Some(label) = labels.iter().find(|label| label.contains("**") && **label != "**") {
        return Err(format!(
            "`{text}` is no host: `**` stands for whole labels, and not for a part of `{label}`"
        ));
    }
    if let [first @ ("*" | "**"), rest @ ..] = labels.as_slice()
        && !rest.is_empty()
        && !rest.iter().any(|label| label.contains('*'))
    {
        return Ok(Hosts::Below {
            name: format!(".{}", rest.join(".")),
            deep: *first == "**",
        });
    }
    let label = |label: &str| match label {
        "**" => Label::Many,
        other => Label::One(Glob::of_stars(other.as_bytes())),
    };
    Ok(Hosts::Labels(labels.into_iter().map(label).collect()))
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |hosts, port| {
            Ok(Self {
                written: text.to_owned(),
                hosts,
                port,
            })
        };
        if text.contains("://") {
            return Err(format!(
                "`{text}` is a URL: a host is what stands between // and the next /"
            ));
        }
        // An IPv6 address without brackets has colons of its own, and then no port.
        if let Some(hosts) = network(text)? {
            return of(hosts, None);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, digits)) => (
                host,
                Some(number(digits).map_err(|reason| format!("`{text}`: {reason}"))?),
            ),
            None => (text, None),
        };
        if let Some(hosts) = network(host)? {
            return of(hosts, port);
        }
        if host.contains(':') || host.contains(['[', ']']) {
            return Err(format!("`{host}` is no IPv6 address"));
        }
        of(names(host)?, port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for HostPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a host such as api.example.com, *.example.com:443 or 10.0.0.0/8",
            "minLength": 1,
        })
    }
}

/// Reads the authority of a request, `host[:port]`: the host as policies compare it, and the port or else the `usual` one.
///
/// # Errors
/// It is none, or the port is missing.
pub fn of_request(text: &str, usual: Option<u16>) -> Result<(String, u16), String> {
    let pattern: HostPattern = text.parse()?;
    let host = match pattern.hosts {
        Hosts::Name(name) => name,
        Hosts::Network(address, 32) if address.is_ipv4() => address.to_string(),
        Hosts::Network(address, 128) => address.to_string(),
        _ => return Err(format!("`{text}` is no host")),
    };
    let port = pattern.port.or(usual);
    Ok((host, port.ok_or_else(|| format!("`{text}` has no port"))?))
}
