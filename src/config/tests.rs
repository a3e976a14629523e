//! Layers, their order, their mistakes; the traps of figment each have a test of their own.

mod central;
mod declared;
mod precedence;
mod random;
mod trust;

use std::{fs, net::Ipv4Addr};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use super::*;
use crate::supervise::ProcessGroup;

/// The flags of `amb run` alone.
#[derive(Parser)]
struct Flags {
    /// The flags.
    #[command(flatten)]
    options: Options,
}

/// A directory with files, an environment and flags.
struct Scene {
    /// Where `amb.toml` is looked for.
    directory: TempDir,
    /// What is asked.
    request: Request,
}

impl Scene {
    /// A directory with nothing in it.
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let request = Request {
            directory: directory.path().to_owned(),
            program: "/usr/bin/app".into(),
            ..Request::default()
        };
        Self { directory, request }
    }

    /// A file in the directory.
    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    /// The system's file, which is elsewhere for this once.
    fn system(mut self, text: &str) -> Self {
        let path = self.directory.path().join("system.toml");
        fs::write(&path, text).unwrap();
        self.request.system_file = Some(path);
        self
    }

    /// The central policy, which is elsewhere for this once.
    fn policy(mut self, text: &str) -> Self {
        let directory = self.directory.path().join("policy");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("policy.toml"), text).unwrap();
        self.request.policy_directory = Some(directory);
        self
    }

    /// The user's file.
    fn user(self, text: &str) -> Self {
        let home = self.directory.path().join("home");
        let directory = home.join(".config/amb");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("amb.toml"), text).unwrap();
        self.variable("HOME", home.to_str().unwrap())
    }

    /// A profile that is asked for.
    fn profile(mut self, name: &str) -> Self {
        self.request.profiles.push(name.to_owned());
        self
    }

    /// A setting on the command line.
    fn set(mut self, setting: &str) -> Self {
        self.request.overrides.push(setting.to_owned());
        self
    }

    /// A variable.
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.request.environment.push((name.into(), value.into()));
        self
    }

    /// The file given by `--config`.
    fn explicit(mut self, name: &str) -> Self {
        self.request.file = Some(name.into());
        self
    }

    /// The flags.
    fn flags(mut self, flags: &[&str]) -> Self {
        let flags = Flags::parse_from(std::iter::once(&"amb").chain(flags));
        let mut flags = flags.options;
        flags.run = flags.run.settle();
        flags.tls = flags.tls.settle();
        self.request.flags = Some(Box::new(flags));
        self
    }

    /// What comes of it.
    #[track_caller]
    fn config(&self) -> Config {
        load(&self.request).unwrap_or_else(|errors| panic!("{errors}")).0
    }

    /// The first lines of the mistakes.
    #[track_caller]
    fn mistakes(&self) -> Vec<String> {
        let Err(errors) = load(&self.request) else {
            panic!("no mistake was found");
        };
        let first_line = |error: &ConfigError| error.to_string().lines().next().unwrap().to_owned();
        errors.mistakes.iter().map(first_line).collect()
    }

    /// Where the value of `key` came from.
    #[track_caller]
    fn source(&self, key: &str) -> String {
        let (_, sources) = load(&self.request).unwrap();
        let settings = sources.settings();
        let found = settings.iter().find(|setting| setting.key == key);
        let found = found.unwrap_or_else(|| panic!("{key} is not in {settings:?}"));
        let places: Vec<&str> = found.sources.iter().map(|source| source.place.as_str()).collect();
        places.join(" + ")
    }
}

