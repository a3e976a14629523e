//! More clients than there are descriptors for.

use rustix::process::{Pid, Resource, Rlimit, prlimit, setrlimit};

use super::get;
use crate::support::{Amb, Peer, Proxy, Upstream, ok};

/// Checklist 115: out of descriptors amb pauses, answers with a reason, and goes on when there are some again.
#[test]
fn amb_survives_being_out_of_descriptors() {
    let origin = Upstream::script([ok("before"), ok("after")]);
    let proxy = Proxy::start();
    let mut first = proxy.connect();
    first.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    first.answer().assert_is(200, "");
    let pid = Pid::from_raw(proxy.running.pid()).unwrap();
    // Only now, since amb does not take more clients than it can have descriptors for.
    prlimit(Some(pid), Resource::Nofile, limit(48)).unwrap();
    let mut second = proxy.connect();
    second.send(get(&origin).replace("HTTP/1.1", "HTTP/1.1\r\nConnection: keep-alive"));
    second.answer().assert_is(200, "before");
    // As many as the kernel queues: amb cannot take them all.
    let mut crowd: Vec<_> = (0..80).map(|_| proxy.connect()).collect();
    for member in &mut crowd {
        member.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for member in crowd.iter_mut().take(20) {
        member.answer().assert_is(200, "");
    }
    // A request that needs another connection when there is none left.
    let mut outcome = None;
    for _ in 0..3 {
        first.send("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n");
        outcome = Some(first.answer().status());
    }
    assert!(matches!(outcome, Some(502 | 503)), "{outcome:?}");
    // Room again: everybody is served.
    for mut member in crowd.drain(..20) {
        member.half_close();
        member.rest();
    }
    while let Some(mut member) = crowd.pop() {
        if crowd.len() % 2 == 0 {
            drop(member);
        } else {
            member.half_close();
        }
    }
    proxy.ask(get(&origin)).assert_is(200, "after");
    let records = proxy.end();
    assert_eq!(records.exchanges("cut_short"), 0, "{records:?}");
    origin.join();
}

/// A limit of so many descriptors.
fn limit(descriptors: u64) -> Rlimit {
    Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    }
}

/// An amb that serves so many clients at once and no more.
fn small(clients: u64) -> Proxy {
    let limit = limit(clients * 3);
    let run = Amb::run(std::iter::empty::<String>()).before_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
    Proxy::of(run)
}

/// Checklist 116.
#[test]
fn the_client_that_was_idle_the_longest_gives_way_to_a_new_one() {
    let proxy = small(16);
    let ask = |client: &mut Peer| {
        client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
        client.answer().assert_is(200, "");
    };
    let mut clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = proxy.connect();
            ask(&mut client);
            client
        })
        .collect();
    ask(&mut clients[0]);
    ask(&mut proxy.connect());
    clients[1].assert_closed();
    for idle in [0, 2, 15] {
        ask(&mut clients[idle]);
    }
    proxy.end().assert_exchanges(&[("ok", 21)]);
}

/// Checklist 116.
#[test]
fn a_client_too_many_is_told_so_and_those_that_are_served_stay() {
    let proxy = small(16);
    let mut clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = proxy.connect();
            client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS *");
            client.answer().assert_is(200, "");
            client
        })
        .collect();
    // Far more than amb turns away at a time: the others wait until they are.
    let many: Vec<_> = (0..100)
        .map(|_| {
            let mut client = proxy.connect();
            client.send("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    for mut client in many {
        client.answer().assert_own(503, "connection_limit_reached");
        client.assert_closed();
    }
    for client in &mut clients {
        client.send(" HTTP/1.1\r\nHost: h\r\n\r\n");
        client.answer().assert_is(200, "");
    }
    proxy.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").assert_is(200, "");
    proxy
        .end()
        .assert_exchanges(&[("ok", 33), ("failed", 100)])
        .assert_failure("a third of the descriptors");
}

/// What waits in the pool is closed before a request fails for want of a descriptor.
#[test]
fn a_pooled_connection_gives_way_to_a_new_one() {
    let (first, second) = (Upstream::script([ok("first")]), Upstream::script([ok("second")]));
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(get(&first));
    client.answer().assert_is(200, "first");
    let pid = proxy.running.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit(open)).unwrap();
    client.send(get(&second));
    client.answer().assert_is(200, "second");
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 2)]);
    first.join();
    second.join();
}
