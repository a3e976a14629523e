//! Whether a server is who it says: always asked, and nobody can say no to the question.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::{
        ResolvesClientCert, VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use x509_parser::{
    prelude::{ASN1Time, FromDer, X509Certificate},
    public_key::PublicKey,
};

use super::{CRYPTOGRAPHY, problem::CertificateProblem, roots::Roots};
use crate::{policy::tls::Pin, proxy::wire::tls};

/// The shortest RSA key that a server may have, in bits.
const SHORTEST_RSA: usize = 2048;

/// Verifies servers, and says what is wrong with those that fail.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// Follows the chain to a root; or why nothing can be followed.
    chains: Result<Arc<WebPkiServerVerifier>, VerifierBuilderError>,
    /// Certificates that are believed as they are, whatever they say about what they are for.
    own: Vec<CertificateDer<'static>>,
    /// Keys, one of which must be in the chain; empty for any.
    pins: Vec<Pin>,
}

impl Verifier {
    /// By these roots, revocation lists and pins.
    pub(crate) async fn new(
        roots: &Arc<Roots>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
        pins: Vec<Pin>,
    ) -> Self {
        let builder = WebPkiServerVerifier::builder_with_provider(roots.all().await, Arc::clone(&CRYPTOGRAPHY));
        Self {
            chains: builder
                .with_crls(revoked)
                .allow_unknown_revocation_status()
                .enforce_revocation_expiration()
                .build(),
            own: roots.extra().to_vec(),
            pins,
        }
    }

    /// Whether a certificate that is believed as it is is for this name, and now. A development server often has one that
    /// says to be an authority's, which nobody may have by the letter.
    ///
    /// # Errors
    /// What speaks against it.
    fn verify_own(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        let (_, read) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let time = |time: ASN1Time| UnixTime::since_unix_epoch(Duration::from_secs(time.timestamp().unsigned_abs()));
        let (not_before, not_after) = (time(read.validity().not_before), time(read.validity().not_after));
        if now.as_secs() > not_after.as_secs() {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        if now.as_secs() < not_before.as_secs() {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        Ok(())
    }

    /// Whether one of the certificates has one of the keys.
    fn has_pin(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> bool {
        std::iter::once(leaf).chain(chain).any(|certificate| {
            X509Certificate::from_der(certificate).is_ok_and(|(_, read)| {
                let hash: [u8; 32] = Sha256::digest(read.public_key().raw).into();
                self.pins.contains(&Pin(hash))
            })
        })
    }
}

/// The bits of an RSA key with which the handshake would fail in a way that nobody understands; none if it has enough.
fn short_key(leaf: &CertificateDer<'_>) -> Option<usize> {
    let (_, read) = X509Certificate::from_der(leaf).ok()?;
    match read.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()).filter(|bits| *bits < SHORTEST_RSA),
        _ => None,
    }
}

/// The error for a certificate that is not accepted.
fn refused(problem: CertificateProblem) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(problem))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chains = self.chains.as_ref().map_err(|error| {
            refused(CertificateProblem(match error {
                VerifierBuilderError::InvalidCrl(reason) => {
                    format!("a revocation list of tls.crl is of a kind that amb cannot use ({reason:?})")
                }
                _ => "no root certificates were found on this system (SSL_CERT_FILE names some)".to_owned(),
            }))
        })?;
        let verified = chains
            .verify_server_cert(leaf, chain, name, ocsp, now)
            .or_else(|error| {
                let is_revoked = matches!(error, Error::InvalidCertificate(CertificateError::Revoked));
                if is_revoked || !self.own.contains(leaf) {
                    return Err(error);
                }
                Self::verify_own(leaf, name, now).map(|()| ServerCertVerified::assertion())
            })
            .map_err(|error| match error {
                Error::InvalidCertificate(error) => refused(CertificateProblem::of(&error, leaf, chain, name)),
                other => other,
            })?;
        if let Some(bits) = short_key(leaf) {
            let reason =
                format!("its key is too short to be safe: RSA with {bits} bits, where {SHORTEST_RSA} are the least");
            return Err(refused(CertificateProblem(reason)));
        }
        if !self.pins.is_empty() && !self.has_pin(leaf, chain) {
            let reason = "neither its key nor that of one that vouches for it is among those of tls.pin";
            return Err(refused(CertificateProblem(reason.to_owned())));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &CRYPTOGRAPHY.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &CRYPTOGRAPHY.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        CRYPTOGRAPHY.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// What amb signs in with, where it is asked to.
#[derive(Debug)]
pub(crate) struct Identity(pub(crate) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if self.0.is_none() {
            tls::note_certificate_request();
        }
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
