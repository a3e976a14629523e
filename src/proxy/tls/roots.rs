//! Whom servers must be vouched for by: the system's roots, and those of `tls.extra-roots`.

use std::sync::{Arc, OnceLock};

use rustls::{RootCertStore, pki_types::CertificateDer};

/// How many roots amb believes in by itself, which are the system's, and what is wrong with where they are kept.
pub fn system_roots() -> (usize, Vec<String>) {
    let system = rustls_native_certs::load_native_certs();
    let (known, _) = RootCertStore::empty().add_parsable_certificates(system.certs);
    (known, system.errors.iter().map(ToString::to_string).collect())
}

/// Roots, read once, when they are needed first.
#[derive(Default)]
pub(crate) struct Roots {
    /// The system's, once they were read.
    system: Arc<OnceLock<RootCertStore>>,
    /// Those that are configured.
    extra: Vec<CertificateDer<'static>>,
    /// All, once they were read.
    all: OnceLock<Arc<RootCertStore>>,
}

impl Roots {
    /// These beside the system's, which both share.
    pub(super) fn with(&self, extra: Vec<CertificateDer<'static>>) -> Self {
        Self {
            system: Arc::clone(&self.system),
            extra,
            all: OnceLock::new(),
        }
    }

    /// Those that are configured.
    pub(crate) fn extra(&self) -> &[CertificateDer<'static>] {
        &self.extra
    }

    /// All of them. Reads the system's in a thread of its own, the first time: that takes some milliseconds.
    pub(crate) async fn all(self: &Arc<Self>) -> Arc<RootCertStore> {
        if let Some(all) = self.all.get() {
            return Arc::clone(all);
        }
        let roots = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || Arc::clone(roots.all.get_or_init(|| Arc::new(roots.read()))));
        // If that thread panicked, nobody is believed.
        read.await.unwrap_or_else(|_| Arc::new(RootCertStore::empty()))
    }

    /// All of them, those of the system read by the first that needs them.
    fn read(&self) -> RootCertStore {
        let mut roots = self.system.get_or_init(Self::read_system).clone();
        let (known, odd) = roots.add_parsable_certificates(self.extra.iter().cloned());
        if odd > 0 {
            tracing::warn!(known, odd, "not every certificate of tls.extra-roots can be used");
        }
        roots
    }

    /// Reads the system's: from where it has them, or from where `SSL_CERT_FILE` and `SSL_CERT_DIR` in amb's own environment
    /// say.
    fn read_system() -> RootCertStore {
        let system = rustls_native_certs::load_native_certs();
        for reason in &system.errors {
            tracing::warn!(%reason, "some of the system's root certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        // Some stores hold what is no certificate of today any more.
        let (known, odd) = roots.add_parsable_certificates(system.certs);
        tracing::debug!(known, odd, "read the system's root certificates");
        roots
    }
}
