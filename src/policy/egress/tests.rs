use serde_json::{Value, json};

use super::*;
use crate::policy::Problem;

/// The options that a table is.
#[track_caller]
fn options(table: &Value) -> EgressOptions {
    serde_json::from_value(table.clone()).unwrap_or_else(|error| panic!("{table}: {error}"))
}

/// The rules that a table says.
#[track_caller]
fn rules(table: &Value) -> Egress {
    let options = options(table);
    let mut problems = Vec::new();
    let built = options.build(Background::default(), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    built.expect("there are rules")
}

/// A plain request.
fn get(host: &str, port: u16) -> Asked<'_> {
    Asked {
        scheme: "http",
        method: "GET",
        path: b"/",
        ..Asked::tunnel(host, port)
    }
}

/// What is said by the name: `allow`, `deny` with the rule, or `open`.
fn by_name(egress: &Egress, asked: &Asked<'_>) -> String {
    match egress.by_name(asked) {
        ByName::Open => "open".to_owned(),
        ByName::Decided(decision) => shown(&decision),
    }
}

/// A decision with what says so.
fn shown(decision: &Decision) -> String {
    let action = match decision.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    format!("{action} by {}", decision.rule)
}

#[test]
fn nothing_is_asked_where_nothing_is_said() {
    for (table, wanted) in [
        (json!({}), false),
        (json!({"mode": "audit"}), false),
        (json!({"mode": "off", "deny": ["a.test"]}), false),
        (json!({"deny": ["a.test"]}), true),
        (json!({"default": "deny"}), true),
        (json!({"mode": "enforce"}), true),
        (json!({"mode": "block"}), true),
    ] {
        assert_eq!(
            options(&table).build(Background::default(), &mut Vec::new()).is_some(),
            wanted,
            "{table}"
        );
    }
}

#[test]
fn what_no_rule_is_about_is_denied_unless_things_are_only_denied() {
    for (table, wanted) in [
        (json!({"mode": "enforce"}), "deny by default"),
        (json!({"allow": ["a.test"]}), "deny by default"),
        (json!({"deny": ["a.test"]}), "allow by default"),
        (json!({"deny": ["a.test"], "allow": ["b.test"]}), "deny by default"),
        (json!({"deny": ["a.test"], "default": "deny"}), "deny by default"),
        (json!({"allow": ["a.test"], "default": "allow"}), "allow by default"),
        (
            json!({"rule": [{"match": {"host": "a.test"}, "action": "deny"}]}),
            "allow by default",
        ),
        (
            json!({"rule": [{"match": {"host": "a.test"}, "action": "allow"}]}),
            "deny by default",
        ),
    ] {
        assert_eq!(by_name(&rules(&table), &get("c.test", 80)), wanted, "{table}");
    }
}

#[test]
fn deny_comes_before_the_rules_and_these_before_allow() {
    let egress = rules(
        &json!({"deny": ["both.test", "*.bad.test"], "allow": ["both.test", "only.test:443", "**.good.test"], "rule": [{"id": "first", "match": {"host": "x.good.test"}, "action": "deny"}, {"id": "second", "match": {"host": "x.good.test"}, "action": "allow"}, {"id": "third", "match": {"host": "a.bad.test"}, "action": "allow"}]}),
    );
    for (host, port, wanted) in [
        ("both.test", 80, "deny by deny both.test"),
        ("a.bad.test", 80, "deny by deny *.bad.test"),
        ("bad.test", 80, "deny by default"),
        ("x.good.test", 80, "deny by first"),
        ("a.b.good.test", 80, "allow by allow **.good.test"),
        ("only.test", 443, "allow by allow only.test:443"),
        ("only.test", 80, "deny by default"),
        ("onlyx.test", 443, "deny by default"),
    ] {
        assert_eq!(by_name(&egress, &get(host, port)), wanted, "{host}:{port}");
    }
}

#[test]
fn a_name_is_decided_by_what_it_leads_to_where_that_has_a_say() {
    let egress = rules(
        &json!({"deny": ["metadata", "10.0.0.0/8:22"], "allow": ["api.test", "192.168.0.0/16:5432"], "rule": [{"id": "lan", "match": {"host": "172.16.0.0/12", "method": "GET"}, "action": "allow"}]}),
    );
    assert_eq!(
        by_name(&egress, &get("metadata.google.internal", 80)),
        "deny by deny metadata"
    );
    for (host, port, address, wanted) in [
        ("api.test", 80, "93.184.216.34", "allow by allow api.test"),
        ("api.test", 80, "169.254.169.254", "deny by deny metadata"),
        ("api.test", 80, "::ffff:169.254.169.254", "deny by deny metadata"),
        ("api.test", 80, "64:ff9b::a9fe:a9fe", "deny by deny metadata"),
        ("api.test", 22, "10.1.2.3", "deny by deny 10.0.0.0/8:22"),
        ("api.test", 23, "10.1.2.3", "allow by allow api.test"),
        ("db.test", 5432, "192.168.7.7", "allow by allow 192.168.0.0/16:5432"),
        ("db.test", 5433, "192.168.7.7", "deny by default"),
        ("db.test", 80, "172.20.0.1", "allow by lan"),
        ("db.test", 80, "8.8.8.8", "deny by default"),
    ] {
        let asked = get(host, port);
        assert_eq!(by_name(&egress, &asked), "open", "{host}");
        let decision = egress.by_address(&asked, address.parse().expect("an address"));
        assert_eq!(shown(&decision), wanted, "{host}:{port} at {address}");
    }
}

