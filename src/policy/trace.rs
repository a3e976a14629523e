//! Trace context: which trace a run's requests belong to, as [W3C] has it.
//!
//! A `TRACEPARENT` in amb's own environment is joined: its trace goes on in the command's environment and in its requests.
//! Nothing is put anywhere unless `otel.propagate` says so.
//!
//! [W3C]: https://www.w3.org/TR/trace-context/

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    auth::Text,
    export::{Export, Protocol, Signal},
    words::list,
};

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// The table `[otel]`.
#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OtelOptions {
    /// Send traces and metrics by OTLP to the collector at this URL, or else where OTEL_EXPORTER_OTLP_ENDPOINT says [default: off]
    ///
    /// Without a URL, and where that variable is not set, it is http://localhost:4318, or port 4317 for grpc. OTEL_* variables
    /// fill in the rest and win over files, though not over a URL here; by themselves they turn nothing on, since they are the
    /// command's. In files, auto stands for a missing URL, and off for no export. What is sent never goes through amb's own proxy.
    #[expect(
        clippy::doc_markdown,
        reason = "this is the help text, where backticks would be noise"
    )]
    #[arg(
        id = "otel.endpoint",
        long = "otlp",
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        value_hint = clap::ValueHint::Url,
        help_heading = "Observability"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "off", "x-danger" = "sends what passes, without its bodies, to a collector of its choice"))]
    pub endpoint: Option<String>,

    /// How the collector is spoken to [default: http/protobuf]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "http/protobuf"))]
    pub protocol: Option<Protocol>,

    /// What is sent to it [default: traces,metrics]
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(extend("default" = ["traces", "metrics"]))]
    pub signals: Option<Vec<Signal>>,

    /// Headers of the requests to it; a value may be secret:NAME [default: none]
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-entry" = "NAME", "x-danger" = "sends what it names to a collector"))]
    pub headers: BTreeMap<String, Text>,

    /// Which requests get a traceparent header of the run's trace, and whether the command gets TRACEPARENT [default: never]
    ///
    /// A TRACEPARENT in amb's own environment is joined, otherwise the run begins a trace of its own.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "never"))]
    pub propagate: Option<Propagate>,
}

/// Which requests get a `traceparent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Propagate {
    /// None; what they have stays
    #[default]
    Never,
    /// Those that have none
    IfMissing,
    /// All, in the place of the one that they have
    Always,
}

/// The trace of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Which requests get it.
    pub propagate: Propagate,
    /// The run in it: what the command's own spans are below.
    pub run: TraceParent,
    /// Whether the context that amb was started in goes on; a trace of its own otherwise.
    pub joined: bool,
    /// The span that the run is below; none if it begins the trace.
    pub parent: Option<u64>,
    /// The other systems' part of the context that was joined.
    pub state: Option<String>,
    /// What the context that was joined carries along.
    pub baggage: Option<String>,
}

/// A place in a trace: the value of `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not 0.
    pub trace: u128,
    /// The span; not 0.
    pub span: u64,
    /// Its flags.
    pub flags: u8,
}

