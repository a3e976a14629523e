//! A certificate authority that somebody keeps in files: making one, reading it, telling what it is.

use std::{
    fs::File,
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    authority::{self, CertificateAuthority},
    means::{TlsError, certificates},
};
use crate::{
    policy::{matching::host::Subtree, tls::authority::AuthorityFiles},
    proxy::wire::tls::validity,
    traffic::secured::Validity,
};

/// The key that names the certificate's file.
const CERTIFICATE: &str = "tls.ca.cert";

/// The bits of a file's mode that let others read or write it.
const OTHERS: u32 = 0o077;

/// An authority that was made, to be kept.
pub struct MadeAuthority {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

/// Makes an authority of this name, valid for so long; confined to some hosts, if there are any.
///
/// # Errors
/// If it cannot be made of this.
pub fn make(name: &str, confined: &[Subtree<'_>], life: Duration, now: SystemTime) -> Result<MadeAuthority, String> {
    let confined = (!confined.is_empty()).then_some(confined);
    let (certificate, key) = authority::root(name, confined, life, now)?;
    Ok(MadeAuthority {
        certificate: certificate.1.pem(),
        key: key.serialize_pem(),
    })
}

/// What there is to know of an authority that is kept in files, a line for each thing: what it is, and the thing.
pub struct About {
    /// It.
    pub lines: Vec<(&'static str, String)>,
    /// Why it cannot be used, if it cannot.
    pub wrong: Option<String>,
}

/// Tells what is in these files.
///
/// # Errors
/// If there is no certificate to tell of.
pub fn describe(files: &AuthorityFiles, now: SystemTime) -> Result<About, String> {
    let chain = certificates(CERTIFICATE, &files.certificate).map_err(|error| error.to_string())?;
    let (_, read) =
        X509Certificate::from_der(&chain[0]).map_err(|_| "it is not encoded as a certificate".to_owned())?;
    let own = read.subject() == read.issuer();
    let mut lines = vec![
        ("certificate", files.certificate.display().to_string()),
        ("key", files.key.display().to_string()),
        ("subject", read.subject().to_string()),
        (
            "issuer",
            if own {
                "itself".to_owned()
            } else {
                read.issuer().to_string()
            },
        ),
        ("serial", read.raw_serial_as_string()),
        ("SHA-256", fingerprint(&chain[0])),
    ];
    if let Some(valid) = validity(&chain[0]) {
        lines.push(("valid", span(&valid, now)));
    }
    let wrong = read_authority(files, now).err().map(|error| error.to_string());
    Ok(About { lines, wrong })
}

/// The SHA-256 of a certificate as people compare it: `AB:CD:…`.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = Sha256::digest(certificate)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}

/// From when to when, and how long it is until then.
fn span(valid: &Validity, now: SystemTime) -> String {
    let days = |time: Duration| time.as_secs() / 86_400;
    let state = match (valid.to.duration_since(now), valid.from.duration_since(now)) {
        (Err(over), _) => format!("expired {} days ago", days(over.duration())),
        (_, Ok(until)) if !until.is_zero() => format!("not valid for {} days yet", days(until)),
        (Ok(left), _) => format!("{} days left", days(left)),
    };
    format!("{} to {} ({state})", moment(valid.from), moment(valid.to))
}

/// A point in time, to the second.
fn moment(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "ever".to_owned(), |time| format!("{time:.0}"))
}

/// Reads the authority, with what is worth knowing of it.
///
/// # Errors
/// If it cannot be used, with the file to blame.
pub(super) fn read_authority(
    files: &AuthorityFiles,
    now: SystemTime,
) -> Result<(CertificateAuthority, Option<String>), TlsError> {
    let key = private_key(&files.key)?;
    let chain = certificates(CERTIFICATE, &files.certificate)?;
    let wrong = TlsError::of_file(CERTIFICATE, &files.certificate);
    let valid = check(&chain, &key, &files.key, now).map_err(wrong)?;
    let issuer = Issuer::from_ca_cert_der(&chain[0], key).map_err(|error| wrong(error.to_string()))?;
    let note = valid.ends_soon(now).map(|left| {
        format!(
            "the certificate authority {} expires in {} days, on {}: `amb ca create` makes another",
            files.certificate.display(),
            left.as_secs() / 86_400,
            moment(valid.to)
        )
    });
    let authority = CertificateAuthority::kept(issuer, chain, valid, now).map_err(wrong)?;
    Ok((authority, note))
}

/// How long an authority is valid with whose key this is; all that speaks against it is an error.
fn check(
    chain: &[CertificateDer<'static>],
    key: &KeyPair,
    key_file: &Path,
    now: SystemTime,
) -> Result<Validity, String> {
    let parsed: Result<Vec<X509Certificate<'_>>, _> = chain
        .iter()
        .map(|certificate| X509Certificate::from_der(certificate).map(|(_, read)| read))
        .collect();
    let parsed = parsed.map_err(|_| "a certificate in it is not encoded as one".to_owned())?;
    for pair in parsed.windows(2) {
        if pair[0].issuer() != pair[1].subject() {
            return Err(
                "the certificates in it do not follow each other, from the authority's own to its root".to_owned(),
            );
        }
    }
    let own = &parsed[0];
    let constraints = own.basic_constraints().ok().flatten();
    if !constraints.is_some_and(|it| it.value.ca) {
        return Err("it is not that of an authority (CA:TRUE is missing)".to_owned());
    }
    let usage = own.key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err("its key may not sign certificates (keyCertSign is missing)".to_owned());
    }
    if own.public_key().raw != key.subject_public_key_info() {
        return Err(format!("{} is not its key", key_file.display()));
    }
    let valid = validity(&chain[0]).ok_or("its validity cannot be read")?;
    if now > valid.to {
        return Err(format!(
            "it has expired on {}: `amb ca create` makes another",
            moment(valid.to)
        ));
    }
    if now < valid.from {
        return Err(format!("it is not valid before {}", moment(valid.from)));
    }
    Ok(valid)
}

/// The private key in a file that nobody else may read.
fn private_key(path: &Path) -> Result<KeyPair, TlsError> {
    let wrong = TlsError::of_file("tls.ca.key", path);
    let said = |error: io::Error| wrong(error.to_string());
    let file = File::open(path).map_err(said)?;
    let mode = file.metadata().map_err(said)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(wrong(format!(
            "others may read or change it (mode {:o}), and whoever has it can pretend to be any server: chmod 600 {}",
            mode & 0o777,
            path.display()
        )));
    }
    let text = io::read_to_string(file).map_err(said)?;
    KeyPair::from_pem(&text).map_err(|error| wrong(format!("no private key that amb can sign with: {error}")))
}
