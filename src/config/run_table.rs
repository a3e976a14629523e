//! The table `[run]`: the wrapped process and the proxy beside it.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    inject::{self, FamilyList, Loopback},
    policy::Problem,
    supervise::{self, Confine, OnDeath, ProcessGroup, Wait},
    units::Period,
};

/// How long open exchanges may go on when the child has ended, unless `drain` says otherwise.
const DEFAULT_DRAIN: Period = Period::seconds(1);

/// How many threads may serve the proxy: more than any machine gains from.
const MOST_THREADS: u16 = 64;

/// The table `[run]`, its flags and its variables `AMB_RUN__…`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that undoes another")]
pub struct RunOptions {
    /// Hosts the command should reach directly; added to its own NO_PROXY [default: none]
    ///
    /// Comma-separated and repeatable, in the spelling of NO_PROXY.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(
        id = "run.no-proxy",
        long = "no-proxy",
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(schema_with = "list_schema", extend("default" = []))]
    pub no_proxy: Option<Vec<String>>,

    /// Send requests to loopback through the proxy too [default: off]
    ///
    /// By default the loopback addresses are reached directly. --no-proxy-loopback undoes it.
    #[arg(
        id = "run.proxy-loopback",
        long = "proxy-loopback",
        num_args = 0,
        default_missing_value = "true",
        overrides_with_all = ["run.proxy-loopback", "no-proxy-loopback"],
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub proxy_loopback: Option<bool>,

    /// Leave requests to loopback alone, whatever was said before
    #[arg(
        id = "no-proxy-loopback",
        long = "no-proxy-loopback",
        hide = true,
        overrides_with_all = ["run.proxy-loopback", "no-proxy-loopback"],
        help_heading = "Requests"
    )]
    #[serde(skip)]
    pub no_proxy_loopback: bool,

    /// Label for logs and reports [default: the command's name]
    #[arg(id = "run.name", long = "name", value_name = "NAME", help_heading = "Process")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Where the proxy listens; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(id = "run.listen", long = "listen", value_name = "ADDR", help_heading = "Process")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "127.0.0.1:0"))]
    pub listen: Option<ListenAddress>,

    /// Threads that serve the proxy, 1 to 64 [default: 1]
    #[arg(id = "run.threads", long = "threads", value_name = "N", help_heading = "Process")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1, "minimum" = 1, "maximum" = 64))]
    pub threads: Option<u16>,

    /// Families of variables to put in the command's environment, such as proxy,node [default: default]
    ///
    /// Comma-separated. The words none, default and all are lists of their own; a name with a minus in front is left out
    /// of the default: --inject=-java.
    #[arg(id = "run.inject", long = "inject", value_name = "LIST", help_heading = "Process")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = ["default"]))]
    pub inject: Option<FamilyList>,

    /// Hold the command, and all that it starts, to amb: off, or tcp, by which the kernel lets TCP lead to amb's proxy only
    /// [default: off]
    ///
    /// Needs Linux 6.7 or later. What is excepted from the proxy, by --no-proxy, NO_PROXY or as loopback, goes through amb then,
    /// since it could not be reached otherwise. Other ways out stay open: amb help egress names them.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(
        id = "run.confine",
        long = "confine",
        value_name = "WHAT",
        value_enum,
        help_heading = "Egress"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "off", "x-danger" = "may let the command go around amb where a weaker layer holds it"))]
    pub confine: Option<Confine>,

    /// Lead connections to amb that the command makes without asking a proxy [default: off]
    ///
    /// For programs that ignore proxy variables, static ones and daemons included: the kernel asks amb about every connect(2) of
    /// the command and of all that it starts (Linux 5.9 or later, on 64-bit x86 and ARM). Given here it must be had; set in a
    /// file or a variable, the command runs without it where it cannot, and amb says so. Without privileges setuid programs such
    /// as sudo gain none. --no-capture undoes it; amb help capture has its limits.
    #[arg(
        id = "run.capture",
        long = "capture",
        num_args = 0,
        default_missing_value = "true",
        overrides_with_all = ["run.capture", "no-capture"],
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false, "x-danger" = "may let the command go around amb where a weaker layer captures what it does"))]
    pub capture: Option<bool>,

    /// Lead nothing to amb that does not ask a proxy, whatever was said before
    #[arg(
        id = "no-capture",
        long = "no-capture",
        hide = true,
        overrides_with_all = ["run.capture", "no-capture", "run.capture-roots"],
        help_heading = "Process"
    )]
    #[serde(skip)]
    pub no_capture: bool,

    /// Also have programs trust amb that know their roots by a path and look at no variable, where HTTPS is decrypted [default:
    /// off]
    ///
    /// Who opens a well-known bundle of roots to read it, such as /etc/ssl/certs/ca-certificates.crt or certifi's cacert.pem,
    /// gets what is in it and amb's authority. It captures as --capture does, and has the kernel ask amb about every file that
    /// is opened to be read, each of which takes a little longer. --no-capture-roots undoes it; amb help capture has its limits.
    #[arg(
        id = "run.capture-roots",
        long = "capture-roots",
        num_args = 0,
        default_missing_value = "true",
        overrides_with_all = ["run.capture-roots", "no-capture-roots", "no-capture"],
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false, "x-danger" = "captures what the command does, as run.capture does"))]
    pub capture_roots: Option<bool>,

    /// Leave the roots that programs open as they are, whatever was said before
    #[arg(
        id = "no-capture-roots",
        long = "no-capture-roots",
        hide = true,
        overrides_with_all = ["run.capture-roots", "no-capture-roots"],
        help_heading = "Process"
    )]
    #[serde(skip)]
    pub no_capture_roots: bool,

    /// Which process group the command gets [default: auto]
    #[arg(
        id = "run.process-group",
        long = "process-group",
        value_name = "GROUP",
        value_enum,
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "auto"))]
    pub process_group: Option<ProcessGroup>,

    /// Stop the command after this; exit with 124 [default: never]
    #[arg(
        id = "run.run-timeout",
        long = "run-timeout",
        value_name = "DURATION",
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_timeout: Option<Period>,

    /// Kill the command this long after it was first told to stop [default: never]
    ///
    /// As with timeout(1): SIGKILL, after the first SIGTERM, SIGINT, SIGHUP or SIGQUIT that was passed on or the end
    /// of --run-timeout.
    #[arg(
        id = "run.kill-after",
        short = 'k',
        long = "kill-after",
        value_name = "DURATION",
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_after: Option<Period>,

    /// What to wait for before amb ends as the command did [default: main]
    #[arg(
        id = "run.wait",
        long = "wait",
        value_name = "WHAT",
        value_enum,
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "main"))]
    pub wait: Option<Wait>,

    /// Signal for the command if amb itself is killed, or none [default: auto]
    ///
    /// auto sends TERM, or KILL to a process group of its own; none sends nothing.
    #[arg(
        id = "run.on-death",
        long = "on-death",
        value_name = "SIGNAL",
        help_heading = "Process"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "auto"))]
    pub on_death: Option<OnDeath>,

    /// How long open requests may go on when the command has ended [default: 1s]
    #[arg(id = "run.drain", long = "drain", value_name = "DURATION", help_heading = "Process")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "1s"))]
    pub drain: Option<Period>,

    /// Let amb status of the same user see the run, through a socket in the runtime directory [default: on]
    ///
    /// --no-control leaves the socket out.
    #[arg(
        id = "run.control",
        long = "control",
        num_args = 0,
        default_missing_value = "true",
        overrides_with_all = ["run.control", "no-control"],
        help_heading = "Observability"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub control: Option<bool>,

    /// Let nobody look at the run while it goes on, whatever was said before
    #[arg(
        id = "no-control",
        long = "no-control",
        hide = true,
        overrides_with_all = ["run.control", "no-control"],
        help_heading = "Observability"
    )]
    #[serde(skip)]
    pub no_control: bool,
}

