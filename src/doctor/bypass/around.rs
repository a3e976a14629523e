//! What went around the proxy: connections of one program to one place together, and as checks that people read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    reason::{self, Kind, Reason},
    runtime::Runtime,
    sockets::Transport,
    watch::Seen,
};
use crate::{
    doctor::check::{Check, State},
    report::document::Document,
};

/// Processes that are named of many that did the same.
const NAMED: usize = 3;

/// Connections of one program to one place that did not lead to amb.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Around {
    /// How bad it is.
    pub(super) state: State,
    /// In which way they went around.
    pub(super) kind: Kind,
    /// How bytes travel.
    transport: Transport,
    /// Where they lead: an address and a port.
    #[schemars(with = "String")]
    destination: SocketAddr,
    /// What the address is called in the system's table of hosts.
    names: Vec<String>,
    /// How many they were.
    pub(super) connections: usize,
    /// Whose they were.
    processes: Vec<Holder>,
    /// What the program is made with; null if nobody knows.
    runtime: Option<&'static str>,
    /// Why they went around, for people.
    reason: String,
    /// What to do about it, for people; null if there is nothing to be done.
    remedy: Option<String>,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Holder {
    /// Its id.
    pid: u32,
    /// What it was started with, redacted.
    command: Vec<String>,
    /// Its executable; null if that may not be known.
    #[schemars(with = "Option<String>")]
    executable: Option<PathBuf>,
}

/// What went around, connections of one program to one place together, what is worst first.
pub(super) fn around(
    seen: &Seen,
    hosts: &BTreeMap<IpAddr, Vec<String>>,
    redact: impl Fn(&[String]) -> Vec<String>,
) -> Vec<Around> {
    let mut runtimes: HashMap<Option<PathBuf>, Runtime> = HashMap::new();
    let mut found: Vec<(Option<String>, Around)> = Vec::new();
    for sighting in seen.around() {
        let (socket, process) = (&sighting.socket, &sighting.process);
        let runtime = runtimes
            .entry(process.executable.clone())
            .or_insert_with(|| Runtime::of(process));
        let names = hosts.get(&socket.remote.ip()).cloned().unwrap_or_default();
        let Reason { kind, text, remedy } = reason::explain(socket, process, runtime, &names);
        let program = process.words.first().cloned();
        let same = found.iter_mut().find(|(known, around)| {
            *known == program
                && (around.kind, around.transport, around.destination) == (kind, socket.transport, socket.remote)
                && around.reason == text
        });
        let around = if let Some((_, around)) = same {
            around
        } else {
            let around = Around {
                state: kind.state(),
                kind,
                transport: socket.transport,
                destination: socket.remote,
                names,
                connections: 0,
                processes: Vec::new(),
                runtime: runtime.word(),
                reason: text,
                remedy,
            };
            found.push((program, around));
            let Some((_, around)) = found.last_mut() else { continue };
            around
        };
        around.connections += 1;
        if around.processes.iter().all(|known| known.pid != process.pid) {
            around.processes.push(Holder {
                pid: process.pid,
                command: redact(&process.words),
                executable: process.executable.clone(),
            });
        }
    }
    let mut around: Vec<Around> = found.into_iter().map(|(_, around)| around).collect();
    around.sort_by_key(|around| std::cmp::Reverse(around.state));
    around
}

/// What was closed before it could be looked at, but for what leads where amb itself has connected to; none if there is nothing.
pub(super) fn missed(seen: &Seen, report: Option<&Document>) -> Option<Check> {
    let own: BTreeSet<String> = report
        .iter()
        .flat_map(|report| &report.hosts)
        .map(|host| format!("{}:{}", host.name, host.port))
        .collect();
    let missed = seen.missed();
    let missed = missed.iter().filter(|(place, _)| !own.contains(&place.to_string()));
    let places: Vec<String> = missed.map(|(place, count)| format!("{place} ({count})")).collect();
    if places.is_empty() {
        return None;
    }
    let detail = format!(
        "connections to {} came and went between two looks: nobody can say any more whose they were",
        places.join(", ")
    );
    let check = Check::warn("around.missed", "too short", detail);
    Some(check.with_remedy(
        "run it again where little else runs; --capture leads it to amb, --confine tcp lets no TCP go around",
    ))
}

/// What addresses are called in `/etc/hosts`.
pub(super) fn hosts() -> BTreeMap<IpAddr, Vec<String>> {
    named(&fs::read_to_string("/etc/hosts").unwrap_or_default())
}

/// What addresses are called in the text of a table of hosts. Those of this machine itself have names that say nothing.
fn named(table: &str) -> BTreeMap<IpAddr, Vec<String>> {
    let mut found: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for line in table.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        if let Some(address) = address.filter(|address| !address.is_loopback()) {
            found.entry(address).or_default().extend(words.map(ToOwned::to_owned));
        }
    }
    found
}

