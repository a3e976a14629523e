//! Which route is chosen, and what holds then.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// The options that a table is.
fn options(table: &Value) -> Vec<RouteOptions> {
    serde_json::from_value(table.clone()).unwrap_or_else(|error| panic!("{table}: {error}"))
}

/// Routes for a run with a connect timeout of 5 s, and the problems with them.
fn built(table: &Value) -> (Option<Routes>, Vec<Problem>) {
    let weaker: RuleOptions = serde_json::from_value(json!({ "timeout": { "connect": "5s" } })).unwrap();
    let mut problems = Vec::new();
    let known = Known {
        environment: &[],
        allowed: &[],
        read: &|_| Err("there are no files".to_owned()),
        secrets: &Arc::default(),
    };
    let rules = Arc::new(weaker.build("default", None, &known, &mut problems));
    let routes = Routes::build(options(table), &weaker, &rules, &known, &mut problems);
    (routes, problems)
}

/// Routes without problems.
#[track_caller]
fn routes(table: &Value) -> Routes {
    let (routes, problems) = built(table);
    assert!(problems.is_empty(), "{problems:?}");
    routes.unwrap()
}

/// A GET.
fn get<'a>(host: &'a str, path: &'a str) -> Asked<'a> {
    Asked {
        scheme: "http",
        method: "GET",
        path: path.as_bytes(),
        ..Asked::tunnel(host, 80)
    }
}

#[test]
fn the_first_route_that_fits_counts() {
    let routes = routes(&json!([
        { "id": "exact", "match": { "host": "a.test", "path": "/v1/**" } },
        { "id": "glob", "match": { "host": "*.test", "path": "/v2" } },
        { "id": "both", "match": { "host": ["a.test", "b.test"] } },
        { "id": "later", "match": { "host": "a.test" } },
        { "id": "rest", "when": "request.port == 80" },
    ]));
    for (asked, id) in [
        (get("a.test", "/v1/x"), Some("exact")),
        (get("a.test", "/v2"), Some("glob")),
        (get("a.test", "/v3"), Some("both")),
        (get("b.test", "/v1/x"), Some("both")),
        (get("c.test", "/v2"), Some("glob")),
        (get("c.test", "/v3"), Some("rest")),
        (Asked::tunnel("a.test", 443), Some("both")),
        (Asked::tunnel("c.test", 443), None),
    ] {
        let found = routes.choose(&asked).and_then(|chosen| chosen.route);
        assert_eq!(
            found.map(|id| &**id),
            id,
            "{asked:?} {:?}",
            String::from_utf8_lossy(asked.path)
        );
        let by_hand = routes
            .as_slice()
            .iter()
            .find(|route| route.misfit(&Subject::of(&asked)).is_none());
        assert_eq!(by_hand.map(|route| &*route.id), id, "the explanation says the same");
    }
}

#[test]
fn a_route_overrides_what_it_says_and_nothing_else() {
    let routes = routes(&json!([
        { "match": { "host": "a" }, "timeout": { "connect": "1s" } },
        { "match": { "host": "b" } },
    ]));
    let connect = |host| routes.choose(&get(host, "/")).unwrap().rules.timeouts.connect;
    assert_eq!(connect("a"), Duration::from_secs(1));
    assert_eq!(connect("b"), Duration::from_secs(5));
    assert!(routes.choose(&get("c", "/")).is_none());
}

#[test]
fn tables_are_merged_key_by_key() {
    let weaker = json!({ "a": { "b": 1, "c": { "d": 2 } }, "e": [1], "f": 3 });
    let stronger = json!({ "a": { "c": { "d": 4, "g": 5 } }, "e": [2], "h": 6 });
    let merged = json!({ "a": { "b": 1, "c": { "d": 4, "g": 5 } }, "e": [2], "f": 3, "h": 6 });
    assert_eq!(over(&weaker, &stronger), merged);
}

#[test]
fn a_path_has_the_name_of_the_first_template_that_fits() {
    let routes = routes(&json!([{ "url-templates": ["/v1/charges/{id}", "/v1/{kind}/**"] }]));
    for (path, template) in [
        ("/v1/charges/7?x", Some("/v1/charges/{id}")),
        ("/v1/charges/7/refunds", Some("/v1/{kind}/**")),
        ("/v2", None),
    ] {
        let found = routes.choose(&get("a", path)).unwrap().url_template;
        assert_eq!(found.map(|template| &**template), template, "{path}");
    }
    assert!(routes.choose(&Asked::tunnel("a", 443)).unwrap().url_template.is_none());
}

#[test]
fn a_route_without_an_id_is_called_after_its_host() {
    let routes = routes(&json!([
        { "match": { "host": "a.test" } },
        { "match": { "host": "a.test", "path": "/x" } },
        { "match": { "host": ["a.test", "b.test"] } },
        { "id": "route-4" },
        { "match": { "host": "*.test:80" } },
        { "match": { "path": "/x" } },
    ]));
    let ids: Vec<&str> = routes.as_slice().iter().map(|route| &*route.id).collect();
    assert_eq!(
        ids,
        ["a.test", "a.test-2", "route-3", "route-4", "*.test:80", "route-6"]
    );
}

#[test]
fn what_is_wrong_with_a_route_has_its_place() {
    for (table, key, told) in [
        (json!([{ "id": "" }]), "route.0.id", "without white space"),
        (json!([{}, { "id": "a b" }]), "route.1.id", "without white space"),
        (json!([{ "id": "a" }, { "id": "a" }]), "route.1.id", "another route's"),
        (
            json!([{ "when": "request.hots == 'a'" }]),
            "route.0.when",
            "there is no `request.hots`",
        ),
        (
            json!([{}, { "timeout": { "connect": "0s" } }]),
            "route.1.timeout.connect",
            "at least 1ms",
        ),
    ] {
        let (_, problems) = built(&table);
        let [problem] = problems.as_slice() else {
            panic!("{table}: {problems:?}");
        };
        assert_eq!(problem.key.join("."), key);
        assert!(problem.reason.contains(told), "{table}: {problem:?}");
    }
}

#[test]
fn of_thousands_of_hosts_one_is_looked_at() {
    let many: Vec<Value> = (0..10_000)
        .map(|at| json!({ "match": { "host": format!("h{at}.test") } }))
        .collect();
    let routes = routes(&Value::from(many));
    assert_eq!(routes.others.len(), 0);
    assert_eq!(routes.by_host["h9999.test"], [9999]);
    assert_eq!(
        &**routes.choose(&get("h9999.test", "/")).unwrap().route.unwrap(),
        "h9999.test"
    );
}
