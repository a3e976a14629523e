//! What the table and OpenTelemetry's variables come to.

use std::collections::BTreeMap;

use super::*;
use crate::policy::auth::Text;

/// What this table comes to with these variables; `flag` is what `--otlp` names.
fn built(table: &str, flag: Option<&str>, variables: &[(&str, &str)]) -> (Option<Export>, Vec<String>) {
    let options: OtelOptions = serde_json::from_str(table).unwrap();
    let environment: Vec<(OsString, OsString)> = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let given = Given {
        environment: &environment,
        flag,
        governed: false,
        secrets: &BTreeMap::new(),
    };
    let mut problems = Vec::new();
    let export = Export::build(&options, &given, &mut problems);
    (export, problems.into_iter().map(|problem| problem.reason).collect())
}

/// The same, in which nothing is wrong.
fn export(table: &str, variables: &[(&str, &str)]) -> Export {
    let (export, problems) = built(table, None, variables);
    assert_eq!(problems, [""; 0]);
    export.expect("an export")
}

/// Where traces and metrics go.
fn places(export: &Export) -> [String; 2] {
    let place = |collector: &Collector| format!("{}{}", collector.place(), collector.path);
    [
        export
            .traces
            .as_ref()
            .map(|traces| place(&traces.collector))
            .unwrap_or_default(),
        export
            .metrics
            .as_ref()
            .map(|metrics| place(&metrics.collector))
            .unwrap_or_default(),
    ]
}

/// What turns it on.
const AUTO: &str = r#"{ "endpoint": "auto" }"#;

#[test]
fn variables_alone_turn_nothing_on() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
    ];
    for table in [
        "{}",
        r#"{ "endpoint": "off" }"#,
        r#"{ "propagate": "always", "protocol": "grpc" }"#,
    ] {
        assert_eq!(built(table, None, &variables), (None, Vec::new()), "{table}");
    }
    assert_eq!(built(AUTO, None, &[("OTEL_SDK_DISABLED", "TRUE")]).0, None);
}

