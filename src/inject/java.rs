//! The JVM's options: its proxy and its trust store are set by system properties, which reach every JVM by `JAVA_TOOL_OPTIONS` alone.
//!
//! The options on a command line win over it, and of two in the variable the later wins; so what amb adds stands
//! behind what the user has there, and yields to what the user types.

use std::{
    ffi::{OsStr, OsString},
    net::Ipv4Addr,
};

use super::{Environment, Loopback, families::Target, no_proxy};

/// The variable.
pub(super) const TOOL_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// How many bytes the variable may have: Java 8 ignores the whole of a longer one (`OPTION_BUFFER_SIZE` of `HotSpot`,
/// less the final zero).
const LONGEST: usize = 1023;

/// The most patterns that one network of `NO_PROXY` may become: enough for `172.16.0.0/12`.
const MOST_PATTERNS: u32 = 16;

/// The property that holds the exceptions, for `https` too.
const EXCEPTIONS: &str = "-Dhttp.nonProxyHosts=";

/// The value for the child; `None` where Java 8 would lose the user's own options to ours.
///
/// If the exceptions make the value too long, they are left out but for loopback: what they name is then reached by way
/// of the proxy, which reaches it as well.
pub(super) fn tool_options(target: &Target<'_>) -> Option<OsString> {
    let own = target.inherited.get(OsStr::new(TOOL_OPTIONS)).copied();
    let with = |patterns: &[String]| {
        let mut value = own.unwrap_or_default().to_owned();
        if !value.is_empty() {
            value.push(" ");
        }
        let (host, port) = (target.proxy.ip(), target.proxy.port());
        for option in target.certificates.iter().flat_map(|files| &files.java_options) {
            value.push(option);
            value.push(" ");
        }
        value.push(format!(
            "-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} -Dhttps.proxyHost={host} -Dhttps.proxyPort={port} \
             {EXCEPTIONS}{}",
            patterns.join("|")
        ));
        value
    };
    let value = with(&patterns(target));
    // Whoever has more than Java 8 can read does not use Java 8.
    if value.len() <= LONGEST || own.is_some_and(|own| own.len() > LONGEST) {
        return Some(value);
    }
    let value = with(&loopback(target.loopback));
    (value.len() <= LONGEST).then_some(value)
}

/// The exceptions: loopback, the child's `NO_PROXY` in Java's words, and what the user's own options except.
///
/// An empty list is not the same as none: Java's own default excepts loopback, the empty one excepts nothing.
fn patterns(target: &Target<'_>) -> Vec<String> {
    let mut patterns: Vec<String> = Vec::new();
    let own = own_exceptions(target.inherited);
    let own = own.into_iter().filter(|host| match target.loopback {
        Loopback::Direct => true,
        Loopback::Proxied => !no_proxy::is_loopback(host),
        Loopback::Confined => false,
    });
    let translated = target.no_proxy.iter().flat_map(|entry| translate(entry));
    for pattern in loopback(target.loopback).into_iter().chain(own).chain(translated) {
        if is_plain(&pattern) && !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    patterns
}

/// Java's words for this machine, where they are wanted.
fn loopback(loopback: Loopback) -> Vec<String> {
    match loopback {
        Loopback::Direct => ["localhost", "127.*", "[::1]"].map(str::to_owned).to_vec(),
        Loopback::Proxied | Loopback::Confined => Vec::new(),
    }
}

/// What the user's own options except, from the last option that says so.
fn own_exceptions(inherited: &Environment<'_>) -> Vec<String> {
    let options = inherited
        .get(OsStr::new(TOOL_OPTIONS))
        .map(|options| options.to_string_lossy().into_owned());
    let options = options.unwrap_or_default();
    // A quoted option is one whose value may hold a space, which no host does: unquoted, it reads the same.
    let options = options.replace(['"', '\''], "");
    let mut exceptions = options
        .split_whitespace()
        .filter_map(|option| option.strip_prefix(EXCEPTIONS));
    exceptions
        .next_back()
        .map(|hosts| hosts.split('|').map(str::to_owned).collect())
        .unwrap_or_default()
}

/// One entry of `NO_PROXY` as patterns of Java, which have `*` at their start or end only, and no ports.
///
/// What cannot be said is left out, rather than said wider: an entry with a port, an IPv6 network, a network of IPv4
/// that would take more than [`MOST_PATTERNS`].
fn translate(entry: &str) -> Vec<String> {
    if no_proxy::without_port(entry) != entry {
        return Vec::new();
    }
    if let Some((address, bits)) = entry.split_once('/') {
        return match (address.parse(), bits.parse()) {
            (Ok(address), Ok(bits)) => network(address, bits),
            _ => Vec::new(),
        };
    }
    if entry.contains(':') {
        let address = entry.trim_start_matches('[').trim_end_matches(']');
        return vec![format!("[{address}]")];
    }
    if entry.contains('*') || entry.parse::<Ipv4Addr>().is_ok() {
        return vec![entry.to_owned()];
    }
    let name = entry.trim_start_matches('.');
    // For most clients a name stands for what is below it, too.
    vec![name.to_owned(), format!("*.{name}")]
}

/// The patterns for an IPv4 network: whole bytes, then `*`.
fn network(address: Ipv4Addr, bits: u8) -> Vec<String> {
    if bits > 32 {
        return Vec::new();
    }
    if bits == 0 {
        return vec!["*".to_owned()];
    }
    let whole_bytes = bits.div_ceil(8);
    let count = 1_u32 << (whole_bytes * 8 - bits);
    if count > MOST_PATTERNS {
        return Vec::new();
    }
    let first = address.to_bits() & (u32::MAX << (32 - bits));
    let step = 32 - u32::from(whole_bytes) * 8;
    (0..count)
        .map(|index| {
            let octets = Ipv4Addr::from_bits(first | (index << step)).octets();
            let shown = octets
                .iter()
                .take(whole_bytes.into())
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join(".");
            if whole_bytes == 4 { shown } else { format!("{shown}.*") }
        })
        .collect()
}

/// Whether a pattern can stand in the variable, where white space divides and quotes quote.
fn is_plain(pattern: &str) -> bool {
    !pattern.is_empty()
        && pattern
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".*:[]_-%".contains(&byte))
}
