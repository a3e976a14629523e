//! Certificates that were made, so that each host needs a new one but once a day.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use foldhash::fast::RandomState;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::authority::{BACKDATED, CertificateAuthority, LEAF_LIFE};

/// How many hosts' certificates are remembered, about a kibibyte each: the last half of them surely, what was used before
/// that if it is used again.
const MOST: usize = 1024;
/// How old a certificate may be that is handed out once more: a connection that begins with it then has half a day.
const OLDEST: Duration = Duration::from_secs(LEAF_LIFE.as_secs() / 2);

/// A certificate and when it was made.
#[derive(Clone)]
struct Leaf {
    /// The certificate with its key.
    key: Arc<CertifiedKey>,
    /// When.
    made: SystemTime,
}

impl Leaf {
    /// Whether it is valid now and for a while, also if somebody has set the clock meanwhile.
    fn is_good(&self, now: SystemTime) -> bool {
        match now.duration_since(self.made) {
            Ok(age) => age < OLDEST,
            Err(back) => back.duration() < BACKDATED / 2,
        }
    }
}

/// One certificate, whoever is asked for.
#[derive(Debug)]
pub(crate) struct Only(pub(crate) Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The certificates of one worker, those not used for long forgotten: when the young are too many, they become the old, and
/// what was old and not used since is gone.
#[derive(Default)]
pub(crate) struct Leaves {
    /// Used lately.
    young: HashMap<String, Leaf, RandomState>,
    /// Used before that.
    old: HashMap<String, Leaf, RandomState>,
}

impl Leaves {
    /// The certificate for a server of this name or address.
    ///
    /// # Errors
    /// If the name cannot be that of a server.
    pub(crate) fn get(
        &mut self,
        authority: &CertificateAuthority,
        name: &str,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, String> {
        if let Some(leaf) = self.young.get(name)
            && leaf.is_good(now)
        {
            return Ok(Arc::clone(&leaf.key));
        }
        let leaf = match self.old.remove(name) {
            Some(leaf) if leaf.is_good(now) => leaf,
            _ => Leaf {
                key: Arc::new(authority.mint(name, now)?),
                made: now,
            },
        };
        let key = Arc::clone(&leaf.key);
        if self.young.len() >= MOST / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name.to_owned(), leaf);
        Ok(key)
    }

    /// How many are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_hosts_take_the_room_of_a_thousand_and_what_is_in_use_stays() {
        let now = SystemTime::now();
        let authority = CertificateAuthority::new("1-1", None, now).expect("an authority");
        let mut leaves = Leaves::default();
        let first = leaves.get(&authority, "often.test", now).expect("a certificate");
        for number in 0..10_000 {
            leaves
                .get(&authority, &format!("h{number}.test"), now)
                .expect("a certificate");
            let again = leaves.get(&authority, "often.test", now).expect("a certificate");
            assert!(Arc::ptr_eq(&first, &again));
            assert!(leaves.len() <= MOST);
        }
    }

    #[test]
    fn one_that_gets_old_or_is_not_valid_by_the_clock_of_now_is_made_again() {
        let now = SystemTime::now();
        let authority = CertificateAuthority::new("1-1", None, now).expect("an authority");
        for (later, same) in [
            (now + Duration::from_hours(11), true),
            (now + Duration::from_hours(13), false),
            (now - Duration::from_mins(20), true),
            (now - Duration::from_hours(3), false),
        ] {
            let mut leaves = Leaves::default();
            let first = leaves.get(&authority, "a.test", now).expect("a certificate");
            let second = leaves.get(&authority, "a.test", later).expect("a certificate");
            assert_eq!(Arc::ptr_eq(&first, &second), same);
        }
    }
}
