//! `amb doctor`: what stands between amb and its work on this machine, each thing with what helps: the configuration, the
//! network, the kernel, and the programs that would go through amb (`doctor/programs.rs`). With `--run`, what goes around
//! amb while a command runs (`doctor/bypass.rs`).

mod bypass;
mod check;
mod clients;
mod environment;
mod kernel;
mod network;
mod places;
mod programs;
mod settings;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;

use self::{
    bypass::RunFindings,
    check::{Check, State},
};
use crate::{
    cli::{self, doctor::DoctorArgs},
    config,
    exit::Exit,
    report::color::Stream,
};

/// The version of the JSON.
const SCHEMA_VERSION: &str = "1.0";

/// All that was found out; this is the JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "amb doctor --json")]
struct Findings {
    /// The version of all this: the second number grows with what is added, the first with what is changed.
    schema_version: &'static str,
    /// amb's version.
    amb_version: &'static str,
    /// The worst state of all checks.
    state: State,
    /// What was looked at.
    checks: Vec<Check>,
    /// Programs that amb knows how to try and that are not installed.
    not_installed: Vec<&'static str>,
    /// What was found while a command ran; absent without `--run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunFindings>,
}

impl Findings {
    /// These.
    fn new(checks: Vec<Check>, not_installed: Vec<&'static str>, run: Option<RunFindings>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            amb_version: env!("CARGO_PKG_VERSION"),
            state: check::worst(&checks),
            checks,
            not_installed,
            run,
        }
    }

    /// Writes them to stdout as JSON.
    fn print_json(&self) -> Exit {
        match serde_json::to_string_pretty(self) {
            Ok(text) => cli::print(text + "\n"),
            Err(reason) => {
                cli::say(&reason);
                Exit::Negative
            }
        }
    }
}

/// Does what `amb doctor` is for.
pub fn run(args: &DoctorArgs) -> Exit {
    if args.schema {
        return cli::print(format!("{:#}\n", schema()));
    }
    if args.run {
        return bypass::run(args);
    }
    let wanted = match programs::wanted(&args.programs) {
        Ok(wanted) => wanted,
        Err(unknown) => {
            cli::say(&format_args!("amb does not know how to try `{unknown}`"));
            return Exit::Usage;
        }
    };
    let request = args.layers.request();
    let listen = config::inspect(&request).ok().map(|(config, _)| config.listen);
    let mut sections = vec![
        ("amb", places::versions()),
        ("Configuration", settings::checks(&request)),
        ("Network", network::checks(listen)),
        ("Environment", environment::checks()),
        ("Places", places::checks()),
        ("Kernel", kernel::checks()),
    ];
    let mut not_installed = Vec::new();
    if !args.quick {
        match programs::examine(&wanted, args.time_limit.0) {
            Ok((checks, missing)) => {
                sections.push(("Programs", checks));
                not_installed = missing;
            }
            Err(reason) => {
                let check = Check::fail("program", "programs", format!("nothing can be tried: {reason}"));
                sections.push(("Programs", vec![check]));
            }
        }
    }
    let stream = Stream::stdout(args.console.color);
    let text = text(&sections, &not_installed, &stream);
    let checks = sections.into_iter().flat_map(|(_, checks)| checks).collect();
    let findings = Findings::new(checks, not_installed, None);
    let printed = if args.json {
        findings.print_json()
    } else {
        cli::print(text)
    };
    if findings.state == State::Fail {
        Exit::Negative
    } else {
        printed
    }
}

/// The JSON Schema of the JSON.
fn schema() -> serde_json::Value {
    schema_for!(Findings).to_value()
}

/// All of it for people.
fn text(sections: &[(&str, Vec<Check>)], not_installed: &[&str], stream: &Stream) -> String {
    let mut text = String::new();
    for (heading, checks) in sections.iter().filter(|(_, checks)| !checks.is_empty()) {
        text.push_str(&check::section(heading, checks, stream));
        text.push('\n');
    }
    if !not_installed.is_empty() {
        let line = format!("not installed: {}", not_installed.join(", "));
        text.push_str(&check::wrapped(&line, stream, 0));
        text.push('\n');
    }
    let all: Vec<Check> = sections.iter().flat_map(|(_, checks)| checks).cloned().collect();
    text.push_str(&check::verdict(&all, stream));
    text
}
