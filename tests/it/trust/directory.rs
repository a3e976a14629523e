//! The directory of certificates over the life of a run.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{clean, opening, program};
use crate::support::{Amb, say_skipped};

/// A place for temporary files, into which others can look.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// How many entries there are.
fn count(place: &Path) -> usize {
    fs::read_dir(place).unwrap().count()
}

#[test]
fn nothing_is_left_however_the_command_ends() {
    for (script, status) in [("exit 0", 0), ("exit 3", 3)] {
        let place = place();
        let run = opening().env("TMPDIR", place.path());
        run.shell(&format!("test -s $AMB_CA_FILE && test -s $SSL_CERT_FILE && {script}"))
            .status(status);
        assert_eq!(count(place.path()), 0, "{script}");
    }
    for signal in [9, 15, 11] {
        let place = place();
        let run = opening().env("TMPDIR", place.path());
        run.shell(&format!("test -s $AMB_CA_FILE && kill -{signal} $$"))
            .outcome()
            .assert_signal(signal);
        assert_eq!(count(place.path()), 0, "{signal}");
    }
    let place = place();
    let run = opening().env("TMPDIR", place.path());
    run.command(["/nowhere/at/all"]).status(127);
    assert_eq!(count(place.path()), 0, "a command that is not there");
}

#[test]
fn what_a_killed_amb_leaves_the_next_run_removes() {
    let place = place();
    let run = opening().env("TMPDIR", place.path());
    // amb is the shell's parent, and takes it along when it dies.
    run.shell("kill -9 $PPID; exec sleep 60").outcome().assert_signal(9);
    assert_eq!(count(place.path()), 1);
    let run = opening().env("TMPDIR", place.path());
    run.shell("test $(ls $TMPDIR | wc -l) -eq 0 || test $(ls -d $TMPDIR/amb-trust-* | wc -l) -eq 1")
        .success();
    assert_eq!(count(place.path()), 0);
}

#[test]
fn a_command_of_roots_that_becomes_another_user_can_read_its_certificates() {
    if !rustix::process::geteuid().is_root() || program("setpriv").is_none() {
        return say_skipped("only root becomes another user, by setpriv");
    }
    let place = place();
    let script = "exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'cat $AMB_CA_FILE $SSL_CERT_FILE \
                  $APT_CONFIG ${PHP_INI_SCAN_DIR#:}/*'";
    let run = opening().env("TMPDIR", place.path());
    let said = run.command(["sh", "-c", script]).success();
    assert!(said.stdout().contains("openssl.cafile"), "{}", said.stdout());
}

#[test]
fn a_place_that_cannot_be_written_to_ends_the_run_before_it_begins() {
    let run = opening().env("TMPDIR", "/proc/self");
    let outcome = run.command(["touch", "it-ran"]).status(125);
    let said = outcome.stderr();
    assert!(
        said.starts_with("amb: cannot make a directory for certificates in /proc/self: ")
            && said.ends_with("amb: hint: set TMPDIR to a directory that you can write to\n"),
        "{said}"
    );
}

#[test]
fn a_file_system_that_is_full_ends_the_run_before_it_begins() {
    let Some(unshare) = program("unshare").filter(|_| rustix::process::geteuid().is_root()) else {
        return say_skipped("only root mounts a small file system");
    };
    let place = place();
    let mount = "mount -t tmpfs -o size=64k,mode=755 small $TMPDIR";
    let check =
        format!("{mount} && echo mounted >&2; \"$AMB\" run --summary=off --intercept -- echo it ran; ls $TMPDIR");
    let run = clean(Amb::bare()).env("TMPDIR", place.path());
    let run = run.env("AMB", env!("CARGO_BIN_EXE_amb"));
    let words = [unshare.to_str().unwrap(), "--mount", "sh", "-c", &check];
    let outcome = run.command(words).outcome();
    if !outcome.stderr().contains("mounted") {
        return say_skipped("nothing can be mounted here");
    }
    let said = outcome.stderr();
    assert!(said.contains("amb: cannot write the certificates to "), "{said}");
    assert!(said.contains(": No space left on device"), "{said}");
    outcome.assert_stdout("");
}

#[test]
fn what_would_be_set_is_shown_with_a_stand_in() {
    let place = place();
    let mut run = Amb::run(["--dry-run", "--intercept"]);
    for name in super::VARIABLES {
        run = run.without_env(name);
    }
    let run = run.env("TMPDIR", place.path());
    let outcome = run.command(["true"]).success();
    for line in [
        "  + AMB_CA_FILE=CERTIFICATES/amb.pem\n",
        "  + SSL_CERT_FILE=CERTIFICATES/roots.pem\n",
        "  + WGETRC=CERTIFICATES/wgetrc\n",
        " -Djavax.net.ssl.trustStorePassword=*** ",
    ] {
        assert!(outcome.stdout().contains(line), "{line}: {}", outcome.stdout());
    }
    assert_eq!(count(place.path()), 0);
}

#[test]
fn a_run_that_opens_nothing_sets_and_writes_nothing() {
    let place = place();
    let run = clean(Amb::run(["--summary=off", "--no-control"])).env("TMPDIR", place.path());
    let names = super::VARIABLES.join("|");
    let script = format!("env | cut -d= -f1 | grep -xE 'AMB_CA_FILE|{names}'; ls $TMPDIR");
    run.shell(&script).outcome().assert_stdout("JAVA_TOOL_OPTIONS\n");
}
