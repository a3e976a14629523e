//! What a run is to do: layers of values, merged by figment, the strongest of which wins.
//!
//! Weakest first: built-in defaults, the system's file, the user's, the project's, the profiles that were asked for,
//! `AMB_…__…` variables, the file of `--config`, flags, `--set`. Tables are merged key by key, lists are replaced, and
//! `extend-KEY` adds to the list that weaker layers have set.
//!
//! One struct a subject is its flags, its table and its variables at once: `--connect-timeout 2s` is `connect = "2s"`
//! in `[timeout]` and `AMB_TIMEOUT__CONNECT=2s`. Every layer is read strictly and by itself, so that a mistake is
//! found in the place where it was made even where a stronger layer covers it, and all mistakes are told at once.
//!
//! A value that leaves [`load`] is valid: nobody checks it again.
//!
//! To add a key, add a field to the options of its policy, with its documentation; to add a table, a field to
//! [`Options`]. [`schema`] says what can stand beside a field.

mod across;
pub mod break_glass;
pub mod cases;
pub mod central;
pub mod check;
mod constrain;
pub mod error;
pub mod explain;
pub mod files;
mod heads;
pub mod init;
mod layer;
mod lock;
pub mod metrics;
mod mistake;
mod overrides;
mod place;
pub mod run_table;
pub mod schema;
mod secret;
pub mod show;
pub mod signature;
mod sources;
mod stack;
pub mod suggest;
mod tree;
pub mod trial;
pub mod trust;
pub mod ui_table;
mod variables;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, Read},
    net::SocketAddr,
    panic,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::layer::KNOWN_VERSION;
pub use self::{
    constrain::Clamp,
    sources::{Governed, Role, Setting, Source, Sources, Step},
};
use self::{
    error::{ConfigError, ConfigErrors},
    metrics::{Metrics, MetricsOptions},
    run_table::RunOptions,
    stack::Stack,
};
use crate::{
    assert::{AssertOptions, Assertions},
    inject,
    policy::{
        Policy, PolicyOptions, Problem, Surroundings,
        auth::AuthsOptions,
        breaker::BreakerOptions,
        edit::{
            header::{HeaderOptions, HeadersOptions},
            json::JsonOptions,
            reply::{ReplyOptions, StatusOptions},
            rewrite::RewriteOptions,
        },
        egress::{Background, EgressOptions},
        export::{Export, Given},
        limit::{bandwidth::BandwidthOptions, concurrency::ConcurrencyOptions, rate::RateOptions},
        parent::ParentOptions,
        reach::{ConnectToOptions, ResolveOptions},
        redact::RedactOptions,
        retry::RetryOptions,
        route::RouteOptions,
        rules::RuleOptions,
        timeout::TimeoutOptions,
        tls::TlsOptions,
        trace::{OtelOptions, Propagate},
    },
    report::{AccessLogOptions, AccessLogTarget, InvalidOption, LogOptions, Report, ReportOptions, log::Log},
    secret::{Recipe, options::SecretsOptions},
    supervise,
};

/// Room on the stack to read conditions in, in bytes: the parser takes some 150 KB for each parenthesis in an unoptimised
/// build, more than a main thread has for those that a condition may have. What is not used is never there.
const CONDITION_ROOM: usize = 64 << 20;

/// The most that is read of a file that an option names, in bytes: more than any option takes.
const MOST_READ: u64 = 32 << 20;

