//! What the reports say of TLS.

use serde_json::json;

use super::GET;
use crate::support::secure::{Certificate, Scene, hello, serve, valid};

/// A request for an `https://` URL of this machine.
fn get(server: &crate::support::Upstream, path: &str) -> String {
    format!("GET https://{}{path} HTTP/1.1\r\nHost: x\r\n\r\n", server.address())
}

#[test]
fn each_host_says_what_became_of_its_tls() {
    let scene = Scene::with(&["--intercept=opened.test,refused.test"]);
    let [opened, refused, left] =
        ["opened.test", "refused.test", "left.test"].map(|name| hello(scene.root.server(name).config(), "hi"));
    scene
        .client(&opened, "opened.test")
        .send(GET)
        .answer()
        .assert_is(200, "hi");
    assert!(scene.stranger(&refused, "refused.test").is_err());
    for (server, name) in [(&refused, "refused.test"), (&left, "left.test")] {
        let mut client = scene.stranger(server, name).unwrap();
        client.send(GET).answer().assert_is(200, "hi");
        client.end();
        client.rest();
    }
    let records = scene.proxy.end();
    let hosts = records.report()["hosts"].as_array().unwrap();
    for (server, state, handshakes) in [
        (&opened, "intercepted", 1),
        (&refused, "pinned", 0),
        (&left, "tunnelled", 0),
    ] {
        let port = server.address().port();
        let host = hosts.iter().find(|host| host["port"] == port).unwrap();
        assert_eq!(host["tls"]["state"], state, "{host}");
        assert_eq!(host["tls"]["handshakes"], handshakes, "{host}");
        assert_eq!(host["tls"].get("handshake_seconds").is_some(), handshakes > 0, "{host}");
    }
}

#[test]
fn handshakes_are_counted_with_what_came_of_them() {
    let scene = Scene::with(&[]);
    let closing = |config| {
        serve(config, |mut peer, _| {
            drop(peer.until(b"\r\n\r\n"));
            peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
                .end();
        })
    };
    let old = [&rustls::version::TLS12];
    let servers = [
        closing(scene.root.server("127.0.0.1").config()),
        closing(scene.root.server("localhost").config_with(&old)),
    ];
    for (server, name) in servers.iter().zip(["127.0.0.1", "localhost"]) {
        let request = get(server, "/").replace("127.0.0.1", name);
        for _ in 0..3 {
            scene.proxy.ask(&request).assert_is(200, "hi");
        }
    }
    let records = scene.proxy.end();
    let hosts = records.report()["hosts"].as_array().unwrap();
    for (server, version) in servers.iter().zip(["1.3", "1.2"]) {
        let port = server.address().port();
        let tls = &hosts.iter().find(|host| host["port"] == port).unwrap()["tls"];
        assert_eq!((&tls["handshakes"], &tls["resumed"]), (&json!(3), &json!(2)), "{tls}");
        assert_eq!(tls["versions"], json!({ version: 3 }));
        let ciphers = tls["ciphers"].as_object().unwrap();
        assert!(ciphers.keys().all(|name| name.starts_with("TLS_")), "{tls}");
        assert_eq!(tls["handshake_seconds"]["count"], 3);
        assert!(
            tls["certificate_expires_at"].as_str().unwrap().starts_with("20"),
            "{tls}"
        );
    }
}

#[test]
fn a_certificate_that_is_about_to_expire_is_warned_of() {
    let scene = Scene::with(&[]);
    let server = |from, to| {
        let mut params = Certificate::params("127.0.0.1");
        valid(&mut params, from, to);
        hello(scene.root.issue(params).config(), "hi")
    };
    let (soon, late) = (server(-24 * 80, 24 * 10 + 1), server(-24 * 10, 24 * 80));
    for server in [&soon, &late] {
        scene.proxy.ask(get(server, "/")).assert_is(200, "hi");
    }
    let records = scene.proxy.end();
    let warnings = records.report()["warnings"].as_array().unwrap();
    let said = format!("the certificate of {} expires in 10 days", soon.address());
    let found: Vec<_> = warnings
        .iter()
        .filter(|it| it["code"] == "certificate_expires")
        .collect();
    assert_eq!(found.len(), 1, "{warnings:?}");
    assert_eq!(found[0]["message"], said);
}
