//! The directory of a run, for as long as the run lasts.
//!
//! Its name is new and cannot be guessed, it is made by `mkdir` and so never by following a link, and its files are made
//! within it by `O_EXCL`. Nobody else can write to it. Others cannot read it either, unless amb is root's: a command of
//! root's may go on as another user, as start scripts of services do, and apt does for every download; and certificates are
//! no secret.
//!
//! amb holds a lock on the directory, which the kernel takes off when amb ends, however it ends. So the next run knows
//! what was left behind, whatever process ids have become, and systemd-tmpfiles knows what it must leave alone.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, mkdirat, openat},
    io::Errno,
    process::geteuid,
};
use tempfile::TempDir;

use super::{
    Environment, Files, TrustError,
    merged::Merged,
    plan::{Content, Plan},
};

/// What the name of every such directory begins with; the process id and [`RANDOM`] characters follow.
const PREFIX: &str = "amb-trust-";

/// How many characters of the name are random.
const RANDOM: usize = 12;

/// How often a directory is made anew, if a sweep of another run takes it for a leftover before it is locked.
const TRIES: usize = 16;

/// Who can read what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// The user alone.
    Owner,
    /// Everybody who is told the name; what is copied from private files stays private.
    Everybody,
}

impl Readers {
    /// The mode of a file for them, which may be made of something that others may not read.
    pub(super) fn mode(self, is_private: bool) -> u32 {
        match self {
            Self::Everybody if !is_private => 0o644,
            Self::Owner | Self::Everybody => 0o600,
        }
    }
}

/// The directory with a run's files. Dropped, it is removed.
#[derive(Debug)]
pub struct Directory {
    /// The directory; dropped, it is removed.
    made: TempDir,
    /// The same, open, which holds the lock. Removed first, unlocked then.
    opened: File,
    /// Who can read what is in it.
    readers: Readers,
    /// What is in it, and which variables lead there.
    files: Files,
}

impl Directory {
    /// Writes the files for a command with this environment, which is to trust this certificate (in DER).
    ///
    /// The place is `XDG_RUNTIME_DIR`, else `TMPDIR`, else `/tmp`; with `Readers::Everybody` not the first, into
    /// which others cannot look.
    ///
    /// # Errors
    /// If there is no directory to be had, or it cannot take the files. What the environment names and cannot be read is no
    /// error, but a note in [`Files`].
    pub fn create(authority: &[u8], environment: &Environment<'_>) -> Result<Self, TrustError> {
        let readers = if geteuid().is_root() {
            Readers::Everybody
        } else {
            Readers::Owner
        };
        Self::with(authority, environment, readers)
    }

    /// The same for these readers.
    fn with(authority: &[u8], environment: &Environment<'_>, readers: Readers) -> Result<Self, TrustError> {
        let named = |name: &str| environment.get(OsStr::new(name)).map(PathBuf::from);
        if readers == Readers::Owner
            && let Some(place) = named("XDG_RUNTIME_DIR").filter(|place| is_plain(place))
        {
            match Self::create_in(&place, authority, environment, readers) {
                Ok(directory) => return Ok(directory),
                Err(reason) => tracing::debug!(%reason, "the certificates go elsewhere"),
            }
        }
        let place = named("TMPDIR").filter(|place| is_plain(place));
        let place = place.unwrap_or_else(|| "/tmp".into());
        Self::create_in(&place, authority, environment, readers)
    }

    /// The same in this place.
    fn create_in(
        place: &Path,
        authority: &[u8],
        environment: &Environment<'_>,
        readers: Readers,
    ) -> Result<Self, TrustError> {
        let no_directory = |reason| TrustError::NoDirectory {
            place: place.to_owned(),
            reason,
        };
        check(place).map_err(no_directory)?;
        sweep(place);
        let (made, opened) = make(place, readers).map_err(no_directory)?;
        let (contents, files) = Plan::new(environment, authority, made.path(), Path::new("/")).finish();
        let directory = Self {
            made,
            opened,
            readers,
            files,
        };
        for content in contents {
            directory.write(&content).map_err(|reason| TrustError::NotWritten {
                file: directory.made.path().join(&content.name),
                reason,
            })?;
        }
        Ok(directory)
    }

