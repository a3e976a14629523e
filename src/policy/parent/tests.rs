//! Which proxy a target is reached by, table by table.

use super::*;

/// An environment of pairs.
fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The parent that the environment names.
fn parent(pairs: &[(&str, &str)]) -> Result<Parent, String> {
    Parent::build(&ParentOptions::default(), &environment(pairs))
}

/// The parent that the flag names.
fn flag(url: &str, pairs: &[(&str, &str)]) -> Result<Parent, String> {
    let upstream_proxy = Some(UpstreamProxy(url.to_owned()));
    Parent::build(&ParentOptions { proxy: upstream_proxy }, &environment(pairs))
}

/// A route in short: `direct` or the proxy's address.
fn shown(route: Route<'_>) -> String {
    match route {
        Route::Direct => "direct".to_owned(),
        Route::Via(proxy) => proxy.to_string(),
    }
}

/// Checks the ways to `http://host.test` and to a tunnel to it.
#[track_caller]
fn check_proxies(pairs: &[(&str, &str)], http: &str, tunnel: &str) {
    let parent = parent(pairs).unwrap();
    assert_eq!(
        shown(parent.for_target(Scheme::Http, "host.test", 80)),
        http,
        "http from {pairs:?}"
    );
    assert_eq!(
        shown(parent.for_target(Scheme::Tunnel, "host.test", 443)),
        tunnel,
        "tunnel from {pairs:?}"
    );
}

/// Checks whether a target, as `HOST PORT`, is excepted.
#[track_caller]
fn check_exception(no_proxy: &str, target: &str, excepted: bool) {
    let (host, port) = target.split_once(' ').unwrap();
    let parent = parent(&[("http_proxy", "http://corp:3128"), ("NO_PROXY", no_proxy)]).unwrap();
    let route = parent.for_target(Scheme::Http, host, port.parse().unwrap());
    assert_eq!(route == Route::Direct, excepted, "{target} under {no_proxy}");
}

/// Checks that an address is refused, with these words and without its secrets.
#[track_caller]
fn check_refused(text: &str, expected: &str) {
    for (source, error) in [
        ("http_proxy", parent(&[("http_proxy", text)])),
        ("--upstream-proxy", flag(text, &[])),
    ] {
        let error = error.unwrap_err();
        assert!(error.starts_with(&format!("{source}: `")), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("s3cr3t") && !error.contains("joe"), "{error}");
    }
}

#[test]
fn without_variables_all_is_direct() {
    check_proxies(&[], "direct", "direct");
    check_proxies(&[("http_proxy", ""), ("HTTPS_PROXY", " ")], "direct", "direct");
}

#[test]
fn variables_rank_as_in_curl() {
    let (a, b, c) = ("http://a:1", "http://b:2", "http://c:3");
    check_proxies(&[("http_proxy", a), ("HTTP_PROXY", b)], a, "direct");
    check_proxies(&[("HTTP_PROXY", b)], b, "direct");
    check_proxies(&[("https_proxy", a), ("HTTPS_PROXY", b)], "direct", a);
    check_proxies(&[("HTTPS_PROXY", b)], "direct", b);
    check_proxies(&[("all_proxy", a), ("ALL_PROXY", b)], a, a);
    check_proxies(&[("ALL_PROXY", b), ("https_proxy", c)], b, c);
    check_proxies(&[("http_proxy", ""), ("HTTP_PROXY", b), ("all_proxy", a)], b, a);
}

#[test]
fn in_a_cgi_environment_a_strangers_variable_is_ignored() {
    let cgi = ("REQUEST_METHOD", "GET");
    check_proxies(&[cgi, ("HTTP_PROXY", "http://stranger:1")], "direct", "direct");
    check_proxies(
        &[cgi, ("HTTP_PROXY", "not a proxy"), ("http_proxy", "http://a:1")],
        "http://a:1",
        "direct",
    );
    check_proxies(&[cgi, ("HTTPS_PROXY", "http://a:1")], "direct", "http://a:1");
}

#[test]
fn a_variable_that_nobody_reads_is_not_judged() {
    let pairs = [
        ("http_proxy", "http://a:1"),
        ("https_proxy", "http://a:1"),
        ("all_proxy", "gopher://x"),
    ];
    check_proxies(&pairs, "http://a:1", "http://a:1");
    assert!(parent(&pairs[1..]).unwrap_err().starts_with("all_proxy: "));
}

#[test]
fn the_flag_wins_over_the_environment_but_not_over_its_exceptions() {
    let pairs = [("http_proxy", "broken://"), ("no_proxy", "direct.test")];
    let parent = flag("http://flag:9", &pairs).unwrap();
    for scheme in [Scheme::Http, Scheme::Tunnel] {
        assert_eq!(shown(parent.for_target(scheme, "x.test", 1)), "http://flag:9");
        assert_eq!(shown(parent.for_target(scheme, "direct.test", 1)), "direct");
    }
    assert_eq!(
        parent.proxies().map(|proxy| proxy.source).collect::<Vec<_>>(),
        ["--upstream-proxy"]
    );
    assert_eq!(flag("none", &pairs).unwrap(), Parent::default());
    assert_eq!(Parent::default().proxies().count(), 0);
}

