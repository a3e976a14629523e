//! `NO_PROXY`: what is reached without the proxy.
//!
//! There is no standard. This takes what any of the common clients take: `*`; names, with or without a leading dot,
//! which stand for what is below them too; `*.name`, which stands for that alone; addresses; networks; and any of
//! these with a `:port`. What cannot be read matches nothing, as everywhere.

use std::net::{IpAddr, Ipv6Addr};

/// The entries of `NO_PROXY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions(Vec<Exception>);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    /// Which hosts.
    hosts: Hosts,
    /// Which port; `None` is all of them.
    port: Option<u16>,
}

/// The hosts of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// `*`
    All,
    /// A name and all below it; lower case, no dot at either end.
    Domain(String),
    /// All below a name, but not the name; written as for [`Hosts::Domain`].
    Below(String),
    /// The addresses whose first bits are those of this one.
    Network(IpAddr, u8),
}

/// A host to look for.
#[derive(Debug)]
pub(super) enum Host {
    /// An address; IPv4 where it is mapped into IPv6.
    Address(IpAddr),
    /// A name in lower case, without a final dot.
    Name(String),
}

impl Host {
    /// Reads a host, with or without the brackets of an IPv6 address.
    pub(super) fn read(text: &str) -> Self {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::Name(bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase()),
        }
    }

    /// Whether it is this machine by a name or an address that is never anything else
    /// ([RFC 6761 §6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)); connecting to `0.0.0.0` leads here, too.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback() || address.is_unspecified(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl Exceptions {
    /// Reads values of `NO_PROXY`, with commas or white space between the entries.
    pub(super) fn read(values: impl Iterator<Item = String>) -> Self {
        let mut exceptions = Vec::new();
        for value in values {
            let entries = value.split(|separator: char| separator == ',' || separator.is_whitespace());
            exceptions.extend(entries.filter_map(Exception::read));
        }
        Self(exceptions)
    }

    /// Whether the host at this port is one of them.
    pub(super) fn contain(&self, host: &Host, port: u16) -> bool {
        self.0
            .iter()
            .any(|exception| exception.port.is_none_or(|only| only == port) && exception.hosts.contain(host))
    }
}

impl Exception {
    /// Reads an entry; `None` if it can match nothing.
    fn read(entry: &str) -> Option<Self> {
        let whole = |hosts| Some(Self { hosts, port: None });
        // An IPv6 address without brackets has colons of its own, and then no port.
        if let Some(network) = network(entry) {
            return whole(network);
        }
        let (hosts, port) = match entry.rsplit_once(':') {
            Some((hosts, port)) => (hosts, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let hosts = network(hosts).or_else(|| names(hosts))?;
        Some(Self { hosts, port })
    }
}

impl Hosts {
    /// Whether the host is one of these.
    fn contain(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(domain), Host::Name(name)) => name == domain || is_below(name, domain),
            (Self::Below(domain), Host::Name(name)) => is_below(name, domain),
            (Self::Network(network, bits), Host::Address(address)) => {
                network.is_ipv4() == address.is_ipv4() && first_bits(*network, *bits) == first_bits(*address, *bits)
            }
            _ => false,
        }
    }
}

/// Whether `name` ends in `.domain`.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|below| below.len() > 1 && below.ends_with('.'))
}

/// Reads an address, or a network as ADDRESS/BITS, either with the brackets of IPv6 or without.
fn network(text: &str) -> Option<Hosts> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    // The brackets may go around the bits as well.
    let (bare, bits) = match (bare.strip_prefix('['), bits.and_then(|bits| bits.strip_suffix(']'))) {
        (Some(bare), Some(bits)) => (bare, Some(bits)),
        _ => (bare, bits),
    };
    let address: IpAddr = bare.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= longest)?,
        None => longest,
    };
    match (address, address.to_canonical()) {
        // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if bits >= 96 => Some(Hosts::Network(mapped, bits - 96)),
        _ => Some(Hosts::Network(address, bits)),
    }
}

/// Reads `*`, a name, `.name` or `*.name`.
fn names(text: &str) -> Option<Hosts> {
    if text == "*" {
        return Some(Hosts::All);
    }
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text.trim_start_matches('.')),
    };
    match (name.is_empty(), below) {
        (true, _) => None,
        (false, true) => Some(Hosts::Below(name.to_owned())),
        (false, false) => Some(Hosts::Domain(name.to_owned())),
    }
}

/// The first `bits` of an address, the others zero.
fn first_bits(address: IpAddr, bits: u8) -> u128 {
    let (address, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (Ipv6Addr::to_bits(address), 128),
    };
    let rest = u32::from(width - bits.min(width));
    // A shift by the whole width would overflow; nothing is left of the address then.
    address.checked_shr(rest).unwrap_or(0)
}
