//! `amb config`, `amb init`, `amb trust` from outside.

use std::fs;

use super::Scene;

impl Scene {
    /// What `amb` says on stdout, having nothing to say on stderr.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.amb(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A directory below the one of the scene, in which `amb` runs from now on.
    fn inside(mut self, directory: &str) -> Self {
        fs::create_dir_all(self.path().join(directory)).unwrap();
        self.inside = Some(directory.to_owned());
        self
    }
}

/// A repository below the home directory, with a user's file and a project's.
fn project() -> Scene {
    let scene = Scene::new();
    fs::create_dir_all(scene.path().join("repository/.git")).unwrap();
    fs::create_dir_all(scene.path().join(".config/amb")).unwrap();
    scene
        .file(
            ".config/amb/amb.toml",
            "[timeout]\nconnect = '5s'\n[run]\nno-proxy = ['u']\n",
        )
        .file("amb.toml", "run.name = 'beyond the repository'\n")
        .file(
            "repository/amb.toml",
            "[run]\nextend-no-proxy = ['p']\n[profile.ci.timeout]\nconnect = '4s'\n",
        )
        .inside("repository/deep/down")
}

#[test]
fn every_layer_has_its_place_and_its_order() {
    let scene = project();
    assert_eq!(scene.says(&["config", "show", "timeout.connect"]), "5s\n");
    assert_eq!(scene.says(&["config", "show", "timeout.connect", "-p", "ci"]), "4s\n");
    assert_eq!(scene.says(&["config", "show", "run.no-proxy"]), "[\"u\", \"p\"]\n");
    assert_eq!(
        scene.says(&["config", "show", "run.name"]),
        "",
        "what lies beyond the repository is not the project's"
    );
    let scene = scene.variable("AMB_TIMEOUT__CONNECT", "3s");
    assert_eq!(scene.says(&["config", "show", "timeout.connect", "-p", "ci"]), "3s\n");
    let set = ["config", "show", "timeout.connect", "-s", "timeout.connect=1s"];
    assert_eq!(scene.says(&set), "1s\n");
    let scene = scene.variable("XDG_CONFIG_HOME", "/nowhere");
    assert_eq!(scene.says(&["config", "show", "run.no-proxy"]), "[\"p\"]\n");
}

/// A project with routes.
fn routes() -> Scene {
    Scene::new().file(
        "amb.toml",
        "[timeout]
connect = '5s'
[[route]]
id = 'soap'
match = { host = 'soap.test', path = '/v1/**' }
[[route]]
match = { host = '*.pay.test', method = ['POST', 'PUT'] }
url-templates = ['/v1/charges/{id}']
timeout = { connect = '1s' }
[[route]]
id = 'plain'
when = \"request.scheme == 'http' && !request.host.endsWith('.internal')\"
[profile.slow.timeout]
connect = '9s'
",
    )
}

