//! What people see of a report in Markdown.

use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::json;

use super::*;
use crate::{
    report::{
        document::Document,
        human::tests::{nothing_seen, summary},
    },
    traffic::{
        assertion::{Actual, Assertion, Figure, Severity, Verdict},
        summary::{ExitReason, Summary},
    },
};

/// The report on a run, which is rendered.
fn document_of(summary: &Summary) -> Value {
    Document::of(summary).to_value().unwrap()
}

/// An assertion that did or did not hold.
pub(in crate::report) fn asserted(name: &str, expression: &str, passed: bool, value: u64) -> Assertion {
    Assertion {
        name: name.to_owned(),
        expression: expression.to_owned(),
        place: None,
        severity: Severity::Error,
        outcome: if passed { Verdict::Passed } else { Verdict::Failed },
        actual: vec![Actual {
            of: "requests.total".to_owned(),
            value: Figure::Count(value),
        }],
        detail: None,
        aborted: false,
    }
}

/// The run of these tests, of which something does not hold.
fn failed() -> Summary {
    let mut summary = summary();
    summary.assertions = vec![
        asserted("calls-stripe", "hosts['api.stripe.com'].requests.total >= 1", true, 90),
        asserted("no-failures", "requests.failed == 0", false, 1),
    ];
    summary.exit.code = 99;
    summary.exit.reason = ExitReason::AssertionFailed;
    summary
}

/// What a reader makes of it: the text of each cell of its tables, and how many there are of other things.
fn read(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut cells, mut others) = (Vec::new(), Vec::new());
    let mut cell: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableCell) => cell = Some(String::new()),
            Event::End(pulldown_cmark::TagEnd::TableCell) => cells.extend(cell.take()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(cell) = &mut cell {
                    cell.push_str(&text);
                }
            }
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => others.push("link".to_owned()),
            Event::Html(html) | Event::InlineHtml(html) => others.push(html.trim().to_owned()),
            _ => {}
        }
    }
    (cells, others)
}

#[test]
fn a_run_is_told_as_tables_with_what_failed_first() {
    let text = render(&document_of(&failed()), usize::MAX);
    let expected = "\
### ❌ amb · `billing` — 1 of 2 assertions failed

| Requests | Tunnels | Failed | Retried | Denied | p50 | p95 | Received | Ran |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|
| 128 | 0 | **1** | 4 | **2** | 51ms | 310ms | 4 MiB | 33.4s |

|  | Assertion | Expression | Got |
|---|---|---|---|
| ❌ | `no-failures` | `requests.failed == 0` | 1 |
| ✅ | `calls-stripe` | `hosts['api.stripe.com'].requests.total >= 1` | 90 |

<details><summary>Failures (1)</summary>

|  | Request | What | Why |
|---:|---|---|---|
| 1× | `POST soap.example.com/v1/invoices` | `connection_timeout` | no connection within 2s |

</details>

<details><summary>Hosts (3)</summary>

| Host | Requests | OK | Failed | Denied | Retried | p50 | p95 | Max | Received |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
| `api.stripe.com` | 90 | 90 | 0 | 0 | 4 | 42ms | 310ms | 1.2s | 1.8 MiB |
| `soap.example.com` | 36 | 35 | **1** | 0 | 0 | 88ms | 402ms | 803ms | 2.1 MiB |
| `telemetry.vendor.io` | 2 | 0 | 0 | **2** | 0 | – | – | – | 0 B |

</details>

<details><summary>Denied (2)</summary>

|  | Request | What | Why |
|---:|---|---|---|
| 2× | `GET telemetry.vendor.io/` | `http_request_denied` | denied by default |

</details>

<sub>amb 0.1.0 · run 01JD8ZK3V6W2Q4 · exit 99 (command exited 0)</sub>
";
    assert_eq!(text, expected);
    let (cells, _) = read(&text);
    assert!(cells.contains(&"hosts['api.stripe.com'].requests.total >= 1".to_owned()));
}

