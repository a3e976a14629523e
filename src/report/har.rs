//! The requests one by one as a HAR 1.2 file, for the viewers of browsers. Kept only if such a report was asked for.
//!
//! Where amb sees requests, that is: what passes in a tunnel is no request. Heads and bodies are not kept, so that no secret is;
//! paths are redacted as everywhere. What HAR has no field for is under `_amb`.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    report::document::{Document, time},
    traffic::{Kind, Outcome, Record, Scheme, summary::Warning},
};

/// Requests that are kept.
const MOST_ENTRIES: usize = 10_000;

/// Bytes of JSON that are kept.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The requests that a run keeps for its report. Clones keep them together.
#[derive(Clone, Debug, Default)]
pub struct Keeper(Arc<Mutex<Requests>>);

/// The requests that a run has kept.
#[derive(Debug, Default)]
pub struct Requests {
    /// Each as an entry of HAR in JSON, as they ended.
    entries: Vec<Box<str>>,
    /// The bytes of all entries.
    bytes: usize,
    /// Requests beyond what is kept.
    beyond: u64,
    /// Tunnels, which are not requests.
    tunnels: u64,
}

impl Keeper {
    /// Keeps a record, if it is one of a request and there is room.
    pub fn keep(&self, record: &Record) {
        if record.kind == Kind::Tunnel {
            self.lock().tunnels += 1;
            return;
        }
        if self.lock().is_full() {
            self.lock().beyond += 1;
            return;
        }
        // Made outside of the lock, which other workers may want.
        let entry = entry(record).to_string().into_boxed_str();
        let mut requests = self.lock();
        requests.bytes += entry.len();
        requests.entries.push(entry);
    }

    /// What was kept.
    pub fn take(&self) -> Requests {
        mem::take(&mut *self.lock())
    }

    /// The requests. A panic elsewhere does not spoil them: each is put there as a whole.
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    /// Whether there is no room for more.
    fn is_full(&self) -> bool {
        self.entries.len() >= MOST_ENTRIES || self.bytes >= MOST_BYTES
    }

    /// What is to be said if not all were kept.
    pub fn warning(&self) -> Option<Warning> {
        let beyond = Some(self.beyond).filter(|beyond| *beyond > 0)?;
        let message = format!(
            "the HAR report has the first {} requests and lacks {beyond} more: there was no room for them",
            self.entries.len()
        );
        Some(Warning::new("har_requests_beyond_limit", message))
    }
}

/// The report, with a newline at its end. Entries are in the order in which they began, as viewers expect it.
pub(super) fn render(document: &Document, requests: &Requests) -> String {
    let mut entries: Vec<Value> = requests
        .entries
        .iter()
        .filter_map(|entry| serde_json::from_str(entry).ok())
        .collect();
    entries.sort_by(|a, b| a["startedDateTime"].as_str().cmp(&b["startedDateTime"].as_str()));
    let mut log = json!({
        "version": "1.2",
        "creator": { "name": "amb", "version": document.amb.version },
        "pages": [],
        "entries": entries,
        "_amb": { "run": document.run.id, "name": document.run.name, "beyond": requests.beyond, "tunnels": requests.tunnels }
    });
    if requests.beyond + requests.tunnels > 0 {
        log["comment"] = format!(
            "{} requests are left out for want of room, and {} tunnels because amb could not see into them",
            requests.beyond, requests.tunnels
        )
        .into();
    }
    format!("{:#}\n", json!({ "log": log }))
}

/// A request and its answer as an entry of HAR.
fn entry(record: &Record) -> Value {
    let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let secured = record.tls.as_ref().map(|tls| tls.took);
    let connect = record.connect.map(|connect| connect + secured.unwrap_or_default());
    let wait = record.first_byte.unwrap_or_default();
    let before = record.waited + connect.unwrap_or_default() + wait;
    let receive = record.duration.saturating_sub(before);
    let failure = record.outcome.failure();
    json!({
        "startedDateTime": time(record.started_at),
        "time": millis(before + receive),
        "request": {
            "method": record.method,
            "url": url(record),
            "httpVersion": record.protocol.to_string(),
            "cookies": [],
            "headers": headers([("User-Agent", &record.user_agent), ("Referer", &record.referer)]),
            "queryString": query(&record.path),
            "headersSize": -1,
            "bodySize": -1
        },
        "response": {
            "status": record.status.unwrap_or_default(),
            "statusText": "",
            "httpVersion": record.protocol.to_string(),
            "cookies": [],
            "headers": [],
            "content": { "size": 0, "mimeType": "x-unknown" },
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1
        },
        "cache": {},
        "timings": {
            "blocked": millis(record.waited),
            "dns": -1,
            "connect": connect.map_or(-1.0, millis),
            "ssl": secured.map_or(-1.0, millis),
            "send": 0,
            "wait": millis(wait),
            "receive": millis(receive)
        },
        "_amb": {
            "outcome": record.outcome.name(),
            "answered_by": if record.first_byte.is_some() { "server" } else { "amb" },
            "error_type": failure.map(|failure| &failure.error_type),
            "blame": failure.map(|failure| failure.blame.name()),
            "detail": failure.map(|failure| &failure.detail),
            "route": record.route.as_deref(),
            "url_template": record.url_template.as_deref(),
            "attempts": record.attempts,
            "resends": record.resends,
            "cut_short": record.outcome == Outcome::CutShort,
            "bytes_sent": record.bytes_sent,
            "bytes_received": record.bytes_received
        }
    })
}

