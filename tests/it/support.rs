//! Three nouns for the tests: [`Amb`] runs something under amb, [`Child`] is what it runs, [`Upstream`] is the server it talks to.

#![expect(
    dead_code,
    reason = "the vocabulary of all tests; not each word is in use at any time"
)]

mod amb;
mod child;
pub(crate) mod http2;
mod outcome;
mod raw;
mod running;
pub(crate) mod secure;
mod systemd;
mod terminal;
mod upstream;

use std::time::Duration;

pub(crate) use self::{
    amb::Amb,
    child::Child,
    outcome::Outcome,
    raw::{Answer, End, Peer, Proxy, Records},
    running::{Running, ends, ends_within, send},
    systemd::Systemd,
    terminal::Terminal,
    upstream::{Request, Step, Upstream, ok, status},
};

/// How long anything may take before the test gives up; generous, because waiting costs nothing when it works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Says why a test does nothing here.
pub(crate) fn say_skipped(reason: &str) {
    ::amb::supervise::write_stderr(&format!("skipped: {reason}\n"));
}

/// The vocabulary itself, without amb in between: the server stands where the proxy would.
mod tests {
    use super::{Amb, Child, Step, Upstream, ok, status};

    #[test]
    fn the_test_program_gets_what_the_server_sends() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let slow = vec![Step::Read, Step::SendSlowly(chunked.to_vec(), 1)];
        let upstream = Upstream::script([ok("hello"), status(503), slow]);
        for expected in [
            "HTTP/1.1 200 OK\nhello",
            "HTTP/1.1 503 Service Unavailable\n",
            "HTTP/1.1 200 OK\nabcde",
        ] {
            let child = Child::get("http://example.test/path");
            let outcome = Amb::bare().env("http_proxy", upstream.url("")).child(child).success();
            outcome.assert_stdout(expected);
        }
        let requests = upstream.join();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0].field("host"), Some("example.test"));
        assert!(
            requests[2]
                .head()
                .starts_with("GET http://example.test/path HTTP/1.1\r\n")
        );
        assert_eq!(requests[2].connection, 2);
    }

    #[test]
    fn a_proxy_script_is_sent_as_it_is() {
        let upstream = Upstream::script([vec![
            Step::Read,
            Step::Send(b"first".to_vec()),
            Step::Stall,
            Step::Reset,
        ]]);
        let child = Child::new(["--proxy-script"]);
        let mut running = Amb::bare()
            .env("http_proxy", upstream.url(""))
            .open_stdin()
            .child(child)
            .start();
        running.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(upstream.wait_for_requests(1)[0].body, b"2\r\nhi\r\n0\r\n\r\n");
        upstream.release();
        running.wait().assert_status(0).assert_stdout("first");
        upstream.join();
    }
}
