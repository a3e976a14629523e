//! What the run's workers share about TLS: a certificate authority that only the command trusts, the servers' roots, and the
//! hosts whose decryption failed.
//!
//! Made before the command starts, and cheap unless something is configured: the system's roots are read when the first
//! server is to be verified.

pub(crate) mod authority;
pub(crate) mod client;
pub mod kept;
pub(crate) mod leaves;
pub(crate) mod means;
pub(crate) mod problem;
pub(crate) mod roots;
pub(crate) mod spared;
pub mod trial;
pub(crate) mod verify;

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use rustls::crypto::{CryptoProvider, ring};

pub use self::{authority::CertificateAuthority, means::TlsErrors, roots::system_roots};
use self::{
    means::{Means, Reading, TlsError},
    spared::Spared,
};
use crate::policy::{
    Policy,
    tls::{Version, servers::ServerTls},
};

/// The cryptography: ring, which builds with a C compiler alone.
pub(crate) static CRYPTOGRAPHY: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// What the workers share; by default nothing is decrypted, and only the system's roots are believed. `Debug` shows no key.
pub struct Tls {
    /// The authority, if anything is to be decrypted.
    pub(crate) authority: Option<CertificateAuthority>,
    /// How amb speaks TLS with servers: what holds for all first, then what routes have otherwise.
    means: Vec<Arc<Means>>,
    /// What is worth knowing of the files that were read, a sentence each.
    pub notes: Vec<String>,
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

impl Default for Tls {
    fn default() -> Self {
        Self {
            authority: None,
            means: vec![Arc::default()],
            notes: Vec::new(),
            spared: Spared::default(),
        }
    }
}

impl Tls {
    /// Makes what is configured, for a run with this id.
    ///
    /// # Errors
    /// If files cannot be used: all of them.
    pub fn prepare(policy: &Policy, run_id: &str, now: SystemTime) -> Result<Self, TlsErrors> {
        let mut reading = Reading::default();
        let means = policy
            .server_tls()
            .into_iter()
            .map(|(route, demands)| Arc::new(reading.means(route.map(|id| &**id), demands)))
            .collect();
        let (subtrees, wanted) = (policy.tls.subtrees(), policy.tls.intercepts());
        let authority = match &policy.tls.authority {
            _ if !wanted => None,
            Some(files) => reading.authority(files, now),
            None => {
                let made = CertificateAuthority::new(run_id, subtrees.as_deref(), now);
                reading.unless_wrong(made.map_err(TlsError::Authority))
            }
        };
        let notes = reading.finish()?;
        Ok(Self {
            authority,
            means,
            notes,
            spared: Spared::default(),
        })
    }

    /// The run's authority, which the command is to trust; none if nothing is decrypted.
    pub fn authority(&self) -> Option<&CertificateAuthority> {
        self.authority.as_ref()
    }

    /// How amb speaks TLS with servers of which this is demanded; none if it was not among what was prepared.
    pub(crate) fn means(&self, demands: &Arc<ServerTls>) -> Option<&Arc<Means>> {
        self.means
            .iter()
            .find(|means| Arc::ptr_eq(&means.demands, demands) || means.demands == *demands)
    }
}

/// The versions that will do.
pub(crate) fn versions(oldest: Version) -> &'static [&'static rustls::SupportedProtocolVersion] {
    static NEWEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match oldest {
        Version::Tls12 => rustls::ALL_VERSIONS,
        Version::Tls13 => &NEWEST,
    }
}
