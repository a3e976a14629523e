//! `amb status`: the runs of this user, a line each.

use std::env;

use clap::Args;
use unicode_width::UnicodeWidthStr;

use super::{Console, print, say};
use crate::{
    exit::Exit,
    monitor::{
        client::{Client, Found},
        view::{Kind, Status},
    },
    report::text::{self, Charset},
};

/// The columns; those of figures are aligned to the right.
const COLUMNS: [(&str, bool); 8] = [
    ("NAME", false),
    ("ID", false),
    ("PID", true),
    ("UP", true),
    ("REQUESTS", true),
    ("FAILED", true),
    ("OPEN", true),
    ("PROXY", false),
];

/// `amb status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only the runs with this name, or the one with this id [default: all]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// Shows what runs. The status is 1 if nothing does.
pub fn run(args: &StatusArgs) -> Exit {
    let client = match Client::new(|name| env::var_os(name)) {
        Ok(client) => client,
        Err(reason) => {
            say(&format_args!("cannot ask: {reason}"));
            return Exit::Negative;
        }
    };
    let survey = client.survey();
    for (socket, reason) in &survey.silent {
        say(&format_args!("warning: {}: {reason}", socket.display()));
    }
    let found: Vec<_> = survey
        .found
        .into_iter()
        .filter(|found| args.run.as_ref().is_none_or(|run| is_called(&found.status, run)))
        .collect();
    if args.json {
        let all: Vec<_> = found.iter().map(with_socket).collect();
        let Ok(text) = serde_json::to_string_pretty(&all) else {
            return Exit::Negative;
        };
        let shown = print(text + "\n");
        return if found.is_empty() { Exit::Negative } else { shown };
    }
    if found.is_empty() {
        say(&match &args.run {
            Some(run) => format!("no run of yours is called `{run}`, or has this id"),
            None => "nothing of yours runs under amb".to_owned(),
        });
        return Exit::Negative;
    }
    print(table(&found))
}

/// What it says of itself, and where it can be asked.
fn with_socket(found: &Found) -> serde_json::Value {
    let mut told = serde_json::to_value(&found.status).unwrap_or_default();
    told["socket"] = found.socket.display().to_string().into();
    told
}

/// Whether this is what the run is called.
pub fn is_called(status: &Status, run: &str) -> bool {
    status.name == run || status.id == run
}

/// A line for each run, below the names of the columns.
fn table(found: &[Found]) -> String {
    let head = COLUMNS.map(|(name, _)| name.to_owned());
    let lines: Vec<_> = std::iter::once(head).chain(found.iter().map(line)).collect();
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].width()).max().unwrap_or(0));
    let mut table = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .zip(&COLUMNS)
            .map(|((cell, width), (_, right))| {
                let room = " ".repeat(width - cell.width());
                if *right { room + cell } else { cell.clone() + &room }
            });
        let cells: Vec<_> = cells.collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

/// What stands in the columns.
fn line(found: &Found) -> [String; COLUMNS.len()] {
    let status = &found.status;
    let name = match status.kind {
        Kind::Run => status.name.clone(),
        Kind::Serve => format!("{} (serve)", status.name),
    };
    [
        name.escape_debug().to_string(),
        status.id.clone(),
        status.pid.to_string(),
        text::duration(
            std::time::Duration::from_secs_f64(status.duration_seconds.max(0.0)),
            Charset::Ascii,
        ),
        status.requests.to_string(),
        status.failed.to_string(),
        status.open.to_string(),
        status.proxy.clone(),
    ]
}
