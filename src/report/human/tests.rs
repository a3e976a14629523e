//! What people see, in full.

use std::time::SystemTime;

use super::*;
use crate::{
    report::color::When,
    traffic::{
        Blame,
        circuit::{Circuit, CircuitState},
        failures::FailureGroup,
        held::Held,
        latency::{Distribution, Latency},
        meter::{
            Bytes, Connections, HostTraffic, OTHER_HOST, Requests, StatusClasses, Traffic, Tunnels, route::RouteTraffic,
        },
        retries::{RefusedCounts, RetryCounts},
        summary::{Child, Exit, Run, Signal, Warning},
    },
};

/// When the run of these tests began.
fn started_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_380_001_120)
}

/// A latency of these milliseconds.
fn latency(count: u64, p50: u64, p95: u64, max: u64) -> Latency {
    Latency {
        count,
        mean: Duration::from_millis(81),
        min: Duration::from_millis(11),
        p50: Duration::from_millis(p50),
        p90: Duration::from_millis(p95),
        p95: Duration::from_millis(p95),
        p99: Duration::from_millis(max),
        max: Duration::from_millis(max),
        histogram: Distribution::default(),
    }
}

/// A host without traffic.
fn host(name: &str, port: u16) -> HostTraffic {
    HostTraffic {
        host: name.to_owned(),
        port,
        requests: Requests::default(),
        tunnels: Tunnels::default(),
        connections: Connections::default(),
        bytes: Bytes::default(),
        held: Held::default(),
        retries: RetryCounts::default(),
        latency: None,
        connect: None,
        first_byte: None,
        tls: None,
    }
}

/// A run that went mostly well.
pub(crate) fn summary() -> Summary {
    let stripe = HostTraffic {
        requests: Requests {
            total: 90,
            ok: 90,
            retried: 4,
            ..Requests::default()
        },
        bytes: Bytes {
            sent: 41_984,
            received: 1_992_294,
        },
        latency: Some(latency(90, 42, 310, 1_200)),
        ..host("api.stripe.com", 80)
    };
    let soap = HostTraffic {
        requests: Requests {
            total: 36,
            ok: 35,
            failed: 1,
            ..Requests::default()
        },
        bytes: Bytes {
            sent: 12_288,
            received: 2_202_010,
        },
        latency: Some(latency(35, 88, 402, 803)),
        ..host("soap.example.com", 80)
    };
    let telemetry = HostTraffic {
        requests: Requests {
            total: 2,
            denied: 2,
            ..Requests::default()
        },
        ..host("telemetry.vendor.io", 443)
    };
    let group = |count, method: &str, host: &str, port, path: &str| FailureGroup {
        count,
        method: method.to_owned(),
        host: host.to_owned(),
        port,
        path: path.to_owned(),
        error_type: "connection_timeout".to_owned(),
        blame: Blame::Upstream,
        detail: "no connection within 2s".to_owned(),
        refused: None,
        first_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_380_007),
        first_request_id: String::new(),
    };
    let traffic = Traffic {
        requests: Requests {
            total: 128,
            ok: 125,
            failed: 1,
            denied: 2,
            retried: 4,
            resends: 5,
            status: StatusClasses {
                success: 120,
                client_error: 5,
                ..StatusClasses::default()
            },
            ..Requests::default()
        },
        connections: Connections { opened: 9, reused: 119 },
        bytes: Bytes {
            sent: 54_272,
            received: 4_194_304,
        },
        latency: Some(latency(125, 51, 310, 1_200)),
        hosts: vec![stripe, soap, telemetry],
        failures: vec![group(1, "POST", "soap.example.com", 80, "/v1/invoices")],
        denials: vec![FailureGroup {
            error_type: "http_request_denied".to_owned(),
            blame: Blame::Policy,
            detail: "denied by default".to_owned(),
            ..group(2, "GET", "telemetry.vendor.io", 443, "/")
        }],
        ..Traffic::default()
    };
    Summary {
        traffic,
        ..nothing_seen()
    }
}

