//! What came of what a command did: figures.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

/// Destinations that are told of those that went around.
const MOST_TOLD: usize = 5;

/// Why a connection that should have been captured was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Around {
    /// amb may not read where it was to lead: it need not have been TCP.
    Unread,
    /// amb may not have the socket.
    Withheld,
    /// Its process has a network of its own, as in a container, in which amb is not.
    Elsewhere,
    /// The socket cannot be led to this machine: it is bound to a network card.
    Bound,
    /// It leads to an address that says nothing without the network card.
    Beyond,
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread => "amb may not look into their processes",
            Self::Withheld => "amb may not have their sockets",
            Self::Elsewhere => "their processes have a network of their own",
            Self::Bound => "their sockets cannot be led to this machine",
            Self::Beyond => "they lead to link-local addresses",
        })
    }
}

/// What came of the connections of a command, and of its roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that were led to amb.
    pub captured: u64,
    /// Those that should have been: by why not, how many they were, and where some of them led.
    pub around: BTreeMap<Around, (u64, Vec<SocketAddr>)>,
    /// How often roots were opened with amb's authority among them; none if that was not wanted.
    pub roots: Option<u64>,
}

impl Tally {
    /// Counts one that went around.
    pub(super) fn went_around(&mut self, why: Around, to: Option<SocketAddr>) {
        let (count, places) = self.around.entry(why).or_default();
        *count += 1;
        if let Some(to) = to
            && places.len() < MOST_TOLD
            && !places.contains(&to)
        {
            places.push(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_goes_around_is_counted_and_some_of_it_told() {
        let mut tally = Tally::default();
        for last in 0..20 {
            tally.went_around(Around::Withheld, Some((Ipv4Addr::new(192, 0, 2, last), 80).into()));
        }
        tally.went_around(Around::Unread, None);
        let (count, places) = &tally.around[&Around::Withheld];
        assert_eq!((*count, places.len()), (20, MOST_TOLD));
        assert_eq!(tally.around[&Around::Unread], (1, Vec::new()));
    }
}
