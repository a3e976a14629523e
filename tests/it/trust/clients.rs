//! Which clients let amb decrypt what they send, by the variables that amb sets and nothing else.
//!
//! Each test runs a client twice against the same server, which only amb is told to believe: bare, where it must refuse the
//! certificate (or it would not look at it at all), and under amb, where its request must arrive. What is not installed is skipped. To see the table:
//! `cargo test --test it trust::clients -- --nocapture`.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Authority, believing, clean, first_line, program,
    server::{Seen, Server},
};
use crate::support::{Amb, say_skipped};

/// A client that is installed.
struct Client {
    /// What it is, for the table.
    name: String,
    /// Its version, as it tells it.
    version: String,
    /// The command line; `URL` in a word stands for the server's, which ends in a slash.
    command: Vec<OsString>,
    /// Further variables; `HOME` and `URL` in a value stand for the run's home and the server.
    environment: Vec<(&'static str, &'static str)>,
    /// Whether its own text names the proxy, of which it would not know otherwise.
    is_told: bool,
}

impl Client {
    /// A program of this name, which tells its version by `version`; `None` if it is not there.
    fn new(name: &str, version: &[&str], arguments: &[&str]) -> Option<Self> {
        Self::at(name, program(name), version, arguments)
    }

    /// The same, of a program that is found otherwise.
    fn at(name: &str, program: Option<PathBuf>, version: &[&str], arguments: &[&str]) -> Option<Self> {
        let found = program.and_then(|program| {
            let version = first_line(Command::new(&program).args(version))?;
            let arguments = arguments.iter().map(Into::into);
            Some(Self {
                name: name.to_owned(),
                version,
                command: [program.into()].into_iter().chain(arguments).collect(),
                environment: Vec::new(),
                is_told: false,
            })
        });
        if found.is_none() {
            say_skipped(&format!("{name} is not installed"));
        }
        found
    }

    /// Python with a module.
    fn python(module: &str, code: &str) -> Option<Self> {
        // Past shims, which look for the real one by `HOME`.
        let mut asked = Command::new(program("python3")?);
        let python = first_line(asked.args(["-c", "import sys; print(sys.executable)"]));
        let version = format!(
            "import {module}, sys; print('{module}', getattr({module}, '__version__', ''), 'on', sys.version.split()[0])"
        );
        let script = format!("url = 'URL'\n{code}");
        Self::at(
            &format!("Python, {module}"),
            python.map(Into::into),
            &["-c", &version],
            &["-c", &script],
        )
    }

