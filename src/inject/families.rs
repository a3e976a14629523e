//! The families of variables, and the variables of each.
//!
//! A variable is set only if nothing that reads it refuses its value. Left out on that ground, or for want of a reader:
//!
//! * `YARN_NO_PROXY`: Yarn 2 and later refuse to start on a `YARN_…` variable that is not one of their settings.
//! * `NODE_OPTIONS=--use-env-proxy`: a Node that does not know the option exits at once; `NODE_USE_ENV_PROXY` is
//!   ignored there.
//! * `DOCKER_HTTP_PROXY` and its kin: nothing is known to read them, and a container cannot reach this machine's
//!   loopback address.
//! * `PIP_NO_PROXY`, `CLOUDSDK_…_NO_PROXY`: there is no such setting.
//! * `GIT_SSH_COMMAND`, `GIT_PROXY_COMMAND`: they replace a program rather than name a proxy.
//! * `_JAVA_OPTIONS`: it overrides the options on the user's own command line.
//!
//! A family holds the variables that lead its programs to the proxy, and those that name the certificates they trust. The
//! latter are set when HTTPS is decrypted; some families have no others.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    net::SocketAddr,
    str::FromStr,
};

use clap::ValueEnum;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Environment, Loopback, Origin, TraceContext, java};
use crate::trust;

/// A family of variables, which is set as a whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// `http_proxy`, `https_proxy`, `no_proxy`, in both cases: curl, wget, git, Python, Go, Ruby, .NET, Rust, …; for opened
    /// HTTPS `SSL_CERT_FILE` and its kin
    Proxy,
    /// `all_proxy`, in both cases: the schemes that have no variable of their own
    AllProxy,
    /// `ftp_proxy`, in both cases: FTP by way of an HTTP proxy
    Ftp,
    /// `ws_proxy`, `wss_proxy`, in both cases: some WebSocket libraries
    Websocket,
    /// `NODE_USE_ENV_PROXY`: Node 22.21 and later; older ones ignore it
    Node,
    /// `npm_config_proxy`, `npm_config_https_proxy`, `npm_config_noproxy`: npm, pnpm, Yarn 1
    Npm,
    /// `YARN_HTTP_PROXY`, `YARN_HTTPS_PROXY`: Yarn 2 and later
    Yarn,
    /// `JAVA_TOOL_OPTIONS`, added to what it held: every JVM, which says so on stderr when it starts
    Java,
    /// `PIP_PROXY`: wins over pip's own configuration, but pip then ignores `NO_PROXY`
    Pip,
    /// `CLOUDSDK_PROXY_TYPE`, `CLOUDSDK_PROXY_ADDRESS`, `CLOUDSDK_PROXY_PORT`: gcloud
    Gcloud,
    /// `grpc_proxy`, `no_grpc_proxy`: gRPC for C++, Python, Ruby, PHP and Node
    Grpc,
    /// `CGI_HTTP_PROXY`: what CGI programs read in place of `HTTP_PROXY`
    Cgi,
    /// `GLOBAL_AGENT_HTTP_PROXY`, `GLOBAL_AGENT_NO_PROXY`: Node programs that use global-agent
    GlobalAgent,
    /// `ELECTRON_GET_USE_PROXY`: the downloader of Electron
    Electron,
    /// `RSYNC_PROXY`: rsync to a daemon, which knows no `NO_PROXY`
    Rsync,
    /// `PIP_CERT`, `HTTPLIB2_CA_CERTS`: pip, httplib2; for decrypted HTTPS alone
    Python,
    /// `BUNDLE_SSL_CA_CERT`: Bundler; for decrypted HTTPS alone
    Ruby,
    /// `PHP_INI_SCAN_DIR`, `COMPOSER_CAFILE`: PHP, Composer; for decrypted HTTPS alone
    Php,
    /// `CARGO_HTTP_CAINFO`: cargo; for decrypted HTTPS alone
    Cargo,
    /// `DENO_CERT`: Deno; for decrypted HTTPS alone
    Deno,
    /// `HEX_CACERTS_PATH`: Hex, of Elixir and Erlang; for decrypted HTTPS alone
    Hex,
    /// `AWS_CA_BUNDLE`: the AWS CLI and SDKs; for decrypted HTTPS alone
    Aws,
    /// `GUILE_TLS_CERTIFICATE_DIRECTORY`: Guile; for decrypted HTTPS alone
    Guile,
    /// `WGETRC`, a copy of what it named: wget; for decrypted HTTPS alone
    Wget,
    /// `APT_CONFIG`, a copy of what it named: apt; for decrypted HTTPS alone
    Apt,
    /// `TRACEPARENT`: the run's place in its trace, for programs that join it; where `otel.propagate` says so
    Traceparent,
    /// `PERL_LWP_ENV_PROXY`, `MOJO_PROXY`: Perl's LWP and Mojolicious
    // Last, because it depends on what the others leave in the environment.
    Perl,
}

