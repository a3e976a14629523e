//! Request targets, `Host`, and what of a head survives.

use super::{aimed, answered, by_hand, get, passed, refused};
use crate::support::{Proxy, Upstream, ok};

/// The head that the origin gets for `text`, its own address as `ORIGIN`, without `Via`.
#[track_caller]
fn head_of(text: &str) -> String {
    let (request, _) = passed(text);
    let host = request.field("host").unwrap_or_default().to_owned();
    let lines: Vec<&str> = request
        .head()
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Via: "))
        .collect();
    let port = host.rsplit(':').next().unwrap_or_default().to_owned();
    lines.concat().replace(&format!("127.0.0.1:{port}"), "ORIGIN")
}

/// Checklist 1, 3: the path goes on to the byte, whatever the method.
#[test]
fn the_target_reaches_the_origin_as_path_to_the_byte() {
    for path in [
        "/",
        "/%2F",
        "/a/../b",
        "//",
        "/a//b?x=1&y=%",
        "/?",
        "/|^`",
        "/\u{fc}",
        "/?a?b",
        "/;p=1",
    ] {
        for method in ["GET", "POST", "DELETE", "PROPFIND", "get", "X-Odd"] {
            let text = format!("{method} http://ORIGIN{path} HTTP/1.1\r\nHost: ORIGIN\r\n\r\n");
            if method != "GET" && path != "/" {
                continue;
            }
            let head = head_of(&text);
            assert!(head.starts_with(&format!("{method} {path} HTTP/1.1\r\n")), "{head}");
        }
    }
}

/// Checklist 3, 14: an empty path becomes `/`, and `*` for `OPTIONS`.
#[test]
fn an_empty_path_is_the_root_or_the_server_itself() {
    for (text, line) in [
        ("GET http://ORIGIN", "GET / "),
        ("GET http://ORIGIN?q", "GET /?q "),
        ("OPTIONS http://ORIGIN", "OPTIONS * "),
        ("OPTIONS http://ORIGIN/", "OPTIONS / "),
    ] {
        let head = head_of(&format!("{text} HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"));
        assert!(head.starts_with(line), "{head}");
    }
}

/// Checklist 14: the plain form is amb's to answer.
#[test]
fn options_for_the_proxy_itself_is_answered_by_it() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    client.answer().assert_is(200, "");
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.answer().assert_is(200, "");
    client.assert_closed();
    proxy.end().assert_exchanges(&[("ok", 2)]);
}

/// Checklist 2. Table: Host ≠ target: Host replaced.
#[test]
fn a_host_that_is_not_the_targets_is_replaced() {
    let head = head_of("GET http://ORIGIN/ HTTP/1.1\r\nA: 1\r\nhOST: evil.example\r\nB: 2\r\n\r\n");
    assert_eq!(head, "GET / HTTP/1.1\r\nA: 1\r\nhOST: ORIGIN\r\nB: 2\r\n\r\n");
}

/// Checklist 4, 5. Table: two Hosts → 400.
#[test]
fn a_missing_a_second_and_an_invalid_host_are_refused() {
    let line = "GET http://ORIGIN/ HTTP/1.1\r\n";
    refused(
        [
            "",
            "Host: ORIGIN\r\nHost: ORIGIN\r\n",
            "Host: ORIGIN\r\nhost: evil.example\r\n",
            "Host: a b\r\n",
            "Host: a\tb\r\n",
            "Host: a,b\r\n",
            "Host: a/b\r\n",
            "Host: user@a\r\n",
            "Host: http://a\r\n",
            "Host: a:b\r\n",
            "Host: a:99999\r\n",
            "Host: [::1\r\n",
        ]
        .map(|fields| (400, format!("{line}{fields}\r\n"))),
    );
}

/// An HTTP/1.0 client may have no `Host`; the origin gets one.
#[test]
fn an_old_client_without_a_host_is_given_the_targets() {
    let head = head_of("GET http://ORIGIN/ HTTP/1.0\r\nA: 1\r\n\r\n");
    assert_eq!(head, "GET / HTTP/1.1\r\nHost: ORIGIN\r\nA: 1\r\n\r\n");
}

