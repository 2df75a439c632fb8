//! `text`: a binary column as UTF-8 text, without copying it when it is.
//!
//! Bytes that are not UTF-8 become U+FFFD, as the string deserializers of Kafka and Spark do it, and the rows are
//! counted. A null (a tombstone) stays null, and is not the empty string.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::Operator;
use super::expression::column_index;
use crate::batch::{Batch, Column};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Turns one binary column into a string column of the same name.
#[derive(Debug)]
pub struct Text {
    column: usize,
    schema: SchemaRef,
}

impl Text {
    /// Returns the operator for column `name` of batches of `schema`.
    ///
    /// # Errors
    /// When there is no such column, or it is not binary.
    pub fn new(name: &str, schema: &Schema) -> Result<Self> {
        let column = column_index(schema, name)?;
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        match fields[column].data_type() {
            DataType::Binary => fields[column] = Field::new(name, DataType::Utf8, true).into(),
            other => return Err(Error::Invalid(format!("column `{name}` is {other}, expected Binary"))),
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { column, schema })
    }
}

impl Operator for Text {
    fn describe(&self) -> String {
        format!("text {}", self.schema.field(self.column).name())
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, batch: Batch, metrics: &Metrics) -> Result<Batch> {
        let (text, repaired) = match batch.column(self.column) {
            Column::Lines(lines) if let Some(text) = lines.to_utf8() => (Column::Lines(text), 0),
            column => decode(column.to_array().as_binary()),
        };
        metrics.rows_repaired.add(repaired);
        let mut columns = batch.columns().to_vec();
        columns[self.column] = text;
        Ok(Batch::from_columns(
            self.schema.clone(),
            columns,
            batch.rows(),
            batch.origin().cloned(),
        ))
    }
}

/// Returns the bytes as text, and the number of rows that were not UTF-8.
fn decode(bytes: &BinaryArray) -> (Column, u64) {
    let (offsets, values, nulls) = bytes.clone().into_parts();
    if let Ok(text) = StringArray::try_new(offsets, values, nulls) {
        return (Column::Array(Arc::new(text)), 0);
    }
    let mut text = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len());
    let mut repaired = 0;
    for row in bytes {
        text.append_option(row.map(|row| {
            let row = String::from_utf8_lossy(row);
            repaired += u64::from(matches!(row, std::borrow::Cow::Owned(_)));
            row
        }));
    }
    (Column::Array(Arc::new(text.finish())), repaired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_taken_as_it_is_and_nulls_stay() {
        let bytes = BinaryArray::from_opt_vec(vec![Some(b"a"), None, Some(b""), Some("ß".as_bytes())]);
        let (text, repaired) = decode(&bytes.slice(1, 3));
        let text = text.to_array();
        assert_eq!(text.as_string(), &StringArray::from(vec![None, Some(""), Some("ß")]));
        assert_eq!(repaired, 0);
        assert_eq!(
            text.as_string::<i32>().value_data().as_ptr(),
            bytes.value_data().as_ptr(),
            "nothing is copied"
        );
    }

    #[test]
    fn rows_that_are_not_utf_8_are_repaired_and_counted() {
        // The two halves of one character must not join over rows.
        let bytes = BinaryArray::from_vec(vec![b"a\xffb", b"\xc3", b"\x9f", b"good"]);
        let (text, repaired) = decode(&bytes);
        let text = text.to_array();
        assert_eq!(
            text.as_string(),
            &StringArray::from(vec!["a\u{fffd}b", "\u{fffd}", "\u{fffd}", "good"])
        );
        assert_eq!(repaired, 3);
    }
}
