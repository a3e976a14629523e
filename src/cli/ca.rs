//! `amb ca`: its options. The work is done in [`ca`](crate::ca), which knows how certificates are made.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{Console, config::LayerArgs};

/// `amb ca`.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct CaArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: CaAction,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// What can be done with an authority.
#[derive(Debug, Subcommand)]
pub enum CaAction {
    /// Make one that is kept: ca.pem, and ca.key for you alone
    ///
    /// A run that decrypts HTTPS makes an authority of its own, which nobody can steal. Keep one only where programs cannot be
    /// told of a new one each time, and guard its key: whoever has it can pretend to be any server to all who trust it.
    Create(CaCreateArgs),
    /// Show the one that is configured: whose it is, its fingerprint, how long it is valid, and what is wrong with it
    Show(CaPlaceArgs),
    /// Say where the one that is configured is: its certificate, then its key
    Path(CaPlaceArgs),
}

/// `amb ca create`.
#[derive(Debug, Args)]
pub struct CaCreateArgs {
    /// Where to [default: amb in $XDG_DATA_HOME, else ~/.local/share/amb]
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// What it is called
    #[arg(long, value_name = "NAME", default_value = "amb certificate authority")]
    pub name: String,
    /// How many days it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=7300))]
    pub days: u16,
    /// Confine it to this host and those below it; repeatable [default: any host]
    #[arg(long = "host", value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub hosts: Vec<String>,
    /// Replace the one that is there
    #[arg(long)]
    pub force: bool,
}

/// `amb ca show` and `amb ca path`.
#[derive(Debug, Args)]
pub struct CaPlaceArgs {
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
}
