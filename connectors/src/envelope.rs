//! Records as Kafka has them, seen through columns: offset, timestamp, key, headers, value.
//!
//! The columns come from a topic or from an archive's Parquet files; both have the same names and values.

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, ListArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use engine::{Error, Result};

/// The columns of an envelope, in the order in which records are described. Others may stand beside them.
pub const COLUMNS: [&str; 5] = ["offset", "timestamp", "key", "headers", "value"];

/// The rows of a batch as records.
#[derive(Clone, Debug)]
pub struct Envelope {
    offsets: Int64Array,
    timestamps: TimestampMicrosecondArray,
    keys: BinaryArray,
    headers: ListArray,
    header_names: StringArray,
    header_values: BinaryArray,
    values: BinaryArray,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its time in milliseconds since 1970, if it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The headers of one record, in order; names may repeat, values may be null.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    names: &'a StringArray,
    values: &'a BinaryArray,
    from: usize,
    to: usize,
}

impl Envelope {
    /// Returns the records of `rows`.
    ///
    /// # Errors
    /// When a column of [`COLUMNS`] is missing or has another type; the message names it.
    pub fn new(rows: &RecordBatch) -> Result<Self> {
        let headers = column(rows, "headers", |array| array.as_list_opt::<i32>().cloned())?;
        let entries = headers
            .values()
            .as_struct_opt()
            .filter(|entries| entries.num_columns() == 2);
        let names = entries.and_then(|entries| entries.column(0).as_string_opt::<i32>().cloned());
        let values = entries.and_then(|entries| entries.column(1).as_binary_opt::<i32>().cloned());
        let (Some(header_names), Some(header_values)) = (names, values) else {
            return Err(unfit("headers", headers.data_type()));
        };
        Ok(Self {
            offsets: column(rows, "offset", |array| array.as_primitive_opt::<Int64Type>().cloned())?,
            timestamps: column(rows, "timestamp", |array| {
                array.as_primitive_opt::<TimestampMicrosecondType>().cloned()
            })?,
            keys: column(rows, "key", |array| array.as_binary_opt::<i32>().cloned())?,
            headers,
            header_names,
            header_values,
            values: column(rows, "value", |array| array.as_binary_opt::<i32>().cloned())?,
        })
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the offsets of the records.
    pub fn offsets(&self) -> &[i64] {
        self.offsets.values()
    }

    /// Returns record number `row`.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn record(&self, row: usize) -> Record<'_> {
        let bytes = |array: &BinaryArray| array.is_valid(row).then_some(row);
        let ends = self.headers.value_offsets();
        let place = |end: i32| usize::try_from(end).expect("the ends of lists are never negative");
        let (from, to) = match self.headers.is_valid(row) {
            true => (place(ends[row]), place(ends[row + 1])),
            false => (0, 0),
        };
        Record {
            offset: self.offsets.value(row),
            timestamp_ms: self
                .timestamps
                .is_valid(row)
                .then(|| self.timestamps.value(row).div_euclid(1000)),
            key: bytes(&self.keys).map(|row| self.keys.value(row)),
            value: bytes(&self.values).map(|row| self.values.value(row)),
            headers: Headers {
                names: &self.header_names,
                values: &self.header_values,
                from,
                to,
            },
        }
    }

    /// Returns the records from `from` on, `length` of them.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn slice(&self, from: usize, length: usize) -> Self {
        Self {
            offsets: self.offsets.slice(from, length),
            timestamps: self.timestamps.slice(from, length),
            keys: self.keys.slice(from, length),
            headers: self.headers.slice(from, length),
            header_names: self.header_names.clone(),
            header_values: self.header_values.clone(),
            values: self.values.slice(from, length),
        }
    }
}

