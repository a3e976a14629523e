//! What is tried again, when, and how often. Pure: the time, the dice and what happened are arguments.
//!
//! A request is executed twice only where the user said so: the level `safe` retries what provably was not executed, the level
//! `idempotent` what may be ([RFC 9110 §9.2.2]), the level `all` whatever was listed. Envoy's names, as far as they mean the
//! same.
//!
//! [RFC 9110 §9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2

mod condition;
mod options;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

pub use self::{
    condition::{Condition, Fault},
    options::{Level, RetryOptions},
};
use super::{backoff::Backoff, budget::Budget, hedge::After};

/// The longest wait that a server may ask for by `Retry-After`.
const LONGEST_ASKED: Duration = Duration::from_secs(30);
/// How much of what a server asked for is added by chance at most, so that those whom it told the same do not come together.
const ASKED_SPREAD: f64 = 0.1;
/// Bytes of bodies that are kept in all, for requests that may have to be sent again.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;

/// The methods that the level `idempotent` retries unless others are listed: those that change nothing ([RFC 9110 §9.2.1]).
///
/// [RFC 9110 §9.2.1]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1
const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How far it may go.
    pub level: Level,
    /// Retries after the first attempt.
    pub most: u32,
    /// What is retried, as far as the level allows it.
    pub on: Vec<Condition>,
    /// The methods whose requests are retried though they may have been executed.
    pub methods: Vec<String>,
    /// Whether the level `all` retries those of any other method too.
    pub any_method: bool,
    /// A field that makes any method one of these.
    pub key_field: Option<String>,
    /// Bytes of a request's body that are kept so that it can be sent again.
    pub buffer_limit: u64,
    /// Whether `Retry-After` counts.
    pub respect_retry_after: bool,
    /// How long to wait where it does not.
    pub backoff: Backoff,
    /// How long to wait in all; none for what `backoff` and `most` come to.
    pub wait_limit: Option<Duration>,
    /// How many retries a host gets.
    pub budget: Budget,
    /// When a second request is sent while the first one's answer is late; none for never.
    pub hedge: Option<After>,
}

/// What happened to a request, for [`Retry::decide`].
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// What happened.
    pub fault: Fault,
    /// The method.
    pub method: &'a str,
    /// Whether it has the field [`Retry::key_field`].
    pub has_key: bool,
    /// Whether all that was sent can be sent again.
    pub replayable: bool,
    /// Retries so far.
    pub retries: u32,
    /// What was waited for them.
    pub waited: Duration,
    /// What is left of the time for the request; none without a limit.
    pub left: Option<Duration>,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// From 0 to 1.
    pub dice: f64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing has failed.
    Fine,
    /// Try again after this time, if the host's budget has a retry left.
    After(Duration),
    /// Leave it as it is.
    Leave(Why, Option<Level>),
}

/// Why something is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Retries are off.
    Off,
    /// It may have been executed.
    NotSafe,
    /// The method is not listed.
    MethodNotListed,
    /// What happened is not listed.
    ConditionNotListed,
    /// It would happen again.
    Pointless,
    /// What was sent of the body is not all there any more.
    BodyTooLarge,
    /// No attempt is left.
    AttemptsUsed,
    /// The server asked for too long a wait.
    RetryAfterTooLong,
    /// No time is left.
    TimeOver,
}

impl Retry {
    /// Whether nothing is ever retried, so that nothing has to be kept for it.
    pub fn is_off(&self) -> bool {
        self.level == Level::Off
    }

    /// Whether a request goes once, neither retried nor hedged.
    pub(super) fn lets_be(&self) -> bool {
        self.is_off() && self.hedge.is_none()
    }

    /// What it does, for people; none if that is nothing.
    pub fn rule(&self) -> Option<String> {
        let what = match self.level {
            Level::Off => return None,
            Level::Safe => "what was certainly not executed",
            Level::Idempotent => "what was not executed, or may be executed twice,",
            Level::All => "whatever fails, even if it is executed twice,",
        };
        let times = if self.most == 1 { "time" } else { "times" };
        Some(format!("{what} is tried again, up to {} {times}", self.most))
    }

