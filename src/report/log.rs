//! amb's own log: what it says of itself, on stderr.
//!
//! While the child runs the terminal is the child's. So on a terminal only errors are said unless somebody asks for more,
//! and what they ask for is printed at once.

use std::{
    fmt::{self, Write},
    io::{self, IsTerminal},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormattedFields, MakeWriter,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt,
    registry::{LookupSpan, Registry},
};

use crate::{
    report::text::{Charset, escape},
    veil::Veiled,
};

/// The form of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people, which begin with `amb: `
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// What amb says of itself: valid [`LogOptions`](crate::report::LogOptions).
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// How much, by module; none if nobody asked for anything.
    pub levels: Option<Targets>,
    /// The form of the lines.
    pub format: LogFormat,
}

/// Reads levels: `debug`, or `amb::proxy=trace,warn`.
///
/// # Errors
///
/// A sentence for people. A bare word must be a level: `verbose` would otherwise be the name of a module.
pub fn levels(text: &str) -> Result<Targets, String> {
    for directive in text.split(',') {
        let level = directive
            .rsplit_once('=')
            .map_or(directive, |(_module, level)| level)
            .trim();
        if LevelFilter::from_str(level).is_err() || level.is_empty() {
            let escaped = escape(directive, Charset::Unicode);
            return Err(format!(
                "`{escaped}` is no level: they are error, warn, info, debug, trace and off, alone or as MODULE=LEVEL"
            ));
        }
    }
    let compact: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    if let Ok(level) = LevelFilter::from_str(&compact) {
        return Ok(of_all(level));
    }
    Targets::from_str(&compact).map_err(|reason| reason.to_string())
}

/// This level, as it is meant by somebody who names no module: what is amb's business amb says itself, so that its libraries
/// have a say only where somebody looks for a fault.
fn of_all(level: LevelFilter) -> Targets {
    let libraries = if level >= LevelFilter::DEBUG {
        level
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_CRATE_NAME"), level)
}

impl Log {
    /// Starts the log, for all threads and for good. `quiet` and `verbose` are what `-q` and `-v` say, which count where
    /// nobody has named a level.
    ///
    /// # Errors
    ///
    /// It was started before.
    pub fn start(self, quiet: bool, verbose: u8) -> Result<(), String> {
        let usual = match verbose {
            _ if quiet => LevelFilter::ERROR,
            0 if io::stderr().is_terminal() => LevelFilter::ERROR,
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let is_json = self.format == LogFormat::Json;
        let behind_the_veil = move || Veiled::new(io::stderr(), is_json);
        tracing::subscriber::set_global_default(self.subscriber(usual, behind_the_veil))
            .map_err(|reason| reason.to_string())
    }

    /// What takes the events.
    fn subscriber<W>(self, usual: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let levels = self.levels.unwrap_or_else(|| of_all(usual));
        // A closed stderr must not bring amb down, which telling stderr of it would.
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(false)
            .log_internal_errors(false);
        let layer = match self.format {
            LogFormat::Text => layer.event_format(Text).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        Registry::default().with(layer.with_filter(levels))
    }
}

/// Formats events as lines for people: `amb: warning: cannot reach the parent proxy (host=a.example)`.
struct Text;

impl<S> FormatEvent<S, DefaultFields> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let mut line = said.message;
        let mut fields = said.fields;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(of_span) = span
                .extensions()
                .get::<FormattedFields<DefaultFields>>()
                .filter(|it| !it.is_empty())
            {
                let separator = if fields.is_empty() { "" } else { " " };
                write!(fields, "{separator}{of_span}")?;
            }
        }
        if !fields.is_empty() {
            write!(line, " ({fields})")?;
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        // All of it is escaped: names of hosts and answers of servers are in it.
        writeln!(writer, "amb: {level}: {}", escape(&line, Charset::Unicode))
    }
}

/// The parts of an event.
#[derive(Default)]
struct Said {
    /// Its sentence.
    message: String,
    /// The rest, as `key=value`.
    fields: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let separator = if self.fields.is_empty() { "" } else { " " };
            write!(self.fields, "{separator}{}={value:?}", field.name())
        };
        written.expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that remembers.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `act` runs.
    fn written(log: Log, act: impl FnOnce()) -> String {
        let memory = Memory::default();
        let taken = memory.clone();
        let subscriber = log.subscriber(LevelFilter::WARN, move || memory.clone());
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(taken.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_for_people_begin_with_amb_and_carry_no_escapes() {
        let text = written(Log::default(), || {
            let _inside = tracing::error_span!("exchange", host = "h\x1b[2J").entered();
            tracing::warn!(port = 80, reason = "no\nroute", "cannot reach {}", "a\x1b[31m");
            tracing::info!("not said");
            tracing::error!("plain");
        });
        assert_eq!(
            text,
            "amb: warning: cannot reach a\\u{1b}[31m (port=80 reason=no\\nroute host=\"h\\u{1b}[2J\")\n\
             amb: error: plain (host=\"h\\u{1b}[2J\")\n"
        );
    }

    #[test]
    fn json_lines_are_json() {
        let log = Log {
            levels: Some(levels("debug").unwrap()),
            format: LogFormat::Json,
        };
        let text = written(log, || tracing::debug!(port = 80, "said"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["message"], &line["port"], &line["level"]),
            (&"said".into(), &80.into(), &"DEBUG".into())
        );
    }

    #[test]
    fn a_module_can_be_asked_for_alone() {
        let log = Log {
            levels: Some(levels("amb::report=debug, error").unwrap()),
            format: LogFormat::Text,
        };
        let text = written(log, || {
            tracing::debug!("ours");
            tracing::warn!(target: "other", "theirs");
        });
        assert_eq!(text, "amb: debug: ours\n");
    }

    #[test]
    fn libraries_have_a_say_only_where_a_fault_is_looked_for() {
        for (level, said) in [
            ("warn", ""),
            ("info", ""),
            ("debug", "amb: warning: theirs\n"),
            ("other=warn", "amb: warning: theirs\n"),
        ] {
            let log = Log {
                levels: Some(levels(level).unwrap()),
                format: LogFormat::Text,
            };
            let text = written(log, || tracing::warn!(target: "other", "theirs"));
            assert_eq!(text, said, "{level}");
        }
        let text = written(Log::default(), || tracing::warn!(target: "other", "theirs"));
        assert_eq!(text, "");
    }

    #[test]
    fn only_levels_are_levels() {
        for text in ["warn", "WARN", "off", "amb=debug", "amb::proxy=trace,warn", " info "] {
            assert!(levels(text).is_ok(), "{text}");
        }
        for text in ["", "verbose", "amb", "amb=loud", "warn,", "amb="] {
            assert!(levels(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_broken_stderr_breaks_nothing() {
        /// Takes nothing.
        struct Broken;
        impl io::Write for Broken {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let subscriber = Log::default().subscriber(LevelFilter::WARN, || Broken);
        tracing::subscriber::with_default(subscriber, || tracing::error!("into the void"));
    }
}
