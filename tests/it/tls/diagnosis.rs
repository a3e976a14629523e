//! Who has refused amb's certificate, and what would help: of programs that only look like what they are called.

use std::process::Command;

use crate::support::{
    Amb, say_skipped,
    secure::{Certificate, Scene, hello},
};

/// Runs a shell's script in which `$CURL` is curl's path and `$ROOT` a root that amb's authority does not go back to, and
/// `$URL` a host that is decrypted. Returns what amb has said.
fn said(script: &str) -> Option<String> {
    if Command::new("curl").arg("--version").output().is_err() {
        say_skipped("there is no curl here");
        return None;
    }
    // For its files; the run itself is another one.
    let scene = Scene::with(&[]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    let run = Amb::run(["--intercept=*.test", "--connect-to", "::127.0.0.1:"]);
    let (roots, other) = (run.home().join("roots.pem"), run.home().join("other.pem"));
    std::fs::write(&roots, scene.root.pem()).unwrap();
    std::fs::write(&other, Certificate::root("Other").pem()).unwrap();
    let run = run
        .env("SSL_CERT_FILE", roots)
        .env("AMB_LOG", "warn")
        .env("ROOT", other)
        .env("URL", format!("https://h.test:{}/", server.address().port()))
        .shell(&format!(
            "cp \"$(command -v curl)\" tool && chmod +x tool && {script}; exit 0"
        ))
        .reporting()
        .outcome();
    scene.proxy.end();
    let report = run.report.as_ref().expect("a report");
    let failures = report["failures"].to_string();
    assert!(failures.contains("intercept_refused"), "{run}");
    // What is said at once is in the report, too.
    let detail = report["failures"][0]["detail"].as_str().unwrap().to_owned();
    assert!(
        run.stderr().contains("has refused amb's certificate for h.test"),
        "{run}"
    );
    Some(detail)
}

#[test]
fn a_program_is_named_with_what_it_is_and_what_would_help() {
    for (script, expected) in [
        (
            "mv tool java; ./java -sS --cacert $ROOT $URL",
            &["java (pid ", "a JVM with a trust store", "javax.net.ssl.trustStore"][..],
        ),
        (
            "mv tool node; env -u NODE_EXTRA_CA_CERTS ./node -sS --cacert $ROOT $URL",
            &[
                "node (pid ",
                "Node: NODE_EXTRA_CA_CERTS has been removed from its environment",
            ],
        ),
        (
            "mv tool python3.12; ./python3.12 -sS --cacert $ROOT $URL -H 'token: secret' /srv/app.py",
            &["python3.12 (pid ", ", running /srv/app.py)", "REQUESTS_CA_BUNDLE"],
        ),
        (
            "printf '\\377 Go buildinf:' >> tool; ./tool -sS --cacert $ROOT $URL",
            &["tool (pid ", "made with Go", "RootCAs"],
        ),
        (
            "printf 'rustls webpki-roots' >> tool; ./tool -sS --cacert $ROOT $URL",
            &["made with Rust", "rustls-native-certs", "tls.never"],
        ),
        (
            "./tool -sS --cacert $ROOT $URL",
            &["tool (pid ", "OpenSSL", "SSL_CERT_FILE", "--cacert"],
        ),
    ] {
        let Some(detail) = said(script) else { return };
        for text in expected {
            assert!(detail.contains(text), "{text:?} is not in {detail}");
        }
        assert!(!detail.contains("secret"), "{detail}");
    }
}

#[test]
fn what_would_help_is_said_once_a_host() {
    let Some(detail) = said("for i in 1 2 3; do ./tool -sS --cacert $ROOT $URL; done") else {
        return;
    };
    assert_eq!(detail.matches("OpenSSL").count(), 1, "{detail}");
}
