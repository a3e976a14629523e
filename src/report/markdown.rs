//! The report as Markdown, for people who look at a pull request or a job: made of the JSON report, so that an old one can be
//! shown as well.
//!
//! Whatever is in it comes from clients and servers, and is put where Markdown and HTML mean nothing.

mod table;

use std::time::Duration;

use serde_json::Value;

use self::table::{Table, folded, push};
use crate::{
    report::text::{self, Charset, escape, plural},
    units::ByteSize,
};

/// Rows of a table where there is not all the room that it takes.
const MOST_ROWS: usize = 20;

/// Room that is kept for the line about what was left out, in bytes.
const ROOM_FOR_NOTE: usize = 200;

/// The report of at most `limit` bytes. Tables that do not fit are left out as a whole, and a line at the end says so.
/// `usize::MAX` is for files, which get every row.
pub fn render(document: &Value, limit: usize) -> String {
    let most = if limit == usize::MAX { usize::MAX } else { MOST_ROWS };
    let mut text = format!("### {}\n\n", title(document));
    let footer = footer(document);
    let mut left_out = Vec::new();
    let parts = [
        ("the figures", figures(document)),
        ("the assertions", assertions(document, most)),
        ("the failures", failures(document, most)),
        ("the hosts", hosts(document, most)),
        ("what was denied", denied(document, most)),
        ("the warnings", warnings(document, most)),
    ];
    for (name, part) in parts {
        if part.is_empty() {
            continue;
        }
        let room = limit.saturating_sub(text.len() + footer.len() + ROOM_FOR_NOTE);
        if part.len() <= room {
            text.push_str(&part);
        } else {
            left_out.push(name);
        }
    }
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        push(
            &mut text,
            format_args!("_There was no room for {left_out}; the JSON report has all._\n\n"),
        );
    }
    if text.len() + footer.len() <= limit {
        text.push_str(&footer);
    }
    if text.len() > limit { String::new() } else { text }
}

/// The whole story, without Markdown around it.
fn title(document: &Value) -> String {
    let name = code(string(&document["run"]["name"])).replace("\\|", "|");
    let (failed, of) = failed_assertions(document);
    let requests = &document["totals"]["requests"];
    let tunnels = &document["totals"]["tunnels"];
    let lost = number(&requests["failed"]) + number(&tunnels["failed"]);
    let code = document["exit"]["code"].as_i64().unwrap_or_default();
    let what = if failed > 0 {
        format!("{failed} of {} failed", plural(of, "assertion"))
    } else if code != 0 {
        fate(document)
    } else if lost > 0 {
        format!("{lost} failed")
    } else {
        volume(document)
    };
    let nothing = number(&requests["total"]) + number(&tunnels["total"]) == 0;
    let mark = match (failed > 0 || code != 0, lost > 0 || nothing) {
        (true, _) => "❌",
        (false, true) => "⚠️",
        (false, false) => "✅",
    };
    format!("{mark} amb · {name} — {what}")
}

/// How many assertions failed that count, and how many there are.
fn failed_assertions(document: &Value) -> (u64, u64) {
    let all = list(&document["assertions"]);
    let failed = all
        .iter()
        .filter(|it| it["passed"] == false && it["severity"] == "error")
        .count();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    (count(failed), count(all.len()))
}

/// `128 requests and 3 tunnels to 4 hosts`.
fn volume(document: &Value) -> String {
    let requests = number(&document["totals"]["requests"]["total"]);
    let tunnels = number(&document["totals"]["tunnels"]["total"]);
    let hosts = u64::try_from(list(&document["hosts"]).len()).unwrap_or(u64::MAX);
    match (requests, tunnels) {
        (0, 0) => "no request came through".to_owned(),
        (requests, 0) => format!("{} to {}", plural(requests, "request"), plural(hosts, "host")),
        (0, tunnels) => format!("{} to {}", plural(tunnels, "tunnel"), plural(hosts, "host")),
        (requests, tunnels) => format!(
            "{} and {} to {}",
            plural(requests, "request"),
            plural(tunnels, "tunnel"),
            plural(hosts, "host")
        ),
    }
}

/// How amb ended, and the command if that was otherwise.
fn fate(document: &Value) -> String {
    let code = document["exit"]["code"].as_i64().unwrap_or_default();
    let child = &document["child"];
    match (child["exit_code"].as_i64(), child["signal_name"].as_str()) {
        (Some(own), _) if own == code => format!("exit {code}"),
        (Some(own), _) => format!("exit {code} (command exited {own})"),
        (None, Some(signal)) => format!("exit {code} (command killed by {})", plain(signal)),
        (None, None) => format!("exit {code}"),
    }
}

