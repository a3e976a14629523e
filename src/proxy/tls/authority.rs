//! The run's certificate authority: a key that is nowhere but in memory, unless somebody keeps one, and certificates in the
//! names of servers.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::{
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SigningKey},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CRYPTOGRAPHY;
use crate::{policy::matching::host::Subtree, traffic::secured::Validity};

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
    /// The certificate of its root, which is itself in most cases, DER.
    root: CertificateDer<'static>,
    /// What follows the certificate of a server: those that lead to the root, which is not among them.
    chain: Vec<CertificateDer<'static>>,
    /// How long it is valid.
    valid: Validity,
    /// The public key of every server's certificate.
    leaf: KeyPair,
    /// The private key of every server's certificate.
    leaf_key: Arc<dyn SigningKey>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes one for a run, confined to some hosts if they are known.
    ///
    /// # Errors
    /// If there is no randomness to be had.
    pub(super) fn new(run_id: &str, confined: Option<&[Subtree<'_>]>, now: SystemTime) -> Result<Self, String> {
        let ((about, certificate), key) =
            root(&format!("amb run {run_id} (ephemeral)"), confined, AUTHORITY_LIFE, now)?;
        let valid = Validity {
            from: now - BACKDATED,
            to: now + AUTHORITY_LIFE,
        };
        Self::of(Issuer::new(about, key), vec![certificate.der().clone()], valid)
    }

    /// One that somebody keeps, whose certificate comes first in its chain.
    ///
    /// # Errors
    /// If what it signs would not be taken for what it has signed.
    pub(super) fn kept(
        issuer: Issuer<'static, KeyPair>,
        chain: Vec<CertificateDer<'static>>,
        valid: Validity,
        now: SystemTime,
    ) -> Result<Self, String> {
        let own = chain[0].clone();
        let authority = Self::of(issuer, chain, valid)?;
        let leaf = authority.mint("localhost", now)?;
        let same = matches!(
            (X509Certificate::from_der(&leaf.cert[0]), X509Certificate::from_der(&own)),
            (Ok((_, leaf)), Ok((_, own))) if leaf.issuer().as_raw() == own.subject().as_raw()
        );
        if same {
            Ok(authority)
        } else {
            Err("amb cannot write its name into certificates as it is written there".to_owned())
        }
    }

    /// One with a key for servers of its own.
    fn of(
        issuer: Issuer<'static, KeyPair>,
        mut chain: Vec<CertificateDer<'static>>,
        valid: Validity,
    ) -> Result<Self, String> {
        let leaf = KeyPair::generate().map_err(|error| error.to_string())?;
        let leaf_key = CRYPTOGRAPHY
            .key_provider
            .load_private_key(PrivatePkcs8KeyDer::from(leaf.serialize_der()).into())
            .map_err(|error| error.to_string())?;
        let root = chain.pop().ok_or("there is no certificate")?;
        Ok(Self {
            issuer,
            root,
            chain,
            valid,
            leaf,
            leaf_key,
        })
    }

    /// The certificate that the command is to trust, PEM.
    pub fn pem(&self) -> String {
        let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
        pem::encode_config(&Pem::new("CERTIFICATE", self.root.to_vec()), lines)
    }

    /// The same, DER.
    pub fn der(&self) -> &[u8] {
        &self.root
    }

    /// Its private key, PKCS#8, for those who look for it where it must not be.
    pub(crate) fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
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
        // No longer than those are who vouch for it, and not before them.
        let from = (now - BACKDATED).max(self.valid.from);
        let to = (now + LEAF_LIFE).min(self.valid.to);
        be_valid(&mut about, from, to);
        let certificate = about.signed_by(&self.leaf, &self.issuer).map_err(said)?;
        let chain = std::iter::once(certificate.der()).chain(&self.chain).cloned();
        Ok(CertifiedKey::new(chain.collect(), Arc::clone(&self.leaf_key)))
    }
}

/// The certificate and key of a new authority that nobody vouches for: valid from a while ago, and for so long from now on.
///
/// # Errors
/// If there is no randomness to be had.
pub(super) fn root(
    name: &str,
    confined: Option<&[Subtree<'_>]>,
    life: Duration,
    now: SystemTime,
) -> Result<((CertificateParams, rcgen::Certificate), KeyPair), String> {
    let said = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(said)?;
    let mut about = CertificateParams::default();
    about.distinguished_name = rcgen::DistinguishedName::new();
    let common_name: String = name.chars().take(COMMON_NAME_LIMIT).collect();
    about.distinguished_name.push(DnType::CommonName, common_name);
    about.serial_number = Some(serial_number()?);
    about.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    about.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    about.name_constraints = confined.map(constraints);
    be_valid(&mut about, now - BACKDATED, now + life);
    let certificate = about.self_signed(&key).map_err(said)?;
    Ok(((about, certificate), key))
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

/// Makes it valid from one time to the other.
fn be_valid(about: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    let at = |time: SystemTime| {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + since_epoch
    };
    (about.not_before, about.not_after) = (at(from), at(to));
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
    use x509_parser::prelude::{GeneralName, ParsedExtension};

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
        roots.add(authority.root.clone()).expect("a root");
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
        let (_, root) = X509Certificate::from_der(&authority.root).expect("DER");
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
