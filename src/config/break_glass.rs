//! `[override]` of the central policy: who may lift what its file enforces, for a time, and told to everybody.
//!
//! Only a flag asks for it, so that no file and no variable does so unseen, and with a reason. What lifts it is being in a group,
//! as the kernel knows this process. The run is ended when the time is over.

use std::{io, os::unix::net::UnixDatagram, path::PathBuf, time::Duration};

use figment::value::{Dict, Value};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::process::{getegid, getgid, getgroups, getpid, getuid};
use serde::Deserialize;

use super::{
    central::Central,
    constrain::Constraint,
    error::{ConfigError, Mark, Origin},
};
use crate::units::Period;

/// The name of its table.
pub(super) const TABLE: &str = "override";

/// How long a command whose time is over has to end, at most.
const LONGEST_GRACE: &str = "1m";

/// Where the system's log listens.
const SYSLOG: &str = "/dev/log";

/// The variable by which the tests of a debug build say where it is.
const TEST_VARIABLE: &str = "AMB_SYSLOG_SOCKET";

/// What a line of the system's log begins with: the facility `authpriv` (10) and the severity `notice` (5).
const PRIORITY: u8 = 10 * 8 + 5;

/// `[override]`, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    /// Groups whose members may.
    allow_groups: Vec<String>,
    /// How long a run may take then.
    max_duration: Period,
    /// Whether the system's log has to hear of it.
    #[serde(default = "yes")]
    syslog: bool,
}

/// What holds where nothing is said.
fn yes() -> bool {
    true
}

/// Who may lift what a file enforces.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Groups whose members may.
    groups: Vec<String>,
    /// How long a run may take then.
    longest: Period,
    /// Whether the system's log has to hear of it.
    syslog: bool,
    /// The file.
    origin: Origin,
}

/// What somebody has lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Who: the user's name, or number if there is none.
    pub user: String,
    /// The group by which they may.
    pub group: String,
    /// Why, in their words.
    pub reason: String,
    /// How long the run may take.
    pub longest: Duration,
    /// The files that do not bind the run.
    pub files: Vec<String>,
    /// Whether the system's log has to hear of it.
    pub syslog: bool,
}

impl Terms {
    /// Reads the table; none, and a mistake in `errors`, if it is none.
    pub(super) fn read(origin: &Origin, table: &Dict, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let mut mistake = |reason: String| {
            let key = vec![TABLE.to_owned()];
            errors.push(ConfigError::at(origin.clone(), key, Mark::Key, reason, None));
        };
        let written: Written = match Value::from(table.clone()).deserialize() {
            Ok(written) => written,
            Err(error) => {
                mistake(error.to_string());
                return None;
            }
        };
        if written.allow_groups.is_empty() || written.max_duration.0.is_zero() {
            mistake("an override is for some groups and for some time".to_owned());
            return None;
        }
        Some(Self {
            groups: written.allow_groups,
            longest: written.max_duration,
            syslog: written.syslog,
            origin: origin.clone(),
        })
    }
}

/// Lifts what may be lifted, and binds the run to the time that it has.
///
/// # Errors
/// Nothing may be lifted by this user.
pub(super) fn lift(central: Option<&mut Central>, reason: &str) -> Result<Broken, String> {
    let central = central.ok_or("there is no central policy that could be lifted")?;
    if central.overrides.is_empty() {
        return Err(format!(
            "the central policy {} has no [override]",
            central.ids.join(", ")
        ));
    }
    if reason.trim().is_empty() {
        return Err("say why: the reason is logged".to_owned());
    }
    let known: Vec<Group> = central
        .overrides
        .iter()
        .flat_map(|terms| &terms.groups)
        .filter_map(|name| Group::from_name(name).ok().flatten())
        .filter(|group| is_mine(group.gid))
        .collect();
    let mine = |terms: &&Terms| {
        terms
            .groups
            .iter()
            .any(|name| known.iter().any(|group| group.name == *name))
    };
    let granted: Vec<Terms> = central.overrides.iter().filter(mine).cloned().collect();
    let user = user();
    let (Some(group), Some(longest)) = (known.first(), granted.iter().map(|terms| terms.longest).min()) else {
        let mut groups: Vec<&str> = central
            .overrides
            .iter()
            .flat_map(|terms| &terms.groups)
            .map(String::as_str)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        return Err(format!(
            "{user} is in none of the groups that may lift it: {}",
            groups.join(", ")
        ));
    };
    let is_granted = |origin: &Origin| granted.iter().any(|terms| terms.origin == *origin);
    central
        .constraints
        .retain(|constraint| !is_granted(constraint.origin()));
    for terms in &granted {
        let longest = Value::from(longest.to_string());
        for (name, most) in [("run-timeout", longest), ("kill-after", Value::from(LONGEST_GRACE))] {
            central
                .constraints
                .push(Constraint::at_most(&["run", name], &most, terms.origin.clone())?);
        }
    }
    let name = |terms: &Terms| match &terms.origin {
        Origin::File(file) => file.shown.clone(),
        origin => origin.place(&[]),
    };
    Ok(Broken {
        user,
        group: group.name.clone(),
        reason: reason.trim().escape_debug().to_string(),
        longest: longest.0,
        files: granted.iter().map(name).collect(),
        syslog: granted.iter().any(|terms| terms.syslog),
    })
}

/// Whether this process is in a group.
fn is_mine(group: Gid) -> bool {
    let mut own = getgroups().unwrap_or_default();
    own.extend([getgid(), getegid()]);
    own.iter().any(|own| own.as_raw() == group.as_raw())
}

/// The user's name, or number.
fn user() -> String {
    let id = getuid().as_raw();
    let found = User::from_uid(Uid::from_raw(id)).ok().flatten();
    found.map_or_else(|| format!("user {id}"), |user| user.name)
}

impl Broken {
    /// It in a sentence.
    pub fn sentence(&self) -> String {
        let longest = humantime::format_duration(self.longest);
        let Self {
            user,
            group,
            reason,
            files,
            ..
        } = self;
        format!(
            "{user}, of the group {group}, has lifted what {} enforces, for {longest} at most: {reason}",
            files.join(", ")
        )
    }

    /// Tells the system's log of it.
    ///
    /// # Errors
    /// The log does not hear it, though it has to.
    pub fn log(&self) -> io::Result<()> {
        if !self.syslog {
            return Ok(());
        }
        let of_a_test = cfg!(debug_assertions)
            .then(|| std::env::var_os(TEST_VARIABLE))
            .flatten();
        let path = of_a_test.map_or_else(|| SYSLOG.into(), PathBuf::from);
        let line = format!(
            "<{PRIORITY}>amb[{}]: override: {}",
            getpid().as_raw_pid(),
            self.sentence()
        );
        UnixDatagram::unbound()?.send_to(line.as_bytes(), path).map(drop)
    }
}
