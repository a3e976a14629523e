//! What ends up in the child's environment, table by table.

use std::collections::BTreeSet;

use super::*;

/// The port of the proxy in these tests.
const PORT: u16 = 40123;

/// An environment of pairs.
fn environment<'a>(pairs: &[(&'a str, &'a str)]) -> Environment<'a> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (OsStr::new(*name), OsStr::new(*value)))
        .collect()
}

/// The changes for a proxy on loopback.
fn changed(inherited: &Environment<'_>, settings: &Settings) -> Vec<Change> {
    let proxy = SocketAddr::from(([127, 0, 0, 1], PORT));
    changes(inherited, proxy, None, "run-1", settings)
}

/// The environment that the child ends up with.
fn applied(inherited: &Environment<'_>, settings: &Settings) -> BTreeMap<OsString, OsString> {
    let inherited_pairs = inherited.iter().map(|(name, value)| (name.into(), value.into()));
    let mut environment: BTreeMap<OsString, OsString> = inherited_pairs.collect();
    for Change { name, value, .. } in changed(inherited, settings) {
        match value {
            Some(value) => environment.insert(name.into(), value),
            None => environment.remove(OsString::from(name).as_os_str()),
        };
    }
    environment
}

/// A variable of the child.
fn variable(inherited: &[(&str, &str)], settings: &Settings, name: &str) -> Option<String> {
    let value = applied(&environment(inherited), settings).remove(OsString::from(name).as_os_str())?;
    Some(value.into_string().unwrap())
}

/// Settings with these families.
fn families(list: &str) -> Settings {
    Settings {
        families: list.parse::<FamilyList>().unwrap().0,
        ..Settings::default()
    }
}

/// Settings under which loopback is proxied.
fn proxied() -> Settings {
    Settings {
        loopback: Loopback::Proxied,
        ..Settings::default()
    }
}

/// Checks the child's `NO_PROXY`, in both cases and in npm's variable.
#[track_caller]
fn check_no_proxy(inherited: &[(&str, &str)], settings: &Settings, expected: &str) {
    for name in [
        "no_proxy",
        "NO_PROXY",
        "npm_config_noproxy",
        "GLOBAL_AGENT_NO_PROXY",
        "no_grpc_proxy",
    ] {
        let found = variable(inherited, settings, name);
        assert_eq!(
            found.as_deref(),
            Some(expected),
            "{name} from {inherited:?} under {:?}",
            settings.loopback
        );
    }
}

/// Checks the exceptions among the JVM's options.
#[track_caller]
fn check_java(inherited: &[(&str, &str)], settings: &Settings, expected: &str) {
    let options = variable(inherited, settings, "JAVA_TOOL_OPTIONS").unwrap();
    let (_, exceptions) = options.rsplit_once("-Dhttp.nonProxyHosts=").unwrap();
    assert_eq!(exceptions, expected, "{inherited:?} under {:?}", settings.loopback);
}

/// Checks what a list of families comes to.
#[track_caller]
fn check_list(list: &str, expected: &str) {
    assert_eq!(list.parse::<FamilyList>().unwrap().to_string(), expected, "{list}");
}

