//! A look at the workers while they work. Nothing is counted for it that is not counted anyway: a worker that is asked copies
//! its books, on its own thread and between two events.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{circuits, deadline, recorder::Recorder};
use crate::{policy::Policy, traffic::meter::Meter};

/// How long a worker may take to answer. One that is at work answers within the time of an event.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many questions may wait for a worker; further ones find that it does not answer.
const QUESTIONS: usize = 16;

/// A question to a worker: where it is to send what it has.
pub(crate) type Question = oneshot::Sender<Look>;

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
    /// Workers that have ended or did not answer, whose sums are missing here.
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
    /// Where each takes questions.
    workers: Vec<mpsc::Sender<Question>>,
    /// What they share; none before they begin.
    policy: Option<Arc<Policy>>,
}

impl Lookout {
    /// Where a worker that begins takes its questions.
    pub(super) fn post(&self, policy: &Arc<Policy>) -> mpsc::Receiver<Question> {
        let (post, questions) = mpsc::channel(QUESTIONS);
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.workers.push(post);
        begun.policy.get_or_insert_with(|| Arc::clone(policy));
        questions
    }

    /// What all workers have so far. A worker that has ended, or does not answer, is left out.
    pub async fn look(&self) -> Look {
        let (asked, workers, policy) = {
            let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = begun.workers.iter().filter_map(|worker| {
                let (question, answer) = oneshot::channel();
                worker.try_send(question).ok().map(|()| answer)
            });
            (asked.collect::<Vec<_>>(), begun.workers.len(), begun.policy.clone())
        };
        let mut all = Look {
            missing: workers,
            ..Look::default()
        };
        for answer in asked {
            let Some(Ok(look)) = deadline::within(PATIENCE, answer).await else {
                tracing::debug!("a worker did not say what it has");
                continue;
            };
            all.meter.merge(look.meter);
            all.missing -= 1;
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
}

/// Answers questions for ever, from a worker's books.
pub(super) async fn answer(questions: &mut mpsc::Receiver<Question>, recorder: &Recorder) {
    while let Some(question) = questions.recv().await {
        if question.send(recorder.look()).is_err() {
            tracing::debug!("nobody waited for a worker's answer");
        }
    }
    // Nobody can ask any more.
    std::future::pending::<()>().await;
}
