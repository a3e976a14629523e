//! Requests are signed in where somebody has said so, and nowhere else.

use amb::policy::auth::sigv4;

use super::{
    super::support::{
        Step, Upstream, ok,
        secure::{self, Scene},
    },
    SECRETS, ask, get, proxy, resolve,
};

/// The value of a field of the only request that came, for a request by this `auth` to `api.test`.
#[track_caller]
fn check(auth: &str, field: &str, value: Option<&str>) {
    let upstream = Upstream::script([ok("")]);
    let address = upstream.address();
    let file = format!("{SECRETS}[auth]\n'api.test' = {auth}\n");
    let proxy = proxy(&file, &[&resolve("api.test", address)]);
    get(&proxy, "api.test", address, "/p?q=1", "").assert_is(200, "");
    assert_eq!(upstream.join()[0].field(field), value, "{auth}");
    let records = proxy.end();
    assert_eq!(records.part("/totals/credentials/signed_in"), 1, "{auth}");
}

#[test]
fn each_way_to_sign_in_puts_its_credential_where_it_belongs() {
    check("'secret:a'", "authorization", Some("Bearer first-value"));
    check("{ bearer = 'secret:b' }", "authorization", Some("Bearer second-value"));
    // "me:first-value" in base64.
    check(
        "{ basic = { user = 'me', password = 'secret:a' } }",
        "authorization",
        Some("Basic bWU6Zmlyc3QtdmFsdWU="),
    );
    check(
        "{ basic = { user = 'secret:b', password = 'secret:a' } }",
        "authorization",
        Some("Basic c2Vjb25kLXZhbHVlOmZpcnN0LXZhbHVl"),
    );
    check(
        "{ header = { name = 'X-Api-Key', value = 'secret:a' } }",
        "x-api-key",
        Some("first-value"),
    );
    check(
        "{ header = { name = 'Authorization', value = 'secret:a', prefix = 'Token ' } }",
        "authorization",
        Some("Token first-value"),
    );
    check(
        "{ hmac = { key = 'secret:a', template = '{method} {target}', encoding = 'base64', prefix = 'v1=' } }",
        "x-signature",
        Some("v1=sHUMtV+Eo3BQbuQzNo2MOLr6REOAgrDYv3s7BGNQTk4="),
    );
}

#[test]
fn a_parameter_of_the_query_is_set_and_written_down_nowhere() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let file = format!("{SECRETS}[auth]\n'api.test' = {{ query = {{ name = 'key', value = 'secret:a' }} }}\n");
    let proxy = proxy(&file, &[&resolve("api.test", address), "--access-log=log.ndjson"]);
    get(&proxy, "api.test", address, "/p", "").assert_is(200, "");
    get(&proxy, "api.test", address, "/p?key=own&b=1", "").assert_is(200, "");
    let requests = upstream.join();
    assert!(requests[0].head().starts_with("GET /p?key=first-value HTTP/1.1\r\n"));
    assert!(
        requests[1]
            .head()
            .starts_with("GET /p?b=1&key=first-value HTTP/1.1\r\n")
    );
    proxy.end().assert_absent("first-value");
}

#[test]
fn the_flag_signs_in_as_bearer() {
    let upstream = Upstream::script([ok("")]);
    let address = upstream.address();
    let proxy = proxy(SECRETS, &[&resolve("api.test", address), "--auth=*.test=secret:a"]);
    get(&proxy, "api.test", address, "/", "").assert_is(200, "");
    assert_eq!(upstream.join()[0].field("authorization"), Some("Bearer first-value"));
    proxy.end();
}

