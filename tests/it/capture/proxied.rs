//! What becomes of captured connections: they are carried, decided about and told of as what a proxy is asked for.

use std::{fs, net::TcpListener};

use super::{ADDRESS, captured, counts, is_possible, part, program, run_python, server};
use crate::support::{
    Amb, Outcome, Peer, Upstream, ok,
    secure::{Certificate, hello},
    status,
};

/// Python code that asks by TLS for `name` at the address, believes the certificates of this file, and prints what it is told.
fn ask_by_tls(name: &str, roots: &str) -> String {
    format!(
        "import ssl\n\
         context = ssl.create_default_context(cafile={roots})\n\
         try:\n    \
         made = context.wrap_socket(socket.create_connection(('{ADDRESS}', port)), server_hostname='{name}')\n    \
         made.sendall(b'GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n')\n    \
         answer = b''\n    \
         while not answer.endswith(b'hi'): answer += made.recv(4096) or b'hi'\n    \
         print(answer.split()[1].decode(), answer[-2:].decode())\n\
         except (ConnectionError, ssl.SSLError) as error: print(type(error).__name__)\n"
    )
}

/// A run whose server, called `h.test`, only this authority vouches for, which the code finds in `root.pem`.
fn secured(flags: &[&str], name: &str, roots: &str) -> Option<Outcome> {
    let root = Certificate::root("Root");
    let server = hello(root.server("h.test").config(), "hi");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), root.pem()).unwrap();
    let extra = format!("--extra-root={}", file.path().display());
    let run = captured(&[flags, &[&extra]].concat()).env("ROOT", file.path());
    run_python(run, &server, &ask_by_tls(name, roots))
}

#[test]
fn https_is_decrypted_for_a_client_that_knows_of_no_proxy() {
    if !is_possible() {
        return;
    }
    let Some(outcome) = secured(&["--intercept=h.test"], "h.test", "os.environ['AMB_CA_FILE']") else {
        return;
    };
    assert_eq!(outcome.stdout(), "200 hi\n", "{outcome}");
    assert_eq!(part(&outcome, "/totals/requests/ok"), 1);
    assert_eq!(part(&outcome, "/totals/tunnels/total"), 0);
    assert_eq!(part(&outcome, "/hosts/0/host"), "h.test");
}

#[test]
fn tls_that_is_left_alone_is_a_tunnel_that_is_called_what_the_client_calls_it() {
    if !is_possible() {
        return;
    }
    let Some(outcome) = secured(&[], "h.test", "os.environ['ROOT']") else {
        return;
    };
    assert_eq!(outcome.stdout(), "200 hi\n", "{outcome}");
    assert_eq!(part(&outcome, "/totals/tunnels/ok"), 1);
    assert_eq!(part(&outcome, "/hosts/0/host"), "h.test");
}

#[test]
fn tls_in_which_no_name_is_said_is_left_alone() {
    if !is_possible() {
        return;
    }
    let root = Certificate::root("Root");
    let server = hello(root.server("h.test").config(), "hi");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), root.pem()).unwrap();
    let code = format!(
        "import ssl\n\
         context = ssl.create_default_context(cafile=os.environ['ROOT'])\n\
         context.check_hostname = False\n\
         made = context.wrap_socket(socket.create_connection(('{ADDRESS}', port)))\n\
         print('believed')\n"
    );
    let run = captured(&["--intercept"]).env("ROOT", file.path());
    let Some(outcome) = run_python(run, &server, &code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "believed\n", "{outcome}");
    assert_eq!(part(&outcome, "/totals/tunnels/total"), 1, "{outcome}");
}

#[test]
fn a_rule_for_a_name_is_asked_by_what_the_client_says_in_tls() {
    if !is_possible() {
        return;
    }
    let flags = ["--egress=enforce", "--allow=h.test"];
    let Some(outcome) = secured(&flags, "h.test", "os.environ['ROOT']") else {
        return;
    };
    assert_eq!(outcome.stdout(), "200 hi\n", "{outcome}");
    let outcome = secured(&flags, "other.test", "os.environ['ROOT']").unwrap();
    assert_eq!(outcome.stdout(), "ConnectionResetError\n", "{outcome}");
    assert_eq!(part(&outcome, "/totals/tunnels/denied"), 1, "{outcome}");
    assert_eq!(part(&outcome, "/denials/0/host"), "other.test", "{outcome}");
}

