//! Values of options as people write them.

use std::path::PathBuf;

pub(super) use crate::units::{bytes, bytes_a_second, count, duration, positive, rate};

/// Where a word count goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Out {
    Console,
    Parquet(PathBuf),
    Kafka(String),
}

/// Reads `console`, `parquet:DIR` or `kafka:TOPIC`.
pub(super) fn out(text: &str) -> Result<Out, String> {
    match text.split_once(':') {
        None if text == "console" => Ok(Out::Console),
        Some(("parquet", dir)) if !dir.is_empty() => Ok(Out::Parquet(dir.into())),
        Some(("kafka", topic)) if !topic.is_empty() => Ok(Out::Kafka(topic.to_owned())),
        _ => Err("expected console, parquet:DIR or kafka:TOPIC".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_has_a_kind_and_a_place() {
        assert_eq!(out("console"), Ok(Out::Console));
        assert_eq!(out("parquet:out/a:b"), Ok(Out::Parquet("out/a:b".into())));
        assert_eq!(out("kafka:counts"), Ok(Out::Kafka("counts".to_owned())));
        for text in ["kafka:", "parquet", "csv:out", "console:x"] {
            out(text).expect_err("no output");
        }
    }
}
