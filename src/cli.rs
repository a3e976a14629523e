//! The command line: subcommands, flags, help, and how amb's own lines are written.
//!
//! Everything behind the command's name belongs to the command and is kept byte for byte. amb's options stop at the
//! first word that is none: `trailing_var_arg` without `allow_hyphen_values`, so that a mistyped flag is an error and
//! not the name of a command.

pub mod ca;
pub mod complete;
pub mod config;
mod console;
pub mod doctor;
pub mod env;
pub mod generate;
pub mod help;
#[cfg(feature = "keyring")]
pub mod keyring;
pub mod policy;
pub mod report;
pub mod serve;
pub mod status;
pub mod stop;
pub mod top;
pub mod variables;

use std::ffi::{OsStr, OsString};

use clap::{
    Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint,
    builder::{Styles, styling::AnsiColor},
    error::ErrorKind,
};

use self::config::{ConfigArgs, InitArgs, LayerArgs, TrustArgs};
pub use self::console::{Console, print, print_paged, refuse_to_start, say};
use crate::{
    config::{Options, Request},
    exit::Exit,
};

/// The palette of cargo's help.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default())
    .error(AnsiColor::Red.on_default().bold())
    .valid(AnsiColor::Cyan.on_default().bold())
    .invalid(AnsiColor::Yellow.on_default().bold());

/// Examples before usage before options.
const HELP_TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// Three ways to begin.
const EXAMPLES: &str = "\
Examples:
  amb run -- ./legacy-app --port 8080        watch what it calls
  amb run --report report.json -- ./smoke.sh keep what it called
  amb demo                                   see it at work
";

/// What `amb run` is mostly used for.
const RUN_EXAMPLES: &str = "\
Examples:
  amb run -- ./legacy-app --port 8080
  amb run --connect-timeout 2s -- ./legacy-app
  amb run --access-log calls.ndjson --report report.json -- ./smoke.sh
  amb run --assert 'requests.failed == 0' -- ./smoke.sh
  amb run --connect-to api.example.com:80:localhost:8080 -- ./app
";

/// What `amb shell` is mostly used for.
const SHELL_EXAMPLES: &str = "\
Examples:
  amb shell
  amb shell --intercept=api.example.com
  amb shell --name staging --profile staging -- zsh
";

/// What its exit status says.
const SHELL_EXIT_STATUS: &str = "\
Exit status: the shell's own; else as with amb run.";

/// What the exit status says.
const RUN_EXIT_STATUS: &str = "\
Exit status: the command's own, and its signal if it died of one;
99 an assertion failed; 124 --run-timeout; 125 amb could not start; 126 not executable; 127 not found.";

