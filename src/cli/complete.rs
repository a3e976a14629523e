//! Completion: `amb completions SHELL` writes what a shell reads once, and that asks the hidden `amb complete` at each TAB.
//!
//! amb's own words come from the definition of the command line, so that no script has to know them. What belongs to the wrapped
//! command is handed over to the shell, whose business it is: amb only says where that command begins.

mod values;

use std::{ffi::OsString, path::Path};

use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::{CompletionCandidate, engine};

use super::{generate, print};
use crate::exit::Exit;

/// The shells for which there is a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// With the completions of the wrapped command, if bash-completion is there
    Bash,
    /// With the completions of the wrapped command
    Zsh,
    /// With the completions of the wrapped command
    Fish,
    /// amb's own words
    #[value(name = "powershell", alias = "pwsh")]
    PowerShell,
    /// amb's own words
    Elvish,
}

/// `amb completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to read the script
    pub shell: Shell,
}

/// `amb complete`: what a shell knows at a TAB.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// Which of the words is being typed, from 0
    pub index: usize,
    /// The words of the command line, `amb` first
    #[arg(last = true)]
    pub words: Vec<OsString>,
}

impl Shell {
    /// The file in `completions/`, called as the shell looks for it.
    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Bash => "amb.bash",
            Self::Zsh => "_amb",
            Self::Fish => "amb.fish",
            Self::PowerShell => "_amb.ps1",
            Self::Elvish => "amb.elv",
        }
    }

    /// The script. Those that ask amb at each TAB are written by hand; the others are made of what clap knows.
    pub(super) fn script(self) -> Vec<u8> {
        let generator = match self {
            Self::Bash => return include_bytes!("../../completions/amb.bash").to_vec(),
            Self::Zsh => return include_bytes!("../../completions/_amb").to_vec(),
            Self::Fish => return include_bytes!("../../completions/amb.fish").to_vec(),
            Self::PowerShell => clap_complete::Shell::PowerShell,
            Self::Elvish => clap_complete::Shell::Elvish,
        };
        let mut script = Vec::new();
        clap_complete::generate(generator, &mut generate::public_command(), "amb", &mut script);
        script
    }
}

/// Writes a shell's script to stdout.
pub fn print_script(args: &CompletionsArgs) -> Exit {
    print(args.shell.script())
}

/// Writes to stdout what the word that is being typed may become: lines of a value, a tab and its explanation; or
/// `command N` alone if the word is part of the wrapped command, which begins with word N.
pub fn print_candidates(args: &CompleteArgs) -> Exit {
    let mut out = Vec::new();
    match complete(&args.words, args.index) {
        Completion::OfCommand(begin) => out.extend(format!("command {begin}\n").into_bytes()),
        Completion::OwnWords(candidates) => {
            for candidate in candidates {
                out.extend(candidate.get_value().as_encoded_bytes());
                let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
                if let Some(line) = help.lines().next() {
                    out.push(b'\t');
                    out.extend(line.as_bytes());
                }
                out.push(b'\n');
            }
        }
    }
    print(out)
}

/// What a word that is being typed belongs to.
#[derive(Debug, PartialEq)]
enum Completion {
    /// The wrapped command, which begins with this word.
    OfCommand(usize),
    /// amb itself; it may become one of these.
    OwnWords(Vec<CompletionCandidate>),
}

/// Completes the word `index` of `words`.
fn complete(words: &[OsString], index: usize) -> Completion {
    let command = values::completed(generate::public_command());
    if let Some(begin) = command_begin(&command, words, index) {
        return Completion::OfCommand(begin);
    }
    let typed = words.iter().take(index + 1).cloned().collect();
    // It fails where nothing fits, and then there is nothing to say.
    let mut candidates = engine::complete(&mut command.clone(), typed, index, Some(Path::new("."))).unwrap_or_default();
    candidates.retain(|candidate| !candidate.is_hide_set());
    // Who has typed nothing yet wants a value, if there is one to have.
    let is_option = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"-");
    if words.get(index).is_some_and(|word| word.is_empty()) && !candidates.iter().all(is_option) {
        candidates.retain(|candidate| !is_option(candidate));
    }
    Completion::OwnWords(candidates)
}

