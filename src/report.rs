//! Placeholder: the reports.
use serde::{Deserialize, Serialize};

/// When a summary is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SummaryMode {
    /// As it fits.
    Auto,
    /// All of it.
    Full,
    /// One line.
    Compact,
    /// None.
    Off,
}

/// `[report]`
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "Results")]
pub struct ReportOptions {
    /// How much to say at the end [default: auto]
    #[arg(long, value_enum, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<SummaryMode>,
    /// Write a report
    #[arg(id = "report", short, long = "report", value_name = "[FMT=]FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

/// `[access-log]`
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "Observability")]
pub struct AccessLogOptions {
    /// Write a line an exchange to this file
    #[arg(id = "access-log", long = "access-log", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The form of its lines
    #[arg(id = "access-log-format", long = "access-log-format", value_name = "FMT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// `[log]`
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "Observability")]
pub struct LogOptions {
    /// How much amb says of itself
    #[arg(id = "log-level", long = "log-level", value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The form of those lines
    #[arg(id = "log-format", long = "log-format", value_name = "FMT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}