#[test]
fn a_request_is_tried_out_and_every_value_says_where_it_comes_from() {
    let scene = routes();
    let holds = |connect: &str, place: &str| {
        let values = [
            format!("  {:<40}  # built-in default\n", "headers.via = true"),
            format!("  {:<40}  # {place}\n", format!("timeout.connect = \"{connect}\"")),
            format!(
                "  {:<40}  # built-in default\n",
                "# upstream.proxy: amb's own environment"
            ),
        ];
        values.concat()
    };
    // Of all that holds only the tables in which these tests say something.
    let says = |arguments: &[&str]| -> String {
        let is_other = |line: &&str| {
            let key = line.trim_start_matches([' ', '#']);
            let others = [
                "bandwidth.",
                "circuit-breaker.",
                "concurrency.",
                "headers.add",
                "headers.env",
                "headers.remove",
                "headers.set",
                "json.",
                "otel.",
                "rate-limit.",
                "response-",
                "retry.",
                "timeout.",
                "tls.",
            ];
            line.contains("# built-in default") && others.iter().any(|table| key.starts_with(table))
        };
        let said = scene.says(arguments);
        said.split_inclusive('\n').filter(|line| !is_other(line)).collect()
    };
    let tried = says(&["policy", "test", "post", "http://api.pay.test/v1/charges/7?x"]);
    let expected = "POST http://api.pay.test/v1/charges/7?x\n\n\
        \u{20} soap        amb.toml:3:1  host api.pay.test is not soap.test\n\
        → *.pay.test  amb.toml:6:1  fits\n\
        \u{20} reported as /v1/charges/{id}\n\n";
    assert_eq!(tried, format!("{expected}{}", holds("1s", "amb.toml:9:23 (route)")));

    let tried = says(&["policy", "test", "https://api.pay.test/v1", "-p", "slow"]);
    let expected = "CONNECT api.pay.test:443\n\
        \u{20} https is encrypted: amb sees a tunnel, which has neither a path nor headers\n\n\
        \u{20} soap        amb.toml:3:1   host api.pay.test is not soap.test\n\
        \u{20} *.pay.test  amb.toml:6:1   method CONNECT is not POST or PUT\n\
        \u{20} plain       amb.toml:10:1  `when` is false: \
        request.scheme == 'http' && !request.host.endsWith('.internal')\n\
        \u{20} no route fits: what is said for all requests holds\n\n";
    assert_eq!(tried, format!("{expected}{}", holds("9s", "amb.toml:14:11")));

    let tried = says(&[
        "policy",
        "test",
        "http://x.test/",
        "--no-config",
        "-s",
        "timeout.connect=2s",
    ]);
    let expected = "GET http://x.test/\n\n  there are no routes: what is said for all requests holds\n\n";
    assert_eq!(tried, format!("{expected}{}", holds("2s", "--set timeout.connect")));
}

#[test]
fn a_trial_is_there_for_programs_too() {
    let tried = routes().says(&["policy", "test", "PUT", "http://api.pay.test/v1/charges/7", "--json"]);
    let tried: serde_json::Value = serde_json::from_str(&tried).unwrap();
    assert_eq!(
        tried["route"],
        serde_json::json!({ "id": "*.pay.test", "place": "amb.toml:6:1", "url_template": "/v1/charges/{id}" })
    );
    assert_eq!(tried["passed_over"][0]["reason"], "host api.pay.test is not soap.test");
    let values = tried["values"].as_array().unwrap();
    let connect = values.iter().find(|value| value["key"] == "timeout.connect").unwrap();
    assert_eq!(
        *connect,
        serde_json::json!({
            "key": "timeout.connect", "value": "1s", "sources": [{ "layer": "project", "place": "amb.toml:9:23" }],
        })
    );
}

#[test]
fn a_header_decides_in_a_trial_as_it_would() {
    let scene = Scene::new().file(
        "amb.toml",
        "[[route]]\nid = 'team'\nmatch.header = { X-Team = 'bill*' }\n",
    );
    let with = scene.says(&["policy", "test", "http://a/", "-H", "x-team: billing"]);
    assert!(with.contains("→ team"), "{with}");
    let without = scene.says(&["policy", "test", "http://a/"]);
    assert!(without.contains("header X-Team is not bill*"), "{without}");
}

#[test]
fn no_config_leaves_only_what_is_said_here() {
    let scene = project();
    assert_eq!(scene.says(&["config", "show", "--changed", "--no-config"]), "");
    assert_eq!(
        scene.says(&["config", "show", "--changed", "--no-config", "-s", "run.name=x"]),
        "run.name = \"x\"\n"
    );
}