/// The figures of the whole run.
fn figures(document: &Value) -> String {
    let totals = &document["totals"];
    let (requests, tunnels, latency) = (&totals["requests"], &totals["tunnels"], &totals["latency_seconds"]);
    let ran = seconds(&document["run"]["duration_seconds"]).unwrap_or_default();
    let mut table = Table::of(&[
        ("Requests", true),
        ("Tunnels", true),
        ("Failed", true),
        ("Retried", true),
        ("Denied", true),
        ("p50", true),
        ("p95", true),
        ("Received", true),
        ("Ran", true),
    ]);
    table.row(&[
        number(&requests["total"]).to_string(),
        number(&tunnels["total"]).to_string(),
        bold(number(&requests["failed"]) + number(&tunnels["failed"])),
        number(&requests["retried"]).to_string(),
        bold(number(&requests["denied"]) + number(&tunnels["denied"])),
        time(&latency["p50"]),
        time(&latency["p95"]),
        bytes(&totals["bytes"]["received"]),
        text::duration(ran, Charset::Unicode),
    ]);
    table.text
}

/// What was asserted, what failed first.
fn assertions(document: &Value, most: usize) -> String {
    let mut all: Vec<&Value> = list(&document["assertions"]).iter().collect();
    if all.is_empty() {
        return String::new();
    }
    all.sort_by_key(|it| it["passed"] == true);
    let mut table = Table::of(&[("", false), ("Assertion", false), ("Expression", false), ("Got", false)]);
    for assertion in all.iter().take(most) {
        let mark = match (&assertion["passed"], string(&assertion["severity"])) {
            (Value::Bool(true), _) => "✅",
            (_, "warning") => "⚠️",
            _ => "❌",
        };
        let (name, expression) = (string(&assertion["name"]), string(&assertion["expression"]));
        let name = if name == expression { String::new() } else { code(name) };
        table.row(&[mark.to_owned(), name, code(expression), got(assertion)]);
    }
    table.rest(all.len(), most, "assertions");
    table.text
}

/// What an assertion came to.
pub(super) fn got(assertion: &Value) -> String {
    let actual = list(&assertion["actual"]);
    let shown = |it: &Value| plain(string(&it["shown"]));
    let values = match actual {
        [] if assertion["passed"] == true => "true".to_owned(),
        [] if assertion["result"] == "failed" => "false".to_owned(),
        [] => String::new(),
        [only] => shown(only),
        several => {
            let named = several
                .iter()
                .map(|it| format!("{} {}", code(string(&it["of"])), shown(it)));
            named.collect::<Vec<_>>().join(", ")
        }
    };
    let parts = [values, plain(string(&assertion["detail"]))];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// The hosts.
fn hosts(document: &Value, most: usize) -> String {
    let all = list(&document["hosts"]);
    if all.is_empty() {
        return String::new();
    }
    let tunnels = all.iter().any(|host| !host["tunnels"].is_null());
    let mut columns = vec![("Host", false), ("Requests", true)];
    columns.extend(tunnels.then_some(("Tunnels", true)));
    columns.extend(["OK", "Failed", "Denied", "Retried", "p50", "p95", "Max", "Received"].map(|name| (name, true)));
    let mut table = Table::of(&columns);
    for host in all.iter().take(most) {
        let (requests, tunnelled, latency) = (&host["requests"], &host["tunnels"], &host["latency_seconds"]);
        let sum = |key: &str| number(&requests[key]) + number(&tunnelled[key]);
        let mut row = vec![code(&place(host)), number(&requests["total"]).to_string()];
        row.extend(tunnels.then(|| number(&tunnelled["total"]).to_string()));
        row.extend([
            sum("ok").to_string(),
            bold(sum("failed")),
            bold(sum("denied")),
            number(&requests["retried"]).to_string(),
            time(&latency["p50"]),
            time(&latency["p95"]),
            time(&latency["max"]),
            bytes(&host["bytes"]["received"]),
        ]);
        table.row(&row);
    }
    table.rest(all.len(), most, "hosts");
    table.folded(&format!("Hosts ({})", all.len()))
}

/// What failed.
fn failures(document: &Value, most: usize) -> String {
    let all = list(&document["failures"]);
    groups(all, most, "Failures", "failures")
}

/// Groups of failures as a table.
fn groups(all: &[Value], most: usize, title: &str, noun: &str) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::of(&[("", true), ("Request", false), ("What", false), ("Why", false)]);
    for group in all.iter().take(most) {
        let asked = format!(
            "{} {}{}",
            string(&group["method"]),
            place(group),
            string(&group["path"])
        );
        table.row(&[
            format!("{}×", number(&group["count"])),
            code(asked.trim_start()),
            code(string(&group["error_type"])),
            plain(string(&group["detail"])),
        ]);
    }
    table.rest(all.len(), most, noun);
    let count: u64 = all.iter().map(|group| number(&group["count"])).sum();
    table.folded(&format!("{title} ({count})"))
}

