//! Tokens that token servers give amb: got once, shared, got anew, and told of in the report.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    super::support::{Answer, Peer, Proxy, Records, Step, Upstream, ok},
    SECRETS, ask, get, proxy, resolve,
};

/// A reply with this status and JSON.
fn json(status: u16, body: &str) -> Vec<Step> {
    let response = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![Step::Read, Step::Send(response.into_bytes())]
}

/// A token.
fn token(token: &str) -> Vec<Step> {
    json(
        200,
        &format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#),
    )
}

/// An amb that signs in at `api.test` with a token of this server.
#[track_caller]
fn signing(server: &Upstream, api: &Upstream, more: &str, flags: &[&str]) -> Proxy {
    let file = format!(
        "{SECRETS}[auth]\n'api.test' = {{ oauth2-client-credentials = {{ token-url = '{}', client-id = 'me', \
         client-secret = 'secret:a'{more} }} }}\n",
        server.url("/token?x=1")
    );
    let resolve = resolve("api.test", api.address());
    let flags: Vec<&str> = flags.iter().copied().chain([resolve.as_str()]).collect();
    proxy(&file, &flags)
}

#[test]
fn a_token_is_got_once_and_goes_with_each_request() {
    let server = Upstream::script([token("token-number-1")]);
    let api = Upstream::script([ok(""), ok("")]);
    let proxy = signing(
        &server,
        &api,
        ", scope = ['a', 'b'], audience = 'c'",
        &["--summary=full", "-vv"],
    );
    for _ in 0..2 {
        get(&proxy, "api.test", api.address(), "/", "").assert_is(200, "");
    }
    let asked = server.join();
    assert!(
        asked[0].head().starts_with("POST /token?x=1 HTTP/1.1\r\n"),
        "{}",
        asked[0].head()
    );
    // "me:first-value".
    assert_eq!(asked[0].field("authorization"), Some("Basic bWU6Zmlyc3QtdmFsdWU="));
    assert_eq!(asked[0].body, b"grant_type=client_credentials&scope=a+b&audience=c");
    for request in api.join() {
        assert_eq!(request.field("authorization"), Some("Bearer token-number-1"));
    }
    let outcome = proxy.running.wait();
    let said = outcome.stderr();
    assert!(
        said.contains("    2 requests signed in by amb\n    1 request of amb's own for tokens, 0 failed\n"),
        "{said}"
    );
    assert!(
        !said.contains("token-number-1") && !said.contains("first-value"),
        "{said}"
    );
    let records = Records::of(outcome.report.unwrap());
    records.assert_exchanges(&[("ok", 2)]);
    records.assert_absent("token-number-1");
    assert_eq!(records.part("/totals/credentials/token_requests"), 1);
    assert_eq!(records.part("/totals/credentials/token_failures"), 0);
}

#[test]
fn the_proof_can_stand_in_the_body() {
    let server = Upstream::script([token("token-number-1")]);
    let api = Upstream::script([ok("")]);
    let proxy = signing(&server, &api, ", auth-style = 'body'", &[]);
    get(&proxy, "api.test", api.address(), "/", "").assert_is(200, "");
    let asked = server.join();
    assert_eq!(asked[0].field("authorization"), None);
    assert_eq!(
        asked[0].body,
        b"grant_type=client_credentials&client_id=me&client_secret=first-value"
    );
    drop(api.join());
    proxy.end();
}

