//! The proxy that amb itself goes through.

use super::by_hand;
use crate::support::{Answer, Peer, Proxy, Step, Upstream, ok};

/// A proxy under amb whose parent is at `parent`, asked by `scheme` with this `user:password@`.
#[track_caller]
fn behind(scheme: &str, login: &str, parent: &Upstream) -> Proxy {
    let url = format!("{scheme}://{login}{}", parent.address());
    Proxy::with(["--upstream-proxy".to_owned(), url])
}

/// The answer to a plain request for `http://far.test/`.
#[track_caller]
fn ask(proxy: &Proxy) -> Answer {
    proxy.ask("GET http://far.test/x HTTP/1.1\r\nHost: far.test\r\nProxy-Authorization: Basic Y2hpbGQ=\r\n\r\n")
}

/// Takes the greeting of a SOCKS5 client, chooses user and password, and returns the message that brings them.
fn take_login(peer: &mut Peer) -> Vec<u8> {
    assert_eq!(peer.take(4).unwrap(), [5, 2, 0, 2]);
    peer.send([5, 2]);
    let mut login = peer.take(2).unwrap();
    let user = usize::from(login[1]);
    login.append(&mut peer.take(user + 1).unwrap());
    let password = usize::from(login[user + 2]);
    login.append(&mut peer.take(password).unwrap());
    login
}

/// Checklist 78: the sub-negotiation's own version, and both lengths.
#[test]
fn a_socks5_parent_gets_the_credentials_and_then_the_name() {
    let long = "u".repeat(255);
    for (user, password) in [("user", "secret"), (&*long, "p")] {
        let (user, password) = (user.to_owned(), password.to_owned());
        let login = format!("{user}:{password}@");
        let parent = by_hand(move |mut peer, _| {
            let wanted = [
                &[1, u8::try_from(user.len()).unwrap()],
                user.as_bytes(),
                &[u8::try_from(password.len()).unwrap()],
                password.as_bytes(),
            ];
            assert_eq!(take_login(&mut peer), wanted.concat());
            peer.send([1, 0]);
            assert_eq!(peer.take(15).unwrap(), b"\x05\x01\x00\x03\x08far.test\x00\x50");
            // The server's first bytes come with the reply.
            peer.send([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            let head = String::from_utf8(peer.until(b"\r\n\r\n").unwrap()).unwrap();
            assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: far.test\r\n"), "{head}");
            assert!(!head.contains("Proxy-Authorization"), "{head}");
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        });
        let proxy = behind("socks5h", &login, &parent);
        ask(&proxy).assert_is(200, "hello");
        proxy.end().assert_exchanges(&[("ok", 1)]).assert_opened(1);
        parent.join();
    }
}

/// Checklist 78: what does not fit is told, and not shown.
#[test]
fn a_socks5_parent_that_refuses_the_credentials_is_named_and_they_are_not() {
    let parent = by_hand(|mut peer, number| {
        if number == 0 {
            take_login(&mut peer);
            peer.send([1, 1]);
        }
        peer.rest();
    });
    let proxy = behind("socks5h", "user:secret@", &parent);
    let answer = ask(&proxy);
    answer.assert_own(502, "destination_unavailable");
    let parents = parent.address().to_string();
    assert!(answer.body().contains(&parents), "{}", answer.body());
    assert!(!answer.body().contains("secret"), "{}", answer.body());
    // The connection was there, whatever came of it.
    proxy
        .end()
        .assert_exchanges(&[("failed", 1)])
        .assert_opened(1)
        .assert_absent("secret");
}

/// Checklist 20: amb's own credentials go to its parent, and the child's go nowhere.
#[test]
fn an_http_parent_gets_whole_urls_and_ambs_own_credentials() {
    let parent = Upstream::script([ok("one"), ok("two")]);
    let proxy = behind("http", "user:secret@", &parent);
    ask(&proxy).assert_is(200, "one");
    ask(&proxy).assert_is(200, "two");
    proxy.end().assert_exchanges(&[("ok", 2)]).assert_opened(1);
    for request in parent.join() {
        let head = request.head();
        assert!(
            head.starts_with("GET http://far.test/x HTTP/1.1\r\nHost: far.test\r\n"),
            "{head}"
        );
        assert_eq!(
            request.field("proxy-authorization"),
            Some("Basic dXNlcjpzZWNyZXQ="),
            "{head}"
        );
        assert_eq!(request.connection, 0);
    }
}

/// Checklist 71, 72, 73.
#[test]
fn a_tunnel_through_an_http_parent_is_as_good_as_a_direct_one() {
    let parent = by_hand(|mut peer, number| {
        let head = String::from_utf8(peer.until(b"\r\n\r\n").unwrap()).unwrap();
        assert!(
            head.starts_with("CONNECT far.test:22 HTTP/1.1\r\nHost: far.test:22\r\n"),
            "{head}"
        );
        if number == 0 {
            peer.send("HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0");
            assert_eq!(peer.take(5).unwrap(), b"hello");
        } else {
            peer.send("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
            peer.rest();
        }
    });
    let proxy = behind("http", "", &parent);
    let connect = "CONNECT far.test:22 HTTP/1.1\r\nHost: far.test:22\r\n\r\n";
    let mut client = proxy.connect();
    client.send(connect);
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 200 "));
    assert_eq!(client.take(7).unwrap(), b"SSH-2.0");
    client.send("hello").half_close();
    client.assert_closed();
    let answer = proxy.ask(connect);
    answer.assert_own(502, "destination_unavailable");
    assert!(
        answer.body().contains("407 Proxy Authentication Required"),
        "{}",
        answer.body()
    );
    proxy.end().assert_tunnels(&[("ok", 1), ("failed", 1)]).assert_opened(2);
    parent.join();
}

/// A parent that says nothing has as long as any connection has.
#[test]
fn a_parent_that_does_not_answer_is_a_504() {
    let parent = Upstream::script([vec![Step::ReadHead, Step::Stall]]);
    let url = format!("http://{}", parent.address());
    let proxy = Proxy::with(["--upstream-proxy", &url, "--connect-timeout", "300ms"]);
    proxy
        .ask("CONNECT far.test:22 HTTP/1.1\r\nHost: far.test:22\r\n\r\n")
        .assert_own(504, "connection_timeout");
    proxy.end().assert_tunnels(&[("failed", 1)]).assert_opened(1);
}
