//! What of the network matters: the proxies that are set already, their exceptions, the port that amb listens on, names.

use std::{
    env,
    ffi::OsString,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::check::Check;
use crate::policy::parent::{Parent, ParentOptions};

/// How long a proxy may take to answer, its name's look-up included.
const PATIENCE: Duration = Duration::from_secs(3);
/// The variables that name proxies, in pairs that should agree.
const PAIRS: [[&str; 2]; 3] = [
    ["http_proxy", "HTTP_PROXY"],
    ["https_proxy", "HTTPS_PROXY"],
    ["all_proxy", "ALL_PROXY"],
];
/// Where the servers of names are written down.
const RESOLVER: &str = "/etc/resolv.conf";

/// Looks at the network, without asking anybody on it but the proxies that are set. `listen` is where amb is told to listen.
pub(super) fn checks(listen: Option<SocketAddr>) -> Vec<Check> {
    let environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    let value = |name: &str| {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then_some(value)
    };
    let mut checks = port(listen);
    for [lower, upper] in PAIRS {
        if let (Some(one), Some(other)) = (value(lower), value(upper))
            && one != other
        {
            let detail = format!("{lower} and {upper} differ, and programs read one or the other");
            checks.push(
                Check::warn("network.proxy", lower, detail).with_remedy("set both to the same; amb goes by the first"),
            );
        }
    }
    checks.extend(parents(&environment));
    let exceptions = [("no_proxy", value("no_proxy")), ("NO_PROXY", value("NO_PROXY"))];
    let mut seen = None;
    for (name, value) in exceptions {
        let Some(value) = value.filter(|value| seen.as_ref() != Some(value)) else {
            continue;
        };
        let faults = shape(&value);
        if faults.is_empty() {
            checks.push(Check::ok("network.no_proxy", name, &value));
        }
        for (fault, remedy) in faults {
            checks.push(Check::warn("network.no_proxy", name, format!("{value}\n{fault}")).with_remedy(remedy));
        }
        seen = Some(value);
    }
    checks.push(resolver(fs::read_to_string(RESOLVER)));
    checks
}

/// Whether amb gets its port.
fn port(listen: Option<SocketAddr>) -> Vec<Check> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let wanted = listen.unwrap_or(loopback);
    match TcpListener::bind(wanted) {
        Ok(_) if wanted.port() == 0 => vec![Check::ok(
            "network.port",
            "port",
            format!("a free one on {} can be had", wanted.ip()),
        )],
        Ok(_) => vec![Check::ok("network.port", "port", format!("{wanted} is free"))],
        Err(reason) => {
            let remedy = if reason.kind() == io::ErrorKind::AddrInUse {
                format!(
                    "another run.listen, or port 0 for a free one; `ss -ltnp sport = :{}` says who has it",
                    wanted.port()
                )
            } else {
                "bring the loopback interface up (ip link set lo up), or let the sandbox bind to it".to_owned()
            };
            vec![
                Check::fail(
                    "network.port",
                    "port",
                    format!("{wanted} cannot be listened on: {reason}"),
                )
                .with_remedy(remedy),
            ]
        }
    }
}

/// Whether the proxies that amb would go through answer.
fn parents(environment: &[(OsString, OsString)]) -> Vec<Check> {
    let parent = match Parent::build(&ParentOptions::default(), environment) {
        Ok(parent) => parent,
        Err(reason) => {
            let check = Check::fail("network.proxy", "proxy", reason);
            return vec![check.with_remedy("mend the variable, or unset it; --upstream-proxy none goes direct")];
        }
    };
    let mut checks: Vec<Check> = parent
        .proxies()
        .map(|proxy| {
            let place = format!("{}:{}", proxy.host, proxy.port);
            match answers(&proxy.host, proxy.port) {
                Ok(()) => Check::ok(
                    "network.proxy",
                    proxy.source,
                    format!("amb goes through {place}, which answers"),
                ),
                Err(reason) => Check::fail(
                    "network.proxy",
                    proxy.source,
                    format!("amb goes through {place}, which does not answer: {reason}"),
                )
                .with_remedy("unset the variable, or name a proxy that is there; --upstream-proxy none goes direct"),
            }
        })
        .collect();
    if checks.is_empty() {
        checks.push(Check::ok("network.proxy", "proxy", "none is set: amb goes direct"));
    }
    checks
}

/// Whether somebody takes connections there.
fn answers(host: &str, port: u16) -> Result<(), String> {
    let (told, answer) = mpsc::channel();
    let place = (host.trim_matches(['[', ']']).to_owned(), port);
    // The look-up of a name has no deadline of its own. The thread ends with the program at the latest.
    thread::spawn(move || {
        let connect = || {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in place.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(_) => return Ok(()),
                    Err(reason) => last = reason,
                }
            }
            Err(last)
        };
        drop(told.send(connect()));
    });
    match answer.recv_timeout(PATIENCE) {
        Ok(result) => result.map_err(|reason| reason.to_string()),
        Err(_) => Err(format!("nothing within {} s", PATIENCE.as_secs())),
    }
}