impl TraceParent {
    /// Reads a `traceparent`; none if it is malformed. What later versions put behind the flags is passed over, as the
    /// standard has it.
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let number = |part: &str, length: usize| {
            let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (part.len() == length && part.bytes().all(lower)).then(|| u128::from_str_radix(part, 16).ok())?
        };
        let mut parts = text.split('-');
        let version = number(parts.next()?, 2)?;
        let trace = number(parts.next()?, 32)?;
        let span = u64::try_from(number(parts.next()?, 16)?).ok()?;
        let flags = u8::try_from(number(parts.next()?, 2)?).ok()?;
        let fits = version != 0xff && (version != 0 || parts.next().is_none());
        (fits && trace != 0 && span != 0).then_some(Self { trace, span, flags })
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace as it is written.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl OtelOptions {
    /// The run's trace; none if nothing is to be put anywhere, and nothing exported. `dice` are two random numbers.
    pub(super) fn build(
        &self,
        environment: &[(OsString, OsString)],
        export: Option<&Export>,
        dice: (u128, u64),
    ) -> Option<Trace> {
        let propagate = self.propagate.unwrap_or_default();
        let export = export.filter(|export| export.traces.is_some());
        if propagate == Propagate::Never && export.is_none() {
            return None;
        }
        let variable = |name: &str| {
            let found = environment.iter().rev().find(|(known, _)| known == OsStr::new(name));
            found
                .and_then(|(_, value)| value.to_str())
                .filter(|value| !value.is_empty())
        };
        let joined = variable("TRACEPARENT").and_then(|text| TraceParent::read(text.trim().as_bytes()));
        // What could not stand in a header is passed over, as a receiver would.
        let plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let beside = |name| {
            let text = variable(name).filter(|text| plain(text))?;
            Some(text.trim().to_owned())
        };
        let trace = joined.map_or(dice.0.max(1), |joined| joined.trace);
        // Whoever asks for a trace without one around it wants it recorded.
        let flags = joined.map_or(SAMPLED, |joined| joined.flags);
        let flags = match export {
            Some(export) if export.samples(joined.map(|joined| joined.is_sampled()), trace) => flags | SAMPLED,
            Some(_) => flags & !SAMPLED,
            None => flags,
        };
        Some(Trace {
            propagate,
            joined: joined.is_some(),
            parent: joined.map(|joined| joined.span),
            run: TraceParent {
                trace,
                span: dice.1.max(1),
                flags,
            },
            // Without its parent it says nothing.
            state: joined.and_then(|_| beside("TRACESTATE")),
            baggage: beside("BAGGAGE"),
        })
    }
}

impl Trace {
    /// The place of a request in it, of which `dice` is a random number.
    pub fn request(&self, dice: u64) -> TraceParent {
        TraceParent {
            span: dice.max(1),
            ..self.run
        }
    }

    /// Whether a request with this `traceparent` gets another one. One that is malformed is none.
    pub fn replaces(&self, found: Option<&[u8]>) -> bool {
        match self.propagate {
            Propagate::Never => false,
            Propagate::IfMissing => found.and_then(TraceParent::read).is_none(),
            Propagate::Always => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A context.
    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_as_strictly_as_the_standard_has_it() {
        assert_eq!(TraceParent::read(GIVEN.as_bytes()).unwrap().to_string(), GIVEN);
        let later = format!("cc{}-what-the-future-brings", &GIVEN[2..]);
        assert_eq!(TraceParent::read(later.as_bytes()).unwrap().to_string(), GIVEN);
        for wrong in [
            "",
            "00",
            &GIVEN[..54],
            &GIVEN.to_ascii_uppercase(),
            &format!("{GIVEN}-x"),
            &format!("ff{}", &GIVEN[2..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        ] {
            assert_eq!(TraceParent::read(wrong.as_bytes()), None, "{wrong}");
        }
    }

    /// The trace of a run with these variables.
    fn trace(propagate: &str, variables: &[(&str, &str)]) -> Option<Trace> {
        let options: OtelOptions = serde_json::from_str(&format!(r#"{{ "propagate": "{propagate}" }}"#)).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        options.build(&variables.collect::<Vec<_>>(), None, (7, 8))
    }

    #[test]
    fn a_context_of_the_environment_is_joined() {
        let joined = trace(
            "if-missing",
            &[("TRACEPARENT", GIVEN), ("TRACESTATE", "a=b"), ("BAGGAGE", "c=d")],
        );
        let joined = joined.unwrap();
        assert_eq!(
            joined.run.to_string(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000008-01"
        );
        assert_eq!(
            (joined.state.as_deref(), joined.baggage.as_deref()),
            (Some("a=b"), Some("c=d"))
        );
        let own = trace(
            "always",
            &[("TRACEPARENT", "x"), ("TRACESTATE", "a=b"), ("BAGGAGE", "c=\n")],
        )
        .unwrap();
        assert_eq!(
            own.run.to_string(),
            "00-00000000000000000000000000000007-0000000000000008-01"
        );
        assert_eq!((own.state, own.baggage), (None, None));
        assert_eq!(trace("never", &[("TRACEPARENT", GIVEN)]), None);
        assert_eq!(OtelOptions::default().build(&[], None, (7, 8)), None);
    }

    #[test]
    fn a_request_keeps_its_context_unless_asked_otherwise() {
        let missing = trace("if-missing", &[]).unwrap();
        assert!(missing.replaces(None) && missing.replaces(Some(b"x")) && !missing.replaces(Some(GIVEN.as_bytes())));
        assert!(trace("always", &[]).unwrap().replaces(Some(GIVEN.as_bytes())));
        assert_eq!(missing.request(0).span, 1);
    }
}
