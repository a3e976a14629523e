//! PEM: certificates as text ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468)).

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use pem::{EncodeConfig, LineEnding, Pem};

/// The labels of what belongs in a bundle; private keys and parameters do not, whoever may have put them there.
///
/// `TRUSTED CERTIFICATE` is OpenSSL's own, a certificate and what it is trusted for.
const LABELS: [&str; 4] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL"];

/// Certificates and revocation lists, each once, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundle {
    /// The text: block after block.
    text: String,
    /// The base64 of each block, without white space: what is the same, whatever stands around it.
    known: HashSet<String>,
    /// The certificates, in DER.
    certificates: Vec<Vec<u8>>,
}

impl Bundle {
    /// Adds what is in `text`; returns how many certificates that are. The rest of the text is left out.
    pub(super) fn add(&mut self, text: &[u8]) -> usize {
        let text = String::from_utf8_lossy(text);
        let mut rest = &*text;
        let mut count = 0;
        while let Some((label, body, after)) = next_block(rest) {
            rest = after;
            if !LABELS.contains(&label) {
                continue;
            }
            let body: String = body.split_ascii_whitespace().collect();
            let Ok(der) = STANDARD.decode(&body) else { continue };
            let is_certificate = label.ends_with("CERTIFICATE");
            count += usize::from(is_certificate);
            if self.known.insert(body) {
                self.text.push_str(&encode(label, &der));
                if let Some(certificate) = first_element(&der).filter(|_| is_certificate) {
                    self.certificates.push(certificate.to_vec());
                }
            }
        }
        count
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The certificates, in DER.
    pub(super) fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }
}

/// Whether there is a private key in a text.
pub(super) fn has_key(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut rest = &*text;
    while let Some((label, _, after)) = next_block(rest) {
        if label.ends_with("PRIVATE KEY") {
            return true;
        }
        rest = after;
    }
    false
}

/// A block of PEM.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), lines)
}

/// The next block in a text: its label, its body, and what stands behind it.
fn next_block(text: &str) -> Option<(&str, &str, &str)> {
    let mut rest = text;
    loop {
        (_, rest) = rest.split_once("-----BEGIN ")?;
        let (label, after) = rest.split_once("-----")?;
        let end = format!("-----END {label}-----");
        // A block that is cut off does not swallow the next one.
        if let Some((body, behind)) = after.split_once(end.as_str())
            && !body.contains("-----BEGIN ")
        {
            return Some((label, body, behind));
        }
    }
}

/// The first DER element: behind the certificate, a `TRUSTED CERTIFICATE` says what it is trusted for.
fn first_element(der: &[u8]) -> Option<&[u8]> {
    let (header, length) = match der {
        [0x30, short @ 0..=0x7f, ..] => (2, usize::from(*short)),
        [0x30, 0x81, one, ..] => (3, usize::from(*one)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    };
    der.get(..header + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that looks like a certificate to those who do not look inside.
    fn certificate(byte: u8) -> Vec<u8> {
        [&[0x30, 100], [byte; 100].as_slice()].concat()
    }

    #[test]
    fn each_certificate_is_kept_once_whatever_stands_around_it() {
        let one = encode("CERTIFICATE", &certificate(1));
        let two = encode("CERTIFICATE", &certificate(2)).replace('\n', "\r\n");
        let text = format!("# Root One\n{one}\n\nsubject: two\n{two}{one}tail");
        let mut bundle = Bundle::default();
        assert_eq!(bundle.add(text.as_bytes()), 3);
        assert_eq!(bundle.add(one.as_bytes()), 1);
        assert_eq!(bundle.text(), one + &two.replace('\r', ""));
        assert_eq!(bundle.certificates(), [certificate(1), certificate(2)]);
    }

    #[test]
    fn a_key_never_gets_into_a_bundle() {
        let certificate = encode("CERTIFICATE", &certificate(1));
        let list = encode("X509 CRL", &[0x30, 1, 2]);
        let mut text = certificate.clone() + &list;
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "DH PARAMETERS",
        ] {
            text.push_str(&encode(label, b"secret"));
        }
        let mut bundle = Bundle::default();
        assert_eq!(bundle.add(text.as_bytes()), 1);
        assert_eq!(bundle.text(), certificate + &list);
    }

    #[test]
    fn what_is_broken_is_left_out_and_the_rest_is_not() {
        let good = encode("CERTIFICATE", &certificate(1));
        for broken in [
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN ",
            "\u{0}\u{1}",
        ] {
            let mut bundle = Bundle::default();
            assert_eq!(
                bundle.add(format!("{broken}{good}{broken}").as_bytes()),
                1,
                "{broken:?}"
            );
            assert_eq!(bundle.text(), good, "{broken:?}");
        }
        assert_eq!(Bundle::default().add(&[0xff, 0xfe]), 0);
    }

    #[test]
    fn what_a_certificate_is_trusted_for_is_kept_in_text_only() {
        let trusted = [certificate(1), vec![0x30, 0]].concat();
        let mut bundle = Bundle::default();
        bundle.add(encode("TRUSTED CERTIFICATE", &trusted).as_bytes());
        assert_eq!(bundle.text(), encode("TRUSTED CERTIFICATE", &trusted));
        assert_eq!(bundle.certificates(), [certificate(1)]);
    }
}
