//! What amb costs, as ratios to a direct connection taken in the same run.
//!
//! `cargo bench` runs all rows, `cargo bench -- tunnel` those whose names hold the word, `cargo bench -- --list` names them.
//! `AMB_BENCH_ROWS=keepalive-50,bulk-tunnel` chooses by whole names, `AMB_BENCH_SECONDS=2` says how long one measurement
//! lasts.
//!
//! Client and origin are threads of this process and share the machine with amb, so rates are those of all three together.
//! amb's CPU time is its own alone, and thus the steadiest number of a row.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its results")]

use std::{env, error::Error, num::ParseFloatError, process::ExitCode, time::Duration};

mod amb;
mod bulk;
mod footprint;
mod load;
mod origin;
mod rows;
mod secure;
mod table;

use self::{origin::Origin, rows::Row};

/// How long one measurement lasts, without its warm-up.
const MEASUREMENT: Duration = Duration::from_millis(800);

/// Runs the bench, unless cargo is only testing that it can be built: then it does not pass `--bench`.
fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if asked("--list") {
        for row in Row::ALL {
            println!("{}: benchmark", row.name());
        }
        return ExitCode::SUCCESS;
    }
    if !asked("--bench") || asked("--test") {
        return ExitCode::SUCCESS;
    }
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    match chosen(&words).and_then(|rows| bench(&rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The rows that hold one of `words`, or all if there are none; of these the ones that `AMB_BENCH_ROWS` names.
///
/// # Errors
/// The variable names a row that does not exist, or nothing is left.
fn chosen(words: &[&str]) -> Result<Vec<Row>, Box<dyn Error>> {
    let named = env::var("AMB_BENCH_ROWS").unwrap_or_default();
    let named: Vec<&str> = named
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if let Some(unknown) = named
        .iter()
        .find(|name| Row::ALL.iter().all(|row| row.name() != **name))
    {
        return Err(format!("AMB_BENCH_ROWS: there is no row `{unknown}`; --list names them").into());
    }
    let rows: Vec<Row> = Row::ALL
        .into_iter()
        .filter(|row| words.is_empty() || words.iter().any(|word| row.name().contains(word)))
        .filter(|row| named.is_empty() || named.contains(&row.name()))
        .collect();
    if rows.is_empty() {
        return Err("no row is left; --list names them".into());
    }
    Ok(rows)
}

/// How long one measurement lasts: `AMB_BENCH_SECONDS`, above 0, else [`MEASUREMENT`].
///
/// # Errors
/// The variable is not such a number.
fn measurement() -> Result<Duration, Box<dyn Error>> {
    let Ok(text) = env::var("AMB_BENCH_SECONDS") else {
        return Ok(MEASUREMENT);
    };
    let refused = |reason: String| format!("AMB_BENCH_SECONDS: {text}: {reason}");
    let seconds: f64 = text
        .parse()
        .map_err(|reason: ParseFloatError| refused(reason.to_string()))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(refused("must be above 0".to_owned()).into()),
        Err(reason) => Err(refused(reason.to_string()).into()),
    }
}

/// Measures these rows and prints the table, line by line as they are done.
///
/// # Errors
/// Something did not work at all: a row whose requests fail has no number.
fn bench(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let measurement = measurement()?;
    origin::allow_many_files()?;
    let origin = Origin::start()?;
    println!("{}", table::HEAD);
    for row in rows {
        let line = row
            .measure(&origin, measurement)
            .map_err(|reason| format!("{}: {reason}", row.name()))?;
        println!("{line}");
    }
    println!("\n{}", table::NOTE);
    Ok(())
}
