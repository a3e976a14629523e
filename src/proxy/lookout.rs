//! A look at the workers while they work. Nothing is counted for it that is not counted anyway: a worker that is asked copies
//! its books, on its own thread and between two events.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{circuits, deadline, recorder::Recorder};
use crate::{
    policy::Policy,
    traffic::meter::{Counts, Meter},
};

/// How long a worker may take to answer. One that is at work answers within the time of an event.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many questions may wait for a worker; further ones find that it does not answer.
const QUESTIONS: usize = 16;

/// A question to a worker: where it is to send what it has.
#[derive(Debug)]
pub(crate) enum Question {
    /// All of it.
    Look(oneshot::Sender<Look>),
    /// A few figures.
    Glance(oneshot::Sender<Glance>),
}

/// What there is to see in a few figures, for which nothing is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// How much has ended, and how.
    pub counts: Counts,
    /// Exchanges and tunnels that have begun and not ended.
    pub open: u64,
}

/// A question for a [`Glance`] that is on its way.
#[derive(Debug)]
pub struct Asked {
    /// What brings the answers that are still to come.
    answers: Vec<oneshot::Receiver<Glance>>,
    /// The sum of those that are there.
    sum: Glance,
}

impl Asked {
    /// The sum of all answers, once they are there; does not wait. A worker that has ended is left out.
    pub fn answer(&mut self) -> Option<Glance> {
        let sum = &mut self.sum;
        self.answers.retain_mut(|answer| match answer.try_recv() {
            Ok(glance) => {
                sum.counts += glance.counts;
                sum.open += glance.open;
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        self.answers.is_empty().then_some(self.sum)
    }
}

/// What there is to see.
#[derive(Debug, Default)]
pub struct Look {
    /// The sums so far.
    pub meter: Meter,
    /// Exchanges and tunnels that have begun and not ended.
    pub open: usize,
    /// How long ago the last that has ended did; none if none has.
    pub quiet: Option<Duration>,
    /// Those of them that are tunnels.
    pub tunnels: usize,
    /// Workers that did not answer, or have ended without leaving their books, whose sums are missing here.
    pub missing: usize,
    /// Which they are, as far as they began after the first look.
    pub under_way: Vec<UnderWay>,
}

/// An exchange or tunnel that has begun and not ended.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// The request's method; `CONNECT` for a tunnel.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// The port that was asked for.
    pub port: u16,
    /// How long ago it began.
    pub since: Duration,
}

/// From where the workers of a proxy can be looked at, whether they have begun or not.
#[derive(Clone, Debug, Default)]
pub struct Lookout(Arc<Mutex<Begun>>);

/// The workers that have begun.
#[derive(Debug, Default)]
struct Begun {
    /// Where each takes questions, in the order of their numbers.
    workers: Vec<Post>,
    /// What they share; none before they begin.
    policy: Option<Arc<Policy>>,
    /// Whether somebody may look when they have ended.
    keeps: bool,
}

/// Where a worker is asked.
#[derive(Debug)]
struct Post {
    /// Takes questions as long as it works.
    questions: mpsc::Sender<Question>,
    /// Its books, since it has ended.
    left: Option<Meter>,
}

impl Lookout {
    /// Where a worker that begins takes its questions.
    pub(super) fn post(&self, policy: &Arc<Policy>) -> mpsc::Receiver<Question> {
        let (post, questions) = mpsc::channel(QUESTIONS);
        let mut begun = self.begun();
        begun.workers.push(Post {
            questions: post,
            left: None,
        });
        begun.policy.get_or_insert_with(|| Arc::clone(policy));
        questions
    }

    /// Has workers leave their books when they end, for those who look between that and the end of the run.
    pub fn keep(&self) {
        self.begun().keeps = true;
    }

    /// Leaves the books of the worker of this number, which has ended.
    pub(super) fn leave(&self, index: usize, books: &Meter) {
        let mut begun = self.begun();
        if begun.keeps
            && let Some(post) = begun.workers.get_mut(index)
        {
            post.left = Some(books.clone());
        }
    }

    /// Asks all workers for a few figures, without waiting for them.
    pub fn ask(&self) -> Asked {
        let begun = self.begun();
        let answers = begun.workers.iter().filter_map(|worker| {
            let (question, answer) = oneshot::channel();
            let asked = worker.questions.try_send(Question::Glance(question));
            asked.ok().map(|()| answer)
        });
        Asked {
            answers: answers.collect(),
            sum: Glance::default(),
        }
    }

    /// What all workers have so far, those that have ended included if their books are kept. One that does not answer is left
    /// out.
    pub async fn look(&self) -> Look {
        let (asked, policy) = {
            let begun = self.begun();
            let asked = begun.workers.iter().map(|worker| {
                let (question, answer) = oneshot::channel();
                let asked = worker.questions.try_send(Question::Look(question));
                asked.ok().map(|()| answer)
            });
            (asked.collect::<Vec<_>>(), begun.policy.clone())
        };
        let mut all = Look::default();
        for (index, answer) in asked.into_iter().enumerate() {
            let answer = match answer {
                Some(answer) => deadline::within(PATIENCE, answer).await.and_then(Result::ok),
                None => None,
            };
            let look = answer.or_else(|| {
                Some(Look {
                    meter: self.begun().workers.get(index)?.left.clone()?,
                    ..Look::default()
                })
            });
            let Some(look) = look else {
                tracing::debug!("a worker did not say what it has");
                all.missing += 1;
                continue;
            };
            all.meter.merge(look.meter);
            all.open += look.open;
            all.quiet = all.quiet.into_iter().chain(look.quiet).min();
            all.tunnels += look.tunnels;
            all.under_way.extend(look.under_way);
        }
        all.under_way.sort_by_key(|one| std::cmp::Reverse(one.since));
        if let Some(policy) = policy {
            all.meter.note_circuits(circuits(&policy));
        }
        all
    }

    /// The workers that have begun.
    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers questions for ever, from a worker's books.
pub(super) async fn answer(questions: &mut mpsc::Receiver<Question>, recorder: &Recorder) {
    while let Some(question) = questions.recv().await {
        let sent = match question {
            Question::Look(to) => to.send(recorder.look()).is_ok(),
            Question::Glance(to) => to.send(recorder.glance()).is_ok(),
        };
        if !sent {
            tracing::debug!("nobody waited for a worker's answer");
        }
    }
    // Nobody can ask any more.
    std::future::pending::<()>().await;
}