#[test]
fn explain_names_every_layer_and_the_winner() {
    let scene = project().variable("AMB_TIMEOUT__CONNECT", "3s");
    let said = scene.says(&["config", "explain", "timeout.connect", "--profile", "ci"]);
    let home = scene.path().display();
    let user = format!("{home}/.config/amb/amb.toml:2:11");
    let width = user.len();
    let expected = format!(
        "timeout.connect = \"3s\"\n\n\
         \x20 \"3s\"   {:<width$}  environment  ← wins\n\
         \x20 \"4s\"   {:<width$}  profile ci\n\
         \x20 \"5s\"   {user}  user\n\
         \x20 \"10s\"  built-in default\n\n",
        "AMB_TIMEOUT__CONNECT", "../../amb.toml:4:11"
    );
    assert!(said.starts_with(&expected), "{said}\nand not\n{expected}");
    assert!(said.contains("How long a connection may take to open"), "{said}");
    assert!(said.contains("AMB_TIMEOUT__CONNECT"), "{said}");
    for written in ["AMB_TIMEOUT__CONNECT", "timeout . connect"] {
        assert!(
            scene
                .says(&["config", "explain", written])
                .starts_with("timeout.connect =")
        );
    }
}

#[test]
fn show_can_be_read_back_by_amb_and_by_programs() {
    let scene = project().variable("AMB_TRUST", "1");
    let whole = scene.says(&["config", "show", "--origin", "-s", "connect-to.\"a:80\"='b:81'"]);
    let again = Scene::new().file("amb.toml", &whole).variable("AMB_TRUST", "1");
    let (first, second) = (
        &["config", "show", "-s", "connect-to.\"a:80\"='b:81'"],
        &["config", "show"],
    );
    assert_eq!(scene.says(first), again.says(second));

    let json = |arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&scene.says(arguments)).unwrap() };
    assert_eq!(
        json(&["config", "show", "--json"])["run"]["no-proxy"],
        serde_json::json!(["u", "p"])
    );
    assert_eq!(json(&["config", "show", "run.threads", "--json"]), serde_json::json!(1));
    let all = json(&["config", "show", "run.threads", "--json", "--origin"]);
    assert_eq!(
        all,
        serde_json::json!([{
            "key": "run.threads",
            "value": 1,
            "sources": [{ "layer": "built-in", "place": "built-in default" }],
        }])
    );
}

#[test]
fn a_secret_is_shown_nowhere() {
    let scene = Scene::new()
        .file(
            "amb.toml",
            "upstream.proxy = 'http://me:hunter2@proxy:3128'\n[profile.a]\nupstream.proxy = 'hunter2@x'\n",
        )
        .variable("AMB_TRUST", "1")
        .variable("AMB_UPSTREAM__PROXY", "socks5://me:hunter2@other");
    for arguments in [
        &["config", "show"][..],
        &["config", "show", "upstream.proxy"],
        &["config", "show", "--json", "--origin"],
        &["config", "explain", "upstream.proxy"],
        &["config", "check"],
        &["trust"],
        &["run", "-n", "--", "true"],
        &["run", "-s", "upstream.proxy=ftp://me:hunter2@x", "--", "true"],
        &["run", "-s", "upstream.prxy=ftp://me:hunter2@x", "--", "true"],
        &["run", "-s", "upstream.proxy='ftp://me:hunter2@x", "--", "true"],
        &["run", "-p", "a", "--", "true"],
    ] {
        let output = scene.amb(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.is_empty() && !said.contains("hunter2"), "{arguments:?}: {said}");
    }
}

