//! What a run is to do: built-in defaults ‹ `amb.toml` ‹ `AMB_…__…` variables ‹ `--config` ‹ flags, merged by figment.
//!
//! One struct a subject is its flags, its table and its variables at once: `--connect-timeout 2s` is `connect = "2s"`
//! in `[timeout]` and `AMB_TIMEOUT__CONNECT=2s`. Every layer is read strictly and by itself, so that a mistake is
//! found in the place where it was made even where a stronger layer covers it, and all mistakes are told at once.
//!
//! A value that leaves [`load`] is valid: nobody checks it again.

pub mod error;
pub mod files;
mod layer;
pub mod run_table;
mod variables;

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use figment::Figment;
use serde::{Deserialize, Serialize};

use self::{
    error::{ConfigError, ConfigErrors, Mark, Origin},
    files::File,
    layer::Layer,
    run_table::RunOptions,
};
use crate::{
    inject,
    policy::{
        Policy, PolicyOptions, Problem,
        parent::ParentOptions,
        reach::{ConnectToOptions, ResolveOptions},
        timeout::TimeoutOptions,
        via::ViaOptions,
    },
    report::{AccessLogOptions, AccessLogTarget, InvalidOption, LogOptions, Report, ReportOptions, log::Log},
    supervise,
};

/// The version of the format of `amb.toml` that this amb knows.
const FORMAT_VERSION: u32 = 1;

/// Everything that can be configured, as it is written: the tables of `amb.toml`, the flags of `amb run`.
///
/// Every value may be absent, and an absent value says nothing to the layers below it.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// The version of the file's format; 1 if absent. Not a flag.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// `[timeout]`
    #[command(flatten)]
    pub timeout: TimeoutOptions,
    /// `[upstream]`
    #[command(flatten)]
    pub upstream: ParentOptions,
    /// `[connect-to]`
    #[command(flatten)]
    #[serde(skip_serializing_if = "ConnectToOptions::is_empty")]
    pub connect_to: ConnectToOptions,
    /// `[resolve]`
    #[command(flatten)]
    #[serde(skip_serializing_if = "ResolveOptions::is_empty")]
    pub resolve: ResolveOptions,
    /// `[headers]`
    #[command(flatten)]
    pub headers: ViaOptions,
    /// `[report]`
    #[command(flatten)]
    pub report: ReportOptions,
    /// `[access-log]`
    #[command(flatten)]
    pub access_log: AccessLogOptions,
    /// `[log]`
    #[command(flatten)]
    pub log: LogOptions,
    /// `[run]`
    #[command(flatten)]
    pub run: RunOptions,
}

/// What [`load`] looks at; nothing else of the surroundings is read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The flags, which win over every other layer.
    pub flags: Options,
    /// `--config`; none falls back to the variable `AMB_CONFIG`, of which an empty one counts as absent.
    pub file: Option<PathBuf>,
    /// `--no-config`: the directory's `amb.toml` is not read.
    pub no_config: bool,
    /// The directory that `amb.toml` is looked for in and that relative paths start from.
    pub directory: PathBuf,
    /// The variables of amb's own environment.
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
    /// How long open exchanges may go on when the child has ended. Default: 1 s; zero waits for none.
    pub drain: Duration,
    /// What is shown and written at the end.
    pub report: Report,
    /// The access log; none if none is wanted.
    pub access_log: Option<AccessLogTarget>,
    /// amb's own log.
    pub log: Log,
    /// What is to happen to a request.
    pub policy: Arc<Policy>,
}

/// Where each value of a [`Config`] came from.
#[derive(Debug)]
pub struct Sources {
    /// All layers, the weakest first.
    layers: Vec<Layer>,
    /// What they amount to.
    merged: Figment,
}

/// A value that some layer set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key: `timeout.connect`.
    pub key: String,
    /// Its value, as JSON.
    pub value: String,
    /// Where it was set last: `amb.toml:3:11`, `AMB_TIMEOUT__CONNECT`, `command line`.
    pub source: String,
}

