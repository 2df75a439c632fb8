//! CSV and TSV: every row one record, its fields in the order of the columns.
//!
//! A null is an empty field, an empty string is `""`; a field with a delimiter, a quote or a line end is in quotes, with
//! quotes inside doubled (RFC 4180). So [`DelimitedDecoder`](crate::decode::DelimitedDecoder) reads back what is written here.
//! Values other than text are as in [JSON](super::json), without the quotes: RFC 3339 times, shortest floats, lists and structs
//! as JSON text.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};
use memchr::memchr3;

use super::{JsonEncoder, RawColumn, Rows};
use crate::decode::Dialect;

/// Encodes batches of one schema as records, in a buffer of its own.
#[derive(Debug)]
pub struct DelimitedEncoder {
    delimiter: u8,
    names: Vec<String>,
    /// For each column, for values that are not text.
    values: Vec<JsonEncoder>,
    rows: Rows,
}

impl DelimitedEncoder {
    /// Returns an encoder of rows with the columns of `schema`.
    ///
    /// # Errors
    /// When the dialect has no quotes: a field could not have a delimiter inside.
    pub fn new(dialect: Dialect, schema: &Schema) -> Result<Self> {
        if !dialect.has_quotes() {
            return Err(Error::Invalid(format!(
                "expected a dialect with quotes to write, not {dialect}"
            )));
        }
        let names = schema.fields().iter().map(|field| field.name().clone());
        Ok(Self {
            delimiter: dialect.delimiter(),
            names: names.collect(),
            values: schema.fields().iter().map(|_| JsonEncoder::values()).collect(),
            rows: Rows::default(),
        })
    }

    /// Returns the record of the columns' names, without a line end.
    pub fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                header.push(self.delimiter);
            }
            write_field(name.as_bytes(), self.delimiter, &mut header);
        }
        header
    }

    /// Encodes every row of `records`. The result is valid until the next call.
    ///
    /// # Errors
    /// When a column has a type that Arrow can't display.
    ///
    /// # Panics
    /// When `records` has another number of columns than the encoder was made for.
    pub fn encode(&mut self, records: &RecordBatch) -> Result<&Rows> {
        assert_eq!(records.num_columns(), self.names.len(), "the schema's columns");
        let columns = records.columns().iter().zip(&mut self.values).enumerate();
        let columns = columns.map(|(index, (array, encoder))| Fields::new(records, index, array, encoder));
        let columns: Vec<_> = columns.collect::<Result<_>>()?;
        self.rows.clear();
        for row in 0..records.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    self.rows.bytes.push(self.delimiter);
                }
                if let Some(field) = column.get(row) {
                    write_field(&field, self.delimiter, &mut self.rows.bytes);
                }
            }
            self.rows.end_row();
        }
        Ok(&self.rows)
    }
}

/// A column's fields, its type resolved once a batch.
struct Fields<'a> {
    nulls: Option<NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Text(RawColumn<'a>),
    Json(&'a Rows),
}

impl<'a> Fields<'a> {
    fn new(records: &RecordBatch, index: usize, array: &'a ArrayRef, encoder: &'a mut JsonEncoder) -> Result<Self> {
        let values = match RawColumn::new(array.as_ref()) {
            Some(text) => Values::Text(text),
            None => {
                let column = records.project(&[index]).map_err(Error::arrow("choose a column"))?;
                Values::Json(encoder.encode(&column)?)
            }
        };
        Ok(Self {
            nulls: array.logical_nulls(),
            values,
        })
    }

    /// Returns the field of a row, `None` for null.
    fn get(&self, row: usize) -> Option<Cow<'a, [u8]>> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        match &self.values {
            Values::Text(text) => text.get(row).map(in_utf8),
            Values::Json(rows) => out_of_quotes(rows.row(row)),
        }
    }
}

/// Returns the text with U+FFFD for what is not UTF-8.
fn in_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Returns what a JSON value is as a field: a string without quotes and escapes, `null` not at all, others as they are.
fn out_of_quotes(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    match value {
        b"null" => None,
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Some(Cow::Borrowed(text)),
        [b'"', ..] => {
            let text: String = serde_json::from_slice(value).expect("the JSON encoder writes JSON");
            Some(Cow::Owned(text.into_bytes()))
        }
        _ => Some(Cow::Borrowed(value)),
    }
}

