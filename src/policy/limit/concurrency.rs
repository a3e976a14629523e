//! Requests at a time, and a bounded queue before them in the order in which they came.

use std::{collections::VecDeque, fmt, sync::Arc, task::Waker, time::Duration};

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    policy::{
        Problem,
        scope::{Entry, Scope, State, Table},
    },
    units::Period,
};

/// The name of the table.
const TABLE: &str = "concurrency";

/// How many requests wait at most, unless `max-queued` says otherwise.
const DEFAULT_QUEUED: u32 = 100;

/// How long they wait at most, unless `max-wait` says otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// A limit as it is configured: the table `[concurrency]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ConcurrencyOptions {
    /// Requests that a host gets at a time; for a tunnel only its opening counts [default: no limit]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1))]
    pub max_concurrent: Option<u32>,

    /// So many more may wait; what comes beyond them is answered with 503 at once [default: 100]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 100))]
    pub max_queued: Option<u32>,

    /// How long a request waits at most before it is answered with 503 [default: 1s]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1s"))]
    pub max_wait: Option<Period>,

    /// What has a limit of its own: host, host-port or route [default: host]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "host"))]
    pub key: Option<Scope>,
}

/// A limit that is valid.
#[derive(Debug)]
pub struct Concurrency {
    /// Requests at a time; at least 1.
    pub most: u32,
    /// Requests that may wait.
    most_queued: u32,
    /// How long they may.
    pub longest_wait: Duration,
    /// The queues.
    queues: Table<Queue>,
}

/// Who is being served and who waits.
#[derive(Debug, Default)]
struct Queue {
    /// Requests that are being served, those included whose turn has come and who do not know it yet.
    served: u32,
    /// Those that wait, the first first.
    waiting: VecDeque<Waiting>,
    /// Those whose turn has come and who do not know it yet.
    called: Vec<u64>,
    /// The last number given out.
    last: u64,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    /// Its number.
    number: u64,
    /// Wakes it.
    waker: Option<Waker>,
}

impl State for Queue {
    fn is_idle(&self, _now: Duration) -> bool {
        self.served == 0 && self.waiting.is_empty()
    }
}

impl Queue {
    /// Ends the service of one, and so begins that of the next.
    fn leave(&mut self) {
        match self.waiting.pop_front() {
            Some(next) => {
                self.called.push(next.number);
                if let Some(waker) = next.waker {
                    waker.wake();
                }
            }
            None => self.served = self.served.saturating_sub(1),
        }
    }

    /// Whether the turn of this number has come, which is said once; if not, `waker` is told when it does.
    fn is_called(&mut self, number: u64, waker: &Waker) -> bool {
        if let Some(at) = self.called.iter().position(|called| *called == number) {
            self.called.swap_remove(at);
            return true;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.number == number) {
            waiting.waker = Some(waker.clone());
        }
        false
    }

    /// Takes this number out; its turn, if it has come, is the next one's.
    fn give_up(&mut self, number: u64) {
        if self.is_called(number, Waker::noop()) {
            self.leave();
        } else {
            self.waiting.retain(|waiting| waiting.number != number);
        }
    }
}

/// A request that is served or waits to be. Its end makes room for the next.
#[derive(Debug)]
pub struct Turn {
    /// Its queue.
    entry: Arc<Entry<Queue>>,
    /// Its number, while it waits.
    waits: Option<u64>,
}

/// A request for which there is no room, not even to wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    /// Whose queue it is.
    pub name: Box<str>,
}

impl ConcurrencyOptions {
    /// The limit, for the requests of `route`; none if there is none.
    pub fn build(self, route: &str, problems: &mut Vec<Problem>) -> Option<Arc<Concurrency>> {
        let most = self.max_concurrent?;
        if most == 0 {
            let reason = "expected at least 1; leave it out for no limit";
            problems.push(Problem::at(&[TABLE, "max-concurrent"], reason));
        }
        Some(Arc::new(Concurrency {
            most,
            most_queued: self.max_queued.unwrap_or(DEFAULT_QUEUED),
            longest_wait: self.max_wait.map_or(DEFAULT_WAIT, |period| period.0),
            queues: Table::new(self.key.unwrap_or_default(), route),
        }))
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, most, queued) = (self.queues.scope(), self.most, self.most_queued);
        let wait = humantime::format_duration(self.longest_wait);
        write!(
            f,
            "a {scope} gets {most} requests at a time, and {queued} more wait for up to {wait}"
        )
    }
}

