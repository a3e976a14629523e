//! A mistake on the command line or in the configuration: one clear line, status 125, and nothing was started.

mod commands;
mod gallery;

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// `amb` in a directory and an environment of its own.
struct Scene {
    /// Where it runs; a command that is started leaves the file `started` there.
    directory: TempDir,
    /// What it is given besides the bare minimum.
    environment: Vec<(OsString, OsString)>,
    /// The directory inside in which it runs, if it is another.
    inside: Option<String>,
}

impl Scene {
    /// Nothing configured.
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            environment: Vec::new(),
            inside: None,
        }
    }

    /// With a file in the directory.
    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// With a variable.
    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where it runs.
    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `amb` with these arguments.
    fn amb(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_amb"))
            .args(arguments)
            .current_dir(self.path().join(self.inside.as_deref().unwrap_or_default()))
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.iter().cloned())
            .output()
            .unwrap()
    }

    /// Runs a command that leaves a mark under `amb run` with these flags.
    fn run(&self, flags: &[&str]) -> Output {
        self.amb(&[&["run"], flags, &["--", "touch", "started"]].concat())
    }

    /// Whether the command was started.
    fn started(&self) -> bool {
        self.path().join("started").exists()
    }

    /// Nothing was started, and amb says these lines and no other; a line that ends in `…` may go on.
    #[track_caller]
    fn refuses(&self, flags: &[&str], lines: &[&str]) {
        let output = self.run(flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(!self.started(), "the command was started");
        assert!(output.stdout.is_empty(), "stdout is the command's");
        let fits = |(line, expected): (&str, &&str)| match expected.strip_suffix('…') {
            Some(start) => line.starts_with(start),
            None => line == *expected,
        };
        assert!(
            said.lines().count() == lines.len() && said.lines().zip(lines).all(fits),
            "{said}\nand not\n{}",
            lines.join("\n")
        );
    }
}

/// What stands below a mistyped flag.
const USAGE: &str = "amb: usage: amb run [OPTIONS] [--] <COMMAND> [ARGS]...";

