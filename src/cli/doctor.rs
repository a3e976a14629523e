//! `amb doctor`: its options. The work is done in [`doctor`](crate::doctor).

use clap::Args;

use super::Console;
use crate::units::Period;

/// `amb doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Try only these programs [default: all that are installed]
    #[arg(value_name = "PROGRAM")]
    pub programs: Vec<String>,
    /// How long each may take
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub time_limit: Period,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}
