//! The `amb` program.
//!
//! With glibc it begins in C's `main` and not behind Rust's runtime, which would first read the memory map of the process, to
//! tell a stack overflow from another fault, and open `/dev/null` in place of closed standard streams, for the child too.

#![cfg_attr(all(target_os = "linux", target_env = "gnu"), no_main)]
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library finds `main` by its name")
)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::ffi::{c_char, c_int};

use amb::{
    ca, capture,
    cli::{self, Command},
    config, demo, doctor,
    exit::Exit,
    run, supervise, top,
};

/// Where the C library begins: ends as [`outcome`] says.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
// SAFETY: the program's only `main`, with the signature that C gives it.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    supervise::settle_in();
    match std::panic::catch_unwind(outcome) {
        Ok(exit) => exit.leave(),
        Err(_) => 101,
    }
}

/// Ends as [`outcome`] says.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
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
        Command::Run(args) => {
            let request = args.request();
            match config::load(&request) {
                // Left from here: to free everything piece by piece would only delay the end.
                Ok((config, sources)) => run::run(&args, &request.environment, &config, &sources).leave(),
                Err(mistakes) => cli::refuse_to_start(&mistakes),
            }
        }
        Command::Shell(args) => {
            let args = args.command(run::shell::of_user);
            let request = args.request();
            match config::load(&request) {
                Ok((config, sources)) => run::run(&args, &request.environment, &config, &sources).leave(),
                Err(mistakes) => cli::refuse_to_start(&mistakes),
            }
        }
        Command::Serve(args) if args.detach && !args.detached => run::serve::launch(),
        Command::Serve(args) => {
            let request = args.request();
            match config::load(&request) {
                Ok((config, sources)) => run::serve::run(&args, &request.environment, &config, &sources).leave(),
                Err(mistakes) => cli::refuse_to_start(&mistakes),
            }
        }
        Command::Env(args) => cli::env::run(&args),
        Command::Stop(args) => cli::stop::run(&args),
        Command::Init(args) => cli::config::init(&args),
        Command::Config(args) => cli::config::run(&args),
        Command::Policy(args) => cli::policy::run(&args),
        Command::Report(args) => cli::report::run(&args),
        Command::Status(args) => cli::status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Ca(args) => ca::run(&args),
        Command::KeepConnecting => {
            supervise::close_inherited();
            capture::keep();
            Exit::Done
        }
        Command::Doctor(args) => doctor::run(&args),
        Command::Trust(args) => cli::config::trust(&args),
        Command::Demo(args) => demo::run(&args),
        Command::DemoProgram => demo::program::run(),
        #[cfg(feature = "keyring")]
        Command::Keyring(args) => cli::keyring::run(&args),
        Command::Help(args) => cli::help::run(&args, console.color),
        Command::Completions(args) => cli::complete::print_script(&args),
        Command::Complete(args) => cli::complete::print_candidates(&args),
        Command::Generate(args) => cli::generate::run(&args),
    }
}
