//! `--learn`: the lockfile of a run that has ended well.

use crate::{
    exit::Exit,
    policy::egress::lock::Lock,
    report::file::OutputFile,
    traffic::{
        egress::Decisions,
        meter::{HostTraffic, OTHER_HOST, Traffic},
        summary::Warning,
    },
    veil,
};

/// Writes the lockfile. Where the run has not ended well, or not all of it is known, the file stays as it was.
///
/// # Errors
/// What the user has to know of it then.
pub(super) fn write(file: OutputFile, traffic: &Traffic, exit: Exit) -> Result<(), Warning> {
    let shown = file.path().display().to_string();
    let kept = |reason: &str| {
        let message = format!("nothing was learned, and {shown} stays as it was: {reason}");
        Warning::new("not_learned", message)
    };
    if exit.status() != 0 {
        return Err(kept("the command did not end well"));
    }
    let places =
        places(&traffic.hosts, &traffic.decisions).ok_or_else(|| kept("there were more places than are told apart"))?;
    let text = Lock::text(places);
    if veil::text(&text) != text {
        return Err(kept("a name in it is a secret"));
    }
    file.write(text.as_bytes())
        .map_err(|error| Warning::new("not_learned", error.to_string()))
}

/// Every place that something was asked for and not refused by amb; none if not all are known.
fn places(hosts: &[HostTraffic], decisions: &Decisions) -> Option<Vec<(String, u16)>> {
    let passed = |host: &&HostTraffic| {
        host.requests.total + host.tunnels.total > host.requests.denied + host.tunnels.denied && !host.host.is_empty()
    };
    let called = decisions.called().iter().cloned();
    let places: Vec<(String, u16)> = hosts
        .iter()
        .filter(passed)
        .map(|host| (host.host.clone(), host.port))
        .chain(called)
        .collect();
    let is_known = |(host, _): &(String, u16)| host != OTHER_HOST && !host.is_empty();
    places.iter().all(is_known).then_some(places)
}
