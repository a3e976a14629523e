use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

/// A store with one secret, and what went into its environment.
fn store(recipe: Recipe, environment: &[(&str, &str)]) -> Store {
    let environment: Vec<(OsString, OsString)> = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    Store::new(&BTreeMap::from([("a".to_owned(), recipe)]), &environment)
}

/// A secret from there.
fn of(source: Source) -> Recipe {
    Recipe {
        source,
        hide_from_child: false,
        lazy: false,
        cache: None,
    }
}

#[test]
fn a_secret_is_shown_to_nobody() {
    let secret = Secret(Zeroizing::new(b"value".to_vec()));
    assert_eq!(
        (format!("{secret}"), format!("{secret:?}")),
        ("***".to_owned(), "***".to_owned())
    );
    let store = store(of(Source::Variable("A".to_owned())), &[("A", "the-store's-value")]);
    store.fetch_all().unwrap();
    let shown = format!("{:?}", store.entries);
    assert!(!shown.contains("the-store's-value"), "{shown}");
}

#[test]
fn each_source_gives_its_value_without_the_line_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("name");
    fs::write(&path, "from-a-file\r\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let place = directory.path().to_str().unwrap();
    for (source, value) in [
        (Source::File(path.clone()), "from-a-file"),
        (Source::Variable("A".to_owned()), "from-a-variable"),
        (Source::Credential("name".to_owned()), "from-a-file"),
        (
            Source::Command(vec!["/bin/echo".into(), "from-a-command".into()]),
            "from-a-command",
        ),
    ] {
        let shown = source.to_string();
        let store = store(
            of(source),
            &[("A", "from-a-variable"), ("CREDENTIALS_DIRECTORY", place)],
        );
        assert_eq!(store.fetch_all().unwrap(), [""; 0], "{shown}");
        assert_eq!(store.get("a").unwrap().expose(), value.as_bytes(), "{shown}");
        assert!(store.ready("a").is_some());
    }
}

#[cfg(not(feature = "keyring"))]
#[test]
fn a_keyring_that_this_amb_cannot_ask_has_another_way_to_be_asked() {
    let source = Source::Keyring {
        service: "corp".to_owned(),
        user: "me".to_owned(),
    };
    let errors = store(of(source), &[]).fetch_all().unwrap_err();
    let said = errors[0].to_string();
    assert!(said.contains("from the keyring's entry corp of me: "), "{said}");
    assert!(said.contains("secret-tool"), "{said}");
}

#[test]
fn a_failure_names_the_secret_and_the_source_and_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    for (source, reason) in [
        (
            Source::File("/nowhere/s".into()),
            "cannot be had from the file /nowhere/s: there is no such file",
        ),
        (Source::File(empty), ": it is empty"),
        (
            Source::Variable("NOT_SET".to_owned()),
            "cannot be had from the variable NOT_SET: it is not set",
        ),
        (
            Source::Credential("c".to_owned()),
            "from the credential c: CREDENTIALS_DIRECTORY is not set",
        ),
        (
            Source::Command(vec!["/bin/sh".into(), "-c".into(), "echo the-value; exit 1".into()]),
            "from the command /bin/sh: it ended with exit status: 1",
        ),
    ] {
        let errors = store(of(source), &[]).fetch_all().unwrap_err();
        let said = errors[0].to_string();
        assert!(said.starts_with("the secret `a` ") && said.contains(reason), "{said}");
        assert!(!said.contains("the-value"), "{said}");
    }
}

#[test]
fn a_file_that_everybody_may_read_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("name");
    fs::write(&path, "value-in-the-open").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let notes = store(of(Source::File(path)), &[]).fetch_all().unwrap();
    assert!(notes[0].contains("every user of this machine may read"), "{notes:?}");
}

#[test]
fn a_lazy_one_is_fetched_when_it_is_needed_and_a_cached_one_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("name");
    let lazy = Recipe {
        lazy: true,
        cache: Some(Duration::from_nanos(1)),
        ..of(Source::File(path.clone()))
    };
    let store = store(lazy, &[]);
    assert_eq!(store.fetch_all().unwrap(), [""; 0]);
    assert!(store.ready("a").is_none() && store.get("a").is_err());
    for value in ["first-value", "second-value"] {
        fs::write(&path, value).unwrap();
        assert_eq!(store.get("a").unwrap().expose(), value.as_bytes());
    }
}

#[test]
fn only_hidden_variables_are_hidden() {
    let hidden = Recipe {
        hide_from_child: true,
        ..of(Source::Variable("A".to_owned()))
    };
    assert_eq!(store(hidden, &[]).hidden(), ["A"]);
    assert_eq!(store(of(Source::Variable("A".to_owned())), &[]).hidden(), [""; 0]);
}

#[test]
fn an_entry_says_where_its_secret_comes_from_and_says_it_once() {
    for (entry, wrong) in [
        (r#"{ "keyring": ["corp", "me"] }"#, None),
        (
            r#"{ "keyring": ["corp"] }"#,
            Some("secret.a.keyring: expected two texts"),
        ),
        (
            r#"{ "keyring": ["corp", "me"], "env": "A" }"#,
            Some("secret.a.keyring: a secret comes from one place: `env`"),
        ),
        (
            r#"{ "hide-from-child": true, "keyring": ["corp", "me"] }"#,
            Some("only a variable can be hidden"),
        ),
        (r"{}", Some("secret.a: it does not say where it comes from")),
    ] {
        let options: options::SecretsOptions = serde_json::from_str(&format!(r#"{{ "a": {entry} }}"#)).unwrap();
        let mut problems = Vec::new();
        let (recipes, _) = options.build(&mut problems);
        let said: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.key.join("."), problem.reason))
            .collect();
        match wrong {
            None => assert_eq!((said.len(), recipes.len()), (0, 1), "{entry}: {said:?}"),
            Some(wrong) => assert!(said.iter().any(|said| said.contains(wrong)), "{entry}: {said:?}"),
        }
    }
}