#[test]
fn a_hundred_requests_at_once_ask_for_one_token() {
    const COUNT: usize = 100;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        drop(peer.until(b"\r\n\r\n"));
        counter.fetch_add(1, Ordering::SeqCst);
        let body = r#"{"access_token":"the-one-token"}"#;
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    });
    let api = Upstream::serve(|stream, _| {
        let mut peer = Peer::new(stream);
        while let Ok(head) = peer.until(b"\r\n\r\n") {
            let known = String::from_utf8_lossy(&head).contains("Authorization: Bearer the-one-token\r\n");
            let status = if known { "200 OK" } else { "403 Forbidden" };
            peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let proxy = signing(&server, &api, "", &["--threads=4"]);
    let together = Barrier::new(COUNT);
    thread::scope(|scope| {
        for _ in 0..COUNT {
            scope.spawn(|| {
                let mut client = proxy.connect();
                together.wait();
                let place = format!("api.test:{}", api.address().port());
                client.send(format!("GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\n\r\n"));
                client.answer().assert_is(200, "");
            });
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let records = proxy.end();
    records.assert_exchanges(&[("ok", 100)]);
    assert_eq!(records.part("/totals/credentials/token_requests"), 1);
}

#[test]
fn a_token_that_is_refused_is_got_anew_once_and_the_request_sent_again() {
    for (body, flags) in [("", &[][..]), ("hello", &[]), ("hello", &["--retries=2"])] {
        let server = Upstream::script([token("token-number-1"), token("token-number-2")]);
        let api = Upstream::script([json(401, "{}"), ok("well"), ok("again")]);
        let proxy = signing(&server, &api, "", flags);
        ask(&proxy, "POST", "api.test", api.address(), "/", "", body).assert_is(200, "well");
        get(&proxy, "api.test", api.address(), "/", "").assert_is(200, "again");
        let requests = api.join();
        let tokens: Vec<&str> = requests.iter().map(|it| it.field("authorization").unwrap()).collect();
        assert_eq!(
            tokens,
            [
                "Bearer token-number-1",
                "Bearer token-number-2",
                "Bearer token-number-2"
            ]
        );
        assert_eq!(
            (&*requests[0].body, &*requests[1].body),
            (body.as_bytes(), body.as_bytes())
        );
        drop(server.join());
        proxy.end().assert_exchanges(&[("ok", 2)]);
    }
}

#[test]
fn a_new_token_that_is_refused_too_is_the_servers_last_word() {
    let server = Upstream::script([token("token-number-1"), token("token-number-2")]);
    let api = Upstream::script([json(401, "no"), json(401, "still no")]);
    let proxy = signing(&server, &api, "", &[]);
    get(&proxy, "api.test", api.address(), "/", "").assert_is(401, "still no");
    drop((server.join(), api.join()));
    proxy.end();
}

/// What a request gets where the token server does this.
#[track_caller]
fn failing(reply: Vec<Step>, said: &str) {
    let server = Upstream::script([reply]);
    let api = Upstream::script([]);
    let proxy = signing(&server, &api, "", &[]);
    for _ in 0..3 {
        // The second and third do not ask again at once.
        let answer: Answer = get(&proxy, "api.test", api.address(), "/", "");
        answer.assert_own(502, "destination_unavailable");
        let body: serde_json::Value = serde_json::from_str(&answer.body()).unwrap();
        assert_eq!(body["type"], "urn:amb:error:token_unavailable");
        assert_eq!(body["blame"], "upstream");
        let detail = body["detail"].as_str().unwrap();
        let expected = format!("no token from {}: {said}", server.address());
        assert!(detail.starts_with(&expected), "{detail}");
        assert!(!detail.contains("first-value"), "{detail}");
    }
    drop((server.join(), api.join()));
    let records = proxy.end();
    records.assert_exchanges(&[("failed", 3)]);
    assert_eq!(records.part("/totals/credentials/token_failures"), 1);
    assert_eq!(records.part("/failures/0/error_type"), "token_unavailable");
}

#[test]
fn a_token_server_that_fails_is_to_blame_and_is_left_alone_for_a_moment() {
    failing(
        json(
            401,
            r#"{"error":"invalid_client","error_description":"not first-value"}"#,
        ),
        "it answered 401: invalid_client, not ***",
    );
    failing(json(200, "{}"), "there is no access_token in its answer");
    failing(json(500, "<html>"), "it answered 500");
    failing(vec![Step::Read, Step::Close], "");
}
