//! From records to Arrow columns: one copy of each byte, and nothing for columns that no one asked for.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, ListArray, NullBufferBuilder, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, SchemaRef};
use engine::batch::{Batch, Column, Origin};
use engine::position::{OffsetRange, Partition};
use engine::recycled;

use super::ffi::{Message, TimestampKind};
use super::options::{KafkaColumn, SourceOptions};

/// The largest record that is taken. With the bytes of a batch that is not full yet it fits Arrow's 32-bit offsets.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// What a record gives to the columns.
pub(super) trait Record {
    fn offset(&self) -> i64;
    fn timestamp(&self) -> Option<(i64, TimestampKind)>;
    fn key(&self) -> Option<&[u8]>;
    fn value(&self) -> Option<&[u8]>;
    /// Calls `visit` with each header's key and value.
    fn visit_headers(&self, visit: impl FnMut(&[u8], Option<&[u8]>));
}

/// The record is larger than [`RECORD_BYTES_MAX`]; the text says so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record has {0} bytes, more than the {RECORD_BYTES_MAX} that a batch can hold")]
pub(super) struct TooLarge(usize);

/// The rows of one partition that wait for their batch.
pub(super) struct Rows {
    partition: Partition,
    schema: SchemaRef,
    order: Arc<[KafkaColumn]>,
    rows_max: usize,
    bytes_max: usize,
    rows: usize,
    /// Bytes of keys, values and headers.
    bytes: usize,
    offsets: Option<Vec<i64>>,
    timestamps: Option<Timestamps>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Option<Headers>,
}

/// A nullable binary column under way.
struct Bytes {
    ends: Vec<i32>,
    data: Vec<u8>,
    valid: NullBufferBuilder,
}

/// The columns `timestamp` and `timestamp_type` under way.
struct Timestamps {
    microseconds: Vec<i64>,
    kinds: Vec<i32>,
    valid: NullBufferBuilder,
}

struct Headers {
    ends: Vec<i32>,
    keys: Bytes,
    values: Bytes,
}

impl Record for Message<'_> {
    #[inline]
    fn offset(&self) -> i64 {
        Message::offset(*self)
    }

    #[inline]
    fn timestamp(&self) -> Option<(i64, TimestampKind)> {
        Message::timestamp(*self)
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        Message::key(*self)
    }

    #[inline]
    fn value(&self) -> Option<&[u8]> {
        Message::value(*self)
    }

    fn visit_headers(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
        self.headers().for_each(|(key, value)| visit(key, value));
    }
}

