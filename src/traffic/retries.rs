//! What retries and hedges did for an exchange or tunnel, and their sums.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Outcome, Record,
    latency::{from_seconds, seconds},
};

/// What retries and hedges did for one exchange or tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Times it was begun anew because the policy asked for it, whether or not the attempt before had been sent.
    pub count: u32,
    /// How long it waited between attempts, added up.
    pub waited: Duration,
    /// Why its last failure, or a status that retries are for, was left as it was; none if there was nothing to retry.
    pub refused: Option<Refused>,
    /// What became of the hedge; none if there was none.
    pub hedge: Option<Hedge>,
}

/// One attempt at an exchange: from its beginning to the head of the answer, or to its failure. What was sent again unseen, and
/// hedges, are part of the attempt that they were for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// How long after the exchange it began.
    pub after: Duration,
    /// How long it took.
    pub took: Duration,
    /// What the server answered; none if it did not.
    pub status: Option<u16>,
    /// Why there was no answer, as in [`Failure::error_type`](super::Failure::error_type).
    pub error: Option<&'static str>,
}

/// A second request that was sent while the first one's answer was still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// The first one's answer came first after all.
    Lost,
    /// Its answer was the one that the client got.
    Won,
}

/// Why something was not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: NotRetried,
    /// The lowest level that would have tried it again; none if no level would.
    pub level: Option<RetryLevel>,
}

/// The levels of the retry policy at which something is retried at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryLevel {
    /// What was certainly not executed.
    Safe,
    /// What may be executed twice.
    Idempotent,
    /// Whatever the user listed.
    All,
}

/// Why something was not tried again, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRetried {
    /// Retries are off.
    Off,
    /// The server may have executed it, and the level does not cover that.
    NotSafe,
    /// The method is not among those that are retried.
    MethodNotListed,
    /// What happened is not among what is retried.
    ConditionNotListed,
    /// It would happen again: a name that does not exist, an answer that is not HTTP.
    Pointless,
    /// The request's body is larger than what is kept of it.
    BodyTooLarge,
    /// The host has had as many retries as the budget allows.
    Budget,
    /// All attempts were used.
    AttemptsUsed,
    /// The answer had begun to reach the client, or the tunnel was open.
    AnswerBegun,
    /// The server asked for a longer wait than amb waits.
    RetryAfterTooLong,
    /// No time was left.
    TimeOver,
}

impl NotRetried {
    /// Its name in reports: `not_safe`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NotSafe => "not_safe",
            Self::MethodNotListed => "method_not_listed",
            Self::ConditionNotListed => "condition_not_listed",
            Self::Pointless => "pointless",
            Self::BodyTooLarge => "body_too_large",
            Self::Budget => "budget",
            Self::AttemptsUsed => "attempts_used",
            Self::AnswerBegun => "answer_begun",
            Self::RetryAfterTooLong => "retry_after_too_long",
            Self::TimeOver => "time_over",
        }
    }
}

impl RetryLevel {
    /// Its name in the configuration: `idempotent`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Idempotent => "idempotent",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Refused {
    /// For people, to go behind `not retried: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            NotRetried::Off => "retries are off",
            NotRetried::NotSafe => "it may have been executed",
            NotRetried::MethodNotListed => "its method is not retried",
            NotRetried::ConditionNotListed => "what happened is not in retry.on",
            NotRetried::Pointless => "it would happen again",
            NotRetried::BodyTooLarge => "its body is above retry.buffer-limit",
            NotRetried::Budget => "the budget of the host is spent",
            NotRetried::AttemptsUsed => "no attempt was left",
            NotRetried::AnswerBegun => "its answer had begun",
            NotRetried::RetryAfterTooLong => "the server asked for too long a wait",
            NotRetried::TimeOver => "no time was left",
        })?;
        match (self.why, self.level) {
            (NotRetried::Off | NotRetried::NotSafe | NotRetried::MethodNotListed, Some(level)) => {
                write!(f, "; --retry {} would have", level.name())
            }
            _ => Ok(()),
        }
    }
}

impl Record {
    /// Whether it came to a good end, and only because it was retried: without amb it would have failed.
    pub fn is_rescued(&self) -> bool {
        self.retries.count > 0 && self.outcome == Outcome::Ok && self.retries.refused.is_none()
    }
}

