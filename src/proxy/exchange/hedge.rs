//! Hedges: a request that may run twice is sent once more, over another connection, while its answer is late.

use std::{cell::Cell, rc::Rc, time::Duration};

use super::{
    super::{
        clearance::Clearance,
        deadline::Countdown,
        error::ExchangeError,
        target::Authority,
        upstream::{Purpose, Server},
        wire::{
            connection::Connection,
            head::ResponseHead,
            http1::{Awaited, Conversation, HeadReader},
        },
        worker::Worker,
    },
    Exchange, Request,
};
use crate::{
    policy::{hedge::After, timeout::Timeouts},
    traffic::retries::Hedge,
};

/// What a hedge needs to be sent, apart from the exchange that it is for.
struct Second {
    /// Who opens its connection.
    worker: Rc<Worker>,
    /// Where it goes.
    authority: Authority,
    /// On which kind of connection.
    purpose: Purpose,
    /// How long that may take to open and to secure.
    timeouts: Timeouts,
    /// A connection that is there already.
    ready: Option<Box<Server>>,
}

impl Exchange<'_> {
    /// How long to wait before this request is hedged; none if it is not. Costs a look at the options where nothing is set.
    pub(super) fn hedge_delay(&self, conversation: &Conversation) -> Option<Duration> {
        let after = self.rules.retry.hedge?;
        let unhedged = self.open.record.retries.hedge.is_none() && self.open.record.first_byte.is_none();
        let harmless = matches!(self.request.head.method(), "GET" | "HEAD") && !self.websocket;
        if !unhedged || !harmless || !conversation.is_bodiless() {
            return None;
        }
        let Authority { host, port, .. } = &self.request.authority;
        self.worker.policy.pace.delay(after, host, *port)
    }

    /// Remembers how long an answer took to begin, if hedges go by it.
    pub(super) fn note_pace(&self) {
        if self.rules.retry.hedge == Some(After::Percentile95)
            && let Some(took) = self.open.record.first_byte
        {
            let Authority { host, port, .. } = &self.request.authority;
            self.worker.policy.pace.note(host, *port, took);
        }
    }

    /// Waits for the next head like [`Exchange::wait_for_head`], and after `delay` for that of a second request too, if the
    /// budget has one left. Should that come first, `server` is the one that it came from.
    pub(super) async fn wait_hedged(
        &mut self,
        delay: Duration,
        client: &mut Connection,
        server: &mut Box<Server>,
        conversation: &mut Conversation,
    ) -> Result<Awaited, ExchangeError> {
        let first = self.wait_for_head(client, &mut server.connection, conversation, false);
        if let Some(awaited) = Countdown::of(delay).bound(first).await {
            return awaited;
        }
        let Authority { host, port, .. } = &self.request.authority;
        let (policy, now) = (&self.worker.policy, self.worker.gate.now());
        if !policy.spending.take_hedge(self.rules.retry.budget, host, *port, now) {
            return self
                .wait_for_head(client, &mut server.connection, conversation, false)
                .await;
        }
        self.open.record.retries.hedge = Some(Hedge::Lost);
        self.open.record.attempts += 1;
        let mut written = Vec::new();
        self.write_request(server.parent.as_ref(), &mut written);
        self.open.record.bytes_sent += written.len() as u64;
        let Request { authority, purpose, .. } = &self.request;
        let clearance = Clearance::of(self.worker, self.request.asked());
        let pooled = self.worker.upstreams.pooled(authority, purpose, client, true);
        let second = Second {
            worker: Rc::clone(self.worker),
            authority: authority.clone(),
            purpose: purpose.clone(),
            timeouts: self.rules.timeouts,
            ready: pooled.filter(|server| clearance.is_none_or(|clearance| clearance.admits(server))),
        };
        let opened = Cell::new(0);
        let second = second.ask(&written, &opened, clearance);
        let first = self.wait_for_head(client, &mut server.connection, conversation, false);
        let won = tokio::select! {
            biased;
            first = first => Err(first),
            won = second => Ok(won),
        };
        self.open.record.opened += opened.get();
        let (mut winner, head) = match won {
            Ok(Some(won)) => won,
            Ok(None) => {
                return self
                    .wait_for_head(client, &mut server.connection, conversation, false)
                    .await;
            }
            // Should it have failed, that is for a retry.
            Err(first) => return first,
        };
        self.open.record.retries.hedge = Some(Hedge::Won);
        self.open.record.connect = winner.connect;
        self.open.record.tls = winner.tls.take();
        self.open.record.reused = winner.connect.is_none();
        std::mem::replace(server, winner).connection.reset();
        Ok(Awaited::Head(head))
    }
}

impl Second {
    /// Sends the request, and waits for a final head that is worth taking for an answer: one that a server in trouble gives at
    /// once must not win.
    async fn ask(
        self,
        request: &[u8],
        opened: &Cell<u32>,
        clearance: Option<Clearance<'_>>,
    ) -> Option<(Box<Server>, Vec<u8>)> {
        let mut server = if let Some(server) = self.ready {
            server
        } else {
            let upstreams = &self.worker.upstreams;
            let mut count = 0;
            let connecting = upstreams.connect(&self.authority, &self.purpose, &self.timeouts, &mut count, clearance);
            let connected = connecting.await;
            opened.set(count);
            connected.ok()?
        };
        server.connection.send(request).await.ok()?;
        let mut reader = HeadReader::default();
        loop {
            let head = std::future::poll_fn(|cx| reader.poll(cx, &mut server.connection)).await;
            let head = head.ok()?;
            match ResponseHead::parse(head.clone()).ok()?.status {
                100 | 102..=199 => {}
                101 | 429 | 500.. => return None,
                _ => return Some((server, head)),
            }
        }
    }
}
