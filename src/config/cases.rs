//! `amb policy test --cases`: requests, and what is expected to become of them, for a check that runs by itself.

use std::{fmt::Write as _, net::IpAddr, path::Path};

use figment::providers::{Format, Toml};
use serde::Deserialize;
use serde_json::json;

use super::{
    Config, Sources,
    error::ConfigError,
    files,
    trial::{Fate, Trial},
};

/// A file of cases in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// `[[case]]`
    #[serde(default)]
    case: Vec<Case>,
}

/// A request, and what is expected of it: in TOML a `[[case]]`, in JSON a line.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Case {
    /// `[METHOD] URL`, or `CONNECT HOST:PORT`.
    request: String,
    /// `NAME: VALUE` each.
    #[serde(default)]
    headers: Vec<String>,
    /// The address that the name leads to; none leaves it open.
    address: Option<IpAddr>,
    /// Whether it may go there.
    expect: Option<Expected>,
    /// The rule that says so.
    rule: Option<String>,
    /// The route that it goes by; `none` for none.
    route: Option<String>,
}

/// What is expected of a request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    /// It may go there.
    Allow,
    /// It may not, whether that is enforced or not.
    Deny,
    /// The addresses that the name leads to decide, or what is in the tunnel.
    Depends,
}

impl Expected {
    /// Its word.
    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Depends => "depends",
        }
    }
}

/// Cases that were tried.
#[derive(Debug)]
pub struct Tried {
    /// A line for each, and one about all.
    pub text: String,
    /// How many came out otherwise than they were expected to.
    pub wrong: usize,
}

/// What became of a case.
struct Outcome {
    /// The request.
    line: String,
    /// What became of it.
    fate: Fate,
    /// What was expected otherwise; empty if nothing was.
    wrong: Vec<String>,
}

/// Tries the cases of a file. One whose name ends in `.toml` has a `[[case]]` for each, any other a line of JSON.
///
/// # Errors
/// The file cannot be read, or something in it is no case.
pub fn run(config: &Config, sources: &Sources, file: &Path, as_json: bool) -> Result<Tried, ConfigError> {
    let shown = file.display().to_string();
    let outcomes = read(file, &shown)?
        .into_iter()
        .enumerate()
        .map(|(at, case)| {
            attempt(config, sources, &case)
                .map_err(|reason| ConfigError::other(format!("{shown}: case {}: {reason}", at + 1)))
        })
        .collect::<Result<Vec<Outcome>, _>>()?;
    let wrong = outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).count();
    let text = if as_json {
        as_json_text(&outcomes)
    } else {
        table(&outcomes, wrong)
    };
    Ok(Tried { text, wrong })
}

/// Reads the cases; none at all is a mistake, since a check that checks nothing is well by accident.
fn read(file: &Path, shown: &str) -> Result<Vec<Case>, ConfigError> {
    let text = files::explicit(Path::new(""), file)?.text;
    let cases = if file.extension().is_some_and(|extension| extension == "toml") {
        let cases: Cases = Toml::from_str(&text).map_err(|error| {
            let reason = error.to_string();
            ConfigError::other(format!("{shown}: {}", reason.trim().replace('\n', " ")))
        })?;
        cases.case
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(at, line)| {
                serde_json::from_str(line)
                    .map_err(|error| ConfigError::other(format!("{shown}: line {}: {error}", at + 1)))
            })
            .collect::<Result<_, _>>()?
    };
    if cases.is_empty() {
        return Err(ConfigError::other(format!("{shown}: there are no cases in it")));
    }
    Ok(cases)
}

/// Tries one.
fn attempt(config: &Config, sources: &Sources, case: &Case) -> Result<Outcome, String> {
    if case.expect.is_none() && case.rule.is_none() && case.route.is_none() {
        return Err("nothing is expected of it: say `expect`, `rule` or `route`".to_owned());
    }
    let words: Vec<String> = case.request.split_whitespace().map(str::to_owned).collect();
    let trial = Trial::read(&words, &case.headers).map_err(|error| error.reason)?;
    let (line, fate) = trial.fate(config, sources, case.address);
    let mut wrong = Vec::new();
    if let Some(expected) = case.expect.filter(|expected| expected.word() != fate.action) {
        wrong.push(expected.word().to_owned());
    }
    if let Some(rule) = case.rule.as_ref().filter(|rule| fate.rule.as_ref() != Some(rule)) {
        wrong.push(format!("rule {rule}"));
    }
    let route = fate.route.as_deref().unwrap_or("none");
    if let Some(expected) = case.route.as_ref().filter(|expected| *expected != route) {
        wrong.push(format!("route {expected}"));
    }
    Ok(Outcome { line, fate, wrong })
}

/// A line for each, and one about all.
fn table(outcomes: &[Outcome], wrong: usize) -> String {
    let mut text = String::new();
    let widest = outcomes
        .iter()
        .map(|outcome| outcome.line.chars().count())
        .max()
        .unwrap_or(0);
    for Outcome { line, fate, wrong } in outcomes {
        let mark = if wrong.is_empty() { "ok   " } else { "WRONG" };
        let by = match (&fate.rule, &fate.origin) {
            (Some(rule), Some(origin)) => format!(" ({rule} from {origin})"),
            (Some(rule), None) => format!(" ({rule})"),
            (None, _) => String::new(),
        };
        let route = fate
            .route
            .as_ref()
            .map(|route| format!(", route {route}"))
            .unwrap_or_default();
        let expected = if wrong.is_empty() {
            String::new()
        } else {
            format!("; expected {}", wrong.join(", "))
        };
        // Writing to a string cannot fail.
        writeln!(text, "{mark}  {line:widest$}  {}{by}{route}{expected}", fate.action).unwrap_or_default();
    }
    let cases = if outcomes.len() == 1 { "case" } else { "cases" };
    writeln!(text, "{} {cases}, {wrong} wrong", outcomes.len()).unwrap_or_default();
    text
}

/// The same as JSON.
fn as_json_text(outcomes: &[Outcome]) -> String {
    let each = outcomes.iter().map(|Outcome { line, fate, wrong }| {
        json!({
            "request": line, "action": fate.action, "rule": fate.rule, "origin": fate.origin, "route": fate.route,
            "ok": wrong.is_empty(), "expected": wrong,
        })
    });
    format!("{:#}\n", json!({ "cases": each.collect::<Vec<_>>() }))
}
