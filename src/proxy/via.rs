//! `Via`: says that amb was here, and thereby finds loops ([RFC 9110 §7.6.3]).
//!
//! [RFC 9110 §7.6.3]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3

use super::{
    error::ExchangeError,
    wire::head::{Fields, Version},
};

/// amb's entry in `Via`.
#[derive(Debug)]
pub(crate) struct Via {
    /// `amb-` and some letters of the run's own, so that one amb inside another is not taken for a loop.
    pseudonym: String,
    /// The entry for a message that came as HTTP/1.0, as HTTP/1.1 and as HTTP/2; none with `--no-via`.
    entries: Option<[String; 3]>,
}

impl Via {
    /// The entry of the run `run_id`; nothing is added if not `shown`.
    pub(crate) fn new(run_id: &str, shown: bool) -> Self {
        let letters: String = run_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let pseudonym = format!("amb-{}", &letters[letters.len().saturating_sub(6)..]).to_ascii_lowercase();
        let entries = shown.then(|| ["1.0", "1.1", "2.0"].map(|version| format!("{version} {pseudonym}")));
        Self { pseudonym, entries }
    }

    /// Adds the entry behind those that are there.
    pub(crate) fn add(&self, fields: &mut Fields, version: Version) {
        if let Some([http10, http11, http2]) = &self.entries {
            let entry = match version {
                Version::Http10 => http10,
                Version::Http11 => http11,
                Version::Http2 => http2,
            };
            fields.append("Via", entry.as_bytes());
        }
    }

    /// Whether a message was here before.
    pub(crate) fn check_loop(&self, fields: &Fields) -> Result<(), ExchangeError> {
        let is_own = |entry: &[u8]| {
            entry
                .split(u8::is_ascii_whitespace)
                .any(|word| word == self.pseudonym.as_bytes())
        };
        if fields.any_member("via", is_own) {
            Err(ExchangeError::LoopDetected)
        } else {
            Ok(())
        }
    }
}
