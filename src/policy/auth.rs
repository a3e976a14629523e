//! Who amb signs requests in as, and where: the table `[auth]`, and `auth` of a route.
//!
//! A credential is bound to hosts: the one that its entry is about, those of its route's `match`, or the `hosts` beside it.
//! Whether it goes along is decided by the host that the request goes to in the end, and by whether the way there is safe:
//! not by plain http, unless that stays on this machine or somebody has allowed it. A redirect is a request of its own.
//!
//! Nothing in here holds a secret's value: it says which are needed ([`Auth::secrets`]), and what is made of them
//! ([`mod@write`]); who they are got from is the proxy.

mod options;
mod reference;
pub mod signature;
pub mod sigv4;
mod table;
pub mod write;

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

pub use self::{
    options::{AuthOptions, AuthsOptions},
    reference::{PREFIX, Reference, Text},
    signature::Signing,
};
use super::{Problem, matching::host::HostPattern};

/// Where a credential may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// To these hosts; empty says nothing of hosts.
    hosts: Vec<HostPattern>,
    /// Also where everybody on the way can read it.
    plain_http: bool,
}

/// Where a request goes in the end.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The host: lower case, no trailing dot, no brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// Whether the way there can be read by others: it is neither TLS nor inside this machine.
    pub is_open: bool,
}

/// Why a credential does not go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// It is for other hosts.
    OtherHost,
    /// Others could read it on the way.
    PlainHttp,
}

impl Binding {
    /// Bound to these hosts, none of which may be any host; `problems` gets what is wrong, at `key`.
    pub fn build(key: &[&str], hosts: Option<Vec<HostPattern>>, plain_http: bool, problems: &mut Vec<Problem>) -> Self {
        let hosts = hosts.unwrap_or_default();
        if hosts.iter().any(HostPattern::is_any) {
            let reason = "a credential is for given hosts, and `*` is every host";
            problems.push(Problem::at(key, reason));
        }
        Self { hosts, plain_http }
    }

    /// Whether it says to which hosts.
    pub fn names_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether this host is one of its own.
    pub fn is_for(&self, place: Destination<'_>) -> bool {
        let address = place.host.parse().ok().map(|address: IpAddr| address.to_canonical());
        self.hosts
            .iter()
            .any(|pattern| pattern.fits(place.host, address, place.port))
    }

    /// Whether it may go there.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, place: Destination<'_>) -> Result<(), Withheld> {
        if self.names_hosts() && !self.is_for(place) {
            Err(Withheld::OtherHost)
        } else if place.is_open && !self.plain_http {
            Err(Withheld::PlainHttp)
        } else {
            Ok(())
        }
    }
}

/// How a client signs in at a token server ([RFC 6749 §2.3.1]).
///
/// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthStyle {
    /// In `Authorization`, as every such server must know it
    #[default]
    Header,
    /// In the form that it sends
    Body,
}

/// A token server, and who asks it ([RFC 6749 §4.4]).
///
/// [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenSource {
    /// Whether it is asked by TLS.
    pub is_secure: bool,
    /// Its host, normalised.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Who asks.
    pub client_id: Text,
    /// The proof.
    pub client_secret: Reference,
    /// What the token is to be good for; may be empty.
    pub scope: String,
    /// Whom it is to be good for, where servers ask that.
    pub audience: Option<String>,
    /// Whether the proof stands in the form instead of `Authorization`.
    pub in_body: bool,
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What is put in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `Authorization: Bearer …` ([RFC 6750]).
    ///
    /// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
    Bearer(Reference),
    /// `Authorization: Basic …` ([RFC 7617]).
    ///
    /// [RFC 7617]: https://www.rfc-editor.org/rfc/rfc7617
    Basic {
        /// Who.
        user: Text,
        /// The proof.
        password: Reference,
    },
    /// A field of its own.
    Header {
        /// The field.
        name: String,
        /// What stands before the value.
        prefix: String,
        /// The value.
        value: Reference,
    },
    /// A parameter of the query.
    Query {
        /// The parameter.
        name: String,
        /// The value.
        value: Reference,
    },
    /// A bearer token that a token server hands out.
    Token(Arc<TokenSource>),
    /// A signature as AWS wants it.
    SigV4(sigv4::Signer),
    /// A signature of amb's own description.
    Hmac(Signing),
}

/// How requests to some hosts are signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// What is put in them.
    pub method: Method,
    /// Where.
    pub binding: Binding,
    /// Whether it takes the place of what the application has put there itself.
    pub overrides: bool,
}

impl Auth {
    /// The names of the secrets that it needs for a request.
    pub fn secrets(&self) -> Vec<&str> {
        match &self.method {
            Method::Bearer(value) | Method::Header { value, .. } | Method::Query { value, .. } => vec![value.name()],
            Method::Basic { user, password } => user
                .reference()
                .into_iter()
                .chain([password])
                .map(Reference::name)
                .collect(),
            Method::Token(source) => {
                let id = source.client_id.reference();
                id.into_iter()
                    .chain([&source.client_secret])
                    .map(Reference::name)
                    .collect()
            }
            Method::SigV4(signer) => {
                let id = signer.access_key_id.reference();
                let token = signer.session_token.as_ref();
                id.into_iter()
                    .chain([&signer.secret_access_key])
                    .chain(token)
                    .map(Reference::name)
                    .collect()
            }
            Method::Hmac(signing) => vec![signing.key.name()],
        }
    }

    /// The field that it sets; none for a parameter.
    pub fn field(&self) -> Option<&str> {
        match &self.method {
            Method::Bearer(_) | Method::Basic { .. } | Method::Token(_) | Method::SigV4(_) => Some("Authorization"),
            Method::Header { name, .. } => Some(name),
            Method::Hmac(signing) => Some(&signing.header),
            Method::Query { .. } => None,
        }
    }

