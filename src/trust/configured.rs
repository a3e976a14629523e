//! What programs' own settings name, where a variable would override them.
//!
//! Only what is said for every server counts, in the files that hold for the system and for the user.

use std::path::PathBuf;

use super::{plan::Plan, source};

/// Settings in lines of `key = value` below `[section]`.
struct Settings {
    /// The variable that overrides them.
    variable: &'static str,
    /// The section; an empty one is what stands before the first.
    section: &'static str,
    /// The key. Case does not matter.
    key: &'static str,
    /// The files, the weakest first. `~/` is the home directory.
    files: &'static [&'static str],
}

/// All that are known.
const KNOWN: [Settings; 4] = [
    Settings {
        variable: "GIT_SSL_CAINFO",
        section: "http",
        key: "sslCAInfo",
        files: &["/etc/gitconfig", "~/.config/git/config", "~/.gitconfig"],
    },
    Settings {
        variable: "PIP_CERT",
        section: "global",
        key: "cert",
        files: &["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"],
    },
    Settings {
        variable: "CARGO_HTTP_CAINFO",
        section: "http",
        key: "cainfo",
        files: &["~/.cargo/config", "~/.cargo/config.toml"],
    },
    Settings {
        variable: super::plan::NPM,
        section: "",
        key: "cafile",
        files: &["/etc/npmrc", "/usr/local/etc/npmrc", "/usr/etc/npmrc", "~/.npmrc"],
    },
];

/// The file that a program's own settings name, if `variable` would override them. The last one counts.
pub(super) fn named(plan: &Plan<'_>, variable: &str) -> Option<PathBuf> {
    let settings = KNOWN.iter().find(|settings| settings.variable == variable)?;
    let home = plan.named("HOME").map(PathBuf::from);
    let in_home = |path: &str| Some(home.as_ref()?.join(path.strip_prefix("~/")?));
    let value = settings.files.iter().rev().find_map(|file| {
        let file = in_home(file).or_else(|| file.starts_with('/').then(|| source::below(plan.root, file)))?;
        value(&String::from_utf8_lossy(&source::read(&file).ok()?), settings)
    })?;
    Some(in_home(&value).unwrap_or_else(|| value.into()))
}

/// The value in a text. One that is made of variables is left alone.
fn value(text: &str, settings: &Settings) -> Option<String> {
    let mut is_inside = settings.section.is_empty();
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_inside = section
                .strip_suffix(']')
                .is_some_and(|section| section.eq_ignore_ascii_case(settings.section));
        } else if let Some((key, value)) = line.split_once('=')
            && is_inside
            && key.trim().eq_ignore_ascii_case(settings.key)
        {
            found = Some(value.trim().trim_matches(['"', '\'']));
        }
    }
    found
        .filter(|value| !value.is_empty() && !value.contains('$'))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_its_section_counts() {
        let [git, .., npm] = &KNOWN;
        for (settings, text, expected) in [
            (git, "[http]\n\tsslCAInfo = /x\n", Some("/x")),
            (
                git,
                "[user]\nname = me\n[HTTP]\n sslcainfo=\"/x y\"\n[http]\nsslCAInfo = /z",
                Some("/z"),
            ),
            (git, "sslCAInfo = /x\n[http \"https://corp\"]\nsslCAInfo = /y", None),
            (git, "[http]\n# sslCAInfo = /x\nsslCAInfo =", None),
            (npm, "registry=https://corp\ncafile=/x\n", Some("/x")),
            (npm, "cafile=${HOME}/x\n//corp/:cafile=/y\n[a]\ncafile=/z", None),
        ] {
            assert_eq!(value(text, settings).as_deref(), expected, "{text}");
        }
    }
}
