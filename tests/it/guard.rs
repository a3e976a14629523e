//! Secrets, what requests are signed in with, and that nothing of it is written anywhere.

mod auth;
mod changed;
mod leaks;
mod placeholders;
mod sources;
mod tokens;
mod trust;

use std::{fs, net::SocketAddr};

use super::support::{Amb, Answer, Proxy};

/// amb with a project's file that is trusted.
#[track_caller]
fn trusted(file: &str, flags: &[&str]) -> Amb {
    let run = Amb::run(flags);
    fs::write(run.home().join("amb.toml"), file).unwrap();
    run.env("AMB_TRUST", "1")
}

/// Its proxy, with the variables `A` and `B` for secrets.
#[track_caller]
fn proxy(file: &str, flags: &[&str]) -> Proxy {
    let run = trusted(file, flags).env("A", "first-value").env("B", "second-value");
    Proxy::of(run)
}

/// The table `[secret]` with the entries `a` and `b`, from these variables.
const SECRETS: &str = "[secret]\na = { env = 'A' }\nb = { env = 'B' }\n";

/// A flag that leads a name to this machine.
fn resolve(host: &str, address: SocketAddr) -> String {
    format!("--resolve={host}:{}:127.0.0.1", address.port())
}

/// Asks for a path of this host, with these lines in the head and this body.
#[track_caller]
fn ask(proxy: &Proxy, method: &str, host: &str, address: SocketAddr, path: &str, lines: &str, body: &str) -> Answer {
    let place = format!("{host}:{}", address.port());
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    proxy.ask(format!(
        "{method} http://{place}{path} HTTP/1.1\r\nHost: {place}\r\n{lines}{length}\r\n{body}"
    ))
}

/// The same without a body.
#[track_caller]
fn get(proxy: &Proxy, host: &str, address: SocketAddr, path: &str, lines: &str) -> Answer {
    ask(proxy, "GET", host, address, path, lines, "")
}
