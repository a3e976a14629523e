//! What shows a run while it goes on: endpoints of amb's own, on one thread beside the proxy's, which is not there before
//! somebody asks.
//!
//! The proxy's workers are looked at ([`Lookout`](crate::proxy::Lookout)), and count nothing for it that they do not count anyway.

pub mod client;
mod control;
mod endpoint;
pub mod metrics;
pub mod offer;
mod page;
pub mod place;
pub mod view;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    net::UnixListener,
    runtime::{self, LocalOptions},
    sync::oneshot,
    time,
};

use self::{endpoint::Socket, metrics::Scraped, place::Control};
pub use self::{
    offer::Offer,
    page::{Feed, Page},
    view::{Kind, View},
};

/// How long the end of a run waits for browsers that are told of it. Without any it does not wait.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// A run's endpoints.
pub struct Monitor {
    /// The run.
    view: Arc<View>,
    /// Its control socket; none if there is none to be had.
    control: Option<Control>,
    /// Its page; none if nobody wants one.
    page: Option<Page>,
    /// Where its metrics are scraped; none if they are not, or it serves already.
    scraped: Option<Scraped>,
    /// Whether the command has ended.
    ended: Arc<AtomicBool>,
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
    /// Endpoints of this run. They begin at once if the run's metrics are to be scraped, or it has a page.
    pub fn new(view: View, control: Option<Control>, scraped: Option<Scraped>, page: Option<Page>) -> Self {
        let mut monitor = Self {
            view: Arc::new(view),
            control,
            page,
            scraped,
            ended: Arc::default(),
            thread: None,
        };
        if monitor.scraped.is_some() || monitor.page.is_some() {
            monitor.begin();
        }
        monitor
    }

    /// Says that the command has ended, and the run goes on for as long as something is open.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Readable when somebody asks; none if nobody can, or it serves already.
    pub fn awaited(&self) -> Option<OwnedFd> {
        let control = self.control.as_ref().filter(|_| self.thread.is_none())?;
        control.listener.try_clone().map(OwnedFd::from).ok()
    }

    /// Begins to serve, unless it does already.
    pub fn begin(&mut self) {
        if self.thread.is_none() {
            self.view.lookout.keep();
            let thread = self.serve();
            let thread = thread.inspect_err(|reason| tracing::warn!(%reason, "amb cannot be asked about this run"));
            self.thread = thread.ok();
        }
    }

    /// Serves, on a thread of its own.
    fn serve(&mut self) -> io::Result<Thread> {
        let control = self.control.as_ref().map(|control| control.listener.try_clone());
        let sockets = Sockets {
            control: control.transpose()?,
            page: self.page.as_ref().map(Page::share).transpose()?,
            scraped: self.scraped.take(),
            ended: Arc::clone(&self.ended),
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
    /// The page; none if there is none.
    page: Option<Page>,
    /// Where the metrics are scraped; none if they are not.
    scraped: Option<Scraped>,
    /// Whether the command has ended.
    ended: Arc<AtomicBool>,
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
            let feed = self.page.as_ref().map(Page::feed);
            let page = self.page.map(|page| page.serve(view)).transpose()?;
            let page = async {
                match page {
                    Some(page) => page.await,
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                // An error: whoever could have told it is gone.
                drop(stopped.await);
                if feed.is_some_and(|feed| feed.end()) {
                    time::sleep(LAST_WORDS).await;
                }
            };
            let metrics = async {
                match self.scraped {
                    Some(scraped) => scraped.serve(Arc::clone(view), self.ended).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = control => {}
                () = page => {}
                served = metrics => served?,
                () = stopped => {}
            }
            Ok(())
        })
    }
}
