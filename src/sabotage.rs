//! Failures on request, for the tests that show what amb does when it fails itself. A release build has none of them.

use std::{env, fs};

/// The variable that names the place to fail at.
const VARIABLE: &str = "AMB_SABOTAGE";

/// The variable that names a file for the certificate of the run's authority.
const DISCLOSURE: &str = "AMB_SABOTAGE_CA";

/// The variable that names a file for its private key, which a test then looks for everywhere else.
const KEY_DISCLOSURE: &str = "AMB_SABOTAGE_CA_KEY";

/// Writes the certificate of the run's authority, and its key, to where a test wants them.
pub(crate) fn disclose(pem: &str, key: impl FnOnce() -> Vec<u8>) {
    if cfg!(debug_assertions) {
        if let Some(path) = env::var_os(DISCLOSURE) {
            fs::write(path, pem).expect("a test can read what it asks for");
        }
        if let Some(path) = env::var_os(KEY_DISCLOSURE) {
            fs::write(path, key()).expect("a test can read what it asks for");
        }
    }
}

/// Whether a test wants amb to fail at `place`.
pub(crate) fn is_wanted(place: &str) -> bool {
    cfg!(debug_assertions) && env::var_os(VARIABLE).is_some_and(|wanted| wanted == place)
}

/// Panics with a secret in its message, if a test wants to see that it is not written.
pub(crate) fn blurt_out(place: &str, secret: &[u8]) {
    assert!(
        !is_wanted(place),
        "as a test wants it: {}",
        String::from_utf8_lossy(secret)
    );
}

/// Panics if a test wants amb to fail at `place`.
pub(crate) fn strike(place: &str) {
    assert!(!is_wanted(place), "as a test wants it");
}
