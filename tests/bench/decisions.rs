//! How long a decision of egress takes with ten thousand rules: by name, by address, and where no rule fits.
//!
//! `cargo bench --bench decisions`. Each sample is the mean of a batch, since a clock is not as fine as a decision.

#![expect(clippy::print_stdout, reason = "a bench prints its results")]
#![expect(clippy::disallowed_methods, reason = "nothing here pauses the clock")]

use std::{env, hint::black_box, time::Instant};

use amb::policy::{
    egress::{Background, ByName, Egress, EgressOptions},
    rules::Asked,
};
use serde_json::{Value, json};

/// Rules, beside as many destinations in `allow`.
const RULES: usize = 10_000;

/// Decisions in a sample.
const BATCH: u32 = 200;

/// Samples of a row.
const SAMPLES: usize = 2_000;

/// Runs the bench, unless cargo is only testing that it can be built.
fn main() {
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("{RULES} rules and {RULES} places in allow: nanoseconds a decision");
    println!("{:34} {:>8} {:>8} {:>8}", "", "median", "p99", "most");
    for networks in [false, true] {
        let egress = rules(networks);
        let kind = if networks { "with networks" } else { "names only" };
        for (what, host) in [
            ("a rule of that name", "h7000.test"),
            ("a rule with a wildcard", "x.w7001.test"),
            ("an entry of allow", "a7002.test"),
            ("nothing fits", "nobody.invalid"),
        ] {
            row(&format!("{kind}, {what}"), &egress, host);
        }
    }
}

/// The rules: names, wildcards, and with `networks` addresses, most of them with a method or a path.
fn rules(networks: bool) -> Egress {
    let rule = |at: usize| -> Value {
        let host = match at % 4 {
            1 => format!("*.w{at}.test"),
            3 if networks => format!("10.{}.{}.0/24", at / 256 % 256, at % 256),
            _ => format!("h{at}.test"),
        };
        let action = if at.is_multiple_of(3) { "deny" } else { "allow" };
        match at % 5 {
            0..3 => {
                json!({ "id": format!("r{at}"), "match": { "host": host, "method": ["GET", "HEAD"] }, "action": action })
            }
            3 => json!({ "id": format!("r{at}"), "match": { "host": host, "path": "/v1/**" }, "action": action }),
            _ => json!({ "id": format!("r{at}"), "match": { "host": host }, "action": action }),
        }
    };
    let rules: Vec<Value> = (0..RULES).map(rule).collect();
    let allow: Vec<String> = (0..RULES).map(|at| format!("a{at}.test:443")).collect();
    let table = json!({ "mode": "enforce", "allow": allow, "deny": ["metadata"], "rule": rules });
    let mut table = table;
    if !networks {
        table["deny"] = json!(["metadata.google.internal"]);
    }
    let options: EgressOptions = serde_json::from_value(table).expect("a table of egress");
    let mut problems = Vec::new();
    let built = options.build(Background::default(), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    built.expect("there are rules")
}

/// Measures decisions about a host, and prints them.
fn row(name: &str, egress: &Egress, host: &str) {
    let asked = Asked {
        scheme: "http",
        method: "GET",
        path: b"/v1/things",
        ..Asked::tunnel(host, 443)
    };
    let address = "192.0.2.7".parse().expect("an address");
    let decide = || match black_box(egress).by_name(black_box(&asked)) {
        ByName::Decided(decision) => decision,
        ByName::Open => egress.by_address(&asked, address),
    };
    let mut samples: Vec<u128> = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        for _ in 0..BATCH {
            black_box(decide());
        }
        samples.push(begun.elapsed().as_nanos() / u128::from(BATCH));
    }
    samples.sort_unstable();
    let most = samples[SAMPLES - 1];
    let (median, p99) = (samples[SAMPLES / 2], samples[SAMPLES * 99 / 100]);
    println!("{name:34} {median:8} {p99:8} {most:8}");
}
