//! An authority that is kept in files, and `amb ca`, which makes and shows it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use rcgen::{IsCa, KeyUsagePurpose};

use super::GET;
use crate::support::{
    Amb,
    secure::{Certificate, Scene, client_config, hello, shake, valid},
};

/// `amb ca` with these arguments and a home: its status, and what it says on stdout and stderr.
fn ca(home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_amb"))
        .arg("ca")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The flags that lead to an authority in this directory.
fn flags(directory: &Path) -> [String; 3] {
    let place = directory.display();
    [
        "--intercept".to_owned(),
        "--set".to_owned(),
        format!("tls.ca={{ cert = '{place}/ca.pem', key = '{place}/ca.key' }}"),
    ]
}

#[test]
fn one_that_amb_has_made_is_shown_and_used() {
    let home = tempfile::tempdir().unwrap();
    let (status, stdout, stderr) = ca(home.path(), &["create", "--name", "Acme", "--days", "30"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    let directory = home.path().join(".local/share/amb");
    let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.pem"), mode("ca.key")), (0o644, 0o600));
    // What it says to write into amb.toml is what can be written there.
    let config = stdout.split("In amb.toml:").nth(1).unwrap();
    fs::write(home.path().join("amb.toml"), config).unwrap();
    for (arguments, said) in [
        (&["show"][..], &["Acme", "SHA-256", "(29 days left)", "itself"][..]),
        (&["path"], &["ca.pem\n", "ca.key\n"]),
    ] {
        let (status, stdout, stderr) = ca(home.path(), arguments);
        assert_eq!((status, &*stderr), (0, ""), "{stdout}");
        for text in said {
            assert!(stdout.contains(text), "{text}: {stdout}");
        }
    }
    // Twice in a row, and the client believes both.
    let root = fs::read_to_string(directory.join("ca.pem")).unwrap();
    for _ in 0..2 {
        let scene = Scene::prepared(|_, _| flags(&directory).to_vec());
        let server = hello(scene.root.server("h.test").config(), "hi");
        let tunnel = scene.tunnel(&server.address().to_string()).stream;
        let mut client = shake(client_config(&[&root], &["http/1.1"]), "h.test", tunnel).unwrap();
        client.send(GET).answer().assert_is(200, "hi");
        drop(client);
        scene.proxy.end().assert_exchanges(&[("ok", 1)]);
        server.join();
    }
    let key = fs::read(directory.join("ca.key")).unwrap();
    let (status, _, stderr) = ca(home.path(), &["create"]);
    assert_eq!(status, 1);
    assert!(
        stderr.contains("is there already") && stderr.contains("--force"),
        "{stderr}"
    );
    assert_eq!(key, fs::read(directory.join("ca.key")).unwrap(), "it was left alone");
    assert_eq!(ca(home.path(), &["create", "--force"]).0, 0);
    assert_ne!(key, fs::read(directory.join("ca.key")).unwrap());
    let left: Vec<_> = fs::read_dir(&directory).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn one_that_is_confined_vouches_for_no_other_host() {
    let home = tempfile::tempdir().unwrap();
    let (status, _, stderr) = ca(home.path(), &["create", "here", "--host", "h.test"]);
    assert_eq!(status, 0, "{stderr}");
    let directory = home.path().join("here");
    let root = fs::read_to_string(directory.join("ca.pem")).unwrap();
    let scene = Scene::prepared(|_, _| flags(&directory).to_vec());
    for (name, believed) in [("h.test", true), ("other.test", false)] {
        let server = hello(scene.root.server(name).config(), "hi");
        let tunnel = scene.tunnel(&server.address().to_string()).stream;
        let client = shake(client_config(&[&root], &["http/1.1"]), name, tunnel);
        assert_eq!(client.is_ok(), believed, "{name}");
    }
    drop(scene.proxy.end());
    for (host, said) in [("a b", "no host"), ("*", "every host")] {
        let (status, _, stderr) = ca(home.path(), &["create", "there", "--host", host]);
        assert_eq!(status, 1);
        assert!(stderr.contains(said), "{stderr}");
    }
}

/// Puts an authority into a directory.
fn put(directory: &Path, certificate: &str, key: &str, mode: u32) {
    fs::write(directory.join("ca.pem"), certificate).unwrap();
    fs::write(directory.join("ca.key"), key).unwrap();
    fs::set_permissions(directory.join("ca.key"), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn one_that_cannot_be_used_stops_the_run_with_what_would_help() {
    let authority = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = Certificate::authority_params("Org Root");
        change(&mut params);
        let made = Certificate::self_signed(params);
        (made.pem(), made.key_pem())
    };
    let good = authority(|_| {});
    let other = authority(|_| {});
    let expired = authority(|params| valid(params, -49, -25));
    let early = authority(|params| valid(params, 25, 49));
    let leaf = authority(|params| params.is_ca = IsCa::ExplicitNoCa);
    let mute = authority(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    for (certificate, key, mode, said) in [
        (&*good.0, &*good.1, 0o640, "chmod 600 "),
        (&good.0, &good.1, 0o604, "chmod 600 "),
        (&good.0, &other.1, 0o600, "is not its key"),
        (&good.0, "nothing", 0o600, "no private key"),
        ("nothing", &good.1, 0o600, "there is no certificate in it"),
        (&expired.0, &expired.1, 0o600, "has expired on 20"),
        (&early.0, &early.1, 0o600, "not valid before 20"),
        (&leaf.0, &leaf.1, 0o600, "CA:TRUE"),
        (&mute.0, &mute.1, 0o600, "keyCertSign"),
        (&(good.0.clone() + &other.0), &good.1, 0o600, ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), certificate, key, mode);
        if said.is_empty() {
            // Of the same name, so one follows the other as far as names tell.
            Amb::run(flags(directory.path())).command(["true"]).success();
            continue;
        }
        let outcome = Amb::run(flags(directory.path())).command(["true"]).status(125);
        assert!(outcome.stderr().contains(said), "{said}: {outcome}");
        assert!(outcome.stderr().contains("tls.ca."), "{outcome}");
        fs::write(
            directory.path().join("amb.toml"),
            "[tls]\nca = { cert = 'ca.pem', key = 'ca.key' }\n",
        )
        .unwrap();
        let (status, _, stderr) = ca(directory.path(), &["show"]);
        assert_eq!(status, 1);
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
}

#[test]
fn one_that_expires_soon_is_announced() {
    let directory = tempfile::tempdir().unwrap();
    let mut params = Certificate::authority_params("Org Root");
    valid(&mut params, -24 * 360, 24 * 5 + 1);
    let made = Certificate::self_signed(params);
    put(directory.path(), &made.pem(), &made.key_pem(), 0o600);
    let outcome = Amb::run(flags(directory.path())).command(["true"]).success();
    assert!(outcome.stderr().contains("expires in 5 days"), "{outcome}");
}

#[test]
fn an_intermediate_one_is_sent_along_and_its_root_is_what_the_command_trusts() {
    let root = Certificate::root("Org Root");
    let middle = root.issue(Certificate::authority_params("Org Middle"));
    let directory = tempfile::tempdir().unwrap();
    put(
        directory.path(),
        &(middle.pem() + &root.pem()),
        &middle.key_pem(),
        0o600,
    );
    let scene = Scene::prepared(|_, _| flags(directory.path()).to_vec());
    assert!(scene.authority().replace("\r\n", "\n").trim() == root.pem().replace("\r\n", "\n").trim());
    let server = hello(scene.root.server("h.test").config(), "hi");
    let mut client = scene.client(&server, "h.test");
    client.send(GET).answer().assert_is(200, "hi");
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn nothing_is_kept_unless_it_is_configured() {
    let home = tempfile::tempdir().unwrap();
    for what in ["show", "path"] {
        let (status, stdout, stderr) = ca(home.path(), &[what]);
        assert_eq!((status, &*stdout), (1, ""));
        assert!(stderr.contains("amb ca create"), "{stderr}");
    }
    // A project's own file names none before somebody has looked at it.
    let run = Amb::run(["true"]);
    fs::write(
        run.home().join("amb.toml"),
        "[tls]\nca = { cert = 'ca.pem', key = 'ca.key' }\n",
    )
    .unwrap();
    let outcome = run.status(125);
    assert!(outcome.stderr().contains("nobody has trusted this file"), "{outcome}");
}
