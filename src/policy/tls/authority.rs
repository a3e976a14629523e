//! Which certificate authority the command is to trust: one that is made for the run, or one that somebody keeps.

use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::Problem;

/// The authority as it is configured: the table `[tls.ca]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AuthorityOptions {
    /// Where the authority comes from; said to have one for the run although a weaker layer names files [default: ephemeral]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "ephemeral"))]
    pub source: Option<AuthoritySource>,

    /// The authority's certificate, as a PEM file, instead of one for the run; its chain may follow [default: none]
    ///
    /// `amb ca create` makes one. Programs that trust it already need no variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "makes the command trust an authority of its choice"))]
    pub cert: Option<PathBuf>,

    /// The key of cert, as a PEM file that nobody else may read [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "signs with a key of its choice"))]
    pub key: Option<PathBuf>,
}

/// Where the authority comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthoritySource {
    /// It is made for the run, and gone with it
    Ephemeral,
    /// It is kept in files
    Files,
}

/// Where an authority is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFiles {
    /// Its certificate, PEM, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl AuthorityOptions {
    /// Where the authority is kept; none if it is made for the run. `problems` gets what is wrong.
    pub fn build(self, problems: &mut Vec<Problem>) -> Option<AuthorityFiles> {
        let mut wrong = |key: &str, reason: &str| {
            problems.push(Problem::at(&["tls", "ca", key], reason));
            None
        };
        match (self.source, self.cert, self.key) {
            (Some(AuthoritySource::Ephemeral), ..) | (None, None, None) => None,
            (_, Some(certificate), Some(key)) => Some(AuthorityFiles { certificate, key }),
            (Some(AuthoritySource::Files), None, None) => {
                wrong("source", "files need names: set tls.ca.cert and tls.ca.key too")
            }
            (_, Some(_), None) => wrong("cert", "an authority signs nothing without its key: set tls.ca.key too"),
            (_, None, Some(_)) => wrong("key", "a key is of no use without its certificate: set tls.ca.cert too"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_kept_in_two_files_or_made_for_the_run() {
        use AuthoritySource::{Ephemeral, Files};
        for (source, cert, key, kept, wrong) in [
            (None, false, false, false, None),
            (None, true, true, true, None),
            (Some(Files), true, true, true, None),
            (Some(Ephemeral), true, true, false, None),
            (Some(Ephemeral), true, false, false, None),
            (Some(Files), false, false, false, Some("source")),
            (None, true, false, false, Some("cert")),
            (None, false, true, false, Some("key")),
        ] {
            let options = AuthorityOptions {
                source,
                cert: cert.then(|| "ca.pem".into()),
                key: key.then(|| "ca.key".into()),
            };
            let shown = format!("{options:?}");
            let mut problems = Vec::new();
            assert_eq!(options.build(&mut problems).is_some(), kept, "{shown}");
            let found: Vec<_> = problems.iter().map(|problem| &*problem.key[2]).collect();
            assert_eq!(found, wrong.into_iter().collect::<Vec<_>>(), "{shown}");
        }
    }
}
