//! Fields that are set, added and removed.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{answering, got, lead, proxy, record, run};
use crate::support::{
    Amb, Peer, Proxy, Upstream,
    secure::{Scene, serve},
    status,
};

#[test]
fn fields_of_requests_change_and_all_others_stay_to_the_byte() {
    let server = Upstream::script([answering("HTTP/1.1 204 No Content\r\n\r\n")]);
    let file = "[headers]\nvia = false\nremove = ['cookie', 'X-Gone']\nadd = { Accept = 'text/*' }\n\
        [headers.set]\nX-Team = 'billing'\nuser-agent = 'amb'\n";
    let proxy = proxy(file, &[&lead("api.test", server.address())]);
    proxy.ask(
        "GET http://api.test/a HTTP/1.1\r\nHost:   api.test\r\nUSER-agent: one\r\nCookie: a=b\r\nX-odd:\t x  y \r\n\
         Accept: */*\r\nUser-Agent: two\r\nCOOKIE: c\r\n\r\n",
    );
    assert_eq!(
        got(server),
        "GET /a HTTP/1.1\r\nHost:   api.test\r\nUSER-agent: amb\r\nX-odd:\t x  y \r\nAccept: */*\r\n\
         X-Team: billing\r\nAccept: text/*\r\n\r\n"
    );
    let records = proxy.end();
    assert_eq!(
        records.part("/edits"),
        &json!({
            "exchanges": 1,
            "applied": {
                "headers.add.Accept": 1,
                "headers.remove.cookie": 1,
                "headers.set.X-Team": 1,
                "headers.set.user-agent": 1,
            },
            "unedited": {},
        })
    );
}

