//! What a program is made with, as far as that decides whether it goes by proxy variables, and what would make it.

use std::{path::Path, process::Command};

use super::family::Process;
use crate::proxy;

/// The first version of each line of Node that goes by `NODE_USE_ENV_PROXY`, by its major number; later lines all do.
const NODE_LINES: [(u32, u32); 2] = [(22, 21), (24, 5)];
/// Programs by their names, without the digits of their versions.
const NAMES: [(&str, Runtime); 21] = [
    ("java", Runtime::Java),
    ("node", Runtime::Node(None)),
    ("nodejs", Runtime::Node(None)),
    ("deno", Runtime::Deno),
    ("bun", Runtime::Bun),
    ("python", Runtime::Python),
    ("pypy", Runtime::Python),
    ("ruby", Runtime::Ruby),
    ("php", Runtime::Php),
    ("perl", Runtime::Perl),
    ("dotnet", Runtime::DotNet),
    ("curl", Runtime::Reader("curl")),
    ("wget", Runtime::Reader("wget")),
    ("git", Runtime::Reader("git")),
    ("git-remote-http", Runtime::Reader("git")),
    ("git-remote-https", Runtime::Reader("git")),
    ("ssh", Runtime::Ssh),
    ("chrome", Runtime::Browser),
    ("chromium", Runtime::Browser),
    ("firefox", Runtime::Browser),
    ("electron", Runtime::Browser),
];

/// What a program is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Runtime {
    /// A JVM.
    Java,
    /// Node, with its version: major and minor, if it told.
    Node(Option<(u32, u32)>),
    /// Deno.
    Deno,
    /// Bun.
    Bun,
    /// Python.
    Python,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Perl.
    Perl,
    /// .NET.
    DotNet,
    /// Go.
    Go,
    /// What goes by the variables by itself.
    Reader(&'static str),
    /// OpenSSH.
    Ssh,
    /// Chromium, Firefox, and what is made of them.
    Browser,
    /// Anything else.
    Unknown,
}

impl Runtime {
    /// What a process runs. A Node is asked for its version, and an executable of another name is searched for what Go leaves
    /// in its own.
    pub(super) fn of(process: &Process) -> Self {
        let Some(executable) = &process.executable else {
            return process.words.first().map_or(Self::Unknown, |word| Self::named(word));
        };
        match Self::named(&executable.to_string_lossy()) {
            Self::Node(_) => Self::Node(node_version(executable)),
            Self::Unknown if proxy::is_made_by_go(executable) => Self::Go,
            known => known,
        }
    }

    /// What a program of this name or path is.
    fn named(path: &str) -> Self {
        let name = path.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or(path);
        let plain = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let found = NAMES.iter().find(|(known, _)| *known == name || *known == plain);
        found.map_or(Self::Unknown, |(_, runtime)| runtime.clone())
    }

    /// The word of the JSON; none if nobody knows.
    pub(super) fn word(&self) -> Option<&'static str> {
        Some(match self {
            Self::Java => "java",
            Self::Node(_) => "node",
            Self::Deno => "deno",
            Self::Bun => "bun",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Perl => "perl",
            Self::DotNet => "dotnet",
            Self::Go => "go",
            Self::Reader(name) => name,
            Self::Ssh => "ssh",
            Self::Browser => "browser",
            Self::Unknown => return None,
        })
    }

    /// Why a program made with it may go around a proxy that it was told of, and what helps.
    pub(super) fn advice(&self, process: &Process) -> (String, String) {
        let both = |reason: &str, remedy: &str| (reason.to_owned(), remedy.to_owned());
        match self {
            Self::Node(version) => node_advice(*version, process),
            Self::Java => {
                let options = process.variable("JAVA_TOOL_OPTIONS").unwrap_or_default();
                if options.contains("-Dhttps.proxyHost=") {
                    both(
                        "Java was told of the proxy in JAVA_TOOL_OPTIONS: its HTTP client does not look there, or its command \
                         line says otherwise",
                        "useSystemProperties() for Apache HttpClient, proxyWithSystemProperties() for Reactor Netty",
                    )
                } else {
                    both(
                        "Java goes by options alone, and JAVA_TOOL_OPTIONS does not name the proxy",
                        "let amb set it: --inject default,java",
                    )
                }
            }
            Self::Go => both(
                "Go goes by the variables only where an http.Transport asks for it",
                "Proxy: http.ProxyFromEnvironment in the http.Transport of its code",
            ),
            Self::Python => both(
                "Python's urllib, requests and httpx go by the variables; aiohttp, http.client and plain sockets do not by \
                 themselves",
                "aiohttp.ClientSession(trust_env=True); for others hand over the proxy in AMB_PROXY_URL",
            ),
            Self::Ruby => both(
                "Ruby's Net::HTTP goes by the variables, unless it was made with another proxy or none",
                "leave out the nil for p_addr in Net::HTTP.new, or hand over the proxy in AMB_PROXY_URL",
            ),
            Self::Php => both(
                "PHP's curl goes by the variables, its streams (file_get_contents) do not",
                "a stream context with http.proxy, or curl",
            ),
            Self::Perl => both(
                "LWP goes by the variables only with env_proxy",
                "PERL_LWP_ENV_PROXY=1, which amb sets with --inject default,perl, or env_proxy => 1",
            ),
            Self::DotNet => both(
                "HttpClient goes by the variables, unless its handler has UseProxy = false or a Proxy of its own",
                "leave both out, or hand over the proxy in AMB_PROXY_URL",
            ),
            Self::Deno => both(
                "Deno's fetch goes by the variables; Deno.connect does not",
                "fetch, or Deno.createHttpClient({ proxy })",
            ),
            Self::Bun => both(
                "Bun's fetch goes by the variables; its sockets do not",
                "fetch, with { proxy } if need be",
            ),
            Self::Reader(name) => (
                format!("{name} goes by the variables, so that an option or a file of its settings says otherwise"),
                "look for a proxy or noproxy in its settings (~/.curlrc, ~/.wgetrc, git config http.proxy)".to_owned(),
            ),
            Self::Ssh => both(
                "OpenSSH knows no proxy variables",
                "-o ProxyCommand, as with nc -X connect -x HOST:PORT %h %p",
            ),
            Self::Browser => both(
                "browsers go by the desktop's settings first",
                "--proxy-server=\"$AMB_PROXY_URL\" for Chromium",
            ),
            Self::Unknown => both(
                "it does not go by the proxy variables, or has a setting of its own that comes first",
                "look for a proxy in its settings, and name the one in AMB_PROXY_URL",
            ),
        }
    }
}