    /// Where the files are, and which variables lead there.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What makes bundles in it for programs that open theirs by its path, with this authority, which is DER.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn merged(&self, authority: &[u8]) -> io::Result<Merged> {
        Ok(Merged::new(self.opened.try_clone()?, self.readers, authority))
    }

    /// Writes a file that was not there.
    fn write(&self, content: &Content) -> io::Result<()> {
        let name = Path::new(&content.name);
        let directory_mode = match self.readers {
            Readers::Owner => 0o700,
            Readers::Everybody => 0o755,
        };
        if let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            match mkdirat(&self.opened, parent, Mode::RWXU) {
                Ok(()) => fs::set_permissions(self.made.path().join(parent), Permissions::from_mode(directory_mode))?,
                Err(Errno::EXIST) => {}
                Err(reason) => return Err(reason.into()),
            }
        }
        write(
            &self.opened,
            name,
            &content.bytes,
            self.readers.mode(content.is_private),
        )
    }
}

/// Writes a file that was not there, with this mode.
pub(super) fn write(directory: &File, name: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes)?;
    // The process's mask has been at the first mode.
    file.set_permissions(Permissions::from_mode(mode))
}

/// Whether a path can stand in every variable and every file of settings without quotes, and leads somewhere by itself.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@%,~".contains(byte))
}

/// Whether what is made in a directory stays what it is.
///
/// # Errors
/// If others could put something else in its place.
fn check(place: &Path) -> io::Result<()> {
    let found = fs::metadata(place)?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let is_shared = found.mode() & 0o022 != 0;
    let is_sticky = found.mode() & 0o1000 != 0;
    let is_foreign = found.uid() != geteuid().as_raw() && found.uid() != 0;
    if is_foreign || is_shared && !is_sticky {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others could replace what is in it",
        ));
    }
    Ok(())
}

/// Makes a directory and locks it.
fn make(place: &Path, readers: Readers) -> io::Result<(TempDir, File)> {
    for _ in 0..TRIES {
        let made = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", process::id()))
            .rand_bytes(RANDOM)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        // Gone already, if another run has taken it for a leftover in between: once more, under another name.
        let opened = match open(made.path()) {
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        if try_lock(&opened) == Lock::Taken || !made.path().exists() {
            continue;
        }
        if readers == Readers::Everybody {
            opened.set_permissions(Permissions::from_mode(0o711))?;
        }
        return Ok((made, opened));
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Opens a directory, and nothing that a link leads to.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// What became of an attempt to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// It is ours.
    Got,
    /// It is somebody's who lives.
    Taken,
    /// This file system has none: nobody's directory can be told from a leftover.
    Unknown,
}

/// Locks a directory, without waiting.
fn try_lock(directory: &File) -> Lock {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Got,
        Err(Errno::WOULDBLOCK) => Lock::Taken,
        Err(_) => Lock::Unknown,
    }
}

/// Removes what runs that were killed have left in a place.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.filter_map(Result::ok) {
        if is_ours(&entry.file_name())
            && let Err(reason) = remove_leftover(&entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %reason, "a leftover stays");
        }
    }
}

/// Whether a name is one that [`make`] gives.
fn is_ours(name: &OsStr) -> bool {
    let parts = name
        .to_str()
        .and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
    parts.is_some_and(|(pid, random)| {
        !pid.is_empty()
            && pid.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == RANDOM
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Removes a directory if it is this user's and nobody holds its lock.
fn remove_leftover(path: &Path) -> io::Result<()> {
    let opened = open(path)?;
    let found = opened.metadata()?;
    let is_own = found.uid() == geteuid().as_raw();
    if is_own && matches!(found.mode() & 0o777, 0o700 | 0o711) && try_lock(&opened) == Lock::Got {
        // Does not follow links, not even those that come up meanwhile.
        fs::remove_dir_all(path)?;
        tracing::debug!(path = %path.display(), "removed what a killed run had left");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
