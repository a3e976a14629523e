//! ONE opaque tunnel: bytes both ways until both sides have ended, each end passed on as it comes.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    access,
    deadline::Silence,
    error::ExchangeError,
    recorder::Open,
    target::Authority,
    upstream::Server,
    wire::{
        connection::Connection,
        framing::Framing,
        pump::{Coding, Pump, PumpError},
    },
};
use crate::traffic::Outcome;

/// A tunnel whose server is connected.
pub(crate) struct Opened {
    /// The server.
    pub(crate) server: Box<Server>,
    /// Its record.
    pub(crate) open: Open,
    /// How long nothing may pass in it; none for as long as both sides want.
    pub(crate) idle: Option<Duration>,
    /// Where the client asked to be connected to, if nobody knows yet what it will say there.
    pub(crate) unseen: Option<Authority>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// One direction.
struct Direction {
    /// Moves the bytes.
    pump: Pump,
    /// Whether its end was passed on.
    over: bool,
}

impl Direction {
    /// Before the first byte.
    fn new() -> Self {
        Self {
            pump: Pump::new(Framing::UntilClose, Coding::Kept),
            over: false,
        }
    }

    /// Moves bytes until the sender ends, then ends the receiver's half.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
    ) -> Poll<Result<(), PumpError>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(self.pump.poll(cx, from, to))?;
        if from.was_cut_off() {
            to.end_as_cut_off();
        }
        let ended = std::task::ready!(to.poll_end(cx));
        self.over = true;
        Poll::Ready(ended.map_err(PumpError::Write))
    }
}

/// Carries the tunnel to its end, which has come already if one side `broke`, and says how it ended. Lasts as long as both
/// sides want. What it moved is in the record then, and the connections are to be dropped.
///
/// By reference, so that what lives as long as a tunnel is not there twice.
pub(crate) async fn carry(client: &mut Connection, opened: &mut Opened, broke: Option<(Side, io::Error)>) -> Outcome {
    let server = &mut opened.server.connection;
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let result = match broke {
        Some((side, reason)) => Err((side, PumpError::Read(reason))),
        None => carry_both_ways(client, server, &mut up, &mut down, opened.idle).await,
    };
    opened.open.record.bytes_sent += up.pump.moved;
    opened.open.record.bytes_received += down.pump.moved;
    match result {
        Ok(()) => Outcome::Ok,
        Err((_, PumpError::Stalled(limit))) => {
            client.reset_at_drop();
            server.reset_at_drop();
            Outcome::Failed(ExchangeError::TunnelIdle(limit).failure())
        }
        Err((side, broken)) => {
            // A reset is passed on as a reset.
            client.reset_at_drop();
            server.reset_at_drop();
            judge(side, broken, client, server)
        }
    }
}

/// Moves bytes until both sides have ended, or one has broken, or nothing has passed for as long as `idle` allows.
async fn carry_both_ways(
    client: &mut Connection,
    server: &mut Connection,
    up: &mut Direction,
    down: &mut Direction,
    idle: Option<Duration>,
) -> Result<(), (Side, PumpError)> {
    let Some(limit) = idle else {
        return poll_fn(|cx| poll_both_ways(cx, client, server, up, down)).await;
    };
    Box::pin(async {
        let silence = Silence::of(limit, 0);
        loop {
            let carrying = poll_fn(|cx| poll_both_ways(cx, client, server, up, down));
            if let Some(ended) = silence.tick(carrying).await {
                return ended;
            }
            if silence.is_over(up.pump.moved + down.pump.moved, false) {
                return Err((Side::Down, PumpError::Stalled(limit)));
            }
        }
    })
    .await
}

/// Moves bytes until both sides have ended, or one has broken.
fn poll_both_ways(
    cx: &mut Context<'_>,
    client: &mut Connection,
    server: &mut Connection,
    up: &mut Direction,
    down: &mut Direction,
) -> Poll<Result<(), (Side, PumpError)>> {
    let was_over = up.over;
    let upward = up.poll(cx, client, server).map_err(|broken| (Side::Up, broken))?;
    if !was_over && up.over && access::is_gone(client) {
        // Nobody is left to whom the server could send anything: its connection ends as it would directly.
        return Poll::Ready(Ok(()));
    }
    let downward = down.poll(cx, server, client).map_err(|broken| (Side::Down, broken))?;
    if upward.is_ready() && downward.is_ready() {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}

/// The direction in which a tunnel broke.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Whether a broken tunnel is anybody's fault: programs often reset a connection that they are done with.
fn judge(side: Side, broken: PumpError, client: &Connection, server: &Connection) -> Outcome {
    let (reason, by_client) = match (side, broken) {
        (Side::Up, PumpError::Read(reason)) | (Side::Down, PumpError::Write(reason)) => (reason, true),
        (_, PumpError::Read(reason) | PumpError::Write(reason)) => (reason, false),
        (_, PumpError::Truncated | PumpError::Malformed(_) | PumpError::Stalled(_)) => {
            (io::ErrorKind::InvalidData.into(), false)
        }
    };
    match by_client {
        true if server.ended => Outcome::Ok,
        true => Outcome::ClientAborted,
        false if server.ended || client.ended => Outcome::Ok,
        false => Outcome::Failed(ExchangeError::TunnelBroken(reason).failure()),
    }
}
