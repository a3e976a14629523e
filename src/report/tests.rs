//! What the options of the reports accept.

use clap::Parser;

use super::*;

/// All options of this layer on one command line, as `amb run` has them.
#[derive(Debug, Parser)]
struct Flags {
    /// `[report]`
    #[command(flatten)]
    report: ReportOptions,
    /// `[access-log]`
    #[command(flatten)]
    access_log: AccessLogOptions,
    /// `[log]`
    #[command(flatten)]
    log: LogOptions,
}

/// These flags, read.
fn flags(arguments: &[&str]) -> Flags {
    Flags::try_parse_from([&["amb"], arguments].concat()).unwrap()
}

/// The reason why this report is refused.
#[track_caller]
fn refused(report: &str) -> String {
    let options = ReportOptions {
        files: Some(vec![report.to_owned()]),
        ..ReportOptions::default()
    };
    let invalid = options.build().unwrap_err();
    assert_eq!(invalid.key, ["report", "files"]);
    invalid.reason
}

#[test]
fn flags_and_keys_are_the_same_options() {
    let flags = flags(&[
        "--summary=compact",
        "-r",
        "a.json",
        "--report",
        "json=b",
        "--access-log",
        "x.log",
        "--access-log-format",
        "logfmt",
        "--log-level",
        "debug",
        "--log-format",
        "json",
    ]);
    let report: ReportOptions = serde_json::from_str(r#"{"summary":"compact","files":["a.json","json=b"]}"#).unwrap();
    let access_log: AccessLogOptions = serde_json::from_str(r#"{"file":"x.log","format":"logfmt"}"#).unwrap();
    let log: LogOptions = serde_json::from_str(r#"{"level":"debug","format":"json"}"#).unwrap();
    assert_eq!(
        (&flags.report, &flags.access_log, &flags.log),
        (&report, &access_log, &log)
    );
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        r#"{"summary":"compact","files":["a.json","json=b"]}"#
    );
    assert!(serde_json::from_str::<ReportOptions>(r#"{"sumary":"off"}"#).is_err());
}

#[test]
fn what_is_not_said_is_not_written_and_has_a_default() {
    assert_eq!(serde_json::to_string(&ReportOptions::default()).unwrap(), "{}");
    assert_eq!(serde_json::to_string(&AccessLogOptions::default()).unwrap(), "{}");
    assert_eq!(serde_json::to_string(&LogOptions::default()).unwrap(), "{}");
    assert_eq!(ReportOptions::default().build(), Ok(Report::default()));
    assert_eq!(AccessLogOptions::default().build(), Ok(None));
    assert_eq!(LogOptions::default().build().unwrap().format, LogFormat::Text);
}

#[test]
fn a_reports_format_comes_from_its_prefix_or_extension() {
    for (text, path, format) in [
        ("report.json", "report.json", ReportFormat::Json),
        ("json=report", "report", ReportFormat::Json),
        ("json=/dev/fd/3", "/dev/fd/3", ReportFormat::Json),
        ("JSON=x.xml", "x.xml", ReportFormat::Json),
        ("./a=b.json", "./a=b.json", ReportFormat::Json),
        ("json=a=b", "a=b", ReportFormat::Json),
        ("junit.XML", "junit.XML", ReportFormat::Junit),
        ("amb.prom", "amb.prom", ReportFormat::Openmetrics),
        ("openmetrics=metrics.txt", "metrics.txt", ReportFormat::Openmetrics),
        ("k6=load-performance.json", "load-performance.json", ReportFormat::K6),
        ("calls.har", "calls.har", ReportFormat::Har),
        ("a.md", "a.md", ReportFormat::Markdown),
        ("page.htm", "page.htm", ReportFormat::Html),
    ] {
        let expected = ReportTarget {
            format,
            path: PathBuf::from(path),
        };
        assert_eq!(target(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_report_that_cannot_be_made_is_refused_with_what_can() {
    assert_eq!(
        refused("pdf=x.xml"),
        "`pdf` is no report format; the formats are: json, junit, html, md, openmetrics, k6, har"
    );
    assert_eq!(
        refused("x.k6"),
        "`x.k6`: no report format has the extension .k6; the formats are: json, junit, html, md, openmetrics, k6, har"
    );
    assert_eq!(
        refused("report"),
        "`report` does not say its format: write json=report; the formats are: json, junit, html, md, openmetrics, k6, har"
    );
    assert!(refused("json=-").contains("json=/dev/fd/3"));
    assert!(refused("-").contains("json=/dev/fd/3"));
    assert_eq!(refused("json="), "`json=` names no file");
}

#[test]
fn an_access_log_to_stderr_must_be_asked_for() {
    let to = |file: &str| {
        let options = flags(&["--access-log", file]).access_log;
        options.build().unwrap().unwrap()
    };
    assert_eq!(to("-").file, None);
    assert_eq!(to("x.log").file, Some(PathBuf::from("x.log")));
    assert_eq!(to("x.log").format, LineFormat::Json);
}

#[test]
fn a_level_that_does_not_exist_is_refused() {
    let options = LogOptions {
        level: Some("verbose".to_owned()),
        ..LogOptions::default()
    };
    let invalid = options.build().unwrap_err();
    assert!(invalid.reason.contains("error, warn, info, debug, trace"), "{invalid}");
}
