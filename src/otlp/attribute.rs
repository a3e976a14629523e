//! Attributes of spans, metrics and resources. What is secret does not come into them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};

use crate::veil;

/// An attribute with this value.
fn with(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// A text.
pub(super) fn text(key: &str, text: &str) -> KeyValue {
    with(key, Value::StringValue(veil::text(text).into_owned()))
}

/// A whole number.
pub(super) fn number(key: &str, number: impl Into<i64>) -> KeyValue {
    with(key, Value::IntValue(number.into()))
}

/// A count; one that nobody could count to is the greatest.
pub(super) fn count(key: &str, count: u64) -> KeyValue {
    number(key, i64::try_from(count).unwrap_or(i64::MAX))
}

/// A number of seconds.
pub(super) fn seconds(key: &str, time: std::time::Duration) -> KeyValue {
    with(key, Value::DoubleValue(time.as_secs_f64()))
}

/// Whether something is so.
pub(super) fn truth(key: &str, truth: bool) -> KeyValue {
    with(key, Value::BoolValue(truth))
}

/// A list of texts.
pub(super) fn texts<'a>(key: &str, texts: impl IntoIterator<Item = &'a str>) -> KeyValue {
    let values = texts.into_iter().map(|text| AnyValue {
        value: Some(Value::StringValue(veil::text(text).into_owned())),
    });
    with(
        key,
        Value::ArrayValue(ArrayValue {
            values: values.collect(),
        }),
    )
}
