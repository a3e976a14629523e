//! What amb does about TLS: whose is decrypted and whose never, and which servers it believes.

pub mod authority;
pub mod servers;

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, ValueEnum, ValueHint};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::{
    authority::{AuthorityFiles, AuthorityOptions},
    servers::ServerTlsOptions,
};
use super::{
    Problem,
    matching::host::{HostPattern, Subtree},
    words::list,
};

/// TLS as it is configured: the table `[tls]`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TlsOptions {
    /// What happens to TLS of hosts where intercept names none [default: passthrough]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "default" = "passthrough",
        "x-danger" = "reads what the command sends by HTTPS"
    ))]
    pub mode: Option<Mode>,

    /// Decrypt these hosts (all, if none named) with a CA only the command trusts [default: none]
    ///
    /// Comma-separated and repeatable: names, *.example.com for what is one label below, **.example.com for all that is,
    /// addresses and networks, each with a port if need be, and * for every host. If it is set, these are decrypted and no
    /// others, whatever tls.mode says. --no-intercept undoes it.
    #[arg(
        id = "tls.intercept",
        long = "intercept",
        value_name = "HOSTS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "*",
        value_delimiter = ',',
        value_hint = ValueHint::Hostname,
        overrides_with = "no-intercept",
        help_heading = "TLS"
    )]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "hosts_schema",
        extend("default" = [], "x-danger" = "reads what the command sends to these hosts by HTTPS")
    )]
    pub intercept: Option<Vec<HostPattern>>,

    /// Tunnel everything, whatever was said before
    #[arg(
        id = "no-intercept",
        long = "no-intercept",
        hide = true,
        overrides_with_all = ["tls.intercept", "no-intercept"],
        help_heading = "TLS"
    )]
    #[serde(skip)]
    pub no_intercept: bool,

    /// Hosts that are never decrypted, whatever intercept says [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "hosts_schema", extend("default" = []))]
    pub never: Option<Vec<HostPattern>>,

    /// The certificate authority that the command is to trust where its TLS is decrypted
    #[arg(skip)]
    #[serde(skip_serializing_if = "is_default")]
    pub ca: AuthorityOptions,

    /// Trust the certificates in this PEM file upstream, beside those of the system [default: none]
    ///
    /// Repeatable. It holds for the connections that amb itself secures: those of decrypted hosts and of requests for
    /// https:// URLs.
    #[arg(
        id = "tls.extra-roots",
        long = "extra-root",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "TLS"
    )]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "files_schema",
        extend("default" = [], "x-danger" = "believes servers that an authority of its choice vouches for")
    )]
    pub extra_roots: Option<Vec<PathBuf>>,

    /// Refuse the certificates that these revocation lists name, PEM or DER [default: none]
    ///
    /// Each list counts for what its own authority has issued, on the whole way to the root. Of authorities without one nothing
    /// is known to be revoked, and whoever has a list that is out of date is not believed.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "files_schema", extend("default" = []))]
    pub crl: Option<Vec<PathBuf>>,

    /// The oldest version of TLS, for servers and for the command where amb decrypts [default: 1.2]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1.2"))]
    pub min_version: Option<Version>,

    /// What happens to a host whose decryption the command refuses [default: passthrough]
    ///
    /// A program that does not trust amb's certificate, because it has certificates of its own or expects a particular
    /// one, ends the connection. passthrough tunnels that host from then on, fail goes on refusing.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "passthrough"))]
    pub on_pinning_failure: Option<OnPinningFailure>,

    /// A certificate with its chain, as a PEM or PKCS#12 file, for servers that ask for one [default: none]
    ///
    /// Without one, a host that asks is tunnelled: the command may have its own.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs in at servers with a certificate of its choice"))]
    pub client_cert: Option<PathBuf>,

    /// The key of client-cert, as a PEM file; one in PKCS#12 (.p12, .pfx) holds its own [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs in at servers with a key of its choice"))]
    pub client_key: Option<PathBuf>,

    /// A file with the password of a client-cert in PKCS#12 [default: none, which is the empty one]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "reads a file as a password"))]
    pub client_cert_password: Option<PathBuf>,

    /// Public keys, one of which a server's chain must hold, as sha256/BASE64 [default: none]
    ///
    /// In addition to what makes a certificate valid.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "pins_schema", extend("default" = []))]
    pub pin: Option<Vec<Pin>>,
}

