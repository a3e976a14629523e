//! The mistakes that people make, and what amb says of each: `gallery.txt`, read by a person before it is committed.
//!
//! Written anew by `AMB_WRITE_GALLERY=1 cargo test --test it gallery`.

use std::{env, ffi::OsString, fmt::Write as _, fs, os::unix::ffi::OsStringExt, path::Path};

use super::Scene;

/// A mistake.
struct Mistake {
    /// What was done, in words.
    title: &'static str,
    /// The project's file.
    file: &'static str,
    /// Variables.
    variables: &'static [(&'static str, &'static str)],
    /// What stands between `amb` and the command: the subcommand and its flags.
    arguments: &'static [&'static str],
}

/// A mistake in the project's file.
const fn in_file(title: &'static str, file: &'static str) -> Mistake {
    Mistake {
        title,
        file,
        variables: &[],
        arguments: &["run"],
    }
}

/// A mistake in a variable.
const fn in_variable(title: &'static str, variables: &'static [(&'static str, &'static str)]) -> Mistake {
    Mistake {
        title,
        file: "",
        variables,
        arguments: &["run"],
    }
}

/// A mistake on the command line.
const fn in_arguments(title: &'static str, arguments: &'static [&'static str]) -> Mistake {
    Mistake {
        title,
        file: "",
        variables: &[],
        arguments,
    }
}

/// All of them.
const MISTAKES: &[Mistake] = &[
    in_file("a table is misspelled", "[tiemout]\nconnect = \"2s\"\n"),
    in_file("a key is misspelled", "[run]\nkill-aftr = \"5s\"\n"),
    in_file("a key has underscores", "[run]\nrun_timeout = \"5s\"\n"),
    in_file("a key that amb does not have", "[run]\nverbose = true\n"),
    in_file("a key stands in the wrong table", "[run]\nconnect = \"2s\"\n"),
    in_file("a duration without a unit", "[timeout]\nconnect = 5\n"),
    in_file("a duration without a unit, as a text", "timeout.connect = \"5\"\n"),
    in_file("a unit that is none", "timeout.connect = \"5 parsecs\"\n"),
    in_file("a duration of nothing", "[run]\nrun-timeout = \"0s\"\n"),
    in_file("a timeout too short for anything", "timeout.connect = \"1us\"\n"),
    in_file("a limit too short for anything", "timeout.first-byte = \"1us\"\n"),
    in_file("nothing that can be retried on", "retry.on = [\"resets\", 200]\n"),
    in_file(
        "what the level cannot retry",
        "[retry]\nlevel = \"safe\"\non = [\"503\", \"5xx\"]\nmethods = [\"POST\"]\n",
    ),
    in_file(
        "a retry that never waits less",
        "retry.backoff = { base = \"5s\", max = \"1s\" }\n",
    ),
    in_file("a word instead of a number", "run.threads = \"two\"\n"),
    in_file("a number out of range", "run.threads = 65\n"),
    in_file("a negative number", "run.threads = -1\n"),
    in_file("a text instead of a truth value", "run.proxy-loopback = \"yes\"\n"),
    in_file("a number instead of a text", "run.name = 123\n"),
    in_file("an empty name", "run.name = \" \"\n"),
    in_file("a number in a list of texts", "run.no-proxy = [\"a\", 5]\n"),
    in_file("a text instead of a list", "report.files = \"report.json\"\n"),
    in_file("a word that is no choice", "run.process-group = \"nwe\"\n"),
    in_file("a share of nothing", "circuit-breaker.failure-ratio = 0.0\n"),
    in_file(
        "a failure that nobody knows",
        "circuit-breaker.on = [\"reset\", \"rest\"]\n",
    ),
    in_file("a rate of nothing", "rate-limit.requests = 0\n"),
    in_file("bytes without a time", "bandwidth.upload = \"64KiB\"\n"),
    in_file("a value instead of a table", "timeout = \"5s\"\n"),
    in_file("a table is not closed", "[run\nname = \"x\"\n"),
    in_file("a text without quotes", "[run]\nname = billing\n"),
    in_file("a quote is missing", "[run]\nname = \"billing\nthreads = 2\n"),
    in_file("a key stands there twice", "[run]\nname = \"a\"\nname = \"b\"\n"),
    in_file(
        "a table stands there twice",
        "[run]\nname = \"a\"\n[run]\nthreads = 2\n",
    ),
    in_file(
        "a redirection without a port",
        "[connect-to]\n\"api.example.com\" = \"localhost:8080\"\n",
    ),
    in_file(
        "a redirection to no port",
        "[connect-to]\n\"api.example.com:80\" = \"localhost\"\n",
    ),
    in_file(
        "a port that is none",
        "[connect-to]\n\"api.example.com:80\" = \"localhost:http\"\n",
    ),
    in_file(
        "a name instead of an address",
        "[resolve]\n\"api.example.com:80\" = \"localhost\"\n",
    ),
    in_file("no address at all", "[resolve]\n\"api.example.com:80\" = []\n"),
    in_file("a host that is none", "[[route]]\nmatch.host = \"api..example.com\"\n"),
    in_file(
        "a URL instead of a host",
        "[[route]]\nmatch = { host = \"http://api.example.com/\" }\n",
    ),
    in_file(
        "a glob of addresses",
        "[[route]]\nmatch = { host = [\"a\", \"10.0.*\"] }\n",
    ),
    in_file("a path without its slash", "[[route]]\nmatch.path = \"v1/**\"\n"),
    in_file(
        "a path with a query",
        "[[route]]\nurl-templates = [\"/v1/{id}?expand\"]\n",
    ),
    in_file("a port that is a word", "[[route]]\nmatch.port = \"http\"\n"),
    in_file(
        "a part of a route that does not exist",
        "[[route]]\nmatch = { hots = \"a\" }\n",
    ),
    in_file("a list of nothing", "[[route]]\nmatch.host = []\n"),
    in_file(
        "a condition that breaks off",
        "[[route]]\nwhen = \"request.host == \"\n",
    ),
    in_file(
        "a condition with one sign too few",
        "[[route]]\nwhen = \"request.host = 'a'\"\n",
    ),
    in_file(
        "a condition on what no request has",
        "[[route]]\nid = \"a\"\n[[route]]\nid = \"b\"\nwhen = \"request.hots == 'a' || port == 80\"\n",
    ),
    in_file(
        "a condition over several lines",
        "[[route]]\nwhen = '''\nrequest.scheme == 'http' &&\n  reqest.port == 80'''\n",
    ),
    in_file(
        "a condition that is no condition",
        "[[route]]\nwhen = \"request.host\"\n",
    ),
    in_file(
        "an assertion about a variable that does not exist",
        "[assert]\nfast = \"latncy.p95 < 1s\"\n",
    ),
    in_file(
        "an assertion that compares a duration with a number",
        "[assert]\nfast = { expr = \"requests.total > 0 && latency.p95 < 500\", abort = true }\n",
    ),
    in_file(
        "an assertion that breaks off, and one with a unit that does not exist",
        "[assert]\na = \"latency.p95 < \"\nb = \"latency.p95 < 500sec\"\n",
    ),
    in_file(
        "an assertion that never stops the run but says when",
        "[assert]\na = { expr = \"requests.failed == 0\", severty = \"warn\" }\nb = { expr = \"requests.failed == 0\", after = \"10s\" }\n",
    ),
    in_file(
        "two routes of one name",
        "[[route]]\nid = \"a\"\n\n[[route]]\nid = \"a\"\n",
    ),
    in_file(
        "a route with a timeout too short for anything",
        "[[route]]\n[[route]]\ntimeout = { connect = \"0s\" }\n",
    ),
    in_file(
        "an addition inside a route",
        "[[route]]\nmatch = { extend-host = [\"a\"] }\n",
    ),
    in_file(
        "mistakes in routes that are added",
        "[[extend-route]]\nidd = \"a\"\n[[extend-route]]\nmatch.port = 0\n",
    ),
    in_file("a proxy that others could use", "run.listen = \"0.0.0.0:8080\"\n"),
    in_file("an address without a port", "run.listen = \"127.0.0.1\"\n"),
    in_file(
        "a parent proxy with a scheme that amb does not speak",
        "upstream.proxy = \"https://me:hidden@proxy:443\"\n",
    ),
    in_file(
        "a parent proxy from a checkout",
        "upstream.proxy = \"me:hidden@proxy\"\n",
    ),
    in_file(
        "a checkout that decrypts",
        "[tls]\nintercept = [\"*.example.com\"]\nextra-roots = [\"ca.pem\"]\n",
    ),
    in_file(
        "a URL instead of a host",
        "tls.never = [\"https://api.example.com/\"]\n",
    ),
    in_file("a pin that is none", "tls.pin = [\"sha256/abc\"]\n"),
    in_file("an old version", "tls.min-version = \"1.1\"\n"),
    Mistake {
        title: "half a client's certificate",
        file: "tls.client-cert = \"me.pem\"\n",
        variables: &[("AMB_TRUST", "1")],
        arguments: &["run"],
    },
    in_file("a family that does not exist", "run.inject = [\"proxy\", \"nodejs\"]\n"),
    in_file("a signal that does not exist", "run.on-death = \"SIGTREM\"\n"),
    in_file("a level that does not exist", "log.level = \"verbose\"\n"),
    in_file(
        "a report in a format that does not exist",
        "report.files = [\"report.pdf\"]\n",
    ),
    in_file("a report to stdout", "report.files = [\"json=-\"]\n"),
    in_file(
        "one file for two things",
        "[report]\nfiles = [\"out.json\"]\n[access-log]\nfile = \"out.json\"\n",
    ),
    in_file("an addition to what is no list", "[run]\nextend-name = \"x\"\n"),
    in_file("an addition is misspelled", "[run]\nextend-noproxy = [\"x\"]\n"),
    in_file("a version that never was", "version = 0\n"),
    in_file("a file for a newer amb", "version = 2\n[retries]\nmost = 3\n"),
    in_file(
        "a mistake in a profile that nobody asked for",
        "[profile.ci.run]\nnmae = \"x\"\n",
    ),
    in_file("a profile that is no table", "[profile]\nci = true\n"),
    in_file(
        "requests led elsewhere by a file from a checkout",
        "[resolve]\n\"api.example.com:80\" = \"10.0.0.1\"\n",
    ),
    in_file(
        "three mistakes at once",
        "[run]\nnmae = \"x\"\nthreads = 0\n[timeout]\nconnect = 5\n",
    ),
    in_variable("a duration without a unit", &[("AMB_TIMEOUT__CONNECT", "5")]),
    in_variable("a key is misspelled", &[("AMB_TIMEOUT__CONECT", "5s")]),
    in_variable("a table is misspelled", &[("AMB_TIMOUT__CONNECT", "5s")]),
    in_variable(
        "an underscore is missing",
        &[("AMB_TIMEOUT_CONNECT", "5s"), ("AMB_RUN__THREADS", "0")],
    ),
    in_variable("it is not UTF-8", &[("AMB_RUN__NAME", "\u{fffd}")]),
    in_variable("a profile that is in no file", &[("AMB_PROFILE", "ci")]),
    in_variable("a file that is not there", &[("AMB_CONFIG", "missing.toml")]),
    in_variable("a parent proxy that is none", &[("http_proxy", "me:hidden@:80")]),
    Mistake {
        title: "a profile is misspelled",
        file: "[profile.staging.run]\nname = \"x\"\n",
        variables: &[],
        arguments: &["run", "--profile", "stagin"],
    },
    Mistake {
        title: "neither yes nor no",
        file: "upstream.proxy = \"none\"\n",
        variables: &[("AMB_TRUST", "maybe")],
        arguments: &["run"],
    },
    Mistake {
        title: "mistakes in all layers",
        file: "run.threads = 0\n",
        variables: &[("AMB_RUN__DRAIN", "1"), ("AMB_PROFILE", "ci")],
        arguments: &["run", "--set", "log.levle=debug", "--config", "missing.toml"],
    },
    in_arguments("a flag's duration without a unit", &["run", "--connect-timeout", "5"]),
    in_arguments("a flag's number out of range", &["run", "--threads", "0"]),
    in_arguments("a flag's rate without its time", &["run", "--rate-limit", "50"]),
    in_arguments("roots of a run that decrypts nothing", &["run", "--capture-roots"]),
    in_arguments(
        "metrics that nobody can get",
        &[
            "run",
            "--metrics-listen",
            ":9464",
            "--metrics-file",
            "-",
            "--pushgateway",
            "gateway:9091",
            "--set",
            "metrics.labels.le=\"x\"",
        ],
    ),
    in_arguments("a setting of no key", &["run", "--set", "timeout.conect=2s"]),
    in_arguments("a setting of no value", &["run", "--set", "timeout.connect"]),
    in_arguments(
        "a setting that is not TOML",
        &["run", "--set", "run.no-proxy=[\"a\", \"b\""],
    ),
    in_arguments(
        "a key in a setting lacks quotes",
        &["run", "--set", "connect-to.a:80=b:81"],
    ),
    in_arguments("a setting without a unit", &["run", "--set", "run.drain=5"]),
    in_arguments("a file that is not there", &["run", "--config", "missing.toml"]),
    in_arguments("a directory for a file", &["run", "--config", "."]),
    in_arguments("a configuration on stdin", &["run", "--config", "-"]),
    in_arguments(
        "a key to explain is misspelled",
        &["config", "explain", "timeout.conect"],
    ),
    in_arguments("a flag for a key", &["config", "show", "kill-after"]),
    in_arguments("a request without a scheme", &["policy", "test", "api.example.com/v1"]),
    in_arguments(
        "a tunnel without a port",
        &["policy", "test", "CONNECT", "api.example.com"],
    ),
    in_arguments(
        "a header without a value",
        &["policy", "test", "http://a/", "--header", "x"],
    ),
    in_arguments("a file to check is not there", &["config", "check", "missing.toml"]),
];

/// Everything that amb says of a mistake, as a person sees it.
fn shown(mistake: &Mistake) -> String {
    let mut text = format!("== {}\n", mistake.title);
    let mut scene = Scene::new();
    if !mistake.file.is_empty() {
        scene = scene.file("amb.toml", mistake.file);
        for line in mistake.file.lines() {
            writeln!(text, "   amb.toml | {line}").unwrap();
        }
    }
    for (name, value) in mistake.variables {
        let value = match *value {
            "\u{fffd}" => OsString::from_vec(vec![0xff]),
            value => value.into(),
        };
        writeln!(text, "   {name}={}", value.to_string_lossy()).unwrap();
        scene = scene.variable(name, value);
    }
    writeln!(text, "   $ amb {}", mistake.arguments.join(" ")).unwrap();
    let is_run = mistake.arguments[0] == "run";
    let command: &[&str] = if is_run { &["--", "touch", "started"] } else { &[] };
    let output = scene.amb(&[mistake.arguments, command].concat());
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(output.stdout.is_empty() && !scene.started(), "{text}");
    assert!(!text.split_once("$ amb").unwrap().1.contains("hidden"), "{text}");
    text
}

#[test]
fn every_mistake_is_told_so_that_it_can_be_mended() {
    assert!(MISTAKES.len() >= 40);
    let gallery: Vec<String> = MISTAKES.iter().map(shown).collect();
    let gallery = gallery.join("\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/gallery.txt");
    if env::var_os("AMB_WRITE_GALLERY").is_some() {
        fs::write(&path, &gallery).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (now, before) in gallery.split("\n\n").zip(kept.split("\n\n")) {
        assert_eq!(now, before, "see the top of this file");
    }
    assert_eq!(gallery, kept);
}
