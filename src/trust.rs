//! How the command comes to trust the authority by which amb decrypts HTTPS: files of certificates, and the variables that
//! lead programs to them.
//!
//! A program that trusts the authority must not trust less than before: what is not opened goes on to its real server. So
//! the files hold what the program trusted and the authority, and which roots these were is found out variable by
//! variable (`trust/plan.rs`). The files lie in a directory of the run's own (`trust/directory.rs`), which is gone when
//! the run is over; nothing is written to the home directory, and the authority's key is not written at all.
//!
//! A run that decrypts nothing has no [`Directory`], and pays nothing.
//!
//! Not to be confused with `amb trust`, which is about files of configuration.

mod configured;
mod directory;
mod java;
mod jks;
mod merged;
mod pem;
mod pkcs12;
mod plan;
mod settings;
mod source;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use self::{directory::Directory, merged::Merged};

/// An environment, by name.
pub type Environment<'a> = BTreeMap<&'a OsStr, &'a OsStr>;

/// What stands for the directory while there is none.
const STAND_IN: &str = "CERTIFICATES";

/// Where the files of a run are, and what the variables that lead programs to them are to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The authority's certificate and nothing else, in PEM.
    pub authority: PathBuf,
    /// The variables with their values in the child; `None` removes one.
    pub variables: BTreeMap<Cow<'static, str>, Option<OsString>>,
    /// Options for every JVM, none of which needs quotes; none if the user's own trust store cannot be understood.
    pub java_options: Vec<String>,
    /// What the user should know: what a variable names and cannot be read, and what follows from it.
    pub notes: Vec<String>,
}

impl Files {
    /// What a run would have, for `--dry-run`: in a directory called `CERTIFICATES`. Nothing is written.
    pub fn planned(environment: &Environment<'_>) -> Self {
        let (_, files) = plan::Plan::new(environment, &[], Path::new(STAND_IN), Path::new("/")).finish();
        files
    }
}

/// Why the command cannot be made to trust the authority.
#[derive(Debug, Error)]
pub enum TrustError {
    /// There is no directory to write to.
    #[error(
        "cannot make a directory for certificates in {}: {reason}\nhint: set TMPDIR to a directory that you can write to",
        place.display()
    )]
    NoDirectory {
        /// Where it was to be.
        place: PathBuf,
        /// Why it cannot be there.
        reason: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "cannot write the certificates to {}: {reason}\nhint: set TMPDIR to a directory with 10 MiB to spare",
        file.display()
    )]
    NotWritten {
        /// Which.
        file: PathBuf,
        /// The kernel's reason.
        reason: io::Error,
    },
}