#[test]
fn a_run_in_which_all_is_well_says_so_in_its_heading() {
    let mut summary = summary();
    summary.traffic.requests.failed = 0;
    let text = render(&document_of(&summary), usize::MAX);
    assert!(
        text.starts_with("### ✅ amb · `billing` — 128 requests to 3 hosts\n"),
        "{text}"
    );
    summary.traffic.requests.failed = 2;
    let text = render(&document_of(&summary), usize::MAX);
    assert!(text.starts_with("### ⚠️ amb · `billing` — 2 failed\n"), "{text}");
    let text = render(&document_of(&nothing_seen()), usize::MAX);
    let said = "### ⚠️ amb · `billing` — no request came through\n";
    assert!(text.starts_with(said), "{text}");
}

#[test]
fn what_was_denied_comes_with_what_would_allow_it() {
    let mut document = document_of(&summary());
    let decision =
        |host: &str, port| json!({ "host": host, "port": port, "action": "would-deny", "rule": "x", "count": 1 });
    document["egress"] = json!({
        "mode": "audit",
        "decisions": [decision("b.example", 443), decision("a.example", 80), decision("::1", 80)],
    });
    let text = render(&document, usize::MAX);
    let block = "```toml\n[egress]\nallow = [\"[::1]:80\", \"a.example:80\", \"b.example:443\"]\n```";
    assert!(text.contains(block), "{text}");
}

#[test]
fn nothing_from_a_client_or_server_is_markdown() {
    let mut summary = failed();
    let hostile = "</details>|`x`|[a](http://evil)<script>@all\u{202e}\n| # ```";
    summary.traffic.failures[0].path = format!("/{hostile}");
    summary.traffic.failures[0].detail = hostile.to_owned();
    summary.traffic.hosts[0].host = hostile.to_owned();
    summary.run.name = hostile.to_owned();
    summary.assertions[1].name = hostile.to_owned();
    summary.assertions[1].actual[0].value = Figure::Text(hostile.to_owned());
    let text = render(&document_of(&summary), usize::MAX);
    let (cells, others) = read(&text);
    let shown = r"</details>|`x`|[a](http://evil)<script>@all\u{202e}\n| # ```";
    assert!(cells.contains(&shown.to_owned()), "{cells:#?}");
    assert!(cells.contains(&format!("POST soap.example.com/{shown}")), "{cells:#?}");
    let known = ["<details><summary>", "</details>", "</summary>", "<sub>", "</sub>"];
    for other in others {
        let mut rest = other.clone();
        for tag in known {
            rest = rest.replace(tag, "");
        }
        assert!(!rest.contains(['<', '>']) && other != "link", "{other}");
    }
    assert!(
        !text.contains("@all\\u{202e}\\n\\|") || text.contains("&#64;all"),
        "{text}"
    );
}

/// A run that went to a thousand hosts and failed in two hundred ways.
pub(in crate::report) fn large() -> Summary {
    let mut summary = failed();
    let traffic = &mut summary.traffic;
    let (host, failure) = (traffic.hosts[1].clone(), traffic.failures[0].clone());
    traffic.hosts = (0..1_000)
        .map(|number| {
            let mut host = host.clone();
            host.host = format!("h{number}.{}.example", "x".repeat(200));
            host
        })
        .collect();
    traffic.failures = (0..200)
        .map(|number| {
            let mut failure = failure.clone();
            failure.path = format!("/{number}/{}", "y".repeat(500));
            failure.detail = "z".repeat(1_000);
            failure
        })
        .collect();
    summary
}

#[test]
fn what_there_is_no_room_for_is_left_out_table_by_table_and_told() {
    let document = document_of(&large());
    let whole = render(&document, usize::MAX);
    assert!(whole.len() > 300_000 && !whole.contains("no room"));
    let short = render(&document, 256 << 10);
    assert!(short.contains("| `h19."), "twenty hosts are shown");
    assert!(
        !short.contains("| `h20.") && short.contains("_and 980 more hosts_"),
        "{short}"
    );
    assert!(short.contains("_and 180 more failures_") && short.contains("Failures (200)"));
    assert!(!short.contains("no room"));
    for limit in (0..60_000).step_by(371) {
        let text = render(&document, limit);
        assert!(text.len() <= limit);
        let (tables, rules) = (text.matches("\n\n|").count(), text.matches("|---").count());
        assert!(rules >= tables, "no table is torn");
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        if !text.is_empty() && !text.contains("Hosts (1000)") {
            assert!(
                text.contains("_There was no room for ") && text.contains("the hosts"),
                "{text}"
            );
        }
    }
}
