//! `man/` and `completions/` are what `amb generate` writes.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use amb::cli::generate::{What, files};

#[track_caller]
fn check(what: What, name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let remedy = format!("write them anew: `cargo run -- generate {name} {name}`");
    let generated = files(what).unwrap();
    for (file, content) in &generated {
        let committed = fs::read(directory.join(file)).unwrap_or_default();
        assert!(committed == *content, "{name}/{file} is out of date; {remedy}");
    }
    let expected: BTreeSet<_> = generated.iter().map(|(file, _)| file.clone()).collect();
    let found: BTreeSet<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected, "{name}/ holds something else; {remedy}");
}

#[test]
fn the_man_pages_are_those_of_this_command_line() {
    check(What::Man, "man");
}

#[test]
fn the_completions_are_those_of_this_command_line() {
    check(What::Completions, "completions");
}

#[test]
fn what_is_generated_depends_on_no_surroundings() {
    for what in ["man", "completions"] {
        let written = |columns: &str, color: &str| {
            let directory = tempfile::tempdir().unwrap();
            let status = Command::new(env!("CARGO_BIN_EXE_amb"))
                .args(["generate", what])
                .arg(directory.path())
                .env("COLUMNS", columns)
                .env("CLICOLOR_FORCE", color)
                .env("AMB_CONFIG", columns)
                .status()
                .unwrap();
            assert!(status.success());
            let mut files: Vec<_> = fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
                .collect();
            files.sort();
            files
        };
        assert_eq!(written("40", "0"), written("200", "1"), "{what}");
    }
}

#[test]
fn no_page_has_a_fault_that_mandoc_knows() {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = fs::read_dir(man).unwrap().map(|page| page.unwrap().path());
    match Command::new("mandoc")
        .args(["-Tlint", "-Wwarning"])
        .args(pages)
        .output()
    {
        Ok(said) => assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout)),
        Err(reason) => crate::support::say_skipped(&format!("mandoc does not start: {reason}")),
    }
}