/// A run that nothing was seen of.
pub(crate) fn nothing_seen() -> Summary {
    Summary {
        run: Run {
            id: "01JD8ZK3V6W2Q4".to_owned(),
            trace_id: None,
            name: "billing".to_owned(),
            command: ["./legacy-app", "--port", "8080"].map(str::to_owned).to_vec(),
            started_at: started_at(),
            duration: Duration::from_millis(33_410),
            policy: None,
            config_sources: ["amb.toml", "AMB_TIMEOUT__CONNECT", "--summary"]
                .map(str::to_owned)
                .to_vec(),
            confine: None,
            capture: None,
            amb_version: "0.1.0".to_owned(),
        },
        child: Child {
            pid: Some(4711),
            exit_code: Some(0),
            signal: None,
            outcome: ChildOutcome::Exited,
        },
        exit: Exit {
            code: 0,
            reason: ExitReason::Child,
        },
        traffic: Traffic::default(),
        assertions: Vec::new(),
        warnings: Vec::new(),
        panicked_tasks: 0,
        leftovers: None,
        egress: None,
        reports: Vec::new(),
    }
}

/// A run whose every exchange went well.
fn all_well() -> Summary {
    let mut summary = summary();
    let traffic = &mut summary.traffic;
    traffic.hosts.truncate(1);
    traffic.requests = traffic.hosts[0].requests.clone();
    traffic.failures.clear();
    traffic.denials.clear();
    summary
}

/// A run of an HTTPS client: tunnels, and an exchange or two.
fn tunnels() -> Summary {
    let mut summary = all_well();
    let traffic = &mut summary.traffic;
    traffic.hosts[0].requests = Requests {
        total: 1,
        ok: 1,
        ..Requests::default()
    };
    traffic.hosts.push(HostTraffic {
        tunnels: Tunnels {
            total: 3,
            ok: 1,
            failed: 1,
            open_at_end: 1,
            ..Tunnels::default()
        },
        bytes: Bytes {
            sent: 700,
            received: 65_536,
        },
        ..host("pypi.org", 443)
    });
    traffic.requests = traffic.hosts[0].requests.clone();
    traffic.tunnels = traffic.hosts[1].tunnels.clone();
    traffic.failures = vec![FailureGroup {
        count: 1,
        method: "CONNECT".to_owned(),
        host: "pypi.org".to_owned(),
        port: 443,
        path: String::new(),
        error_type: "dns_error".to_owned(),
        blame: Blame::Upstream,
        detail: "no such host".to_owned(),
        refused: None,
        first_at: started_at(),
        first_request_id: String::new(),
    }];
    summary
}

/// A terminal of this width, without colours.
fn terminal(columns: usize) -> Stream {
    Stream {
        terminal: true,
        color: false,
        charset: Charset::Unicode,
        columns,
    }
}

/// A pipe.
fn pipe() -> Stream {
    Stream::decide(When::Auto, false, None, |_| None)
}

/// That this is what is shown.
#[track_caller]
fn check(summary: &Summary, mode: SummaryMode, stream: &Stream, expected: &str) {
    let shown = render(summary, mode, stream);
    assert_eq!(shown, expected, "shown:\n{shown}");
    if stream.terminal && mode == SummaryMode::Full && !stream.color {
        for line in shown.lines() {
            assert!(width(line) <= stream.columns, "{line}");
        }
    }
}