impl Rows {
    /// Returns the builder of a partition's batches.
    pub(super) fn new(partition: Partition, schema: SchemaRef, options: &SourceOptions) -> Self {
        let mut rows = Self {
            partition,
            schema,
            order: options.columns.clone().into(),
            rows_max: options.batch_rows_max,
            bytes_max: options.batch_bytes_max,
            rows: 0,
            bytes: 0,
            offsets: None,
            timestamps: None,
            key: None,
            value: None,
            headers: None,
        };
        for column in &options.columns {
            match column {
                KafkaColumn::Topic | KafkaColumn::Partition => {}
                KafkaColumn::Offset => rows.offsets = Some(Vec::new()),
                KafkaColumn::Timestamp | KafkaColumn::TimestampType => rows.timestamps = Some(Timestamps::new(0)),
                KafkaColumn::Key => rows.key = Some(Bytes::new(0, 0)),
                KafkaColumn::Value => rows.value = Some(Bytes::new(0, 0)),
                KafkaColumn::Headers => rows.headers = Some(Headers::new()),
            }
        }
        rows
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`TooLarge`] when no batch can hold it; nothing was appended then.
    #[inline]
    pub(super) fn append(&mut self, record: &impl Record) -> Result<(), TooLarge> {
        let (key, value) = (record.key(), record.value());
        let mut size = value.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len);
        if let Some(column) = &mut self.headers {
            // librdkafka parses a record's headers each time it is asked, also when there are none: once is enough.
            let before = column.len();
            size += column.append(record);
            if size > RECORD_BYTES_MAX {
                column.truncate(before);
            }
        }
        if size > RECORD_BYTES_MAX {
            return Err(TooLarge(size));
        }
        if let Some(column) = &mut self.value {
            column.append(value);
        }
        if let Some(column) = &mut self.key {
            column.append(key);
        }
        if let Some(column) = &mut self.offsets {
            column.push(record.offset());
        }
        if let Some(column) = &mut self.timestamps {
            column.append(record.timestamp());
        }
        self.rows += 1;
        self.bytes += size;
        Ok(())
    }

    /// Returns whether the batch should be sent.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.rows_max || self.bytes >= self.bytes_max
    }

    /// Returns whether no row waits.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the waiting rows as a batch that covers `offsets`, and starts the next one.
    pub(super) fn finish(&mut self, offsets: OffsetRange) -> Batch {
        let rows = self.rows;
        let offset_column: Option<ArrayRef> = self.offsets.as_mut().map(|column| {
            let next = Vec::with_capacity(column.len());
            Arc::new(Int64Array::from(std::mem::replace(column, next))) as ArrayRef
        });
        let timestamps = self.timestamps.as_mut().map(Timestamps::finish);
        let key = self.key.as_mut().map(Bytes::finish);
        let value = self.value.as_mut().map(Bytes::finish);
        let headers = self.headers.as_mut().map(Headers::finish);
        let asked = "a builder exists for every column that is asked for";
        let array = |column: &KafkaColumn| -> ArrayRef {
            match column {
                KafkaColumn::Topic => constant_text(&self.partition.stream, rows),
                KafkaColumn::Partition => Arc::new(Int32Array::from_value(self.partition.index, rows)),
                KafkaColumn::Offset => offset_column.clone().expect(asked),
                KafkaColumn::Timestamp => timestamps.clone().expect(asked).0,
                KafkaColumn::TimestampType => timestamps.clone().expect(asked).1,
                KafkaColumn::Key => key.clone().expect(asked),
                KafkaColumn::Value => value.clone().expect(asked),
                KafkaColumn::Headers => headers.clone().expect(asked),
            }
        };
        let columns = self.order.iter().map(|column| Column::Array(array(column))).collect();
        let origin = Origin {
            partition: self.partition.clone(),
            offsets,
        };
        self.rows = 0;
        self.bytes = 0;
        Batch::from_columns(self.schema.clone(), columns, rows, Some(origin))
    }
}

impl Bytes {
    fn new(rows: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self {
            ends,
            data: recycled::take(bytes),
            valid: NullBufferBuilder::new(rows),
        }
    }

    #[inline]
    fn append(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.data.extend_from_slice(bytes);
                self.valid.append_non_null();
            }
            None => self.valid.append_null(),
        }
        self.ends.push(end(self.data.len()));
    }

    /// Returns the number of values.
    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Takes the values from number `values` on away.
    fn truncate(&mut self, values: usize) {
        self.ends.truncate(values + 1);
        self.data
            .truncate(usize::try_from(self.ends[values]).expect("offsets are not negative"));
        self.valid.truncate(values);
    }

    /// Takes the column's parts out, and makes room for as much again.
    fn take(&mut self) -> Self {
        // An eighth more: the next batch is seldom of the same size to the byte, and growing copies it.
        let room = self.data.len() + self.data.len() / 8;
        let next = Self::new(self.ends.len() - 1, room);
        std::mem::replace(self, next)
    }

    fn finish(&mut self) -> ArrayRef {
        let Self { ends, data, mut valid } = self.take();
        Arc::new(BinaryArray::new(
            offset_buffer(ends),
            recycled::buffer(data),
            valid.finish(),
        ))
    }
}

impl Timestamps {
    fn new(rows: usize) -> Self {
        Self {
            microseconds: Vec::with_capacity(rows),
            kinds: Vec::with_capacity(rows),
            valid: NullBufferBuilder::new(rows),
        }
    }

    #[inline]
    fn append(&mut self, timestamp: Option<(i64, TimestampKind)>) {
        match timestamp {
            Some((milliseconds, kind)) => {
                self.microseconds.push(milliseconds.saturating_mul(1000));
                self.kinds.push(kind as i32);
                self.valid.append_non_null();
            }
            None => {
                self.microseconds.push(0);
                self.kinds.push(0);
                self.valid.append_null();
            }
        }
    }

    fn finish(&mut self) -> (ArrayRef, ArrayRef) {
        let next = Self::new(self.microseconds.len());
        let Self {
            microseconds,
            kinds,
            mut valid,
        } = std::mem::replace(self, next);
        let valid = valid.finish();
        let times = TimestampMicrosecondArray::new(microseconds.into(), valid.clone()).with_timezone("UTC");
        let names = StringArray::from(vec!["create", "log_append"]);
        let kinds = DictionaryArray::<Int32Type>::new(Int32Array::new(kinds.into(), valid), Arc::new(names));
        (Arc::new(times), Arc::new(kinds))
    }
}

