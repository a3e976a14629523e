//! What a run has to do with certificates: those that amb makes and believes, and those that the command is to believe.

use std::{sync::Arc, time::SystemTime};

use crate::{
    config::Config,
    inject,
    proxy::{Tls, TlsErrors},
    sabotage,
    trust::{Directory, TrustError},
};

/// What TLS is spoken by, as far as the run has to do with it.
///
/// # Errors
/// It cannot be had as it was configured.
pub(super) fn tls(config: &Config, run_id: &str, started_at: SystemTime) -> Result<Arc<Tls>, TlsErrors> {
    let tls = Tls::prepare(&config.policy, run_id, started_at)?;
    for note in &tls.notes {
        tracing::warn!("{note}");
    }
    if let Some(authority) = tls.authority() {
        sabotage::disclose(&authority.pem(), || authority.key());
    }
    Ok(Arc::new(tls))
}

/// The files by which the command trusts amb; none if nothing is decrypted.
///
/// # Errors
/// They cannot be written.
pub(super) fn trust(tls: &Tls, inherited: &inject::Environment<'_>) -> Result<Option<Directory>, TrustError> {
    let Some(authority) = tls.authority() else {
        return Ok(None);
    };
    let directory = Directory::create(authority.der(), inherited)?;
    for note in &directory.files().notes {
        tracing::warn!("certificates: {note}");
    }
    Ok(Some(directory))
}