#[test]
fn an_endpoint_is_that_of_the_flag_or_of_variables_or_of_the_table_or_the_usual_one() {
    let of_all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://of-all:1/base/");
    let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://of-traces/as/it?is=1");
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let table = r#"{ "endpoint": "https://table" }"#;
    for (table, flag, variables, expected) in [
        (
            AUTO,
            None,
            &[][..],
            ["http://localhost:4318/v1/traces", "http://localhost:4318/v1/metrics"],
        ),
        (
            table,
            None,
            &[],
            ["https://table:443/v1/traces", "https://table:443/v1/metrics"],
        ),
        (
            table,
            None,
            &[of_all],
            ["http://of-all:1/base/v1/traces", "http://of-all:1/base/v1/metrics"],
        ),
        (
            AUTO,
            None,
            &[of_all, of_traces],
            ["https://of-traces:443/as/it?is=1", "http://of-all:1/base/v1/metrics"],
        ),
        (
            table,
            Some("https://table"),
            &[of_all, of_traces],
            ["https://table:443/v1/traces", "https://table:443/v1/metrics"],
        ),
        (
            AUTO,
            None,
            &[grpc],
            [
                "http://localhost:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "http://localhost:4317/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            ],
        ),
        (
            AUTO,
            None,
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            ["http://localhost:4318/v1/traces", "http://localhost:4318/v1/metrics"],
        ),
    ] {
        let (export, problems) = built(table, flag, variables);
        assert_eq!(
            (places(&export.unwrap()), problems),
            (expected.map(str::to_owned), Vec::new()),
            "{variables:?}"
        );
    }
}

#[test]
fn grpc_needs_no_scheme_and_is_secure_then_unless_told_otherwise() {
    let table = r#"{ "endpoint": "collector:4317", "protocol": "grpc", "signals": ["traces"] }"#;
    assert!(places(&export(table, &[]))[0].starts_with("https://collector:4317/"));
    let insecure = export(table, &[("OTEL_EXPORTER_OTLP_INSECURE", "true")]);
    assert!(places(&insecure)[0].starts_with("http://collector:4317/"));
    assert_eq!(insecure.metrics, None);
}

#[test]
fn what_cannot_be_done_is_refused_once() {
    for (table, variables, expected) in [
        (
            AUTO,
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")][..],
            "OTEL_EXPORTER_OTLP_PROTOCOL: amb does not speak http/json: expected http/protobuf or grpc, which every collector takes",
        ),
        (
            AUTO,
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:/run/collector")],
            "OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL that begins with http:// or https://",
        ),
        (
            r#"{ "endpoint": "http://user:pw@host" }"#,
            &[],
            "the user and password of a URL have no place here: set otel.headers",
        ),
        (
            r#"{ "endpoint": "http://host", "headers": { "key": "secret:absent" } }"#,
            &[],
            "key: there is no secret `absent`",
        ),
    ] {
        assert_eq!(built(table, None, variables).1, [expected]);
    }
}

#[test]
fn variables_say_the_rest() {
    let export = export(
        r#"{ "endpoint": "auto", "headers": { "X-Table": "t" } }"#,
        &[
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20abc, x-tenant = a=b",
            ),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "only=metrics"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("OTEL_SERVICE_NAME", "billing"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=other,deployment.environment.name=a%2Cb",
            ),
        ],
    );
    let (traces, metrics) = (export.traces.unwrap(), export.metrics.unwrap());
    let header = |name: &str, value: &str| (name.to_owned(), Text::Plain(value.to_owned()));
    assert_eq!(
        traces.collector.headers,
        [header("authorization", "Bearer abc"), header("x-tenant", "a=b")]
    );
    assert_eq!(metrics.collector.headers, [header("only", "metrics")]);
    assert_eq!(
        (traces.collector.time(), export.flush),
        (Duration::from_millis(1500), Duration::from_millis(1500))
    );
    assert_eq!((traces.collector.gzip, metrics.collector.gzip), (true, false));
    assert_eq!(
        (traces.delay, traces.queue, traces.batch),
        (Duration::from_millis(100), 10, 10)
    );
    assert_eq!(metrics.every, Duration::from_mins(1));
    assert_eq!(
        export.notes,
        ["OTEL_METRIC_EXPORT_INTERVAL is not a number of milliseconds above 0, and is passed over"]
    );
    let told = [("service.name", "billing"), ("deployment.environment.name", "a,b")];
    assert_eq!(
        export.resource,
        told.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_signal_can_be_left_out() {
    let none = export(AUTO, &[("OTEL_TRACES_EXPORTER", "none")]);
    assert!(none.traces.is_none() && none.metrics.is_some());
    let (both, _) = built(
        AUTO,
        None,
        &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")],
    );
    assert_eq!(both, None);
    // That one is what the command does, and nothing that amb could do.
    assert!(export(AUTO, &[("OTEL_TRACES_EXPORTER", "console")]).traces.is_some());
}

#[test]
fn samplers_are_those_of_the_specification() {
    let low = 1_u128;
    let high = u128::from(u64::MAX);
    for (name, argument, expected) in [
        // Of a recorded parent, of one that is not, without one and a low id, and a high one.
        ("", "", [true, false, true, true]),
        ("always_on", "", [true, true, true, true]),
        ("always_off", "", [false, false, false, false]),
        ("traceidratio", "0.5", [true, true, true, false]),
        ("parentbased_always_on", "", [true, false, true, true]),
        ("parentbased_always_off", "", [true, false, false, false]),
        ("parentbased_traceidratio", "0.5", [true, false, true, false]),
        ("parentbased_traceidratio", "7", [true, false, true, true]),
        ("jaeger_remote", "", [true, false, true, true]),
    ] {
        let export = export(
            AUTO,
            &[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)],
        );
        let found = [
            export.samples(Some(true), low),
            export.samples(Some(false), low),
            export.samples(None, low),
            export.samples(None, high),
        ];
        assert_eq!(found, expected, "{name} {argument}");
        assert_eq!(
            export.notes.is_empty(),
            name != "jaeger_remote" && argument != "7",
            "{name}"
        );
    }
}