#[test]
fn an_address_reads_in_all_its_forms() {
    for (text, kind, shown) in [
        ("http://Corp.Test:3128", Kind::Http, "http://corp.test:3128"),
        ("HTTP://corp:3128/", Kind::Http, "http://corp:3128"),
        ("corp:3128", Kind::Http, "http://corp:3128"),
        ("corp", Kind::Http, "http://corp:80"),
        ("http://corp:/path?x", Kind::Http, "http://corp:80"),
        ("http://10.0.0.1:8080", Kind::Http, "http://10.0.0.1:8080"),
        ("http://[2001:db8:0::1]:8080", Kind::Http, "http://[2001:db8::1]:8080"),
        ("[::1]", Kind::Http, "http://[::1]:80"),
        ("socks5://corp", Kind::Socks5, "socks5://corp:1080"),
        ("socks5h://corp:1", Kind::Socks5h, "socks5h://corp:1"),
        ("socks://127.0.0.1:1080/", Kind::Socks5h, "socks5h://127.0.0.1:1080"),
        ("http://my_proxy-1:65535", Kind::Http, "http://my_proxy-1:65535"),
    ] {
        let parent = flag(text, &[]).unwrap();
        let proxy = parent.proxies().next().unwrap();
        assert_eq!((proxy.kind, proxy.to_string().as_str()), (kind, shown), "{text}");
        assert_eq!(proxy.credentials, None);
    }
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    for (text, user, password) in [
        ("http://joe:s3cr3t@corp", "joe", "s3cr3t"),
        ("joe:s3cr3t@corp:1", "joe", "s3cr3t"),
        ("http://joe@corp", "joe", ""),
        ("http://joe:a:b@corp", "joe", "a:b"),
        ("http://joe:a@b@corp", "joe", "a@b"),
        ("http://j%40e:%70%2F%25%zz%@corp", "j@e", "p/%%zz%"),
        ("socks5://joe:p%C3%A9@corp", "joe", "pé"),
    ] {
        let parent = flag(text, &[]).unwrap();
        let proxy = parent.proxies().next().unwrap();
        let credentials = proxy.credentials.as_ref().unwrap();
        assert_eq!(
            (credentials.user.reveal(), credentials.password.reveal()),
            (user, password),
            "{text}"
        );
        assert_eq!(proxy.host, "corp");
        let debugged = format!("{proxy:?} {proxy} {parent:?} {:?}", UpstreamProxy(text.to_owned()));
        assert!(
            !debugged.contains("s3cr3t") && !debugged.contains("joe") && debugged.contains("***"),
            "{debugged}"
        );
    }
    assert_eq!(
        flag("http://@corp", &[]).unwrap().proxies().next().unwrap().credentials,
        None
    );
}

#[test]
fn a_malformed_address_is_refused_without_its_secrets() {
    check_refused("https://joe:s3cr3t@corp:443", "TLS");
    check_refused("socks4://joe:s3cr3t@corp", "its scheme");
    check_refused("ftp://corp", "its scheme");
    check_refused("http://", "host");
    check_refused("http://joe:s3cr3t@", "host");
    check_refused("http://joe:s3/cr3t@corp:1", "port");
    check_refused("http://co rp", "host");
    check_refused("http://corp:0", "between 1 and 65535");
    check_refused("http://corp:65536", "between 1 and 65535");
    check_refused("http://corp:x", "port");
    check_refused("http://[::1", "");
    check_refused("http://[::1]x", "port");
    check_refused("http://[corp]:1", "host");
    check_refused("http://::1:80", "port");
    check_refused("http://joe%3Ax:s3cr3t@corp", "colon");
    check_refused("http://joe:s3cr3t%0d%0a@corp", "control character");
    check_refused("http://joe:s3cr3t%ff@corp", "UTF-8");
    check_refused("socks5://joe@corp", "1 to 255 bytes");
    check_refused("http://corp\u{1b}[31m", "\\u{1b}");
}

