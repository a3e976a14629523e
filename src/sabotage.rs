//! Failures on request, for the tests that show what amb does when it fails itself. A release build has none of them.

use std::env;

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
