//! The tables of what is tried again.

use super::*;
use crate::{
    policy::{
        Problem,
        backoff::{BackoffOptions, Jitter},
    },
    units::{ByteSize, Period},
};

/// What these options come to, which are right.
#[track_caller]
fn built(options: RetryOptions) -> Retry {
    let mut problems: Vec<Problem> = Vec::new();
    let retry = options.build(&mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    retry
}

/// A level, and nothing else.
fn at(level: Level) -> Retry {
    built(RetryOptions {
        level: Some(level),
        ..RetryOptions::default()
    })
}

/// A request with this method that has met this fault for the first time.
fn first(method: &str, fault: Fault) -> Attempted<'_> {
    Attempted {
        fault,
        method,
        has_key: false,
        replayable: true,
        retries: 0,
        waited: Duration::ZERO,
        left: None,
        retry_after: None,
        dice: 1.0,
    }
}

/// What the level decides, in a word: `again`, `fine`, or why not and which level would.
fn word(retry: &Retry, attempted: &Attempted<'_>) -> String {
    match retry.decide(attempted) {
        Decision::Fine => "fine".to_owned(),
        Decision::After(_) => "again".to_owned(),
        Decision::Leave(why, None) => format!("{why:?}"),
        Decision::Leave(why, Some(level)) => format!("{why:?}: {level:?}"),
    }
}

#[test]
fn each_level_retries_what_it_may() {
    use Fault::{Connect, Pointless, Reset, Status, TimedOut, Unsent};
    for (fault, method, [off, safe, idempotent, all]) in [
        (Connect, "GET", ["Off: Safe", "again", "again", "again"]),
        (Connect, "POST", ["Off: Safe", "again", "again", "again"]),
        (Connect, "CONNECT", ["Off: Safe", "again", "again", "again"]),
        (Unsent, "POST", ["Off: Safe", "again", "again", "again"]),
        (
            Reset,
            "GET",
            ["Off: Idempotent", "NotSafe: Idempotent", "again", "again"],
        ),
        (
            Reset,
            "PUT",
            ["Off: All", "NotSafe: All", "MethodNotListed: All", "again"],
        ),
        (Reset, "POST", ["Off: All", "NotSafe: All", "NotSafe: All", "again"]),
        (
            TimedOut,
            "GET",
            ["Off: Idempotent", "NotSafe: Idempotent", "again", "again"],
        ),
        (TimedOut, "PATCH", ["Off: All", "NotSafe: All", "NotSafe: All", "again"]),
        (
            Status(503),
            "HEAD",
            ["Off: Idempotent", "NotSafe: Idempotent", "again", "again"],
        ),
        (
            Status(502),
            "POST",
            ["Off: All", "NotSafe: All", "NotSafe: All", "again"],
        ),
        (
            Status(500),
            "GET",
            ["Off", "ConditionNotListed", "ConditionNotListed", "ConditionNotListed"],
        ),
        (Status(429), "GET", ["fine", "fine", "fine", "fine"]),
        (Status(409), "GET", ["fine", "fine", "fine", "fine"]),
        (Status(200), "GET", ["fine", "fine", "fine", "fine"]),
        (Pointless, "GET", ["Off", "Pointless", "Pointless", "Pointless"]),
    ] {
        let levels = [Level::Off, Level::Safe, Level::Idempotent, Level::All];
        for (level, expected) in levels.into_iter().zip([off, safe, idempotent, all]) {
            assert_eq!(
                word(&at(level), &first(method, fault)),
                expected,
                "{level:?} {method} {fault:?}"
            );
        }
    }
}

#[test]
fn what_is_listed_is_retried_and_nothing_else() {
    let listing = |on: &str, fault: Fault| {
        let options = RetryOptions {
            level: Some(Level::Idempotent),
            on: Some(on.split(',').map(|name| name.parse().unwrap()).collect()),
            ..RetryOptions::default()
        };
        word(&built(options), &first("GET", fault))
    };
    for (on, fault, expected) in [
        ("500", Fault::Status(500), "again"),
        ("500", Fault::Status(503), "ConditionNotListed"),
        ("404", Fault::Status(404), "again"),
        ("retriable-4xx", Fault::Status(409), "again"),
        ("retriable-4xx", Fault::Status(404), "fine"),
        ("5xx", Fault::Status(599), "again"),
        ("5xx", Fault::Connect, "again"),
        ("5xx", Fault::Reset, "again"),
        ("gateway-error", Fault::Connect, "ConditionNotListed"),
        ("gateway-error", Fault::TimedOut, "again"),
        ("gateway-error,connect-failure", Fault::Connect, "again"),
        ("connect-failure", Fault::Reset, "ConditionNotListed"),
        ("reset-before-request", Fault::Unsent, "again"),
        ("reset-before-request", Fault::Reset, "ConditionNotListed"),
        ("reset", Fault::Unsent, "again"),
        ("reset", Fault::TimedOut, "again"),
        ("refused-stream", Fault::Connect, "ConditionNotListed"),
        ("rate-limited", Fault::Status(429), "fine"),
        ("429", Fault::Status(429), "again"),
        ("5xx", Fault::Pointless, "Pointless"),
    ] {
        assert_eq!(listing(on, fault), expected, "{on} {fault:?}");
    }
    assert!("301".parse::<Condition>().is_err() && "resets".parse::<Condition>().is_err());
}

