//! Servers that do not prove who they are: none is believed, and each is told of with its reason.

use rcgen::{BasicConstraints, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints};
use rustls::{
    ServerConfig,
    pki_types::{CertificateRevocationListDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::GET;
use crate::support::{
    Peer, Upstream, say_skipped,
    secure::{Certificate, Scene, hello, serve, valid},
};

/// A way to be no proper server.
struct Case {
    /// What `Proxy-Status` calls it.
    error: &'static str,
    /// What is said about it.
    said: &'static [&'static str],
    /// The server.
    server: Upstream,
}

/// A server whose certificate is not accepted, for these reasons.
fn bad(config: ServerConfig, said: &'static [&'static str]) -> Case {
    Case {
        error: "tls_certificate_error",
        said,
        server: hello(config, "must not be seen"),
    }
}

/// A server that answers the client's first message with these bytes and closes.
fn raw(bytes: &'static [u8], error: &'static str, said: &'static [&'static str]) -> Case {
    let server = Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        if peer.take(5).is_ok() {
            peer.send(bytes).half_close();
            peer.rest();
        }
    });
    Case { error, said, server }
}

/// Every way to be no proper server that is called `name`.
fn cases(root: &Certificate, name: &str) -> Vec<Case> {
    let changed = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = Certificate::params(name);
        change(&mut params);
        root.issue(params).config()
    };
    let middle = root.issue(Certificate::authority_params("Test Middle"));
    let mut confined = Certificate::authority_params("Confined Middle");
    confined.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("elsewhere.test".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8)),
        ],
        excluded_subtrees: Vec::new(),
    });
    let mut no_authority = Certificate::params("No Authority");
    no_authority.is_ca = IsCa::ExplicitNoCa;
    let mut authority = Certificate::params(name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    vec![
        bad(
            changed(|params| valid(params, -49, -25)),
            &["has expired on 20", "(1 day ago)", "by Test Root"],
        ),
        bad(
            changed(|params| valid(params, 25, 49)),
            &["not valid before 20", "(in 1 day)"],
        ),
        bad(root.server("other.test").config(), &["not for ", " but for other.test"]),
        bad(changed(|params| params.subject_alt_names.clear()), &["names no host"]),
        bad(
            Certificate::self_signed(Certificate::params(name)).config(),
            &["self-signed", "--extra-root"],
        ),
        bad(
            Certificate::root("Nobody").server(name).config(),
            &["sends no intermediate", "by Nobody"],
        ),
        bad(
            Certificate::root("Nobody")
                .issue(Certificate::authority_params("Nobody's Middle"))
                .server(name)
                .config(),
            &["vouches for it: Nobody is not"],
        ),
        bad(
            middle.issue(Certificate::params(name)).without_chain().config(),
            &["sends no intermediate", "by Test Middle"],
        ),
        bad(
            root.issue(confined).server(name).config(),
            &["may not do so for this name"],
        ),
        bad(root.issue(no_authority).server(name).config(), &["by No Authority"]),
        bad(root.issue(authority).config(), &["an authority's own"]),
        bad(
            changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            &["not for servers"],
        ),
        raw(
            b"",
            "tls_protocol_error",
            &["closed the connection inside the handshake"],
        ),
        raw(
            b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
            "tls_protocol_error",
            &["closed the connection"],
        ),
        raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls_protocol_error", &["not TLS"]),
        raw(&[0xff; 1000], "tls_protocol_error", &["not TLS"]),
        raw(
            b"\x15\x03\x03\x00\x02\x02\x28",
            "tls_alert_received",
            &["handshake_failure"],
        ),
        // TLS 1.0 alone, as one says it that knows what it does not know, and as one does that just begins with it.
        raw(
            b"\x15\x03\x01\x00\x02\x02\x46",
            "tls_alert_received",
            &["protocol_version"],
        ),
        raw(
            b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x0101234567890123456789012345678901\x00\xc0\x13\x00",
            "tls_protocol_error",
            &["no TLS with"],
        ),
    ]
}

#[test]
fn no_bad_server_is_believed_and_each_is_told_of_with_its_reason() {
    let scene = Scene::with(&["--intercept"]);
    let cases = cases(&scene.root, "h.test");
    let count = cases.len() as u64;
    for case in cases {
        let mut client = scene.client(&case.server, "h.test");
        for _ in 0..2 {
            let answer = client.send(GET).answer();
            answer.assert_own(502, case.error);
            for said in case.said {
                assert!(answer.body().contains(said), "{said:?} is not in {}", answer.body());
            }
        }
    }
    let records = scene.proxy.end();
    records
        .assert_exchanges(&[("failed", 2 * count)])
        .assert_tunnels(&[("total", 0)]);
    for text in [
        "tls_certificate_error",
        "tls_protocol_error",
        "tls_alert_received",
        "\"upstream\"",
    ] {
        records.assert_failure(text);
    }
}