/// What a report of a fault should say about the program; the commit if whoever built it said which.
fn long_version() -> String {
    format!(
        "{}\ncommit: {}\nplatform: {} {}\nconfiguration: version {}\nreport: schema {}",
        env!("CARGO_PKG_VERSION"),
        option_env!("AMB_BUILD_COMMIT").unwrap_or("unknown"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        crate::config::KNOWN_VERSION,
        crate::report::document::SCHEMA_VERSION,
    )
}

/// Give one process an ambassador: a local proxy for its outbound traffic.
#[derive(Debug, Parser)]
#[command(
    name = "amb",
    version,
    long_version = long_version(),
    styles = STYLES,
    max_term_width = 100,
    help_template = HELP_TEMPLATE,
    before_help = EXAMPLES,
    after_help = "Nothing amb does outlives the command.",
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    infer_subcommands = false
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How amb speaks.
    #[command(flatten)]
    pub console: Console,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command behind a proxy of its own
    ///
    /// amb starts a proxy on a free local port, points the command at it (HTTP_PROXY and friends), applies your policies
    /// to what it sends, and ends as the command ends: same exit status, same signals. The command's stdin, stdout and
    /// stderr are its own; amb speaks on stderr, before and after.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    Run(Box<RunArgs>),
    /// Open a shell behind a proxy of its own
    ///
    /// The shell of the variable SHELL, else the one you log in with, interactive. It says on entry what is on, and
    /// when you leave it what came through. All else is as with amb run, whose options it takes.
    Shell(Box<ShellArgs>),
    /// Run the proxy alone, for every process that is led to it
    ///
    /// amb env prints the variables that lead there, amb stop ends it, and so do SIGTERM, SIGINT and SIGHUP. The options are
    /// those of amb run but for what is about a command; what the files say of that is left aside.
    Serve(Box<serve::ServeArgs>),
    /// Print the variables a process needs to use an amb that runs
    ///
    /// For eval \"$(amb env)\", or amb env | source in fish. What they replace is kept in AMB_ENV_BEFORE, by which --unset
    /// takes them back.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    Env(env::EnvArgs),
    /// End an amb serve, and wait until it is gone
    Stop(stop::StopArgs),
    /// Show what amb does, with a server and a client of its own
    #[command(help_template = HELP_TEMPLATE)]
    Demo(DemoArgs),
    /// Write a first amb.toml
    Init(InitArgs),
    /// Show, explain and check the configuration
    Config(ConfigArgs),
    /// Try out what holds for a request, and write rules from reports
    Policy(policy::PolicyArgs),
    /// Show, convert, merge or compare reports of runs
    ///
    /// A JSON report (`amb run --report report.json`) is shown as the run told of it, or written in another format. Several
    /// make one, and two can be compared.
    Report(report::ReportArgs),
    /// Show what runs under amb, a line each
    ///
    /// The runs of the same user. The exit status is 1 if there is none.
    Status(status::StatusArgs),
    /// Watch a run on the terminal while it goes on
    ///
    /// Its hosts, rates, open requests, circuits and last failures, of the runs of the same user; Tab goes from one to the next.
    /// What amb status tells is there for programs.
    Top(top::TopArgs),
    /// Create or show a certificate authority that is kept
    Ca(ca::CaArgs),
    /// Find out why it does not work, and what goes around amb
    ///
    /// The configuration, the network, the kernel and all else that amb needs are looked at, each with what helps; the programs
    /// of this machine are tried, each in a run of its own against a server of amb's own. With --run a command is run once, and
    /// what goes around amb is listed. Nothing is written to the home directory. The exit status is 1 if something is wrong.
    Doctor(doctor::DoctorArgs),
    /// Trust this project's amb.toml
    ///
    /// A file that comes with a checkout is not allowed to send requests elsewhere, or to write files outside the
    /// directory, before somebody has looked at it. This says that somebody has: as long as the file stays as it is,
    /// amb asks no more. In CI, where the checkout is your own, set AMB_TRUST=1.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    Trust(TrustArgs),
    /// Write what makes a shell complete amb's words and those of the wrapped command
    ///
    /// bash: source <(amb completions bash), or amb.bash in ~/.local/share/bash-completion/completions/;
    /// zsh: _amb in a directory of $fpath; fish: amb.fish in ~/.config/fish/completions/.
    Completions(complete::CompletionsArgs),
    /// Help on a subcommand or a topic: exit-codes, env, config, secrets, resilience, routes, changes, assertions, filters, differences
    Help(help::HelpArgs),
    /// Answer a shell's question
    #[command(hide = true)]
    Complete(complete::CompleteArgs),
    /// Be the program of the demo
    #[command(hide = true)]
    DemoProgram,
    /// Let connect what a run with --capture has left behind
    #[command(hide = true)]
    KeepConnecting,
    /// Print a secret that the desktop's keyring holds, for the run that has asked
    #[cfg(feature = "keyring")]
    #[command(hide = true)]
    Keyring(keyring::KeyringArgs),
    /// Write the man pages or the completion scripts
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// `amb run`: its flags, and the command.
#[derive(Debug, Default, Args)]
#[command(
    help_template = HELP_TEMPLATE,
    before_help = RUN_EXAMPLES,
    after_help = RUN_EXIT_STATUS,
    args_override_self = true,
    override_usage = "amb run [OPTIONS] [--] <COMMAND> [ARGS]..."
)]
pub struct RunArgs {
    /// Everything from here on belongs to the command
    #[arg(
        trailing_var_arg = true,
        required = true,
        num_args = 1..,
        value_name = "COMMAND",
        value_hint = ValueHint::CommandWithArguments
    )]
    pub command: Vec<OsString>,
    /// Show what would be done; start nothing
    #[arg(short = 'n', long, help_heading = "Configuration")]
    pub dry_run: bool,
    /// What amb is to be.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Whether it is `amb shell`.
    #[arg(skip)]
    pub is_shell: bool,
    /// How amb speaks; the same as in [`Cli`].
    #[arg(skip)]
    pub console: Console,
}

