//! A thousand configurations of somebody who wants more than the central policy allows: none gets it.

use std::time::Duration;

use super::super::{random::Dice, *};
use crate::policy::{egress::ByName, rules::Asked, tls::Version};

/// What a hostile user might say, in one place of many.
fn say(dice: &mut Dice) -> (&'static str, String) {
    let key = *dice.pick(&[
        "egress.mode",
        "egress.default",
        "egress.allow",
        "egress.deny",
        "egress.rule",
        "retry.attempts",
        "retry.level",
        "timeout.request",
        "timeout.connect",
        "tls.never",
        "tls.min-version",
        "rate-limit.requests",
        "route",
    ]);
    let of = |words: &[&str], dice: &mut Dice| (*dice.pick(words)).to_owned();
    let hosts = &[
        "['*']",
        "'evil.test'",
        "['ok.test', 'evil.test']",
        "['ok.test']",
        "'**.test'",
        "['0.0.0.0/0']",
        "['ok.test:80']",
        "[]",
        "'private, ok.test'",
    ];
    let value = match key {
        "egress.mode" => of(&["'off'", "'audit'", "'enforce'", "'block'"], dice),
        "egress.default" => of(&["'allow'", "'deny'"], dice),
        "egress.allow" | "egress.deny" | "tls.never" => of(hosts, dice),
        "egress.rule" => {
            let host = of(&["'*'", "'ok.test'", "'evil.test'", "['ok.test', '*.test']"], dice);
            let action = of(&["allow", "deny"], dice);
            let matched = of(
                &[&format!("match = {{ host = {host} }}, "), "", "when = 'true', "],
                dice,
            );
            format!("[{{ {matched}action = '{action}' }}]")
        }
        "retry.attempts" => of(&["0", "1", "3", "4", "10"], dice),
        "retry.level" => of(&["'off'", "'safe'", "'idempotent'", "'all'"], dice),
        "timeout.request" | "timeout.connect" => of(&["'1s'", "'60s'", "'61s'", "'1h'", "'0s'", "'999999ms'"], dice),
        "tls.min-version" => of(&["'1.2'", "'1.3'"], dice),
        "rate-limit.requests" => of(&["'1/s'", "'50/s'", "'51/s'", "'100000/m'", "'1/h'"], dice),
        _ => {
            let limit = of(&["'1s'", "'61s'", "'0s'"], dice);
            let level = of(&["'off'", "'all'"], dice);
            let attempts = of(&["", ", attempts = 9", ", attempts = 1"], dice);
            let rate = of(&["", ", rate-limit = { requests = '900/s' }"], dice);
            format!(
                "[{{ match = {{ host = 'r.test' }}, timeout = {{ request = {limit} }}, retry = {{ level = {level}{attempts} }}{rate} }}]"
            )
        }
    };
    (key, value)
}

/// A configuration from all kinds of places.
fn anything(dice: &mut Dice, policy: &str) -> Scene {
    let mut scene = Scene::new().policy(policy);
    scene
        .request
        .environment
        .push(("HOME".into(), scene.directory.path().join("home").into()));
    scene.request.environment.push(("AMB_TRUST".into(), "1".into()));
    let mut files = BTreeMap::new();
    for _ in 0..dice.roll(0..7) {
        let (key, value) = say(dice);
        let is_list = matches!(
            key,
            "egress.allow" | "egress.deny" | "egress.rule" | "tls.never" | "route"
        );
        let written = match key.rsplit_once('.') {
            Some((table, name)) if is_list && dice.roll(0..3) == 0 => format!("{table}.extend-{name}"),
            None if dice.roll(0..3) == 0 => format!("extend-{key}"),
            _ => key.to_owned(),
        };
        match dice.roll(0..6) {
            0 => {
                scene.request.overrides.push(format!("{written}={value}"));
            }
            1 if key != "route" && key != "egress.rule" => {
                let name = format!("AMB_{}", key.to_uppercase().replace('.', "__").replace('-', "_"));
                let text = value.trim_matches(['\'', '[', ']']).replace('\'', "");
                scene.request.environment.retain(|(known, _)| *known != *name);
                scene.request.environment.push((name.into(), text.into()));
            }
            place => {
                let file = ["system.toml", "home/.config/amb/amb.toml", "amb.toml", "given.toml"]
                    [usize::try_from(place.saturating_sub(2)).unwrap_or(0).min(3)];
                files.entry(file).or_insert_with(BTreeMap::new).insert(written, value);
            }
        }
    }
    for (file, values) in files {
        let path = scene.directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lines: Vec<String> = values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let text = if dice.roll(0..4) == 0 {
            scene.request.profiles = vec!["loose".to_owned()];
            format!("[profile.loose]\n{}\n", lines.join("\n"))
        } else {
            lines.join("\n")
        };
        fs::write(&path, text).unwrap();
        match file {
            "system.toml" => scene.request.system_file = Some(path),
            "given.toml" => scene.request.file = Some("given.toml".into()),
            _ => {}
        }
    }
    scene
}

