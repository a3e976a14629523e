//! What a meter makes of records.

use std::time::SystemTime;

use super::*;
use crate::traffic::{
    Blame, Failure, Kind, Limited, Protocol, Scheme,
    edits::Notes,
    retries::{Hedge, NotRetried, Refused, Retries, RetryLevel},
};

/// An exchange that went well: `GET http://a.example/x?y=1`, answered with 200 after 10 ms on a reused connection.
pub(crate) fn exchange() -> Record {
    Record {
        kind: Kind::Exchange,
        protocol: Protocol::Http11,
        captured: false,
        scheme: Some(Scheme::Http),
        started_at: SystemTime::UNIX_EPOCH,
        duration: Duration::from_millis(10),
        method: "GET".to_owned(),
        host: "a.example".to_owned(),
        port: 80,
        path: "/x?y=1".to_owned(),
        sent_to: None,
        request_id: String::new(),
        trace: None,
        edits: Notes::default(),
        status: Some(200),
        outcome: Outcome::Ok,
        bytes_sent: 100,
        bytes_received: 1_000,
        connect: None,
        tls: None,
        sealed: false,
        first_byte: Some(Duration::from_millis(5)),
        opened: 0,
        attempts: 1,
        retries: Retries::default(),
        tries: Vec::new(),
        resends: 0,
        waited: Duration::ZERO,
        signed_in: crate::traffic::credentials::SignedIn::default(),
        limited: None,
        egress: None,
        called: Vec::new(),
        reused: true,
        user_agent: None,
        referer: None,
        route: None,
        url_template: None,
    }
}

/// A tunnel that went well, to port 443 of the same host.
pub(crate) fn tunnel() -> Record {
    Record {
        kind: Kind::Tunnel,
        method: "CONNECT".to_owned(),
        port: 443,
        path: String::new(),
        connect: Some(Duration::from_millis(3)),
        opened: 1,
        first_byte: None,
        duration: Duration::from_secs(2),
        reused: false,
        ..exchange()
    }
}

/// A failure of the server's.
pub(crate) fn failure(error_type: &str) -> Failure {
    Failure {
        error_type: error_type.to_owned(),
        blame: Blame::Upstream,
        detail: format!("{error_type} it is"),
    }
}

/// What a meter makes of these.
pub(crate) fn metered(records: &[Record]) -> Traffic {
    let mut meter = Meter::default();
    for record in records {
        meter.add(record);
    }
    meter.finish()
}

#[test]
fn every_outcome_has_its_count_and_they_add_up() {
    let outcomes = [
        Outcome::Ok,
        Outcome::Failed(failure("503")),
        Outcome::Denied(failure("http_request_denied")),
        Outcome::ClientAborted,
        Outcome::CutShort,
    ];
    let mut records: Vec<_> = outcomes
        .iter()
        .map(|it| Record {
            outcome: it.clone(),
            ..exchange()
        })
        .collect();
    records.extend(outcomes.iter().map(|it| Record {
        outcome: it.clone(),
        ..tunnel()
    }));
    let traffic = metered(&records);
    let requests = &traffic.requests;
    assert_eq!(
        [
            requests.total,
            requests.ok,
            requests.failed,
            requests.denied,
            requests.aborted,
            requests.cut_short
        ],
        [5, 1, 1, 1, 1, 1]
    );
    let tunnels = &traffic.tunnels;
    assert_eq!(
        [
            tunnels.total,
            tunnels.ok,
            tunnels.failed,
            tunnels.denied,
            tunnels.aborted,
            tunnels.open_at_end
        ],
        [5, 1, 1, 1, 1, 1]
    );
    assert_eq!(tunnels.duration, Duration::from_secs(10));
    assert_eq!(
        tunnels.bytes,
        Bytes {
            sent: 500,
            received: 5_000
        }
    );
    assert_eq!(
        traffic.bytes,
        Bytes {
            sent: 1_000,
            received: 10_000
        }
    );
    assert_eq!((traffic.failed(), traffic.denied()), (2, 2));
    assert_eq!(traffic.failures.iter().map(|it| it.count).sum::<u64>(), 2);
    assert_eq!(traffic.denials.iter().map(|it| it.count).sum::<u64>(), 2);
}

