//! `amb generate man|completions DIR`: the only writer of `man/` and `completions/`.
//!
//! The output depends on nothing but the definition of the command line: no date, no terminal, no environment.

mod manual;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum, ValueHint};
use clap_mangen::Man;

use super::{complete::Shell, help::TOPICS};
use crate::exit::Exit;

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A page for amb and for each subcommand.
    Man,
    /// A script for each shell.
    Completions,
}

/// `amb generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to write.
    pub what: What,
    /// The directory that it is written to.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
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
        .disable_help_subcommand(true)
        .subcommands(
            whole
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .cloned(),
        )
}

/// `amb.1`, a page for each subcommand, one for the file, and one for each topic.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut amb = public_command();
    amb.build();
    let mut pages = Vec::new();
    add_pages(&amb, "amb", &mut pages)?;
    pages.push(("amb.toml.5".to_owned(), manual::of_file().into_bytes()));
    for topic in TOPICS {
        pages.push((format!("{}.7", topic.page), topic.manual().into_bytes()));
    }
    Ok(pages)
}

/// The page of `command`, which is called `name` there, and those of its subcommands.
fn add_pages(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    pages.push((
        format!("{name}.1"),
        page(command.clone().display_name(name.to_owned()))?,
    ));
    let public = |command: &&clap::Command| !command.is_hide_set() && command.get_name() != "help";
    for subcommand in command.get_subcommands().filter(public) {
        add_pages(subcommand, &format!("{name}-{}", subcommand.get_name()), pages)?;
    }
    Ok(())
}

/// When this version was made, in the footer of its manual. By hand: what is built must not depend on the day.
const RELEASED: &str = "2026-11-23";

/// The first line of a page.
pub(super) fn header(title: &str, section: u8) -> String {
    format!(
        ".TH {} {section} {RELEASED} \"amb {}\" amb\n",
        title.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    )
}

/// The page of one command: clap's sections, then the examples that its help begins with.
fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut sections = Vec::new();
    let examples = command.get_before_help().map(ToString::to_string);
    let title = command.get_display_name().unwrap_or("amb").to_owned();
    let man = Man::new(command);
    man.render(&mut sections)?;
    // Its title has no place for a date: the version would stand there.
    let mut page = header(&title, 1);
    let rendered = String::from_utf8_lossy(&sections);
    let body: Vec<&str> = rendered.lines().filter(|line| !line.starts_with(".TH ")).collect();
    for (number, line) in body.iter().enumerate() {
        // A break beside a paragraph's is one too many, as mandoc(1) says.
        let beside = |other: Option<&&str>| matches!(other, Some(&"" | &".sp" | &".RS" | &".PP"));
        let before = number.checked_sub(1).and_then(|before| body.get(before));
        if *line == ".br" && (beside(before) || beside(body.get(number + 1))) {
            continue;
        }
        page.push_str(line);
        page.push('\n');
    }
    if let Some(examples) = examples {
        page.push_str(".SH EXAMPLES\n.nf\n");
        for line in examples.lines().skip(1) {
            page.push_str(&line.trim_start().replace('\\', "\\e").replace('-', "\\-"));
            page.push('\n');
        }
        page.push_str(".fi\n");
    }
    Ok(page.into_bytes())
}

/// A completion script for each shell.
fn scripts() -> Vec<(String, Vec<u8>)> {
    Shell::value_variants()
        .iter()
        .map(|shell| (shell.file_name().to_owned(), shell.script()))
        .collect()
}
