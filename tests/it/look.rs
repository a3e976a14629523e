//! A run is looked at while it goes on: `amb top`, and the page of `--ui`.

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::Command,
};

use crate::support::{Amb, PATIENCE, Running, Terminal, Upstream, ok, status};

/// A run with a page.
struct Looked {
    /// amb.
    running: Running,
    /// Where the page is.
    address: SocketAddr,
    /// What opens it.
    token: String,
}

impl Looked {
    /// Runs a text in `sh` beside a page.
    #[track_caller]
    fn at(flags: &[&str], shell: &str) -> Self {
        let flags = flags.iter().copied().chain(["--ui"]);
        let running = Amb::run(flags).open_stdin().shell(shell).start();
        let line = running.wait_for_stderr_line("amb: live page: http://");
        let (_, url) = line.split_once("http://").expect("a URL");
        let (address, token) = url.split_once("/?token=").expect("a token");
        Self {
            address: address.parse().unwrap(),
            token: token.to_owned(),
            running,
        }
    }

    /// Asks for a path with these fields beside `Connection`; the whole answer.
    #[track_caller]
    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let mut stream = self.begin("GET", path, fields);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a request, after which the connection is to be closed.
    #[track_caller]
    fn begin(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for &(name, value) in fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        stream
    }

    /// What `Host` is to be.
    fn host(&self) -> String {
        self.address.to_string()
    }

    /// The path with the token.
    fn path(&self) -> String {
        format!("/?token={}", self.token)
    }

    /// The cookie that the token is exchanged for.
    #[track_caller]
    fn cookie(&self) -> String {
        let answer = self.ask(&self.path(), &[("Host", &self.host())]);
        field(&answer, "set-cookie").split(';').next().unwrap().to_owned()
    }
}

/// The status of an answer.
#[track_caller]
fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).expect(answer).parse().unwrap()
}

/// A field of an answer.
#[track_caller]
fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    values.next().unwrap_or_else(|| panic!("no {name} in {head}")).1
}

