//! What amb speaks TLS with servers by, once its files are read: whom it believes, and what it signs in with.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls::{
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use thiserror::Error;
use x509_parser::prelude::{CertificateRevocationList, FromDer};
use zeroize::Zeroizing;

use super::{CRYPTOGRAPHY, authority::CertificateAuthority, kept, roots::Roots};
use crate::policy::tls::{
    authority::AuthorityFiles,
    servers::{ClientFiles, Key, ServerTls},
};

/// The most bytes that a file may have: many times what all authorities of the world have.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// What one set of demands comes to.
#[derive(Default)]
pub(crate) struct Means {
    /// What is demanded.
    pub(crate) demands: Arc<ServerTls>,
    /// Whom servers must be vouched for by.
    pub(crate) roots: Arc<Roots>,
    /// What authorities have revoked.
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
    /// What amb signs in with, where it is asked to.
    pub(crate) identity: Option<Arc<CertifiedKey>>,
}

/// Why TLS cannot be had as it was configured.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum TlsError {
    /// A file is not what it should be.
    #[error("{key}: {}: {reason}", path.display())]
    File {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The authority could not be made.
    #[error("no certificate authority could be made: {0}")]
    Authority(String),
}

impl TlsError {
    /// What is wrong with the file at `path`, which `key` names, for a reason.
    pub(super) fn of_file<'a>(key: &'a str, path: &'a Path) -> impl Fn(String) -> Self + Copy + 'a {
        move |reason| Self::File {
            key: key.to_owned(),
            path: path.to_owned(),
            reason,
        }
    }
}

/// Everything because of which TLS cannot be had as it was configured: at least one, a line each.
#[derive(Debug, Error)]
pub struct TlsErrors(Vec<TlsError>);

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Files being read, to the last one, whatever is wrong with the others.
#[derive(Default)]
pub(super) struct Reading {
    /// The system's roots, which all share.
    roots: Roots,
    /// What is wrong.
    errors: Vec<TlsError>,
    /// What is worth knowing.
    notes: Vec<String>,
}

impl Reading {
    /// The value, or none and its error kept. What two routes share is told once.
    pub(super) fn unless_wrong<T>(&mut self, result: Result<T, TlsError>) -> Option<T> {
        result
            .map_err(|error| {
                let known = |other: &TlsError| match (other, &error) {
                    (TlsError::File { path: a, reason: b, .. }, TlsError::File { path, reason, .. }) => {
                        (a, b) == (path, reason)
                    }
                    (other, error) => other == error,
                };
                if !self.errors.iter().any(known) {
                    self.errors.push(error);
                }
            })
            .ok()
    }

    /// What these demands come to; `route` is the id of the first route that has them, none if they hold for all.
    pub(super) fn means(&mut self, route: Option<&str>, demands: &Arc<ServerTls>) -> Means {
        let of_route = route.map_or_else(String::new, |id| format!(" (route {id})"));
        let key = |name: &str| format!("tls.{name}{of_route}");
        let mut extra = Vec::new();
        for path in &demands.extra_roots {
            let found = self.unless_wrong(certificates(&key("extra-roots"), path));
            extra.append(&mut found.unwrap_or_default());
        }
        let mut revoked = Vec::new();
        for path in &demands.crl {
            let found = self.unless_wrong(revocation_lists(&key("crl"), path));
            revoked.append(&mut found.unwrap_or_default());
        }
        let identity = demands.client.as_ref().and_then(|files| {
            if let Some(note) = careless(&key(key_name(files)), files.key_file())
                && !self.notes.contains(&note)
            {
                self.notes.push(note);
            }
            let identity = match &files.key {
                Key::File(file) => identity(files, file, &key("client-cert"), &key("client-key")),
                Key::Beside(password) => store(files, password.as_deref(), &key),
            };
            self.unless_wrong(identity)
        });
        Means {
            demands: Arc::clone(demands),
            roots: Arc::new(self.roots.with(extra)),
            revoked,
            identity,
        }
    }

    /// The authority that is kept in these files.
    pub(super) fn authority(&mut self, files: &AuthorityFiles, now: SystemTime) -> Option<CertificateAuthority> {
        let (authority, note) = self.unless_wrong(kept::read_authority(files, now))?;
        self.notes.extend(note);
        Some(authority)
    }

    /// What is worth knowing.
    ///
    /// # Errors
    /// If anything was wrong.
    pub(super) fn finish(self) -> Result<Vec<String>, TlsErrors> {
        if self.errors.is_empty() {
            Ok(self.notes)
        } else {
            Err(TlsErrors(self.errors))
        }
    }
}