#[test]
fn no_other_host_gets_a_credential_not_even_behind_a_redirect() {
    let upstream = Upstream::script([ok(""), ok(""), ok("")]);
    let address = upstream.address();
    let file = format!("{SECRETS}[auth]\n'api.test' = 'secret:a'\n");
    let hosts = ["api.test", "other.test", "api.test.evil.test"];
    let flags = hosts.map(|host| resolve(host, address));
    let proxy = proxy(&file, &flags.each_ref().map(String::as_str));
    for host in hosts {
        get(&proxy, host, address, "/", "").assert_is(200, "");
    }
    let requests = upstream.join();
    assert_eq!(requests[0].field("authorization"), Some("Bearer first-value"));
    for request in &requests[1..] {
        assert_eq!(request.field("authorization"), None, "{}", request.head());
    }
    proxy.end();
}

#[test]
fn a_route_signs_in_its_own_requests_only() {
    let upstream = Upstream::script([ok(""), ok(""), ok("")]);
    let address = upstream.address();
    let file = format!(
        "{SECRETS}[auth]\n'*.test' = 'secret:a'\n\
         [[route]]\nmatch = {{ host = 'api.test', path = '/v2/**' }}\nauth = 'secret:b'\n\
         [[route]]\nmatch = {{ host = 'api.test', path = '/v3/**' }}\ntimeout = {{ connect = '3s' }}\n"
    );
    let proxy = proxy(&file, &[&resolve("api.test", address)]);
    for path in ["/v1/", "/v2/x", "/v3/x"] {
        get(&proxy, "api.test", address, path, "").assert_is(200, "");
    }
    let found: Vec<_> = upstream
        .join()
        .iter()
        .map(|it| it.field("authorization").map(ToOwned::to_owned))
        .collect();
    let found: Vec<_> = found.iter().map(|it| it.as_deref().unwrap()).collect();
    assert_eq!(
        found,
        ["Bearer first-value", "Bearer second-value", "Bearer first-value"]
    );
    proxy.end();
}

#[test]
fn what_the_application_signs_in_with_gives_way_unless_it_is_to_stay() {
    for (overrides, lines, expected) in [
        (
            "",
            "Authorization: Bearer own\r\nAuthorization: Basic b\r\n",
            "Bearer first-value",
        ),
        (", override = false", "Authorization: Bearer own\r\n", "Bearer own"),
        (", override = false", "", "Bearer first-value"),
    ] {
        let upstream = Upstream::script([ok("")]);
        let address = upstream.address();
        let file = format!("{SECRETS}[auth]\n'api.test' = {{ bearer = 'secret:a'{overrides} }}\n");
        let proxy = proxy(&file, &[&resolve("api.test", address)]);
        get(&proxy, "api.test", address, "/", lines).assert_is(200, "");
        let requests = upstream.join();
        assert_eq!(requests[0].field("authorization"), Some(expected));
        assert_eq!(requests[0].head().to_lowercase().matches("authorization:").count(), 1);
        proxy.end();
    }
}

/// A request for a name that is reached by plain http through a parent proxy, so that it leaves the machine.
#[track_caller]
fn by_plain_http(auth: &str) -> (Option<String>, serde_json::Value) {
    let parent = Upstream::script([ok("")]);
    let file = format!("{SECRETS}[auth]\n'api.test' = {auth}\n");
    let proxy = proxy(&file, &[&format!("--upstream-proxy=http://{}", parent.address())]);
    let answer = proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    answer.assert_is(200, "");
    let found = parent.join()[0].field("authorization").map(ToOwned::to_owned);
    (found, proxy.end().report().clone())
}

#[test]
fn a_credential_does_not_go_by_plain_http_unless_that_is_allowed() {
    let (found, report) = by_plain_http("'secret:a'");
    assert_eq!(found, None);
    assert_eq!(report["totals"]["credentials"]["withheld"], 1);
    let warning = &report["warnings"][0];
    assert_eq!(warning["code"], "credential_withheld", "{report}");
    let said = warning["message"].as_str().unwrap();
    assert!(
        said.starts_with("1 request to api.test went without their credential"),
        "{said}"
    );

    let (found, report) = by_plain_http("{ bearer = 'secret:a', allow-plain-http = true }");
    assert_eq!(found.as_deref(), Some("Bearer first-value"));
    assert_eq!(report["totals"]["credentials"]["withheld"], 0);
}

