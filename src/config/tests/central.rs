//! The central policy: what it enforces holds, whatever anybody says, and how it is read.

mod hostile;

use std::{os::unix::fs::PermissionsExt, time::Duration};

use super::*;

/// The value of a key under a policy that enforces this, and what was said of it.
#[track_caller]
fn under(enforce: &str, said: &str, key: &str) -> (serde_json::Value, Vec<String>) {
    let scene = Scene::new().policy(&format!("id = 'p'\n[enforce]\n{enforce}\n"));
    let scene = scene.file("given.toml", said).explicit("given.toml");
    let (_, sources) = load(&scene.request).unwrap_or_else(|errors| panic!("{enforce}\n{said}\n{errors}"));
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    let warnings = sources.warnings.iter().map(|warning| warning.reason.clone()).collect();
    (sources.value(&path).unwrap_or_default(), warnings)
}

/// Bounds and values, a line each: the key, its bound, what is said, which key is looked at if it is another, and its value.
const TABLE: &str = r#"
egress.mode | at-least = 'enforce' | egress.mode = 'off' |  | "enforce"
egress.mode | at-least = 'enforce' |  |  | "enforce"
egress.mode | at-least = 'audit' | egress.mode = 'enforce' |  | "enforce"
egress.mode | at-least = 'audit' |  |  | null
egress.mode | at-least = 'audit' | egress.mode = 'block' |  | "audit"
retry.level | at-most = 'safe' | retry.level = 'all' |  | "safe"
retry.level | at-most = 'safe' | retry.level = 'off' |  | "off"
tls.min-version | at-least = '1.3' |  |  | "1.3"
retry.attempts | max = 3 | retry.attempts = 5 |  | 3
retry.attempts | max = 3 | retry.attempts = 3 |  | 3
retry.attempts | max = 3 | retry.attempts = 1 |  | 1
retry.attempts | max = 1 | retry.level = 'safe' |  | 1
run.threads | min = 2 | run.threads = 1 |  | 2
run.threads | min = 2, max = 4 | run.threads = 9 |  | 4
timeout.request | max = '60s' | timeout.request = '5m' |  | "60s"
timeout.request | max = '60s' | timeout.request = '59s' |  | "59s"
timeout.request | max = '60s' | timeout.request = '60000ms' |  | "60000ms"
timeout.request | max = '60s' | timeout.request = '0s' |  | "60s"
timeout.request | max = '60s' |  |  | "60s"
timeout.request | min = '10s' | timeout.request = '1s' |  | "10s"
timeout.request | min = '10s' | timeout.request = '0s' |  | "0s"
timeout.connect | max = '5s' |  |  | "5s"
rate-limit.requests | max = '50/s' | rate-limit.requests = '100/s' |  | "50/s"
retry.level | at-most = 'safe' |  |  | null
retry.attempts | max = 1 |  |  | null
rate-limit.requests | max = '50/s' | rate-limit.requests = '60/m' |  | "60/m"
rate-limit.requests | max = '50/s' |  |  | "50/s"
retry.buffer-limit | max = '64KiB' | retry.buffer-limit = '1MiB' |  | "64KiB"
bandwidth.upload | max = '1MiB/s' |  |  | "1MiB/s"
egress.deny | include = ['metadata'] |  |  | ["metadata"]
egress.deny | include = ['metadata'] | egress.deny = ['a.test'] |  | ["a.test", "metadata"]
egress.deny | include = ['metadata'] | egress.deny = ['metadata'] |  | ["metadata"]
tls.never | include = ['*.bank.test'] | tls.never = 'a.test, *.BANK.test' |  | "a.test, *.BANK.test"
egress.allow | within = ['**.acme.test', 'api.test:443', '10.0.0.0/8'] | egress.allow = ['a.acme.test', '*.b.acme.test:80', 'api.test:443', 'api.test', '10.1.0.0/16', '10.0.0.0/7', '*', 'acme.test', 'private'] |  | ["a.acme.test", "*.b.acme.test:80", "api.test:443", "10.1.0.0/16"]
egress.allow | within = ['a.test'] | egress.default = 'allow' | egress.default | "deny"
egress.allow | within = ['a.test'] |  | egress.default | "deny"
headers.via | equals = true | headers.via = false |  | true
run.listen | equals = '127.0.0.1:8080' |  |  | "127.0.0.1:8080"
"#;

#[test]
fn what_is_looser_becomes_the_bound_and_what_is_stricter_stays() {
    for line in TABLE.trim().lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [bounded, bound, said, other, wanted] = parts[..] else {
            panic!("{line}");
        };
        let key = if other.is_empty() { bounded } else { other };
        let (value, warnings) = under(&format!("'{bounded}' = {{ {bound} }}"), said, key);
        let wanted: serde_json::Value = serde_json::from_str(wanted).unwrap();
        assert_eq!(value, wanted, "{line}");
        let bare = |text: &str| text.replace(['\'', '"', ' '], "");
        let given = said.split_once(" = ").filter(|(name, _)| *name == key);
        let stays = value.is_null() || given.is_some_and(|(_, given)| bare(given) == bare(&value.to_string()));
        assert_eq!(
            warnings.is_empty(),
            stays,
            "what is changed is told, and nothing else: {line}: {warnings:?}"
        );
    }
}

