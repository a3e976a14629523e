//! Who exports: the run, by [the conventions] for resources.
//!
//! [the conventions]: https://opentelemetry.io/docs/specs/semconv/resource/

use opentelemetry_proto::tonic::{
    common::v1::{InstrumentationScope, KeyValue},
    resource::v1::Resource,
};

use super::attribute::{number, text, truth};
use crate::traffic::summary;

/// The version of the conventions by which everything is named.
pub(super) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The run. What OpenTelemetry's variables say of it, `told`, wins over what amb knows by itself, but for what tells amb from the
/// command that goes by the same variables.
pub(super) fn resource(run: &summary::Run, told: &[(String, String)]) -> Resource {
    let fixed = [
        truth("amb.proxy", true),
        number("process.pid", std::process::id()),
        text("telemetry.sdk.name", "amb"),
        text("telemetry.sdk.language", "rust"),
        text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &run.id),
    ];
    let mut attributes: Vec<KeyValue> = fixed.into();
    let told = told.iter().map(|(key, value)| text(key, value));
    for attribute in told.chain([text("service.name", &run.name)]) {
        if !attributes.iter().any(|known| known.key == attribute.key) {
            attributes.push(attribute);
        }
    }
    Resource {
        attributes,
        ..Resource::default()
    }
}

/// What measures and traces: amb itself.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "amb".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
