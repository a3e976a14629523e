//! What is opened in the place of a bundle of roots, and how.
//!
//! The thread that the kernel asks opens nothing itself: a file may lie in a file system that a program of the command's
//! serves (FUSE), which opens files by itself before it has an answer, and waits for that thread. So each file that may be a
//! bundle has a thread of its own. Whatever fails lets the program open what it wants.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt,
    fs::{self, File, Metadata},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fcntl_setfl, open, openat2},
    process::geteuid,
};

use super::{
    bundles,
    kernel::{self, Answer},
    notice::Shared,
    wanted::Wanted,
};

/// How many programs may wait for roots at once; what more of them want they open themselves.
const MOST_WAITING: usize = 64;

/// Programs that copy files: what they copy outlasts the run, in which alone there is somebody to trust. Some look whether what
/// they have opened is what they have seen before, and leave out what is not.
const COPIERS: [&str; 8] = ["cp", "install", "rsync", "scp", "tar", "cpio", "zip", "dd"];

/// What gives another file for a bundle of roots that holds at least so many certificates; none if it is none.
pub struct Roots(Box<dyn Fn(File, usize) -> io::Result<Option<File>> + Send + Sync>);

impl Roots {
    /// By this function, which is called by several threads at once. Each file must be opened anew, since it has a place from
    /// which is read on.
    pub fn new(merge: impl Fn(File, usize) -> io::Result<Option<File>> + Send + Sync + 'static) -> Self {
        Self(Box::new(merge))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots")
    }
}

/// What opens roots in the place of programs.
#[derive(Debug)]
pub(super) struct Opening {
    /// What there is in their place.
    roots: Roots,
    /// The calls that wait for an answer.
    waiting: Mutex<BTreeSet<u64>>,
    /// How many were answered with a file.
    count: AtomicU64,
    /// Whether everything goes where it wants by now.
    shared: Arc<Shared>,
}

impl Opening {
    /// Nothing is opened so far.
    pub(super) fn new(roots: Roots, shared: Arc<Shared>) -> Self {
        Self {
            roots,
            waiting: Mutex::default(),
            count: AtomicU64::new(0),
            shared,
        }
    }

    /// How many roots were opened in the place of programs.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Has a thread answer this call; the answer if there can be none.
    pub(super) fn begin(self: &Arc<Self>, listener: BorrowedFd<'_>, id: u64, wanted: Wanted) -> Option<Answer> {
        if self.lock().len() >= MOST_WAITING {
            return Some(Answer::GoOn);
        }
        let Ok(listener) = listener.try_clone_to_owned() else {
            return Some(Answer::GoOn);
        };
        self.lock().insert(id);
        let opening = Arc::clone(self);
        let begun = thread::Builder::new()
            .name("amb-roots".to_owned())
            .spawn(move || opening.answer(&listener, id, &wanted));
        begun.err().map(|reason| {
            tracing::debug!(%reason, "roots are opened as they are");
            self.lock().remove(&id);
            Answer::GoOn
        })
    }

    /// Lets those open what they want that still wait, since nobody will answer them any more.
    pub(super) fn let_go(&self, listener: BorrowedFd<'_>) {
        for id in std::mem::take(&mut *self.lock()) {
            go_on(listener, id);
        }
    }

    /// The calls that wait. Whoever panicked while it held them was inserting or removing one: they are whole.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a call with a file, or lets the program open its own. So does a bug in amb.
    fn answer(&self, listener: &OwnedFd, id: u64, wanted: &Wanted) {
        let found = panic::catch_unwind(AssertUnwindSafe(|| self.find(wanted)));
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        let given = found.and_then(|found| {
            let Some(file) = found else { return Ok(false) };
            if self.shared.is_over() {
                return Ok(false);
            }
            let closes = wanted.flags & libc::O_CLOEXEC != 0;
            // Counted before: the program may have ended by the time that this returns, and the run with it.
            self.count.fetch_add(1, Ordering::SeqCst);
            let answered = kernel::answer_with(listener.as_fd(), id, file.as_fd(), closes);
            if answered.is_err() {
                self.count.fetch_sub(1, Ordering::SeqCst);
            }
            answered.map(|()| true)
        });
        let path = String::from_utf8_lossy(&wanted.path);
        match given {
            Ok(true) => {
                tracing::debug!(%path, thread = wanted.thread, "roots are opened with amb's authority");
            }
            Ok(false) => go_on(listener.as_fd(), id),
            Err(reason) => {
                tracing::debug!(%path, thread = wanted.thread, %reason, "roots are opened as they are");
                go_on(listener.as_fd(), id);
            }
        }
        self.lock().remove(&id);
    }

