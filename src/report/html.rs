//! The report as one HTML file: no script, nothing loaded from anywhere, readable on a phone, light or dark as the reader has it.
//!
//! Each chart has a table beside it with the same figures. What hosts and URLs are called is text, whatever is in it, and the
//! page's own policy forbids scripts on top of that.

mod chart;
mod table;

use std::time::Duration;

use self::table::{Cell, Table};
use crate::{
    report::{
        document::{Document, Group},
        markup::Text,
        text::{self, Charset, plural},
    },
    traffic::{held::Held, latency::Latency},
    units::ByteSize,
};

/// How the page looks.
const STYLE: &str = include_str!("html/style.css");

/// Rows of a table at most; the JSON report has more.
const MOST_ROWS: usize = 100;

/// The page.
pub(super) fn render(document: &Document) -> String {
    let name = Text(&document.run.name);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"amb {}\">\n\
         <title>{name} · amb</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        Text(&document.amb.version)
    );
    for part in [
        header(document),
        tiles(document),
        "<main>\n".to_owned(),
        assertions(document),
        warnings(document),
        chart::pair(&chart::timeline(document), &chart::latencies(document)),
        table::hosts(document),
        table::routes(document),
        groups("Failures", &document.failures, document.failures_beyond),
        groups("Refused by amb", &document.denials, document.denials_beyond),
        egress(document),
        resilience(document),
        "</main>\n".to_owned(),
        footer(document),
    ] {
        page.push_str(&part);
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// A duration for people.
fn duration(duration: Duration) -> String {
    text::duration(duration, Charset::Unicode)
}

/// A size for people.
fn bytes(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// A section with a heading; none without contents.
fn section(heading: &str, contents: &str) -> String {
    if contents.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{heading}</h2>\n{contents}</section>\n")
}

/// What ran, and how it ended.
fn header(document: &Document) -> String {
    let (run, child) = (&document.run, &document.child);
    let fate = match (child.exit_code, &child.signal_name) {
        (Some(code), _) => format!("the command exited with {code}"),
        (None, Some(signal)) => format!("the command was killed by {signal}"),
        (None, None) if child.outcome == "absent" => "there was no command".to_owned(),
        (None, None) => format!("the command: {}", child.outcome.replace('_', " ")),
    };
    let (class, badge) = match document.exit.code {
        0 => ("good", "✓ exit 0".to_owned()),
        code => ("bad", format!("✗ exit {code}")),
    };
    let moment = run.started_at.replace('T', " ");
    let merged = match run.merged.len() {
        0 => String::new(),
        runs => format!(" · {} together", plural(u64::try_from(runs).unwrap_or(u64::MAX), "run")),
    };
    let command = match run.command.as_slice() {
        [] => String::new(),
        words => format!("<p class=\"command soft\">{}</p>\n", Text(&words.join(" "))),
    };
    format!(
        "<header>\n<h1>{} <span class=\"badge {class}\">{badge}</span></h1>\n{command}\
         <p class=\"soft\"><time datetime=\"{1}\">{2} UTC</time> · ran {3} · {4}{merged}</p>\n</header>\n",
        Text(&run.name),
        Text(&run.started_at),
        Text(moment.split(['.', 'Z']).next().unwrap_or_default()),
        duration(run.duration),
        Text(&fate),
    )
}

/// The figures that are looked for first.
fn tiles(document: &Document) -> String {
    let totals = &document.totals;
    let (requests, tunnels) = (&totals.requests.counts, &totals.tunnels);
    let mut tiles = vec![("Requests", requests.total.to_string(), "")];
    if tunnels.total > 0 {
        tiles.push(("Tunnels", tunnels.total.to_string(), ""));
    }
    for (what, count, class) in [
        ("Failed", requests.failed + tunnels.failed, "bad"),
        ("Refused", requests.denied + tunnels.denied, "note"),
        ("Retried", requests.retried, "note"),
    ] {
        tiles.push((what, count.to_string(), if count > 0 { class } else { "" }));
    }
    if let Some(latency) = &totals.latency {
        tiles.push(("Median", duration(latency.p50), ""));
        tiles.push(("95 % within", duration(latency.p95), ""));
    }
    tiles.push(("Sent", bytes(totals.bytes.sent), ""));
    tiles.push(("Received", bytes(totals.bytes.received), ""));
    let each = tiles
        .iter()
        .map(|(what, value, class)| format!("<div><dt>{what}</dt><dd class=\"{class}\">{}</dd></div>\n", Text(value)));
    format!("<dl class=\"tiles\">\n{}</dl>\n", each.collect::<String>())
}

/// What was asserted, what did not hold first.
fn assertions(document: &Document) -> String {
    let mut table = Table::new(
        "What was asserted of the run",
        &["*Assertion", "*Result", "*Expression", "*Got"],
    );
    let (held, failed): (Vec<_>, Vec<_>) = document.assertions.iter().partition(|one| one.passed);
    for one in failed.iter().chain(&held).take(MOST_ROWS) {
        let (class, result) = match (one.passed, one.fails()) {
            (true, _) => ("good", "✓ held".to_owned()),
            (false, true) => ("bad", format!("✗ {}", one.result.replace('_', " "))),
            (false, false) => ("note", format!("! {}, only a warning", one.result.replace('_', " "))),
        };
        table.row([
            Cell::text(&one.name),
            Cell::text(&result).with(class),
            Cell::text(&one.expression),
            Cell::text(&one.got()),
        ]);
    }
    let hidden = u64::try_from(document.assertions.len().saturating_sub(MOST_ROWS)).unwrap_or(u64::MAX);
    section("Assertions", &table.finish(hidden))
}

/// What the user should know of.
fn warnings(document: &Document) -> String {
    let each = document.warnings.iter().take(MOST_ROWS);
    let mut items = String::new();
    for warning in each {
        items.extend(["<li>", &Text(&warning.message).to_string(), "</li>\n"]);
    }
    if let Some(leftovers) = document.leftovers.filter(|count| *count > 0) {
        let processes =
            plural(u64::try_from(leftovers).unwrap_or(u64::MAX), "process").replace("processs", "processes");
        items.extend(["<li>", &processes, " of the command lived on, without the proxy</li>\n"]);
    }
    let list = if items.is_empty() {
        items
    } else {
        format!("<ul class=\"plain\">\n{items}</ul>\n")
    };
    section("<span class=\"note\">Warnings</span>", &list)
}

/// What failed, or what was refused.
fn groups(heading: &str, groups: &[Group], beyond: u64) -> String {
    let mut table = Table::new(
        &format!("{heading}: how often, what was asked for, what happened"),
        &["Count", "*Request", "*What", "*First", "*In words"],
    );
    for group in groups.iter().take(MOST_ROWS) {
        let target = format!(
            "{} {}{}",
            group.method,
            table::label(&group.host, group.port),
            group.path
        );
        table.row([
            Cell::count(group.count),
            Cell::text(target.trim()),
            Cell::text(&format!("{} ({})", group.error_type, group.blame)),
            Cell::text(group.first_at.get(11..19).unwrap_or(&group.first_at)),
            Cell::wide(&group.detail),
        ]);
    }
    let hidden: u64 = groups.iter().skip(MOST_ROWS).map(|group| group.count).sum();
    section(heading, &table.finish(hidden.saturating_add(beyond)))
}

/// What the rules of egress said.
fn egress(document: &Document) -> String {
    let Some(egress) = &document.egress else {
        return String::new();
    };
    let mut table = Table::new("What the rules of egress said", &["*Place", "*Said", "*By", "Count"]);
    for decision in egress.decisions.iter().take(MOST_ROWS) {
        let (class, said) = match &*decision.action {
            "deny" => ("bad", "denied"),
            "would-deny" => ("note", "would be denied"),
            "allow" => ("", "allowed"),
            other => ("", other),
        };
        let place = if decision.host.is_empty() {
            "other places".to_owned()
        } else {
            table::label(&decision.host, decision.port)
        };
        table.row([
            Cell::text(&place),
            Cell::text(said).with(class),
            Cell::text(&decision.rule),
            Cell::count(decision.count),
        ]);
    }
    let hidden = egress.decisions.len().saturating_sub(MOST_ROWS);
    let mode = Text(&egress.mode);
    section(
        &format!("Egress: {mode}"),
        &table.finish(u64::try_from(hidden).unwrap_or(u64::MAX)),
    )
}

/// What retries, limits and circuit breakers did.
fn resilience(document: &Document) -> String {
    let mut facts = Vec::new();
    if let Some(retries) = &document.totals.retries {
        facts.extend([
            ("Requests that were tried again".to_owned(), retries.retried),
            ("Times they were".to_owned(), retries.retries),
            ("Those that ended well only by it".to_owned(), retries.rescued),
            (
                "Requests that were sent a second time while unanswered".to_owned(),
                retries.hedged,
            ),
        ]);
    }
    if let Some(Held {
        delayed,
        rejected,
        waited,
    }) = &document.totals.held
    {
        let what = format!("Requests that limits delayed, for {} in all", duration(*waited));
        facts.extend([(what, *delayed), ("Requests that limits refused".to_owned(), *rejected)]);
    }
    for circuit in document.breakers.circuits.iter().take(MOST_ROWS) {
        let name = &circuit.name;
        facts.push((format!("Times that the circuit of {name} opened"), circuit.opened));
        facts.push((
            format!("Requests to {name} that were answered at once"),
            circuit.rejected,
        ));
    }
    let mut table = Table::new("What retries, limits and circuit breakers did", &["*What", "Count"]);
    for (what, count) in facts.iter().filter(|(_, count)| *count > 0) {
        table.row([Cell::text(what), Cell::count(*count)]);
    }
    section("Resilience", &table.finish(0))
}

/// Where this comes from.
fn footer(document: &Document) -> String {
    let run = &document.run;
    let sources = match run.config.sources.as_slice() {
        [] => String::new(),
        sources => format!(" · configured by {}", Text(&sources.join(", "))),
    };
    let policy = run
        .policy
        .as_ref()
        .map_or_else(String::new, |policy| format!(" · policy {}", Text(&policy.id)));
    format!(
        "<footer><p>amb {} · run {}{policy}{sources}</p></footer>\n",
        Text(&document.amb.version),
        Text(&run.id)
    )
}

/// The percentiles that are marked in charts, with their names.
fn marks(latency: &Latency) -> [(&'static str, Duration); 3] {
    [("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        human::tests::{nothing_seen, summary},
        json::tests::everything,
    };

    /// Puts this into every text of a JSON value, but for those that readers go by.
    fn infect(value: &mut serde_json::Value, poison: &str) {
        match value {
            serde_json::Value::String(text) => text.push_str(poison),
            serde_json::Value::Array(all) => all.iter_mut().for_each(|one| infect(one, poison)),
            serde_json::Value::Object(all) => {
                for (key, one) in all {
                    if !["schema_version", "state"].contains(&key.as_str()) {
                        infect(one, poison);
                    }
                }
            }
            _ => {}
        }
    }

    #[test]
    fn nothing_that_was_seen_becomes_markup() {
        let mut value = serde_json::to_value(Document::of(&everything())).unwrap();
        let poison = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}";
        infect(&mut value, poison);
        let document = Document::read(value.to_string().as_bytes()).unwrap();
        let page = render(&document);
        let harmless = render(&Document::of(&everything()));
        for tag in ["<script", "<img", "</style", "</title", "<a ", "<svg"] {
            assert_eq!(page.matches(tag).count(), harmless.matches(tag).count(), "{tag}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img"));
        assert!(!page.contains('\u{202e}'));
        assert!(!page.contains("onerror=alert(2)>"));
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        let page = render(&Document::of(&everything()));
        for outside in [
            "http://", "https://", "src=", "href=", "url(", "@import", "<script", "onclick",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn each_chart_is_told_in_words_and_in_a_table() {
        let page = render(&Document::of(&everything()));
        assert_eq!(page.matches("<figure").count(), 2);
        let charts = page.matches("<svg role=\"img\" aria-label=\"").count();
        assert!(charts >= 2, "{charts}");
        assert_eq!(
            page.matches("<svg").count(),
            charts + page.matches("<svg aria-hidden=\"true\"").count()
        );
        assert_eq!(page.matches("<table").count(), page.matches("<caption>").count());
        assert!(page.contains("<details>\n<summary>As a table</summary>"));
    }

    #[test]
    fn a_run_without_traffic_is_a_page_too() {
        let page = render(&Document::of(&nothing_seen()));
        assert!(page.contains("No request came through amb"));
        assert!(!page.contains("<figure"));
        // Reports before schema 1.3 have no histograms and no timeline.
        let page = render(&Document::of(&summary()));
        assert!(page.contains("api.stripe.com") && !page.contains("NaN"));
    }

    #[test]
    fn every_element_that_is_opened_is_closed() {
        for document in [everything(), nothing_seen(), summary()].map(|summary| Document::of(&summary)) {
            let page = render(&document);
            for tag in [
                "html", "head", "body", "section", "table", "thead", "tbody", "tr", "figure", "svg", "div", "ul", "dl",
                "details", "main", "header", "footer", "p", "h1", "h2", "span", "rect",
            ] {
                let opened = page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
                let closed = page.matches(&format!("</{tag}>")).count();
                assert_eq!(opened, closed, "{tag}");
            }
        }
    }
}