#[test]
fn an_empty_environment_gets_exactly_the_documented_variables() {
    let url = format!("http://127.0.0.1:{PORT}");
    let no_proxy = "localhost,127.0.0.1,::1";
    let expected = [
        ("AMB_PROXY_URL", url.as_str()),
        ("AMB_RUN_ID", "run-1"),
        ("CGI_HTTP_PROXY", &url),
        ("CLOUDSDK_PROXY_ADDRESS", "127.0.0.1"),
        ("CLOUDSDK_PROXY_PORT", "40123"),
        ("CLOUDSDK_PROXY_TYPE", "http"),
        ("ELECTRON_GET_USE_PROXY", "1"),
        ("GLOBAL_AGENT_HTTP_PROXY", &url),
        ("GLOBAL_AGENT_NO_PROXY", no_proxy),
        ("HTTPS_PROXY", &url),
        ("HTTP_PROXY", &url),
        (
            "JAVA_TOOL_OPTIONS",
            "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=40123 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=40123 \
             -Dhttp.nonProxyHosts=localhost|127.*|[::1]|*.localhost|127.0.0.1",
        ),
        ("MOJO_PROXY", "1"),
        ("NODE_USE_ENV_PROXY", "1"),
        ("NO_PROXY", no_proxy),
        ("PERL_LWP_ENV_PROXY", "1"),
        ("WSS_PROXY", &url),
        ("WS_PROXY", &url),
        ("YARN_HTTPS_PROXY", &url),
        ("YARN_HTTP_PROXY", &url),
        ("grpc_proxy", &url),
        ("http_proxy", &url),
        ("https_proxy", &url),
        ("no_grpc_proxy", no_proxy),
        ("no_proxy", no_proxy),
        ("npm_config_https_proxy", &url),
        ("npm_config_noproxy", no_proxy),
        ("npm_config_proxy", &url),
        ("ws_proxy", &url),
        ("wss_proxy", &url),
    ];
    let changes = changed(&Environment::new(), &Settings::default());
    let found: Vec<_> = changes
        .iter()
        .map(|change| (change.name.as_str(), change.value.as_ref().unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn nothing_unrelated_is_ever_touched() {
    let foreign = [
        ("PATH", "/bin"),
        ("LANG", "C"),
        ("http_proxyx", "1"),
        ("SSL_CERT_FILE", "/x"),
        ("NODE_OPTIONS", "-x"),
    ];
    let related = [
        ("http_proxy", "http://corp:3128"),
        ("NO_PROXY", "corp,localhost"),
        ("all_proxy", "socks5://corp"),
        ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
        ("REQUEST_METHOD", "GET"),
        ("NPM_CONFIG_PROXY", "http://corp"),
        ("RSYNC_PROXY", "corp:873"),
    ];
    // Every subset of the related ones, with all families and with the default.
    for subset in 0..1_u32 << related.len() {
        let chosen = related
            .iter()
            .enumerate()
            .filter(|(index, _)| subset & (1 << index) != 0);
        let pairs: Vec<_> = foreign.iter().chain(chosen.map(|(_, pair)| pair)).copied().collect();
        let inherited = environment(&pairs);
        for settings in [families("all"), families("default"), families("none"), proxied()] {
            let changes = changed(&inherited, &settings);
            let names: Vec<_> = changes.iter().map(|change| change.name.clone()).collect();
            assert!(
                names.is_sorted() && names.iter().collect::<BTreeSet<_>>().len() == names.len(),
                "{names:?}"
            );
            assert_eq!(changes, changed(&inherited, &settings));
            let environment = applied(&inherited, &settings);
            for (name, value) in foreign {
                assert_eq!(
                    environment.get(OsString::from(name).as_os_str()).unwrap(),
                    value,
                    "{name}"
                );
            }
            for name in inherited.keys() {
                let kept = environment.contains_key(*name);
                assert!(kept || *name == "HTTP_PROXY", "{} was lost", name.display());
            }
            // What is there already is not set again: amb inside itself, with the same proxy, changes nothing.
            let again: Vec<_> = environment.into_iter().collect();
            let again = changed(&super::environment(&again), &settings);
            let again: Vec<_> = again
                .iter()
                .filter(|change| change.name != "JAVA_TOOL_OPTIONS")
                .collect();
            assert!(again.is_empty(), "{again:?}");
        }
    }
}

#[test]
fn no_family_leaves_the_markers_alone() {
    let changes = changed(&Environment::new(), &families("none"));
    let found: Vec<_> = changes
        .iter()
        .map(|change| (change.name.as_str(), change.origin))
        .collect();
    assert_eq!(found, [(PROXY_URL, Origin::Marker), (RUN_ID, Origin::Marker)]);
}

#[test]
fn no_certificate_and_no_yarn_exception_is_ever_set() {
    for change in changed(&Environment::new(), &families("all")) {
        let name = change.name.to_ascii_uppercase();
        assert!(
            !["SSL", "CERT", "CA_", "CAFILE"].iter().any(|part| name.contains(part)),
            "{name}"
        );
        assert_ne!(name, "YARN_NO_PROXY");
    }
}

#[test]
fn a_value_that_is_not_text_survives_beside_ours() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"-Dname=\xff".to_vec());
    let inherited = [
        ("JAVA_TOOL_OPTIONS".into(), odd),
        ("NO_PROXY".into(), OsString::from_vec(vec![0xfe])),
    ];
    let environment = applied(&super::environment(&inherited), &Settings::default());
    let options = environment
        .get(OsString::from("JAVA_TOOL_OPTIONS").as_os_str())
        .unwrap();
    assert!(options.as_encoded_bytes().starts_with(b"-Dname=\xff -Dhttp.proxyHost="));
}

#[test]
fn the_users_no_proxy_is_kept_and_loopback_added() {
    let direct = Settings::default();
    check_no_proxy(&[], &direct, "localhost,127.0.0.1,::1");
    check_no_proxy(&[("NO_PROXY", "")], &direct, "localhost,127.0.0.1,::1");
    check_no_proxy(
        &[("NO_PROXY", "b.test,.a.test")],
        &direct,
        "b.test,.a.test,localhost,127.0.0.1,::1",
    );
    check_no_proxy(
        &[("no_proxy", "x, 10.0.0.0/8  y")],
        &direct,
        "x,10.0.0.0/8,y,localhost,127.0.0.1,::1",
    );
    // Lower case first, then what only the upper case has; no doubles, whatever their case.
    let both = [("NO_PROXY", "c,A"), ("no_proxy", "a,b,a")];
    check_no_proxy(&both, &direct, "a,b,c,localhost,127.0.0.1,::1");
    check_no_proxy(&[("no_proxy", "Localhost,::1")], &direct, "Localhost,::1,127.0.0.1");
    let extra = Settings {
        no_proxy: vec!["db.test".into(), "q,r".into()],
        ..Settings::default()
    };
    check_no_proxy(&[("no_proxy", "a")], &extra, "a,db.test,q,r,localhost,127.0.0.1,::1");
}

#[test]
fn a_star_stays_alone() {
    check_no_proxy(&[("no_proxy", "*")], &Settings::default(), "*");
    check_no_proxy(&[("no_proxy", "a"), ("NO_PROXY", "*")], &Settings::default(), "*");
    check_no_proxy(&[("no_proxy", "*")], &proxied(), "*");
    let extra = Settings {
        no_proxy: vec!["*".into()],
        ..Settings::default()
    };
    check_no_proxy(&[("no_proxy", "a")], &extra, "*");
    // For some clients this excepts everything, for others nothing but `a`: it is not amb's to choose.
    check_no_proxy(
        &[("no_proxy", "a,*")],
        &Settings::default(),
        "a,*,localhost,127.0.0.1,::1",
    );
    check_no_proxy(
        &[("no_proxy", "*.a")],
        &Settings::default(),
        "*.a,localhost,127.0.0.1,::1",
    );
}

#[test]
fn proxied_loopback_leaves_only_the_proxy_itself() {
    let itself = "127.0.0.1:40123";
    check_no_proxy(&[], &proxied(), itself);
    for loopback in [
        "localhost",
        "LOCALHOST.",
        ".localhost",
        "*.localhost",
        "app.localhost",
        "localhost:80",
        "127.0.0.1",
        "127.1.2.3",
        "127.0.0.0/8",
        "127.0.0.1/32",
        "127.*",
        "127.0.0.1:99",
        "::1",
        "[::1]",
        "[::1]:80",
        "::1/128",
        "::ffff:127.0.0.1",
        "localhost.localdomain",
    ] {
        check_no_proxy(&[("NO_PROXY", loopback)], &proxied(), itself);
    }
    for kept in [
        "localhost.test",
        "mylocalhost",
        "126.0.0.0/7",
        "128.0.0.1",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "::2",
        "::/0",
        "1.test:80",
        "127.0.0.1.test",
        "::1/64",
    ] {
        check_no_proxy(&[("NO_PROXY", kept)], &proxied(), &format!("{kept},{itself}"));
    }
    let extra = Settings {
        no_proxy: vec!["localhost:9".into()],
        ..proxied()
    };
    check_no_proxy(&[], &extra, "localhost:9,127.0.0.1:40123");
}

#[test]
fn a_proxy_on_another_address_is_excepted_by_name() {
    for (bound, url, no_proxy) in [
        (
            "10.1.2.3:99",
            "http://10.1.2.3:99",
            "localhost,127.0.0.1,::1,10.1.2.3:99",
        ),
        ("0.0.0.0:99", "http://127.0.0.1:99", "localhost,127.0.0.1,::1"),
        (
            "127.0.0.2:99",
            "http://127.0.0.2:99",
            "localhost,127.0.0.1,::1,127.0.0.2:99",
        ),
        ("[::1]:99", "http://[::1]:99", "localhost,127.0.0.1,::1"),
        ("[::]:99", "http://[::1]:99", "localhost,127.0.0.1,::1"),
        // httpx would die on the brackets.
        ("[fd00::1]:99", "http://[fd00::1]:99", "localhost,127.0.0.1,::1"),
    ] {
        let changes = changes(
            &Environment::new(),
            bound.parse().unwrap(),
            None,
            "1",
            &families("proxy"),
        );
        let value = |name: &str| {
            let change = changes.iter().find(|change| change.name == name).unwrap();
            change.value.clone().unwrap().into_string().unwrap()
        };
        assert_eq!(
            (value("http_proxy").as_str(), value("no_proxy").as_str()),
            (url, no_proxy),
            "{bound}"
        );
    }
}

#[test]
fn java_gets_the_exceptions_in_its_own_words() {
    let base = "localhost|127.*|[::1]";
    let of = |no_proxy, expected: &str| {
        let expected = format!(
            "{base}|{expected}{}*.localhost|127.0.0.1",
            if expected.is_empty() { "" } else { "|" }
        );
        check_java(&[("no_proxy", no_proxy)], &Settings::default(), &expected);
    };
    of("a.test", "a.test|*.a.test");
    of(".a.test", "a.test|*.a.test");
    of("*.a.test", "*.a.test");
    of("10.1.2.3", "10.1.2.3");
    of("fe80::1", "[fe80::1]");
    of("[fe80::1]", "[fe80::1]");
    of("192.168.*", "192.168.*");
    of("10.0.0.0/8", "10.*");
    of("10.9.8.7/16", "10.9.*");
    of("192.168.4.0/23", "192.168.4.*|192.168.5.*");
    of("10.0.0.4/31", "10.0.0.4|10.0.0.5");
    of("10.0.0.4/32", "10.0.0.4");
    let private: Vec<_> = (16..32).map(|second| format!("172.{second}.*")).collect();
    of("172.16.0.0/12", &private.join("|"));
    // What Java cannot say is left to the proxy, not said wider.
    for unsaid in [
        "a.test:8080",
        "10.0.0.0/9",
        "10.0.0.0/33",
        "10.0.0.0/x",
        "fe80::/10",
        "a'b",
        "a|b",
        "\"x",
    ] {
        of(unsaid, "");
    }
    check_java(&[], &proxied(), "");
    check_java(&[("no_proxy", "a.test,localhost")], &proxied(), "a.test|*.a.test");
}

#[test]
fn java_keeps_the_users_options_and_exceptions() {
    let own = "-Xmx1g -Dhttp.proxyHost=corp -Dhttp.nonProxyHosts=old '-Dhttp.nonProxyHosts=x.test|localhost'";
    let inherited = [("JAVA_TOOL_OPTIONS", own)];
    let options = variable(&inherited, &Settings::default(), "JAVA_TOOL_OPTIONS").unwrap();
    assert!(
        options.starts_with(&format!("{own} -Dhttp.proxyHost=127.0.0.1 ")),
        "{options}"
    );
    check_java(
        &inherited,
        &Settings::default(),
        "localhost|127.*|[::1]|x.test|*.localhost|127.0.0.1",
    );
    check_java(&inherited, &proxied(), "x.test");
}

#[test]
fn java_8_never_loses_the_users_options_to_ours() {
    let long_list: Vec<_> = (0..40).map(|index| format!("host-{index}.example.test")).collect();
    let long_list = long_list.join(",");
    check_java(
        &[("no_proxy", &long_list)],
        &Settings::default(),
        "localhost|127.*|[::1]",
    );
    let own = "x".repeat(900);
    assert_eq!(
        variable(
            &[("JAVA_TOOL_OPTIONS", &own)],
            &Settings::default(),
            "JAVA_TOOL_OPTIONS"
        )
        .unwrap(),
        own
    );
    let longer = "x".repeat(1100);
    let options = variable(
        &[("JAVA_TOOL_OPTIONS", &longer)],
        &Settings::default(),
        "JAVA_TOOL_OPTIONS",
    )
    .unwrap();
    assert!(options.starts_with(&longer) && options.contains(" -Dhttp.proxyHost="));
}

#[test]
fn in_a_cgi_environment_the_upper_case_name_is_not_trusted() {
    let inherited = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://stranger.test")];
    assert_eq!(variable(&inherited, &Settings::default(), "HTTP_PROXY"), None);
    assert_eq!(variable(&inherited[..1], &Settings::default(), "HTTP_PROXY"), None);
    for name in ["http_proxy", "CGI_HTTP_PROXY", "HTTPS_PROXY"] {
        assert_eq!(
            variable(&inherited, &Settings::default(), name).unwrap(),
            format!("http://127.0.0.1:{PORT}"),
            "{name}"
        );
    }
    let lines = difference(
        &environment(&inherited),
        &changed(&environment(&inherited), &families("proxy")),
    );
    assert!(
        lines.contains(&"- HTTP_PROXY  (was http://stranger.test)".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn perls_lwp_is_told_only_what_it_survives() {
    let perl =
        |inherited: &[(&str, &str)], list: &str| variable(inherited, &families(list), "PERL_LWP_ENV_PROXY").is_some();
    assert!(perl(&[], "default") && perl(&[], "all"));
    for (name, value) in [
        ("ftp_proxy", "http://corp:1"),
        ("ftp_proxy", "corp:1"),
        ("ftp_proxy", ""),
        ("RSYNC_PROXY", "127.0.0.1:873"),
        ("http_proxy", "10.0.0.1:1"),
    ] {
        assert!(perl(&[(name, value)], "default"), "{name}={value}");
    }
    for (name, value) in [
        ("ftp_proxy", "10.0.0.1:1"),
        ("FTP_PROXY", "http:corp"),
        ("gopher_proxy", "http://"),
    ] {
        assert!(!perl(&[(name, value)], "default"), "{name}={value}");
    }
    // What amb itself sets counts, in place of what was there.
    assert!(perl(&[("ftp_proxy", "10.0.0.1:1")], "all"));
    assert!(!perl(&[("http_proxy", "10.0.0.1:1")], "perl"));
    assert!(!perl(&[("name", "1"), ("NAME", "2")], "default"));
    assert!(perl(
        &[("name", "1"), ("NAME", "1"), ("Name", ""), ("nAME", "0")],
        "default"
    ));
}

#[test]
fn npm_is_told_in_every_spelling_the_user_has() {
    let inherited = [
        ("NPM_CONFIG_PROXY", "http://corp"),
        ("npm_config_HTTPS_PROXY", "http://corp"),
    ];
    let url = format!("http://127.0.0.1:{PORT}");
    for name in [
        "npm_config_proxy",
        "NPM_CONFIG_PROXY",
        "npm_config_HTTPS_PROXY",
        "npm_config_https_proxy",
    ] {
        assert_eq!(variable(&inherited, &families("npm"), name).unwrap(), url, "{name}");
    }
}

#[test]
fn a_list_of_families_reads_from_left_to_right() {
    check_list("proxy", "proxy");
    check_list("node, proxy,node", "proxy,node");
    check_list("none", "none");
    check_list("all,none,pip", "pip");
    check_list("proxy,node,-proxy", "node");
    check_list(
        "-java",
        "proxy,websocket,node,npm,yarn,gcloud,grpc,cgi,global-agent,electron,python,ruby,php,cargo,deno,hex,aws,guile,wget,\
         apt,traceparent,perl",
    );
    assert_eq!("default".parse::<FamilyList>().unwrap(), FamilyList::default());
    assert_eq!(
        "all".parse::<FamilyList>().unwrap().0.len(),
        <Family as clap::ValueEnum>::value_variants().len()
    );
    let refused = |list: &str| list.parse::<FamilyList>().unwrap_err();
    assert_eq!(
        refused("proxi"),
        "`proxi` is not a family of variables: did you mean `proxy`?"
    );
    assert!(refused("zzz").contains("choose from proxy, all-proxy, "));
    assert!(refused("").contains("`none`"));
    assert!(refused("Proxy").contains("did you mean `proxy`?"));
}

#[test]
fn a_list_of_families_survives_configuration() {
    for list in ["proxy,global-agent", "none", "all"] {
        let list: FamilyList = list.parse().unwrap();
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<FamilyList>(&text).unwrap(), list, "{text}");
    }
    let read = |json| serde_json::from_str::<FamilyList>(json);
    assert_eq!(read("[]").unwrap().0, []);
    assert_eq!(read(r#"["all", "-java"]"#).unwrap(), read(r#""all,-java""#).unwrap());
    assert!(
        read(r#"["jaba"]"#)
            .unwrap_err()
            .to_string()
            .contains("did you mean `java`?")
    );
    assert!(read("3").unwrap_err().to_string().contains("a list of families"));
}

#[test]
fn the_difference_shows_no_secret() {
    let inherited = environment(&[
        ("http_proxy", "http://joe:s3cr3t@corp:3128"),
        ("https_proxy", "joe:s3cr3t@corp:3128"),
        ("HTTP_PROXY", "http://joe:s3cr3t@x/y@corp"),
        (
            "JAVA_TOOL_OPTIONS",
            "-Dhttp.proxyPassword=s3cr3t -Da=http://t:s3cr3t@h -Xmx1g",
        ),
        ("no_proxy", "a\u{1b}[31m"),
    ]);
    let lines = difference(&inherited, &changed(&inherited, &Settings::default()));
    let text = lines.join("\n");
    assert!(
        !text.contains("s3cr3t") && !text.contains("joe") && !text.contains('\u{1b}'),
        "{text}"
    );
    for line in [
        "+ AMB_RUN_ID=run-1",
        "~ http_proxy=http://127.0.0.1:40123  (was http://***@corp:3128)",
        "~ https_proxy=http://127.0.0.1:40123  (was ***@corp:3128)",
        "~ HTTP_PROXY=http://127.0.0.1:40123  (was http://***@corp)",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(
        text.contains("(was -Dhttp.proxyPassword=*** -Da=http://***@h -Xmx1g)"),
        "{text}"
    );
    assert!(text.contains("(was a\\u{1b}[31m)"), "{text}");
}

/// What is trusted in these tests: every variable leads to a file of its name.
fn certificates() -> trust::Files {
    let names = [
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "npm_config_cafile",
        "WGETRC",
        "PERL_LWP_SSL_CA_FILE",
    ];
    let leading = names.map(|name| (name, Some(OsString::from(format!("/run/{name}")))));
    trust::Files {
        authority: "/run/amb.pem".into(),
        variables: leading
            .into_iter()
            .chain([("SSL_CERT_DIR", None)])
            .map(|(name, value)| (name.into(), value))
            .collect(),
        java_options: vec!["-Djavax.net.ssl.trustStore=/run/java.jks".to_owned()],
        notes: Vec::new(),
    }
}

/// The variables of the child that lead to certificates, by name.
fn trusting(inherited: &[(&str, &str)], list: &str) -> BTreeMap<String, Option<String>> {
    let proxy = SocketAddr::from(([127, 0, 0, 1], PORT));
    let inherited = environment(inherited);
    let found = changes(&inherited, proxy, Some(&certificates()), "run-1", &families(list));
    let without = changes(&inherited, proxy, None, "run-1", &families(list));
    let found = found.into_iter().filter(|change| !without.contains(change));
    found
        .map(|change| (change.name, change.value.map(|value| value.into_string().unwrap())))
        .collect()
}

#[test]
fn certificates_come_with_the_families_of_their_programs() {
    let names = |inherited: &[(&str, &str)], list| trusting(inherited, list).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&[], "none"), [CA_FILE]);
    assert_eq!(names(&[], "proxy"), [CA_FILE, "CURL_CA_BUNDLE", "SSL_CERT_FILE"]);
    assert_eq!(names(&[], "node,wget"), [CA_FILE, "NODE_EXTRA_CA_CERTS", "WGETRC"]);
    assert_eq!(
        names(&[], "default"),
        [
            CA_FILE,
            "CURL_CA_BUNDLE",
            "JAVA_TOOL_OPTIONS",
            "NODE_EXTRA_CA_CERTS",
            "PERL_LWP_SSL_CA_FILE",
            "SSL_CERT_FILE",
            "WGETRC",
            "npm_config_cafile"
        ]
    );
    let set = trusting(&[("SSL_CERT_DIR", "/x"), ("SSL_CERT_FILE", "/y")], "proxy");
    assert_eq!(set["SSL_CERT_DIR"], None);
    assert_eq!(set["SSL_CERT_FILE"].as_deref(), Some("/run/SSL_CERT_FILE"));
    assert_eq!(set[CA_FILE].as_deref(), Some("/run/amb.pem"));
    let of_npm = trusting(&[("NPM_CONFIG_CAFILE", "/x")], "npm");
    for name in ["NPM_CONFIG_CAFILE", "npm_config_cafile"] {
        assert_eq!(of_npm[name].as_deref(), Some("/run/npm_config_cafile"), "{name}");
    }
}

#[test]
fn java_gets_its_trust_store_behind_the_users_options_and_before_what_may_be_cut() {
    let options = |inherited: &[(&str, &str)]| trusting(inherited, "java").remove("JAVA_TOOL_OPTIONS").flatten();
    let store = "-Djavax.net.ssl.trustStore=/run/java.jks";
    let found = options(&[("JAVA_TOOL_OPTIONS", "-Xmx1g")]).unwrap();
    assert!(
        found.starts_with(&format!("-Xmx1g {store} -Dhttp.proxyHost=")),
        "{found}"
    );
    let many: Vec<_> = (0..40).map(|index| format!("host-{index}.example.test")).collect();
    let found = options(&[("no_proxy", &many.join(","))]).unwrap();
    assert!(found.starts_with(store) && found.len() <= 1023, "{found}");
    assert_eq!(options(&[("JAVA_TOOL_OPTIONS", &"x".repeat(900))]), None);
}