/// Everything that can be configured, as it is written: the tables of `amb.toml`, the flags of `amb run`.
///
/// Every value may be absent, and an absent value says nothing to the layers below it.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// How long things may take
    #[command(flatten)]
    pub timeout: TimeoutOptions,
    /// What is tried again
    #[command(flatten)]
    pub retry: RetryOptions,
    /// When a server that keeps failing is not called for a while
    #[command(flatten)]
    pub circuit_breaker: BreakerOptions,
    /// How many requests a host gets in a time
    #[command(flatten)]
    pub rate_limit: RateOptions,
    /// How many requests a host gets at a time
    #[command(flatten)]
    pub concurrency: ConcurrencyOptions,
    /// How many bytes go to a host and come from it in a time
    #[command(flatten)]
    pub bandwidth: BandwidthOptions,
    /// The proxy that amb itself goes through
    #[command(flatten)]
    pub upstream: ParentOptions,
    /// Other hosts and ports to connect to
    #[command(flatten)]
    #[serde(skip_serializing_if = "ConnectToOptions::is_empty")]
    pub connect_to: ConnectToOptions,
    /// Addresses that names stand for
    #[command(flatten)]
    #[serde(skip_serializing_if = "ResolveOptions::is_empty")]
    pub resolve: ResolveOptions,
    /// Headers of requests
    #[command(flatten)]
    pub headers: HeadersOptions,
    /// Headers of responses
    #[arg(skip)]
    pub response_headers: HeaderOptions,
    /// What is changed in JSON that requests carry
    #[arg(skip)]
    pub json: JsonOptions,
    /// What is changed in JSON that responses carry
    #[arg(skip)]
    pub response_json: JsonOptions,
    /// Statuses that the command gets instead of the server's: 404 = 204 [default: the server's]
    #[arg(skip)]
    #[serde(skip_serializing_if = "StatusOptions::is_empty")]
    pub response_status: StatusOptions,
    /// A body in the place of the server's
    #[arg(skip)]
    pub response_body: ReplyOptions,
    /// The trace that requests are part of, and where traces and metrics go
    #[command(flatten)]
    pub otel: OtelOptions,
    /// Whose TLS is decrypted, and which servers are believed
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Values that are used by name and shown to nobody
    #[arg(skip)]
    #[serde(skip_serializing_if = "SecretsOptions::is_empty")]
    pub secret: SecretsOptions,
    /// Which hosts requests are signed in at, and how
    #[command(flatten)]
    #[serde(skip_serializing_if = "AuthsOptions::is_empty")]
    pub auth: AuthsOptions,
    /// What is written down nowhere
    #[command(flatten)]
    pub redact: RedactOptions,
    /// Where requests may go
    #[command(flatten)]
    pub egress: EgressOptions,
    /// What holds for some requests only; the first route that fits counts [default: none]
    ///
    /// extend-route puts routes in front of those of weaker layers, and one whose id is known there takes the place of that.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = []))]
    pub route: Option<Vec<RouteOptions>>,
    /// What must hold at the end
    #[command(flatten)]
    #[serde(skip_serializing_if = "AssertOptions::is_empty")]
    pub assert: AssertOptions,
    /// What is shown and written at the end
    #[command(flatten)]
    pub report: ReportOptions,
    /// A line for each exchange and tunnel
    #[command(flatten)]
    pub access_log: AccessLogOptions,
    /// What amb says of itself
    #[command(flatten)]
    pub log: LogOptions,
    /// The live page
    #[command(flatten)]
    pub ui: ui_table::UiOptions,
    /// To whom the figures of a run are told
    #[command(flatten)]
    pub metrics: MetricsOptions,
    /// The wrapped process and the proxy beside it
    #[command(flatten)]
    pub run: RunOptions,
}

/// What [`load`] looks at; nothing else of the surroundings is read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The flags that are keys; none if there is no flag at all.
    pub flags: Option<Box<Options>>,
    /// `--set`, in their order: the strongest layers of all.
    pub overrides: Vec<String>,
    /// `--profile`, the weakest first; none falls back to `AMB_PROFILE`, which separates them by commas.
    pub profiles: Vec<String>,
    /// `--config`; none falls back to the variable `AMB_CONFIG`, of which an empty one counts as absent.
    pub file: Option<PathBuf>,
    /// `--no-config`: the user's and the project's file are not read.
    pub no_config: bool,
    /// The system's file, [`files::SYSTEM_FILE`]; none leaves it out.
    pub system_file: Option<PathBuf>,
    /// The directory of the central policy, [`central::directory`]; none for no policy.
    pub policy_directory: Option<PathBuf>,
    /// The directory that the project's file is searched from, upwards, and that relative paths start from: absolute.
    pub directory: PathBuf,
    /// Why what the central policy enforces is to be lifted; none to leave it where it is.
    pub break_glass: Option<String>,
    /// The variables of amb's own environment, which also say where the user's file and its trust are.
    pub environment: Vec<(OsString, OsString)>,
    /// The program to run, which gives the run its name.
    pub program: OsString,
}