#[test]
fn with_nothing_configured_the_defaults_hold() {
    let config = Scene::new().config();
    assert_eq!(config.name, "app");
    assert_eq!(config.listen, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    assert_eq!(config.threads, 1);
    assert_eq!(config.drain, Duration::from_secs(1));
    let named = Some("app".to_owned());
    let defaults = inject::Settings::default();
    assert_eq!(
        config.inject,
        inject::Settings {
            name: named,
            ..defaults
        }
    );
    assert_eq!(config.supervise, supervise::Settings::default());
}

#[test]
fn each_layer_wins_over_those_below_it() {
    let scene = Scene::new().file("amb.toml", "[run]\nname = 'file'\nthreads = 2\n");
    assert_eq!(scene.config().name, "file");
    let scene = scene.variable("AMB_RUN__NAME", "variable");
    assert_eq!(scene.config().name, "variable");
    let scene = scene.file("other.toml", "run.name = 'explicit'").explicit("other.toml");
    assert_eq!(scene.config().name, "explicit");
    let scene = scene.flags(&["--name", "flag"]);
    assert_eq!(scene.config().name, "flag");
    assert_eq!(scene.config().threads, 2, "what a stronger layer leaves open stays");
}

#[test]
fn a_value_is_spelled_alike_in_file_variable_and_flag() {
    let scenes = [
        Scene::new().file(
            "amb.toml",
            "[run]\nkill-after = '1500ms'\nprocess-group = 'new'\nno-proxy = ['a', 'b']\nproxy-loopback = true\n",
        ),
        Scene::new()
            .variable("AMB_RUN__KILL_AFTER", "1500ms")
            .variable("AMB_RUN__PROCESS_GROUP", "new")
            .variable("AMB_RUN__NO_PROXY", "a, b")
            .variable("AMB_RUN__PROXY_LOOPBACK", "true"),
        Scene::new().flags(&[
            "--kill-after=1500ms",
            "--process-group=new",
            "--no-proxy=a,b",
            "--proxy-loopback",
        ]),
    ];
    for scene in scenes {
        let config = scene.config();
        assert_eq!(config.supervise.kill_after, Some(Duration::from_millis(1500)));
        assert_eq!(config.supervise.process_group, ProcessGroup::New);
        assert_eq!(config.inject.no_proxy, ["a", "b"]);
        assert_eq!(config.inject.loopback, inject::Loopback::Proxied);
    }
}

#[test]
fn a_flag_that_was_not_given_leaves_the_file_alone() {
    let scene = Scene::new()
        .variable("AMB_TRUST", "1")
        .file("amb.toml", "[connect-to]\n'a:80' = 'b:81'\n[run]\nno-proxy = ['x']")
        .flags(&["--drain", "2s"]);
    let config = scene.config();
    assert_eq!(config.policy.reach.target("a", 80), ("b", 81));
    assert_eq!(config.inject.no_proxy, ["x"]);
}

#[test]
fn redirects_of_all_layers_add_up_and_the_stronger_wins() {
    let scene = Scene::new()
        .variable("AMB_TRUST", "1")
        .file("amb.toml", "[connect-to]\n'a:80' = 'b:81'\n'c:80' = 'd:81'\n")
        .flags(&["--connect-to", "a:80:e:82", "--resolve", "e:82:127.0.0.1"]);
    let policy = scene.config().policy;
    assert_eq!(policy.reach.target("a", 80), ("e", 82));
    assert_eq!(policy.reach.target("c", 80), ("d", 81));
    assert_eq!(policy.reach.addresses("e", 82).unwrap().len(), 1);
}

#[test]
fn no_config_leaves_out_the_users_and_the_projects_file_only() {
    let mut scene = Scene::new()
        .system("run.threads = 2")
        .user("broken")
        .file("amb.toml", "broken")
        .file("other.toml", "run.name = 'explicit'")
        .explicit("other.toml");
    scene.request.no_config = true;
    let config = scene.config();
    assert_eq!((config.name.as_str(), config.threads), ("explicit", 2));
}

#[test]
fn amb_config_names_a_file_unless_it_is_empty() {
    let scene = Scene::new().file("other.toml", "run.name = 'other'");
    assert_eq!(scene.variable("AMB_CONFIG", "other.toml").config().name, "other");
    assert_eq!(Scene::new().variable("AMB_CONFIG", "").config().name, "app");
    let missing = Scene::new().variable("AMB_CONFIG", "missing.toml");
    assert_eq!(missing.mistakes(), ["missing.toml: there is no such file"]);
}

#[test]
fn a_setting_is_toml_or_a_text() {
    let scene = Scene::new()
        .set("timeout.connect=2s")
        .set("run.no-proxy=[\"a\", \"b\"]")
        .set("run.threads = 2")
        .set("run.name=123")
        .set("connect-to.\"a:80\"='b:81'")
        .set("run.extend-no-proxy=c,d");
    let config = scene.config();
    assert_eq!(config.policy.rules.timeouts.connect, Duration::from_secs(2));
    assert_eq!(config.inject.no_proxy, ["a", "b", "c", "d"]);
    assert_eq!((config.threads, config.name.as_str()), (2, "123"));
    assert_eq!(config.policy.reach.target("a", 80), ("b", 81));
    assert_eq!(scene.source("run.threads"), "--set run.threads");
    assert_eq!(
        scene.source("run.no-proxy"),
        "--set run.no-proxy + --set run.extend-no-proxy"
    );
}

#[test]
fn a_profile_holds_only_when_asked_for_and_the_last_one_wins() {
    let text = "run.name = 'x'\n[profile.a.run]\nname = 'a'\nthreads = 2\n[profile.b.run]\nname = 'b'\n";
    let scene = || Scene::new().file("amb.toml", text);
    assert_eq!(scene().config().name, "x");
    assert_eq!(scene().profile("a").profile("b").config().name, "b");
    assert_eq!(scene().profile("b").profile("a").config().name, "a");
    assert_eq!(scene().profile("a").profile("b").config().threads, 2);
    assert_eq!(scene().variable("AMB_PROFILE", "a, b").config().name, "b");
    let flag = scene().variable("AMB_PROFILE", "b").profile("a");
    assert_eq!(flag.config().name, "a", "the flag takes the place of the variable");
    assert_eq!(flag.source("run.name"), "amb.toml:3:8");
    assert_eq!(profiles(&scene().request), ["a", "b"]);
    let mut without = scene().variable("AMB_PROFILE", "a");
    without.request.no_config = true;
    assert_eq!(without.config().name, "app");
    without.request.profiles.push("a".to_owned());
    assert_eq!(without.mistakes().len(), 1, "who asks for both asks for what cannot be");
    assert_eq!(
        scene().profile("c").variable("AMB_PROFILE", "bb").mistakes(),
        ["--profile: there is no [profile.c]; did you mean `a`?"]
    );
}

#[test]
fn a_profile_is_checked_even_if_nobody_asks_for_it() {
    let scene = Scene::new().file("amb.toml", "[profile.a.run]\nnmae = 'a'\n[profile]\nb = 5\n");
    assert_eq!(
        scene.mistakes(),
        [
            "amb.toml:2:1: unknown key `nmae` in [run]; did you mean `name`?",
            "amb.toml:4:5: expected a table, found `5`",
        ]
    );
}

#[test]
fn what_extends_adds_to_the_lists_below_it_and_to_the_built_in_default() {
    let scene = Scene::new()
        .system("run.extend-no-proxy = ['s']")
        .user("run.no-proxy = ['u']")
        .file("amb.toml", "[run]\nextend-no-proxy = ['p']\nextend-inject = ['pip']\n")
        .variable("AMB_RUN__EXTEND_NO_PROXY", "v,w");
    let config = scene.config();
    assert_eq!(config.inject.no_proxy, ["u", "p", "v", "w"]);
    let families = inject::Settings::default().families.len();
    assert_eq!(config.inject.families.len(), families + 1);
    assert!(
        scene
            .source("run.no-proxy")
            .ends_with("amb.toml:1:16 + amb.toml:2:19 + AMB_RUN__EXTEND_NO_PROXY")
    );
    assert_eq!(scene.source("run.inject"), "built-in default + amb.toml:3:17");
}

#[test]
fn only_a_list_can_be_extended() {
    let scene = Scene::new().file(
        "amb.toml",
        "[run]\nextend-name = 'x'\nextend-no-proxy = [5]\nextend-no-prxy = []\nextend-inject = ['pi']\n",
    );
    assert_eq!(
        scene.mistakes(),
        [
            "amb.toml:2:1: `run.name` is no list that could be added to",
            "amb.toml:3:20: expected a text, found `5`",
            "amb.toml:4:1: unknown key `extend-no-prxy` in [run]; did you mean `extend-no-proxy`?",
            "amb.toml:5:17: `pi` is not a family of variables: did you mean `pip`?",
        ]
    );
}

#[test]
fn an_entry_is_the_same_however_its_name_is_spelled() {
    let scene = Scene::new()
        .system("connect-to = { 'a.test:80' = 's:1', 'b.test:80' = 's:1' }")
        .user("[connect-to]\n'A.Test.:80' = 'u:1'\n");
    let config = scene.config();
    assert_eq!(config.policy.reach.target("a.test", 80), ("u", 1));
    assert_eq!(config.policy.reach.target("b.test", 80), ("s", 1));
    let source = scene.source("connect-to.\"a.test:80\"");
    assert!(source.ends_with("amb.toml:2:16"), "{source}");
}

#[test]
fn the_users_file_is_not_the_projects_as_well() {
    let mut scene = Scene::new().user("connect-to = { 'a:80' = 'b:81' }");
    scene.request.directory = scene.directory.path().join("home/.config/amb");
    assert_eq!(scene.config().policy.reach.target("a", 80), ("b", 81));
}

#[test]
fn values_at_odds_with_each_other_name_both_sources() {
    let scene = Scene::new()
        .file("amb.toml", "report.files = ['./a.json']")
        .variable("AMB_ACCESS_LOG__FILE", "a.json");
    let errors = load(&scene.request).unwrap_err().to_string();
    assert_eq!(
        errors,
        "amb.toml:1:16: `a.json` is the access log's file too, and a report replaces it\n \
         1 | report.files = ['./a.json']\n   |                ^^^^^^^^^^^^\n  \
         the other is access-log.file in AMB_ACCESS_LOG__FILE"
    );
}

// The traps of figment.

#[test]
fn trap_a_file_is_not_searched_in_parent_directories() {
    let mut scene = Scene::new().file("amb.toml", "run.name = 'parent'");
    let child = scene.directory.path().join("child");
    fs::create_dir(&child).unwrap();
    scene.request.directory = child;
    assert_eq!(scene.config().name, "app");
    assert_eq!(
        scene.explicit("amb.toml").mistakes(),
        ["amb.toml: there is no such file"],
        "nor is a file that was asked for passed over when it is missing"
    );
}

#[test]
fn trap_only_a_double_underscore_makes_a_variable_a_key() {
    let scene = Scene::new()
        .variable("AMB_RUN_ID", "01234")
        .variable("AMB_LOG", "debug")
        .variable("AMB_NAME", "outer")
        .variable("AMB_RUN__KILL_AFTER", "3s");
    assert_eq!(scene.config().supervise.kill_after, Some(Duration::from_secs(3)));
}

#[test]
fn trap_messages_name_the_key_and_the_variable_as_they_were_written() {
    let scene = Scene::new()
        .variable("AMB_RUN__KILL_AFTR", "3s")
        .variable("AMB_RUN__PROCESS_GROUP", "nwe")
        .variable("AMB_TIMEOUT__CONNECT", "5");
    assert_eq!(
        scene.mistakes(),
        [
            "AMB_RUN__KILL_AFTR: unknown key `kill-aftr` in [run]; did you mean `kill-after`?",
            "AMB_RUN__PROCESS_GROUP: `nwe` is not one of auto, inherit, new; did you mean `new`?",
            "AMB_TIMEOUT__CONNECT: `5` has no unit: did you mean `5s`?",
        ]
    );
}

#[test]
fn trap_a_list_replaces_the_list_below_it() {
    let scene = Scene::new()
        .file("amb.toml", "run.no-proxy = ['a', 'b']")
        .flags(&["--no-proxy", "c"]);
    assert_eq!(scene.config().inject.no_proxy, ["c"]);
    assert_eq!(scene.source("run.no-proxy"), "--no-proxy");
}

#[test]
fn trap_a_source_is_a_place_that_the_user_knows() {
    let scene = Scene::new()
        .file("amb.toml", "[run]\nname = 'file'\ndrain = '1s'\nthreads = 2\n")
        .variable("AMB_RUN__THREADS", "3")
        .flags(&["--drain", "2s"]);
    assert_eq!(scene.source("run.name"), "amb.toml:2:8");
    assert_eq!(scene.source("run.threads"), "AMB_RUN__THREADS");
    assert_eq!(scene.source("run.drain"), "--drain");
    let (_, sources) = load(&scene.request).unwrap();
    assert_eq!(
        sources.settings().len(),
        3,
        "a built-in default is no setting: {sources:?}"
    );
}

#[test]
fn trap_the_top_level_of_a_file_is_tables_and_not_profiles() {
    let scene = Scene::new().file("amb.toml", "[default]\nrun.name = 'x'\n[global.run]\nname = 'x'\n");
    let mistakes = scene.mistakes();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(
        mistakes[0].starts_with("amb.toml:1:2: unknown key `default`"),
        "{mistakes:?}"
    );
    assert!(
        mistakes[1].starts_with("amb.toml:3:2: unknown key `global`"),
        "{mistakes:?}"
    );
}

// Mistakes.

#[test]
fn all_mistakes_of_all_layers_are_told_at_once() {
    let scene = Scene::new()
        .file(
            "amb.toml",
            "rnu.name = 'x'\n[run]\nthreads = 'two'\ndrain = 5\nno-proxy = ['a', 5]\nprocess-group = 'nwe'\n[timeout]\nconect = '1s'\n",
        )
        .variable("AMB_RUN__LISTEN", "0.0.0.0:80")
        .file("other.toml", "[connect-to]\n'a' = 'b:80'\n'c:80' = 'd'\n")
        .explicit("other.toml");
    assert_eq!(
        scene.mistakes(),
        [
            "amb.toml:1:1: unknown key `rnu`; did you mean `run`?",
            "amb.toml:3:11: expected a whole number from 1 to 64, found the text `two`",
            "amb.toml:4:9: `5` has no unit: did you mean \"5s\"?",
            "amb.toml:5:18: expected a text, found `5`",
            "amb.toml:6:17: `nwe` is not one of auto, inherit, new; did you mean `new`?",
            "amb.toml:8:1: unknown key `conect` in [timeout]; did you mean `connect`?",
            "other.toml:2:1: `a` has no port: write `a:80`, or `a:` for any",
            "other.toml:3:10: `d` has no port: write `d:80`, or `d:` for any",
            "AMB_RUN__LISTEN: `0.0.0.0:80` can be reached from other machines, which would need a token, \
             and amb has none yet: listen on 127.0.0.1 or [::1]",
        ]
    );
}

#[test]
fn a_mistake_is_told_even_where_a_stronger_layer_covers_it() {
    let scene = Scene::new().file("amb.toml", "run.drain = 5").flags(&["--drain", "5s"]);
    assert_eq!(scene.mistakes().len(), 1);
}

#[test]
fn a_mistake_in_a_file_shows_the_line_it_is_in() {
    let scene = Scene::new().file("amb.toml", "# ü\n[run]\n\tkill-aftr = '5s' # soon\n");
    let errors = load(&scene.request).unwrap_err();
    let expected = "amb.toml:3:2: unknown key `kill-aftr` in [run]; did you mean `kill-after`?\n \
                    3 | \tkill-aftr = '5s' # soon\n   | \t^^^^^^^^^";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn text_that_is_not_toml_is_told_with_its_place() {
    let scene = Scene::new().file("amb.toml", "[run]\nname = \n");
    let mistakes = scene.mistakes();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].starts_with("amb.toml:2:"), "{mistakes:?}");
}

