//! Values of rows: whether two are the same, and how they are shown.

use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use serde_json::Value;

/// How far two floats may be apart, as a share of them: the order in which rows are summed up changes no more.
const FLOAT_TOLERANCE: f64 = 1e-12;

/// Returns whether a value of a column is the one expected. Both are as JSON has them; times are texts.
pub(super) fn is_same(expected: &Value, came: &Value, data_type: &DataType) -> bool {
    match (expected, came) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => is_near(a.as_f64(), b.as_f64()),
        },
        (Value::String(a), Value::String(b)) if has_times(data_type) => {
            a == b || micros(a).is_some_and(|time| micros(b) == Some(time))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b, data_type))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same =
                |(name, value): (&String, &Value)| is_same(value, b.get(name).unwrap_or(&Value::Null), data_type);
            a.iter().all(same) && b.iter().all(|(name, value)| a.contains_key(name) || value.is_null())
        }
        (expected, came) => expected == came,
    }
}

fn is_near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= FLOAT_TOLERANCE * a.abs().max(b.abs()),
        _ => false,
    }
}

/// Returns whether a text in a column of this type is a time.
fn has_times(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(..) => true,
        DataType::List(item) | DataType::LargeList(item) => has_times(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_times(field.data_type())),
        _ => false,
    }
}

/// Returns a time in microseconds since 1970; one without a zone is in UTC.
fn micros(text: &str) -> Option<i64> {
    let with_zone = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let without = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc());
    with_zone
        .or_else(|_| without())
        .ok()
        .map(|time| time.timestamp_micros())
}

/// Returns a time with no more digits than it needs.
pub(super) fn time_of(micros: Option<i64>) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Returns a value as a table shows it: texts without quotes, times with no more digits than they need.
pub(super) fn shown(value: &Value, data_type: &DataType) -> String {
    match value {
        Value::String(text) => {
            let time = has_times(data_type).then(|| time_of(micros(text))).flatten();
            time.unwrap_or_else(|| text.chars().flat_map(printable).collect())
        }
        other => other.to_string(),
    }
}

/// Returns a character, or what stands for one that could move the cursor.
fn printable(character: char) -> impl Iterator<Item = char> {
    let escape = character.is_control().then(|| character.escape_default());
    let itself = escape.is_none().then_some(character);
    escape.into_iter().flatten().chain(itself)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expected: Value, came: Value, data_type: &DataType, same: bool) {
        assert_eq!(is_same(&expected, &came, data_type), same, "{expected} and {came}");
    }

    #[test]
    fn numbers_are_the_same_by_value_and_floats_but_for_their_last_digits() {
        check(json!(15), json!(15.0), &DataType::Float64, true);
        check(json!(0.3), json!(0.1 + 0.2), &DataType::Float64, true);
        check(json!(0.3), json!(0.300_001), &DataType::Float64, false);
        check(
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992_i64),
            &DataType::Int64,
            false,
        );
        check(json!(1), json!("1"), &DataType::Utf8, false);
        check(json!(null), json!(0), &DataType::Int64, false);
    }

    #[test]
    fn times_are_the_same_by_the_moment_and_texts_by_their_characters() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let came = json!("2026-11-24T06:30:00.000000Z");
        check(json!("2026-11-24T07:30:00+01:00"), came.clone(), &time, true);
        check(json!("2026-11-24T06:30:00"), came.clone(), &time, true);
        check(json!("2026-11-24T06:30:00Z"), came.clone(), &DataType::Utf8, false);
        assert_eq!(shown(&came, &time), "2026-11-24T06:30:00Z");
    }

    #[test]
    fn lists_and_objects_are_the_same_by_their_parts() {
        let any = DataType::Null;
        check(
            json!([{ "count": 2 }]),
            json!([{ "count": 2, "value": null }]),
            &any,
            true,
        );
        check(
            json!([{ "count": 2 }]),
            json!([{ "count": 2, "value": 1 }]),
            &any,
            false,
        );
        check(json!([1, 2]), json!([1]), &any, false);
    }

    #[test]
    fn what_moves_the_cursor_is_not_shown() {
        assert_eq!(shown(&json!("a\u{1b}[2Jb"), &DataType::Utf8), "a\\u{1b}[2Jb");
    }
}
