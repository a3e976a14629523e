//! README.md and the program agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs,
    net::SocketAddr,
    path::Path,
};

use amb::{
    cli,
    config::{self, Request},
    exit::Exit,
    inject::{self, Environment, Family, Loopback, Origin, Settings, TraceContext},
    supervise::ChildExit,
    trust::Files,
};
use clap::ValueEnum;

/// A file of the project.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What stands between `<!-- NAME -->` and `<!-- /NAME -->`.
#[track_caller]
fn section<'a>(readme: &'a str, name: &str) -> &'a str {
    let (_, after) = readme.split_once(&format!("<!-- {name} -->\n")).expect(name);
    after.split_once(&format!("<!-- /{name} -->")).expect(name).0
}

/// The block of code behind `<!-- NAME -->`.
#[track_caller]
pub(crate) fn block<'a>(readme: &'a str, name: &str) -> &'a str {
    let (_, after) = readme.split_once(&format!("<!-- {name} -->\n```")).expect(name);
    let (_, code) = after.split_once('\n').unwrap();
    code.split_once("```").unwrap().0
}

/// The cells of a table's rows, without its heading. A bar in a cell is written `\|`.
fn rows(table: &str) -> Vec<Vec<String>> {
    table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let line = line.trim_matches('|').replace("\\|", "\u{0}");
            let cells = line.split('|');
            cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect()
        })
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The long flags in a text, without their dashes.
fn flags(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_ascii_lowercase() && character != '-')
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|flag| !flag.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

/// `amb run`, as clap knows it, global options included.
fn run_command() -> clap::Command {
    let mut amb = cli::command();
    amb.build();
    amb.find_subcommand("run").unwrap().clone()
}

#[test]
fn the_table_of_options_is_that_of_the_help() {
    let readme = read("README.md");
    let table = section(&readme, "options");
    let mut command = run_command();
    // The examples before it show flags of other programs.
    let help = command.render_long_help().to_string();
    let mut said = flags(help.split_once("Usage:").unwrap().1);
    said.remove("help");
    let told = rows(table).iter().flat_map(|row| flags(&row.join(" "))).collect();
    assert_eq!(said, told);

    let rows: BTreeMap<String, Vec<String>> = rows(table)
        .into_iter()
        .map(|row| (flags(&row[0]).pop_first().unwrap(), row))
        .collect();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let Some(flag) = argument.get_long().filter(|flag| *flag != "help") else {
            continue;
        };
        let row = &rows[flag];
        let short = argument.get_short().map(|short| format!("`-{short}`, "));
        let named = format!("{}`--{flag}", short.unwrap_or_default());
        assert!(row[0].starts_with(&named), "{row:?} does not begin with {named}");
        let takes_value =
            argument.get_action().takes_values() && argument.get_num_args().is_none_or(|n| n.takes_values());
        if takes_value {
            let value = &argument.get_value_names().unwrap()[0];
            let forms = [format!("--{flag} {value}"), format!("--{flag}[={value}]")];
            assert!(forms.iter().any(|form| row[0].contains(form)), "{row:?}: {value}");
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        if let Some((_, default)) = help.split_once("[default: ") {
            let default = default.split([',', ']']).next().unwrap();
            let told = row[3].replace('`', "");
            assert!(told.starts_with(default), "--{flag} is by default `{default}`: {row:?}");
        }
    }
}

#[test]
fn the_table_of_serve_has_what_run_has_not() {
    let mut amb = cli::command();
    amb.build();
    let shown = |name: &str| -> BTreeSet<String> {
        let command = amb.find_subcommand(name).unwrap();
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        shown
            .filter_map(|argument| argument.get_long().map(ToOwned::to_owned))
            .collect()
    };
    let readme = read("README.md");
    let table = section(&readme, "serve");
    let told: BTreeSet<String> = rows(table).iter().flat_map(|row| flags(&row[0])).collect();
    let (run, serve) = (shown("run"), shown("serve"));
    assert_eq!(serve.difference(&run).cloned().collect::<BTreeSet<_>>(), told);
    assert_eq!(shown("shell"), run);
}

