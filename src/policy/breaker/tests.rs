//! What a breaker decides, move by move. The clock is a number and the dice a half, which leaves a time as it is.

use super::*;
use crate::policy::scope::NO_ROUTE;

/// Figures that fit on a page: 3 failures in a row, or half of at least 10 in 10 s; open for 4 s, 16 s at most.
fn settings() -> Settings {
    Settings {
        on: vec![
            Condition::ConnectFailure,
            Condition::Reset,
            Condition::Timeout,
            Condition::GatewayError,
        ],
        consecutive: Some(3),
        failure_ratio: 0.5,
        minimum_requests: 10,
        window: Duration::from_secs(10),
        open: Duration::from_secs(4),
        longest_open: Duration::from_secs(16),
        probes: 2,
        slow: None,
    }
}

/// A breaker and a clock.
struct Bench {
    /// The breaker.
    breaker: Arc<Breaker>,
    /// What time it is.
    now: Duration,
}

/// What an attempt comes to.
const GOOD: Seen = Seen::Status(200);
/// The same.
const BAD: Seen = Seen::Status(503);

impl Bench {
    /// A bench with these figures.
    fn of(settings: Settings) -> Self {
        Self {
            breaker: Arc::new(Breaker::new(settings, Scope::Host, NO_ROUTE)),
            now: Duration::ZERO,
        }
    }

    /// Lets time pass.
    fn pass(&mut self, millis: u64) -> &mut Self {
        self.now += Duration::from_millis(millis);
        self
    }

    /// Asks for a permit.
    fn admit(&self) -> Result<Permit, Duration> {
        let admitted = self.breaker.admit("h", 80, self.now);
        admitted.map(|(permit, _)| permit).map_err(|rejected| rejected.retry_in)
    }

    /// An attempt that is let go and ends so at once.
    #[track_caller]
    fn attempt(&self, seen: Seen) -> Option<Change> {
        self.attempt_taking(seen, 0)
    }

    /// The same, after so many milliseconds.
    #[track_caller]
    fn attempt_taking(&self, seen: Seen, millis: u64) -> Option<Change> {
        let mut permit = self.admit().expect("the circuit lets it go");
        permit.record(seen, Duration::from_millis(millis), self.now, 0.5)
    }

    /// Opens the circuit.
    #[track_caller]
    fn open(&self) -> Change {
        self.attempt(BAD);
        self.attempt(BAD);
        self.attempt(BAD).expect("it opens")
    }

    /// Where it stands.
    fn position(&self) -> Position {
        self.breaker
            .histories()
            .first()
            .map_or(Position::Closed, |it| it.position)
    }
}

/// So many seconds.
fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn failures_in_a_row_open_a_circuit_and_two_good_probes_close_it() {
    let mut bench = Bench::of(settings());
    assert_eq!(bench.attempt(BAD), None);
    assert_eq!(bench.attempt(BAD), None);
    assert_eq!(bench.attempt(BAD), Some(Change::Opened(seconds(4))));
    assert_eq!(bench.pass(1_000).admit().unwrap_err(), seconds(3));
    assert_eq!(bench.pass(2_999).admit().unwrap_err(), Duration::from_millis(1));
    bench.pass(1);
    let (mut probe, change) = bench.breaker.admit("h", 80, bench.now).unwrap();
    assert_eq!(change, Some(Change::HalfOpened));
    assert!(probe.is_probe());
    assert_eq!(probe.record(GOOD, Duration::ZERO, bench.now, 0.5), None);
    assert_eq!(bench.attempt(GOOD), Some(Change::Closed));
    assert!(!bench.admit().unwrap().is_probe());
    let counts = Counts { opened: 1, rejected: 2 };
    assert_eq!(
        bench.breaker.histories(),
        [History {
            name: Some("h".into()),
            position: Position::Closed,
            counts
        }]
    );
}

#[test]
fn a_success_ends_a_row_of_failures() {
    let bench = Bench::of(settings());
    for seen in [BAD, BAD, GOOD, BAD, BAD] {
        assert_eq!(bench.attempt(seen), None);
    }
    assert!(bench.attempt(BAD).is_some());
}

#[test]
fn what_says_nothing_of_the_server_neither_counts_nor_ends_a_row() {
    let bench = Bench::of(settings());
    for seen in [BAD, Seen::Nothing, BAD, Seen::Nothing] {
        assert_eq!(bench.attempt(seen), None);
    }
    assert!(bench.attempt(BAD).is_some());
}