/// What amb is to be, whatever it is for.
#[derive(Debug, Default, Args)]
pub struct SetupArgs {
    /// Which layers there are.
    #[command(flatten)]
    pub layers: LayerArgs,
    /// Lift what the central policy enforces, if it lets a group of yours; say why
    ///
    /// The run is ended when the time is over that the policy gives. The system's log, the report and the summary tell of it.
    #[arg(long, value_name = "REASON", help_heading = "Configuration")]
    pub break_glass: Option<String>,
    /// Everything that can also be configured.
    #[command(flatten)]
    pub options: Options,
    /// Whether there is no flag at all.
    #[arg(skip)]
    pub is_bare: bool,
}

/// `amb shell`: the flags of `amb run`, and the shell.
#[derive(Debug, Args)]
#[command(
    help_template = HELP_TEMPLATE,
    before_help = SHELL_EXAMPLES,
    after_help = SHELL_EXIT_STATUS,
    args_override_self = true,
    override_usage = "amb shell [OPTIONS] [-- <SHELL> [ARGS]...]"
)]
pub struct ShellArgs {
    /// Another shell, with its arguments as they stand here [default: that of the variable SHELL with -i]
    #[arg(trailing_var_arg = true, num_args = 1.., value_name = "SHELL", value_hint = ValueHint::CommandWithArguments)]
    pub shell: Vec<OsString>,
    /// Show what would be done; start nothing
    #[arg(short = 'n', long, help_heading = "Configuration")]
    pub dry_run: bool,
    /// What amb is to be.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// How amb speaks; the same as in [`Cli`].
    #[arg(skip)]
    pub console: Console,
}

/// `amb demo` has no options of its own.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How amb speaks; the same as in [`Cli`].
    #[arg(skip)]
    pub console: Console,
}

impl SetupArgs {
    /// What is asked of [`load`](crate::config::load), with the surroundings taken from this process.
    fn request(&self) -> Request {
        let mut request = self.layers.request();
        request.flags = (!self.is_bare).then(|| {
            let mut flags = self.options.clone();
            flags.run = flags.run.settle();
            flags.tls = flags.tls.settle();
            flags.circuit_breaker = flags.circuit_breaker.settle();
            Box::new(flags)
        });
        request.break_glass.clone_from(&self.break_glass);
        request
    }
}

impl RunArgs {
    /// What is asked of [`load`](crate::config::load), with the surroundings taken from this process.
    pub fn request(&self) -> Request {
        Request {
            program: self.command.first().cloned().unwrap_or_default(),
            ..self.setup.request()
        }
    }
}

impl ShellArgs {
    /// The same as `amb run` has it; `of_user` finds the shell, if none is named, by amb's environment.
    pub fn command(self, of_user: impl FnOnce(&[(OsString, OsString)]) -> Vec<OsString>) -> RunArgs {
        let command = if self.shell.is_empty() {
            of_user(&std::env::vars_os().collect::<Vec<_>>())
        } else {
            self.shell
        };
        RunArgs {
            command,
            dry_run: self.dry_run,
            setup: self.setup,
            is_shell: true,
            console: self.console,
        }
    }
}

