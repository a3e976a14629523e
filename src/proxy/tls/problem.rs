//! What is wrong with a server's certificate, so that somebody can mend it: whose it is, whose word it has, and since when.

use std::fmt;

use jiff::Timestamp;
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// Names of a certificate that are told; more say no more.
const MOST_NAMES: usize = 5;

/// Why a certificate is not accepted: `it has expired on 2026-01-31 (3 days ago); issued to a.test by Some CA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateProblem(pub(crate) String);

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CertificateProblem {}

impl CertificateProblem {
    /// Explains `error`, about what a server has sent to prove that it is `name`.
    pub(crate) fn of(
        error: &CertificateError,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Self {
        let Ok((_, read)) = X509Certificate::from_der(leaf) else {
            return Self("it is not encoded as a certificate".to_owned());
        };
        let reason = match error {
            CertificateError::ExpiredContext { time, not_after } => {
                format!(
                    "it has expired on {} ({} ago)",
                    day(*not_after),
                    span(*not_after, *time)
                )
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                format!(
                    "it is not valid before {} (in {})",
                    day(*not_before),
                    span(*time, *not_before)
                )
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                other_name(&read, name)
            }
            CertificateError::UnknownIssuer => unknown_issuer(&read, chain),
            CertificateError::BadSignature => "its signature is wrong".to_owned(),
            CertificateError::BadEncoding => "it is not encoded as a certificate must be".to_owned(),
            CertificateError::Revoked => "it, or one that vouches for it, has been revoked (tls.crl)".to_owned(),
            CertificateError::ExpiredRevocationListContext { next_update, .. } => format!(
                "nobody knows whether it has been revoked: a list of tls.crl was to be renewed by {}",
                day(*next_update)
            ),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "it is not for servers".to_owned()
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
                "it, or one that vouches for it, is signed in a way that is not safe any more ({})",
                algorithm(&read)
            ),
            // rustls gives its own words for the rest, some of which are names of its types.
            other => match other.to_string() {
                text if text.contains("CaUsedAsEndEntity") => "it is an authority's own and not a server's".to_owned(),
                text if text.contains("NameConstraintViolation") => {
                    "an authority that vouches for it may not do so for this name".to_owned()
                }
                text => text.strip_prefix("other error: ").unwrap_or(&text).to_owned(),
            },
        };
        let issued = format!("issued to {} by {}", shown(read.subject()), shown(read.issuer()));
        Self(format!("{reason}; {issued}"))
    }
}

/// A point in time, to the second, without the time if it is midnight.
fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let Ok(timestamp) = Timestamp::from_second(seconds) else {
        return "a day that no calendar has".to_owned();
    };
    let text = format!("{timestamp:.0}");
    text.strip_suffix("T00:00:00Z").map_or(text.clone(), ToOwned::to_owned)
}

/// How long it is from one time to the next, in the largest unit that it fills.
fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3_600.. => (seconds / 3_600, "hour"),
        60.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The certificate is for somebody else.
fn other_name(leaf: &X509Certificate<'_>, wanted: &ServerName<'_>) -> String {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names
        .map(|names| names.value.general_names.as_slice())
        .unwrap_or_default();
    let mut shown: Vec<String> = names.iter().take(MOST_NAMES).map(general_name).collect();
    if names.len() > MOST_NAMES {
        shown.push(format!("{} more", names.len() - MOST_NAMES));
    }
    let wanted = wanted.to_str();
    if shown.is_empty() {
        format!("it names no host: without a subject alternative name it is not for {wanted}")
    } else {
        format!("it is not for {wanted} but for {}", shown.join(", "))
    }
}

/// A name as people write it.
fn general_name(name: &x509_parser::extensions::GeneralName<'_>) -> String {
    use x509_parser::extensions::GeneralName::{DNSName, IPAddress};
    match name {
        DNSName(name) => (*name).to_owned(),
        IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from);
            v4.or(v6)
                .map_or_else(|_| "no address".to_owned(), |address| address.to_string())
        }
        other => other.to_string(),
    }
}

/// Nobody who is trusted vouches for it.
fn unknown_issuer(leaf: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> String {
    let is_own = |certificate: &X509Certificate<'_>| certificate.subject() == certificate.issuer();
    if is_own(leaf) {
        return "it is self-signed, and not among the trusted ones (--extra-root trusts it)".to_owned();
    }
    let sent: Vec<X509Certificate<'_>> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, read)| read))
        .collect();
    if !sent.iter().any(|certificate| certificate.subject() == leaf.issuer()) {
        return "nobody who is trusted vouches for it: its issuer is not trusted itself, and the server sends no \
                intermediate certificate that leads to one who is"
            .to_owned();
    }
    let top = sent.iter().find(|certificate| is_own(certificate)).or(sent.last());
    let top = top.map_or_else(String::new, |top| {
        shown(if is_own(top) { top.subject() } else { top.issuer() })
    });
    format!("nobody who is trusted vouches for it: {top} is not (--extra-root trusts one more)")
}

/// What a certificate is signed with.
fn algorithm(leaf: &X509Certificate<'_>) -> String {
    let oid = leaf.signature_algorithm.oid();
    let name = x509_parser::objects::oid2sn(oid, x509_parser::objects::oid_registry());
    name.map_or_else(|_| oid.to_id_string(), ToOwned::to_owned)
}

/// Somebody's name: the common name, else all of it.
fn shown(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), ToOwned::to_owned);
    // It comes from somebody who is not trusted, and goes to terminals.
    let plain: String = text
        .chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .take(100)
        .collect();
    if plain.is_empty() { "nobody".to_owned() } else { plain }
}
