use serde_json::{Value, json};

use super::*;
use crate::policy::{PolicyOptions, Surroundings, route::RouteOptions};

/// The credentials of all requests by a table `[auth]`, where the secrets `a` and `b` are, and what is wrong with it.
fn guard(table: Value) -> (Option<Arc<Guard>>, Vec<String>) {
    let options: AuthsOptions = serde_json::from_value(table).unwrap();
    let mut problems = Vec::new();
    let guard = Guard::build(options, &Arc::new(secrets(&[])), &mut problems);
    let problems = problems
        .into_iter()
        .map(|problem| format!("{}: {}", problem.key.join("."), problem.reason));
    (guard, problems.collect())
}

/// The secrets `a`, which goes to these hosts, and `b`.
fn secrets(hosts: &[&str]) -> BTreeMap<String, Binding> {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    let a = Binding::build(&[], Some(hosts), false, &mut Vec::new());
    BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), Binding::default())])
}

/// A place by TLS.
fn place(host: &str) -> Destination<'_> {
    Destination {
        host,
        port: 443,
        is_open: false,
    }
}

#[test]
fn a_credential_goes_to_its_host_and_nowhere_else() {
    let (guard, problems) = guard(json!({ "api.test": "secret:a", "*.cdn.test:443": { "bearer": "secret:b" } }));
    assert_eq!(problems, [""; 0]);
    let guard = guard.unwrap();
    let found = |place| guard.auth(place).unwrap().map(|auth| auth.secrets()[0].to_owned());
    assert_eq!(found(place("api.test")).as_deref(), Some("a"));
    assert_eq!(found(place("x.cdn.test")).as_deref(), Some("b"));
    for host in ["api.test.evil.test", "evil.test", "cdn.test", "a.x.cdn.test"] {
        assert_eq!(found(place(host)), None, "{host}");
    }
    let other_port = Destination {
        port: 444,
        ..place("x.cdn.test")
    };
    assert_eq!(found(other_port), None);
}

#[test]
fn the_most_particular_host_is_the_one() {
    let (guard, _) = guard(json!({ "*.test": "secret:a", "api.test": "secret:b" }));
    let guard = guard.unwrap();
    assert_eq!(guard.auth(place("api.test")).unwrap().unwrap().secrets(), ["b"]);
    assert_eq!(guard.auth(place("x.test")).unwrap().unwrap().secrets(), ["a"]);
}

#[test]
fn nothing_goes_where_others_can_read_it_unless_that_is_allowed() {
    let open = |host| Destination {
        is_open: true,
        ..place(host)
    };
    let (guard, _) =
        guard(json!({ "a.test": "secret:a", "b.test": { "bearer": "secret:b", "allow-plain-http": true } }));
    let guard = guard.unwrap();
    assert_eq!(guard.auth(open("a.test")), Err(Withheld::PlainHttp));
    assert!(guard.auth(open("b.test")).unwrap().is_some());
}

#[test]
fn a_secret_that_names_its_hosts_goes_to_no_other_whoever_uses_it() {
    let options: AuthsOptions = serde_json::from_value(json!({ "*.test": "secret:a" })).unwrap();
    let guard = Guard::build(options, &Arc::new(secrets(&["one.test"])), &mut Vec::new()).unwrap();
    assert!(guard.auth(place("one.test")).unwrap().is_some());
    assert_eq!(guard.auth(place("two.test")), Err(Withheld::OtherHost));
    assert!(guard.placeholders);
    assert_eq!(guard.may_stand_in("a", place("one.test")), Ok(()));
    assert_eq!(guard.may_stand_in("a", place("two.test")), Err(Withheld::OtherHost));
    // It does not say where it may go, and so it does not stand in for its name.
    assert_eq!(guard.may_stand_in("b", place("one.test")), Err(Withheld::OtherHost));
    assert_eq!(guard.may_stand_in("none", place("one.test")), Err(Withheld::OtherHost));
}

#[test]
fn what_a_token_is_got_for_goes_to_the_token_server_alone() {
    let table = json!({ "api.test": { "oauth2-client-credentials": {
        "token-url": "https://login.test/t", "client-id": "i", "client-secret": "secret:a"
    } } });
    let build = |hosts: &[&str]| {
        let options: AuthsOptions = serde_json::from_value(table.clone()).unwrap();
        Guard::build(options, &Arc::new(secrets(hosts)), &mut Vec::new()).unwrap()
    };
    assert!(build(&["login.test"]).auth(place("api.test")).unwrap().is_some());
    assert_eq!(build(&["api.test"]).auth(place("api.test")), Err(Withheld::OtherHost));
}

#[test]
fn nothing_configured_is_nothing_to_do() {
    assert_eq!(guard(json!({})), (None, Vec::new()));
}

