//! `amb policy`: its options, and who does the work.

use clap::{Args, Subcommand, ValueHint};

use super::{
    Console,
    config::{LayerArgs, shown},
};
use crate::{
    config::trial::{self, Trial},
    exit::Exit,
};

/// `amb policy`.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: PolicyAction,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyAction {
    /// Say what would hold for a request: by which route it would go, and which values apply
    ///
    /// Nothing is sent. Routes are told in their order up to the first that fits, with the reason why those before it do
    /// not. Of an https URL amb sees a tunnel, as it would when it carries it, unless it decrypts that host.
    Test(PolicyTestArgs),
}

/// `amb policy test`.
#[derive(Debug, Args)]
#[command(
    override_usage = "amb policy test [OPTIONS] [METHOD] <URL>\n       amb policy test [OPTIONS] CONNECT <HOST:PORT>"
)]
pub struct PolicyTestArgs {
    /// The method [default: GET], and the URL
    #[arg(required = true, num_args = 1..=2, value_name = "URL", value_hint = ValueHint::Url)]
    pub request: Vec<String>,
    /// A header field that it has; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// Does what `amb policy` is for.
pub fn run(args: &PolicyArgs) -> Exit {
    let PolicyAction::Test(test) = &args.action;
    shown(&test.layers, &args.console, |config, sources| {
        let trial = Trial::read(&test.request, &test.headers)?;
        Ok::<_, crate::config::error::ConfigError>(trial::run(config, sources, &trial, test.json))
    })
}
