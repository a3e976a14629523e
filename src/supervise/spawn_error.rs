//! Why a command could not be started, in words that say what to do.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    child::{Spawn, UNCAPTURED, UNCONFINED},
    signal::Signal,
};

/// Why there is no child.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// No such program in `PATH`.
    #[error("`{}` was not found in PATH", .0.display())]
    NotInPath(OsString),
    /// No such file.
    #[error("`{}` does not exist", .0.display())]
    NoSuchFile(PathBuf),
    /// The working directory was deleted, so that a relative path leads nowhere.
    #[error("`{}` cannot be found because the working directory was deleted", .0.display())]
    DirectoryDeleted(OsString),
    /// The file is there, but the interpreter that it names is not.
    #[error("`{}` exists, but its interpreter `{}` does not", .script.display(), .interpreter.display())]
    NoInterpreter {
        /// The file.
        script: PathBuf,
        /// What its first line names.
        interpreter: PathBuf,
    },
    /// The file is there, but the loader or library that the kernel needs for it is not.
    #[error("`{}` exists, but the program loader it asks for does not", .0.display())]
    NoLoader(PathBuf),
    /// A directory cannot be executed.
    #[error("`{}` is a directory", .0.display())]
    IsDirectory(PathBuf),
    /// Found, but without execute permission.
    #[error("`{}` is not executable", .0.display())]
    NotExecutable(PathBuf),
    /// The arguments and the environment are larger than the kernel takes.
    #[error("`{}` cannot be started because its arguments and environment are too large", .0.display())]
    TooLarge(OsString),
    /// Somebody has the file open for writing.
    #[error("`{}` cannot be started while it is open for writing", .0.display())]
    BeingWritten(OsString),
    /// A zero byte, which neither arguments nor variables can hold.
    #[error("`{}` holds a zero byte", .0.display())]
    NulByte(OsString),
    /// Any other reason.
    #[error("`{}` cannot be started", .program.display())]
    Other {
        /// The command.
        program: OsString,
        /// The kernel's reason.
        #[source]
        reason: io::Error,
    },
    /// The kernel did not hold it to the proxy.
    #[error("the command cannot be held to the proxy, as --confine tcp wants it: {0}")]
    Unconfined(io::Error),
    /// The kernel does not ask about its connections.
    #[error("the connections of the command cannot be captured, as --capture wants it: {0}")]
    Uncaptured(io::Error),
    /// The child was started but cannot be supervised.
    #[error("the command cannot be supervised")]
    Unwatchable(#[source] io::Error),
    /// A signal came before there was a child to send it to; amb ends by it, as the command would have.
    #[error("ended by {0} before the command was started")]
    Interrupted(Signal),
}

impl SpawnError {
    /// Finds out what the kernel's `reason` means for this command.
    pub(super) fn explain(spawn: &Spawn<'_>, reason: io::Error) -> Self {
        match reason.raw_os_error() {
            Some(number @ UNCAPTURED..) => return Self::Uncaptured(io::Error::from_raw_os_error(number - UNCAPTURED)),
            Some(number @ UNCONFINED..) => return Self::Unconfined(io::Error::from_raw_os_error(number - UNCONFINED)),
            _ => {}
        }
        let program = spawn.program().to_owned();
        let found = find(&program, spawn);
        match (reason.raw_os_error(), found) {
            (Some(libc::ENOENT | libc::ENOTDIR), Some(found)) => match interpreter(&found) {
                Some(interpreter) => Self::NoInterpreter {
                    script: found,
                    interpreter,
                },
                None => Self::NoLoader(found),
            },
            (Some(libc::ENOENT), None) if Path::new(&program).is_relative() && env::current_dir().is_err() => {
                Self::DirectoryDeleted(program)
            }
            (Some(libc::ENOENT | libc::ENOTDIR), None) if program.as_bytes().contains(&b'/') => {
                Self::NoSuchFile(program.into())
            }
            (Some(libc::ENOENT | libc::ENOTDIR), None) => Self::NotInPath(program),
            (Some(libc::EACCES), Some(found)) if found.is_dir() => Self::IsDirectory(found),
            (Some(libc::EACCES), Some(found)) if is_unexecutable(&found) => Self::NotExecutable(found),
            (Some(libc::E2BIG), _) => Self::TooLarge(program),
            (Some(libc::ETXTBSY), _) => Self::BeingWritten(program),
            _ => Self::Other { program, reason },
        }
    }

    /// The exit status that POSIX has for it: 127 not found, 126 found but not to be started.
    pub const fn status(&self) -> u8 {
        match self {
            Self::NotInPath(_)
            | Self::NoSuchFile(_)
            | Self::DirectoryDeleted(_)
            | Self::NoInterpreter { .. }
            | Self::NoLoader(_) => 127,
            Self::IsDirectory(_)
            | Self::NotExecutable(_)
            | Self::TooLarge(_)
            | Self::BeingWritten(_)
            | Self::NulByte(_)
            | Self::Other { .. } => 126,
            Self::Unconfined(_) | Self::Uncaptured(_) | Self::Unwatchable(_) | Self::Interrupted(_) => 125,
        }
    }
}

/// The file that execvp(3) would have tried, whether or not it can be executed.
fn find(program: &OsStr, spawn: &Spawn<'_>) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).symlink_metadata().is_ok().then(|| program.into());
    }
    let changed = spawn
        .changes
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone());
    let path = changed.unwrap_or_else(|| env::var_os("PATH"))?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether nobody may execute this file.
fn is_unexecutable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 == 0)
}

/// The interpreter that a script names in its first line, if that interpreter does not exist.
fn interpreter(script: &Path) -> Option<PathBuf> {
    /// As much of the first line as the kernel reads.
    const FIRST_LINE: u64 = 256;
    let mut line = Vec::new();
    BufReader::new(File::open(script).ok()?.take(FIRST_LINE))
        .read_until(b'\n', &mut line)
        .ok()?;
    // A script written on Windows names an interpreter that ends in a carriage return; that is kept, to be seen.
    let named = line.strip_prefix(b"#!")?.trim_ascii_start();
    let end = named
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t' | b'\n'))
        .unwrap_or(named.len());
    let interpreter = PathBuf::from(OsStr::from_bytes(&named[..end]));
    (!interpreter.exists()).then_some(interpreter)
}