#[test]
fn a_wide_terminal_gets_everything() {
    let expected = "\
amb: billing ran 33.4s, exit 0 · 128 requests to 3 hosts · 1 failed · 2 denied · p95 310ms

  HOST                 REQS  OK  FAIL  RETRIED   P50    P95    MAX    SENT     RECV
  api.stripe.com         90  90     0        4  42ms  310ms   1.2s  41 KiB  1.8 MiB
  soap.example.com       36  35     1        0  88ms  402ms  803ms  12 KiB  2.1 MiB
  telemetry.vendor.io     2   –     –        –     –      –      –       –        –  2 denied

  FAILURES
    1× POST soap.example.com/v1/invoices
       connection_timeout (the upstream's fault): no connection within 2s

  DENIED
    2× GET telemetry.vendor.io/
       http_request_denied (by policy): denied by default
";
    check(&summary(), SummaryMode::Auto, &terminal(100), expected);
}

#[test]
fn circuits_that_opened_are_told_of() {
    let mut summary = summary();
    let circuit = |name: &str, state, opened, rejected| Circuit {
        name: name.to_owned(),
        state,
        opened,
        rejected,
    };
    summary.traffic.circuits = vec![
        circuit("api:443", CircuitState::Closed, 2, 31),
        circuit("soap.example.com", CircuitState::Open, 1, 1),
    ];
    let shown = render(&summary, SummaryMode::Full, &terminal(60));
    assert!(
        shown.contains(
            "\n\n  CIRCUITS\n    api:443 opened 2 times, 31 requests answered at once\n    soap.example.com opened 1 time, 1 \
             request answered at\n    once, open at the end\n"
        ),
        "{shown}"
    );
    let plain = render(&summary, SummaryMode::Auto, &pipe());
    assert!(
        plain.contains(
            "\namb: circuit api:443 opened=2 rejected=31 state=closed\n\
             amb: circuit soap.example.com opened=1 rejected=1 state=open\n"
        ),
        "{plain}"
    );
}

#[test]
fn what_retries_did_and_did_not_is_told() {
    let mut summary = summary();
    let refused = RefusedCounts {
        off: 3,
        not_safe: 4,
        budget: 1,
        idempotent_would: 4,
        ..RefusedCounts::default()
    };
    summary.traffic.retries = RetryCounts {
        retried: 12,
        retries: 15,
        rescued: 9,
        waited: Duration::from_millis(340),
        hedged: 2,
        hedges_won: 1,
        refused: refused.clone(),
    };
    let shown = render(&summary, SummaryMode::Full, &terminal(100));
    assert!(
        shown.contains(
            "\n\n  RETRIES\n    12 requests tried again 15 times, after 340ms in all; 9 would have failed without amb\n    \
             2 requests sent a second time while the first was unanswered; 1 of the second answers came first\n    \
             5 failures not tried again: 4 may have been executed, 1 beyond the budget of the host; `--retry\n    \
             idempotent` would have tried 4 again\n"
        ),
        "{shown}"
    );
    let plain = render(&summary, SummaryMode::Auto, &pipe());
    assert!(
        plain.contains(
            "\namb: retries retried=12 retries=15 rescued=9 hedged=2 hedges_won=1 not_retried=5 waited=340ms not_safe=4 \
             budget=1\n"
        ),
        "{plain}"
    );
    // Nobody asked for retries: nothing is said of them.
    summary.traffic.retries = RetryCounts {
        refused: RefusedCounts {
            off: 3,
            idempotent_would: 3,
            ..RefusedCounts::default()
        },
        ..RetryCounts::default()
    };
    for stream in [terminal(100), pipe()] {
        let shown = render(&summary, SummaryMode::Full, &stream);
        assert!(!shown.to_lowercase().contains("retries"), "{shown}");
    }
}

#[test]
fn a_narrow_terminal_gets_a_smaller_table() {
    let expected = "\
amb: billing ran 33.4s, exit 0 · 128 requests to 3 hosts · 1 failed
     2 denied · p95 310ms

  HOST                 REQS  OK  FAIL   P50    P95     RECV
  api.stripe.com         90  90     0  42ms  310ms  1.8 MiB
  soap.example.com       36  35     1  88ms  402ms  2.1 MiB
  telemetry.vendor.io     2   –     –     –      –        –  2 denied

  FAILURES
    1× POST soap.example.com/v1/invoices
       connection_timeout (the upstream's fault): no connection within
       2s

  DENIED
    2× GET telemetry.vendor.io/
       http_request_denied (by policy): denied by default
";
    check(&summary(), SummaryMode::Full, &terminal(70), expected);
}

#[test]
fn columns_give_way_before_names_do() {
    let expected = "\
amb: billing ran 33.4s, exit 0
     128 requests to 3 hosts · 1 failed · 2 denied
     p95 310ms

  HOST                 REQS  OK  FAIL    P95
  api.stripe.com         90  90     0  310ms
  soap.example.com       36  35     1  402ms
  telemetry.vendor.io     2   –     –      –

  FAILURES
    1× POST soap.example.com/v1/invoices
       connection_timeout (the upstream's fault): no
       connection within 2s

  DENIED
    2× GET telemetry.vendor.io/
       http_request_denied (by policy): denied by
       default
";
    check(&summary(), SummaryMode::Full, &terminal(52), expected);
}

#[test]
fn a_very_narrow_terminal_gets_cards() {
    let expected = "\
amb: billing ran 33.4s, exit 0
     128 requests to 3 hosts · 1 failed
     2 denied · p95 310ms

api.stripe.com
  90 ok · 4 retried
  p50 42ms p95 310ms
soap.example.com
  35 ok · 1 FAILED
  p50 88ms p95 402ms
telemetry.vendor.io
  2 denied

  FAILURES
    1× POST soap.example.com/v1/invoices
       connection_timeout (the
       upstream's fault): no connection
       within 2s

  DENIED
    2× GET telemetry.vendor.io/
       http_request_denied (by policy):
       denied by default
";
    check(&summary(), SummaryMode::Full, &terminal(40), expected);
}

#[test]
fn ascii_is_enough() {
    let ascii = Stream {
        charset: Charset::Ascii,
        ..terminal(100)
    };
    let expected = "\
amb: billing ran 33.4s, exit 0 - 128 requests to 3 hosts - 1 failed - 2 denied - p95 310ms

  HOST                 REQS  OK  FAIL  RETRIED   P50    P95    MAX    SENT     RECV
  api.stripe.com         90  90     0        4  42ms  310ms   1.2s  41 KiB  1.8 MiB
  soap.example.com       36  35     1        0  88ms  402ms  803ms  12 KiB  2.1 MiB
  telemetry.vendor.io     2   -     -        -     -      -      -       -        -  2 denied

  FAILURES
    1x POST soap.example.com/v1/invoices
       connection_timeout (the upstream's fault): no connection within 2s

  DENIED
    2x GET telemetry.vendor.io/
       http_request_denied (by policy): denied by default
";
    check(&summary(), SummaryMode::Full, &ascii, expected);
}

#[test]
fn colours_say_nothing_that_words_do_not() {
    let colored = Stream {
        color: true,
        ..terminal(100)
    };
    let expected = "\
amb: billing ran 33.4s, exit 0 · 128 requests to 3 hosts · \u{1b}[1m\u{1b}[31m1 failed\u{1b}[0m · \u{1b}[33m2 denied\u{1b}[0m · p95 310ms

  \u{1b}[1mHOST                 REQS  OK  FAIL  RETRIED   P50    P95    MAX    SENT     RECV\u{1b}[0m
  api.stripe.com         90  90     \u{1b}[2m0\u{1b}[0m        \u{1b}[33m4\u{1b}[0m  42ms  310ms   1.2s  41 KiB  1.8 MiB
  soap.example.com       36  35     \u{1b}[1m\u{1b}[31m1\u{1b}[0m        \u{1b}[2m0\u{1b}[0m  88ms  402ms  803ms  12 KiB  2.1 MiB
  telemetry.vendor.io     2   \u{1b}[2m–\u{1b}[0m     \u{1b}[2m–\u{1b}[0m        \u{1b}[2m–\u{1b}[0m     \u{1b}[2m–\u{1b}[0m      \u{1b}[2m–\u{1b}[0m      \u{1b}[2m–\u{1b}[0m       \u{1b}[2m–\u{1b}[0m        \u{1b}[2m–\u{1b}[0m  \u{1b}[33m2 denied\u{1b}[0m

  \u{1b}[1mFAILURES\u{1b}[0m
    \u{1b}[1m\u{1b}[31m1×\u{1b}[0m POST soap.example.com/v1/invoices
       connection_timeout (the upstream's fault): no connection within 2s

  \u{1b}[1mDENIED\u{1b}[0m
    \u{1b}[33m2×\u{1b}[0m GET telemetry.vendor.io/
       http_request_denied (by policy): denied by default
";
    check(&summary(), SummaryMode::Full, &colored, expected);
}

#[test]
fn tunnels_have_a_column_of_their_own() {
    let expected = "\
amb: billing ran 33.4s, exit 0 · 1 request and 3 tunnels to 2 hosts · 1 failed · 1 open at the end · p95 310ms

  HOST            REQS  TUNNELS  OK  FAIL  RETRIED   P50    P95   MAX    SENT     RECV
  api.stripe.com     1        0   1     0        0  42ms  310ms  1.2s  41 KiB  1.8 MiB
  pypi.org           0        3   1     1        0     –      –     –   700 B   64 KiB  1 open

  FAILURES
    1× CONNECT pypi.org
       dns_error (the upstream's fault): no such host
";
    check(&tunnels(), SummaryMode::Full, &terminal(110), expected);
}

#[test]
fn tunnels_have_a_card_too() {
    let expected = "\
amb: billing ran 33.4s, exit 0
     1 request and 3 tunnels to 2 hosts
     1 failed · 1 open at the end
     p95 310ms

api.stripe.com
  1 ok
  p50 42ms p95 310ms
pypi.org
  3 tunnels · 1 ok · 1 FAILED · 1 open

  FAILURES
    1× CONNECT pypi.org
       dns_error (the upstream's fault):
       no such host
";
    check(&tunnels(), SummaryMode::Full, &terminal(40), expected);
}

#[test]
fn what_is_no_terminal_gets_a_fact_a_line() {
    let expected = "\
amb: billing ran 33.4s, exit 0, 128 requests to 3 hosts, 1 failed, 2 denied, p95 310ms
amb: host api.stripe.com requests=90 ok=90 failed=0 retried=4 p50=42ms p95=310ms max=1.2s sent=41KiB recv=1.8MiB
amb: host soap.example.com requests=36 ok=35 failed=1 retried=0 p50=88ms p95=402ms max=803ms sent=12KiB recv=2.1MiB
amb: host telemetry.vendor.io requests=2 ok=0 failed=0 retried=0 denied=2 sent=0B recv=0B
amb: fail 1x POST soap.example.com/v1/invoices connection_timeout blame=upstream \"no connection within 2s\"
amb: denied 2x GET telemetry.vendor.io/ http_request_denied blame=policy \"denied by default\"
";
    check(&summary(), SummaryMode::Auto, &pipe(), expected);
}

#[test]
fn tunnels_are_told_of_in_plain_text() {
    let expected = "\
amb: billing ran 33.4s, exit 0, 1 request and 3 tunnels to 2 hosts, 1 failed, 1 open at the end, p95 310ms
amb: host api.stripe.com requests=1 ok=1 failed=0 retried=0 p50=42ms p95=310ms max=1.2s sent=41KiB recv=1.8MiB
amb: host pypi.org tunnels=3 ok=1 failed=1 open_at_end=1 sent=700B recv=64KiB
amb: fail 1x CONNECT pypi.org dns_error blame=upstream \"no such host\"
";
    check(&tunnels(), SummaryMode::Auto, &pipe(), expected);
}

#[test]
fn a_run_without_traffic_says_so_and_why() {
    let expected = "\
amb: billing ran 33.4s, exit 0 · no request came through amb
     If it should have made requests: it may ignore the proxy variables, or call only hosts in
     NO_PROXY. `amb run --dry-run` shows the variables; `--capture` takes what ignores them;
     `--proxy-loopback` lets amb see calls to servers on this machine.
";
    check(&nothing_seen(), SummaryMode::Auto, &terminal(100), expected);
}

#[test]
fn a_pipe_learns_too_that_nothing_was_seen() {
    let expected = "\
amb: billing ran 33.4s, exit 0, no request came through amb
amb: hint it may ignore the proxy variables, or call only hosts in NO_PROXY; `amb run --dry-run` shows the variables; `--capture` takes what ignores them; `--proxy-loopback` lets amb see calls to servers on this machine
";
    check(&nothing_seen(), SummaryMode::Auto, &pipe(), expected);
}

#[test]
fn one_line_is_enough_when_all_is_well() {
    let expected = "amb: ✓ 90 req · 4 retried · p95 310ms · 33.4s · exit 0\n";
    check(&all_well(), SummaryMode::Auto, &terminal(100), expected);
    check(
        &all_well(),
        SummaryMode::Compact,
        &pipe(),
        "amb: ok: 90 req - 4 retried - p95 310ms - 33.4s - exit 0\n",
    );
    let expected = "amb: ✗ 128 req · 1 failed · 2 denied · 4 retried · p95 310ms · 33.4s · exit 0\n";
    check(&summary(), SummaryMode::Compact, &terminal(100), expected);
}

#[test]
fn a_pipe_gets_nothing_when_all_is_well_and_nobody_when_it_is_off() {
    check(&all_well(), SummaryMode::Auto, &pipe(), "");
    check(&summary(), SummaryMode::Off, &terminal(100), "");
    check(&nothing_seen(), SummaryMode::Off, &pipe(), "");
}

#[test]
fn full_is_full_in_a_pipe_too() {
    let expected = "\
amb: billing ran 33.4s, exit 0 - 90 requests to 1 host - p95 310ms

  HOST            REQS  OK  FAIL  RETRIED   P50    P95   MAX    SENT     RECV
  api.stripe.com    90  90     0        4  42ms  310ms  1.2s  41 KiB  1.8 MiB
";
    check(&all_well(), SummaryMode::Full, &pipe(), expected);
}

#[test]
fn warnings_are_said_whatever_is_chosen() {
    let mut summary = all_well();
    summary.warnings.push(Warning::new(
        "report_not_written",
        "cannot write the report x.json: no space",
    ));
    let warning = "amb: warning: cannot write the report x.json: no space\n";
    check(&summary, SummaryMode::Off, &terminal(100), warning);
    for stream in [terminal(100), pipe()] {
        for mode in [SummaryMode::Auto, SummaryMode::Full, SummaryMode::Compact] {
            assert!(render(&summary, mode, &stream).ends_with(warning), "{mode:?}");
        }
    }
}

#[test]
fn a_bug_of_ambs_own_is_owned_up_to() {
    let mut summary = all_well();
    summary.panicked_tasks = 1;
    let warning = "amb: warning: degraded: 1 of amb's own tasks failed, which is a bug; the figures may be too low\n";
    for stream in [terminal(100), pipe()] {
        let shown = render(&summary, SummaryMode::Auto, &stream);
        assert!(shown.ends_with(warning) && shown.lines().count() > 1, "{shown}");
    }
}

#[test]
fn processes_that_live_on_are_mentioned() {
    let mut summary = all_well();
    summary.leftovers = Some(2);
    let expected = "\
amb: ✓ 90 req · 4 retried · p95 310ms · 33.4s · exit 0
amb: note: 2 processes of the command are still running, now without the proxy
";
    check(&summary, SummaryMode::Auto, &terminal(100), expected);
    assert!(render(&summary, SummaryMode::Auto, &pipe()).contains("\namb: note 2 processes of the command are"));
    summary.leftovers = Some(0);
    check(&summary, SummaryMode::Auto, &pipe(), "");
}

#[test]
fn how_the_command_ended_is_part_of_the_story() {
    let mut summary = all_well();
    summary.child.exit_code = None;
    summary.child.outcome = ChildOutcome::Signalled;
    summary.child.signal = Some(Signal {
        number: 15,
        name: "SIGTERM".to_owned(),
    });
    summary.exit = Exit {
        code: 143,
        reason: ExitReason::Signal,
    };
    let expected = "amb: ✗ 90 req · 4 retried · p95 310ms · 33.4s · killed by SIGTERM\n";
    check(&summary, SummaryMode::Auto, &terminal(100), expected);
    check(&summary, SummaryMode::Auto, &pipe(), "");

    summary.child.outcome = ChildOutcome::TimedOut;
    summary.exit = Exit {
        code: 124,
        reason: ExitReason::RunTimeout,
    };
    let shown = render(&summary, SummaryMode::Auto, &pipe());
    assert!(
        shown.starts_with("amb: billing ran 33.4s, stopped because its time was up, 90 requests"),
        "{shown}"
    );
    assert!(
        shown.ends_with("\namb: exit 124: the command's time was up\n"),
        "{shown}"
    );

    summary.child.outcome = ChildOutcome::NotStarted;
    check(&summary, SummaryMode::Full, &terminal(100), "");
}

#[test]
fn report_files_are_named() {
    let mut summary = all_well();
    summary.reports.push("out/report.json".to_owned());
    assert!(render(&summary, SummaryMode::Full, &terminal(100)).ends_with("\n\n  wrote out/report.json\n"));
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    let hostile = "evil\x1b[2J\x07\r\nx\u{9b}31m\u{202e}\u{200b}";
    let mut summary = tunnels();
    summary.run.name = hostile.to_owned();
    summary.reports.push(hostile.to_owned());
    summary.warnings.push(Warning::new(hostile, hostile));
    for host in &mut summary.traffic.hosts {
        host.host = hostile.to_owned();
    }
    let failure = &mut summary.traffic.failures[0];
    failure.method = hostile.to_owned();
    failure.host = hostile.to_owned();
    failure.path = hostile.to_owned();
    failure.error_type = hostile.to_owned();
    failure.detail = hostile.to_owned();
    summary.child.outcome = ChildOutcome::Signalled;
    summary.child.signal = Some(Signal {
        number: 9,
        name: hostile.to_owned(),
    });
    let unsafe_character =
        |character: char| (character.is_control() && character != '\n') || matches!(character, '\u{202e}' | '\u{200b}');
    for stream in [terminal(100), terminal(60), terminal(30), pipe()] {
        for mode in [
            SummaryMode::Auto,
            SummaryMode::Full,
            SummaryMode::Compact,
            SummaryMode::Off,
        ] {
            let shown = render(&summary, mode, &stream);
            assert!(!shown.contains(unsafe_character), "{mode:?}: {shown:?}");
            assert!(shown.contains(r"evil\u{1b}[2J"), "{mode:?}: {shown}");
            assert!(!shown.contains("\nx"), "no line is begun by others: {shown}");
        }
    }
}

#[test]
fn a_long_name_loses_its_middle_and_its_port_stays() {
    let mut summary = all_well();
    summary.traffic.hosts[0].host = format!("bucket-{}.s3.eu-central-1.example", "x".repeat(80));
    summary.traffic.hosts[0].port = 8443;
    for columns in [50, 60, 90, 100] {
        let shown = render(&summary, SummaryMode::Full, &terminal(columns));
        let row = shown.lines().find(|line| line.starts_with("  bucket-")).unwrap();
        assert!(row.contains('…') && row.contains(":8443"), "{row}");
        assert!(shown.lines().all(|line| width(line) <= columns), "{shown}");
    }
}

#[test]
fn ports_are_named_where_they_tell_hosts_apart() {
    let mut summary = tunnels();
    summary.traffic.hosts[1].host = "api.stripe.com".to_owned();
    let shown = render(&summary, SummaryMode::Full, &terminal(100));
    assert!(
        shown.contains("\n  api.stripe.com:80 ") && shown.contains("\n  api.stripe.com:443 "),
        "{shown}"
    );
    summary.traffic.hosts[0].host = "::1".to_owned();
    summary.traffic.hosts[0].port = 9000;
    summary.traffic.hosts[1].host = String::new();
    let shown = render(&summary, SummaryMode::Full, &terminal(100));
    assert!(
        shown.contains("\n  [::1]:9000 ") && shown.contains("\n  (unreadable) "),
        "{shown}"
    );
}

#[test]
fn of_too_many_hosts_those_that_failed_are_shown() {
    let mut summary = all_well();
    let quiet = summary.traffic.hosts[0].clone();
    summary.traffic.hosts = (0..60)
        .map(|number| HostTraffic {
            host: format!("h{number}.example"),
            ..quiet.clone()
        })
        .collect();
    summary.traffic.hosts[55].requests.failed = 1;
    let shown = render(&summary, SummaryMode::Full, &terminal(100));
    assert!(shown.contains("\n  h0.example ") && shown.contains("\n  h28.example ") && !shown.contains("h29.example"));
    assert!(shown.contains("\n  h55.example "), "{shown}");
    assert!(
        shown.ends_with("\n  and 30 more hosts: requests=2700 tunnels=0\n"),
        "{shown}"
    );
}

#[test]
fn what_is_not_told_apart_is_said_to_be_so() {
    let mut summary = summary();
    summary.traffic.hosts[2].host = OTHER_HOST.to_owned();
    summary.traffic.failures_beyond = 7;
    let shown = render(&summary, SummaryMode::Full, &terminal(100));
    assert!(
        shown.starts_with("amb: billing ran 33.4s, exit 0 · 128 requests to more than 2 hosts"),
        "{shown}"
    );
    assert!(shown.contains("\n    and 7 more of other kinds\n"), "{shown}");
    assert!(
        shown.contains("amb: warning: too many hosts to tell all apart: 2 requests and 0 tunnels"),
        "{shown}"
    );
    assert!(
        shown.contains("amb: warning: too many different failures to tell all apart: 7 are"),
        "{shown}"
    );
}

/// The run with two routes, one of them through tunnels.
fn routed() -> Summary {
    let mut summary = summary();
    let of_host = |id: &str, host: &HostTraffic| RouteTraffic {
        id: id.to_owned(),
        requests: host.requests.clone(),
        tunnels: host.tunnels.clone(),
        connections: host.connections,
        bytes: host.bytes,
        held: host.held.clone(),
        latency: host.latency.clone(),
        connect: host.connect.clone(),
        first_byte: host.first_byte.clone(),
        templates: Vec::new(),
    };
    let hosts = &summary.traffic.hosts;
    summary.traffic.routes = vec![of_host("charges", &hosts[0]), of_host("a\u{1b}[31m", &hosts[1])];
    summary
}

#[test]
fn routes_have_a_table_below_that_of_the_hosts_with_the_same_columns() {
    let said = render(&routed(), SummaryMode::Full, &terminal(100));
    let table: Vec<&str> = said.lines().skip(2).take(8).collect();
    assert_eq!(
        table.join("\n"),
        "\
\x20 HOST                 REQS  OK  FAIL  RETRIED   P50    P95    MAX    SENT     RECV
  api.stripe.com         90  90     0        4  42ms  310ms   1.2s  41 KiB  1.8 MiB
  soap.example.com       36  35     1        0  88ms  402ms  803ms  12 KiB  2.1 MiB
  telemetry.vendor.io     2   –     –        –     –      –      –       –        –  2 denied

  ROUTE                REQS  OK  FAIL  RETRIED   P50    P95    MAX    SENT     RECV
  charges                90  90     0        4  42ms  310ms   1.2s  41 KiB  1.8 MiB
  a\\u{1b}[31m            36  35     1        0  88ms  402ms  803ms  12 KiB  2.1 MiB"
    );
}

#[test]
fn routes_have_cards_and_lines_too() {
    let said = render(&routed(), SummaryMode::Full, &terminal(40));
    assert!(
        said.contains("\nroute charges\n  90 ok · 4 retried\n  p50 42ms p95 310ms\n"),
        "{said}"
    );
    let said = render(&routed(), SummaryMode::Auto, &pipe());
    let line = "\namb: route charges requests=90 ok=90 failed=0 retried=4 p50=42ms p95=310ms";
    assert!(said.contains(line), "{said}");
    assert!(said.contains("\namb: route a\\u{1b}[31m requests=36"), "{said}");
}

#[test]
fn of_too_many_routes_the_rest_is_counted() {
    let mut summary = routed();
    let route = summary.traffic.routes[0].clone();
    summary.traffic.routes = vec![route; 33];
    for columns in [100, 40] {
        let said = render(&summary, SummaryMode::Full, &terminal(columns));
        assert!(said.contains("and 3 more routes"), "{said}");
    }
}

/// A run in which one thing holds and one does not.
fn asserted() -> Summary {
    let mut summary = summary();
    summary.assertions = vec![
        crate::report::markdown::tests::asserted(
            "calls-stripe",
            "hosts['api.stripe.com'].requests.total >= 1",
            true,
            90,
        ),
        crate::report::markdown::tests::asserted("no-failures", "requests.failed == 0", false, 1),
    ];
    summary.exit = Exit {
        code: 99,
        reason: ExitReason::AssertionFailed,
    };
    summary
}

#[test]
fn what_was_asserted_stands_before_the_verdict() {
    let stream = |columns| Stream {
        terminal: true,
        color: false,
        charset: Charset::Unicode,
        columns,
    };
    let wide = render(&asserted(), SummaryMode::Full, &stream(100));
    let end = "
  ASSERTIONS  1 passed, 1 failed
    ✓ calls-stripe  hosts['api.stripe.com'].requests.total >= 1  → 90
    ✗ no-failures  requests.failed == 0  → 1
amb: exit 99: 1 assertion failed (the command itself exited 0)
";
    assert!(wide.ends_with(end), "{wide}");
    let narrow = render(&asserted(), SummaryMode::Full, &stream(40));
    let end = "
  ASSERTIONS  1 passed, 1 failed
    ✓ calls-stripe
      hosts['api.stripe.com'].requests.t
      otal >= 1
      → 90
    ✗ no-failures requests.failed == 0
      → 1
amb: exit 99: 1 assertion failed (the command itself exited 0)
";
    assert!(narrow.ends_with(end), "{narrow}");
    let compact = render(&asserted(), SummaryMode::Compact, &stream(100));
    assert_eq!(compact.lines().count(), 2, "{compact}");
    let off = render(&asserted(), SummaryMode::Off, &stream(100));
    assert_eq!(off, "amb: exit 99: 1 assertion failed (the command itself exited 0)\n");
}
