//! `amb doctor`: what it says of programs is what they do, and it leaves nothing behind.

mod bypass;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command, sync::LazyLock};

use serde_json::Value;

use super::support::say_skipped;

/// The schema of the JSON, as amb prints it.
static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO_BIN_EXE_amb"))
        .args(["doctor", "--schema"])
        .output()
        .unwrap();
    jsonschema::validator_for(&serde_json::from_slice(&output.stdout).unwrap()).unwrap()
});

/// What was said as JSON, which keeps to its schema.
#[track_caller]
fn json(said: &str) -> Value {
    let value: Value = serde_json::from_str(said).expect(said);
    let errors: Vec<String> = SCHEMA.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{said}");
    value
}

/// The checks of this id.
fn checks<'a>(findings: &'a Value, id: &str) -> Vec<&'a Value> {
    let all = findings["checks"].as_array().unwrap();
    all.iter().filter(|check| check["id"] == id).collect()
}

/// `amb doctor` with these arguments, in a home of its own that comes first in `PATH`.
fn doctor(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    doctor_with(home, arguments, &[])
}

/// The same with these variables.
fn doctor_with(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
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
        .envs(variables.iter().copied())
        .current_dir(home)
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
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:open-sesame@{}", proxy.local_addr().unwrap());
    let (status, said) = doctor_with(home.path(), &["curl"], &[("https_proxy", &url)]);
    assert_eq!(status, Some(0), "{said}");
    let line = said.lines().find(|line| line.starts_with("ok   curl ")).expect(&said);
    assert!(line.contains(" works ("), "{said}");
    for text in [
        "kernel ",
        "sock_diag ",
        "landlock ",
        "open files ",
        "https_proxy ",
        ", which answers",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!said.contains("sesame"), "{said}");
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
    let findings = json(&said);
    for (name, _, verdict) in scripts {
        let found: Vec<&Value> = findings["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["id"].as_str().unwrap().starts_with(&format!("program.{name}")))
            .collect();
        assert_eq!(found.len(), 1, "{name}: {said}");
        assert_eq!(
            (&found[0]["verdict"], &found[0]["state"]),
            (&verdict.into(), &"warn".into()),
            "{name}: {said}"
        );
        assert!(found[0]["detail"].as_str().unwrap().contains("(1.0)"), "{name}: {said}");
        assert!(found[0]["remedy"].is_string(), "{name}: {said}");
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

#[test]
fn what_takes_no_time_is_looked_at_and_all_is_well_here() {
    let home = home(&[]);
    let (status, said) = doctor(home.path(), &["--quick", "--json"]);
    let findings = json(&said);
    assert_eq!(status, Some(0), "{said}");
    assert_ne!(findings["state"], "fail", "{said}");
    for id in [
        "amb.version",
        "configuration",
        "policy",
        "network.port",
        "network.proxy",
        "network.dns",
        "trust.roots",
        "places.runtime",
        "places.temporary",
        "places.clock",
        "kernel.release",
        "kernel.proc",
        "kernel.sock_diag",
        "kernel.landlock",
        "kernel.seccomp",
        "kernel.pidfd",
        "kernel.splice",
        "kernel.yama",
        "kernel.dumpable",
        "kernel.descriptors",
    ] {
        assert_eq!(checks(&findings, id).len(), 1, "{id}: {said}");
    }
    assert_eq!(left(home.path()), [""; 0]);
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_place() {
    let home = home(&[]);
    let file = home.path().join("amb.toml");
    fs::write(&file, "[timeout]\nconnect = \"soon\"\n").unwrap();
    let (status, said) = doctor(home.path(), &["--quick"]);
    assert_eq!(status, Some(1), "{said}");
    for text in [
        "FAIL configuration ",
        "amb.toml:2:11: ",
        "-> mend it",
        "FAIL 1 thing is wrong",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }

    fs::write(&file, "[upstream]\nproxy = \"http://127.0.0.1:9\"\n").unwrap();
    let (status, said) = doctor(home.path(), &["--quick", "--json"]);
    assert_eq!(status, Some(1), "{said}");
    let findings = json(&said);
    let found = checks(&findings, "configuration.trust");
    assert!(found[0]["remedy"].as_str().unwrap().contains("`amb trust`"), "{said}");
    let (status, said) = doctor(home.path(), &["--quick", "--no-config"]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn what_stands_in_the_way_is_told_with_what_helps() {
    let home = home(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let listen = format!("run.listen={port:?}");
    let gone = home.path().join("tmp/none").display().to_string();
    let variables = [
        ("NO_PROXY", "a, 10.0.0.0/8"),
        ("https_proxy", "http://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nonexistent/roots.pem"),
        ("TMPDIR", &gone),
        ("SHELL", "/bin/fish"),
    ];
    let (status, said) = doctor_with(home.path(), &["--quick", "--json", "--set", &listen], &variables);
    assert_eq!(status, Some(1), "{said}");
    let findings = json(&said);
    for (id, state, count) in [
        ("network.port", "fail", 1),
        ("network.proxy", "fail", 1),
        ("network.no_proxy", "warn", 2),
        ("trust.roots", "fail", 1),
        ("trust.variable", "warn", 1),
        ("places.temporary", "fail", 1),
        ("places.completions", "ok", 1),
    ] {
        let found = checks(&findings, id);
        assert_eq!(found.len(), count, "{id}: {said}");
        for check in found {
            assert_eq!(check["state"], state, "{id}: {said}");
            assert!(check["remedy"].is_string(), "{id}: {said}");
        }
    }
}
