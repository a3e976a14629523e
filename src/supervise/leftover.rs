//! Processes of the command that outlive it: counted for the summary, never touched.
//!
//! They may be there on purpose (a daemon was started). But the proxy that their environment names is gone.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::Mode;

/// What is needed to find the processes that the child left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// The child's process id: its descendants were all made after it.
    child: i32,
    /// The process group of their own, if they had one.
    group: Option<i32>,
}

impl Leftovers {
    /// The leftovers of the process `child`.
    pub(super) fn of(child: i32, mode: Mode) -> Self {
        Self {
            child,
            group: (mode == Mode::New).then_some(child),
        }
    }

    /// Counts the processes that are left: those in the child's own group, and those of the same user whose environment
    /// holds the entry `marker` (`http_proxy=http://127.0.0.1:40123`), which has to be one that only this run has.
    ///
    /// Best effort: a process that replaced its environment and moved to another group is not found.
    pub fn count(self, marker: &[u8]) -> usize {
        let own_id = std::process::id();
        let own_user = rustix::process::geteuid().as_raw();
        self.candidates()
            .into_iter()
            .filter(|id| *id != own_id)
            .filter(|id| {
                let process = Path::new("/proc").join(id.to_string());
                (self.is_in_group(&process) || has_entry(&process, marker, own_user))
                    && leads_its_threads(&process, *id)
            })
            .count()
    }

    /// The ids of the processes that may descend from the child: those given out since it was made, if these are few, so that
    /// a short run on a busy machine does not look at every process there is.
    fn candidates(self) -> Vec<u32> {
        if let (Some(last), Ok(first)) = (last_id(), u32::try_from(self.child))
            && (first..first.saturating_add(FEW)).contains(&last)
        {
            return (first..=last).collect();
        }
        let Ok(processes) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Whether the process lives and is in the child's own group.
    fn is_in_group(self, process: &Path) -> bool {
        let Some(group) = self.group else { return false };
        Stat::read(process).is_some_and(|stat| stat.group == group && !stat.is_dead())
    }
}

/// Whether `id` is a process and not one of the threads beside its first, which can be looked up in the same way.
fn leads_its_threads(process: &Path, id: u32) -> bool {
    let Ok(status) = fs::read_to_string(process.join("status")) else {
        return false;
    };
    let leader = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    leader.is_some_and(|leader| leader.trim().parse() == Ok(id))
}

/// So many processes are looked at one by one; beyond them the table is read.
const FEW: u32 = 256;

/// The process id that was given out last, the end of `/proc/loadavg` (`proc_loadavg(5)`).
fn last_id() -> Option<u32> {
    fs::read_to_string("/proc/loadavg")
        .ok()?
        .split_whitespace()
        .last()?
        .parse()
        .ok()
}

/// Whether the process belongs to `user` and has `marker` in its environment.
fn has_entry(process: &Path, marker: &[u8], user: u32) -> bool {
    if marker.is_empty() || !fs::metadata(process).is_ok_and(|metadata| metadata.uid() == user) {
        return false;
    }
    // Empty for a zombie.
    fs::read(process.join("environ")).is_ok_and(|entries| entries.split(|byte| *byte == 0).any(|entry| entry == marker))
}

/// What `/proc/<pid>/stat` tells, see `proc_pid_stat(5)`.
pub(super) struct Stat {
    /// `R`, `S`, `T`, `Z` …
    state: u8,
    /// The parent's process id.
    pub(super) parent: i32,
    /// The process group.
    pub(super) group: i32,
    /// The session.
    pub(super) session: i32,
}

impl Stat {
    /// Reads it; `None` if the process is gone.
    fn read(process: &Path) -> Option<Self> {
        let text = fs::read(process.join("stat")).ok()?;
        // The second field is the program's name, which may hold anything, closing parentheses included.
        let rest = &text[text.iter().rposition(|byte| *byte == b')')? + 1..];
        let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        Some(Self {
            state,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
        })
    }

    /// Reads it for a process id.
    pub(super) fn of(id: i32) -> Option<Self> {
        Self::read(&Path::new("/proc").join(id.to_string()))
    }

    /// Whether job control has stopped it; a debugger's stop is another one.
    pub(super) fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    /// Whether only its parent has not noticed yet that it is gone.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Whether `process` is a descendant of `ancestor`, as far as it can still be told.
pub(super) fn descends(process: i32, ancestor: i32) -> bool {
    /// Deeper trees are taken for strangers, so that the walk ends.
    const DEPTH: usize = 64;
    let parents = std::iter::successors(Some(process), |id| {
        Stat::of(*id).map(|stat| stat.parent).filter(|id| *id > 1)
    });
    parents.take(DEPTH).skip(1).any(|id| id == ancestor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_descends_from_its_parent_and_not_from_itself() {
        let own = std::process::id().cast_signed();
        let parent = Stat::of(own).unwrap().parent;
        assert!(parent <= 1 || descends(own, parent));
        assert!(!descends(own, own));
    }
}
