//! Hosts that are tunnelled although they were to be decrypted, since one of the two ends does not put up with it.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use foldhash::fast::RandomState;

/// How many hosts are remembered. More than any program calls that does not trust amb.
const MOST: usize = 10_000;
/// After how many connections that ended without a word and without a request a host counts as refused. One may have been
/// opened in advance and not been needed.
const SILENT_ENDS: u32 = 2;

/// How many programs are looked up in advance in case they refuse. That is some milliseconds' work each, and a command with
/// many hosts has few programs.
const MOST_LOOKUPS: u32 = 16;

/// How a client ended a connection on which it got amb's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It said so.
    Said,
    /// It broke off, without a request.
    Broken,
    /// It just left, without a request.
    Silent,
}

/// What is known about a host.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    /// Whether it is tunnelled.
    spared: bool,
    /// Whether a request came through, so that somebody trusts amb there.
    worked: bool,
    /// Connections that ended in silence.
    silent: u32,
    /// Whether the user was told.
    told: bool,
}

/// What is known about the hosts whose decryption has begun at least once. Shared by all workers; asked once a connection.
#[derive(Debug, Default)]
pub(crate) struct Spared {
    /// By name.
    hosts: Mutex<HashMap<String, Host, RandomState>>,
    /// How many programs were looked up.
    lookups: AtomicU32,
}

/// What is to be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consequence {
    /// Whether it counts as one.
    pub(crate) counts: bool,
    /// Whether the user is to be told of it.
    pub(crate) tell: bool,
}

impl Spared {
    /// Does something with what is known about a host, if there is anything or room for it.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let mut hosts = self.hosts.lock().ok()?;
        if let Some(host) = hosts.get_mut(name) {
            return Some(act(host));
        }
        (hosts.len() < MOST).then(|| act(hosts.entry(name.to_owned()).or_default()))
    }

    /// Whether the host is tunnelled.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let hosts = self.hosts.lock();
        hosts.is_ok_and(|hosts| hosts.get(name).is_some_and(|host| host.spared))
    }

    /// Tunnels the host from now on; whether that is news.
    pub(crate) fn add(&self, name: &str) -> bool {
        self.with(name, |host| !std::mem::replace(&mut host.spared, true))
            .unwrap_or(false)
    }

    /// Whether the program that is about to get amb's certificate for this host is worth looking up in advance: when it has
    /// refused, it may be gone.
    pub(crate) fn is_uncertain(&self, name: &str) -> bool {
        let known = |host: &mut Host| host.worked || host.told;
        self.with(name, known) == Some(false) && self.lookups.fetch_add(1, Ordering::Relaxed) < MOST_LOOKUPS
    }

    /// Notes that a request came through.
    pub(crate) fn worked(&self, name: &str) {
        self.with(name, |host| host.worked = true);
    }

    /// Notes that a client refused; `lasting` if the host is to be tunnelled from now on.
    pub(crate) fn refused(&self, name: &str, refusal: Refusal, lasting: bool) -> Consequence {
        let judge = |host: &mut Host| {
            let counts = match refusal {
                Refusal::Said => true,
                // Another program may trust amb, and then this one still may not: but that is no reason to spare the host.
                Refusal::Broken => {
                    host.silent += 1;
                    true
                }
                Refusal::Silent => {
                    host.silent += 1;
                    !host.worked
                }
            };
            let certain = match refusal {
                Refusal::Said => true,
                Refusal::Broken | Refusal::Silent => !host.worked && host.silent >= SILENT_ENDS,
            };
            host.spared |= certain && lasting;
            Consequence {
                counts,
                tell: certain && !std::mem::replace(&mut host.told, true),
            }
        };
        let full = Consequence {
            counts: refusal != Refusal::Silent,
            tell: false,
        };
        self.with(name, judge).unwrap_or(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_says_no_is_believed_at_once_and_told_of_once() {
        let spared = Spared::default();
        let [counts, quiet] = [true, false].map(|tell| Consequence { counts: true, tell });
        assert_eq!(spared.refused("a.test", Refusal::Said, true), counts);
        assert!(spared.contains("a.test") && !spared.contains("b.test"));
        assert_eq!(spared.refused("a.test", Refusal::Said, true), quiet);
    }

    #[test]
    fn silence_has_to_come_twice_and_means_nothing_where_somebody_trusts_amb() {
        let spared = Spared::default();
        assert!(spared.refused("a.test", Refusal::Silent, true).counts);
        assert!(!spared.contains("a.test"));
        assert!(spared.refused("a.test", Refusal::Silent, true).tell);
        assert!(spared.contains("a.test"));
        spared.worked("b.test");
        for _ in 0..5 {
            assert!(!spared.refused("b.test", Refusal::Silent, true).counts);
            let broken = spared.refused("b.test", Refusal::Broken, true);
            assert!(broken.counts && !broken.tell);
        }
        assert!(!spared.contains("b.test"));
    }

    #[test]
    fn nobody_is_spared_where_that_was_not_wanted() {
        let spared = Spared::default();
        assert!(spared.refused("a.test", Refusal::Said, false).tell);
        assert!(!spared.contains("a.test"));
    }
}
