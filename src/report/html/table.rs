//! Tables of the page, and the longest of them: hosts and routes.

use super::{MOST_ROWS, bytes, duration, section};
use crate::{
    report::{document::Document, html::chart, markup::Text},
    traffic::{
        latency::Latency,
        meter::{Bytes, OTHER_HOST, Requests, Tunnels},
    },
};

/// A cell of a table.
pub(super) struct Cell {
    /// Its classes.
    class: String,
    /// What is in it, as markup.
    contents: String,
}

impl Cell {
    /// A number; zero is of no interest.
    pub(super) fn count(count: u64) -> Self {
        let class = if count == 0 { "zero" } else { "" };
        Self {
            class: class.to_owned(),
            contents: count.to_string(),
        }
    }

    /// A number that is something bad, or to be noted.
    fn notable(count: u64, class: &str) -> Self {
        let cell = Self::count(count);
        if count > 0 { cell.with(class) } else { cell }
    }

    /// Text, which may be broken into lines.
    pub(super) fn text(text: &str) -> Self {
        Self {
            class: "text".to_owned(),
            contents: Text(text).to_string(),
        }
    }

    /// Text that takes some room.
    pub(super) fn wide(text: &str) -> Self {
        Self::text(text).with("wide")
    }

    /// A value that is told in a few characters; a dash if there is none.
    fn value(value: Option<String>) -> Self {
        match value {
            Some(value) => Self {
                class: String::new(),
                contents: Text(&value).to_string(),
            },
            None => Self {
                class: "zero".to_owned(),
                contents: "–".to_owned(),
            },
        }
    }

    /// It with a further class.
    pub(super) fn with(mut self, class: &str) -> Self {
        if !self.class.is_empty() {
            self.class.push(' ');
        }
        self.class.push_str(class);
        self
    }
}

/// A table that is being written.
pub(super) struct Table {
    /// What it is about, for those who do not see it.
    caption: String,
    /// The headings; those that begin with `*` are of columns of text, those with `~` of bars.
    headings: Vec<String>,
    /// Its rows, as markup.
    rows: String,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(caption: &str, headings: &[&str]) -> Self {
        Self {
            caption: caption.to_owned(),
            headings: headings.iter().map(|heading| (*heading).to_owned()).collect(),
            rows: String::new(),
        }
    }

    /// Adds a row, whose first cell says what it is about.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push_str("<tr>");
        for (place, cell) in cells.into_iter().enumerate() {
            let class = if cell.class.is_empty() {
                String::new()
            } else {
                format!(" class=\"{}\"", cell.class)
            };
            let (begin, end) = if place == 0 {
                ("th scope=\"row\"", "th")
            } else {
                ("td", "td")
            };
            for part in ["<", begin, &class, ">", &cell.contents, "</", end, ">"] {
                self.rows.push_str(part);
            }
        }
        self.rows.push_str("</tr>\n");
    }

    /// The markup, with a line about what is not shown; none without rows.
    pub(super) fn finish(self, hidden: u64) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let caption = Text(&self.caption);
        let headings = self.headings.iter().map(|heading| match heading.split_at(1) {
            ("*", heading) => format!("<th scope=\"col\" class=\"text\">{heading}</th>"),
            ("~", heading) => format!("<th scope=\"col\" class=\"bar\">{heading}</th>"),
            _ => format!("<th scope=\"col\">{heading}</th>"),
        });
        let more = if hidden > 0 {
            format!("<p class=\"soft\">and {hidden} more; the JSON report has all that was told apart</p>\n")
        } else {
            String::new()
        };
        format!(
            "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n<caption>{caption}</caption>\n\
             <thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n{more}",
            headings.collect::<String>(),
            self.rows
        )
    }
}

/// What a host is called.
pub(super) fn label(host: &str, port: u16) -> String {
    match (host, port) {
        ("", _) => "(unreadable)".to_owned(),
        (OTHER_HOST, _) => "(other hosts)".to_owned(),
        (host, 80 | 443) => host.to_owned(),
        (host, port) if host.contains(':') => format!("[{host}]:{port}"),
        (host, port) => format!("{host}:{port}"),
    }
}

