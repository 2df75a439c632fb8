//! What of a row becomes the key and the value of its record.

use arrow::array::Array;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};

use crate::decode::{AvroFormat, Dialect};
use crate::encode::{AvroEncoder, DelimitedEncoder, JsonEncoder, RawColumn, Rows};

/// The key or the value of the records of one schema, encoded a batch at a time.
#[derive(Debug)]
pub(super) enum Payload {
    /// No record has one: null.
    Absent,
    /// The bytes of one string or binary column, as they are.
    Raw(usize),
    /// The JSON text of one column; null where the column is null.
    Value(usize, JsonEncoder),
    /// A JSON object with a field for each of these columns.
    Object(Vec<usize>, JsonEncoder),
    /// The fields of all columns.
    Delimited(DelimitedEncoder),
    /// An Avro record of all columns.
    Avro(AvroEncoder),
}

/// The payloads of one batch.
#[derive(Debug)]
pub(super) enum Encoded<'a> {
    Absent,
    Raw(RawColumn<'a>),
    Value(&'a dyn Array, &'a Rows),
    Rows(&'a Rows),
}

impl Payload {
    /// Returns the key made of `columns`: the bytes of a single string or binary column, the JSON text of another single
    /// column, a JSON object of several.
    ///
    /// # Errors
    /// When there is no column of such a name.
    pub(super) fn key(schema: &Schema, columns: &[String]) -> Result<Self> {
        let indices = columns
            .iter()
            .map(|name| find(schema, name, "the key"))
            .collect::<Result<Vec<_>>>()?;
        match indices.as_slice() {
            [] => Ok(Self::Absent),
            [index] if RawColumn::takes(schema.field(*index).data_type()) => Ok(Self::Raw(*index)),
            [index] => Ok(Self::Value(*index, JsonEncoder::values())),
            _ => {
                let projected = schema.project(&indices).map_err(Error::arrow("choose columns"))?;
                Ok(Self::Object(indices, JsonEncoder::objects(&projected)))
            }
        }
    }

    /// Returns the value that is a JSON object of all columns.
    pub(super) fn all(schema: &Schema) -> Self {
        Self::Object((0..schema.fields().len()).collect(), JsonEncoder::objects(schema))
    }

    /// Returns the value that is a record of all columns between delimiters.
    ///
    /// # Errors
    /// When the dialect has no quotes.
    pub(super) fn delimited(schema: &Schema, dialect: Dialect) -> Result<Self> {
        Ok(Self::Delimited(DelimitedEncoder::new(dialect, schema)?))
    }

    /// Returns the value that is an Avro record of all columns.
    ///
    /// # Errors
    /// When the columns are not those of the Avro schema.
    pub(super) fn avro(schema: &Schema, format: AvroFormat) -> Result<Self> {
        Ok(Self::Avro(AvroEncoder::new(format, schema)?))
    }

    /// Returns the value that is the bytes of one string or binary column; null makes a tombstone.
    ///
    /// # Errors
    /// When there is no such column, or it is of another type.
    pub(super) fn column(schema: &Schema, name: &str) -> Result<Self> {
        let index = find(schema, name, "the value")?;
        let data_type = schema.field(index).data_type();
        if RawColumn::takes(data_type) {
            return Ok(Self::Raw(index));
        }
        Err(Error::Invalid(format!(
            "the value of a Kafka record can be a string or binary column; `{name}` is {data_type}: write JSON, or \
             convert it first"
        )))
    }

    /// Encodes every row of `records`.
    ///
    /// # Errors
    /// When a column's type has no JSON text, or is not the one the payload was made for, or a value does not fit its Avro
    /// type.
    pub(super) fn encode<'a>(&'a mut self, records: &'a RecordBatch) -> Result<Encoded<'a>> {
        let project = |indices: &[usize]| records.project(indices).map_err(Error::arrow("choose columns"));
        Ok(match self {
            Self::Absent => Encoded::Absent,
            Self::Raw(index) => {
                let column = records.column(*index).as_ref();
                let changed = || Error::Invalid(format!("column {index} became {}", column.data_type()));
                Encoded::Raw(RawColumn::new(column).ok_or_else(changed)?)
            }
            Self::Value(index, encoder) => {
                let rows = encoder.encode(&project(&[*index])?)?;
                Encoded::Value(records.column(*index).as_ref(), rows)
            }
            Self::Object(indices, encoder) => Encoded::Rows(encoder.encode(&project(indices)?)?),
            Self::Delimited(encoder) => Encoded::Rows(encoder.encode(records)?),
            Self::Avro(encoder) => Encoded::Rows(encoder.encode(records)?),
        })
    }
}

impl Encoded<'_> {
    /// Returns the bytes of `row`, `None` for null.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Absent => None,
            Self::Raw(column) => column.get(row),
            Self::Value(array, rows) => array.is_valid(row).then(|| rows.row(row)),
            Self::Rows(rows) => Some(rows.row(row)),
        }
    }
}

