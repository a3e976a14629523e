//! Where a name is reached: `[connect-to]` sends a connection to another host, `[resolve]` to another address.
//!
//! Both change only where the connection goes. The `Host` header, the name in TLS and the record keep what the
//! client asked for, so that staging and tests see the requests of production.
//!
//! Syntax and order are curl's: `--connect-to` first, then `--resolve` with the host and port it led to. Where several
//! entries fit, curl takes the first; here the most particular one wins (host and port, then host, then port), because
//! tables, variables and flags are merged by key and have no order between them.
//!
//! Source: <https://curl.se/docs/manpage.html#--connect-to>, <https://curl.se/docs/manpage.html#--resolve>

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// [`Place`] as a pattern, for the schema: no more than a sieve.
const PLACE_PATTERN: &str = r"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):[0-9]*$";

/// [`Name`] as a pattern, for the schema.
const NAME_PATTERN: &str = r"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):[0-9]+$";

/// Connections that go to another host or port: the table `[connect-to]`, the flag `--connect-to`.
///
/// Default: none. Of two entries for the same place, the later one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Requests")]
pub struct ConnectToOptions {
    /// Connect to HOST2:PORT2 instead of HOST:PORT; an empty HOST or PORT fits any
    ///
    /// An empty HOST2 or PORT2 stays as it was. IPv6 addresses stand in brackets. Repeatable.
    #[arg(
        id = "connect-to",
        long = "connect-to",
        value_name = "HOST:PORT:HOST2:PORT2",
        value_hint = clap::ValueHint::Other
    )]
    pub redirects: Vec<Redirect>,
}

/// Names that stand for given addresses: the table `[resolve]`, the flag `--resolve`.
///
/// Default: none. Of two entries for the same name and port, the later one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Requests")]
pub struct ResolveOptions {
    /// Use this address for HOST and PORT instead of asking the resolver; HOST may be *
    ///
    /// Several addresses are tried in their order. A + in front of HOST, which makes curl forget the address after a
    /// minute, changes nothing: it holds for the whole run. Repeatable.
    #[arg(
        id = "resolve",
        long = "resolve",
        value_name = "HOST:PORT:ADDR[,ADDR]",
        value_hint = clap::ValueHint::Other
    )]
    pub entries: Vec<Resolution>,
}

impl ConnectToOptions {
    /// Whether nothing is redirected.
    pub fn is_empty(&self) -> bool {
        self.redirects.is_empty()
    }
}

impl ResolveOptions {
    /// Whether every name is resolved as usual.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// One entry of [`ConnectToOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Which connections it is about; an absent part fits any.
    pub from: Place,
    /// Where they go; an absent part stays as it was.
    pub to: Place,
}

/// One entry of [`ResolveOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Which connections it is about.
    pub name: Name,
    /// Where they go.
    pub addresses: Addresses,
}

/// A host and a port, each of which may be left out: `api.example.com:443`, `:443`, `[::1]:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Lower case, no trailing dot, no brackets.
    pub host: Option<String>,
    /// 1 to 65535.
    pub port: Option<u16>,
}

/// What `[resolve]` is keyed by: `api.example.com:443`, `*:443`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Lower case, no trailing dot, no brackets; none for `*`, which fits any.
    pub host: Option<String>,
    /// 1 to 65535.
    pub port: u16,
}

/// One address or more, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpAddr>);

/// Where names are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The most particular first.
    redirects: Vec<Redirect>,
    /// Names before `*`.
    resolutions: Vec<Resolution>,
}

impl Reach {
    /// Puts both tables in the order in which they are searched.
    pub fn build(connect_to: ConnectToOptions, resolve: ResolveOptions) -> Self {
        let mut redirects = connect_to.redirects;
        // Reversed, and the sort is stable: of two entries for one place, the later one is found first.
        redirects.reverse();
        redirects.sort_by_key(|entry| (entry.from.host.is_none(), entry.from.port.is_none()));
        let mut resolutions = resolve.entries;
        resolutions.reverse();
        resolutions.sort_by_key(|entry| entry.name.host.is_none());
        Self { redirects, resolutions }
    }

    /// What is redirected, for people: a sentence each, in the order in which they are searched.
    pub fn rules(&self) -> Vec<String> {
        let part = |place: &Place, any: &str, any_port: &str| match (&place.host, place.port) {
            (None, None) => format!("{any}, {any_port}"),
            (Some(host), None) => format!("{host}, {any_port}"),
            (None, Some(port)) => format!("{any}, port {port}"),
            (Some(_), Some(_)) => place.to_string(),
        };
        let redirects = self.redirects.iter().map(|entry| {
            let from = part(&entry.from, "any host", "any port");
            let to = part(&entry.to, "the same host", "the same port");
            format!("connections to {from} go to {to}")
        });
        let resolutions = self.resolutions.iter().map(|entry| {
            let Resolution { name, addresses } = entry;
            format!("{name} is at {addresses}, without asking the resolver")
        });
        redirects.chain(resolutions).collect()
    }