/// What retries and hedges did, summed up over exchanges and tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RetryCounts {
    /// Exchanges and tunnels that were tried again.
    pub retried: u64,
    /// Times they were.
    pub retries: u64,
    /// Those that came to a good end only by it.
    pub rescued: u64,
    /// How long they waited for it, added up.
    #[serde(
        rename = "waited_seconds",
        serialize_with = "seconds",
        deserialize_with = "from_seconds"
    )]
    #[schemars(with = "f64")]
    pub waited: Duration,
    /// Requests that were sent a second time while the first was still unanswered.
    pub hedged: u64,
    /// Those of them whose second answer came first.
    pub hedges_won: u64,
    /// Failures, and statuses that retries are for, that were left as they were, by the reason.
    pub refused: RefusedCounts,
}

/// How often something was not tried again, by the reason; see [`NotRetried`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RefusedCounts {
    /// Retries are off.
    pub off: u64,
    /// It may have been executed.
    pub not_safe: u64,
    /// Its method is not retried.
    pub method_not_listed: u64,
    /// What happened is not retried.
    pub condition_not_listed: u64,
    /// It would happen again.
    pub pointless: u64,
    /// The request's body is larger than what is kept of it.
    pub body_too_large: u64,
    /// The host's budget is spent.
    pub budget: u64,
    /// No attempt was left.
    pub attempts_used: u64,
    /// The answer had begun to reach the client.
    pub answer_begun: u64,
    /// The server asked for too long a wait.
    pub retry_after_too_long: u64,
    /// No time was left.
    pub time_over: u64,
    /// Those that the level `safe` would have retried, had it been set.
    pub safe_would: u64,
    /// Those that the level `idempotent` would have retried, had it been set.
    pub idempotent_would: u64,
    /// Those that only the level `all` would have retried, had it been set.
    pub all_would: u64,
}

impl RefusedCounts {
    /// Each count, in the order of the fields.
    fn counts(&mut self) -> [&mut u64; 14] {
        [
            &mut self.off,
            &mut self.not_safe,
            &mut self.method_not_listed,
            &mut self.condition_not_listed,
            &mut self.pointless,
            &mut self.body_too_large,
            &mut self.budget,
            &mut self.attempts_used,
            &mut self.answer_begun,
            &mut self.retry_after_too_long,
            &mut self.time_over,
            &mut self.safe_would,
            &mut self.idempotent_would,
            &mut self.all_would,
        ]
    }

    /// Counts one.
    fn add(&mut self, refused: Refused) {
        let [
            off,
            not_safe,
            method,
            condition,
            pointless,
            body,
            budget,
            attempts,
            answer,
            after,
            time,
            ..,
        ] = self.counts();
        *match refused.why {
            NotRetried::Off => off,
            NotRetried::NotSafe => not_safe,
            NotRetried::MethodNotListed => method,
            NotRetried::ConditionNotListed => condition,
            NotRetried::Pointless => pointless,
            NotRetried::BodyTooLarge => body,
            NotRetried::Budget => budget,
            NotRetried::AttemptsUsed => attempts,
            NotRetried::AnswerBegun => answer,
            NotRetried::RetryAfterTooLong => after,
            NotRetried::TimeOver => time,
        } += 1;
        match refused.level {
            Some(RetryLevel::Safe) => self.safe_would += 1,
            Some(RetryLevel::Idempotent) => self.idempotent_would += 1,
            Some(RetryLevel::All) => self.all_would += 1,
            None => {}
        }
    }
}

impl RetryCounts {
    /// Counts one record's.
    pub(crate) fn add(&mut self, record: &Record) {
        let retries = &record.retries;
        if *retries == Retries::default() {
            return;
        }
        self.retried += u64::from(retries.count > 0);
        self.retries += u64::from(retries.count);
        self.rescued += u64::from(record.is_rescued());
        self.waited = self.waited.saturating_add(retries.waited);
        self.hedged += u64::from(retries.hedge.is_some());
        self.hedges_won += u64::from(retries.hedge == Some(Hedge::Won));
        if let Some(refused) = retries.refused {
            self.refused.add(refused);
        }
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.retried += other.retried;
        self.retries += other.retries;
        self.rescued += other.rescued;
        self.waited = self.waited.saturating_add(other.waited);
        self.hedged += other.hedged;
        self.hedges_won += other.hedges_won;
        let mut theirs = other.refused.clone();
        for (ours, theirs) in self.refused.counts().into_iter().zip(theirs.counts()) {
            *ours += *theirs;
        }
    }

    /// Whether there is nothing to tell: nothing was retried, hedged or left as it was.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
