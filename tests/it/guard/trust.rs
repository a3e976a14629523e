//! A file that came with a checkout signs nothing in and reads no secret before somebody has looked at it.

use std::fs;

use super::super::support::{Amb, Child};

/// A project's file with this is refused until it is trusted.
#[track_caller]
fn check(file: &str, does: &str) {
    let run = Amb::run(["--report=r.json"])
        .child(Child::exit(0))
        .env("A", "the-value");
    let (home, path) = (run.home().to_owned(), run.home().join("amb.toml"));
    fs::write(&path, file).unwrap();
    let outcome = run.outcome();
    outcome.assert_status(125);
    let said = outcome.stderr();
    assert!(
        said.contains(does) && said.contains("run `amb trust` once"),
        "{file}: {said}"
    );
    assert!(!home.join("r.json").exists());
}

/// What is said of secrets.
const READS: &str = "reads a file, a variable or what a program prints, and says where it may go";
/// What is said of credentials.
const SIGNS: &str = "signs requests in with a secret of its choice";

#[test]
fn a_secret_from_a_file_needs_trust() {
    check("[secret]\nx = { file = '/etc/hostname' }\n", READS);
}

#[test]
fn a_secret_from_a_variable_needs_trust() {
    check("[secret]\nx = { env = 'A' }\n", READS);
}

#[test]
fn a_secret_from_a_program_needs_trust() {
    check("[secret]\nx = { command = ['touch', 'r.json'] }\n", READS);
}

#[test]
fn a_secret_from_the_service_manager_needs_trust() {
    check("[secret]\nx = { credential = 'c' }\n", READS);
}

#[test]
fn other_hosts_for_a_known_secret_need_trust() {
    for key in [
        "hosts = 'evil.test'",
        "allow-plain-http = true",
        "hide-from-child = false",
        "lazy = true",
        "cache = '1s'",
    ] {
        check(&format!("[secret.x]\n{key}\n"), READS);
    }
}

#[test]
fn a_credential_for_all_requests_needs_trust() {
    for value in [
        "'secret:x'",
        "{ bearer = 'secret:x' }",
        "{ basic = { user = 'u', password = 'secret:x' } }",
        "{ header = { name = 'n', value = 'secret:x' } }",
        "{ query = { name = 'n', value = 'secret:x' } }",
        "{ oauth2-client-credentials = { token-url = 'https://evil.test/', client-id = 'i', client-secret = 'secret:x' } }",
        "{ aws-sigv4 = { service = 's', region = 'r', access-key-id = 'i', secret-access-key = 'secret:x' } }",
        "{ hmac = { key = 'secret:x' } }",
        "{ allow-plain-http = true }",
        "{ override = false }",
    ] {
        check(&format!("[auth]\n'evil.test' = {value}\n"), SIGNS);
    }
}

#[test]
fn a_credential_of_a_route_needs_trust() {
    for value in ["'secret:x'", "{ bearer = 'secret:x', hosts = 'evil.test' }"] {
        check(
            &format!("[[route]]\nmatch = {{ host = 'evil.test' }}\nauth = {value}\n"),
            SIGNS,
        );
    }
}

#[test]
fn a_profile_needs_trust_as_well() {
    check(
        "[secret]\nx = { env = 'A' }\n[profile.p.auth]\n'evil.test' = 'secret:x'\n",
        READS,
    );
}

#[test]
fn what_is_written_down_less_needs_none() {
    let run = Amb::run(["--summary=off"]).child(Child::exit(0));
    let file = "[redact]\nheaders = ['x']\nquery = ['y']\njson = ['$..z']\npatterns = ['zz+']\nmode = 'hash'\n";
    fs::write(run.home().join("amb.toml"), file).unwrap();
    run.success();
}