/// What the values are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// The environment as amb found it.
    pub(super) inherited: &'a Environment<'a>,
    /// Where the proxy is reached.
    pub(super) proxy: SocketAddr,
    /// The same as `http://ADDRESS:PORT`.
    pub(super) url: &'a str,
    /// The child's `NO_PROXY`, entry by entry.
    pub(super) no_proxy: &'a [String],
    /// The same as the variable says it.
    pub(super) no_proxy_value: &'a str,
    /// Whether loopback goes to the proxy.
    pub(super) loopback: Loopback,
    /// The certificates to trust, if HTTPS is decrypted.
    pub(super) certificates: Option<&'a trust::Files>,
    /// The trace to join, if there is one.
    pub(super) trace: Option<&'a TraceContext>,
}

impl Target<'_> {
    /// Whether this is the environment of a CGI program, where `HTTP_PROXY` is the request's `Proxy:` field and so
    /// in the hands of whoever sent the request (CVE-2016-5385, "httpoxy").
    fn is_cgi(&self) -> bool {
        self.inherited.contains_key(OsStr::new("REQUEST_METHOD"))
    }
}

/// The variables to set, with what asked for them.
pub(super) type Wanted = BTreeMap<String, (Option<OsString>, Origin)>;

impl Family {
    /// Its variables with their values in the child; `None` removes one. `wanted` is what earlier families set.
    pub(super) fn variables(self, target: &Target<'_>, wanted: &Wanted) -> Vec<(String, Option<OsString>)> {
        let mut variables = self.trusting(target);
        variables.extend(self.proxying(target, wanted));
        variables
    }

    /// Those that name the certificates to trust.
    fn trusting(self, target: &Target<'_>) -> Vec<(String, Option<OsString>)> {
        let Some(files) = target.certificates else {
            return Vec::new();
        };
        let names: &[&str] = match self {
            Self::Proxy => &[
                "SSL_CERT_FILE",
                "SSL_CERT_DIR",
                "NIX_SSL_CERT_FILE",
                "CURL_CA_BUNDLE",
                "REQUESTS_CA_BUNDLE",
                "GIT_SSL_CAINFO",
            ],
            Self::Node => &["NODE_EXTRA_CA_CERTS"],
            Self::Npm => &["npm_config_cafile"],
            Self::Yarn => &["YARN_HTTPS_CA_FILE_PATH"],
            Self::Gcloud => &["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"],
            Self::Grpc => &["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"],
            Self::Python => &["PIP_CERT", "HTTPLIB2_CA_CERTS"],
            Self::Ruby => &["BUNDLE_SSL_CA_CERT"],
            Self::Php => &["PHP_INI_SCAN_DIR", "COMPOSER_CAFILE"],
            Self::Cargo => &["CARGO_HTTP_CAINFO"],
            Self::Deno => &["DENO_CERT"],
            Self::Hex => &["HEX_CACERTS_PATH"],
            Self::Aws => &["AWS_CA_BUNDLE"],
            Self::Guile => &["GUILE_TLS_CERTIFICATE_DIRECTORY"],
            Self::Wget => &["WGETRC"],
            Self::Apt => &["APT_CONFIG"],
            Self::Perl => &["PERL_LWP_SSL_CA_FILE", "MOJO_CA_FILE"],
            // The JVM's certificates are among its options.
            Self::Java
            | Self::AllProxy
            | Self::Ftp
            | Self::Websocket
            | Self::Pip
            | Self::Cgi
            | Self::GlobalAgent
            | Self::Electron
            | Self::Rsync
            | Self::Traceparent => &[],
        };
        let known = names
            .iter()
            .filter_map(|name| Some((*name, files.variables.get(*name)?)));
        known
            .flat_map(|(name, value)| {
                let spellings = match self {
                    Self::Npm => spellings(target, name),
                    _ => vec![name.to_owned()],
                };
                spellings.into_iter().map(move |name| (name, value.clone()))
            })
            .collect()
    }

