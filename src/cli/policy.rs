//! `amb policy`: its options, and who does the work.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};

use super::{
    Console,
    config::{LayerArgs, answer, shown},
    print,
    report::last,
    say,
};
use crate::{
    config::{
        cases,
        error::ConfigError,
        signature, suggest,
        trial::{self, Trial},
    },
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
    /// Write the list of what may be asked for, from reports of what was
    ///
    /// Each line of the list has its evidence beside it. A run without rules, or in audit mode, with --report report.json, gives
    /// what is needed; put what is written here into amb.toml, and read it before.
    Suggest(SuggestArgs),
    /// Check the signature of a policy, as minisign makes it
    ///
    /// It is looked for beside the file: policy.toml.minisig. To sign: minisign -S -m policy.toml
    Verify(VerifyArgs),
}

/// `amb policy verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// What was signed
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The public key of who signs, or the file that it is in
    #[arg(long, value_name = "KEY", value_hint = ValueHint::FilePath)]
    pub key: String,
    /// The signature, if it is in another file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub signature: Option<PathBuf>,
}

/// `amb policy suggest`.
#[derive(Debug, Args)]
pub struct SuggestArgs {
    /// JSON reports of runs
    #[arg(required_unless_present = "last", value_name = "REPORT", value_hint = ValueHint::FilePath)]
    pub reports: Vec<PathBuf>,
    /// The last report that was kept; see --keep-reports of `amb run`
    #[arg(long, conflicts_with = "reports")]
    pub last: bool,
    /// Take three names and more together that are below one owner's domain: *.example.com
    #[arg(long, visible_alias = "generalize")]
    pub generalise: bool,
}

/// `amb policy test`.
#[derive(Debug, Args)]
#[command(
    override_usage = "amb policy test [OPTIONS] [METHOD] <URL>\n       amb policy test [OPTIONS] CONNECT <HOST:PORT>\n       amb policy test [OPTIONS] --cases <FILE>"
)]
pub struct PolicyTestArgs {
    /// The method [default: GET], and the URL
    #[arg(required_unless_present = "cases", num_args = 1..=2, value_name = "URL", value_hint = ValueHint::Url)]
    pub request: Vec<String>,
    /// Try the requests of a file, and fail if one does not come out as it is expected to
    ///
    /// In a file of TOML, whose name ends in .toml, each is a table of the list case, in any other a line of JSON:
    /// request = "GET http://…" with expect = "allow", "deny" or "depends", with rule or with route. headers and address, to
    /// which the name leads, can be said of it as well.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["request", "headers"], value_hint = ValueHint::FilePath)]
    pub cases: Option<PathBuf>,
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
    match &args.action {
        PolicyAction::Test(test) => match &test.cases {
            Some(cases) => try_cases(test, cases, &args.console),
            None => shown(&test.layers, &args.console, |config, sources| {
                let trial = Trial::read(&test.request, &test.headers)?;
                Ok::<_, ConfigError>(trial::run(config, sources, &trial, test.json))
            }),
        },
        PolicyAction::Suggest(args) => {
            let reports = if args.last {
                last().map(|report| vec![report])
            } else {
                Ok(args.reports.clone())
            };
            answer(
                reports.and_then(|reports| {
                    suggest::suggest(&reports, args.generalise).map_err(|mistake| mistake.to_string())
                }),
            )
        }
        PolicyAction::Verify(args) => match signature::verify(&args.file, &args.key, args.signature.as_deref()) {
            Ok(text) => print(text),
            Err(reason) => {
                say(&reason);
                Exit::Negative
            }
        },
    }
}

/// Tries the cases of a file: 0 if all come out as they are expected to, else 1.
fn try_cases(test: &PolicyTestArgs, file: &Path, console: &Console) -> Exit {
    let mut all_well = true;
    let exit = shown(&test.layers, console, |config, sources| {
        let tried = cases::run(config, sources, file, test.json)?;
        all_well = tried.wrong == 0;
        Ok::<_, ConfigError>(tried.text)
    });
    if all_well { exit } else { Exit::Negative }
}