#[test]
fn what_counts_is_what_is_configured() {
    let default = [
        (Seen::Status(200), false),
        (Seen::Status(404), false),
        (Seen::Status(429), false),
        (Seen::Status(500), false),
        (Seen::Status(501), false),
        (Seen::Status(502), true),
        (Seen::Status(503), true),
        (Seen::Status(504), true),
        (Seen::NoConnection, true),
        (Seen::NoConnectionInTime, true),
        (Seen::Break, true),
        (Seen::NoAnswerInTime, true),
    ];
    let on = settings().on;
    for (seen, failed) in default {
        assert_eq!(condition::is_failure(&on, seen), Some(failed), "{seen:?}");
    }
    assert_eq!(condition::is_failure(&on, Seen::Nothing), None);
    for (on, seen, failed) in [
        ("5xx", Seen::Status(500), true),
        ("500", Seen::Status(500), true),
        ("500", Seen::Status(503), false),
        ("timeout", Seen::NoConnectionInTime, true),
        ("timeout", Seen::NoConnection, false),
        ("reset", Seen::NoAnswerInTime, false),
    ] {
        let on = on.parse::<Condition>().unwrap();
        assert_eq!(condition::is_failure(&[on], seen), Some(failed), "{on} {seen:?}");
        assert_eq!(on.to_string().parse::<Condition>(), Ok(on));
    }
    for wrong in ["", "399", "600", "Reset", "gateway"] {
        assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
    }
}

#[test]
fn half_of_many_opens_a_circuit_and_half_of_few_does_not() {
    for (requests, failures, opens) in [
        (9, 9, false),
        (10, 4, false),
        (10, 5, true),
        (11, 5, false),
        (200, 100, true),
    ] {
        let bench = Bench::of(Settings {
            consecutive: None,
            ..settings()
        });
        let goods = std::iter::repeat_n(GOOD, requests - failures);
        // The bad ones last, so that nothing opens before.
        let seen: Vec<Seen> = goods.chain(std::iter::repeat_n(BAD, failures)).collect();
        let changes: Vec<Change> = seen.into_iter().filter_map(|seen| bench.attempt(seen)).collect();
        assert_eq!(changes.len(), usize::from(opens), "{failures} of {requests}");
    }
}

#[test]
fn the_window_slides() {
    let mut bench = Bench::of(Settings {
        consecutive: None,
        ..settings()
    });
    for _ in 0..9 {
        assert_eq!(bench.attempt(BAD), None);
    }
    // The nine are too old by then, and ten new ones are too few failures.
    bench.pass(10_000);
    for _ in 0..6 {
        assert_eq!(bench.attempt(GOOD), None);
    }
    bench.pass(5_000);
    for _ in 0..4 {
        assert_eq!(bench.attempt(BAD), None, "4 of 10");
    }
    // With the six good ones it would be half by now; without them it is all of too few.
    bench.pass(5_000);
    for _ in 0..5 {
        assert_eq!(bench.attempt(BAD), None);
    }
    assert!(bench.attempt(BAD).is_some(), "10 of 10");
}

#[test]
fn slow_answers_open_a_circuit() {
    let slow = Some(Slow {
        after: seconds(1),
        ratio: 0.8,
    });
    let bench = Bench::of(Settings { slow, ..settings() });
    for millis in [999, 999, 1_000, 2_000, 1_000, 1_000, 1_000, 1_000, 1_000] {
        assert_eq!(bench.attempt_taking(GOOD, millis), None);
    }
    assert!(bench.attempt_taking(GOOD, 1_000).is_some(), "8 of 10");
    // A slow probe is none that went well.
    let mut bench = Bench::of(Settings { slow, ..settings() });
    bench.open();
    assert_eq!(
        bench.pass(4_000).attempt_taking(GOOD, 1_000),
        Some(Change::Opened(seconds(8)))
    );
}

#[test]
fn each_failed_probe_doubles_the_time_up_to_the_limit_and_closing_starts_anew() {
    let mut bench = Bench::of(settings());
    let mut lasts = match bench.open() {
        Change::Opened(lasts) => lasts,
        other => panic!("{other:?}"),
    };
    for expected in [8, 16, 16, 16] {
        bench.now += lasts;
        lasts = seconds(expected);
        assert_eq!(bench.attempt(BAD), Some(Change::Opened(lasts)));
    }
    bench.now += lasts;
    assert_eq!(bench.attempt(GOOD), None);
    assert_eq!(bench.attempt(GOOD), Some(Change::Closed));
    assert_eq!(bench.open(), Change::Opened(seconds(4)));
    assert_eq!(bench.breaker.histories()[0].counts.opened, 6);
}

#[test]
fn the_time_is_spread_by_a_half_and_never_beyond_the_limit() {
    for (openings, random, millis) in [
        (0, 0.0, 2_000),
        (0, 0.25, 3_000),
        (0, 1.0, 6_000),
        (2, 0.0, 8_000),
        (2, 1.0, 16_000),
    ] {
        let mut bench = Bench::of(settings());
        bench.open();
        let mut change = None;
        for _ in 0..openings {
            bench.pass(60_000);
            change = bench.admit().unwrap().record(BAD, Duration::ZERO, bench.now, random);
        }
        if openings == 0 {
            let bench = Bench::of(settings());
            bench.attempt(BAD);
            bench.attempt(BAD);
            change = bench.admit().unwrap().record(BAD, Duration::ZERO, bench.now, random);
        }
        assert_eq!(change, Some(Change::Opened(Duration::from_millis(millis))), "{random}");
    }
}

