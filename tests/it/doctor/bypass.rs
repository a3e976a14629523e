//! `amb doctor --run`: what does not go through amb is named, with its process and its reason, and what does is not.

use std::{
    ffi::OsString,
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
};

use serde_json::Value;

use crate::support::{Amb, Child, Outcome, Running, Upstream, ok, say_skipped};

/// `amb doctor` with these arguments, and behind `--run` this command.
fn doctor(arguments: &[&str], command: Vec<OsString>) -> Amb {
    let mut words: Vec<OsString> = vec![env!("CARGO_BIN_EXE_amb").into(), "doctor".into()];
    words.extend(arguments.iter().map(OsString::from));
    words.extend(["--run".into(), "--".into()]);
    words.extend(command);
    Amb::bare().env("LC_ALL", "C").command(words)
}

/// The same for the test program, which goes on until its stdin ends; waits until amb has seen each of `places`.
fn watched(arguments: &[&str], command: Vec<OsString>, places: &[String]) -> Outcome {
    let running: Running = doctor(&[arguments, &["-v"]].concat(), command).open_stdin().start();
    for place in places {
        running.wait_for_stderr(&format!("{place}, and not to amb"));
    }
    running.wait()
}

/// What an outcome says as JSON.
#[track_caller]
fn json(outcome: &Outcome) -> Value {
    super::json(outcome.stdout())
}

#[test]
fn a_program_that_ignores_the_proxy_is_named_with_its_process_and_where_it_went() {
    // Loopback, and not among what NO_PROXY excepts by itself.
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let child = || Child::new(["--pid", "--connect", &place, "--say", "noise", "--wait"]).command();
    let outcome = watched(&["--json"], child(), std::slice::from_ref(&place));
    outcome.assert_status(1);
    let said = json(&outcome);
    assert_eq!(said["state"], "fail");
    let around = said["run"]["around"].as_array().unwrap();
    assert_eq!(around.len(), 1, "{said:#}");
    let found = &around[0];
    assert_eq!(
        (&found["kind"], &found["transport"]),
        (&"ignores_proxy".into(), &"tcp".into())
    );
    assert_eq!(
        (&found["destination"], &found["connections"]),
        (&Value::from(place.clone()), &1.into())
    );
    // What the command says on stdout is not among the JSON.
    let pid = outcome.stderr().lines().find_map(|line| line.parse::<u32>().ok());
    assert_eq!(found["processes"][0]["pid"].as_u64(), pid.map(u64::from), "{said:#}");
    let words = found["processes"][0]["command"].as_array().unwrap();
    assert!(
        words.contains(&"--connect".into()) && words.contains(&place.clone().into()),
        "{said:#}"
    );
    assert!(outcome.stderr().contains("noise\n"), "{}", outcome.stderr());

    let outcome = watched(&[], child(), std::slice::from_ref(&place));
    outcome.assert_status(1);
    let told = outcome.stdout();
    for text in [
        format!("FAIL TCP {place}"),
        format!(" --connect {place} --say noise --wait (pid "),
        "AMB_PROXY_URL".to_owned(),
        "Through amb".to_owned(),
        "FAIL 1 connection went around amb; the command ended with 0".to_owned(),
    ] {
        assert!(told.contains(&text), "{text}: {told}");
    }
}

