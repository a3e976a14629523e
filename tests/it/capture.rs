//! `--capture`: connections of programs that know of no proxy are led to amb, and the programs are none the wiser.
//!
//! Destinations are addresses for documentation, which `--connect-to` leads to a server of the test's own.

mod kinds;
mod proxied;
mod roots;
mod surroundings;

use std::{ffi::OsString, path::PathBuf};

use amb::capture::{self, Asks};
use serde_json::Value;

use super::{
    confine::{program, server},
    support::{Amb, Outcome, Upstream, say_skipped},
};

/// The address that a program connects to, which is that of nobody.
const ADDRESS: &str = "203.0.113.5";
/// The same for IPv6.
const ADDRESS6: &str = "2001:db8::5";

/// Says why, if nothing can be captured here.
fn is_possible() -> bool {
    match capture::possible(Asks::OpeningToo) {
        Ok(()) => true,
        Err(reason) => {
            say_skipped(&reason.to_string());
            false
        }
    }
}

/// Python itself, past shims.
fn python() -> Option<PathBuf> {
    program("python3", &["-c", "import sys; print(sys.executable)"])
}

/// `amb run --capture`, by which both addresses lead to this machine.
fn captured(flags: &[&str]) -> Amb {
    let lead = [
        "--capture".to_owned(),
        format!("--connect-to={ADDRESS}::127.0.0.1:"),
        format!("--connect-to=[{ADDRESS6}]::127.0.0.1:"),
    ];
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    Amb::run(lead.into_iter().chain(flags).map(OsString::from)).reporting()
}

/// What a Python program does under this run, which knows the server's port as `port`.
#[track_caller]
fn run_python(run: Amb, server: &Upstream, code: &str) -> Option<Outcome> {
    let code = format!("import os, socket, sys\nport = int(os.environ['PORT'])\n{code}");
    let command = [python()?.into_os_string(), "-c".into(), code.into()];
    let port = server.address().port().to_string();
    Some(run.env("PORT", port).command(command).outcome())
}

/// What the report says at this place.
#[track_caller]
fn part<'a>(outcome: &'a Outcome, pointer: &str) -> &'a Value {
    let report = outcome.report.as_ref().expect("a report");
    report.pointer(pointer).unwrap_or(&Value::Null)
}

/// How many connections were captured, and how many went around.
#[track_caller]
fn counts(outcome: &Outcome) -> (u64, u64) {
    let count = |name: &str| part(outcome, &format!("/run/capture/{name}")).as_u64().unwrap();
    (count("connections"), count("around"))
}