#[test]
fn one_probe_goes_at_a_time() {
    let mut bench = Bench::of(settings());
    bench.open();
    let mut probe = bench.pass(4_000).admit().unwrap();
    assert_eq!(bench.admit().unwrap_err(), Duration::ZERO);
    assert_eq!(probe.record(GOOD, Duration::ZERO, bench.now, 0.5), None);
    let second = bench.admit().unwrap();
    assert!(second.is_probe() && bench.admit().is_err());
}

#[test]
fn a_probe_that_is_given_up_makes_room_for_the_next() {
    let mut bench = Bench::of(settings());
    bench.open();
    let probe = bench.pass(4_000).admit().unwrap();
    drop(probe);
    let mut said_nothing = bench.admit().unwrap();
    assert_eq!(said_nothing.record(Seen::Nothing, Duration::ZERO, bench.now, 0.5), None);
    assert!(bench.admit().is_err(), "it is still under way");
    drop(said_nothing);
    assert!(bench.admit().is_ok());
}

#[test]
fn a_probe_that_never_ends_does_not_block_for_ever() {
    let mut bench = Bench::of(settings());
    bench.open();
    let mut lost = bench.pass(4_000).admit().unwrap();
    assert!(bench.pass(3_999).admit().is_err());
    let mut second = bench.pass(1).admit().unwrap();
    assert!(
        second.is_probe() && bench.admit().is_err(),
        "one more, not as many as ask"
    );
    // Its answer is good news all the same, and takes nobody else's place.
    assert_eq!(lost.record(GOOD, seconds(4), bench.now, 0.5), None);
    assert!(bench.admit().is_err());
    assert_eq!(
        second.record(GOOD, Duration::ZERO, bench.now, 0.5),
        Some(Change::Closed)
    );
}

#[test]
fn what_began_before_a_change_does_not_count_after_it() {
    let mut bench = Bench::of(settings());
    let mut early: Vec<Permit> = (0..5).map(|_| bench.admit().unwrap()).collect();
    bench.open();
    let end = |permit: Option<Permit>, seen| permit.unwrap().record(seen, Duration::ZERO, bench.now, 0.5);
    assert_eq!(end(early.pop(), BAD), None, "open already");
    assert_eq!(end(early.pop(), GOOD), None);
    assert_eq!(bench.position(), Position::Open);
    bench.pass(4_000);
    let probe = bench.admit().unwrap();
    let mut late = early.pop().unwrap();
    assert_eq!(late.record(BAD, Duration::ZERO, bench.now, 0.5), None);
    drop(early);
    assert_eq!(bench.position(), Position::HalfOpen);
    assert!(probe.is_probe() && bench.admit().is_err(), "the probe keeps its place");
}

#[test]
fn circuits_are_apart_and_workers_share_them() {
    let breaker = Arc::new(Breaker::new(settings(), Scope::HostPort, NO_ROUTE));
    let admit = |port| breaker.admit("h", port, Duration::ZERO).map(|(permit, _)| permit);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| admit(80).unwrap().record(BAD, Duration::ZERO, Duration::ZERO, 0.5));
        }
    });
    assert_eq!(&*admit(80).unwrap_err().name, "h:80");
    assert!(admit(81).is_ok());
    // Of many threads that come when the time is up, one probes.
    let admitted = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let permit = breaker.admit("h", 80, seconds(4)).map(|(permit, _)| permit);
                admitted.fetch_add(u32::from(permit.is_ok()), std::sync::atomic::Ordering::SeqCst);
                std::mem::forget(permit);
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1);
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let mut problems = Vec::new();
    assert!(BreakerOptions::default().build(NO_ROUTE, &mut problems).is_none());
    let enabled = BreakerOptions {
        enabled: Some(true),
        ..BreakerOptions::default()
    };
    let breaker = enabled.build(NO_ROUTE, &mut problems).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        format!("{:?}", breaker.settings),
        "Settings { on: [ConnectFailure, Reset, Timeout, GatewayError], consecutive: Some(5), failure_ratio: 0.5, \
         minimum_requests: 20, window: 10s, open: 5s, longest_open: 60s, probes: 2, slow: None }"
    );
}

#[test]
fn values_without_meaning_are_refused() {
    let mut problems = Vec::new();
    BreakerOptions {
        failure_ratio: Some(0.0),
        slow_call_ratio: Some(1.1),
        window: Some("0s".parse().unwrap()),
        minimum_requests: Some(0),
        half_open_requests: Some(0),
        ..BreakerOptions::default()
    }
    .build(NO_ROUTE, &mut problems);
    let keys: Vec<String> = problems.into_iter().map(|problem| problem.key.join(".")).collect();
    assert_eq!(
        keys,
        [
            "circuit-breaker.failure-ratio",
            "circuit-breaker.slow-call-ratio",
            "circuit-breaker.window",
            "circuit-breaker.minimum-requests",
            "circuit-breaker.half-open-requests"
        ]
    );
}