#[test]
fn a_value_out_of_range_is_told_with_the_place_it_came_from() {
    let file = Scene::new().file("amb.toml", "[run]\nthreads = 0\nrun-timeout = '0s'\n");
    assert_eq!(
        file.mistakes(),
        [
            "amb.toml:2:11: expected 1 to 64 threads",
            "amb.toml:3:15: expected more than 0s; leave it out for no limit",
        ]
    );
    let variable = Scene::new().variable("AMB_RUN__THREADS", "65");
    assert_eq!(variable.mistakes(), ["AMB_RUN__THREADS: expected 1 to 64 threads"]);
    let flag = Scene::new().flags(&["--threads", "65", "--connect-timeout", "0s"]);
    let mistakes = flag.mistakes();
    assert_eq!(mistakes[0], "--threads: expected 1 to 64 threads");
    assert!(mistakes[1].starts_with("--connect-timeout: "), "{mistakes:?}");
}

#[test]
fn a_newer_format_is_a_warning_and_what_is_unknown_in_it_still_a_mistake() {
    let scene = Scene::new().file("amb.toml", "version = 2\nrun.name = 'x'");
    let (config, sources) = load(&scene.request).unwrap();
    assert_eq!(config.name, "x");
    let warnings: Vec<String> = sources.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["amb.toml:1:11: written for a newer amb: this one knows version 1, not 2\n 1 | version = 2\n   |           ^"]
    );
    let scene = scene.file("amb.toml", "version = 2\nrun.nmae = 'x'");
    assert_eq!(scene.mistakes().len(), 1);
    for text in ["version = 0", "version = -1"] {
        let scene = Scene::new().file("amb.toml", text);
        assert_eq!(scene.mistakes(), ["amb.toml:1:11: versions begin with 1"]);
    }
    assert!(
        load(&Scene::new().file("amb.toml", "version = 1").request)
            .unwrap()
            .1
            .warnings
            .is_empty()
    );
}

