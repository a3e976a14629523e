//! `amb env`: the variables by which a process uses an amb that runs already.

use std::{env, ffi::OsString};

use clap::Args;

use super::{
    Console, print, say,
    status::is_called,
    variables::{self, Shell},
};
use crate::{
    exit::Exit,
    monitor::{
        Kind, Offer,
        client::{Client, Found},
    },
};

/// `amb env`.
#[derive(Debug, Args)]
pub struct EnvArgs {
    /// The name or the id of a run [default: the newest amb serve]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// For whom to print them [default: by the variable SHELL]
    #[arg(long, value_name = "SHELL", value_enum)]
    pub shell: Option<Shell>,
    /// Take it back: print what makes the environment what it was before amb env
    #[arg(long, conflicts_with = "run")]
    pub unset: bool,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// Prints the variables; the status is 1 if there is nothing to print.
pub fn run(args: &EnvArgs) -> Exit {
    let own: Vec<(OsString, OsString)> = env::vars_os().collect();
    let caller = variables::own(&own);
    let shell = args.shell.unwrap_or_else(Shell::guess);
    if args.unset {
        let back = variables::leaving(&caller);
        if back.is_empty() {
            say(&"amb env has changed nothing in this environment");
            return Exit::Negative;
        }
        return print(variables::write(shell, &back));
    }
    match offered(args.run.as_deref()) {
        Ok((found, offer)) => {
            let entered = variables::entering(&caller, |base| offer.changes(&found.status.id, base));
            print(variables::write(shell, &entered))
        }
        Err(reason) => {
            say(&reason);
            Exit::Negative
        }
    }
}

/// The run that is meant, and what it offers.
///
/// # Errors
/// A line about why there is none.
fn offered(run: Option<&str>) -> Result<(Found, Offer), String> {
    let client = Client::new(|name| env::var_os(name)).map_err(|reason| format!("cannot ask: {reason}"))?;
    let meant = |found: &Found| match run {
        Some(run) => is_called(&found.status, run),
        None => found.status.kind == Kind::Serve,
    };
    // The newest is the last.
    let found = client.runs().into_iter().rfind(meant).ok_or_else(|| match run {
        Some(run) => format!("no run of yours is called `{run}`, or has this id"),
        None => "no amb serve of yours is there\nhint: amb serve --detach starts one".to_owned(),
    })?;
    match client.get(&found.socket, "/v1/environment") {
        Ok(offer) => Ok((found, offer)),
        Err(reason) => Err(format!("{}: {reason}", found.status.name.escape_debug())),
    }
}
