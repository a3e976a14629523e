//! Starts the child, signals it and reaps it.
//!
//! What the child inherits is what amb inherited: the signal mask and the ignored signals, the environment in its order,
//! every open file. The steps before exec are amb's own: std's would sort the environment, and copy all memory for them.

#![expect(
    unsafe_code,
    reason = "what has to happen between vfork(2) and exec(2) is system calls on memory that was made before"
)]

use std::{
    cell::UnsafeCell,
    ffi::{OsStr, OsString, c_char},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    process, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions, WaitStatus, pidfd_open, wait, waitpid},
};
use tracing::debug;

use super::{
    ChildExit, Confinement, Mode, Settings,
    entries::{changed_environment, write_decimal},
    linger::{Family, LookAgain},
    signal::{Signal, Signals},
    spawn_error::SpawnError,
    startup::{self, Blocked, Inherited, Pending, change_mask, is_ignored},
    vfork,
};
use crate::{capture::Handover, sabotage};

/// How long a child may take to end after SIGTERM when amb itself fails, before it is killed.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Spawn<'a> {
    /// The program, looked up in `PATH` if it holds no slash, and its arguments, passed on byte for byte.
    pub command: &'a [OsString],
    /// The environment that amb inherited, in its order.
    pub inherited: &'a [(OsString, OsString)],
    /// Changes to it, in this order; `None` removes the variable.
    pub changes: Vec<(OsString, Option<OsString>)>,
    /// The limit on open files to return to, if amb raised its own.
    pub restore_nofile: Option<Rlimit>,
    /// What it is held to; none for nothing.
    pub confinement: Option<&'a Confinement>,
    /// By what amb is asked about its connections; none if it is not.
    pub capture: Option<Arc<Handover>>,
}

impl Spawn<'_> {
    /// The program.
    pub(super) fn program(&self) -> &OsStr {
        self.command.first().map_or(OsStr::new(""), |program| program)
    }

    /// Starts the child. Has to be called on the main thread: the kernel ties "tell me when my parent dies" to the thread.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], also for a signal that came before there was a child to send it to.
    pub fn start(&self, settings: &Settings, signals: &mut Signals) -> Result<Child, SpawnError> {
        let mode = signals.mode;
        let exec = Exec::new(self)?;
        let before_exec = BeforeExec {
            parent: process::id().cast_signed(),
            leads: mode == Mode::New,
            stops: mode == Mode::Inherit && !signals.inherited.holds_back(libc::SIGTSTP) && !is_ignored(libc::SIGTSTP),
            on_death: settings.on_death.signal(mode).map(Signal::number),
            inherited: signals.inherited,
            nofile: self.restore_nofile,
            ruleset: self.confinement.map(Confinement::ruleset),
            capture: self.capture.clone(),
            hesitates: sabotage::is_wanted("spawn"),
            stops_once: AtomicBool::new(sabotage::is_wanted("stop")),
        };
        let family = Family::expect(settings.wait);
        let become_program = || match before_exec.prepare() {
            Ok(()) => exec.run(),
            Err(reason) => reason,
        };
        let started = loop {
            if let Some(signal) = signals.fatal() {
                return Err(SpawnError::Interrupted(signal));
            }
            let blocked = Blocked::new([libc::SIGTSTP]);
            // SAFETY: only async-signal-safe functions are called, on memory that was made before. What is written is the own ids,
            // which are the child's alone, and `environ`, whose old value comes back before anybody else can write it: a thread
            // that reads meanwhile reads the child's, which lives as long.
            let started = unsafe {
                let environ = environment::environ;
                let started = vfork::start(&become_program, self.command.len());
                environment::environ = environ;
                started
            };
            // Here amb stops, if it was told to meanwhile and does not catch that.
            drop(blocked);
            match &started {
                Err(reason) if reason.raw_os_error() == Some(STOPPED) => signals.stop_if_told(),
                _ => break started,
            }
        };
        let id = started.map_err(|reason| SpawnError::explain(self, reason))?;
        Child::new(id, mode, family).map_err(SpawnError::Unwatchable)
    }
}

