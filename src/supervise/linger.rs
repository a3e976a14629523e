//! Staying for what the command leaves behind, with the proxy that it needs.

use std::{fs, os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, PidfdFlags, getpgrp, getpid, pidfd_open, set_child_subreaper};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{Mode, leftover::Stat};

/// How soon to look whether a process has left the group: a daemon does so right after its parent's end.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// How often to look in the long run.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// For what amb waits before it ends as the command did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// The command alone, as a shell does.
    #[default]
    Main,
    /// Also those of its processes that are in its process group: what it put into the background.
    Group,
    /// All processes that it started and they started, daemons too.
    Tree,
}

/// Which processes belong to the command.
#[derive(Debug)]
pub(super) struct Family {
    /// For which of them to wait.
    wait: Wait,
    /// Processes that were amb's children before the command was started, and are somebody else's business.
    foreign: Vec<i32>,
}

impl Family {
    /// To be called before the command is started. From then on the kernel gives its orphans to amb, so that they can be told
    /// from others.
    pub(super) fn expect(wait: Wait) -> Self {
        if wait == Wait::Main {
            return Self {
                wait,
                foreign: Vec::new(),
            };
        }
        let own = getpid();
        if let Err(reason) = set_child_subreaper(Some(own)) {
            debug!(%reason, "orphans will not be found");
        }
        let foreign = processes()
            .into_iter()
            .filter(|(_, stat)| stat.parent == own.as_raw_pid())
            .map(|(id, _)| id)
            .collect();
        Self { wait, foreign }
    }

    /// Whether amb gets the command's orphans, which it has to reap.
    pub(super) fn adopts(&self) -> bool {
        self.wait != Wait::Main
    }

    /// When to ask for [`Family::members`] again.
    pub(super) fn look_again(&self) -> LookAgain {
        LookAgain {
            next: (self.wait == Wait::Group).then_some(FIRST_LOOK),
        }
    }

    /// Those that live, of a command that was `child`.
    pub(super) fn members(&self, child: i32, mode: Mode) -> Vec<i32> {
        if self.wait == Wait::Main {
            return Vec::new();
        }
        let group = match mode {
            Mode::New => child,
            Mode::Inherit => getpgrp().as_raw_pid(),
        };
        let all = processes();
        let mut found = vec![getpid().as_raw_pid()];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            let children = all.iter().filter(|(_, stat)| stat.parent == parent).map(|(id, _)| *id);
            found.extend(children.filter(|id| !self.foreign.contains(id)));
        }
        all.iter()
            .filter(|(id, stat)| !stat.is_dead() && found[1..].contains(id))
            .filter(|(_, stat)| self.wait == Wait::Tree || stat.group == group)
            .map(|(id, _)| *id)
            .collect()
    }
}

/// When to look again who belongs to the command. The kernel tells of a process's end, but not of its leaving a group.
#[derive(Debug)]
pub(super) struct LookAgain {
    /// The next wait; none if the end of processes is all that matters.
    next: Option<Duration>,
}

impl LookAgain {
    /// How long to wait at most, this time: twice as long each time.
    pub(super) fn wait(&mut self) -> Option<Duration> {
        let now = self.next;
        self.next = now.map(|wait| (wait * 2).min(LAST_LOOK));
        now
    }
}

/// Each becomes readable when its process has ended; those that cannot be watched have ended already.
pub(super) fn watch(members: &[i32]) -> Vec<OwnedFd> {
    let ids = members.iter().filter_map(|id| Pid::from_raw(*id));
    ids.filter_map(|id| pidfd_open(id, PidfdFlags::empty()).ok()).collect()
}

/// All processes.
fn processes() -> Vec<(i32, Stat)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| Some((id, Stat::of(id)?))).collect()
}