#[test]
fn check_says_what_is_sound_and_ends_with_125_otherwise() {
    let scene = project();
    let home = scene.path().display().to_string();
    let expected =
        format!("{home}/.config/amb/amb.toml: sound\n../../amb.toml: sound\nwith each of these profiles as well: ci\n");
    assert_eq!(scene.says(&["config", "check"]), expected);

    let scene = Scene::new().file("good.toml", "run.name = 'x'\n").file(
        "bad.toml",
        "run.threads = 0\n[profile.a]\nrun.threads = 99\nlog.level = 'x'\n",
    );
    let output = scene.amb(&["config", "check", "good.toml", "bad.toml"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "good.toml: sound\n");
    let said = String::from_utf8(output.stderr).unwrap();
    let places: Vec<&str> = said.lines().filter(|line| line.contains("bad.toml:")).collect();
    assert_eq!(places.len(), 3, "{said}");
}

#[test]
fn init_writes_a_file_that_changes_nothing_and_never_replaces_one() {
    let scene = Scene::new();
    assert_eq!(scene.says(&["init"]), "amb.toml\n.amb.schema.json\n");
    let written = fs::read_to_string(scene.path().join("amb.toml")).unwrap();
    assert!(written.starts_with("#:schema ./.amb.schema.json\n"), "{written}");
    let schema = fs::read_to_string(scene.path().join(".amb.schema.json")).unwrap();
    assert_eq!(schema, scene.says(&["config", "schema"]));
    assert_eq!(scene.says(&["config", "show", "--changed"]), "");
    let again = scene.amb(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(again.stderr).unwrap(),
        "amb: amb.toml: exists already\n"
    );

    let bare = Scene::new();
    assert_eq!(bare.says(&["init", "--no-schema"]), "amb.toml\n");
    assert_eq!(fs::read_dir(bare.path()).unwrap().count(), 1);
    assert!(
        !fs::read_to_string(bare.path().join("amb.toml"))
            .unwrap()
            .contains("#:schema")
    );
}

#[test]
fn trust_is_asked_for_once() {
    let scene = Scene::new().file("amb.toml", "[connect-to]\n'a:80' = 'localhost:1'\n");
    scene.refuses(
        &[],
        &[
            "amb: amb.toml:2:1: this sends requests to another host than the one they name, and nobody has trusted \
             this file yet; look at amb.toml, then run `amb trust` once, or set AMB_TRUST=1 in CI",
            "amb:  2 | 'a:80' = 'localhost:1'",
            "amb:    | ^^^^^^",
        ],
    );
    assert!(
        scene
            .says(&["config", "path"])
            .contains("project   amb.toml  needs `amb trust`\n")
    );
    let said = scene.says(&["trust"]);
    assert!(
        said.starts_with("amb.toml is trusted as it is now, with\n  connect-to.\"a:80\" = \"localhost:1\""),
        "{said}"
    );
    assert_eq!(scene.run(&[]).status.code(), Some(0));
    assert!(scene.says(&["trust", "--list"]).ends_with("/amb.toml\n"));
    assert_eq!(scene.says(&["trust", "--remove"]), "amb.toml is trusted no more\n");
    assert_eq!(
        scene.run(&["-n"]).status.code(),
        Some(125),
        "a dry run says what a run would"
    );
}

#[test]
fn a_warning_stops_nothing() {
    let scene = Scene::new()
        .file("amb.toml", "version = 9\n")
        .variable("AMB_TIMEOUT_CONNECT", "1s");
    let output = scene.run(&["--summary", "off"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "amb: warning: amb.toml:1:11: written for a newer amb: this one knows version 1, not 9\n\
         amb:  1 | version = 9\n\
         amb:    |           ^\n\
         amb: warning: AMB_TIMEOUT_CONNECT: is not read; did you mean `AMB_TIMEOUT__CONNECT`?\n"
    );
    assert!(scene.started());
    assert!(scene.run(&["-q"]).stderr.is_empty());
}

#[test]
fn a_report_is_what_its_schema_says() {
    let scene = Scene::new();
    let schema = serde_json::from_str(&scene.says(&["config", "schema", "--report"])).unwrap();
    let output = scene.run(&["--report", "report.json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = fs::read_to_string(scene.path().join("report.json")).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let mistakes: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(mistakes.is_empty(), "{mistakes:?}\n{report:#}");
    report["run"]["duration_seconds"] = serde_json::json!("long");
    assert!(!validator.is_valid(&report));
}

#[test]
fn a_home_directory_of_somebody_else_is_no_obstacle() {
    for home in ["/dev/null", "/proc/1/root/nowhere", ""] {
        let scene = Scene::new().variable("HOME", home);
        assert_eq!(scene.run(&[]).status.code(), Some(0), "{home}");
    }
}
