//! The JVM's own format of a trust store, JKS, in the part that holds certificates.
//!
//! Every JVM reads it, with its password or without, whatever format is its default; of PKCS#12 it reads only what
//! carries an attribute of Java's own, and nothing without a password. The format is not written down anywhere but in
//! `sun.security.provider.JavaKeyStore` of `OpenJDK`: numbers are big-endian, texts have two bytes for their length.

use sha1::{Digest, Sha1};

/// The password of the stores that are written here: Java's own, which is no secret and protects nothing.
pub(super) const PASSWORD: &str = "changeit";

/// What a store begins with.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// What a store of the variant JCEKS begins with, whose entries for certificates are the same.
pub(super) const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

/// The version with the type of each certificate.
const VERSION: u32 = 2;

/// The tag of an entry with a private key and the certificates that belong to it.
const KEY: u32 = 1;

/// The tag of an entry with a certificate that is trusted.
const TRUSTED: u32 = 2;

/// The type of every certificate.
const X509: &str = "X.509";

/// What goes into the digest between the password and the store.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// A store that trusts `certificates`, each in DER and with a name of its own.
pub(super) fn write<'a>(certificates: impl IntoIterator<Item = (String, &'a [u8])>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count: u32 = 0;
    for (alias, der) in certificates {
        let Ok(length) = u32::try_from(der.len()) else { continue };
        entries.extend(TRUSTED.to_be_bytes());
        text(&mut entries, &alias);
        // When it was added, in milliseconds: nobody looks at it.
        entries.extend(0_u64.to_be_bytes());
        text(&mut entries, X509);
        entries.extend(length.to_be_bytes());
        entries.extend(der);
        count += 1;
    }
    let mut store = [&MAGIC, VERSION.to_be_bytes().as_slice(), &count.to_be_bytes(), &entries].concat();
    let mut digest = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(WHITENER);
    digest.update(&store);
    store.extend(digest.finalize());
    store
}

/// Appends a short text of ASCII.
fn text(bytes: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or_default();
    bytes.extend(length.to_be_bytes());
    bytes.extend(&text.as_bytes()[..length.into()]);
}

/// The certificates that a JVM would trust by this store, in DER; `None` if it is none, or is cut off.
///
/// Like a JVM that was given no password, this does not look at the digest. Of an entry with a private key the JVM
/// trusts the first certificate (`sun.security.util.TrustStoreUtil`).
pub(super) fn read(store: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = Reader(store);
    let magic = rest.take(4)?;
    if magic != MAGIC && magic != JCEKS_MAGIC {
        return None;
    }
    let version = rest.number()?;
    if version != 1 && version != VERSION {
        return None;
    }
    let count = rest.number()?;
    let mut certificates = Vec::new();
    for _ in 0..count {
        let tag = rest.number()?;
        rest.text()?;
        rest.take(8)?;
        let held = match tag {
            KEY => {
                rest.sized()?;
                rest.number()?
            }
            TRUSTED => 1,
            // A secret key of JCEKS: a serialized object, whose end only Java knows.
            _ => return None,
        };
        for index in 0..held {
            if version == VERSION {
                rest.text()?;
            }
            let certificate = rest.sized()?;
            if index == 0 {
                certificates.push(certificate.to_vec());
            }
        }
    }
    Some(certificates)
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next number.
    fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Bytes behind their length.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// A text behind its length.
    fn text(&mut self) -> Option<&'a [u8]> {
        let bytes = self.take(2)?;
        self.take(u16::from_be_bytes(bytes.try_into().ok()?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of two certificates.
    fn store() -> Vec<u8> {
        write([("one".to_owned(), b"first".as_slice()), ("two".to_owned(), b"second")])
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(read(&store()).unwrap(), [b"first".to_vec(), b"second".to_vec()]);
        assert_eq!(read(&write([])).unwrap(), [b""; 0]);
        let mut jceks = store();
        jceks[..4].copy_from_slice(&JCEKS_MAGIC);
        assert_eq!(read(&jceks).unwrap().len(), 2);
    }

    #[test]
    fn an_entry_with_a_key_is_trusted_by_its_first_certificate() {
        let mut store = [MAGIC, 2_u32.to_be_bytes(), 1_u32.to_be_bytes()].concat();
        store.extend(KEY.to_be_bytes());
        text(&mut store, "mine");
        store.extend([0; 8]);
        store.extend([0, 0, 0, 3, b'k', b'e', b'y']);
        store.extend(2_u32.to_be_bytes());
        for certificate in [b"leaf", b"root"] {
            text(&mut store, X509);
            store.extend(4_u32.to_be_bytes());
            store.extend(certificate);
        }
        assert_eq!(read(&store).unwrap(), [b"leaf"]);
    }

    #[test]
    fn what_is_no_store_or_is_cut_off_is_refused() {
        let store = store();
        let entries = store.len() - 20;
        for length in 0..entries {
            assert!(read(&store[..length]).is_none(), "{length}");
        }
        let mut endless = store.clone();
        endless[8..12].copy_from_slice(&[0xff; 4]);
        assert!(read(&endless).is_none());
        let mut newer = store;
        newer[7] = 3;
        assert!(read(&newer).is_none());
    }
}