impl Headers {
    fn new() -> Self {
        Self {
            ends: vec![0],
            keys: Bytes::new(0, 0),
            values: Bytes::new(0, 0),
        }
    }

    /// Returns the number of records.
    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Appends a record's headers and returns their bytes.
    fn append(&mut self, record: &impl Record) -> usize {
        let mut bytes = 0;
        record.visit_headers(|key, value| {
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            // Kafka's header keys are UTF-8 by agreement only.
            self.keys.append(Some(String::from_utf8_lossy(key).as_bytes()));
            self.values.append(value);
        });
        self.ends.push(end(self.keys.len()));
        bytes
    }

    /// Takes the headers of all records from number `records` on away.
    fn truncate(&mut self, records: usize) {
        self.ends.truncate(records + 1);
        let headers = usize::try_from(self.ends[records]).expect("the number of headers is not negative");
        self.keys.truncate(headers);
        self.values.truncate(headers);
    }

    fn finish(&mut self) -> ArrayRef {
        let mut next = Vec::with_capacity(self.ends.len());
        next.push(0);
        let ends = std::mem::replace(&mut self.ends, next);
        let Bytes {
            ends: key_ends, data, ..
        } = self.keys.take();
        let keys = StringArray::new(offset_buffer(key_ends), Buffer::from_vec(data), None);
        let entries = StructArray::new(header_fields(), vec![Arc::new(keys), self.values.finish()], None);
        Arc::new(ListArray::new(
            Arc::new(header_field()),
            offset_buffer(ends),
            Arc::new(entries),
            None,
        ))
    }
}

/// Returns the type of one header.
pub(super) fn header_field() -> Field {
    Field::new_list_field(DataType::Struct(header_fields()), false)
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ])
}

fn constant_text(text: &str, rows: usize) -> ArrayRef {
    let keys = Int32Array::from_value(0, rows);
    Arc::new(DictionaryArray::<Int32Type>::new(
        keys,
        Arc::new(StringArray::from(vec![text])),
    ))
}

fn offset_buffer(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}

