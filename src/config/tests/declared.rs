//! What stands beside an option is true: its default, its flag, its marks, its schema.

use std::{collections::BTreeSet, sync::OnceLock};

use clap::Args;
use serde_json::{Value, json};

use super::*;
use crate::config::schema::{self, Key};

/// The schema, made once.
static VALIDATOR: OnceLock<jsonschema::Validator> = OnceLock::new();

/// The schema's verdict on a file.
pub(super) fn accepts(text: &str) -> Result<(), String> {
    let value: Value = figment::Figment::from(<figment::providers::Toml as figment::providers::Format>::string(text))
        .extract()
        .map_err(|error| error.to_string())?;
    let validator = VALIDATOR.get_or_init(|| jsonschema::draft7::new(&schema::document()).unwrap());
    let mistakes: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(mistakes.join("\n"))
    }
}

#[test]
fn every_flag_that_is_a_layer_has_the_name_of_its_key_for_an_id() {
    let names: BTreeSet<String> = schema::keys().iter().map(Key::name).collect();
    for argument in Options::augment_args(clap::Command::new("amb")).get_arguments() {
        let id = argument.get_id().as_str();
        assert!(
            names.contains(id) || argument.is_hide_set(),
            "--{} needs the name of its key for an id, as in #[arg(id = \"timeout.connect\", …)]",
            argument.get_long().unwrap_or(id)
        );
    }
}

#[test]
fn every_key_says_what_it_is_for_and_what_holds_without_it() {
    for key in schema::keys() {
        let name = key.name();
        assert!(key.summary.len() > 10, "{name} has no documentation");
        assert!(!key.summary.contains('['), "{name}: {}", key.summary);
        if key.entry.is_some() || key.is_inside() {
            continue;
        }
        assert!(
            key.default_text.is_some(),
            "{name} does not say in [default: …], at the end of its first line, what holds without it"
        );
        // What it says in words and what it says as a value are the same.
        let text = key.default_text.as_deref().unwrap_or_default();
        match &key.default {
            Some(Value::Array(list)) if list.is_empty() => assert_eq!(text, "none", "{name}"),
            Some(Value::Array(list)) => {
                let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                assert_eq!(text, list.join(","), "{name}");
            }
            Some(Value::String(value)) => assert_eq!(text, value, "{name}"),
            Some(Value::Bool(on)) => assert_eq!(text, if *on { "on" } else { "off" }, "{name}"),
            Some(other) => assert_eq!(text, other.to_string(), "{name}"),
            None => {
                let words = Scene::new().set(&format!("{name}={text}"));
                let is_value = load(&words.request).is_ok();
                assert!(
                    !is_value
                        || [
                            "run.name",
                            "access-log.file",
                            "response-body.text",
                            "egress.contact",
                            "egress.learn",
                            "metrics.textfile",
                            "report.events"
                        ]
                        .contains(&name.as_str()),
                    "{name}: `{text}` is a value: say so with #[schemars(extend(\"default\" = …))]"
                );
            }
        }
    }
}

#[test]
fn the_declared_defaults_are_those_that_hold() {
    let built_in = Scene::new().config();
    let mut scene = Scene::new();
    for key in schema::keys().iter().filter(|key| !key.is_inside()) {
        if let Some(default) = &key.default {
            scene = scene.set(&format!("{}={}", key.name(), secret::toml(default)));
        }
    }
    assert!(scene.request.overrides.len() > 5);
    assert_eq!(format!("{:?}", scene.config()), format!("{built_in:?}"));
}

#[test]
fn every_variable_leads_back_to_its_key() {
    for key in schema::keys().iter().filter(|key| key.entry.is_none()) {
        let read = key.variable.as_ref().map(|variable| variables::key(variable).unwrap());
        let in_a_table = !key.is_inside() && key.path.len() > 1;
        assert_eq!(read, in_a_table.then(|| key.path.clone()));
    }
}