#[test]
fn exceptions_match_as_in_the_common_clients() {
    for (no_proxy, hit, missed) in [
        ("*", "x.test 1|10.0.0.1 1|::2 1", ""),
        (
            "a.test",
            "a.test 1|A.Test. 1|b.a.test 9|c.b.a.test 1",
            "ba.test 1|a.test.b 1|test 1",
        ),
        (".a.test", "a.test 1|b.a.test 1", "ba.test 1"),
        ("*.a.test", "b.a.test 1|c.b.a.test 1", "a.test 1|ba.test 1"),
        ("A.Test.", "a.test 1", ""),
        ("a.test:8080", "a.test 8080|b.a.test 8080", "a.test 80|b.a.test 80"),
        ("x, b.test  c.test,,", "b.test 1|c.test 1|x 1", "d.test 1"),
        (
            "10.0.0.1",
            "10.0.0.1 1|::ffff:10.0.0.1 1",
            "10.0.0.2 1|110.0.0.1 1|10.0.0.1.test 1",
        ),
        ("1", "1 1|x.1 1", "10.0.0.1 1"),
        ("10.0.0.1:80", "10.0.0.1 80", "10.0.0.1 81"),
        ("10.0.0.0/8", "10.255.0.1 1", "11.0.0.1 1|10.test 1"),
        ("10.0.0.0/8:80", "10.255.0.1 80", "10.255.0.1 81"),
        ("172.16.0.0/12", "172.31.255.255 1", "172.32.0.0 1|::1.2.3.4 1"),
        ("0.0.0.0/0", "9.9.9.9 1", "::2 1|x.test 1"),
        ("10.0.0.1/32", "10.0.0.1 1", "10.0.0.0 1"),
        ("2001:db8::1", "2001:db8::1 1|[2001:db8:0::1] 1", "2001:db8::2 1"),
        ("[2001:db8::1]", "2001:db8::1 1", "2001:db8::2 1"),
        ("[2001:db8::1]:80", "2001:db8::1 80", "2001:db8::1 81"),
        (
            "2001:db8::/32",
            "2001:db8:1::1 1|[2001:db8::] 1",
            "2001:db9::1 1|32.1.13.184 1",
        ),
        ("[2001:db8::]/32", "2001:db8:1::1 1", "2001:db9::1 1"),
        ("[2001:db8::/32]", "2001:db8:1::1 1", "2001:db9::1 1"),
        ("::/0", "2001:db8::1 1", "10.0.0.1 1"),
        ("::ffff:10.0.0.0/104", "10.9.9.9 1", "11.0.0.0 1"),
        (
            "10.0.0.0/33,10.0.0.0/x,/8,:80,.,*.,a.test:x,a.test:99999",
            "",
            "10.0.0.1 80|a.test 80|x 80",
        ),
        ("", "", "x.test 1"),
    ] {
        for target in hit.split('|').filter(|target| !target.is_empty()) {
            check_exception(no_proxy, target, true);
        }
        for target in missed.split('|').filter(|target| !target.is_empty()) {
            check_exception(no_proxy, target, false);
        }
    }
}

#[test]
fn exceptions_of_both_cases_count() {
    let pairs = [
        ("http_proxy", "http://corp:1"),
        ("no_proxy", "a.test"),
        ("NO_PROXY", "b.test"),
    ];
    let parent = parent(&pairs).unwrap();
    for (host, route) in [("a.test", "direct"), ("b.test", "direct"), ("c.test", "http://corp:1")] {
        assert_eq!(shown(parent.for_target(Scheme::Http, host, 80)), route, "{host}");
    }
}

#[test]
fn this_machine_is_reached_by_a_proxy_on_this_machine_only() {
    let hosts = [
        "localhost",
        "app.localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "[::1]",
        "0.0.0.0",
    ];
    let remote = parent(&[("http_proxy", "http://corp:1")]).unwrap();
    let outer = parent(&[("http_proxy", "http://127.0.0.1:1")]).unwrap();
    let excepted = [
        ("http_proxy", "http://127.0.0.1:1"),
        ("no_proxy", "localhost,127.0.0.0/8,::1,0.0.0.0"),
    ];
    let usual_outer = parent(&excepted).unwrap();
    for host in hosts {
        assert_eq!(shown(remote.for_target(Scheme::Http, host, 80)), "direct", "{host}");
        assert_eq!(
            shown(outer.for_target(Scheme::Http, host, 80)),
            "http://127.0.0.1:1",
            "{host}"
        );
        assert_eq!(
            shown(usual_outer.for_target(Scheme::Http, host, 80)),
            "direct",
            "{host}"
        );
    }
    assert_eq!(
        shown(remote.for_target(Scheme::Http, "localhost.test", 80)),
        "http://corp:1"
    );
}

#[test]
fn no_text_makes_reading_panic() {
    // Every pair of awkward pieces, as an address and as an exception.
    let pieces = [
        "", "http://", "@", ":", "[", "]", "/", "%", "%4", "é", "::1", "10.0.0.0", "/8", "*", ".", "a", "99999", "\0",
    ];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                let text = format!("{first}{second}{third}");
                if let Ok(parent) = flag(&text, &[("no_proxy", &text)]) {
                    for host in ["", ".", "a", "[", "[]", "10.0.0.1", "::1"] {
                        let _: Route<'_> = parent.for_target(Scheme::Http, host, 80);
                    }
                }
            }
        }
    }
}

#[test]
fn the_options_survive_configuration() {
    let empty = ParentOptions::default();
    assert_eq!(serde_json::to_string(&empty).unwrap(), "{}");
    let options: ParentOptions = serde_json::from_str(r#"{"proxy": "http://a:1"}"#).unwrap();
    assert_eq!(options.proxy, Some(UpstreamProxy("http://a:1".to_owned())));
    assert_eq!(serde_json::to_string(&options).unwrap(), r#"{"proxy":"http://a:1"}"#);
    assert!(serde_json::from_str::<ParentOptions>(r#"{"upstream-proxi": "x"}"#).is_err());
}