/// What the child does before exec, in amb's memory. Nothing here may allocate, lock or panic.
struct BeforeExec {
    /// amb's process id.
    parent: i32,
    /// Whether it leads a process group of its own.
    leads: bool,
    /// Whether Ctrl-Z stops it.
    stops: bool,
    /// What the kernel is to send when amb dies.
    on_death: Option<i32>,
    /// What amb inherited.
    inherited: Inherited,
    /// The limit on open files to return to.
    nofile: Option<Rlimit>,
    /// What to hold itself to; open in the parent for as long as this lasts.
    ruleset: Option<RawFd>,
    /// By what to have amb asked about connections.
    capture: Option<Arc<Handover>>,
    /// Whether to wait until amb has died, as a test wants it.
    hesitates: bool,
    /// Whether to stop the process group now, as Ctrl-Z does, as a test wants it; once.
    stops_once: AtomicBool,
}

impl BeforeExec {
    /// Gives the child what the bare command would have.
    fn prepare(&self) -> io::Result<()> {
        if self.leads {
            rustix::process::setpgid(None, None)?;
        }
        // SAFETY: getppid(2) and usleep(3) touch no memory of ours.
        unsafe {
            while self.hesitates && libc::getppid() == self.parent {
                libc::usleep(1000);
            }
        }
        if let Some(signal) = self.on_death {
            // SAFETY: PR_SET_PDEATHSIG takes an integer. Best effort: a sandbox may forbid it.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
            // SAFETY: getppid(2) and _exit(2) touch no memory.
            unsafe {
                // amb died before the request above took effect.
                if libc::getppid() != self.parent {
                    libc::_exit(125);
                }
            }
        }
        if let Some(ruleset) = self.ruleset {
            enter(ruleset)?;
        }
        if let Some(limit) = &self.nofile {
            rustix::process::setrlimit(Resource::Nofile, *limit)?;
        }
        // SAFETY: signal(2) is async-signal-safe, and no disposition runs code.
        unsafe {
            if self.inherited.child_ignored {
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            }
            // amb ignores it.
            let pipe = if self.inherited.pipe_ignored {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            };
            libc::signal(libc::SIGPIPE, pipe);
        }
        if self.stops_once.swap(false, Ordering::Relaxed) {
            // SAFETY: kill(2) takes two integers.
            unsafe { libc::kill(0, libc::SIGTSTP) };
        }
        // A process that is stopped before its exec would hold up amb, which then could not stop with it.
        if self.stops && Pending::read().has(libc::SIGTSTP) {
            return Err(io::Error::from_raw_os_error(STOPPED));
        }
        // Once, and not again for a process that is started a second time.
        if let Some(capture) = &self.capture {
            capture
                .give()
                .map_err(|reason| on_top_of(UNCAPTURED, reason.raw_os_error().unwrap_or(libc::EINVAL)))?;
        }
        // Last, because what was held back arrives now, and has to meet the dispositions above.
        change_mask(libc::SIG_SETMASK, Some(&self.inherited.mask));
        Ok(())
    }
}

/// Holds this process, and all that it starts, to a ruleset.
///
/// # Errors
/// The kernel's number on top of [`UNCONFINED`], by which the parent knows what failed: a number is all that the child tells.
fn enter(ruleset: RawFd) -> io::Result<()> {
    // SAFETY: landlock_restrict_self(2) takes a descriptor and flags, of which there are none.
    let restrict = || match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
    };
    let entered = match restrict() {
        // Who has no privileges gives up those of setuid programs. Who has some may keep them: sudo goes on working.
        Err(libc::EPERM) => match rustix::thread::set_no_new_privs(true) {
            Ok(()) => restrict(),
            Err(reason) => Err(reason.raw_os_error()),
        },
        entered => entered,
    };
    entered.map_err(|number| on_top_of(UNCONFINED, number))
}

/// The error that tells the parent what failed.
fn on_top_of(what: i32, number: i32) -> io::Error {
    io::Error::from_raw_os_error(what + number)
}

/// What cannot be held to the proxy. Above all numbers of errors that a kernel has.
pub(super) const UNCONFINED: i32 = 1 << 16;
/// What cannot be captured. Above those.
pub(super) const UNCAPTURED: i32 = UNCONFINED << 2;

/// No number of an error: the process was to stop before it was a program.
const STOPPED: i32 = UNCONFINED << 1;

/// The process's own environment, as exec(3) takes it.
mod environment {
    unsafe extern "C" {
        /// See environ(7).
        pub(super) static mut environ: *const *const super::c_char;
    }
}

