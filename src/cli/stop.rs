//! `amb stop`: ends an `amb serve`.

use std::{env, time::Duration};

use clap::Args;

use super::{Console, print, say, status::is_called};
use crate::{
    exit::Exit,
    inject,
    monitor::{
        Kind,
        client::{Client, Found},
    },
};

/// How long an amb may take to end: a drain, and the reports.
const PATIENCE: Duration = Duration::from_secs(10);

/// `amb stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The name or the id of an amb serve [default: the one that this environment is led to, or the only one]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "run")]
    pub all: bool,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// Ends them, and waits until they are gone. The status is 1 if there is nothing to end, or one does not.
pub fn run(args: &StopArgs) -> Exit {
    let ended = Client::new(|name| env::var_os(name))
        .map_err(|reason| format!("cannot ask: {reason}"))
        .and_then(|client| Ok((chosen(args, client.runs())?, client)));
    let (chosen, client) = match ended {
        Ok(chosen) => chosen,
        Err(reason) => {
            say(&reason);
            return Exit::Negative;
        }
    };
    let mut exit = Exit::Done;
    for found in chosen {
        let name = format!("{} ({})", found.status.name.escape_debug(), found.status.id);
        match client.stop(&found.socket, PATIENCE) {
            Ok(true) if args.console.quiet => {}
            Ok(true) => {
                print(format!("stopped {name}\n"));
            }
            Ok(false) => {
                say(&format_args!("{name} was told to end, and has not within {PATIENCE:?}"));
                exit = Exit::Negative;
            }
            Err(reason) => {
                say(&format_args!("{name}: {reason}"));
                exit = Exit::Negative;
            }
        }
    }
    exit
}

/// Which of `runs` to end.
///
/// # Errors
/// A line about why none.
fn chosen(args: &StopArgs, runs: Vec<Found>) -> Result<Vec<Found>, String> {
    let found: Vec<Found> = runs
        .into_iter()
        .filter(|found| match &args.run {
            Some(run) => is_called(&found.status, run),
            None => found.status.kind == Kind::Serve,
        })
        .collect();
    if found.is_empty() {
        return Err(match &args.run {
            Some(run) => format!("no run of yours is called `{run}`, or has this id"),
            None => "no amb serve of yours is there".to_owned(),
        });
    }
    if args.all || found.len() == 1 {
        return Ok(found);
    }
    let led_to = env::var(inject::RUN_ID).ok().filter(|_| args.run.is_none());
    if let Some(led_to) = led_to
        && let Some(one) = found.iter().find(|found| found.status.id == led_to)
    {
        return Ok(vec![one.clone()]);
    }
    let names: Vec<_> = found
        .iter()
        .map(|found| format!("{} ({})", found.status.name.escape_debug(), found.status.id))
        .collect();
    Err(format!(
        "there are {}: {}\nhint: name one by its id, or use --all",
        found.len(),
        names.join(", ")
    ))
}