fn find(schema: &Schema, name: &str, part: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::Invalid(format!(
            "there is no column `{name}` for {part} of the Kafka records; the columns are {}",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};

    use super::*;
    use crate::decode::Framing;

    fn records() -> RecordBatch {
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let raw: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xff"), Some(b"")]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7)]));
        RecordBatch::try_from_iter([("word", words), ("raw", raw), ("count", counts)]).expect("columns of one length")
    }

    #[track_caller]
    fn check(payload: Result<Payload>, expected: [Option<&[u8]>; 2]) {
        let records = records();
        let mut payload = payload.expect("the columns exist");
        let encoded = payload.encode(&records).expect("the types have a text");
        assert_eq!([encoded.get(0), encoded.get(1)], expected);
    }

    fn key(columns: &[&str]) -> Result<Payload> {
        let columns: Vec<_> = columns.iter().map(|&name| name.to_owned()).collect();
        Payload::key(&records().schema(), &columns)
    }

    #[test]
    fn a_string_or_binary_key_is_its_bytes_and_null_is_null() {
        check(key(&["word"]), [Some(b"a"), None]);
        check(key(&["raw"]), [Some(b"\xff"), Some(b"")]);
    }

    #[test]
    fn a_number_key_is_its_json_text_and_null_is_null() {
        check(key(&["count"]), [None, Some(b"7")]);
    }

    #[test]
    fn several_key_columns_are_an_object_and_none_is_no_key() {
        check(
            key(&["count", "word"]),
            [
                Some(br#"{"count":null,"word":"a"}"#),
                Some(br#"{"count":7,"word":null}"#),
            ],
        );
        check(key(&[]), [None, None]);
    }

    #[test]
    fn a_null_value_column_is_a_tombstone() {
        check(Payload::column(&records().schema(), "word"), [Some(b"a"), None]);
    }

    #[test]
    fn a_json_value_holds_all_columns() {
        let first = r#"{"word":"a","raw":"�","count":null}"#.as_bytes();
        check(
            Ok(Payload::all(&records().schema())),
            [Some(first), Some(br#"{"word":null,"raw":"","count":7}"#)],
        );
    }

    #[test]
    fn a_csv_value_holds_the_fields_of_all_columns() {
        let schema = records().schema();
        check(
            Payload::delimited(&schema, Dialect::CSV),
            [Some("a,\u{fffd},".as_bytes()), Some(b",\"\",7")],
        );
    }

    #[test]
    fn an_avro_value_holds_all_columns() {
        let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "count", "type": ["null", "long"]},
            {"name": "raw", "type": "bytes"}, {"name": "word", "type": ["null", "string"]}]}"#;
        let format = AvroFormat {
            schema: Arc::new(schema.parse().expect("a schema")),
            framing: Framing::Bare,
        };
        let payload = Payload::avro(&records().schema(), format);
        check(payload, [Some(b"\x00\x02\xff\x02\x02a"), Some(b"\x02\x0e\x00\x00")]);
    }

    #[test]
    fn an_unknown_or_unfit_column_is_named() {
        let error = key(&["wrod"]).expect_err("no such column").to_string();
        assert!(
            error.contains("`wrod`") && error.contains("word, raw, count"),
            "{error}"
        );
        let error = Payload::column(&records().schema(), "count")
            .expect_err("a number")
            .to_string();
        assert!(error.contains("`count` is Int64"), "{error}");
    }
}
