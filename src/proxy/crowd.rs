//! How many clients a worker serves at once, and who goes when one more comes.
//!
//! The limit is a third of the descriptors that the process may have, since a client that is served takes up to three. There
//! is no smaller one: a program that opens many connections by itself may open as many with amb. A connection that waits
//! for its next request is closed for a new one, the longest waiting first, as any server may do at any time
//! ([RFC 9112 §9.5]); if none waits, the new one is told so.
//!
//! [RFC 9112 §9.5]: https://www.rfc-editor.org/rfc/rfc9112#section-9.5

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use foldhash::fast::RandomState;
use rustix::process::{Resource, getrlimit};
use tokio::{sync::Notify, task::AbortHandle};

/// Clients beyond the limit that are being told so. Further ones wait to be accepted.
const TURNED_AWAY_LIMIT: usize = 32;

/// The clients of a worker.
pub(crate) struct Crowd {
    /// How many are served at once.
    limit: usize,
    /// The clients that are served, by number.
    seats: RefCell<HashMap<u64, Rc<Place>, RandomState>>,
    /// How many clients are being turned away.
    turned_away: Cell<usize>,
    /// The last number given out, to a client or to a wait.
    last: Cell<u64>,
    /// Told when a client was turned away.
    left: Notify,
}

/// What is known about a client.
#[derive(Default)]
pub(crate) struct Place {
    /// Since which number it waits for its next request; 0 while it is served.
    waits_since: Cell<u64>,
    /// Ends its task.
    task: RefCell<Option<AbortHandle>>,
}

/// A client's place among the others, until it is dropped.
pub(crate) struct Seat {
    /// The others.
    crowd: Rc<Crowd>,
    /// Its number.
    number: u64,
    /// What is known about it.
    place: Rc<Place>,
    /// Whether there is room for it.
    pub(crate) fits: bool,
}

impl Crowd {
    /// For one of `workers`, with its share of the process's descriptors.
    pub(crate) fn of_worker(workers: usize) -> Rc<Self> {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = descriptors / 3 / u64::try_from(workers.max(1)).unwrap_or(1);
        Self::with_limit(usize::try_from(share).unwrap_or(usize::MAX).max(1))
    }

    /// With this limit.
    fn with_limit(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            limit,
            seats: RefCell::default(),
            turned_away: Cell::new(0),
            last: Cell::new(0),
            left: Notify::new(),
        })
    }

    /// How many are served at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The next number.
    fn next(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// Gives a new client its seat; closes the connection of the one that has waited the longest if there is no room.
    pub(crate) fn seat(self: &Rc<Self>) -> Seat {
        let fits = self.seats.borrow().len() < self.limit || self.close_one_that_waits();
        let (number, place) = (self.next(), Rc::<Place>::default());
        if fits {
            self.seats.borrow_mut().insert(number, Rc::clone(&place));
        } else {
            self.turned_away.set(self.turned_away.get() + 1);
        }
        Seat {
            crowd: Rc::clone(self),
            number,
            place,
            fits,
        }
    }

    /// Closes the connection that has waited the longest for its next request. False if none waits.
    fn close_one_that_waits(&self) -> bool {
        let longest = self
            .seats
            .borrow()
            .iter()
            .filter(|(_, place)| place.waits_since.get() > 0)
            .min_by_key(|(_, place)| place.waits_since.get())
            .map(|(number, place)| (*number, place.task.take()));
        let Some((number, Some(task))) = longest else {
            return false;
        };
        tracing::debug!(
            limit = self.limit,
            "an idle client's connection is closed for a new one"
        );
        // At once, and not only when the task has ended: the next client must find another one.
        self.seats.borrow_mut().remove(&number);
        task.abort();
        true
    }

    /// Waits until one more may be accepted, if only to be turned away. Cancel safe.
    pub(crate) async fn room(&self) {
        while self.turned_away.get() >= TURNED_AWAY_LIMIT {
            self.left.notified().await;
        }
    }
}

impl Place {
    /// Says which task serves the client, so that it can be ended while the client waits.
    pub(crate) fn is_served_by(&self, task: AbortHandle) {
        *self.task.borrow_mut() = Some(task);
    }
}

impl Seat {
    /// What is known about the client, which may outlive the seat.
    pub(crate) fn place(&self) -> Rc<Place> {
        Rc::clone(&self.place)
    }

    /// The client has nothing to ask at the moment.
    pub(crate) fn waits(&self) {
        self.place.waits_since.set(self.crowd.next());
    }

    /// The client asks for something.
    pub(crate) fn asks(&self) {
        self.place.waits_since.set(0);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.fits {
            self.crowd.seats.borrow_mut().remove(&self.number);
        } else {
            self.crowd.turned_away.set(self.crowd.turned_away.get() - 1);
            self.crowd.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that waits for ever, on the current thread.
    fn task() -> tokio::task::JoinHandle<()> {
        tokio::task::spawn_local(std::future::pending())
    }

    #[tokio::test(flavor = "local")]
    async fn the_longest_waiting_goes_first_and_whoever_is_served_stays() {
        let crowd = Crowd::with_limit(3);
        let seats: Vec<(Seat, _)> = (0..3).map(|_| (crowd.seat(), task())).collect();
        for (seat, task) in &seats {
            assert!(seat.fits);
            seat.place.is_served_by(task.abort_handle());
        }
        seats[1].0.waits();
        seats[0].0.waits();
        seats[2].0.waits();
        seats[2].0.asks();
        let new = [crowd.seat(), crowd.seat(), crowd.seat()];
        assert_eq!(new.map(|seat| seat.fits), [true, true, false], "the third is served");
        tokio::task::yield_now().await;
        let ended: Vec<bool> = seats.iter().map(|(_, task)| task.is_finished()).collect();
        assert_eq!(ended, [true, true, false]);
    }

    #[tokio::test(flavor = "local")]
    async fn a_seat_that_is_left_is_free() {
        let crowd = Crowd::with_limit(1);
        let first = crowd.seat();
        assert!(first.fits && !crowd.seat().fits);
        drop(first);
        assert!(crowd.seat().fits);
        let many: Vec<Seat> = (0..=TURNED_AWAY_LIMIT).map(|_| crowd.seat()).collect();
        assert!(
            crate::proxy::work::now(crowd.room()).await.is_none(),
            "all are being turned away"
        );
        drop(many);
        crowd.room().await;
    }
}
