//! `amb policy suggest`: from what runs have asked for to the list of what may be asked for, with the evidence for each line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::error::ConfigError;
use crate::{
    policy::egress::{destination::Destination, lock::place},
    report::text::plural,
    units::ByteSize,
};

/// What a report calls all hosts beyond those that it tells apart.
const OTHER_HOST: &str = "_other";

/// Names below one domain that are taken together, if they are to be: two may be an accident.
const FEWEST: usize = 3;

/// Names that are written out where several are taken together.
const MOST_NAMED: usize = 5;

/// The part of a JSON report that matters here.
#[derive(Deserialize)]
struct Report {
    /// The run.
    run: Run,
    /// The traffic by host and port.
    hosts: Vec<Host>,
    /// What the rules of egress said.
    #[serde(default)]
    egress: Egress,
}

/// A run.
#[derive(Deserialize)]
struct Run {
    /// What it is called.
    name: String,
    /// When it began.
    started_at: String,
}

/// What was asked of a host and port.
#[derive(Deserialize)]
struct Host {
    /// Its name; empty for requests that name none, `_other` for all that are not told apart.
    #[serde(rename = "host")]
    name: String,
    /// The port.
    port: u16,
    /// Exchanges.
    requests: Counts,
    /// Tunnels.
    #[serde(default)]
    tunnels: Counts,
    /// On the wire.
    bytes: Bytes,
}

/// How many there were.
#[derive(Default, Deserialize)]
struct Counts {
    /// All.
    total: u64,
    /// Those that were not answered in full.
    failed: u64,
    /// Those that amb has refused.
    denied: u64,
}

/// Bytes on the wire.
#[derive(Deserialize)]
struct Bytes {
    /// From servers.
    received: u64,
}

/// What the rules of egress said.
#[derive(Default, Deserialize)]
struct Egress {
    /// What hosts were called inside of tunnels.
    #[serde(default)]
    also_called: Vec<Called>,
}

/// What a host was called inside of a tunnel.
#[derive(Deserialize)]
struct Called {
    /// The name; empty for all that are not told apart.
    host: String,
    /// The tunnel's port.
    port: u16,
}

/// What speaks for a place.
#[derive(Clone, Default)]
struct Evidence {
    /// Exchanges.
    requests: u64,
    /// Tunnels.
    tunnels: u64,
    /// Those of both that failed.
    failed: u64,
    /// Those of both that amb has refused.
    denied: u64,
    /// Bytes from there.
    received: u64,
    /// The runs that asked for it, by their places.
    runs: BTreeSet<usize>,
    /// Whether a host was called so inside of a tunnel.
    called: bool,
    /// The names that it stands for, if it stands for several.
    names: Vec<String>,
}

/// By host and port.
type Places = BTreeMap<(String, u16), Evidence>;

/// The configuration by which the runs of these reports could have done what they did, and nothing else. `generalise` takes names
/// together that are below one domain.
///
/// # Errors
/// A file that cannot be read or is no report.
pub fn suggest(files: &[PathBuf], generalise: bool) -> Result<String, ConfigError> {
    let mut reports = Vec::new();
    for file in files {
        reports.push((file, read(file)?));
    }
    let mut text = format!(
        "# Where {} went, by `amb policy suggest`:\n",
        plural(reports.len() as u64, "run")
    );
    let mut places = Places::new();
    let mut incomplete = false;
    for (at, (file, report)) in reports.iter().enumerate() {
        let Run { name, started_at } = &report.run;
        line(
            &mut text,
            format_args!(
                "#   {}: {} at {}",
                plain(&file.display().to_string()),
                plain(name),
                plain(started_at)
            ),
        );
        incomplete |= take(report, at, &mut places);
    }
    if incomplete {
        text.push_str("# Not all is here: a report does not tell apart all places that it has seen.\n");
    }
    let (kept, left_out): (Places, Places) = places
        .into_iter()
        .partition(|(place, evidence)| objection(&place.0, evidence).is_none());
    let kept = if generalise { together(kept) } else { kept };
    text.push_str("\n[egress]\nmode = \"enforce\"\ndefault = \"deny\"\nallow = [\n");
    let entries: Vec<(String, String)> = kept
        .iter()
        .map(|((host, port), evidence)| (format!("{:?},", place(host, *port)), evidence.told(reports.len())))
        .collect();
    let widest = entries
        .iter()
        .map(|(entry, _)| entry.chars().count())
        .max()
        .unwrap_or(0);
    for (entry, evidence) in entries {
        line(&mut text, format_args!("    {entry:widest$}  # {evidence}"));
    }
    text.push_str("]\n");
    if !left_out.is_empty() {
        text.push_str("\n# Left out:\n");
    }
    for ((host, port), evidence) in &left_out {
        let why = objection(host, evidence).unwrap_or_default();
        let place = plain(&place(host, *port));
        line(
            &mut text,
            format_args!("#   {place}  {}: {why}", evidence.told(reports.len())),
        );
    }
    Ok(text)
}

