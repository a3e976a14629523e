//! Which layer wins, for each pair of them and each kind of value, and where the winner is said to be.

use super::*;

/// Every layer, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    System,
    User,
    Project,
    FirstProfile,
    SecondProfile,
    Variable,
    Explicit,
    ExplicitProfile,
    Flag,
    Set,
}

use Kind::{Explicit, ExplicitProfile, FirstProfile, Flag, Project, SecondProfile, Set, System, User, Variable};

/// All of them.
const KINDS: [Kind; 10] = [
    System,
    User,
    Project,
    FirstProfile,
    SecondProfile,
    Variable,
    Explicit,
    ExplicitProfile,
    Flag,
    Set,
];

/// How a value is written: as a line of TOML, a variable, flags and a setting.
struct Written {
    toml: String,
    variable: (&'static str, String),
    flags: Vec<String>,
    set: String,
}

/// A scene in which these layers say something, and nothing else does.
fn scene(layers: &[Kind], written: impl Fn(Kind) -> Written) -> Scene {
    let line = |kind: Kind| {
        if layers.contains(&kind) {
            written(kind).toml
        } else {
            String::new()
        }
    };
    // Each in a line of its own, so that the line says which one it is.
    let project = format!(
        "{}\n[profile.first]\n{}\n[profile.second]\n{}\n",
        line(Project),
        line(FirstProfile),
        line(SecondProfile)
    );
    let explicit = format!("{}\n[profile.second]\n{}\n", line(Explicit), line(ExplicitProfile));
    let mut scene = Scene::new()
        .variable("AMB_TRUST", "1")
        .system(&line(System))
        .user(&line(User))
        .file("amb.toml", &project)
        .file("explicit.toml", &explicit)
        .explicit("explicit.toml")
        .profile("first")
        .profile("second");
    if layers.contains(&Variable) {
        let (name, value) = written(Variable).variable;
        scene = scene.variable(name, &value);
    }
    if layers.contains(&Flag) {
        let flags = written(Flag).flags;
        scene = scene.flags(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if layers.contains(&Set) {
        scene = scene.set(&written(Set).set);
    }
    scene
}

/// How the place of a layer ends.
fn place(kind: Kind, variable: &str, flag: &str) -> String {
    match kind {
        System => "system.toml:1:".to_owned(),
        User => "home/.config/amb/amb.toml:1:".to_owned(),
        Project => "amb.toml:1:".to_owned(),
        FirstProfile => "amb.toml:3:".to_owned(),
        SecondProfile => "amb.toml:5:".to_owned(),
        Variable => variable.to_owned(),
        Explicit => "explicit.toml:1:".to_owned(),
        ExplicitProfile => "explicit.toml:3:".to_owned(),
        Flag => flag.to_owned(),
        Set => "--set ".to_owned(),
    }
}

/// Every layer alone, and every pair of layers, the weaker one first.
fn combinations() -> impl Iterator<Item = Vec<Kind>> {
    let pairs = KINDS.into_iter().flat_map(|weak| {
        KINDS
            .into_iter()
            .filter(move |strong| *strong > weak)
            .map(move |strong| vec![weak, strong])
    });
    KINDS
        .into_iter()
        .map(|only| vec![only])
        .chain(pairs)
        .chain([KINDS.to_vec()])
}

/// The number of a layer: what it sets, so that it can be told who did.
fn number(kind: Kind) -> u64 {
    kind as u64 + 1
}

#[test]
fn the_strongest_layer_decides_a_scalar() {
    for layers in combinations() {
        let scene = scene(&layers, |kind| Written {
            toml: format!("timeout.connect = '{}s'", number(kind)),
            variable: ("AMB_TIMEOUT__CONNECT", format!("{}s", number(kind))),
            flags: vec![format!("--connect-timeout={}s", number(kind))],
            set: format!("timeout.connect={}s", number(kind)),
        });
        let winner = *layers.last().unwrap();
        assert_eq!(
            scene.config().policy.rules.timeouts.connect,
            Duration::from_secs(number(winner)),
            "{layers:?}"
        );
        let source = scene.source("timeout.connect");
        let expected = place(winner, "AMB_TIMEOUT__CONNECT", "--connect-timeout");
        assert!(source.contains(&expected), "{layers:?}: {source}");
    }
}

#[test]
fn tables_are_merged_key_by_key() {
    for layers in combinations() {
        let own = |kind: Kind| format!("own{}:80", number(kind));
        let scene = scene(&layers, |kind| {
            let (own, to) = (own(kind), format!("to{}:80", number(kind)));
            Written {
                toml: format!("connect-to = {{ 'all:80' = '{to}', '{own}' = '{to}' }}"),
                variable: ("AMB_CONNECT_TO__ALL:80", to.clone()),
                flags: vec![format!("--connect-to=all:80:{to}"), format!("--connect-to={own}:{to}")],
                set: format!("connect-to.\"all:80\"='{to}'"),
            }
        });
        let winner = *layers.last().unwrap();
        let config = scene.config();
        let reach = &config.policy.reach;
        assert_eq!(reach.target("all", 80).0, format!("to{}", number(winner)), "{layers:?}");
        let source = scene.source("connect-to.\"all:80\"");
        let expected = place(winner, "AMB_CONNECT_TO__ALL:80", "--connect-to");
        assert!(source.contains(&expected), "{layers:?}: {source}");
        // A variable and a setting hold one key only.
        for kind in layers.into_iter().filter(|kind| !matches!(kind, Variable | Set)) {
            let name = format!("own{}", number(kind));
            assert_eq!(
                reach.target(&name, 80).0,
                format!("to{}", number(kind)),
                "{name} is kept"
            );
            let source = scene.source(&format!("connect-to.\"{}\"", own(kind)));
            assert!(source.contains(&place(kind, "", "--connect-to")), "{kind:?}: {source}");
        }
    }
}

#[test]
fn the_strongest_layer_replaces_a_list() {
    for layers in combinations() {
        let scene = scene(&layers, |kind| Written {
            toml: format!("run.no-proxy = ['h{}', 'x']", number(kind)),
            variable: ("AMB_RUN__NO_PROXY", format!("h{},x", number(kind))),
            flags: vec![format!("--no-proxy=h{},x", number(kind))],
            set: format!("run.no-proxy=['h{}', 'x']", number(kind)),
        });
        let winner = *layers.last().unwrap();
        assert_eq!(
            scene.config().inject.no_proxy,
            [format!("h{}", number(winner)), "x".to_owned()],
            "{layers:?}"
        );
        let source = scene.source("run.no-proxy");
        let expected = place(winner, "AMB_RUN__NO_PROXY", "--no-proxy");
        assert!(
            source.contains(&expected) && !source.contains(" + "),
            "{layers:?}: {source}"
        );
    }
}

/// The ids of the routes of a run, in their order.
fn routes(scene: &Scene) -> Vec<String> {
    let config = scene.config();
    let routes = config.policy.routes().iter();
    routes.map(|route| route.id.to_string()).collect()
}

#[test]
fn routes_replace_those_of_weaker_layers_and_extensions_come_before_them() {
    let weaker = "[[route]]\nid = 'a'\n[[route]]\nid = 'b'\n";
    for (stronger, expected) in [
        ("", vec!["a", "b"]),
        ("[[route]]\nid = 'c'\n", vec!["c"]),
        ("route = []\n", vec![]),
        (
            "[[extend-route]]\nid = 'c'\n[[extend-route]]\nid = 'd'\n",
            vec!["c", "d", "a", "b"],
        ),
        (
            "[[extend-route]]\nid = 'b'\nwhen = 'true'\n[[extend-route]]\nid = 'c'\n",
            vec!["c", "a", "b"],
        ),
        (
            "[[route]]\nid = 'c'\n[[extend-route]]\nid = 'd'\n[[extend-route]]\nid = 'a'\n",
            vec!["d", "a", "c"],
        ),
    ] {
        let scene = Scene::new().user(weaker).file("amb.toml", stronger);
        assert_eq!(routes(&scene), expected, "{stronger}");
    }
}

#[test]
fn a_mistake_in_a_route_is_found_in_the_layer_that_wrote_it() {
    let scene = Scene::new()
        .user("[[route]]\nid = 'a'\n\n[[route]]\nid = 'b'\ntimeout.connect = '0s'\n")
        .file(
            "amb.toml",
            "[[extend-route]]\nid = 'c'\ntimeout.connect = '0s'\nwhen = \"request.hots == 'a'\"\n",
        );
    let mistakes = scene.mistakes();
    let places: Vec<&str> = mistakes.iter().filter_map(|told| told.split(": ").next()).collect();
    let tails: Vec<&str> = places.iter().map(|place| place.rsplit('/').next().unwrap()).collect();
    assert_eq!(
        tails,
        ["amb.toml:3:19", "amb.toml:4:17", "amb.toml:6:19"],
        "{mistakes:?}"
    );
}

#[test]
fn every_mistake_in_what_is_added_is_told() {
    let scene = Scene::new().file(
        "amb.toml",
        "[[extend-route]]\nidd = 'c'\nmatch = { host = ['a', 'b..c'], extend-host = 'd' }\n[[extend-route]]\ntimeout.connect = 5\n",
    );
    let mistakes = scene.mistakes();
    assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    assert!(
        mistakes.iter().all(|told| told.starts_with("amb.toml:")),
        "{mistakes:?}"
    );
}

#[test]
fn what_extends_is_added_in_the_order_of_the_layers() {
    for layers in combinations() {
        let scene = scene(&layers, |kind| Written {
            toml: format!("run.extend-no-proxy = ['h{}']", number(kind)),
            variable: ("AMB_RUN__EXTEND_NO_PROXY", format!("h{}", number(kind))),
            // A flag replaces.
            flags: vec![format!("--no-proxy=h{}", number(kind))],
            set: format!("run.extend-no-proxy=h{}", number(kind)),
        });
        let flag = layers.iter().position(|kind| *kind == Flag);
        let counted = &layers[flag.unwrap_or(0)..];
        let expected: Vec<String> = counted.iter().map(|kind| format!("h{}", number(*kind))).collect();
        assert_eq!(scene.config().inject.no_proxy, expected, "{layers:?}");
        let source = scene.source("run.no-proxy");
        let mut places = source.split(" + ");
        if flag.is_none() {
            assert_eq!(places.next(), Some("built-in default"));
        }
        for kind in counted {
            let found = places.next().unwrap_or_default();
            let expected = place(*kind, "AMB_RUN__EXTEND_NO_PROXY", "--no-proxy");
            assert!(found.contains(&expected), "{kind:?} in {layers:?}: {source}");
        }
        assert_eq!(places.next(), None, "{layers:?}: {source}");
    }
}
