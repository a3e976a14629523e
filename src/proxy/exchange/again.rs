//! Attempts, one after another, as the retry policy has it: what an attempt has come to, how long to wait, what is sent again.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{
    super::{
        access,
        error::ExchangeError,
        retrying,
        upstream::Server,
        wire::{
            connection::Connection,
            framing::{self, Framing},
            head::{Fields, ResponseHead},
            hop,
            http1::{Awaited, Conversation},
            tape::Tape,
        },
    },
    Exchange, Request,
};
use crate::{
    policy::retry::{self, Attempted, Fault},
    traffic::retries::{NotRetried, Refused},
};

/// What an attempt that is over has come to.
pub(super) type Attempt = Result<(Box<Server>, ResponseHead), ExchangeError>;

/// The largest body of a response that is read only so that its connection can be used again.
const DRAINED_BYTES: u64 = 16 * 1024;
/// How long that may take.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_millis(100);

impl Exchange<'_> {
    /// Sends the request until a server has answered it, or trying it again would be wrong.
    pub(super) async fn send(&mut self, client: &mut Connection, conversation: &mut Conversation) -> Attempt {
        if self.rules.retry.is_off() {
            let attempt = self.attempt(client, conversation).await;
            self.note_only_attempt(conversation, &attempt);
            return attempt;
        }
        let bodiless = conversation.upload_over;
        self.prepare_retries(conversation, bodiless);
        loop {
            let attempt = self.attempt(client, conversation).await;
            let Some(wait) = self.next_attempt(conversation, &attempt) else {
                return attempt;
            };
            Box::pin(self.begin_anew(client, conversation, attempt, wait)).await?;
            conversation.again(bodiless);
        }
    }

    /// Says in the record what a failed attempt would have taken to be followed by another one, where none ever is.
    pub(super) fn note_only_attempt(&mut self, conversation: &Conversation, attempt: &Attempt) {
        if !matches!(attempt, Ok((_, head)) if head.status < 500) {
            self.next_attempt(conversation, attempt);
        }
    }

    /// Notes the request in its host's budget, and keeps its body as it goes up unless it is known to be too long.
    fn prepare_retries(&self, conversation: &mut Conversation, bodiless: bool) {
        let Request { authority, head, .. } = &self.request;
        let now = self.worker.gate.now();
        let policy = &self.worker.policy;
        policy.spending.request(&authority.host, authority.port, now);
        // What is kept already, for a request that goes a second time with another token, is all there is of the body.
        if bodiless || conversation.upload.tape.is_some() {
            return;
        }
        let limit = self.rules.retry.buffer_limit;
        if !matches!(framing::of_request(head), Ok(Framing::Length(length)) if length > limit) {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            conversation.upload.tape = Some(Box::new(Tape::new(limit, &policy.kept)));
        }
    }

    /// How long to wait before the next attempt; none if there is to be none, of which the record says why.
    fn next_attempt(&mut self, conversation: &Conversation, attempt: &Attempt) -> Option<Duration> {
        let answer = attempt.as_ref().map(|(_, head)| head);
        let fault = match answer {
            Ok(head) => Fault::Status(head.status),
            Err(error) => retrying::fault(error, self.stage)?,
        };
        let retry = &self.rules.retry;
        let fields = &self.request.head.fields;
        let attempted = Attempted {
            fault,
            method: self.request.head.method(),
            has_key: retry.key_field.as_ref().is_some_and(|name| fields.contains(name)),
            replayable: conversation.kept().is_some(),
            retries: self.open.record.retries.count,
            waited: self.open.record.retries.waited,
            left: self.time.as_ref().map(|time| time.left()),
            retry_after: answer.ok().and_then(|head| retry_after(&head.fields)),
            dice: fastrand::f64(),
        };
        let now = self.worker.gate.now();
        let record = &mut self.open.record;
        retrying::decide(
            &self.worker.policy,
            retry,
            &attempted,
            &self.request.authority,
            now,
            record,
        )
    }

    /// Ends what is left of a failed attempt, and waits for the next one.
    ///
    /// # Errors
    /// If the client has gone meanwhile.
    async fn begin_anew(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
        failed: Attempt,
        wait: Duration,
    ) -> Result<(), ExchangeError> {
        if let Ok((server, head)) = failed {
            self.discard(client, conversation, server, head).await;
        }
        // Of the last attempt only.
        self.open.record.first_byte = None;
        let began = Instant::now();
        if !wait.is_zero() {
            let watching = async {
                // It may go on reading once it has nothing more to send.
                while let Awaited::ClientEnded = conversation.watch(client).await {
                    if access::is_gone(client) {
                        break;
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = watching => return Err(ExchangeError::ClientGone),
            }
        }
        self.open.record.retries.waited += began.elapsed();
        if access::is_gone(client) {
            return Err(ExchangeError::ClientGone);
        }
        self.open.record.retries.count += 1;
        Ok(())
    }

    /// Ends the connection of an answer that the client will not get, unless all of it is there, or as good as.
    pub(super) async fn discard(
        &mut self,
        client: &mut Connection,
        conversation: &Conversation,
        mut server: Box<Server>,
        mut head: ResponseHead,
    ) {
        let method = self.request.head.method();
        let length = match framing::of_response(&head, method) {
            Ok(Framing::Empty) => Some(0),
            Ok(Framing::Length(length)) if length <= DRAINED_BYTES => usize::try_from(length).ok(),
            Ok(_) | Err(_) => None,
        };
        let closes = hop::strip(&mut head.fields, head.version, false).close;
        let connection = &mut server.connection;
        if let Some(length) = length
            && !closes
            && conversation.upload_over
            && !conversation.upload_refused
        {
            let draining = async {
                while connection.inbox.len() < length {
                    if !matches!(connection.fill().await, Ok(1..)) {
                        return;
                    }
                }
            };
            let drained = tokio::time::timeout(DRAIN_LIMIT, draining).await;
            if drained.is_ok() && connection.inbox.len() == length && !connection.ended {
                connection.inbox.consume(length);
                self.open.record.bytes_received += length as u64;
                connection.personal |= hop::authenticates_connection(&self.request.head.fields);
                let Request { authority, purpose, .. } = &self.request;
                let upstreams = &self.worker.upstreams;
                upstreams.keep(authority, purpose, server, client);
                return;
            }
        }
        server.connection.reset();
    }

    /// Says in the record why an error that no attempt has ended with is not retried.
    pub(super) fn note_end(&mut self, error: &ExchangeError) {
        let why = match error {
            ExchangeError::ClientGone | ExchangeError::RequestBodyBroken(_) => return,
            _ if self.rules.retry.is_off() => NotRetried::Off,
            _ if self.answered => NotRetried::AnswerBegun,
            ExchangeError::ExchangeTimedOut(_) => NotRetried::TimeOver,
            _ => return,
        };
        self.open
            .record
            .retries
            .refused
            .get_or_insert(Refused { why, level: None });
    }

    /// The entry of `Proxy-Status` that says which attempt an answer came from; none without retries.
    pub(super) fn attempt_status(&self) -> Option<String> {
        let retries = self.open.record.retries.count;
        let attempts = self.rules.retry.most.saturating_add(1);
        (retries > 0).then(|| format!("amb; details=\"attempt {}/{attempts}\"", retries + 1))
    }
}

/// How long a response asks to wait.
fn retry_after(fields: &Fields) -> Option<Duration> {
    let value = fields.first("retry-after")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    retry::retry_after(value, fields.first("date"), now.unwrap_or_default())
}
