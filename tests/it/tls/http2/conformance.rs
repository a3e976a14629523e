//! The cases of h2spec, the conformance suite of HTTP/2 servers, against what a client meets where amb opens its TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
};

use hyper::{Response, body::Bytes};

use crate::support::{
    http2::{Asked, read, serve},
    say_skipped,
    secure::Scene,
};

/// Passes on what comes, until it ends.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ended: io::Result<u64> = io::copy(&mut from, &mut to);
    // It may have gone already.
    let _gone: io::Result<()> = to.shutdown(Shutdown::Write);
}

/// Opens a tunnel for a client that knows nothing of proxies.
fn lead(client: TcpStream, proxy: SocketAddr, place: &str) -> io::Result<()> {
    let mut tunnel = TcpStream::connect(proxy)?;
    write!(tunnel, "CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tunnel.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    let (up, down) = (client.try_clone()?, tunnel.try_clone()?);
    thread::spawn(move || pass(down, client));
    thread::spawn(move || pass(up, tunnel));
    Ok(())
}

#[test]
fn every_case_of_h2spec_passes() {
    if Command::new("h2spec").arg("--version").output().is_err() {
        return say_skipped("h2spec is not installed");
    }
    let scene = Scene::with(&["--intercept", "--connect-to=127.0.0.2::127.0.0.1:"]);
    let server = serve(scene.root.server("127.0.0.2").config(), |mut asked: Asked| async move {
        // Many a request breaks off, and some are taken back before they are answered.
        if read(&mut asked.body).await.is_ok() {
            let mut respond = asked.respond;
            if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
                let _gone = stream.send_data(Bytes::from_static(b"some data"), true);
            }
        }
    });
    // The client names the place that it finds the forwarder at, which is to be the one that its tunnel leads to.
    let port = server.address().port();
    let forwarder = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let proxy = scene.proxy.address;
    thread::spawn(move || {
        for client in forwarder.incoming() {
            lead(client.unwrap(), proxy, &format!("127.0.0.2:{port}")).unwrap();
        }
    });
    let suite = Command::new("h2spec")
        .args(["-t", "-k", "-h", "127.0.0.2", "-p", &port.to_string(), "-o", "20"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&suite.stdout);
    assert!(suite.status.success(), "{said}");
    assert!(said.contains("146 tests, 146 passed, 0 skipped, 0 failed"), "{said}");
    scene.proxy.end();
}