#[test]
fn every_key_in_the_table_of_options_is_a_key() {
    let readme = read("README.md");
    let table = section(&readme, "options");
    let known = |key: &str| {
        let variable = format!("AMB_{}", key.replace('.', "__").replace('-', "_").to_ascii_uppercase());
        let result = config::load(&Request {
            environment: vec![(variable.into(), OsString::from("x"))],
            no_config: true,
            ..Request::default()
        });
        result.map_or_else(|mistakes| !mistakes.to_string().contains("unknown key"), |_| true)
    };
    assert!(!known("run.nonsense"), "the test itself is wrong");
    for row in rows(table) {
        for key in quoted(&row[1]).into_iter().filter(|key| key.contains('.')) {
            assert!(known(key), "{row:?}");
        }
    }
}

#[test]
fn the_example_is_the_file_and_can_be_loaded() {
    let readme = read("README.md");
    let example = block(&readme, "example");
    assert_eq!(example, read("src/config/example.toml"));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("amb.toml"), example).unwrap();
    let loaded = config::load(&Request {
        directory: directory.path().to_owned(),
        environment: vec![("AMB_TRUST".into(), "1".into())],
        ..Request::default()
    });
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
}

#[test]
fn the_table_of_exit_statuses_is_that_of_the_program() {
    let readme = read("README.md");
    let told: BTreeSet<i32> = rows(section(&readme, "exit"))
        .iter()
        .filter_map(|row| row[0].parse().ok())
        .collect();
    let own = [
        Exit::PolicyViolated,
        Exit::AssertionFailed,
        Exit::TimedOut,
        Exit::Failed,
        Exit::CannotRun,
        Exit::NotFound,
    ];
    assert_eq!(told, own.iter().map(|exit| exit.status()).collect());
    // The compiler asks for the table when there is another way to end.
    match own[0] {
        Exit::Child(ChildExit::Code(_) | ChildExit::Signal(_))
        | Exit::PolicyViolated
        | Exit::AssertionFailed
        | Exit::TimedOut
        | Exit::Failed
        | Exit::CannotRun
        | Exit::NotFound
        | Exit::Done
        | Exit::Negative
        | Exit::Usage => {}
    }
    assert_eq!([Exit::Done, Exit::Negative, Exit::Usage].map(Exit::status), [0, 1, 2]);
    assert!(
        readme.contains("end with 0, with 1 if the answer is no"),
        "the other subcommands' statuses"
    );
}

#[test]
fn the_table_of_families_is_that_of_the_program() {
    let readme = read("README.md");
    let rows: BTreeMap<String, Vec<String>> = rows(section(&readme, "families"))
        .into_iter()
        .map(|row| (row[0].replace('`', ""), row))
        .collect();
    let proxy = SocketAddr::from(([127, 0, 0, 1], 40123));
    let default = Settings::default().families;
    assert_eq!(rows.len(), Family::value_variants().len());
    for family in Family::value_variants() {
        let row = &rows[&family.to_string()];
        let settings = Settings {
            name: Some("x".to_owned()),
            families: vec![*family],
            no_proxy: Vec::new(),
            loopback: Loopback::Direct,
            trace: Some(TraceContext {
                parent: String::new(),
                keeps_state: true,
            }),
        };
        let set = |inherited: &Environment<'_>, certificates: Option<&Files>| -> BTreeMap<String, Option<OsString>> {
            let changes = inject::changes(inherited, proxy, certificates, "x", &settings);
            let own = changes
                .into_iter()
                .filter(|change| change.origin == Origin::Family(*family));
            own.map(|change| (change.name, change.value)).collect()
        };
        let told = |cell: &str| {
            quoted(cell)
                .into_iter()
                .map(ToOwned::to_owned)
                .collect::<BTreeSet<String>>()
        };
        let without = set(&Environment::new(), None);
        assert_eq!(told(&row[1]), without.into_keys().collect(), "{family}");
        // What is changed only where it is set, and what depends on a home.
        let inherited = ["SSL_CERT_DIR", "YARN_HTTPS_CA_FILE_PATH", "MOJO_CA_FILE", "HOME"];
        let inherited = inherited.map(|name| (OsStr::new(name), OsStr::new("/nowhere")));
        let inherited = inherited.into_iter().collect();
        let without = set(&inherited, None);
        let mut certificates = set(&inherited, Some(&Files::planned(&inherited)));
        certificates.retain(|name, value| without.get(name) != Some(value));
        assert_eq!(told(&row[2]), certificates.into_keys().collect(), "{family}");
        assert_eq!(row[3].starts_with("yes"), default.contains(family), "{row:?}");
    }
    for marker in [
        inject::RUN_ID,
        inject::NAME,
        inject::memory::BEFORE,
        inject::PROXY_URL,
        inject::CA_FILE,
    ] {
        assert!(readme.contains(&format!("`{marker}`")), "{marker}");
    }
}