#[test]
fn none_is_believed_either_where_the_proxy_is_asked_for_an_https_url() {
    let scene = Scene::with(&[]);
    let cases = cases(&scene.root, "127.0.0.1");
    let count = cases.len() as u64;
    for case in cases {
        let url = format!("https://{}/", case.server.address());
        let answer = scene.proxy.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
        answer.assert_own(502, case.error);
        for said in case.said {
            assert!(answer.body().contains(said), "{said:?} is not in {}", answer.body());
        }
    }
    scene.proxy.end().assert_exchanges(&[("failed", count)]);
}

#[test]
fn a_root_that_is_named_is_believed() {
    let other = Certificate::root("Own Root");
    let pem = other.pem();
    let scene = Scene::prepared(|_, directory| {
        let file = directory.join("own.pem");
        std::fs::write(&file, pem).unwrap();
        vec![
            "--intercept".to_owned(),
            "--extra-root".to_owned(),
            file.to_str().unwrap().to_owned(),
        ]
    });
    for root in [&scene.root, &other] {
        let server = hello(root.server("h.test").config(), "hi");
        scene.client(&server, "h.test").send(GET).answer().assert_is(200, "hi");
    }
    scene.proxy.end().assert_exchanges(&[("ok", 2)]);
}

/// A development server's own, as `openssl req -x509` makes it.
#[test]
fn a_server_whose_own_certificate_is_named_is_believed_although_it_says_to_be_an_authoritys() {
    let own = |name: &str, change: fn(&mut rcgen::CertificateParams)| {
        let mut params = Certificate::params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages.clear();
        change(&mut params);
        Certificate::self_signed(params)
    };
    let servers = [
        (own("h.test", |_| {}), 200),
        (own("other.test", |_| {}), 502),
        (own("h.test", |params| valid(params, -49, -25)), 502),
    ];
    let pems: String = servers.iter().map(|(server, _)| server.pem()).collect();
    let scene = Scene::prepared(|_, directory| {
        let file = directory.join("own.pem");
        std::fs::write(&file, pems).unwrap();
        vec![
            "--intercept".to_owned(),
            "--extra-root".to_owned(),
            file.to_str().unwrap().to_owned(),
        ]
    });
    for (certificate, status) in servers {
        let server = hello(certificate.config(), "hi");
        let answer = scene.client(&server, "h.test").send(GET).answer();
        assert_eq!(answer.status(), status, "{}", answer.body());
    }
    scene.proxy.end();
}

#[test]
fn an_old_version_is_spoken_unless_that_is_forbidden() {
    for (flags, status) in [
        (&["--intercept"][..], 200),
        (&["--intercept", "--set", "tls.min-version='1.3'"], 502),
    ] {
        let scene = Scene::with(flags);
        let server = hello(
            scene.root.server("h.test").config_with(&[&rustls::version::TLS12]),
            "hi",
        );
        let answer = scene.client(&server, "h.test").send(GET).answer();
        assert_eq!(answer.status(), status, "{}", answer.body());
        scene.proxy.end();
    }
}

/// What a server's answer is whose certificate, or whose authority's, is in a list, and what is said of it.
#[track_caller]
fn revoked(in_pem: bool, due: i64, (issuer, named): (usize, usize)) -> (u16, String) {
    let mut server = None;
    let scene = Scene::prepared(|root, directory| {
        let middle = root.issue(Certificate::authority_params("Test Middle"));
        let (leaf, other) = (middle.server("h.test"), middle.server("h.test"));
        let all = [root, &middle, &leaf, &other];
        let pem = all[issuer].revokes(all[named], due);
        let list = directory.join("list");
        if in_pem {
            std::fs::write(&list, pem).unwrap();
        } else {
            std::fs::write(
                &list,
                CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).unwrap(),
            )
            .unwrap();
        }
        server = Some(hello(leaf.config(), "hi"));
        vec![
            "--intercept".to_owned(),
            "--set".to_owned(),
            format!("tls.crl=['{}']", list.display()),
        ]
    });
    let answer = scene.client(&server.unwrap(), "h.test").send(GET).answer();
    scene.proxy.end();
    (answer.status(), answer.body().clone())
}

