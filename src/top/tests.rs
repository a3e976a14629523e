//! Pictures of runs, at the sizes of terminals.

use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value, json};

use super::{
    draw,
    state::{Key, State, Wish},
    theme::Theme,
    watch::Look,
};
use crate::{
    monitor::view::{Live, Status},
    report::text::Charset,
    traffic::latency::Durations,
};

/// Plain text of all characters.
const PLAIN: Theme = Theme {
    color: false,
    charset: Charset::Unicode,
};

/// A run by its id, after so many seconds and requests.
fn status(id: &str, seconds: f64, requests: u64) -> Value {
    json!({
        "version": "1.0", "id": id, "name": format!("billing-{id}"), "kind": "run", "pid": 10, "child_pid": 11,
        "command": ["./billing", "--port", "80"], "directory": "/srv", "proxy": "http://127.0.0.1:4711",
        "started_at": format!("2026-11-23T10:00:0{}.000Z", id.len()), "duration_seconds": seconds,
        "requests": requests, "failed": 3, "denied": 1, "tunnels": 2, "open": 2,
        "bytes_sent": 4_200, "bytes_received": 1_900_000, "amb_version": "0.1.0",
    })
}

/// How long things took.
fn latency(count: u64) -> Value {
    let mut durations = Durations::default();
    for number in 0..count {
        durations.add(Duration::from_millis(10 + number));
    }
    serde_json::to_value(durations.finish()).unwrap()
}

/// All of such a run, with so many hosts; failures that come again have this count.
fn live(id: &str, seconds: f64, requests: u64, hosts: usize, again: u64) -> Live {
    let hosts: Vec<Value> = (0..hosts)
        .map(|number| {
            json!({
                "host": format!("api{number}.example.com"), "port": if number == 1 { 8080 } else { 443 },
                "requests": { "total": requests / (number as u64 + 1), "failed": number % 2 },
                "bytes": { "sent": 100, "received": 5_000 }, "latency_seconds": latency(requests),
            })
        })
        .collect();
    let failure = |host: &str, count: u64, detail: &str, at: u32| {
        json!({ "count": count, "method": "POST", "host": host, "port": 443, "path": "/v1/invoices",
            "error_type": "connection_timeout", "blame": "upstream", "detail": detail,
            "first_at": format!("2026-11-23T10:00:{at:02}.000Z") })
    };
    let document = json!({
        "schema_version": "1.3", "amb": { "version": "0.1.0" },
        "run": { "id": id, "name": "billing", "started_at": "2026-11-23T10:00:00.000Z", "duration_seconds": seconds },
        "child": { "pid": 11, "exit_code": null, "signal": null, "outcome": "running" },
        "exit": { "code": 0, "reason": "running" },
        "totals": { "requests": { "total": requests }, "latency_seconds": latency(requests) },
        "hosts": hosts,
        "failures": [failure("old.example.com", again, "no connection within 2s", 1),
            failure("evil\u{1b}[2J.example", 1, "bad\u{7}bell\nline", 9)],
        "breakers": { "opened": 1, "rejected": 7, "open": 1, "circuits": [
            { "name": "api1.example.com", "state": "open", "opened": 1, "rejected": 7 },
            { "name": "fine.example.com", "state": "closed", "opened": 1, "rejected": 1 } ] },
        "timeline": { "begins_at": "2026-11-23T10:00:00.000Z", "slot_seconds": 0.1,
            "requests": vec![1; 40], "tunnels": vec![0; 40], "failed": vec![0; 40] },
    });
    serde_json::from_value(json!({
        "status": status(id, seconds, requests),
        "under_way": [{ "method": "GET", "host": "slow.example.com", "port": 443, "seconds": 12.5 },
            { "method": "CONNECT", "host": "db.example.com", "port": 5432, "seconds": 0.4 }],
        "report": document,
    }))
    .unwrap()
}

/// What is seen of runs with these ids, the last of which is looked at.
fn look(ids: &[&str], live: Option<Live>) -> Look {
    let statuses = ids
        .iter()
        .map(|id| serde_json::from_value::<Status>(status(id, 60.0, 128)).unwrap());
    Look {
        runs: statuses.collect(),
        live,
    }
}

/// A run in full swing: two looks, a second apart.
fn swing(hosts: usize) -> State {
    let mut state = State::new(look(&["a", "bb"], Some(live("bb", 4.0, 100, hosts, 1)))).unwrap();
    state.take(look(&["a", "bb"], Some(live("bb", 5.0, 128, hosts, 2))));
    state
}