/// What happens to TLS in a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is tunnelled as it is
    #[default]
    Passthrough,
    /// It is decrypted, and encrypted again for the server
    Intercept,
}

/// The oldest version of TLS that will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    /// TLS 1.2
    #[default]
    #[serde(rename = "1.2")]
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3
    #[serde(rename = "1.3")]
    #[value(name = "1.3")]
    Tls13,
}

/// What happens to a host where the client refuses amb's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnPinningFailure {
    /// It is tunnelled from then on
    #[default]
    Passthrough,
    /// It is decrypted all the same, and the client refuses it again
    Fail,
}

/// The SHA-256 of a public key's `SubjectPublicKeyInfo`, as in [RFC 7469 §2.4].
///
/// [RFC 7469 §2.4]: https://www.rfc-editor.org/rfc/rfc7469#section-2.4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hash = text
            .strip_prefix("sha256/")
            // Curl writes two slashes; the hash itself may begin with one.
            .map(|rest| rest.strip_prefix('/').filter(|rest| rest.len() == 44).unwrap_or(rest))
            .and_then(|base64| STANDARD.decode(base64).ok())
            .and_then(|bytes| bytes.try_into().ok());
        hash.map(Self).ok_or_else(|| {
            format!("`{text}` is no pin: write sha256/ and the SHA-256 of the public key in base64, 44 characters")
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether a table says nothing.
fn is_default(table: &AuthorityOptions) -> bool {
    *table == AuthorityOptions::default()
}

/// A list, or a text with commas between its elements.
fn words_schema(title: &str) -> Schema {
    json_schema!({
        "title": title,
        "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }],
    })
}

/// The schema of hosts.
fn hosts_schema(_: &mut SchemaGenerator) -> Schema {
    words_schema("a list of hosts such as *.example.com")
}

/// The schema of files.
fn files_schema(_: &mut SchemaGenerator) -> Schema {
    words_schema("a list of files")
}

/// The schema of pins.
fn pins_schema(_: &mut SchemaGenerator) -> Schema {
    words_schema("a list of pins, sha256/BASE64")
}

/// What holds about TLS. Every value is valid; whether the files can be read is for whoever reads them.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Hosts that are decrypted.
    pub intercept: Vec<HostPattern>,
    /// Hosts that are not, all the same.
    pub never: Vec<HostPattern>,
    /// The oldest version for the command, where its TLS is decrypted. Default: 1.2.
    pub min_version: Version,
    /// What happens where the client refuses. Default: passthrough.
    pub on_pinning_failure: OnPinningFailure,
    /// Where the authority is kept that the command trusts; none makes one for the run.
    pub authority: Option<AuthorityFiles>,
}

impl TlsOptions {
    /// Puts the two flags of one list into it: the flags as a layer.
    #[must_use]
    pub fn settle(mut self) -> Self {
        if self.no_intercept {
            self.intercept = Some(Vec::new());
        }
        self
    }

    /// What it says of servers, which a route may say otherwise.
    pub fn of_servers(&self) -> ServerTlsOptions {
        ServerTlsOptions {
            extra_roots: self.extra_roots.clone(),
            crl: self.crl.clone(),
            min_version: self.min_version,
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            client_cert_password: self.client_cert_password.clone(),
            pin: self.pin.clone(),
        }
    }

    /// The values, defaults filled in; `problems` gets what is wrong with them.
    pub fn build(self, problems: &mut Vec<Problem>) -> Tls {
        Tls {
            intercept: self.intercept.unwrap_or_else(|| match self.mode.unwrap_or_default() {
                Mode::Passthrough => Vec::new(),
                Mode::Intercept => vec![HostPattern::any()],
            }),
            never: self.never.unwrap_or_default(),
            min_version: self.min_version.unwrap_or_default(),
            on_pinning_failure: self.on_pinning_failure.unwrap_or_default(),
            authority: self.ca.build(problems),
        }
    }
}

impl Tls {
    /// Whether anything is decrypted at all.
    pub fn intercepts(&self) -> bool {
        !self.intercept.is_empty()
    }

    /// Whether a connection is decrypted. `name` is the one that the client checks the certificate against, `host` the one
    /// that it asked to be connected to; both normalised, and most often the same.
    pub fn opens(&self, name: &str, host: &str, port: u16) -> bool {
        let fits = |patterns: &[HostPattern], host: &str| {
            let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
            patterns.iter().any(|pattern| pattern.fits(host, address, port))
        };
        fits(&self.intercept, name) && !fits(&self.never, name) && !fits(&self.never, host)
    }

    /// What the certificate authority can be confined to; none if any host may be decrypted.
    pub fn subtrees(&self) -> Option<Vec<Subtree<'_>>> {
        self.intercept.iter().map(HostPattern::subtree).collect()
    }

    /// For people: what is done, a sentence each.
    pub fn rules(&self) -> Vec<String> {
        /// Their names, with commas.
        fn named<T: ToString>(list: &[T]) -> String {
            list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        let mut rules = Vec::new();
        if self.intercepts() {
            let but = if self.never.is_empty() {
                String::new()
            } else {
                format!(", but never of {}", named(&self.never))
            };
            rules.push(format!("TLS of {} is decrypted{but}", named(&self.intercept)));
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hosts in a list.
    fn hosts(list: &[&str]) -> Vec<HostPattern> {
        list.iter().map(|host| host.parse().expect("a host")).collect()
    }

    #[test]
    fn a_list_decides_and_without_one_the_mode_does() {
        for (mode, intercept, opened) in [
            (None, None, false),
            (Some(Mode::Passthrough), None, false),
            (Some(Mode::Intercept), None, true),
            (Some(Mode::Intercept), Some(hosts(&[])), false),
            (Some(Mode::Passthrough), Some(hosts(&["h.test"])), true),
            (None, Some(hosts(&["*.test"])), true),
            (Some(Mode::Intercept), Some(hosts(&["other.test"])), false),
        ] {
            let options = TlsOptions {
                mode,
                intercept,
                ..TlsOptions::default()
            };
            let shown = format!("{options:?}");
            let tls = options.build(&mut Vec::new());
            assert_eq!(tls.opens("h.test", "h.test", 443), opened, "{shown}");
        }
    }

    #[test]
    fn never_wins_by_either_name() {
        let options = TlsOptions {
            intercept: Some(hosts(&["*"])),
            never: Some(hosts(&["*.bank.test"])),
            ..TlsOptions::default()
        };
        let tls = options.build(&mut Vec::new());
        assert!(tls.opens("a.test", "10.0.0.1", 443));
        assert!(!tls.opens("a.bank.test", "10.0.0.1", 443));
        assert!(!tls.opens("front.test", "a.bank.test", 443));
    }

    #[test]
    fn an_authority_is_confined_unless_every_host_is_meant() {
        let subtrees = |list: &[&str]| {
            let tls = TlsOptions {
                intercept: Some(hosts(list)),
                ..TlsOptions::default()
            };
            tls.build(&mut Vec::new()).subtrees().map(|subtrees| subtrees.len())
        };
        assert_eq!(subtrees(&["a.test", "*.b.test", "::1"]), Some(3));
        assert_eq!(subtrees(&["a.test", "*"]), None);
    }

    #[test]
    fn a_pin_is_a_hash_of_the_right_length() {
        let text = format!("sha256/{}", STANDARD.encode([7; 32]));
        let pin: Pin = text.parse().expect("a pin");
        assert_eq!((pin.0, pin.to_string()), ([7; 32], text.clone()));
        assert_eq!(text.replace('/', "//").parse::<Pin>(), Ok(pin));
        for bytes in [[0xff; 32], [0xfc; 32]] {
            let text = format!("sha256/{}", STANDARD.encode(bytes));
            assert!(text.starts_with("sha256//"), "{text}");
            assert_eq!(text.parse(), Ok(Pin(bytes)));
        }
        for text in ["", "sha256/", "sha256/AAAA", "sha1/AAAA", "sha256/!"] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }
}
