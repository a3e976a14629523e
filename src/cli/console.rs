//! How amb speaks: its options, and its own lines.

use std::{
    env,
    ffi::OsString,
    fmt::Display,
    io::{self, IsTerminal, Seek, Write},
    os::unix::process::CommandExt,
    process::Command,
};

use clap::Args;

use crate::{exit::Exit, report::color::When, veil};

/// How amb speaks: options of every subcommand.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Console {
    /// Say less: no summary and no warnings; errors stay
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more of what amb does; -vv for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: When,
}

/// Says why amb does not start.
pub fn refuse_to_start(reason: &dyn Display) -> Exit {
    say(reason);
    Exit::Failed
}

/// Writes lines of amb's own to stderr, each with `amb: ` in front.
///
/// Never fails and never panics: if stderr is closed, there is nobody left to tell. One write for all of it, so that
/// the child's lines do not come in between.
pub fn say(text: &dyn Display) {
    let mut lines = String::new();
    for line in veil::text(&text.to_string()).lines() {
        lines.extend(["amb: ", line, "\n"]);
    }
    if io::stderr().lock().write_all(lines.as_bytes()).is_err() {
        // Nobody left to tell.
    }
}

/// Writes what was asked for to stdout, which is nobody else's in subcommands other than `run`.
pub fn print(text: impl AsRef<[u8]>) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(&veil::bytes(text.as_ref()))
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Exit::Done,
        // A reader that has gone away wants no more of it.
        Err(_) => Exit::Negative,
    }
}

/// The pager of somebody who has named none: it shows colours and lets short text stand.
const USUAL_PAGER: &str = "less -FIRX";

/// Writes what was asked for to stdout: page by page, if a person looks at it there. Then amb becomes the pager, so that
/// nobody has to stay and watch it.
pub fn print_paged(text: &str) -> Exit {
    let named = ["AMB_PAGER", "PAGER"].iter().find_map(env::var_os);
    let pager = named.unwrap_or_else(|| OsString::from(USUAL_PAGER));
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() || pager.is_empty() || pager == "cat" {
        return print(text);
    }
    if let Ok(input) = kept(text) {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&pager).stdin(input);
        if env::var_os("LESS").is_none() {
            command.env("LESS", "FIRX");
        }
        let reason = command.exec();
        tracing::debug!(%reason, "the pager does not start");
    }
    print(text)
}

/// A file without a name that holds `text`, read from its beginning.
fn kept(text: &str) -> io::Result<std::fs::File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
