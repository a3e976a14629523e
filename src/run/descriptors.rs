//! How many descriptors amb may have, which are not as many as the command gets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets amb itself have as many descriptors as it may; returns what the child is to have as before.
pub(super) fn raise_limit() -> Option<Rlimit> {
    let inherited = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: inherited.maximum,
        maximum: inherited.maximum,
    };
    if inherited.current == inherited.maximum {
        return None;
    }
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => Some(inherited),
        Err(reason) => {
            tracing::debug!(%reason, "the limit of descriptors stays as it is");
            None
        }
    }
}