/// Checklist 6, 9, 10, 11, 12, 17: what is not a target for a proxy.
#[test]
fn a_target_that_leads_nowhere_is_refused() {
    refused(
        [
            "GET host:80",
            "CONNECT http://ORIGIN/",
            "CONNECT 127.0.0.1",
            "CONNECT 127.0.0.1:",
            "CONNECT 127.0.0.1:0",
            "CONNECT 127.0.0.1:65536",
            "CONNECT [::1%25lo]:80",
            "CONNECT [::1]80",
            "GET http://ORIGIN/#f",
            "GET http://ORIGIN#f",
            "GET http://[fe80::1%25eth0]/",
            "GET http://b\u{fc}cher.example/",
            "GET http://127.0.0.1:0/",
            "GET http://127.0.0.1:65536/",
            "GET http://127.0.0.1:8x/",
            "GET http:///x",
            "GET ftp://ORIGIN/",
            "GET wss://ORIGIN/",
            "GET https://ORIGIN/#f",
            "GET *",
            "GET mailto:a@b",
        ]
        .map(|target| (400, format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n"))),
    );
}

/// Checklist 17: what is to be asked for by TLS goes to nobody who speaks none; `tls.rs` has those who do.
#[test]
fn an_https_url_is_never_sent_in_the_clear() {
    let origin = by_hand(|mut peer, _| {
        let (came, _) = (peer.take(6).unwrap(), peer.half_close());
        assert_eq!((came[0], came[5]), (0x16, 1), "no greeting of TLS");
        let (rest, _) = peer.rest();
        assert!(
            memchr::memmem::find(&rest, b"HTTP").is_none(),
            "{}",
            rest.escape_ascii()
        );
    });
    let proxy = Proxy::start();
    let answer = proxy.ask(aimed(
        "GET https://user:secret@ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
        &origin,
    ));
    answer.assert_own(502, "tls_protocol_error");
    proxy
        .end()
        .assert_hosts(&[&origin.address().to_string()])
        .assert_absent("secret");
    origin.join();
}

/// Whoever reads the report knows the host that a program could not reach, and little else of the request.
#[test]
fn a_refused_request_is_recorded_by_its_host() {
    for (text, host) in [
        ("GET https://a.test/#f HTTP/1.1\r\nHost: a.test\r\n", "a.test:443"),
        ("GET http://a.test/#f HTTP/1.1\r\nHost: a.test\r\n", "a.test:80"),
        ("GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n", "a.test:21"),
        ("GET http://a.test/ HTTP/1.1\r\n", "a.test:80"),
        ("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "a.test:80"),
        ("CONNECT a.test:22#f HTTP/1.1\r\nHost: a.test\r\n", "a.test:22"),
        ("GET /path HTTP/1.1\r\nHost: a.test\r\n", ":0"),
    ] {
        let proxy = Proxy::start();
        proxy.ask(format!("{text}\r\n")).assert_own(400, "http_request_error");
        proxy.end().assert_hosts(&[host]);
    }
}

/// Checklist 18: which authorities a server serves is for it to say, and for its client to hear.
#[test]
fn a_misdirected_request_is_the_servers_to_refuse() {
    let answer = answered("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 4\r\n\r\nmine");
    answer.assert_is(421, "mine");
    assert_eq!(answer.field("proxy-status"), None);
}

/// Checklist 7: a path alone is for a server.
#[test]
fn a_path_alone_is_refused_and_told_that_this_is_a_proxy() {
    let proxy = Proxy::start();
    let answer = proxy.ask("GET /index.html HTTP/1.1\r\nHost: h\r\n\r\n");
    answer.assert_own(400, "http_request_error");
    assert!(answer.body().contains("proxy"), "{}", answer.body());
    proxy.end().assert_exchanges(&[("failed", 1)]);
}

/// Checklist 8: user information is neither sent on nor written down.
#[test]
fn user_information_goes_nowhere() {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::start();
    proxy
        .ask(aimed(
            "GET http://user:s3cret@ORIGIN/ HTTP/1.1\r\nHost: x\r\n\r\n",
            &origin,
        ))
        .assert_is(200, "hello");
    let answer = proxy.ask("GET http://user:s3cret@127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n");
    answer.assert_own(502, "connection_refused");
    assert!(!answer.head().contains("s3cret") && !answer.body().contains("s3cret"));
    proxy.end().assert_absent("s3cret").assert_absent("user:");
    let request = origin.join().remove(0);
    assert!(!request.head().contains("s3cret"), "{}", request.head());
    assert!(request.field("host").is_some_and(|host| host.starts_with("127.0.0.1:")));
}

/// Checklist 12: the authority stays as the client wrote it.
#[test]
fn host_is_the_authority_as_it_was_written() {
    for (written, flag) in [
        ("Example.TEST", "example.test:80"),
        ("example.test:80", "example.test:80"),
        ("example.test:", "example.test:80"),
        ("example.test.:8080", "example.test:8080"),
    ] {
        let origin = Upstream::script([ok("hello")]);
        let proxy = Proxy::with(["--connect-to".to_owned(), format!("{flag}:{}", origin.address())]);
        proxy
            .ask(format!("GET http://{written}/ HTTP/1.1\r\nHost: x\r\n\r\n"))
            .assert_is(200, "hello");
        proxy.end();
        assert_eq!(origin.join()[0].field("host"), Some(written));
    }
}

/// Checklist 10: literals of IPv6.
#[test]
fn an_ipv6_literal_is_reached() {
    let listener = std::net::TcpListener::bind("[::1]:0").expect("loopback has IPv6");
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut peer = crate::support::Peer::new(listener.accept().unwrap().0);
        let head = peer.until(b"\r\n\r\n").unwrap();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        head
    });
    let proxy = Proxy::start();
    proxy
        .ask(format!("GET http://[::1]:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"))
        .assert_is(200, "");
    proxy.end();
    let head = String::from_utf8(thread.join().unwrap()).unwrap();
    assert!(head.contains(&format!("Host: [::1]:{port}\r\n")), "{head}");
}

/// Checklist 16, 114. Table: 200 KB header.
#[test]
fn what_is_too_large_gets_the_status_that_says_so() {
    let many = "A: 1\r\n".repeat(300);
    refused([
        (
            414,
            format!("GET http://ORIGIN/{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(70_000)),
        ),
        (
            431,
            format!(
                "GET http://ORIGIN/ HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n",
                "a".repeat(200_000)
            ),
        ),
        (431, format!("GET http://ORIGIN/ HTTP/1.1\r\nHost: h\r\n{many}\r\n")),
    ]);
}

/// Checklist 114: what is within the limits is not refused.
#[test]
fn a_head_of_sixty_kilobytes_goes_through() {
    let value = "a".repeat(60_000);
    let (request, _) = passed(&format!(
        "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nA: {value}\r\n\r\n"
    ));
    assert_eq!(request.field("a"), Some(value.as_str()));
}

/// Checklist 29, 30, 31, 32: order, case, spacing, high bytes; nothing is added but `Via`.
#[test]
fn fields_go_on_as_they_came_in_both_directions() {
    let fields = "ACCEPT: */*\r\nx-b:2\r\nX-a:   1  \r\nX-A: \r\nCookie: a=1\r\nCookie: b=2\r\nX-High: \u{e9}\r\n";
    let origin = Upstream::script([vec![
        crate::support::Step::Read,
        crate::support::Step::Send(
            b"HTTP/1.1 299 Quite \xe9 Fine\r\nset-COOKIE: a=1\r\nX-b:2\r\nSet-Cookie: b=2\r\nx-A:  1 \r\nX-High: \xe9\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
        ),
    ]]);
    let proxy = Proxy::start();
    let answer = proxy.ask(aimed(
        &format!("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n{fields}\r\n"),
        &origin,
    ));
    proxy.end();
    let request = origin.join().remove(0);
    let head = request.head().to_owned();
    let (start, via) = head.split_once("Via: 1.1 amb-").expect("a Via");
    assert!(start.ends_with(fields), "{head}");
    assert_eq!(start.lines().count(), 2 + fields.lines().count(), "{head}");
    assert_eq!(via.matches("\r\n").count(), 2, "{head}");
    let head = replaced_via(&answer.head);
    assert_eq!(
        head.escape_ascii().to_string(),
        b"HTTP/1.1 299 Quite \xe9 Fine\r\nset-COOKIE: a=1\r\nX-b:2\r\nSet-Cookie: b=2\r\nx-A:  1 \r\nX-High: \xe9\r\nContent-Length: 2\r\n\r\n"
            .escape_ascii()
            .to_string()
    );
}

/// The head without its `Via` line.
fn replaced_via(head: &[u8]) -> Vec<u8> {
    head.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"Via: "))
        .flatten()
        .copied()
        .collect()
}

