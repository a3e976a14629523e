//! What a process needs to use a proxy that runs already: `amb env` asks for it, and makes variables of it for its own
//! environment.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    inject::{Change, Environment, Family, Loopback, Settings, changes},
    trust,
};

/// What there is to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Where the proxy listens.
    proxy: SocketAddr,
    /// What the user calls the run.
    name: Option<String>,
    /// The families of variables to set.
    families: Vec<Family>,
    /// Entries to add to `NO_PROXY`.
    no_proxy: Vec<String>,
    /// Whether requests to this machine itself go to the proxy.
    loopback: Loopback,
    /// The certificates to trust; null while nothing is decrypted.
    certificates: Option<Certificates>,
}

/// Files of certificates. What is not Unicode among paths and values is replaced: none of amb's own is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Certificates {
    /// The authority's certificate and nothing else.
    authority: String,
    /// The variables that lead to others; null removes one.
    variables: BTreeMap<String, Option<String>>,
    /// Options for every JVM.
    java_options: Vec<String>,
}

impl Offer {
    /// What a run offers.
    pub fn new(proxy: SocketAddr, settings: &Settings, files: Option<&trust::Files>) -> Self {
        Self {
            proxy,
            name: settings.name.clone(),
            families: settings.families.clone(),
            no_proxy: settings.no_proxy.clone(),
            loopback: settings.loopback,
            certificates: files.map(|files| Certificates {
                authority: files.authority.to_string_lossy().into_owned(),
                variables: files
                    .variables
                    .iter()
                    .map(|(name, value)| {
                        let value = value.as_ref().map(|value| value.to_string_lossy().into_owned());
                        (name.clone().into_owned(), value)
                    })
                    .collect(),
                java_options: files.java_options.clone(),
            }),
        }
    }

    /// The variables in which an environment that uses the proxy of the run with this id differs from `inherited`.
    pub fn changes(&self, run_id: &str, inherited: &Environment<'_>) -> Vec<Change> {
        let settings = Settings {
            name: self.name.clone(),
            families: self.families.clone(),
            no_proxy: self.no_proxy.clone(),
            loopback: self.loopback,
            trace: None,
        };
        let files = self.certificates.as_ref().map(|certificates| trust::Files {
            authority: PathBuf::from(&certificates.authority),
            variables: certificates
                .variables
                .iter()
                .map(|(name, value)| (name.clone().into(), value.as_ref().map(OsString::from)))
                .collect(),
            java_options: certificates.java_options.clone(),
            notes: Vec::new(),
        });
        changes(inherited, self.proxy, files.as_ref(), run_id, &settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_makes_the_same_variables_at_the_other_end() {
        let settings = Settings {
            name: Some("billing".to_owned()),
            no_proxy: vec!["db.internal".to_owned()],
            ..Settings::default()
        };
        let files = trust::Files {
            authority: "/run/x/amb.pem".into(),
            variables: [
                ("SSL_CERT_FILE".into(), Some("/run/x/roots.pem".into())),
                ("SSL_CERT_DIR".into(), None),
            ]
            .into(),
            java_options: vec!["-Djavax.net.ssl.trustStore=/run/x/roots.jks".to_owned()],
            notes: Vec::new(),
        };
        let proxy = SocketAddr::from(([127, 0, 0, 1], 40123));
        let variables = [
            (OsString::from("NO_PROXY"), OsString::from("mine")),
            ("SSL_CERT_DIR".into(), "/etc/certs".into()),
        ];
        let caller = crate::inject::environment(&variables);
        let offer = Offer::new(proxy, &settings, Some(&files));
        let text = serde_json::to_string(&offer).unwrap();
        let told: Offer = serde_json::from_str(&text).unwrap();
        let expected = changes(&caller, proxy, Some(&files), "1-2", &settings);
        assert_eq!(told.changes("1-2", &caller), expected, "{text}");
        assert!(expected.iter().any(|change| change.name == "SSL_CERT_DIR"));
    }
}