/// What was denied, and what would let it pass.
fn denied(document: &Value, most: usize) -> String {
    let mut text = groups(list(&document["denials"]), most, "Denied", "refusals");
    let decisions = list(&document["egress"]["decisions"]).iter();
    let refused = decisions.filter(|it| matches!(string(&it["action"]), "deny" | "would-deny") && it["host"] != "");
    let mut places: Vec<String> = refused.map(place_with_port).collect();
    places.sort();
    places.dedup();
    if places.is_empty() {
        return text;
    }
    let more = places.len().saturating_sub(most);
    places.truncate(most);
    let entries: Vec<String> = places
        .iter()
        .map(|place| format!("{:?}", escape(place, Charset::Ascii)))
        .collect();
    let more = if more > 0 {
        format!("   # and {more} more")
    } else {
        String::new()
    };
    // No host has three backticks in it that could end the block: they would be escaped in the name.
    let list = entries.join(", ").replace('`', "\\u0060");
    text.push_str(&folded(
        "To allow what was denied",
        &format!("```toml\n[egress]\nallow = [{list}]{more}\n```\n"),
    ));
    text
}

/// What the user should know of.
fn warnings(document: &Value, most: usize) -> String {
    let all = list(&document["warnings"]);
    let mut text = String::new();
    for warning in all.iter().take(most) {
        let message = plain(string(&warning["message"]));
        push(&mut text, format_args!("- ⚠️ {message}\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Where it comes from.
fn footer(document: &Value) -> String {
    let mut parts = vec![format!("amb {}", plain(string(&document["amb"]["version"])))];
    if let Some(policy) = document["run"]["policy"]["id"].as_str() {
        parts.push(format!("policy {}", plain(policy)));
    }
    parts.push(format!("run {}", plain(string(&document["run"]["id"]))));
    parts.push(fate(document));
    format!("<sub>{}</sub>\n", parts.join(" · "))
}

/// A host and port of the report; the port where it is not one of the usual two.
fn place(of: &Value) -> String {
    match number(&of["port"]) {
        0 | 80 | 443 => bracketed(of),
        _ => place_with_port(of),
    }
}

/// The same with its port in any case.
fn place_with_port(of: &Value) -> String {
    format!("{}:{}", bracketed(of), number(&of["port"]))
}

/// A host of the report, an IPv6 address in brackets.
fn bracketed(of: &Value) -> String {
    match string(&of["host"]) {
        "" => "(unreadable)".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

/// A list of the report; none is empty.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text of the report; none is empty.
fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A number of the report; none is zero.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A duration of the report.
fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

/// A duration of the report for people.
fn time(value: &Value) -> String {
    seconds(value).map_or_else(|| "–".to_owned(), |time| text::duration(time, Charset::Unicode))
}

/// A size of the report for people.
fn bytes(value: &Value) -> String {
    ByteSize(number(value)).to_string()
}

/// A number that should be zero.
fn bold(number: u64) -> String {
    if number == 0 {
        "0".to_owned()
    } else {
        format!("**{number}**")
    }
}

/// Text as code, also inside a table: nothing in it is Markdown, and nobody is mentioned by it.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let text = escape(text, Charset::Unicode).replace('|', "\\|");
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if text.starts_with('`') || text.ends_with('`') {
        format!("{fence} {text} {fence}")
    } else {
        format!("{fence}{text}{fence}")
    }
}

/// Text in which nothing is Markdown or HTML, and nobody is mentioned.
fn plain(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in escape(text, Charset::Unicode).chars() {
        match character {
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '&' => written.push_str("&amp;"),
            '@' => written.push_str("&#64;"),
            '#' => written.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => {
                written.push('\\');
                written.push(character);
            }
            character => written.push(character),
        }
    }
    written
}

#[cfg(test)]
pub(super) mod tests;
