//! What one stream sends, between the exchange that writes it and hyper, which takes it as the other side's windows allow.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use h2::Reason;
use hyper::{
    HeaderMap, Response,
    body::{Body, Bytes, Frame},
};

/// Bytes of a body that wait for hyper to take them: beyond it the exchange waits.
const QUEUED_BYTES: usize = 64 * 1024;

/// How what is sent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of it is there.
    Complete,
    /// It is not, and the other side is to know.
    Reset(Reason),
}

/// What waits, and for whom.
#[derive(Debug, Default)]
struct State {
    /// The head of an answer; a request's goes its own way.
    head: Option<Response<()>>,
    /// Data, in its order.
    data: VecDeque<Bytes>,
    /// How many bytes that is.
    queued: usize,
    /// What comes behind the data.
    trailers: Option<HeaderMap>,
    /// How it ended, if it has.
    end: Option<End>,
    /// Whether hyper wants no more of it, although it had not ended.
    gone: bool,
    /// Woken when there is something for hyper.
    taker: Option<Waker>,
    /// Woken when there is room again, or nobody left to take it.
    writer: Option<Waker>,
    /// Woken when nobody is left to take it.
    watcher: Option<Waker>,
    /// Woken when it is to end although it is not complete.
    guard: Option<Waker>,
}

/// One direction of one stream.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// Shared by both ends.
    state: RefCell<State>,
}

impl Channel {
    /// With nothing in it.
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Changes the state and wakes hyper.
    fn put(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        let guard = match state.end {
            Some(End::Reset(_)) => state.guard.take(),
            _ => None,
        };
        let wakers = [state.taker.take(), guard];
        drop(state);
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Hands over the head of an answer.
    pub(super) fn put_head(&self, head: Response<()>) {
        self.put(|state| state.head = Some(head));
    }

    /// Hands over data, of which there is always room for some more once [`Channel::poll_room`] was ready.
    pub(super) fn put_data(&self, data: &[u8]) {
        if !data.is_empty() {
            self.put(|state| {
                state.queued += data.len();
                state.data.push_back(Bytes::copy_from_slice(data));
            });
        }
    }

    /// Hands over trailers, and says that this is all.
    pub(super) fn complete(&self, trailers: Option<HeaderMap>) {
        self.put(|state| {
            state.trailers = trailers;
            state.end.get_or_insert(End::Complete);
        });
    }

    /// Says that no more will come although it is not all; nothing if it was.
    pub(super) fn reset(&self, reason: Reason) {
        self.put(|state| {
            state.end.get_or_insert(End::Reset(reason));
        });
    }

    /// Waits for room.
    ///
    /// # Errors
    /// If nobody takes any more of it.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        if state.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.queued < QUEUED_BYTES {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until nobody is left to take it. Ready at once then, and never if it ended before.
    pub(super) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.gone {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until it is to end although it is not complete.
    pub(super) fn poll_reset(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if matches!(state.end, Some(End::Reset(_))) {
            return Poll::Ready(());
        }
        state.guard = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether nobody is left to take it.
    pub(super) fn is_gone(&self) -> bool {
        self.state.borrow().gone
    }

    /// Notes that hyper takes no more.
    fn leave(&self) {
        let mut state = self.state.borrow_mut();
        // What has ended and was taken is simply over.
        state.gone = state.end != Some(End::Complete) || state.queued > 0 || state.trailers.is_some();
        state.data.clear();
        state.queued = 0;
        let wakers = [state.writer.take(), state.watcher.take()];
        drop(state);
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// hyper's end: the body of a message that is sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The other one.
    channel: Rc<Channel>,
}

impl Outgoing {
    /// The end of this channel.
    pub(super) fn of(channel: &Rc<Channel>) -> Self {
        Self {
            channel: Rc::clone(channel),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let mut state = self.channel.state.borrow_mut();
        if let Some(data) = state.data.pop_front() {
            state.queued -= data.len();
            let writer = state.writer.take();
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = state.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match state.end {
            Some(End::Complete) => return Poll::Ready(None),
            Some(End::Reset(reason)) => return Poll::Ready(Some(Err(reason.into()))),
            None => {}
        }
        state.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let state = self.channel.state.borrow();
        state.end == Some(End::Complete) && state.data.is_empty() && state.trailers.is_none()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

/// What hyper waits for when it has a request: the head of the answer, and what yields its body.
pub(crate) struct Answering {
    /// The body, until the head is there.
    body: Option<Outgoing>,
}

impl Answering {
    /// The answer in this channel.
    pub(super) fn of(channel: &Rc<Channel>) -> Self {
        Self {
            body: Some(Outgoing::of(channel)),
        }
    }
}

impl Answering {
    /// Where the answer comes from, until its head is there.
    pub(super) fn channel(&self) -> Option<Rc<Channel>> {
        self.body.as_ref().map(|body| Rc::clone(&body.channel))
    }
}

impl Future for Answering {
    type Output = Result<Response<Outgoing>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(body) = self.body.take() else {
            return Poll::Ready(Err(Reason::INTERNAL_ERROR.into()));
        };
        let mut state = body.channel.state.borrow_mut();
        if let Some(head) = state.head.take() {
            drop(state);
            return Poll::Ready(Ok(head.map(|()| body)));
        }
        if let Some(End::Reset(reason)) = state.end {
            return Poll::Ready(Err(reason.into()));
        }
        state.taker = Some(cx.waker().clone());
        drop(state);
        self.body = Some(body);
        Poll::Pending
    }
}