#[test]
fn the_schema_takes_the_example_and_the_first_file() {
    accepts(include_str!("../example.toml")).unwrap();
    accepts(init::TEMPLATE).unwrap();
    let uncommented: String = uncommented(init::TEMPLATE);
    accepts(&uncommented).unwrap();
    assert!(uncommented.contains("\n[profile.ci.run]\n"), "{uncommented}");
    let scene = Scene::new()
        .variable("AMB_TRUST", "1")
        .file("amb.toml", &uncommented)
        .profile("ci");
    assert_eq!(scene.config().supervise.run_timeout, Some(Duration::from_mins(5)));
}

/// The template with everything in it switched on.
fn uncommented(text: &str) -> String {
    let is_code = |line: &str| line.starts_with('[') || line.starts_with('"') || line.contains(" = ");
    text.lines()
        .map(|line| line.strip_prefix("# ").filter(|line| is_code(line)).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_first_file_changes_nothing_until_it_is_edited() {
    let scene = Scene::new().file("amb.toml", init::TEMPLATE);
    assert_eq!(format!("{:?}", scene.config()), format!("{:?}", Scene::new().config()));
}

#[test]
fn the_schema_refuses_what_loading_refuses_as_far_as_it_can_say_it() {
    for text in [
        "rnu.name = 'x'",
        "[run]\nnmae = 'x'",
        "run = 5",
        "run.threads = 'two'",
        "run.threads = 0",
        "run.threads = 65",
        "run.threads = 1.5",
        "run.drain = 5",
        "run.drain = '5'",
        "run.drain = '5 parsecs'",
        "run.name = 123",
        "run.no-proxy = ['a', 5]",
        "run.extend-no-proxy = [5]",
        "run.extend-name = ['a']",
        "run.process-group = 'nwe'",
        "run.inject = ['pxory']",
        "run.listen = '0.0.0.0:80'",
        "run.listen = 'localhost:80'",
        "run.proxy-loopback = 'yes'",
        "report.summary = 'all'",
        "report.files = 'a.json'",
        "access-log.format = 'xml'",
        "headers.via = 1",
        "connect-to = 'x'",
        "[connect-to]\n'a' = 'b:80'",
        "[connect-to]\n'a:80' = 'b'",
        "[connect-to]\n'a:80' = 80",
        "[resolve]\n'a' = '127.0.0.1'",
        "[resolve]\n'a:80' = []",
        "version = 0",
        "version = '1'",
        "[[route]]\nidd = 'x'",
        "[[route]]\nmatch = 'a'",
        "[[route]]\nmatch = { hots = 'a' }",
        "[[route]]\nmatch = { host = [] }",
        "[[route]]\nmatch = { port = 0 }",
        "[[route]]\nmatch = { port = 'http' }",
        "[[route]]\nmatch = { path = 'v1' }",
        "[[route]]\nmatch = { extend-host = ['a'] }",
        "[[route]]\nmatch = { header = { a = 1 } }",
        "[[route]]\nurl-templates = '/v1'",
        "[[route]]\nurl-templates = ['v1']",
        "[[route]]\ntimeout = { connect = 5 }",
        "[[extend-route]]\nidd = 'x'",
        "[profile.ci]\nroute = 5",
        "profile = 5",
        "profile.ci = 5",
        "[profile.ci.run]\nnmae = 'x'",
        "[profile.ci]\nversion = 1",
        "[profile.ci.profile.x]\n",
    ] {
        assert!(accepts(text).is_err(), "the schema takes {text}");
        assert!(
            load(&Scene::new().file("amb.toml", text).request).is_err(),
            "loading takes {text}"
        );
    }
}

#[test]
fn the_schema_is_one_that_editors_know() {
    let schema = schema::document();
    assert!(jsonschema::meta::is_valid(&schema));
    // An editor shows the description where the pointer rests.
    let connect = &schema["definitions"]["timeout"]["properties"]["connect"];
    assert!(
        connect["description"]
            .as_str()
            .unwrap()
            .starts_with("How long a connection may take")
    );
    assert_eq!(connect["default"], json!("10s"));
    assert_eq!(
        schema["properties"]["profile"]["additionalProperties"]["properties"]["run"],
        json!({ "$ref": "#/definitions/run" })
    );
    for table in schema["definitions"].as_object().unwrap().values() {
        assert!(!table["description"].as_str().unwrap().is_empty());
    }
}
