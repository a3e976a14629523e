//! `amb report`: its options, and what is done with the reports of runs that are over.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueHint};

use super::{Console, print, print_paged, say};
use crate::{
    exit::Exit,
    report::{
        ReportFormat, ReportTarget,
        color::Stream,
        diff::{Comparison, FailOn},
        document::Document,
        file::ReportFile,
        har::Requests,
        human,
        kept::Kept,
    },
};

/// `amb report`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "amb report [OPTIONS] <FILE>...\n       amb report [OPTIONS] --last\n       amb report <COMMAND>"
)]
pub struct ReportArgs {
    /// What else to do.
    #[command(subcommand)]
    pub action: Option<ReportAction>,
    /// JSON reports of runs; - is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "last")]
    pub files: Vec<PathBuf>,
    /// The last report that was kept; see --keep-reports of `amb run`
    #[arg(long, conflicts_with = "files")]
    pub last: bool,
    /// What to make of it.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// What can be done with reports besides showing them.
#[derive(Debug, Subcommand)]
pub enum ReportAction {
    /// Make one report of several
    ///
    /// Counts and histograms are added up, so that percentiles are those of all runs together. How it ended is how the first
    /// of them ended that did not end well. Reports before schema 1.3 lack the histograms, and are refused.
    Merge(MergeArgs),
    /// Compare two reports: new and vanished hosts, changed counts and times
    ///
    /// Exit status: 0; 1 if something is more than --fail-on allows; 2 if a report cannot be read.
    Diff(DiffArgs),
}

/// What to make of a report.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// The format: json, junit, html, md, openmetrics, k6 [default: by the name of the output; a summary for people without one]
    #[arg(long, short, value_name = "FMT")]
    pub format: Option<String>,
    /// Write it to this file [default: stdout]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `amb report merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// JSON reports of runs; - is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub files: Vec<PathBuf>,
    /// What to make of them; JSON by default.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `amb report diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The JSON report to compare with
    #[arg(value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// The JSON report to compare
    #[arg(value_name = "AFTER", value_hint = ValueHint::FilePath)]
    pub after: PathBuf,
    /// Fail if this is so; comma-separated, repeatable: new-hosts, vanished-hosts, failed=5, p95=20%
    ///
    /// A figure and by how much it may grow, in all traffic and for each host: requests, failed, denied and retried (without a
    /// limit: not at all), p50, p95 and p99 (a share, or a duration such as 50ms). Times of a host count only if it gave 20
    /// answers or more on both sides.
    #[arg(long, value_name = "WHAT[=LIMIT]", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Does what `amb report` is for.
pub fn run(args: &ReportArgs) -> Exit {
    let stream = Stream::stdout(args.console.color);
    let done = match &args.action {
        None => show(args, &stream),
        Some(ReportAction::Merge(merge)) => merged(merge),
        Some(ReportAction::Diff(diff)) => compared(diff, &stream),
    };
    done.unwrap_or_else(|reason| {
        say(&reason);
        Exit::Usage
    })
}

/// Shows reports, or writes one in another format.
fn show(args: &ReportArgs, stream: &Stream) -> Result<Exit, String> {
    let files = if args.last { vec![last()?] } else { args.files.clone() };
    let documents = all(&files)?;
    if args.output.format.is_none() && args.output.output.is_none() {
        let told: Vec<_> = documents.iter().map(|one| human::tell(&one.revive(), stream)).collect();
        return Ok(print_paged(&told.join("\n")));
    }
    match documents.as_slice() {
        [one] => write(one, &args.output, None),
        _ => Err("only one report can be converted at a time; `amb report merge` makes one of several".to_owned()),
    }
}

/// The last report that was kept.
///
/// # Errors
/// There is none, or it cannot be found. A sentence for people.
pub(super) fn last() -> Result<PathBuf, String> {
    let environment: Vec<_> = std::env::vars_os().collect();
    let found = Kept::of(&environment).and_then(|kept| kept.last());
    found.map_err(|reason| match reason.kind() {
        io::ErrorKind::NotFound => "no report was kept\nhint: `amb run --keep-reports 10` keeps them, and so does \
                                    `report.keep = 10` in amb.toml"
            .to_owned(),
        _ => format!("the last report cannot be found: {reason}"),
    })
}

/// Makes one report of several.
fn merged(args: &MergeArgs) -> Result<Exit, String> {
    let documents = all(&args.files)?;
    let old: Vec<_> = args
        .files
        .iter()
        .zip(&documents)
        .filter(|(_, one)| !one.is_mergeable())
        .collect();
    if !old.is_empty() {
        let lines = old.iter().map(|(file, one)| {
            let version = &one.schema_version;
            format!(
                "cannot merge {}: it has no histograms (schema {version})",
                file.display()
            )
        });
        return Err(lines.collect::<Vec<_>>().join("\n"));
    }
    let whole = Document::merged(&documents).ok_or("there is nothing to merge")?;
    write(&whole, &args.output, Some(ReportFormat::Json))
}

/// Compares two reports.
fn compared(args: &DiffArgs, stream: &Stream) -> Result<Exit, String> {
    let documents = all(&[args.before.clone(), args.after.clone()])?;
    let [before, after] = documents.as_slice() else {
        return Err("there are two reports to compare".to_owned());
    };
    let comparison = Comparison::of(before, after, &args.fail_on);
    let exit = if args.json {
        print(comparison.to_json())
    } else {
        print(comparison.tell(stream))
    };
    Ok(if comparison.holds() { exit } else { Exit::Negative })
}

/// Reads these reports.
///
/// # Errors
///
/// A line for each that cannot be read.
fn all(files: &[PathBuf]) -> Result<Vec<Document>, String> {
    let (mut documents, mut reasons) = (Vec::new(), Vec::new());
    for file in files {
        match read(file) {
            Ok(document) => documents.push(document),
            Err(reason) => reasons.push(format!("cannot read {}: {reason}", file.display())),
        }
    }
    if reasons.is_empty() {
        Ok(documents)
    } else {
        Err(reasons.join("\n"))
    }
}

/// Reads one report.
fn read(file: &Path) -> Result<Document, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(file).map(|all| bytes = all)
    };
    read.map_err(|reason| reason.to_string())?;
    Document::read(&bytes).map_err(|reason| reason.to_string())
}

/// Writes a report in the format that is asked for, or that the name of the output says.
fn write(document: &Document, output: &OutputArgs, usual: Option<ReportFormat>) -> Result<Exit, String> {
    let extension = output
        .output
        .as_deref()
        .and_then(Path::extension)
        .and_then(|extension| extension.to_str());
    let format = match (&output.format, extension, usual) {
        (Some(name), ..) => ReportFormat::named(name, &format!("`{name}` is no report format"))?,
        (None, Some(extension), _) => {
            ReportFormat::of_extension(extension, &format!("no report format has the extension .{extension}"))?
        }
        (None, None, Some(usual)) => usual,
        (None, None, None) => return Err("the output does not say its format: say --format json".to_owned()),
    };
    if format == ReportFormat::Har {
        let reason = "a JSON report has no requests one by one, of which HAR consists";
        return Err(format!("{reason}\nhint: `amb run --report calls.har` writes them"));
    }
    let none = Requests::default();
    match &output.output {
        None => Ok(print(format.render(document, &none))),
        Some(path) => {
            let target = ReportTarget {
                format,
                path: path.clone(),
            };
            let written = ReportFile::reserve(&target).and_then(|file| file.write(document, &none));
            written.map(|()| Exit::Done).map_err(|reason| reason.to_string())
        }
    }
}
