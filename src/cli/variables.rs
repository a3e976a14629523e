//! Changes of an environment, written for whoever is to make them: shells, and files of variables.
//!
//! A shell is given a text that it evaluates, so every value is quoted such that nothing in it means anything to that shell.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use clap::ValueEnum;

use crate::inject::{self, Change, Environment, memory};

/// Who is to make the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// For eval; right for every shell of the POSIX family
    #[value(aliases = ["sh", "dash", "ash", "ksh", "posix"])]
    Bash,
    /// For eval
    Zsh,
    /// For source
    Fish,
    /// A script, to be saved and sourced
    #[value(alias = "nushell")]
    Nu,
    /// An object; null for what is to be removed
    Json,
    /// NAME=VALUE, as files called .env have it
    Dotenv,
    /// For the file that `GITHUB_ENV` names
    Github,
}

impl Shell {
    /// The one of the variable `SHELL`, as far as it is known; else bash, which the others of its family understand.
    pub fn guess() -> Self {
        let shell = std::env::var_os("SHELL").unwrap_or_default();
        let name = Path::new(&shell).file_name().unwrap_or_default().to_string_lossy();
        match Self::from_str(&name, false) {
            Ok(shell @ (Self::Bash | Self::Zsh | Self::Fish | Self::Nu)) => shell,
            _ => Self::Bash,
        }
    }
}

/// Variables with their new values; none removes one.
pub type Variables = BTreeMap<OsString, Option<OsString>>;

/// What leads `caller` to a proxy: `changes` says what differs then from an environment that was led nowhere. What was there
/// is kept in [`memory::BEFORE`], and what an earlier proxy has left is taken back.
pub fn entering(caller: &Environment<'_>, changes: impl FnOnce(&Environment<'_>) -> Vec<Change>) -> Variables {
    let before = memory::taken_back(caller);
    let base: Environment<'_> = before.iter().map(|(name, value)| (&**name, &**value)).collect();
    let changes = changes(&base);
    let mut wanted = before.clone();
    wanted.insert(memory::BEFORE.into(), memory::kept(&base, &changes));
    for Change { name, value, .. } in changes {
        match value {
            Some(value) => wanted.insert(name.into(), value),
            None => wanted.remove(OsStr::new(&name)),
        };
    }
    difference(caller, &wanted)
}

/// What makes of `caller` what it was before; nothing if it was led nowhere.
pub fn leaving(caller: &Environment<'_>) -> Variables {
    difference(caller, &memory::taken_back(caller))
}

/// What makes `wanted` of `caller`.
fn difference(caller: &Environment<'_>, wanted: &BTreeMap<OsString, OsString>) -> Variables {
    let set = wanted
        .iter()
        .filter(|(name, value)| caller.get(&***name) != Some(&&***value))
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let removed = caller
        .keys()
        .filter(|name| !wanted.contains_key(**name))
        .map(|name| ((*name).to_owned(), None));
    set.chain(removed).collect()
}

/// The changes as this shell reads them. Names that are no names of variables to a shell are left out.
pub fn write(shell: Shell, variables: &Variables) -> Vec<u8> {
    if shell == Shell::Json {
        let object: serde_json::Map<_, _> = variables
            .iter()
            .map(|(name, value)| {
                let value = value.as_ref().map(|value| value.to_string_lossy().into_owned());
                (name.to_string_lossy().into_owned(), value.into())
            })
            .collect();
        return format!("{:#}\n", serde_json::Value::Object(object)).into_bytes();
    }
    let mut text = Vec::new();
    for (name, value) in variables.iter().filter(|(name, _)| is_name(name)) {
        let (name, value) = (name.as_bytes(), value.as_ref().map(|value| value.as_bytes()));
        let parts: [&[u8]; 4] = match (shell, value) {
            (Shell::Bash | Shell::Zsh, Some(value)) => [b"export ", name, b"=", &single_quoted(value)],
            (Shell::Bash | Shell::Zsh, None) => [b"unset ", name, b"", b""],
            (Shell::Fish, Some(value)) => [b"set -gx ", name, b" ", &fish(value)],
            (Shell::Fish, None) => [b"set -e ", name, b"", b""],
            (Shell::Nu, Some(value)) => [b"$env.", name, b" = ", &double_quoted(value, b"\\\"")],
            (Shell::Nu, None) => [b"hide-env --ignore-errors ", name, b"", b""],
            (Shell::Dotenv, value) => [b"", name, b"=", &dotenv(value.unwrap_or_default())],
            (Shell::Github, value) => [b"", name, b"", &heredoc(value.unwrap_or_default())],
            (Shell::Json, _) => continue,
        };
        text.extend(parts.concat());
        if matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish) {
            // Fish's `eval (…)` makes spaces of line breaks.
            text.push(b';');
        }
        text.push(b'\n');
    }
    text
}

/// Whether a shell takes this for the name of a variable.
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// In single quotes, within which POSIX shells know nothing but their end.
fn single_quoted(value: &[u8]) -> Vec<u8> {
    [b"'", &*replaced(value, b'\'', b"'\\''"), b"'"].concat()
}

/// In fish's single quotes, within which a backslash escapes itself and the quote; line breaks stand outside, escaped.
fn fish(value: &[u8]) -> Vec<u8> {
    let value = replaced(value, b'\\', b"\\\\");
    let value = replaced(&value, b'\'', b"\\'");
    [b"'", &*replaced(&value, b'\n', b"'\\n'"), b"'"].concat()
}

