//! The hosts as a table, or as cards where there is no room for one; the routes in the same way.

use anstyle::Style;

use crate::{
    report::{
        color::{DIM, FAILED, HEADING, NOTABLE, Stream},
        human::label::{self, Labels},
        text::{self, escape, plural, shorten, width},
    },
    traffic::{
        held::Held,
        latency::Latency,
        meter::{Bytes, HostTraffic, Requests, Traffic, Tunnels, route::RouteTraffic},
    },
    units::ByteSize,
};

/// Columns from which on the table has everything.
const WIDE_COLUMNS: usize = 90;

/// Columns that a host's name gets at least, if it needs them and there are others to do without.
const HOST_COLUMNS: usize = 20;

/// What stands between two columns.
const GAP: &str = "  ";

/// What one line is about.
struct Line<'a> {
    /// What it is called.
    name: String,
    /// Exchanges.
    requests: &'a Requests,
    /// Tunnels.
    tunnels: &'a Tunnels,
    /// Wire bytes.
    bytes: &'a Bytes,
    /// What limits held back.
    held: &'a Held,
    /// How long exchanges took.
    latency: Option<&'a Latency>,
}

impl<'a> Line<'a> {
    /// The line about a host.
    fn of_host(name: String, host: &'a HostTraffic) -> Self {
        Self {
            name,
            requests: &host.requests,
            tunnels: &host.tunnels,
            bytes: &host.bytes,
            held: &host.held,
            latency: host.latency.as_ref(),
        }
    }

