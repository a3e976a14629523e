//! The application writes the name of a secret, and only the server that it is for reads the secret.

use super::{
    super::support::{Upstream, ok},
    get, proxy, resolve,
};

/// Two secrets, one of which says where it may go.
const BOUND: &str = "[secret]\na = { env = 'A', hosts = 'api.test' }\nb = { env = 'B' }\n";

#[test]
fn a_name_is_replaced_in_headers_query_and_basic_passwords() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let proxy = proxy(BOUND, &[&resolve("api.test", address), "--access-log=log.ndjson"]);
    // "me:amb-secret:a" in base64.
    let lines = "Authorization: Basic bWU6YW1iLXNlY3JldDph\r\nX-Key: k=amb-secret:a;\r\nX-B: amb-secret:b\r\n";
    get(
        &proxy,
        "api.test",
        address,
        "/p/amb-secret:a?k=amb-secret%3Aa&l=1",
        lines,
    )
    .assert_is(200, "");
    get(&proxy, "api.test", address, "/?k=amb-secret:a", "").assert_is(200, "");
    let requests = upstream.join();
    let head = requests[0].head();
    assert!(
        head.starts_with("GET /p/amb-secret:a?k=first-value&l=1 HTTP/1.1\r\n"),
        "{head}"
    );
    // "me:first-value".
    assert_eq!(requests[0].field("authorization"), Some("Basic bWU6Zmlyc3QtdmFsdWU="));
    assert_eq!(requests[0].field("x-key"), Some("k=first-value;"));
    assert_eq!(
        requests[0].field("x-b"),
        Some("amb-secret:b"),
        "it does not say where it may go"
    );
    assert!(requests[1].head().starts_with("GET /?k=first-value HTTP/1.1\r\n"));
    let records = proxy.end();
    records.assert_absent("first-value");
    assert_eq!(records.part("/totals/credentials/stand_ins"), 4);
    assert_eq!(records.part("/totals/credentials/withheld"), 1);
}

#[test]
fn to_another_host_the_name_goes_as_it_is_and_a_warning_counts_it() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let proxy = proxy(BOUND, &[&resolve("other.test", address)]);
    for _ in 0..2 {
        get(
            &proxy,
            "other.test",
            address,
            "/",
            "Authorization: Bearer amb-secret:a\r\n",
        )
        .assert_is(200, "");
    }
    for request in upstream.join() {
        assert_eq!(request.field("authorization"), Some("Bearer amb-secret:a"));
    }
    let records = proxy.end();
    let said = records.part("/warnings/0/message").as_str().unwrap();
    assert_eq!(
        said,
        "2 requests to other.test went without a secret that is not for that host"
    );
}

#[test]
fn what_is_no_name_of_a_secret_stays() {
    let upstream = Upstream::script([ok("")]);
    let address = upstream.address();
    let proxy = proxy(BOUND, &[&resolve("api.test", address)]);
    let lines = "X-A: amb-secret\r\nX-B: amb-secret:\r\nX-C: amb-secret:none\r\nAuthorization: Basic !!!\r\n";
    get(&proxy, "api.test", address, "/?amb-secret", lines).assert_is(200, "");
    let requests = upstream.join();
    assert!(requests[0].head().contains(lines), "{}", requests[0].head());
    proxy.end();
}