/// Everything that execvp(3) needs, made before there is a child.
struct Exec {
    /// The arguments with the program's name in front, pointing into `_texts`, closed by a null.
    arguments: Vec<*const c_char>,
    /// The environment, pointing into `_texts` and `own_ids`, closed by a null.
    environment: Vec<*const c_char>,
    /// The entries that are to hold the child's process id.
    own_ids: Vec<OwnId>,
    /// What the pointers point to.
    _texts: Texts,
}

/// A variable of the child.
enum Entry {
    /// Its text begins there.
    Text(usize),
    /// The own id of this place.
    OwnId(usize),
}

/// Texts closed by zero bytes, in one piece of memory.
#[derive(Default)]
struct Texts(Vec<u8>);

impl Texts {
    /// Adds a text that consists of these parts; where it begins.
    fn add(&mut self, parts: &[&OsStr]) -> Result<usize, SpawnError> {
        let begin = self.0.len();
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
        let text = &self.0[begin..];
        if text.contains(&0) {
            return Err(SpawnError::NulByte(OsStr::from_bytes(text).into()));
        }
        self.0.push(0);
        Ok(begin)
    }

    /// The text that begins there. Valid as long as no text is added.
    fn at(&self, begin: usize) -> *const c_char {
        self.0[begin..].as_ptr().cast()
    }
}

/// The variables by which systemd says for which process something is: the sockets, the watchdog, the journal's stream. Where
/// they name amb they mean the command.
const OWN_IDS: [&str; 3] = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"];
/// Names amb's process once more, by a number that its child cannot have; programs do without it.
const OWN_PIDFD: &str = "LISTEN_PIDFDID";

/// An entry of the environment whose digits the child writes.
struct OwnId {
    /// `NAME=`, digits, and a zero byte.
    entry: Box<UnsafeCell<[u8; 32]>>,
    /// Where the digits begin.
    digits: usize,
}

impl OwnId {
    /// An entry for one of [`OWN_IDS`], without digits yet.
    fn new(name: &str) -> Self {
        let mut entry = [0; 32];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        entry[name.len()] = b'=';
        Self {
            entry: Box::new(UnsafeCell::new(entry)),
            digits: name.len() + 1,
        }
    }
}

impl Exec {
    /// Lays arguments and environment out as exec(2) takes them.
    fn new(spawn: &Spawn<'_>) -> Result<Self, SpawnError> {
        let mut texts = Texts::default();
        let mut arguments = Vec::with_capacity(spawn.command.len());
        for argument in spawn.command {
            arguments.push(texts.add(&[argument])?);
        }
        let own_id = OsString::from(process::id().to_string());
        let variables = changed_environment(spawn.inherited, &spawn.changes);
        let is_activated = variables
            .iter()
            .any(|(name, value)| *name == OWN_IDS[0] && *value == own_id);
        let mut environment = Vec::with_capacity(variables.len());
        let mut own_ids = Vec::new();
        for (name, value) in variables {
            if is_activated && name == OWN_PIDFD {
                continue;
            }
            if let Some(known) = OWN_IDS.iter().find(|known| name == **known && value == own_id) {
                environment.push(Entry::OwnId(own_ids.len()));
                own_ids.push(OwnId::new(known));
            } else {
                environment.push(Entry::Text(texts.add(&[name, OsStr::new("="), value])?));
            }
        }
        let arguments = arguments.into_iter().map(|begin| texts.at(begin));
        let entries = environment.into_iter().map(|entry| match entry {
            Entry::Text(begin) => texts.at(begin),
            Entry::OwnId(place) => own_ids[place].entry.get().cast::<c_char>().cast_const(),
        });
        Ok(Self {
            arguments: arguments.chain([ptr::null()]).collect(),
            environment: entries.chain([ptr::null()]).collect(),
            own_ids,
            _texts: texts,
        })
    }

    /// Becomes the program, found as execvp(3) finds it: a script without `#!` runs in the shell. Returns why it did not.
    fn run(&self) -> io::Error {
        // SAFETY: all pointers are valid and closed by nulls. Nobody reads `own_ids` while they are written: amb waits.
        unsafe {
            for own_id in &self.own_ids {
                write_decimal(
                    &mut (&mut *own_id.entry.get())[own_id.digits..],
                    libc::getpid().unsigned_abs(),
                );
            }
            environment::environ = self.environment.as_ptr();
            libc::execvp(self.arguments[0], self.arguments.as_ptr());
        }
        io::Error::last_os_error()
    }
}

