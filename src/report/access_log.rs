//! The access log: a line for each exchange and tunnel, written as they end; and the same lines for programs that follow a run
//! (`--events`).
//!
//! The proxy never waits for it. Lines go through a bounded queue to a thread that writes; when the file cannot keep up,
//! lines are left out, counted, and told of at the end.

mod line;

use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use rustix::fs::OFlags;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    report::{AccessLogTarget, events::EventsTarget, text::plural},
    traffic::{Record, summary::Warning},
    veil,
};

/// Lines that may wait to be written: a few hundred kilobytes, and a tenth of a second of heavy traffic.
const QUEUE_LINES: usize = 4_096;

/// Bytes that are written at once at most.
const BATCH_BYTES: usize = 64 * 1024;

/// How long the end of the run waits for the last lines. Longer means that nobody takes them: a pipe without a reader.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The form of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineFormat {
    /// A JSON object a line, named as OpenTelemetry names things
    #[default]
    Json,
    /// key=value, the same keys
    Logfmt,
    /// Apache's common log format
    Common,
    /// Apache's combined log format
    Combined,
}

/// What lines are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    /// The access log.
    #[default]
    Log,
    /// `--events`.
    Events,
}

impl Purpose {
    /// What it is called in sentences.
    fn name(self) -> &'static str {
        match self {
            Self::Log => "the access log",
            Self::Events => "the events",
        }
    }
}

/// An access log that is being written. Dropped without [`AccessLog::close`], it may lack its last lines.
#[derive(Debug)]
pub struct AccessLog {
    /// What it is for.
    purpose: Purpose,
    /// Where lines are put.
    sink: Sink,
    /// Disconnects when the thread has ended.
    ended: Receiver<()>,
}

/// Where lines are put; each worker thread has one of its own.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The form of the lines.
    format: LineFormat,
    /// The way to the thread. A line without a byte only wakes it.
    lines: SyncSender<Vec<u8>>,
    /// What has come of the lines.
    fate: Arc<Fate>,
}

/// What has come of the lines.
#[derive(Debug, Default)]
struct Fate {
    /// Lines that are in the file.
    written: AtomicU64,
    /// Lines that are not.
    dropped: AtomicU64,
    /// Whether the log is to end once the queue is empty.
    closing: AtomicBool,
    /// The first thing that went wrong.
    error: Mutex<Option<String>>,
}

impl Fate {
    /// Keeps the first reason.
    fn fail(&self, reason: &io::Error) {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.get_or_insert_with(|| reason.to_string());
    }
}

/// What came of an access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogEnd {
    /// What it was for.
    purpose: Purpose,
    /// Lines that were written.
    pub written: u64,
    /// Lines that were left out: the file could not keep up, or writing failed.
    pub dropped: u64,
    /// Why writing failed the first time; none if it did not.
    pub error: Option<String>,
}

impl AccessLogEnd {
    /// What the user should know of it; none if every line was written.
    pub fn warning(&self) -> Option<Warning> {
        let lines = plural(self.dropped, "line");
        let (name, code, lack) = match self.purpose {
            Purpose::Log => (self.purpose.name(), "access_log_incomplete", "lacks"),
            Purpose::Events => (self.purpose.name(), "events_incomplete", "lack"),
        };
        let message = match &self.error {
            Some(reason) => format!("{name} could not be written ({reason}) and {lack} {lines}"),
            None if self.dropped > 0 => format!("{name} could not keep up and {lack} {lines}"),
            None => return None,
        };
        Some(Warning::new(code, message))
    }
}

impl AccessLog {
    /// Opens the file for appending, and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// A sentence for people: the file cannot be opened, or is a named pipe that nobody reads.
    pub fn open(target: &AccessLogTarget) -> Result<Self, String> {
        match &target.file {
            Some(path) => Self::to_file(Purpose::Log, target.format, path),
            None => Self::start(Purpose::Log, target.format, io::stderr())
                .map_err(|reason| format!("cannot write the access log to stderr: {reason}")),
        }
    }

    /// The same for `--events`: JSON always.
    ///
    /// # Errors
    ///
    /// As for [`AccessLog::open`], and for a descriptor that nobody has opened for writing.
    pub fn follow(target: &EventsTarget) -> Result<Self, String> {
        let path = target.path()?;
        Self::to_file(Purpose::Events, LineFormat::Json, &path)
    }

    /// Opens a file for appending, and starts the thread that writes it.
    fn to_file(purpose: Purpose, format: LineFormat, path: &Path) -> Result<Self, String> {
        let started = open(path).and_then(|file| Self::start(purpose, format, file));
        started.map_err(|reason| format!("cannot write {} {}: {reason}", purpose.name(), path.display()))
    }

