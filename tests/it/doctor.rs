//! `amb doctor`: what it says of programs is what they do, and it leaves nothing behind.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;

use super::support::say_skipped;

/// `amb doctor` with these arguments, in a home of its own that comes first in `PATH`.
fn doctor(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let path = format!(
        "{}:{}",
        home.join("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new(env!("CARGO_BIN_EXE_amb"))
        .arg("doctor")
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("TMPDIR", home.join("tmp"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("https_proxy", "http://me:secret@127.0.0.1:9")
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    )
}

/// A home with directories for temporary files, and programs of these names that are these scripts.
fn home(programs: &[(&str, &str)]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for directory in ["bin", "tmp", "run"] {
        fs::create_dir(home.path().join(directory)).unwrap();
    }
    fs::set_permissions(home.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    for (name, script) in programs {
        let path = home.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    home
}

/// Everything below a directory but what a test has put there.
fn left(home: &Path) -> Vec<String> {
    ["", "tmp", "run"]
        .iter()
        .flat_map(|below| fs::read_dir(home.join(below)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["bin", "tmp", "run"].contains(&&**name))
        .collect()
}

#[test]
fn a_program_that_trusts_amb_works_and_nothing_is_left_behind() {
    if Command::new("curl").arg("--version").output().is_err() {
        return say_skipped("there is no curl here");
    }
    let home = home(&[]);
    let (status, said) = doctor(home.path(), &["curl"]);
    assert_eq!(status, Some(0), "{said}");
    let line = said.lines().find(|line| line.starts_with("curl ")).unwrap();
    assert!(line.trim_end().ends_with(" works"), "{said}");
    for text in [
        "kernel ",
        "sock_diag ",
        "landlock ",
        "open files ",
        "https_proxy ",
        "amb goes through it",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(left(home.path()), [""; 0]);
}

#[test]
fn what_does_not_work_is_told_with_its_reason() {
    let Ok(curl) = Command::new("sh").args(["-c", "command -v curl"]).output() else {
        return;
    };
    let curl = String::from_utf8(curl.stdout).unwrap();
    let curl = curl.trim();
    if curl.is_empty() {
        return say_skipped("there is no curl here");
    }
    let version = "case $1 in *version*) echo 1.0; exit;; esac\n";
    let scripts = [
        ("wget", "exit 0".to_owned(), "ignores_proxy"),
        ("git", "echo no error but mine >&2; exit 3".to_owned(), "ignores_proxy"),
        (
            "ruby",
            format!("{curl} -sS --cacert /dev/null --capath /dev/null $URL"),
            "does_not_trust",
        ),
        ("uv", "sleep 60".to_owned(), "timed_out"),
        ("bun", format!("{curl} -sS http://nowhere.test:1/"), "failed"),
    ];
    let programs: Vec<(&str, String)> = scripts
        .iter()
        .map(|(name, script, _)| (*name, format!("{version}{script}")))
        .collect();
    let programs: Vec<(&str, &str)> = programs.iter().map(|(name, script)| (*name, &**script)).collect();
    let home = home(&programs);
    let names = scripts.iter().map(|(name, ..)| *name);
    let arguments: Vec<&str> = ["--json", "--time-limit=4s"].into_iter().chain(names).collect();
    let (status, said) = doctor(home.path(), &arguments);
    assert_eq!(status, Some(0), "{said}");
    let findings: Value = serde_json::from_str(&said).unwrap();
    let clients = findings["clients"].as_array().unwrap();
    assert_eq!(clients.len(), scripts.len(), "{said}");
    for (name, _, verdict) in scripts {
        let found = clients.iter().find(|client| {
            let called = client["name"].as_str().unwrap().to_ascii_lowercase();
            called.starts_with(name)
        });
        let found = found.unwrap();
        assert_eq!(found["verdict"], verdict, "{name}: {said}");
        assert_eq!(found["version"], "1.0", "{name}: {said}");
    }
    assert!(said.contains("no error but mine"), "{said}");
    assert_eq!(left(home.path()), [""; 0]);
}

#[test]
fn what_is_not_installed_is_no_fault_and_what_is_unknown_is_a_mistake() {
    let home = home(&[("deno", "exit 1")]);
    let (status, said) = doctor(home.path(), &["deno"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("not installed: Deno"), "{said}");
    let (status, said) = doctor(home.path(), &["nonsense"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("`nonsense`"), "{said}");
}