/// The child, from its start until it is reaped.
///
/// One thread owns it, signals it and reaps it, so that no signal can ever go to a process id that was given away again.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    id: Pid,
    /// Whose process group it is in.
    mode: Mode,
    /// Readable when it has ended, even where SIGCHLD is lost; `None` on kernels that cannot.
    watch: Option<OwnedFd>,
    /// How it ended, once it is reaped.
    ended: Option<ChildExit>,
    /// The signal that stopped it, until that was asked for.
    stopped: Option<i32>,
    /// Its processes.
    family: Family,
}

impl Child {
    /// Takes charge of the process `id`, which was just started.
    fn new(id: u32, mode: Mode, family: Family) -> io::Result<Self> {
        let id = Pid::from_raw(id.cast_signed()).ok_or(io::ErrorKind::InvalidData)?;
        let watch = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(watch) => Some(watch),
            Err(reason) => {
                debug!(%reason, "no pidfd, SIGCHLD has to do");
                None
            }
        };
        Ok(Self {
            id,
            mode,
            watch,
            ended: None,
            stopped: None,
            family,
        })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.id.as_raw_pid()
    }

    /// Whose process group it is in.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Becomes readable when the child has ended; none once it is reaped.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().filter(|_| self.ended.is_none()).map(AsFd::as_fd)
    }

    /// Those of its processes that amb is to wait for, once it has ended itself.
    pub(super) fn members(&self) -> Vec<i32> {
        self.family.members(self.id(), self.mode)
    }

    /// How long to wait at most before [`Child::members`] is asked again, each time.
    pub(super) fn look_again(&self) -> LookAgain {
        self.family.look_again()
    }

    /// Sends `signal` to the child, in `new` mode to its whole group. Once it is reaped, to those that amb waits for.
    ///
    /// That it cannot be sent (the child became root, or is a zombie) is no reason to stop supervising.
    pub(super) fn send(&self, signal: Signal) {
        if self.ended.is_some() {
            self.members().into_iter().for_each(|id| send(id, signal));
            return;
        }
        match self.mode {
            Mode::Inherit => send(self.id(), signal),
            Mode::New => send(-self.id(), signal),
        }
    }

    /// Reaps the child if it has ended, and the orphans that the kernel gave to amb.
    pub(super) fn reap(&mut self) -> Option<ChildExit> {
        if process::id() == 1 || self.family.adopts() {
            while let Ok(Some((id, status))) = wait(WaitOptions::NOHANG) {
                if id == self.id {
                    self.ended = exit_of(status);
                }
            }
        } else if self.ended.is_none() {
            match waitpid(Some(self.id), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((_, status))) => {
                    self.stopped = status.stopping_signal();
                    self.ended = exit_of(status);
                }
                Ok(None) => {}
                Err(reason) => debug!(%reason, "cannot wait for the child"),
            }
        }
        self.ended
    }

    /// The signal that has stopped it since this was asked last.
    pub(super) fn take_stop(&mut self) -> Option<i32> {
        self.stopped.take()
    }
}

/// Sends `signal` to a process, or with a minus sign to a group.
fn send(target: i32, signal: Signal) {
    match startup::send(target, signal.number()) {
        Ok(()) => debug!(%signal, target, "sent"),
        Err(reason) => debug!(%signal, target, %reason, "not sent"),
    }
}

/// How a process ended by its wait status; `None` if it has not ended.
fn exit_of(status: WaitStatus) -> Option<ChildExit> {
    let code = status.exit_status().map(ChildExit::Code);
    code.or_else(|| status.terminating_signal().map(ChildExit::Signal))
}

impl Drop for Child {
    /// amb is failing (a panic unwinds): the child cannot go on without its proxy, so it is asked to end, then killed.
    fn drop(&mut self) {
        if self.reap().is_some() {
            return;
        }
        for signal in [Signal::TERM, Signal::KILL] {
            self.send(signal);
            let mut descriptors: Vec<PollFd<'_>> = self
                .watch()
                .iter()
                .map(|watch| PollFd::from_borrowed_fd(*watch, PollFlags::IN))
                .collect();
            if let Err(reason) = poll(&mut descriptors, Timespec::try_from(LAST_GRACE).ok().as_ref()) {
                debug!(%reason, "did not wait for the child");
            }
            drop(descriptors);
            if self.reap().is_some() {
                return;
            }
        }
    }
}