#[test]
fn the_ports_of_a_host_are_told_apart() {
    let traffic = metered(&[exchange(), tunnel(), exchange()]);
    let seen: Vec<_> = traffic
        .hosts
        .iter()
        .map(|it| (&*it.host, it.port, it.requests.total, it.tunnels.total))
        .collect();
    assert_eq!(seen, [("a.example", 80, 2, 0), ("a.example", 443, 0, 1)]);
    assert_eq!(traffic.host_count(), (1, false), "they are one host all the same");
    assert_eq!(traffic.connections, Connections { opened: 1, reused: 2 });
    assert_eq!(traffic.connect.as_ref().map(|it| it.count), Some(1));
    assert_eq!(traffic.hosts[1].latency, None, "a tunnel has no latency");
}

#[test]
fn an_answer_of_ambs_own_is_no_status_of_the_servers() {
    let refused = Record {
        status: Some(502),
        first_byte: None,
        outcome: Outcome::Failed(failure("connection_refused")),
        ..exchange()
    };
    let answered = Record {
        status: Some(503),
        outcome: Outcome::Failed(failure("503")),
        ..exchange()
    };
    let traffic = metered(&[refused, answered]);
    assert_eq!(
        traffic.requests.status,
        StatusClasses {
            server_error: 1,
            ..StatusClasses::default()
        }
    );
    assert_eq!(
        traffic.latency.as_ref().map(|it| it.count),
        Some(1),
        "only what was answered has a latency"
    );
}

#[test]
fn the_patience_of_a_client_is_no_latency() {
    let traffic = metered(&[Record {
        outcome: Outcome::ClientAborted,
        ..exchange()
    }]);
    assert_eq!(traffic.latency, None);
    assert_eq!(traffic.first_byte.as_ref().map(|it| it.count), Some(1));
}

#[test]
fn retries_count_requests_and_resends_count_times() {
    let traffic = metered(&[
        Record {
            attempts: 3,
            retries: Retries {
                count: 2,
                ..Retries::default()
            },
            ..exchange()
        },
        Record {
            resends: 2,
            ..exchange()
        },
        Record {
            attempts: 0,
            ..exchange()
        },
    ]);
    assert_eq!((traffic.requests.retried, traffic.requests.resends), (1, 2));
}

#[test]
fn what_retries_did_adds_up_by_host() {
    let retried = |count, refused, hedge, outcome| Record {
        outcome,
        retries: Retries {
            count,
            waited: Duration::from_millis(30),
            refused,
            hedge,
        },
        ..exchange()
    };
    let refused = |why, level| Some(Refused { why, level });
    let failed = || Outcome::Failed(failure("503"));
    let spent = refused(NotRetried::AttemptsUsed, None);
    let unsafe_ = refused(NotRetried::NotSafe, Some(RetryLevel::Idempotent));
    let traffic = metered(&[
        exchange(),
        retried(2, None, None, Outcome::Ok),
        retried(2, spent, None, failed()),
        // The last answer was a 429, which the client got.
        retried(1, spent, None, Outcome::Ok),
        retried(0, unsafe_, None, failed()),
        retried(0, None, Some(Hedge::Won), Outcome::Ok),
    ]);
    let sums = &traffic.retries;
    assert_eq!((sums.retried, sums.retries, sums.rescued), (3, 5, 1));
    assert_eq!((sums.hedged, sums.hedges_won), (1, 1));
    assert_eq!(sums.waited, Duration::from_millis(150));
    let counts = &sums.refused;
    assert_eq!(
        (counts.attempts_used, counts.not_safe, counts.idempotent_would),
        (2, 1, 1)
    );
    assert_eq!(traffic.hosts[0].retries, *sums);
    assert!(metered(&[exchange()]).retries.is_empty());
}

#[test]
fn failures_are_alike_whatever_their_query() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let failed = |path: &str, error_type: &str, seconds| Record {
        path: path.to_owned(),
        outcome: Outcome::Failed(failure(error_type)),
        started_at: at(seconds),
        ..exchange()
    };
    let traffic = metered(&[
        failed("/x?a=1", "503", 9),
        failed("/x?a=2", "503", 4),
        failed("/x", "503", 6),
        failed("/x", "dns_error", 1),
        failed("/y", "503", 2),
    ]);
    let groups: Vec<_> = traffic
        .failures
        .iter()
        .map(|it| (it.count, &*it.path, &*it.error_type, it.first_at))
        .collect();
    assert_eq!(
        groups,
        [
            (3, "/x", "503", at(4)),
            (1, "/x", "dns_error", at(1)),
            (1, "/y", "503", at(2))
        ]
    );
}

