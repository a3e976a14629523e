//! Which conditions hold, and what is said of those that are none.

use super::*;

/// A few header fields.
struct Head;

impl Fields for Head {
    fn first(&self, _name: &str) -> Option<&[u8]> {
        None
    }

    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in [("Accept", "text/html"), ("X-Team", "billing"), ("ACCEPT", "a/b")] {
            see(name.as_bytes(), value.as_bytes());
        }
    }
}

/// A request.
const ASKED: Asked<'static> = Asked {
    scheme: "http",
    method: "POST",
    host: "api.example.com",
    port: 8080,
    path: b"/v1/../v2/%41?limit=1",
    fields: &Head,
};

#[test]
fn a_condition_holds_or_does_not() {
    for (source, expected) in [
        ("true", Ok(true)),
        (
            "request.scheme == 'http' && !request.host.endsWith('.internal')",
            Ok(true),
        ),
        ("request.method in ['PUT', 'POST']", Ok(true)),
        ("request.port > 8000 && request.port < 9000", Ok(true)),
        ("request.port == '8080'", Ok(false)),
        ("request.path == '/v2/A'", Ok(true)),
        ("request.query == 'limit=1'", Ok(true)),
        ("request.host.matches('^api[.]')", Ok(true)),
        ("request.headers['x-team'] == 'billing'", Ok(true)),
        ("request.headers['accept'] == 'text/html, a/b'", Ok(true)),
        ("'x-team' in request.headers", Ok(true)),
        ("has(request.headers.accept)", Ok(true)),
        ("has(request.headers.none)", Ok(false)),
        ("request.headers.exists(name, name.startsWith('x-'))", Ok(true)),
        ("request.headers['none'] == 'x'", Err("there is no `none`")),
        ("request.headers['none'] == 'x' || request.port == 8080", Ok(true)),
        ("request.method == 'GET' ? true : request.port == 80", Ok(false)),
        ("size(request.host) == 15", Ok(true)),
        ("type(request.port) == int", Ok(true)),
    ] {
        let condition = Condition::compile(source).unwrap_or_else(|found| panic!("{source}: {found:?}"));
        let found = condition.evaluate(&Subject::of(&ASKED));
        assert_eq!(found, expected.map_err(str::to_owned), "{source}");
        assert_eq!(condition.holds(&Subject::of(&ASKED)), expected == Ok(true), "{source}");
    }
}

#[test]
fn a_tunnel_has_a_host_and_a_port() {
    let asked = Asked::tunnel("api.example.com", 443);
    for (source, expected) in [
        (
            "request.method == 'CONNECT' && request.host == 'api.example.com' && request.port == 443",
            true,
        ),
        (
            "request.scheme == '' && request.path == '' && request.query == ''",
            true,
        ),
        ("size(request.headers) == 0", true),
        ("request.scheme == 'http'", false),
    ] {
        let condition = Condition::compile(source).unwrap_or_else(|found| panic!("{source}: {found:?}"));
        assert_eq!(condition.evaluate(&Subject::of(&asked)), Ok(expected), "{source}");
    }
}

#[test]
fn what_can_never_hold_is_a_mistake_with_its_place() {
    for (source, place, told) in [
        (
            "request.hots == 'a'",
            "hots",
            "there is no `request.hots`; did you mean `request.host`?",
        ),
        ("'ü' == request.hots", "hots", "did you mean `request.host`?"),
        ("request.url == 'a'", "url", "known are request.method, request.scheme"),
        (
            "host == 'a'",
            "host",
            "there is no variable `host`; did you mean `request.host`?",
        ),
        (
            "reqest.host == 'a'",
            "reqest",
            "there is no variable `reqest`; did you mean `request`?",
        ),
        ("[1].all(x, y == x)", "y", "there is no variable `y`; known are request"),
        (
            "request.host.endswith('a')",
            "endswith",
            "there is no function `endswith`; did you mean `endsWith`?",
        ),
        ("has(request.hots)", "hots", "did you mean `request.host`?"),
        ("request.host = 'a'", "=", "did you mean `==`?"),
        ("request.host == ", "", "it breaks off"),
        ("request.host == 'a", "'", "is no condition"),
        ("", "", "is no condition"),
        ("request.host", "", "a condition is true or false, and this is a string"),
        ("1 + 1", "", "a condition is true or false, and this is a int"),
        ("request.port > '8000'", "", "`>` does not take int and string"),
        ("request.host.matches('(')", "", "matches"),
    ] {
        let mistakes = Condition::compile(source).expect_err(source);
        let [mistake] = mistakes.as_slice() else {
            panic!("{source}: {mistakes:?}");
        };
        assert!(mistake.reason.contains(told), "{source}: {mistake:?}");
        let found = mistake.place.clone().map_or("", |place| &source[place]);
        assert_eq!(found, place, "{source}: {mistake:?}");
    }
    let mistakes = Condition::compile("hots == path").expect_err("two mistakes");
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

#[test]
fn what_is_too_long_is_refused() {
    for (source, told) in [
        ("!".repeat(LONGEST - 4) + "true", None),
        ("!".repeat(LONGEST - 3) + "true", Some("at most 1024 bytes")),
        ("(".repeat(DEEPEST + 1), Some("32 parentheses deep")),
    ] {
        let found = Condition::compile(&source).map_err(|mistakes| mistakes[0].reason.clone());
        match (found, told) {
            (Ok(_), None) => {}
            (Err(reason), Some(told)) => assert!(reason.contains(told), "{reason} {source:.40}"),
            (found, _) => panic!("{found:?} {source:.40}"),
        }
    }
}

#[test]
fn no_text_makes_it_panic() {
    let parts = [
        "request",
        ".",
        "host",
        "headers",
        "[",
        "]",
        "(",
        ")",
        "'",
        "\"",
        "\\",
        "==",
        "=",
        "&&",
        "||",
        "!",
        "-",
        "1",
        "1e9",
        "0x",
        "u",
        "b",
        "r",
        "?",
        ":",
        "{",
        "}",
        ",",
        " ",
        "\n",
        "ü",
        "\u{0}",
        "in",
        "has",
        "all",
        "x",
        "true",
        "'a'",
        "//",
        "@",
        "`",
        "9223372036854775808",
    ];
    let mut seed = 0x5eed_u64;
    for _ in 0..2_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(parts[usize::try_from(seed >> 33).unwrap() % parts.len()]);
        }
        match Condition::compile(&text) {
            Ok(condition) => drop(condition.evaluate(&Subject::of(&ASKED))),
            Err(mistakes) => {
                assert!(!mistakes.is_empty(), "{text}");
                for place in mistakes.into_iter().filter_map(|mistake| mistake.place) {
                    assert!(text.get(place).is_some(), "{text}");
                }
            }
        }
    }
}