/// What a row about some traffic says.
struct Line<'a> {
    /// What it is called.
    name: String,
    /// Exchanges.
    requests: &'a Requests,
    /// Tunnels.
    tunnels: Option<&'a Tunnels>,
    /// How long it took.
    latency: Option<&'a Latency>,
    /// Wire bytes.
    bytes: &'a Bytes,
}

impl Line<'_> {
    /// Exchanges and tunnels.
    fn total(&self) -> u64 {
        self.requests.total + self.tunnels.map_or(0, |tunnels| tunnels.total)
    }
}

/// The hosts.
pub(super) fn hosts(document: &Document) -> String {
    let lines = document.hosts.iter().map(|host| Line {
        name: label(&host.name, host.port),
        requests: &host.requests,
        tunnels: host.tunnels.as_ref(),
        latency: host.latency.as_ref(),
        bytes: &host.bytes,
    });
    let table = lines_of("Hosts", &lines.collect::<Vec<_>>());
    if table.is_empty() {
        return section(
            "Hosts",
            "<p>No request came through amb. The command may ignore the proxy variables, or call only hosts in NO_PROXY.</p>\n",
        );
    }
    section("Hosts", &table)
}

/// The routes.
pub(super) fn routes(document: &Document) -> String {
    let lines = document.routes.iter().map(|route| Line {
        name: route.id.clone(),
        requests: &route.requests,
        tunnels: route.tunnels.as_ref(),
        latency: route.latency.as_ref(),
        bytes: &route.bytes,
    });
    section("Routes", &lines_of("Routes", &lines.collect::<Vec<_>>()))
}

/// The table of some traffic.
fn lines_of(what: &str, lines: &[Line<'_>]) -> String {
    let tunnels = lines.iter().any(|line| line.tunnels.is_some());
    let mut headings = vec![if what == "Hosts" { "*Host" } else { "*Route" }, "~Share", "Requests"];
    headings.extend(tunnels.then_some("Tunnels"));
    headings.extend([
        "OK", "Failed", "Refused", "Retried", "p50", "p95", "Max", "Sent", "Received",
    ]);
    let mut table = Table::new(&format!("{what}: how much, how it ended, how long it took"), &headings);
    let most = lines.iter().map(Line::total).max().unwrap_or_default();
    for line in lines.iter().take(MOST_ROWS) {
        let requests = line.requests;
        let none = Tunnels::default();
        let of_tunnels = line.tunnels.unwrap_or(&none);
        let failed = requests.failed + of_tunnels.failed + requests.denied + of_tunnels.denied;
        let bar = Cell {
            class: "bar".to_owned(),
            contents: chart::bar(line.total(), failed, most),
        };
        let mut cells = vec![Cell::text(&line.name), bar, Cell::count(requests.total)];
        cells.extend(tunnels.then(|| Cell::count(of_tunnels.total)));
        cells.push(Cell::count(requests.ok + of_tunnels.ok));
        cells.push(Cell::notable(requests.failed + of_tunnels.failed, "bad"));
        cells.push(Cell::notable(requests.denied + of_tunnels.denied, "note"));
        cells.push(Cell::notable(requests.retried, "note"));
        let latency = line.latency;
        cells.push(Cell::value(latency.map(|latency| duration(latency.p50))));
        cells.push(Cell::value(latency.map(|latency| duration(latency.p95))));
        cells.push(Cell::value(latency.map(|latency| duration(latency.max))));
        for count in [line.bytes.sent, line.bytes.received] {
            cells.push(Cell::value((count > 0).then(|| bytes(count))));
        }
        table.row(cells);
    }
    let hidden = u64::try_from(lines.len().saturating_sub(MOST_ROWS)).unwrap_or(u64::MAX);
    table
        .finish(hidden)
        .replacen("<div class=\"scroll\"", "<div class=\"scroll hosts\"", 1)
}