#[test]
fn a_sound_configuration_starts_the_command() {
    let scene = Scene::new()
        .file(
            "amb.toml",
            "version = 1\n[run]\ndrain = '0s'\nthreads = 1\n[timeout]\nconnect = '2s'\n",
        )
        .variable("AMB_RUN__NAME", "sound")
        .variable("AMB_RUN_ID", "another-amb-put-this-here");
    let output = scene.run(&["--connect-to", "a:80:localhost:8080"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(scene.started());
}

#[test]
fn an_unknown_flag_is_refused_with_the_one_that_was_meant() {
    let mistake = "amb: unexpected argument '--run-timout' found";
    let hint = "amb: hint: a similar argument exists: '--run-timeout'";
    Scene::new().refuses(&["--run-timout", "5s"], &[mistake, hint, "amb: hint: to pass …", USAGE]);
}

#[test]
fn a_value_that_a_flag_cannot_take_is_refused() {
    for (flags, line) in [
        (
            ["--run-timeout", "5"],
            "amb: invalid value '5' for '--run-timeout <DURATION>': `5` has no unit: did you mean `5s`?",
        ),
        (
            ["--connect-to", "a:80"],
            "amb: invalid value 'a:80' for '--connect-to <HOST:PORT:HOST2:PORT2>': \
             `a:80` is not of the form HOST:PORT:HOST2:PORT2",
        ),
        (
            ["--resolve", "a:80:b"],
            "amb: invalid value 'a:80:b' for '--resolve <HOST:PORT:ADDR[,ADDR]>': `b` is not an IP address…",
        ),
        (
            ["--listen", "0.0.0.0:80"],
            "amb: invalid value '0.0.0.0:80' for '--listen <ADDR>': \
             `0.0.0.0:80` can be reached from other machines, which would need a token…",
        ),
        (["--threads", "0"], "amb: --threads: expected 1 to 64 threads"),
    ] {
        Scene::new().refuses(&flags, &[line]);
    }
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place() {
    for (text, first, source, marks) in [
        (
            "[run]\ntimeot = '5s'\n",
            "amb: amb.toml:2:1: unknown key `timeot` in [run]; …",
            "amb:  2 | timeot = '5s'",
            "amb:    | ^^^^^^",
        ),
        (
            "run.threads = 'two'\n",
            "amb: amb.toml:1:15: expected a whole number from 1 to 64, found the text `two`",
            "amb:  1 | run.threads = 'two'",
            "amb:    |               ^^^^^",
        ),
        (
            "run.drain = 5\n",
            "amb: amb.toml:1:13: `5` has no unit: did you mean \"5s\"?",
            "amb:  1 | run.drain = 5",
            "amb:    |             ^",
        ),
        ("[run\n", "amb: amb.toml:1:5: …", "amb:  1 | [run", "amb:    |     ^"),
    ] {
        Scene::new()
            .file("amb.toml", text)
            .refuses(&[], &[first, source, marks]);
    }
}

#[test]
fn mistakes_in_all_layers_are_told_at_once() {
    Scene::new()
        .file("amb.toml", "tiemout.connect = '1s'\n")
        .file("other.toml", "timeout.connect = true\n")
        .variable("AMB_RUN__DRAIN", "1")
        .variable("AMB_TIMEOUT__CONECT", "1s")
        .refuses(
            &["--config", "other.toml", "--threads", "65"],
            &[
                "amb: amb.toml:1:1: unknown key `tiemout`; did you mean `timeout`?",
                "amb:  1 | tiemout.connect = '1s'",
                "amb:    | ^^^^^^^",
                "amb: other.toml:1:19: expected a duration with its unit, such as \"5s\", found `true`",
                "amb:  1 | timeout.connect = true",
                "amb:    |                   ^^^^",
                "amb: AMB_RUN__DRAIN: `1` has no unit: did you mean `1s`?",
                "amb: AMB_TIMEOUT__CONECT: unknown key `conect` in [timeout]; did you mean `connect`?",
                "amb: --threads: expected 1 to 64 threads",
            ],
        );
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let missing = "amb: missing.toml: there is no such file";
    Scene::new().refuses(&["--config", "missing.toml"], &[missing]);
    Scene::new()
        .variable("AMB_CONFIG", "missing.toml")
        .refuses(&[], &[missing]);

    let directory = Scene::new();
    fs::create_dir(directory.path().join("amb.toml")).unwrap();
    directory.refuses(&[], &["amb: amb.toml: is a directory"]);

    let binary = Scene::new();
    fs::write(binary.path().join("amb.toml"), [0xff, 0xfe]).unwrap();
    binary.refuses(&[], &["amb: amb.toml: is not UTF-8, which TOML requires"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_refused_if_it_is_a_key() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = OsString::from_vec(vec![0xff]);
    Scene::new()
        .variable("AMB_RUN__NAME", bytes.clone())
        .refuses(&[], &["amb: AMB_RUN__NAME: is not UTF-8"]);
    let other = Scene::new().variable("AMB_OTHER", bytes);
    assert_eq!(other.run(&[]).status.code(), Some(0));
}

#[test]
fn run_without_a_command_is_125_and_not_a_commands_2() {
    for arguments in [&["run"][..], &["run", "--"], &["run", "--name", "x"], &["-v", "run"]] {
        let output = Scene::new().amb(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{arguments:?}: {said}");
        assert_eq!(
            said,
            format!("amb: there is no command to run\n{USAGE}\n"),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_word_that_is_no_subcommand_is_answered_with_what_was_meant() {
    let output = Scene::new().amb(&["foo", "--bar"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "amb: there is no subcommand `foo`\namb: hint: did you mean `amb run -- foo`?\n"
    );
}

#[test]
fn amb_alone_shows_how_to_begin() {
    let output = Scene::new().amb(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said.matches("\n  amb ").count(), 3, "three examples: {said}");
}

#[test]
fn help_and_version_are_for_stdout() {
    for arguments in [
        &["run", "--help"][..],
        &["run", "-h"],
        &["-h"],
        &["--version"],
        &["help", "run"],
    ] {
        let output = Scene::new().amb(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_closed_stderr_changes_nothing_but_what_is_said() {
    let status = Command::new("sh")
        .args(["-c", "\"$AMB\" run --bogus -- touch started 2>&-"])
        .env("AMB", env!("CARGO_BIN_EXE_amb"))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(125));
}
