//! `auth` as it is written.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use clap::{Args, Command, FromArgMatches};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

use super::{
    Auth, AuthStyle, Binding, Method, Reference, Text, TokenSource,
    signature::Signing,
    sigv4::{SigV4Options, Signer},
    table::{AuthTable, BasicOptions, HeaderOptions, QueryOptions, TokenOptions},
};
use crate::policy::{
    Problem,
    matching::{
        host::{self, HostPattern},
        several::Several,
    },
};

/// Credentials by host: the table `[auth]`, the flag `--auth`. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthsOptions(pub BTreeMap<String, AuthOptions>);

/// How requests are signed in: one method, and what holds for it. A text by itself is a bearer token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthOptions(pub AuthTable);

impl AuthsOptions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What methods need to be built.
struct Site<'a> {
    /// Where they stand.
    key: &'a [String],
    /// The secrets that there are.
    secrets: &'a BTreeMap<String, Binding>,
    /// Gets what is wrong.
    problems: &'a mut Vec<Problem>,
}

impl Site<'_> {
    /// Says what is wrong with a key below this one.
    fn refuse(&mut self, below: &[&str], reason: impl Into<String>) {
        let key: Vec<&str> = self
            .key
            .iter()
            .map(String::as_str)
            .chain(below.iter().copied())
            .collect();
        self.problems.push(Problem::at(&key, reason));
    }

    /// Makes sure that the secret is there.
    fn check(&mut self, below: &[&str], reference: &Reference) {
        if self.secrets.contains_key(reference.name()) {
            return;
        }
        let known: Vec<&str> = self.secrets.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "[secret] has no entries".to_owned()
        } else {
            format!("known are {}", known.join(", "))
        };
        // It may be a value after all.
        self.refuse(below, format!("there is no secret of this name; {known}"));
    }

    /// The same for what may be no secret.
    fn check_text(&mut self, below: &[&str], text: &Text) {
        if let Text::Secret(reference) = text {
            self.check(below, reference);
        }
    }

    /// Makes sure that it can be a header's name.
    fn check_name(&mut self, below: &[&str], name: &str) {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let framing = [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "trailer",
            "upgrade",
        ];
        if name.is_empty() || !name.bytes().all(is_token) {
            self.refuse(below, "this is no name of a header");
        } else if framing.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            self.refuse(
                below,
                "this header says how the request is carried, and cannot be a credential",
            );
        }
    }
}

impl AuthOptions {
    /// The credential of an entry of `[auth]`, whose name is the host; `problems` gets what is wrong.
    pub(super) fn build_for(
        mut self,
        host: &str,
        key: &[String],
        secrets: &BTreeMap<String, Binding>,
        problems: &mut Vec<Problem>,
    ) -> Option<Auth> {
        if self.0.hosts.is_some() {
            let key: Vec<&str> = key.iter().map(String::as_str).chain(["hosts"]).collect();
            problems.push(Problem::at(&key, "the entry's name says which host it is for"));
        }
        match host.parse::<HostPattern>() {
            Ok(pattern) => self.0.hosts = Some(Several(vec![pattern])),
            Err(reason) => {
                let key: Vec<&str> = key.iter().map(String::as_str).collect();
                problems.push(Problem::at(&key, reason));
                return None;
            }
        }
        self.build(None, key, secrets, problems)
    }

    /// The credential; `hosts` are those of its route's match. `problems` gets what is wrong.
    pub(in crate::policy) fn build(
        self,
        hosts: Option<&[HostPattern]>,
        key: &[String],
        secrets: &BTreeMap<String, Binding>,
        problems: &mut Vec<Problem>,
    ) -> Option<Auth> {
        let table = self.0;
        let hosts = table
            .hosts
            .clone()
            .map(|hosts| hosts.0)
            .or_else(|| hosts.map(<[_]>::to_vec));
        let mut site = Site { key, secrets, problems };
        if hosts.is_none() {
            site.refuse(
                &[],
                "a credential is for given hosts: name them in the route's match, or as hosts beside it",
            );
        }
        let of_key: Vec<&str> = key.iter().map(String::as_str).collect();
        let binding = Binding::build(&of_key, hosts, table.allow_plain_http.unwrap_or(false), site.problems);
        let overrides = table.overrides.unwrap_or(true);
        let methods = table.methods(&mut site);
        let mut methods = methods.into_iter();
        let Some((first, method)) = methods.next() else {
            site.refuse(
                &[],
                "it does not say how: set bearer, basic, header, query, oauth2-client-credentials, aws-sigv4 or hmac",
            );
            return None;
        };
        if let Some((other, _)) = methods.next() {
            site.refuse(
                &[other],
                format!("a request is signed in in one way: `{first}` is set, too"),
            );
        }
        Some(Auth {
            method: method?,
            binding,
            overrides,
        })
    }
}

