//! Where something may go: a host, or a set of hosts that has a name.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::policy::matching::host::HostPattern;

/// Hosts that belong together, by the name of their set.
const SETS: [(&str, &[&str]); 4] = [
    ("metadata", &METADATA),
    ("loopback", &["localhost", "**.localhost", "127.0.0.0/8", "::1"]),
    (
        "private",
        &[
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "fc00::/7",
        ],
    ),
    ("link-local", &["169.254.0.0/16", "fe80::/10"]),
];

/// Where clouds tell machines who they are, credentials included: AWS (instances, containers, pods), Google, Azure, Alibaba,
/// Oracle.
const METADATA: [&str; 11] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
];

/// A host with or without a port, or the name of a set: `metadata`, `loopback`, `private`, `link-local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// As it was written.
    written: String,
    /// What it stands for.
    hosts: Vec<HostPattern>,
}

impl Destination {
    /// What it stands for.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        let set = SETS.iter().find(|(known, _)| *known == name);
        let hosts = match (set, port) {
            (None, _) => vec![text.parse()?],
            (Some((_, hosts)), None) => hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>()?,
            (Some((_, hosts)), Some(port)) => {
                let of_port = |host: &&str| {
                    let is_v6 = host.contains("::");
                    let host = if is_v6 && !host.contains('/') {
                        format!("[{host}]")
                    } else {
                        (*host).to_owned()
                    };
                    format!("{host}:{port}").parse()
                };
                hosts.iter().map(of_port).collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            written: text.to_owned(),
            hosts,
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Destination {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a host such as *.example.com:443 or 10.0.0.0/8, or metadata, loopback, private or link-local",
            "minLength": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an address or a name is meant.
    fn means(destination: &str, host: &str, port: u16) -> bool {
        let destination: Destination = destination.parse().expect("a destination");
        let address = host.parse().ok();
        destination.hosts().iter().any(|known| known.fits(host, address, port))
    }

    #[test]
    fn sets_stand_for_their_hosts_with_and_without_a_port() {
        for (destination, host, port, wanted) in [
            ("metadata", "169.254.169.254", 80, true),
            ("metadata", "metadata.google.internal", 80, true),
            ("metadata", "169.254.169.253", 80, false),
            ("metadata:80", "fd00:ec2::254", 80, true),
            ("metadata:80", "fd00:ec2::254", 81, false),
            ("loopback", "::1", 9, true),
            ("loopback:9", "a.localhost", 9, true),
            ("loopback:9", "127.9.9.9", 8, false),
            ("private", "172.31.0.1", 1, true),
            ("private", "172.32.0.1", 1, false),
            ("private:5432", "fd12::1", 5432, true),
            ("private:5432", "fd12::1", 5433, false),
            ("link-local", "fe80::1", 1, true),
        ] {
            assert_eq!(means(destination, host, port), wanted, "{destination} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in ["", "metadata:", "metadata:0", "private:http", "https://a.test", "a b"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
