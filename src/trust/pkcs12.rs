//! PKCS#12, the JVM's other format of a trust store ([RFC 7292](https://www.rfc-editor.org/rfc/rfc7292)), in the part
//! that holds certificates. It is read and never written.
//!
//! Two kinds are read: stores without a password, as Java 18 and later bring along, and stores encrypted by PBES2 with
//! AES and PBKDF2, as keytool writes them since 2021 and OpenSSL since version 3. The kinds before those, by RC2 and
//! triple DES, are not.

use aes::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// `data`: contents in the clear.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// `encryptedData`: contents encrypted by a password.
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];

/// `certBag`: an entry that holds a certificate.
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];

/// `x509Certificate`: the kind of certificate.
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];

/// Java's own attribute `trustedKeyUsage` (2.16.840.1.113894.746875.1.1), without which it does not trust a certificate.
const TRUSTED: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];

/// `PBES2` ([RFC 8018 §6.2](https://www.rfc-editor.org/rfc/rfc8018#section-6.2)).
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];

/// `PBKDF2` ([RFC 8018 §5.2](https://www.rfc-editor.org/rfc/rfc8018#section-5.2)).
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];

/// What the functions of PBKDF2 have in common but for the last byte: 7, 9, 10, 11 for HMAC with SHA-1, 256, 384, 512.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];

/// `aes128-CBC-PAD`.
const AES_128: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];

/// `aes256-CBC-PAD`.
const AES_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// The most rounds of PBKDF2 that are made: keytool makes 10 000, and a start must not take minutes.
const MOST_ROUNDS: u32 = 1_000_000;

/// DER's tags.
const INTEGER: u8 = 0x02;
/// Bytes.
const OCTETS: u8 = 0x04;
/// The name of something.
const OBJECT: u8 = 0x06;
/// A sequence.
const SEQUENCE: u8 = 0x30;
/// What is in brackets with a zero, and holds another element.
const EXPLICIT: u8 = 0xa0;
/// What is in brackets with a zero, in the place of bytes.
const IMPLICIT: u8 = 0x80;

/// The certificates that a JVM would trust by this store and one of these passwords, in DER.
///
/// `None` if it is no such store, if no password fits, or if it is encrypted in a way that is not known here.
pub(super) fn read(store: &[u8], passwords: &[&str]) -> Option<Vec<Vec<u8>>> {
    let mut store = Elements(Elements(store).expect(SEQUENCE)?);
    store.expect(INTEGER)?;
    let contents = data(store.expect(SEQUENCE)?)?;
    let mut certificates = Vec::new();
    for (_, safe) in Elements(Elements(contents).expect(SEQUENCE)?) {
        if let Some(clear) = data(safe) {
            collect(clear, &mut certificates)?;
        } else {
            // A wrong password shows in the padding, or in what cannot be an entry.
            let found = passwords.iter().find_map(|password| {
                let mut found = Vec::new();
                collect(&decrypt(safe, password.as_bytes())?, &mut found)?;
                Some(found)
            });
            certificates.extend(found?);
        }
    }
    Some(certificates)
}

/// What a `ContentInfo` holds in the clear.
fn data(info: &[u8]) -> Option<&[u8]> {
    let mut info = Elements(info);
    (info.expect(OBJECT)? == DATA).then_some(())?;
    Elements(info.expect(EXPLICIT)?).expect(OCTETS)
}

/// Adds the certificates of a `SafeContents` that Java trusts.
fn collect(contents: &[u8], certificates: &mut Vec<Vec<u8>>) -> Option<()> {
    for (_, bag) in Elements(Elements(contents).expect(SEQUENCE)?) {
        let mut bag = Elements(bag);
        let kind = bag.expect(OBJECT)?;
        let value = bag.expect(EXPLICIT)?;
        // A key's chain lies in such entries, too, and is not trusted by that.
        let is_trusted = bag.0.windows(TRUSTED.len()).any(|window| window == TRUSTED);
        if kind == CERTIFICATE_BAG && is_trusted {
            let mut certificate = Elements(Elements(value).expect(SEQUENCE)?);
            if certificate.expect(OBJECT)? == X509 {
                let der = Elements(certificate.expect(EXPLICIT)?).expect(OCTETS)?;
                certificates.push(der.to_vec());
            }
        }
    }
    Some(())
}