    /// With variables of its own.
    fn with(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Under another name, for programs with more than one client in them.
    fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// By a script of the shell, which needs the program.
    fn script(mut self, script: &str) -> Self {
        self.command = ["sh", "-c", script].map(Into::into).to_vec();
        self
    }

    /// One that does not look for a proxy, and is told of it.
    fn told(mut self) -> Self {
        self.is_told = true;
        self
    }

    /// Runs it; returns what the server has seen and what the client has said.
    fn run(&self, run: Amb, server: &Server, url: &str) -> (Seen, String) {
        let home = run.home().to_str().unwrap().to_owned();
        let mut run = run.command(self.command.iter().map(|word| {
            let word = word.to_str().unwrap().replace("URL", url);
            word.replace("HOME", &home)
        }));
        for (name, value) in &self.environment {
            run = run.env(*name, value.replace("HOME", &home).replace("URL", url));
        }
        let outcome = run.outcome();
        (server.take(), format!("{}{}", outcome.stdout(), outcome.stderr()))
    }
}

/// Checks a client that is installed: it refuses the server by itself, and accepts it under amb.
#[track_caller]
fn check(client: Option<Client>) {
    let Some(client) = client else { return };
    let authority = Authority::new();
    let server = Server::start(&authority);
    let (seen, said) = client.run(clean(Amb::bare()), &server, &server.url());
    assert!(
        seen.requests.is_empty(),
        "{} accepts any certificate: {seen:?}\n{said}",
        client.name
    );
    assert!(seen.connections > 0, "{} does not connect: {said}", client.name);
    let (seen, said) = client.run(believing(&authority), &server, &server.proxied_url());
    let verdict = match (seen.requests.is_empty(), client.is_told) {
        (true, _) => "refuses",
        (false, true) => "with an option",
        (false, false) => "works",
    };
    say(&format!("{verdict:16} {:26} {}", client.name, client.version));
    assert!(!seen.requests.is_empty(), "{}: {seen:?}\n{said}", client.name);
}

/// Checks that a client which accepts a server by a variable of the user's still does so under an amb that decrypts others.
///
/// `value` makes the variable's value of a file with the server's authority.
#[track_caller]
fn check_kept(client: Option<Client>, variable: &str, value: impl Fn(&Path) -> OsString) {
    let Some(client) = client else { return };
    let known = Authority::new();
    let server = Server::start(&known);
    let value = value(&known.pem_file());
    let (seen, said) = client.run(clean(Amb::bare()).env(variable, &value), &server, &server.url());
    assert!(
        !seen.requests.is_empty(),
        "{} does not read {variable}: {said}",
        client.name
    );
    let run = clean(Amb::run([
        "--summary=off",
        "--intercept=other.test",
        "--proxy-loopback",
    ]));
    let (seen, said) = client.run(run.env(variable, &value), &server, &server.url());
    assert!(
        !seen.requests.is_empty(),
        "{}, {variable}: {seen:?}\n{said}",
        client.name
    );
}

/// A line of the table.
fn say(line: &str) {
    ::amb::supervise::write_stderr(&format!("{line}\n"));
}

#[test]
fn curl() {
    check(Client::new("curl", &["--version"], &["-sS", "URL"]));
}

#[test]
fn what_a_program_trusted_before_it_trusts_still() {
    let same = |file: &Path| file.as_os_str().to_owned();
    let curl = || Client::new("curl", &["--version"], &["-sS", "URL"]);
    check_kept(curl(), "SSL_CERT_FILE", same);
    check_kept(curl(), "CURL_CA_BUNDLE", same);
    let git = Client::new("git", &["--version"], &["ls-remote", "URLrepository"]);
    check_kept(git, "GIT_SSL_CAINFO", same);
    let requests = Client::python("requests", "import requests\nrequests.get(url)");
    check_kept(requests, "REQUESTS_CA_BUNDLE", same);
    let npm = ["view", "x", "--registry=URL", "--fetch-retries=0", "--cache=HOME/npm"];
    // This machine's own settings may name roots, which hold over those that are added.
    let npm = || Some(Client::new("npm", &["--version"], &npm)?.with(&[("npm_config_globalconfig", "/dev/null")]));
    check_kept(npm(), "NODE_EXTRA_CA_CERTS", same);
    check_kept(npm(), "npm_config_cafile", same);
    let wget = Client::new("wget", &["--version"], &["-qO-", "--tries=1", "URL"]);
    check_kept(wget, "WGETRC", |file| {
        let settings = file.with_extension("wgetrc");
        fs::write(&settings, format!("ca_certificate = {}", file.display())).unwrap();
        settings.into()
    });
    let php = Client::new("php", &["--version"], &["-r", "file_get_contents('URL');"]);
    check_kept(php, "SSL_CERT_FILE", same);
}

#[test]
fn wget() {
    check(Client::new("wget", &["--version"], &["-qO-", "--tries=1", "URL"]));
}

#[test]
fn git() {
    check(Client::new("git", &["--version"], &["ls-remote", "URLrepository"]));
}

#[test]
fn openssl() {
    let script = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error \
                  ${https_proxy:+-proxy ${https_proxy#http://}} -connect $(echo URL | tr -d / | cut -d: -f2-)";
    let client = Client::new("openssl", &["version"], &[]);
    check(client.map(|client| client.script(script).told()));
}

#[test]
fn python_urllib() {
    check(Client::python(
        "urllib.request",
        "import urllib.request\nurllib.request.urlopen(url).read()",
    ));
}

#[test]
fn python_requests() {
    check(Client::python("requests", "import requests\nrequests.get(url)"));
}

#[test]
fn python_httpx() {
    check(Client::python("httpx", "import httpx\nhttpx.get(url)"));
}

#[test]
fn python_httplib2() {
    check(Client::python(
        "httplib2",
        "import httplib2\nhttplib2.Http().request(url)",
    ));
}

#[test]
fn python_aiohttp() {
    let code = "import aiohttp, asyncio\nasync def main():\n  async with aiohttp.ClientSession(trust_env=True) as session:\n    \
                await session.get(url)\nasyncio.run(main())";
    check(Client::python("aiohttp", code).map(Client::told));
}

#[test]
fn python_boto3() {
    let code = "import boto3, botocore.config\nconfig = botocore.config.Config(retries={'max_attempts': 0})\n\
                boto3.client('s3', endpoint_url=url, region_name='x', aws_access_key_id='x', \
                aws_secret_access_key='x', config=config).list_buckets()";
    check(Client::python("boto3", code));
}

#[test]
fn python_pip() {
    let code = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'download', '--no-deps', \
                '--no-cache-dir', '--disable-pip-version-check', '--retries=0', '-i', url, 'x'])";
    // A configuration of this machine would name another index.
    check(Client::python("pip", code).map(|client| client.with(&[("PIP_CONFIG_FILE", "/dev/null")])));
}

#[test]
fn uv() {
    let arguments = ["pip", "compile", "--no-cache", "--index-url", "URL", "in.txt"];
    let client = Client::new("uv", &["--version"], &[]);
    let script = format!("echo x > in.txt; exec uv {}", arguments.join(" "));
    check(client.map(|client| client.script(&script).with(&[("UV_HTTP_RETRIES", "0")])));
}

/// Node, if it looks for a proxy in its environment: since version 22.21, and 24.
fn node_with_proxies(name: &str, script: &str) -> Option<Client> {
    let client = Client::new("node", &["--version"], &["-e", script])?.named(name);
    let knows = "process.exit(process.allowedNodeEnvironmentFlags.has('--use-env-proxy') ? 0 : 1)";
    if program("node").is_some_and(|node| loads(&node, &["-e", knows])) {
        return Some(client);
    }
    say(&format!(
        "{:16} {:26} {}",
        "ignores a proxy", client.name, client.version
    ));
    None
}

#[test]
fn node_https() {
    let script = "require('https').get('URL', answer => answer.resume())";
    check(node_with_proxies("Node, https", script));
}

#[test]
fn node_fetch() {
    check(node_with_proxies("Node, fetch", "fetch('URL')"));
}

#[test]
fn node_with_a_proxy_agent() {
    let script = "const { parse } = require('url'), target = parse('URL'), proxy = process.env.https_proxy, tls = require('tls');\n\
                  const ask = socket => tls.connect({ socket, host: target.hostname, port: target.port, servername: \
                  target.hostname }, function () { this.end('GET / HTTP/1.0\\r\\n\\r\\n'); this.resume(); });\n\
                  if (!proxy) ask(); else { const { hostname, port } = parse(proxy);\n\
                  require('http').request({ hostname, port, method: 'CONNECT', path: target.host })\n\
                  .on('connect', (_, socket) => ask(socket)).end(); }";
    let client = Client::new("node", &["--version"], &["-e", script]);
    check(client.map(|client| client.named("Node, with a proxy agent").told()));
}

#[test]
fn npm() {
    let arguments = ["view", "x", "--registry=URL", "--fetch-retries=0", "--cache=HOME/npm"];
    check(Client::new("npm", &["--version"], &arguments));
}

#[test]
fn yarn() {
    let old = ["info", "x", "--registry", "URL", "--cache-folder", "HOME/yarn"];
    let Some(mut client) = Client::new("yarn", &["--version"], &old) else {
        return;
    };
    if !client.version.starts_with("1.") {
        let script = "echo '{}' > package.json; : > yarn.lock; exec yarn npm info x";
        client = client.script(script);
        let local = [("YARN_NPM_REGISTRY_SERVER", "URL"), ("YARN_HTTP_RETRY", "0")];
        client = client.with(&local);
    }
    check(Some(client));
}

#[test]
fn pnpm() {
    check(Client::new(
        "pnpm",
        &["--version"],
        &["view", "x", "--registry=URL", "--fetch-retries=0"],
    ));
}

#[test]
fn deno() {
    let client = Client::new("deno", &["--version"], &["eval", "await fetch('URL')"]);
    check(client.map(|client| client.with(&[("DENO_DIR", "HOME/deno"), ("DENO_NO_UPDATE_CHECK", "1")])));
}

#[test]
fn bun() {
    check(Client::new("bun", &["--version"], &["-e", "await fetch('URL')"]));
}

#[test]
fn ruby() {
    let script = "require 'net/http'; Net::HTTP.get(URI('URL'))";
    check(Client::new("ruby", &["--version"], &["-e", script]));
}

#[test]
fn ruby_gem() {
    check(Client::new(
        "gem",
        &["--version"],
        &["list", "--remote", "--clear-sources", "--source", "URL", "x"],
    ));
}

#[test]
fn php_streams() {
    let script = "$proxy = getenv('https_proxy'); $http = $proxy ? ['proxy' => str_replace('http:', 'tcp:', $proxy), \
                  'request_fulluri' => true] : []; file_get_contents('URL', false, \
                  stream_context_create(['http' => $http]));";
    let client = Client::new("php", &["--version"], &["-r", script]);
    check(client.map(|client| client.named("PHP, streams").told()));
}

#[test]
fn php_curl() {
    if !program("php").is_some_and(|php| loads(&php, &["-r", "exit(function_exists('curl_init') ? 0 : 1);"])) {
        return say_skipped("PHP has no curl");
    }
    let client = Client::new("php", &["--version"], &["-r", "curl_exec(curl_init('URL'));"]);
    check(client.map(|client| client.named("PHP, curl")));
}

#[test]
fn perl_lwp() {
    let script = "use LWP::UserAgent; LWP::UserAgent->new(env_proxy => 1)->get('URL')";
    if !program("perl").is_some_and(|perl| loads(&perl, &["-MLWP::Protocol::https", "-e1"])) {
        return say_skipped("Perl has no LWP with https");
    }
    let client = Client::new("perl", &["-e", "print $^V"], &["-e", script]);
    check(client.map(|client| client.named("Perl, LWP")));
}

#[test]
fn perl_http_tiny() {
    let script = "use HTTP::Tiny; HTTP::Tiny->new(verify_SSL => 1)->get('URL')";
    if !program("perl").is_some_and(|perl| loads(&perl, &["-MIO::Socket::SSL", "-e1"])) {
        return say_skipped("Perl has no IO::Socket::SSL");
    }
    let client = Client::new("perl", &["-e", "print $^V"], &["-e", script]);
    check(client.map(|client| client.named("Perl, HTTP::Tiny")));
}

/// Whether a program ends well with these arguments.
fn loads(program: &Path, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn cargo() {
    let client = Client::at(
        "cargo",
        Some(env!("CARGO").into()),
        &["--version"],
        &["search", "x", "--index", "sparse+URL"],
    );
    check(client.map(|client| client.with(&[("CARGO_HOME", "HOME/cargo"), ("CARGO_NET_RETRY", "0")])));
}

#[test]
fn go() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("fetch.go");
    let text = "package main\nimport (\"net/http\"; \"os\")\nfunc main() { http.Get(os.Args[1]) }\n";
    fs::write(&source, text).unwrap();
    let fetch = scratch.path().join("fetch");
    let Some(go) = program("go") else {
        return say_skipped("go is not installed");
    };
    // What it compiles is kept: the second time is fast.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-build");
    let mut build = Command::new(go);
    build.args(["build", "-o"]).args([&fetch, &source]);
    build
        .env("GOCACHE", cache)
        .env("CGO_ENABLED", "0")
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "");
    let compiled = build.current_dir(scratch.path()).output().unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let mut client = Client::new("go", &["version"], &[]).unwrap();
    client.command = vec![fetch.into(), "URL".into()];
    check(Some(client));
}