/// Reads until this has come.
#[track_caller]
fn read_until(stream: &mut TcpStream, read: &mut String, text: &str) {
    let mut buffer = [0; 4096];
    while !read.contains(text) {
        let count = stream.read(&mut buffer).unwrap_or(0);
        assert!(count > 0, "`{text}` did not come: {read}");
        read.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[test]
fn the_page_is_there_for_who_has_the_token_and_for_nobody_else() {
    let looked = Looked::at(&[], "read x; exit 0");
    let (host, path) = (looked.host(), looked.path());
    let local = format!("localhost:{}", looked.address.port());
    let cookie = looked.cookie();
    let wrong_cookie = cookie.replace('=', "=0");
    let own_origin = format!("http://{host}");
    let rebound = format!("evil.example:{}", looked.address.port());
    let host = ("Host", &*host);
    let cookie = ("Cookie", &*cookie);
    for (path, fields, expected) in [
        (&*path, vec![host], 303),
        (&*path, vec![("Host", &*local)], 303),
        (&*path, vec![host, ("Sec-Fetch-Site", "none")], 303),
        ("/", vec![host, cookie], 200),
        ("/page.js", vec![host, cookie, ("Sec-Fetch-Site", "same-origin")], 200),
        ("/page.css", vec![host, cookie], 200),
        ("/v1/live", vec![host, cookie, ("Origin", &*own_origin)], 200),
        ("/", vec![host], 401),
        ("/page.js", vec![host], 401),
        ("/v1/live", vec![host], 401),
        ("/v1/events", vec![host], 401),
        ("/nothing", vec![host], 401),
        ("/?token=", vec![host], 401),
        ("/?token=0", vec![host], 401),
        ("/", vec![host, ("Cookie", &*wrong_cookie)], 401),
        ("/nothing", vec![host, cookie], 404),
        (&*path, vec![("Host", &*rebound)], 421),
        (&*path, vec![("Host", "127.0.0.1")], 421),
        ("/v1/live", vec![("Host", &*rebound), cookie], 421),
        ("/v1/events", vec![("Host", &*rebound), cookie], 421),
        (&*path, vec![host, ("Origin", "https://evil.example")], 403),
        (&*path, vec![host, ("Sec-Fetch-Site", "cross-site")], 403),
        ("/v1/events", vec![host, cookie, ("Origin", "null")], 403),
        ("/v1/live", vec![host, cookie, ("Sec-Fetch-Site", "same-site")], 403),
    ] {
        let answer = looked.ask(path, &fields);
        assert_eq!(status_of(&answer), expected, "{path} {fields:?}\n{answer}");
        // What every answer says, whoever gets it.
        assert!(field(&answer, "content-security-policy").starts_with("default-src 'none';"));
        assert_eq!(field(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(field(&answer, "referrer-policy"), "no-referrer");
        assert_eq!(field(&answer, "cache-control"), "no-store");
        assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
        assert!(!answer.contains(&looked.token), "the token comes back: {answer}");
    }
    let mut answer = String::new();
    let mut posted = looked.begin("POST", "/v1/live", &[host, cookie]);
    posted.read_to_string(&mut answer).unwrap();
    assert_eq!(status_of(&answer), 405);
    let set = looked.ask(&path, &[host]);
    let set = field(&set, "set-cookie");
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
    looked.running.wait().assert_status(0);
}

#[test]
fn the_page_is_closed_to_other_users_who_have_the_token() {
    if !rustix::process::geteuid().is_root() {
        crate::support::say_skipped("only root can be somebody else");
        return;
    }
    // A user of its own, since root may see everything.
    let looked = Looked::at(&[], "read x; exit 0");
    let request = format!(
        "GET {} HTTP/1.1\\r\\nHost: {}\\r\\nConnection: close\\r\\n\\r\\n",
        looked.path(),
        looked.host()
    );
    let port = looked.address.port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; cat <&3");
    let ask = |user: u32| {
        let asked = Command::new("bash").args(["-c", &script]).uid(user).output().unwrap();
        status_of(&String::from_utf8_lossy(&asked.stdout))
    };
    assert_eq!((ask(0), ask(54_321)), (303, 403));
    looked.running.wait().assert_status(0);
}

#[test]
fn a_request_of_the_command_comes_to_the_page_as_it_ends() {
    let upstream = Upstream::script([ok("hello"), status(503), ok("later")]);
    let shell = format!(
        "$CHILD --get \"{}\"; $CHILD --get {}; echo ready; read x; $CHILD --get {}; echo; echo ready; read x; exit 0",
        upstream.url("/first?token=hunter2&q='x"),
        upstream.url("/second"),
        upstream.url("/third"),
    );
    let mut looked = Looked::at(&[], &shell);
    looked.running.wait_for_line("ready");
    let (host, cookie) = (looked.host(), looked.cookie());
    let mut events = looked.begin("GET", "/v1/events", &[("Host", &host), ("Cookie", &cookie)]);
    let mut read = String::new();
    // What was before, and what comes.
    read_until(&mut events, &mut read, "/second");
    assert_eq!(field(&read, "content-type"), "text/event-stream");
    assert!(!read.contains("/third"));
    looked.running.write(b"\n").wait_for_lines("ready", 2);
    read_until(&mut events, &mut read, "/third");
    let data = |path: &str| -> serde_json::Value {
        let line = read
            .lines()
            .find(|line| line.starts_with("data: {") && line.contains(path));
        serde_json::from_str(line.unwrap().strip_prefix("data: ").unwrap()).unwrap()
    };
    let first = data("/first");
    assert_eq!(first["record"]["http.response.status_code"], 200);
    let url = upstream.url("/first?token=***&q=%27x");
    assert_eq!(first["curl"], format!("curl --path-as-is '{url}'"));
    assert!(!read.contains("hunter2"), "{read}");
    let second = data("/second");
    assert_eq!(second["record"]["amb.outcome"], "failed");
    assert_eq!(second["record"]["amb.blame"], "upstream");
    let live = looked.ask("/v1/live", &[("Host", &host), ("Cookie", &cookie)]);
    let live: serde_json::Value = serde_json::from_str(live.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (live["status"]["requests"].clone(), live["status"]["failed"].clone()),
        (3.into(), 1.into())
    );
    looked.running.wait().assert_status(0);
    read_until(&mut events, &mut read, "event: over");
    upstream.join();
}

#[test]
fn a_page_whose_port_is_taken_lets_nothing_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let outcome = Amb::run([format!("--ui={address}")]).shell("echo started").status(125);
    assert!(
        outcome.stderr().contains(&format!("cannot listen on {address}")),
        "{outcome}"
    );
    assert!(outcome.stdout.is_empty());
}

#[test]
fn what_others_could_reach_is_no_place_for_the_page() {
    let outcome = Amb::run(["--ui=0.0.0.0:0"]).shell("echo started").status(125);
    assert!(
        outcome.stderr().contains("can be reached from other machines"),
        "{outcome}"
    );
}

/// `amb top` in a terminal, with control sockets in this directory.
#[track_caller]
fn top(runtime: &std::path::Path) -> Terminal {
    let mut runtime_directory = OsString::from("XDG_RUNTIME_DIR=");
    runtime_directory.push(runtime);
    let words = ["env", "TERM=xterm", "LC_ALL=C.UTF-8"].map(OsString::from);
    let words = words
        .into_iter()
        .chain([runtime_directory, env!("CARGO_BIN_EXE_amb").into(), "top".into()]);
    Terminal::run(&words.collect::<Vec<_>>())
}

/// A run that waits for a line, with its control socket in this directory.
#[track_caller]
fn waiting(runtime: &std::path::Path) -> Running {
    let run = Amb::run(["--name", "looked-at"]).env("XDG_RUNTIME_DIR", runtime);
    let running = run.open_stdin().shell("echo ready; read x; exit 0").start();
    running.wait_for_line("ready");
    running
}

/// What gives the terminal back.
const PUT_BACK: &str = "\x1b[?1049l\x1b[?25h";

#[test]
fn top_shows_a_run_to_its_end_and_leaves_the_terminal_as_it_was() {
    let runtime = tempfile::tempdir().unwrap();
    let running = waiting(runtime.path());
    let mut terminal = top(runtime.path());
    terminal.resize(100, 30).wait_for("looked-at").wait_for("q leave");
    running.wait().assert_status(0);
    terminal.wait_for("this run is over").type_text("q").wait_for(PUT_BACK);
    assert!(terminal.wait().success());
}

#[test]
fn top_gives_the_terminal_back_before_a_signal_ends_it() {
    let runtime = tempfile::tempdir().unwrap();
    let running = waiting(runtime.path());
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        let mut terminal = top(runtime.path());
        terminal.resize(80, 24).wait_for("q leave");
        crate::support::send(terminal.pid(), signal);
        terminal.wait_for(PUT_BACK);
        assert_eq!(terminal.wait().signal(), Some(signal));
    }
    running.wait().assert_status(0);
}

#[test]
fn top_ends_when_its_terminal_is_gone() {
    let runtime = tempfile::tempdir().unwrap();
    let running = waiting(runtime.path());
    let mut terminal = top(runtime.path());
    terminal.resize(80, 24).wait_for("q leave");
    terminal.hang_up();
    assert!(!terminal.wait().success());
    running.wait().assert_status(0);
}

#[test]
fn top_without_a_terminal_names_what_needs_none() {
    let outcome = Amb::bare().command([env!("CARGO_BIN_EXE_amb"), "top"]).status(1);
    assert!(
        outcome.stderr().contains("`amb status` tells the same in lines"),
        "{outcome}"
    );
}
