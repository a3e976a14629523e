//! Which files are read, and where they are looked for.
//!
//! The directory's own `amb.toml`, and the one file that was asked for. Nothing is searched upwards.

use std::{fs, io, path::Path};

use super::error::ConfigError;

/// The name of the file that is read where it is found.
pub const PROJECT_FILE: &str = "amb.toml";

/// A file that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Its path as people know it: relative where it was given so.
    pub shown: String,
    /// What stands in it.
    pub text: String,
}

/// The `amb.toml` of `directory`; none if it has none.
///
/// # Errors
///
/// It exists and cannot be read.
pub fn project(directory: &Path) -> Result<Option<File>, ConfigError> {
    match fs::read(directory.join(PROJECT_FILE)) {
        Ok(bytes) => decode(PROJECT_FILE.to_owned(), bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::unreadable(PROJECT_FILE, &error)),
    }
}

/// The file that was asked for, relative to `directory`.
///
/// # Errors
///
/// It is absent or cannot be read.
pub fn explicit(directory: &Path, path: &Path) -> Result<File, ConfigError> {
    let shown = path.display().to_string();
    match fs::read(directory.join(path)) {
        Ok(bytes) => decode(shown, bytes),
        Err(error) => Err(ConfigError::unreadable(&shown, &error)),
    }
}

/// The bytes as text.
fn decode(shown: String, bytes: Vec<u8>) -> Result<File, ConfigError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File { shown, text }),
        Err(_) => Err(ConfigError::other(format!(
            "{shown}: is not UTF-8, which TOML requires"
        ))),
    }
}