/// Reads the arguments, the first of which is amb's own name.
///
/// # Errors
///
/// With help or the version on stdout, and with a mistake on stderr, all is said already: the exit status is what
/// remains.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(cli) = parse_run(&arguments) {
        return Ok(cli);
    }
    let read = command()
        .color(color(&arguments))
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match read {
        Ok(mut cli) => {
            if let Command::Serve(args) = &cli.command
                && let Some(flag) = args.misplaced()
            {
                say(&format_args!("{flag} is about a command, and amb serve has none"));
                return Err(Exit::Failed);
            }
            match &mut cli.command {
                Command::Shell(args) => args.console = cli.console.clone(),
                Command::Serve(args) => args.console = cli.console.clone(),
                Command::Env(args) => args.console = cli.console.clone(),
                Command::Stop(args) => args.console = cli.console.clone(),
                Command::Run(args) => args.console = cli.console.clone(),
                Command::Config(args) => args.console = cli.console.clone(),
                Command::Policy(args) => args.console = cli.console.clone(),
                Command::Report(args) => args.console = cli.console.clone(),
                Command::Status(args) => args.console = cli.console.clone(),
                Command::Top(args) => args.console = cli.console.clone(),
                Command::Ca(args) => args.console = cli.console.clone(),
                Command::Doctor(args) => args.console = cli.console.clone(),
                Command::Demo(args) => args.console = cli.console.clone(),
                _ => {}
            }
            Ok(cli)
        }
        Err(error) => Err(refuse(&error, &arguments)),
    }
}

/// [`Cli`] without the other subcommands: to make all of them takes longer than everything else that a start does.
#[derive(Debug, Parser)]
#[command(name = "amb", infer_subcommands = false, disable_help_subcommand = true)]
struct RunCli {
    /// What to do.
    #[command(subcommand)]
    command: RunCommand,
    /// How amb speaks.
    #[command(flatten)]
    console: Console,
}

/// The one subcommand that something waits for.
#[derive(Debug, Subcommand)]
enum RunCommand {
    /// As in [`Command`].
    Run(Box<RunArgs>),
}

/// `amb run` without a mistake; none for everything else, help included, which is for those to say who know all subcommands.
fn parse_run(arguments: &[OsString]) -> Option<Cli> {
    if let Some(command) = bare_run(arguments) {
        let args = RunArgs {
            command: command.to_vec(),
            setup: SetupArgs {
                is_bare: true,
                ..SetupArgs::default()
            },
            ..RunArgs::default()
        };
        return Some(Cli {
            command: Command::Run(Box::new(args)),
            console: Console::default(),
        });
    }
    if !names_run(arguments) {
        return None;
    }
    let RunCli { command, console } = RunCli::try_parse_from(arguments).ok()?;
    let RunCommand::Run(mut args) = command;
    args.console = console.clone();
    Some(Cli {
        command: Command::Run(args),
        console,
    })
}

/// The command of an `amb run` without options, as most are that run in production. There is nothing in it for clap to read, and
/// to tell clap of all options would be a fifth of what a start does.
fn bare_run(arguments: &[OsString]) -> Option<&[OsString]> {
    let (subcommand, rest) = arguments.get(1..)?.split_first()?;
    let (first, behind) = rest.split_first()?;
    let command = match first.as_encoded_bytes() {
        b"--" => behind,
        [b'-', ..] => return None,
        _ => rest,
    };
    (subcommand == "run" && !command.is_empty()).then_some(command)
}

/// How clap may colour its help, by `--color` among arguments that it has not read yet. By itself it knows all variables
/// but `FORCE_COLOR`.
fn color(arguments: &[OsString]) -> ColorChoice {
    let mut said = None;
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        said = match argument.to_str() {
            Some("--color") => arguments.next().and_then(|when| when.to_str()),
            Some(argument) => argument.strip_prefix("--color=").or(said),
            None => said,
        };
    }
    let forced = std::env::var_os("FORCE_COLOR").is_some_and(|value| !value.is_empty() && value != "0");
    match said {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ if forced && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) => ColorChoice::Always,
        _ => ColorChoice::Auto,
    }
}

