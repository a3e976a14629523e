//! What services that run jobs for continuous integration show of a run, beyond its log: GitHub Actions and GitLab.
//!
//! All of it goes to stderr and to the files that the service names in variables; the command's stdout stays its own. Where
//! there is no such service, nothing changes.

mod github;
mod gitlab;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    report::{access_log, human, text::Charset},
    traffic::summary::{Summary, Warning},
    veil,
};

/// For which service to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CiKind {
    /// The one that says by its variables that it runs this
    #[default]
    Auto,
    /// GitHub Actions: job summary, annotations, outputs of the step, a group in the log
    Github,
    /// GitLab: a section in the log
    Gitlab,
    /// None
    None,
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// GitHub Actions.
    Github,
    /// GitLab.
    Gitlab,
}

impl CiKind {
    /// The service to write for, by the variables of amb's environment; none if there is none.
    pub fn service(self, variable: impl Fn(&str) -> Option<OsString>) -> Option<Service> {
        let says = |name: &str| variable(name).is_some_and(|value| value == "true");
        match self {
            Self::Github => Some(Service::Github),
            Self::Gitlab => Some(Service::Gitlab),
            Self::Auto if says("GITHUB_ACTIONS") => Some(Service::Github),
            Self::Auto if says("GITLAB_CI") => Some(Service::Gitlab),
            Self::Auto | Self::None => None,
        }
    }
}

impl Service {
    /// Writes the files that the service reads, which its variables name; a warning for each that could not be written.
    pub fn write_files(self, summary: &Summary, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Warning> {
        match self {
            Self::Github => github::write_files(summary, variable),
            Self::Gitlab => Vec::new(),
        }
    }

    /// The summary on stderr as the service's log shows it best, and what it makes notes of.
    pub fn framed(self, summary: &Summary, text: &str) -> String {
        match self {
            Self::Github => github::framed(summary, text, &github::token()),
            Self::Gitlab => gitlab::framed(summary, text),
        }
    }
}

/// The story of a run in one line, as the heading of all that is said of it.
fn heading(summary: &Summary) -> String {
    veil::text(&human::story(summary, Charset::Unicode)).into_owned()
}

/// Appends to a file that the service reads. A named pipe must have its reader.
fn append(path: &Path, text: &str) -> io::Result<()> {
    access_log::open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
