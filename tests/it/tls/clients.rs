//! Programs that people use, with amb's authority as what they trust.

use std::process::Command;

use crate::support::{
    Amb, say_skipped,
    secure::{Certificate, Scene, hello},
};

#[test]
fn curl_takes_ambs_certificate_and_reads_why_a_servers_is_not_taken() {
    if Command::new("curl").arg("--version").output().is_err() {
        return say_skipped("there is no curl here");
    }
    // For its files and its authority; the run itself is another one.
    let scene = Scene::with(&["--intercept"]);
    let good = hello(scene.root.server("h.test").config(), "hi");
    let bad = hello(Certificate::root("Nobody").server("bad.test").config(), "hi");
    let curl = format!(
        "curl -sS --fail-with-body --cacert \"$AMB_SABOTAGE_CA\" https://h.test:{}/ https://bad.test:{}/",
        good.address().port(),
        bad.address().port()
    );
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, scene.root.pem()).unwrap();
    let run = Amb::run(["--intercept=*.test", "--connect-to", "::127.0.0.1:"])
        .env("SSL_CERT_FILE", roots)
        .env("AMB_SABOTAGE_CA", directory.path().join("amb.pem"))
        .shell(&curl)
        .reporting()
        .outcome();
    assert!(run.stdout().starts_with("hi"), "{run}");
    assert!(run.stdout().contains("tls_certificate_error"), "{run}");
    assert!(run.stderr().contains("502"), "{run}");
    let report = run.report.expect("a report");
    assert_eq!(report["totals"]["requests"]["ok"], 1, "{report}");
    assert_eq!(report["totals"]["requests"]["failed"], 1, "{report}");
    scene.proxy.end();
}
