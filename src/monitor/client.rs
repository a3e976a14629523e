//! Asks runs over their control sockets.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, StatusCode,
    body::{Buf, Bytes},
    client::conn::http1,
    header::HOST,
};
use hyper_util::rt::TokioIo;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::de::DeserializeOwned;
use tokio::{
    net::UnixStream,
    runtime::{self, Runtime},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{place::Place, view::Status};
use crate::inject::RUN_ID;

/// How long a run may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for the socket of the run that amb was started in, which is made a moment after the command: it may be one
/// that makes none.
const MOMENT: Duration = Duration::from_millis(100);

/// Why a run cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is gone, or does not answer.
    #[error("it does not answer: {0}")]
    Silent(io::Error),
    /// It does not want to.
    #[error("{0}")]
    Refused(String),
    /// It speaks in a way that this amb does not know.
    #[error("its answer is not understood ({0}): it may be an amb of another version")]
    Odd(String),
}

/// A run that answers.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its control socket.
    pub socket: PathBuf,
    /// What it says of itself.
    pub status: Status,
}

/// The runs of this user.
#[derive(Debug, Default)]
pub struct Survey {
    /// Those that answer, the oldest first.
    pub found: Vec<Found>,
    /// The sockets of those that do not, and why: one that is stopped, or of another version.
    pub silent: Vec<(PathBuf, AskError)>,
}

/// Asks, with a runtime of its own.
#[derive(Debug)]
pub struct Client {
    /// What the questions run on.
    runtime: Runtime,
    /// Where the sockets are.
    place: Place,
    /// The socket of the run that amb was started in; none if it was not.
    own: Option<PathBuf>,
}

impl Client {
    /// One that asks the runs of this user. `variable` reads the environment.
    ///
    /// # Errors
    /// The process is out of something.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Self> {
        let place = Place::of(&variable);
        let run_id = variable(RUN_ID).filter(|id| !id.is_empty());
        Ok(Self {
            runtime: runtime::Builder::new_current_thread().enable_all().build()?,
            own: run_id.map(|id| place.socket(&id.to_string_lossy())),
            place,
        })
    }

    /// All runs that answer, the oldest first. The sockets of those that are gone are removed.
    pub fn runs(&self) -> Vec<Found> {
        self.survey().found
    }

    /// All runs, the oldest first. The sockets of those that are gone are removed.
    pub fn survey(&self) -> Survey {
        let mut survey = self.runtime.block_on(async {
            self.settle().await;
            let mut asked = JoinSet::new();
            for socket in self.place.sockets() {
                asked.spawn(async move {
                    let status = ask(&socket, &Method::GET, "/v1/status").await.and_then(read::<Status>);
                    (socket, status)
                });
            }
            let mut survey = Survey::default();
            while let Some(answered) = asked.join_next().await {
                match answered {
                    Ok((socket, Ok(status))) => survey.found.push(Found { socket, status }),
                    Ok((socket, Err(AskError::Silent(reason)))) if is_gone(&reason) => forget(&socket),
                    Ok((socket, Err(reason))) => survey.silent.push((socket, reason)),
                    Err(reason) => tracing::debug!(%reason, "a question was not asked"),
                }
            }
            survey
        });
        survey.found.sort_by_cached_key(|found| {
            let Status { started_at, id, .. } = &found.status;
            (started_at.clone(), id.clone())
        });
        survey
    }

    /// Waits a moment for the run that amb was started in.
    async fn settle(&self) {
        let Some(own) = self.own.as_ref().filter(|own| !own.exists()) else {
            return;
        };
        let appears = async {
            while !own.exists() {
                sleep(MOMENT / 50).await;
            }
        };
        if timeout(MOMENT, appears).await.is_err() {
            tracing::debug!(socket = %own.display(), "the run that amb was started in cannot be asked");
        }
    }

    /// Asks a run for what is at `path`.
    ///
    /// # Errors
    /// It does not answer, or not as it should.
    pub fn get<T: DeserializeOwned>(&self, socket: &Path, path: &str) -> Result<T, AskError> {
        self.runtime.block_on(ask(socket, &Method::GET, path)).and_then(read)
    }

    /// Tells a run to end, and waits for that as long as `patience`; whether it has.
    ///
    /// # Errors
    /// It does not answer, or does not want to.
    pub fn stop(&self, socket: &Path, patience: Duration) -> Result<bool, AskError> {
        let process = self.runtime.block_on(async {
            // Before it is told: its number may be another's afterwards.
            let stream = UnixStream::connect(socket).await.map_err(AskError::Silent)?;
            let process = stream.peer_cred().ok().and_then(|peer| Pid::from_raw(peer.pid()?));
            let process = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok());
            ask(socket, &Method::POST, "/v1/stop").await.map(|_| process)
        })?;
        let Some(process) = process else {
            return Ok(true);
        };
        let patience = Timespec::try_from(patience).ok();
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], patience.as_ref());
        Ok(ended == Ok(1))
    }
}

/// Whether nobody listens any more, and nobody ever will; or the socket has just been removed.
fn is_gone(reason: &io::Error) -> bool {
    matches!(
        reason.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// Removes the socket of a run that is gone.
fn forget(socket: &Path) {
    match fs::remove_file(socket) {
        Ok(()) => tracing::debug!(socket = %socket.display(), "the run of this socket is gone"),
        Err(reason) => tracing::debug!(%reason, "a socket of a run that is gone stays"),
    }
}

/// What an answer says.
fn read<T: DeserializeOwned>(bytes: Bytes) -> Result<T, AskError> {
    serde_json::from_reader(bytes.reader()).map_err(|reason| AskError::Odd(reason.to_string()))
}

/// Asks, within a time.
async fn ask(socket: &Path, method: &Method, path: &str) -> Result<Bytes, AskError> {
    let broken = |reason: hyper::Error| AskError::Silent(io::Error::other(reason));
    let asked = async {
        let stream = UnixStream::connect(socket).await.map_err(AskError::Silent)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder().method(method).uri(path).header(HOST, "amb");
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|reason| AskError::Odd(reason.to_string()))?;
        let talking = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
            Ok((status, body))
        };
        let mut talking = std::pin::pin!(talking);
        let (status, body) = tokio::select! {
            answered = &mut talking => answered?,
            ended = connection => {
                ended.map_err(broken)?;
                talking.await?
            }
        };
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(body),
            _ => Err(AskError::Refused(String::from_utf8_lossy(&body).trim().to_owned())),
        }
    };
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(AskError::Silent(io::ErrorKind::TimedOut.into())))
}