#[test]
fn a_rule_for_a_name_is_asked_by_the_host_of_a_request() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    let server = server();
    let port = server.address().port();
    let ask = |name: &str| {
        let script = format!(
            "curl -sS --noproxy '*' --resolve {name}:{port}:{ADDRESS} http://{name}:{port}/ -w ' %{{http_code}}'"
        );
        captured(&["--egress=enforce", "--allow=h.test"])
            .shell(&script)
            .outcome()
    };
    let outcome = ask("h.test");
    assert_eq!(outcome.stdout(), "hi 200", "{outcome}");
    assert_eq!(part(&outcome, "/hosts/0/host"), "h.test");
    let outcome = ask("other.test");
    assert!(outcome.stdout().ends_with(" 403"), "{outcome}");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_rule_for_an_address_is_asked_whatever_the_client_calls_it() {
    if !is_possible() {
        return;
    }
    let server = server();
    let flags = [
        "--capture",
        "--proxy-loopback",
        "--egress=enforce",
        "--allow=h.test",
        "--deny=127.0.0.0/8",
    ];
    let code = "made = socket.create_connection(('127.0.0.1', port))\n\
                made.sendall(b'GET / HTTP/1.1\\r\\nHost: h.test\\r\\nConnection: close\\r\\n\\r\\n')\n\
                print(made.recv(12).decode())\n\
                other = socket.create_connection(('127.0.0.1', port))\n\
                other.sendall(b'\\x00\\x01\\x02')\n\
                try: print(other.recv(9))\n\
                except ConnectionResetError: print('reset')\n";
    let Some(outcome) = run_python(Amb::run(flags).reporting(), &server, code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "HTTP/1.1 403\nreset\n", "{outcome}");
    assert_eq!(server.connections(), 0);
    assert_eq!(part(&outcome, "/totals/requests/denied"), 1);
    assert_eq!(part(&outcome, "/totals/tunnels/denied"), 1);
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    if !is_possible() {
        return;
    }
    let code = format!(
        "made = socket.create_connection(('{ADDRESS}', port))\n\
         print(made.recv(9).decode().strip())\n\
         made.sendall(b'QUIT\\r\\n')\n\
         print(made.recv(9).decode().strip())\n"
    );
    // With a rule that goes by names the client is given time to say one.
    for flags in [&[][..], &["--allow=203.0.113.5", "--egress=enforce"]] {
        let server = Upstream::serve(|stream, _| {
            let mut peer = Peer::new(stream);
            peer.send("220 hi\r\n");
            peer.until(b"QUIT\r\n").unwrap();
            peer.send("221 bye\r\n");
        });
        let Some(outcome) = run_python(captured(flags), &server, &code) else {
            return;
        };
        assert_eq!(outcome.stdout(), "220 hi\n221 bye\n", "{outcome}");
        assert_eq!(part(&outcome, "/totals/tunnels/ok"), 1, "{outcome}");
        assert_eq!(part(&outcome, "/hosts/0/host"), ADDRESS);
        server.join();
    }
}

#[test]
fn who_cannot_be_reached_is_told_of_in_what_the_client_speaks() {
    if !is_possible() {
        return;
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let server = server();
    let code = format!(
        "for words in (b'GET / HTTP/1.1\\r\\nHost: h.test\\r\\n\\r\\n', b'\\x00\\x01'):\n    \
         made = socket.create_connection(('{ADDRESS}', {port}))\n    \
         made.sendall(words)\n    \
         try: print(made.recv(12).decode() or 'closed')\n    \
         except ConnectionResetError: print('reset')\n"
    );
    let Some(outcome) = run_python(captured(&[]), &server, &code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "HTTP/1.1 502\nreset\n", "{outcome}");
    assert_eq!(part(&outcome, "/totals/requests/failed"), 1, "{outcome}");
    assert_eq!(part(&outcome, "/totals/tunnels/failed"), 1, "{outcome}");
    assert_eq!(part(&outcome, "/failures/0/blame"), "upstream", "{outcome}");
}

#[test]
fn a_failed_request_is_tried_again_as_any_other() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    let server = Upstream::script([status(503), ok("hi")]);
    let script = format!("curl -sS --noproxy '*' http://{ADDRESS}:{}/", server.address().port());
    let outcome = captured(&["--retries=1", "--retry=idempotent"])
        .shell(&script)
        .outcome();
    assert_eq!(outcome.stdout(), "hi", "{outcome}");
    assert_eq!(part(&outcome, "/totals/requests/total"), 1);
    assert_eq!(part(&outcome, "/totals/requests/retried"), 1);
    server.join();
}

#[test]
fn logs_say_that_a_connection_was_captured() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    let server = server();
    let script = format!(
        "curl -sS --noproxy '*' http://{ADDRESS}:{0}/ && curl -sS http://{ADDRESS}:{0}/ && echo && \
         until [ \"$(wc -l <calls.ndjson)\" = 2 ]; do sleep 0.01; done && cat calls.ndjson",
        server.address().port()
    );
    let outcome = captured(&["--access-log=calls.ndjson"]).shell(&script).success();
    let lines = outcome.stdout().strip_prefix("hihi\n").expect("two answers");
    let flags: Vec<bool> = lines
        .lines()
        .map(|line| line.contains("\"amb.captured\":true"))
        .collect();
    assert_eq!(flags, [true, false], "{lines}");
    assert_eq!(counts(&outcome), (1, 0));
}

#[test]
fn a_credential_does_not_go_where_the_client_only_says_it_goes() {
    if !is_possible() || program("curl", &["--version"]).is_none() {
        return;
    }
    let server = Upstream::script([ok("hi")]);
    let port = server.address().port();
    let flags = ["--capture", "--proxy-loopback", "--auth=h.test=secret:key"];
    let run = Amb::run(flags).env("KEY", "very-secret").reporting();
    fs::write(
        run.home().join("amb.toml"),
        "version = 1\n[secret.key]\nenv = \"KEY\"\nhosts = [\"h.test\"]\n",
    )
    .unwrap();
    let script = format!("curl -sS --noproxy '*' -H 'Host: h.test' http://127.0.0.1:{port}/");
    let outcome = run.env("AMB_TRUST", "1").shell(&script).outcome();
    assert_eq!(outcome.stdout(), "hi", "{outcome}");
    let requests = server.join();
    assert_eq!(requests[0].field("host"), Some("h.test"));
    assert_eq!(requests[0].field("authorization"), None, "{}", requests[0].head());
}