    /// The host and port to connect to for a request to `host` (no brackets) and `port`.
    pub fn target<'a>(&'a self, host: &'a str, port: u16) -> (&'a str, u16) {
        let found = self.redirects.iter().find(|entry| {
            entry.from.port.is_none_or(|wanted| wanted == port) && host_fits(entry.from.host.as_deref(), host)
        });
        found.map_or((host, port), |entry| {
            (entry.to.host.as_deref().unwrap_or(host), entry.to.port.unwrap_or(port))
        })
    }

    /// Whether something is said of where this host is reached at this port.
    pub fn knows(&self, host: &str, port: u16) -> bool {
        let target = self.target(host, port);
        target != (host, port) || self.addresses(target.0, target.1).is_some()
    }

    /// Whether there is nothing that is said of any.
    pub fn is_empty(&self) -> bool {
        self.redirects.is_empty() && self.resolutions.is_empty()
    }

    /// Whether a connection to there stays on this machine, as far as that is known without asking the resolver.
    pub fn stays_here(&self, host: &str, port: u16) -> bool {
        let (host, port) = self.target(host, port);
        match self.addresses(host, port) {
            Some(addresses) => addresses.iter().all(|address| address.to_canonical().is_loopback()),
            None => {
                host == "localhost"
                    || host.ends_with(".localhost")
                    || host
                        .parse::<IpAddr>()
                        .is_ok_and(|address| address.to_canonical().is_loopback())
            }
        }
    }

    /// The addresses that are given for `host` and `port`, as [`Reach::target`] returned them; none asks the resolver.
    pub fn addresses(&self, host: &str, port: u16) -> Option<&[IpAddr]> {
        self.resolutions
            .iter()
            .find(|entry| entry.name.port == port && host_fits(entry.name.host.as_deref(), host))
            .map(|entry| entry.addresses.0.as_slice())
    }
}

/// Whether `host` is the one that is `wanted`; none wants any.
fn host_fits(wanted: Option<&str>, host: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(host.strip_suffix('.').unwrap_or(host)))
}

impl FromStr for Redirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is not of the form HOST:PORT:HOST2:PORT2");
        let (from_host, rest) = split_host(text).ok_or_else(shape)?;
        let (from_port, to) = rest.split_once(':').ok_or_else(shape)?;
        let (to_host, to_port) = split_host(to).ok_or_else(shape)?;
        Ok(Self {
            from: Place::new(from_host, from_port)?,
            to: Place::new(to_host, to_port)?,
        })
    }
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is not of the form HOST:PORT:ADDR[,ADDR]");
        let (host, rest) = split_host(text.strip_prefix('+').unwrap_or(text)).ok_or_else(shape)?;
        let (port, addresses) = rest.split_once(':').ok_or_else(shape)?;
        Ok(Self {
            name: Name::new(host, port)?,
            addresses: addresses.parse()?,
        })
    }
}

impl Place {
    /// From the two parts as written; either may be empty.
    fn new(host: &str, port: &str) -> Result<Self, String> {
        Ok(Self {
            host: (!host.is_empty()).then(|| parse_host(host)).transpose()?,
            port: (!port.is_empty()).then(|| parse_port(port)).transpose()?,
        })
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) =
            split_host(text).ok_or_else(|| format!("`{text}` has no port: write `{text}:80`, or `{text}:` for any"))?;
        Self::new(host, port)
    }
}

impl Name {
    /// From the two parts as written.
    fn new(host: &str, port: &str) -> Result<Self, String> {
        Ok(Self {
            host: (host != "*").then(|| parse_host(host)).transpose()?,
            port: if matches!(port, "" | "*") {
                return Err(format!(
                    "`{host}` needs a port here; for any port use `connect-to` with `{host}::ADDR:`"
                ));
            } else {
                parse_port(port)?
            },
        })
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = split_host(text).ok_or_else(|| format!("`{text}` has no port: write `{text}:80`"))?;
        Self::new(host, port)
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(parse_address).collect::<Result<_, _>>().map(Self)
    }
}

/// Splits at the colon behind the host, which may be an IPv6 address in brackets; none without such a colon.
fn split_host(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('[') {
        let end = text.find(']')? + 1;
        return Some((&text[..end], text[end..].strip_prefix(':')?));
    }
    text.split_once(':')
}