/// Writes a field that is not null.
fn write_field(field: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let is_plain = !field.is_empty() && memchr3(delimiter, b'"', b'\n', field).is_none() && !field.contains(&b'\r');
    if is_plain {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for (index, part) in field.split(|&byte| byte == b'"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, DictionaryArray, Float64Array, Int64Array, ListArray, StringArray};
    use arrow::array::{BooleanArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Int32Type, Int64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::decode::{DeclaredColumn, Decoder, DelimitedDecoder, TimeSettings};

    fn encode(columns: Vec<(&str, ArrayRef)>) -> (Vec<u8>, Vec<Vec<u8>>) {
        let records = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let mut encoder = DelimitedEncoder::new(Dialect::CSV, &records.schema()).expect("quotes");
        let header = encoder.header();
        let rows = encoder.encode(&records).expect("types with a text");
        (header, (0..rows.len()).map(|row| rows.row(row).to_vec()).collect())
    }

    #[track_caller]
    fn check(column: impl Array + 'static, expected: &[&str]) {
        let (_, rows) = encode(vec![("x", Arc::new(column))]);
        let rows: Vec<_> = rows
            .iter()
            .map(|row| std::str::from_utf8(row).expect("UTF-8"))
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn text_is_in_quotes_where_it_needs_to_be() {
        check(
            StringArray::from(vec![
                Some("a b"),
                None,
                Some(""),
                Some("a,b"),
                Some("say \"hi\""),
                Some("a\nb"),
                Some("\r"),
            ]),
            &["a b", "", "\"\"", "\"a,b\"", "\"say \"\"hi\"\"\"", "\"a\nb\"", "\"\r\""],
        );
        check(BinaryArray::from_vec(vec![b"\xffx"]), &["\u{fffd}x"]);
        check(
            DictionaryArray::<Int32Type>::from_iter([Some("a\"b"), None, Some("c\\d")]),
            &["\"a\"\"b\"", "", "c\\d"],
        );
    }

    #[test]
    fn other_values_are_as_in_json() {
        check(Int64Array::from(vec![Some(-1), None]), &["-1", ""]);
        check(Float64Array::from(vec![0.5, 1e300, f64::NAN]), &["0.5", "1e+300", ""]);
        check(BooleanArray::from(vec![true, false]), &["true", "false"]);
        check(
            TimestampMicrosecondArray::from(vec![0]),
            &["1970-01-01T00:00:00.000000Z"],
        );
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        check(lists, &["\"[1,null]\"", ""]);
    }

    #[test]
    fn the_header_has_the_names() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let (header, rows) = encode(vec![("a,b", Arc::clone(&column)), ("c", column)]);
        assert_eq!(header, b"\"a,b\",c");
        assert_eq!(rows, [b"1,1"]);
        assert_eq!(Dialect::CSV.header(&header).expect("names"), ["a,b", "c"]);
    }

    #[test]
    fn a_dialect_without_quotes_is_refused() {
        let refused = DelimitedEncoder::new(Dialect::TSV.without_quotes(), &Schema::empty()).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "expected a dialect with quotes to write, not tsv without quotes"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rows in prop::collection::vec((any::<Option<String>>(), any::<Option<i64>>()), 1..20)) {
            let texts: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|(text, _)| text.as_deref())));
            let ints: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|(_, int)| *int)));
            let (_, records) = encode(vec![("text", Arc::clone(&texts)), ("int", Arc::clone(&ints))]);
            let columns: [DeclaredColumn; 2] = ["text:string", "int:int"].map(|text| text.parse().expect("NAME:TYPE"));
            let decoder = DelimitedDecoder::new(Dialect::CSV, &columns, None, TimeSettings::default()).expect("columns");
            let decoded = decoder.decode(&records.iter().map(Some).collect()).expect("columns");
            prop_assert_eq!(decoded.rejects, []);
            prop_assert_eq!(&decoded.columns, &[texts, ints]);
        }
    }
}
