//! What the user sees: the summary at the end, report files, the access log, amb's own log.
//!
//! Reports read [`traffic`](crate::traffic) and know nothing else of amb. Whatever a record holds may come from a hostile
//! client or server: it is escaped on its way to a terminal and into every format.

pub mod access_log;
pub mod ci;
pub mod color;
pub mod diff;
pub mod document;
pub mod events;
pub mod file;
pub mod har;
mod html;
pub mod human;
pub mod json;
mod junit;
mod k6;
pub mod kept;
pub mod log;
pub mod markdown;
mod markup;
mod merge;
pub mod openmetrics;
pub mod progress;
pub mod text;

use std::path::PathBuf;

use clap::ValueHint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    report::{
        access_log::LineFormat, ci::CiKind, document::Document, events::EventsTarget, file::ReportFile, log::LogFormat,
        progress::ProgressMode,
    },
    veil,
};

/// An option that makes no sense: where it stands, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidOption {
    /// The key in the configuration: `["report", "files"]`.
    pub key: &'static [&'static str],
    /// A sentence for people, without a full stop.
    pub reason: String,
}

/// `[report]`: what is shown and written at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Results")]
pub struct ReportOptions {
    /// How much to say at the end [default: auto]
    ///
    /// It goes to stderr once the command has ended. Warnings are shown whatever is chosen.
    #[arg(id = "report.summary", long = "summary", value_enum, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "auto"))]
    pub summary: Option<SummaryMode>,

    /// Report assertions, and end as the command ended all the same [default: off]
    ///
    /// An assertion that may stop the run does not.
    #[arg(
        id = "report.no-fail",
        long = "no-fail",
        num_args = 0,
        default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub no_fail: Option<bool>,

    /// For which service to write job summaries, annotations and sections of the log [default: auto]
    #[arg(id = "report.ci", long = "ci", value_enum, value_name = "KIND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "auto"))]
    pub ci: Option<CiKind>,

    /// What to show of the run while it goes on [default: auto]
    ///
    /// A title is shown only in the terminal that amb was started in, while the command or amb has the foreground, and is given
    /// back when the command has ended or stops. It overwrites a title that the command itself sets.
    #[arg(
        id = "report.progress",
        long = "progress",
        value_enum,
        value_name = "MODE",
        help_heading = "Observability"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "auto"))]
    pub progress: Option<ProgressMode>,

    /// Write a line of JSON for each exchange and tunnel as it ends: to a file, or to a descriptor as fd:3 [default: none]
    ///
    /// For programs that follow the run. The lines are those of the access log; the command's requests never wait for them.
    #[arg(
        id = "report.events",
        long = "events",
        value_name = "FILE|fd:N",
        value_hint = ValueHint::FilePath,
        help_heading = "Observability"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "writes a file outside the directory", "x-danger-if" = "outside"))]
    pub events: Option<String>,

    /// Write a report to this file: report.json or json=FILE; repeatable [default: none]
    ///
    /// Formats, with the extensions that stand for them: json, junit (.xml), html, md, openmetrics (.prom, .om), k6 (none: write k6=FILE),
    /// and har, which keeps the first 10,000 requests that amb sees, 16 MiB at most.
    ///
    /// The file is replaced as a whole when the run is over. That it can be written is checked before the command
    /// starts. The command's stdout is its own: to get the report from a pipe, use json=/dev/fd/3. A pipe whose reader
    /// reads nothing for 5 s does not get it.
    #[arg(id = "report.files", short, long = "report", value_name = "[FMT=]FILE", value_hint = ValueHint::FilePath)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "default" = [],
        "x-danger" = "writes a file outside the directory",
        "x-danger-if" = "outside"
    ))]
    pub files: Option<Vec<String>>,

    /// Keep the reports of this many runs, for `amb report --last` [default: 0]
    ///
    /// They are in amb/reports in $XDG_STATE_HOME, else in ~/.local/state, for you alone. Each run that keeps its report
    /// removes the oldest beyond this number.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(id = "report.keep", long = "keep-reports", value_name = "N", value_parser = clap::value_parser!(u16).range(0..=MOST_KEPT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000), extend("default" = 0, "x-danger" = "writes and removes files outside the directory"))]
    pub keep: Option<u16>,
}

/// Reports that can be kept.
const MOST_KEPT: i64 = 1000;

/// How much the summary says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SummaryMode {
    /// On a terminal one line, or all of it if something went wrong; elsewhere only what went wrong
    #[default]
    Auto,
    /// All of it
    Full,
    /// One line
    Compact,
    /// Nothing but warnings
    Off,
}

