//! What one route demands of servers and shows them is no other's: certificates, keys, roots, versions, time.

use std::{fs, path::Path, sync::Arc};

use rcgen::ExtendedKeyUsagePurpose;
use rustls::{HandshakeKind, ServerConfig, server::WebPkiClientVerifier};

use super::GET;
use crate::support::{
    Amb, Peer, Upstream, say_skipped,
    secure::{Certificate, Scene, hello, serve},
};

/// A server that asks for a certificate, and tells the number of its connection and whose certificate it was shown.
fn asking(config: &Certificate, root: &Certificate) -> Upstream {
    let mut roots = rustls::RootCertStore::empty();
    let der = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
        root.pem().as_bytes(),
    );
    roots.add(der.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .allow_unauthenticated()
        .build()
        .unwrap();
    serve(config.config_asking(verifier), |mut peer, number| {
        let shown = peer.stream.conn.peer_certificates().map(|chain| {
            let (_, read) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
            let name = read.subject().iter_common_name().next().unwrap();
            name.as_str().unwrap().to_owned()
        });
        let body = format!("{} {number}", shown.as_deref().unwrap_or("nobody"));
        while peer.until(b"\r\n\r\n").is_ok() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

/// Puts a client's certificate and its key into files: `NAME.pem` and `NAME.key`.
fn client(root: &Certificate, directory: &Path, name: &str) {
    let mut params = Certificate::params(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = root.issue(params);
    fs::write(directory.join(name).with_extension("pem"), own.pem()).unwrap();
    fs::write(directory.join(name).with_extension("key"), own.key_pem()).unwrap();
}

/// A scene with this configuration, in which `DIR` stands for a directory with files.
#[track_caller]
fn scene(flags: &[&str], prepare: impl FnOnce(&Certificate, &Path) -> String) -> Scene {
    Scene::prepared(|root, directory| {
        let text = prepare(root, directory).replace("DIR", directory.to_str().unwrap());
        let file = directory.join("amb.toml");
        fs::write(&file, text).unwrap();
        let config = ["--config".to_owned(), file.to_str().unwrap().to_owned()];
        flags.iter().map(ToString::to_string).chain(config).collect()
    })
}

/// The configuration of two routes, each with a certificate of its own.
const TWO: &str = "
    [[route]]
    match = { path = '/a' }
    tls = { client-cert = 'DIR/a.pem', client-key = 'DIR/a.key' }
    [[route]]
    match = { path = '/b' }
    tls = { client-cert = 'DIR/b.pem', client-key = 'DIR/b.key' }
    [[route]]
    match = { path = '/also-a' }
    tls = { client-cert = 'DIR/a.pem', client-key = 'DIR/a.key' }
";

#[test]
fn each_route_signs_in_as_itself_and_no_connection_is_anothers() {
    let scene = scene(&[], |root, directory| {
        client(root, directory, "a");
        client(root, directory, "b");
        TWO.to_owned()
    });
    let server = asking(&scene.root.server("127.0.0.1"), &scene.root);
    let mut peer = scene.proxy.connect();
    for _ in 0..3 {
        for (path, shown) in [("/a", "a 0"), ("/b", "b 1"), ("/", "nobody 2"), ("/also-a", "a 0")] {
            let url = format!("https://{}{path}", server.address());
            peer.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"))
                .answer()
                .assert_is(200, shown);
        }
    }
    drop(peer);
    scene.proxy.end().assert_exchanges(&[("ok", 12)]).assert_opened(3);
    server.join();
}

#[test]
fn a_request_inside_goes_by_its_own_route_and_not_by_that_of_its_tunnel() {
    let scene = scene(&["--intercept"], |root, directory| {
        client(root, directory, "a");
        client(root, directory, "b");
        let host = "[[route]]\nmatch = { host = '127.0.0.1' }\n\
                    tls = { client-cert = 'DIR/b.pem', client-key = 'DIR/b.key' }\n";
        // The route of paths comes first, and fits no tunnel.
        let first = TWO.split("[[route]]").nth(1).unwrap();
        format!("[[route]]{first}{host}")
    });
    let server = asking(&scene.root.server("h.test"), &scene.root);
    let mut peer = scene.client(&server, "h.test");
    for (path, shown) in [("/", "b 0"), ("/a", "a 1"), ("/x", "b 0"), ("/a", "a 1")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h.test\r\n\r\n");
        peer.send(request).answer().assert_is(200, shown);
    }
    drop(peer);
    // The first request has no use for what its tunnel has prepared.
    let mut peer = scene.client(&server, "h.test");
    let answer = peer.send("GET /a HTTP/1.1\r\nHost: h.test\r\n\r\n").answer();
    assert!(answer.body().starts_with("a "), "{}", answer.body());
    drop(peer);
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 5)])
        .assert_tunnels(&[("total", 0)]);
    server.join();
}

#[test]
fn a_command_that_speaks_plain_http_signs_in_with_the_certificate_of_its_route() {
    let scene = scene(&[], |root, directory| {
        client(root, directory, "a");
        "[[route]]\nmatch = { path = '/a' }\nrewrite = { scheme = 'https' }\n\
            tls = { client-cert = 'DIR/a.pem', client-key = 'DIR/a.key', min-version = '1.3' }\n\
            [[route]]\nmatch = { path = '/b' }\nrewrite = { scheme = 'https' }\n"
            .to_owned()
    });
    let server = asking(&scene.root.server("127.0.0.1"), &scene.root);
    let mut peer = scene.proxy.connect();
    for (path, shown) in [("/a", "a 0"), ("/b", "nobody 1"), ("/a", "a 0")] {
        peer.send(format!(
            "GET http://{}{path} HTTP/1.1\r\nHost: x\r\n\r\n",
            server.address()
        ))
        .answer()
        .assert_is(200, shown);
    }
    drop(peer);
    scene.proxy.end().assert_exchanges(&[("ok", 3)]).assert_opened(2);
}

/// Puts a client's certificate, what vouches for it and its key into one file, `NAME.p12`, as openssl has it by these words.
fn keystore(directory: &Path, name: &str, root: &Certificate, words: &[&str]) -> bool {
    fs::write(directory.join("root.pem"), root.pem()).unwrap();
    let made = std::process::Command::new("openssl")
        .current_dir(directory)
        .args(["pkcs12", "-export", "-certfile", "root.pem", "-name", name])
        .args(["-in", &format!("{name}.pem"), "-inkey", &format!("{name}.key")])
        .args(["-out", &format!("{name}.p12")])
        .args(words)
        .output();
    made.is_ok_and(|made| made.status.success())
}

#[test]
fn a_certificate_may_come_with_its_key_in_one_file() {
    let mut can = true;
    let scene = scene(&[], |root, directory| {
        fs::write(directory.join("word"), "s3same\r\n").unwrap();
        for (name, words) in [
            ("a", &["-passout", "pass:s3same"][..]),
            ("b", &["-passout", "pass:"]),
            ("c", &["-passout", "pass:s3same", "-legacy"]),
        ] {
            client(root, directory, name);
            can = can && keystore(directory, name, root, words);
        }
        if !can {
            return String::new();
        }
        "[[route]]\nmatch = { path = '/a' }\ntls = { client-cert = 'DIR/a.p12', client-cert-password = 'DIR/word' }\n\
            [[route]]\nmatch = { path = '/b' }\ntls = { client-cert = 'DIR/b.p12' }\n\
            [[route]]\nmatch = { path = '/c' }\ntls = { client-cert = 'DIR/c.p12', client-cert-password = 'DIR/word' }\n"
            .to_owned()
    });
    if !can {
        return say_skipped("openssl cannot write PKCS#12 files here");
    }
    let server = asking(&scene.root.server("127.0.0.1"), &scene.root);
    let mut peer = scene.proxy.connect();
    for (path, shown) in [("/a", "a 0"), ("/b", "b 1"), ("/c", "c 2")] {
        let url = format!("https://{}{path}", server.address());
        peer.send(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .answer()
            .assert_is(200, shown);
    }
}

#[test]
fn a_file_with_a_key_that_does_not_open_is_told_before_the_command_starts() {
    let directory = tempfile::tempdir().unwrap();
    let root = Certificate::root("R");
    client(&root, directory.path(), "a");
    if !keystore(directory.path(), "a", &root, &["-passout", "pass:s3same"]) {
        return say_skipped("openssl cannot write PKCS#12 files here");
    }
    fs::write(directory.path().join("word"), "other").unwrap();
    fs::write(directory.path().join("not.p12"), "-----BEGIN").unwrap();
    let place = directory.path().to_str().unwrap();
    for (set, said) in [
        (
            "tls.client-cert='DIR/a.p12'",
            "it has a password: put that into a file, and set tls.client-cert-password",
        ),
        ("tls.client-cert='DIR/not.p12'", "it cannot be read as PKCS#12"),
    ] {
        let outcome = Amb::run(["--set", &set.replace("DIR", place)])
            .command(["true"])
            .status(125);
        assert!(outcome.stderr().contains(said), "{}", outcome.stderr());
    }
    let flags = ["tls.client-cert='DIR/a.p12'", "tls.client-cert-password='DIR/word'"];
    let flags = flags.map(|set| set.replace("DIR", place));
    let outcome = Amb::run(["--set", &flags[0], "--set", &flags[1]])
        .command(["true"])
        .status(125);
    assert!(
        outcome.stderr().contains("its password is another one"),
        "{}",
        outcome.stderr()
    );
    assert!(!outcome.stderr().contains("s3same"), "{}", outcome.stderr());
}

#[test]
fn a_route_has_roots_and_pins_and_a_version_of_its_own() {
    let other = Certificate::root("Other Root");
    let pem = other.pem();
    let old = [&rustls::version::TLS12];
    let mut pinned = None;
    let scene = scene(&[], |root, directory| {
        fs::write(directory.join("other.pem"), pem).unwrap();
        let server = root.server("127.0.0.1");
        let pin = server.pin();
        pinned = Some(server);
        format!(
            "[[route]]\nmatch = {{ path = '/other' }}\ntls = {{ extra-roots = 'DIR/other.pem' }}\n\
             [[route]]\nmatch = {{ path = '/pinned' }}\ntls = {{ pin = '{pin}' }}\n\
             [[route]]\nmatch = {{ path = '/new' }}\ntls = {{ min-version = '1.3' }}\n\
             [[route]]\nmatch = {{ path = '/slow' }}\ntimeout = {{ first-byte = '9s' }}\n"
        )
    });
    let servers = [
        hello(pinned.unwrap().config(), "hi"),
        hello(scene.root.server("127.0.0.1").config_with(&old), "hi"),
        hello(other.server("127.0.0.1").config(), "hi"),
    ];
    for (path, expected) in [
        ("/", [200, 200, 502]),
        ("/other", [200, 200, 200]),
        ("/pinned", [200, 502, 502]),
        ("/new", [200, 502, 502]),
        ("/slow", [200, 200, 502]),
    ] {
        let statuses = servers.each_ref().map(|server| {
            let url = format!("https://{}{path}", server.address());
            let answer = scene.proxy.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
            answer.status()
        });
        assert_eq!(statuses, expected, "{path}");
    }
    scene.proxy.end();
}

#[test]
fn every_file_that_cannot_be_used_is_told_before_the_command_starts() {
    let directory = tempfile::tempdir().unwrap();
    let root = Certificate::root("Test Root");
    client(&root, directory.path(), "a");
    client(&root, directory.path(), "b");
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(directory.path().join("locked.key"), locked).unwrap();
    let text = "
        [tls]
        extra-roots = ['DIR/absent.pem', '/dev/null']
        crl = ['DIR/a.pem', '/dev/null']
        [[route]]
        id = 'swapped'
        match = { host = 'a.test' }
        tls = { client-cert = 'DIR/a.pem', client-key = 'DIR/b.key' }
        [[route]]
        match = { host = 'b.test' }
        tls = { client-cert = 'DIR/a.pem', client-key = 'DIR/locked.key', extra-roots = [] }
    ";
    let file = directory.path().join("amb.toml");
    fs::write(&file, text.replace("DIR", directory.path().to_str().unwrap())).unwrap();
    let run = Amb::run(["--config", file.to_str().unwrap()]);
    let outcome = run.command(["true"]).status(125);
    let place = directory.path().display();
    for said in [
        format!("tls.extra-roots: {place}/absent.pem: No such file"),
        "tls.extra-roots: /dev/null: there is no certificate in it".to_owned(),
        format!("tls.crl: {place}/a.pem: it is no revocation list"),
        "tls.crl: /dev/null: it is no revocation list".to_owned(),
        format!("tls.client-key (route swapped): {place}/b.key: it is not the key of {place}/a.pem"),
        format!("tls.client-key (route b.test): {place}/locked.key: the private key in it is locked by a password"),
    ] {
        assert_eq!(outcome.stderr().matches(&said).count(), 1, "{said}: {outcome}");
    }
}

#[test]
fn half_an_identity_is_a_mistake_where_it_stands() {
    let run = Amb::run(["true"]);
    let text = "[[route]]\nmatch = { host = 'a.test' }\ntls = { client-cert = 'a.pem' }\n";
    fs::write(run.home().join("amb.toml"), text).unwrap();
    let outcome = run.env("AMB_TRUST", "1").status(125);
    assert!(outcome.stderr().contains("amb.toml:3:"), "{outcome}");
    assert!(outcome.stderr().contains("set tls.client-key too"), "{outcome}");
}

#[test]
fn a_route_in_a_file_that_nobody_trusts_signs_in_nowhere() {
    for key in ["client-cert = 'a.pem'", "extra-roots = 'a.pem'"] {
        let run = Amb::run(["true"]);
        let text = format!("[[route]]\nmatch = {{ host = 'a.test' }}\ntls = {{ {key} }}\n");
        fs::write(run.home().join("amb.toml"), text).unwrap();
        let outcome = run.status(125);
        assert!(outcome.stderr().contains("nobody has trusted this file"), "{outcome}");
    }
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        let directory = tempfile::tempdir().unwrap();
        client(&Certificate::root("Test Root"), directory.path(), "a");
        let key = directory.path().join("a.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let set = |name: &str, file: &str| format!("tls.{name}='{}/{file}'", directory.path().display());
        let run = Amb::run([
            "--set",
            &set("client-cert", "a.pem"),
            "--set",
            &set("client-key", "a.key"),
            "--summary=off",
        ]);
        let outcome = run.command(["true"]).success();
        let said = format!("chmod 600 {}", key.display());
        assert_eq!(outcome.stderr().contains(&said), warned, "{mode:o}: {outcome}");
    }
}

/// A server that tells whether a connection went on with an earlier session, and closes it.
fn resuming(config: ServerConfig) -> Upstream {
    serve(config, |mut peer, _| {
        let kind = match peer.stream.conn.handshake_kind() {
            Some(HandshakeKind::Resumed) => "resumed",
            _ => "full",
        };
        drop(peer.until(b"\r\n\r\n"));
        let length = kind.len();
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{kind}"
        ))
        .end();
    })
}

