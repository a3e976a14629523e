//! The hunt: secrets of every source and in every use, a run in which much goes wrong, everything that amb can write. Not one
//! of the values is in any of it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    super::support::{Amb, Proxy, Running, Upstream, ok, status},
    get, resolve,
};

/// How many secrets there are.
const COUNT: usize = 20;

/// The secrets, each with a value that is nowhere else.
fn values() -> BTreeMap<String, String> {
    (0..COUNT)
        .map(|number| {
            // With what is written in another way in JSON, in URLs and where lines are escaped.
            let value = format!("s3cr3t\"{number:02}/\\+ {}", "x%&é".repeat(1 + number % 3));
            (format!("s{number:02}"), value)
        })
        .collect()
}

/// The forms in which a value could be written.
fn forms(value: &str) -> Vec<String> {
    let json = serde_json::Value::from(value).to_string();
    let percent = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    let inner = &value["s3cr3t\"".len()..];
    vec![
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        value.escape_debug().to_string(),
        value.bytes().map(percent).collect(),
        // All that tells one from the other.
        format!("s3cr3t\"{}", &inner[..2]),
        format!("s3cr3t\\\"{}", &inner[..2]),
        format!("s3cr3t%22{}", &inner[..2]),
    ]
}

/// Finds the values in what was written.
#[track_caller]
fn hunt(what: &str, written: &[u8], values: &BTreeMap<String, String>) {
    for (name, value) in values {
        for form in forms(value) {
            let found = written.windows(form.len()).position(|window| window == form.as_bytes());
            assert!(
                found.is_none(),
                "{name} is in {what}: {}",
                String::from_utf8_lossy(&written[found.unwrap_or(0).saturating_sub(80)..])
                    .chars()
                    .take(200)
                    .collect::<String>()
            );
        }
    }
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The configuration with all sources and uses, for servers on this port, and the run that has it.
fn prepare(
    place: &Path,
    address: SocketAddr,
    tokens: SocketAddr,
    values: &BTreeMap<String, String>,
    flags: &[&str],
) -> Amb {
    let sources = ["env", "hidden", "file", "command", "credential"];
    let mut file = "[secret]\n".to_owned();
    for (number, name) in values.keys().enumerate() {
        let upper = name.to_uppercase();
        let line = match sources[number % sources.len()] {
            "env" => format!("{name} = {{ env = 'V_{upper}', hide-from-child = true }}\n"),
            "hidden" => {
                format!("{name} = {{ env = 'V_{upper}', hide-from-child = true, hosts = 'h{number:02}.test' }}\n")
            }
            "file" => format!("{name} = {{ file = 'secrets/{name}', hosts = 'h{number:02}.test' }}\n"),
            "command" => format!(
                "{name} = {{ command = ['cat', 'secrets/{name}'], lazy = {} }}\n",
                number % 2 == 0
            ),
            _ => format!("{name} = {{ credential = '{name}' }}\n"),
        };
        file.push_str(&line);
    }
    let methods = [
        "{ bearer = 'secret:NAME' }",
        "{ basic = { user = 'me', password = 'secret:NAME' } }",
        "{ header = { name = 'X-Key', value = 'secret:NAME' } }",
        "{ query = { name = 'k', value = 'secret:NAME' } }",
        "{ hmac = { key = 'secret:NAME' } }",
        "{ aws-sigv4 = { service = 's', region = 'r', access-key-id = 'secret:NAME', secret-access-key = 'secret:NAME' } }",
        "{ oauth2-client-credentials = { token-url = 'http://TOKENS/t', client-id = 'me', client-secret = 'secret:NAME', auth-style = 'body' } }",
    ];
    file += "[auth]\n";
    for (number, name) in values.keys().enumerate() {
        let method = methods[number % methods.len()].replace("NAME", name);
        let method = method.replace("TOKENS", &tokens.to_string());
        let line = format!("'h{number:02}.test' = {method}\n");
        file.push_str(&line);
    }
    file += "[headers]\nset = { X-One = 'secret:s06', X-Two = 'secret:s07' }\n";
    let mut all: Vec<String> = flags.iter().map(ToString::to_string).collect();
    all.extend((0..COUNT).map(|number| resolve(&format!("h{number:02}.test"), address)));
    all.push(resolve("other.test", address));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    fs::write(place.join("amb.toml"), file).unwrap();
    let mut run = Amb::run(all).env("AMB_TRUST", "1").directory(place);
    let directory = place.join("secrets");
    fs::create_dir(&directory).unwrap();
    for (number, (name, value)) in values.iter().enumerate() {
        match sources[number % sources.len()] {
            "env" | "hidden" => run = run.env(format!("V_{}", name.to_uppercase()), value),
            _ => {
                fs::write(directory.join(name), format!("{value}\n")).unwrap();
                fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
    run.env("CREDENTIALS_DIRECTORY", &directory)
}

/// What the kernel tells of a process, as far as it may be read.
fn about(pid: i32, names: &[&str]) -> Vec<u8> {
    let files = names
        .iter()
        .map(|name| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default());
    files.collect::<Vec<_>>().concat()
}

/// The processes that were started by this one.
fn children(running: &Running) -> Vec<i32> {
    let pid = running.pid();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn no_value_is_in_anything_that_amb_writes() {
    let values = values();
    let server = Upstream::serve(|stream, _| {
        let mut peer = super::super::support::Peer::new(stream);
        while let Ok(head) = peer.until(b"\r\n\r\n") {
            // It says what it was told, and breaks the answer now and then.
            let told = String::from_utf8_lossy(&head).into_owned();
            let broken = if told.contains("/broken") { "X: \r\u{1}" } else { "" };
            let status = if told.contains("/503") { "503 Busy" } else { "200 OK" };
            peer.send(format!("HTTP/1.1 {status}\r\n{broken}Content-Length: 2\r\n\r\nok"));
        }
    });
    let tokens = Upstream::serve(|stream, number| {
        let mut peer = super::super::support::Peer::new(stream);
        let Ok(_) = peer.until(b"client_secret=") else { return };
        let (status, body) = match number % 2 {
            0 => (200, format!(r#"{{"access_token":"derived-t0ken-{number}"}}"#)),
            _ => (400, r#"{"error":"no"}"#.to_owned()),
        };
        peer.send(format!(
            "HTTP/1.1 {status} S\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    });
    let flags = [
        "-vvv",
        "--log-level=trace",
        "--summary=full",
        "--access-log=log.ndjson",
        "--retries=1",
    ];
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let run = prepare(home, server.address(), tokens.address(), &values, &flags);
    let proxy = Proxy::of(run);
    for number in 0..COUNT {
        let host = format!("h{number:02}.test");
        for path in ["/", "/broken?x=1", "/503", "/?k=own&amb-secret:s01"] {
            let lines = "X-Stand-In: amb-secret:s01 amb-secret:s02\r\nReferer: http://me:pw@h/?token=1\r\n";
            let _answer = get(&proxy, &host, server.address(), path, lines);
        }
        // A server that says it back in a way that ends up in a message.
        let place = format!("{host}:{}", server.address().port());
        let mut client = proxy.connect();
        client.send(format!(
            "GET http://{place}/{} HTTP/1.1\r\nHost: {place}\r\n\r\n",
            "503?x=".to_owned() + &values["s03"].replace(['"', ' ', '\\'], "")
        ));
        drop(client);
    }
    // In a request of the application's own, which it should not know.
    let known = values["s02"]
        .replace('"', "%22")
        .replace(' ', "%20")
        .replace('\\', "%5C")
        .replace('é', "%C3%A9")
        .replace("%&", "%25%26");
    let _answer = get(
        &proxy,
        "other.test",
        server.address(),
        &format!("/503/{known}?p={known}"),
        "",
    );
    let pid = proxy.running.pid();
    hunt(
        "amb's own /proc",
        &about(pid, &["environ", "cmdline", "comm", "status"]),
        &values,
    );
    if let Ok(ps) = Command::new("ps")
        .args(["-ww", "-o", "args", "-p", &pid.to_string()])
        .output()
    {
        hunt("the list of processes", &ps.stdout, &values);
    }
    for child in children(&proxy.running) {
        hunt(
            "the command's /proc",
            &about(child, &["environ", "cmdline", "comm", "status"]),
            &values,
        );
    }
    let outcome = proxy.running.wait();
    outcome.assert_status(0);
    hunt("stderr", &outcome.stderr, &values);
    hunt("stdout", &outcome.stdout, &values);
    assert!(!String::from_utf8_lossy(&outcome.stderr).contains("derived-t0ken"));
    hunt(
        "the report",
        outcome.report.as_ref().unwrap().to_string().as_bytes(),
        &values,
    );
    assert!(outcome.stderr().contains(" debug: "), "it was to be talkative");
    let mut written = Vec::new();
    files(home, &mut written);
    let written: Vec<_> = written
        .into_iter()
        .filter(|path| !path.starts_with(home.join("secrets")))
        .collect();
    assert!(written.iter().any(|path| path.ends_with("log.ndjson")), "{written:?}");
    for path in written {
        hunt(&path.display().to_string(), &fs::read(&path).unwrap(), &values);
    }
}

#[test]
fn no_value_of_the_commands_arguments_is_in_a_report() {
    let values = values();
    let place: SocketAddr = ([127, 0, 0, 1], 1).into();
    let directory = tempfile::tempdir().unwrap();
    let run = prepare(directory.path(), place, place, &values, &["-vv", "--summary=full"]);
    let words: Vec<String> = ["sh", "-c", "exit 0", "x"]
        .into_iter()
        .map(ToOwned::to_owned)
        .chain(
            values
                .iter()
                .filter(|(name, _)| name[1..].parse::<usize>().unwrap() % 5 != 3)
                .map(|(_, value)| format!("--x={value}")),
        )
        .collect();
    let outcome = run.reporting().command(words).success();
    let values: BTreeMap<_, _> = values
        .into_iter()
        .filter(|(name, _)| name[1..].parse::<usize>().unwrap() % 5 != 3)
        .collect();
    hunt("stderr", &outcome.stderr, &values);
    let report = outcome.report.unwrap();
    hunt("the report", report.to_string().as_bytes(), &values);
    assert_eq!(report["run"]["command"][4], "--x=***");
}

#[test]
fn no_value_is_in_what_a_panic_says() {
    for place in ["exchange", "report", "credentials"] {
        let values = values();
        let server = Upstream::serve(|stream, _| drop(stream));
        let directory = tempfile::tempdir().unwrap();
        let flags = ["-vv", "--summary=full"];
        let run = prepare(directory.path(), server.address(), server.address(), &values, &flags);
        let proxy = Proxy::of(run.env("AMB_SABOTAGE", place).env("RUST_BACKTRACE", "full"));
        for number in [0, 1, 2] {
            let _answer = get(
                &proxy,
                &format!("h{number:02}.test"),
                server.address(),
                "/",
                "X: amb-secret:s01\r\n",
            );
        }
        let outcome = proxy.running.wait();
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert!(said.contains("a bug"), "{place}: {said}");
        hunt(place, &outcome.stderr, &values);
        if place == "credentials" {
            // The hook says the value in its panic.
            assert!(said.contains("***"), "{said}");
        }
    }
}

#[test]
fn no_value_is_in_what_is_shown_of_the_configuration() {
    let values = values();
    let place: SocketAddr = ([127, 0, 0, 1], 1).into();
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let run = prepare(home, place, place, &values, &["--dry-run"]);
    let known: Vec<(String, String)> = values
        .iter()
        .map(|(name, value)| (format!("V_{}", name.to_uppercase()), value.clone()))
        .collect();
    let amb = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_amb"))
            .args(arguments)
            .current_dir(home)
            .env_clear()
            .envs(known.iter().map(|(name, value)| (name, value)))
            .env("HOME", home)
            .env("AMB_TRUST", "1")
            .output()
            .unwrap();
        [output.stdout, output.stderr].concat()
    };
    for arguments in [
        &["config", "show"][..],
        &["config", "show", "--json", "--origin"],
        &["config", "show", "secret"],
        &["config", "explain", "secret.s00.env"],
        &["config", "explain", "auth"],
        &["config", "check"],
        &["config", "path"],
        &["policy", "test", "http://h00.test/"],
        &["trust"],
    ] {
        let written = amb(arguments);
        assert!(!written.is_empty(), "{arguments:?}");
        if arguments[0] == "policy" {
            let said = String::from_utf8_lossy(&written).into_owned();
            assert!(
                said.contains("not signed in: its credential does not go by plain http"),
                "{said}"
            );
        }
        hunt(&arguments.join(" "), &written, &values);
    }
    // With one of the values among the command's arguments.
    let outcome = run
        .command([
            "x".to_owned(),
            format!("--x={}", values["s00"]),
            format!("http://h/{}", values["s02"]),
        ])
        .success();
    hunt("--dry-run", &outcome.stdout, &values);
    hunt("--dry-run", &outcome.stderr, &values);
}

#[test]
fn patterns_are_written_nowhere() {
    let upstream = Upstream::script([status(503), ok(""), status(404)]);
    let address = upstream.address();
    let file = "[redact]\npatterns = ['\\bsk_(live|test)_[A-Za-z0-9]+']\nheaders = ['User-Agent']\nquery = ['my*']\n[access-log]\nfile = 'log'\n";
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("amb.toml"), file).unwrap();
    let run = Amb::run([&*resolve("a.test", address), "-vv", "--summary=full"])
        .env("AMB_TRUST", "1")
        .directory(directory.path());
    let proxy = Proxy::of(run);
    for _ in 0..3 {
        let lines = "User-Agent: agent-x\r\nReferer: http://h/sk_test_2\r\n";
        let _answer = get(&proxy, "a.test", address, "/p/sk_live_1?mykey=mine&q=sk_live_3", lines);
    }
    drop(upstream);
    let outcome = proxy.running.wait();
    let written = fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(
        written.contains("/p/***") && written.contains("mykey=***&q=***"),
        "{written}"
    );
    let report = outcome.report.as_ref().unwrap().to_string();
    for said in [written, outcome.stderr().to_owned(), report] {
        for secret in ["sk_live_1", "sk_test_2", "sk_live_3", "agent-x", "=mine"] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    }
}