#[test]
fn a_number_is_a_name_in_a_variable_but_not_in_a_file() {
    assert_eq!(Scene::new().variable("AMB_RUN__NAME", "123").config().name, "123");
    let file = Scene::new().file("amb.toml", "run.name = 123");
    assert_eq!(file.mistakes(), ["amb.toml:1:12: expected a text, found `123`"]);
}

#[test]
fn one_mistake_in_a_file_that_is_read_twice_counts_once() {
    let scene = Scene::new().file("amb.toml", "run.drain = 5").explicit("amb.toml");
    assert_eq!(scene.mistakes().len(), 1);
}

#[test]
fn a_value_in_the_place_of_a_table_is_refused() {
    let scene = Scene::new().file("amb.toml", "run = 5\nconnect-to = 'x'\n");
    assert_eq!(
        scene.mistakes(),
        [
            "amb.toml:1:7: expected a table, found `5`",
            "amb.toml:2:14: expected a table, found the text `x`",
        ]
    );
}

#[test]
fn the_example_is_sound() {
    let config = Scene::new()
        .variable("AMB_TRUST", "1")
        .file("amb.toml", include_str!("example.toml"))
        .config();
    assert_eq!(config.name, "billing");
    assert_eq!(config.policy.reach.target("other", 443), ("staging.example.com", 443));
}