#[test]
fn the_table_of_layers_is_that_of_the_test() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("| Layer | ").unwrap();
    let table = table.split_once("\n\n").unwrap().0;
    for row in rows(&format!("| {table}")) {
        for layer in quoted(&row[0]) {
            let mut told: Vec<&str> = quoted(&row[2]);
            if row[2] == "everything" {
                told.push("*");
            }
            let (_, held) = super::layers::LAYERS
                .iter()
                .find(|(name, _)| *name == layer)
                .unwrap_or_else(|| panic!("{layer}"));
            assert_eq!(told, *held, "{layer}");
        }
    }
}

#[test]
fn the_two_commands_are_one_line_each() {
    let readme = read("README.md");
    assert_eq!(block(&readme, "first-command"), "cargo run --locked -- demo\n");
    assert_eq!(block(&readme, "test-command"), "cargo test --locked\n");
}

#[test]
fn every_file_that_is_named_exists() {
    let readme = read("README.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_in_project = |word: &str| {
        ["src/", "tests/", "man/", "completions/", ".ci/"]
            .iter()
            .any(|beginning| word.starts_with(beginning))
    };
    let without_fences = readme.replace("```", "");
    let mut named: BTreeSet<&str> = quoted(&without_fences)
        .into_iter()
        .filter(|word| is_in_project(word))
        .collect();
    named.extend(
        links(&readme)
            .into_iter()
            .filter(|target| !target.contains("://") && !target.starts_with('#')),
    );
    assert!(named.contains("src/run.rs") && named.contains("LICENSE"), "{named:?}");
    for path in named {
        assert!(root.join(path).exists(), "README.md names {path}");
    }
}

#[test]
fn every_link_within_leads_to_a_heading() {
    let readme = read("README.md");
    let anchors: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .map(|heading| {
            let kept = heading
                .to_lowercase()
                .replace(|character: char| !character.is_alphanumeric() && character != ' ', "");
            format!("#{}", kept.replace(' ', "-"))
        })
        .collect();
    for target in links(&readme).into_iter().filter(|target| target.starts_with('#')) {
        assert!(anchors.contains(target), "{target}: {anchors:?}");
    }
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let map = read("src/lib.rs");
    let (_, invariants) = map.split_once("//! # Invariants\n").unwrap();
    let mut count = 0;
    for named in quoted(invariants) {
        let Some((module, test)) = named.rsplit_once("::").filter(|(_, test)| test.contains('_')) else {
            continue;
        };
        let file = format!("tests/it/{}.rs", module.replace("::", "/"));
        assert!(
            read(&file).contains(&format!("#[test]\nfn {test}()")),
            "there is no test {named} in {file}"
        );
        count += 1;
    }
    assert!(count > 10, "{count} tests are named");
}

/// The targets of Markdown links.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|after| after.split(')').next())
        .collect()
}
