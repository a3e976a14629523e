//! The `amb` program.

use amb::{
    cli::{self, Command},
    config, demo,
    exit::Exit,
    run,
};

/// Ends as [`outcome`] says.
fn main() {
    outcome().leave()
}

/// Reads the command line and does what it says.
fn outcome() -> Exit {
    let (command, console) = match cli::parse(std::env::args_os()) {
        Ok(cli) => (cli.command, cli.console),
        Err(exit) => return exit,
    };
    match command {
        Command::Run(args) => match config::load(&args.request()) {
            Ok((config, sources)) => run::run(&args, &config, &sources),
            Err(mistakes) => cli::refuse_to_start(&mistakes),
        },
        Command::Init(args) => cli::config::init(&args),
        Command::Config(args) => cli::config::run(&args),
        Command::Policy(args) => cli::policy::run(&args),
        Command::Trust(args) => cli::config::trust(&args),
        Command::Demo(args) => demo::run(&args),
        Command::DemoProgram => demo::program::run(),
        Command::Help(args) => cli::help::run(&args, console.color),
        Command::Completions(args) => cli::complete::print_script(&args),
        Command::Complete(args) => cli::complete::print_candidates(&args),
        Command::Generate(args) => cli::generate::run(&args),
    }
}