#[test]
fn a_server_whose_certificate_is_revoked_is_not_believed() {
    const ROOT: usize = 0;
    const MIDDLE: usize = 1;
    const LEAF: usize = 2;
    const OTHER: usize = 3;
    for (in_pem, issuer, named, due, expected) in [
        (true, MIDDLE, LEAF, 24, Some("has been revoked (tls.crl)")),
        (false, MIDDLE, LEAF, 24, Some("has been revoked (tls.crl)")),
        (true, ROOT, MIDDLE, 24, Some("has been revoked (tls.crl)")),
        (true, MIDDLE, OTHER, 24, None),
        (
            true,
            MIDDLE,
            OTHER,
            -24,
            Some("a list of tls.crl was to be renewed by "),
        ),
    ] {
        let (status, body) = revoked(in_pem, due, (issuer, named));
        match expected {
            None => assert_eq!(status, 200, "{body}"),
            Some(reason) => {
                assert_eq!(status, 502, "{named} {due}");
                assert!(body.contains(reason) && body.contains("issued to h.test"), "{body}");
            }
        }
    }
}

#[test]
fn a_server_without_a_pinned_key_is_not_believed() {
    for (pinned, status) in [(0, 200), (1, 200), (2, 502)] {
        let mut server = None;
        let scene = Scene::prepared(|root, _| {
            let middle = root.issue(Certificate::authority_params("Test Middle"));
            let leaf = middle.server("h.test");
            let pins = [leaf.pin(), middle.pin(), Certificate::root("Other").pin()];
            server = Some(hello(leaf.config(), "hi"));
            vec![
                "--intercept".to_owned(),
                "--set".to_owned(),
                format!("tls.pin=['{}']", pins[pinned]),
            ]
        });
        let server = server.unwrap();
        let answer = scene.client(&server, "h.test").send(GET).answer();
        assert_eq!(answer.status(), status, "{}", answer.body());
        if status == 502 {
            answer.assert_own(502, "tls_certificate_error");
            assert!(answer.body().contains("tls.pin"), "{}", answer.body());
        }
        scene.proxy.end();
    }
}

/// Nobody makes such any more but openssl, if asked to.
#[test]
fn a_certificate_that_is_signed_with_sha_1_is_not_believed() {
    let scene = Scene::with(&["--intercept"]);
    let leaf = scene.root.server("h.test");
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("root.pem", scene.root.pem()),
        ("root.key", scene.root.key_pem()),
        ("leaf.key", leaf.key_pem()),
        ("names", "subjectAltName=DNS:h.test\n".to_owned()),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let script = "openssl req -new -key leaf.key -subj /CN=h.test -out leaf.csr && openssl x509 -req -sha1 -in leaf.csr \
                  -CA root.pem -CAkey root.key -set_serial 7 -days 2 -extfile names -out leaf.pem";
    let made = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    if !made.status.success() {
        return say_skipped("there is no openssl here that signs with SHA-1");
    }
    let pem = std::fs::read_to_string(directory.path().join("leaf.pem")).unwrap();
    let server = hello(leaf.config_of(&pem), "must not be seen");
    let answer = scene.client(&server, "h.test").send(GET).answer();
    answer.assert_own(502, "tls_certificate_error");
    assert!(answer.body().contains("not safe any more"), "{}", answer.body());
    scene.proxy.end();
}

/// A chain may come in any order ([RFC 8446 §4.4.2]) but for the server's own certificate, which is first.
///
/// [RFC 8446 §4.4.2]: https://www.rfc-editor.org/rfc/rfc8446#section-4.4.2
#[test]
fn a_chain_that_does_not_begin_with_the_servers_own_is_not_believed() {
    let scene = Scene::with(&["--intercept"]);
    let upper = scene.root.issue(Certificate::authority_params("Test Upper"));
    let lower = upper.issue(Certificate::authority_params("Test Lower"));
    let leaf = lower.server("h.test");
    for (order, status) in [
        ([&leaf, &lower, &upper], 200),
        ([&leaf, &upper, &lower], 200),
        ([&lower, &leaf, &upper], 502),
        ([&upper, &lower, &leaf], 502),
    ] {
        let server = hello(leaf.config_in_order(&order), "hi");
        let answer = scene.client(&server, "h.test").send(GET).answer();
        assert_eq!(answer.status(), status, "{}", answer.body());
        if status == 502 {
            answer.assert_own(502, "tls_certificate_error");
        }
    }
    scene.proxy.end();
}

