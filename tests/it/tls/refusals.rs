//! Clients that do not put up with amb's certificate: they are told of, and left alone from then on.

use std::io::Write;

use super::GET;
use crate::support::{
    End,
    secure::{Scene, hello},
};

#[test]
fn a_client_that_says_no_is_told_of_once_and_its_host_is_a_tunnel_from_then_on() {
    let scene = Scene::with(&["--intercept"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    let other = hello(scene.root.server("other.test").config(), "hi");
    assert!(scene.stranger(&server, "h.test").is_err(), "amb's certificate");
    for _ in 0..2 {
        let mut client = scene.stranger(&server, "h.test").expect("the server's own certificate");
        client.send(GET).answer().assert_is(200, "hi");
        client.end();
        client.rest();
    }
    // Another host is decrypted as before.
    scene
        .client(&other, "other.test")
        .send(GET)
        .answer()
        .assert_is(200, "hi");
    scene
        .proxy
        .running
        .wait_for_stderr("has refused amb's certificate for h.test with the alert unknown_ca");
    let records = scene.proxy.end();
    records
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("failed", 1), ("ok", 2)]);
    for text in ["intercept_refused", "\"client\"", "unknown_ca"] {
        records.assert_failure(text);
    }
}

#[test]
fn a_client_that_leaves_without_a_word_twice_is_taken_to_refuse() {
    let scene = Scene::with(&["--intercept"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    for said in [false, true] {
        let mut client = scene.client(&server, "h.test");
        if said {
            client.end();
        } else {
            drop(client.stream.flush());
            client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert!(client.rest().0.is_empty());
    }
    scene
        .proxy
        .running
        .wait_for_stderr("by closing the connection without a request");
    let mut client = scene.stranger(&server, "h.test").expect("the server's own certificate");
    client.send(GET).answer().assert_is(200, "hi");
    client.end();
    drop(client);
    scene
        .proxy
        .end()
        .assert_tunnels(&[("failed", 2), ("ok", 1)])
        .assert_failure("intercept_refused");
}

#[test]
fn a_connection_that_somebody_who_trusts_amb_does_not_need_is_no_refusal() {
    let scene = Scene::with(&["--intercept"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    scene.client(&server, "h.test").send(GET).answer().assert_is(200, "hi");
    for _ in 0..3 {
        let mut client = scene.client(&server, "h.test");
        client.end();
        assert_eq!(client.rest(), (Vec::new(), End::Closed));
    }
    // Some other program may still not trust it, and break off: that is told, and changes nothing for the others.
    for _ in 0..3 {
        let mut client = scene.client(&server, "h.test");
        client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        client.rest();
    }
    scene.client(&server, "h.test").send(GET).answer().assert_is(200, "hi");
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 2)])
        .assert_tunnels(&[("ok", 3), ("failed", 3)])
        .assert_failure("intercept_refused");
}

#[test]
fn a_host_is_refused_again_and_again_where_that_is_wanted() {
    let scene = Scene::with(&["--intercept", "--set", "tls.on-pinning-failure='fail'"]);
    let server = hello(scene.root.server("h.test").config(), "hi");
    for _ in 0..3 {
        assert!(scene.stranger(&server, "h.test").is_err());
    }
    scene.client(&server, "h.test").send(GET).answer().assert_is(200, "hi");
    scene
        .proxy
        .end()
        .assert_exchanges(&[("ok", 1)])
        .assert_tunnels(&[("failed", 3)]);
}
