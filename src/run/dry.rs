//! `amb run --dry-run`: what would be done, on stdout, which is nobody else's now. Nothing is started.

use std::{ffi::OsString, fmt::Write as _, io::Write as _, net::SocketAddr};

use crate::{
    capture::{self, Asks},
    cli::RunArgs,
    config::{Config, Sources, show},
    exit::Exit,
    inject,
    secret::Store,
    trust::Files,
    veil,
};

/// Shows the command, what is configured and from where, and how the child's environment would differ from amb's own.
pub(super) fn run(args: &RunArgs, environment: &[(OsString, OsString)], config: &Config, sources: &Sources) -> Exit {
    let text = describe(args, environment, config, sources);
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(veil::text(&text).as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

/// The text.
fn describe(args: &RunArgs, environment: &[(OsString, OsString)], config: &Config, sources: &Sources) -> String {
    super::secrets::veil(config);
    let store = Store::new(&config.secrets, environment);
    store.learn_what_is_at_hand();
    let words: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
    let words = config.policy.redact.arguments(words.iter().map(|word| &**word));
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let mut text = format!("command\n  {}\n\n", words.join(" "));
    text.push_str("configuration\n");
    for line in show::all(sources).lines() {
        text.extend(["  ", line, "\n"]);
    }
    let rules = config.policy.rules();
    text.push_str(if rules.is_empty() {
        "\nrules: none\n"
    } else {
        "\nrules, in the order in which they apply\n"
    });
    for rule in rules {
        let written = writeln!(text, "  {rule}");
        debug_assert!(written.is_ok());
    }
    if config.capture {
        let opens = config.capture_roots && config.policy.tls.intercepts();
        let (asks, more) = if opens {
            (Asks::OpeningToo, ", and amb is among the roots that it opens")
        } else {
            (Asks::Connecting, "")
        };
        let said = match capture::possible(asks) {
            Ok(()) => format!("TCP connections of the command that no proxy is asked for{more}"),
            Err(reason) => format!("nothing: {reason} ({})", reason.remedy()),
        };
        text.extend(["\ncaptured: ", &said, "\n"]);
    }
    let shown = "environment of the command, compared with this one";
    let free = if config.listen.port() == 0 {
        " (PORT stands for the port that is free then)"
    } else {
        ""
    };
    for part in ["\n", shown, free, "\n"] {
        text.push_str(part);
    }
    for name in store.hidden() {
        if environment.iter().any(|(known, _)| known == name) {
            text.extend(["  - ", name, "  (hidden from the command)\n"]);
        }
    }
    let environment = super::secrets::visible(environment, &store.hidden());
    let inherited = inject::environment(&environment);
    let stand_in = SocketAddr::new(
        config.listen.ip(),
        if config.listen.port() == 0 {
            STAND_IN_PORT
        } else {
            config.listen.port()
        },
    );
    let certificates = config.policy.tls.intercepts().then(|| Files::planned(&inherited));
    let changes = inject::changes(&inherited, stand_in, certificates.as_ref(), "RUN-ID", &config.inject);
    for line in inject::difference(&inherited, &changes) {
        let line = if config.listen.port() == 0 {
            line.replace(&STAND_IN_PORT.to_string(), "PORT")
        } else {
            line
        };
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A word of the command line in quotes, control characters escaped.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.escape_debug())
}

/// Stands for the port while the environment is made; no other number that comes up there.
const STAND_IN_PORT: u16 = 64_999;
