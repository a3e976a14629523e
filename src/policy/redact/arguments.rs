//! The command's arguments as a report may have them.

use super::Redact;

/// Options whose value is a user with a password behind a colon: curl's and wget's.
const USERS: [&str; 4] = ["-u", "--user", "-U", "--proxy-user"];

/// Options whose value is a header or a body.
const CARRIERS: [&str; 9] = [
    "-H",
    "--header",
    "-d",
    "--data",
    "--data-raw",
    "--data-binary",
    "--json",
    "-F",
    "--form",
];

/// Parts of names of options and variables that hold secrets.
const SECRET_PARTS: [&str; 6] = ["token", "secret", "passw", "api_key", "apikey", "private_key"];

impl Redact {
    /// The words of a command line without secrets, as far as they can be told.
    pub fn arguments<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut shown = Vec::new();
        let mut before = "";
        for word in words {
            let name = before.trim_start_matches('-');
            shown.push(if USERS.contains(&before) && word.contains(':') {
                let (user, password) = word.split_once(':').unwrap_or_default();
                format!("{user}:{}", self.masked(password))
            } else if name.len() < before.len()
                && is_secret_name(name)
                && !before.contains('=')
                && !word.starts_with('-')
            {
                self.masked(word)
            } else {
                self.argument(word, CARRIERS.contains(&before))
            });
            before = word;
        }
        shown
    }

    /// One word. `carried` if it is known to be a header or a body.
    fn argument(&self, word: &str, carried: bool) -> String {
        if let Some(header) = word.strip_prefix("-H").filter(|header| !header.is_empty()) {
            return format!("-H{}", self.argument(header, true));
        }
        if let Some((name, value)) = word.split_once(':')
            && self.is_secret_header(name.trim())
        {
            let space = &value[..value.len() - value.trim_start().len()];
            return format!("{name}:{space}{}", self.masked(value.trim_start()));
        }
        if word.starts_with(['{', '['])
            && let Some(hidden) = self.json(word)
        {
            return hidden;
        }
        if let Some((scheme, rest)) = word.split_once("://") {
            // What stands before the @ of a URL, and its query.
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let authority = match authority.rsplit_once('@') {
                Some((user, host)) => format!("{}@{host}", self.masked(user)),
                None => authority.to_owned(),
            };
            let path = self.path(path.as_bytes());
            return match scheme.split_once('=') {
                Some((name, _)) if is_secret_name(name) => format!("{name}={}", self.masked(word)),
                _ => format!("{scheme}://{authority}{path}"),
            };
        }
        if carried {
            return self.query(word);
        }
        match word.split_once('=') {
            Some((name, value)) if is_secret_name(name) => format!("{name}={}", self.masked(value)),
            _ => word.to_owned(),
        }
    }
}

/// Whether an option or variable of this name holds a secret, and not the name of a file with one.
fn is_secret_name(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    let is_word = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    let is_path = ["file", "path", "dir", "url", "uri", "command"]
        .iter()
        .any(|end| name.ends_with(end));
    is_word && !is_path && SECRET_PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(words: &[&str], shown: &[&str]) {
        let redact = super::super::tests::built(serde_json::json!({ "headers": ["X-Mine"], "json": ["$.pin"] }));
        assert_eq!(redact.arguments(words.iter().copied()), shown);
    }

    #[test]
    fn secrets_of_a_command_line_are_known_by_where_they_stand() {
        check(
            &[
                "curl",
                "-H",
                "Authorization: Bearer x",
                "-HX-Mine: y",
                "-H",
                "x-mine: y",
                "-H",
                "Accept: a",
            ],
            &[
                "curl",
                "-H",
                "Authorization: ***",
                "-HX-Mine: ***",
                "-H",
                "x-mine: ***",
                "-H",
                "Accept: a",
            ],
        );
        check(
            &["curl", "-u", "me:pw", "http://u:p@h/a?token=1&b=2"],
            &["curl", "-u", "me:***", "http://***@h/a?token=***&b=2"],
        );
        check(
            &["x", "--api-key", "k", "--token=t", "A_SECRET=s"],
            &["x", "--api-key", "***", "--token=***", "A_SECRET=***"],
        );
        check(
            &["x", "-d", r#"{"pin":1}"#, "-d", "a=b&password=p"],
            &["x", "-d", r#"{"pin":"***"}"#, "-d", "a=b&password=***"],
        );
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        for words in [
            &["sh", "-c", "echo a=b; x --token-file f"][..],
            &["x", "--token-file", "f", "--secret-path=p", "--tokenize"],
            &["x", "--secret", "--verbose"],
            &["a:b", "{not json", "--url=http://h/p?x=1"],
        ] {
            check(words, words);
        }
    }
}