    /// The file that a program gets; none if what it wants is no bundle of roots.
    fn find(&self, wanted: &Wanted) -> io::Result<Option<File>> {
        let process = PathBuf::from(format!("/proc/{}", wanted.thread));
        let name = fs::read_to_string(process.join("comm"))?;
        if COPIERS.contains(&name.trim_end()) {
            return Ok(None);
        }
        let Some((file, fewest)) = locate(&process, wanted)? else {
            return Ok(None);
        };
        let found = (self.roots.0)(file, fewest)?;
        if let Some(found) = &found
            && wanted.flags & libc::O_NONBLOCK != 0
        {
            fcntl_setfl(found, OFlags::NONBLOCK)?;
        }
        Ok(found)
    }
}

/// Has the kernel do what the program wants.
fn go_on(listener: BorrowedFd<'_>, id: u64) {
    if let Err(reason) = kernel::answer(listener, id, Answer::GoOn) {
        tracing::debug!(%reason, "a call was not waiting any more");
    }
}

/// The file that a program wants, open for reading, if it is in a place of roots, with the fewest certificates that make it
/// such; none if it is not, or cannot be told as the program would find it.
fn locate(process: &Path, wanted: &Wanted) -> io::Result<Option<(File, usize)>> {
    let path = Path::new(OsStr::from_bytes(&wanted.path));
    let is_home = is_home(process)?;
    let (from, limits) = if path.is_absolute() {
        // Links lead on from its root, which may be another than amb's.
        (process.join("root"), ResolveFlags::IN_ROOT)
    } else {
        let from = match wanted.directory {
            libc::AT_FDCWD => process.join("cwd"),
            descriptor => process.join(format!("fd/{descriptor}")),
        };
        // Where its root is another one, links to it would lead to amb's.
        let limits = if is_home {
            ResolveFlags::empty()
        } else {
            ResolveFlags::BENEATH
        };
        (from, limits)
    };
    let directory = open(&from, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // `/proc/self` is amb's own here: what is behind it is left to the program.
    let limits = limits | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(&directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), limits)?;
    let found = File::from(found);
    let real = fs::read_link(of_own(&found))?;
    let spelled = if path.is_absolute() {
        path.to_owned()
    } else {
        fs::read_link(of_own(&directory))?.join(path)
    };
    let places = [&spelled, &real].into_iter();
    let Some(fewest) = places
        .filter_map(|place| bundles::fewest(place.as_os_str().as_bytes()))
        .min()
    else {
        return Ok(None);
    };
    let metadata = found.metadata()?;
    // Before it is opened: opening a pipe waits for its writer.
    if !metadata.is_file() || !may_read(process, &metadata, is_home.then_some(&*real))? {
        return Ok(None);
    }
    Ok(Some((File::open(of_own(&found))?, fewest)))
}

/// Where one of amb's own descriptors is as a file.
fn of_own(descriptor: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into()
}

/// Whether a process has the root and the mounts that amb has.
fn is_home(process: &Path) -> io::Result<bool> {
    let mounts = |process: &Path| fs::read_link(process.join("ns/mnt"));
    Ok(fs::read_link(process.join("root"))? == Path::new("/") && mounts(process)? == mounts(Path::new("/proc/self"))?)
}

/// Whether a process may read a file that amb may read, as far as its user decides: at this path, if that is the same to both.
fn may_read(process: &Path, file: &Metadata, path: Option<&Path>) -> io::Result<bool> {
    let status = fs::read_to_string(process.join("status"))?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The last of them is that by which files are opened.
    let user = users.and_then(|users| users.split_ascii_whitespace().next_back()?.parse().ok());
    if user == Some(geteuid().as_raw()) {
        return Ok(true);
    }
    let is_open_to_all = |metadata: &Metadata, bit: u32| metadata.permissions().mode() & bit != 0;
    let Some(path) = path.filter(|_| is_open_to_all(file, 0o004)) else {
        return Ok(false);
    };
    let mut above = path.ancestors().skip(1);
    Ok(above.all(|directory| fs::metadata(directory).is_ok_and(|found| is_open_to_all(&found, 0o001))))
}