/// Reads all layers and makes of them what the run is to do.
///
/// # Errors
///
/// Every mistake of every layer, at once.
pub fn load(request: Request) -> Result<(Config, Sources), ConfigErrors> {
    let mut errors = Vec::new();
    let mut layers: Vec<Layer> = Vec::new();
    let mut read = |file: Result<Option<File>, ConfigError>, layers: &mut Vec<Layer>| match file {
        Ok(file) => layers.extend(file.and_then(|file| Layer::of_file(file, &mut errors))),
        Err(error) => errors.push(error),
    };
    if !request.no_config {
        read(files::project(&request.directory), &mut layers);
    }
    let variables_at = layers.len();
    let explicit = explicit_file(request.file, &request.environment);
    if let Some(path) = explicit {
        read(files::explicit(&request.directory, &path).map(Some), &mut layers);
    }
    let variables = variables::layers(&request.environment, &mut errors);
    layers.splice(variables_at..variables_at, variables);
    layers.push(Layer::of_flags(&request.flags));

    let merged = layers.iter().fold(Figment::new(), |merged, layer| merged.merge(layer));
    let sources = Sources { layers, merged };
    // Each layer was read by itself, so what they amount to is readable too, unless a value of one layer
    // stands where another has a table: then the layer was refused above.
    let options = match sources.merged.extract::<Options>() {
        Ok(options) => options,
        Err(_) if !errors.is_empty() => return Err(ConfigErrors::new(errors)),
        Err(error) => {
            errors.extend(error.into_iter().map(|error| ConfigError::other(error.to_string())));
            return Err(ConfigErrors::new(errors));
        }
    };
    let mut problems = Vec::new();
    let config = build(options, &request.program, &request.environment, &mut problems);
    errors.extend(problems.into_iter().map(|problem| sources.blame(problem)));
    if errors.is_empty() {
        Ok((config, sources))
    } else {
        Err(ConfigErrors::new(errors))
    }
}

/// The file that was asked for: by the flag, else by `AMB_CONFIG`.
fn explicit_file(flag: Option<PathBuf>, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    flag.or_else(|| {
        let (_, value) = environment.iter().find(|(name, _)| name == "AMB_CONFIG")?;
        (!value.is_empty()).then(|| PathBuf::from(value))
    })
}

/// Makes valid values of readable ones; `problems` gets what is wrong with them.
fn build(
    options: Options,
    program: &OsStr,
    environment: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
) -> Config {
    if options.version.is_some_and(|version| version != FORMAT_VERSION) {
        problems.push(Problem {
            key: &["version"],
            flag: "",
            reason: format!(
                "this amb knows version {FORMAT_VERSION} of the format only; a newer amb may know this one"
            ),
        });
    }
    let run = options.run.build(problems);
    let mut log = options.log;
    if log.level.is_none() {
        let asked = environment
            .iter()
            .find(|(name, value)| name == "AMB_LOG" && !value.is_empty());
        log.level = asked.map(|(_, value)| value.to_string_lossy().into_owned());
    }
    let policy = PolicyOptions {
        timeout: options.timeout,
        connect_to: options.connect_to,
        resolve: options.resolve,
        upstream: options.upstream,
        headers: options.headers,
    };
    Config {
        name: run.name.unwrap_or_else(|| {
            let program = Path::new(program);
            program
                .file_name()
                .unwrap_or(program.as_os_str())
                .to_string_lossy()
                .into_owned()
        }),
        listen: run.listen,
        threads: run.threads,
        inject: run.inject,
        supervise: run.supervise,
        drain: run.drain,
        report: valid(options.report.build(), problems),
        access_log: valid(options.access_log.build(), problems),
        log: valid(log.build(), problems),
        policy: Arc::new(policy.build(&environment.iter().cloned().collect(), problems)),
    }
}

/// The value, or its default and a problem.
fn valid<T: Default>(built: Result<T, InvalidOption>, problems: &mut Vec<Problem>) -> T {
    built.unwrap_or_else(|invalid| {
        problems.push(Problem {
            key: invalid.key,
            flag: invalid.flag,
            reason: invalid.reason,
        });
        T::default()
    })
}

impl Sources {
    /// The problem as a mistake of the layer that the value came from.
    fn blame(&self, problem: Problem) -> ConfigError {
        let origin = match self.layer_of(problem.key) {
            Some(layer) if layer.origin == Origin::Flags => Origin::Flag(problem.flag),
            Some(layer) => layer.origin.clone(),
            None => Origin::Elsewhere,
        };
        let key = problem.key.iter().map(ToString::to_string).collect();
        ConfigError::at(origin, key, Mark::Value, problem.reason, None)
    }

    /// The strongest layer that sets `key`.
    fn layer_of(&self, key: &[impl AsRef<str>]) -> Option<&Layer> {
        self.layers.iter().rev().find(|layer| layer.sets(key))
    }

    /// Every value that is not a built-in default, by key.
    pub fn settings(&self) -> Vec<Setting> {
        let keys = Layer::merged(&self.merged);
        keys.into_iter()
            .map(|(key, value)| Setting {
                source: self
                    .layer_of(&key)
                    .map_or_else(String::new, |layer| layer.origin.place(&key)),
                key: error::dotted(&key),
                value,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
