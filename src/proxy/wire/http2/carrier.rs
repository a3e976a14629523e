//! A connection as hyper reads and writes it, and what runs hyper's tasks.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use tokio::sync::Notify;

use super::{
    super::connection::Connection,
    channel::{Answering, Channel},
};

/// How long a reset may wait for room for what was sent before it.
const RESET_LIMIT: Duration = Duration::from_secs(1);

/// Runs tasks on the worker's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Runs the tasks of a client's connection on the worker's thread, each with an end: what is to be reset is, although the client
/// leaves no room for what comes before the reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// The answer of the next task.
    next: Rc<RefCell<Option<Rc<Channel>>>>,
}

impl Ending {
    /// Says whose answer the task carries that hyper begins next.
    pub(super) fn announce(&self, answering: &Answering) {
        *self.next.borrow_mut() = answering.channel();
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Ending {
    fn execute(&self, task: F) {
        let Some(channel) = self.next.take() else {
            tokio::task::spawn_local(task);
            return;
        };
        tokio::task::spawn_local(async move {
            let late = async {
                poll_fn(|cx| channel.poll_reset(cx)).await;
                tokio::time::sleep(RESET_LIMIT).await;
            };
            tokio::select! {
                () = task => {}
                // Dropped, it resets its stream.
                () = late => {}
            }
        });
    }
}

/// Whether the other side has said anything.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether it has.
    said: Cell<bool>,
    /// Told when it does.
    told: Notify,
}

impl Heard {
    /// It has, or never will.
    pub(super) fn tell(&self) {
        if !self.said.replace(true) {
            self.told.notify_waiters();
        }
    }

    /// Waits until it has. Cancel safe.
    pub(super) async fn wait(&self) {
        while !self.said.get() {
            self.told.notified().await;
        }
    }
}

/// A connection that carries streams.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// The connection.
    connection: Connection,
    /// Told when anything was read.
    heard: Rc<Heard>,
}

impl Carrier {
    /// Carries them from now on.
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            heard: Rc::default(),
        }
    }

    /// Tells when anything was read.
    pub(super) fn heard(&self) -> Rc<Heard> {
        Rc::clone(&self.heard)
    }
}

impl Read for Carrier {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut space: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let connection = &mut self.connection;
        if !connection.inbox.is_empty() {
            let count = connection.inbox.len().min(space.remaining());
            space.put_slice(&connection.inbox.as_slice()[..count]);
            connection.inbox.consume(count);
            return Poll::Ready(Ok(()));
        }
        let most = space.remaining();
        ready!(connection.poll_read_some_with(cx, most, |_, _, bytes| space.put_slice(bytes)))?;
        self.heard.tell();
        Poll::Ready(Ok(()))
    }
}

impl Write for Carrier {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What waits is one write at most.
        ready!(self.connection.poll_flush(cx))?;
        self.connection.poll_write_or_queue(cx, bytes)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.connection.poll_flush(cx))?;
        self.connection.poll_end(cx)
    }
}