impl Concurrency {
    /// A turn for a request to `host` and `port`; it may have to wait, see [`Turn::has_come`].
    ///
    /// # Errors
    /// If too many wait already.
    pub fn turn(&self, host: &str, port: u16, now: Duration) -> Result<Turn, Full> {
        let entry = self.queues.entry(host, port, now, |_| {});
        let mut queue = entry.state();
        let waits = if queue.served < self.most {
            queue.served += 1;
            None
        } else if queue.waiting.len() < usize::try_from(self.most_queued).unwrap_or(usize::MAX) {
            queue.last += 1;
            let number = queue.last;
            queue.waiting.push_back(Waiting { number, waker: None });
            Some(number)
        } else {
            return Err(Full {
                name: entry.name.clone(),
            });
        };
        drop(queue);
        Ok(Turn { entry, waits })
    }
}

impl Turn {
    /// Whose queue it is.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Whether it has come; if not, `waker` is told when it does.
    pub fn has_come(&mut self, waker: &Waker) -> bool {
        if let Some(number) = self.waits
            && self.entry.state().is_called(number, waker)
        {
            self.waits = None;
        }
        self.waits.is_none()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.entry.state();
        match self.waits {
            Some(number) => queue.give_up(number),
            None => queue.leave(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::policy::scope::NO_ROUTE;

    /// A limit of these figures.
    fn limit(most: u32, queued: u32) -> Arc<Concurrency> {
        let options = ConcurrencyOptions {
            max_concurrent: Some(most),
            max_queued: Some(queued),
            ..ConcurrencyOptions::default()
        };
        options.build(NO_ROUTE, &mut Vec::new()).unwrap()
    }

    /// A turn of a request to a host.
    fn turn(limit: &Concurrency) -> Result<Turn, Full> {
        limit.turn("h", 80, Duration::ZERO)
    }

    /// Whether it has come.
    fn has_come(turn: &mut Turn) -> bool {
        turn.has_come(Waker::noop())
    }

    #[test]
    fn those_who_wait_come_in_their_order_and_too_many_are_refused() {
        let limit = limit(2, 2);
        let mut turns: Vec<Turn> = (0..4).map(|_| turn(&limit).unwrap()).collect();
        assert_eq!(
            turns.iter_mut().map(has_come).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(turn(&limit).unwrap_err(), Full { name: "h".into() });
        assert!(limit.turn("other", 80, Duration::ZERO).is_ok());
        drop(turns.remove(1));
        assert_eq!(turns.iter_mut().map(has_come).collect::<Vec<_>>(), [true, true, false]);
        assert!(!has_come(&mut turn(&limit).unwrap()), "there is room to wait again");
        drop(turns.remove(0));
        assert_eq!(turns.iter_mut().map(has_come).collect::<Vec<_>>(), [true, true]);
        drop(turns);
        assert!(has_come(&mut turn(&limit).unwrap()));
    }

    #[test]
    fn a_turn_that_is_given_up_is_the_next_ones() {
        let limit = limit(1, 3);
        let first = turn(&limit).unwrap();
        let [second, mut third, mut fourth] = [0; 3].map(|_| turn(&limit).unwrap());
        assert!(!has_come(&mut third));
        drop(third);
        drop(first);
        // Called, but it has gone before it knew.
        drop(second);
        assert!(has_come(&mut fourth));
    }

    #[test]
    fn whoever_waits_is_woken() {
        /// Counts.
        struct Bell(AtomicU32);
        impl std::task::Wake for Bell {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let limit = limit(1, 1);
        let first = turn(&limit).unwrap();
        let mut second = turn(&limit).unwrap();
        let bell = Arc::new(Bell(AtomicU32::new(0)));
        assert!(!second.has_come(&Waker::from(Arc::clone(&bell))));
        drop(first);
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(has_come(&mut second));
    }

    #[test]
    fn threads_never_serve_more_than_is_allowed() {
        let limit = limit(3, 1_000);
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut turn = turn(&limit).unwrap();
                        while !has_come(&mut turn) {
                            std::thread::yield_now();
                        }
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 3);
        assert!(limit.queues.all()[0].state().is_idle(Duration::ZERO));
    }
}
