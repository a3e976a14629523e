//! Values that are known elsewhere than in the definition of the command line: keys, profiles, hosts.

use std::{env, ffi::OsStr, fs};

use clap::{Arg, Command};
use clap_complete::{CompletionCandidate, engine::ArgValueCompleter};

use crate::{
    cli::{config::LayerArgs, generate, help::TOPICS},
    config::{self, schema},
    monitor::client::{Client, Found},
};

/// Completes the values of an option or argument from what is typed of them.
type Completer = fn(&OsStr) -> Vec<CompletionCandidate>;

/// `command` with the values of its arguments, and of those of its subcommands, where something is known of them.
pub(super) fn completed(command: Command) -> Command {
    let command = command.mut_args(|argument| match completer(&argument) {
        Some(completer) => argument.add(ArgValueCompleter::new(completer)),
        None => argument,
    });
    command.mut_subcommands(completed)
}

/// What completes an argument, if anything does.
fn completer(argument: &Arg) -> Option<Completer> {
    match argument.get_id().as_str() {
        "set" => Some(assignments),
        "key" => Some(keys),
        "profiles" => Some(profiles),
        "words" => Some(subjects),
        "run" if argument.is_positional() => Some(runs),
        _ if matches!(argument.get_long(), Some("connect-to" | "resolve" | "no-proxy")) => Some(hosts),
        _ => None,
    }
}

/// Those of `candidates` that begin with what is typed.
fn beginning(typed: &OsStr, candidates: impl IntoIterator<Item = CompletionCandidate>) -> Vec<CompletionCandidate> {
    let typed = typed.as_encoded_bytes();
    let fits = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(typed);
    candidates.into_iter().filter(fits).collect()
}

/// `KEY=`, and behind it the words that the key takes.
fn assignments(typed: &OsStr) -> Vec<CompletionCandidate> {
    let written = typed.to_string_lossy();
    let Some((name, _)) = written.split_once('=') else {
        return beginning(
            typed,
            schema::keys()
                .iter()
                .map(|key| CompletionCandidate::new(format!("{}=", key.name())).help(Some(key.summary.clone().into()))),
        );
    };
    let key = schema::keys().iter().find(|key| key.name() == name);
    let words = key.into_iter().flat_map(|key| {
        let truth: &[&str] = if key.kind.contains("true") {
            &["true", "false"]
        } else {
            &[]
        };
        let choices = key
            .choices
            .iter()
            .map(|(word, meaning)| (word.as_str(), meaning.as_str()));
        choices.chain(truth.iter().map(|word| (*word, "")))
    });
    beginning(
        typed,
        words.map(|(word, meaning)| {
            let help = (!meaning.is_empty()).then(|| meaning.to_owned().into());
            CompletionCandidate::new(format!("{name}={word}")).help(help)
        }),
    )
}

/// The keys of the configuration.
fn keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    let candidates = schema::keys()
        .iter()
        .map(|key| CompletionCandidate::new(key.name()).help(Some(key.summary.clone().into())));
    beginning(typed, candidates)
}

/// What there is help on.
fn subjects(typed: &OsStr) -> Vec<CompletionCandidate> {
    let command = generate::public_command();
    let subcommands = command.get_subcommands().map(|subcommand| {
        let about = subcommand.get_about().cloned();
        CompletionCandidate::new(subcommand.get_name()).help(about)
    });
    let topics = TOPICS.map(|topic| CompletionCandidate::new(topic.name).help(Some(topic.about.into())));
    beginning(typed, subcommands.chain(topics))
}

/// The profiles of the files that are found from here.
fn profiles(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names = config::profiles(&LayerArgs::default().request());
    beginning(typed, names.into_iter().map(CompletionCandidate::new))
}

/// The runs of this user, by name.
fn runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let found = Client::new(|name| env::var_os(name)).map(|client| client.runs());
    let candidates = found.into_iter().flatten().map(|Found { status, .. }| {
        let help = format!("{} {}", status.id, status.proxy);
        CompletionCandidate::new(status.name).help(Some(help.into()))
    });
    beginning(typed, candidates)
}

/// The hosts that this machine knows by name.
fn hosts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let table = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split_whitespace().skip(1))
        .collect();
    names.sort_unstable();
    names.dedup();
    beginning(typed, names.into_iter().map(CompletionCandidate::new))
}