    /// Those that lead to the proxy.
    fn proxying(self, target: &Target<'_>, wanted: &Wanted) -> Vec<(String, Option<OsString>)> {
        let (url, no_proxy) = (target.url, target.no_proxy_value);
        let set = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some(OsString::from(value))))
                .collect::<Vec<_>>()
        };
        match self {
            Self::Proxy => {
                let mut variables = set(&[
                    ("http_proxy", url),
                    ("https_proxy", url),
                    ("HTTPS_PROXY", url),
                    ("no_proxy", no_proxy),
                    ("NO_PROXY", no_proxy),
                ]);
                // In a CGI environment the upper-case name is never set and, being a stranger's, removed if it is
                // there. The lower-case one stays: no request can set it, and curl, libcurl, Perl and Python use it
                // there. Go's net/http alone refuses `http` requests then, whichever case is set.
                let upper = (!target.is_cgi()).then(|| OsString::from(url));
                variables.push(("HTTP_PROXY".to_owned(), upper));
                variables
            }
            // `http`, not `socks5h`: httpx and requests fail on the latter without an extra package.
            Self::AllProxy => set(&[("all_proxy", url), ("ALL_PROXY", url)]),
            Self::Ftp => set(&[("ftp_proxy", url), ("FTP_PROXY", url)]),
            Self::Websocket => set(&[
                ("ws_proxy", url),
                ("WS_PROXY", url),
                ("wss_proxy", url),
                ("WSS_PROXY", url),
            ]),
            Self::Node => set(&[("NODE_USE_ENV_PROXY", "1")]),
            Self::Npm => npm(target, url, no_proxy),
            Self::Yarn => set(&[("YARN_HTTP_PROXY", url), ("YARN_HTTPS_PROXY", url)]),
            Self::Java => java::tool_options(target)
                .map(|value| (java::TOOL_OPTIONS.to_owned(), Some(value)))
                .into_iter()
                .collect(),
            Self::Pip => set(&[("PIP_PROXY", url)]),
            // `http` is one of the four types it knows; `https` is refused.
            Self::Gcloud => set(&[
                ("CLOUDSDK_PROXY_TYPE", "http"),
                ("CLOUDSDK_PROXY_ADDRESS", &target.proxy.ip().to_string()),
                ("CLOUDSDK_PROXY_PORT", &target.proxy.port().to_string()),
            ]),
            Self::Grpc => set(&[("grpc_proxy", url), ("no_grpc_proxy", no_proxy)]),
            Self::Cgi => set(&[("CGI_HTTP_PROXY", url)]),
            // Its `HTTPS` variable falls back to the `HTTP` one, but its exceptions do not fall back to `NO_PROXY`.
            Self::GlobalAgent => set(&[("GLOBAL_AGENT_HTTP_PROXY", url), ("GLOBAL_AGENT_NO_PROXY", no_proxy)]),
            Self::Electron => set(&[("ELECTRON_GET_USE_PROXY", "1")]),
            Self::Rsync => set(&[("RSYNC_PROXY", &target.proxy.to_string())]),
            Self::Traceparent => target.trace.map(trace_context).unwrap_or_default(),
            Self::Perl => {
                let mut variables = set(&[("MOJO_PROXY", "1")]);
                if lwp_accepts(target.inherited, wanted) {
                    variables.extend(set(&[("PERL_LWP_ENV_PROXY", "1")]));
                }
                variables
            }
            Self::Python
            | Self::Ruby
            | Self::Php
            | Self::Cargo
            | Self::Deno
            | Self::Hex
            | Self::Aws
            | Self::Guile
            | Self::Wget
            | Self::Apt => Vec::new(),
        }
    }
}