/// What is shown and written at the end: a valid [`ReportOptions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How much the summary says.
    pub summary: SummaryMode,
    /// Whether assertions are told of and change nothing.
    pub no_fail: bool,
    /// For which service to write.
    pub ci: CiKind,
    /// What is shown while the run goes on.
    pub progress: ProgressMode,
    /// Where events go; none if nobody follows the run.
    pub events: Option<EventsTarget>,
    /// The files to write.
    pub files: Vec<ReportTarget>,
    /// How many reports are kept for `amb report --last`; 0 means that this one is not.
    pub keep: usize,
}

/// A report file that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTarget {
    /// What is written.
    pub format: ReportFormat,
    /// Where.
    pub path: PathBuf,
}

/// The formats a report can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// All there is, for programs.
    Json,
    /// What made the run fail, for continuous integration: `JUnit` XML.
    Junit,
    /// A page with charts, for people.
    Html,
    /// For people who look at a merge request or a job.
    Markdown,
    /// All there is, for monitoring.
    Openmetrics,
    /// As k6's summary export, for GitLab's merge requests.
    K6,
    /// The requests one by one, for the viewers of browsers.
    Har,
}

impl ReportFormat {
    /// Every format by its name, with the file extensions that it is known by.
    const NAMES: [(&str, &[&str], Self); 7] = [
        ("json", &["json"], Self::Json),
        ("junit", &["xml"], Self::Junit),
        ("html", &["html", "htm"], Self::Html),
        ("md", &["md", "markdown"], Self::Markdown),
        ("openmetrics", &["prom", "om"], Self::Openmetrics),
        ("k6", &[], Self::K6),
        ("har", &["har"], Self::Har),
    ];

    /// The format of this name; an error lists those that exist.
    pub fn named(name: &str, written: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, ..)| name.eq_ignore_ascii_case(known));
        found.map(|(.., format)| *format).ok_or_else(|| Self::unknown(written))
    }

    /// The format of files with this extension; an error lists the formats that exist.
    pub fn of_extension(extension: &str, written: &str) -> Result<Self, String> {
        let known = |extensions: &[&str]| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known));
        let found = Self::NAMES.iter().find(|(_, extensions, _)| known(extensions));
        found.map(|(.., format)| *format).ok_or_else(|| Self::unknown(written))
    }

    /// What is said where no format is meant: `written`, and the formats that exist.
    fn unknown(written: &str) -> String {
        let names: Vec<_> = Self::NAMES.iter().map(|(known, ..)| *known).collect();
        format!("{written}; the formats are: {}", names.join(", "))
    }

    /// The report in this format, of the document and, where the format tells them, of the requests that were kept.
    pub fn render(self, document: &Document, requests: &har::Requests) -> Vec<u8> {
        match self {
            Self::Json => document.to_json(),
            Self::Junit => junit::render(document).into_bytes(),
            Self::Html => html::render(document).into_bytes(),
            Self::Markdown => markdown::render(&document.to_value().unwrap_or_default(), usize::MAX).into_bytes(),
            Self::Openmetrics => openmetrics::render(document).into_bytes(),
            Self::K6 => k6::render(document).into_bytes(),
            Self::Har => veil::json(har::render(document, requests).as_bytes()).into_owned(),
        }
    }
}

impl ReportOptions {
    /// Checks them.
    ///
    /// # Errors
    ///
    /// A format that does not exist or cannot be told from the file's name; a report or events to the command's stdout.
    pub fn build(self) -> Result<Report, InvalidOption> {
        let files = self.files.unwrap_or_default();
        let files = all(files.iter().map(|text| target(text))).map_err(|reasons| InvalidOption {
            key: &["report", "files"],
            reason: reasons.join("; "),
        })?;
        let keep = self.keep.unwrap_or_default();
        if i64::from(keep) > MOST_KEPT {
            return Err(InvalidOption {
                key: &["report", "keep"],
                reason: format!("{keep} is more than {MOST_KEPT}, the most that are kept"),
            });
        }
        let events = self.events.map(|text| text.parse()).transpose();
        let events = events.map_err(|reason| InvalidOption {
            key: &["report", "events"],
            reason,
        })?;
        Ok(Report {
            summary: self.summary.unwrap_or_default(),
            no_fail: self.no_fail.unwrap_or_default(),
            ci: self.ci.unwrap_or_default(),
            progress: self.progress.unwrap_or_default(),
            events,
            files,
            keep: usize::from(keep),
        })
    }
}