#[test]
fn a_method_or_a_key_opens_the_level_idempotent() {
    let put = built(RetryOptions {
        level: Some(Level::Idempotent),
        methods: Some(vec!["PUT".to_owned()]),
        allow_non_idempotent_with: Some("Idempotency-Key".to_owned()),
        ..RetryOptions::default()
    });
    assert_eq!(word(&put, &first("PUT", Fault::Reset)), "again");
    assert_eq!(word(&put, &first("GET", Fault::Reset)), "MethodNotListed");
    let more = built(RetryOptions {
        level: Some(Level::Idempotent),
        methods: Some(vec!["default".to_owned(), "PUT".to_owned()]),
        ..RetryOptions::default()
    });
    assert_eq!(word(&more, &first("GET", Fault::Reset)), "again");
    assert_eq!(word(&more, &first("PUT", Fault::Reset)), "again");
    assert_eq!(word(&more, &first("POST", Fault::Reset)), "NotSafe: All");
    assert_eq!(word(&put, &first("POST", Fault::Reset)), "NotSafe");
    let keyed = Attempted {
        has_key: true,
        ..first("POST", Fault::Reset)
    };
    assert_eq!(word(&put, &keyed), "again");
    let only_post = built(RetryOptions {
        level: Some(Level::All),
        methods: Some(vec!["POST".to_owned()]),
        ..RetryOptions::default()
    });
    assert_eq!(word(&only_post, &first("POST", Fault::Reset)), "again");
    assert_eq!(word(&only_post, &first("GET", Fault::Reset)), "MethodNotListed");
    assert_eq!(word(&only_post, &first("GET", Fault::Connect)), "again");
}

#[test]
fn what_cannot_be_sent_again_is_not_and_attempts_end() {
    let retry = at(Level::Idempotent);
    let lost = Attempted {
        replayable: false,
        ..first("GET", Fault::Reset)
    };
    assert_eq!(word(&retry, &lost), "BodyTooLarge");
    for (retries, expected) in [(0, "again"), (1, "again"), (2, "AttemptsUsed"), (3, "AttemptsUsed")] {
        let attempted = Attempted {
            retries,
            ..first("GET", Fault::Reset)
        };
        assert_eq!(word(&retry, &attempted), expected, "{retries}");
    }
}

#[test]
fn waits_keep_to_the_time_that_is_left() {
    let millis = Duration::from_millis;
    let steady = |level, base: u64| {
        built(RetryOptions {
            level: Some(level),
            attempts: Some(100),
            backoff: BackoffOptions {
                base: Some(Period(millis(base))),
                jitter: Some(Jitter::None),
                ..BackoffOptions::default()
            },
            ..RetryOptions::default()
        })
    };
    let wait = |retry: &Retry, left: Option<u64>, waited| {
        retry.decide(&Attempted {
            left: left.map(millis),
            waited: millis(waited),
            ..first("GET", Fault::Connect)
        })
    };
    let after = |wait| Decision::After(millis(wait));
    let over = Decision::Leave(Why::TimeOver, None);
    let retry = steady(Level::Idempotent, 400);
    assert_eq!(wait(&retry, None, 99_999), after(400));
    assert_eq!(wait(&retry, Some(1_000), 0), after(400));
    assert_eq!(wait(&retry, Some(100), 0), after(50));
    assert_eq!(wait(&retry, Some(0), 0), over);
    // Two seconds in all for those who said nothing about it.
    let safe = at(Level::Safe);
    assert_eq!(wait(&safe, None, 1_990), after(10));
    assert_eq!(wait(&safe, None, 2_000), over);
    assert_eq!(wait(&steady(Level::Safe, 400), None, 2_000), after(400));
}

