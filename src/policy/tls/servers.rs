//! What amb demands of servers that it speaks TLS with, and what it shows them: for all of them, or for those of a route.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pin, Version, files_schema, pins_schema};
use crate::policy::{Problem, words::list};

/// TLS with the servers of a route as it is configured: the table `[route.tls]`, and what `[tls]` says of the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServerTlsOptions {
    /// Trust the certificates in these PEM files upstream, beside those of the system [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(
        schema_with = "files_schema",
        extend("default" = [], "x-danger" = "believes servers that an authority of its choice vouches for")
    )]
    pub extra_roots: Option<Vec<PathBuf>>,

    /// Refuse the certificates that these revocation lists name, PEM or DER [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "files_schema", extend("default" = []))]
    pub crl: Option<Vec<PathBuf>>,

    /// The oldest version of TLS [default: 1.2]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1.2"))]
    pub min_version: Option<Version>,

    /// A certificate with its chain, as a PEM or PKCS#12 file, for servers that ask for one [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs in at servers with a certificate of its choice"))]
    pub client_cert: Option<PathBuf>,

    /// The key of client-cert, as a PEM file; one in PKCS#12 (.p12, .pfx) holds its own [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs in at servers with a key of its choice"))]
    pub client_key: Option<PathBuf>,

    /// A file with the password of a client-cert in PKCS#12 [default: none, which is the empty one]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "reads a file as a password"))]
    pub client_cert_password: Option<PathBuf>,

    /// Public keys, one of which a server's chain must hold, as sha256/BASE64 [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "pins_schema", extend("default" = []))]
    pub pin: Option<Vec<Pin>>,
}

/// What holds about TLS with servers. Every value is valid; whether the files can be read is for whoever reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// Files with further roots.
    pub extra_roots: Vec<PathBuf>,
    /// Files with lists of certificates that their authority has revoked.
    pub crl: Vec<PathBuf>,
    /// The oldest version. Default: 1.2.
    pub min_version: Version,
    /// What amb signs in with, where it is asked to; none leaves such hosts to the client, or to fail.
    pub client: Option<ClientFiles>,
    /// Keys, one of which each server must have; empty for any.
    pub pins: Vec<Pin>,
}

/// Where a client's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate and its chain, PEM, or what holds its key as well, PKCS#12.
    pub certificate: PathBuf,
    /// Where its key is.
    pub key: Key,
}

/// Where the key of a client's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// In a file of its own, PEM.
    File(PathBuf),
    /// Beside the certificate, for the password in this file; none for the empty one.
    Beside(Option<PathBuf>),
}

impl ClientFiles {
    /// The file with the key.
    pub fn key_file(&self) -> &Path {
        match &self.key {
            Key::File(file) => file,
            Key::Beside(_) => &self.certificate,
        }
    }
}

/// Whether a file holds a certificate and its key in PKCS#12, by its name.
fn is_store(path: &Path) -> bool {
    let known = |ending: &str| {
        path.extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
    };
    known("p12") || known("pfx")
}

impl ServerTlsOptions {
    /// The values, defaults filled in; `problems` gets what is wrong with them.
    pub fn build(self, problems: &mut Vec<Problem>) -> ServerTls {
        let password = self.client_cert_password;
        let mut wrong = |said: &str, reason: &str| {
            problems.push(Problem::at(&["tls", said], reason));
            None
        };
        let client = match (self.client_cert, self.client_key) {
            (Some(store), Some(_)) if is_store(&store) => wrong(
                "client-key",
                "the key is in tls.client-cert, which is PKCS#12: leave this one out",
            ),
            (Some(certificate), None) if is_store(&certificate) => Some(ClientFiles {
                certificate,
                key: Key::Beside(password),
            }),
            _ if password.is_some() => wrong(
                "client-cert-password",
                "a password is for a tls.client-cert in PKCS#12 (.p12, .pfx)",
            ),
            (Some(certificate), Some(key)) => Some(ClientFiles {
                certificate,
                key: Key::File(key),
            }),
            (None, None) => None,
            (Some(_), None) => wrong(
                "client-cert",
                "a certificate is of no use without its key: set tls.client-key too",
            ),
            (None, Some(_)) => wrong(
                "client-key",
                "a key is of no use without its certificate: set tls.client-cert too",
            ),
        };
        ServerTls {
            extra_roots: self.extra_roots.unwrap_or_default(),
            crl: self.crl.unwrap_or_default(),
            min_version: self.min_version.unwrap_or_default(),
            client,
            pins: self.pin.unwrap_or_default(),
        }
    }
}

impl ServerTls {
    /// What is demanded of servers beyond what makes a certificate valid, for people: none if it is nothing.
    pub fn rule(&self) -> Option<String> {
        let pins: Vec<String> = self.pins.iter().map(ToString::to_string).collect();
        (!pins.is_empty()).then(|| format!("servers must have one of the keys {}", pins.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_come_together() {
        for (certificate, key, password, wrong) in [
            (None, None, None, None),
            (Some("a.pem"), Some("a.key"), None, None),
            (Some("a.pem"), None, None, Some("client-cert")),
            (None, Some("a.key"), None, Some("client-key")),
            (Some("a.p12"), None, None, None),
            (Some("a.PFX"), None, Some("word"), None),
            (Some("a.p12"), Some("a.key"), None, Some("client-key")),
            (Some("a.pem"), Some("a.key"), Some("word"), Some("client-cert-password")),
            (None, None, Some("word"), Some("client-cert-password")),
        ] {
            let options = ServerTlsOptions {
                client_cert: certificate.map(Into::into),
                client_key: key.map(Into::into),
                client_cert_password: password.map(Into::into),
                ..ServerTlsOptions::default()
            };
            let mut problems = Vec::new();
            let built = options.build(&mut problems);
            let found: Vec<_> = problems.iter().map(|problem| &*problem.key[1]).collect();
            assert_eq!(found, wrong.into_iter().collect::<Vec<_>>());
            assert_eq!(built.client.is_some(), certificate.is_some() && wrong.is_none());
        }
    }
}