#[test]
fn an_address_is_decided_at_once_in_every_spelling() {
    let egress = rules(&json!({"deny": ["loopback", "metadata"]}));
    for (host, wanted) in [
        ("127.0.0.1", "deny by deny loopback"),
        ("127.9.9.9", "deny by deny loopback"),
        ("0.0.0.0", "deny by deny loopback"),
        ("::", "deny by deny loopback"),
        ("::1", "deny by deny loopback"),
        ("::ffff:127.0.0.1", "deny by deny loopback"),
        ("::127.0.0.1", "deny by deny loopback"),
        ("64:ff9b::7f00:1", "deny by deny loopback"),
        ("2002:7f00:1::", "deny by deny loopback"),
        ("::ffff:a9fe:a9fe", "deny by deny metadata"),
        ("localhost", "deny by deny loopback"),
        ("a.localhost", "deny by deny loopback"),
        ("8.8.8.8", "allow by default"),
        ("2001:db8::1", "allow by default"),
        // What is no address to us may well be one to a resolver: its answer is looked at.
        ("2130706433", "open"),
        ("0x7f.1", "open"),
        ("0177.0.0.1", "open"),
    ] {
        assert_eq!(by_name(&egress, &get(host, 80)), wanted, "{host}");
    }
}

#[test]
fn names_are_not_looked_up_where_no_address_could_allow_them() {
    let egress = rules(&json!({"allow": ["api.test"], "mode": "enforce"}));
    assert_eq!(by_name(&egress, &get("c2.evil.test", 53)), "deny by default");
    assert_eq!(by_name(&egress, &get("api.test", 443)), "allow by allow api.test");
}

#[test]
fn rules_look_at_methods_paths_and_conditions() {
    let egress = rules(
        &json!({"rule": [{"id": "read-only", "match": {"host": "api.test", "method": ["GET", "HEAD"], "path": "/repos/**"}, "action": "allow"}, {"id": "no-http", "when": "request.scheme == 'http'", "action": "deny", "message": "use https"}, {"id": "rest", "match": {"host": "**.test"}, "action": "allow"}]}),
    );
    let asked = |scheme, method, path| Asked {
        scheme,
        method,
        path,
        ..get("api.test", 80)
    };
    for (scheme, method, path, wanted) in [
        ("http", "GET", &b"/repos/a"[..], "allow by read-only"),
        ("http", "POST", b"/repos/a", "deny by no-http"),
        ("https", "POST", b"/repos/a", "allow by rest"),
        ("http", "GET", b"/other", "deny by no-http"),
    ] {
        assert_eq!(by_name(&egress, &asked(scheme, method, path)), wanted, "{method}");
    }
    let ByName::Decided(decision) = egress.by_name(&asked("http", "POST", b"/")) else {
        panic!("names decide");
    };
    assert_eq!(decision.message.as_deref(), Some("use https"));
}

#[test]
fn a_condition_that_cannot_be_evaluated_denies_and_does_not_allow() {
    let egress = rules(
        &json!({"default": "allow", "rule": [{"id": "a", "when": "request.headers['x-a'] == '1'", "action": "allow"}, {"id": "d", "when": "request.headers['x-a'] == '1'", "action": "deny"}]}),
    );
    assert_eq!(by_name(&egress, &get("a.test", 80)), "deny by d");
}

#[test]
fn a_tunnel_is_let_go_for_what_may_be_in_it() {
    let egress = rules(
        &json!({"deny": ["bad.test"], "rule": [{"id": "read", "match": {"host": ["api.test", "bad.test"], "method": "GET"}, "action": "allow"}, {"id": "none", "match": {"host": "shut.test"}, "action": "deny"}, {"id": "late", "match": {"host": "shut.test", "method": "GET"}, "action": "allow"}]}),
    );
    for (host, some) in [
        ("api.test", true),
        ("bad.test", false),
        ("shut.test", false),
        ("else.test", false),
    ] {
        let asked = Asked::tunnel(host, 443);
        assert!(by_name(&egress, &asked).starts_with("deny"), "{host}");
        assert_eq!(egress.allows_some(&asked, None), some, "{host}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let options = options(
        &json!({"rule": [{"id": "a b", "action": "deny"}, {"id": "same", "action": "deny"}, {"id": "same", "action": "deny"}, {"id": "does-nothing"}, {"when": "request.hots", "action": "deny"}]}),
    );
    let mut problems: Vec<Problem> = Vec::new();
    options.build(Background::default(), &mut problems);
    let keys: Vec<String> = problems.iter().map(|problem| problem.key.join(".")).collect();
    assert_eq!(
        keys,
        [
            "egress.rule.0.id",
            "egress.rule.2.id",
            "egress.rule.3",
            "egress.rule.4.when"
        ]
    );
}

#[test]
fn what_holds_is_said_in_sentences() {
    let egress = rules(
        &json!({"mode": "enforce", "deny": ["metadata"], "allow": ["a.test", "b.test:443"], "rule": [{"action": "deny", "match": {"port": 25}}]}),
    );
    assert_eq!(
        egress.said(),
        [
            "what goes to metadata is refused",
            "the first rule that fits says what may go: rule-1",
            "what goes elsewhere than to a.test, b.test:443 is refused",
        ]
    );
}