#[test]
fn java() {
    let homes = fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    // Debian's second names are links.
    let homes = homes.filter(|home| home.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut homes: Vec<PathBuf> = homes.map(|home| home.path()).collect();
    homes.retain(|home| home.join("bin/javac").exists());
    if homes.is_empty() {
        return say_skipped("there is no JDK in /usr/lib/jvm");
    }
    let text = "import java.net.*; import java.net.http.*;\nclass Fetch { public static void main(String[] words) \
                throws Exception { if (words[0].equals(\"old\")) new URL(words[1]).openStream().close(); else \
                HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(words[1])).build(), \
                HttpResponse.BodyHandlers.discarding()); } }\n";
    for home in homes {
        let scratch = tempfile::tempdir().unwrap();
        let source = scratch.path().join("Fetch.java");
        fs::write(&source, text).unwrap();
        let compiled = Command::new(home.join("bin/javac")).arg(&source).output().unwrap();
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        for (which, name) in [("old", "Java, HttpURLConnection"), ("new", "Java, java.net.http")] {
            let classes = scratch.path().to_str().unwrap();
            let arguments = ["-cp", classes, "Fetch", which, "URL"];
            check(Client::at(name, Some(home.join("bin/java")), &["-version"], &arguments));
        }
    }
}

#[test]
fn apt() {
    let script = "mkdir -p state/lists/partial cache/archives/partial parts && : > status && \
                  echo 'deb [trusted=yes] URL ./' > sources && exec apt-get update -o Dir::Etc::SourceList=$PWD/sources \
                  -o Dir::Etc::SourceParts=$PWD/parts -o Dir::State=$PWD/state -o Dir::State::status=$PWD/status \
                  -o Dir::Cache=$PWD/cache -o Acquire::Retries=0";
    check(Client::new("apt-get", &["--version"], &[]).map(|client| client.script(script)));
}