impl AuthTable {
    /// The methods that it names, each with what it amounts to; none for one that is wrong.
    fn methods(self, site: &mut Site<'_>) -> Vec<(&'static str, Option<Method>)> {
        let mut methods: Vec<(&'static str, Option<Method>)> = Vec::new();
        if let Some(bearer) = self.bearer {
            site.check(&["bearer"], &bearer);
            methods.push(("bearer", Some(Method::Bearer(bearer))));
        }
        if let Some(BasicOptions { user, password }) = self.basic {
            site.check_text(&["basic", "user"], &user);
            site.check(&["basic", "password"], &password);
            if matches!(&user, Text::Plain(name) if name.contains(':')) {
                site.refuse(&["basic", "user"], "a user's name has no colon");
            }
            methods.push(("basic", Some(Method::Basic { user, password })));
        }
        if let Some(HeaderOptions { name, value, prefix }) = self.header {
            site.check_name(&["header", "name"], &name);
            site.check(&["header", "value"], &value);
            let prefix = prefix.unwrap_or_default();
            if prefix.chars().any(char::is_control) {
                site.refuse(&["header", "prefix"], "a header's value has no control characters");
            }
            methods.push(("header", Some(Method::Header { name, prefix, value })));
        }
        if let Some(QueryOptions { name, value }) = self.query {
            if name.is_empty() {
                site.refuse(&["query", "name"], "the parameter has no name");
            }
            site.check(&["query", "value"], &value);
            methods.push(("query", Some(Method::Query { name, value })));
        }
        if let Some(options) = self.oauth2_client_credentials {
            let source = options.build(site);
            methods.push((
                "oauth2-client-credentials",
                source.map(|source| Method::Token(source.into())),
            ));
        }
        if let Some(SigV4Options {
            service,
            region,
            access_key_id,
            secret_access_key,
            session_token,
        }) = self.aws_sigv4
        {
            site.check_text(&["aws-sigv4", "access-key-id"], &access_key_id);
            site.check(&["aws-sigv4", "secret-access-key"], &secret_access_key);
            if let Some(token) = &session_token {
                site.check(&["aws-sigv4", "session-token"], token);
            }
            for (name, word) in [("service", &service), ("region", &region)] {
                if word.is_empty() || word.contains(['/', ' ', ',']) {
                    site.refuse(&["aws-sigv4", name], format!("this is no name of a {name}"));
                }
            }
            let signer = Signer {
                service,
                region,
                access_key_id,
                secret_access_key,
                session_token,
            };
            methods.push(("aws-sigv4", Some(Method::SigV4(signer))));
        }
        if let Some(options) = self.hmac {
            site.check(&["hmac", "key"], &options.key);
            let header = options.header.clone().unwrap_or_else(|| Signing::HEADER.to_owned());
            site.check_name(&["hmac", "header"], &header);
            if let Some(name) = &options.timestamp_header {
                site.check_name(&["hmac", "timestamp-header"], name);
            }
            let signing = Signing::build(options, header)
                .map_err(|reason| site.refuse(&["hmac", "template"], reason))
                .ok();
            methods.push(("hmac", signing.map(Method::Hmac)));
        }
        methods
    }
}

impl TokenOptions {
    /// The token server.
    fn build(self, site: &mut Site<'_>) -> Option<TokenSource> {
        let below = |key: &'static str| ["oauth2-client-credentials", key];
        site.check_text(&below("client-id"), &self.client_id);
        site.check(&below("client-secret"), &self.client_secret);
        let (is_secure, rest) = if let Some(rest) = self.token_url.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = self.token_url.strip_prefix("http://") {
            (false, rest)
        } else {
            site.refuse(&below("token-url"), "expected a URL that begins with https://");
            return None;
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            site.refuse(
                &below("token-url"),
                "the user and password of a URL have no place here: set client-id and client-secret",
            );
            return None;
        }
        let (host, port) = match host::of_request(authority, Some(if is_secure { 443 } else { 80 })) {
            Ok(found) => found,
            Err(reason) => {
                site.refuse(&below("token-url"), reason);
                return None;
            }
        };
        let odd = |byte: u8| !byte.is_ascii_graphic() || byte == b'#';
        if path.bytes().any(odd) {
            site.refuse(
                &below("token-url"),
                "a path is written percent-encoded, and has no fragment",
            );
            return None;
        }
        let is_local = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if !is_secure && !is_local {
            site.refuse(
                &below("token-url"),
                "what proves who amb is does not go by plain http: expected https://",
            );
        }
        Some(TokenSource {
            is_secure,
            host,
            port,
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            client_id: self.client_id,
            client_secret: self.client_secret,
            scope: self.scope.map(|scopes| scopes.0.join(" ")).unwrap_or_default(),
            audience: self.audience,
            in_body: self.auth_style.unwrap_or_default() == AuthStyle::Body,
        })
    }
}

impl Serialize for AuthOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // In its short form where that says it all: layers are compared by their keys.
        let only_bearer = AuthTable {
            bearer: self.0.bearer.clone(),
            ..AuthTable::default()
        };
        match &self.0.bearer {
            Some(bearer) if self.0 == only_bearer => bearer.serialize(serializer),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AuthOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrTable)
    }
}

