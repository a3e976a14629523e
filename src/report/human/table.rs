//! The hosts as a table, or as cards where there is no room for one.

use anstyle::Style;

use crate::{
    report::{
        color::{DIM, FAILED, HEADING, NOTABLE, Stream},
        human::label::{self, Labels},
        text::{self, plural, shorten, width},
    },
    traffic::meter::{HostTraffic, Traffic},
    units::ByteSize,
};

/// Columns from which on the table has everything.
const WIDE_COLUMNS: usize = 90;

/// Columns that a host's name gets at least, if it needs them and there are others to do without.
const HOST_COLUMNS: usize = 20;

/// What stands between two columns.
const GAP: &str = "  ";

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

    /// What it says of a host, and how that is painted.
    fn cell(self, host: &HostTraffic, stream: &Stream) -> (String, Style) {
        let (requests, tunnels) = (&host.requests, &host.tunnels);
        let ok = requests.ok + tunnels.ok;
        let failed = requests.failed + tunnels.failed;
        let none = || (stream.charset.none().to_owned(), DIM);
        let number = |count: u64, style| (count.to_string(), if count == 0 { DIM } else { style });
        let bytes = |bytes: u64| match bytes {
            0 => none(),
            bytes => (ByteSize(bytes).to_string(), Style::new()),
        };
        let latency = host.latency.as_ref();
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
            Self::Sent => bytes(host.bytes.sent),
            Self::Received => bytes(host.bytes.received),
            Self::Note => (notes(host).join(", "), NOTABLE),
        }
    }
}

/// What has no column: `2 denied`.
fn notes(host: &HostTraffic) -> Vec<String> {
    let (requests, tunnels) = (&host.requests, &host.tunnels);
    [
        (requests.denied + tunnels.denied, "denied"),
        (host.held.delayed, "delayed"),
        (requests.aborted + tunnels.aborted, "aborted"),
        (requests.cut_short, "cut short"),
        (tunnels.open_at_end, "open"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect()
}

/// The columns that say something about this traffic.
fn columns(traffic: &Traffic, wide: bool) -> Vec<Column> {
    let requests = traffic.requests.total > 0;
    let answered = traffic.latency.is_some();
    [
        (Column::Requests, requests),
        (Column::Tunnels, traffic.tunnels.total > 0),
        (Column::Ok, true),
        (Column::Failed, true),
        (Column::Retried, requests),
        (Column::P50, answered),
        (Column::P95, answered),
        (Column::Max, answered && wide),
        (Column::Sent, wide),
        (Column::Received, true),
        (Column::Note, traffic.hosts.iter().any(|host| !notes(host).is_empty())),
    ]
    .into_iter()
    .filter_map(|(column, says_something)| says_something.then_some(column))
    .collect()
}

/// The table with its heading.
pub(super) fn table(traffic: &Traffic, stream: &Stream) -> Vec<String> {
    let labels = Labels::of(traffic, stream.charset);
    let (shown, rest) = label::shown(traffic);
    let names: Vec<_> = shown.iter().map(|host| labels.of_host(host)).collect();
    let longest = names
        .iter()
        .map(|name| width(name))
        .max()
        .unwrap_or(0)
        .max(width("HOST"));
    let columns_width =
        |columns: &[(Column, usize)]| -> usize { columns.iter().map(|(_, width)| GAP.len() + width).sum() };

    let mut columns: Vec<(Column, usize)> = columns(traffic, stream.columns >= WIDE_COLUMNS)
        .into_iter()
        .map(|column| {
            let cells = shown.iter().map(|host| width(&column.cell(host, stream).0));
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
    let host_width = longest.min(room);

    let mut lines = Vec::with_capacity(shown.len() + 2);
    let heading = row(
        "HOST",
        host_width,
        &columns,
        |column| (column.heading().to_owned(), Style::new()),
        &|_, text| text.to_owned(),
    );
    lines.push(format!("{GAP}{}", stream.paint(HEADING, heading.trim_start())));
    for (host, name) in shown.iter().zip(&names) {
        let name = shorten(name, host_width, stream.charset);
        let paint = |style, text: &str| {
            if style == Style::new() {
                text.to_owned()
            } else {
                stream.paint(style, text)
            }
        };
        lines.push(row(
            &name,
            host_width,
            &columns,
            |column| column.cell(host, stream),
            &paint,
        ));
    }
    lines.extend(label::rest(&rest).map(|rest| format!("{GAP}{rest}")));
    lines
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

/// A few short lines for each host.
pub(super) fn cards(traffic: &Traffic, stream: &Stream) -> Vec<String> {
    let labels = Labels::of(traffic, stream.charset);
    let (shown, rest) = label::shown(traffic);
    let mut lines = Vec::new();
    for host in shown {
        lines.push(shorten(&labels.of_host(host), stream.columns, stream.charset));
        let (requests, tunnels) = (&host.requests, &host.tunnels);
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
        facts.extend(notes(host));
        if requests.retried > 0 {
            facts.push(format!("{} retried", requests.retried));
        }
        let separator = format!(" {} ", stream.charset.dot());
        lines.push(format!("  {}", facts.join(&separator)));
        if let Some(latency) = &host.latency {
            let duration = |duration| text::duration(duration, stream.charset);
            lines.push(format!("  p50 {} p95 {}", duration(latency.p50), duration(latency.p95)));
        }
    }
    lines.extend(label::rest(&rest));
    lines
}