#[test]
fn nothing_that_anybody_says_gets_past_it() {
    let policy = "[enforce]\n'egress.mode' = { at-least = 'enforce' }\n'egress.allow' = { within = ['ok.test', 'ok2.test:443'] }\n\
                  'egress.deny' = { include = ['metadata'] }\n'retry.attempts' = { max = 3 }\n\
                  'retry.level' = { at-most = 'idempotent' }\n'timeout.request' = { max = '60s' }\n\
                  'timeout.connect' = { max = '5s' }\n'tls.never' = { include = ['*.bank.test'] }\n\
                  'tls.min-version' = { at-least = '1.3' }\n'rate-limit.requests' = { max = '50/s' }\n";
    let trials: u64 = std::env::var("AMB_TEST_TRIALS")
        .ok()
        .and_then(|times| times.parse().ok())
        .unwrap_or(1);
    let mut dice = Dice(0xc0_ffee);
    let mut loaded = 0;
    for _ in 0..1_000 * trials {
        let scene = anything(&mut dice, policy);
        // What is no configuration at all starts nothing.
        let Ok((config, _)) = load(&scene.request) else {
            continue;
        };
        loaded += 1;
        let policy = &config.policy;
        let context = || format!("{:?}", load(&scene.request).map(|(_, sources)| sources.settings()));
        let all = std::iter::once(&policy.rules).chain(policy.routes().iter().map(crate::policy::route::Route::rules));
        for rules in all {
            let request = rules.timeouts.request;
            assert!(
                request.is_some_and(|limit| limit <= Duration::from_mins(1)),
                "{}",
                context()
            );
            assert!(rules.timeouts.connect <= Duration::from_secs(5), "{}", context());
            assert!(rules.retry.most <= 3, "{}", context());
            assert!(
                rules.retry.level <= crate::policy::retry::Level::Idempotent,
                "{}",
                context()
            );
            assert!(rules.limits.rate.is_some(), "{}", context());
        }
        assert_eq!(policy.tls.min_version, Version::Tls13, "{}", context());
        assert!(
            policy.tls.never.iter().any(|host| host.to_string() == "*.bank.test"),
            "{}",
            context()
        );
        let egress = policy.egress.as_ref().expect("there are rules");
        assert!(egress.enforced, "{}", context());
        for (host, port) in [
            ("evil.test", 80),
            ("ok2.test", 80),
            ("a.ok.test", 80),
            ("10.1.2.3", 80),
            ("169.254.169.254", 80),
            ("metadata.google.internal", 80),
        ] {
            let asked = Asked::tunnel(host, port);
            let get = Asked {
                scheme: "https",
                method: "GET",
                path: b"/",
                ..asked
            };
            for asked in [asked, get] {
                let decision = match egress.by_name(&asked) {
                    ByName::Decided(decision) => decision,
                    ByName::Open => egress.by_address(&asked, "8.8.8.8".parse().unwrap()),
                };
                let denied = decision.action == crate::policy::egress::Action::Deny;
                assert!(denied, "{host}:{port} by {}: {}", decision.rule, context());
            }
        }
    }
    assert!(loaded > 500, "most of what is said can be read: {loaded}");
}
