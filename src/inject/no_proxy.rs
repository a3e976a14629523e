//! The child's `NO_PROXY`: the user's entries, what amb was told to add, loopback, and the proxy itself.

use std::{
    ffi::OsStr,
    net::{IpAddr, SocketAddr},
};

use super::{Environment, Loopback};

/// The names and addresses of this machine, as every client matches them.
///
/// No CIDR (`127.0.0.0/8`), which .NET and older curls do not know. No brackets: httpx dies on `[::1]`, and curl and
/// wget compare addresses as they are written, so that no other spelling than `::1` does.
///
/// Known limit: Ruby takes a colon for the beginning of a port, reads `::1` as `1`, and then goes direct to every IPv4
/// address ending in `.1` that is written as a number.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The entries of the child's `NO_PROXY`, in order, none twice.
///
/// The user's own come first, those of the lower-case variable before those of the upper-case one: clients differ in
/// which of the two they read, so both get the same list. A value that is `*` and nothing else stays so: curl and Python
/// know it only as the whole value.
///
/// The proxy's own `ADDRESS:PORT` is last, where no loopback entry covers it. Under `NODE_USE_ENV_PROXY`, axios asks
/// Node for a connection *to the proxy*, which Node would ask the proxy for in turn
/// ([axios 7299](https://github.com/axios/axios/issues/7299); with axios 1.13.2 on Node 24 every request fails without
/// this entry). Clients that read a port in an entry (Node, Go, Ruby, Python's urllib) match that port alone, the others
/// compare the whole entry to a host and never find it: for nobody does it open the way to all of `127.0.0.1`. An IPv6
/// address would need brackets there, so it is left out.
pub(super) fn merge(
    inherited: &Environment<'_>,
    proxy: SocketAddr,
    extra: &[String],
    loopback: Loopback,
) -> Vec<String> {
    if loopback == Loopback::Confined {
        return proxy.is_ipv4().then(|| proxy.to_string()).into_iter().collect();
    }
    let mut entries: Vec<String> = Vec::new();
    let mut add = |entry: &str| {
        if !entries.iter().any(|known| known.eq_ignore_ascii_case(entry)) {
            entries.push(entry.to_owned());
        }
    };
    for name in ["no_proxy", "NO_PROXY"] {
        let value = inherited.get(OsStr::new(name)).map(|value| value.to_string_lossy());
        let value = value.as_deref().unwrap_or_default();
        if value.trim() == "*" {
            return vec!["*".to_owned()];
        }
        for entry in split(value) {
            if loopback == Loopback::Direct || !is_loopback(entry) {
                add(entry);
            }
        }
    }
    // Named for this run, so they stay even where they are loopback and loopback is proxied.
    extra.iter().flat_map(|entry| split(entry)).for_each(&mut add);
    if loopback == Loopback::Direct {
        LOOPBACK.into_iter().for_each(&mut add);
    }
    let is_covered = loopback == Loopback::Direct && LOOPBACK.contains(&proxy.ip().to_string().as_str());
    if proxy.is_ipv4() && !is_covered {
        add(&proxy.to_string());
    }
    if extra.iter().any(|entry| entry.trim() == "*") {
        return vec!["*".to_owned()];
    }
    entries
}

/// The entries of one value: separated by commas, and by white space as curl and Ruby have it.
pub(super) fn split(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|separator: char| separator == ',' || separator.is_whitespace())
        .filter(|entry| !entry.is_empty())
}

/// Whether an entry stands for this machine and nothing else, with or without a port.
pub(super) fn is_loopback(entry: &str) -> bool {
    let host = without_port(entry);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let name = host.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain" || name == "ip6-localhost"
    {
        return true;
    }
    let address = match host.split_once('/') {
        // A network is loopback if it reaches no further than 127.0.0.0/8 or ::1/128.
        Some((address, bits)) => match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
            (Ok(IpAddr::V4(address)), Ok(bits)) if bits >= 8 => IpAddr::V4(address),
            (Ok(IpAddr::V6(address)), Ok(128)) => IpAddr::V6(address),
            _ => return false,
        },
        None if host == "127.*" => return true,
        None => match host.parse() {
            Ok(address) => address,
            Err(_) => return false,
        },
    };
    address.to_canonical().is_loopback()
}

/// The entry without its `:PORT`; an IPv6 address without brackets has none.
pub(super) fn without_port(entry: &str) -> &str {
    match entry.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => entry,
    }
}
