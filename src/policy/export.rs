//! Where a run's traces and metrics go by [OTLP], and how: the table `[otel]`, and OpenTelemetry's own [variables] over it.
//!
//! The command inherits those variables for its own purposes, so their mere presence turns nothing on: `--otlp` or
//! `otel.endpoint` does. From then on they fill in what is not said, and win over the table, as their specification has it; an
//! endpoint that `--otlp` names wins over both.
//!
//! [OTLP]: https://opentelemetry.io/docs/specs/otlp/
//! [variables]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

mod collector;
mod sampler;
mod variables;

use std::{ffi::OsString, fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{collector::Collector, sampler::Sampler};
use self::{collector::Site, variables::Variables};
use super::{Problem, auth::Binding, trace::OtelOptions};

/// What `otel.endpoint` says for the endpoint that the variables name, or else the usual one.
const AUTO: &str = "auto";

/// What `otel.endpoint` says for no export.
const OFF: &str = "off";

/// How long the end of a run waits for what was not taken yet, unless a timeout was set.
const FLUSH: Duration = Duration::from_secs(3);

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// POST requests
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// gRPC
    #[serde(rename = "grpc")]
    Grpc,
}

impl Protocol {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// A span for the run, and one for each exchange and tunnel
    Traces,
    /// Counts and durations
    Metrics,
}

impl Signal {
    /// What it is called in the names of variables.
    fn in_variables(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// Its path under an endpoint for all signals.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Its path in gRPC.
    fn service(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "traces" => Ok(Self::Traces),
            "metrics" => Ok(Self::Metrics),
            other => Err(format!("`{other}` is not one of traces, metrics")),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        })
    }
}

/// What is exported, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Spans; none if none are.
    pub traces: Option<Traces>,
    /// Metrics; none if none are.
    pub metrics: Option<Metrics>,
    /// How long the end of the run waits at most for what was not taken yet. Default: 3 s, or else the timeout that a variable sets.
    pub flush: Duration,
    /// What the variables say of the resource, in their order; no name twice.
    pub resource: Vec<(String, String)>,
    /// What is worth knowing: variables that were passed over.
    pub notes: Vec<String>,
}

/// How spans are exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where to.
    pub collector: Collector,
    /// Which of them.
    pub sampler: Sampler,
    /// How long a span waits for others to go along. Default: 5 s.
    pub delay: Duration,
    /// How many go together at most. Default: 512.
    pub batch: usize,
    /// How many may wait; those beyond are left out and counted. Default: 2,048.
    pub queue: usize,
}

/// How metrics are exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Where to.
    pub collector: Collector,
    /// How often. Default: 60 s.
    pub every: Duration,
}

/// What an export is made of beside the table.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// amb's own environment.
    pub environment: &'a [(OsString, OsString)],
    /// The endpoint that a flag names; none if it names none.
    pub flag: Option<&'a str>,
    /// Whether a central policy has the last word about the table, which the environment is not to change then.
    pub governed: bool,
    /// Where each secret may go, by name.
    pub secrets: &'a std::collections::BTreeMap<String, Binding>,
}

impl Export {
    /// What the table and the variables come to; none if nothing is exported. `problems` gets what is wrong.
    pub fn build(options: &OtelOptions, given: &Given<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        let endpoint = options.endpoint.as_deref().filter(|endpoint| *endpoint != OFF)?;
        let mut variables = Variables::of(given.environment);
        if variables.is_true("OTEL_SDK_DISABLED") {
            return None;
        }
        let endpoint = Some(endpoint).filter(|endpoint| *endpoint != AUTO);
        let site = Site {
            endpoint,
            first: endpoint.is_some() && (given.governed || given.flag == endpoint),
            options,
            secrets: given.secrets,
        };
        let wanted = |signal| {
            let signals = options.signals.as_deref();
            signals.is_none_or(|signals: &[Signal]| signals.contains(&signal))
        };
        let traces = wanted(Signal::Traces) && !variables.is("OTEL_TRACES_EXPORTER", "none");
        let metrics = wanted(Signal::Metrics) && !variables.is("OTEL_METRICS_EXPORTER", "none");
        let traces = traces.then(|| {
            let collector = site.collector(Signal::Traces, &mut variables, problems)?;
            let queue = variables.count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048);
            Some(Traces {
                collector,
                sampler: Sampler::read(&mut variables),
                delay: variables
                    .millis(&["OTEL_BSP_SCHEDULE_DELAY"])
                    .unwrap_or(Duration::from_secs(5)),
                batch: variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).min(queue),
                queue,
            })
        });
        let metrics = metrics.then(|| {
            let every = variables.millis(&["OTEL_METRIC_EXPORT_INTERVAL"]);
            Some(Metrics {
                collector: site.collector(Signal::Metrics, &mut variables, problems)?,
                every: every.unwrap_or(Duration::from_mins(1)),
            })
        });
        let (traces, metrics) = (traces.flatten(), metrics.flatten());
        let collectors = [
            traces.as_ref().map(|traces| &traces.collector),
            metrics.as_ref().map(|metrics| &metrics.collector),
        ];
        let limits = collectors.into_iter().flatten().filter_map(|collector| collector.limit);
        let flush = limits.max().unwrap_or(FLUSH);
        let resource = variables.resource();
        (traces.is_some() || metrics.is_some()).then_some(Self {
            traces,
            metrics,
            flush,
            resource,
            notes: variables.notes,
        })
    }

    /// What is going to happen, for people: a sentence for each signal.
    pub fn said(&self) -> Vec<String> {
        let traces = self.traces.as_ref().map(|traces| (Signal::Traces, &traces.collector));
        let metrics = self
            .metrics
            .as_ref()
            .map(|metrics| (Signal::Metrics, &metrics.collector));
        let said = |(signal, to): (Signal, &Collector)| {
            let (place, protocol) = (to.place(), to.protocol.name());
            format!("{signal} go to the OpenTelemetry collector {place} ({protocol})")
        };
        traces.into_iter().chain(metrics).map(said).collect()
    }

    /// Whether the spans of a trace are exported whose parent, if there is one, is recorded or not.
    pub fn samples(&self, parent: Option<bool>, trace: u128) -> bool {
        let traces = self.traces.as_ref();
        traces.is_some_and(|traces| traces.sampler.samples(parent, trace))
    }
}

#[cfg(test)]
mod tests;
