//! A collector: where it is and how it is spoken to, for one signal.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::{Protocol, Signal, variables::Variables};
use crate::policy::{
    Problem,
    auth::{Binding, Destination, Text, Withheld, write::is_field_value},
    matching::host,
    trace::OtelOptions,
    words::is_token,
};

/// How long a request to a collector may take, unless a variable says otherwise.
const LIMIT: Duration = Duration::from_secs(10);

/// A collector of one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Whether by TLS.
    pub is_secure: bool,
    /// Its host, normalised.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Fields that requests to it carry; their names in lower case.
    pub headers: Vec<(String, Text)>,
    /// How long a request may take, if a variable says so.
    pub limit: Option<Duration>,
    /// Whether requests are compressed.
    pub gzip: bool,
}

impl Collector {
    /// How long a request may take. Default: 10 s.
    pub fn time(&self) -> Duration {
        self.limit.unwrap_or(LIMIT)
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        let (host, port) = (&self.host, self.port);
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

/// What a collector is made of beside variables.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// The endpoint that was configured; none for that of the variables, or the usual one.
    pub(super) endpoint: Option<&'a str>,
    /// Whether it wins over the variables.
    pub(super) first: bool,
    /// The table.
    pub(super) options: &'a OtelOptions,
    /// Where each secret may go, by name.
    pub(super) secrets: &'a BTreeMap<String, Binding>,
}

/// An endpoint that was found.
struct Endpoint {
    /// What says so, for people; none for the table.
    by: Option<String>,
    /// As it is written.
    written: String,
    /// Whether it is for this signal alone, and is taken as it is.
    whole: bool,
}

impl Site<'_> {
    /// The collector of a signal; none if something is wrong with it.
    pub(super) fn collector(
        &self,
        signal: Signal,
        variables: &mut Variables<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Collector> {
        let mut refuse = |key: &str, by: Option<&str>, reason: &str| {
            let reason = by.map_or_else(|| reason.to_owned(), |by| format!("{by}: {reason}"));
            if !problems.iter().any(|known| known.reason == reason) {
                problems.push(Problem::at(&["otel", key], reason));
            }
        };
        let protocol = match self.protocol(signal, variables) {
            Ok(protocol) => protocol,
            Err((by, reason)) => {
                refuse("endpoint", Some(&by), &reason);
                return None;
            }
        };
        let endpoint = self.endpoint(signal, protocol, variables);
        let insecure = variables
            .told(signal, "INSECURE")
            .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let (is_secure, host, port, path) = match read(&endpoint.written, protocol, insecure) {
            Ok(found) => found,
            Err(reason) => {
                refuse("endpoint", endpoint.by.as_deref(), &reason);
                return None;
            }
        };
        let path = match (protocol, endpoint.whole) {
            (Protocol::Grpc, _) => signal.service().to_owned(),
            (Protocol::HttpProtobuf, true) if path.starts_with('/') => path,
            (Protocol::HttpProtobuf, true) => format!("/{path}"),
            (Protocol::HttpProtobuf, false) => {
                let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
                format!("{}{}{query}", path.trim_end_matches('/'), signal.path())
            }
        };
        let limit = Variables::names(signal, "TIMEOUT");
        let gzip = variables.told(signal, "COMPRESSION").is_some_and(|(name, value)| {
            if !matches!(value, "gzip" | "none") {
                variables.pass_over(&name, "is neither gzip nor none");
            }
            value == "gzip"
        });
        let mut collector = Collector {
            protocol,
            is_secure,
            host,
            port,
            path,
            headers: Vec::new(),
            limit: variables.millis(&[&limit[0], &limit[1]]),
            gzip,
        };
        collector.headers = self.headers(signal, &collector, variables, &mut refuse);
        Some(collector)
    }

    /// How it is spoken to.
    ///
    /// # Errors
    /// The variable that says otherwise, and why that cannot be.
    fn protocol(&self, signal: Signal, variables: &Variables<'_>) -> Result<Protocol, (String, String)> {
        let usual = self.options.protocol.unwrap_or_default();
        match variables.told(signal, "PROTOCOL") {
            _ if self.first && self.options.protocol.is_some() => Ok(usual),
            None => Ok(usual),
            Some((_, "http/protobuf")) => Ok(Protocol::HttpProtobuf),
            Some((_, "grpc")) => Ok(Protocol::Grpc),
            Some((name, "http/json")) => {
                let reason =
                    "amb does not speak http/json: expected http/protobuf or grpc, which every collector takes";
                Err((name, reason.to_owned()))
            }
            Some((name, other)) => Err((name, format!("expected http/protobuf or grpc, not `{other}`"))),
        }
    }

    /// Where it is.
    fn endpoint(&self, signal: Signal, protocol: Protocol, variables: &Variables<'_>) -> Endpoint {
        let configured = self.endpoint.map(|written| Endpoint {
            by: None,
            written: written.to_owned(),
            whole: false,
        });
        let [own, of_all] = Variables::names(signal, "ENDPOINT");
        let of_variable = |name: String, whole| {
            variables.value(&name).map(|written| Endpoint {
                written: written.to_owned(),
                by: Some(name),
                whole,
            })
        };
        let of_variables = of_variable(own, true).or_else(|| of_variable(of_all, false));
        let found = if self.first {
            configured.or(of_variables)
        } else {
            of_variables.or(configured)
        };
        found.unwrap_or_else(|| Endpoint {
            by: None,
            written: match protocol {
                Protocol::HttpProtobuf => "http://localhost:4318",
                Protocol::Grpc => "http://localhost:4317",
            }
            .to_owned(),
            whole: false,
        })
    }

    /// The fields of its requests: those of the variables, or else of the table.
    fn headers(
        &self,
        signal: Signal,
        collector: &Collector,
        variables: &mut Variables<'_>,
        refuse: &mut impl FnMut(&str, Option<&str>, &str),
    ) -> Vec<(String, Text)> {
        let name = variables.told(signal, "HEADERS").map(|(name, _)| name);
        if let Some(name) = name.filter(|_| !self.first || self.options.headers.is_empty()) {
            let pairs = variables.pairs(&name);
            if pairs
                .iter()
                .any(|(name, value)| !is_token(name) || !is_field_value(value.as_bytes()))
            {
                variables.pass_over(&name, "holds what no header can");
                return Vec::new();
            }
            let pairs = pairs.into_iter();
            return pairs
                .map(|(name, value)| (name.to_ascii_lowercase(), Text::Plain(value)))
                .collect();
        }
        let is_local = collector.host == "localhost"
            || collector
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let place = Destination {
            host: &collector.host,
            port: collector.port,
            is_open: !collector.is_secure && !is_local,
        };
        for (name, value) in &self.options.headers {
            let misfit = match value {
                _ if !is_token(name) => Some("this is no header's name".to_owned()),
                Text::Plain(value) if !is_field_value(value.as_bytes()) => {
                    Some("the value holds what no header can".to_owned())
                }
                Text::Plain(_) => None,
                Text::Secret(secret) => match self.secrets.get(secret.name()).map(|binding| binding.allows(place)) {
                    None => Some(format!("there is no secret `{}`", secret.name())),
                    Some(Ok(())) => None,
                    Some(Err(Withheld::OtherHost)) => {
                        Some(format!("{secret} is for other hosts than {}", collector.host))
                    }
                    Some(Err(Withheld::PlainHttp)) => {
                        Some(format!("{secret} does not go by plain http to {}", collector.host))
                    }
                },
            };
            if let Some(misfit) = misfit {
                refuse("headers", None, &format!("{name}: {misfit}"));
            }
        }
        let headers = self.options.headers.iter();
        headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect()
    }
}

/// Reads an endpoint: whether it is secure, host, port, path and query. One for gRPC needs no scheme, and is secure then unless
/// it `insecure` was said.
///
/// # Errors
/// A sentence fragment that does not repeat it: it may hold a password.
fn read(written: &str, protocol: Protocol, insecure: bool) -> Result<(bool, String, u16, String), String> {
    let (is_secure, rest) = match written.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        None if protocol == Protocol::Grpc => (!insecure, written),
        _ => return Err("expected a URL that begins with http:// or https://".to_owned()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("the user and password of a URL have no place here: set otel.headers".to_owned());
    }
    if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err("a path is written percent-encoded, and has no fragment".to_owned());
    }
    let usual = match protocol {
        Protocol::HttpProtobuf if is_secure => 443,
        Protocol::HttpProtobuf => 80,
        Protocol::Grpc => 4317,
    };
    // The conventions of gRPC have 443 for TLS, too, where a scheme is written.
    let usual = if is_secure && written.contains("://") {
        443
    } else {
        usual
    };
    let (host, port) = host::of_request(authority, Some(usual))?;
    Ok((is_secure, host, port, path.to_owned()))
}
