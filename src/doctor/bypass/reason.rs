//! Which sockets have gone around the proxy, and why: decisions on what was seen, with no look at the machine.

use std::{ffi::OsString, net::SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    family::Process,
    runtime::Runtime,
    sockets::{Socket, Transport},
};
use crate::{
    doctor::check::State,
    policy::parent::{Parent, ParentOptions, Route, Scheme},
};

/// The ports of names: DNS, DNS over TLS, multicast DNS.
const NAMES: [u16; 3] = [53, 853, 5353];
/// The port of HTTPS, which on UDP is that of QUIC.
const HTTPS: u16 = 443;
/// The words on a command line that switch a proxy off.
const REFUSALS: [&str; 4] = [
    "--noproxy",
    "--no-proxy",
    "--no-proxy-server",
    "--proxy-server=direct://",
];
/// Ports of protocols that no HTTP proxy carries by itself.
const PROTOCOLS: [(u16, &str); 15] = [
    (21, "FTP"),
    (22, "SSH"),
    (25, "SMTP"),
    (465, "SMTP"),
    (587, "SMTP"),
    (389, "LDAP"),
    (1433, "SQL Server's"),
    (1521, "Oracle's"),
    (3306, "MySQL's"),
    (5432, "PostgreSQL's"),
    (5672, "AMQP"),
    (6379, "Redis's"),
    (9042, "Cassandra's"),
    (9092, "Kafka's"),
    (27017, "MongoDB's"),
];

/// In which way something has gone around the proxy; these are the words of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The program has not asked the proxy.
    IgnoresProxy,
    /// It was not told of a proxy: something has taken the variables away.
    NotTold,
    /// An option on its command line switches the proxy off.
    SwitchedOff,
    /// A protocol that is not HTTP.
    OtherProtocol,
    /// HTTP/3.
    Quic,
    /// Anything else on UDP.
    Udp,
    /// `NO_PROXY` excepts the place.
    Excepted,
    /// A question for a name.
    Dns,
}

impl Kind {
    /// How bad it is: what the user has excepted is worth a look, and names are looked up everywhere.
    pub(super) fn state(self) -> State {
        match self {
            Self::Dns => State::Ok,
            Self::Excepted => State::Warn,
            _ => State::Fail,
        }
    }
}

/// Why something has gone around the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// In which way.
    pub(super) kind: Kind,
    /// A sentence for people.
    pub(super) text: String,
    /// What to do about it; none if there is nothing to be done.
    pub(super) remedy: Option<String>,
}

/// Whether a socket is one that may lead around the proxy: connected, by its own side, to something that is no proxy of amb's.
/// `proxies` are those, `listening` the sockets that wait for connections.
pub(super) fn is_around(socket: &Socket, proxies: &[SocketAddr], listening: &[SocketAddr]) -> bool {
    let accepted = |listener: &SocketAddr| {
        listener.port() == socket.local.port() && (listener.ip().is_unspecified() || listener.ip() == socket.local.ip())
    };
    let leads_nowhere = socket.listens || socket.remote.port() == 0 || socket.remote.ip().is_unspecified();
    let is_accepted = socket.transport == Transport::Tcp && listening.iter().any(accepted);
    let leads_to_amb = proxies.contains(&socket.remote);
    !leads_nowhere && !is_accepted && !leads_to_amb
}

/// Whether a socket says enough when it was seen in one look alone.
pub(super) fn counts_at_once(socket: &Socket) -> bool {
    socket.transport == Transport::Tcp || NAMES.contains(&socket.remote.port())
}