#[test]
fn a_credential_goes_by_tls_where_that_is_decrypted() {
    let scene = Scene::prepared(|_, directory| {
        let file = directory.join("amb.toml");
        let text = "[secret]\na = { command = ['echo', 'printed-value'] }\n[auth]\n'127.0.0.1' = 'secret:a'\n";
        std::fs::write(&file, text).unwrap();
        vec!["--intercept=*".to_owned(), format!("--config={}", file.display())]
    });
    let server = secure::serve(scene.root.server("127.0.0.1").config(), |mut peer, _| {
        let head = peer.until(b"\r\n\r\n").unwrap();
        let said = String::from_utf8_lossy(&head).contains("Authorization: Bearer printed-value\r\n");
        let body = if said { "signed in" } else { "who?" };
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    });
    let mut client = scene.client(&server, "127.0.0.1");
    client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()));
    client.answer().assert_is(200, "signed in");
    // Another name behind the same address is another server.
    let mut client = scene.client(&server, "127.0.0.1");
    client.send("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    client.answer().assert_is(200, "who?");
    drop(client);
    let records = scene.proxy.end();
    assert_eq!(records.part("/totals/credentials/withheld"), 1);
}

#[test]
fn a_body_is_signed_as_a_whole_and_sent_as_it_came() {
    let auth = "{ hmac = { key = 'secret:a', header = 'X-Sum' } }";
    let upstream = Upstream::script([ok(""), ok(""), ok(""), ok("")]);
    let address = upstream.address();
    let file = format!("{SECRETS}[retry]\nbuffer-limit = '1KiB'\n[auth]\n'api.test' = {auth}\n");
    let proxy = proxy(&file, &[&resolve("api.test", address)]);
    ask(&proxy, "POST", "api.test", address, "/", "", "hello").assert_is(200, "");
    get(&proxy, "api.test", address, "/", "").assert_is(200, "");
    let chunks = "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-T: 1\r\n\r\n";
    let place = format!("api.test:{}", address.port());
    let head = format!("POST http://{place}/ HTTP/1.1\r\nHost: {place}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut client = proxy.connect();
    client.send(head).dribble(chunks);
    client.answer().assert_is(200, "");
    // A client that waits for its turn gets it from amb.
    let mut client = proxy.connect();
    client.send(format!(
        "POST http://{place}/ HTTP/1.1\r\nHost: {place}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    ));
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 100 "));
    client.send("hello");
    client.answer().assert_is(200, "");
    let requests = upstream.join();
    let sum = |at: usize| requests[at].field("x-sum").unwrap().to_owned();
    assert_eq!((sum(0), sum(0)), (sum(2), sum(3)));
    assert_ne!(sum(0), sum(1));
    assert_eq!(requests[0].body, b"hello");
    assert_eq!(requests[2].body, chunks.as_bytes());
    assert_eq!(requests[3].field("expect"), None);

    let large = "x".repeat(1025);
    let answer = ask(&proxy, "POST", "api.test", address, "/", "", &large);
    answer.assert_own(413, "http_request_denied");
    assert!(
        answer.body().contains("larger than 1 KiB, which is retry.buffer-limit"),
        "{}",
        answer.body()
    );
    let mut client = proxy.connect();
    client.send(format!(
        "POST http://{place}/ HTTP/1.1\r\nHost: {place}\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n{large}\r\n"
    ));
    client.answer().assert_own(413, "http_request_denied");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 4), ("denied", 2)]);
}

