//! Requests that are changed on the way and signed in: a credential is for where a request goes in the end, and a signature
//! for what is sent.

use super::{
    super::support::{Upstream, ok},
    SECRETS, ask, get, proxy, resolve, trusted,
};

#[test]
fn a_header_that_is_a_secret_goes_to_the_hosts_of_the_secret_only() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let file = "[secret]\na = { env = 'A', hosts = 'api.test' }\n[headers]\nset = { X-Key = 'secret:a' }\n";
    let flags = [
        resolve("api.test", address),
        resolve("other.test", address),
        "--access-log=log.ndjson".to_owned(),
    ];
    let proxy = proxy(file, &flags.each_ref().map(String::as_str));
    get(&proxy, "api.test", address, "/", "X-Key: mine\r\n").assert_is(200, "");
    get(&proxy, "other.test", address, "/", "").assert_is(200, "");
    let requests = upstream.join();
    assert_eq!(requests[0].field("x-key"), Some("first-value"));
    assert_eq!(requests[1].field("x-key"), None);
    let records = proxy.end();
    records.assert_absent("first-value");
    assert_eq!(records.part("/edits/applied/headers.set.X-Key"), 1);
    assert_eq!(records.part("/totals/credentials/stand_ins"), 1);
    assert_eq!(records.part("/warnings").as_array().map(Vec::len), Some(0));
}

#[test]
fn a_secret_in_a_header_has_to_say_where_it_may_go() {
    for (value, table, wrong) in [
        ("secret:b", "headers", "name them in secret.b.hosts"),
        ("secret:c", "headers", "there is no secret of this name"),
        ("secret:a", "response-headers", "secrets are for headers of requests"),
    ] {
        let file = format!(
            "[secret]\na = {{ env = 'A', hosts = 'api.test' }}\nb = {{ env = 'B' }}\n[{table}]\nset = {{ X = '{value}' }}\n"
        );
        let outcome = trusted(&file, &[]).command(["true"]).status(125);
        assert!(outcome.stderr().contains(wrong), "{value}: {}", outcome.stderr());
    }
}

#[test]
fn a_credential_is_for_where_a_rewritten_request_goes() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let file = format!(
        "{SECRETS}[auth]\n'api.test' = {{ bearer = 'secret:a' }}\n\
        [[route]]\nmatch = {{ host = 'api.test' }}\nrewrite = {{ host = 'other.test' }}\n\
        [[route]]\nmatch = {{ host = 'old.test' }}\nrewrite = {{ host = 'api.test' }}\n"
    );
    let flags = ["api.test", "other.test"].map(|name| resolve(name, address));
    let proxy = proxy(&file, &flags.each_ref().map(String::as_str));
    get(&proxy, "api.test", address, "/", "").assert_is(200, "");
    get(&proxy, "old.test", address, "/", "").assert_is(200, "");
    let requests = upstream.join();
    assert_eq!(requests[0].field("authorization"), None);
    assert_eq!(requests[1].field("authorization"), Some("Bearer first-value"));
    proxy.end();
}

#[test]
fn a_signature_is_over_the_changed_body_and_path() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let signing = "hmac = { key = 'secret:a', header = 'X-Sum', template = '{method} {target} {body-sha256}' }";
    let file = format!(
        "{SECRETS}[[route]]\nmatch = {{ host = 'api.test', path = '/v1/**' }}\nauth = {{ {signing} }}\n\
        rewrite = {{ path-prefix = '/v2' }}\njson = {{ set = {{ '/team' = 'x' }} }}\n\
        [[route]]\nmatch = {{ host = 'api.test' }}\nauth = {{ {signing} }}\n"
    );
    let proxy = proxy(&file, &[&resolve("api.test", address)]);
    let json = "Content-Type: application/json\r\n";
    ask(&proxy, "POST", "api.test", address, "/v1/a", json, "{\"a\": 1}").assert_is(200, "");
    let changed = "{\"a\":1,\"team\":\"x\"}";
    ask(&proxy, "POST", "api.test", address, "/v2/a", json, changed).assert_is(200, "");
    let requests = upstream.join();
    assert_eq!(requests[0].body, changed.as_bytes());
    assert_eq!(requests[1].body, changed.as_bytes());
    assert!(requests[0].head().starts_with("POST /v2/a HTTP/1.1\r\n"));
    let sum = requests[0].field("x-sum");
    assert!(sum.is_some());
    assert_eq!(
        sum,
        requests[1].field("x-sum"),
        "what came in and what went out are signed alike"
    );
    proxy.end();
}
