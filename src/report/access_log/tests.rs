//! What an access log writes, and what it does when it cannot.

use std::{
    io::{BufRead, BufReader},
    sync::mpsc,
    time::{Duration, SystemTime},
};

use super::*;
use crate::traffic::{Blame, Failure, Kind, Limited, Outcome, Protocol, Scheme, edits::Notes, retries::Retries};

/// A failed exchange with everything in it.
fn record() -> Record {
    Record {
        kind: Kind::Exchange,
        protocol: Protocol::Http11,
        captured: false,
        scheme: Some(Scheme::Http),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_380_001_120),
        duration: Duration::from_micros(42_300),
        method: "POST".to_owned(),
        host: "soap.example".to_owned(),
        port: 8080,
        path: "/v1/in voices?key=***&b=2".to_owned(),
        sent_to: None,
        request_id: String::new(),
        trace: None,
        edits: Notes::default(),
        status: Some(503),
        outcome: Outcome::Failed(Failure {
            error_type: "503".to_owned(),
            blame: Blame::Upstream,
            detail: "answered 503 \"busy\"".to_owned(),
        }),
        bytes_sent: 120,
        bytes_received: 3_400,
        connect: Some(Duration::from_millis(2)),
        tls: None,
        sealed: false,
        first_byte: Some(Duration::from_millis(40)),
        attempts: 2,
        retries: Retries::default(),
        opened: 1,
        tries: Vec::new(),
        resends: 0,
        waited: Duration::ZERO,
        signed_in: crate::traffic::credentials::SignedIn::default(),
        limited: None,
        egress: None,
        called: Vec::new(),
        reused: false,
        user_agent: Some("curl/8 \"x\"\n".to_owned()),
        referer: None,
        route: Some("soap".into()),
        url_template: Some("/v1/{document}".into()),
    }
}

/// A tunnel by SOCKS5 to an IPv6 address.
fn tunnel() -> Record {
    Record {
        kind: Kind::Tunnel,
        protocol: Protocol::Socks5,
        scheme: None,
        method: "CONNECT".to_owned(),
        host: "::1".to_owned(),
        port: 443,
        path: String::new(),
        status: None,
        outcome: Outcome::Ok,
        bytes_received: 0,
        first_byte: None,
        user_agent: None,
        ..record()
    }
}

/// The line of a record.
fn line(format: LineFormat, record: &Record) -> String {
    String::from_utf8(line::line(format, record)).unwrap()
}

#[test]
fn json_has_the_names_of_opentelemetry() {
    assert_eq!(
        line(LineFormat::Json, &record()),
        concat!(
            r#"{"timestamp":"2026-11-22T20:40:01.120Z","amb.kind":"exchange","amb.outcome":"failed","#,
            r#""http.request.method":"POST","url.scheme":"http","server.address":"soap.example","server.port":8080,"#,
            r#""url.path":"/v1/in voices","url.query":"key=***&b=2","url.template":"/v1/{document}","amb.route":"soap","#,
            r#""http.response.status_code":503,"#,
            r#""error.type":"503","error.message":"answered 503 \"busy\"","amb.blame":"upstream","#,
            r#""network.protocol.name":"http","network.protocol.version":"1.1","duration":0.0423,"#,
            r#""connect.duration":0.002,"first_byte.duration":0.04,"bytes.sent":120,"bytes.received":3400,"#,
            r#""amb.attempts":2,"amb.resends":0,"connection.reused":false,"user_agent.original":"curl/8 \"x\"\n"}"#,
            "\n"
        )
    );
}