/// What programs would misunderstand in a `NO_PROXY`, each with what helps.
fn shape(value: &str) -> Vec<(String, &'static str)> {
    let mut faults = Vec::new();
    if value.trim() == "*" {
        return vec![("every host goes around amb".to_owned(), "leave it out for `amb run`")];
    }
    if value.chars().any(char::is_whitespace) {
        faults.push((
            "spaces: some programs take them for a part of the names".to_owned(),
            "commas alone between the entries",
        ));
    }
    let entries: Vec<&str> = value
        .split(|letter: char| letter == ',' || letter.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .collect();
    let named = |wanted: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = entries.iter().copied().filter(|entry| wanted(entry)).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    if let Some(found) = named(&|entry| entry == "*") {
        faults.push((
            format!("{found} among others: some programs then go direct everywhere, curl and Python do not"),
            "* alone, or none",
        ));
    }
    let is_range = |entry: &str| {
        entry
            .split_once('/')
            .is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok())
    };
    if let Some(found) = named(&is_range) {
        faults.push((
            format!("{found}: a range, which Go, Python's requests and curl from 7.86 on know, and most others do not"),
            "the names or addresses one by one beside it",
        ));
    }
    if let Some(found) = named(&|entry| entry.contains("://") || (entry.contains('/') && !is_range(entry))) {
        faults.push((
            format!("{found}: not the name of a host"),
            "names alone, without scheme and path",
        ));
    }
    if let Some(found) = named(&|entry| entry.len() > 1 && entry.contains('*')) {
        faults.push((
            format!("{found}: stars are read by few programs"),
            ".example.com is a host and all below it for nearly all",
        ));
    }
    if let Some(found) = named(&|entry| entry.starts_with('[')) {
        faults.push((
            format!("{found}: brackets, on which some programs fail"),
            "IPv6 addresses without brackets",
        ));
    }
    faults
}

/// Whether names can be looked up, by what is written down about it.
fn resolver(text: io::Result<String>) -> Check {
    let servers: Vec<String> = match &text {
        Ok(text) => text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next())
            .map(ToOwned::to_owned)
            .collect(),
        Err(_) => Vec::new(),
    };
    let id = "network.dns";
    match text {
        Ok(_) if servers.is_empty() => Check::warn(
            id,
            "names",
            format!("{RESOLVER} names no server: this machine itself is asked"),
        )
        .with_remedy("a `nameserver` line, unless something here answers on port 53"),
        Ok(_) => Check::ok(id, "names", format!("{RESOLVER} says to ask {}", servers.join(", "))),
        Err(reason) => Check::warn(
            id,
            "names",
            format!("{RESOLVER} cannot be read ({reason}): this machine itself is asked"),
        )
        .with_remedy("a `nameserver` line in it; --resolve HOST:PORT:ADDR does without"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    #[test]
    fn a_no_proxy_that_is_misunderstood_is_told_with_its_reason() {
        for (value, said) in [
            ("localhost,127.0.0.1,::1,.corp.test", &[][..]),
            ("*", &["every host"]),
            ("a, b", &["spaces"]),
            ("a,*", &["among others"]),
            ("10.0.0.0/8,fd00::/8", &["10.0.0.0/8, fd00::/8: a range"]),
            ("http://a.test,b/c", &["http://a.test, b/c: not the name"]),
            ("*.corp.test", &["stars"]),
            ("[::1]", &["brackets"]),
            ("a 10.0.0.0/8", &["spaces", "a range"]),
        ] {
            let faults = shape(value);
            assert_eq!(faults.len(), said.len(), "{value}: {faults:?}");
            for ((fault, _), said) in faults.iter().zip(said) {
                assert!(fault.contains(said), "{value}: {fault}");
            }
        }
    }

    #[test]
    fn the_servers_of_names_are_those_that_are_written_down() {
        let lines = "# x\nnameserver 10.0.0.2\n nameserver\t::1 # y\noptions a";
        assert_eq!(
            resolver(Ok(lines.to_owned())).detail,
            "/etc/resolv.conf says to ask 10.0.0.2, ::1"
        );
        assert_eq!(resolver(Ok(String::new())).state, State::Warn);
        assert_eq!(resolver(Err(io::ErrorKind::NotFound.into())).state, State::Warn);
    }

    #[test]
    fn a_port_that_is_taken_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let checks = port(Some(taken.local_addr().unwrap()));
        assert_eq!(checks[0].state, State::Fail);
        assert!(checks[0].remedy.as_ref().unwrap().contains("ss -ltnp"));
        assert_eq!(port(None)[0].state, State::Ok);
    }

    #[test]
    fn a_proxy_answers_or_it_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let variables = |port: u16| {
            let value = format!("http://me:secret@127.0.0.1:{port}");
            vec![(OsString::from("https_proxy"), OsString::from(value))]
        };
        let port = listener.local_addr().unwrap().port();
        let found = parents(&variables(port));
        assert_eq!(found[0].state, State::Ok, "{found:?}");
        drop(listener);
        let found = parents(&variables(port));
        assert_eq!(found[0].state, State::Fail, "{found:?}");
        assert!(!format!("{found:?}").contains("secret"), "{found:?}");
        assert_eq!(
            parents(&[("http_proxy".into(), "ftp://x".into())])[0].state,
            State::Fail
        );
        assert_eq!(parents(&[])[0].state, State::Ok);
    }
}