#[test]
fn what_asks_the_proxy_is_not_listed() {
    let upstream = Upstream::script([ok("hello")]);
    let outcome = doctor(&[], Child::get(upstream.url("/")).then(["--exit", "3"]).command()).outcome();
    outcome.assert_status(0);
    let told = outcome.stdout();
    for text in [
        "hello",
        "1 request to 1 host",
        "nothing went around amb that should not; the command ended with 3",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    // Other tests have connections that come and go: nothing but these may be told.
    assert!(!told.contains("FAIL") && !told.contains("TCP 127"), "{told}");
    upstream.join();
}

#[test]
fn a_connection_to_the_proxy_that_stays_open_is_not_listed() {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    // The one to the proxy is there by the time the other one is seen.
    let child = Child::new(["--connect-proxy", "--connect", &place, "--wait"]);
    let outcome = watched(&["--json"], child.command(), std::slice::from_ref(&place));
    let said = json(&outcome);
    let around = said["run"]["around"].as_array().unwrap();
    assert_eq!(around.len(), 1, "{said:#}");
    assert_eq!(
        (&around[0]["destination"], &around[0]["connections"]),
        (&place.into(), &1.into())
    );
}

#[test]
fn what_no_proxy_excepts_is_told_and_no_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let child = Child::new(["--connect", &place, "--wait"]).command();
    let outcome = watched(&["--json"], child, std::slice::from_ref(&place));
    outcome.assert_status(0);
    let said = json(&outcome);
    assert_eq!(said["state"], "warn");
    let found = &said["run"]["around"][0];
    assert_eq!((&found["kind"], &found["state"]), (&"excepted".into(), &"warn".into()));
    assert!(
        found["remedy"].as_str().unwrap().contains("--proxy-loopback"),
        "{said:#}"
    );
}

#[test]
fn datagrams_are_told_apart_by_their_port() {
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    let place = socket.local_addr().unwrap().to_string();
    let places = ["127.0.0.2:443".to_owned(), "127.0.0.2:53".to_owned(), place.clone()];
    let verbs = places.iter().flat_map(|place| ["--datagrams", place]).chain(["--wait"]);
    let outcome = watched(&["--json"], Child::new(verbs).command(), &places);
    outcome.assert_status(1);
    let said = json(&outcome);
    let mut kinds: Vec<(&str, &str)> = said["run"]["around"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["kind"].as_str().unwrap(), found["destination"].as_str().unwrap()))
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [("dns", "127.0.0.2:53"), ("quic", "127.0.0.2:443"), ("udp", &place)],
        "{said:#}"
    );
    let dns = said["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["id"] == "around.dns");
    assert_eq!(dns.unwrap()["state"], "ok", "{said:#}");
}

#[test]
fn who_has_lost_the_variables_on_the_way_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let mut command: Vec<OsString> = vec!["env".into(), "-i".into()];
    command.extend(Child::new(["--connect", &place, "--wait"]).command());
    let outcome = watched(&["--json"], command, std::slice::from_ref(&place));
    outcome.assert_status(1);
    let said = json(&outcome);
    assert_eq!(said["run"]["around"][0]["kind"], "not_told", "{said:#}");
}

#[test]
fn what_a_server_accepts_is_not_taken_for_a_way_out() {
    if Command::new("python3").arg("--version").output().is_err() {
        return say_skipped("there is no python3 here");
    }
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    // It waits for nobody else once it has been connected to.
    let script = format!(
        "import socket, sys\n\
         server = socket.create_server(('127.0.0.1', 0))\n\
         print('port', server.getsockname()[1], flush=True)\n\
         accepted, _ = server.accept()\n\
         server.close()\n\
         out = socket.create_connection(('127.0.0.2', {}))\n\
         sys.stdin.read()",
        listener.local_addr().unwrap().port()
    );
    let running = doctor(&["-v"], ["python3", "-c", &script].map(OsString::from).to_vec())
        .open_stdin()
        .start();
    let port: u16 = running.wait_for_rest("port ").parse().unwrap();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    running.wait_for_stderr(&format!("{place}, and not to amb"));
    let outcome = running.wait();
    let told = outcome.stdout();
    assert_eq!(told.matches("FAIL TCP").count(), 1, "{told}");
    for text in [format!("FAIL TCP {place}"), "Python's".to_owned()] {
        assert!(told.contains(&text), "{text}: {told}");
    }
    drop(client);
}

#[test]
fn a_command_that_is_not_there_is_told_by_its_status() {
    let outcome = doctor(&["--json"], vec!["/nonexistent/program".into()]).outcome();
    outcome.assert_status(1);
    let said = json(&outcome);
    assert_eq!(said["run"]["status"], 127, "{said:#}");
    assert!(
        outcome.stderr().contains("/nonexistent/program"),
        "{}",
        outcome.stderr()
    );
}
