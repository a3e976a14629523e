//! The units of systemd in the README.

use std::{fs, process::Command};

use crate::{
    readme::{block, read},
    support::say_skipped,
};

#[test]
fn systemd_finds_no_fault_with_the_units_of_the_readme() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        say_skipped("there is no systemd-analyze");
        return;
    }
    let readme = read("README.md");
    let directory = tempfile::tempdir().unwrap();
    // Verify looks for the programs.
    let program = directory.path().join("program");
    fs::copy("/bin/true", &program).unwrap();
    for (name, marker) in [("billing.service", "unit-run"), ("amb.service", "unit-serve")] {
        let unit = block(&readme, marker)
            .replace("/usr/bin/amb", program.to_str().unwrap())
            .replace("User=billing", "User=root");
        let path = directory.path().join(name);
        fs::write(&path, unit).unwrap();
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let faults: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(output.status.success() && faults.is_empty(), "{name}\n{said}");
    }
}