#[test]
fn a_bound_holds_in_routes_too() {
    let scene = Scene::new()
        .policy("[enforce]\n'timeout.request' = { max = '60s' }\n'retry.attempts' = { max = 1 }\n")
        .file(
            "given.toml",
            "[[route]]\nid = 'a'\nmatch.host = 'a.test'\ntimeout = { request = '0s' }\nretry = { level = 'all' }\n\
             [[route]]\nid = 'b'\nmatch.host = 'b.test'\ntimeout = { request = '30s' }\nretry = { level = 'all', attempts = 9 }\n",
        )
        .explicit("given.toml");
    let config = scene.config();
    let rules: Vec<_> = config
        .policy
        .routes()
        .iter()
        .map(crate::policy::route::Route::rules)
        .collect();
    let limits: Vec<_> = rules
        .iter()
        .map(|rules| rules.timeouts.request.map(|limit| limit.as_secs()))
        .collect();
    assert_eq!(limits, [Some(60), Some(30)]);
    assert_eq!(rules.iter().map(|rules| rules.retry.most).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn no_layer_is_above_it() {
    let policy = "[defaults]\ntimeout.request = '30s'\n[enforce]\n'timeout.connect' = { max = '2s' }\n\
                  'egress.mode' = { at-least = 'enforce' }\n";
    let scene = Scene::new()
        .policy(policy)
        .system("timeout.connect = '3s'")
        .user("timeout.connect = '4s'")
        .variable("AMB_TIMEOUT__CONNECT", "5s")
        .variable("AMB_EGRESS__MODE", "off")
        .flags(&["--connect-timeout=6s", "--egress=off"])
        .set("timeout.connect='7s'");
    let config = scene.config();
    assert_eq!(config.policy.rules.timeouts.connect, Duration::from_secs(2));
    assert_eq!(config.policy.rules.timeouts.request, Some(Duration::from_secs(30)));
    assert!(config.policy.egress.as_ref().is_some_and(|egress| egress.enforced));
    assert!(
        scene.source("timeout.connect").ends_with("policy.toml:4:21"),
        "{}",
        scene.source("timeout.connect")
    );
    assert!(scene.source("timeout.request").ends_with("policy.toml:2:19"));
    // What is left out is left out of the others.
    let mut scene = scene;
    scene.request.no_config = true;
    assert_eq!(scene.config().policy.rules.timeouts.connect, Duration::from_secs(2));
    // Its defaults are below everything.
    let scene = Scene::new().policy(policy).system("timeout.request = '31s'");
    assert_eq!(
        scene.config().policy.rules.timeouts.request,
        Some(Duration::from_secs(31))
    );
}

#[test]
fn a_bound_can_be_lifted_by_the_variable_that_it_names() {
    let policy = "[enforce]\n'headers.via' = { equals = true, unless-env = 'CI' }\n";
    let scene = || Scene::new().policy(policy).set("headers.via=false");
    assert!(scene().config().policy.via);
    assert!(scene().variable("CI", "").config().policy.via);
    assert!(!scene().variable("CI", "1").config().policy.via);
}

#[test]
fn what_has_no_safe_value_lets_nothing_start() {
    for (enforce, said, wanted) in [
        (
            "'tls.client-cert' = { forbidden = true }",
            "tls = { client-cert = 'c', client-key = 'k' }",
            "forbids it",
        ),
        ("'access-log.file' = { required = true }", "", "requires it"),
    ] {
        let scene = Scene::new().policy(&format!("[enforce]\n{enforce}\n"));
        let scene = scene.file("given.toml", said).explicit("given.toml");
        let mistakes = scene.mistakes();
        assert!(mistakes.iter().any(|mistake| mistake.contains(wanted)), "{mistakes:?}");
    }
    let scene = Scene::new().policy("[enforce]\n'access-log.file' = { required = true }\n");
    drop(scene.set("access-log.file='-'").config());
}

#[test]
fn a_policy_that_cannot_be_trusted_lets_nothing_start() {
    for (text, wanted) in [
        ("[enforce", "invalid"),
        (
            "idd = 'x'",
            "unknown key `idd`; a policy has version, id, contact, defaults, enforce",
        ),
        ("id = 5", "`id` is a text"),
        ("enforce = 1", "expected a table"),
        ("[defaults]\ntimeout.conect = '1s'", "unknown key `conect`"),
        ("[enforce]\n'timeout.conect' = { max = '1s' }", "unknown field"),
        ("[enforce]\n'timeout.connect' = { mxa = '1s' }", "timeout.connect"),
        (
            "[enforce]\n'timeout.connect' = { max = 'x' }",
            "timeout.connect cannot be that",
        ),
        (
            "[enforce]\n'timeout.connect' = { at-least = '1s' }",
            "the words of timeout.connect have no order",
        ),
        (
            "[enforce]\n'egress.mode' = { at-least = 'strict' }",
            "expected one of off, audit, enforce",
        ),
        ("[enforce]\n'timeout.connect' = '1s'", "wants a table of at-least"),
        ("[enforce]\n'tls.never' = { include = [] }", "wants a list"),
        (
            "[enforce]\n'access-log.file' = { required = false }",
            "`required` is true or is left out",
        ),
    ] {
        let mistakes = Scene::new().policy(text).mistakes();
        assert!(
            mistakes.iter().any(|mistake| mistake.contains(wanted)),
            "{text}: {mistakes:?}"
        );
    }
    let scene = Scene::new().policy("");
    let path = scene.request.policy_directory.clone().unwrap().join("policy.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let mistakes = scene.mistakes();
    assert!(
        mistakes[0].contains("others than root can write to this central policy"),
        "{mistakes:?}"
    );
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap();
    let mistakes = scene.mistakes();
    assert!(mistakes[0].ends_with("policy.toml: leads nowhere"), "{mistakes:?}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(scene.mistakes().len(), 1);
}

#[test]
fn further_files_add_to_it_in_the_order_of_their_names() {
    let scene = Scene::new().policy("id = 'first'\n[enforce]\n'retry.attempts' = { max = 5 }\n");
    let directory = scene.request.policy_directory.clone().unwrap().join("policy.d");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("20.toml"), "[enforce]\n'retry.attempts' = { max = 3 }\n").unwrap();
    fs::write(
        directory.join("10.toml"),
        "contact = 'us'\n[enforce]\n'egress.deny' = { include = ['metadata'] }\n",
    )
    .unwrap();
    fs::write(directory.join("notes.txt"), "not one").unwrap();
    let (config, sources) = load(&scene.set("retry.attempts=9").request).unwrap();
    assert_eq!(config.policy.rules.retry.most, 3);
    let egress = config.policy.egress.as_ref().unwrap();
    assert_eq!(egress.contact.as_deref(), Some("us"));
    let central = sources.central.unwrap();
    assert_eq!(central.id, "first, 10, 20");
    let keys: Vec<_> = central.clamps.iter().map(|clamp| &*clamp.key).collect();
    assert_eq!(keys, ["retry.attempts", "egress.deny", "retry.attempts"]);
}

#[test]
fn sources_of_secrets_and_ways_to_sign_in_can_be_forbidden_wherever_they_stand() {
    let secret = "[secret]\nx = { env = 'X' }\n";
    let of_route = |auth: &str| format!("{secret}[[route]]\nmatch = {{ host = 'h' }}\nauth = {auth}\n");
    let of_all = |auth: &str| format!("{secret}[auth]\n'h' = {auth}\n");
    let basic = "{ basic = { user = 'u', password = 'secret:x' } }";
    for (bound, file, refused) in [
        (
            "secret.*.command",
            "[secret]\nx = { command = ['x'] }\n".to_owned(),
            true,
        ),
        ("secret.*.command", secret.to_owned(), false),
        ("auth.*.bearer", of_all("'secret:x'"), true),
        ("auth.*.bearer", of_all("{ bearer = 'secret:x' }"), true),
        ("auth.*.bearer", of_route("'secret:x'"), true),
        ("auth.*.bearer", of_route(basic), false),
        ("auth.*.basic", of_all(basic), true),
        ("auth.*.basic", of_route(basic), true),
        ("auth.other.basic", of_route(basic), false),
    ] {
        let policy = format!("[enforce]\n'{bound}' = {{ forbidden = true }}\n");
        let scene = Scene::new().policy(&policy).user(&file);
        assert_eq!(load(&scene.request).is_err(), refused, "{bound}: {file}");
    }
}

#[test]
fn every_table_that_a_route_can_override_is_bounded_there_too() {
    let tables: std::collections::BTreeSet<&str> = schema::keys()
        .iter()
        .filter_map(
            |key| match key.path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["route", "*", table, ..] if schema::keys().iter().any(|key| key.path[0] == table) => Some(table),
                _ => None,
            },
        )
        .collect();
    let known: std::collections::BTreeSet<&str> = constrain::OF_ROUTES.into_iter().collect();
    assert_eq!(tables, known, "OF_ROUTES in src/config/constrain.rs");
    let paths: Vec<&[String]> = schema::keys().iter().map(|key| key.path.as_slice()).collect();
    let of_routes = |path: &[String]| [&["route".to_owned(), "*".to_owned()], path].concat();
    let of_all: Vec<[&str; 2]> = paths
        .iter()
        .filter(|path| path.len() == 2 && known.contains(&*path[0]))
        .filter(|path| !paths.contains(&of_routes(path).as_slice()))
        .map(|path| [&*path[0], &*path[1]])
        .collect();
    assert_eq!(of_all, constrain::OF_ALL, "OF_ALL in src/config/constrain.rs");
}
