//! `amb config`, `amb init`, `amb trust`: their options, and who does the work.

use std::{fmt::Display, path::PathBuf};

use clap::{Args, Subcommand, ValueHint};

use super::{Console, print, print_paged, refuse_to_start, say};
use crate::{
    config::{
        self, Config, Request, Sources, central, check, explain, files, init, schema,
        show::{self, Wanted},
        trust,
    },
    exit::Exit,
    report,
};

/// Which layers there are, besides those that always are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct LayerArgs {
    /// Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(short, long = "profile", value_name = "NAME", value_delimiter = ',')]
    pub profiles: Vec<String>,
    /// Set any key, over all else: -s timeout.connect=2s; repeatable
    ///
    /// The value is TOML, or a text if it is not. `amb config show` lists the keys.
    #[arg(short, long = "set", value_name = "KEY=TOML")]
    pub set: Vec<String>,
    /// Ignore the user's and the project's file
    #[arg(long)]
    pub no_config: bool,
}

/// `amb config`.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Show what holds
    ///
    /// All values, built-in defaults included, as TOML. A single key shows its value alone. Secrets are never shown.
    Show(ShowArgs),
    /// Explain a key: what it is for, what every layer says, which of them wins
    Explain(ExplainArgs),
    /// Look for mistakes in all that would be read, or in these files
    Check(CheckArgs),
    /// Print the JSON Schema of amb.toml, for editors
    Schema(SchemaArgs),
    /// Say where files are looked for, and which are there
    Path(PathArgs),
}

/// `amb config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A key such as timeout.connect, or a table
    pub key: Option<String>,
    /// Say where each value comes from
    #[arg(long)]
    pub origin: bool,
    /// Leave out built-in defaults
    #[arg(long)]
    pub changed: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// `amb config explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A key such as timeout.connect, a table, or a variable
    pub key: String,
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// `amb config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Check only these files, each by itself
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// `amb config schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// That of the JSON report instead
    #[arg(long)]
    pub report: bool,
}

/// `amb config path`.
#[derive(Debug, Args)]
pub struct PathArgs {
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// `amb init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to [default: the working directory]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Do not write the schema, which editors complete and check amb.toml by
    #[arg(long)]
    pub no_schema: bool,
}

/// `amb trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The file [default: the one that is found from here]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Trust it no more
    #[arg(long, conflicts_with = "list")]
    pub remove: bool,
    /// List what is trusted
    #[arg(long, conflicts_with = "file")]
    pub list: bool,
}

impl LayerArgs {
    /// What is asked of [`config::load`], without flags and without a program, with the surroundings taken from this
    /// process.
    pub fn request(&self) -> Request {
        Request {
            overrides: self.set.clone(),
            profiles: self.profiles.clone(),
            file: self.config.clone(),
            no_config: self.no_config,
            system_file: Some(files::SYSTEM_FILE.into()),
            policy_directory: Some(central::directory()),
            // Where there is no working directory any more, there is no file in it either.
            directory: std::env::current_dir().unwrap_or_default(),
            environment: std::env::vars_os().collect(),
            ..Request::default()
        }
    }
}

/// Does what `amb config` is for.
pub fn run(args: &ConfigArgs) -> Exit {
    let console = &args.console;
    match &args.action {
        ConfigAction::Show(args) => shown(&args.layers, console, |_, sources| {
            let wanted = Wanted {
                key: args.key.as_deref(),
                origin: args.origin,
                changed: args.changed,
                json: args.json,
            };
            show::show(sources, wanted)
        }),
        ConfigAction::Explain(args) => shown(&args.layers, console, |_, sources| explain::explain(sources, &args.key)),
        ConfigAction::Check(args) => {
            let checked = check::check(&args.layers.request(), &args.files);
            warn(console, &checked.warnings);
            let exit = print(&checked.sound);
            if checked.mistakes.is_empty() {
                return exit;
            }
            checked.mistakes.iter().for_each(|mistake| say(mistake));
            Exit::Failed
        }
        ConfigAction::Schema(args) => {
            let schema = if args.report {
                report::document::schema()
            } else {
                schema::document()
            };
            print(format!("{schema:#}\n"))
        }
        ConfigAction::Path(args) => print(show::paths(&args.layers.request())),
    }
}

/// Prints what is to be said about what these layers amount to.
pub(super) fn shown<E: Display>(
    layers: &LayerArgs,
    console: &Console,
    text: impl FnOnce(&Config, &Sources) -> Result<String, E>,
) -> Exit {
    match config::inspect(&layers.request()) {
        Ok((config, sources)) => {
            warn(console, &sources.warnings);
            answer(text(&config, &sources))
        }
        Err(mistakes) => refuse_to_start(&mistakes),
    }
}

/// Prints an answer, or says why there is none.
pub(super) fn answer<E: Display>(text: Result<String, E>) -> Exit {
    match text {
        Ok(text) => print_paged(&text),
        Err(mistake) => refuse_to_start(&mistake),
    }
}

/// Says warnings, unless they are not wanted.
pub fn warn(console: &Console, warnings: &[impl Display]) {
    for warning in warnings.iter().filter(|_| !console.quiet) {
        say(&format_args!("warning: {warning}"));
    }
}

/// Does what `amb init` is for.
pub fn init(args: &InitArgs) -> Exit {
    match init::init(&args.directory.clone().unwrap_or_default(), !args.no_schema) {
        Ok(written) => {
            let lines: Vec<String> = written.iter().map(|path| format!("{}\n", path.display())).collect();
            print(lines.concat())
        }
        Err(reason) => {
            say(&reason);
            Exit::Negative
        }
    }
}

/// Does what `amb trust` is for.
pub fn trust(args: &TrustArgs) -> Exit {
    let request = LayerArgs::default().request();
    let file = args.file.as_deref();
    answer(match (args.list, args.remove) {
        (true, _) => trust::list(&request),
        (false, true) => trust::revoke(&request, file),
        (false, false) => trust::grant(&request, file),
    })
}
