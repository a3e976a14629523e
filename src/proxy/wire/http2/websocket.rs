//! A WebSocket's upgrade in HTTP/1.1 as the CONNECT that it is in HTTP/2, and back ([RFC 8441 §5.1]).
//!
//! [RFC 8441 §5.1]: https://www.rfc-editor.org/rfc/rfc8441#section-5.1

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// What a server appends to a key to show that it knows the protocol ([RFC 6455 §1.3]).
///
/// [RFC 6455 §1.3]: https://www.rfc-editor.org/rfc/rfc6455#section-1.3
const KNOWN: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Writes the lines that ask for an upgrade.
pub(super) fn ask(out: &mut Vec<u8>) {
    let mut nonce = [0; 16];
    fastrand::fill(&mut nonce);
    let key = STANDARD.encode(nonce);
    out.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
    out.extend_from_slice(format!("sec-websocket-key: {key}\r\n").as_bytes());
}

/// What a server answers to this key.
pub(super) fn accept(key: &[u8]) -> String {
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update(KNOWN);
    STANDARD.encode(digest.finalize())
}

/// Whether a field, by its name, is for the upgrade of HTTP/1.1 alone.
pub(super) fn is_of_upgrade(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"sec-websocket-key") || name.eq_ignore_ascii_case(b"sec-websocket-accept")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_rfc_has_it() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