#[test]
fn a_session_is_resumed_and_never_by_another_route() {
    for versions in [rustls::ALL_VERSIONS, &[&rustls::version::TLS12]] {
        let scene = scene(&[], |root, directory| {
            client(root, directory, "a");
            "[[route]]\nmatch = { path = '/a' }\ntls = { client-cert = 'DIR/a.pem', client-key = 'DIR/a.key' }\n"
                .to_owned()
        });
        let server = resuming(scene.root.server("127.0.0.1").config_with(versions));
        for (path, kind) in [
            ("/", "full"),
            ("/", "resumed"),
            ("/a", "full"),
            ("/a", "resumed"),
            ("/", "resumed"),
        ] {
            let url = format!("https://{}{path}", server.address());
            let answer = scene.proxy.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
            answer.assert_is(200, kind);
        }
        scene.proxy.end().assert_exchanges(&[("ok", 5)]).assert_opened(5);
        server.join();
    }
}

#[test]
fn decrypted_tunnels_resume_their_servers_sessions_too() {
    let scene = Scene::with(&["--intercept"]);
    let server = resuming(scene.root.server("h.test").config());
    for kind in ["full", "resumed", "resumed"] {
        scene.client(&server, "h.test").send(GET).answer().assert_is(200, kind);
    }
    scene.proxy.end().assert_exchanges(&[("ok", 3)]);
    server.join();
}

#[test]
fn a_handshake_has_a_limit_of_its_own_for_each_route() {
    let scene = scene(&["--intercept"], |_, _| {
        "timeout.tls = '250ms'\n[[route]]\nmatch = { path = '/b' }\ntimeout = { tls = '120ms' }\n".to_owned()
    });
    // One that takes what it is sent and says nothing.
    let server = Upstream::serve(|stream, _| {
        Peer::new(stream).rest();
    });
    for (path, limit) in [("/a", "250ms"), ("/b", "120ms")] {
        let url = format!("https://{}{path}", server.address());
        let answer = scene.proxy.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answer.status(), 504);
        let said = answer.field("proxy-status").unwrap();
        assert!(said.contains("error=connection_timeout"), "{said}");
        assert!(said.contains(&format!("within {limit}")), "{said}");
        assert!(answer.body().contains("tls_timeout"), "{}", answer.body());
    }
    let answer = scene.client(&server, "h.test").send(GET).answer();
    assert!(answer.body().contains("within 250ms"), "{}", answer.body());
    let records = scene.proxy.end();
    records.assert_exchanges(&[("failed", 3)]).assert_failure("tls_timeout");
    server.join();
}
