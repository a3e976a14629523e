//! Where the control sockets of a user's runs are: `$XDG_RUNTIME_DIR/amb`, or the like where there is none.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

/// What the names of control sockets end in.
const ENDING: &str = "sock";

/// The bits of a mode that are about others than the user.
const OTHERS: u32 = 6;

/// How often a socket is tried to be bound, where another run may just remove the directory as it ends.
const TRIES: usize = 3;

/// The directory of control sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    directory: PathBuf,
    /// Whether nobody else tidies it up: then it goes with the last socket.
    is_temporary: bool,
}

impl Place {
    /// By the variables of the environment: `$XDG_RUNTIME_DIR/amb`, else `/run/user/UID/amb` (the same by its usual name, for
    /// those that a service manager starts without the variable), else `amb-UID` in `$TMPDIR` or `/tmp`.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user = geteuid().as_raw();
        let runtime = named("XDG_RUNTIME_DIR").or_else(|| Some(PathBuf::from(format!("/run/user/{user}"))));
        match runtime.filter(|path| is_own(path, user)) {
            Some(runtime) => Self {
                directory: runtime.join("amb"),
                is_temporary: false,
            },
            None => Self {
                directory: named("TMPDIR")
                    .unwrap_or_else(|| PathBuf::from("/tmp"))
                    .join(format!("amb-{user}")),
                is_temporary: true,
            },
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The socket of the run with this id.
    pub fn socket(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.{ENDING}"))
    }

    /// All sockets, those of runs that are gone included. None if there is no directory.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        let mut sockets: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
            .collect();
        sockets.sort();
        sockets
    }

    /// Binds the socket of the run with this id, for the user alone.
    ///
    /// # Errors
    /// The kernel's; and if the directory belongs to somebody else, or is open to others.
    pub fn bind(&self, id: &str) -> io::Result<Control> {
        let path = self.socket(id);
        let mut tries = 0;
        let listener = loop {
            tries += 1;
            match self.is_safe().and_then(|()| UnixListener::bind(&path)) {
                Err(reason) if reason.kind() == io::ErrorKind::NotFound && tries <= TRIES => {
                    match DirBuilder::new().mode(0o700).create(&self.directory) {
                        Err(reason) if reason.kind() != io::ErrorKind::AlreadyExists => return Err(reason),
                        _ => {}
                    }
                }
                bound => break bound?,
            }
        };
        listener.set_nonblocking(true)?;
        // Behind a directory that only the user can enter nobody has had the time to connect.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Control {
            listener,
            path,
            directory: self.is_temporary.then(|| self.directory.clone()),
        })
    }

    /// Whether only the user can enter the directory.
    fn is_safe(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.directory)?;
        if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode().trailing_zeros() >= OTHERS {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} is not a directory of this user's that is closed to others (mode 0700)",
            self.directory.display()
        )))
    }
}

/// Whether this is a directory of this user's.
fn is_own(path: &Path, user: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user)
}

/// A control socket that is bound; removed when it is dropped.
#[derive(Debug)]
pub struct Control {
    /// Where connections queue.
    pub(super) listener: UnixListener,
    /// Its file.
    path: PathBuf,
    /// The directory, if it is to go with the last socket.
    directory: Option<PathBuf>,
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(reason) = fs::remove_file(&self.path) {
            tracing::debug!(%reason, "the control socket stays");
        }
        // Fails as long as other runs have theirs in it.
        if let Some(directory) = &self.directory
            && fs::remove_dir(directory).is_ok()
        {
            tracing::debug!("the directory of control sockets is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place in this directory.
    fn place(directory: &Path) -> Place {
        Place::of(|name| (name == "XDG_RUNTIME_DIR").then(|| directory.into()))
    }

    #[test]
    fn a_socket_is_for_its_user_alone_and_goes_when_it_is_dropped() {
        let runtime = tempfile::tempdir().unwrap();
        let place = place(runtime.path());
        let bound = place.bind("1-2").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(place.directory()), mode(&bound.path)), (0o700, 0o600));
        assert_eq!(place.sockets(), [runtime.path().join("amb/1-2.sock")]);
        drop(bound);
        assert!(place.sockets().is_empty());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_none_to_put_it_in() {
        let runtime = tempfile::tempdir().unwrap();
        let place = place(runtime.path());
        fs::create_dir(place.directory()).unwrap();
        fs::set_permissions(place.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        let reason = place.bind("1-2").unwrap_err().to_string();
        assert!(reason.contains("closed to others"), "{reason}");
    }

    #[test]
    fn without_a_runtime_directory_one_of_its_own_goes_with_the_last_socket() {
        let temporary = tempfile::tempdir().unwrap();
        let missing = temporary.path().join("missing");
        let place = Place::of(|name| match name {
            "XDG_RUNTIME_DIR" => Some(missing.clone().into()),
            _ => Some(temporary.path().into()),
        });
        let user = geteuid().as_raw();
        assert_eq!(place.directory(), temporary.path().join(format!("amb-{user}")));
        let (one, other) = (place.bind("1-1").unwrap(), place.bind("1-2").unwrap());
        drop(one);
        assert_eq!(place.sockets().len(), 1);
        drop(other);
        assert!(!place.directory().exists());
    }
}
