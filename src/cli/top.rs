//! The arguments of `amb top`, which is in [`top`](mod@crate::top).

use clap::Args;

use super::Console;

/// `amb top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// The runs with this name, or the one with this id [default: all, the newest first]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}