#[test]
fn a_server_may_ask_for_half_a_minute() {
    let retry = at(Level::Idempotent);
    let asked = |seconds: u64, left: Option<u64>, dice| {
        retry.decide(&Attempted {
            retry_after: Some(Duration::from_secs(seconds)),
            left: left.map(Duration::from_secs),
            dice,
            ..first("GET", Fault::Status(429))
        })
    };
    let too_long = Decision::Leave(Why::RetryAfterTooLong, None);
    assert_eq!(asked(0, None, 1.0), Decision::After(Duration::ZERO));
    assert_eq!(asked(30, None, 0.0), Decision::After(Duration::from_secs(30)));
    assert_eq!(asked(30, None, 1.0), Decision::After(Duration::from_secs(33)));
    assert_eq!(asked(31, None, 0.0), too_long);
    assert_eq!(asked(10, Some(11), 1.0), Decision::After(Duration::from_secs(11)));
    assert_eq!(asked(10, Some(10), 0.0), too_long);
    let deaf = built(RetryOptions {
        level: Some(Level::Idempotent),
        respect_retry_after: Some(false),
        ..RetryOptions::default()
    });
    let attempted = Attempted {
        retry_after: Some(Duration::from_secs(99)),
        ..first("GET", Fault::Status(503))
    };
    assert_eq!(deaf.decide(&attempted), Decision::After(Duration::from_millis(100)));
}

#[test]
fn a_wait_is_asked_for_in_seconds_or_by_a_date() {
    // Wed, 21 Oct 2015 07:28:00 GMT
    let now = Duration::from_mins(24_090_208);
    let date = "Wed, 21 Oct 2015 07:28:30 GMT";
    for (value, seconds) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        (date, Some(30)),
        ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", Some(30)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ] {
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(retry_after(value.as_bytes(), None, now), expected, "{value:?}");
    }
    assert_eq!(retry_after(b"99999999999999999999", None, now), Some(Duration::MAX));
    // By the server's clock, where it tells.
    let behind = Some(b"Wed, 21 Oct 2015 07:28:20 GMT".as_slice());
    assert_eq!(
        retry_after(date.as_bytes(), behind, Duration::ZERO),
        Some(Duration::from_secs(10))
    );
}

#[test]
fn what_is_not_said_follows_from_what_is() {
    let level = |attempts, on: Option<&str>| {
        built(RetryOptions {
            attempts,
            on: on.map(|on| vec![on.parse().unwrap()]),
            ..RetryOptions::default()
        })
        .level
    };
    assert_eq!(level(None, None), Level::Off);
    assert_eq!(level(Some(0), None), Level::Off);
    assert_eq!(level(Some(0), Some("503")), Level::Off);
    assert_eq!(level(Some(3), None), Level::Safe);
    assert_eq!(level(Some(3), Some("connect-failure")), Level::Safe);
    assert_eq!(level(None, Some("reset")), Level::Idempotent);
    assert_eq!(level(Some(3), Some("503")), Level::Idempotent);
    assert_eq!(at(Level::Safe).most, 2);
    assert_eq!(at(Level::Safe).buffer_limit, 65_536);
}

#[test]
fn what_contradicts_itself_is_a_mistake() {
    let problems = |options: RetryOptions| {
        let mut problems = Vec::new();
        options.build(&mut problems);
        problems.len()
    };
    let safe = || RetryOptions {
        level: Some(Level::Safe),
        ..RetryOptions::default()
    };
    for on in ["503", "5xx", "gateway-error", "retriable-4xx"] {
        let on = Some(vec![on.parse().unwrap()]);
        assert_eq!(problems(RetryOptions { on, ..safe() }), 1);
    }
    let on = Some(vec![Condition::Reset, Condition::GatewayError]);
    assert_eq!(problems(RetryOptions { on, ..safe() }), 0);
    let methods = |method: &str, level| RetryOptions {
        methods: Some(vec![method.to_owned()]),
        level: Some(level),
        ..RetryOptions::default()
    };
    assert_eq!(problems(methods("POST", Level::Idempotent)), 1);
    assert_eq!(problems(methods("POST", Level::All)), 0);
    assert_eq!(problems(methods("PUT", Level::Idempotent)), 0);
    let wrong = RetryOptions {
        attempts: Some(101),
        on: Some(Vec::new()),
        allow_non_idempotent_with: Some("a b".to_owned()),
        buffer_limit: Some(ByteSize(1 << 30)),
        ..RetryOptions::default()
    };
    assert_eq!(problems(wrong), 4);
}

#[test]
fn what_is_kept_is_bounded() {
    let kept = Kept::default();
    assert!(kept.reserve(KEPT_BYTES));
    assert!(!kept.reserve(1));
    kept.release(1);
    assert!(kept.reserve(1) && !kept.reserve(1));
}