#[test]
fn aws_gets_the_signature_of_what_it_gets() {
    let upstream = Upstream::script([ok(""), ok("")]);
    let address = upstream.address();
    let auth = |service: &str| {
        format!(
            "{{ aws-sigv4 = {{ service = '{service}', region = 'eu-central-1', access-key-id = 'AKID', \
             secret-access-key = 'secret:a', session-token = 'secret:b' }} }}"
        )
    };
    let file = format!(
        "{SECRETS}[auth]\n'api.test' = {}\n's3.test' = {}\n",
        auth("execute-api"),
        auth("s3")
    );
    let proxy = proxy(&file, &[&resolve("api.test", address), &resolve("s3.test", address)]);
    let own = "Authorization: AWS4-HMAC-SHA256 Credential=dummy\r\nX-Amz-Date: 20000101T000000Z\r\nContent-Type: text/plain\r\n";
    for (host, straightens) in [("api.test", true), ("s3.test", false)] {
        ask(&proxy, "PUT", host, address, "/a%20b?z=1&a=2", own, "hello").assert_is(200, "");
        let requests = upstream.requests();
        let request = requests.last().unwrap();
        let field = |name: &str| {
            request
                .field(name)
                .unwrap_or_else(|| panic!("no {name}: {}", request.head()))
        };
        assert_eq!(field("x-amz-security-token"), "second-value");
        let payload = sigv4::payload(b"hello");
        let mut names = vec!["host", "content-type", "x-amz-date", "x-amz-security-token"];
        if host == "s3.test" {
            assert_eq!(field("x-amz-content-sha256"), payload);
            names.push("x-amz-content-sha256");
        }
        let fields: Vec<(&[u8], &[u8])> = names
            .iter()
            .map(|name| (name.as_bytes(), field(name).as_bytes()))
            .collect();
        let subject = sigv4::Subject {
            method: "PUT",
            target: b"/a%20b?z=1&a=2",
            fields: &fields,
            payload: &payload,
            time: field("x-amz-date"),
            straightens,
        };
        let service = if straightens { "execute-api" } else { "s3" };
        let expected = sigv4::authorization(&subject, b"AKID", b"first-value", "eu-central-1", service);
        assert_eq!(field("authorization").as_bytes(), expected, "{host}");
        assert_ne!(field("x-amz-date"), "20000101T000000Z");
    }
    drop(upstream.join());
    proxy.end();
}

#[test]
fn a_secret_that_no_header_can_hold_ends_in_a_clear_error() {
    let upstream = Upstream::script([]);
    let address = upstream.address();
    let file = "[secret]\na = { command = ['printf', 'one-line\\ntwo-lines'] }\n[auth]\n'api.test' = 'secret:a'\n";
    let proxy = proxy(file, &[&resolve("api.test", address)]);
    let answer = get(&proxy, "api.test", address, "/", "");
    answer.assert_own(502, "proxy_configuration_error");
    assert!(answer.body().contains("control characters") && !answer.body().contains("one-line"));
    proxy.end();
}

#[test]
fn a_trace_goes_without_what_would_come_back_with_it() {
    let upstream = Upstream::script([ok("")]);
    let address = upstream.address();
    let file = "[secret]\na = { env = 'A', hosts = 'api.test' }\n[auth]\n'api.test' = 'secret:a'\n";
    let proxy = proxy(file, &[&resolve("api.test", address)]);
    ask(&proxy, "TRACE", "api.test", address, "/", "X: amb-secret:a\r\n", "").assert_is(200, "");
    let requests = upstream.join();
    assert_eq!(
        (requests[0].field("authorization"), requests[0].field("x")),
        (None, Some("amb-secret:a"))
    );
    proxy.end();
}

#[test]
fn requests_without_a_credential_pass_as_they_came() {
    let upstream = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ]]);
    let address = upstream.address();
    let file = format!("{SECRETS}[auth]\n'api.test' = 'secret:a'\n");
    let proxy = proxy(&file, &[&resolve("x.test", address), "--no-via"]);
    let place = format!("x.test:{}", address.port());
    let lines = "x-a:  1\r\nAUTHORIZATION: own\r\nCookie: a=amb-secret:a\r\n";
    get(&proxy, "x.test", address, "/p", lines).assert_is(204, "");
    let requests = upstream.join();
    assert_eq!(
        requests[0].head(),
        format!("GET /p HTTP/1.1\r\nHost: {place}\r\n{lines}\r\n")
    );
    assert_eq!(proxy.end().report()["totals"].get("credentials"), None);
}
