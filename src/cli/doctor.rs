//! `amb doctor`: its options. The work is done in [`doctor`](crate::doctor).

use std::ffi::OsString;

use clap::{Args, ValueHint};

use super::{Console, config::LayerArgs};
use crate::units::Period;

/// `amb doctor`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
#[command(
    override_usage = "amb doctor [OPTIONS] [PROGRAM]...\n       amb doctor [OPTIONS] --run -- <COMMAND> [ARGS]..."
)]
pub struct DoctorArgs {
    /// Try only these programs [default: all that are installed]
    #[arg(value_name = "PROGRAM", conflicts_with = "run")]
    pub programs: Vec<String>,
    /// Run a command once, as `amb run` does, and list what goes around amb meanwhile
    ///
    /// The sockets of the command and of all that it starts are looked at again and again. Each that leads elsewhere than to
    /// amb is told, with its process, where it leads, why, and what would help. The exit status is 1 if there is one that
    /// NO_PROXY does not except.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(long, requires = "command")]
    pub run: bool,
    /// The command of --run
    #[arg(
        last = true,
        num_args = 1..,
        value_name = "COMMAND",
        requires = "run",
        value_hint = ValueHint::CommandWithArguments
    )]
    pub command: Vec<OsString>,
    /// Try no programs: only what takes no time
    #[arg(long, conflicts_with_all = ["programs", "run"])]
    pub quick: bool,
    /// How long each program may take
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub time_limit: Period,
    /// As JSON; with --run, what the command says on stdout goes to stderr
    #[arg(long)]
    pub json: bool,
    /// Print the JSON Schema of --json
    #[arg(long, conflicts_with_all = ["programs", "run", "quick", "json"])]
    pub schema: bool,
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}
