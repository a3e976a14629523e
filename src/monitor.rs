//! What shows a run while it goes on: endpoints of amb's own, on one thread beside the proxy's, which is not there before
//! somebody asks.
//!
//! The proxy's workers are looked at ([`Lookout`](crate::proxy::Lookout)), and count nothing for it that they do not count anyway.

pub mod client;
mod control;
mod endpoint;
pub mod offer;
pub mod place;
pub mod view;

use std::{io, os::fd::OwnedFd, sync::Arc, thread};

use tokio::{
    net::UnixListener,
    runtime::{self, LocalOptions},
    sync::oneshot,
};

use self::{endpoint::Socket, place::Control};
pub use self::{
    offer::Offer,
    view::{Kind, View},
};

/// A run's endpoints.
pub struct Monitor {
    /// The run.
    view: Arc<View>,
    /// Its control socket; none if there is none to be had.
    control: Option<Control>,
    /// What serves; none before it begins.
    thread: Option<Thread>,
}

/// The thread that serves.
struct Thread {
    /// Ends it.
    stop: oneshot::Sender<()>,
    /// Its end.
    handle: thread::JoinHandle<()>,
}

impl Monitor {
    /// Endpoints of this run.
    pub fn new(view: View, control: Option<Control>) -> Self {
        Self {
            view: Arc::new(view),
            control,
            thread: None,
        }
    }

    /// Readable when somebody asks; none if nobody can.
    pub fn awaited(&self) -> Option<OwnedFd> {
        let control = self.control.as_ref()?;
        control.listener.try_clone().map(OwnedFd::from).ok()
    }

    /// Begins to serve, unless it does already.
    pub fn begin(&mut self) {
        if self.thread.is_none() {
            let thread = self.serve();
            let thread = thread.inspect_err(|reason| tracing::warn!(%reason, "amb cannot be asked about this run"));
            self.thread = thread.ok();
        }
    }

    /// Serves, on a thread of its own.
    fn serve(&self) -> io::Result<Thread> {
        let control = self.control.as_ref().map(|control| control.listener.try_clone());
        let sockets = Sockets {
            control: control.transpose()?,
        };
        let (stop, stopped) = oneshot::channel();
        let view = Arc::clone(&self.view);
        let handle = thread::Builder::new().name("amb-monitor".to_owned()).spawn(move || {
            if let Err(reason) = sockets.serve(&view, stopped) {
                tracing::warn!(%reason, "amb cannot be asked about this run");
            }
        })?;
        Ok(Thread { stop, handle })
    }

    /// Ends all of it.
    pub fn end(self) {
        if let Some(thread) = self.thread {
            drop(thread.stop);
            if thread.handle.join().is_err() {
                tracing::debug!("the thread of the endpoints panicked");
            }
        }
    }
}

/// The sockets of a run's endpoints, on the thread that serves them.
struct Sockets {
    /// The control socket; none if there is none.
    control: Option<std::os::unix::net::UnixListener>,
}

impl Sockets {
    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// The process is out of something.
    fn serve(self, view: &Arc<View>, stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let control = self.control.map(UnixListener::from_std).transpose()?;
            let control = async {
                match control {
                    Some(control) => {
                        let view = Arc::clone(view);
                        let answer = move |request| control::answer(Arc::clone(&view), request);
                        endpoint::serve(Socket::Unix(control), answer).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = control => {}
                _ = stopped => {}
            }
            Ok(())
        })
    }
}
