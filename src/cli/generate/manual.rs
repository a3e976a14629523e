//! `amb.toml.5`: every key, from what stands beside the options.

use crate::{
    cli::help::page::{escaped, guarded},
    config::schema::{self, Key},
};

/// What stands before the keys.
const BEGINNING: &str = "\
.SH NAME
amb.toml \\- configuration of amb
.SH DESCRIPTION
A file in TOML.
It is looked for as \\fI/etc/amb/amb.toml\\fR, as \\fI$XDG_CONFIG_HOME/amb/amb.toml\\fR (\\fI~/.config/amb/amb.toml\\fR), and as
\\fIamb.toml\\fR, \\fI.amb.toml\\fR or \\fI.config/amb.toml\\fR in the working directory and those above it, up to the root of the repository;
.B amb config path
says which are there.
What a later one of them says overrides the earlier ones; see
.BR amb\\-configuration (7).
.PP
Every key can stand below
.B [profile.NAME]
as well, and holds then only with
.BR \\-\\-profile .
For a list,
.B extend\\-
before the last word of its key adds to what weaker files say instead of replacing it.
A duration has its unit
.RB ( 500ms ,
.BR 2s ,
.BR 1m30s ),
and so has a size
.RB ( 64KiB ).
A key that does not exist is an error.
";

/// What stands behind them.
const END: &str = "\
.SH SEE ALSO
.BR amb\\-config (1),
.BR amb\\-init (1),
.BR amb\\-trust (1),
.BR amb\\-configuration (7)
";

/// The page.
pub(super) fn of_file() -> String {
    let mut page = super::header("amb.toml", 5) + BEGINNING + ".SH KEYS\n";
    let mut table = None;
    for key in schema::keys() {
        let above = key.path.split_last().map(|(_, above)| above);
        if table != above {
            table = above;
            let title = escaped(&above.unwrap_or_default().join("."));
            if !title.is_empty() {
                page.extend([".SS [", &title, "]\n"]);
            }
        }
        page.push_str(&entry(key));
    }
    page + END
}

/// What there is to know of a key.
fn entry(key: &Key) -> String {
    let name = match &key.entry {
        Some(entry) => format!("\\fB{}\\fR.\\fI{}\\fR", escaped(&key.name()), escaped(entry)),
        None => format!("\\fB{}\\fR", escaped(&key.name())),
    };
    let summary = guarded(&escaped(&key.summary));
    let mut lines = vec![format!(".TP\n{name}\n{summary}: {}.", escaped(&key.kind))];
    let details = key.details.split("\n\n").filter(|paragraph| !paragraph.is_empty());
    lines.extend(details.map(|paragraph| format!(".IP\n{}", guarded(&escaped(&paragraph.replace('\n', " "))))));
    let choices = key.choices.iter();
    lines.extend(choices.map(|(word, meaning)| format!(".IP\n\\fB{}\\fR: {}", escaped(word), escaped(meaning))));
    lines.push(format!(".IP\n{}\n", facts(key).join(" ")));
    lines.join("\n")
}

/// Where a key can be set and what it is otherwise, a sentence each.
fn facts(key: &Key) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(default) = &key.default_text {
        facts.push(format!("Default: {}.", escaped(default)));
    }
    if let Some(flag) = &key.flag {
        facts.push(format!("Flag: \\fB{}\\fR.", escaped(flag)));
    }
    if let Some(variable) = &key.variable {
        facts.push(format!("Variable: \\fB{}\\fR.", escaped(variable)));
    }
    if let Some(danger) = &key.danger {
        let only = if danger.only_outside {
            " where it names a file outside the directory"
        } else if danger.only_reading {
            " where a value names a file or a variable"
        } else {
            ""
        };
        facts.push(format!(
            "From a file that was merely found it is taken{only} only once \\fBamb trust\\fR was said, since it {}.",
            escaped(&danger.does)
        ));
    }
    facts
}
