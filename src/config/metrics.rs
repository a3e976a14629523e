//! The table `[metrics]`: to whom the figures of a run are told, and where.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::ValueHint;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    policy::{Problem, matching::host, percent},
    report::openmetrics::OWN_LABELS,
};

/// The table `[metrics]`, its flags and its variables `AMB_METRICS__…`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Observability")]
pub struct MetricsOptions {
    /// Tell the figures of the run to Prometheus: GET /metrics at this address, while the command runs [default: none]
    ///
    /// 127.0.0.1:9464, or a port alone, which is one of 127.0.0.1; port 0 takes a free one. Any other address works, too, and
    /// whoever can reach it sees which hosts the command calls.
    #[arg(id = "metrics.listen", long = "metrics-listen", value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "title" = "an address with a port, or a port of the loopback",
        "x-danger" = "opens a port that tells which hosts the command calls"
    ))]
    pub listen: Option<String>,

    /// Write the figures of the run to this file when it is over, for the node exporter's textfile collector [default: none]
    ///
    /// The file is replaced as a whole. If that fails, the summary warns of it, and nothing else changes.
    #[arg(id = "metrics.textfile", long = "metrics-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "writes a file outside the directory", "x-danger-if" = "outside"))]
    pub textfile: Option<PathBuf>,

    /// Send the figures of the run to this push gateway when it is over [default: none]
    ///
    /// They are put to /metrics/job/NAME/instance/HOST below this URL: the run's name, and this machine's. It may take 5 s. If it
    /// fails, the summary warns of it, and nothing else changes.
    #[arg(id = "metrics.pushgateway", long = "pushgateway", value_name = "URL", value_hint = ValueHint::Url)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("title" = "the URL of a push gateway", "x-danger" = "sends the figures of the run to another host"))]
    pub pushgateway: Option<String>,

    /// Labels that all these figures get: team = "billing" [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
}

/// To whom the figures of a run are told: valid [`MetricsOptions`].
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Where they can be scraped; none if they cannot.
    pub listen: Option<SocketAddr>,
    /// The file that they are written to; none if they are not.
    pub textfile: Option<PathBuf>,
    /// The push gateway that they are sent to; none if they are not.
    pub gateway: Option<Gateway>,
    /// Labels that all of them get.
    pub labels: BTreeMap<String, String>,
}

/// A push gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Whether it is asked by TLS.
    pub is_secure: bool,
    /// A name in lower case or an address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// What its paths begin with; empty, or with a slash in front and none at the end.
    pub prefix: String,
    /// The password, and the value of `Authorization` that is made of it; shown to nobody.
    pub authorization: Option<Authorization>,
}

/// What proves to a push gateway who amb is.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The password.
    pub password: Vec<u8>,
    /// The field's value.
    pub value: String,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Gateway {
    /// Its URL, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        let Self { host, port, prefix, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{prefix}")
        } else {
            write!(f, "{scheme}://{host}:{port}{prefix}")
        }
    }
}

/// The schema of the labels.
fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": { "type": "string" },
        "x-entry": "LABEL",
    })
}

impl MetricsOptions {
    /// Makes valid values; `problems` gets what is wrong with them.
    pub(super) fn build(self, problems: &mut Vec<Problem>) -> Metrics {
        let mut told = |key: &[&str], reason: String| problems.push(Problem::at(&[&["metrics"], key].concat(), reason));
        let listen = self.listen.map(|text| address(&text)).transpose();
        let listen = listen.unwrap_or_else(|reason| {
            told(&["listen"], reason);
            None
        });
        let textfile = self.textfile.filter(|path| {
            let reason = match path.to_str() {
                Some("-") => "stdout is the command's own: name a file",
                Some("") => "the file has no name",
                _ => return true,
            };
            told(&["textfile"], reason.to_owned());
            false
        });
        let gateway = self.pushgateway.map(|url| Gateway::read(&url)).transpose();
        let gateway = gateway.unwrap_or_else(|reason| {
            told(&["pushgateway"], reason);
            None
        });
        for name in self.labels.keys() {
            if let Some(reason) = no_label(name) {
                told(&["labels", name], reason);
            }
        }
        Metrics {
            listen,
            textfile,
            gateway,
            labels: self.labels,
        }
    }
}

/// Why this cannot be the name of a label; none if it can.
fn no_label(name: &str) -> Option<String> {
    let fits = |(at, byte): (usize, u8)| byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().enumerate().all(fits) {
        Some(format!(
            "`{}` is no name of a label: it consists of letters, digits and underscores, and begins with no digit",
            name.escape_debug()
        ))
    } else if name.starts_with("__") {
        Some(format!(
            "`{name}` is Prometheus's own, as all labels that begin with __ are"
        ))
    } else if OWN_LABELS.contains(&name) {
        Some(format!("figures have a label `{name}` of their own"))
    } else {
        None
    }
}