    /// Starts the thread that writes.
    fn start(purpose: Purpose, format: LineFormat, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = sync_channel(QUEUE_LINES);
        let (alive, ended) = sync_channel(0);
        let fate = Arc::new(Fate::default());
        let shared = Arc::clone(&fate);
        thread::Builder::new()
            .name(match purpose {
                Purpose::Log => "amb-access-log".to_owned(),
                Purpose::Events => "amb-events".to_owned(),
            })
            .spawn(move || {
                write_all(&lines, output, &shared);
                // Held to the end: its disconnection is the news.
                drop(alive);
            })?;
        Ok(Self {
            purpose,
            sink: Sink {
                format,
                lines: sender,
                fate,
            },
            ended,
        })
    }

    /// A place to put lines.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Writes the lines that are waiting, for a second at most, and says what came of all.
    ///
    /// Lines that are put later are left out, and counted in no figure any more.
    pub fn close(self) -> AccessLogEnd {
        self.close_within(LAST_LINES)
    }

    /// The same, within a given time.
    fn close_within(self, time: Duration) -> AccessLogEnd {
        let fate = &self.sink.fate;
        fate.closing.store(true, Ordering::Release);
        // If the queue is full, the thread is awake and will see the flag when it has emptied it.
        let woken = self.sink.lines.try_send(Vec::new());
        drop(woken);
        if self.ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            fate.fail(&io::Error::new(io::ErrorKind::TimedOut, "its reader does not read"));
        }
        let error = fate.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        AccessLogEnd {
            purpose: self.purpose,
            written: fate.written.load(Ordering::Acquire),
            dropped: fate.dropped.load(Ordering::Acquire),
            error,
        }
    }
}

/// A record as a line of JSON, with its end, which is not veiled yet.
pub fn json(record: &Record) -> Vec<u8> {
    line::line(LineFormat::Json, record)
}

impl Sink {
    /// Puts a line for a record. Never waits: if there is no room, the line is left out and counted.
    pub fn log(&self, record: &Record) {
        let line = line::line(self.format, record);
        let veiled = match self.format {
            LineFormat::Json => veil::json(&line),
            _ => veil::bytes(&line),
        };
        let line = match veiled {
            Cow::Owned(veiled) => veiled,
            Cow::Borrowed(_) => line,
        };
        if self.lines.try_send(line).is_err() {
            self.fate.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Opens a file to append to. A named pipe must have its reader: waiting for one would keep the child from starting.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(nonblocking)
        .open(path)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Writes lines until the log is closed. Whenever none is waiting, all that came are in the file.
fn write_all(lines: &Receiver<Vec<u8>>, output: impl Write, fate: &Fate) {
    let mut batch = Batch {
        output,
        bytes: Vec::with_capacity(BATCH_BYTES),
        lines: 0,
        torn: false,
    };
    loop {
        match lines.try_recv() {
            Ok(line) => batch.add(&line, fate),
            Err(TryRecvError::Empty) => {
                batch.write(fate);
                if fate.closing.load(Ordering::Acquire) {
                    return;
                }
                match lines.recv() {
                    Ok(line) => batch.add(&line, fate),
                    Err(_) => return,
                }
            }
            Err(TryRecvError::Disconnected) => return batch.write(fate),
        }
    }
}

/// Lines on their way into the file.
struct Batch<W> {
    /// The file.
    output: W,
    /// The lines.
    bytes: Vec<u8>,
    /// How many they are.
    lines: u64,
    /// Whether a failure may have left half a line in the file.
    torn: bool,
}

impl<W: Write> Batch<W> {
    /// Adds a line.
    fn add(&mut self, line: &[u8], fate: &Fate) {
        if line.is_empty() {
            return;
        }
        if self.torn && self.bytes.is_empty() {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(line);
        self.lines += 1;
        if self.bytes.len() >= BATCH_BYTES {
            self.write(fate);
        }
    }

    /// Writes the lines. If that fails they are lost; later ones are tried again, for there may be room again.
    fn write(&mut self, fate: &Fate) {
        if self.lines == 0 {
            return;
        }
        match self.output.write_all(&self.bytes).and_then(|()| self.output.flush()) {
            Ok(()) => {
                fate.written.fetch_add(self.lines, Ordering::AcqRel);
                self.torn = false;
            }
            Err(reason) => {
                fate.dropped.fetch_add(self.lines, Ordering::AcqRel);
                fate.fail(&reason);
                self.torn = true;
            }
        }
        self.bytes.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests;