#[test]
fn merging_workers_is_the_same_as_one_worker() {
    let mut records = Vec::new();
    for number in 0..500_u64 {
        records.push(Record {
            host: format!("h{}.example", number % 7),
            duration: Duration::from_millis(number),
            outcome: if number % 5 == 0 {
                Outcome::Failed(failure("503"))
            } else {
                Outcome::Ok
            },
            ..if number % 3 == 0 { tunnel() } else { exchange() }
        });
    }
    let mut merged = Meter::default();
    for shard in records.chunks(100) {
        let mut meter = Meter::default();
        for record in shard {
            meter.add(record);
        }
        merged.merge(meter);
    }
    assert_eq!(merged.finish(), metered(&records));
}

#[test]
fn hosts_and_failures_without_end_are_bounded_and_still_counted() {
    let mut meter = Meter::default();
    for number in 0..MOST_HOSTS + 50 {
        meter.add(&Record {
            host: format!("h{number}.example"),
            outcome: Outcome::Failed(failure("503")),
            ..exchange()
        });
    }
    let mut twice = Meter::default();
    twice.add(&Record {
        host: "one.more.example".to_owned(),
        ..exchange()
    });
    meter.merge(twice);
    let traffic = meter.finish();
    assert_eq!(traffic.hosts.len(), MOST_HOSTS + 1);
    assert_eq!(traffic.hosts[0].host, OTHER_HOST);
    assert_eq!(traffic.hosts[0].requests.total, 51);
    assert_eq!(traffic.requests.total, u64::try_from(MOST_HOSTS).unwrap() + 51);
    assert_eq!(traffic.host_count(), (MOST_HOSTS, true));
    let grouped: u64 = traffic.failures.iter().map(|it| it.count).sum();
    assert_eq!(grouped + traffic.failures_beyond, traffic.requests.failed);
    assert_eq!(grouped, 200);
}

#[test]
fn an_unreadable_request_is_counted_and_is_no_host() {
    let traffic = metered(&[Record {
        host: String::new(),
        port: 0,
        ..exchange()
    }]);
    assert_eq!((traffic.requests.total, traffic.host_count()), (1, (0, false)));
}

#[test]
fn what_limits_held_back_is_counted_and_added_up() {
    let delayed = Record {
        waited: Duration::from_millis(300),
        limited: Some(Limited::Delayed),
        ..exchange()
    };
    let rejected = Record {
        waited: Duration::from_secs(1),
        limited: Some(Limited::Rejected),
        ..tunnel()
    };
    let traffic = metered(&[exchange(), delayed.clone(), delayed, rejected]);
    let held = |delayed, rejected, millis| Held {
        delayed,
        rejected,
        waited: Duration::from_millis(millis),
    };
    assert_eq!(traffic.held, held(2, 1, 1_600));
    let by_host: Vec<_> = traffic.hosts.into_iter().map(|host| host.held).collect();
    assert_eq!(by_host, [held(2, 0, 600), held(0, 1, 1_000)]);
}

#[test]
fn routes_have_sums_of_their_own_whatever_the_host_and_the_worker() {
    let by = |route: &str, template: Option<&str>, method: &str| Record {
        route: Some(route.into()),
        url_template: template.map(Into::into),
        method: method.to_owned(),
        ..exchange()
    };
    let through = Record {
        route: Some("charges".into()),
        ..tunnel()
    };
    let failed = Record {
        outcome: Outcome::Failed(failure("503")),
        host: "b.example".to_owned(),
        ..by("charges", Some("/v1/{id}"), "GET")
    };
    let records = [
        by("charges", Some("/v1/{id}"), "GET"),
        by("charges", Some("/v1/{id}"), "PURGE"),
        by("charges", Some("/v1/{id}"), "BREW"),
        by("charges", None, "GET"),
        failed,
        through,
        by("other", None, "GET"),
        exchange(),
    ];
    let (first, second) = records.split_at(4);
    let mut merged = Meter::default();
    for part in [first, second] {
        let mut meter = Meter::default();
        for record in part {
            meter.add(record);
        }
        merged.merge(meter);
    }
    let traffic = merged.finish();
    assert_eq!(traffic, metered(&records), "two workers see what one would");
    let told: Vec<_> = traffic
        .routes
        .iter()
        .map(|route| {
            (
                &*route.id,
                route.requests.total,
                route.requests.failed,
                route.tunnels.total,
            )
        })
        .collect();
    assert_eq!(told, [("charges", 5, 1, 1), ("other", 1, 0, 0)]);
    let templates: Vec<_> = traffic.routes[0]
        .templates
        .iter()
        .map(|template| (template.method, &*template.template, template.requests.total))
        .collect();
    assert_eq!(templates, [("GET", "/v1/{id}", 2), ("_OTHER", "/v1/{id}", 2)]);
    assert_eq!(traffic.routes[0].latency.as_ref().unwrap().count, 5);
}
