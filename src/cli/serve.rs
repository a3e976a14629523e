//! `amb serve`: its flags.

use clap::Args;

use super::{Console, HELP_TEMPLATE, SetupArgs, variables::Shell};
use crate::{config::Request, units::Period};

/// What `amb serve` is mostly used for.
const EXAMPLES: &str = "\
Examples:
  amb serve                                  until Ctrl-C; amb env leads others to it
  eval \"$(amb serve --detach --print-env)\"   lead this shell to one in the background
  amb serve --detach --idle-timeout 30m      end it when nobody needs it any more
";

/// What the exit status says.
const EXIT_STATUS: &str = "\
Exit status: 0 when it was told to end; 98 a rule of egress was broken; 99 an assertion failed;
125 amb could not start.";

/// `amb serve`.
#[derive(Debug, Args)]
#[command(
    help_template = HELP_TEMPLATE,
    before_help = EXAMPLES,
    after_help = EXIT_STATUS,
    args_override_self = true,
    mut_arg("run.process-group", |argument| argument.hide(true)),
    mut_arg("run.run-timeout", |argument| argument.hide(true)),
    mut_arg("run.kill-after", |argument| argument.hide(true)),
    mut_arg("run.wait", |argument| argument.hide(true)),
    mut_arg("run.on-death", |argument| argument.hide(true)),
    mut_arg("run.capture", |argument| argument.hide(true)),
    mut_arg("no-capture", |argument| argument.hide(true)),
    mut_arg("run.capture-roots", |argument| argument.hide(true)),
    mut_arg("no-capture-roots", |argument| argument.hide(true)),
    mut_arg("run.confine", |argument| argument.hide(true)),
    mut_arg("run.control", |argument| argument.hide(true)),
    mut_arg("no-control", |argument| argument.hide(true))
)]
pub struct ServeArgs {
    /// Serve in the background: return when it is ready
    ///
    /// What is wrong with the start is told first, with status 125. From then on it writes nothing but files; its summary is in
    /// the report that is kept, if reports are.
    #[arg(long, help_heading = "Service")]
    pub detach: bool,
    /// Print the variables that lead a process to it, as amb env does, instead of its name and address
    #[arg(long, help_heading = "Service")]
    pub print_env: bool,
    /// For whom to print them [default: by the variable SHELL]
    #[arg(
        long,
        value_name = "SHELL",
        value_enum,
        requires = "print_env",
        help_heading = "Service"
    )]
    pub shell: Option<Shell>,
    /// End when this process has ended
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..), help_heading = "Service")]
    pub exit_with: Option<i32>,
    /// End when no request and no tunnel was open for so long [default: never]
    #[arg(long, value_name = "DURATION", help_heading = "Service")]
    pub idle_timeout: Option<Period>,
    /// Be the one in the background.
    #[arg(long, hide = true)]
    pub detached: bool,
    /// What it is to be.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// How amb speaks; the same as in [`Cli`](super::Cli).
    #[arg(skip)]
    pub console: Console,
}

impl ServeArgs {
    /// The flag, if there is one, that is about a command.
    pub(super) fn misplaced(&self) -> Option<&'static str> {
        let run = &self.setup.options.run;
        let flags = [
            ("--capture-roots", run.capture_roots == Some(true)),
            ("--capture", run.capture == Some(true)),
            ("--process-group", run.process_group.is_some()),
            ("--run-timeout", run.run_timeout.is_some()),
            ("--kill-after", run.kill_after.is_some()),
            ("--wait", run.wait.is_some()),
            ("--on-death", run.on_death.is_some()),
        ];
        flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// What is asked of [`load`](crate::config::load), with the surroundings taken from this process. Without another name it
    /// is called as the directory is in which it was started.
    pub fn request(&self) -> Request {
        let mut request = self.setup.request();
        let directory = request.directory.file_name().unwrap_or_default().to_owned();
        request.program = if directory.is_empty() {
            "serve".into()
        } else {
            directory
        };
        request
    }
}
