//! What the environment says of certificates, and which roots there are: whom amb believes, and what programs would believe
//! if amb did not add to it.

use std::{env, path::Path};

use super::check::Check;
use crate::proxy;

/// Variables that lead to certificates, and so decide what programs trust before amb adds to it.
const CERTIFICATES: [&str; 7] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
];
/// Where systems keep their roots as one file.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Looks at the roots and the variables.
pub(super) fn checks() -> Vec<Check> {
    let value = |name: &str| {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then_some(value)
    };
    let named: Vec<String> = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .filter_map(|name| value(name))
        .collect();
    let place = if named.is_empty() {
        BUNDLES
            .iter()
            .find(|path| Path::new(path).exists())
            .map(ToString::to_string)
    } else {
        Some(named.join(", "))
    };
    let (known, faults) = proxy::system_roots();
    let mut checks = vec![roots(known, place.as_deref(), &faults)];
    for name in CERTIFICATES {
        let Some(value) = value(name) else { continue };
        let missing: Vec<&str> = value
            .split(':')
            .filter(|path| !path.is_empty() && !Path::new(path).exists())
            .collect();
        checks.push(if missing.is_empty() {
            Check::ok("trust.variable", name, value)
        } else {
            let detail = format!("{value}: there is no {}", missing.join(", "));
            Check::warn("trust.variable", name, detail)
                .with_remedy("unset it, or name a file that is there: programs would trust nobody")
        });
    }
    if env::var_os("REQUEST_METHOD").is_some() {
        let detail = "REQUEST_METHOD is set: programs take themselves for CGI, and do not go by HTTP_PROXY";
        checks.push(Check::warn("trust.cgi", "CGI", detail).with_remedy("unset it for `amb run`"));
    }
    checks
}

/// Whom amb believes by itself.
fn roots(known: usize, place: Option<&str>, faults: &[String]) -> Check {
    let place = place.map_or_else(String::new, |place| format!(" in {place}"));
    let id = "trust.roots";
    let title = "roots";
    if known == 0 {
        let why = faults.first().map_or_else(String::new, |fault| format!(" ({fault})"));
        return Check::fail(
            id,
            title,
            format!("there are none{place}{why}: amb believes no server where it decrypts"),
        )
        .with_remedy("install the package ca-certificates, or name a file in SSL_CERT_FILE or tls.extra-roots");
    }
    match faults.first() {
        Some(fault) => Check::warn(id, title, format!("{known}{place}, and some cannot be read: {fault}"))
            .with_remedy("reinstall the package ca-certificates, or look at SSL_CERT_DIR"),
        None => Check::ok(id, title, format!("{known}{place}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    #[test]
    fn without_roots_nobody_is_believed() {
        let faults = ["no access".to_owned()];
        for (known, faults, state) in [
            (140, &[][..], State::Ok),
            (139, &faults[..], State::Warn),
            (0, &faults[..], State::Fail),
        ] {
            assert_eq!(roots(known, Some("/x"), faults).state, state);
        }
    }
}
