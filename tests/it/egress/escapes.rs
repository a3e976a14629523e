//! Ways around the rules that do not lead anywhere: what must not be reached is not, and each attempt has its record.

use std::net::SocketAddr;

use super::{EVERYWHERE, proxy, request, server, tunnel};
use crate::support::{
    Peer, Proxy, Upstream,
    secure::{Certificate, client_config, hello, shake},
};

/// Every spelling of this machine that some resolver or stack knows.
const SPELLINGS: [&str; 34] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "0127.0.0.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0177.1",
    "0x7f.1",
    "127.9.9.9",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "0x0",
    "localhost",
    "LOCALHOST",
    "LocalHost.",
    "localhost.",
    "a.localhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::FFFF:127.0.0.1]",
];

/// A SOCKS5 request for an address of four bytes, or for a name.
fn socks5(to: Result<[u8; 4], &str>, port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 5, 1, 0];
    match to {
        Ok(address) => {
            request.push(1);
            request.extend(address);
        }
        Err(name) => {
            request.extend([3, u8::try_from(name.len()).unwrap()]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    request
}

/// The code with which amb answers a SOCKS5 request.
fn socks_code(proxy: &Proxy, request: &[u8]) -> u8 {
    let mut client = proxy.connect();
    client.send(request);
    assert_eq!(client.take(2).unwrap(), [5, 0]);
    client.take(2).unwrap()[1]
}

/// What must not be reached is not: each status is one of amb's refusals.
#[track_caller]
fn assert_refused(status: u16, what: &str) {
    // 400 for what is no host at all, 502 for what nothing resolves to.
    assert!([400, 403, 502].contains(&status), "{what}: {status}");
}

#[test]
fn no_spelling_of_a_denied_address_gets_there() {
    let upstream = server("secret");
    let port = upstream.address().port();
    let proxy = Proxy::with(["--egress=enforce", "--deny=loopback"]);
    for host in SPELLINGS {
        let answer = proxy.ask(request("GET", host, upstream.address(), "/"));
        assert_refused(answer.status(), host);
        let (_, head) = tunnel(&proxy, host, upstream.address());
        let status = head[9..12].parse().unwrap();
        assert_refused(status, host);
        if !host.starts_with('[') {
            assert_ne!(socks_code(&proxy, &socks5(Err(host), port)), 0, "{host}");
        }
    }
    assert_ne!(socks_code(&proxy, &socks5(Ok([127, 0, 0, 1]), port)), 0);
    assert_ne!(socks_code(&proxy, &socks5(Ok([0, 0, 0, 0]), port)), 0);
    let mut client = proxy.connect();
    client.send([&[4, 1][..], &port.to_be_bytes(), &[127, 0, 0, 1, 0]].concat());
    assert_ne!(client.take(2).unwrap()[1], 90);
    let records = proxy.end();
    assert_eq!(upstream.connections(), 0);
    let total = records.exchanges("total") + records.tunnels("total");
    let names = SPELLINGS.iter().filter(|host| !host.starts_with('[')).count();
    assert_eq!(total, 2 * SPELLINGS.len() as u64 + names as u64 + 3);
    assert_eq!(records.exchanges("ok") + records.tunnels("ok"), 0);
}

#[test]
fn a_name_that_leads_to_a_denied_address_does_not_get_there() {
    let upstream = server("secret");
    let address = upstream.address();
    let port = address.port();
    let resolve = format!("--resolve=rebind.test:{port}:127.0.0.1");
    let mapped = format!("--resolve=mapped.test:{port}:[::ffff:127.0.0.1]");
    let proxy = Proxy::with([
        "--egress=enforce",
        "--allow=**.test",
        "--deny=loopback",
        "--connect-to=alias.test::localhost:",
        resolve.as_str(),
        mapped.as_str(),
    ]);
    for host in ["rebind.test", "mapped.test", "alias.test"] {
        let answer = proxy.ask(request("GET", host, address, "/"));
        answer.assert_own(403, "destination_ip_prohibited");
        let (_, head) = tunnel(&proxy, host, address);
        assert!(head.starts_with("HTTP/1.1 403 "), "{host}: {head}");
        assert_eq!(socks_code(&proxy, &socks5(Err(host), port)), 2, "{host}");
    }
    proxy
        .end()
        .assert_exchanges(&[("denied", 3)])
        .assert_tunnels(&[("denied", 6)]);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn of_several_addresses_only_those_that_are_allowed_are_dialled() {
    let upstream = server("hi");
    let port = upstream.address().port();
    let resolve = format!("--resolve=two.test:{port}:127.0.0.2,127.0.0.1");
    let proxy = Proxy::with(["--egress=enforce", "--deny=127.0.0.2", resolve.as_str()]);
    proxy
        .ask(request("GET", "two.test", upstream.address(), "/"))
        .assert_is(200, "hi");
    proxy.end().assert_exchanges(&[("ok", 1)]);
}

#[test]
fn a_pooled_connection_is_no_way_around_a_rule_about_its_address() {
    let upstream = server("hi");
    let address = upstream.address();
    let rules = "[egress]\nmode = 'enforce'\ndefault = 'allow'\n[[egress.rule]]\nid = 'no-posts'\n\
                 match = { host = '127.0.0.0/8', method = 'POST' }\naction = 'deny'\n";
    let resolve = format!("--resolve=pool.test:{}:127.0.0.1", address.port());
    let proxy = proxy(rules, &[&resolve]);
    let mut client = proxy.connect();
    client
        .send(request("GET", "pool.test", address, "/"))
        .answer()
        .assert_is(200, "hi");
    let post = request("POST", "pool.test", address, "/").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
    client.send(post).answer().assert_own(403, "destination_ip_prohibited");
    proxy.end().assert_exchanges(&[("ok", 1), ("denied", 1)]);
}

#[test]
fn no_disguise_of_a_name_gets_past_a_list() {
    let upstream = server("secret");
    let address = upstream.address();
    let port = address.port();
    let proxy = Proxy::with(["--egress=enforce", "--allow=ok.test", EVERYWHERE]);
    let lines = [
        format!("GET http://ok.test@evil.test:{port}/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        format!("GET http://ok.test:{port}@evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://evil.test:{port}/ HTTP/1.1\r\nHost: ok.test:{port}\r\n\r\n"),
        format!("GET http://evil.test:{port}/http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://evil.test:{port}/?ok.test HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://evil.test:{port}#ok.test HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test.evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://evil-ok.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://xok.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test%2eevil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok%2etest:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test\\@evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test%00.evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test%40evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok\u{3002}test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://\u{ff4f}k.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://xn--ok-x.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test..:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://.ok.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://[ok.test]:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://ok.test:{port}:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET //evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http:/evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http:evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("GET http://evil.test:{port}/ HTTP/1.1\r\nHost: ok.test\r\nX-Forwarded-Host: ok.test\r\n\r\n"),
        format!("CONNECT evil.test:{port} HTTP/1.1\r\nHost: ok.test:{port}\r\n\r\n"),
        format!("CONNECT ok.test:{port}@evil.test:{port} HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("CONNECT ok.test.evil.test:{port} HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("CONNECT evil.test:{port}/ok.test HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
        format!("CONNECT http://ok.test@evil.test:{port} HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
    ];
    for line in &lines {
        let answer = proxy.ask(line);
        assert!([400, 403].contains(&answer.status()), "{line}: {}", answer.status());
    }
    let other_port = request("GET", "ok.test:1", SocketAddr::from(([127, 0, 0, 1], 80)), "/");
    assert_eq!(proxy.ask(other_port).status(), 400);
    // The same name in another spelling is the same name.
    for host in ["OK.test", "ok.test.", "Ok.TEST."] {
        proxy.ask(request("GET", host, address, "/")).assert_is(200, "secret");
    }
    let records = proxy.end();
    assert_eq!(upstream.connections(), 1);
    assert_eq!(records.exchanges("ok"), 3);
}

#[test]
fn a_port_that_is_not_allowed_is_not_reached() {
    let upstream = server("secret");
    let port = upstream.address().port();
    let allow = format!("--allow=ok.test:{}", if port == 1 { 2 } else { 1 });
    let proxy = Proxy::with(["--egress=enforce", allow.as_str(), EVERYWHERE]);
    proxy
        .ask(request("GET", "ok.test", upstream.address(), "/"))
        .assert_own(403, "http_request_denied");
    let (_, head) = tunnel(&proxy, "ok.test", upstream.address());
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    proxy.end();
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_allowed_tunnel_is_no_way_to_another_name_behind_the_same_address() {
    let root = Certificate::root("Root");
    let upstream = hello(root.server("evil.test").config(), "secret");
    let proxy = Proxy::with(["--egress=enforce", "--allow=ok.test", EVERYWHERE]);
    let (client, head) = tunnel(&proxy, "ok.test", upstream.address());
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let shaken = shake(client_config(&[&root.pem()], &[]), "evil.test", client.stream);
    assert!(shaken.is_err(), "the server's name inside TLS is another one");
    // Plain HTTP in a tunnel says whom it means in `Host`.
    let plain = server("secret");
    let (mut client, _) = tunnel(&proxy, "ok.test", plain.address());
    let shut = client.send("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n").answer();
    shut.assert_own(403, "http_request_denied");
    let (mut client, _) = tunnel(&proxy, "ok.test", plain.address());
    client
        .send("GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n")
        .answer()
        .assert_is(200, "secret");
    let records = proxy.end();
    records
        .assert_exchanges(&[("ok", 1), ("denied", 1)])
        .assert_tunnels(&[("denied", 1)]);
}

#[test]
fn a_redirect_leads_nowhere_that_is_not_allowed() {
    let target = server("secret");
    let location = format!("http://evil.test:{}/", target.address().port());
    let upstream = Upstream::serve({
        let location = location.clone();
        move |stream, _| {
            let mut peer = Peer::new(stream);
            while peer.until(b"\r\n\r\n").is_ok() {
                peer.send(format!(
                    "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                ));
            }
        }
    });
    let proxy = Proxy::with(["--egress=enforce", "--allow=ok.test", EVERYWHERE]);
    let answer = proxy.ask(request("GET", "ok.test", upstream.address(), "/"));
    assert_eq!(answer.field("location"), Some(location.clone()));
    let followed = format!("GET {location} HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    proxy.ask(followed).assert_own(403, "http_request_denied");
    proxy.end();
    assert_eq!(target.connections(), 0);
}
