//! Who may redirect requests: not a file that merely lies there.

use std::path::Path;

use super::*;
use crate::config::trust::{grant, list, revoke};

/// A scene with a home directory and a file that redirects.
fn scene() -> Scene {
    let scene = Scene::new();
    let home = scene.directory.path().join("home");
    let scene = scene.variable("HOME", home.to_str().unwrap());
    scene.file("amb.toml", "[upstream]\nproxy = 'http://me:secret@parent:3128'\n")
}

/// What every refusal begins with.
const REFUSAL: &str = "amb.toml:2:1: this sends every request through a proxy of its choice, \
                       and nobody has trusted this file yet; look at amb.toml, then run `amb trust` once";

#[test]
fn a_file_that_was_found_is_trusted_once_for_each_content() {
    let mut scene = scene();
    assert!(scene.mistakes()[0].starts_with(REFUSAL), "{:?}", scene.mistakes());
    let said = grant(&scene.request, None).unwrap();
    assert!(said.contains("upstream.proxy = \"http://***@parent:3128\""), "{said}");
    scene.config();
    scene = scene.file("amb.toml", "[upstream]\nproxy = 'http://other:3128'\n");
    assert_eq!(scene.mistakes().len(), 1, "another content");
    grant(&scene.request, Some(Path::new("amb.toml"))).unwrap();
    scene.config();
    scene = scene.file("amb.toml", "[upstream]\nproxy = 'http://me:secret@parent:3128'\n");
    scene.config();
    let listed = list(&scene.request).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert_eq!(listed.matches("has changed since").count(), 1, "{listed}");
    assert!(revoke(&scene.request, None).unwrap().ends_with("is trusted no more\n"));
    assert_eq!(scene.mistakes().len(), 1);
    assert_eq!(list(&scene.request).unwrap(), "");
    assert!(revoke(&scene.request, None).unwrap().ends_with("was not trusted\n"));
}

#[test]
fn a_refusal_shows_no_password() {
    let errors = load(&scene().request).unwrap_err().to_string();
    assert!(errors.contains("proxy = 'http://*********@parent:3128'"), "{errors}");
    assert!(!errors.contains("secret"), "{errors}");
}

#[test]
fn a_file_that_was_asked_for_is_trusted_by_that() {
    scene().explicit("amb.toml").config();
    let elsewhere = scene();
    fs::create_dir(elsewhere.directory.path().join("sub")).unwrap();
    elsewhere.explicit("sub/../amb.toml").config();
    scene().variable("AMB_CONFIG", "amb.toml").config();
}

#[test]
fn the_variable_trusts_every_file() {
    scene().variable("AMB_TRUST", "1").config();
    assert_eq!(scene().variable("AMB_TRUST", "0").mistakes().len(), 1);
    assert_eq!(
        scene().variable("AMB_TRUST", "maybe").mistakes(),
        ["AMB_TRUST: `maybe` is neither 1 nor 0"]
    );
    Scene::new().variable("AMB_TRUST", "maybe").config();
}

#[test]
fn only_what_was_found_and_only_what_is_dangerous_needs_trust() {
    let dangerous = "resolve.'a:80' = '127.0.0.1'";
    Scene::new().user(dangerous).config();
    Scene::new().system(dangerous).config();
    Scene::new()
        .file("other.toml", dangerous)
        .explicit("other.toml")
        .config();
    Scene::new()
        .file(
            "amb.toml",
            "timeout.connect = '1s'\nreport.files = ['out.json']\nmetrics = { textfile = 'a.prom', labels.a = 'b' }\n",
        )
        .config();
    for text in [
        dangerous,
        "report.files = ['a.json', 'json=/tmp/x']",
        "report.extend-files = ['../x.json']",
        "access-log.file = '/tmp/x'",
        "metrics.listen = '9464'",
        "metrics.textfile = '../amb.prom'",
        "metrics.pushgateway = 'http://gateway.test'",
        "[profile.a]\nupstream.proxy = 'none'",
    ] {
        let scene = Scene::new().file("amb.toml", text);
        let scene = if text.contains("profile") {
            scene.profile("a")
        } else {
            scene
        };
        assert_eq!(scene.mistakes().len(), 1, "{text}");
        assert!(inspect(&scene.request).is_ok(), "who only looks needs no trust");
    }
    Scene::new()
        .file("amb.toml", "[profile.a]\nupstream.proxy = 'none'")
        .config();
}

#[test]
fn without_a_home_directory_nothing_can_be_trusted_and_it_is_said() {
    let scene = Scene::new().file("amb.toml", "resolve.'a:80' = '127.0.0.1'");
    assert_eq!(scene.mistakes().len(), 1);
    let said = grant(&scene.request, None).unwrap_err().to_string();
    assert!(said.starts_with("HOME and XDG_STATE_HOME are not set"), "{said}");
}