/// The whole command line, as clap knows it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Says what clap found; the exit status.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone away wants no more of it.
            return if error.print().is_ok() {
                Exit::Done
            } else {
                Exit::Negative
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            if error.print().is_err() {
                return Exit::Negative;
            }
        }
        ErrorKind::InvalidSubcommand => say(&unknown_subcommand(arguments)),
        ErrorKind::MissingRequiredArgument if names_run(arguments) => {
            say(&"there is no command to run\nusage: amb run [OPTIONS] [--] <COMMAND> [ARGS]...");
        }
        _ => say(&usage_error(&error.render().to_string())),
    }
    let starts = ["run", "shell", "serve"].map(OsStr::new);
    if subcommand(arguments).is_some_and(|subcommand| starts.contains(&subcommand)) {
        Exit::Failed
    } else {
        Exit::Usage
    }
}

/// Whether the subcommand is `run`, as far as can be told from arguments that clap refused.
fn names_run(arguments: &[OsString]) -> bool {
    subcommand(arguments) == Some(OsStr::new("run"))
}

/// The first argument that is no option of amb's own.
fn subcommand(arguments: &[OsString]) -> Option<&OsStr> {
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--color" {
            arguments.next();
        } else if !argument.as_encoded_bytes().starts_with(b"-") {
            return Some(argument);
        }
    }
    None
}

/// What to say of `amb foo`, which most probably wants to run `foo`.
fn unknown_subcommand(arguments: &[OsString]) -> String {
    let word = subcommand(arguments).unwrap_or_default().to_string_lossy();
    // clap proposes too little: `rnu` is not like `run` to it.
    let similar = command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .find(|name| strsim::damerau_levenshtein(name, &word) == 1);
    let or = similar.map_or_else(String::new, |name| format!(", or `amb {name}`"));
    format!("there is no subcommand `{word}`\nhint: did you mean `amb run -- {word}`{or}?")
}