#[test]
fn fields_of_responses_change_and_all_others_stay_to_the_byte() {
    let answer =
        "HTTP/1.1 200 Fine  indeed\r\nserver:old\r\nX-Powered-By: x\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nhi";
    let server = Upstream::script([answering(answer)]);
    let file = "headers.via = false\n[response-headers]\nremove = ['X-Powered-By']\nset = { Server = 'new' }\n\
        add = { Set-Cookie = 'run=${run.id}' }\n";
    let proxy = proxy(file, &["--no-via", &lead("api.test", server.address())]);
    let answer = proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let records = proxy.end();
    let run = records.part("/run/id").as_str().unwrap();
    assert_eq!(
        answer.head(),
        format!(
            "HTTP/1.1 200 Fine  indeed\r\nserver: new\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\nSet-Cookie: run={run}\r\n\r\n"
        )
    );
    assert_eq!(answer.body(), "hi");
    assert_eq!(got(server), "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
}

#[test]
fn a_flag_sets_a_field_from_a_file_and_by_placeholders() {
    let server = Upstream::script([status(200)]);
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("log");
    let flags = [
        "--no-via",
        "-H",
        "Authorization: @token",
        "--header=X-Request: ${request.id}/${env.TEAM}/$$",
        "--set=headers.env=[\"TEAM\"]",
        "--access-log",
        log.to_str().unwrap(),
        &lead("api.test", server.address()),
    ];
    let run = run("", &flags).env("TEAM", "billing");
    std::fs::write(run.home().join("token"), "Bearer s3cret\n").unwrap();
    let proxy = Proxy::of(run);
    proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let outcome = proxy.running.wait();
    let id = record(&log)["amb.request_id"].as_str().unwrap().to_owned();
    let run = outcome.report.as_ref().unwrap()["run"]["id"].as_str().unwrap();
    assert_eq!(id, format!("{run}-1"));
    assert_eq!(
        got(server),
        format!(
            "GET / HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer s3cret\r\nX-Request: {id}/billing/$\r\n\r\n"
        )
    );
    assert_eq!(
        record(&log)["amb.edits"],
        "headers.set.Authorization,headers.set.X-Request"
    );
    let all = format!("{}{}", outcome.stderr(), outcome.report.as_ref().unwrap());
    assert!(!all.contains("s3cret"), "{all}");
}

#[test]
fn a_route_lies_over_what_holds_for_all_whatever_the_case_of_names() {
    let server = Upstream::script([status(200), status(200)]);
    let file = "[headers]\nvia = false\nset = { X-Team = 'all', X-All = '1' }\nremove = ['X-A']\n\
        [[route]]\nmatch = { path = '/r' }\nheaders = { set = { x-team = 'route' }, remove = ['X-B'] }\n";
    let proxy = proxy(file, &[&lead("api.test", server.address())]);
    for path in ["/", "/r"] {
        proxy.ask(format!(
            "GET http://api.test{path} HTTP/1.1\r\nHost: api.test\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
        ));
    }
    let requests = server.join();
    assert_eq!(
        requests[0].head(),
        "GET / HTTP/1.1\r\nHost: api.test\r\nX-B: 2\r\nX-All: 1\r\nX-Team: all\r\n\r\n"
    );
    assert_eq!(
        requests[1].head(),
        "GET /r HTTP/1.1\r\nHost: api.test\r\nX-A: 1\r\nX-All: 1\r\nx-team: route\r\n\r\n"
    );
    proxy.end();
}

#[test]
fn a_retry_sends_the_changed_request_again() {
    let server = Upstream::script([status(503), status(200)]);
    let flags = [
        "--no-via",
        "--retries=1",
        "--retry=idempotent",
        "-H",
        "X-Id: ${request.id}",
        "--set=headers.add={X-More=\"1\"}",
        &lead("api.test", server.address()),
    ];
    let proxy = proxy("", &flags);
    let answer = proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let requests = server.join();
    assert_eq!(requests[0].head, requests[1].head);
    let records = proxy.end();
    let run = records.part("/run/id").as_str().unwrap();
    assert_eq!(
        requests[0].head(),
        format!("GET / HTTP/1.1\r\nHost: api.test\r\nX-Id: {run}-1\r\nX-More: 1\r\n\r\n")
    );
    assert_eq!(records.part("/edits/exchanges"), 1);
}

#[test]
fn a_hedge_is_the_changed_request_too() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let server = Upstream::serve(move |stream, _| {
        let mut peer = Peer::new(stream);
        while let Ok(head) = peer.until(b"\r\n\r\n") {
            let is_first = {
                let mut seen = seen.lock().unwrap();
                seen.push(String::from_utf8(head.clone()).unwrap());
                seen.iter().filter(|head| head.starts_with("GET /late ")).count() == 1
            };
            if head.starts_with(b"GET /late ") && is_first {
                drop(peer.rest());
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let flags = [
        "--no-via",
        "--retry=idempotent",
        "--set=retry.hedge.after=\"500ms\"",
        "-H",
        "X-Id: ${request.id}",
        &lead("api.test", server.address()),
    ];
    let proxy = proxy("", &flags);
    let mut client = proxy.connect();
    // One request in twenty may be hedged.
    for path in std::iter::repeat_n("/", 20).chain(["/late"]) {
        client.send(format!("GET http://api.test{path} HTTP/1.1\r\nHost: api.test\r\n\r\n"));
        assert_eq!(client.answer().status(), 200);
    }
    drop(client);
    proxy.end();
    drop(server);
    let heads = heads.lock().unwrap();
    let late: Vec<&String> = heads.iter().filter(|head| head.starts_with("GET /late ")).collect();
    assert!(late.len() == 2 && late[0] == late[1], "{late:?}");
    assert!(
        late[0].contains("\r\nX-Id: ") && late[0].ends_with("-21\r\n\r\n"),
        "{late:?}"
    );
}

#[test]
fn a_flag_wins_over_a_file_whatever_the_case_of_names() {
    let server = Upstream::script([status(200)]);
    let file = "[headers]\nvia = false\nset = { X-Team = 'file', X-Other = 'file' }\n";
    let proxy = proxy(file, &["-H", "x-team: flag", &lead("api.test", server.address())]);
    proxy.ask("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(
        got(server),
        "GET / HTTP/1.1\r\nHost: api.test\r\nX-Other: file\r\nx-team: flag\r\n\r\n"
    );
    proxy.end();
}

#[test]
fn fields_inside_https_change_where_it_is_decrypted() {
    let flags = [
        "--intercept",
        "--no-via",
        "-H",
        "X-Team: billing",
        "--set=response-headers.set={X-Seen=\"yes\"}",
    ];
    let scene = Scene::with(&flags);
    let server = serve(scene.root.server("h.test").config(), |mut peer, _| {
        let head = peer.until(b"\r\n\r\n").unwrap();
        let expected = "GET /x HTTP/1.1\r\nHost: h.test\r\nAccept: */*\r\nX-Team: billing\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        drop(peer.rest());
    });
    let mut client = scene.client(&server, "h.test");
    let answer = client
        .send("GET /x HTTP/1.1\r\nHost: h.test\r\nAccept: */*\r\n\r\n")
        .answer();
    assert_eq!(
        answer.head(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: yes\r\n\r\n"
    );
    drop(client);
    scene.proxy.end().assert_exchanges(&[("ok", 1)]);
    server.join();
}

#[test]
fn amb_s_own_answers_stay_as_they_are() {
    let flags = [
        "--set=response-headers.set={X-Seen=\"yes\"}",
        "--set=response-status={4xx=200}",
    ];
    let proxy = Proxy::of(Amb::run(flags));
    let answer = proxy.ask("GET /path HTTP/1.1\r\nHost: x\r\n\r\n");
    answer.assert_own(400, "http_request_error");
    assert_eq!(answer.field("x-seen"), None);
    proxy.end();
}