/// rustls makes no such server, and openssl only if it is told to forget what it knows.
#[test]
fn a_key_that_is_too_short_is_not_believed() {
    let scene = Scene::with(&["--intercept"]);
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("root.pem", scene.root.pem()),
        ("root.key", scene.root.key_pem()),
        ("names", "subjectAltName=DNS:h.test\n".to_owned()),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let script = "openssl genrsa -out leaf.key 1024 && openssl req -new -key leaf.key -subj /CN=h.test -out leaf.csr && \
                  openssl x509 -req -sha256 -in leaf.csr -CA root.pem -CAkey root.key -set_serial 7 -days 2 -extfile names \
                  -out leaf.pem";
    let shell = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).current_dir(directory.path());
        command
    };
    if !shell(script).output().unwrap().status.success() {
        return say_skipped("there is no openssl here that makes short keys");
    }
    // It reads stdin for as long as it lives.
    let serve =
        "exec openssl s_server -accept 127.0.0.1:0 -cert leaf.pem -key leaf.key -cipher DEFAULT:@SECLEVEL=0 -www";
    let mut server = shell(serve)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(server.stdout.take().unwrap());
    let port = loop {
        let mut line = String::new();
        if std::io::BufRead::read_line(&mut said, &mut line).unwrap() == 0 {
            break None;
        }
        if let Some(place) = line.trim().strip_prefix("ACCEPT ") {
            break place.rsplit(':').next().map(str::to_owned);
        }
    };
    let Some(port) = port else {
        drop(server.kill());
        drop(server.wait());
        return say_skipped("openssl does not serve with a short key");
    };
    let config = crate::support::secure::client_config(&[&scene.authority()], &["http/1.1"]);
    let tunnel = scene.tunnel(&format!("127.0.0.1:{port}")).stream;
    let mut client = crate::support::secure::shake(config, "h.test", tunnel).unwrap();
    let answer = client.send(GET).answer();
    answer.assert_own(502, "tls_certificate_error");
    assert!(answer.body().contains("RSA with 1024 bits"), "{}", answer.body());
    drop(client);
    scene.proxy.end();
    drop(server.kill());
    drop(server.wait());
}

/// What a server with `config` is that asks for a certificate, and insists on it if `required`.
fn asking(config: &Certificate, root: &Certificate, required: bool) -> ServerConfig {
    let mut roots = rustls::RootCertStore::empty();
    let der = <rustls::pki_types::CertificateDer<'_> as PemObject>::from_pem_slice(root.pem().as_bytes());
    roots.add(der.unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    let verifier = if required {
        builder.build()
    } else {
        builder.allow_unauthenticated().build()
    };
    config.config_asking(verifier.unwrap())
}

#[test]
fn a_server_that_asks_for_a_clients_certificate_is_left_to_the_client() {
    let scene = Scene::with(&["--intercept"]);
    let server = hello(asking(&scene.root.server("h.test"), &scene.root, false), "hi");
    for _ in 0..2 {
        let mut client = scene.stranger(&server, "h.test").expect("the server itself");
        client.send(GET).answer().assert_is(200, "hi");
        client.end();
    }
    scene.proxy.running.wait_for_stderr("asks for a client's certificate");
    scene.proxy.end().assert_exchanges(&[]).assert_tunnels(&[("ok", 2)]);
    server.join();
}

#[test]
fn a_certificate_that_amb_has_is_shown_to_servers_that_ask_for_it() {
    let mut server = None;
    let scene = Scene::prepared(|root, directory| {
        let mut params = Certificate::params("client.test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let own = root.issue(params);
        let [certificate, key] = ["own.pem", "own.key"].map(|name| directory.join(name));
        std::fs::write(&certificate, own.pem()).unwrap();
        std::fs::write(&key, own.key_pem()).unwrap();
        server = Some(serve(asking(&root.server("h.test"), root, true), |mut peer, _| {
            let shown = peer.stream.conn.peer_certificates().map_or(0, <[_]>::len);
            drop(peer.until(b"\r\n\r\n"));
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{shown}"));
        }));
        let set = |key: &str, path: &std::path::Path| format!("tls.{key}='{}'", path.display());
        [
            "--intercept",
            "--set",
            &set("client-cert", &certificate),
            "--set",
            &set("client-key", &key),
        ]
        .map(ToOwned::to_owned)
        .to_vec()
    });
    let server = server.unwrap();
    scene.client(&server, "h.test").send(GET).answer().assert_is(200, "1");
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

/// By TLS 1.3 a server says no only after the client has begun to send.
#[test]
fn a_server_that_insists_on_a_certificate_says_so_itself() {
    let scene = Scene::with(&[]);
    let server = hello(asking(&scene.root.server("127.0.0.1"), &scene.root, true), "hi");
    let url = format!("https://{}/", server.address());
    let answer = scene.proxy.ask(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
    answer.assert_own(502, "tls_alert_received");
    assert!(answer.body().contains("certificate_required"), "{}", answer.body());
    scene.proxy.end().assert_exchanges(&[("failed", 1)]);
}
