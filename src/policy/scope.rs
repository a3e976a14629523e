//! What shares one state: a circuit, a rate, a queue a host, or a host and port, or all of a route.
//!
//! The states are in a table that all workers share. A lookup holds the table's lock and a decision its entry's, each for
//! less than a microsecond and never across a wait.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Entries of a table. A crawler may meet more hosts; then those that were idle for longest are forgotten, so that amb's
/// memory does not grow with its child's curiosity.
const MOST_ENTRIES: usize = 10_000;

/// The route of a request that no route is for.
pub const NO_ROUTE: &str = "default";

/// What is counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All that goes to a host, whatever the port.
    #[default]
    Host,
    /// All that goes to a port of a host.
    HostPort,
    /// All that a route is for, whatever the host.
    Route,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::HostPort => "host and port",
            Self::Route => "route",
        })
    }
}

impl Scope {
    /// What a request to `host` and `port` is counted under: `api.example.com`, `[::1]:80`, `default`.
    fn name<'a>(self, host: &'a str, port: u16, route: &'a str) -> Cow<'a, str> {
        match self {
            Self::Host => Cow::Borrowed(host),
            Self::HostPort if host.contains(':') => Cow::Owned(format!("[{host}]:{port}")),
            Self::HostPort => Cow::Owned(format!("{host}:{port}")),
            Self::Route => Cow::Borrowed(route),
        }
    }
}

/// What is remembered about one name.
pub(super) trait State: Default {
    /// Whether forgetting it changes nothing.
    fn is_idle(&self, now: Duration) -> bool;
}

/// One name's state.
#[derive(Debug)]
pub(super) struct Entry<S> {
    /// What is counted under it.
    pub(super) name: Box<str>,
    /// What is remembered.
    state: Mutex<S>,
    /// When it was last looked up, in milliseconds.
    used: AtomicU64,
}

impl<S> Entry<S> {
    /// The state, for a moment.
    pub(super) fn state(&self) -> MutexGuard<'_, S> {
        locked(&self.state)
    }
}

/// States by name.
pub(super) struct Table<S> {
    /// What is counted together.
    scope: Scope,
    /// The route that the table belongs to.
    route: Box<str>,
    /// The states.
    entries: Mutex<HashMap<Box<str>, Arc<Entry<S>>, RandomState>>,
}

impl<S: State> Table<S> {
    /// An empty table for the requests of `route`.
    pub(super) fn new(scope: Scope, route: &str) -> Self {
        Self {
            scope,
            route: route.into(),
            entries: Mutex::default(),
        }
    }

    /// The state of what a request to `host` and `port` is counted under. `forgotten` gets what had to make room.
    pub(super) fn entry(&self, host: &str, port: u16, now: Duration, forgotten: impl FnMut(&S)) -> Arc<Entry<S>> {
        let name = self.scope.name(host, port, &self.route);
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut entries = locked(&self.entries);
        if let Some(entry) = entries.get(&*name) {
            entry.used.store(millis, Ordering::Relaxed);
            return Arc::clone(entry);
        }
        if entries.len() >= MOST_ENTRIES {
            make_room(&mut entries, now, forgotten);
        }
        let entry = Arc::new(Entry {
            name: (*name).into(),
            state: Mutex::default(),
            used: AtomicU64::new(millis),
        });
        entries.insert(entry.name.clone(), Arc::clone(&entry));
        entry
    }

    /// What is counted together.
    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Every state there is, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Entry<S>>> {
        locked(&self.entries).values().cloned().collect()
    }
}

/// Forgets what is idle; if that does not help, the eighth that was not used for longest. What is in use stays.
fn make_room<S: State>(
    entries: &mut HashMap<Box<str>, Arc<Entry<S>>, RandomState>,
    now: Duration,
    mut forgotten: impl FnMut(&S),
) {
    let is_in_use = |entry: &Arc<Entry<S>>| Arc::strong_count(entry) > 1;
    entries.retain(|_, entry| is_in_use(entry) || !entry.state().is_idle(now));
    if entries.len() < MOST_ENTRIES - MOST_ENTRIES / 8 {
        return;
    }
    let mut ages: Vec<u64> = entries
        .values()
        .map(|entry| entry.used.load(Ordering::Relaxed))
        .collect();
    ages.sort_unstable();
    let oldest = ages[ages.len() / 8];
    entries.retain(|_, entry| {
        let stays = is_in_use(entry) || entry.used.load(Ordering::Relaxed) > oldest;
        if !stays {
            forgotten(&entry.state());
        }
        stays
    });
}

impl<S> fmt::Debug for Table<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, route) = (&self.scope, &self.route);
        f.debug_struct("Table")
            .field("scope", scope)
            .field("route", route)
            .finish_non_exhaustive()
    }
}

/// What a lock guards, also if somebody panicked who held it: the states are right after every statement.
pub(super) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle if nobody ever touched it.
    #[derive(Default)]
    struct Touched(bool);

    impl State for Touched {
        fn is_idle(&self, _now: Duration) -> bool {
            !self.0
        }
    }

    #[test]
    fn a_scope_says_what_is_counted_together() {
        for (scope, host, name) in [
            (Scope::Host, "a.example", "a.example"),
            (Scope::HostPort, "a.example", "a.example:81"),
            (Scope::HostPort, "::1", "[::1]:81"),
            (Scope::Route, "a.example", "billing"),
        ] {
            assert_eq!(scope.name(host, 81, "billing"), name);
        }
    }

    #[test]
    fn a_table_forgets_what_is_idle_and_keeps_what_is_in_use() {
        let table: Table<Touched> = Table::new(Scope::Host, NO_ROUTE);
        let held = table.entry("held", 80, Duration::ZERO, |_| {});
        table.entry("touched", 80, Duration::ZERO, |_| {}).state().0 = true;
        for index in 0..2 * MOST_ENTRIES {
            table.entry(&format!("h{index}"), 80, Duration::ZERO, |_| {
                panic!("an idle one is nothing to tell of")
            });
        }
        assert!(table.all().len() <= MOST_ENTRIES);
        assert!(Arc::ptr_eq(&held, &table.entry("held", 80, Duration::ZERO, |_| {})));
        assert!(table.entry("touched", 80, Duration::ZERO, |_| {}).state().0);
    }

    #[test]
    fn a_table_of_busy_names_forgets_the_oldest() {
        let table: Table<Touched> = Table::new(Scope::Host, NO_ROUTE);
        let mut forgotten = 0;
        for index in 0..3 * MOST_ENTRIES {
            let now = Duration::from_millis(index as u64);
            let entry = table.entry(&format!("h{index}"), 80, now, |_| forgotten += 1);
            entry.state().0 = true;
        }
        assert!(table.all().len() <= MOST_ENTRIES);
        assert_eq!(table.all().len() + forgotten, 3 * MOST_ENTRIES);
        let newest = format!("h{}", 3 * MOST_ENTRIES - 1);
        assert!(table.entry(&newest, 80, Duration::ZERO, |_| {}).state().0);
    }
}
