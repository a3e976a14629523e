//! The JVM's trust stores, as the JVM's own tools see them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Authority, opening, program};
use crate::support::say_skipped;

/// Runs keytool; returns what it says.
#[track_caller]
fn keytool(keytool: &Path, arguments: &[&str]) -> String {
    let output = Command::new(keytool)
        .args(arguments)
        .env_remove("JAVA_TOOL_OPTIONS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Every keytool on this machine.
fn keytools() -> Vec<PathBuf> {
    let homes = fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut found: Vec<PathBuf> = homes.map(|home| home.path().join("bin/keytool")).collect();
    found.extend(program("keytool"));
    found.retain(|keytool| keytool.exists());
    found = found
        .into_iter()
        .filter_map(|keytool| fs::canonicalize(keytool).ok())
        .collect();
    found.sort();
    found.dedup();
    if found.is_empty() {
        say_skipped("there is no keytool");
    }
    found
}

/// The number of entries in a store that amb has made for these options, as keytool counts them.
#[track_caller]
fn entries(tool: &Path, options: &str, password: &[&str]) -> (String, usize) {
    let script = "for option in $JAVA_TOOL_OPTIONS; do case $option in *trustStore=*) last=${option#*=};; esac; done; \
                  cp $last copy.jks && cp copy.jks \"$COPY\"";
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.jks");
    let run = opening().env("COPY", &copy).env("JAVA_TOOL_OPTIONS", options);
    run.command(["sh", "-c", script]).success();
    let said = keytool(
        tool,
        &[&["-list", "-keystore", copy.to_str().unwrap()], password].concat(),
    );
    let count = said.lines().filter(|line| line.contains("trustedCertEntry")).count();
    (said, count)
}

#[test]
fn keytool_reads_the_store_and_finds_its_digest_right() {
    for tool in keytools() {
        let (said, count) = entries(&tool, "", &["-storepass", "changeit"]);
        assert!(count > 1, "{said}");
        assert!(said.lines().any(|line| line.starts_with("amb, ")), "{said}");
    }
}

#[test]
fn a_store_that_keytool_has_made_is_read() {
    for tool in keytools() {
        for (kind, password) in [("JKS", "changeit"), ("PKCS12", "changeit"), ("PKCS12", "another one")] {
            let directory = tempfile::tempdir().unwrap();
            let path = |name: &str| directory.path().join(name).into_os_string().into_string().unwrap();
            let (store, certificate) = (path("store"), path("own.der"));
            let authority = Authority::new();
            fs::copy(authority.file(), &certificate).unwrap();
            let import = [
                "-importcert",
                "-noprompt",
                "-alias",
                "own",
                "-file",
                &certificate,
                "-keystore",
                &store,
            ];
            keytool(
                &tool,
                &[import.as_slice(), &["-storetype", kind, "-storepass", password]].concat(),
            );
            let options = format!(
                "-Djavax.net.ssl.trustStore={store} '-Djavax.net.ssl.trustStorePassword={password}' \
                 -Djavax.net.ssl.trustStoreType={kind}"
            );
            let (said, count) = entries(&tool, &options, &["-storepass", "changeit"]);
            assert_eq!(count, 2, "{kind} by {}: {said}", tool.display());
        }
    }
}

#[test]
fn a_store_without_a_password_is_read() {
    for tool in keytools() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).into_os_string().into_string().unwrap();
        let (store, certificate) = (path("store"), path("own.der"));
        let authority = Authority::new();
        fs::copy(authority.file(), &certificate).unwrap();
        // As the JDK makes its own cacerts since version 18.
        keytool(
            &tool,
            &[
                "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE",
                "-J-Dkeystore.pkcs12.macAlgorithm=NONE",
                "-importcert",
                "-noprompt",
                "-alias",
                "own",
                "-file",
                &certificate,
                "-keystore",
                &store,
                "-storetype",
                "PKCS12",
                "-storepass",
                "changeit",
            ],
        );
        let (said, count) = entries(
            &tool,
            &format!("-Djavax.net.ssl.trustStore={store}"),
            &["-storepass", "changeit"],
        );
        assert_eq!(count, 2, "by {}: {said}", tool.display());
    }
}
