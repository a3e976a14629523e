//! What was done about credentials, and what amb asked on its own account.

use crate::{
    report::{
        color::{HEADING, Stream},
        text::{plural, wrap},
    },
    traffic::credentials::Credentials,
};

/// The section, with an empty line before it; none if there was nothing to do.
pub(super) fn section(credentials: &Credentials, stream: &Stream) -> Vec<String> {
    let mut facts = Vec::new();
    if credentials.signed_in > 0 {
        facts.push(format!("{} signed in by amb", plural(credentials.signed_in, "request")));
    }
    if credentials.stand_ins > 0 {
        let count = plural(credentials.stand_ins, "name");
        facts.push(format!("{count} of secrets replaced by them"));
    }
    if credentials.token_requests > 0 {
        facts.push(format!(
            "{} of amb's own for tokens, {} failed",
            plural(credentials.token_requests, "request"),
            credentials.token_failures,
        ));
    }
    if facts.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("  {}", stream.paint(HEADING, "CREDENTIALS"))];
    for fact in facts {
        lines.extend(wrap(&fact, stream.columns, "    ").lines().map(str::to_owned));
    }
    lines
}