#[test]
fn no_layer_says_what_an_empty_one_says() {
    let (nothing, _) = Sources::of(Vec::new(), Vec::new()).unwrap();
    let scene = Scene::new().file("amb.toml", "");
    let layers = Stack::read(&scene.request).layers;
    assert_eq!(layers.len(), 1);
    let (empty, _) = Sources::of(layers, Vec::new()).unwrap();
    assert_eq!(format!("{nothing:?}"), format!("{empty:?}"));
}

#[test]
fn loading_costs_the_run_next_to_nothing() {
    let scene = Scene::new()
        .variable("AMB_TRUST", "1")
        .system(include_str!("example.toml"))
        .user(include_str!("example.toml"))
        .file("amb.toml", include_str!("example.toml"))
        .file("other.toml", include_str!("example.toml"))
        .explicit("other.toml")
        .profile("ci")
        .variable("AMB_RUN__NAME", "x")
        .flags(&["--drain", "2s"])
        .set("run.extend-no-proxy=y");
    // The time that this thread was at work, and the best of many: the machine may be busy with something else.
    let best = |of: &dyn Fn()| {
        let worked = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let once = (0..50).map(|_| {
            let before = worked();
            of();
            worked().saturating_sub(before)
        });
        once.min().unwrap()
    };
    let loading = best(&|| drop(load(&scene.request).unwrap()));
    let parsing = best(&|| {
        let parsed = include_str!("example.toml").parse::<toml_edit::ImDocument<_>>();
        drop(parsed.unwrap());
    });
    // The budget is 1 ms with optimisation. Tests are built without, on machines of any speed, so the ruler is a part of the loading
    // itself: to parse one of its four files.
    assert!(
        loading < 25 * parsing,
        "{loading:?}, and one file is parsed in {parsing:?}"
    );
}