/// Where the wrapped command begins, if it does at or before word `index`.
fn command_begin(command: &Command, words: &[OsString], index: usize) -> Option<usize> {
    let mut options = Options { command };
    let mut place = 1;
    while place <= index {
        let word = words.get(place)?.to_string_lossy();
        let typed = place == index;
        if word == "--" && !typed {
            return options.takes_command().then_some(place + 1);
        }
        if word.len() > 1 && word.starts_with('-') || word == "-" && typed {
            place += 1 + usize::from(options.takes_next_word(&word));
        } else if options.is_run() {
            return Some(place);
        } else {
            options.command = options.command.find_subcommand(word.as_ref())?;
            place += 1;
        }
    }
    None
}

/// The options of the subcommand that has been reached.
struct Options<'a> {
    /// That subcommand, `amb` itself at first.
    command: &'a Command,
}

impl Options<'_> {
    /// Whether it is one that wraps a command.
    fn is_run(&self) -> bool {
        ["run", "shell"].contains(&self.command.get_name())
    }

    /// Whether what follows `--` is a command.
    fn takes_command(&self) -> bool {
        self.is_run() || self.command.get_arguments().any(Arg::is_last_set)
    }

    /// Whether the word behind this one is its value.
    fn takes_next_word(&self, word: &str) -> bool {
        if let Some(long) = word.strip_prefix("--") {
            return !long.contains('=') && self.wants_value(|option| option.get_long() == Some(long));
        }
        let shorts = word.trim_start_matches('-');
        let valued = shorts
            .char_indices()
            .find(|(_, short)| self.wants_value(|option| option.get_short() == Some(*short)));
        // What follows in the same word is the value.
        valued.is_some_and(|(at, short)| at + short.len_utf8() == shorts.len())
    }

    /// Whether the option that `is` finds must have a value.
    fn wants_value(&self, is: impl Fn(&Arg) -> bool) -> bool {
        self.command
            .get_arguments()
            .find(|option| is(option))
            .is_some_and(|option| {
                option.get_action().takes_values() && option.get_num_args().is_none_or(|range| range.min_values() > 0)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line` at its end, split at single spaces: what the last word may become, or where the wrapped command begins.
    fn at_end(line: &str) -> Result<Vec<String>, usize> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match complete(&words, words.len() - 1) {
            Completion::OfCommand(begin) => Err(begin),
            Completion::OwnWords(candidates) => Ok(candidates
                .iter()
                .map(|candidate| candidate.get_value().to_string_lossy().into_owned())
                .collect()),
        }
    }

    #[test]
    fn the_command_begins_where_ambs_options_end() {
        for (line, begin) in [
            ("amb run ", 2),
            ("amb run gi", 2),
            ("amb run git che", 2),
            ("amb run -- ", 3),
            ("amb run -- git che", 3),
            ("amb run -- --odd", 3),
            ("amb doctor --run -- git che", 4),
            ("amb -v run -q git che", 4),
            ("amb --color never run git -", 4),
            ("amb run --connect-timeout 2s git -", 4),
            ("amb run --connect-timeout=2s git -", 3),
            ("amb run -nc amb.toml git -", 4),
            ("amb run -camb.toml git -", 3),
            ("amb run --dry-run git run --con", 3),
            ("amb shell --name x -- zsh -", 5),
        ] {
            assert_eq!(at_end(line), Err(begin), "{line:?}");
        }
    }

    #[test]
    fn ambs_own_words_are_known_from_its_definition() {
        for (line, expected) in [
            ("amb ru", vec!["run"]),
            ("amb run --connect-ti", vec!["--connect-timeout"]),
            ("amb run --summary c", vec!["compact"]),
            ("amb run --summary=c", vec!["--summary=compact"]),
            ("amb --color n", vec!["never"]),
            ("amb completions f", vec!["fish"]),
            ("amb help exi", vec!["exit-codes"]),
            ("amb run --set timeout.c", vec!["timeout.connect="]),
            ("amb run -s report.summary=c", vec!["report.summary=compact"]),
            ("amb config explain run.thr", vec!["run.threads"]),
            ("amb completions ", vec!["bash", "zsh", "fish", "powershell", "elvish"]),
        ] {
            assert_eq!(
                at_end(line),
                Ok(expected.iter().map(ToString::to_string).collect()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn what_is_not_for_users_is_not_offered() {
        let all = at_end("amb ").unwrap();
        assert!(
            all.contains(&"run".to_owned()) && !all.iter().any(|word| word == "generate"),
            "{all:?}"
        );
    }
}