/// What a run is to do. Every value is valid.
#[derive(Debug)]
pub struct Config {
    /// The label of the run in logs and reports. Default: the program's file name.
    pub name: String,
    /// Where the proxy listens: an address of the loopback; port 0 takes a free one. Default: `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// How many threads serve the proxy, 1 to 64. Default: 1.
    pub threads: usize,
    /// What is put in the child's environment.
    pub inject: inject::Settings,
    /// How the child is looked after.
    pub supervise: supervise::Settings,
    /// Whether connections are captured that no proxy was asked for.
    pub capture: bool,
    /// Whether roots that its programs open by their path have amb's authority among them, where connections are captured and
    /// HTTPS is decrypted.
    pub capture_roots: bool,
    /// How long open exchanges may go on when the child has ended. Default: 1 s; zero waits for none.
    pub drain: Duration,
    /// Whether the run can be looked at while it goes on.
    pub control: bool,
    /// Where the live page is; none for no page.
    pub ui: Option<SocketAddr>,
    /// What must hold at the end.
    pub assertions: Assertions,
    /// What is shown and written at the end.
    pub report: Report,
    /// The access log; none if none is wanted.
    pub access_log: Option<AccessLogTarget>,
    /// amb's own log.
    pub log: Log,
    /// To whom the figures are told.
    pub metrics: Metrics,
    /// What is to happen to a request.
    pub policy: Arc<Policy>,
    /// How each secret is to be had.
    pub secrets: BTreeMap<String, Recipe>,
}

/// Reads all layers and makes of them what the run is to do.
///
/// # Errors
///
/// Every mistake of every layer, at once; or a file that has to be trusted first.
pub fn load(request: &Request) -> Result<(Config, Sources), ConfigErrors> {
    let mut stack = Stack::read(request);
    stack.findings.errors.extend(trust::refusals(&stack, request));
    settle(stack, request)
}

/// As [`load`], for those who only look: a file that nobody has trusted yet is read all the same.
///
/// # Errors
///
/// Every mistake of every layer, at once.
pub fn inspect(request: &Request) -> Result<(Config, Sources), ConfigErrors> {
    settle(Stack::read(request), request)
}

/// The names of all profiles of the files that would be read, sorted. Mistakes in them are passed over.
pub fn profiles(request: &Request) -> Vec<String> {
    let nothing_chosen = Request {
        profiles: Vec::new(),
        ..request.clone()
    };
    Stack::read(&nothing_chosen).profiles
}

/// Merges the layers and builds what they say.
fn settle(stack: Stack, request: &Request) -> Result<(Config, Sources), ConfigErrors> {
    let mut errors = stack.findings.errors;
    let mut central = stack.central;
    // A policy with mistakes in it lets nothing start, and is not lifted either.
    let broken = match &request.break_glass {
        Some(reason) if errors.is_empty() => break_glass::lift(central.as_mut(), reason)
            .map_err(|reason| errors.push(ConfigError::other(format!("--break-glass: {reason}"))))
            .ok(),
        _ => None,
    };
    // Each layer was read by itself, so what they amount to is readable too, unless a value of one layer
    // stands where another has a table: then the layer was refused above.
    let warnings = stack.findings.warnings;
    let governed = central
        .as_ref()
        .is_some_and(|central| central.constraints.iter().any(|bound| bound.is_about("otel")));
    let merged = Sources::of(stack.layers, warnings.clone())
        .and_then(|(options, sources)| sources.locked(options, &request.directory, &mut errors))
        .and_then(|merged| match central {
            Some(central) => merged
                .1
                .constrained(&central, broken, &request.environment, &mut errors),
            None => Ok(merged),
        });
    let (options, sources) = match merged {
        Ok(merged) => merged,
        Err(error) => {
            if errors.is_empty() {
                errors.extend(error.into_iter().map(|error| ConfigError::other(error.to_string())));
            }
            return Err(ConfigErrors::new(errors, warnings));
        }
    };
    let mut problems = Vec::new();
    let with_conditions = options.route.iter().flatten().any(|route| route.when.is_some())
        || options.egress.rule.iter().flatten().any(|rule| rule.when.is_some())
        || !options.assert.is_empty();
    // What a file that is not trusted names is not even looked at.
    let reads = errors.is_empty();
    let background = Background {
        lock: sources.lock.clone(),
        origins: sources.of_egress(),
    };
    let building = || build(options, background, request, (reads, governed), &mut problems);
    let config = if with_conditions {
        match with_room(building) {
            Ok(config) => config,
            Err(reason) => {
                errors.push(ConfigError::other(format!(
                    "there is no room to read conditions in: {reason}"
                )));
                return Err(ConfigErrors::new(errors, warnings));
            }
        }
    } else {
        building()
    };
    errors.extend(problems.into_iter().map(|problem| sources.blame(problem)));
    if errors.is_empty() {
        Ok((config, sources))
    } else {
        Err(ConfigErrors::new(errors, warnings))
    }
}