/// Reads the address to listen on.
fn address(text: &str) -> Result<SocketAddr, String> {
    let loopback = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = loopback.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let hint = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}, or 0.0.0.0:{port} for all of this machine's"),
        None => "127.0.0.1:9464 or [::1]:0".to_owned(),
    };
    text.parse()
        .map_err(|_| format!("`{text}` is not an address with a port: write it like {hint}"))
}

impl Gateway {
    /// Reads a URL.
    fn read(url: &str) -> Result<Self, String> {
        let (is_secure, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("expected a URL that begins with http:// or https://".to_owned());
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info), authority),
            None => (None, authority),
        };
        let (host, port) = host::of_request(authority, Some(if is_secure { 443 } else { 80 }))?;
        if path
            .bytes()
            .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#'))
        {
            return Err("a path is written percent-encoded, and a push gateway's has no query".to_owned());
        }
        let prefix = path.trim_end_matches('/');
        if prefix.ends_with("/metrics") || prefix.contains("/metrics/job") {
            return Err("leave out /metrics and what follows: job and instance are put behind it".to_owned());
        }
        Ok(Self {
            is_secure,
            host,
            port,
            prefix: prefix.to_owned(),
            authorization: user_info.map(Authorization::of),
        })
    }
}

impl Authorization {
    /// That of the `USER:PASSWORD` of a URL.
    fn of(user_info: &str) -> Self {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let plain = |part: &str| percent::decoded(part.as_bytes(), false).into_owned();
        let password = plain(password);
        let both = [plain(user), b":".to_vec(), password.clone()].concat();
        Self {
            value: format!("Basic {}", STANDARD.encode(both)),
            password,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these options, or what is wrong with them.
    fn built(options: serde_json::Value) -> Result<Metrics, Vec<String>> {
        let options: MetricsOptions = serde_json::from_value(options).unwrap();
        let mut problems = Vec::new();
        let metrics = options.build(&mut problems);
        let told = |problem: &Problem| format!("{}: {}", problem.key.join("."), problem.reason);
        if problems.is_empty() {
            Ok(metrics)
        } else {
            Err(problems.iter().map(told).collect())
        }
    }

    #[test]
    fn a_port_alone_is_one_of_the_loopback() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let metrics = built(serde_json::json!({ "listen": text })).unwrap();
            assert_eq!(metrics.listen, Some(address.parse().unwrap()));
        }
        for (text, hint) in [
            (":9464", "0.0.0.0:9464"),
            ("here", "127.0.0.1:9464"),
            ("70000", "[::1]:0"),
        ] {
            let mistakes = built(serde_json::json!({ "listen": text })).unwrap_err();
            assert!(
                mistakes[0].starts_with("metrics.listen: ") && mistakes[0].contains(hint),
                "{mistakes:?}"
            );
        }
    }

    #[test]
    fn a_gateways_url_is_read_and_its_password_shown_to_nobody() {
        let metrics = built(serde_json::json!({ "pushgateway": "https://u%40x:p%3Aw@Push.Example/base/" })).unwrap();
        let gateway = metrics.gateway.clone().unwrap();
        assert_eq!(gateway.to_string(), "https://push.example:443/base");
        let authorization = gateway.authorization.unwrap();
        assert_eq!(authorization.value, "Basic dUB4OnA6dw==");
        assert!(!format!("{metrics:?}").contains("dUB4"));
        let metrics = built(serde_json::json!({ "pushgateway": "http://[::1]:9091" })).unwrap();
        assert_eq!(metrics.gateway.unwrap().to_string(), "http://[::1]:9091");
        for url in [
            "push:9091",
            "http://",
            "http://h/?x",
            "http://h:9091/metrics/job/x",
            "http://h/a b",
        ] {
            assert!(built(serde_json::json!({ "pushgateway": url })).is_err(), "{url}");
        }
    }

    #[test]
    fn a_label_has_a_name_that_is_nobody_elses() {
        let good = serde_json::json!({ "labels": { "team": "b", "_x9": "" }, "textfile": "amb.prom" });
        assert_eq!(built(good).unwrap().labels.len(), 2);
        for name in ["", "9a", "a-b", "ä", "__x", "le", "server_address"] {
            let mistakes = built(serde_json::json!({ "labels": { name: "b" } })).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{name}: {mistakes:?}");
        }
        assert!(built(serde_json::json!({ "textfile": "-" })).is_err());
    }
}