impl Report {
    /// Whether a report tells of requests one by one.
    pub fn wants_requests(&self) -> bool {
        self.files.iter().any(|file| file.format == ReportFormat::Har)
    }

    /// Makes sure that every report can be written, before the child starts.
    ///
    /// # Errors
    ///
    /// A line for people for each file that cannot, which names it.
    pub fn reserve(&self) -> Result<Vec<ReportFile>, String> {
        let reserved = self.files.iter().map(ReportFile::reserve);
        all(reserved.map(|file| file.map_err(|reason| reason.to_string()))).map_err(|reasons| reasons.join("\n"))
    }
}

/// All that went well, or all that did not.
fn all<T, E>(results: impl Iterator<Item = Result<T, E>>) -> Result<Vec<T>, Vec<E>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(reason) => bad.push(reason),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// Reads `[FMT=]FILE`.
fn target(text: &str) -> Result<ReportTarget, String> {
    // Only a bare word names a format, so that ./a=b.json stays a file.
    let (format, path) = match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => (
            Some(ReportFormat::named(name, &format!("`{name}` is no report format"))?),
            path,
        ),
        _ => (None, text),
    };
    if path == "-" {
        return Err("stdout is the command's own: write json=/dev/fd/3 and add `3>FILE` in the shell".to_owned());
    }
    if path.is_empty() {
        return Err(format!("`{text}` names no file"));
    }
    let path = PathBuf::from(path);
    let format = match (format, path.extension().and_then(|extension| extension.to_str())) {
        (Some(format), _) => format,
        (None, Some(extension)) => ReportFormat::of_extension(
            extension,
            &format!("`{text}`: no report format has the extension .{extension}"),
        )?,
        (None, None) => ReportFormat::named("", &format!("`{text}` does not say its format: write json={text}"))?,
    };
    Ok(ReportTarget { format, path })
}

/// `[access-log]`: a line for each exchange and tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Observability")]
pub struct AccessLogOptions {
    /// Append a line for each exchange and tunnel to this file; - is stderr [default: none]
    ///
    /// Lines are written as exchanges end. If the file cannot keep up, lines are left out and counted; the command's
    /// requests never wait for it.
    #[arg(id = "access-log.file", long = "access-log", value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "writes a file outside the directory", "x-danger-if" = "outside"))]
    pub file: Option<PathBuf>,

    /// The form of these lines [default: json]
    #[arg(id = "access-log.format", long = "access-log-format", value_enum, value_name = "FMT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "json"))]
    pub format: Option<LineFormat>,
}

/// Where the access log goes, and how: valid [`AccessLogOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogTarget {
    /// The file; none is stderr.
    pub file: Option<PathBuf>,
    /// The form of the lines.
    pub format: LineFormat,
}

impl AccessLogOptions {
    /// Checks them; none if no access log is wanted.
    ///
    /// # Errors
    ///
    /// A file without a name.
    pub fn build(self) -> Result<Option<AccessLogTarget>, InvalidOption> {
        let Some(file) = self.file else { return Ok(None) };
        if file.as_os_str().is_empty() {
            return Err(InvalidOption {
                key: &["access-log", "file"],
                reason: "the access log's file has no name".to_owned(),
            });
        }
        Ok(Some(AccessLogTarget {
            file: (file.as_os_str() != "-").then_some(file),
            format: self.format.unwrap_or_default(),
        }))
    }
}

/// `[log]`: what amb says of itself.
#[expect(
    clippy::doc_markdown,
    reason = "this is the help text, where backticks would be noise"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Observability")]
pub struct LogOptions {
    /// How much amb says of itself: error, warn, info, debug, trace, off; or by module: amb::proxy=debug
    /// [default: AMB_LOG, else warn, and error if stderr is a terminal, which is the command's while it runs]
    #[arg(id = "log.level", long = "log-level", value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,

    /// The form of these lines [default: text]
    #[arg(id = "log.format", long = "log-format", value_enum, value_name = "FMT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "text"))]
    pub format: Option<LogFormat>,
}

impl LogOptions {
    /// Checks them.
    ///
    /// # Errors
    ///
    /// A level that does not exist.
    pub fn build(self) -> Result<log::Log, InvalidOption> {
        // An empty variable counts as absent, as everywhere.
        let level = self.level.filter(|text| !text.trim().is_empty());
        let levels = level
            .map(|text| log::levels(&text))
            .transpose()
            .map_err(|reason| InvalidOption {
                key: &["log", "level"],
                reason,
            })?;
        Ok(log::Log {
            levels,
            format: self.format.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
