//! The difference that the changes make, for people to read.

use std::{ffi::OsStr, fmt::Write};

use super::{Change, Environment};

/// One line for each change, in their order: `+ name=value`, `~ name=value  (was …)`, `- name  (was …)`.
///
/// What stands before the `@` of a proxy is shown as `***`, and so is the value of a Java option that names a password.
/// Control characters are shown escaped: the lines are for a terminal.
pub fn difference(inherited: &Environment<'_>, changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .filter_map(|change| {
            let was = inherited.get(OsStr::new(&change.name)).map(|was| shown(was));
            let name = &change.name;
            Some(match (change.value.as_deref().map(shown), was) {
                (Some(value), None) => format!("+ {name}={value}"),
                (Some(value), Some(was)) => format!("~ {name}={value}  (was {was})"),
                (None, Some(was)) => format!("- {name}  (was {was})"),
                (None, None) => return None,
            })
        })
        .collect()
}

/// A value as it may be shown.
fn shown(value: &OsStr) -> String {
    let mut shown = String::new();
    for character in value.to_string_lossy().chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            write!(shown, "{}", character.escape_default()).unwrap_or_default();
        } else {
            shown.push(character);
        }
    }
    // Words, because `JAVA_TOOL_OPTIONS` and `NO_PROXY` hold several.
    let words: Vec<String> = shown.split(' ').map(masked).collect();
    words.join(" ")
}

/// A word without its secrets.
///
/// Up to the *last* `@`: a password that should have been percent-encoded, and was not, may hold one, and a `/` too.
fn masked(word: &str) -> String {
    if let Some((option, _)) = word.split_once('=')
        && option.to_ascii_lowercase().ends_with("password")
    {
        return format!("{option}=***");
    }
    match word.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or(0, |colon| colon + "://".len());
            format!("{}***@{after}", &before[..scheme])
        }
        None => word.to_owned(),
    }
}
