//! Failures on request, for the tests that show what amb does when it fails itself. A release build has none of them.

use std::{env, fs, io, path::PathBuf};

/// The variable that names the place to fail at.
const VARIABLE: &str = "AMB_SABOTAGE";

/// Whether a test wants amb to fail at `place`.
pub(crate) fn is_wanted(place: &str) -> bool {
    cfg!(debug_assertions) && env::var_os(VARIABLE).is_some_and(|wanted| wanted == place)
}

/// Panics if a test wants amb to fail at `place`.
pub(crate) fn strike(place: &str) {
    assert!(!is_wanted(place), "as a test wants it");
}

/// The variable by which a test gives amb the certificate of an authority to trust, in DER, as a file.
// Until HTTPS is opened and amb makes an authority of its own.
const AUTHORITY: &str = "AMB_SABOTAGE_AUTHORITY";

/// Where a test has put the certificate of an authority that the child is to trust.
pub(crate) fn authority_file() -> Option<PathBuf> {
    cfg!(debug_assertions).then(|| env::var_os(AUTHORITY))?.map(Into::into)
}

/// The certificate of an authority that the child is to trust, if a test gives one.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn authority() -> io::Result<Option<Vec<u8>>> {
    authority_file().map(fs::read).transpose()
}