/// Does something on a stack of its own, of [`CONDITION_ROOM`].
fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let at_work = thread::Builder::new()
            .stack_size(CONDITION_ROOM)
            .spawn_scoped(scope, work)?;
        Ok(at_work.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// Makes valid values of readable ones; `problems` gets what is wrong with them.
///
/// Files that are named count as empty unless it `reads` them. Where `[otel]` is `governed`, it is by a central policy.
fn build(
    options: Options,
    background: Background,
    request: &Request,
    (reads, governed): (bool, bool),
    problems: &mut Vec<Problem>,
) -> Config {
    let run = options.run.build(problems);
    let (secrets, bindings) = options.secret.build(problems);
    let flags = request.flags.as_deref();
    let given = Given {
        environment: &request.environment,
        flag: flags.and_then(|flags| flags.otel.endpoint.as_deref()),
        governed,
        secrets: &bindings,
    };
    let export = Export::build(&options.otel, &given, problems);
    let policy = PolicyOptions {
        rules: RuleOptions {
            timeout: options.timeout,
            retry: options.retry,
            circuit_breaker: options.circuit_breaker,
            rate_limit: options.rate_limit,
            concurrency: options.concurrency,
            bandwidth: options.bandwidth,
            tls: options.tls.of_servers(),
            headers: options.headers.edits(),
            response_headers: options.response_headers,
            rewrite: RewriteOptions::default(),
            json: options.json,
            response_json: options.response_json,
            response_status: options.response_status,
            response_body: options.response_body,
        },
        route: options.route.unwrap_or_default(),
        connect_to: options.connect_to,
        resolve: options.resolve,
        upstream: options.upstream,
        headers: options.headers,
        tls: options.tls,
        otel: options.otel,
        export,
        auth: options.auth,
        secrets: bindings,
        redact: options.redact,
        egress: options.egress,
        background,
    };
    let surroundings = Surroundings {
        environment: &request.environment,
        read: &|path| {
            let content = if reads {
                read_file(&request.directory.join(path))
            } else {
                Ok(Vec::new())
            };
            content.map_err(|reason| reason.to_string())
        },
        dice: (fastrand::u128(..), fastrand::u64(..)),
        keyed: crate::veil::keyed_style,
    };
    let policy = policy.build(&surroundings, problems);
    // Said elsewhere it is for the runs that decrypt.
    if flags.is_some_and(|flags| flags.run.capture_roots == Some(true)) && !policy.tls.intercepts() {
        let reason = "no HTTPS is decrypted, for which roots would matter: add `--intercept`";
        problems.push(Problem::at(&["run", "capture-roots"], reason));
    }
    let propagated = policy
        .trace
        .as_ref()
        .filter(|trace| trace.propagate != Propagate::Never);
    let trace = propagated.map(|trace| inject::TraceContext {
        parent: trace.run.to_string(),
        keeps_state: trace.joined,
    });
    let name = run.name.unwrap_or_else(|| {
        let program = Path::new(&request.program);
        program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy()
            .into_owned()
    });
    let config = Config {
        inject: inject::Settings {
            name: Some(name.clone()),
            trace,
            ..run.inject
        },
        name,
        listen: run.listen,
        threads: run.threads,
        supervise: run.supervise,
        drain: run.drain,
        capture: run.capture,
        capture_roots: run.capture_roots,
        control: run.control,
        ui: options.ui.listen.map(|address| address.0),
        assertions: options.assert.build(problems),
        report: valid(options.report.build(), problems),
        access_log: valid(options.access_log.build(), problems),
        log: valid(options.log.build(), problems),
        metrics: options.metrics.build(problems),
        policy: Arc::new(policy),
        secrets,
    };
    across::check(&config, problems);
    config
}

/// What is in a file, but no more of it than anybody wants: a device may have no end.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(MOST_READ).read_to_end(&mut content)?;
    Ok(content)
}

/// The value, or its default and a problem.
fn valid<T: Default>(built: Result<T, InvalidOption>, problems: &mut Vec<Problem>) -> T {
    built.unwrap_or_else(|invalid| {
        problems.push(Problem::at(invalid.key, invalid.reason));
        T::default()
    })
}

#[cfg(test)]
mod tests;
