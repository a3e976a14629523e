//! How amb speaks: its options, and its own lines.

use std::{
    fmt::Display,
    io::{self, Write},
};

use clap::Args;

use crate::{exit::Exit, report::color::When};

/// How amb speaks: options of every subcommand.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Console {
    /// Say less: no summary and no warnings; errors stay
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more of what amb does; -vv for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: When,
}

/// Says why amb does not start.
pub fn refuse_to_start(reason: &dyn Display) -> Exit {
    say(reason);
    Exit::Failed
}

/// Writes lines of amb's own to stderr, each with `amb: ` in front.
///
/// Never fails and never panics: if stderr is closed, there is nobody left to tell. One write for all of it, so that
/// the child's lines do not come in between.
pub fn say(text: &dyn Display) {
    let mut lines = String::new();
    for line in text.to_string().lines() {
        lines.extend(["amb: ", line, "\n"]);
    }
    if io::stderr().lock().write_all(lines.as_bytes()).is_err() {
        // Nobody left to tell.
    }
}

/// Writes what was asked for to stdout, which is nobody else's in subcommands other than `run`.
pub fn print(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        // A reader that has gone away wants no more of it.
        Err(_) => Exit::Negative,
    }
}