/// What was asked for. Of an unreadable request that is nothing in particular.
fn url(record: &Record) -> String {
    let scheme = record.scheme.unwrap_or(Scheme::Http);
    let host = match &*record.host {
        "" => "unreadable.invalid".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let port = match record.port {
        0 => String::new(),
        port if port == scheme.port() => String::new(),
        port => format!(":{port}"),
    };
    let path = if record.path.starts_with('/') {
        &*record.path
    } else {
        "/"
    };
    format!("{}://{host}{port}{path}", scheme.name())
}

/// The header fields that there are.
fn headers(known: [(&str, &Option<String>); 2]) -> Vec<Value> {
    let present = known
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    present
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

/// The parameters of a query, as they came.
fn query(path: &str) -> Vec<Value> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            json!({ "name": name, "value": value })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::tests::{everything, record};

    /// The report on these records.
    fn har(records: &[Record]) -> Value {
        let keeper = Keeper::default();
        for record in records {
            keeper.keep(record);
        }
        let text = render(&Document::of(&everything()), &keeper.take());
        serde_json::from_str(&text).unwrap()
    }

    /// A request that took 20 ms, half of them until the answer began.
    fn request(began: u64) -> Record {
        record(
            "api.example.com",
            200,
            Duration::from_millis(began),
            Duration::from_millis(20),
        )
    }

    #[test]
    fn a_request_is_an_entry_and_a_tunnel_is_none() {
        let mut tunnel = request(0);
        tunnel.kind = Kind::Tunnel;
        let har = har(&[request(5), tunnel, request(1)]);
        let entries = har["log"]["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0]["startedDateTime"].as_str() < entries[1]["startedDateTime"].as_str());
        let entry = &entries[0];
        assert_eq!(
            entry["request"]["url"],
            "http://api.example.com/v1/items?page=2&token=***"
        );
        assert_eq!(
            entry["request"]["queryString"],
            json!([{ "name": "page", "value": "2" }, { "name": "token", "value": "***" }])
        );
        assert_eq!(entry["response"]["status"], 200);
        assert_eq!(entry["time"], 20.0);
        let timings = &entry["timings"];
        assert_eq!((&timings["wait"], &timings["ssl"]), (&json!(10.0), &json!(-1.0)));
        assert!(har["log"]["comment"].as_str().unwrap().contains("1 tunnels"));
    }

    #[test]
    fn urls_are_such_whatever_was_asked_for() {
        let mut odd = request(0);
        (odd.host, odd.port, odd.path) = ("::1".to_owned(), 8080, "*".to_owned());
        assert_eq!(url(&odd), "http://[::1]:8080/");
        (odd.scheme, odd.host, odd.port) = (Some(Scheme::Https), "x".to_owned(), 443);
        assert_eq!(url(&odd), "https://x/");
        (odd.host, odd.port) = (String::new(), 0);
        assert_eq!(url(&odd), "https://unreadable.invalid/");
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let keeper = Keeper::default();
        let mut long = request(0);
        long.path = format!("/{}", "x".repeat(1024 * 1024));
        (0..20).for_each(|_| keeper.keep(&long));
        let requests = keeper.take();
        assert_eq!((requests.entries.len(), requests.beyond), (16, 4));
        assert!(requests.warning().unwrap().message.contains("lacks 4 more"));
        let short = request(0);
        (0..MOST_ENTRIES + 5).for_each(|_| keeper.keep(&short));
        let requests = keeper.take();
        assert_eq!((requests.entries.len(), requests.beyond), (MOST_ENTRIES, 5));
        assert!(Requests::default().warning().is_none());
    }
}