impl Record<'_> {
    /// Returns the bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers.sum::<usize>()
    }

    /// Returns the part by which `other` differs, if one does: timestamp, key, headers or value. Offsets are not compared.
    pub fn difference(&self, other: &Record<'_>) -> Option<&'static str> {
        let parts = [
            ("timestamp", self.timestamp_ms == other.timestamp_ms),
            ("key", self.key == other.key),
            ("headers", self.headers.iter().eq(other.headers.iter())),
            ("value", self.value == other.value),
        ];
        parts.iter().find(|(_, is_equal)| !is_equal).map(|&(name, _)| name)
    }
}

impl<'a> Headers<'a> {
    /// Returns the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let (names, values) = (self.names, self.values);
        (self.from..self.to).map(move |at| (names.value(at), values.is_valid(at).then(|| values.value(at))))
    }

    /// Returns the number of headers.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

fn column<T>(rows: &RecordBatch, name: &str, cast: impl Fn(&dyn Array) -> Option<T>) -> Result<T> {
    let Some(array) = rows.column_by_name(name) else {
        return Err(Error::Invalid(format!(
            "there is no column `{name}`: expected records as they were in Kafka, with the columns {} (of a replay with the \
             layout envelope or both)",
            COLUMNS.join(", ")
        )));
    };
    cast(array.as_ref()).ok_or_else(|| unfit(name, array.data_type()))
}

fn unfit(name: &str, data_type: &DataType) -> Error {
    let expected = match name {
        "offset" => DataType::Int64.to_string(),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())).to_string(),
        "headers" => "a list of name and value".to_owned(),
        _ => DataType::Binary.to_string(),
    };
    Error::Invalid(format!("the column `{name}` is {data_type}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryBuilder, ListBuilder, StringBuilder, StructBuilder};
    use arrow::datatypes::Field;

    use super::*;

    /// Two records: one of null key and empty value, one of empty key and null value with the header `h` twice.
    fn rows() -> RecordBatch {
        let fields = [("key", DataType::Utf8, false), ("value", DataType::Binary, true)];
        let fields = fields.map(|(name, data_type, nullable)| Field::new(name, data_type, nullable));
        let builders = StructBuilder::from_fields(fields.to_vec(), 0);
        let mut headers = ListBuilder::new(builders);
        headers.append(true);
        for value in [None, Some(b"v")] {
            let entry = headers.values();
            let name = entry.field_builder::<StringBuilder>(0).expect("a name");
            name.append_value("h");
            let bytes = entry.field_builder::<BinaryBuilder>(1).expect("a value");
            bytes.append_option(value);
            entry.append(true);
        }
        headers.append(true);
        let times = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 5] = [
            ("offset", Arc::new(Int64Array::from(vec![7, 9]))),
            ("timestamp", Arc::new(times)),
            ("key", Arc::new(BinaryArray::from_opt_vec(vec![None, Some(b"")]))),
            ("headers", Arc::new(headers.finish())),
            ("value", Arc::new(BinaryArray::from_opt_vec(vec![Some(b""), None]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .expect("five columns")
    }

    #[test]
    fn null_differs_from_empty_and_headers_may_repeat() {
        let envelope = Envelope::new(&rows()).expect("all columns");
        let (first, second) = (envelope.record(0), envelope.record(1));
        assert_eq!((first.offset, first.timestamp_ms, first.key), (7, Some(1500), None));
        assert_eq!((first.value, first.headers.is_empty()), (Some(&b""[..]), true));
        assert_eq!(
            (second.key, second.value, second.timestamp_ms),
            (Some(&b""[..]), None, None)
        );
        assert!(second.headers.iter().eq([("h", None), ("h", Some(&b"v"[..]))]));
        assert_eq!(second.bytes(), 3);
        let tail = envelope.slice(1, 1);
        assert_eq!(tail.record(0).difference(&second), None);
        assert_eq!(first.difference(&second), Some("timestamp"));
    }

    #[test]
    fn a_missing_column_is_named() {
        let rows = rows().project(&[0, 1, 2, 3]).expect("four columns");
        let error = Envelope::new(&rows).expect_err("no value").to_string();
        assert!(error.contains("no column `value`"), "{error}");
    }
}