/// Adds a line. Writing to a string cannot fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").unwrap_or_default();
}

/// A text that stays within its line.
fn plain(text: &str) -> String {
    text.escape_debug().to_string()
}

/// Reads a report.
fn read(file: &Path) -> Result<Report, ConfigError> {
    let shown = file.display().to_string();
    let text = fs::read(file).map_err(|error| ConfigError::unreadable(&shown, &error))?;
    serde_json::from_slice(&text)
        .map_err(|error| ConfigError::other(format!("{shown}: is no JSON report of amb: {error}")))
}

/// Adds up what a report has seen; whether there was more than that.
fn take(report: &Report, at: usize, places: &mut Places) -> bool {
    let mut incomplete = false;
    for host in &report.hosts {
        if host.name.is_empty() {
            continue;
        }
        // Names that nobody can ask for stand for several hosts.
        if place(&host.name, host.port).parse::<Destination>().is_err() || host.name == OTHER_HOST {
            incomplete = true;
            continue;
        }
        let evidence = places.entry((host.name.clone(), host.port)).or_default();
        evidence.requests += host.requests.total;
        evidence.tunnels += host.tunnels.total;
        evidence.failed += host.requests.failed + host.tunnels.failed;
        evidence.denied += host.requests.denied + host.tunnels.denied;
        evidence.received += host.bytes.received;
        evidence.runs.insert(at);
    }
    for called in &report.egress.also_called {
        if called.host.is_empty() {
            incomplete = true;
            continue;
        }
        let evidence = places.entry((called.host.clone(), called.port)).or_default();
        evidence.called = true;
        evidence.runs.insert(at);
    }
    incomplete
}

/// Why a place is not allowed by itself, though it was asked for; none if it is.
fn objection(host: &str, evidence: &Evidence) -> Option<&'static str> {
    let asked = evidence.requests + evidence.tunnels;
    let metadata: Option<Destination> = "metadata".parse().ok();
    let address = host.parse().ok();
    let is_metadata = |set: &Destination| set.hosts().iter().any(|known| known.fits(host, address, 80));
    if metadata.as_ref().is_some_and(is_metadata) {
        Some("it is of the set `metadata`, which gives out credentials")
    } else if asked > 0 && asked == evidence.denied && !evidence.called {
        Some("amb has refused all of it")
    } else {
        None
    }
}

/// The same places, with names taken together that are below one domain, on one port.
fn together(places: Places) -> Places {
    let mut families: BTreeMap<(String, u16), Vec<String>> = BTreeMap::new();
    for (host, port) in places.keys() {
        if let Some(parent) = parent(host) {
            families
                .entry((parent.to_owned(), *port))
                .or_default()
                .push(host.clone());
        }
    }
    let mut joined = Places::new();
    for ((host, port), evidence) in places {
        let family = parent(&host).and_then(|parent| families.get_key_value(&(parent.to_owned(), port)));
        let Some(((parent, _), names)) = family.filter(|(_, names)| names.len() >= FEWEST) else {
            joined.insert((host, port), evidence);
            continue;
        };
        let whole = joined.entry((format!("*.{parent}"), port)).or_default();
        whole.requests += evidence.requests;
        whole.tunnels += evidence.tunnels;
        whole.failed += evidence.failed;
        whole.denied += evidence.denied;
        whole.received += evidence.received;
        whole.called |= evidence.called;
        whole.runs.extend(evidence.runs);
        whole.names.clone_from(names);
    }
    joined
}

/// The domain that a name is directly below, if everything below that is one owner's: none for `a.co.uk` and `a.github.io`.
fn parent(host: &str) -> Option<&str> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let (_, parent) = host.split_once('.')?;
    psl::domain_str(parent).is_some().then_some(parent)
}