/// What an encrypted `ContentInfo` holds.
fn decrypt(info: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let mut info = Elements(info);
    (info.expect(OBJECT)? == ENCRYPTED_DATA).then_some(())?;
    let mut encrypted = Elements(Elements(info.expect(EXPLICIT)?).expect(SEQUENCE)?);
    encrypted.expect(INTEGER)?;
    let mut content = Elements(encrypted.expect(SEQUENCE)?);
    (content.expect(OBJECT)? == DATA).then_some(())?;
    let mut algorithm = Elements(content.expect(SEQUENCE)?);
    let ciphertext = content.expect(IMPLICIT)?;

    (algorithm.expect(OBJECT)? == PBES2).then_some(())?;
    let mut parameters = Elements(algorithm.expect(SEQUENCE)?);
    let mut derivation = Elements(parameters.expect(SEQUENCE)?);
    let mut cipher = Elements(parameters.expect(SEQUENCE)?);
    (derivation.expect(OBJECT)? == PBKDF2).then_some(())?;
    let derivation = derivation.expect(SEQUENCE)?;
    let name = cipher.expect(OBJECT)?;
    let start = cipher.expect(OCTETS)?;
    if name == AES_256 {
        let key = derive::<32>(derivation, password)?;
        let decryptor = cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, start).ok()?;
        decryptor.decrypt_padded_vec::<Pkcs7>(ciphertext).ok()
    } else if name == AES_128 {
        let key = derive::<16>(derivation, password)?;
        let decryptor = cbc::Decryptor::<aes::Aes128>::new_from_slices(&key, start).ok()?;
        decryptor.decrypt_padded_vec::<Pkcs7>(ciphertext).ok()
    } else {
        None
    }
}

/// A key by these parameters of PBKDF2.
fn derive<const LENGTH: usize>(parameters: &[u8], password: &[u8]) -> Option<[u8; LENGTH]> {
    let mut parameters = Elements(parameters);
    let salt = parameters.expect(OCTETS)?;
    let rounds = number(parameters.expect(INTEGER)?).filter(|rounds| (1..=MOST_ROUNDS).contains(rounds))?;
    let mut function = None;
    for (tag, value) in parameters {
        // The length of the key may stand in between; the cipher says the same.
        if tag == SEQUENCE {
            function = Some(Elements(value).expect(OBJECT)?);
        }
    }
    Some(match function.map(|function| function.strip_prefix(HMAC)) {
        None | Some(Some([7])) => pbkdf2::pbkdf2_hmac_array::<Sha1, LENGTH>(password, salt, rounds),
        Some(Some([9])) => pbkdf2::pbkdf2_hmac_array::<Sha256, LENGTH>(password, salt, rounds),
        Some(Some([10])) => pbkdf2::pbkdf2_hmac_array::<Sha384, LENGTH>(password, salt, rounds),
        Some(Some([11])) => pbkdf2::pbkdf2_hmac_array::<Sha512, LENGTH>(password, salt, rounds),
        Some(_) => return None,
    })
}

/// A positive number of at most four bytes.
fn number(bytes: &[u8]) -> Option<u32> {
    let significant = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let fits = significant.len() <= 4 && !significant.is_empty();
    fits.then(|| {
        significant
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    })
}

/// The elements of some DER that are still to be read.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next one, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, contents)| contents)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    /// The next one: its tag and its contents. `None` at the end, and where the bytes are no DER.
    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (usize::try_from(number(bytes)?).ok()?, rest)
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element.
    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x84], length.as_slice(), contents].concat()
    }

    /// Elements in a sequence.
    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        element(SEQUENCE, &parts.concat())
    }

    /// A `ContentInfo` in the clear.
    fn clear(contents: &[u8]) -> Vec<u8> {
        let contents = element(EXPLICIT, &element(OCTETS, contents));
        sequence(&[element(OBJECT, DATA), contents])
    }

    /// An entry with a certificate.
    fn bag(certificate: &[u8], is_trusted: bool) -> Vec<u8> {
        let certificate = element(EXPLICIT, &element(OCTETS, certificate));
        let certificate = element(EXPLICIT, &sequence(&[element(OBJECT, X509), certificate]));
        let trusted = sequence(&[element(OBJECT, TRUSTED), element(0x31, &[])]);
        let attributes = element(0x31, if is_trusted { &trusted } else { &[] });
        sequence(&[element(OBJECT, CERTIFICATE_BAG), certificate, attributes])
    }

    /// A store without a password.
    fn store(bags: &[Vec<u8>]) -> Vec<u8> {
        let safes = sequence(&[clear(&sequence(bags))]);
        sequence(&[element(INTEGER, &[3]), clear(&safes)])
    }

    #[test]
    fn only_what_java_trusts_is_taken() {
        let found = read(&store(&[bag(b"root", true), bag(b"chain", false)]), &[]).unwrap();
        assert_eq!(found, [b"root"]);
        assert_eq!(read(&store(&[]), &[]).unwrap(), [b""; 0]);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let whole = store(&[bag(b"root", true)]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length], &[]).is_none(), "{length}");
        }
        for other in [b"".as_slice(), &[0x30, 0x80, 0, 0], &[0x30, 0x89], &[0xff; 40]] {
            assert!(read(other, &["changeit"]).is_none(), "{other:?}");
        }
    }
}