    /// The line about a route.
    fn of_route(route: &'a RouteTraffic, stream: &Stream) -> Self {
        Self {
            name: escape(&route.id, stream.charset),
            requests: &route.requests,
            tunnels: &route.tunnels,
            bytes: &route.bytes,
            held: &route.held,
            latency: route.latency.as_ref(),
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// Exchanges.
    Requests,
    /// Tunnels.
    Tunnels,
    /// Those that went well, of both.
    Ok,
    /// Those that did not, of both.
    Failed,
    /// Exchanges that were sent more than once.
    Retried,
    /// The median.
    P50,
    /// What 95 % did not exceed.
    P95,
    /// The longest.
    Max,
    /// Bytes to the server.
    Sent,
    /// Bytes from it.
    Received,
    /// What has no column: refusals and the like.
    Note,
}

impl Column {
    /// Its heading.
    fn heading(self) -> &'static str {
        match self {
            Self::Requests => "REQS",
            Self::Tunnels => "TUNNELS",
            Self::Ok => "OK",
            Self::Failed => "FAIL",
            Self::Retried => "RETRIED",
            Self::P50 => "P50",
            Self::P95 => "P95",
            Self::Max => "MAX",
            Self::Sent => "SENT",
            Self::Received => "RECV",
            Self::Note => "",
        }
    }

    /// What it says of a host or route, and how that is painted.
    fn cell(self, line: &Line<'_>, stream: &Stream) -> (String, Style) {
        let (requests, tunnels) = (line.requests, line.tunnels);
        let ok = requests.ok + tunnels.ok;
        let failed = requests.failed + tunnels.failed;
        let none = || (stream.charset.none().to_owned(), DIM);
        let number = |count: u64, style| (count.to_string(), if count == 0 { DIM } else { style });
        let bytes = |bytes: u64| match bytes {
            0 => none(),
            bytes => (ByteSize(bytes).to_string(), Style::new()),
        };
        let latency = line.latency;
        let duration = |duration| (text::duration(duration, stream.charset), Style::new());
        match self {
            Self::Requests => number(requests.total, Style::new()),
            Self::Tunnels => number(tunnels.total, Style::new()),
            // Nothing ended by itself, so nothing went well and nothing failed.
            Self::Ok | Self::Failed | Self::Retried if ok + failed == 0 => none(),
            Self::Ok => number(ok, Style::new()),
            Self::Failed => number(failed, FAILED),
            Self::Retried => number(requests.retried, NOTABLE),
            Self::P50 => latency.map_or_else(none, |latency| duration(latency.p50)),
            Self::P95 => latency.map_or_else(none, |latency| duration(latency.p95)),
            Self::Max => latency.map_or_else(none, |latency| duration(latency.max)),
            Self::Sent => bytes(line.bytes.sent),
            Self::Received => bytes(line.bytes.received),
            Self::Note => (notes(line).join(", "), NOTABLE),
        }
    }
}

/// What has no column: `2 denied`.
fn notes(line: &Line<'_>) -> Vec<String> {
    let (requests, tunnels) = (line.requests, line.tunnels);
    [
        (requests.denied + tunnels.denied, "denied"),
        (line.held.delayed, "delayed"),
        (requests.aborted + tunnels.aborted, "aborted"),
        (requests.cut_short, "cut short"),
        (tunnels.open_at_end, "open"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect()
}

/// The columns that say something about these lines.
fn columns(lines: &[Line<'_>], wide: bool) -> Vec<Column> {
    let requests = lines.iter().any(|line| line.requests.total > 0);
    let answered = lines.iter().any(|line| line.latency.is_some());
    [
        (Column::Requests, requests),
        (Column::Tunnels, lines.iter().any(|line| line.tunnels.total > 0)),
        (Column::Ok, true),
        (Column::Failed, true),
        (Column::Retried, requests),
        (Column::P50, answered),
        (Column::P95, answered),
        (Column::Max, answered && wide),
        (Column::Sent, wide),
        (Column::Received, true),
        (Column::Note, lines.iter().any(|line| !notes(line).is_empty())),
    ]
    .into_iter()
    .filter_map(|(column, says_something)| says_something.then_some(column))
    .collect()
}

/// What the tables have in common, so that their columns stand below each other.
struct Layout {
    /// How wide names are.
    name: usize,
    /// The columns, each with its width.
    columns: Vec<(Column, usize)>,
}

impl Layout {
    /// The one that suits these lines and headings.
    fn of(lines: &[Line<'_>], headings: &[&str], stream: &Stream) -> Self {
        let names = lines.iter().map(|line| width(&line.name));
        let longest = names
            .chain(headings.iter().map(|heading| width(heading)))
            .max()
            .unwrap_or(0);
        let columns_width =
            |columns: &[(Column, usize)]| -> usize { columns.iter().map(|(_, width)| GAP.len() + width).sum() };
        let mut columns: Vec<(Column, usize)> = columns(lines, stream.columns >= WIDE_COLUMNS)
            .into_iter()
            .map(|column| {
                let cells = lines.iter().map(|line| width(&column.cell(line, stream).0));
                (column, cells.max().unwrap_or(0).max(width(column.heading())))
            })
            .collect();
        // What can best be done without goes first, until names are told apart.
        for spare in [
            Column::Sent,
            Column::Max,
            Column::Retried,
            Column::P50,
            Column::Received,
            Column::Note,
        ] {
            let room = stream.columns.saturating_sub(GAP.len() + columns_width(&columns));
            if room >= longest.min(HOST_COLUMNS) {
                break;
            }
            columns.retain(|(column, _)| *column != spare);
        }
        let room = stream
            .columns
            .saturating_sub(GAP.len() + columns_width(&columns))
            .max(8);
        Self {
            name: longest.min(room),
            columns,
        }
    }

    /// A table with its heading.
    fn table(&self, heading: &str, lines: &[Line<'_>], stream: &Stream) -> Vec<String> {
        let heading = row(
            heading,
            self.name,
            &self.columns,
            |column| (column.heading().to_owned(), Style::new()),
            &|_, text| text.to_owned(),
        );
        let paint = |style, text: &str| {
            if style == Style::new() {
                text.to_owned()
            } else {
                stream.paint(style, text)
            }
        };
        let heading = format!("{GAP}{}", stream.paint(HEADING, heading.trim_start()));
        let rows = lines.iter().map(|line| {
            let name = shorten(&line.name, self.name, stream.charset);
            row(
                &name,
                self.name,
                &self.columns,
                |column| column.cell(line, stream),
                &paint,
            )
        });
        std::iter::once(heading).chain(rows).collect()
    }
}

/// The table of hosts, and that of routes below it if there are any.
pub(super) fn table(traffic: &Traffic, stream: &Stream) -> Vec<String> {
    let (mut lines, hosts, rest) = lines(traffic, stream);
    let headings: &[&str] = if lines.len() > hosts {
        &["HOST", "ROUTE"]
    } else {
        &["HOST"]
    };
    let layout = Layout::of(&lines, headings, stream);
    let routes = lines.split_off(hosts);
    let mut text = layout.table("HOST", &lines, stream);
    text.extend(rest.map(|rest| format!("{GAP}{rest}")));
    if !routes.is_empty() {
        text.push(String::new());
        text.extend(layout.table("ROUTE", &routes, stream));
        text.extend(label::rest_of_routes(traffic).map(|rest| format!("{GAP}{rest}")));
    }
    text
}

/// The lines about hosts and behind them those about routes, how many the first are, and what is said of hosts that have none.
fn lines<'a>(traffic: &'a Traffic, stream: &Stream) -> (Vec<Line<'a>>, usize, Option<String>) {
    let labels = Labels::of(traffic, stream.charset);
    let (shown, rest) = label::shown(traffic);
    let hosts = shown.iter().map(|host| Line::of_host(labels.of_host(host), host));
    let routes = label::shown_routes(traffic).map(|route| Line::of_route(route, stream));
    (hosts.chain(routes).collect(), shown.len(), label::rest(&rest))
}

/// One line of the table: numbers to the right, names and notes to the left.
fn row(
    name: &str,
    host_width: usize,
    columns: &[(Column, usize)],
    cell: impl Fn(Column) -> (String, Style),
    paint: &dyn Fn(Style, &str) -> String,
) -> String {
    let mut line = format!("{GAP}{name}{}", " ".repeat(host_width.saturating_sub(width(name))));
    for (column, column_width) in columns {
        let (text, style) = cell(*column);
        if text.is_empty() {
            continue;
        }
        line.push_str(GAP);
        if *column != Column::Note {
            line.push_str(&" ".repeat(column_width.saturating_sub(width(&text))));
        }
        line.push_str(&paint(style, &text));
    }
    line
}

/// A few short lines for each host, and for each route below them.
pub(super) fn cards(traffic: &Traffic, stream: &Stream) -> Vec<String> {
    let (lines, hosts, rest) = lines(traffic, stream);
    let (hosts, routes) = lines.split_at(hosts);
    let mut text: Vec<String> = hosts.iter().flat_map(|line| card("", line, stream)).collect();
    text.extend(rest);
    text.extend(routes.iter().flat_map(|line| card("route ", line, stream)));
    text.extend(label::rest_of_routes(traffic));
    text
}

/// A few short lines for one of them; `kind` stands before its name.
fn card(kind: &str, line: &Line<'_>, stream: &Stream) -> Vec<String> {
    let mut text = vec![shorten(&format!("{kind}{}", line.name), stream.columns, stream.charset)];
    let (requests, tunnels) = (line.requests, line.tunnels);
    let ok = requests.ok + tunnels.ok;
    let failed = requests.failed + tunnels.failed;
    let mut facts = Vec::new();
    if requests.total == 0 {
        facts.push(plural(tunnels.total, "tunnel"));
    } else if tunnels.total > 0 {
        facts.push(format!("{} req, {}", requests.total, plural(tunnels.total, "tunnel")));
    }
    if ok > 0 {
        facts.push(format!("{ok} ok"));
    }
    if failed > 0 {
        facts.push(stream.paint(FAILED, &format!("{failed} FAILED")));
    }
    facts.extend(notes(line));
    if requests.retried > 0 {
        facts.push(format!("{} retried", requests.retried));
    }
    let separator = format!(" {} ", stream.charset.dot());
    text.push(format!("  {}", facts.join(&separator)));
    if let Some(latency) = line.latency {
        let duration = |duration| text::duration(duration, stream.charset);
        text.push(format!("  p50 {} p95 {}", duration(latency.p50), duration(latency.p95)));
    }
    text
}
