//! What people see, in full.

use std::time::SystemTime;

use super::*;
use crate::{
    report::color::When,
    traffic::{
        Blame,
        failures::FailureGroup,
        latency::Latency,
        meter::{Bytes, Connections, HostTraffic, OTHER_HOST, Requests, StatusClasses, Traffic, Tunnels},
        summary::{Child, Exit, Run, Signal, Warning},
    },
};

/// When the run of these tests began.
fn started_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_380_001_120)
}

/// A latency of these milliseconds.
fn latency(count: u64, p50: u64, p95: u64, max: u64) -> Option<Latency> {
    Some(Latency {
        count,
        mean: Duration::from_millis(81),
        min: Duration::from_millis(11),
        p50: Duration::from_millis(p50),
        p90: Duration::from_millis(p95),
        p95: Duration::from_millis(p95),
        p99: Duration::from_millis(max),
        max: Duration::from_millis(max),
    })
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
        latency: None,
        connect: None,
        first_byte: None,
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
        latency: latency(90, 42, 310, 1_200),
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
        latency: latency(35, 88, 402, 803),
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
        first_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_380_007),
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
        latency: latency(125, 51, 310, 1_200),
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
            name: "billing".to_owned(),
            command: ["./legacy-app", "--port", "8080"].map(str::to_owned).to_vec(),
            started_at: started_at(),
            duration: Duration::from_millis(33_410),
            config_sources: ["amb.toml", "AMB_TIMEOUT__CONNECT", "--summary"]
                .map(str::to_owned)
                .to_vec(),
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
        warnings: Vec::new(),
        panicked_tasks: 0,
        leftovers: None,
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
        first_at: started_at(),
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
    if stream.terminal && mode == SummaryMode::Full {
        for line in shown.lines() {
            assert!(width(line) <= stream.columns, "{line}");
        }
    }
}

#[test]
fn zz_show() {
    for (s, n) in [
        (summary(), "summary"),
        (tunnels(), "tunnels"),
        (all_well(), "well"),
        (nothing_seen(), "nothing"),
    ] {
        for c in [100, 70, 52, 40] {
            println!("=== {n} full {c}");
            println!("{}", render(&s, SummaryMode::Full, &terminal(c)));
        }
        println!("=== {n} compact");
        println!("{}", render(&s, SummaryMode::Compact, &terminal(100)));
        println!("=== {n} plain/auto");
        println!("{}", render(&s, SummaryMode::Auto, &pipe()));
    }
}