/// Why this socket of this process has gone around. `names` are what the place is called, as far as that is known.
pub(super) fn explain(socket: &Socket, process: &Process, runtime: &Runtime, names: &[String]) -> Reason {
    let reason = |kind, text: String, remedy: Option<String>| Reason { kind, text, remedy };
    let place = socket.remote;
    let is_tcp = socket.transport == Transport::Tcp;
    if NAMES.contains(&place.port()) {
        return reason(Kind::Dns, "looks up names".to_owned(), None);
    }
    if let Some(entry) = exception(process, place, names) {
        let (text, remedy) = if entry == "*" {
            ("NO_PROXY is `*`: everything goes direct", "take it out of NO_PROXY")
        } else if place.ip().is_loopback() {
            (
                "this machine itself is excepted by NO_PROXY, as usual",
                "--proxy-loopback sends it through amb as well",
            )
        } else {
            ("excepted by NO_PROXY", "take the entry out of NO_PROXY")
        };
        let told = if entry == "*" {
            String::new()
        } else {
            format!(" ({entry})")
        };
        return reason(Kind::Excepted, format!("{text}{told}"), Some(remedy.to_owned()));
    }
    if !is_tcp && place.port() == HTTPS {
        let remedy = "switch HTTP/3 off in the program (Chromium: --disable-quic), or close UDP 443 in a firewall";
        let text = "QUIC, on which HTTP/3 goes around every HTTP proxy";
        return reason(Kind::Quic, text.to_owned(), Some(remedy.to_owned()));
    }
    if !is_tcp {
        return reason(Kind::Udp, "UDP, which no HTTP proxy carries".to_owned(), None);
    }
    if process.is_told_of_a_proxy() == Some(false) {
        return reason(
            Kind::NotTold,
            "its environment has no proxy variables: something between amb and it has removed them".to_owned(),
            Some(
                "look for sudo, su, env -i or a service manager on the way; sudo keeps variables with --preserve-env"
                    .to_owned(),
            ),
        );
    }
    if let Some(option) = process.words.iter().find(|word| is_refusal(word)) {
        return reason(
            Kind::SwitchedOff,
            format!(
                "{} on its command line switches the proxy off",
                option.split('=').next().unwrap_or(option)
            ),
            Some("leave it out".to_owned()),
        );
    }
    if *runtime == Runtime::Go && place.ip().is_loopback() {
        return reason(
            Kind::IgnoresProxy,
            "Go never asks a proxy for this machine itself, whatever the variables say".to_owned(),
            Some(format!(
                "have it ask for another name, and lead that here: --connect-to NAME:{0}:{place}",
                place.port()
            )),
        );
    }
    if let Some((_, protocol)) = PROTOCOLS.iter().find(|(port, _)| *port == place.port()) {
        return reason(
            Kind::OtherProtocol,
            format!(
                "port {} is mostly for {protocol} protocol, whose clients know no HTTP proxy",
                place.port()
            ),
            Some("a client that speaks SOCKS can ask amb: it is a SOCKS5 proxy on the same port".to_owned()),
        );
    }
    let (text, remedy) = runtime.advice(process);
    reason(Kind::IgnoresProxy, text, Some(remedy))
}

/// Whether a word of a command line switches a proxy off.
fn is_refusal(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or(word);
    REFUSALS.contains(&word) || REFUSALS.contains(&name)
}

/// The entry of a process's `NO_PROXY` that excepts a place, by its address or by one of its names.
fn exception(process: &Process, place: SocketAddr, names: &[String]) -> Option<String> {
    let lists = ["no_proxy", "NO_PROXY"];
    let lists = lists.into_iter().filter_map(|name| process.variable(name));
    let mut entries = lists.flat_map(|list| list.split(|letter: char| letter == ',' || letter.is_whitespace()));
    let found = entries.find(|entry| !entry.is_empty() && excepts(entry, place, names))?;
    Some(found.to_owned())
}

