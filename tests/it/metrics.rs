//! Metrics: scraped while the command runs, written and pushed when it has ended.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
};

use super::support::{
    Amb, Child, PATIENCE, Running, Step, Upstream, ends, ok,
    secure::{Certificate, hello},
    status,
};

/// What Prometheus 2 asks for.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

/// `amb run` whose metrics can be scraped, and which says where.
fn scraped(flags: &[&str]) -> Amb {
    let common = ["--metrics-listen", "127.0.0.1:0", "--log-level", "amb::run=info"];
    Amb::run([&common, flags].concat())
}

/// Where the metrics of this run are.
#[track_caller]
fn address(running: &Running) -> SocketAddr {
    let line = running.wait_for_stderr_line("the metrics can be scraped");
    let (_, address) = line.split_once("address=").expect("an address");
    address.trim_end_matches(')').parse().expect("an address")
}

/// The head and the body of an answer.
#[track_caller]
fn ask(address: SocketAddr, request: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        format!("{request} HTTP/1.1\r\nHost: elsewhere.example\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// The metrics once they hold this line. A record is entered when its answer has gone, which the client may see before.
#[track_caller]
fn metrics_with(address: SocketAddr, line: &str, accept: &str) -> String {
    let begun = std::time::SystemTime::now();
    loop {
        let (head, body) = ask(address, "GET /metrics", accept);
        assert!(head.starts_with("http/1.1 200 "), "{head}\n{body}");
        if body.lines().any(|known| known == line) {
            return body;
        }
        assert!(begun.elapsed().unwrap() < PATIENCE, "`{line}` does not come:\n{body}");
        std::thread::yield_now();
    }
}

/// These lines are there.
#[track_caller]
fn holds(metrics: &str, lines: &[String]) {
    for line in lines {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
}

/// A command that gets this so often, says that it is ready, and ends with its stdin.
fn asks(url: &str, times: usize) -> Child {
    let gets = (0..times).flat_map(|_| ["--get", url]);
    Child::new(gets).then(["--say", "ready", "--wait"])
}

#[test]
fn a_run_is_scraped_in_both_formats_while_its_command_runs() {
    let upstream = Upstream::script([ok("a"), ok("b"), status(503), ok("c")]);
    let port = upstream.address().port();
    let running = scraped(&["-s", "metrics.labels.team=\"billing\""])
        .open_stdin()
        .child(asks(&upstream.url("/"), 4))
        .start();
    running.wait_for_line("cready");
    let address = address(&running);
    let open = "http_client_active_requests{team=\"billing\"} 0";
    let host = format!("team=\"billing\",server_address=\"127.0.0.1\",server_port=\"{port}\"");
    let figures = [
        format!("amb_requests_total{{{host},outcome=\"ok\"}} 3"),
        format!("amb_requests_total{{{host},outcome=\"failed\"}} 1"),
        format!("amb_responses_total{{{host},class=\"2xx\"}} 3"),
        format!("amb_responses_total{{{host},class=\"5xx\"}} 1"),
        format!("http_client_request_duration_seconds_count{{{host}}} 4"),
        format!(
            "http_client_request_duration_seconds_bucket{{{}}} 4",
            host.replacen(',', ",le=\"+Inf\",", 1)
        ),
        "amb_child_up{team=\"billing\"} 1".to_owned(),
        "amb_active_tunnels{team=\"billing\"} 0".to_owned(),
    ];
    let text = metrics_with(address, open, "*/*");
    holds(&text, &figures);
    holds(
        &text,
        &[
            "# TYPE amb_requests_total counter".to_owned(),
            "# TYPE amb_build_info gauge".to_owned(),
        ],
    );
    assert!(!text.contains("# EOF") && !text.contains("exit_code"), "{text}");
    let open_metrics = metrics_with(address, open, PROMETHEUS);
    holds(&open_metrics, &figures);
    holds(
        &open_metrics,
        &[
            "# TYPE amb_requests counter".to_owned(),
            "# TYPE amb_build info".to_owned(),
        ],
    );
    assert!(open_metrics.ends_with("\n# EOF\n"), "{open_metrics}");
    running.wait().assert_status(0);
    assert!(TcpStream::connect(address).is_err(), "it is gone with the run");
}

#[test]
fn only_what_reads_the_metrics_is_answered() {
    let running = scraped(&[]).open_stdin().child(asks("", 0)).start();
    let address = address(&running);
    for (request, accept, answer, content_type) in [
        ("GET /metrics", "*/*", 200, "text/plain; version=0.0.4; charset=utf-8"),
        (
            "GET /metrics?x=1",
            PROMETHEUS,
            200,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("GET /", "*/*", 200, "text/plain; charset=utf-8"),
        ("POST /metrics", "*/*", 405, "text/plain; charset=utf-8"),
        ("DELETE /", "*/*", 405, "text/plain; charset=utf-8"),
        ("GET /v1/stop", "*/*", 404, "text/plain; charset=utf-8"),
        ("GET /metrics/", "*/*", 404, "text/plain; charset=utf-8"),
    ] {
        let (head, body) = ask(address, request, accept);
        assert!(head.starts_with(&format!("http/1.1 {answer} ")), "{request}: {head}");
        assert!(
            head.contains(&format!("\r\ncontent-type: {content_type}")),
            "{request}: {head}"
        );
        assert!(!body.is_empty(), "{request}");
    }
    let (head, body) = ask(address, "HEAD /metrics", PROMETHEUS);
    assert!(
        head.starts_with("http/1.1 200 ") && head.contains("\r\ncontent-length: "),
        "{head}"
    );
    assert_eq!(body, "");
    running.wait().assert_status(0);
}

#[test]
fn the_figures_of_all_threads_are_added_up() {
    let upstream = Upstream::script((0..24).map(|_| ok("")));
    let running = scraped(&["--threads", "2"])
        .open_stdin()
        .child(asks(&upstream.url("/"), 24))
        .start();
    running.wait_for_line("ready");
    let address = address(&running);
    let port = upstream.address().port();
    let figure = format!("amb_requests_total{{server_address=\"127.0.0.1\",server_port=\"{port}\",outcome=\"ok\"}} 24");
    holds(
        &metrics_with(address, "http_client_active_requests 0", "*/*"),
        &[figure],
    );
    running.wait().assert_status(0);
}

#[test]
fn what_is_open_when_the_command_has_ended_is_told_until_it_ends() {
    let upstream = Upstream::script([vec![Step::Read, Step::Stall, Step::Close]]);
    let mut running = scraped(&["--drain", "30s"])
        .open_stdin()
        .env("URL", upstream.url("/"))
        .shell("\"$CHILD\" --get \"$URL\" </dev/null >got 2>&1 & echo child $$; cat >/dev/null; exit 3")
        .start();
    let child = running.wait_for_rest("child ").parse().unwrap();
    upstream.wait_for_requests(1);
    let address = address(&running);
    let before = metrics_with(address, "http_client_active_requests 1", "*/*");
    holds(&before, &["amb_child_up 1".to_owned()]);
    running.close_stdin();
    assert!(ends(child));
    let after = metrics_with(address, "amb_child_up 0", "*/*");
    holds(&after, &["http_client_active_requests 1".to_owned()]);
    upstream.release();
    running.wait().assert_status(3);
}

#[test]
fn nothing_starts_if_the_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = Amb::run(["--metrics-listen", &address])
        .shell("echo started")
        .status(125);
    outcome.assert_stdout("");
    let lines = outcome.own_lines();
    let expected = format!("amb: --metrics-listen: cannot listen on {address}: Address already in use");
    assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{outcome}");
}

#[test]
fn a_file_is_replaced_as_a_whole_also_if_the_command_fails() {
    let upstream = Upstream::script([ok(""), status(404)]);
    let amb = Amb::run(["--metrics-file", "amb.prom"]);
    let path = amb.home().join("amb.prom");
    fs::write(&path, "old").unwrap();
    let mut reader = File::open(&path).unwrap();
    let url = upstream.url("/");
    let running = amb.open_stdin().child(asks(&url, 2).then(["--exit", "7"])).start();
    running.wait_for_line("ready");
    let before = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let directory = path.parent().unwrap().to_owned();
    // Its directory goes with it, and what is to be looked at has to stay.
    let written = running.wait_and(|| {
        let names = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let odd: Vec<_> = names
            .filter(|name| name.to_string_lossy().contains("amb-report"))
            .collect();
        assert_eq!(odd, [""; 0]);
        (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().ino())
    });
    let (outcome, (text, inode)) = written;
    outcome.assert_status(7);
    assert_ne!(inode, before.ino(), "a new file has taken its place");
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    assert_eq!(old, "old", "who had it open has seen nothing of it");
    let host = format!(
        "server_address=\"127.0.0.1\",server_port=\"{}\"",
        upstream.address().port()
    );
    holds(
        &text,
        &[
            "amb_child_exit_code 7".to_owned(),
            "amb_exit_code 7".to_owned(),
            format!("amb_requests_total{{{host},outcome=\"ok\"}} 2"),
            format!("amb_responses_total{{{host},class=\"4xx\"}} 1"),
        ],
    );
    assert!(text.contains("\namb_last_run_timestamp_seconds 1"), "{text}");
    assert!(!text.contains("amb_child_up") && !text.contains("# EOF"), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_is_warned_of_and_changes_no_status() {
    let outcome = Amb::run(["--metrics-file", "none/amb.prom"])
        .child(Child::exit(7))
        .status(7);
    assert!(
        outcome.stderr().contains("cannot write the metrics none/amb.prom: "),
        "{outcome}"
    );
    let outcome = Amb::run(["--metrics-file", "/dev/full"])
        .child(Child::exit(0))
        .success();
    assert!(
        outcome.stderr().contains("cannot write the metrics /dev/full: "),
        "{outcome}"
    );
}

#[test]
fn a_push_gateway_gets_what_the_file_gets_byte_for_byte() {
    let instance = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for (name, prefix, written) in [
        ("nightly job", "", "/job/nightly%20job"),
        ("a/b", "/base/", "/job@base64/YS9i"),
    ] {
        let upstream = Upstream::script([ok("hello")]);
        let gateway = Upstream::script([status(200)]);
        let url = gateway.url(prefix).replace("http://", "http://user:pa%20ss@");
        let running = Amb::run(["--name", name, "--metrics-file", "amb.prom", "--pushgateway", &url])
            .open_stdin()
            .child(asks(&upstream.url("/"), 1).then(["--die", "KILL"]))
            .start();
        let path = running.home().join("amb.prom");
        running.wait_for_line("helloready");
        let (outcome, file) = running.wait_and(|| fs::read(&path).unwrap());
        outcome.assert_signal(9);
        assert!(!outcome.stderr().contains("warning"), "{outcome}");
        let pushed = &gateway.join()[0];
        let prefix = prefix.trim_end_matches('/');
        let line = format!("PUT {prefix}/metrics{written}/instance/{instance} HTTP/1.1\r\n");
        assert!(pushed.head().starts_with(&line), "{}", pushed.head());
        assert_eq!(
            pushed.field("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        assert_eq!(pushed.field("authorization"), Some("Basic dXNlcjpwYSBzcw=="));
        assert_eq!(String::from_utf8_lossy(&pushed.body), String::from_utf8_lossy(&file));
        holds(&String::from_utf8_lossy(&file), &["amb_child_exit_code 137".to_owned()]);
    }
}

#[test]
fn a_push_gateway_that_fails_is_one_warning_and_changes_no_status() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = Upstream::script([vec![
        Step::Read,
        Step::Send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 20\r\n\r\npushed metrics are\nno".to_vec()),
    ]]);
    let silent = Upstream::script([vec![Step::Read, Step::Stall]]);
    for (address, reason) in [
        (gone, "refused"),
        (refusing.address(), "it answered 400: pushed metrics are"),
        (silent.address(), "it was not over within 5s"),
    ] {
        let outcome = Amb::run(["--pushgateway", &format!("http://{address}")])
            .child(Child::exit(3))
            .status(3);
        let warnings: Vec<_> = outcome
            .own_lines()
            .into_iter()
            .filter(|line| line.contains("push"))
            .collect();
        let start = format!("cannot push the metrics to http://{address}: ");
        assert!(
            warnings.len() == 1 && warnings[0].contains(&start) && warnings[0].contains(reason),
            "{outcome}"
        );
    }
}

#[test]
fn a_push_gateway_with_tls_is_believed_as_any_server_is() {
    let root = Certificate::root("an authority of its own");
    let gateway = hello(root.server("127.0.0.1").config(), "");
    let url = gateway.url("").replace("http://", "https://");
    let amb = Amb::run(["--pushgateway", &url, "--extra-root", "root.pem"]);
    fs::write(amb.home().join("root.pem"), root.pem()).unwrap();
    let outcome = amb.child(Child::exit(0)).success();
    assert!(!outcome.stderr().contains("push"), "{outcome}");
    let outcome = Amb::run(["--pushgateway", &url]).child(Child::exit(0)).success();
    assert!(
        outcome
            .stderr()
            .contains(&format!("cannot push the metrics to {url}: ")),
        "{outcome}"
    );
}