    /// What to do about an attempt that went so.
    pub fn decide(&self, attempted: &Attempted<'_>) -> Decision {
        let fault = attempted.fault;
        if fault.is_fine() && !self.lists(attempted) {
            return Decision::Fine;
        }
        let listed = self.lists(attempted);
        let needed = if fault.proves_unexecuted() {
            Level::Safe
        } else {
            self.level_for(attempted.method, attempted.has_key)
        };
        let reachable = (listed && self.allows(needed, attempted)).then_some(needed);
        if self.is_off() {
            return Decision::Leave(Why::Off, reachable);
        }
        if fault == Fault::Pointless {
            return Decision::Leave(Why::Pointless, None);
        }
        if !listed {
            return Decision::Leave(Why::ConditionNotListed, None);
        }
        if self.level < needed || reachable.is_none() {
            return Decision::Leave(self.why_not(attempted.method), reachable);
        }
        if !attempted.replayable {
            return Decision::Leave(Why::BodyTooLarge, None);
        }
        if attempted.retries >= self.most {
            return Decision::Leave(Why::AttemptsUsed, None);
        }
        match self.wait(attempted) {
            Ok(wait) => Decision::After(wait),
            Err(why) => Decision::Leave(why, None),
        }
    }

    /// Whether what happened is listed.
    fn lists(&self, attempted: &Attempted<'_>) -> bool {
        let asked = attempted.retry_after.is_some();
        self.on.iter().any(|condition| condition.holds(attempted.fault, asked))
    }

    /// The lowest level at which a request that may have been executed is retried.
    fn level_for(&self, method: &str, has_key: bool) -> Level {
        let listed = is_idempotent(method) && self.lists_method(method);
        if listed || has_key {
            Level::Idempotent
        } else {
            Level::All
        }
    }

    /// Whether `level` would retry it at all: `all` with methods of its own does not retry others.
    fn allows(&self, level: Level, attempted: &Attempted<'_>) -> bool {
        level < Level::All || self.any_method || self.lists_method(attempted.method)
    }

    /// Whether the method is listed.
    fn lists_method(&self, method: &str) -> bool {
        self.methods.iter().any(|listed| listed == method)
    }

    /// Why the level does not cover a request that may have been executed.
    fn why_not(&self, method: &str) -> Why {
        let by_list = match self.level {
            Level::Off | Level::Safe => false,
            Level::Idempotent => is_idempotent(method),
            Level::All => true,
        };
        if by_list { Why::MethodNotListed } else { Why::NotSafe }
    }

    /// How long to wait.
    fn wait(&self, attempted: &Attempted<'_>) -> Result<Duration, Why> {
        if let Some(asked) = attempted.retry_after.filter(|_| self.respect_retry_after) {
            if asked > LONGEST_ASKED || attempted.left.is_some_and(|left| asked >= left) {
                return Err(Why::RetryAfterTooLong);
            }
            let wait = asked + asked.mul_f64(ASKED_SPREAD * attempted.dice.clamp(0.0, 1.0));
            return Ok(attempted.left.map_or(wait, |left| wait.min(left)));
        }
        let mut wait = self.backoff.wait(attempted.retries, attempted.dice);
        if let Some(limit) = self.wait_limit {
            wait = wait.min(some_time(limit.saturating_sub(attempted.waited))?);
        }
        if let Some(left) = attempted.left {
            // What is left is for the attempt, too.
            wait = wait.min(some_time(left)? / 2);
        }
        Ok(wait)
    }
}

/// The time, unless there is none.
fn some_time(left: Duration) -> Result<Duration, Why> {
    if left.is_zero() { Err(Why::TimeOver) } else { Ok(left) }
}

/// Which methods may run twice to the same effect ([RFC 9110 §9.2.2]).
///
/// [RFC 9110 §9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
pub fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}

/// How long `value`, which is that of a `Retry-After`, asks to wait ([RFC 9110 §10.2.3]); `now` is the time since 1970, by the
/// server's own clock where it said so in `Date`. None if it is neither seconds nor a date.
///
/// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
pub fn retry_after(value: &[u8], date: Option<&[u8]>, now: Duration) -> Option<Duration> {
    let text = str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is beyond counting is beyond waiting, too.
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let now = date.and_then(since_1970).unwrap_or(now);
    since_1970(value).map(|then| then.saturating_sub(now))
}

/// A date of HTTP, as the time since 1970.
fn since_1970(value: &[u8]) -> Option<Duration> {
    let date = httpdate::parse_http_date(str::from_utf8(value).ok()?.trim()).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok()
}

/// What is kept of bodies that may have to be sent again. Shared by all workers.
#[derive(Debug, Default)]
pub struct Kept {
    /// Bytes in all.
    bytes: AtomicU64,
}

impl Kept {
    /// Takes room for so many bytes more, if there is some.
    pub fn reserve(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= KEPT_BYTES;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// Gives room back.
    pub fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