#[track_caller]
fn check_refused(table: Value, reason: &str) {
    let shown = table.to_string();
    let (_, problems) = guard(table);
    assert!(
        problems.iter().any(|problem| problem.contains(reason)),
        "{shown}: {problems:?}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    check_refused(json!({ "*": "secret:a" }), "auth.*: a credential is for given hosts");
    check_refused(json!({ "a..b": "secret:a" }), "auth.a..b: `a..b` has two dots");
    check_refused(
        json!({ "h": "secret:c" }),
        "auth.h.bearer: there is no secret of this name; known are a, b",
    );
    check_refused(json!({ "h": {} }), "auth.h: it does not say how");
    check_refused(
        json!({ "h": { "bearer": "secret:a", "basic": { "user": "u", "password": "secret:a" } } }),
        "auth.h.basic: a request is signed in in one way: `bearer` is set, too",
    );
    check_refused(
        json!({ "h": { "bearer": "secret:a", "hosts": "x" } }),
        "auth.h.hosts: the entry's name",
    );
    check_refused(
        json!({ "h": { "basic": { "user": "u:v", "password": "secret:a" } } }),
        "auth.h.basic.user: a user's name has no colon",
    );
    check_refused(
        json!({ "h": { "header": { "name": "X Y", "value": "secret:a" } } }),
        "auth.h.header.name: this is no name of a header",
    );
    check_refused(
        json!({ "h": { "header": { "name": "Host", "value": "secret:a" } } }),
        "auth.h.header.name: this header says how the request is carried",
    );
    let token = |url: &str| json!({ "h": { "oauth2-client-credentials": { "token-url": url, "client-id": "i", "client-secret": "secret:a" } } });
    check_refused(
        token("http://auth.test/t"),
        "token-url: what proves who amb is does not go by plain http",
    );
    check_refused(
        token("auth.test/t"),
        "token-url: expected a URL that begins with https://",
    );
    check_refused(
        token("https://u:p@auth.test/t"),
        "token-url: the user and password of a URL",
    );
    assert_eq!(guard(token("http://127.0.0.1:80/t")).1, [""; 0]);
    check_refused(
        json!({ "h": { "hmac": { "key": "secret:a", "template": "{timestamp}" } } }),
        "hmac.template: the server cannot check {timestamp}",
    );
    check_refused(
        json!({ "h": { "aws-sigv4": { "service": "s3/", "region": "r", "access-key-id": "i", "secret-access-key": "secret:a" } } }),
        "aws-sigv4.service: this is no name of a service",
    );
}

#[test]
fn a_value_in_the_place_of_a_reference_is_not_repeated() {
    for table in [
        json!({ "h": "the-value-itself" }),
        json!({ "h": { "bearer": "the-value-itself" } }),
        json!({ "h": { "basic": { "user": "u", "password": "the-value-itself" } } }),
        json!({ "h": { "bearer": 123_456_789 } }),
    ] {
        let error = serde_json::from_value::<AuthsOptions>(table).unwrap_err().to_string();
        assert!(error.starts_with("expected secret:NAME"), "{error}");
    }
}

#[test]
fn the_auth_of_a_route_is_for_the_hosts_of_its_match() {
    let build = |route: Value| {
        let routes: Vec<RouteOptions> = serde_json::from_value(json!([route])).unwrap();
        let options = PolicyOptions {
            route: routes,
            secrets: secrets(&[]),
            ..PolicyOptions::default()
        };
        let mut problems = Vec::new();
        let surroundings = Surroundings {
            environment: &[],
            read: &|_| Err("there are no files".to_owned()),
            dice: (1, 1),
            keyed: Default::default,
        };
        let policy = options.build(&surroundings, &mut problems);
        (policy, problems)
    };
    let (policy, problems) = build(json!({ "match": { "host": "api.test", "path": "/v1/**" }, "auth": "secret:a" }));
    assert!(problems.is_empty() && policy.rules.guard.is_none(), "{problems:?}");
    let guard = policy.routes()[0].rules().guard.as_ref().unwrap();
    assert!(guard.auth(place("api.test")).unwrap().is_some());
    // As after a rewrite.
    assert_eq!(guard.auth(place("other.test")), Ok(None));

    for (route, reason) in [
        (
            json!({ "match": { "path": "/v1" }, "auth": "secret:a" }),
            "a credential is for given hosts: name them",
        ),
        (
            json!({ "match": { "host": "**" }, "auth": "secret:a" }),
            "`*` is every host",
        ),
        (
            json!({ "match": { "host": ["api.test", "0.0.0.0/0"] }, "auth": "secret:a" }),
            "`*` is every host",
        ),
    ] {
        let shown = route.to_string();
        let (_, problems) = build(route);
        assert!(
            problems.iter().any(|problem| problem.reason.contains(reason)),
            "{shown}: {problems:?}"
        );
        assert!(
            problems
                .iter()
                .all(|problem| problem.key[..3] == ["route", "0", "auth"]),
            "{problems:?}"
        );
    }
    let (policy, problems) = build(json!({ "when": "true", "auth": { "bearer": "secret:a", "hosts": ["x.test"] } }));
    assert!(problems.is_empty(), "{problems:?}");
    let guard = policy.routes()[0].rules().guard.as_ref().unwrap();
    assert!(guard.auth(place("x.test")).unwrap().is_some());
}
