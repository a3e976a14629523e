//! OpenTelemetry's variables. One that makes no sense is passed over and told of, as their specification has it.

use std::{
    ffi::{OsStr, OsString},
    time::Duration,
};

use crate::policy::{export::Signal, percent};

/// What stands before the name of what an exporter is told.
const EXPORTER: &str = "OTEL_EXPORTER_OTLP_";

/// The variables of amb's own environment, as they are read.
pub(super) struct Variables<'a> {
    /// All of them.
    environment: &'a [(OsString, OsString)],
    /// Those that were passed over.
    pub(super) notes: Vec<String>,
}

impl<'a> Variables<'a> {
    /// Those of this environment.
    pub(super) fn of(environment: &'a [(OsString, OsString)]) -> Self {
        Self {
            environment,
            notes: Vec::new(),
        }
    }

    /// A variable's value; none if it is not there, or empty, which is the same here.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        let found = self
            .environment
            .iter()
            .rev()
            .find(|(known, _)| known == OsStr::new(name));
        let value = found.and_then(|(_, value)| value.to_str())?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// Whether a variable has this value, whatever its case.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.value(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    /// Whether a switch is on.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.is(name, "true")
    }

    /// The names of what an exporter of this signal is told, the one that counts first.
    pub(super) fn names(signal: Signal, what: &str) -> [String; 2] {
        [
            format!("{EXPORTER}{}_{what}", signal.in_variables()),
            format!("{EXPORTER}{what}"),
        ]
    }

    /// What an exporter of this signal is told, and by which variable.
    pub(super) fn told(&self, signal: Signal, what: &str) -> Option<(String, &'a str)> {
        let names = Self::names(signal, what);
        names.into_iter().find_map(|name| {
            let value = self.value(&name)?;
            Some((name, value))
        })
    }

    /// Milliseconds of the first of these variables that is there.
    pub(super) fn millis(&mut self, names: &[&str]) -> Option<Duration> {
        let name = names.iter().find(|name| self.value(name).is_some())?;
        let read = self.value(name)?.parse().ok().filter(|millis| *millis > 0);
        if read.is_none() {
            self.pass_over(name, "is not a number of milliseconds above 0");
        }
        read.map(Duration::from_millis)
    }

    /// The number that a variable holds, or else the usual one.
    pub(super) fn count(&mut self, name: &str, usual: usize) -> usize {
        let Some(value) = self.value(name) else { return usual };
        if let Ok(count @ 1..=1_000_000) = value.parse() {
            count
        } else {
            self.pass_over(name, "is not a number from 1 to 1000000");
            usual
        }
    }

    /// Says that a variable is passed over. Its value is not told: it may be secret.
    pub(super) fn pass_over(&mut self, name: &str, reason: &str) {
        let note = format!("{name} {reason}, and is passed over");
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// `name=value` pairs with commas between them, percent-encoded, as W3C's baggage has them.
    pub(super) fn pairs(&mut self, name: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let written = self.value(name).unwrap_or_default().split(',');
        for pair in written.map(str::trim).filter(|pair| !pair.is_empty()) {
            let decoded =
                |text: &str| String::from_utf8(percent::decoded(text.trim().as_bytes(), false).into_owned()).ok();
            let read = pair.split_once('=').and_then(|(key, value)| {
                let (key, value) = (decoded(key)?, decoded(value)?);
                (!key.is_empty()).then_some((key, value))
            });
            let Some(pair) = read else {
                // All or nothing: who reads half of it would believe it to be the whole.
                self.pass_over(name, "is not a list of NAME=VALUE with commas between them");
                return Vec::new();
            };
            pairs.push(pair);
        }
        pairs
    }

    /// What is said of the resource: `OTEL_SERVICE_NAME` first, which wins over the name among the attributes.
    pub(super) fn resource(&mut self) -> Vec<(String, String)> {
        let name = self
            .value("OTEL_SERVICE_NAME")
            .map(|name| ("service.name".to_owned(), name.to_owned()));
        let mut attributes: Vec<(String, String)> = name.into_iter().collect();
        for (key, value) in self.pairs("OTEL_RESOURCE_ATTRIBUTES") {
            if !attributes.iter().any(|(known, _)| *known == key) {
                attributes.push((key, value));
            }
        }
        attributes
    }
}