/// What is on a terminal of this size, a line each, without the blanks at its end.
fn picture(state: &State, theme: Theme, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(state, theme, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn a_usual_terminal_shows_all_there_is() {
    let lines = picture(&swing(3), PLAIN, 80, 24);
    let text = lines.join("\n");
    for part in [
        " amb top  billing-bb  bb",
        "up 5.0s  run 2 of 2",
        " 128 requests  28/s  3 failed  2 open  1 denied  2 tunnels",
        "proxy http://127.0.0.1:4711 · pid 11 · ./billing --port 80",
        "REQUESTS/S  now 28  most 28",
        "HOSTS by requests",
        "api0.example.com",
        "api1.example.com:8080",
        "OPEN",
        "  12.5s  GET     slow.example.com:443",
        "CIRCUITS",
        "open       api1.example.com  opened ×1, 7 answered at once",
        "LAST FAILURES",
        " q leave   ? help   s sort (requests)   Tab next run",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(
        !text.contains("fine.example.com"),
        "a closed circuit is no news\n{text}"
    );
}

#[test]
fn what_failed_last_is_told_first_and_whose_fault_it_was() {
    let text = picture(&swing(1), PLAIN, 160, 40).join("\n");
    let (old, evil) = (text.find("old.example.com").unwrap(), text.find("evil").unwrap());
    assert!(old < evil, "{text}");
    assert!(
        text.contains("connection_timeout, upstream: no connection within 2s"),
        "{text}"
    );
    assert!(
        text.contains(r"bad\u{7}bell\nline") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn every_size_shows_something_and_none_panics() {
    for hosts in [0, 1, 400] {
        let mut state = swing(hosts);
        for help in [false, true] {
            state.help = help;
            for (width, height) in [
                (1, 1),
                (2, 3),
                (10, 4),
                (40, 10),
                (59, 14),
                (80, 24),
                (120, 40),
                (200, 60),
                (500, 120),
            ] {
                let lines = picture(&state, PLAIN, width, height);
                if width >= 40 && !help {
                    let text = lines.join("\n");
                    assert!(text.contains("billing-bb") && text.contains("128 requests"), "{text}");
                    assert!(text.contains("HOSTS") && text.contains("q leave"), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_terminal_without_unicode_gets_none() {
    let theme = Theme {
        charset: Charset::Ascii,
        ..PLAIN
    };
    let mut state = swing(3);
    for help in [false, true] {
        state.help = help;
        let text = picture(&state, theme, 120, 40).join("\n");
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains('#'), "the sparkline is drawn\n{text}");
    }
}

#[test]
fn without_colours_there_are_none() {
    let colours = |color| {
        let theme = Theme { color, ..PLAIN };
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw::draw(&swing(3), theme, frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let reset = ratatui::style::Color::Reset;
        buffer.content().iter().any(|cell| cell.fg != reset || cell.bg != reset)
    };
    assert!(colours(true) && !colours(false));
}

#[test]
fn a_run_that_is_over_stays_until_somebody_leaves() {
    let mut state = swing(3);
    // While it ends its workers are gone already.
    state.take(look(&["a", "bb"], Some(live("bb", 6.0, 0, 0, 0))));
    state.take(look(&["a"], None));
    let text = picture(&state, PLAIN, 80, 24).join("\n");
    assert!(
        text.contains("ran 5.0s, over  run 2 of 2") && text.contains("this run is over   q leave"),
        "{text}"
    );
    assert!(text.contains("api0.example.com"), "{text}");
    assert_eq!(state.press(Key::Leave), Wish::Leave);
}

#[test]
fn tab_goes_round_and_shows_nothing_of_the_run_before() {
    let mut state = swing(3);
    assert_eq!(state.press(Key::Next), Wish::See("a".to_owned()));
    let text = picture(&state, PLAIN, 80, 24).join("\n");
    assert!(text.contains("billing-a") && !text.contains("api0"), "{text}");
    // What was asked for before comes too late.
    state.take(look(&["a", "bb"], Some(live("bb", 6.0, 130, 3, 2))));
    assert!(state.live.is_none());
    assert_eq!(state.press(Key::Previous), Wish::See("bb".to_owned()));
    assert_eq!(State::new(look(&["a"], None)).unwrap().press(Key::Next), Wish::Nothing);
    assert!(State::new(look(&[], None)).is_none());
}

#[test]
fn hosts_are_sorted_and_scrolled_as_it_is_asked_for() {
    let mut state = swing(50);
    let shown = |state: &State| picture(state, PLAIN, 80, 24).join("\n");
    assert!(shown(&state).contains("api0."));
    state.press(Key::Down(usize::MAX));
    assert!(shown(&state).contains("api49.") && !shown(&state).contains("api0."));
    state.press(Key::Up(usize::MAX));
    state.press(Key::Sort);
    state.press(Key::Sort);
    let text = shown(&state);
    assert!(text.contains(" of 50") && text.contains("s sort (failed)"), "{text}");
    assert!(
        text.find("api1.").unwrap() < text.find("api3.").unwrap() && !text.contains("api0."),
        "{text}"
    );
}

#[test]
fn escape_leaves_the_help_first() {
    let mut state = swing(1);
    state.press(Key::Help);
    assert!(
        picture(&state, PLAIN, 80, 24)
            .join("\n")
            .contains("next run, previous run")
    );
    assert_eq!(state.press(Key::Back), Wish::Nothing);
    assert_eq!(state.press(Key::Back), Wish::Leave);
}

#[test]
fn the_sparkline_begins_with_what_was_before_somebody_looked() {
    let state = State::new(look(&["bb"], Some(live("bb", 4.0, 100, 1, 1)))).unwrap();
    let rates: Vec<f64> = state.beats.iter().map(|beat| beat.rate.round()).collect();
    assert_eq!(rates, [10.0; 4]);
}
