//! Asks the runs, on a thread of its own: a run that does not answer holds up no key.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use crate::{
    cli::status::is_called,
    monitor::{
        client::{Client, Found},
        view::{Live, Status},
    },
};

/// How often runs are asked.
const EVERY: Duration = Duration::from_secs(1);

/// What there is to see at one time.
#[derive(Debug)]
pub(super) struct Look {
    /// The runs that are to be shown, the oldest first.
    pub(super) runs: Vec<Status>,
    /// All of the one that is looked at; none if it is gone.
    pub(super) live: Option<Live>,
}

/// The thread that asks.
#[derive(Debug)]
pub(super) struct Watch {
    /// Which run is to be looked at from now on.
    seen: SyncSender<String>,
    /// What it has seen.
    looks: Receiver<Look>,
}

impl Watch {
    /// Begins to ask the runs that are called `run`, or all, and looks at the newest of them.
    ///
    /// # Errors
    /// The process is out of something.
    pub(super) fn start(client: Client, run: Option<String>) -> io::Result<Self> {
        let (seen, chosen) = sync_channel(8);
        let (sender, looks) = sync_channel(1);
        thread::Builder::new().name("amb-watch".to_owned()).spawn(move || {
            let mut id: Option<String> = None;
            loop {
                let look = look(&client, run.as_deref(), &mut id);
                if sender.send(look).is_err() {
                    return;
                }
                match chosen.recv_timeout(EVERY) {
                    Ok(chosen) => id = Some(chosen),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { seen, looks })
    }

    /// Waits for what there is to see; none if nothing will ever come.
    pub(super) fn first(&self) -> Option<Look> {
        self.looks.recv().ok()
    }

    /// What has come and was not taken yet.
    pub(super) fn fresh(&self) -> Option<Look> {
        self.looks.try_recv().ok()
    }

    /// Looks at this run from now on, and now.
    pub(super) fn see(&self, id: String) {
        if self.seen.try_send(id).is_err() {
            tracing::debug!("too many runs were asked for at once");
        }
    }
}

/// Asks once. `id` is the run to look at; the newest is chosen if none is.
fn look(client: &Client, run: Option<&str>, id: &mut Option<String>) -> Look {
    let mut found = client.runs();
    found.retain(|found| run.is_none_or(|run| is_called(&found.status, run)));
    if id.is_none() {
        *id = found.last().map(|found| found.status.id.clone());
    }
    let of_it = |found: &&Found| Some(&found.status.id) == id.as_ref();
    let live = found.iter().find(of_it).and_then(|found| {
        let live = client.get(&found.socket, "/v1/live");
        live.inspect_err(|reason| tracing::debug!(%reason, "a run does not tell"))
            .ok()
    });
    Look {
        runs: found.into_iter().map(|found| found.status).collect(),
        live,
    }
}
