//! How many exchanges and tunnels began when: a bounded number of slots, which become wider as a run becomes longer.

use std::{
    mem,
    time::{Duration, SystemTime},
};

use crate::traffic::{Kind, Outcome, Record};

/// The width of a slot at first, in milliseconds.
const TICK_MILLIS: u64 = 100;

/// Slots at most: when they do not suffice, two become one of twice the width. A chart has no more columns than that, and a
/// worker's slots take six kilobytes.
const MOST_SLOTS: u64 = 240;

/// What began within a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// HTTP exchanges.
    pub requests: u64,
    /// Opaque tunnels.
    pub tunnels: u64,
    /// Those of both that failed, or that amb refused.
    pub failed: u64,
}

impl Slot {
    /// Adds what began within another one.
    fn merge(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.tunnels = self.tunnels.saturating_add(other.tunnels);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// How many began when. Slots lie at multiples of their width since 1970, so that two timelines add up exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// How often the width was doubled.
    doublings: u32,
    /// The number of the first slot since 1970, in their present width.
    first: u64,
    /// The slots; the first and the last are never without a beginning. Empty if there was none.
    slots: Vec<Slot>,
}

impl Timeline {
    /// Counts an exchange or tunnel.
    pub(crate) fn add(&mut self, record: &Record) {
        let since = record
            .started_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let ticks =
            since.as_secs().saturating_mul(1_000 / TICK_MILLIS) + u64::from(since.subsec_millis()) / TICK_MILLIS;
        let exchange = u64::from(record.kind == Kind::Exchange);
        let failed = matches!(record.outcome, Outcome::Failed(_) | Outcome::Denied(_));
        let slot = Slot {
            requests: exchange,
            tunnels: 1 - exchange,
            failed: u64::from(failed),
        };
        self.place(ticks, slot);
    }

    /// Adds a slot that begins this many ticks after 1970.
    fn place(&mut self, ticks: u64, slot: Slot) {
        // Almost every record finds its slot here: this is on the path of requests.
        let at = (ticks >> self.doublings).wrapping_sub(self.first);
        match usize::try_from(at).ok().and_then(|at| self.slots.get_mut(at)) {
            Some(here) => here.merge(slot),
            None => self.make_room(ticks, slot),
        }
    }

    /// Adds a slot that lies outside of all others.
    #[cold]
    fn make_room(&mut self, ticks: u64, slot: Slot) {
        if self.slots.is_empty() {
            (self.first, self.doublings) = (ticks, 0);
            self.slots.push(slot);
            return;
        }
        let (first, last) = loop {
            let at = ticks >> self.doublings;
            let (first, last) = (self.first.min(at), (self.first + self.slots.len() as u64 - 1).max(at));
            if last - first < MOST_SLOTS {
                break (first, last);
            }
            self.widen();
        };
        // Records come as exchanges end: one that took long began before those that were seen first.
        let before = usize::try_from(self.first - first).unwrap_or_default();
        if before > 0 {
            self.slots.splice(0..0, std::iter::repeat_n(Slot::default(), before));
            self.first = first;
        }
        let len = usize::try_from(last - first).unwrap_or_default() + 1;
        self.slots.resize(len, Slot::default());
        let at = usize::try_from((ticks >> self.doublings) - first).unwrap_or_default();
        if let Some(here) = self.slots.get_mut(at) {
            here.merge(slot);
        }
    }

    /// Makes one slot of two.
    fn widen(&mut self) {
        let mut slots: Vec<Slot> = Vec::with_capacity(self.slots.len() / 2 + 1);
        let first = self.first >> 1;
        for (number, slot) in (self.first..).zip(mem::take(&mut self.slots)) {
            let at = usize::try_from((number >> 1) - first).unwrap_or_default();
            slots.resize(slots.len().max(at + 1), Slot::default());
            slots[at].merge(slot);
        }
        (self.first, self.doublings, self.slots) = (first, self.doublings + 1, slots);
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        if self.slots.is_empty() {
            self.clone_from(other);
            return;
        }
        while self.doublings < other.doublings {
            self.widen();
        }
        for (number, slot) in (other.first..).zip(&other.slots) {
            if *slot != Slot::default() {
                self.place(number << other.doublings, *slot);
            }
        }
    }

