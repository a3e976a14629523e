//! `amb help`: the long help of a subcommand, or a topic.
//!
//! A topic is a section of README.md, so that it is said once, and the tests that hold the README hold it too.

pub(super) mod page;

use clap::Args;

use self::page::{Page, escaped};
use super::{command, generate::header, print_paged, say};
use crate::{
    exit::Exit,
    report::color::{Stream, When},
    spelling::nearest,
};

/// The text that topics are taken from.
const README: &str = include_str!("../../README.md");

/// Something to read about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    /// What it is asked for by.
    pub(super) name: &'static str,
    /// What it is about, in a line.
    pub(super) about: &'static str,
    /// The heading of its section in the README.
    heading: &'static str,
    /// Its page in section 7 of the manual.
    pub(super) page: &'static str,
}

/// All topics.
pub(super) const TOPICS: [Topic; 18] = [
    Topic {
        name: "exit-codes",
        about: "how amb ends, and what its exit status says",
        heading: "Exit status",
        page: "amb-exit-codes",
    },
    Topic {
        name: "env",
        about: "what is put into the command's environment",
        heading: "What is put into the command's environment",
        page: "amb-environment",
    },
    Topic {
        name: "certificates",
        about: "certificates for decrypted HTTPS",
        heading: "Certificates for decrypted HTTPS",
        page: "amb-certificates",
    },
    Topic {
        name: "capture",
        about: "programs that know of no proxy",
        heading: "Programs that know of no proxy",
        page: "amb-capture",
    },
    Topic {
        name: "config",
        about: "where the configuration comes from",
        heading: "Configuration",
        page: "amb-configuration",
    },
    Topic {
        name: "secrets",
        about: "secrets, and how requests are signed in",
        heading: "Secrets",
        page: "amb-secrets",
    },
    Topic {
        name: "routes",
        about: "what holds for some requests only",
        heading: "Routes",
        page: "amb-routes",
    },
    Topic {
        name: "changes",
        about: "what is changed in requests and responses",
        heading: "Changes on the way",
        page: "amb-changes",
    },
    Topic {
        name: "egress",
        about: "where requests may go",
        heading: "Where requests may go",
        page: "amb-egress",
    },
    Topic {
        name: "central-policy",
        about: "what holds for a whole machine",
        heading: "The central policy",
        page: "amb-central-policy",
    },
    Topic {
        name: "resilience",
        about: "limits and retries",
        heading: "Resilience",
        page: "amb-resilience",
    },
    Topic {
        name: "assertions",
        about: "what must hold at the end",
        heading: "Assertions",
        page: "amb-assertions",
    },
    Topic {
        name: "ci",
        about: "jobs of GitHub Actions and GitLab",
        heading: "In CI",
        page: "amb-ci",
    },
    Topic {
        name: "shells",
        about: "amb for a shell, and one for many processes",
        heading: "In dev shells and beside services",
        page: "amb-shells",
    },
    Topic {
        name: "metrics",
        about: "what is told to Prometheus",
        heading: "Metrics",
        page: "amb-metrics",
    },
    Topic {
        name: "otlp",
        about: "traces and metrics for OpenTelemetry",
        heading: "Traces and metrics",
        page: "amb-otlp",
    },
    Topic {
        name: "filters",
        about: "how hosts, variables and log lines are chosen",
        heading: "Lists and filters",
        page: "amb-filters",
    },
    Topic {
        name: "differences",
        about: "what differs from the bare command",
        heading: "What differs from the bare command",
        page: "amb-differences",
    },
];

/// `amb help`.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A subcommand such as `run` or `config show`, or a topic
    pub words: Vec<String>,
}

impl Topic {
    /// Its text.
    fn text(self) -> Page {
        let heading = format!("\n## {}\n", self.heading);
        let (_, rest) = README.split_once(&heading).unwrap_or_default();
        Page::parse(rest.split("\n## ").next().unwrap_or_default())
    }

    /// Its page of the manual.
    pub(super) fn manual(self) -> String {
        let text = self.text().roff();
        let name = escaped(self.page);
        [
            &header(self.page, 7),
            ".SH NAME\n",
            &name,
            " \\- ",
            &escaped(self.about),
            "\n.SH DESCRIPTION\n",
            // The heading begins a paragraph already.
            text.strip_prefix(".PP\n").unwrap_or(&text),
            ".SH SEE ALSO\n.BR amb (1),\n.BR amb\\-run (1),\n.BR amb.toml (5)\n",
        ]
        .concat()
    }
}

/// Shows what was asked about.
pub fn run(args: &HelpArgs, color: When) -> Exit {
    let out = Stream::stdout(color);
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if let [word] = words[..]
        && let Some(topic) = TOPICS.iter().find(|topic| topic.name == word)
    {
        return print_paged(&topic.text().for_terminal(&out));
    }
    let mut command = command();
    command.build();
    let mut found = &mut command;
    for word in &words {
        let Some(next) = found.find_subcommand(word).map(|next| next.get_name().to_owned()) else {
            say(&unknown(found, word));
            return Exit::Usage;
        };
        found = found.find_subcommand_mut(&next).expect("it was found just now");
    }
    let help = found.render_long_help();
    let text = if out.color {
        help.ansi().to_string()
    } else {
        help.to_string()
    };
    print_paged(&text)
}

/// What to say of a word that there is no help on.
fn unknown(command: &clap::Command, word: &str) -> String {
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut known: Vec<&str> = subcommands.map(clap::Command::get_name).collect();
    if command.get_name() == "amb" {
        known.extend(TOPICS.map(|topic| topic.name));
    }
    let hint = nearest(word, known.iter().copied()).map_or_else(
        || format!("there is help on {}", known.join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    format!("there is no help on `{word}`\nhint: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_a_section_of_the_readme() {
        for topic in TOPICS {
            let text = topic
                .text()
                .for_terminal(&Stream::decide(When::Never, false, Some(80), |_| None));
            assert!(text.lines().count() > 3, "{}: {text}", topic.name);
            assert!(
                text.lines()
                    .all(|line| line.chars().count() <= 80 || line.starts_with("    ")),
                "{text}"
            );
        }
    }
}