#[inline]
fn end(length: usize) -> i32 {
    debug_assert!(i32::try_from(length).is_ok(), "a batch holds its limit and one record");
    length as i32
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::compute::cast;
    use arrow::datatypes::TimestampMicrosecondType;
    use engine::Result;

    use super::*;
    use crate::kafka::config::Connection;

    #[derive(Clone, Default)]
    struct Plain {
        offset: i64,
        timestamp: Option<(i64, TimestampKind)>,
        key: Option<&'static [u8]>,
        value: Option<&'static [u8]>,
        headers: Vec<(&'static [u8], Option<&'static [u8]>)>,
    }

    impl Record for Plain {
        fn offset(&self) -> i64 {
            self.offset
        }
        fn timestamp(&self) -> Option<(i64, TimestampKind)> {
            self.timestamp
        }
        fn key(&self) -> Option<&[u8]> {
            self.key
        }
        fn value(&self) -> Option<&[u8]> {
            self.value
        }
        fn visit_headers(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
            self.headers.iter().for_each(|(key, value)| visit(key, *value));
        }
    }

    fn rows(columns: &[KafkaColumn], change: impl FnOnce(&mut SourceOptions)) -> Rows {
        let mut options = SourceOptions::new(Connection::new("localhost:1"), vec!["access".into()], "g");
        options.columns = columns.to_vec();
        change(&mut options);
        Rows::new(Partition::new("access", 3), options.schema(), &options)
    }

    fn finish(rows: &mut Rows, from: i64, to: i64) -> Result<arrow::record_batch::RecordBatch> {
        rows.finish(OffsetRange { from, to }).to_records()
    }

    #[test]
    fn a_tombstone_is_null_and_an_empty_value_is_not() {
        let mut rows = rows(&[KafkaColumn::Value], |_| ());
        for value in [Some(&b"line"[..]), None, Some(b"")] {
            let record = Plain {
                value,
                ..Plain::default()
            };
            rows.append(&record).expect("small");
        }
        let batch = finish(&mut rows, 0, 3).expect("a batch");
        let values = batch.column(0).as_binary::<i32>();
        assert_eq!(values.value(0), b"line");
        assert!(values.is_null(1) && values.is_valid(2));
        assert_eq!(values.value(2), b"");
    }

    #[test]
    fn every_column_arrives_in_the_order_asked_for() {
        let mut rows = rows(KafkaColumn::ALL, |_| ());
        let record = Plain {
            offset: 41,
            timestamp: Some((1_700_000_000_123, TimestampKind::LogAppend)),
            key: Some(b"k"),
            value: Some(b"v"),
            headers: vec![(b"h", Some(b"1")), (b"h", None), (b"\xff", Some(b""))],
        };
        rows.append(&record).expect("small");
        rows.append(&Plain {
            offset: 43,
            ..Plain::default()
        })
        .expect("small");
        let batch = finish(&mut rows, 40, 44).expect("the columns have the schema's types");
        assert_eq!(batch.num_rows(), 2);
        let times = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 1_700_000_000_123_000);
        assert!(times.is_null(1) && batch.column(4).is_null(1) && batch.column(5).is_null(1));
        let text = |column: usize| {
            cast(batch.column(column), &DataType::Utf8)
                .expect("text")
                .as_string::<i32>()
                .value(0)
                .to_owned()
        };
        assert_eq!([0, 1, 2, 4].map(text), ["access", "3", "41", "log_append"]);
        assert_eq!(batch.column(5).as_binary::<i32>().value(0), b"k");
        assert_eq!(batch.column(7).as_binary::<i32>().value(0), b"v");
        let headers = batch.column(6).as_list::<i32>();
        assert_eq!((headers.value_length(0), headers.value_length(1)), (3, 0));
        let entries = headers.values().as_struct();
        let keys: Vec<_> = entries.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(keys, ["h", "h", "\u{fffd}"], "keys repeat, and are repaired");
        let values = entries.column(1);
        assert!(
            values.is_null(1) && values.is_valid(2),
            "a null header value differs from an empty one"
        );
    }

    #[test]
    fn headers_can_be_taken_back() {
        let mut headers = Headers::new();
        let kept = Plain {
            headers: vec![(b"a", Some(b"1"))],
            ..Plain::default()
        };
        let taken_back = Plain {
            headers: vec![(b"b", None), (b"c", Some(b"22"))],
            ..Plain::default()
        };
        assert_eq!(headers.append(&kept), 2);
        assert_eq!(headers.append(&taken_back), 4);
        headers.truncate(1);
        headers.append(&kept);
        let list = headers.finish();
        let entries = list.as_list::<i32>().values().as_struct();
        assert_eq!((list.len(), entries.len(), entries.column(1).null_count()), (2, 2, 0));
    }

    #[test]
    fn no_columns_still_count_rows() {
        let mut rows = rows(&[], |_| ());
        rows.append(&Plain::default()).expect("small");
        assert_eq!(finish(&mut rows, 0, 1).expect("a batch").num_rows(), 1);
    }

    #[test]
    fn rows_or_bytes_fill_a_batch() {
        let mut by_rows = rows(&[KafkaColumn::Offset], |options| options.batch_rows_max = 2);
        let mut by_bytes = rows(&[KafkaColumn::Value], |options| options.batch_bytes_max = 5);
        let record = Plain {
            value: Some(b"four"),
            ..Plain::default()
        };
        for (count, full) in [(1, false), (2, true)] {
            by_rows.append(&record).expect("small");
            by_bytes.append(&record).expect("small");
            assert_eq!((by_rows.is_full(), by_bytes.is_full()), (full, full), "{count}");
        }
        let _ = finish(&mut by_rows, 0, 2);
        assert!(by_rows.is_empty() && !by_rows.is_full());
    }

    #[test]
    fn a_batch_starts_empty_after_the_one_before() {
        let mut rows = rows(KafkaColumn::ALL, |_| ());
        for offset in 0..3 {
            rows.append(&Plain {
                offset,
                headers: vec![(b"a", None)],
                ..Plain::default()
            })
            .expect("small");
            let batch = finish(&mut rows, offset, offset + 1).expect("a batch");
            assert_eq!(batch.num_rows(), 1);
            assert_eq!(
                batch.column(2).as_primitive::<arrow::datatypes::Int64Type>().value(0),
                offset
            );
        }
    }
}