/// What [`RunOptions`] amount to.
pub(super) struct RunTable {
    /// None takes the program's name.
    pub(super) name: Option<String>,
    /// An address of the loopback.
    pub(super) listen: SocketAddr,
    /// 1 to 64.
    pub(super) threads: usize,
    /// The child's environment.
    pub(super) inject: inject::Settings,
    /// The child's life.
    pub(super) supervise: supervise::Settings,
    /// Zero waits for none.
    pub(super) drain: Duration,
    /// Whether connections are captured.
    pub(super) capture: bool,
    /// Whether roots are opened with amb's authority among them, where there is one and connections are captured.
    pub(super) capture_roots: bool,
    /// Whether there is a control socket.
    pub(super) control: bool,
}

impl RunOptions {
    /// Puts the two flags of one switch into its one value: the flags as a layer.
    #[must_use]
    pub fn settle(mut self) -> Self {
        if self.no_proxy_loopback {
            self.proxy_loopback = Some(false);
        }
        if self.capture_roots == Some(true) {
            self.capture = Some(true);
        }
        if self.no_capture {
            self.capture = Some(false);
        }
        if self.no_capture_roots {
            self.capture_roots = Some(false);
        }
        if self.no_control {
            self.control = Some(false);
        }
        self
    }

    /// Makes valid values; `problems` gets what is wrong with them.
    pub(super) fn build(self, problems: &mut Vec<Problem>) -> RunTable {
        let mut refuse = |name: &str, reason: &str| problems.push(Problem::at(&["run", name], reason));
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            refuse("name", "the name is empty");
        }
        if self
            .threads
            .is_some_and(|threads| !(1..=MOST_THREADS).contains(&threads))
        {
            refuse("threads", "expected 1 to 64 threads");
        }
        let zero = |period: Option<Period>| period.is_some_and(|period| period.0.is_zero());
        let instant = "expected more than 0s; leave it out for no limit";
        if zero(self.run_timeout) {
            refuse("run-timeout", instant);
        }
        if zero(self.kill_after) {
            refuse("kill-after", instant);
        }
        let injected = inject::Settings::default();
        let confine = self.confine.unwrap_or_default();
        let capture_roots = self.capture_roots.unwrap_or(false);
        RunTable {
            name: self.name,
            listen: self.listen.unwrap_or_default().0,
            threads: self.threads.unwrap_or(1).into(),
            inject: inject::Settings {
                name: None,
                families: self.inject.map_or(injected.families, |list| list.0),
                no_proxy: self.no_proxy.unwrap_or(injected.no_proxy),
                loopback: match (confine, self.proxy_loopback) {
                    (Confine::Tcp, _) => Loopback::Confined,
                    (Confine::Off, Some(true)) => Loopback::Proxied,
                    (Confine::Off, Some(false) | None) => Loopback::Direct,
                },
                trace: None,
            },
            supervise: supervise::Settings {
                process_group: self.process_group.unwrap_or_default(),
                run_timeout: self.run_timeout.map(|period| period.0),
                kill_after: self.kill_after.map(|period| period.0),
                on_death: self.on_death.unwrap_or_default(),
                wait: self.wait.unwrap_or_default(),
                confine,
            },
            drain: self.drain.unwrap_or(DEFAULT_DRAIN).0,
            capture: self.capture.unwrap_or(capture_roots),
            capture_roots,
            control: self.control.unwrap_or(true),
        }
    }
}

/// An address of the loopback for the proxy to listen on. Default: `127.0.0.1:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("title" = "an address of the loopback with a port", "pattern" = "^(127\\.[0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]+$"))]
pub struct ListenAddress(pub SocketAddr);

impl Default for ListenAddress {
    fn default() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is not an address with a port: write it like 127.0.0.1:8080 or [::1]:0"))?;
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err(format!(
                "`{text}` can be reached from other machines, which would need a token, and amb has none yet: \
                 listen on 127.0.0.1 or [::1]"
            ))
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The schema of what [`list`] reads.
fn list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "title": "a list of texts",
        "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }],
    })
}

/// Reads a list, or a text with commas between its elements, as a variable has to be written.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    deserializer.deserialize_any(ListVisitor).map(Some)
}

/// See [`list`].
struct ListVisitor;

impl<'de> de::Visitor<'de> for ListVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
        Ok(elements.map(ToOwned::to_owned).collect())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}
