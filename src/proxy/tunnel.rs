//! ONE opaque tunnel: bytes both ways until both sides have ended, each end passed on as it comes.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use super::{
    access,
    error::ExchangeError,
    recorder::Open,
    wire::{
        connection::Connection,
        framing::Framing,
        pump::{Coding, Pump, PumpError},
    },
};
use crate::traffic::Outcome;

/// A tunnel whose server is connected.
pub(crate) struct Opened {
    /// The server's connection.
    pub(crate) server: Connection,
    /// Its record.
    pub(crate) open: Open,
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
        let ended = std::task::ready!(to.poll_end(cx));
        self.over = true;
        Poll::Ready(ended.map_err(PumpError::Write))
    }
}

/// Carries the tunnel to its end. Lasts as long as both sides want.
pub(crate) async fn carry(mut client: Connection, opened: Box<Opened>) {
    let Opened { mut server, mut open } = *opened;
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let result = poll_fn(|cx| {
        let was_over = up.over;
        let upward = up
            .poll(cx, &mut client, &mut server)
            .map_err(|broken| (Side::Up, broken))?;
        if !was_over && up.over && access::is_gone(&client) {
            // Nobody is left to whom the server could send anything: its connection ends as it would directly.
            return Poll::Ready(Ok(()));
        }
        let downward = down
            .poll(cx, &mut server, &mut client)
            .map_err(|broken| (Side::Down, broken))?;
        if upward.is_ready() && downward.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await;
    open.record.bytes_sent += up.pump.moved;
    open.record.bytes_received += down.pump.moved;
    let outcome = match result {
        Ok(()) => Outcome::Ok,
        Err((side, broken)) => {
            let outcome = judge(&side, broken, &client, &server);
            // A reset is passed on as a reset.
            client.reset();
            server.reset();
            outcome
        }
    };
    open.end(outcome);
}

/// The direction in which a tunnel broke.
enum Side {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Whether a broken tunnel is anybody's fault: programs often reset a connection that they are done with.
fn judge(side: &Side, broken: PumpError, client: &Connection, server: &Connection) -> Outcome {
    let (reason, by_client) = match (side, broken) {
        (Side::Up, PumpError::Read(reason)) | (Side::Down, PumpError::Write(reason)) => (reason, true),
        (_, PumpError::Read(reason) | PumpError::Write(reason)) => (reason, false),
        (_, PumpError::Truncated | PumpError::Malformed(_)) => (io::ErrorKind::InvalidData.into(), false),
    };
    match by_client {
        true if server.ended => Outcome::Ok,
        true => Outcome::ClientAborted,
        false if server.ended || client.ended => Outcome::Ok,
        false => Outcome::Failed(ExchangeError::TunnelBroken(reason).failure()),
    }
}
