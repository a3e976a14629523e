//! The layer rule: a module uses only modules below it, and a foreign crate that shapes a module is named in it alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What each module may use of the others. `main`, `lib`, `run` and `demo` may use everything.
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["*"]),
    ("lib", &["*"]),
    ("run", &["*"]),
    ("demo", &["*"]),
    (
        "cli",
        &[
            "config", "exit", "inject", "monitor", "report", "spelling", "units", "veil",
        ],
    ),
    (
        "config",
        &[
            "assert",
            "policy",
            "supervise",
            "report",
            "inject",
            "secret",
            "spelling",
            "units",
            "veil",
        ],
    ),
    ("ca", &["cli", "config", "exit", "policy", "proxy"]),
    (
        "doctor",
        &[
            "capture",
            "cli",
            "config",
            "exit",
            "monitor",
            "policy",
            "proxy",
            "report",
            "supervise",
        ],
    ),
    ("exit", &["supervise"]),
    ("inject", &["trust"]),
    ("trust", &[]),
    ("capture", &[]),
    ("supervise", &["capture", "sabotage", "units", "veil"]),
    (
        "proxy",
        &["capture", "policy", "sabotage", "secret", "traffic", "units", "veil"],
    ),
    (
        "monitor",
        &["inject", "proxy", "report", "traffic", "trust", "units", "veil"],
    ),
    (
        "top",
        &["cli", "exit", "monitor", "report", "supervise", "traffic", "units"],
    ),
    ("otlp", &["policy", "proxy", "secret", "traffic", "veil"]),
    ("report", &["traffic", "units", "veil"]),
    ("assert", &["policy", "traffic", "units"]),
    ("traffic", &["units"]),
    ("secret", &["policy", "units", "veil"]),
    ("policy", &["spelling", "units", "veil"]),
    ("veil", &[]),
    ("spelling", &[]),
    ("units", &[]),
    ("sabotage", &[]),
    ("build", &[]),
];

/// Crates that are named in these modules only.
const CONFINED: &[(&str, &[&str])] = &[
    ("command_group", &["secret"]),
    ("signal_hook", &["supervise"]),
    ("figment", &["config"]),
    ("indicatif", &["report"]),
    ("hyper", &["demo", "monitor", "proxy"]),
    ("ratatui", &["top"]),
    ("h2", &["proxy"]),
    ("httparse", &["proxy"]),
    ("rcgen", &["proxy"]),
    ("rustls", &["proxy"]),
    ("rustls_native_certs", &["proxy"]),
    ("x509_parser", &["proxy"]),
    ("cel", &["assert", "policy"]),
    ("json_patch", &["policy"]),
    ("flate2", &["otlp", "proxy"]),
    ("brotli_decompressor", &["proxy"]),
    ("ruzstd", &["proxy"]),
    ("p12_keystore", &["proxy"]),
    ("prometheus_client", &["report"]),
    ("opentelemetry_proto", &["otlp"]),
    ("prost", &["otlp"]),
];

/// What a decision has no need of: input and output, clocks, threads, the surroundings.
const IMPURE: &[&str] = &[
    "tokio",
    "fs",
    "process",
    "thread",
    "Instant",
    "SystemTime",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "stdin",
    "stdout",
    "stderr",
    "vars_os",
    "var_os",
];

/// The files that may hold unsafe code.
const UNSAFE: &[&str] = &[
    "capture/kernel.rs",
    "main.rs",
    "supervise/child.rs",
    "supervise/caught.rs",
    "supervise/startup.rs",
    "supervise/terminal.rs",
    "supervise/vfork.rs",
];

/// Names that say nothing of the domain.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "handler", "common"];

/// Lines of code in a file, without its tests, comments and blank lines.
const MOST_LINES: usize = 400;

/// The code of a file: without comments, the contents of literals, and its tests at the end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut code = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if character == '"' || rest.starts_with("r\"") || rest.starts_with("r#") && raw_text(rest).is_some() {
            literal(rest)
        } else if character == '\'' {
            quoted_character(rest)
        } else {
            code.push(character);
            character.len_utf8()
        };
        // What is left out keeps its line breaks apart from the words around it.
        if skipped != character.len_utf8() || character == '"' {
            code.push(' ');
        }
        rest = &rest[skipped..];
    }
    code
}

/// The number of hashes of a raw text such as `r#"…"#`.
fn raw_text(text: &str) -> Option<usize> {
    let hashes = text[1..].find(|character| character != '#')?;
    text[1 + hashes..].starts_with('"').then_some(hashes)
}

/// The length of the text literal at the start.
fn literal(text: &str) -> usize {
    if text.starts_with('r') {
        let hashes = raw_text(text).unwrap_or_default();
        let end = format!("\"{}", "#".repeat(hashes));
        let start = 2 + hashes;
        return text[start..].find(&end).map_or(text.len(), |at| start + at + end.len());
    }
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the character literal at the start; 1 if it is a lifetime.
fn quoted_character(text: &str) -> usize {
    let inside: Vec<(usize, char)> = text.char_indices().skip(1).take(12).collect();
    match inside.as_slice() {
        [(_, '\\'), _, rest @ ..] => rest
            .iter()
            .find(|(_, character)| *character == '\'')
            .map_or(1, |(at, _)| at + 1),
        [_, (at, '\''), ..] => at + 1,
        _ => 1,
    }
}

/// The words of some code: identifiers and numbers.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
}

