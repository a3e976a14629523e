//! Completion as a person meets it: a shell, a line, a TAB.

use std::{ffi::OsString, path::Path};

use crate::support::{Terminal, say_skipped};

/// A shell, and how it is made to complete.
struct Shell {
    /// Its program.
    program: &'static str,
    /// The words behind it.
    arguments: &'static [&'static str],
    /// What is typed first; `READY` is said at its end.
    setup: &'static str,
    /// A file without which it completes nothing of others.
    needs: &'static str,
}

/// Those for which there is a script of amb's own.
const SHELLS: [Shell; 3] = [
    Shell {
        program: "bash",
        arguments: &["--norc", "--noprofile", "-i"],
        setup: ". /usr/share/bash-completion/bash_completion; source <(amb completions bash); echo REA''DY",
        needs: "/usr/share/bash-completion/completions/git",
    },
    Shell {
        program: "zsh",
        arguments: &["-f", "-i"],
        setup: "autoload -U compinit; compinit -u -D; source <(amb completions zsh); echo REA''DY",
        needs: "/usr/share/zsh/functions/Completion/Unix/_git",
    },
    Shell {
        program: "fish",
        arguments: &["-i"],
        setup: "amb completions fish | source; echo REA''DY",
        needs: "/usr/share/fish/completions/git.fish",
    },
];

/// In each shell, types `line` with its TABs and an Enter; `said` then appears on the screen.
#[track_caller]
fn check(line: &str, said: &str) {
    for shell in SHELLS {
        if !Path::new(shell.needs).exists() {
            say_skipped(&format!(
                "{} or its completions are not installed ({})",
                shell.program, shell.needs
            ));
            continue;
        }
        let mut path = OsString::from(Path::new(env!("CARGO_BIN_EXE_amb")).parent().unwrap());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut search = OsString::from("PATH=");
        search.push(path);
        // Where fish finds no completions made of manual pages, it makes them, which takes minutes.
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(data.path().join("fish/generated_completions")).unwrap();
        let mut keep = OsString::from("XDG_DATA_HOME=");
        keep.push(data.path());
        let mut words = vec![OsString::from("env"), search, keep, shell.program.into()];
        words.extend(shell.arguments.iter().map(OsString::from));
        let mut terminal = Terminal::run(&words);
        terminal.type_text(shell.setup).type_text("\r").wait_for("READY");
        for part in line.split_inclusive('\t') {
            terminal.type_text(part);
        }
        terminal.type_text("\r").wait_for(said);
        terminal.hang_up();
    }
}

#[test]
fn the_wrapped_command_is_completed_as_without_amb() {
    check("amb run -- git --vers\t", "git version");
    check("amb run --summary=off git --vers\t", "git version");
}

#[test]
fn options_and_their_values_are_completed() {
    check("amb run --summ\tcomp\t-- sh -c 'echo DO''NE'", "DONE");
    check(
        "amb run --connect-to a:80:b:80 --summary=o\t -- sh -c 'echo DO''NE'",
        "DONE",
    );
    check("amb ru\t--dry-r\t-- true", "environment");
}

#[test]
fn files_are_completed_where_a_file_is_wanted() {
    check("touch first.toml\ramb run --config fir\t-- sh -c 'echo DO''NE'", "DONE");
}
