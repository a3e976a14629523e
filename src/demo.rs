//! `amb demo`: a legacy program, the servers it calls, and amb between them, all on this machine.
//!
//! The program (`program.rs`) is amb itself in a hidden role, and so is started as any command is: by a real `amb run`, in a
//! process of its own, with nothing done in secret. What is run is shown first. The servers (`service.rs`) listen on
//! loopback; the names that the program calls exist nowhere and are led there by `--connect-to`.
//!
//! Nothing around it counts: no `amb.toml`, no variable of amb's and no other proxy.

pub mod program;
mod service;

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use self::service::Service;
use crate::{
    cli::{self, Console, DemoArgs},
    exit::Exit,
    report::color::When,
    supervise::ChildExit,
};

/// The name of the hidden subcommand that is the program.
const PROGRAM: &str = "demo-program";

/// What stands before the command line.
const OPENING: &str = "\
A program that knows nothing of amb calls three hosts. They are on this machine, which is what --connect-to is for.
";

/// What stands at the end.
const CLOSING: &str = "
Now with a program of yours: amb run -- COMMAND
";

/// Shows amb at work.
pub fn run(args: &DemoArgs) -> Exit {
    match play(&args.console) {
        Ok(status) if status.success() => {
            show(CLOSING);
            Exit::Done
        }
        Ok(status) => {
            if let Some(signal) = status.signal() {
                return Exit::Child(ChildExit::Signal(signal));
            }
            cli::say(&"the demo did not go as planned");
            Exit::Negative
        }
        Err(reason) => {
            cli::say(&format_args!("the demo cannot be shown: {reason}"));
            Exit::Negative
        }
    }
}

/// Starts the servers and runs the program under `amb run`; how that ended.
fn play(console: &Console) -> io::Result<ExitStatus> {
    let service = Service::start()?;
    let amb = own_executable()?;
    let options = options(console, &service)?;
    let lines: Vec<String> = options.iter().map(|option| option.join(" ")).collect();
    show(&format!(
        "{OPENING}\n$ amb run {} \\\n    -- amb {PROGRAM}\n\n",
        lines.join(" \\\n    ")
    ));
    let mut command = Command::new(&amb);
    command
        .arg("run")
        .args(options.iter().flatten())
        .arg("--")
        .arg(&amb)
        .arg(PROGRAM);
    for (name, _) in env::vars_os().filter(|(name, _)| interferes(name)) {
        command.env_remove(name);
    }
    command.status()
}

/// The options of `amb run`, each a line of what is shown.
fn options(console: &Console, service: &Service) -> io::Result<Vec<Vec<String>>> {
    let mut first = vec!["--no-config", "--name", "demo"];
    // clap refuses them together.
    if console.quiet {
        first.push("--quiet");
    } else {
        first.extend(["--summary", "full"]);
    }
    first.extend((0..console.verbose).map(|_| "--verbose"));
    match console.color {
        When::Auto => {}
        When::Always => first.push("--color=always"),
        When::Never => first.push("--color=never"),
    }
    let reach = |host: &str, address: SocketAddr| vec!["--connect-to".to_owned(), format!("{host}:80:{address}")];
    Ok(vec![
        first.into_iter().map(ToOwned::to_owned).collect(),
        reach(service::API, service.address()),
        reach(service::FILES, service.address()),
        reach(service::BILLING, service.refusing()?),
    ])
}

/// Whether a variable would change what the demo shows: amb's configuration, and other proxies.
fn interferes(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    matches!(name, "AMB_CONFIG" | "AMB_PROFILE")
        || name.starts_with("AMB_") && name.contains("__")
        || name.to_ascii_lowercase().ends_with("_proxy")
}

/// The file of this very program, also where it was replaced or removed since it was started.
fn own_executable() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    // The kernel's link leads to the file even if the name does not any more.
    let link = PathBuf::from("/proc/self/exe");
    Ok(if path.exists() || !link.exists() { path } else { link })
}

/// Writes to stdout, at once, so that what `amb run` says comes after it. Whether anybody reads it is not the demo's
/// concern.
fn show(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(reason) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::debug!(%reason, "stdout takes nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_around_the_demo_is_left_out() {
        for name in [
            "AMB_CONFIG",
            "AMB_PROFILE",
            "AMB_TIMEOUT__CONNECT",
            "http_proxy",
            "HTTPS_PROXY",
            "no_proxy",
        ] {
            assert!(interferes(OsStr::new(name)), "{name}");
        }
        for name in ["AMB_RUN_ID", "HOME", "PATH", "PROXY", "NO_COLOR"] {
            assert!(!interferes(OsStr::new(name)), "{name}");
        }
    }
}