/// The modules at the top that are named behind `crate::`, one by one or in braces.
fn used(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (_, after) in code
        .match_indices("crate::")
        .map(|(at, path)| (at, &code[at + path.len()..]))
    {
        let Some(group) = after.strip_prefix('{') else {
            found.extend(words(after).next().map(ToOwned::to_owned));
            continue;
        };
        let mut depth = 0;
        let mut expects = true;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expects = true,
                _ if depth == 0 && expects && (character.is_alphabetic() || character == '_') => {
                    found.extend(words(&group[at..]).next().map(ToOwned::to_owned));
                    expects = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// What is wrong with the file at `path` (relative to `src/`, with `/`).
fn faults(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let mut faults = Vec::new();
    match LAYERS.iter().find(|(name, _)| *name == module) {
        None => faults.push(format!("`{module}` has no place in the table of layers")),
        Some((_, below)) => {
            for name in used(&code) {
                if name != module && !below.contains(&"*") && !below.contains(&name.as_str()) {
                    faults.push(format!("`{module}` may not use `{name}`"));
                }
            }
        }
    }
    for (foreign, homes) in CONFINED {
        if !homes.contains(&module) && words(&code).any(|word| word == *foreign) {
            faults.push(format!("`{foreign}` is for `{}` alone", homes.join("` and `")));
        }
    }
    if module == "policy"
        && !path.ends_with("/tests.rs")
        && let Some(word) = words(&code).find(|word| IMPURE.contains(word))
    {
        faults.push(format!("`{word}` has no place in a decision"));
    }
    if words(&code).any(|word| word == "unsafe") && !UNSAFE.contains(&path) {
        faults.push("unsafe code has no place here".to_owned());
    }
    let mut parts = path.trim_end_matches(".rs").split('/');
    if let Some(name) = parts.find(|part| EMPTY_NAMES.contains(part)) {
        faults.push(format!("`{name}` says nothing of the domain"));
    }
    let inline = code.split("mod ").skip(1).filter_map(|after| words(after).next());
    faults.extend(
        inline
            .filter(|name| EMPTY_NAMES.contains(name))
            .map(|name| format!("the module `{name}` says nothing of the domain")),
    );
    // A file of tests alone, as `x/tests.rs` is, has no limit.
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > MOST_LINES && !path.ends_with("/tests.rs") {
        faults.push(format!("{lines} lines of code are more than {MOST_LINES}"));
    }
    faults
}

/// Every Rust file below `directory`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_module_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10, "the sources were not found");
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        found.extend(
            faults(&path, &text)
                .into_iter()
                .map(|fault| format!("src/{path}: {fault}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_fault_is_found() {
    for (path, text, fault) in [
        (
            "policy/retry.rs",
            "use crate::proxy::Proxy;",
            "`policy` may not use `proxy`",
        ),
        (
            "proxy.rs",
            "use crate::{\n    policy::{a, b},\n    supervise,\n};",
            "`proxy` may not use `supervise`",
        ),
        (
            "supervise/child.rs",
            "fn f() { crate::traffic::Meter::new() }",
            "`supervise` may not use `traffic`",
        ),
        ("inject.rs", "use crate::units::Period;", "`inject` may not use `units`"),
        ("plumbing.rs", "", "`plumbing` has no place in the table of layers"),
        ("report.rs", "use figment::Figment;", "`figment` is for `config` alone"),
        (
            "run.rs",
            "use signal_hook::consts;",
            "`signal_hook` is for `supervise` alone",
        ),
        ("proxy/wire.rs", "unsafe { f() }", "unsafe code has no place here"),
        (
            "policy/retry.rs",
            "let now = Instant::now();",
            "`Instant` has no place in a decision",
        ),
        ("proxy/util.rs", "", "`util` says nothing of the domain"),
        (
            "proxy.rs",
            "mod helper;",
            "the module `helper` says nothing of the domain",
        ),
        ("proxy.rs", &"a();\n".repeat(401), "401 lines of code are more than 400"),
    ] {
        assert_eq!(faults(path, text), [fault], "{path}: {text}");
    }
}

#[test]
fn what_is_no_code_is_no_fault() {
    for (path, text) in [
        (
            "policy.rs",
            "// use crate::proxy;\n/// [`crate::proxy`]\nuse crate::units::Period;",
        ),
        ("policy.rs", "use crate::policy::retry; pub(crate) fn f() {}"),
        (
            "policy.rs",
            "const A: &str = \"crate::proxy \\\" unsafe\"; const B: char = '\"';",
        ),
        ("policy.rs", "const A: &str = r#\"crate::proxy \" unsafe\"#;"),
        ("policy.rs", "fn f<'a>(a: &'a str) {}\n#![expect(unsafe_code)]"),
        (
            "policy.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::proxy;\n}",
        ),
        ("supervise/child.rs", "unsafe { signal_hook() }"),
        ("proxy.rs", &"// a\n\n".repeat(401)),
    ] {
        assert_eq!(faults(path, text), [""; 0], "{path}: {text}");
    }
}