    /// When the first slot begins.
    pub fn begins_at(&self) -> SystemTime {
        let millis = (self.first << self.doublings).saturating_mul(TICK_MILLIS);
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    /// How wide a slot is.
    pub fn width(&self) -> Duration {
        Duration::from_millis(TICK_MILLIS << self.doublings)
    }

    /// The slots, one behind the other.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// One with these slots; none if they are of a width that there is not, too many, or do not begin at a multiple of it.
    pub fn revive(begins_at: SystemTime, width: Duration, slots: Vec<Slot>) -> Option<Self> {
        let ticks = u64::try_from(width.as_millis()).ok()? / TICK_MILLIS;
        let begin = begins_at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis();
        let first = u64::try_from(begin).ok()? / TICK_MILLIS;
        let revived = Self {
            doublings: ticks.checked_ilog2()?,
            first: first.checked_div(ticks)?,
            slots,
        };
        let fits = revived.slots.len() as u64 <= MOST_SLOTS && !revived.slots.is_empty();
        (fits && revived.width() == width && revived.begins_at() == begins_at).then_some(revived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that began within this slot.
    const ONE: Slot = Slot {
        requests: 1,
        tunnels: 0,
        failed: 0,
    };

    /// A timeline of requests that began this many ticks after 1970, in the order in which they ended.
    fn timeline(ticks: impl IntoIterator<Item = u64>) -> Timeline {
        let mut timeline = Timeline::default();
        for ticks in ticks {
            timeline.place(ticks, ONE);
        }
        timeline
    }

    /// The requests of each slot.
    fn requests(timeline: &Timeline) -> Vec<u64> {
        timeline.slots().iter().map(|slot| slot.requests).collect()
    }

    #[test]
    fn what_began_is_counted_where_it_began() {
        let timeline = timeline([1_003, 1_001, 1_001, 1_005]);
        assert_eq!(requests(&timeline), [2, 0, 1, 0, 1]);
        assert_eq!(timeline.width(), Duration::from_millis(100));
        assert_eq!(
            timeline.begins_at(),
            SystemTime::UNIX_EPOCH + Duration::from_millis(100_100)
        );
    }

    #[test]
    fn a_long_run_has_wider_slots_and_loses_nothing() {
        for length in [240, 241, 1_000, 864_000, 1 << 40] {
            let all = timeline([length, 7, length / 2].into_iter().chain(0..200));
            assert!(all.slots().len() as u64 <= MOST_SLOTS, "{length}");
            assert_eq!(requests(&all).iter().sum::<u64>(), 203, "{length}");
            assert!(requests(&all).first() > Some(&0) && requests(&all).last() > Some(&0));
        }
    }

    #[test]
    fn whatever_the_order_the_sums_are_the_same() {
        let ticks: Vec<u64> = (0..2_000).map(|number| 5_000 + number * number % 3_001).collect();
        let all = timeline(ticks.iter().copied());
        assert_eq!(timeline(ticks.iter().rev().copied()), all);
        for split in [0, 1, 1_000, 1_999, 2_000] {
            let mut left = timeline(ticks[..split].iter().copied());
            left.merge(&timeline(ticks[split..].iter().copied()));
            assert_eq!(left, all, "split at {split}");
        }
    }

    #[test]
    fn a_timeline_is_read_back_unless_it_can_be_none() {
        let all = timeline([5, 9, 2_000]);
        let again = Timeline::revive(all.begins_at(), all.width(), all.slots().to_vec());
        assert_eq!(again, Some(all));
        let at = SystemTime::UNIX_EPOCH;
        for (width, slots) in [(0, 1), (50, 1), (300, 1), (100, 0), (100, 241)] {
            let slots = vec![ONE; slots];
            assert_eq!(Timeline::revive(at, Duration::from_millis(width), slots), None);
        }
    }
}