impl Around {
    /// It as one of the checks.
    pub(super) fn check(&self) -> Check {
        let mut title = format!("{} {}", self.transport.name(), self.destination);
        if let Some(name) = self.names.first() {
            title = format!("{title} ({name})");
        }
        let count = if self.connections > 1 {
            format!("{} connections: ", self.connections)
        } else {
            String::new()
        };
        let mut lines: Vec<String> = self.processes.iter().take(NAMED).map(Holder::line).collect();
        if self.processes.len() > NAMED {
            lines.push(format!("and {} more", self.processes.len() - NAMED));
        }
        lines.push(format!("{count}{}", self.reason));
        let word = serde_json::to_value(self.kind).ok();
        let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        Check {
            id: format!("around.{word}"),
            state: self.state,
            title,
            detail: lines.join("\n"),
            remedy: self.remedy.clone(),
            verdict: None,
        }
    }
}

impl Holder {
    /// `curl http://a.test (pid 4711)`
    fn line(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let words = if words.is_empty() {
            "a process that has no words".to_owned()
        } else {
            words.join(" ")
        };
        format!("{words} (pid {})", self.pid)
    }
}

/// A word as a shell would have to be given it, but for line breaks, which are shown.
fn quoted(word: &str) -> String {
    let word = &word.replace('\n', "\\n");
    let plain = |letter: char| letter.is_alphanumeric() || "-_=+./:,@%^".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// One line for all who looked up names; none if nobody did.
pub(super) fn names(around: &[Around]) -> Option<Check> {
    let asked: Vec<&Around> = around.iter().filter(|around| around.kind == Kind::Dns).collect();
    if asked.is_empty() {
        return None;
    }
    let servers: BTreeSet<String> = asked.iter().map(|around| around.destination.to_string()).collect();
    let programs: BTreeSet<&str> = asked
        .iter()
        .flat_map(|around| &around.processes)
        .filter_map(|holder| holder.command.first()?.rsplit('/').next())
        .collect();
    let list = |words: Vec<&str>| words.join(", ");
    let detail = format!(
        "{} asked {} for names, as programs do that connect by themselves",
        list(programs.into_iter().collect()),
        list(servers.iter().map(String::as_str).collect())
    );
    Some(Check::ok("around.dns", "DNS", detail))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::doctor::bypass::{family::Process, sockets::Socket, watch::Sighting};

    /// A sighting of a connection of this process.
    pub(in crate::doctor::bypass) fn sighting(transport: Transport, remote: &str, pid: u32, times: u32) -> Sighting {
        Sighting {
            socket: Socket {
                transport,
                local: "10.0.0.1:5000".parse().unwrap(),
                remote: remote.parse().unwrap(),
                listens: false,
                inode: pid,
            },
            process: Process {
                pid,
                words: vec!["/opt/app".to_owned(), "--password".to_owned(), "x y".to_owned()],
                executable: None,
                variables: Some([("http_proxy".to_owned(), "http://127.0.0.1:9000".to_owned())].into()),
            },
            times,
        }
    }

    #[test]
    fn connections_of_one_program_to_one_place_are_one_thing() {
        let seen = Seen {
            sightings: vec![
                sighting(Transport::Udp, "9.9.9.9:53", 6, 1),
                sighting(Transport::Tcp, "10.0.0.2:80", 7, 1),
                sighting(Transport::Tcp, "10.0.0.2:80", 8, 5),
                sighting(Transport::Tcp, "10.0.0.2:80", 8, 5),
                sighting(Transport::Tcp, "127.0.0.1:9000", 8, 5),
                // Too short to have sent something.
                sighting(Transport::Udp, "10.0.0.2:443", 8, 1),
                sighting(Transport::Udp, "10.0.0.3:443", 8, 2),
            ],
            proxies: ["127.0.0.1:9000".parse().unwrap()].into(),
            ..Seen::default()
        };
        let table = named("# none\n10.0.0.2 db.test db # yes\n127.0.0.1 localhost\n");
        let around = around(&seen, &table, <[String]>::to_vec);
        let shown: Vec<_> = around
            .iter()
            .map(|it| (it.kind, it.destination.to_string(), it.connections, it.processes.len()))
            .collect();
        assert_eq!(
            shown,
            [
                (Kind::IgnoresProxy, "10.0.0.2:80".to_owned(), 3, 2),
                (Kind::Quic, "10.0.0.3:443".to_owned(), 1, 1),
                (Kind::Dns, "9.9.9.9:53".to_owned(), 1, 1),
            ]
        );
        let check = around[0].check();
        assert_eq!(
            (check.id.as_str(), check.title.as_str()),
            ("around.ignores_proxy", "TCP 10.0.0.2:80 (db.test)")
        );
        assert!(
            check.detail.starts_with("/opt/app --password 'x y' (pid 7)\n"),
            "{}",
            check.detail
        );
        let dns = names(&around).unwrap();
        assert_eq!(
            dns.detail,
            "app asked 9.9.9.9:53 for names, as programs do that connect by themselves"
        );
    }

    #[test]
    fn a_word_is_shown_as_a_shell_takes_it() {
        for (word, shown) in [
            ("a-b=c", "a-b=c"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("*", "'*'"),
            ("a\nb", "'a\\nb'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