impl Evidence {
    /// It in a few words; `runs` is how many there were.
    fn told(&self, runs: usize) -> String {
        let mut parts = Vec::new();
        if self.requests > 0 {
            parts.push(plural(self.requests, "request"));
        }
        if self.tunnels > 0 {
            parts.push(plural(self.tunnels, "tunnel"));
        }
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        if self.denied > 0 {
            parts.push(format!("{} refused", self.denied));
        }
        if self.called {
            parts.push("a name inside of tunnels".to_owned());
        }
        if self.received > 0 {
            parts.push(format!("{} received", ByteSize(self.received)));
        }
        if runs > 1 {
            parts.push(format!("in {} of {runs} runs", self.runs.len()));
        }
        let mut told = parts.join(", ");
        if !self.names.is_empty() {
            let shown: Vec<&str> = self.names.iter().take(MOST_NAMED).map(String::as_str).collect();
            let more = match self.names.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            told = format!("{told}: {}{more}", shown.join(", "));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    /// What a report says of a host.
    fn host(name: &str, port: u16, requests: [u64; 3], tunnels: u64) -> Value {
        let [total, failed, denied] = requests;
        json!({
            "host": name, "port": port, "bytes": { "sent": 1, "received": 2048 },
            "requests": { "total": total, "failed": failed, "denied": denied },
            "tunnels": { "total": tunnels, "failed": 0, "denied": 0 },
        })
    }

    /// What is suggested by reports with these hosts: the lines, without those about the runs.
    #[track_caller]
    fn suggested(reports: &[Vec<Value>], generalise: bool) -> Vec<String> {
        let directory = TempDir::new().unwrap();
        let mut files = Vec::new();
        for (at, hosts) in reports.iter().enumerate() {
            let file = directory.path().join(format!("{at}.json"));
            let report = json!({ "run": { "name": "x", "started_at": "then" }, "hosts": hosts,
                "egress": { "also_called": [] } });
            fs::write(&file, report.to_string()).unwrap();
            files.push(file);
        }
        let text = suggest(&files, generalise).unwrap();
        let read: Result<toml_edit::ImDocument<String>, _> = toml_edit::ImDocument::parse(text.clone());
        assert!(read.is_ok(), "{text}");
        text.lines().skip(reports.len() + 1).map(str::to_owned).collect()
    }

    #[test]
    fn every_line_has_its_evidence() {
        let one = vec![
            host("b.test", 443, [0, 0, 0], 2),
            host("a.test", 80, [3, 1, 1], 0),
            host("::1", 80, [1, 0, 0], 0),
        ];
        let two = vec![host("b.test", 443, [1, 0, 0], 1), host("", 0, [1, 1, 0], 0)];
        assert_eq!(
            suggested(&[one, two], false),
            [
                "",
                "[egress]",
                "mode = \"enforce\"",
                "default = \"deny\"",
                "allow = [",
                "    \"[::1]:80\",    # 1 request, 2 KiB received, in 1 of 2 runs",
                "    \"a.test:80\",   # 3 requests, 1 failed, 1 refused, 2 KiB received, in 1 of 2 runs",
                "    \"b.test:443\",  # 1 request, 3 tunnels, 4 KiB received, in 2 of 2 runs",
                "]",
            ]
        );
    }

    #[test]
    fn what_should_not_be_allowed_by_the_way_is_left_out_and_told() {
        let hosts = vec![
            host("169.254.169.254", 80, [1, 0, 0], 0),
            host("evil.test", 80, [2, 0, 2], 0),
        ];
        let lines = suggested(&[hosts], false);
        assert_eq!(
            lines[5..],
            [
                "]",
                "",
                "# Left out:",
                "#   169.254.169.254:80  1 request, 2 KiB received: it is of the set `metadata`, which gives out credentials",
                "#   evil.test:80  2 requests, 2 refused, 2 KiB received: amb has refused all of it",
            ]
        );
        let lines = suggested(&[vec![host("_other", 0, [1, 0, 0], 0)]], false);
        assert!(lines[0].starts_with("# Not all is here"), "{lines:?}");
    }

    #[test]
    fn names_are_taken_together_below_a_domain_that_is_one_owners() {
        let of = |names: &[&str]| {
            names
                .iter()
                .map(|name| host(name, 443, [0, 0, 0], 1))
                .collect::<Vec<_>>()
        };
        let allowed = |names: &[&str]| {
            let lines = suggested(&[of(names)], true);
            let entries = lines.iter().filter(|line| line.starts_with("    \""));
            entries
                .map(|line| line.split('"').nth(1).unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            allowed(&["a.x.com", "b.x.com", "c.x.com", "x.com"]),
            ["*.x.com:443", "x.com:443"]
        );
        assert_eq!(allowed(&["a.x.com", "b.x.com"]), ["a.x.com:443", "b.x.com:443"]);
        let apart = ["a.co.uk:443", "b.co.uk:443", "c.co.uk:443"];
        assert_eq!(allowed(&["a.co.uk", "b.co.uk", "c.co.uk"]), apart);
        let apart = ["a.github.io:443", "b.github.io:443", "c.github.io:443"];
        assert_eq!(allowed(&["a.github.io", "b.github.io", "c.github.io"]), apart);
        assert_eq!(allowed(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]).len(), 3);
        let lines = suggested(&[of(&["a.x.com", "b.x.com", "c.x.com"])], true);
        assert!(
            lines[5].ends_with("# 3 tunnels, 6 KiB received: a.x.com, b.x.com, c.x.com"),
            "{lines:?}"
        );
    }

    #[test]
    fn what_is_no_report_is_told() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("x.json");
        assert!(
            suggest(std::slice::from_ref(&file), false)
                .unwrap_err()
                .reason
                .ends_with("there is no such file")
        );
        fs::write(&file, "{}").unwrap();
        assert!(
            suggest(&[file], false)
                .unwrap_err()
                .reason
                .contains("is no JSON report of amb")
        );
    }
}
