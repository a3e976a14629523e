//! `amb.toml.5`: every key, from what stands beside the options.

use std::fmt::Write as _;

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
    let mut page = super::header("amb.toml", 5) + BEGINNING;
    let mut table = None;
    page.push_str(".SH KEYS\n");
    for key in schema::keys() {
        let (_, above) = key.path.split_last().expect("a key has a name");
        if table != Some(above) {
            table = Some(above);
            if !above.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(page, ".SS [{}]", escaped(&above.join(".")));
            }
        }
        page.push_str(&entry(key));
    }
    page.push_str(END);
    page
}

/// What there is to know of a key.
fn entry(key: &Key) -> String {
    let mut entry = format!(".TP\n\\fB{}\\fR", escaped(&key.name()));
    if let Some(name) = &key.entry {
        let _ = write!(entry, ".\\fI{}\\fR", escaped(name));
    }
    let _ = writeln!(entry, "\n{}: {}.", guarded(&escaped(&key.summary)), escaped(&key.kind));
    for paragraph in key.details.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let _ = writeln!(entry, ".IP\n{}", guarded(&escaped(&paragraph.replace('\n', " "))));
    }
    for (word, meaning) in &key.choices {
        let _ = writeln!(entry, ".IP\n\\fB{}\\fR: {}", escaped(word), escaped(meaning));
    }
    let mut facts = Vec::new();
    if let Some(default) = &key.default_text {
        facts.push(format!("Default: {}.", escaped(default)));
    }
    if let Some(flag) = &key.flag {
        facts.push(format!("Flag: \\fB{}\\fR.", escaped(flag)));
    }
    facts.push(format!("Variable: \\fB{}\\fR.", escaped(&key.variable)));
    if let Some(danger) = &key.danger {
        let only = if danger.only_outside {
            " where it names a file outside the directory"
        } else {
            ""
        };
        facts.push(format!(
            "From a file that was merely found it is taken{only} only once \\fBamb trust\\fR was said, since it {}.",
            escaped(&danger.does)
        ));
    }
    let _ = writeln!(entry, ".IP\n{}", facts.join(" "));
    entry
}