/// What says which trace the child is part of.
fn trace_context(context: &TraceContext) -> Vec<(String, Option<OsString>)> {
    let mut variables = vec![("TRACEPARENT".to_owned(), Some(OsString::from(&context.parent)))];
    if !context.keeps_state {
        // It belongs to a trace that was not joined.
        variables.push(("TRACESTATE".to_owned(), None));
    }
    variables
}

/// A variable of npm in every spelling that the user's environment already has.
///
/// npm reads `npm_config_…` in any case, and of two spellings the one that comes last in the environment.
fn spellings(target: &Target<'_>, name: &str) -> Vec<String> {
    let inherited = target.inherited.keys().filter_map(|inherited| inherited.to_str());
    let others = inherited.filter(|inherited| inherited.eq_ignore_ascii_case(name) && *inherited != name);
    others.chain([name]).map(str::to_owned).collect()
}

/// The variables of npm that lead to the proxy.
fn npm(target: &Target<'_>, url: &str, no_proxy: &str) -> Vec<(String, Option<OsString>)> {
    let mut variables = Vec::new();
    for (name, value) in [
        ("npm_config_proxy", url),
        ("npm_config_https_proxy", url),
        ("npm_config_noproxy", no_proxy),
    ] {
        for spelling in spellings(target, name) {
            variables.push((spelling, Some(value.into())));
        }
    }
    variables
}

/// Whether Perl's LWP accepts the environment that the child will have.
///
/// Told to read the environment, LWP dies on a proxy that is not an absolute URI, if it knows the scheme, and warns on
/// stderr of *any* two variables whose names differ in case alone and whose values differ. Not told, it does not look.
/// (`LWP::UserAgent::env_proxy`, 6.68.)
fn lwp_accepts(inherited: &Environment<'_>, wanted: &Wanted) -> bool {
    let kept = inherited.iter().filter_map(|(name, value)| {
        let name = name.to_str()?;
        (!wanted.contains_key(name)).then_some((name, *value))
    });
    let set = wanted
        .iter()
        .filter_map(|(name, (value, _))| Some((name.as_str(), value.as_deref()?)));
    // What is false in Perl is skipped.
    let looked_at = kept.chain(set).filter(|(_, value)| !value.is_empty() && *value != "0");
    let mut variables: Vec<(&str, &OsStr)> = looked_at.collect();
    variables.sort_unstable_by(|(one, _), (other, _)| lower(one).cmp(lower(other)));
    let are_single = variables.windows(2).all(|pair| {
        let [(one, value), (other, other_value)] = pair else {
            return true;
        };
        value == other_value || !one.eq_ignore_ascii_case(other)
    });
    are_single
        && variables.iter().all(|(name, value)| {
            let is_proxy = LWP_PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
            !is_proxy || is_absolute(value)
        })
}

/// The bytes of a name in lower case.
fn lower(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|byte| byte.to_ascii_lowercase())
}

/// The variables that LWP reads for the schemes that it comes with and that are ever sent to a proxy.
const LWP_PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "gopher_proxy"];