/// What is to be said of a key that everybody may read; none if not everybody may.
fn careless(key: &str, path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let shown = path.display();
    (mode & 0o004 != 0)
        .then(|| format!("{key}: everybody may read {shown}, which holds a private key: chmod 600 {shown}"))
}

/// A file's contents.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let said = |error: io::Error| error.to_string();
    let about = fs::metadata(path).map_err(said)?;
    if about.is_file() && about.len() > MOST_BYTES {
        return Err("it is larger than 16 MiB".to_owned());
    }
    fs::read(path).map_err(said)
}

/// The certificates in a PEM file, which are more than none.
pub(super) fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = TlsError::of_file(key, path);
    let bytes = read(path).map_err(wrong)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong(
            "there is no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned(),
        ));
    }
    Ok(found)
}

/// The revocation lists in a file, PEM or one in DER, which are more than none.
fn revocation_lists(key: &str, path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let wrong = TlsError::of_file(key, path);
    let bytes = read(path).map_err(wrong)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let mut found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        found.push(bytes.into());
    }
    let is_list = |der: &CertificateRevocationListDer<'_>| CertificateRevocationList::from_der(der).is_ok();
    if found.iter().all(is_list) {
        Ok(found)
    } else {
        Err(wrong(
            "it is no revocation list (-----BEGIN X509 CRL-----, or DER)".to_owned(),
        ))
    }
}

/// The certificate and its key that amb signs in with.
fn identity(
    files: &ClientFiles,
    key_file: &Path,
    certificate_key: &str,
    key_key: &str,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate_key, &files.certificate)?;
    let wrong = TlsError::of_file(key_key, key_file);
    let bytes = read(key_file).map_err(wrong)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_locked(&bytes) => {
            wrong("the private key in it is locked by a password, which amb cannot ask for".to_owned())
        }
        pem::Error::NoItemsFound => wrong("there is no private key in it".to_owned()),
        error => wrong(error.to_string()),
    })?;
    let key = CertifiedKey::from_der(chain, key, &CRYPTOGRAPHY).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(format!("it is not the key of {}", files.certificate.display())),
        error => wrong(error.to_string()),
    })?;
    Ok(Arc::new(key))
}

/// The key of the configuration that names the file with the key.
fn key_name(files: &ClientFiles) -> &'static str {
    match files.key {
        Key::File(_) => "client-key",
        Key::Beside(_) => "client-cert",
    }
}

/// The certificate, with what leads to its root, and the key in a PKCS#12 file ([RFC 7292]).
///
/// [RFC 7292]: https://www.rfc-editor.org/rfc/rfc7292
fn store(
    files: &ClientFiles,
    password: Option<&Path>,
    key: &dyn Fn(&str) -> String,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong = |name: &str, path: &Path, reason: String| TlsError::of_file(&key(name), path)(reason);
    let word = match password {
        None => Zeroizing::new(String::new()),
        Some(path) => {
            let said = |reason| wrong("client-cert-password", path, reason);
            let mut bytes = Zeroizing::new(read(path).map_err(said)?);
            while bytes.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                bytes.pop();
            }
            let word = str::from_utf8(&bytes).map_err(|_| said("it is no text".to_owned()))?;
            Zeroizing::new(word.to_owned())
        }
    };
    let said = |reason: String| wrong("client-cert", &files.certificate, reason);
    let bytes = read(&files.certificate).map_err(said)?;
    let opened = KeyStore::from_pkcs12(&bytes, &word, Pkcs12ImportPolicy::Strict).map_err(|error| match error {
        p12_keystore::error::Error::MacError(_) if password.is_none() => {
            said("it has a password: put that into a file, and set tls.client-cert-password to it".to_owned())
        }
        p12_keystore::error::Error::MacError(_) => said("its password is another one".to_owned()),
        error => said(format!("it cannot be read as PKCS#12: {error}")),
    })?;
    let mut chains = opened.entries().filter_map(|(_, entry)| match entry {
        KeyStoreEntry::PrivateKeyChain(chain) => Some(chain),
        _ => None,
    });
    let chain = chains
        .next()
        .ok_or_else(|| said("there is no certificate with its key in it".to_owned()))?;
    if chains.next().is_some() {
        return Err(said(
            "there is more than one key in it, and amb cannot tell which is meant".to_owned(),
        ));
    }
    let certificates = chain
        .certs()
        .iter()
        .map(|it| CertificateDer::from(it.as_der().to_vec()));
    let private = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    let identity = CertifiedKey::from_der(certificates.collect(), private.into(), &CRYPTOGRAPHY);
    identity.map(Arc::new).map_err(|error| said(error.to_string()))
}

/// Whether a PEM file holds a key that a password is needed for.
fn is_locked(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}