/// The same for Node.
fn node_advice(version: Option<(u32, u32)>, process: &Process) -> (String, String) {
    let agent = "an agent in its code (proxy-agent, undici's EnvHttpProxyAgent)";
    match version {
        Some((major, minor)) if !knows_proxies(major, minor) => (
            format!("Node {major}.{minor} does not go by proxy variables"),
            format!("Node 22.21 or 24.5 and later, which go by NODE_USE_ENV_PROXY; or {agent}"),
        ),
        _ if process.variable("NODE_USE_ENV_PROXY").is_none() => (
            "Node goes by the variables only with NODE_USE_ENV_PROXY, which it does not have".to_owned(),
            format!("let amb set it: --inject default,node; or {agent}"),
        ),
        _ => (
            "Node has NODE_USE_ENV_PROXY: an agent of its own, or a plain socket, goes another way".to_owned(),
            agent.to_owned(),
        ),
    }
}

/// Whether this Node goes by `NODE_USE_ENV_PROXY`.
fn knows_proxies(major: u32, minor: u32) -> bool {
    match NODE_LINES.iter().find(|(line, _)| *line == major) {
        Some((_, first)) => minor >= *first,
        None => major > 24,
    }
}

/// The version of a Node, major and minor.
fn node_version(executable: &Path) -> Option<(u32, u32)> {
    let output = Command::new(executable).arg("--version").output().ok()?;
    version(&String::from_utf8_lossy(&output.stdout))
}

/// `v20.20.2`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_known_by_its_name() {
        for (path, runtime) in [
            ("/usr/lib/jvm/java-17/bin/java", Runtime::Java),
            ("/usr/bin/python3.11", Runtime::Python),
            ("node", Runtime::Node(None)),
            ("/usr/bin/php8.2", Runtime::Php),
            ("/usr/bin/curl (deleted)", Runtime::Reader("curl")),
            ("/opt/legacy", Runtime::Unknown),
        ] {
            assert_eq!(Runtime::named(path), runtime, "{path}");
        }
    }

    #[test]
    fn node_is_told_apart_by_its_version_and_its_variable() {
        assert_eq!(version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(version("nonsense"), None);
        for (version, variable, said) in [
            (Some((20, 20)), true, "Node 20.20 does not"),
            (Some((22, 20)), true, "Node 22.20 does not"),
            (Some((23, 9)), true, "Node 23.9 does not"),
            (Some((24, 4)), true, "Node 24.4 does not"),
            (Some((22, 21)), true, "Node has NODE_USE_ENV_PROXY"),
            (Some((24, 5)), false, "only with NODE_USE_ENV_PROXY"),
            (Some((25, 0)), true, "Node has NODE_USE_ENV_PROXY"),
            (None, false, "only with NODE_USE_ENV_PROXY"),
        ] {
            let variables = variable.then(|| ("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
            let process = Process {
                variables: Some(variables.into_iter().collect()),
                ..Process::default()
            };
            let (reason, _) = Runtime::Node(version).advice(&process);
            assert!(reason.contains(said), "{version:?}: {reason}");
        }
    }

    #[test]
    fn java_is_asked_whether_it_was_told() {
        for (options, said) in [
            ("-Xmx1g", "does not name the proxy"),
            ("-Dhttps.proxyHost=127.0.0.1", "was told"),
        ] {
            let process = Process {
                variables: Some([("JAVA_TOOL_OPTIONS".to_owned(), options.to_owned())].into()),
                ..Process::default()
            };
            let (reason, _) = Runtime::Java.advice(&process);
            assert!(reason.contains(said), "{options}: {reason}");
        }
    }
}
