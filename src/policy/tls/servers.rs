//! What amb demands of servers that it speaks TLS with, and what it shows them: for all of them, or for those of a route.

use std::path::PathBuf;

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

    /// The oldest version of TLS [default: 1.2]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1.2"))]
    pub min_version: Option<Version>,

    /// A certificate with its chain, as a PEM file, for servers that ask for one [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs in at servers with a certificate of its choice"))]
    pub client_cert: Option<PathBuf>,

    /// The key of client-cert, as a PEM file [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs in at servers with a key of its choice"))]
    pub client_key: Option<PathBuf>,

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
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl ServerTlsOptions {
    /// The values, defaults filled in; `problems` gets what is wrong with them.
    pub fn build(self, problems: &mut Vec<Problem>) -> ServerTls {
        let mut half = |said: &str, what: &str, missing: &str| {
            let reason = format!("a {what} is of no use without its {missing}");
            problems.push(Problem::at(&["tls", said], reason));
        };
        let client = match (self.client_cert, self.client_key) {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                half("client-cert", "certificate", "key: set tls.client-key too");
                None
            }
            (None, Some(_)) => {
                half("client-key", "key", "certificate: set tls.client-cert too");
                None
            }
        };
        ServerTls {
            extra_roots: self.extra_roots.unwrap_or_default(),
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
        for (certificate, key, wrong) in [
            (None, None, None),
            (Some("a.pem"), Some("a.key"), None),
            (Some("a.pem"), None, Some("client-cert")),
            (None, Some("a.key"), Some("client-key")),
        ] {
            let options = ServerTlsOptions {
                client_cert: certificate.map(Into::into),
                client_key: key.map(Into::into),
                ..ServerTlsOptions::default()
            };
            let mut problems = Vec::new();
            let built = options.build(&mut problems);
            let found: Vec<_> = problems.iter().map(|problem| &*problem.key[1]).collect();
            assert_eq!(found, wrong.into_iter().collect::<Vec<_>>());
            assert_eq!(built.client.is_some(), certificate.is_some() && key.is_some());
        }
    }
}
