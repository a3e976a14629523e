//! The run's certificate authority: a key that is nowhere but in memory, and certificates in the names of servers.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::{
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SigningKey},
};

use super::CRYPTOGRAPHY;
use crate::policy::matching::host::Subtree;

/// How long the authority is valid. Nobody can use it when the run is over, since its key is gone then; but services run for
/// months, and the command cannot be given another one meanwhile.
const AUTHORITY_LIFE: Duration = Duration::from_hours(366 * 24);
/// How long a server's certificate is. [`Leaves`](super::leaves::Leaves) makes a new one in time.
pub(crate) const LEAF_LIFE: Duration = Duration::from_hours(24);
/// How long before now both are valid, for clocks that are behind.
pub(crate) const BACKDATED: Duration = Duration::from_hours(1);
/// The longest common name ([RFC 5280, ub-common-name]).
///
/// [RFC 5280, ub-common-name]: https://www.rfc-editor.org/rfc/rfc5280#appendix-A.1
const COMMON_NAME_LIMIT: usize = 64;

/// A certificate authority of one run. `Debug` shows its certificate and no key.
pub struct CertificateAuthority {
    /// Signs.
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pem: String,
    /// The same, DER.
    der: CertificateDer<'static>,
    /// The public key of every server's certificate.
    leaf: KeyPair,
    /// The private key of every server's certificate.
    leaf_key: Arc<dyn SigningKey>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("pem", &self.pem)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes one, confined to some hosts if they are known.
    ///
    /// # Errors
    /// If there is no randomness to be had.
    pub(super) fn new(run_id: &str, confined: Option<&[Subtree<'_>]>, now: SystemTime) -> Result<Self, String> {
        let said = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate().map_err(said)?;
        let leaf = KeyPair::generate().map_err(said)?;
        let leaf_key = CRYPTOGRAPHY
            .key_provider
            .load_private_key(PrivatePkcs8KeyDer::from(leaf.serialize_der()).into())
            .map_err(|error| error.to_string())?;
        let mut about = CertificateParams::default();
        about.distinguished_name = rcgen::DistinguishedName::new();
        let common_name: String = format!("amb run {run_id} (ephemeral)")
            .chars()
            .take(COMMON_NAME_LIMIT)
            .collect();
        about.distinguished_name.push(DnType::CommonName, common_name);
        about.serial_number = Some(serial_number()?);
        about.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        about.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        about.name_constraints = confined.map(constraints);
        be_valid(&mut about, now, AUTHORITY_LIFE);
        let certificate = about.self_signed(&key).map_err(said)?;
        Ok(Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(about, key),
            leaf,
            leaf_key,
        })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// A certificate for a server of this name or address.
    ///
    /// # Errors
    /// If the name cannot be that of a server.
    pub(crate) fn mint(&self, name: &str, now: SystemTime) -> Result<CertifiedKey, String> {
        let said = |error: rcgen::Error| error.to_string();
        let mut about = CertificateParams::default();
        about.distinguished_name = rcgen::DistinguishedName::new();
        let subject = if let Ok(address) = name.parse() {
            about.subject_alt_names.push(SanType::IpAddress(address));
            // An address in the common name would be taken for a name by some.
            "amb"
        } else {
            let san = name.to_owned().try_into().map_err(said)?;
            about.subject_alt_names.push(SanType::DnsName(san));
            if name.len() <= COMMON_NAME_LIMIT { name } else { "amb" }
        };
        about.distinguished_name.push(DnType::CommonName, subject);
        // Its own, although the key is always the same: some clients take two certificates with one number for an attack.
        about.serial_number = Some(serial_number()?);
        about.is_ca = IsCa::ExplicitNoCa;
        about.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        about.use_authority_key_identifier_extension = true;
        be_valid(&mut about, now, LEAF_LIFE);
        let certificate = about.signed_by(&self.leaf, &self.issuer).map_err(said)?;
        Ok(CertifiedKey::new(
            vec![certificate.der().clone()],
            Arc::clone(&self.leaf_key),
        ))
    }
}

/// A positive number of 16 octets that nobody can guess.
fn serial_number() -> Result<SerialNumber, String> {
    let mut octets = [0; 16];
    CRYPTOGRAPHY
        .secure_random
        .fill(&mut octets)
        .map_err(|_| "no randomness to be had".to_owned())?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

/// Makes it valid from a while ago, for so long.
fn be_valid(about: &mut CertificateParams, now: SystemTime, life: Duration) {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    about.not_before = epoch + now.saturating_sub(BACKDATED);
    about.not_after = epoch + now + life;
}

/// What confines an authority to these hosts ([RFC 5280 §4.2.1.10]).
///
/// [RFC 5280 §4.2.1.10]: https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10
fn constraints(hosts: &[Subtree<'_>]) -> NameConstraints {
    let permitted: Vec<GeneralSubtree> = hosts
        .iter()
        .map(|host| match host {
            Subtree::Name(name) => GeneralSubtree::DnsName((*name).to_owned()),
            Subtree::Network(address, bits) => GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *bits)),
        })
        .collect();
    // Without one that is permitted, all of a kind would be.
    let mut excluded = Vec::new();
    if !hosts.iter().any(|host| matches!(host, Subtree::Network(..))) {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)));
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)));
    }
    NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{ServerName, UnixTime},
    };
    use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

    use super::*;

    /// An authority, and when it was made.
    fn authority(confined: Option<&[Subtree<'_>]>) -> (CertificateAuthority, SystemTime) {
        let now = SystemTime::now();
        (
            CertificateAuthority::new("19a-7", confined, now).expect("an authority"),
            now,
        )
    }

    /// Whether a client that trusts the authority takes the certificate that it makes for `minted` as that of `name`.
    fn is_believed(authority: &CertificateAuthority, minted: &str, name: &str, at: SystemTime) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("a root");
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&CRYPTOGRAPHY))
            .build()
            .expect("a verifier");
        let leaf = authority.mint(minted, SystemTime::now()).expect("a certificate");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).expect("today"));
        verifier.verify_server_cert(&leaf.cert[0], &[], &name, &[], at).is_ok()
    }

    #[test]
    fn its_certificates_are_believed_for_the_name_they_are_for_and_for_a_day() {
        let (authority, now) = authority(None);
        let long = format!("{}.test", ["a-label-of-some-length"; 5].join("."));
        for name in [
            "api.example.com",
            "under_score.test",
            "127.0.0.1",
            "::1",
            "localhost",
            &long,
        ] {
            assert!(is_believed(&authority, name, name, now), "{name}");
            assert!(!is_believed(&authority, name, "other.example.com", now), "{name}");
        }
        let hours = |count| Duration::from_hours(count);
        for (at, believed) in [
            (now - hours(2), false),
            (now - Duration::from_mins(50), true),
            (now + hours(23), true),
            (now + hours(25), false),
        ] {
            assert_eq!(is_believed(&authority, "a.test", "a.test", at), believed);
        }
    }

    #[test]
    fn one_that_is_confined_vouches_for_no_other_host() {
        let (confined, now) = authority(Some(&[
            Subtree::Name("example.com"),
            Subtree::Network([10, 0, 0, 1].into(), 32),
        ]));
        for (name, believed) in [
            ("example.com", true),
            ("api.example.com", true),
            ("example.org", false),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
        ] {
            assert_eq!(is_believed(&confined, name, name, now), believed, "{name}");
        }
        let (names_only, now) = authority(Some(&[Subtree::Name("example.com")]));
        assert!(!is_believed(&names_only, "10.0.0.1", "10.0.0.1", now));
        assert!(!is_believed(&names_only, "::1", "::1", now));
    }

    #[test]
    fn its_certificates_say_what_strict_clients_ask_for() {
        let (authority, now) = authority(None);
        let minted =
            [authority.mint("a.test", now), authority.mint("a.test", now)].map(|leaf| leaf.expect("a certificate"));
        let [first, second] =
            [&minted[0], &minted[1]].map(|leaf| X509Certificate::from_der(&leaf.cert[0]).expect("DER").1);
        assert_ne!(first.serial, second.serial);
        let (_, root) = X509Certificate::from_der(&authority.der).expect("DER");
        assert_eq!(first.issuer(), root.subject());
        assert!(
            root.tbs_certificate
                .basic_constraints()
                .expect("one")
                .expect("one")
                .critical
        );
        let identifier = |certificate: &X509Certificate<'_>| {
            certificate
                .iter_extensions()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                })
        };
        let issuer = first
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
                _ => None,
            });
        assert!(issuer.is_some());
        assert_eq!(issuer, identifier(&root), "the authority's identifiers differ");
        let names = first.subject_alternative_name().expect("one").expect("one");
        assert_eq!(names.value.general_names, [GeneralName::DNSName("a.test")]);
        assert!(first.extended_key_usage().expect("one").expect("one").value.server_auth);
        assert!(first.key_usage().expect("one").expect("one").value.digital_signature());
        let validity = first.validity();
        let life = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert_eq!(life.unsigned_abs(), (LEAF_LIFE + BACKDATED).as_secs());
    }

    #[test]
    fn openssl_takes_them_when_it_is_strict() {
        let Some(openssl) = ["/usr/bin/openssl", "/bin/openssl"]
            .into_iter()
            .find(|path| Path::new(path).exists())
        else {
            return;
        };
        let (authority, now) = authority(Some(&[
            Subtree::Name("example.com"),
            Subtree::Network([127, 0, 0, 0].into(), 8),
        ]));
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root.pem");
        std::fs::write(&root, authority.pem()).expect("a file");
        for (name, check) in [("api.example.com", "-verify_hostname"), ("127.0.0.1", "-verify_ip")] {
            let leaf = authority.mint(name, now).expect("a certificate");
            let file = directory.path().join("leaf.der");
            std::fs::write(&file, &leaf.cert[0]).expect("a file");
            let said = std::process::Command::new(openssl)
                .args([
                    "verify",
                    "-x509_strict",
                    "-purpose",
                    "sslserver",
                    check,
                    name,
                    "-CAfile",
                ])
                .args([&root, &file])
                .output()
                .expect("openssl runs");
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(said.status.success(), "{name}: {text}");
        }
    }
}