    /// What it does, as people call it.
    pub fn name(&self) -> &'static str {
        match &self.method {
            Method::Bearer(_) => "bearer",
            Method::Basic { .. } => "basic",
            Method::Header { .. } => "header",
            Method::Query { .. } => "query",
            Method::Token(_) => "oauth2-client-credentials",
            Method::SigV4(_) => "aws-sigv4",
            Method::Hmac(_) => "hmac",
        }
    }
}

/// The credentials of a request, and the secrets that may stand in it under their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The first that is bound to where the request goes is the one.
    auths: Vec<Arc<Auth>>,
    /// Where each secret may go, by name.
    secrets: Arc<BTreeMap<String, Binding>>,
    /// Whether placeholders are looked for: some secret says where it may go.
    pub placeholders: bool,
}

impl Guard {
    /// Of what holds for all requests; none if there is nothing to do for any.
    pub(super) fn build(
        options: AuthsOptions,
        secrets: &Arc<BTreeMap<String, Binding>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Self>> {
        let mut guard = Self {
            auths: Vec::new(),
            placeholders: secrets.values().any(Binding::names_hosts),
            secrets: Arc::clone(secrets),
        };
        for (host, options) in options.0 {
            let key = ["auth".to_owned(), host.clone()];
            if let Some(auth) = options.build_for(&host, &key, &guard.secrets, problems) {
                guard.auths.push(Arc::new(auth));
            }
        }
        // The most particular first: a host by name before a glob, and of globs the one that says more.
        guard.auths.sort_by_key(|auth| {
            let pattern = &auth.binding.hosts[0];
            (
                pattern.name().is_none(),
                !pattern.has_port(),
                std::cmp::Reverse(pattern.to_string().len()),
            )
        });
        (guard.placeholders || !guard.auths.is_empty()).then(|| Arc::new(guard))
    }

    /// The same for a route with an `auth` of its own, which is all that its requests get.
    pub(super) fn with(weaker: Option<&Arc<Self>>, secrets: &Arc<BTreeMap<String, Binding>>, auth: Auth) -> Arc<Self> {
        Arc::new(Self {
            auths: vec![Arc::new(auth)],
            secrets: Arc::clone(secrets),
            placeholders: weaker.is_some_and(|guard| guard.placeholders),
        })
    }

    /// What is bound to where a request goes; none if nothing is. A secret's own binding counts too.
    ///
    /// # Errors
    /// Something is, and does not go along.
    pub fn auth(&self, place: Destination<'_>) -> Result<Option<&Arc<Auth>>, Withheld> {
        let Some(auth) = self.auths.iter().find(|auth| auth.binding.is_for(place)) else {
            // What a route has for its own hosts only is missed where the request goes elsewhere in the end.
            return Ok(None);
        };
        auth.binding.allows(place)?;
        let place = match &auth.method {
            // What a token is got for goes to the token server and no further.
            Method::Token(source) => Destination {
                host: &source.host,
                port: source.port,
                is_open: false,
            },
            _ => place,
        };
        let is_elsewhere = |binding: &Binding| binding.names_hosts() && !binding.is_for(place);
        if auth
            .secrets()
            .iter()
            .any(|name| self.secrets.get(*name).is_some_and(is_elsewhere))
        {
            return Err(Withheld::OtherHost);
        }
        Ok(Some(auth))
    }

    /// Whether the secret of this name may go there in the place of its name.
    ///
    /// # Errors
    /// Why not.
    pub fn may_stand_in(&self, name: &str, place: Destination<'_>) -> Result<(), Withheld> {
        match self.secrets.get(name) {
            Some(binding) if binding.names_hosts() => binding.allows(place),
            _ => Err(Withheld::OtherHost),
        }
    }

    /// What a request to there gets, for people; none if nothing is bound to it.
    pub fn told(&self, place: Destination<'_>) -> Option<String> {
        match self.auth(place) {
            Ok(None) => None,
            Ok(Some(auth)) => {
                let with: Vec<String> = auth.secrets().iter().map(|name| format!("{PREFIX}{name}")).collect();
                Some(format!("signed in ({} with {})", auth.name(), with.join(", ")))
            }
            Err(Withheld::OtherHost) => Some("not signed in: a secret that it needs is for other hosts".to_owned()),
            Err(Withheld::PlainHttp) => {
                Some("not signed in: its credential does not go by plain http (allow-plain-http)".to_owned())
            }
        }
    }

    /// What is going to happen, for people: a sentence each.
    pub fn said(&self) -> Vec<String> {
        let hosts = |binding: &Binding| {
            let names: Vec<String> = binding.hosts.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        let auths = self.auths.iter().map(|auth| {
            let own = if auth.overrides {
                ""
            } else {
                ", unless they sign in by themselves"
            };
            let plain = if auth.binding.plain_http {
                ", by plain http too"
            } else {
                ""
            };
            let with: Vec<String> = auth.secrets().iter().map(|name| format!("{PREFIX}{name}")).collect();
            format!(
                "requests to {} are signed in ({} with {}){own}{plain}",
                hosts(&auth.binding),
                auth.name(),
                with.join(", ")
            )
        });
        let bound = self.secrets.iter().filter(|(_, binding)| binding.names_hosts());
        let stand_ins = bound.map(|(name, binding)| {
            format!(
                "amb-secret:{name} in a request to {} is replaced by the secret",
                hosts(binding)
            )
        });
        auths.chain(stand_ins).collect()
    }
}

#[cfg(test)]
mod tests;