/// A host as it is compared: lower case, no trailing dot, no brackets.
fn parse_host(text: &str) -> Result<String, String> {
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return match inside.parse::<IpAddr>() {
            Ok(address @ IpAddr::V6(_)) => Ok(address.to_string()),
            _ => Err(format!("`{text}` is not an IPv6 address in brackets")),
        };
    }
    let host = text.strip_suffix('.').unwrap_or(text);
    let foreign = |byte: u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') || byte >= 0x80);
    if host.is_empty() || host.bytes().any(foreign) {
        return Err(format!("`{text}` is not a host name"));
    }
    Ok(host.to_ascii_lowercase())
}

/// A port, 1 to 65535.
fn parse_port(text: &str) -> Result<u16, String> {
    // `u16` reads "+80" as well.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(format!(
            "`{text}` is not a port (1 to 65535); an IPv6 address stands in brackets"
        )),
    }
}

/// An address; an IPv6 address may stand in brackets.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .map_err(|_| format!("`{text}` is not an IP address; `connect-to` takes a name"))
}

/// Writes a host, an IPv6 address in brackets.
fn write_host(f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]")
    } else {
        f.write_str(host)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, self.host.as_deref().unwrap_or_default())?;
        f.write_str(":")?;
        self.port.map_or(Ok(()), |port| write!(f, "{port}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, self.host.as_deref().unwrap_or("*"))?;
        write!(f, ":{}", self.port)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            write_host(f, &address.to_string())?;
        }
        Ok(())
    }
}

/// Reads and writes a type as the text that its `FromStr` and `Display` know.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

as_text!(Place, Name);

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressesVisitor)
    }
}

/// Reads [`Addresses`] from one text or from a list of addresses.
struct AddressesVisitor;

impl<'de> de::Visitor<'de> for AddressesVisitor {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
        let mut addresses = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            addresses.push(parse_address(&text).map_err(de::Error::custom)?);
        }
        if addresses.is_empty() {
            return Err(de::Error::custom(
                "there is no address in the list: leave the entry out to ask the resolver",
            ));
        }
        Ok(Addresses(addresses))
    }
}

impl JsonSchema for ConnectToOptions {
    fn schema_name() -> Cow<'static, str> {
        "ConnectTo".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": PLACE_PATTERN },
            "additionalProperties": { "type": "string", "title": "HOST2:PORT2", "pattern": PLACE_PATTERN },
            "x-entry": "HOST:PORT",
            "x-danger": "sends requests to another host than the one they name",
        })
    }
}

impl JsonSchema for ResolveOptions {
    fn schema_name() -> Cow<'static, str> {
        "Resolve".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": NAME_PATTERN },
            "additionalProperties": {
                "title": "an address, or a list of them",
                "anyOf": [
                    { "type": "string", "minLength": 1 },
                    { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } },
                ],
            },
            "x-entry": "HOST:PORT",
            "x-danger": "sends requests to another address than their name has",
        })
    }
}

impl Serialize for ConnectToOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.redirects.iter().map(|entry| (&entry.from, &entry.to)))
    }
}

impl<'de> Deserialize<'de> for ConnectToOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<Place, Place>::deserialize(deserializer)?;
        Ok(Self {
            redirects: table.into_iter().map(|(from, to)| Redirect { from, to }).collect(),
        })
    }
}

impl Serialize for ResolveOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries.iter().map(|entry| (&entry.name, &entry.addresses)))
    }
}

