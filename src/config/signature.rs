//! Signatures of policies, as minisign makes them: for policies that come to a machine otherwise than by its package manager.

use std::{fs, io, path::Path};

use minisign_verify::{PublicKey, Signature};

use super::error::ConfigError;

/// What the name of a signature's file has behind that of the file that it is for.
const EXTENSION: &str = "minisig";

/// A public key of minisign.
#[derive(Clone, Debug)]
pub(super) struct Key(PublicKey);

impl Key {
    /// Reads a key: its text, or, with a comment in the line before, what is in a file of minisign's.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let key = if text.contains('\n') {
            PublicKey::decode(text)
        } else {
            PublicKey::from_base64(text)
        };
        key.map(Self)
            .map_err(|reason| format!("is no public key of minisign: {reason}"))
    }

    /// Reads the text of a key, or the file of this name.
    ///
    /// # Errors
    /// It is none, and there is no such file with one in it.
    fn named(named: &str) -> Result<Self, ConfigError> {
        match fs::read_to_string(named) {
            Ok(text) => Self::read(&text).map_err(|reason| ConfigError::other(format!("{named}: {reason}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::read(named).map_err(|reason| {
                ConfigError::other(format!(
                    "--key: there is no file `{}`, and it {reason}",
                    named.escape_debug()
                ))
            }),
            Err(error) => Err(ConfigError::unreadable(named, &error)),
        }
    }
}

/// Whether what is in a file was signed with one of the keys: what the signer says about it, which is signed, too.
///
/// # Errors
/// It was not, or its signature cannot be read.
pub(super) fn check(path: &Path, text: &str, keys: &[Key]) -> Result<String, ConfigError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(EXTENSION);
    check_against(path, text, Path::new(&name), keys)
}

/// The same, with the signature in another file.
fn check_against(path: &Path, text: &str, signature: &Path, keys: &[Key]) -> Result<String, ConfigError> {
    let (shown, beside) = (path.display(), signature.display().to_string());
    let signed = match fs::read_to_string(signature) {
        Ok(signed) => signed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::other(format!(
                "{shown}: is not signed: there is no {beside}"
            )));
        }
        Err(error) => return Err(ConfigError::unreadable(&beside, &error)),
    };
    let signature = Signature::decode(&signed)
        .map_err(|reason| ConfigError::other(format!("{beside}: is no signature of minisign: {reason}")))?;
    let fits = |key: &Key| key.0.verify(text.as_bytes(), &signature, false);
    let mut why = None;
    for key in keys {
        match fits(key) {
            Ok(()) => return Ok(signature.trusted_comment().to_owned()),
            Err(reason) => why = Some(reason),
        }
    }
    let why = why.map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(ConfigError::other(format!(
        "{shown}: its signature is not that of a key that is trusted{why}"
    )))
}

/// `amb policy verify`: what the signer says about a file. `key` is a key or the name of a file with one, `signature` the name of
/// the signature's file, if it is not the usual one.
///
/// # Errors
/// The signature is not good.
pub fn verify(file: &Path, key: &str, signature: Option<&Path>) -> Result<String, ConfigError> {
    let key = Key::named(key)?;
    let shown = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| ConfigError::unreadable(&shown, &error))?;
    let comment = match signature {
        Some(signature) => check_against(file, &text, signature, &[key]),
        None => check(file, &text, &[key]),
    }?;
    Ok(format!(
        "{shown}: the signature is good\ncomment: {}\n",
        comment.escape_debug()
    ))
}