#[test]
fn what_limits_held_back_says_for_how_long() {
    let held = Record {
        waited: Duration::from_millis(300),
        limited: Some(Limited::Delayed),
        ..record()
    };
    let line = line(LineFormat::Json, &held);
    assert!(line.contains(r#","amb.waited":0.3,"#), "{line}");
}

#[test]
fn logfmt_has_the_same_and_quotes_what_needs_it() {
    assert_eq!(
        line(LineFormat::Logfmt, &record()),
        concat!(
            "timestamp=2026-11-22T20:40:01.120Z amb.kind=exchange amb.outcome=failed http.request.method=POST url.scheme=http ",
            "server.address=soap.example server.port=8080 url.path=\"/v1/in voices\" url.query=\"key=***&b=2\" ",
            "url.template=/v1/{document} amb.route=soap ",
            "http.response.status_code=503 error.type=503 error.message=\"answered 503 \\\"busy\\\"\" ",
            "amb.blame=upstream network.protocol.name=http network.protocol.version=1.1 duration=0.0423 ",
            "connect.duration=0.002 first_byte.duration=0.04 bytes.sent=120 bytes.received=3400 amb.attempts=2 ",
            "amb.resends=0 connection.reused=false user_agent.original=\"curl/8 \\\"x\\\"\\n\"\n"
        )
    );
}

#[test]
fn common_and_combined_are_apaches() {
    let common = "127.0.0.1 - - [22/Nov/2026:20:40:01 +0000] \
                  \"POST http://soap.example:8080/v1/in voices?key=***&b=2 HTTP/1.1\" 503 3400";
    assert_eq!(line(LineFormat::Common, &record()), format!("{common}\n"));
    assert_eq!(
        line(LineFormat::Combined, &record()),
        format!("{common} \"-\" \"curl/8 \\\"x\\\"\\n\"\n")
    );
    let secured = Record {
        scheme: Some(Scheme::Https),
        ..record()
    };
    let https = common.replace("http:", "https:");
    assert_eq!(line(LineFormat::Common, &secured), format!("{https}\n"));
    assert_eq!(
        line(LineFormat::Common, &tunnel()),
        "127.0.0.1 - - [22/Nov/2026:20:40:01 +0000] \"CONNECT [::1]:443 SOCKS5\" - -\n"
    );
    let unreadable = Record {
        method: String::new(),
        host: String::new(),
        port: 0,
        path: String::new(),
        ..record()
    };
    assert!(line(LineFormat::Common, &unreadable).contains("] \"-\" 503 "));
}

#[test]
fn a_hostile_value_stays_in_its_place() {
    let hostile = "a\"b\\c\nd\re\x1b[31m\u{9b}\u{2028}\t\x7f = é";
    let record = Record {
        host: hostile.to_owned(),
        path: hostile.to_owned(),
        method: hostile.to_owned(),
        user_agent: Some(hostile.to_owned()),
        referer: Some(hostile.to_owned()),
        ..record()
    };
    for format in [
        LineFormat::Json,
        LineFormat::Logfmt,
        LineFormat::Common,
        LineFormat::Combined,
    ] {
        let line = line(format, &record);
        let body = line.strip_suffix('\n').unwrap();
        assert!(
            !body.chars().any(|it| it.is_control() || it == '\u{2028}'),
            "{format:?}: {body:?}"
        );
    }
    let parsed: serde_json::Value = serde_json::from_str(&line(LineFormat::Json, &record)).unwrap();
    assert_eq!(parsed["server.address"], hostile);
    assert_eq!(parsed["user_agent.original"], hostile);
}

#[test]
fn lines_are_appended_to_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    let target = AccessLogTarget {
        file: Some(path.clone()),
        format: LineFormat::Logfmt,
    };
    let log = AccessLog::open(&target).unwrap();
    let sinks: Vec<_> = (0..4).map(|_| log.sink()).collect();
    thread::scope(|scope| {
        for sink in &sinks {
            scope.spawn(|| (0..100).for_each(|_| sink.log(&record())));
        }
    });
    // Sinks that outlive the log do not hold it up.
    let end = log.close();
    assert_eq!(
        end,
        AccessLogEnd {
            purpose: Purpose::Log,
            written: 400,
            dropped: 0,
            error: None
        }
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 401);
    assert!(text.starts_with("before\n"));
    sinks[0].log(&record());
}

#[test]
fn a_line_is_there_as_soon_as_it_was_put() {
    let (reader, writer) = io::pipe().unwrap();
    let log = AccessLog::start(Purpose::Log, LineFormat::Json, writer).unwrap();
    log.sink().log(&record());
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).unwrap();
    assert_eq!(first, line(LineFormat::Json, &record()));
    assert_eq!(log.close().written, 1);
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let target = AccessLogTarget {
        file: Some("/dev/full".into()),
        format: LineFormat::Json,
    };
    let log = AccessLog::open(&target).unwrap();
    for _ in 0..10 {
        log.sink().log(&record());
    }
    let end = log.close();
    assert_eq!((end.written, end.dropped), (0, 10));
    assert!(end.error.unwrap().contains("space"));
}

/// Takes bytes only when it is told to.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.recv() {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() {
    let (release, stuck) = mpsc::channel();
    let log = AccessLog::start(Purpose::Log, LineFormat::Json, Stuck(stuck)).unwrap();
    let sink = log.sink();
    let put = u64::try_from(QUEUE_LINES).unwrap() + 500;
    for _ in 0..put {
        sink.log(&record());
    }
    let end = log.close_within(Duration::from_millis(1));
    assert_eq!(end.written, 0);
    assert!(end.dropped > 0, "{end:?}");
    assert_eq!(end.error.as_deref(), Some("its reader does not read"));
    drop(release);
}

/// Fails once in the middle of a line, then takes everything.
struct Torn {
    /// How often it was written to.
    writes: usize,
    /// What came through.
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for Torn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        let mut taken = self.taken.lock().unwrap();
        match self.writes {
            1 => taken.extend_from_slice(&bytes[..5]),
            2 => return Err(io::ErrorKind::StorageFull.into()),
            _ => taken.extend_from_slice(bytes),
        }
        Ok(if self.writes == 1 { 5 } else { bytes.len() })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn half_a_line_does_not_spoil_the_next() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let fate = Fate::default();
    let mut batch = Batch {
        output: Torn {
            writes: 0,
            taken: Arc::clone(&taken),
        },
        bytes: Vec::new(),
        lines: 0,
        torn: false,
    };
    batch.add(b"first line\n", &fate);
    batch.write(&fate);
    batch.add(b"second line\n", &fate);
    batch.write(&fate);
    assert_eq!(*taken.lock().unwrap(), b"first\nsecond line\n");
    assert_eq!((fate.written.into_inner(), fate.dropped.into_inner()), (1, 1));
}

#[test]
fn what_cannot_be_opened_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let target = AccessLogTarget {
        file: Some(directory.path().join("none/x.log")),
        format: LineFormat::Json,
    };
    let reason = AccessLog::open(&target).unwrap_err();
    assert!(reason.starts_with("cannot write the access log "), "{reason}");
}

#[test]
fn missing_lines_are_warned_of() {
    let end = |dropped, error: Option<&str>| AccessLogEnd {
        purpose: Purpose::Log,
        written: 5,
        dropped,
        error: error.map(str::to_owned),
    };
    let message = |end: AccessLogEnd| end.warning().map(|warning| warning.message);
    assert_eq!(message(end(0, None)), None);
    assert_eq!(
        message(end(1, None)).unwrap(),
        "the access log could not keep up and lacks 1 line"
    );
    let failed = message(end(3, Some("no space"))).unwrap();
    assert_eq!(
        failed,
        "the access log could not be written (no space) and lacks 3 lines"
    );
}