/// Whether an entry of `NO_PROXY` excepts a place.
fn excepts(entry: &str, place: SocketAddr, names: &[String]) -> bool {
    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    // With a proxy on this machine only the entry decides; see `Parent::for_target`.
    let environment = [
        variable("http_proxy", "http://127.0.0.1:1"),
        variable("no_proxy", entry),
    ];
    let Ok(parent) = Parent::build(&ParentOptions::default(), &environment) else {
        return false;
    };
    let address = place.ip().to_string();
    let own = ["127.0.0.1", "::1"]
        .contains(&&*address)
        .then(|| "localhost".to_owned());
    let mut all = names.iter().chain(&own).chain([&address]);
    all.any(|name| parent.for_target(Scheme::Http, name, place.port()) == Route::Direct)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket from here to there.
    fn socket(transport: Transport, local: &str, remote: &str) -> Socket {
        Socket {
            transport,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            listens: false,
            inode: 1,
        }
    }

    /// A process with these words and variables.
    fn process(words: &[&str], variables: &[(&str, &str)]) -> Process {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Process {
            pid: 7,
            words: words.iter().map(ToString::to_string).collect(),
            executable: None,
            variables: Some(variables.collect()),
        }
    }

    #[test]
    fn only_what_connects_elsewhere_by_itself_is_around() {
        let proxies = ["127.0.0.1:9000".parse().unwrap()];
        let listening = ["0.0.0.0:80".parse().unwrap(), "127.0.0.1:81".parse().unwrap()];
        #[rustfmt::skip]
        let cases = [
            (Transport::Tcp, "10.0.0.1:5000", "10.0.0.2:443", true),
            (Transport::Tcp, "127.0.0.1:5000", "127.0.0.1:9000", false),
            (Transport::Tcp, "127.0.0.1:5000", "127.0.0.1:9001", true),
            // Accepted, and not made.
            (Transport::Tcp, "10.0.0.1:80", "10.0.0.2:5000", false),
            (Transport::Tcp, "127.0.0.1:81", "127.0.0.1:5000", false),
            (Transport::Tcp, "10.0.0.1:81", "10.0.0.2:5000", true),
            // Not connected.
            (Transport::Udp, "0.0.0.0:5000", "0.0.0.0:0", false),
            (Transport::Udp, "10.0.0.1:80", "10.0.0.2:443", true),
        ];
        for (transport, local, remote, around) in cases {
            let socket = socket(transport, local, remote);
            assert_eq!(is_around(&socket, &proxies, &listening), around, "{local} → {remote}");
        }
        let listener = Socket {
            listens: true,
            ..socket(Transport::Tcp, "10.0.0.1:5000", "10.0.0.2:443")
        };
        assert!(!is_around(&listener, &proxies, &listening));
    }

    #[test]
    fn each_reason_is_told_apart() {
        let told = ("http_proxy", "http://127.0.0.1:9000");
        let usual = ("no_proxy", "localhost,127.0.0.1,::1");
        #[rustfmt::skip]
        let cases = [
            (Transport::Udp, "9.9.9.9:53", &["x"][..], &[told][..], Runtime::Unknown, Kind::Dns, "names"),
            (Transport::Tcp, "9.9.9.9:53", &["x"], &[told], Runtime::Unknown, Kind::Dns, "names"),
            (Transport::Udp, "9.9.9.9:443", &["x"], &[told], Runtime::Unknown, Kind::Quic, "QUIC"),
            (Transport::Udp, "9.9.9.9:123", &["x"], &[told], Runtime::Unknown, Kind::Udp, "UDP"),
            (Transport::Tcp, "127.0.0.1:80", &["x"], &[told, usual], Runtime::Unknown, Kind::Excepted, "(localhost)"),
            (Transport::Tcp, "[::1]:80", &["x"], &[told, usual], Runtime::Unknown, Kind::Excepted, "NO_PROXY"),
            (Transport::Tcp, "127.0.0.2:80", &["x"], &[told, usual], Runtime::Unknown, Kind::IgnoresProxy, "does not go by"),
            (Transport::Tcp, "10.1.2.3:80", &["x"], &[told, ("NO_PROXY", "a, 10.0.0.0/8")], Runtime::Unknown, Kind::Excepted, "(10.0.0.0/8)"),
            (Transport::Tcp, "10.1.2.3:80", &["x"], &[told, ("NO_PROXY", "*")], Runtime::Unknown, Kind::Excepted, "everything"),
            (Transport::Tcp, "10.1.2.3:80", &["x"], &[told, ("NO_PROXY", ".corp.test")], Runtime::Unknown, Kind::Excepted, "(.corp.test)"),
            (Transport::Tcp, "127.0.0.1:80", &["x"], &[("HOME", "/")], Runtime::Unknown, Kind::NotTold, "removed"),
            (Transport::Tcp, "9.9.9.9:443", &["curl", "--noproxy", "*"], &[told], Runtime::Reader("curl"), Kind::SwitchedOff, "--noproxy on"),
            (Transport::Tcp, "9.9.9.9:443", &["wget", "--no-proxy"], &[told], Runtime::Reader("wget"), Kind::SwitchedOff, "--no-proxy on"),
            (Transport::Tcp, "127.0.0.1:80", &["app"], &[told], Runtime::Go, Kind::IgnoresProxy, "Go never"),
            (Transport::Tcp, "9.9.9.9:80", &["app"], &[told], Runtime::Go, Kind::IgnoresProxy, "http.Transport"),
            (Transport::Tcp, "9.9.9.9:5432", &["app"], &[told], Runtime::Unknown, Kind::OtherProtocol, "PostgreSQL"),
            (Transport::Tcp, "9.9.9.9:80", &["python3"], &[told], Runtime::Python, Kind::IgnoresProxy, "aiohttp"),
        ];
        for (transport, remote, words, variables, runtime, kind, said) in cases {
            let local = if remote.starts_with('[') {
                "[::1]:5000"
            } else {
                "10.0.0.1:5000"
            };
            let names = ["db.corp.test".to_owned()];
            let socket = socket(transport, local, remote);
            let reason = explain(&socket, &process(words, variables), &runtime, &names);
            assert_eq!(reason.kind, kind, "{remote} {words:?}: {reason:?}");
            let all = format!("{} {}", reason.text, reason.remedy.unwrap_or_default());
            assert!(all.contains(said), "{remote} {words:?}: {all}");
        }
    }
}
