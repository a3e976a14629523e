//! `amb shell`: which shell it is, and the line on entry. All else is as with any command.

use std::ffi::OsString;

use nix::unistd::{Uid, User};

use super::ambassador::Ambassador;
use crate::{cli, supervise::Confine};

/// The shell of a user of whom nothing else is known.
const USUAL: &str = "/bin/sh";

/// The command that opens the user's shell: the one of `SHELL`, else the one that the user logs in with, else `/bin/sh`.
pub fn of_user(environment: &[(OsString, OsString)]) -> Vec<OsString> {
    let named = environment.iter().rev().find(|(name, _)| name == "SHELL");
    let shell = named.map(|(_, shell)| shell.clone()).filter(|shell| !shell.is_empty());
    let shell = shell.or_else(of_login).unwrap_or_else(|| USUAL.into());
    vec![shell, "-i".into()]
}

/// The shell that the user logs in with, as the system knows it.
fn of_login() -> Option<OsString> {
    let user = User::from_uid(Uid::effective()).ok()??;
    let shell = user.shell.into_os_string();
    (!shell.is_empty()).then_some(shell)
}

/// Says on entry what is on.
pub(super) fn greet(ambassador: &Ambassador<'_>) {
    let (purpose, config) = (&ambassador.purpose, ambassador.config);
    if purpose.console.quiet {
        return;
    }
    let mut line = format!("shell {}, proxy http://{}", config.name, ambassador.proxy);
    for fact in facts(ambassador) {
        line.push_str(", ");
        line.push_str(&fact);
    }
    line.push_str("; exit to see the summary");
    cli::say(&line.replace(char::is_control, "\u{fffd}"));
}

/// What is on beyond a proxy that changes nothing.
pub(super) fn facts(ambassador: &Ambassador<'_>) -> Vec<String> {
    let config = ambassador.config;
    let mut facts = Vec::new();
    facts.extend(super::outcome::egress(config).map(|mode| format!("egress {mode}")));
    facts.extend((config.supervise.confine == Confine::Tcp).then(|| "confined to it".to_owned()));
    facts.extend(
        ambassador
            .capture
            .tally
            .as_ref()
            .map(|_| "connections captured".to_owned()),
    );
    facts.extend(config.policy.tls.intercepts().then(|| "HTTPS decrypted".to_owned()));
    facts.extend(
        ambassador
            .central_policy()
            .map(|policy| format!("central policy {policy}")),
    );
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_that_of_the_variable_and_interactive() {
        let environment = [
            ("SHELL".into(), "/bin/first".into()),
            ("SHELL".into(), "/bin/last".into()),
        ];
        assert_eq!(of_user(&environment), ["/bin/last", "-i"]);
    }

    #[test]
    fn without_the_variable_it_is_the_one_of_the_login() {
        for environment in [vec![], vec![("SHELL".into(), "".into())]] {
            let shell = of_user(&environment);
            assert!(
                shell[0].as_encoded_bytes().starts_with(b"/") && shell[1] == "-i",
                "{shell:?}"
            );
        }
    }
}
