//! What the run's workers share about TLS: a certificate authority that only the command trusts, the servers' roots, and the
//! hosts whose decryption failed.
//!
//! Made before the command starts, and cheap unless something is configured: the system's roots are read when the first
//! server is to be verified.

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod leaves;
pub(crate) mod problem;
pub(crate) mod roots;
pub(crate) mod spared;
pub(crate) mod verify;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use thiserror::Error;

pub use self::authority::CertificateAuthority;
use self::{roots::Roots, spared::Spared};
use crate::policy::tls::{ClientFiles, Tls as TlsPolicy, Version};

/// The cryptography: ring, which builds with a C compiler alone.
pub(crate) static CRYPTOGRAPHY: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// Why TLS cannot be had as it was configured.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file of `[tls]` is not what it should be.
    #[error("{key}: {}: {reason}", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The authority could not be made.
    #[error("no certificate authority could be made: {0}")]
    Authority(String),
}

/// What the workers share; by default nothing is decrypted, and only the system's roots are believed. `Debug` shows no key.
#[derive(Default)]
pub struct Tls {
    /// The authority, if anything is to be decrypted.
    pub(crate) authority: Option<CertificateAuthority>,
    /// Whom servers must be vouched for by.
    pub(crate) roots: Arc<Roots>,
    /// What amb signs in with, where it is asked to.
    pub(crate) identity: Option<Arc<CertifiedKey>>,
    /// Hosts that are tunnelled although they were to be decrypted.
    pub(crate) spared: Spared,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes what is configured, for a run with this id.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn prepare(policy: &TlsPolicy, run_id: &str, now: SystemTime) -> Result<Self, TlsError> {
        let authority = policy
            .intercepts()
            .then(|| CertificateAuthority::new(run_id, policy.subtrees().as_deref(), now));
        let mut extra = Vec::new();
        for path in &policy.extra_roots {
            extra.append(&mut certificates("tls.extra-roots", path)?);
        }
        Ok(Self {
            authority: authority.transpose().map_err(TlsError::Authority)?,
            roots: Arc::new(Roots::new(extra)),
            identity: policy.client.as_ref().map(identity).transpose()?,
            spared: Spared::default(),
        })
    }

    /// The run's authority, which the command is to trust; none if nothing is decrypted.
    pub fn authority(&self) -> Option<&CertificateAuthority> {
        self.authority.as_ref()
    }
}

/// The certificates in a PEM file, which are more than none.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::File {
        key,
        path: path.to_owned(),
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(said(&error)))?
        .collect();
    let found = found.map_err(|error| wrong(said(&error)))?;
    if found.is_empty() {
        return Err(wrong(
            "there is no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned(),
        ));
    }
    Ok(found)
}

/// What is wrong with a PEM file, without the words around the kernel's.
fn said(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(reason) => reason.to_string(),
        other => other.to_string(),
    }
}

/// The certificate and its key that amb signs in with.
fn identity(files: &ClientFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates("tls.client-cert", &files.certificate)?;
    let wrong = |reason: String| TlsError::File {
        key: "tls.client-key",
        path: files.key.clone(),
        reason,
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => wrong("there is no private key in it".to_owned()),
        error => wrong(said(&error)),
    })?;
    let key = CertifiedKey::from_der(chain, key, &CRYPTOGRAPHY).map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(key))
}

/// The versions that will do.
pub(crate) fn versions(oldest: Version) -> &'static [&'static rustls::SupportedProtocolVersion] {
    static NEWEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match oldest {
        Version::Tls12 => rustls::ALL_VERSIONS,
        Version::Tls13 => &NEWEST,
    }
}
