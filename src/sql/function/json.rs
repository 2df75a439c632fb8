//! `json_get(text, path)`, and `text ->> 'key'`: one value out of a JSON text, as text.
//!
//! The path is `a.b[0].c`, with or without `$.` before it. A string comes without its quotes, an object or a list as JSON;
//! what is not there, is null, or is no JSON gives null.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::wrong_call;

const USAGE: &str = "json_get(text, 'a.b[0]')";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonGet(Signature);

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Walks the steps down, over what it does not need.
struct Walk<'a>(&'a [Step]);

impl Default for JsonGet {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        "json_get"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text =
            |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        match types {
            [text, path] if is_text(text) && is_text(path) => Ok(vec![DataType::Utf8; 2]),
            _ => Err(wrong_call(USAGE, "json_get takes a text and a path")),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let steps = match &args.args[1] {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(path))) => steps(path),
            _ => None,
        };
        let steps = steps.ok_or_else(|| wrong_call(USAGE, "the path is no literal like a.b[0]"))?;
        let texts = args.args[0].to_array(args.number_rows)?;
        let mut values = StringBuilder::new();
        for text in texts.as_string::<i32>() {
            values.append_option(text.and_then(|text| get(text, &steps)));
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let path = path.strip_prefix('$').unwrap_or(path);
    let mut steps = vec![];
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (key, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !key.is_empty() {
            steps.push(Step::Key(key.to_owned()));
        }
        for index in indexes.split_terminator(']') {
            steps.push(Step::Index(index.strip_prefix('[')?.parse().ok()?));
        }
    }
    (!steps.is_empty()).then_some(steps)
}

fn get(text: &str, steps: &[Step]) -> Option<String> {
    let mut json = serde_json::Deserializer::from_str(text);
    Walk(steps).deserialize(&mut json).ok().flatten()
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<String>, D::Error> {
        match self.0 {
            [] => {
                let value: serde_json::Value = serde::Deserialize::deserialize(json)?;
                Ok(match value {
                    serde_json::Value::Null => None,
                    serde_json::Value::String(text) => Some(text),
                    other => Some(other.to_string()),
                })
            }
            _ => json.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let (first, rest) = self.0.split_first().expect("a value is visited on the way only");
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match first {
                Step::Key(wanted) if *wanted == key => found = map.next_value_seed(Walk(rest))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<String>, A::Error> {
        let (first, rest) = self.0.split_first().expect("a value is visited on the way only");
        let mut found = None;
        for index in 0.. {
            let more = match first {
                Step::Index(wanted) if *wanted == index => {
                    let value = list.next_element_seed(Walk(rest))?;
                    found = value.clone().flatten();
                    value.is_some()
                }
                _ => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<String>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &str, expected: Option<&str>) {
        let steps = steps(path).expect("a path");
        assert_eq!(get(text, &steps).as_deref(), expected, "{path} of {text}");
    }

    #[test]
    fn values_are_found_by_their_path() {
        let text = r#"{"a": {"b": [1, {"c": "x\ny"}]}, "n": -1.5, "t": true, "o": {"k": []}, "z": null}"#;
        check(text, "a.b[1].c", Some("x\ny"));
        check(text, "$.a.b[0]", Some("1"));
        check(text, "n", Some("-1.5"));
        check(text, "t", Some("true"));
        check(text, "o", Some(r#"{"k":[]}"#));
    }

    #[test]
    fn what_is_not_there_or_no_json_is_null() {
        let text = r#"{"a": {"b": [1]}, "z": null, "s": "x"}"#;
        for path in ["q", "a.q", "a.b[1]", "a.b.c", "z", "s.t", "z.y", "a[0]"] {
            check(text, path, None);
        }
        check("{\"a\": 1", "a", None);
        check("no json", "a", None);
        check("", "a", None);
        assert_eq!(steps("a[x]"), None);
        assert_eq!(steps(""), None);
    }
}
