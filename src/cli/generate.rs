//! `amb generate man|completions DIR`: the only writer of `man/` and `completions/`.
//!
//! The output depends on nothing but the definition of the command line: no date, no terminal, no environment.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::{Args, ValueEnum};
use clap_mangen::Man;

use super::{GenerateArgs, complete::Shell};
use crate::exit::Exit;

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A page for amb and for each subcommand.
    Man,
    /// A script for each shell.
    Completions,
}

/// Does what `amb generate` is for.
pub fn run(args: &GenerateArgs) -> Exit {
    match write(args.what, &args.directory) {
        Ok(()) => Exit::Done,
        Err(error) => {
            super::say(&format_args!(
                "{}: cannot be written: {error}",
                args.directory.display()
            ));
            Exit::Negative
        }
    }
}

/// Writes all files of one kind to `directory`, which is made if there is none.
///
/// # Errors
///
/// The directory or a file cannot be written.
pub fn write(what: What, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, content) in files(what)? {
        fs::write(directory.join(name), content)?;
    }
    Ok(())
}

/// All files of one kind, each with its name.
///
/// # Errors
///
/// None that can happen: the writers write to memory.
pub fn files(what: What) -> io::Result<Vec<(String, Vec<u8>)>> {
    match what {
        What::Man => pages(),
        What::Completions => Ok(scripts()),
    }
}

/// The command line without what is not for users.
///
/// Made anew, because clap can hide a subcommand but not take it out, and the scripts complete hidden ones too.
pub(super) fn public_command() -> clap::Command {
    let whole = super::command();
    let text = |styled: Option<&clap::builder::StyledStr>| styled.map(ToString::to_string).unwrap_or_default();
    // First, because it brings its own about.
    super::Console::augment_args(clap::Command::new("amb"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(text(whole.get_about()))
        .before_help(text(whole.get_before_help()))
        .after_help(text(whole.get_after_help()))
        .subcommand_required(true)
        .subcommands(
            whole
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .cloned(),
        )
}

/// `amb.1` and a page for each subcommand.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut amb = public_command().disable_help_subcommand(true);
    amb.build();
    let mut pages = vec![("amb.1".to_owned(), page(amb.clone())?)];
    for subcommand in amb.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("amb-{}", subcommand.get_name());
        pages.push((format!("{name}.1"), page(subcommand.clone().display_name(name))?));
    }
    Ok(pages)
}

/// The page of one command: clap's sections, then the examples that its help begins with.
fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let examples = command.get_before_help().map(ToString::to_string);
    Man::new(command)
        .source(concat!("amb ", env!("CARGO_PKG_VERSION")))
        .manual("amb")
        .render(&mut page)?;
    if let Some(examples) = examples {
        writeln!(page, ".SH EXAMPLES\n.nf")?;
        for line in examples.lines().skip(1) {
            writeln!(page, "{}", line.trim_start().replace('\\', "\\e").replace('-', "\\-"))?;
        }
        writeln!(page, ".fi")?;
    }
    Ok(page)
}

/// A completion script for each shell.
fn scripts() -> Vec<(String, Vec<u8>)> {
    Shell::value_variants()
        .iter()
        .map(|shell| (shell.file_name().to_owned(), shell.script()))
        .collect()
}