impl<'de> Deserialize<'de> for ResolveOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<Name, Addresses>::deserialize(deserializer)?;
        let entries = table
            .into_iter()
            .map(|(name, addresses)| Resolution { name, addresses });
        Ok(Self {
            entries: entries.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A [`Reach`] from the flags' spelling.
    fn reach(connect_to: &[&str], resolve: &[&str]) -> Reach {
        Reach::build(
            ConnectToOptions {
                redirects: connect_to.iter().map(|text| text.parse().unwrap()).collect(),
            },
            ResolveOptions {
                entries: resolve.iter().map(|text| text.parse().unwrap()).collect(),
            },
        )
    }

    #[track_caller]
    fn check(connect_to: &[&str], asked: (&str, u16), reached: (&str, u16)) {
        assert_eq!(
            reach(connect_to, &[]).target(asked.0, asked.1),
            reached,
            "{connect_to:?}"
        );
    }

    #[test]
    fn a_connection_goes_where_connect_to_sends_it() {
        let api = ("api.example.com", 80);
        check(&[], api, api);
        check(&["api.example.com:80:localhost:8080"], api, ("localhost", 8080));
        check(&["API.Example.com.:80:localhost:8080"], api, ("localhost", 8080));
        check(&["api.example.com:443:localhost:8080"], api, api);
        check(&["other.example.com:80:localhost:8080"], api, api);
        check(&["api.example.com:80:[::1]:8080"], api, ("::1", 8080));
        check(&["[0:0::1]:80:localhost:8080"], ("::1", 80), ("localhost", 8080));
    }

    #[test]
    fn an_empty_part_fits_any_on_the_left_and_stays_on_the_right() {
        let api = ("api.example.com", 80);
        check(&[":80:localhost:8080"], api, ("localhost", 8080));
        check(&["api.example.com::localhost:8080"], api, ("localhost", 8080));
        check(&["::localhost:"], api, ("localhost", 80));
        check(&[":::8080"], api, ("api.example.com", 8080));
        check(&[":::"], api, api);
    }

    #[test]
    fn the_most_particular_entry_wins_and_of_equals_the_later() {
        let entries = ["::d:4", ":80:c:3", "api::b:2", "api:80:a:1"];
        check(&entries, ("api", 80), ("a", 1));
        check(&entries, ("api", 81), ("b", 2));
        check(&entries, ("other", 80), ("c", 3));
        check(&entries, ("other", 81), ("d", 4));
        check(&["api:80:a:1", "api:80:b:2"], ("api", 80), ("b", 2));
    }

    #[test]
    fn a_name_resolves_to_the_addresses_that_are_given() {
        let reach = reach(
            &[],
            &["*:80:127.0.0.9", "api:80:127.0.0.1,[::1],::2", "[::5]:443:127.0.0.5"],
        );
        let addresses = |host, port| {
            reach
                .addresses(host, port)
                .map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(addresses("API.", 80).unwrap(), ["127.0.0.1", "::1", "::2"]);
        assert_eq!(addresses("other", 80).unwrap(), ["127.0.0.9"]);
        assert_eq!(addresses("::5", 443).unwrap(), ["127.0.0.5"]);
        assert_eq!(addresses("api", 443), None);
        assert_eq!(
            "+api:80:127.0.0.1".parse::<Resolution>(),
            "api:80:127.0.0.1".parse(),
            "curl's + for an entry that ends"
        );
    }

    #[test]
    fn a_malformed_entry_is_refused_with_its_reason() {
        for (text, reason) in [
            ("api", "not of the form"),
            ("api:80", "not of the form"),
            ("api:80:localhost", "not of the form"),
            ("api:eighty:localhost:1", "`eighty` is not a port"),
            ("api:0:localhost:1", "`0` is not a port"),
            ("api:+80:localhost:1", "`+80` is not a port"),
            ("api:80:localhost:65536", "`65536` is not a port"),
            ("http://api:80:localhost:1", "is not a port"),
            ("a/b:80:localhost:1", "`a/b` is not a host name"),
            ("api:80:::1:8080", "is not a port"),
            ("[127.0.0.1]:80:localhost:1", "not an IPv6 address"),
            ("[::1:80:localhost:1", "not of the form"),
        ] {
            let error = text.parse::<Redirect>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [
            ("api:80", "not of the form"),
            (":80:127.0.0.1", "`` is not a host name"),
            ("api::127.0.0.1", "use `connect-to` with `api::ADDR:`"),
            ("api:*:127.0.0.1", "use `connect-to` with `api::ADDR:`"),
            ("++api:80:127.0.0.1", "`+api` is not a host name"),
            ("api:80:localhost", "`localhost` is not an IP address"),
            ("api:80:", "`` is not an IP address"),
            ("api:80:127.0.0.1,", "`` is not an IP address"),
        ] {
            let error = text.parse::<Resolution>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_table_and_the_flag_say_the_same() {
        let options = ConnectToOptions {
            redirects: vec!["api:80:[::1]:".parse().unwrap(), ":443::8443".parse().unwrap()],
        };
        let table = serde_json::to_value(&options).unwrap();
        assert_eq!(table, serde_json::json!({"api:80": "[::1]:", ":443": ":8443"}));
        let back: ConnectToOptions = serde_json::from_value(table).unwrap();
        assert_eq!(
            Reach::build(back, ResolveOptions::default()),
            Reach::build(options, ResolveOptions::default())
        );

        let listed: ResolveOptions = serde_json::from_str(r#"{"*:80": ["127.0.0.1", "::1"]}"#).unwrap();
        let flag: Resolution = "*:80:127.0.0.1,[::1]".parse().unwrap();
        assert_eq!(listed.entries, [flag]);
        assert_eq!(
            serde_json::to_value(&listed).unwrap(),
            serde_json::json!({"*:80": "127.0.0.1,[::1]"})
        );
    }
}