/// Whether LWP takes a proxy's value for an absolute URI; of an HTTP one it also wants a host.
fn is_absolute(value: &OsStr) -> bool {
    let parts = value.to_str().and_then(|value| value.split_once(':'));
    parts.is_some_and(|(scheme, rest)| {
        is_scheme(scheme) && (!matches!(scheme, "http" | "https") || rest.starts_with("//") && rest.len() > 2)
    })
}

/// Whether `text` has the form of a URI scheme ([RFC 3986 §3.1](https://www.rfc-editor.org/rfc/rfc3986#section-3.1)).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The families that a run uses, as a list: `proxy,node`, `all,-java`, `-java`, `none`.
///
/// Read from left to right: a family is added, `-FAMILY` takes one away, `all`, `none` and `default` stand for what
/// they say. A list that begins with `-` takes away from the default. Sorted, each family once.
///
/// Default: every family but `all-proxy`, `ftp`, `pip` and `rsync`: the first two carry what is not HTTP, the last two
/// would send through the proxy what `NO_PROXY` excepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyList(pub Vec<Family>);

impl Default for FamilyList {
    fn default() -> Self {
        let mut families = all();
        families.retain(|family| !matches!(family, Family::AllProxy | Family::Ftp | Family::Pip | Family::Rsync));
        Self(families)
    }
}

/// Every family, in order.
fn all() -> Vec<Family> {
    Family::value_variants().to_vec()
}

impl FromStr for FamilyList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut families = match words.clone().next() {
            None => return Err("the list is empty: write `none` to set no family".to_owned()),
            Some(first) if first.starts_with('-') => Self::default().0,
            Some(_) => Vec::new(),
        };
        for word in words {
            match word {
                "all" => families = all(),
                "none" => families.clear(),
                "default" => families.extend(Self::default().0),
                _ => match word.strip_prefix('-') {
                    Some(name) => {
                        let removed = family(name)?;
                        families.retain(|family| *family != removed);
                    }
                    None => families.push(family(word)?),
                },
            }
        }
        families.sort_unstable();
        families.dedup();
        Ok(Self(families))
    }
}

/// The family called `name`.
fn family(name: &str) -> Result<Family, String> {
    Family::from_str(name, false).map_err(|_| {
        let known: Vec<String> = all().into_iter().map(|family| family.to_string()).collect();
        let closest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(name, known), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|left, right| left.0.total_cmp(&right.0));
        match closest {
            Some((_, closest)) => format!("`{name}` is not a family of variables: did you mean `{closest}`?"),
            None => format!(
                "`{name}` is not a family of variables: choose from {}, all, none, default",
                known.join(", ")
            ),
        }
    })
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl fmt::Display for FamilyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, family) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{family}")?;
        }
        Ok(())
    }
}

impl JsonSchema for FamilyList {
    fn schema_name() -> Cow<'static, str> {
        "FamilyList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<String> = all().iter().map(ToString::to_string).collect();
        let words: Vec<String> = ["all", "none", "default"]
            .into_iter()
            .map(ToOwned::to_owned)
            .chain(names.iter().cloned())
            .chain(names.iter().map(|name| format!("-{name}")))
            .collect();
        json_schema!({
            "title": "a list of families",
            "anyOf": [{ "type": "array", "items": { "enum": words } }, { "type": "string", "minLength": 1 }],
        })
    }
}

impl Serialize for FamilyList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return ["none"].serialize(serializer);
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FamilyList {
    /// From a list of words or from one text with commas.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a list of families, such as [\"proxy\", \"node\"]")]
        /// The two forms.
        enum Written {
            /// `"proxy,node"`
            Text(String),
            /// `["proxy", "node"]`
            Words(Vec<String>),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            // An empty list is plain: nobody writes it by mistake.
            Written::Words(words) if words.is_empty() => "none".to_owned(),
            Written::Words(words) => words.join(","),
        };
        text.parse().map_err(de::Error::custom)
    }
}
