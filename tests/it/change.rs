//! Requests and responses that are changed on the way: what the server gets, and what the client gets, byte for byte.

mod bodies;
mod heads;
mod places;
mod replies;
mod settings;
mod traces;

use std::{fs, net::SocketAddr};

use serde_json::Value;

use crate::support::{Amb, Proxy, Step, Upstream};

/// A proxy with a file that is trusted, for names that lead to this machine.
#[track_caller]
fn proxy(file: &str, flags: &[&str]) -> Proxy {
    Proxy::of(run(file, flags))
}

/// The run of such a proxy.
#[track_caller]
fn run(file: &str, flags: &[&str]) -> Amb {
    let run = Amb::run(flags).env("AMB_TRUST", "1");
    fs::write(run.home().join("amb.toml"), file).unwrap();
    run
}

/// A flag that leads a name to a server on this machine, whatever the port.
fn lead(name: &str, address: SocketAddr) -> String {
    format!("--connect-to={name}::127.0.0.1:{}", address.port())
}

/// Reads a request and answers with these bytes.
fn answering(bytes: &str) -> Vec<Step> {
    vec![Step::Read, Step::Send(bytes.as_bytes().to_vec())]
}

/// The one record of an access log.
#[track_caller]
fn record(log: &std::path::Path) -> Value {
    let text = fs::read_to_string(log).unwrap();
    let [line] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    serde_json::from_str(line).unwrap()
}

/// What a server on this machine got, head and body as one text.
#[track_caller]
fn got(server: Upstream) -> String {
    let requests = server.join();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    format!("{}{}", request.head(), String::from_utf8_lossy(&request.body))
}