/// Reads [`AuthOptions`].
struct TextOrTable;

impl<'de> de::Visitor<'de> for TextOrTable {
    type Value = AuthOptions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret:NAME or a table")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AuthOptions, E> {
        Ok(AuthOptions(AuthTable {
            bearer: Some(text.parse().map_err(E::custom)?),
            ..AuthTable::default()
        }))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, table: A) -> Result<AuthOptions, A::Error> {
        AuthTable::deserialize(MapAccessDeserializer::new(table)).map(AuthOptions)
    }
}

impl JsonSchema for AuthOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let reference = generator.subschema_for::<Reference>();
        let table = generator.subschema_for::<AuthTable>();
        json_schema!({ "title": "secret:NAME, or a table with one method", "anyOf": [reference, table] })
    }
}

impl JsonSchema for AuthsOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Auths".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<AuthOptions>();
        json_schema!({
            "type": "object",
            "propertyNames": { "minLength": 1 },
            "additionalProperties": entry,
            "x-entry": "HOST",
            "x-danger": "signs requests in with a secret of its choice",
        })
    }
}

/// The flag as it is written. What cannot be read is kept as an entry that is refused later, where it is not repeated.
#[derive(Args)]
struct AuthFlags {
    /// Sign requests to HOST in as bearer of this secret: api.example.com=secret:NAME; repeatable [default: none]
    ///
    /// NAME is an entry of `[secret]`. HOST may be a glob such as *.example.com, and have a port. Other ways to sign in are
    /// in `[auth]` and in routes.
    #[arg(id = "auth", long = "auth", value_name = "HOST=REF", value_hint = clap::ValueHint::Other, help_heading = "Requests")]
    entries: Vec<String>,
}

impl FromArgMatches for AuthsOptions {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let flags = AuthFlags::from_arg_matches(matches)?;
        let entries = flags.entries.iter().map(|text| {
            let (host, reference) = text.rsplit_once('=').unwrap_or((text, ""));
            let table = AuthTable {
                bearer: Some(Reference::unchecked(reference)),
                ..AuthTable::default()
            };
            (host.to_owned(), AuthOptions(table))
        });
        Ok(Self(entries.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

impl Args for AuthsOptions {
    fn augment_args(command: Command) -> Command {
        AuthFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        AuthFlags::augment_args_for_update(command)
    }
}