/// clap's message as lines of amb's own: the mistake on the first, hints and usage below.
fn usage_error(message: &str) -> String {
    let mut said = String::new();
    for line in message.lines().filter(|line| !line.trim().is_empty()) {
        let words = line.trim();
        if let Some(mistake) = words.strip_prefix("error: ") {
            said.push_str(mistake);
        } else if let Some(tip) = words.strip_prefix("tip: ") {
            said.push_str("\nhint: ");
            said.push_str(tip);
        } else if let Some(usage) = words.strip_prefix("Usage: ") {
            said.push_str("\nusage: ");
            said.push_str(usage);
        } else if !words.starts_with("For more information") {
            said.push(' ');
            said.push_str(words);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `amb` makes of these arguments.
    fn parsed(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        Cli::from_arg_matches(&matches)
    }

    /// The command that `amb run` would start.
    #[track_caller]
    fn wrapped(arguments: &[&str]) -> Vec<OsString> {
        match parsed(arguments).unwrap().command {
            Command::Run(args) => args.command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_fault_with_the_definition() {
        command().debug_assert();
    }

    #[test]
    fn a_run_without_options_is_what_clap_would_make_of_it() {
        for bare in [
            &["amb", "run", "ls"][..],
            &["amb", "run", "--", "ls", "-la", "--quiet"],
            &["amb", "run", "ls", "--", "-x"],
            &["amb", "run", "--", "--weird", "-n"],
            &["amb", "run", "--", "--"],
            &["amb", "run", "", "x"],
        ] {
            let arguments: Vec<OsString> = bare.iter().map(OsString::from).collect();
            assert!(bare_run(&arguments).is_some(), "{bare:?}");
            let by_clap = format!("{:?}", parsed(bare).unwrap());
            let by_hand = format!("{:?}", parse(arguments).unwrap());
            // All that it says besides is that there is no flag.
            assert_eq!(by_hand.replace("is_bare: true", "is_bare: false"), by_clap, "{bare:?}");
            assert!(by_hand.contains("is_bare: true"), "{by_hand}");
        }
        for other in [
            &["amb", "run"][..],
            &["amb", "run", "--"],
            &["amb", "run", "-q", "ls"],
            &["amb", "run", "-", "ls"],
            &["amb", "-q", "run", "ls"],
            &["amb", "shell", "ls"],
        ] {
            let arguments: Vec<OsString> = other.iter().map(OsString::from).collect();
            assert!(bare_run(&arguments).is_none(), "{other:?}");
        }
    }

    #[test]
    fn everything_behind_the_command_belongs_to_it() {
        assert_eq!(wrapped(&["amb", "run", "ls", "-la", "--help"]), ["ls", "-la", "--help"]);
        assert_eq!(wrapped(&["amb", "run", "ls", "--", "-x"]), ["ls", "--", "-x"]);
        assert_eq!(wrapped(&["amb", "run", "--", "--weird", "-n"]), ["--weird", "-n"]);
        assert_eq!(wrapped(&["amb", "run", "--name", "x", "--", "a", ""]), ["a", ""]);
        assert_eq!(wrapped(&["amb", "run", "a", "run", "-q"]), ["a", "run", "-q"]);
    }

    #[cfg(unix)]
    #[test]
    fn arguments_need_not_be_utf_8() {
        use std::os::unix::ffi::OsStringExt;

        let odd = OsString::from_vec(vec![b'x', 0xff]);
        let cli = parse(["amb".into(), "run".into(), "--".into(), odd.clone(), odd.clone()]).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("{cli:?}");
        };
        assert_eq!(args.command, [odd.clone(), odd]);
    }

    #[test]
    fn a_mistyped_flag_is_an_error_and_not_a_command() {
        let error = parsed(&["amb", "run", "--connect-timout", "5s", "ls"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
        let said = usage_error(&error.render().to_string());
        assert!(
            said.contains("hint: a similar argument exists: '--connect-timeout'"),
            "{said}"
        );
    }

    #[test]
    fn a_switch_and_its_opposite_can_follow_each_other() {
        for (arguments, expected) in [
            (vec![], None),
            (vec!["--proxy-loopback"], Some(true)),
            (vec!["--no-proxy-loopback"], Some(false)),
            (vec!["--proxy-loopback", "--no-proxy-loopback"], Some(false)),
            (vec!["--no-proxy-loopback", "--proxy-loopback"], Some(true)),
        ] {
            let words = [&["amb", "run"], arguments.as_slice(), &["x"]].concat();
            let Command::Run(args) = parsed(&words).unwrap().command else {
                panic!("{words:?}");
            };
            assert_eq!(args.request().flags.unwrap().run.proxy_loopback, expected, "{words:?}");
        }
        for (arguments, expected) in [
            (vec!["--circuit-breaker"], Some(true)),
            (vec!["--circuit-breaker", "--no-circuit-breaker"], Some(false)),
            (vec!["--no-circuit-breaker", "--circuit-breaker"], Some(true)),
        ] {
            let words = [&["amb", "run"], arguments.as_slice(), &["x"]].concat();
            let Command::Run(args) = parsed(&words).unwrap().command else {
                panic!("{words:?}");
            };
            assert_eq!(
                args.request().flags.unwrap().circuit_breaker.enabled,
                expected,
                "{words:?}"
            );
        }
    }

    #[test]
    fn lists_are_comma_separated_and_repeatable() {
        let words = ["amb", "run", "--no-proxy", "a,b", "--no-proxy", "c", "x"];
        let Command::Run(args) = parsed(&words).unwrap().command else {
            panic!("{words:?}");
        };
        assert_eq!(args.setup.options.run.no_proxy.unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn the_last_color_before_the_command_colours_the_help() {
        let chosen = |words: &[&str]| color(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(chosen(&["amb", "--color", "never", "--help"]), ColorChoice::Never);
        assert_eq!(
            chosen(&["amb", "--color=never", "run", "--color=always"]),
            ColorChoice::Always
        );
        let behind = chosen(&["amb", "run", "--", "x", "--color=never"]);
        assert_ne!(behind, ColorChoice::Never);
    }

    #[test]
    fn the_subcommand_is_the_first_word_that_is_no_option() {
        let first = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            subcommand(&words).map(|word| word.to_string_lossy().into_owned())
        };
        assert_eq!(first(&["amb", "-v", "--color", "never", "run", "x"]).unwrap(), "run");
        assert_eq!(first(&["amb", "--color=never", "demo", "run"]).unwrap(), "demo");
        assert_eq!(first(&["amb", "-v"]), None);
    }
}