/// In double quotes, with these bytes and line breaks escaped by a backslash.
fn double_quoted(value: &[u8], escaped: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in value {
        match byte {
            b'\n' => quoted.extend(b"\\n"),
            b'\r' => quoted.extend(b"\\r"),
            byte if escaped.contains(byte) => quoted.extend([b'\\', *byte]),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    quoted
}

/// As it is where every reader of such files takes it so, which most values are; else in the quotes that most of them know.
fn dotenv(value: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:,@%+=*[]&".contains(byte);
    if value.iter().all(is_plain) {
        return value.to_vec();
    }
    if value.iter().any(|byte| b"'\\\n\r".contains(byte)) {
        return double_quoted(value, b"\\\"$`");
    }
    [b"'", value, b"'"].concat()
}

/// Between two lines that hold the same word, which is in none of the value's.
fn heredoc(value: &[u8]) -> Vec<u8> {
    let word = format!("amb_{:032x}", fastrand::u128(..)).into_bytes();
    [b"<<", &*word, b"\n", value, b"\n", &*word].concat()
}

/// With each of one byte replaced.
fn replaced(text: &[u8], byte: u8, by: &[u8]) -> Vec<u8> {
    text.split(|found| *found == byte).collect::<Vec<_>>().join(by)
}

/// amb's own environment, as `amb env` compares with it.
pub(super) fn own(variables: &[(OsString, OsString)]) -> Environment<'_> {
    inject::environment(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes as a shell reads them.
    fn written(shell: Shell, variables: &[(&str, Option<&[u8]>)]) -> String {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), value.map(|value| OsStr::from_bytes(value).to_owned())));
        String::from_utf8_lossy(&write(shell, &variables.collect())).into_owned()
    }

    #[test]
    fn each_shell_has_its_own_quotes() {
        let value: &[u8] = b"it's \"$HOME\" \\ `id`\nx";
        for (shell, expected) in [
            (Shell::Bash, "export A='it'\\''s \"$HOME\" \\ `id`\nx';\nunset B;\n"),
            (
                Shell::Fish,
                "set -gx A 'it\\'s \"$HOME\" \\\\ `id`'\\n'x';\nset -e B;\n",
            ),
            (
                Shell::Nu,
                "$env.A = \"it's \\\"$HOME\\\" \\\\ `id`\\nx\"\nhide-env --ignore-errors B\n",
            ),
            (Shell::Dotenv, "A=\"it's \\\"\\$HOME\\\" \\\\ \\`id\\`\\nx\"\nB=\n"),
            (
                Shell::Json,
                "{\n  \"A\": \"it's \\\"$HOME\\\" \\\\ `id`\\nx\",\n  \"B\": null\n}\n",
            ),
        ] {
            assert_eq!(
                written(shell, &[("A", Some(value)), ("B", None)]),
                expected,
                "{shell:?}"
            );
        }
    }

    #[test]
    fn what_is_plain_is_written_plainly_to_files() {
        let shown = written(
            Shell::Dotenv,
            &[("A", Some(b"http://127.0.0.1:1")), ("B", Some(b"a b|c"))],
        );
        assert_eq!(shown, "A=http://127.0.0.1:1\nB='a b|c'\n");
    }

    #[test]
    fn a_value_cannot_end_its_own_heredoc() {
        let shown = written(Shell::Github, &[("A", Some(b"x\nEOF\nPATH<<EOF\ny"))]);
        let lines: Vec<_> = shown.lines().collect();
        let word = lines[0].strip_prefix("A<<").unwrap();
        assert_eq!(lines[1..5], ["x", "EOF", "PATH<<EOF", "y"]);
        assert_eq!((lines[5], lines.len()), (word, 6));
        assert_ne!(shown, written(Shell::Github, &[("A", Some(b"x\nEOF\nPATH<<EOF\ny"))]));
    }

    #[test]
    fn what_is_no_name_to_a_shell_is_left_out() {
        assert_eq!(written(Shell::Bash, &[("A;id", Some(b"x")), ("1", None)]), "");
    }

    #[test]
    fn who_is_led_elsewhere_and_then_back_has_what_there_was() {
        let original = vec![
            (OsString::from("no_proxy"), OsString::from("mine")),
            ("HOME".into(), "/home/me".into()),
        ];
        let led = |to: &'static str| {
            move |base: &Environment<'_>| {
                let own = base.get(OsStr::new("no_proxy")).unwrap().to_str().unwrap();
                let change = |name: &str, value: Option<String>| Change {
                    name: name.to_owned(),
                    value: value.map(OsString::from),
                    origin: inject::Origin::Marker,
                };
                vec![
                    change("http_proxy", Some(to.to_owned())),
                    change("no_proxy", Some(format!("{own},localhost"))),
                ]
            }
        };
        let apply = |environment: &[(OsString, OsString)], changes: Variables| -> Vec<(OsString, OsString)> {
            let mut all: BTreeMap<OsString, OsString> = environment.iter().cloned().collect();
            for (name, value) in changes {
                match value {
                    Some(value) => all.insert(name, value),
                    None => all.remove(&name),
                };
            }
            all.into_iter().collect()
        };
        let first = apply(&original, entering(&own(&original), led("http://first")));
        let second = apply(&first, entering(&own(&first), led("http://second")));
        let of = |name: &str| {
            second
                .iter()
                .find(|(known, _)| known == name)
                .unwrap()
                .1
                .to_str()
                .unwrap()
        };
        assert_eq!((of("http_proxy"), of("no_proxy")), ("http://second", "mine,localhost"));
        let mut expected = original.clone();
        expected.sort();
        assert_eq!(apply(&second, leaving(&own(&second))), expected);
    }
}