/// Checklist 13, 109: the address that is dialled decides, however it is spelt.
#[test]
fn the_own_listener_is_refused_however_it_is_spelt() {
    let proxy = Proxy::start();
    let port = proxy.address.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ];
    for host in hosts {
        let mut client = proxy.connect();
        client.send(format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.answer().assert_own(403, "http_request_denied");
        client.send(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.answer().assert_own(403, "http_request_denied");
    }
    let count = hosts.len() as u64;
    let records = proxy.end();
    records
        .assert_exchanges(&[("failed", count)])
        .assert_tunnels(&[("failed", count)]);
}

/// Checklist 57.
#[test]
fn other_versions_are_refused_as_such() {
    refused(
        [
            ("HTTP/9.9", 505),
            ("HTTP/1.2", 505),
            ("HTTP/2.0", 505),
            ("HTTP/0.9", 505),
        ]
        .map(|(version, status)| (status, format!("GET http://ORIGIN/ {version}\r\nHost: h\r\n\r\n"))),
    );
    refused([(400, "GET http://ORIGIN/\r\n\r\n"), (400, "PRI\r\n\r\n")]);
}

/// Checklist 58.
#[test]
fn an_empty_line_before_a_request_is_not_a_request() {
    let (_, answer) = passed("\r\nGET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n");
    answer.assert_is(200, "hello");
}

/// Checklist 58: the empty line behind a body, in a packet of its own, as old clients send it.
#[test]
fn an_empty_line_behind_a_body_is_no_broken_request() {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(aimed(
        "POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 2\r\n\r\nhi",
        &origin,
    ));
    client.answer().assert_is(200, "hello");
    client.send("\r\n").half_close();
    client.assert_closed();
    proxy.end().assert_exchanges(&[("ok", 1)]);
    origin.join();
}

/// Checklist 59.
#[test]
fn odd_statuses_pass_and_impossible_ones_do_not() {
    for status in [200, 299, 302, 418, 421, 451, 599, 600, 999] {
        let answer = answered(format!("HTTP/1.1 {status} So It Is\r\nContent-Length: 2\r\n\r\nok"));
        answer.assert_is(status, "ok");
        assert!(answer.head().starts_with(&format!("HTTP/1.1 {status} So It Is\r\n")));
    }
    for status in ["099", "000", "1000", "20", "abc", ""] {
        answered(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok")).assert_own(502, "http_protocol_error");
    }
}

/// Checklist 112: amb follows nothing.
#[test]
fn a_redirect_is_the_clients_to_follow() {
    let answer = answered("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answer.field("location").as_deref(), Some("http://127.0.0.1:1/"));
}

/// Checklist 38, 41: what old servers send is straightened out.
#[test]
fn a_sloppy_response_head_is_passed_on_in_plain_form() {
    let answer = answered("HTTP/1.1 200 OK\nX-Folded: a\r\n b\r\n\tc\r\nX-Space : 1\r\nContent-Length: 2\r\n\r\nok");
    answer.assert_is(200, "ok");
    assert_eq!(answer.field("x-folded").as_deref(), Some("a b c"));
    assert_eq!(answer.field("x-space").as_deref(), Some("1"));
    assert!(!answer.head().replace("\r\n", "").contains('\n'), "{}", answer.head());
    assert!(!answer.head().contains("Space :"), "{}", answer.head());
}

/// Checklist 23: `--no-via`.
#[test]
fn without_via_nothing_at_all_is_added() {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::with(["--no-via"]);
    let answer = proxy.ask(get(&origin));
    proxy.end();
    assert_eq!(answer.head(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let request = origin.join().remove(0);
    assert_eq!(request.head().lines().count(), 3, "{}", request.head());
}

/// The answer of an internet radio, which other proxies read too (curl's test 3025).
#[test]
fn an_icy_answer_is_read_as_the_http_it_is() {
    let answer = answered("ICY 200 OK\r\nicy-name: radio\r\n\r\nmusic");
    answer.assert_is(200, "music");
    assert_eq!(answer.field("icy-name").as_deref(), Some("radio"));
    answered("ICE 200 OK\r\n\r\nmusic").assert_own(502, "http_protocol_error");
}