#[test]
fn there_is_room_for_every_condition_that_is_not_refused() {
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    for (condition, fits) in [
        (nested(32), true),
        (nested(33), false),
        (["true"; 120].join(" && "), true),
        (["request.port == 80"; 44].join(" || "), true),
        (["1"; 31].join("+") + " == 31", true),
        (["1"; 500].join("+") + " == 500", false),
        (format!("has(request.headers{})", ".a".repeat(490)), false),
        (format!("request.host != ''{}", " ? true : true".repeat(15)), true),
        (
            format!("{}request.host != ''{}", "[1].all(x, ".repeat(5), ")".repeat(5)),
            true,
        ),
        (format!("{}true{}", "[1].all(x, ".repeat(16), ")".repeat(16)), false),
    ] {
        let scene = Scene::new().file("amb.toml", &format!("[[route]]\nwhen = \"{condition}\"\n"));
        let loaded = load(&scene.request);
        assert_eq!(
            loaded.is_ok(),
            fits,
            "{condition:.60}: {:?}",
            loaded.err().map(|told| told.to_string())
        );
        if let Ok((config, _)) = loaded {
            // Here there is only as much as a thread has.
            let asked = crate::policy::rules::Asked::tunnel("a", 443);
            config.policy.rules_for(&asked);
        }
    }
}
